"""Cases whose images cannot be measured: left out for all runs, so that pairs stay pairs, and told of everywhere."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nnunet_prosma.compare.fairness import Finding
from nnunet_prosma.errors import first_of

if TYPE_CHECKING:
    from nnunet_prosma.compare.analysis import Loaded

KIND = "unmeasured"


def without(loaded: "Loaded", problems: Mapping[str, str]) -> "Loaded":
    """All of it without these cases. problems: case -> why it cannot be measured."""
    table = loaded.table
    kept = np.array([case not in problems for case in table.cases])
    shorter = replace(
        table,
        cases=[case for case in table.cases if case not in problems],
        folds=[fold for fold, keep in zip(table.folds, kept, strict=True) if keep],
        values={name: values[:, kept] for name, values in table.values.items()},
        n_ref=table.n_ref[kept],
        n_pred=table.n_pred[:, kept],
        clusters=table.clusters and [c for c, keep in zip(table.clusters, kept, strict=True) if keep],
    )
    cases = [{name: case for name, case in of_run.items() if name not in problems} for of_run in loaded.cases]
    return replace(loaded, table=shorter, cases=cases, unmeasured={**loaded.unmeasured, **problems})


def finding(loaded: "Loaded") -> list[Finding]:
    if not loaded.unmeasured:
        return []
    lines = tuple(f"{case}: {why}" for case, why in loaded.unmeasured.items())
    return [Finding(KIND, f"{sentence(loaded)} No number of this report holds them.", lines)]


def sentence(loaded: "Loaded") -> str:
    """Nothing where every case was measured."""
    left_out = loaded.unmeasured
    if not left_out:
        return ""
    total = len(left_out) + len(loaded.table.cases)
    are = "is" if len(left_out) == 1 else "are"
    named = first_of(sorted(left_out), 5)
    return f"{len(left_out)} of {total} cases {are} left out for all runs, since a file could not be measured: {named}."
