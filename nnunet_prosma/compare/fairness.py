"""Is it a fair comparison? What was found to differ, and what of it makes the comparison meaningless."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from nnunet_prosma.compare.summaries import ComparedCase
from nnunet_prosma.errors import InputError, first_of
from nnunet_prosma.host.labels import LabelKey


@dataclass(frozen=True)
class Finding:
    """One difference: its kind, a sentence, the lines of a diff; about: what differs, in a word or two.

    error: it makes the comparison meaningless, unless it is allowed.
    """

    kind: str
    sentence: str
    lines: tuple[str, ...] = ()
    error: bool = False
    allowed: bool = False
    about: str = ""
    run: str | None = None
    """The run that it is about, beside the baseline; None: all."""


def judge(findings: Sequence[Finding], allowed: Sequence[str]) -> list[Finding]:
    """The findings, those that are allowed marked; the others that are errors are raised together."""
    judged = [replace(f, allowed=f.error and f.kind in allowed) for f in findings]
    errors = [f for f in judged if f.error and not f.allowed]
    if errors:
        kinds = ", ".join(dict.fromkeys(f.kind for f in errors))
        sentences = "\n".join([f.sentence for f in errors])
        raise InputError(f"{sentences}\nTo compare nevertheless, and have the report say so: --allow {kinds}")
    return judged


def compare_cases(names: Sequence[str], cases: Sequence[Mapping[str, ComparedCase]]) -> Iterator[Finding]:
    """Other cases, cases in another fold, another ground truth."""
    for name, other in zip(names[1:], cases[1:], strict=True):
        first, baseline = cases[0], names[0]
        if only := sorted(first.keys() - other.keys()):
            yield Finding("cases", f"{name} was not validated on {some(only)}, {baseline} was.", error=True, run=name)
        if only := sorted(other.keys() - first.keys()):
            yield Finding("cases", f"{baseline} was not validated on {some(only)}, {name} was.", error=True, run=name)
        common = sorted(first.keys() & other.keys())
        if moved := [c for c in common if first[c].fold != other[c].fold]:
            yield Finding(
                "cases",
                f"{baseline} and {name} validated {some(moved)} in other folds, so with other training cases.",
                error=True,
                run=name,
            )
        if changed := [c for c in common if _truth(first[c], other[c]) != _truth(other[c], first[c])]:
            yield Finding(
                "truth",
                f"The ground truth of {some(changed)} changed between the validations of {baseline} and {name}: "
                f"validate again with nnUNetv2_train --val.",
                error=True,
                run=name,
            )


def lacking(
    names: Sequence[str], cases: Sequence[Mapping[str, ComparedCase]], labels: Mapping[LabelKey, str]
) -> Iterator[Finding]:
    """Labels that all runs define and one run's summary does not have in a case that is compared."""
    common = sorted(set.intersection(*(set(c) for c in cases)))
    for name, own in zip(names, cases, strict=True):
        for key, label in labels.items():
            if absent := [case for case in common if key not in own[case].values]:
                yield Finding(
                    "labels",
                    f"The summary of {name} lacks the label {label} in {some(absent)}: validate again with "
                    f"nnUNetv2_train --val. If it is allowed, the label is left out for all runs.",
                    error=True,  # and so about all pairs
                )


def some(cases: Sequence[str], shown: int = 5) -> str:
    """How many cases, and the first of them by name."""
    return f"{'the case' if len(cases) == 1 else f'{len(cases)} cases:'} {first_of(cases, shown)}"


def _truth(case: ComparedCase, other: ComparedCase) -> dict[LabelKey, float]:
    """Voxels of each label in the ground truth, for the labels that both know."""
    return {key: values[2] for key, values in case.values.items() if key in other.values}
