"""The publishers' layouts re-created small, and what nnU-Net says of the result."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import train_test_split

from nnunet_prosma.command import main
from nnunet_prosma.convert.raw_dataset import resized
from nnunet_prosma.errors import InputError

SEEDS = (2981, 6142, 1187)


def picture(seed, size):
    """Bright noise: (H, W, 3), with size as PIL gives it, width first."""
    return np.random.default_rng(seed).integers(50, 255, (size[1], size[0], 3), dtype=np.uint8)


def box(size, left, top, right, bottom, value=255):
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[top:bottom, left:right] = value
    return mask


def save(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **({"quality": 75} if path.suffix == ".jpg" else {}))


@pytest.fixture
def busi(tmp_path):
    """11 benign, 3 malignant and 2 normal pictures; benign (4) has a second mask, with transparency, (5)'s is 1 bit."""
    source, size = tmp_path / "Dataset_BUSI_with_GT", (40, 30)
    for kind, count in (("benign", 11), ("malignant", 3), ("normal", 2)):
        for n in range(1, count + 1):
            save(source / kind / f"{kind} ({n}).png", picture(n, size))
            mask = box(size, *((0, 0, 0, 0) if kind == "normal" else (5, 6, 15, 16)))
            save(source / kind / f"{kind} ({n})_mask.png", mask, "1" if n == 5 else "RGB")
    save(source / "benign" / "benign (4)_mask_1.png", box(size, 30, 20, 38, 28), "RGBA")
    return source


@pytest.fixture
def glas(tmp_path):
    source, size = tmp_path / "Warwick_QU", (50, 40)
    for n, name in enumerate([*(f"train_{k}" for k in range(1, 8)), *(f"testA_{k}" for k in range(1, 4)), "testB_1"]):
        save(source / f"{name}.bmp", picture(n, size))
        save(source / f"{name}_anno.bmp", box(size, 5, 5, 20, 20, 1) + box(size, 30, 10, 45, 35, 7))
    (source / "Grade.csv").write_text("name, patient ID\n")
    return source


@pytest.fixture
def kvasir(tmp_path):
    source, size = tmp_path / "Kvasir-SEG", (48, 36)
    for n in range(10):
        save(source / "images" / f"cju{n}x.jpg", picture(n, size))
        save(source / "masks" / f"cju{n}x.jpg", box(size, 9, 10, 30, 25))
    return source


@pytest.fixture
def convert(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))

    def run(*words):
        status = main(["convert", *map(str, words)])
        return status, capsys.readouterr().err

    run.raw = tmp_path / "raw"
    return run


def read(path):
    with Image.open(path) as file:
        return np.asarray(file)


def labels(folder, case):
    return read(folder / "labelsTr" / f"{case}.png")


def test_busi_joins_the_masks_of_a_picture_and_leaves_the_normal_ones_out(busi, convert):
    assert convert("busi", busi, 501, "--size", "native")[0] == 0
    folder = convert.raw / "Dataset501_BUSI"
    assert len(list((folder / "imagesTr").iterdir())) == 14
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 14
    two = labels(folder, "benign_4")
    assert two.sum() == 10 * 10 + 8 * 8
    assert two[10, 10] == two[24, 34] == 1
    assert labels(folder, "benign_5").sum() == 100
    original = read(busi / "benign" / "benign (4).png")
    assert np.array_equal(read(folder / "imagesTr" / "benign_4_0000.png"), original)


def test_busi_with_the_normal_pictures_and_as_u_kan_reads_it(busi, convert):
    assert convert("busi", busi, 501, "--size", "native", "--include-normal", "--first-mask-only")[0] == 0
    folder = convert.raw / "Dataset501_BUSI"
    assert len(list((folder / "labelsTr").iterdir())) == 16
    assert labels(folder, "normal_2").max() == 0
    assert labels(folder, "benign_4").sum() == 100


