"""A study's trainings, and its table."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_prosma.errors import IncompleteError, InputError
from nnunet_prosma.files import write_text
from nnunet_prosma.study.collected import collect, place_of
from nnunet_prosma.study.local import Slot, work_off
from nnunet_prosma.study.prepare import prepare, splits_of
from nnunet_prosma.study.runs import Run, named, runs_of
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.spec import Arm
from nnunet_prosma.study.standing import done, unlike
from nnunet_prosma.study.stop import Stop
from nnunet_prosma.study.table import write_table


def train(setting: Setting, places: list[Slot], only: str | None = None) -> tuple[list[str], Stop]:
    """What went wrong, and whether the study was asked to stop."""
    runs = runs_of(setting)
    if only is not None:
        runs = [named(only, runs)]
    prepare(setting)
    return work_off(runs, setting, places)


def make_table(setting: Setting, *, command: str, failed: bool = False) -> list[str]:
    """A sentence on all that is left out of it because it cannot be read. With nothing finished there is no table,
    which is an error unless trainings have failed: then that has been said."""
    runs = runs_of(setting)
    finished = done(runs, setting)
    for sentence in unlike(runs, setting):
        print(sentence)
    if not finished and failed:
        return []
    if not finished:
        raise InputError("no training of this study is finished, so there is nothing to put into a table")
    reports, wrong = compare(finished, setting)
    path, left_out = write_table(setting, runs, finished, reports, command=command)
    print(path.read_text())
    print(path)
    return wrong + left_out


def collect_to(setting: Setting, folder: Path) -> list[str]:
    """The study and its finished runs, without checkpoints, for a study to go on from in that folder. A sentence on
    all that is left out because it cannot be read."""
    from nnunet_prosma.study.spec import as_yaml

    runs = runs_of(setting)
    finished = done(runs, setting)
    if not finished:
        raise InputError("no training of this study is finished, so there is nothing to collect")
    there = {run.key for run in finished}
    for run in runs:
        if run.trained and run.key not in there:
            print(f"{run.title} is trained but not validated, or that was cut off: not collected")
    finished, wrong = collect(finished, setting, folder)
    if not finished:
        raise InputError(wrong[0])
    write_text(folder / "study.yaml", as_yaml(setting.study))
    size = sum(p.stat().st_size for run in finished for p in place_of(run, folder).rglob("*") if p.is_file())
    print(
        f"{len(finished)} trainings in {folder}, {size / len(finished) / 1000:.0f} kB each; a study goes on from there:"
    )
    print(f"nnunet-prosma study {folder / 'study.yaml'} -o {folder}")
    return wrong


def compare(finished: Sequence[Run], setting: Setting) -> tuple[dict[str, Path], list[str]]:
    """nnunet-prosma compare over the folds that all arms have; one report, or where folds share cases one for each.

    Each repeat is compared for itself, and where several can be, all of them together: there an arm is its repeats.
    With the reports, a sentence on each that had to leave something out.
    """
    from nnunet_prosma.compare.command import main

    study, further = setting.study, list(map(str, setting.study.compare))
    if len(study.arms) < 2:
        return {}, []
    unread: list[str] = []
    if any(place_of(run, setting.output) == run.folder for run in finished):  # without images, and all in one place
        finished, unread = collect(finished, setting, setting.output)
        finished = [replace(run, folder=place_of(run, setting.output)) for run in finished]
        further += ["--tables-only"] * ("--tables-only" not in further)
    if study.repeats is not None:
        further = ["--cache", str(setting.output / "compare" / "cache"), *further]  # the report on all measures nothing
    reports: dict[str, Path] = {}
    wrong = [sentence for sentence in unread if " is not collected: " in sentence]  # of cases the table tells
    whole: dict[int | None, list[int]] = {}
    for repeat in dict.fromkeys(run.repeat for run in finished):
        own = [run for run in finished if run.repeat == repeat]
        folds = [fold for fold in study.folds if sum(run.fold == fold for run in own) == len(study.arms)]
        if folds:
            whole[repeat] = folds
    together = [(f"repeat {repeat}, " if repeat is not None else "", [repeat], whole[repeat]) for repeat in whole]
    if len(whole) > 1:
        common = [fold for fold in study.folds if all(fold in folds for folds in whole.values())]
        together.append(("all repeats, ", list(whole), common))
    for prefix, repeats, folds in together:
        own = [run for run in finished if run.repeat in repeats and run.fold in folds]
        folders = [str(folder) for arm in study.arms for folder in folders_of(arm, own)]
        for group in [folds] if disjoint(setting, folds) else [[fold] for fold in folds]:
            if not group:
                continue
            name = prefix + (f"fold {group[0]}" if len(group) == 1 else f"folds {', '.join(map(str, group))}")
            report = setting.output / "compare" / name.replace(", ", "_").replace(" ", "_")
            try:
                main(["--folders", *folders, "-f", *map(str, group), "-o", str(report), *further])
            except IncompleteError as error:
                wrong.append(f"compare/{report.name}: {error}")
            except InputError as error:
                wrong.append(f"there is no compare/{report.name}: {error}")
                continue
            reports[name] = report
    return reports, wrong


def folders_of(arm: Arm, runs: Sequence[Run]) -> list[Path]:
    """Trained folders of the arm, one for each repeat."""
    return list(dict.fromkeys(run.folder.parent for run in runs if run.arm == arm))


def disjoint(setting: Setting, folds: Sequence[int]) -> bool:
    """Whether no case is validated in two of these folds."""
    known = splits_of(setting)
    held_out = [case for fold in folds for case in known[fold].val]
    return len(held_out) == len(set(held_out))
