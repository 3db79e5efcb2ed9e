"""The container's entry: one case from /input to /output. What it does is nnunet_prosma.container.inference."""

import sys

from nnunet_prosma.container.inference import main

if __name__ == "__main__":
    sys.exit(main())