def test_glas_makes_one_class_of_the_glands_and_kvasir_of_blurred_masks(glas, kvasir, convert):
    assert convert("glas", glas, 502, "--size", "native")[0] == 0
    assert labels(convert.raw / "Dataset502_GlaS", "testA_1").sum() == 15 * 15 + 15 * 25
    assert convert("kvasir", kvasir, 503, "--size", "native")[0] == 0
    assert np.unique(read(kvasir / "masks" / "cju0x.jpg")).size > 2  # JPEG has more than two values
    assert labels(convert.raw / "Dataset503_KvasirSEG", "cju0x").sum() == 21 * 15


@pytest.mark.parametrize(("name", "size"), [("busi", 256), ("glas", 512), ("kvasir", 256)])
def test_the_papers_sizes_are_the_default(name, size, convert, request):
    assert convert(name, request.getfixturevalue(name), 7)[0] == 0
    folder = next(convert.raw.glob("Dataset007_*"))
    for part in ("imagesTr", "labelsTr"):
        assert {read(path).shape[:2] for path in (folder / part).iterdir()} == {(size, size)}
    assert {tuple(np.unique(labels(folder, path.stem))) for path in (folder / "labelsTr").iterdir()} == {(0, 1)}


def test_the_folds_are_scikit_learns_splits_of_the_names_in_u_kans_order(busi, convert):
    convert("busi", busi, 501, "--size", "16")
    folds = json.loads((convert.raw / "Dataset501_BUSI" / "splits_final.json").read_text())
    files = sorted(path.name for path in busi.glob("*/*.png") if "mask" not in path.name and "normal" not in path.name)
    ids = [name.removesuffix(".png") for name in files]
    assert ids[:3] == ["benign (1)", "benign (10)", "benign (11)"]
    for fold, seed in zip(folds, SEEDS, strict=True):
        train, val = train_test_split(ids, test_size=0.2, random_state=seed)
        assert fold["train"] == [name.replace(" (", "_").replace(")", "") for name in train]
        assert fold["val"] == [name.replace(" (", "_").replace(")", "") for name in val]
        assert (len(train), len(val)) == (11, 3)


def test_of_a_thousand_pictures_800_are_trained_on_and_200_held_out():
    from nnunet_prosma.convert.splits import splits

    assert [(len(f["train"]), len(f["val"])) for f in splits([str(n) for n in range(1000)])] == [(800, 200)] * 3


def test_resizing_is_bilinear_without_smoothing_and_for_masks_takes_the_pixel_at_the_corner():
    ramp = np.arange(0, 160, 10, dtype=np.uint8).reshape(4, 4)
    # of each pixel's centre, (i + 0.5) * 2 - 0.5 = 0.5 and 2.5: the mean of four neighbours
    assert resized(ramp, 2, "bilinear").tolist() == [[25, 45], [105, 125]]
    assert resized(ramp, 2, "nearest").tolist() == [[0, 20], [80, 100]]
    assert resized(np.stack([ramp] * 3, -1), 2, "bilinear")[0, 1].tolist() == [45] * 3


def damage_missing(source):
    (source / "benign" / "benign (3)_mask.png").unlink()
    return r"benign \(3\)_mask.png is missing"


def damage_size(source):
    save(source / "benign" / "benign (3)_mask.png", box((20, 30), 1, 1, 5, 5))
    return r"benign \(3\)_mask.png has 20x30 pixels and its picture 40x30$"


def damage_content(source):
    path = source / "benign" / "benign (3).png"
    path.write_bytes(path.read_bytes()[:300])
    return r"benign \(3\).png cannot be read"


def damage_picture(source):
    (source / "benign" / "benign (3).png").unlink()
    return r"benign \(3\).png is missing, but there is a mask for it$"


def damage_kind(source):
    """A mask that marks by 1, not by white."""
    save(source / "benign" / "benign (3)_mask.png", box((40, 30), 5, 6, 15, 16, 1))
    return r"benign \(3\)_mask.png holds numbers up to 1, and none that marks anything"


