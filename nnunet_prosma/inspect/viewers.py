"""Names and colours of a segmentation for ITK-SNAP and for 3D Slicer."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_prosma.files import write_text
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.images import write_whole
from nnunet_prosma.report.overlay import colours

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "itksnap_labels.txt"
HEAD = """################################################
# ITK-SnAP Label Description File
# Columns: index, red, green, blue (0 to 255), opacity (0 to 1), visible, visible in 3D, name
################################################
"""


def codes(dataset: Dataset) -> dict[int, tuple[str, tuple[int, int, int]]]:
    """The number that a prediction's file holds -> name and colour, as in the figures.

    A voxel of a region has the number that regions_class_order gives the region.
    """
    found = colours(list(dataset.labels))
    order = dataset.said.regions_class_order
    numbers = [int(n) for n in order] if any(isinstance(key, tuple) for key in found) and order else None
    values = numbers or [key if isinstance(key, int) else key[0] for key in found]
    shades = [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in found.values()]
    return dict(zip(values, zip(dataset.labels.values(), shades, strict=True), strict=True))


def write_label_descriptions(folder: Path, dataset: Dataset) -> Path:
    """Writes a file for itksnap -l."""
    lines = ['    0     0    0    0        0  0  0    "Clear Label"']
    for number, (name, (red, green, blue)) in sorted(codes(dataset).items()):
        quoted = name.replace('"', "'")
        lines.append(f'{number:5d} {red:5d}{green:5d}{blue:5d}        1  1  1    "{quoted}"')
    write_text(folder / FILE, HEAD + "\n".join(lines) + "\n")
    return folder / FILE


def extent_of(mask: "NDArray[np.bool_]") -> str:
    """First and last voxel along x, y and z of what is there in (z, y, x), as 3D Slicer tells it."""
    there = (mask.any(axis=others).nonzero()[0] for others in ((0, 1), (0, 2), (1, 2)))
    return " ".join(f"{at[0]} {at[-1]}" if at.size else "0 -1" for at in there)


def write_for_slicer(segmentation: Path, dataset: Dataset, properties: Any) -> Path | None:
    """CASE.seg.nrrd beside CASE.nii.gz, which 3D Slicer opens as a segmentation; None for what is not a volume."""
    if "sitk_stuff" not in properties and "nibabel_stuff" not in properties:
        return None
    import SimpleITK

    image = SimpleITK.ReadImage(str(segmentation))
    if image.GetDimension() != 3:
        return None
    image = SimpleITK.Cast(image, SimpleITK.sitkUInt8 if max(codes(dataset)) < 256 else SimpleITK.sitkUInt16)
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    array = SimpleITK.GetArrayViewFromImage(image)
    entries = {
        "Segmentation_SourceRepresentation": "Binary labelmap",
        "Segmentation_MasterRepresentation": "Binary labelmap",  # its name in older versions of 3D Slicer
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for index, (number, (name, colour)) in enumerate(codes(dataset).items()):
        entries |= {
            f"Segment{index}_ID": f"label_{number}",
            f"Segment{index}_Name": name,
            f"Segment{index}_Color": " ".join(f"{value / 255:.6f}" for value in colour),
            f"Segment{index}_LabelValue": str(number),
            f"Segment{index}_Layer": "0",
            f"Segment{index}_Extent": extent_of(array == number),
        }
    for key, value in entries.items():
        image.SetMetaData(key, " ".join(value.split()))
    path = segmentation.with_name(f"{segmentation.name.removesuffix(dataset.file_ending)}.seg.nrrd")
    write_whole(lambda name: SimpleITK.WriteImage(image, name, True), path)
    return path
