"""The versions that are installed here, of the plugin and of all that it needs, pinned."""

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from nnunet_prosma.errors import InputError

ROOT = "nnunet-prosma"
NAME = "requirements.txt"


def closure(root: str = ROOT) -> dict[str, str]:
    """Name -> version of the root and everything that it needs, here, with the extras that are asked for."""
    versions: dict[str, str] = {}
    waiting, seen = [(root, frozenset[str]())], set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise InputError(
                f"{name}, which this environment needs, is not installed in it: pip check says what is missing"
            ) from None
        versions[name] = Version(distribution.version).public  # no index has 2.6.0+cu124, but all have 2.6.0
        for requirement in _needed(distribution, extras):
            needed = canonicalize_name(requirement.name)
            _refuse_conflict(name, requirement)
            waiting.append((needed, frozenset(requirement.extras)))
    return dict(sorted(versions.items()))


def _needed(distribution: metadata.Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    for line in distribution.requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in extras or {""}):
            yield requirement


def _refuse_conflict(by: str, requirement: Requirement) -> None:
    """pip would not install a list of which one package does not suit another."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return  # which is said when its turn comes
    if not requirement.specifier.contains(version, prereleases=True):
        raise InputError(
            f"this environment has {requirement.name} {version}, but {by} needs {requirement.specifier}: such a list "
            f"cannot be installed elsewhere, so mend it first (pip check, pip install -U {requirement.name})"
        )


def write_requirements(bundle: Path, versions: dict[str, str], python: str) -> None:
    lines = [
        f"# What predicts with this bundle, as it was installed where it was made (Python {python}).",
        "# pip install -r requirements.txt, in a fresh environment of that Python; the plugin comes from wheels/.",
        "--find-links wheels",
        *(f"{name}=={version}" for name, version in versions.items()),
    ]
    (bundle / NAME).write_text("\n".join(lines) + "\n")
