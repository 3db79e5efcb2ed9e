import json

import numpy as np
import pytest
import SimpleITK
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

from nnunet_prosma.demo.phantom import LABELS, LESION_INTENSITY, ORIGIN_MM, phantom, write_dataset

SIZES = [16, 32, (16, 20), (18, 16, 25)]
every_size = pytest.mark.parametrize("size", SIZES, ids=str)


@every_size
@pytest.mark.parametrize("channels", [1, 3])
def test_a_phantom_has_the_shape_and_types_asked_for(size, channels):
    image, labels = phantom(0, size, channels=channels)
    shape = (size,) * 3 if isinstance(size, int) else size
    assert image.shape == (channels, *shape)
    assert labels.shape == shape
    assert (image.dtype, labels.dtype) == (np.float32, np.uint8)


def test_a_seed_is_one_phantom_and_another_seed_is_another():
    (image, labels), (again, labels_again), (other, _) = phantom(3), phantom(3), phantom(4)
    assert np.array_equal(image, again)
    assert np.array_equal(labels, labels_again)
    assert not np.array_equal(image, other)


@every_size
def test_every_seed_has_both_structures_well_inside_the_volume(size):
    for seed in range(200):
        _, labels = phantom(seed, size)
        assert set(np.unique(labels)) == set(LABELS.values()), seed
        inner = labels[(slice(1, -1),) * labels.ndim]
        assert np.count_nonzero(inner) == np.count_nonzero(labels), f"seed {seed} touches the border"


@every_size
def test_the_lesion_lies_in_the_organ(size):
    for seed in range(50):
        _, labels = phantom(seed, size)
        where = [np.argwhere(labels == LABELS[name]) for name in ("organ", "lesion")]
        (low, high), lesion = (where[0].min(0), where[0].max(0)), where[1].mean(0)
        assert np.all((low <= lesion) & (lesion <= high)), seed


def test_clutter_outside_the_labels_is_as_bright_as_the_lesion():
    for seed in range(20):
        image, labels = phantom(seed, 32, noise=0, bias=0)
        as_lesion = np.abs(image[0] - LESION_INTENSITY) < 0.3
        decoys = np.count_nonzero(as_lesion & (labels == LABELS["background"]))
        assert decoys > 50, f"seed {seed}: {decoys} voxels"


def test_without_decoys_and_tubes_nothing_but_the_structures_is_bright():
    image, labels = phantom(0, 32, noise=0, bias=0, decoys=0, tubes=0)
    assert np.mean(image[0][labels > 0] > 0.5) > 0.95
    assert np.mean(image[0][labels == 0] > 0.5) < 0.02


@pytest.mark.parametrize("size", [15, (16, 15), (16,), (16, 16, 16, 16)], ids=str)
def test_a_size_that_cannot_hold_a_phantom_is_refused(size):
    with pytest.raises(ValueError, match=r"two or three axes of at least 16 voxels each, got"):
        phantom(0, size)


def test_no_channels_are_refused():
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        phantom(0, channels=0)


@pytest.mark.parametrize("size", [(18, 16, 25), (16, 20)], ids=str)
def test_what_is_written_reads_back_with_its_geometry(tmp_path, size):
    spacing_mm = (2.5, 0.8, 0.7)
    folder = write_dataset(tmp_path, train=[3], test=[104], size=size, channels=2, spacing_mm=spacing_mm)
    image, labels = phantom(104, size, channels=2)
    for path, array in (
        ("imagesTs/phantom_104_0000.nii.gz", image[0]),
        ("imagesTs/phantom_104_0001.nii.gz", image[1]),
        ("labelsTs/phantom_104.nii.gz", labels),
    ):
        read = SimpleITK.ReadImage(str(folder / path))
        assert np.array_equal(SimpleITK.GetArrayFromImage(read), array)
        assert read.GetSpacing()[::-1] == pytest.approx(spacing_mm[: len(size)])
        assert read.GetOrigin() == pytest.approx(ORIGIN_MM[: len(size)])
    written = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert len(written) == 7
    assert written[:2] == ["dataset.json", "imagesTr/phantom_003_0000.nii.gz"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, (16, 20)], ids=str)
def test_nnunet_finds_no_fault_with_the_data_set(tmp_path, size):
    folder = write_dataset(tmp_path, train=range(2), test=[], size=size, channels=2)
    verify_dataset_integrity(str(folder), num_processes=1)
    description = json.loads((folder / "dataset.json").read_text())
    assert description["labels"] == LABELS
    assert description["numTraining"] == 2


def test_a_data_set_is_never_overwritten(tmp_path):
    folder = write_dataset(tmp_path, train=[0], test=[], size=16)
    before = (folder / "dataset.json").stat().st_mtime_ns
    with pytest.raises(FileExistsError, match="exists; remove it, or name another data set"):
        write_dataset(tmp_path, train=[1], test=[], size=16)
    assert (folder / "dataset.json").stat().st_mtime_ns == before
    assert [p.name for p in (folder / "imagesTr").iterdir()] == ["phantom_000_0000.nii.gz"]
