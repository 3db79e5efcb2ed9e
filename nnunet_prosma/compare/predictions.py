"""Folders of predictions instead of trainings: a test set, an ensemble of nnU-Net's, or another tool's answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from nnunet_prosma.compare.fairness import Finding, some
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.labels import LabelKey
from nnunet_prosma.host.measured import measure, reader_for
from nnunet_prosma.host.plans import Setup
from nnunet_prosma.host.summaries import ValidatedCase, read_summary
from nnunet_prosma.host.trained import Fold, TrainedFolder

TEST = "test"
"""What a report calls the one fold that predictions have."""


@dataclass(frozen=True)
class PredictedCases(Fold):
    """The cases of a folder of predictions, where a report looks for those of a fold."""

    cases: list[ValidatedCase] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        return TEST

    @property
    def finished(self) -> bool:
        return True

    @property
    def validation(self) -> Path:
        return self.folder

    @property
    def validated(self) -> bool:
        """Where no summary lies in the folder, its files were measured now."""
        return True

    def validated_cases(self) -> list[ValidatedCase]:
        return self.cases


@dataclass(frozen=True)
class Predictions(TrainedFolder):
    """A folder of predictions in the place of a trained folder: nothing is known of how they were made."""

    described: Dataset = field(kw_only=True)
    image_reader: Any = field(kw_only=True)
    unmeasured: dict[str, str] = field(kw_only=True, default_factory=dict)
    """Cases that this or another of the folders has no readable answer for, and why: they are left out of all."""

    @property
    def dataset(self) -> str:
        return str(self.described.content.get("name") or "Predictions")

    @property
    def plans_name(self) -> str:
        return ""

    @property
    def configuration(self) -> str:
        return TEST

    @property
    def labels(self) -> dict[LabelKey, str]:
        return self.described.labels

    @property
    def ignore_label(self) -> int | None:
        return self.described.ignore_label

    @property
    def file_ending(self) -> str:
        return self.described.file_ending

    @property
    def unit(self) -> str:
        return "px" if type(self.image_reader).__name__ == "NaturalImage2DIO" else "mm"

    def reader(self) -> Any:
        return self.image_reader

    def settings(self) -> dict[str, Any]:
        return {}


def read_predictions(
    folders: Sequence[Path], truth: Path | None, dataset_json: Path | None, processes: int
) -> list[TrainedFolder]:
    """Each folder under the shortest name that tells it apart."""
    resolved = [folder.resolve() for folder in folders]
    for folder in (*folders, *([truth] if truth else [])):
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder of segmentations")
        if resolved.count(folder.resolve()) > 1:
            raise InputError(f"{folder} is given twice: predictions can only be compared with others")
    datasets = [Dataset.read(dataset_json or find_dataset_json(folder, truth)) for folder in folders]
    measured = [cases_of(f, truth, of_folder, processes) for f, of_folder in zip(folders, datasets, strict=True)]
    unmeasured: dict[str, str] = {}
    for (_, problems), described in zip(measured, datasets, strict=True):
        for file, why in problems.items():
            unmeasured.setdefault(file.name.removesuffix(described.file_ending), why)
    runs: list[TrainedFolder] = []
    for folder, name, described, (cases, _) in zip(folders, names_of(resolved), datasets, measured, strict=True):
        whole = [c for c in cases if c.prediction.name.removesuffix(described.file_ending) not in unmeasured]
        if not whole:
            raise InputError(f"no case of {folder} can be measured: {next(iter(unmeasured.values()))}")
        reader = reader_for(described, *(case.truth for case in whole))
        found = PredictedCases(folder, whole)
        unknown = cast(Setup, None)  # nothing asks for it: all that would is answered by Predictions itself
        given = {"described": described, "image_reader": reader, "unmeasured": unmeasured}
        runs.append(Predictions(folder, name, name, unknown, {TEST: found}, **given))
    return runs


def names_of(folders: Sequence[Path]) -> list[str]:
    for parts in range(1, max(len(folder.parts) for folder in folders)):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def find_dataset_json(folder: Path, truth: Path | None) -> Path:
    """The dataset.json where nnU-Net puts it: beside predictions, and beside the folder of the truth."""
    places = [folder / "dataset.json", *([truth / "dataset.json", truth.parent / "dataset.json"] if truth else [])]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        looked = ", ".join(str(place) for place in places)
        raise InputError(f"no dataset.json tells the labels of {folder}: name one with -djfile (looked for {looked})")
    return found


def cases_of(
    folder: Path, truth: Path | None, described: Dataset, processes: int
) -> tuple[list[ValidatedCase], dict[Path, str]]:
    """nnU-Net's summary.json of these predictions against this truth if there is one, else measured by nnU-Net now.

    Beside them the files that cannot be measured, and why.
    """
    summary = folder / "summary.json"
    if summary.is_file():
        cases = read_summary(summary)
        there = any((folder / case.prediction.name).is_file() for case in cases)  # wherever they lay when measured
        if there and (truth is None or all(case.truth.parent.resolve() == truth.resolve() for case in cases)):
            return cases, {}
    if truth is None:
        raise InputError(
            f"{folder} holds no summary.json of nnUNetv2_evaluate_folder on its predictions: name the ground truth "
            f"with --truth"
        )
    ending = described.file_ending
    predicted = {path.name for path in folder.iterdir() if path.name.endswith(ending)}
    true = {path.name for path in truth.iterdir() if path.name.endswith(ending)}
    if not predicted:
        raise InputError(f"{folder} holds no segmentation {'*' + ending}, the file_ending of {described.source}")
    if absent := sorted(predicted - true):
        raise InputError(f"{truth} must hold the ground truth of {some([n.removesuffix(ending) for n in absent])}")
    return measure(folder, truth, described, min(processes, len(predicted)))


def about_predictions(runs: Sequence[TrainedFolder], truth: Path | None) -> Iterator[Finding]:
    """What cannot be told of predictions, and cases of the truth that a folder has no answer for."""
    yield Finding("origin", "These are folders of predictions: how they were made is not known, and was not compared.")
    for run in runs:
        if truth is None:
            continue
        ending = run.file_ending
        assert isinstance(run, Predictions)
        answered = {case.prediction.name for case in run.folds[TEST].validated_cases()}
        answered |= {name + ending for name in run.unmeasured}
        true = {path.name for path in truth.iterdir() if path.name.endswith(ending)}
        if absent := sorted(name.removesuffix(ending) for name in true - answered):
            yield Finding(
                "cases",
                f"{run.name} has no prediction of {some(absent)}, which {truth} holds.",
                error=True,
                run=run.name,
            )
