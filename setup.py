"""What setup.cfg cannot say: the start-up files by which nnU-Net finds the trainers, and PyPI's page and links."""

import os
import re
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

STARTUP = {
    "nnunet_prosma.pth": "import nnunet_prosma.register; nnunet_prosma.register.register()\n",
    "nnunet_prosma.start": "nnunet_prosma.register:register\n",  # from Python 3.15 on, in the place of the line above
}
SOURCE = os.environ.get("NNUNET_PROSMA_SOURCE_URL", "").rstrip("/")
"""The repository's address up to its files, https://HOST/OWNER/NAME/blob/TAG, set for a release (docs/release.md)."""


URLS = {
    "nnU-Net": "https://github.com/MIC-DKFZ/nnUNet",
    "ProSMA-UNet, the paper": "https://math-ml-x.github.io/ProSMA-UNet/",
}
if SOURCE:
    REPOSITORY = SOURCE.partition("/blob/")[0]
    URLS |= {
        "Source": REPOSITORY,
        "Issues": f"{REPOSITORY}/issues",
        "Documentation": f"{SOURCE}/docs/index.md",
        "Changelog": f"{SOURCE}/CHANGELOG.md",
    }


class BuildWithStartup(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            for name, text in STARTUP.items():
                Path(self.build_lib, name).write_text(text)

    def get_outputs(self, include_bytecode=True):
        return super().get_outputs(include_bytecode) + [str(Path(self.build_lib, name)) for name in STARTUP]


def absolute(page: str, source: str) -> str:
    """The page with links that hold outside of the repository; pictures come from /raw/, where GitHub has the file."""
    page = re.sub(r'((?:\bsrc|srcset)=")(?!https?:)', rf"\g<1>{source.replace('/blob/', '/raw/')}/", page)
    page = re.sub(r"(!\[[^]]*\]\()(?!https?:)", rf"\g<1>{source.replace('/blob/', '/raw/')}/", page)
    return re.sub(r"((?<!!)\[[^]]*\]\()(?!https?:|#)", rf"\g<1>{source}/", page)


readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
setup(
    cmdclass={"build_py": BuildWithStartup},
    long_description=absolute(readme, SOURCE) if SOURCE else readme,
    long_description_content_type="text/markdown",
    project_urls=URLS,
)
