"""What nnU-Net imports from its list of trainer directories: the trainers, as the installed package has them.

nnU-Net forgets this module after each look-up, so nothing is defined here. It also keeps the list in an environment
variable, which processes of other Python environments inherit: one that lacks the package finds no trainers here, and
its own look-up goes on.
"""

import sys

try:
    from nnunet_prosma.trainers import *  # noqa: F403
except ModuleNotFoundError as error:
    if error.name != "nnunet_prosma":
        raise
    print(f"nnunet-prosma is not installed for {sys.executable}, so {__file__} offers no trainers", file=sys.stderr)
