"""Only what setup.cfg cannot say: the start-up files beside the package, by which nnU-Net finds the trainers."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

STARTUP = {
    "nnunet_prosma.pth": "import nnunet_prosma.register; nnunet_prosma.register.register()\n",
    "nnunet_prosma.start": "nnunet_prosma.register:register\n",  # from Python 3.15 on, in the place of the line above
}


class BuildWithStartup(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            for name, text in STARTUP.items():
                Path(self.build_lib, name).write_text(text)

    def get_outputs(self, include_bytecode=True):
        return super().get_outputs(include_bytecode) + [str(Path(self.build_lib, name)) for name in STARTUP]


setup(cmdclass={"build_py": BuildWithStartup})
