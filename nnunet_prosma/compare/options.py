"""The arguments of nnunet-prosma compare."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnunet_prosma.arguments import add_quiet, command_parser, whole
from nnunet_prosma.errors import InputError

METRICS = ("dice", "iou", "nsd", "hd95", "volume")
SURFACE = ("nsd", "hd95")
KINDS = {
    "dataset": "the runs were trained on other data sets",
    "labels": "the runs define other labels or regions",
    "folds": "a fold is missing, or nnU-Net did not validate it",
    "retrained": "a fold was trained again after its validation",
    "unfinished": "a training was not finished",
    "cases": "the runs were validated on other cases, or in other folds",
    "truth": "the ground truth changed between the validations",
    "stale": "files changed after nnU-Net measured them",
}
"""What makes a comparison meaningless, unless --allow says so."""
TOLERANCE = 1.0

USAGE = """nnunet-prosma compare DATASET CONFIGURATION TRAINER TRAINER [TRAINER ...] -o REPORT [OPTIONS]
       nnunet-prosma compare --folders RESULTS RESULTS [RESULTS ...] -o REPORT [OPTIONS]
       nnunet-prosma compare --predictions FOLDER FOLDER [FOLDER ...] --truth FOLDER -o REPORT [OPTIONS]"""
OF_ACROSS = ("across", "output", "tables_only", "json", "quiet", "run")
"""What --across takes; all else is settled in its reports."""
LEFT_OUT, DIAGONAL = "left-out", "diagonal"
"""What the Hausdorff distance of a missed label is."""
HELP = {
    "miss": "a missed label has no finite Hausdorff distance: leave the pair out (the default), or take the image's "
    "diagonal as a penalty",
    "tolerance": "of the normalised surface distance: MM for all labels, LABEL=MM for one "
    f"(default: {TOLERANCE:g}; in pixels where images have no spacing)",
    "worse_by": "count the cases that got worse by more than X (default: dice, iou, nsd 0.05; hd95 5; volume 10)",
    "predictions": "folders of segmentations instead of trainings: of a test set, nnU-Net's ensembles, or another tool",
    "repeats": "further nnUNet_results folders with the same trainings, repeated: they are one run",
    "margin": "of the primary metric, such as dice=0.01, chosen beforehand: is a run equivalent, or not inferior?",
    "cluster": "cases that belong together, such as slices of a volume, count as one draw: a file of lines "
    "CASE,CLUSTER, or a regular expression whose first group in a case's name is its cluster",
    "allow": "compare although " + "; ".join(f"{kind}: {about}" for kind, about in KINDS.items()),
}


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "compare",
        usage=USAGE,
        description="Hold nnU-Net trainings against each other, case by case. The first is the baseline.",
    )
    add = parser.add_argument
    add("run", nargs="*", help="DATASET CONFIGURATION TRAINER TRAINER ..., as in nnUNetv2_train")
    add("-d", dest="dataset", metavar="DATASET", help="the same as the first position")
    add("-c", dest="configuration", metavar="CONFIGURATION", help="the same as the second")
    add("-tr", dest="trainers", nargs="+", metavar="TRAINER", help="the same as the others; the first is the baseline")
    add("--folders", nargs="+", metavar="RESULTS", help="folders TRAINER__PLANS__CONFIGURATION instead")
    add("--predictions", nargs="+", type=Path, metavar="FOLDER", help=HELP["predictions"])
    add("--truth", type=Path, metavar="FOLDER", help="ground truth of --predictions, files of the same names")
    add("-djfile", type=Path, metavar="FILE", help="dataset.json of --predictions (default: beside them, or the truth)")
    add(
        "--across",
        nargs="+",
        type=Path,
        metavar="REPORT",
        help="one page over reports of this command, or over the folders of studies, a data set each",
    )
    add("-o", "--output", type=Path, required=True, metavar="REPORT", help="folder for the report")
    add("-p", "--plans", nargs="+", metavar="PLANS", default=["nnUNetPlans"], help="plans name: one, or one each")
    add("-f", "--folds", nargs="+", metavar="FOLD", help="folds (default: all folds of the split)")
    add("--tolerance", nargs="+", default=[], metavar="MM", help=HELP["tolerance"])
    add("--hd95-of-a-miss", choices=(LEFT_OUT, DIAGONAL), default=LEFT_OUT, help=HELP["miss"])
    add("--worse-by", nargs="+", default=[], metavar="METRIC=X", help=HELP["worse_by"])
    add("--primary", default="dice", choices=METRICS, help="the metric of the verdict (default: dice)")
    add("--no-images", action="store_true", help="nnU-Net's own numbers: no surface metrics, no pictures of cases")
    add("--tables-only", action="store_true", help="as --no-images, and no plots: tables in seconds")
    add("--repeats", nargs="+", type=Path, default=[], metavar="RESULTS", help=HELP["repeats"])
    add("--margin", nargs="+", default=[], metavar="METRIC=X", help=HELP["margin"])
    add("--cluster", metavar="FILE|REGEX", help=HELP["cluster"])
    add("--allow", nargs="+", default=[], choices=list(KINDS), metavar="KIND", help=HELP["allow"])
    add("-np", type=whole(1), help="processes (default: one for each core)")
    add("--workers", type=whole(1), help=argparse.SUPPRESS)
    add("--json", choices=["-"], nargs="?", const="-", help="print summary.json in the place of the sentences")
    add("--cache", type=Path, help="folder of what was measured before (default: REPORT/cache)")
    add("--seed", type=whole(0), default=0, help="of the resamples and signs that are drawn (default: 0)")
    add_quiet(parser)
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What was given, with the runs' names in one place however they were named, and with every default."""
    given = parser().parse_args(arguments)
    if given.workers is not None:
        print("nnunet-prosma compare: --workers is called -np now, as in nnU-Net", file=sys.stderr)
    run = positions(given)
    check(given, run)
    completed = {
        "dataset": run[0] if run else None,
        "configuration": run[1] if run else None,
        "trainers": run[2:],
        "no_images": given.no_images or given.tables_only,
        "workers": given.np or given.workers or os.cpu_count() or 1,
    }
    return argparse.Namespace(**{**vars(given), **completed})


