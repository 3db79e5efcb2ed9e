"""Cases that belong together, such as two phases of a patient or slices of a volume: they count as one draw."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from nnunet_prosma.compare.fairness import Finding, some
from nnunet_prosma.errors import InputError

PART = re.compile(r"(.*\d.*?)[_-][A-Za-z]*\d*")
"""A name of two parts: one with a number in it, and after _ or - a word, a number, or both."""


def clusters_of(cases: Sequence[str], given: str) -> list[str]:
    """The cluster of each case. given: a file of lines CASE,CLUSTER, or a regular expression.

    An expression must be found in each case's name; its first group, or what it matches, is the cluster.
    """
    if Path(given).is_file():
        return _from_file(cases, Path(given))
    try:
        pattern = re.compile(given)
    except re.error as error:
        raise InputError(f"--cluster {given}: it is neither a file nor a regular expression ({error})") from None
    found = [pattern.search(case) for case in cases]
    if unmatched := [case for case, match in zip(cases, found, strict=True) if match is None]:
        raise InputError(f"--cluster {given} must be found in the name of each case; it is not in {some(unmatched)}")
    return [match[pattern.groups and 1] or "" for match in found if match]


def _from_file(cases: Sequence[str], path: Path) -> list[str]:
    try:
        text = path.read_text()
        dialect = csv.excel_tab if "\t" in text.partition("\n")[0] else csv.excel
        rows = [row for row in csv.reader(text.splitlines(), dialect) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--cluster {path} cannot be read ({error}): its lines must be CASE,CLUSTER") from None
    if short := [row for row in rows if len(row) < 2]:
        raise InputError(f"--cluster {path}: its lines must be CASE,CLUSTER, not {short[0][0]!r}")
    named: dict[str, str] = {}
    for case, cluster, *_ in rows:
        if named.setdefault(case.strip(), cluster.strip()) != cluster.strip():
            raise InputError(f"--cluster {path} names two clusters for the case {case.strip()}")
    if absent := [case for case in cases if case not in named]:
        raise InputError(f"--cluster {path} must name a cluster for each case; it has none for {some(absent)}")
    return [named[case] for case in cases]


def note(cases: Sequence[str]) -> Iterator[Finding]:
    """How to say that cases belong together, where their names look so. Nothing is assumed in silence."""
    found = [PART.fullmatch(case) for case in cases]
    names = [match[1] for match in found if match]
    counted = Counter(names)
    if len(names) < len(cases) or len(counted) < 2 or len(counted) > 0.75 * len(cases):
        return
    first = next(name for name, count in counted.items() if count > 1)
    members = [case for case, name in zip(cases, names, strict=True) if name == first][:2]
    yield Finding(
        "clusters",
        f"By their names, the {len(cases)} cases may be {len(counted)} groups that belong together (such as "
        f"{' and '.join(members)}). They were taken as independent; if they are not, say --cluster '{PART.pattern}'.",
    )
