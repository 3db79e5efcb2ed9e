import os

os.environ.setdefault("TRITON_INTERPRET", "1")  # before triton is imported: its kernels then run without a GPU
# Before torch is imported: tests run side by side, a process for each core, and threads that wait for a core that
# another process has turn in circles. (OMP_THREAD_LIMIT would let oneDNN wait for threads that never come.)
os.environ.setdefault("OMP_NUM_THREADS", "1")

os.environ.pop("PYTHONUNBUFFERED", None)  # what a user has not: buffers are as theirs

import fcntl
import shutil

import pytest
from datasets import write_dataset
from workspace import Workspace, narrow, training

LONGEST = (
    "test_crossvalidation.py",
    "test_study_cluster.py",
    "test_study_queue.py",
    "test_submission.py",
    "test_study.py",
    "test_training.py",
    "test_resume.py",
    "test_label_kinds.py",
    "test_discovery.py",
    "test_notebook.py",
    "test_ranks.py",
)
"""Files that take longest, which must not be the last: then one core would wait for the other."""


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> Workspace:
    """Data set 9, ten 3D cases with two structures, planned and preprocessed; for reading, and for training in.

    The processes that pytest-xdist tests in make it once together, and take a copy each.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    made = shared / "toy_of_all"
    with (shared / "toy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            first = Workspace(shared / "toy_being_made")
            write_dataset(first.raw, "Dataset009_Toy", cases=10)
            first.plan(9, "-c", "3d_fullres")
            narrow(first.preprocessed / "Dataset009_Toy" / "nnUNetPlans.json")
            first.path.rename(made)
    return Workspace(shutil.copytree(made, tmp_path_factory.mktemp("toy") / "toy"))


@pytest.fixture(scope="session")
def five_folds(toy) -> Workspace:
    """The toy data set with all five folds trained by nnU-Net's trainer and by ours, probabilities kept.

    Tests that use it stand in one file, which one process runs (--dist loadfile), so that it is trained once.
    """
    trainers = ("nnUNetTrainerShort", "nnUNetTrainerProSMAShort")
    trainings = [training(9, "3d_fullres", fold, name, "--npz") for name in trainers for fold in range(5)]
    toy.run_all(*trainings, SHORT_TRAINER_EPOCHS="1")
    return toy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then those with slow tests."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    last = len(LONGEST)
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (place.get(item.path.name, last), item.path not in slow))
