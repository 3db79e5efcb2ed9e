"""Files of images that are cut off or damaged are refused before a reader sees them.

What a file holds is held against what its header tells, and its checksums are checked; the size that a header claims
must fit into memory. In NIfTI no value may be NaN or infinite.
"""

import os
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.memory import memory_bytes

PIECE = 1 << 20
DEFLATE = 1032
"""No deflated byte holds more than so many (zlib's technical notes)."""
GZIP, ZLIB = 31, 15
"""zlib's names for the two wrappings of deflated data."""
HEADER = 1 << 16
"""A text header is shorter than that."""
METAIMAGE = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "FLOAT": 4}
METAIMAGE |= {"LONG": 4, "ULONG": 4, "DOUBLE": 8, "LONG_LONG": 8, "ULONG_LONG": 8}
NRRD = {"char": 1, "short": 2, "int": 4, "longlong": 8, "float": 4, "double": 8}
for _bits in (8, 16, 32, 64):
    NRRD[f"int{_bits}"] = _bits // 8
for _name, _c in {"char": "char", "short": "short", "int": "int", "long long": "longlong"}.items():
    NRRD |= {f"{sign}{_name}": NRRD[_c] for sign in ("", "signed ", "unsigned ")}
NRRD |= {f"u{name}": NRRD[name] for name in ("char", "short", "int", "int8", "int16", "int32", "int64", "longlong")}
NRRD |= {f"{name}_t": NRRD[name] for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")}
NRRD |= {"longlong int": 8, "signed long long int": 8, "unsigned long long int": 8, "short int": 2}


def require_whole(files: Sequence[str | Path]) -> None:
    """Each file holds what its header tells; else an InputError that names the first that does not."""
    for file in map(Path, files):
        if not file.is_file():
            there = os.path.lexists(file)
            raise InputError(f"{file} is no file, or a link that leads nowhere" if there else f"{file} is missing")
        if file.stat().st_size == 0:
            raise InputError(f"{file} is empty, 0 bytes: it was not copied whole")
        try:
            _check(file)
        except InputError:
            raise
        except Exception as error:  # a header that is no header trips its parser in any way
            raise unreadable(file, error) from None


def is_whole(file: Path) -> bool:
    try:
        require_whole([file])
    except InputError:
        return False
    return True


def require_finite(values: np.ndarray, file: Any) -> None:
    """By the sum, which takes no memory of its own: float32 cannot overflow in float64."""
    if np.issubdtype(values.dtype, np.integer):
        return
    with np.errstate(all="ignore"):
        finite = np.isfinite(values.sum(dtype=np.float64)) or np.isfinite(values).all()
    if not finite:
        raise InputError(f"{file} holds values that are no numbers (NaN or infinite)")


def _check(file: Path) -> None:
    name = file.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        _check_nifti(file)
    elif name.endswith(".mha"):
        _check_metaimage(file)
    elif name.endswith(".nrrd"):
        _check_nrrd(file)
    elif name.endswith((".tif", ".tiff")):
        _check_tif(file)
    elif name.endswith((".png", ".bmp", ".jpg", ".jpeg")):
        _check_picture(file)


def _check_nifti(file: Path) -> None:
    with file.open("rb") as opened:
        packed = opened.read(2) == b"\x1f\x8b"
        opened.seek(0)
        pieces = _inflated(opened, GZIP) if packed else _raw(opened)
        start = b""
        for piece in pieces:
            start += piece
            if len(start) >= 540:
                break
        begin, voxels, kind = _nifti_voxels(start)
        _require_possible(file, voxels, packed)
        held, rest = 0, b""
        for piece in chain([start], pieces):
            if kind.kind == "f":
                rest = _require_finite_bytes(file, rest + piece[max(0, begin - held) :], kind)
            held += len(piece)
            if held > begin + voxels + PIECE:
                break
        _compare(file, held, begin + voxels)


def _require_finite_bytes(file: Path, content: bytes, kind: np.dtype) -> bytes:
    """What is left behind the last whole number. Looked at here, since SimpleITK makes zeros of a NIfTI's NaN."""
    whole = len(content) - len(content) % kind.itemsize
    require_finite(np.frombuffer(content[:whole], kind), file)
    return content[whole:]


def _nifti_voxels(start: bytes) -> tuple[int, int, np.dtype]:
    """Where the voxels begin, their bytes and their type, of NIfTI's first or second version in either byte order."""
    import nibabel

    if start[:4] in (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c"):
        header: Any = nibabel.Nifti1Header(start[:348], check=False)
    elif start[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c"):
        header = nibabel.Nifti2Header(start[:540], check=False)
    else:
        raise ValueError("it has no header of NIfTI")
    shape = [int(n) for n in header.get_data_shape()]
    if not shape or min(shape) < 1 or header["bitpix"] < 1:
        raise ValueError(f"its header tells a size of {'x'.join(map(str, shape)) or 'nothing'}")
    begin = max(int(header["vox_offset"]), len(header.binaryblock))
    return begin, _product(shape) * int(header["bitpix"]) // 8, header.get_data_dtype()


def _check_metaimage(file: Path) -> None:
    with file.open("rb") as opened:
        start = opened.read(HEADER)
        head = re.match(rb"(?:[^\n]*\n)*?ElementDataFile *= *([^\r\n]*)\r?\n", start)
        if head is None:
            raise ValueError("it has no header of a MetaImage")
        if head[1].strip() != b"LOCAL":
            return  # the voxels are in other files, and their reader misses them
        said = dict(re.findall(r"^ *(\w+) *= *(.*?)\s*$", head[0].decode("latin-1"), re.MULTILINE))
        size = [int(n) for n in said["DimSize"].split()]
        kind = said["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")
        voxels = _product(size) * int(said.get("ElementNumberOfChannels", 1)) * METAIMAGE[kind]
        packed = said.get("CompressedData", "False").lower() in ("true", "1")
        _compare_rest(file, opened, head.end(), voxels, ZLIB if packed else None)


def _check_nrrd(file: Path) -> None:
    with file.open("rb") as opened:
        start = opened.read(HEADER)
        head = re.match(rb"NRRD(?:[^\n]*\n)*?\r?\n", start)
        if head is None:
            raise ValueError("it has no header of an NRRD")
        said = dict(re.findall(r"^([\w ]+): *(.*?)\s*$", head[0].decode("latin-1"), re.MULTILINE))
        encoding = said["encoding"].lower()
        if "data file" in said or "datafile" in said or encoding not in ("raw", "gz", "gzip"):
            return
        size = [int(n) for n in said["sizes"].split()]
        voxels = _product(size) * NRRD[said["type"]]
        _compare_rest(file, opened, head.end(), voxels, None if encoding == "raw" else GZIP)


def _check_tif(file: Path) -> None:
    import tifffile

    whole = file.stat().st_size
    _require_all_pages(file, whole)
    with tifffile.TiffFile(file) as tif:
        for series in tif.series:
            _require_possible(file, _product(series.shape) * series.dtype.itemsize, packed=False)
            if series.dataoffset is not None and series.dataoffset + series.nbytes > whole:
                raise InputError(
                    f"{file} cannot be read: it is cut off, it has {whole} bytes, and its voxels need more"
                )
            for page in series.pages:
                if page is None:
                    raise ValueError("a page is missing")
                segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
                if not segments or any(count < 1 or offset + count > whole for offset, count in segments):
                    raise InputError(
                        f"{file} cannot be read: it is cut off or damaged, pages lie beyond its end or were not written"
                    )


def _require_all_pages(file: Path, whole: int) -> None:
    """Each page's directory lies in the file: tifffile leaves out, with a word to the log, those that do not."""
    with file.open("rb") as opened:
        start = opened.read(16)
        order: Any = {b"II": "little", b"MM": "big"}[start[:2]]
        big = int.from_bytes(start[2:4], order) == 43
        count, entry, link = (8, 20, 8) if big else (2, 12, 4)
        place = int.from_bytes(start[8:16] if big else start[4:8], order)
        seen = set()
        while place and place not in seen:
            seen.add(place)
            opened.seek(place)
            after = place + count + entry * int.from_bytes(opened.read(count), order)
            opened.seek(after)
            if after + link > whole:
                raise InputError(f"{file} cannot be read: it is cut off, its page {len(seen)} lies beyond its end")
            place = int.from_bytes(opened.read(link), order)


def _check_picture(file: Path) -> None:
    with opened_picture(file) as picture:
        _require_possible(file, _product(picture.size) * len(picture.getbands()), packed=False)
        picture.verify()  # of PNG the checksums


@contextmanager
def opened_picture(file: Path) -> Iterator[Any]:
    """By Pillow, whose warning of a picture that may fill the memory is an error here."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file) as picture:
            yield picture


def _compare_rest(file: Path, opened: BinaryIO, begin: int, voxels: int, packing: int | None) -> None:
    _require_possible(file, voxels, packed=packing is not None)
    opened.seek(begin)
    held = 0
    for piece in _raw(opened) if packing is None else _inflated(opened, packing):
        held += len(piece)
        if held > voxels + PIECE:
            break
    _compare(file, held, voxels)


def _compare(file: Path, held: int, wanted: int) -> None:
    if held < wanted:
        raise InputError(f"{file} cannot be read: it is cut off, its header tells {wanted} bytes, and there are {held}")
    if held > wanted + PIECE:
        raise InputError(
            f"{file} cannot be read: it is damaged, its header tells {wanted} bytes, and there are far more"
        )


def _require_possible(file: Path, voxels: int, packed: bool) -> None:
    """The claimed size against what the file can hold, and against memory: nnU-Net holds images as float32."""
    if voxels < 1:
        raise ValueError("its header tells a size of nothing")
    if packed and voxels > DEFLATE * file.stat().st_size:
        raise InputError(
            f"{file} cannot be read: its header tells {voxels} bytes, more than a file of its size can hold"
        )
    if voxels > (limit := memory_bytes()):
        raise InputError(
            f"{file} claims to hold {voxels / 1e9:.1f} GB of voxels, and there are {limit / 1e9:.1f} GB of memory"
        )


def _raw(opened: BinaryIO) -> Iterator[bytes]:
    while piece := opened.read(PIECE):
        yield piece


def _inflated(opened: BinaryIO, packing: int) -> Iterator[bytes]:
    """Checksums are checked by zlib at each member's end; a file that ends before is an error."""
    inflate = zlib.decompressobj(packing)
    rest = b""
    while True:
        rest = rest or opened.read(PIECE)
        if inflate.eof:
            if len(rest) == 1:  # the first of the two bytes that tell another member
                rest += opened.read(PIECE)
            if packing != GZIP or not rest.startswith(b"\x1f\x8b"):  # padding
                return
            inflate = zlib.decompressobj(packing)
        piece = inflate.decompress(rest, PIECE)
        if not rest and not piece and not inflate.eof:
            raise ValueError("its compressed data ends too early")
        yield piece
        rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail


def _product(sizes: Sequence[int]) -> int:
    product = 1
    for size in sizes:
        product *= int(size)
    return product


def unreadable(file: str | Path, error: Exception) -> InputError:
    said = " ".join(str(error).split())[:300]
    return InputError(f"{file} cannot be read: it is cut off or damaged ({said or type(error).__name__})")
