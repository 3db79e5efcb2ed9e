"""A data set as its dataset.json describes it: channels, labels or regions, the ending of its files."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.check import checked, read_checked
from nnunet_prosma.host.labels import LabelKey, read_labels
from nnunet_prosma.host.schema import DatasetFile, ListedCase

if TYPE_CHECKING:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    from nnunet_prosma.host.plans import Plans


@dataclass(frozen=True)
class Dataset:
    """source is what errors call the file; content what nnU-Net takes, never to be changed; said its types."""

    source: str
    content: dict[str, Any] = field(repr=False)
    said: DatasetFile = field(repr=False)

    def __post_init__(self) -> None:
        self._labels  # noqa: B018 - labels that nnU-Net cannot use are said now

    @classmethod
    def read(cls, path: Path) -> "Dataset":
        return cls(str(path), *read_checked(path, DatasetFile))

    @classmethod
    def of(cls, content: Any, source: str) -> "Dataset":
        """A dataset.json that stands in another file, such as a checkpoint."""
        return cls(source, content, checked(content, DatasetFile, source))

    @property
    def file_ending(self) -> str:
        return self.said.file_ending

    @property
    def channels(self) -> dict[str, str]:
        """Number -> name, as the file has them."""
        return self.said.channel_names or self.said.modality or {}

    @property
    def channel_names(self) -> list[str]:
        """The names of the channels in the order of the network's input."""
        names = self.channels
        return [names[key] for key in (sorted(names, key=int) if all(k.isdecimal() for k in names) else names)]

    @cached_property
    def labels(self) -> dict[LabelKey, str]:
        """nnU-Net's foreground labels, or regions where the data set has them, with their names, in nnU-Net's order."""
        return self._labels[0]

    @property
    def ignore_label(self) -> int | None:
        return self._labels[1]

    @cached_property
    def _labels(self) -> tuple[dict[LabelKey, str], int | None]:
        return read_labels(Path(self.source), self.content)

    def manager_for(self, plans: "Plans") -> "LabelManager":
        """nnU-Net's label manager, of the class that these plans name."""
        try:
            manager: LabelManager = plans.manager.get_label_manager(self.content)
        except Exception as error:  # nnU-Net asserts, and int() of what is no number raises
            raise InputError(f"{self.source}: nnU-Net cannot use $.labels ({' '.join(str(error).split())})") from None
        return manager

    def files_of(self, case: str) -> list[str]:
        """The listed files of a case, or nnU-Net's name for its first channel, below the raw data set."""
        listed: ListedCase | None = (self.said.dataset or {}).get(case)
        return list(listed.images) if listed and listed.images else [f"imagesTr/{case}_0000{self.file_ending}"]
