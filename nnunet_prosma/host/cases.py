"""The images of a folder as nnU-Net's predictions take them: CASE_0000.nii.gz, CASE_0001.nii.gz, ..."""

from pathlib import Path

from nnunet_prosma.errors import InputError


def cases_in(folder: Path, ending: str) -> dict[str, list[str]]:
    """Each case with its files in the order of channels, as nnU-Net finds them; none is an InputError."""
    from nnunetv2.utilities.utils import create_lists_from_splitted_dataset_folder

    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: -i must name the folder of the images")
    lists = create_lists_from_splitted_dataset_folder(str(folder), ending, num_processes=1)
    if not any(lists):
        raise InputError(f"{folder} holds no image: their names must be CASE_0000{ending}, as for nnUNetv2_predict")
    return {Path(files[0]).name[: -len(f"_0000{ending}")]: sorted(files) for files in lists if files}
