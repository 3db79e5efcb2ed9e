import os

os.environ.setdefault("TRITON_INTERPRET", "1")  # before triton is imported: its kernels then run without a GPU
# Before torch is imported: tests run side by side, a process for each core, and threads that wait for a core that
# another process has turn in circles. The limit also holds for nnU-Net's trainings, which ask for all cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_THREAD_LIMIT", "1")

import pytest
from datasets import write_dataset
from workspace import Workspace


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> Workspace:
    """Data set 9, ten 3D cases with two structures, planned and preprocessed; for reading, and for training in."""
    workspace = Workspace(tmp_path_factory.mktemp("toy"))
    write_dataset(workspace.raw, "Dataset009_Toy", cases=10)
    workspace.plan(9, "-c", "3d_fullres")
    return workspace


@pytest.fixture(scope="session")
def five_folds(toy) -> Workspace:
    """The toy data set with all five folds trained by nnU-Net's trainer and by ours, probabilities kept.

    Tests that use it stand in one file, which one process runs (--dist loadfile), so that it is trained once.
    """
    for trainer in ("nnUNetTrainerShort", "nnUNetTrainerProSMAShort"):
        for fold in range(5):
            toy.train(9, "3d_fullres", fold, trainer, "--npz")
    return toy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: on two cores the last ones would else run alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
