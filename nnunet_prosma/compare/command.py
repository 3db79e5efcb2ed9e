"""nnunet-prosma compare: reads the arguments, and calls one step after the other."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nnunet_prosma.errors import InputError

METRICS = ("dice", "iou", "nsd", "hd95", "volume")
KINDS = ("dataset", "labels", "folds", "unfinished", "cases", "truth", "stale")


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    from nnunet_prosma.compare.analysis import analyse, load
    from nnunet_prosma.compare.runs import folders_by_name, read_runs

    if options.folders:
        folders = [Path(folder) for folder in options.folders]
    else:
        folders = folders_by_name(options.dataset, options.configuration, options.trainers, options.plans)
    runs = read_runs(folders)
    unit = "mm"
    loaded = load(runs, options.folds, options.allow, unit)
    analysis = analyse(loaded, options.primary, options.seed)
    from nnunet_prosma.compare.tables import write_tables

    write_tables(analysis, options.output)
    for sentence in analysis.verdicts.values():
        print(sentence)
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="nnunet-prosma compare",
        usage="nnunet-prosma compare DATASET CONFIGURATION TRAINER TRAINER [TRAINER ...] -o REPORT [OPTIONS]\n"
        "       nnunet-prosma compare --folders RESULTS RESULTS [RESULTS ...] -o REPORT [OPTIONS]",
        description="Hold nnU-Net trainings against each other, case by case. The first is the baseline.",
    )
    parser.add_argument("run", nargs="*", help="DATASET CONFIGURATION TRAINER TRAINER ..., as in nnUNetv2_train")
    parser.add_argument("--folders", nargs="+", metavar="RESULTS", help="folders TRAINER__PLANS__CONFIGURATION instead")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="REPORT", help="folder for the report")
    parser.add_argument("-p", "--plans", nargs="+", default=["nnUNetPlans"], help="plans name: one, or one each")
    parser.add_argument("-f", "--folds", nargs="+", help="folds (default: all folds of the split)")
    parser.add_argument("--allow", nargs="+", default=[], choices=KINDS, metavar="KIND",
                        help=f"compare although: {', '.join(KINDS)}")  # fmt: skip
    parser.add_argument("--primary", default="dice", choices=METRICS, help="the metric of the verdict (default: dice)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    options = parser.parse_args(arguments)
    if options.folders and options.run:
        raise InputError("give either DATASET CONFIGURATION TRAINER TRAINER or --folders, not both")
    if not options.folders:
        if len(options.run) < 4:
            raise InputError("name a data set, a configuration and at least two trainers; the first is the baseline")
        options.dataset, options.configuration, *options.trainers = options.run
    elif len(options.folders) < 2:
        raise InputError("--folders needs at least two results folders; the first is the baseline")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
