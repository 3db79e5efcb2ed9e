"""Everything a report says, computed once; the pages, tables and plots only show it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nnunet_prosma.compare import unmeasured
from nnunet_prosma.compare.arms import arms_of, collapse
from nnunet_prosma.compare.badge import Badge, badges
from nnunet_prosma.compare.clusters import clusters_of, note
from nnunet_prosma.compare.cost import Cost, cost
from nnunet_prosma.compare.empty import EmptyCounts, count_empty
from nnunet_prosma.compare.fairness import Finding, compare_cases, judge, lacking
from nnunet_prosma.compare.paired import PairedRow, paired_rows
from nnunet_prosma.compare.setups import compare_setups
from nnunet_prosma.compare.summaries import ComparedCase, read_cases
from nnunet_prosma.compare.table import CaseTable, build_table
from nnunet_prosma.compare.verdict import Verdict, verdict
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.datasets import optional_folder
from nnunet_prosma.host.runs import short_names
from nnunet_prosma.host.splits import read_splits
from nnunet_prosma.host.trained import TrainedFolder


@dataclass
class Loaded:
    """Runs that may be compared, their cases, and what was found to differ."""

    runs: list[TrainedFolder]
    folds: list[str]
    cases: list[dict[str, ComparedCase]]
    findings: list[Finding]
    table: CaseTable
    trainings: list[TrainedFolder] = field(default_factory=list)
    """All of them, where a run stands for several."""
    unmeasured: dict[str, str] = field(default_factory=dict)
    """Case -> why it is left out for all runs."""

    def trainings_of(self, run: int) -> list[TrainedFolder]:
        """The trainings that a run stands for: itself alone where no run stands for several."""
        return [self.trainings[i] for i in self.table.indices(run)] if self.trainings else [self.runs[run]]


@dataclass
class Analysis:
    loaded: Loaded
    rows: list[PairedRow]
    empty: list[EmptyCounts]
    costs: list[Cost]
    verdicts: dict[str, Verdict]
    settings: Mapping[str, object]
    badges: Mapping[str, Badge]
    """The badge of each run against the baseline."""

    @property
    def concluded(self) -> bool:
        """Whether any verdict says more than that there can be none."""
        return any(verdict.outcome != "no conclusion" for verdict in self.verdicts.values())

    @property
    def table(self) -> CaseTable:
        return self.loaded.table

    @property
    def primaries(self) -> list[PairedRow]:
        return [row for row in self.rows if row.primary]


def load(
    runs: Sequence[TrainedFolder],
    folds: Sequence[str] | None,
    allowed: Sequence[str],
    unit: str,
    cluster: str | None = None,
    before: Sequence[Finding] = (),
) -> Loaded:
    """Read the cases of all runs; raise what makes the comparison meaningless and is not allowed."""
    asked = list(folds or expected_folds(runs))
    findings = judge([*before, *compare_setups(runs, asked)], allowed)
    common = [f for f in asked if all(f in r.folds and r.folds[f].validated for r in runs)]
    cases = [read_cases(run, common) for run in runs]
    findings += judge(list(compare_cases([r.name for r in runs], cases)), allowed)
    labels = {k: v for k, v in runs[0].labels.items() if all(k in r.labels for r in runs)}
    names = [r.name for r in runs]
    if not set.intersection(*(set(c) for c in cases)):
        raise InputError(f"there is nothing to compare: {', '.join(names)} share no validated case in {_folds(common)}")
    findings += judge(list(lacking(names, cases, labels)), allowed)
    table = build_table(names, cases, labels, unit)
    if not table.labels:
        raise InputError(f"there is nothing to compare: {', '.join(names)} share no label")
    if cluster is not None:
        table = replace(table, clusters=clusters_of(table.cases, cluster))
    else:
        findings += note(table.cases)
    return Loaded(list(runs), common, cases, findings, table)


def by_arm(loaded: Loaded) -> Loaded:
    """Several trainings of the same thing become one run, which their first one stands for in files and pictures."""
    arms = arms_of(loaded.runs)
    if all(len(arm) == 1 for arm in arms):
        return loaded
    first = [arm[0] for arm in arms]
    names = short_names([loaded.runs[i] for i in first])
    arm_of = {loaded.runs[i].name: name for name, arm in zip(names, arms, strict=True) for i in arm}
    return Loaded(
        runs=[replace(loaded.runs[i], name=name) for i, name in zip(first, names, strict=True)],
        folds=loaded.folds,
        cases=[loaded.cases[i] for i in first],
        findings=[replace(f, run=arm_of.get(f.run, f.run) if f.run else None) for f in loaded.findings],
        table=collapse(loaded.table, arms, names),
        trainings=loaded.runs,
        unmeasured=loaded.unmeasured,
    )


def analyse(
    loaded: Loaded, primary: str, seed: int, settings: Mapping[str, object], margins: Mapping[str, float]
) -> Analysis:
    loaded = replace(loaded, findings=[*unmeasured.finding(loaded), *loaded.findings])
    rows = paired_rows(loaded.table, primary, seed)
    fair = badges(loaded.findings, loaded.table.runs)
    after = {run: " ".join(filter(None, [f"{mark.text}.", unmeasured.sentence(loaded)])) for run, mark in fair.items()}
    found = [verdict(row, margins.get(row.metric.name)) for row in rows if row.primary]
    return Analysis(
        loaded=loaded,
        rows=rows,
        empty=count_empty(loaded.table),
        costs=[cost(run, loaded.folds, loaded.trainings_of(r)) for r, run in enumerate(loaded.runs)],
        verdicts={v.candidate: replace(v, sentence=f"{v.sentence} {after[v.candidate]}") for v in found},
        settings=settings,
        badges=fair,
    )


def expected_folds(runs: Sequence[TrainedFolder]) -> list[str]:
    """All folds of the split file where nnU-Net's preprocessed folder has one, else all that any run has."""
    found = sorted({fold for run in runs for fold in run.folds if fold != "all"}) or ["all"]
    splits = splits_file(runs[0])
    if splits is None:
        return found
    return sorted({str(i) for i in range(len(read_splits(splits)))} | set(found) if found != ["all"] else {"all"})


def splits_file(run: TrainedFolder) -> Path | None:
    preprocessed = optional_folder("nnUNet_preprocessed")
    path = preprocessed and preprocessed / run.dataset / "splits_final.json"
    return path if path and path.is_file() else None


def _folds(folds: Sequence[str]) -> str:
    return f"folds {', '.join(folds)}" if folds else "any fold"
