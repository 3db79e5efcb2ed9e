"""OUT/slurm: what sbatch is given, to be read, and to be submitted by hand."""

import math
import os
import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from nnunet_prosma import __version__
from nnunet_prosma.errors import InputError
from nnunet_prosma.files import write_text
from nnunet_prosma.host.processes import find
from nnunet_prosma.host.training_log import read_training_logs
from nnunet_prosma.study.runs import Run
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.spec import as_yaml

LEAST_LEAD_S = 300
"""Time before a time limit, for the running epoch to end and a checkpoint to be written."""
SLURMS_LEAD_S = 60
"""What Slurm takes where --signal names no time."""
GPU_OPTIONS = ("--gres", "--gpus", "-G", "--gpus-per-task", "--gpus-per-node", "--gpus-per-socket", "--mem-per-gpu")

ARRAY = """\
#!/bin/bash
# {title}: one task a run, the line of runs.txt that its number says. Made by nnunet-prosma {version}.
# By hand: sbatch --array=1-{count} {folder}/array.sh
#SBATCH --job-name={name}
#SBATCH --output={folder}/logs/%A_%a.txt
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@{lead}
{options}
{exports}
export NNUNET_PROSMA_LEAD_SIGUSR1={told}  # what --signal above says

key=$(sed -n "${{SLURM_ARRAY_TASK_ID}}p" {folder}/runs.txt)
exec {command} --run "$key" {further}
"""

TABLE = """\
#!/bin/bash
# {title}: when the tasks have ended, submits again what died ({left} times more at most), then makes the table.
# By hand: sbatch {folder}/table.sh, or the last line
#SBATCH --job-name={name}
#SBATCH --output={folder}/logs/table_%j.txt
{options}
{exports}

exec {command} --follow-up {left} {further}
"""


def write_scripts(
    runs: Sequence[Run], setting: Setting, options: Sequence[str], left: int, parallel: int | None
) -> tuple[Path, Path]:
    """array.sh and table.sh, beside runs.txt, and study.yaml with what the command line said."""
    lead, own = lead_s(runs), own_lead_s(options)
    folder = setting.output / "slurm"
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    write_text(folder / "study.yaml", as_yaml(setting.study))
    keys = numbered(runs, folder / "runs.txt")
    write_text(folder / "runs.txt", "".join(f"{key}\n" for key in keys))
    command = [find("nnunet-prosma"), "study", str(folder / "study.yaml"), "-o", str(setting.output)]
    device = ["-device", setting.device, "-num_gpus", str(setting.num_gpus)]
    device += ["--checkpoint-every", f"{setting.checkpoint_every:g}"]
    again = [f"--sbatch={shlex.join(options)}", *([] if parallel is None else ["--parallel", str(parallel)])]
    common = {
        "title": " ".join(setting.study.title.split()),
        "version": __version__,
        "name": f"study-{setting.output.name}".replace(" ", "_"),
        "folder": shlex.quote(str(folder)),
        "exports": "\n".join(exports()),
        "command": shlex.join(command),
        "count": len(keys),
        "lead": lead,
        "told": lead if own is None else own,
        "left": left,
    }
    array, table = folder / "array.sh", folder / "table.sh"
    write_text(array, ARRAY.format(**common, options=directive(options), further=shlex.join(device)))
    without_gpu = directive(without(options, GPU_OPTIONS))
    write_text(table, TABLE.format(**common, options=without_gpu, further=shlex.join([*device, *again])))
    return array, table


def numbered(runs: Sequence[Run], path: Path) -> list[str]:
    """The keys, each where it stood before: tasks that wait in the queue know theirs by its line."""
    before = path.read_text().splitlines() if path.is_file() else []
    return [*before, *(run.key for run in runs if run.key not in before)]


def lead_s(runs: Sequence[Run]) -> int:
    """How long before its end Slurm signals a task.

    Longer than the longest epoch that was seen in these runs, with time to write a checkpoint.
    """
    longest = max(
        (seconds for run in runs for seconds in read_training_logs(run.folder).curves["seconds"].values()), default=0.0
    )
    return max(LEAST_LEAD_S, math.ceil(1.5 * longest) + 60)


def own_lead_s(options: Sequence[str]) -> int | None:
    """The lead of a --signal among the user's options, which is stronger than ours. One that does not reach a training
    as the signal to stop is an InputError."""
    lead = None
    for word, following in pairwise([*options, ""]):
        name, _, value = word.partition("=")
        if name == "--signal":
            value = value or following
            found = re.fullmatch(r"B:(?:SIG)?(?:USR1|10)(?:@(\d+))?", value)
            if not found:
                raise InputError(
                    f"--signal must be B:USR1 or B:USR1@SECONDS, which reaches a training and ends it at a checkpoint, "
                    f"got {value or 'nothing'}"
                )
            lead = int(found[1] or SLURMS_LEAD_S)
    return lead


def exports() -> list[str]:
    """nnU-Net's variables as they are now: a job that is submitted by hand has them too."""
    return [
        f"export {name}={shlex.quote(value)}"
        for name, value in sorted(os.environ.items())
        if name.startswith(("nnUNet_", "NNUNET_PROSMA_")) and not name.startswith("NNUNET_PROSMA_LEAD_")
    ]


def directive(options: Sequence[str]) -> str:
    return f"#SBATCH {shlex.join(options)}" if options else ""


def without(options: Sequence[str], names: Sequence[str]) -> list[str]:
    """Each option with its value, given as --name=value, --name value or -nvalue."""
    kept: list[str] = []
    skip = False
    for word in options:
        if skip and not word.startswith("-"):
            skip = False
            continue
        skip = word in names
        named = word.partition("=")[0] in names or any(len(n) == 2 and word.startswith(n) for n in names)
        if not named:
            kept.append(word)
    return kept
