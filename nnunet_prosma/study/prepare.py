"""What every training of a study needs and none may make beside another: the splits, and the data unpacked."""

import json
from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import write_text
from nnunet_prosma.host.check import converted
from nnunet_prosma.host.datasets import planned_setup
from nnunet_prosma.host.prepared import own_splits, unpack
from nnunet_prosma.host.schema import Split
from nnunet_prosma.host.splits import read_splits
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.spec import Arm


def prepare(setting: Setting) -> None:
    """Trainings that start together would race on these (nnU-Net's issues 3064 and 2626)."""
    folders = data_folders(setting)
    if not setting.splits.is_file():
        write_text(setting.splits, own_splits(folders[0]))
        print(f"{setting.splits} is written: nnU-Net's own five folds", flush=True)
    for folder in folders:
        unpack(folder)


def splits_of(setting: Setting) -> list[Split]:
    """What the trainings go by: the file, or while there is none nnU-Net's own, which prepare() is to write there."""
    if setting.splits.is_file():
        return read_splits(setting.splits)
    own = own_splits(data_folder(setting, setting.study.arms[0]))
    return converted(json.loads(own), list[Split], str(setting.splits))


def data_folders(setting: Setting) -> list[Path]:
    """The preprocessed data of each arm's plans."""
    return list(dict.fromkeys(data_folder(setting, arm) for arm in setting.study.arms))


def data_folder(setting: Setting, arm: Arm) -> Path:
    setup = planned_setup(setting.dataset, arm.plans, setting.study.configuration)
    folder = setting.preprocessed / str(setup.manager.data_identifier)
    if not folder.is_dir() or not any(folder.iterdir()):
        number = setting.dataset[len("Dataset") :].split("_")[0]
        raise InputError(
            f"{folder} holds no preprocessed data; make it first: nnUNetv2_preprocess -d {number} "
            f"-c {setting.study.configuration}"
        )
    return folder
