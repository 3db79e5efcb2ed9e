"""Is it a fair comparison? In a word or two, for the page's badge, the terminal and the verdict's sentence."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from nnunet_prosma.compare.fairness import Finding

QUESTION = {
    "dataset": "data set",
    "labels": "labels",
    "folds": "folds",
    "retrained": "validations of earlier trainings",
    "unfinished": "unfinished trainings",
    "cases": "cases",
    "truth": "ground truth",
    "stale": "files changed since they were measured",
    "configuration": "configuration",
    "checkpoint": "the checkpoint that was validated",
    "schedule": "training schedule",
    "splits": "training cases",
    "fingerprint": "the data's fingerprint",
    "preprocessing": "preprocessing",
    "network": "plans of the network",
    "plans": "plans",
}
"""Kinds of findings that change the question, the gravest first; the others are about surroundings."""
NOTES = {"clusters", "unmeasured"}
"""Kinds that tell something about the cases, and no difference."""
Kind = Literal["same", "around", "differs", "allowed"]


@dataclass(frozen=True)
class Badge:
    """kind: nothing differs; only surroundings do; something does; something that ends a comparison unless allowed."""

    kind: Kind
    text: str

    @property
    def changes_the_question(self) -> bool:
        return self.kind in ("differs", "allowed")


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """What changes the question before what does not, and what was allowed before all."""
    rank = {kind: i for i, kind in enumerate(QUESTION)}
    return sorted(findings, key=lambda f: (not f.allowed, rank.get(f.kind, len(rank))))


def badge(findings: Sequence[Finding]) -> Badge:
    if any(f.kind == "origin" for f in findings):
        allowed = [f for f in findings if f.allowed]
        also = (
            f"; compared only because of --allow {' '.join(dict.fromkeys(f.kind for f in allowed))}" if allowed else ""
        )
        return Badge("allowed" if allowed else "differs", f"How these predictions were made is not known{also}")
    graver = [f for f in ordered(findings) if f.allowed or f.kind in QUESTION]
    around = [f for f in findings if f not in graver and f.kind not in NOTES]
    if any(f.allowed for f in graver):
        kinds = " ".join(dict.fromkeys(f.kind for f in graver if f.allowed))
        return Badge("allowed", f"Differs in {_topics(graver)}: compared only because of --allow {kinds}")
    if graver:
        return Badge("differs", f"Differs in {_topics(graver)}")
    if around:
        return Badge("around", f"Differs only in surroundings: {_topics(around)}")
    return Badge("same", "Nothing that is recorded differs but the trainer")


def badges(findings: Sequence[Finding], runs: Sequence[str]) -> dict[str, Badge]:
    """The badge of each run against the baseline, which is the first: what differs between these two."""
    baseline, *others = runs
    return {run: badge([f for f in findings if f.run in (None, baseline, run)]) for run in others}


def _topics(findings: Iterable[Finding]) -> str:
    return ", ".join(dict.fromkeys(f.about or QUESTION.get(f.kind, f.kind) for f in findings))
