"""What the report says, section by section, in words and tables; report_html.py and report_md.py only set it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from nnunet_prosma.compare.analysis import Analysis
from nnunet_prosma.compare.bootstrap import MINIMUM, RESAMPLES, Interval
from nnunet_prosma.compare.fairness import Finding
from nnunet_prosma.compare.paired import Row, Spread
from nnunet_prosma.compare.verdict import number


@dataclass(frozen=True)
class Table:
    """The first column names the row. folded: long, so shown on request."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """plots: groups of plots that belong here."""

    title: str
    paragraphs: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    plots: tuple[str, ...] = ()


def title(analysis: Analysis) -> str:
    run = analysis.loaded.runs[0]
    return f"{run.dataset}, {run.configuration}: {', '.join(analysis.table.runs[1:])} against {analysis.table.runs[0]}"


def sections(analysis: Analysis) -> Iterator[Section]:
    yield fairness(analysis)
    yield results(analysis)
    yield empty_masks(analysis)
    yield folds(analysis)
    yield costs(analysis)
    yield Section("Case by case", plots=("scatter", "sorted", "distribution"))
    yield method(analysis)


def fairness(analysis: Analysis) -> Section:
    findings = sorted(analysis.loaded.findings, key=lambda f: not f.allowed)
    text = ["nnU-Net does not record its own version in a results folder, so that it cannot be compared."]
    if not findings:
        text.insert(0, "Nothing that nnU-Net records about these runs differs but the trainer.")
    elif any(f.allowed for f in findings):
        text.insert(0, "Marked differences make a comparison meaningless; they were allowed on request.")
    return Section("Is it a fair comparison?", text, findings)


def results(analysis: Analysis) -> Section:
    tables = []
    for metric in analysis.table.metrics:
        for candidate in analysis.table.runs[1:]:
            rows = [r for r in analysis.rows if r.metric is metric and r.candidate == candidate]
            unit = f" [{metric.unit}]" if metric.unit else ""
            tables.append(
                Table(
                    f"{metric.title}{unit}: {candidate} against {analysis.table.runs[0]} "
                    f"({'larger' if metric.better > 0 else 'smaller'} is better)",
                    (
                        "label",
                        "cases",
                        "baseline mean ± SD",
                        "mean ± SD",
                        "mean difference",
                        "p",
                        "p (Holm)",
                        "better / equal / worse",
                        f"worse by > {metric.worse_by:g} {metric.unit}".strip(),
                        "baseline median",
                        "median",
                        "median difference",
                    ),
                    [_result(row) for row in rows],
                    folded=len(rows) > 12 or metric is not analysis.primaries[0].metric,
                )
            )
    note = (
        f"Differences are run minus baseline, with 95 % BCa bootstrap intervals over cases ({RESAMPLES} resamples). "
        f"p is Wilcoxon's signed-rank test; p (Holm) is corrected over all labels and metrics of this page. "
        f"The first row of the primary metric is the one question asked beforehand and is not corrected."
    )
    return Section("Results", [note], tables=tables, plots=("difference",))


def _result(row: Row) -> tuple[str, ...]:
    out = f" (−{row.left_out})" if row.left_out else ""
    head = (row.label, f"{row.n}{out}")
    if row.spreads is None:
        return (*head, *["–"] * 10)
    (a, b) = row.spreads
    return (
        *head,
        _spread(a, row),
        _spread(b, row),
        _difference(row.mean_difference, row.mean_interval, row),
        p_value(row.test.p) if row.test.p is not None else row.test.method,
        ("not corrected" if row.primary else p_value(row.p_holm)) if row.test.p is not None else "–",
        f"{row.wins} / {row.ties} / {row.losses}",
        f"{row.worse} ({row.worse / row.n:.0%})",
        _digits(a.median, row),
        _digits(b.median, row),
        _difference(row.median_difference, row.median_interval, row),
    )


def _digits(value: float, row: Row) -> str:
    return f"{value:.{row.metric.digits}f}"


def _spread(spread: Spread, row: Row) -> str:
    return _digits(spread.mean, row) + (f" ± {_digits(spread.sd, row)}" if spread.sd is not None else "")


def _difference(value: float | None, interval: Interval | None, row: Row) -> str:
    if value is None:
        return "–"
    centre = number(value, row, True).removesuffix(row.metric.unit).strip()
    if interval is None:
        return f"{centre} ({f'no interval: {row.n} < {MINIMUM} cases' if row.n < MINIMUM else 'all equal'})"
    low, high = (number(v, row, True).removesuffix(row.metric.unit).strip() for v in (interval.low, interval.high))
    mark = "" if interval.method == "BCa" else " *"
    return f"{centre} [{low}, {high}]{mark}"


def p_value(p: float | None) -> str:
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def empty_masks(analysis: Analysis) -> Section:
    shown = [e for e in analysis.empty if e.absent or any(e.misses)]
    rule = (
        "A case without a label in the ground truth is left out of that label's metrics for all runs; how often a run "
        "was rightly silent there or raised a false alarm is counted here. A missed label counts with Dice, IoU and "
        "normalised surface distance 0; its Hausdorff distance is not finite, so the pair is left out of it."
    )
    if not shown:
        none = "No mask is empty: every label is present in every case and found by every run."
        return Section("Empty masks", [f"{none} {rule}"])
    runs = analysis.table.runs
    header = (
        "label",
        "present",
        "absent",
        *(f"both empty: {r}" for r in runs),
        *(f"only truth empty (false alarm): {r}" for r in runs),
        *(f"only prediction empty (miss): {r}" for r in runs),
    )
    rows = [
        (e.label, *(str(n) for n in (e.present, e.absent, *e.both_empty, *e.false_alarms, *e.misses))) for e in shown
    ]
    return Section("Empty masks", [rule], tables=[Table("Cases by label", header, rows, folded=len(rows) > 12)])


def folds(analysis: Analysis) -> Section:
    rows: list[tuple[str, ...]] = []
    names = sorted({f for row in analysis.primaries for f in row.folds})
    for row in analysis.primaries:
        for which, run in ((0, row.baseline), (1, row.candidate)):
            if which == 0 and rows:
                continue
            means = [row.folds[f][which] for f in names if f in row.folds]
            shown = [_digits(row.folds[f][which], row) if f in row.folds else "–" for f in names]
            sd = _digits(float(np.std(means, ddof=1)), row) if len(means) > 1 else "–"
            rows.append((run, *shown, _digits(float(np.mean(means)), row) if means else "–", sd))
    header = ("run", *(f"fold {f}" for f in names), "mean of folds", "SD of folds")
    primary = analysis.primaries[0]
    text = (
        f"Mean {primary.metric.title} ({primary.label}) in each fold. Folds share training cases, so they are not "
        f"independent: no test is made of them."
    )
    return Section("Folds", [text], tables=[Table("Means of each fold", header, rows)])


def costs(analysis: Analysis) -> Section:
    header = ("run", "parameters", "time per epoch", "epochs", "peak memory", "device")
    first = analysis.costs[0]
    rows: list[tuple[str, ...]] = [
        (
            c.run,
            f"{c.parameters:,}{_ratio(c.parameters, first.parameters)}" if c.parameters else "not readable",
            f"{c.seconds_per_epoch:.1f} s{_ratio(c.seconds_per_epoch, first.seconds_per_epoch)}"
            if c.seconds_per_epoch
            else "not in the logs",
            str(c.epochs or "not in the logs"),
            f"{c.peak_memory_gib:.1f} GiB" if c.peak_memory_gib else "not recorded",
            c.gpu or "not recorded",
        )
        for c in analysis.costs
    ]
    text = "Time per epoch is the median over epochs and folds in the training logs, on the machine of the training."
    return Section("Cost beside benefit", [text], tables=[Table("Cost", header, rows)], plots=("curve",))


def _ratio(value: float | None, first: float | None) -> str:
    if not value or not first or value == first:
        return ""
    return f" ({100 * (value / first - 1):+.1f} %)"


def method(analysis: Analysis) -> Section:
    text = [
        f"Intervals are drawn with the seed {analysis.settings.get('seed')}; fewer than {MINIMUM} cases get none. An "
        f"interval marked * is of percentiles, because ties leave BCa undefined. Pairs without a difference do not "
        f"enter Wilcoxon's test; it is exact up to 50 pairs without ties, by enumeration up to 13 pairs with ties, and "
        f"a normal approximation with tie and continuity correction beyond.",
    ]
    if tolerance := analysis.settings.get("tolerance"):
        text.append(
            f"Tolerance of the normalised surface distance: {tolerance}. Surface distances are computed by "
            f"surface-distance, weighted by area; the 95 % Hausdorff distance is the larger of both directions."
        )
    else:
        text.append("Surface metrics were not asked for (--tables-only).")
    return Section("How to read this", text)