def positions(given: argparse.Namespace) -> list[str]:
    """DATASET CONFIGURATION TRAINER TRAINER ..., given so or by -d, -c and -tr; empty where runs are folders."""
    flags = (given.dataset, given.configuration, given.trainers)
    if not any(flags):
        return list(given.run)
    if given.run or not all(flags):
        raise InputError("give -d, -c and -tr together, or DATASET CONFIGURATION TRAINER TRAINER without them")
    return [given.dataset, given.configuration, *given.trainers]


def check(options: argparse.Namespace, run: Sequence[str]) -> None:
    if options.across:
        if options.folders or run or options.predictions:
            raise InputError("--across takes reports that are made already, and no runs")
        known = parser()
        if settled := [n for n, value in vars(options).items() if n not in OF_ACROSS and value != known.get_default(n)]:
            raise InputError(
                f"--across takes reports that are made already, in which {', '.join(settled)} cannot be changed: leave "
                f"that out, or make the reports again with it"
            )
        return
    if sum(map(bool, (options.folders, run, options.predictions))) > 1:
        raise InputError("give either DATASET CONFIGURATION TRAINER TRAINER, or --folders, or --predictions, not both")
    if options.predictions:
        if len(options.predictions) < 2:
            raise InputError("--predictions needs at least two folders; the first is the baseline")
        if options.folds or options.repeats:
            raise InputError("--predictions have no folds (-f) and no --repeats: give them one folder each")
    elif options.truth or options.djfile:
        raise InputError("--truth and -djfile belong to --predictions")
    elif not options.folders:
        if len(run) < 4:
            raise InputError("name a data set, a configuration and at least two trainers; the first is the baseline")
    elif options.repeats:
        raise InputError("--repeats is for runs by name: with --folders, give the repeats' folders to --folders too")
    elif len(options.folders) < 2:
        raise InputError("--folders needs at least two results folders; the first is the baseline")
    if (options.no_images or options.tables_only) and options.primary in SURFACE:
        left_out = "--tables-only" if options.tables_only else "--no-images"
        raise InputError(f"--primary {options.primary} is a surface metric, which {left_out} leaves out")
    if options.output.exists() and not options.output.is_dir():
        raise InputError(f"{options.output} is a file: -o must name a folder")


def by_name(given: Sequence[str], names: Sequence[str], default: float, option: str, what: str) -> dict[str, float]:
    """["2", "liver=3"] -> a number for each name."""
    general, special = default, {}
    for text in given:
        name, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise InputError(f"{option} takes numbers and {what.upper()}=NUMBER, not {text!r}") from None
        if not 0 <= value < float("inf"):
            raise InputError(f"{option} must be a number from 0 on, not {text}")
        if equals and name not in names:
            raise InputError(f"{option} {text}: there is no {what} {name!r}; there are {', '.join(names)}")
        if equals:
            special[name] = value
        else:
            general = value
    return {name: special.get(name, general) for name in names}


def describe(tolerances: Mapping[str, float], unit: str) -> str:
    if len(set(tolerances.values())) == 1:
        return f"{next(iter(tolerances.values())):g} {unit}"
    return ", ".join(f"{name} {value:g} {unit}" for name, value in tolerances.items())
