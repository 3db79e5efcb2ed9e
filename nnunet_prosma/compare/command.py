"""nnunet-prosma compare: one step after the other."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_prosma.compare.options import TOLERANCE, by_name, describe, parse, parser
from nnunet_prosma.errors import IncompleteError, InputError

if TYPE_CHECKING:
    from nnunet_prosma.compare.analysis import Analysis
    from nnunet_prosma.compare.extremes import Picture
    from nnunet_prosma.compare.table import Metric
    from nnunet_prosma.host.trained import TrainedFolder
    from nnunet_prosma.report.drawing import Drawn

__all__ = ["main", "parser"]

CACHE = "cache/surfaces.jsonl"
WITHOUT_CONCLUSION = 1
"""The exit status where a report was written and each of its verdicts is that there can be none."""


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    from nnunet_prosma.files import folder_made_whole

    if options.across:
        return over_data_sets(options)
    runs = runs_asked_for(options)
    with folder_made_whole(options.output, "compare", kept=(CACHE,)) as folder:
        analysis, problems = compare(options, runs, folder)
    if options.json:
        print((options.output / "summary.json").read_text(), end="")
    else:
        for verdict in analysis.verdicts.values():
            print(verdict.sentence)
        print(options.output / "report.html")
    if problems:
        for problem in problems:
            print(f"nnunet-prosma compare: {problem}", file=sys.stderr)
        raise IncompleteError(f"the report is made, but {len(problems)} of the files that it asks for cannot be read")
    return 0 if analysis.concluded else WITHOUT_CONCLUSION


def over_data_sets(options: argparse.Namespace) -> int:
    from nnunet_prosma.compare.across import across, read_reports, sentence
    from nnunet_prosma.compare.across_report import write_across
    from nnunet_prosma.files import folder_made_whole

    found = across(read_reports(options.across))
    with folder_made_whole(options.output, "compare") as folder:
        write_across(found, folder, plots=not options.tables_only)
    if options.json:
        print((options.output / "across.json").read_text(), end="")
        return 0
    for one in found:
        print(sentence(one))
    print(options.output / "report.html")
    return 0


def runs_asked_for(options: argparse.Namespace) -> "list[TrainedFolder]":
    """The runs by name, by folder, or as predictions; several trainings of one thing have its name and a number."""
    from nnunet_prosma.compare.arms import arms_of, named, repeats_of
    from nnunet_prosma.compare.predictions import read_predictions
    from nnunet_prosma.host.runs import folders_by_name, read_runs

    if options.predictions:
        return [*read_predictions(options.predictions, options.truth, options.djfile, options.workers)]
    if options.folders:
        folders = [Path(folder) for folder in options.folders]
    else:
        folders = folders_by_name(options.dataset, options.configuration, options.trainers, options.plans)
        folders += repeats_of(folders, options.repeats)
    runs = read_runs(folders)
    return named(runs, arms_of(runs))


def compare(options: argparse.Namespace, runs: "Sequence[TrainedFolder]", folder: Path) -> tuple["Analysis", list[str]]:
    """What was found, and what could not be read, case by case."""
    from nnunet_prosma.compare.analysis import analyse, by_arm, load
    from nnunet_prosma.compare.predictions import TEST, Predictions, about_predictions
    from nnunet_prosma.compare.unmeasured import without

    unit = runs[0].unit
    folds = [TEST] if options.predictions else options.folds
    before = list(about_predictions(runs, options.truth)) if options.predictions else []
    loaded = load(runs, folds, options.allow, unit, options.cluster, before)
    if isinstance(runs[0], Predictions):
        loaded = without(loaded, runs[0].unmeasured)
    table = loaded.table
    settings: dict[str, object] = {"seed": options.seed, "allowed": options.allow, "cluster": options.cluster}
    if not options.no_images:
        from nnunet_prosma.compare.with_surfaces import with_surfaces

        tolerances = by_name(options.tolerance, table.labels, TOLERANCE, "--tolerance", "label")
        settings["tolerance"] = describe(tolerances, unit)
        wanted = {key: tolerances[name] for key, name in zip(table.keys, table.labels, strict=True)}
        cache = options.output / CACHE if options.cache is None else options.cache / Path(CACHE).name
        settings["hd95_of_a_miss"] = options.hd95_of_a_miss
        loaded = with_surfaces(loaded, wanted, cache, options.workers, options.allow, options.hd95_of_a_miss)
    metrics = with_worse_by(loaded.table.metrics, options.worse_by)
    loaded = replace(loaded, table=replace(loaded.table, metrics=metrics))
    margins = margins_of(options.margin, metrics, options.primary)
    settings["margin"] = margins.get(options.primary)
    analysis = analyse(by_arm(loaded), options.primary, options.seed, settings, margins)
    shown = write_report(analysis, folder, plots=not options.tables_only, images=not options.no_images)
    problems = [f"{case} is left out: {why}" for case, why in analysis.loaded.unmeasured.items()]
    return analysis, [*problems, *dict.fromkeys(picture.problem for picture in shown if picture.problem)]


def with_worse_by(metrics: Sequence["Metric"], given: Sequence[str]) -> list["Metric"]:
    if any("=" not in text for text in given):
        raise InputError(f"--worse-by takes METRIC=X, not {' '.join(given)!r}: the metrics have different units")
    chosen = by_name(given, [m.name for m in metrics], 0.0, "--worse-by", "metric")
    named = {text.rpartition("=")[0] for text in given}
    return [replace(m, worse_by=chosen[m.name]) if m.name in named else m for m in metrics]


def margins_of(given: Sequence[str], metrics: Sequence["Metric"], primary: str) -> dict[str, float]:
    """METRIC=X; only the primary metric's is used, and another one is refused."""
    if not given:
        return {}
    if any("=" not in text for text in given):
        raise InputError(f"--margin takes METRIC=X, not {' '.join(given)!r}: the metrics have different units")
    found = by_name(given, [m.name for m in metrics], 0.0, "--margin", "metric")
    named = {text.rpartition("=")[0] for text in given}
    if named != {primary}:
        raise InputError(f"--margin is for the primary metric, {primary}, not for {', '.join(sorted(named))}")
    if not found[primary]:
        raise InputError("--margin must be larger than 0: no two trainings differ by nothing")
    return {primary: found[primary]}


def write_report(analysis: "Analysis", output: Path, plots: bool, images: bool) -> "list[Picture]":
    """What is not drawn is not imported either: tables take a second where plots take several."""
    from nnunet_prosma.compare.extremes import largest
    from nnunet_prosma.compare.report_html import write_html
    from nnunet_prosma.compare.report_md import write_markdown
    from nnunet_prosma.compare.table_tex import table_tex
    from nnunet_prosma.compare.tables import write_tables
    from nnunet_prosma.files import write_text

    write_tables(analysis, output)
    write_text(output / "table.tex", table_tex(analysis))
    drawn: list[Drawn] = []
    shown = list(largest(analysis))
    if plots:
        from nnunet_prosma.compare.plots import plots as all_plots
        from nnunet_prosma.report.drawing import draw

        drawn = draw(all_plots(analysis), output / "figures")
    if images:
        from nnunet_prosma.compare.pictures import with_pictures

        shown = with_pictures(analysis, shown, output / "figures")
    write_markdown(analysis, drawn, shown, output)
    write_html(analysis, drawn, shown, output)
    return shown
