"""The oldest and the newest of what the package says it works with: nox -s oldest, nox -s newest. Each is 3 to 7 GB."""

import nox

nox.options.sessions = ["oldest", "newest"]
MATTER = (
    "test_prox.py",
    "test_gate.py",
    "test_gate_config.py",
    "test_concatenation.py",
    "test_architectures.py",
    "test_p_unet.py",
    "test_trainers.py",
    "test_training.py",
)
"""The gate, its networks, and trainings by nnU-Net's own commands, which find the trainers by the start-up file."""


@nox.session(python="3.10")
def oldest(session: nox.Session) -> None:
    # setuptools: torch 2.4's compiler imports it without declaring it
    passes(session, "nnunetv2==2.8.0", "torch==2.4.*", "setuptools")


@nox.session(python="3.13")
def newest(session: nox.Session) -> None:
    passes(session, "--upgrade", "--upgrade-strategy", "eager")


def passes(session: nox.Session, *versions: str) -> None:
    session.install(".[test]", *versions)
    session.run("python", "-c", "import sys, torch; print(sys.version, torch.__version__)")
    session.run("pytest", "-q", *(session.posargs or [f"tests/{name}" for name in MATTER]))
