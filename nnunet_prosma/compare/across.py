"""Several data sets in one report: what compare found in each, and over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import Struct

from nnunet_prosma.compare.table import known_metrics
from nnunet_prosma.errors import InputError
from nnunet_prosma.files import read_json
from nnunet_prosma.host.check import checked
from nnunet_prosma.statistics.random_effects import RandomEffects, random_effects

FEW = 10
"""Fewer data sets are these data sets, and no sample of all."""


class SaidRun(Struct):
    dataset: str


class SaidInterval(Struct):
    low: float
    high: float


class SaidParts(Struct):
    from_cases: float
    from_trainings: float


class SaidRow(Struct):
    """A line of the statistics, as far as it is read here."""

    baseline: str
    candidate: str
    metric: str
    unit: str
    n: int
    primary: bool = False
    mean_difference: float | None = None
    mean_interval: SaidInterval | None = None
    error: float | None = None
    crossed: SaidParts | None = None


class SaidVerdict(Struct):
    outcome: str


class ReportFile(Struct):
    """A report's summary.json."""

    runs: list[SaidRun]
    statistics: list[SaidRow]
    verdicts: dict[str, SaidVerdict]
    unmeasured: dict[str, str] = {}
    settings: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("`runs` must hold the runs that are compared")
        if missing := [row.candidate for row in self.statistics if row.primary and row.candidate not in self.verdicts]:
            raise ValueError(f"`verdicts` must hold one on {missing[0]}")


@dataclass(frozen=True)
class DataSet:
    """The primary row of one report. from_trainings: their part of the squared error; None if each was trained once."""

    name: str
    cases: int
    mean_difference: float
    error: float
    low: float
    high: float
    outcome: str
    from_cases: float
    from_trainings: float | None
    unmeasured: int = 0
    """Cases that its report leaves out, since their files could not be measured."""


@dataclass(frozen=True)
class Across:
    """One run against the baseline, over all reports that have both."""

    baseline: str
    candidate: str
    metric: str
    unit: str
    better: int
    data_sets: list[DataSet]
    overall: RandomEffects

    @property
    def title(self) -> str:
        known = known_metrics(self.unit).get(self.metric)
        return known.title if known else self.metric

    @property
    def ahead(self) -> int:
        return sum(d.mean_difference * self.better > 0 for d in self.data_sets)

    @property
    def shares(self) -> dict[str, float | None]:
        """Shares of the variance of one data set's estimate: between data sets, between trainings, between cases."""
        cases = sum(d.from_cases for d in self.data_sets) / len(self.data_sets)
        known = [d.from_trainings for d in self.data_sets if d.from_trainings is not None]
        trainings = sum(known) / len(known) if len(known) == len(self.data_sets) else None
        total = self.overall.between + cases + (trainings or 0.0)
        return {
            "data sets": self.overall.between / total,
            "trainings": None if trainings is None else trainings / total,
            "cases": cases / total,
        }


