"""What every training of a study needs and none may make beside another: the splits, and the data unpacked."""

import contextlib
import io
import tempfile
from pathlib import Path
from types import SimpleNamespace

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import write_text
from nnunet_prosma.host.datasets import planned_setup
from nnunet_prosma.study.setting import Setting


def prepare(setting: Setting) -> None:
    """Trainings that start together would race on these (nnU-Net's issues 3064 and 2626)."""
    folders = data_folders(setting)
    if not setting.splits.is_file():
        write_splits(setting.splits, folders[0])
        print(f"{setting.splits} is written: nnU-Net's own five folds", flush=True)
    for folder in folders:
        unpack(folder)


def data_folders(setting: Setting) -> list[Path]:
    """The preprocessed data of each arm's plans."""
    setups = [planned_setup(setting.dataset, arm.plans, setting.study.configuration) for arm in setting.study.arms]
    names = [str(setup.settings()["data_identifier"]) for setup in setups]
    folders = [setting.preprocessed / name for name in dict.fromkeys(names)]
    for folder in folders:
        if not folder.is_dir() or not any(folder.iterdir()):
            number = setting.dataset[len("Dataset") :].split("_")[0]
            raise InputError(
                f"{folder} holds no preprocessed data; make it first: nnUNetv2_preprocess -d {number} "
                f"-c {setting.study.configuration}"
            )
    return folders


def write_splits(path: Path, data: Path) -> None:
    """By nnU-Net's own method, which is handed another place to write to, so that the file appears whole."""
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    with tempfile.TemporaryDirectory() as folder:
        trainer = SimpleNamespace(
            dataset_class=infer_dataset_class(str(data)),
            fold=0,
            preprocessed_dataset_folder=str(data),
            preprocessed_dataset_folder_base=folder,
            folder_with_segs_from_previous_stage=None,
            print_to_log_file=lambda *words: None,
        )
        try:
            nnUNetTrainer.do_split(trainer)
        except ValueError as error:
            raise InputError(f"nnU-Net cannot split {data} into five folds: {error}") from None
        write_text(path, (Path(folder) / path.name).read_text())


def unpack(folder: Path) -> None:
    """nnU-Net's own; nothing to do for data in its newer format."""
    from nnunetv2.configuration import default_num_processes
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    with contextlib.redirect_stdout(io.StringIO()):
        infer_dataset_class(str(folder)).unpack_dataset(
            str(folder), overwrite_existing=False, num_processes=default_num_processes, verify=True
        )
