"""How each command is used on the home of wrong_home, and what a wrong input is: such a use, and one damage."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from wrong_home import NAME, edit

MODEL = "model__nnUNetPlans__3d_fullres"
RUNS = [f"runs/{trainer}__nnUNetPlans__3d_fullres" for trainer in ("nnUNetTrainer", "nnUNetTrainerProSMA")]
PLANNED = f"preprocessed/{NAME}"
USES = {
    "inspect": f"inspect -m {{home}}/{MODEL} -f 0 -i {{home}}/images -o {{home}}/out -device cpu",
    "compare": f"compare --folders {{home}}/{RUNS[0]} {{home}}/{RUNS[1]} -o {{home}}/out --tables-only",
    "across": "compare --across {home}/reports/one {home}/reports/two -o {home}/out --tables-only",
    "predictions": f"compare --predictions {{home}}/predictions {{home}}/truth --truth {{home}}/truth "
    f"-djfile {{home}}/{PLANNED}/dataset.json -np 1 --tables-only -o {{home}}/out",
    "benchmark": f"benchmark --plans {{home}}/{PLANNED}/nnUNetPlans.json -c 3d_fullres -device cpu",
    "bundle": f"bundle -m {{home}}/{MODEL} -f 0 -o {{home}}/out",
    "warm-start": "warm-start {home}/vanilla.pth -d 9 -o {home}/out.pth",
    "start": "warm-start {home}/vanilla.pth -o {home}/out.pth",
    "plan": "plan -d 9",
    "predict": "predict {home}/bundle -i {home}/images -o {home}/out -device cpu",
    "container": "container {home}/bundle --input images/ct=0 --output images/seg -o {home}/out",
    "metrics": "metrics {home}/predictions {home}/truth --json {home}/out.json",
    "metrics of a fold": f"metrics {{home}}/predictions {{home}}/truth --splits {{home}}/{PLANNED}/splits_final.json "
    "--fold 0 --json {home}/out.json",
    "study": "study {home}/study.yaml -o {home}/out -device cpu",
    "status": "study {home}/study.yaml -o {home}/out --status",
    "convert": "convert busi {home}/busi 77",
    "demo": "demo -o {home}/out -device cpu",
}


@dataclass(frozen=True)
class Wrong:
    """words: of the command, {home} the folder; damage: done to the home first; says: what the sentence says."""

    words: str
    says: str
    damage: Any = None


def edited(file: str, place: str, value: Any) -> Any:
    return lambda home: edit(home / file, place, value)


def replaced(file: str, content: bytes) -> Any:
    return lambda home: (home / file).write_bytes(content)


def set_study(home: Path, place: str, value: Any) -> None:
    """Sets what stands at a/0/b in the study file."""
    path = home / "study.yaml"
    content = yaml.safe_load(path.read_text())
    *above, last = (int(key) if key.isdecimal() else key for key in place.split("/"))
    node = content
    for key in above:
        node = node[key]
    node[last] = value
    path.write_text(yaml.safe_dump(content))