@pytest.mark.parametrize("damage", [damage_picture, damage_missing, damage_size, damage_content, damage_kind])
def test_a_picture_that_cannot_be_used_is_named_and_nothing_is_written(busi, convert, damage):
    message = damage(busi)
    (busi / "malignant" / "malignant (2)_mask.png").unlink()
    status, error = convert("busi", busi, 501)
    assert status == 2
    assert re.search(message, error, re.MULTILINE)
    assert "malignant (2)_mask.png is missing" in error  # all of them are told, not only the first
    assert not convert.raw.exists() or not any(convert.raw.iterdir())


def test_a_further_mask_that_is_larger_than_its_picture_is_an_error_unless_it_is_said_what_to_do(busi, convert):
    save(busi / "benign" / "benign (4)_mask_1.png", box((60, 40), 40, 25, 48, 33), "RGBA")  # drawn on a larger frame
    status, error = convert("busi", busi, 501, "--size", "native")
    assert status == 2
    assert "benign (4)_mask_1.png has 60x40 pixels and its picture 40x30; --other-size says what to do" in error
    convert("busi", busi, 501, "--size", "native", "--other-size", "centre-crop")
    cut = labels(convert.raw / "Dataset501_BUSI", "benign_4")
    assert cut.sum() == 164
    assert cut[20:28, 30:38].all()
    convert("busi", busi, 502, "--size", "native", "--other-size", "leave-out")
    assert labels(convert.raw / "Dataset502_BUSI", "benign_4").sum() == 100


def test_masks_without_a_picture_and_pictures_without_a_mask_are_named_in_the_other_layouts_too(glas, kvasir, convert):
    (glas / "train_3.bmp").unlink()
    (glas / "testA_2_anno.bmp").unlink()
    error = convert("glas", glas, 502)[1]
    assert "train_3.bmp is missing, but there is a mask for it" in error
    assert "testA_2_anno.bmp is missing: every picture needs a mask" in error
    (kvasir / "images" / "cju3x.jpg").unlink()
    (kvasir / "masks" / "cju5x.jpg").unlink()
    error = convert("kvasir", kvasir, 503)[1]
    assert "cju3x.jpg is missing, but there is a mask for it" in error
    assert "cju5x.jpg is missing: every picture needs a mask" in error
    assert not convert.raw.exists() or not any(convert.raw.iterdir())


def test_a_number_that_is_taken_and_a_folder_of_another_layout_are_refused(busi, kvasir, convert):
    convert("kvasir", kvasir, 501, "--size", "16")
    assert "number 501 is taken by" in convert("busi", busi, 501)[1]
    assert "has no folder images and no masks" in convert("kvasir", busi, 502)[1]
    assert "holds no pictures of glas" in convert("glas", kvasir, 502)[1]
    assert "--include-normal is for busi alone" in convert("kvasir", kvasir, 502, "--include-normal")[1]
    assert (
        "--size must be native or a number of pixels from 16 on, got '8'"
        in convert("kvasir", kvasir, 5, "--size", 8)[1]
    )
    assert [path.name for path in convert.raw.iterdir()] == ["Dataset501_KvasirSEG"]


def test_transparency_of_a_grey_mask_does_not_count(busi, convert):
    save(busi / "benign" / "benign (3)_mask.png", box((40, 30), 5, 6, 7, 8), "LA")
    assert convert("busi", busi, 501, "--size", "native")[0] == 0
    assert labels(convert.raw / "Dataset501_BUSI", "benign_3").sum() == 4


def test_two_files_of_one_name_are_refused(kvasir, convert):
    save(kvasir / "images" / "cju3x.png", picture(3, (48, 36)))
    status, error = convert("kvasir", kvasir, 503)
    assert status == 2
    assert "cju3x.jpg and cju3x.png would be one case: take one of them out" in error


def test_two_pictures_that_would_be_one_case_are_refused(busi):
    from nnunet_prosma.convert.busi import pairs
    from nnunet_prosma.convert.raw_dataset import in_order

    save(busi / "benign" / "benign_4.png", picture(0, (40, 30)))
    with pytest.raises(InputError, match="would be the same case benign_4; rename one"):
        in_order(pairs(busi, normal=False, first_mask_only=False, other_size="error"))
