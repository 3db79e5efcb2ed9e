"""A study, and where and how it is carried out here."""

from dataclasses import dataclass
from pathlib import Path

from nnunet_prosma.study.spec import Study


@dataclass(frozen=True)
class Setting:
    study: Study
    dataset: str
    """nnU-Net's full name of it."""
    preprocessed: Path
    """The data set's folder in nnUNet_preprocessed."""
    output: Path
    device: str = "cuda"
    num_gpus: int = 1
    """GPUs of one training (nnUNetv2_train -num_gpus)."""
    checkpoint_every: float = 15.0
    """Minutes after which a checkpoint is written at the end of the running epoch."""

    @property
    def splits(self) -> Path:
        return self.preprocessed / "splits_final.json"
