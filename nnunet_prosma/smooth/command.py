"""nnunet-prosma smooth: fit chooses by cross-validation, apply smooths predictions."""

import argparse
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_prosma.arguments import add_quiet, command_parser, number_above, whole, with_examples
from nnunet_prosma.errors import IncompleteError, InputError, first_of
from nnunet_prosma.subcommands import SUBCOMMANDS

if TYPE_CHECKING:
    from nnunet_prosma.smooth.dynamics import Prior
    from nnunet_prosma.smooth.fit import Fitted

EXAMPLES = SUBCOMMANDS["smooth"].examples  # fit, then apply


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "smooth",
        description="Give segmentations short boundaries (soft threshold dynamics on nnU-Net's probabilities), where "
        "cross-validation shows that it helps. fit needs a cross-validation with probabilities (nnUNetv2_train --npz), "
        "apply predictions with them (nnUNetv2_predict --save_probabilities).",
    )
    commands = parser.add_subparsers(dest="what", required=True, metavar="fit|apply", help="choose, or smooth")
    fit = commands.add_parser(
        "fit",
        help="choose by cross-validation, and write SMOOTH.json",
        description="Choose by cross-validation, over folds that were trained with --npz, and write SMOOTH.json. It "
        "asks for nothing where held-out folds do not show that smoothing helps.",
        **with_examples("smooth", EXAMPLES[:1]),
    )
    fit.add_argument("-d", metavar="DATASET", required=True, help="number or name")
    fit.add_argument("-c", metavar="CONFIGURATION", required=True, help="such as 3d_fullres")
    fit.add_argument("-tr", metavar="TRAINER", default="nnUNetTrainer", help="default: %(default)s")
    fit.add_argument("-p", metavar="PLANS", default="nnUNetPlans", help="default: %(default)s")
    fit.add_argument("-f", metavar="FOLD", nargs="+", default=["0", "1", "2", "3", "4"], help="default: 0 1 2 3 4")
    fit.add_argument("-o", metavar="SMOOTH.json", type=Path, required=True, help="file for the settings")
    fit.add_argument("-np", metavar="N", type=whole(1), default=1, help="worker processes; default: %(default)s")
    fit.add_argument(
        "--lam", metavar="LAM", type=number_above(0), nargs="+", help="default: 0.25 0.5 1 2; 0 is tried too"
    )
    fit.add_argument("--sigma", metavar="MM", type=number_above(0), nargs="+", help="default: 1 and 2 smallest voxels")
    fit.add_argument("--eps", type=number_above(0), default=1.0, help="how soft the answer stays; default: %(default)s")
    fit.add_argument(
        "--volume",
        metavar="NAME=LEAST..MOSTml",
        nargs="+",
        default=[],
        help="between what a label's volume must lie, as lesion=0.5..20ml; default: that of its probabilities",
    )
    fit.add_argument("--seed", type=whole(0), default=0, help="of the test and the interval; default: %(default)s")
    add_quiet(fit)
    apply = commands.add_parser(
        "apply",
        help="smooth predictions as SMOOTH.json says",
        description="Smooth what nnUNetv2_predict --save_probabilities wrote, as SMOOTH.json says.",
        **with_examples("smooth", EXAMPLES[1:]),
    )
    apply.add_argument("settings", type=Path, metavar="SMOOTH.json", help="what fit wrote")
    apply.add_argument("-i", metavar="PROBABILITIES", type=Path, required=True, help="what nnU-Net predicted")
    apply.add_argument("-o", metavar="SEGMENTATIONS", type=Path, required=True, help="folder for the segmentations")
    apply.add_argument("-plans_json", metavar="FILE", type=Path, help="of a model, where -i is of nnUNetv2_ensemble")
    add_quiet(apply)
    return parser


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    return run_fit(options) if options.what == "fit" else run_apply(options)


