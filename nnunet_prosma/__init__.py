"""ProSMA gates on the skips of the U-Net that nnU-Net v2 configures. Importing this package loads nothing heavy."""

__version__ = "0.1.0"
