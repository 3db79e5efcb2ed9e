"""The table of a screening in docs/results.md: each arm's trainings, and their difference to nnU-Net.

python screening_table.py FOLDER    # of cases_repeat_R.csv, which name arms by their trainers
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from nnunet_prosma.statistics.crossed import crossed

BASELINE = "nnUNetTrainer_30x100"

dice = defaultdict[tuple[str, str], dict[str, list[float]]](lambda: defaultdict(list))
for repeat in sorted(Path(sys.argv[1]).glob("cases_repeat_*.csv")):
    with repeat.open(newline="") as file:
        for row in csv.DictReader(file):
            dice[row["run"], repeat.name][row["case"]].append(float(row["dice"]))

if len({frozenset(cases) for cases in dice.values()}) != 1:
    sys.exit(f"{sys.argv[1]} must hold cases_repeat_R.csv, with the same cases for each training")

arms = defaultdict[str, list[list[float]]](list)
for (trainer, _), cases in dice.items():  # a case's Dice is the mean over its labels
    arms[trainer].append([100 * np.mean(cases[case]) for case in sorted(cases)])

baseline = np.array(arms[BASELINE])
level = 1 - 0.05 / (len(arms) - 1)
print(f"| trainer | trainings | mean | minus nnU-Net, {100 * level:.1f} % interval |\n| --- | --- | --- | --- |")
for trainer, trainings in arms.items():
    arm, said = np.array(trainings), ""
    if trainer != BASELINE and (found := crossed(baseline, arm)):
        interval = found.interval(level)
        said = f"{found.difference:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})"
    print(f"| {trainer} | {', '.join(f'{mean:.2f}' for mean in arm.mean(1))} | {arm.mean():.2f} | {said} |")
