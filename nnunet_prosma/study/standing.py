"""How far a run of a study is, all told: here, or collected from elsewhere."""

from collections.abc import Sequence

from nnunet_prosma.study.collected import FILE, collected, differences, place_of
from nnunet_prosma.study.record import read_record
from nnunet_prosma.study.runs import Run, state
from nnunet_prosma.study.setting import Setting

DONE = ("finished", "collected")


def standing(run: Run, setting: Setting) -> str:
    """finished, collected, to validate, to continue or to train."""
    here = state(run, setting.study, read_record(setting.output, run.key).validated)
    return "collected" if here != "finished" and collected(run, setting) else here


def done(runs: Sequence[Run], setting: Setting) -> list[Run]:
    """Those that are finished, a collected one with its folder there."""
    found = []
    for run in runs:
        how = standing(run, setting)
        if how == "finished":
            found.append(run)
        elif how == "collected":
            found.append(collected(run, setting) or run)
    return found


def unlike(runs: Sequence[Run], setting: Setting) -> list[str]:
    """A sentence for each collected run that does not count, and what of its settings is another."""
    return [
        f"{run.title} is collected in {setting.output / 'collected'}, but with other settings ({', '.join(other)}): it "
        f"does not count"
        for run in runs
        if (place_of(run, setting.output) / FILE).is_file() and (other := differences(run, setting))
    ]