def read_reports(reports: Sequence[Path]) -> list[tuple[str, dict[str, Any]]]:
    """The name of each report's data set, and its summary.json."""
    if len(reports) < 2:
        raise InputError("--across needs at least two reports of nnunet-prosma compare")
    found = []
    for report in map(report_of, reports):
        path = report / "summary.json" if report.is_dir() else report
        content = read_json(path)
        if not {"statistics", "verdicts", "runs", "nnunet_prosma"} <= content.keys():
            raise InputError(f"{path} is no summary.json of nnunet-prosma compare: make the report first")
        checked(content, ReportFile, str(path))
        found.append((path, content))
    names = [str(content["runs"][0]["dataset"]) for _, content in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{twice} is in two reports: --across takes one report a data set")
    return [(name, content) for name, (_, content) in zip(names, found, strict=True)]


def report_of(given: Path) -> Path:
    """The report itself, or that of a study's folder: the one over all repeats where there are repeats."""
    if not (given / "compare").is_dir() or (given / "summary.json").is_file():
        return given
    inside = sorted(path.parent for path in (given / "compare").glob("*/summary.json"))
    over_all = [path for path in inside if path.name.startswith("all_repeats")]
    chosen = over_all or inside
    if len(chosen) != 1:
        said = f"{len(chosen)} reports ({', '.join(path.name for path in chosen)})" if chosen else "no report"
        more = "name one of them" if chosen else "finish the study first"
        raise InputError(f"{given / 'compare'} holds {said}, and --across takes one a data set: {more}")
    return chosen[0]


def across(reports: Sequence[tuple[str, dict[str, Any]]]) -> list[Across]:
    """One for each run that all reports hold against the same baseline."""
    primary = [{row["candidate"]: row for row in content["statistics"] if row.get("primary")} for _, content in reports]
    asked = {(row["baseline"], row["metric"]) for rows in primary for row in rows.values()}
    if len(asked) != 1:
        said = ", ".join(sorted(f"{metric} against {baseline}" for baseline, metric in asked)) or "nothing"
        raise InputError(f"all reports must ask one question, the same metric against the same baseline, not {said}")
    shared = [name for name in primary[0] if all(name in rows for rows in primary)]
    if not shared:
        raise InputError("there is nothing to compare: the reports share no run beside the baseline")
    require_one_measure(reports, primary)
    return [
        of_candidate([(name, rows[run], content) for (name, content), rows in zip(reports, primary, strict=True)])
        for run in shared
    ]


def require_one_measure(reports: Sequence[tuple[str, dict[str, Any]]], primary: Sequence[dict[str, Any]]) -> None:
    """Distances in mm and in px, shares within other tolerances, and other values of a miss are no one number."""
    rows = [next(iter(of.values())) for of in primary]
    settings = [content.get("settings", {}) for _, content in reports]
    said = {
        "hd95": {
            "unit": [row["unit"] for row in rows],
            "--hd95-of-a-miss": [given.get("hd95_of_a_miss") for given in settings],
        },
        "nsd": {"--tolerance": [given.get("tolerance") for given in settings]},
    }.get(rows[0]["metric"], {})
    for what, values in said.items():
        if len(set(values)) > 1:
            listed = "; ".join(f"{value} in {name}" for value, (name, _) in zip(values, reports, strict=True))
            mend = "leave out one kind" if what == "unit" else f"make the reports again with one {what}"
            raise InputError(
                f"--across needs one {what} for {rows[0]['metric']}, not {listed}: {mend}, or make all with --primary "
                "dice"
            )


def of_candidate(rows: Sequence[tuple[str, dict[str, Any], dict[str, Any]]]) -> Across:
    data_sets = []
    for name, row, content in rows:
        interval, error = row.get("mean_interval"), row.get("error")
        if interval is None or not error or row["mean_difference"] is None:
            raise InputError(
                f"{name}: {row['candidate']} has no interval, or its report was made by an earlier version: with fewer "
                f"than 10 cases it cannot enter --across; else make the report again"
            )
        parts = row.get("crossed")
        data_sets.append(
            DataSet(
                name=name,
                cases=row["n"],
                mean_difference=row["mean_difference"],
                error=error,
                low=interval["low"],
                high=interval["high"],
                outcome=content["verdicts"][row["candidate"]]["outcome"],
                from_cases=parts["from_cases"] if parts else error**2,
                from_trainings=parts["from_trainings"] if parts else None,
                unmeasured=len(content.get("unmeasured", ())),
            )
        )
    first = rows[0][1]
    overall = random_effects([d.mean_difference for d in data_sets], [d.error for d in data_sets])
    better = -1 if first["metric"] in ("hd95", "volume") else 1
    return Across(first["baseline"], first["candidate"], first["metric"], first["unit"], better, data_sets, overall)


def sentence(found: Across) -> str:
    """What a person can quote; better and worse are words of the single reports."""
    count = len(found.data_sets)
    interval, prediction = found.overall.interval, found.overall.prediction
    unit = f" {found.unit}" if found.unit else ""
    text = (
        f"Over {count} data sets, {found.title} of {found.candidate} minus that of {found.baseline}: "
        f"{found.overall.mean:+.4f}{unit}, 95 % interval {interval.low:+.4f} to {interval.high:+.4f} (Hartung-Knapp); "
        f"ahead in {found.ahead} of {count}, shown as better in {outcomes(found, 'better')}, as worse in "
        f"{outcomes(found, 'worse')}."
    )
    if prediction is not None:
        text += f" In a further such data set: {prediction.low:+.4f} to {prediction.high:+.4f}."
    if missing := [f"{d.unmeasured} of {d.name}" for d in found.data_sets if d.unmeasured]:
        text += f" Left out, since their files could not be measured: cases {', '.join(missing)}."
    if count < FEW:
        text += f" These are {count} data sets and no sample of all: what holds for others they do not tell."
    return text


def outcomes(found: Across, outcome: str) -> int:
    return sum(d.outcome == outcome for d in found.data_sets)
