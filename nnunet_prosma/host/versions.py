"""The versions of what trains here."""

from importlib import metadata

PACKAGES = ("nnunetv2", "dynamic-network-architectures", "batchgeneratorsv2", "torch", "numpy", "SimpleITK")


def versions() -> dict[str, str | None]:
    """The version of each package, None for one that is not installed."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found