def run_fit(options: argparse.Namespace) -> int:
    from nnunet_prosma.files import is_json_of, refuse_file
    from nnunet_prosma.host.datasets import preprocessed_folder, results_folder
    from nnunet_prosma.host.trained import read_trained
    from nnunet_prosma.smooth.fit import LAMS, Search, fit, members_of
    from nnunet_prosma.smooth.settings import COMMAND, names_of, write_smoothing

    refuse_file(options.o, is_json_of(COMMAND))
    trained = read_trained(results_folder(options.d, options.tr, options.p, options.c))
    labels = names_of(trained.labels)
    search = Search(options.lam or LAMS, options.sigma, volumes_of(options.volume, labels), options.eps)
    members, again = members_of(trained, options.f, preprocessed_folder(options.d) / "gt_segmentations")
    fitted = fit(trained, members, search, workers=options.np, seed=options.seed)
    if again:
        print(f"Several of these folds validated {few(sorted(again))}: each counts in the first of them.")
    print(report(fitted, labels), flush=True)  # before the file, which may fail to be written
    write_smoothing(options.o, fitted.smoothing)
    print(f"{options.o} written")
    for name, why in fitted.left_out.items():
        print(f"nnunet-prosma smooth: {name} is left out: {why}", file=sys.stderr)
    if fitted.left_out:
        raise IncompleteError(f"{options.o} is fitted without {few(fitted.left_out)}")
    return 0


def run_apply(options: argparse.Namespace) -> int:
    from nnunet_prosma.smooth.apply import apply
    from nnunet_prosma.smooth.settings import read_smoothing

    smoothing = read_smoothing(options.settings)
    written, changed, wrong = apply(smoothing, options.i, options.o, options.plans_json)
    if smoothing.idle:
        print(f"{options.settings} asks for nothing: cross-validation did not show that smoothing helps")
    print(f"{written} segmentations in {options.o}, {changed} of them changed by smoothing")
    for sentence in wrong:
        print(f"nnunet-prosma smooth: {sentence}", file=sys.stderr)
    return 2 if wrong else 0


def few(names: Collection[str]) -> str:
    """5 cases (a, b, c and 2 more)."""
    return f"{len(names)} case{'s' * (len(names) > 1)} ({first_of(list(names), 3)})"


def volumes_of(given: Sequence[str], labels: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """The volumes by label, from NAME=LEAST..MOSTml."""
    named, found = {name: label for label, name in labels.items()}, {}
    for text in given:
        match = re.fullmatch(r"(.+)=(\d+(?:\.\d+)?)\.\.(\d+(?:\.\d+)?)ml", text, re.ASCII)
        if not match or match[1] not in named or float(match[2]) > float(match[3]):
            raise InputError(
                f"--volume must be NAME=LEAST..MOSTml with a name of {', '.join(named)}, such as "
                f"{next(iter(named))}=0.5..20ml, got {text!r}"
            )
        found[named[match[1]]] = (float(match[2]), float(match[3]))
    return found


def report(fitted: "Fitted", labels: Mapping[str, str]) -> str:
    """What the held-out folds say, and what is applied."""
    from nnunet_prosma.statistics.p_values import said

    lines = [f"Mean Dice over {fitted.cases} cases, each judged by what the other folds chose:"]
    if fitted.left_out:
        lines.append(f"Left out of all of it, since they cannot be read: {few(fitted.left_out)}")
    lines.append(f"  {'as nnU-Net predicts':<38}{fitted.judged[0].before:.4f}")
    for judged in fitted.judged:
        interval = "no interval" if judged.interval is None else "{:+.4f} to {:+.4f}".format(*judged.interval)
        p = "no p" if judged.p is None else said(judged.p)
        gain = judged.after - judged.before
        lines.append(f"  {judged.name:<38}{judged.after:.4f}  {gain:+.4f} ({interval}, {p})")
    lines.append("Chosen on all folds:")
    lines += [f"  {labels[label]}: {words(prior)}" for label, prior in fitted.chosen.items()]
    if all(prior.idle for prior in fitted.chosen.values()):
        lines.append("No smoothing was better than none: nothing is applied.")
    elif fitted.smoothing.idle:
        lines.append("The held-out folds do not show that it helps: nothing is applied (lam = 0).")
    else:
        lines.append("The held-out folds show that it helps: it is applied.")
    return "\n".join(lines)


def words(prior: "Prior") -> str:
    if prior.idle:
        return "left alone"
    volume = {None: "", "own": ", at the volume of its probabilities"}.get(prior.volume)  # type: ignore[arg-type]
    if volume is None and prior.volume is not None:
        volume = f", between {prior.volume[0]} and {prior.volume[1]} ml"
    return f"lam {prior.lam:g}, sigma {prior.sigma_mm:.3g} mm{volume}"
