"""Images that are damaged are refused before nnU-Net's readers see them; whole ones are read as those read them."""

import gzip
import struct
import zlib

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.imageio.tif_reader_writer import Tiff3DIO
from PIL import Image

from nnunet_prosma.errors import InputError
from nnunet_prosma.host import whole as checks
from nnunet_prosma.host.images import read_images, read_segmentation
from nnunet_prosma.host.whole import require_whole

RNG = np.random.default_rng(0)
VOXELS = RNG.normal(0, 100, (11, 37, 41)).astype(np.int16)


def write_itk(path, compress, kind=np.int16):
    image = sitk.GetImageFromArray(VOXELS.astype(kind))
    image.SetSpacing((0.5, 0.7, 3.0))
    sitk.WriteImage(image, str(path), compress)


def write_png(path, _):
    Image.fromarray(RNG.integers(0, 255, (60, 50, 3), np.uint8)).save(path)


def write_tif(path, compress):
    tifffile.imwrite(path, VOXELS, compression="zlib" if compress else None, photometric="minisblack")


KINDS = {
    "cut.nii.gz": (write_itk, True, SimpleITKIO),
    "cut.nii": (write_itk, False, NibabelIO),
    "packed.mha": (write_itk, True, SimpleITKIO),
    "plain.mha": (write_itk, False, SimpleITKIO),
    "packed.nrrd": (write_itk, True, SimpleITKIO),
    "plain.nrrd": (write_itk, False, SimpleITKIO),
    "packed.tif": (write_tif, True, Tiff3DIO),
    "plain.tif": (write_tif, False, Tiff3DIO),
    "picture.png": (write_png, None, NaturalImage2DIO),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def written(kind, tmp_path):
    write, compress, reader = KINDS[kind]
    write(tmp_path / kind, compress)
    return tmp_path / kind, reader()


@every_kind
def test_a_whole_file_is_read_as_nnunet_reads_it(written):
    path, reader = written
    ours, theirs = read_images(reader, [path]), reader.read_images([str(path)])
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert ours[1]["spacing"] == theirs[1]["spacing"]


@every_kind
@pytest.mark.parametrize("share", [0.01, 0.5, 0.97])
def test_a_file_that_is_cut_off_is_refused(written, share):
    path, reader = written
    content = path.read_bytes()
    path.write_bytes(content[: max(1, int(share * len(content)))])
    with pytest.raises(InputError, match=rf"{path.name}.* (cut off|damaged)"):
        read_images(reader, [path])


@pytest.mark.parametrize("kind", ["cut.nii.gz", "packed.mha", "packed.nrrd", "picture.png"])
def test_one_turned_bit_is_seen_by_the_checksum(written):
    path, reader = written
    content = bytearray(path.read_bytes())
    content[int(0.8 * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path.name}.* (cut off|damaged)"):
        read_images(reader, [path])


@every_kind
def test_an_empty_file_and_a_text_are_refused(written):
    path, reader = written
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is empty, 0 bytes"):
        read_images(reader, [path])
    path.write_text("no image\n" * 100)
    with pytest.raises(InputError, match=f"{path.name} cannot be read"):
        read_images(reader, [path])
    path.unlink()
    with pytest.raises(InputError, match="is missing"):
        read_images(reader, [path])


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("compress", [True, False])
def test_every_type_of_voxel_is_counted_rightly(kind, ending, compress, tmp_path):
    path = tmp_path / f"x{ending}"
    write_itk(path, compress, kind)
    require_whole([path])
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 30)
    with pytest.raises(InputError, match="cut off"):
        require_whole([path])


def test_nifti_of_the_second_version_and_of_the_other_order_of_bytes_is_known(tmp_path):
    nibabel.save(nibabel.Nifti2Image(VOXELS, np.eye(4)), tmp_path / "second.nii.gz")
    big = nibabel.Nifti1Header(endianness=">")
    big.set_data_shape(VOXELS.shape)
    big.set_data_dtype(np.int16)
    (tmp_path / "big.nii").write_bytes(big.binaryblock + bytes(4) + VOXELS.astype(">i2").tobytes())
    nibabel.load(tmp_path / "big.nii").get_fdata()
    for name in ("second.nii.gz", "big.nii"):
        require_whole([tmp_path / name])
    (tmp_path / "big.nii").write_bytes((tmp_path / "big.nii").read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"big.nii cannot be read: it is cut off, its header tells \d+ bytes"):
        require_whole([tmp_path / "big.nii"])


def claiming(shape, kind=np.float32):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(kind)
    header["dim"][: len(shape) + 1] = [len(shape), *shape]
    header["vox_offset"], header["magic"] = 352, b"n+1"
    return header.binaryblock + bytes(4)


def test_a_header_that_claims_more_than_its_file_can_hold_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(claiming((30000, 30000, 30000)) + bytes(10000)))
    with pytest.raises(InputError, match=r"bomb.nii.gz cannot be read: its header tells \d+ bytes, more than"):
        require_whole([path])
    path.write_bytes(gzip.compress(claiming((256, 256, 128)) + bytes(1 << 25)))  # in 33 KiB: as much as can be
    require_whole([path])
    monkeypatch.setattr(checks, "memory_bytes", lambda: 3e7)
    with pytest.raises(InputError, match=r"claims to hold 0.0 GB of voxels, and there are 0.0 GB of memory"):
        require_whole([path])


