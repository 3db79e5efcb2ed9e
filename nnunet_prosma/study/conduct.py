"""A study's trainings, and its table."""

from collections.abc import Sequence
from pathlib import Path

from nnunet_prosma.host.splits import read_splits
from nnunet_prosma.study.local import Slot, work_off
from nnunet_prosma.study.prepare import prepare
from nnunet_prosma.study.record import read_record
from nnunet_prosma.study.runs import Run, named, runs_of, state
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.stop import Stop
from nnunet_prosma.study.table import write_table


def train(setting: Setting, places: list[Slot], only: str | None = None) -> tuple[list[str], Stop]:
    """What went wrong, and whether the study was asked to stop."""
    runs = runs_of(setting)
    if only is not None:
        runs = [named(only, runs)]
    prepare(setting)
    return work_off(runs, setting, places)


def make_table(setting: Setting, *, command: str) -> bool:
    """False where nothing is finished, so that there is nothing to put into a table."""
    runs = runs_of(setting)
    finished = [
        run for run in runs if state(run, setting.study, read_record(setting.output, run.key).validated) == "finished"
    ]
    if not finished:
        return False
    reports = compare(finished, setting)
    path = write_table(setting, runs, finished, reports, command=command)
    print(path.read_text())
    print(path)
    return True


def compare(finished: Sequence[Run], setting: Setting) -> dict[str, Path]:
    """nnunet-prosma compare over the folds that all arms have; one report, or where folds share cases one for each.

    Each repeat is compared for itself.
    """
    from nnunet_prosma.compare.command import main

    study = setting.study
    if len(study.arms) < 2:
        return {}
    reports = {}
    for repeat in dict.fromkeys(run.repeat for run in finished):
        own = [run for run in finished if run.repeat == repeat]
        folds = [fold for fold in study.folds if sum(run.fold == fold for run in own) == len(study.arms)]
        if not folds:
            continue
        folders = [str(next(run for run in own if run.arm == arm).folder.parent) for arm in study.arms]
        for group in [folds] if disjoint(setting.splits, folds) else [[fold] for fold in folds]:
            name = f"fold {group[0]}" if len(group) == 1 else f"folds {', '.join(map(str, group))}"
            name = name if repeat is None else f"repeat {repeat}, {name}"
            report = setting.output / "compare" / name.replace(", ", "_").replace(" ", "_")
            further = map(str, study.compare)
            main(["--folders", *folders, "-f", *map(str, group), "-o", str(report), *further])
            reports[name] = report
    return reports


def disjoint(splits: Path, folds: Sequence[int]) -> bool:
    """Whether no case is validated in two of these folds."""
    known = read_splits(splits)
    held_out = [case for fold in folds for case in known[fold].val]
    return len(held_out) == len(set(held_out))
