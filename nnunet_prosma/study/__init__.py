"""nnunet-prosma study: nnU-Net's own command for listed trainers and folds, the comparison, and a paper's table."""

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_prosma.errors import InputError
from nnunet_prosma.study.options import parse, parser

if TYPE_CHECKING:
    from nnunet_prosma.study.setting import Setting

__all__ = ["main", "parser"]

SHIPPED = Path(__file__).parent / "studies"


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    if options.list:
        print(shipped())
        return 0
    path = find(options.study)
    if options.show:
        print(path.read_text(), end="")
        return 0
    new = not options.o.exists()
    setting = made(options, path)
    if options.status:
        return show_status(setting, as_json=options.json)
    from nnunet_prosma.study.steps import collect_to, make_table, train

    if options.collect:
        return told(collect_to(setting, options.collect.absolute()))
    training = not options.no_training
    if options.slurm or options.follow_up is not None:
        with left_clean(setting.output, new):
            submitted = on_slurm(options, setting)
        print("\n".join(submitted))
        if submitted:
            return 0
        training = False
    again = shlex.join(["nnunet-prosma", "study", *arguments])
    wrong: list[str] = []
    if training:
        from nnunet_prosma.study.local import slots

        with left_clean(setting.output, new):
            places = slots(setting.device, options.jobs, options.gpus, options.num_gpus)
            wrong, stop = train(setting, places, options.run)
        if stop.signal:
            if not options.run or "SLURM_ARRAY_TASK_ID" not in os.environ:  # there Slurm goes on
                print(f"\nnnunet-prosma study: stopped; the same command goes on from here: {again}", file=sys.stderr)
            return 130
    if not options.run:
        wrong += make_table(setting, command=again, failed=bool(wrong))
    return told(wrong)


@contextmanager
def left_clean(folder: Path, new: bool) -> Iterator[None]:
    """What cannot be begun leaves no empty folder that was not there before."""
    try:
        yield
    except (InputError, OSError):
        if new:
            with suppress(OSError):  # it holds something
                folder.rmdir()
        raise


def told(wrong: Sequence[str]) -> int:
    """The exit status, once each sentence is on standard error."""
    for sentence in wrong:
        print(f"nnunet-prosma study: {sentence}", file=sys.stderr)
    return 2 if wrong else 0


def made(options: argparse.Namespace, path: Path) -> "Setting":
    """The study checked, with all that its command line and this machine say."""
    from nnunet_prosma.host.devices import choose_device
    from nnunet_prosma.study.check import check, data
    from nnunet_prosma.study.runs import named, runs_of
    from nnunet_prosma.study.setting import Setting
    from nnunet_prosma.study.spec import read

    study = read(path, dataset=options.d, folds=options.f)
    dataset, preprocessed = data(study) if options.status else check(study)
    output = options.o.absolute()
    refuse_foreign(output)
    elsewhere = options.slurm or options.follow_up is not None or options.status
    device = (options.device or "cuda") if elsewhere else choose_device(options.device)
    setting = Setting(study, dataset, preprocessed, output, device, options.num_gpus, options.checkpoint_every)
    if options.run:
        named(options.run, runs_of(setting))
    if not (options.status or options.collect or options.no_training):  # these write only where something is finished
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"the study cannot be written to {output}: {error.strerror}") from None
    return setting


def refuse_foreign(output: Path) -> None:
    """A folder is a study's if it holds its records, of trainings here or collected ones; without, nothing may be
    there that a study would replace."""
    if not any((output / name).exists() for name in ("runs", "collected", "study.json")):
        for name in ("table.md", "table.csv", "logs", "compare"):
            if (output / name).exists():
                raise InputError(f"{output / name} is not of a study, which keeps runs/ beside it: name another folder")


def on_slurm(options: argparse.Namespace, setting: "Setting") -> list[str]:
    """What was submitted; nothing where nothing is left, so that the table is to be made."""
    from nnunet_prosma.study.array import follow_up, submit
    from nnunet_prosma.study.prepare import prepare

    words = shlex.split(options.sbatch)
    if options.follow_up is not None:
        return follow_up(setting, words, options.parallel, options.follow_up)
    prepare(setting)
    return submit(setting, words, options.parallel, options.resubmit)


def show_status(setting: "Setting", *, as_json: bool) -> int:
    import json

    from nnunet_prosma.study import status
    from nnunet_prosma.study.array import in_queue
    from nnunet_prosma.study.check import check_folds
    from nnunet_prosma.study.runs import runs_of
    from nnunet_prosma.study.standing import unlike

    try:
        waiting = in_queue(setting)
    except InputError as error:
        print(f"nnunet-prosma study: what waits in Slurm's queue is not known here: {error}", file=sys.stderr)
        waiting = {}
    runs = runs_of(setting)
    found = status.statuses(runs, setting, waiting)
    print(json.dumps(status.as_json(found), indent=1) if as_json else status.as_table(found))
    for sentence in unlike(runs, setting):
        print(f"nnunet-prosma study: {sentence}", file=sys.stderr)
    try:
        check_folds(setting.study, setting.splits)
    except InputError as error:  # nothing more can be trained or measured
        return told([str(error)])
    return 0


def find(name: str) -> Path:
    """A file as it is, or one of ours by its name."""
    given, ours = Path(name), SHIPPED / f"{name}.yaml"
    if given.is_file():
        return given
    if ours.is_file():
        return ours
    raise InputError(f"there is no file {name} and no study of that name; --list shows {', '.join(names())}")


def names() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def shipped() -> str:
    from nnunet_prosma.study.spec import read

    return "\n".join(f"{name:<18}{read(SHIPPED / f'{name}.yaml').title}" for name in names())