def test_a_file_that_holds_far_more_than_its_header_tells_is_left_at_once(tmp_path, monkeypatch):
    path = tmp_path / "bomb.nii.gz"
    packer = zlib.compressobj(9, wbits=31)
    with path.open("wb") as file:
        file.write(packer.compress(claiming((10, 10, 10)) + bytes(1 << 25)) + packer.flush())
    inflated = []
    real = checks._inflated
    monkeypatch.setattr(checks, "_inflated", lambda *a: (inflated.append(len(p)) or p for p in real(*a)))
    with pytest.raises(InputError, match="its header tells 4352 bytes, and there are far more"):
        require_whole([path])
    assert sum(inflated) < 1 << 22


def test_a_gzip_file_of_several_members_is_one(tmp_path):
    whole = claiming((8, 8, 8)) + bytes(8**3 * 4)
    path = tmp_path / "members.nii.gz"
    path.write_bytes(gzip.compress(whole[:1000]) + gzip.compress(whole[1000:]))
    require_whole([path])
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the checksum of the second
    path.write_bytes(content)
    with pytest.raises(InputError, match="incorrect data check"):
        require_whole([path])


@pytest.mark.parametrize("short", [0, 1, 2])
def test_a_member_of_a_gzip_file_may_end_anywhere_in_a_piece_that_is_read(short, tmp_path):
    whole = claiming((128, 128, 128), np.uint8) + np.random.default_rng(0).bytes(128**3)
    half = checks.PIECE - 1000
    packed = gzip.compress(whole[:half], 0)
    name = b"n" * (checks.PIECE - short - len(packed) - 1) + b"\0"
    member = packed[:3] + b"\x08" + packed[4:10] + name + packed[10:]  # with the name of a file, as gzip writes it
    assert len(member) == checks.PIECE - short
    path = tmp_path / "members.nii.gz"
    path.write_bytes(member + gzip.compress(whole[half:], 0))
    assert gzip.decompress(path.read_bytes()) == whole
    require_whole([path])


def test_a_tif_with_a_page_that_was_never_written_is_refused(tmp_path):
    path = tmp_path / "sparse.tif"
    tifffile.imwrite(path, VOXELS, compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        tag = tif.pages[5].tags["StripByteCounts"]
        where, order = tag.valueoffset, tif.byteorder
    content = bytearray(path.read_bytes())
    content[where : where + 4] = struct.pack(f"{order}I", 0)
    path.write_bytes(content)
    with pytest.raises(InputError, match="cut off or damaged"):
        require_whole([path])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(value, tmp_path):
    voxels = VOXELS.astype(np.float32)
    voxels[3, 4, 5] = value
    path = tmp_path / "x_0000.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
    with pytest.raises(InputError, match=r"x_0000.nii.gz holds values that are no numbers \(NaN or infinite\)"):
        read_images(SimpleITKIO(), [path])
    whole = tmp_path / "x_0001.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS.astype(np.float32)), str(whole))
    with pytest.raises(InputError, match=r"x_0000.nii.gz holds values"):
        read_images(SimpleITKIO(), [whole, path])


def test_the_largest_numbers_are_finite(tmp_path):
    path = tmp_path / "x.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.full((40, 40, 40), np.finfo(np.float32).max, np.float32)), str(path))
    read_images(SimpleITKIO(), [path])


def test_a_segmentation_holds_whole_numbers(tmp_path):
    path = tmp_path / "x.nii.gz"
    for values, fits in (([0.0, 1.0, 2.0], True), ([0.0, 0.5, 1.0], False), ([0.0, np.nan, 1.0], False)):
        voxels = np.resize(np.float32(values), (6, 7, 8))
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
        if fits:
            np.testing.assert_array_equal(read_segmentation(SimpleITKIO(), path)[0][0], voxels)
        else:
            with pytest.raises(
                InputError, match=r"x.nii.gz (must be a segmentation, of whole|holds values that are no)"
            ):
                read_segmentation(FloatReader(), path)


class FloatReader(SimpleITKIO):
    """nnU-Net's makes whole numbers of what it reads; a reader of one's own may not."""

    def read_seg(self, path):
        return sitk.GetArrayFromImage(sitk.ReadImage(path))[None], {}
