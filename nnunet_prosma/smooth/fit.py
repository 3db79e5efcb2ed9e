"""What cross-validation says of smoothing: chosen class by class on all folds but one, judged on that one."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.plans import Setup
from nnunet_prosma.host.probabilities import (
    SoftCase,
    dice_of,
    largest_components,
    read_soft_case,
    read_truth,
    soft_cases,
)
from nnunet_prosma.host.trained import TrainedFolder, read_trained
from nnunet_prosma.host.workers import pool
from nnunet_prosma.progress import progress_bar
from nnunet_prosma.smooth.case import smoothed_labels
from nnunet_prosma.smooth.dynamics import Prior
from nnunet_prosma.smooth.settings import Evidence, HeldOut, Smoothing, names_of
from nnunet_prosma.statistics.sign_flip import sign_flip
from nnunet_prosma.statistics.studentised import LEVEL, mean_intervals

LAMS = (0.25, 0.5, 1.0, 2.0)
SIGMAS_IN_VOXELS = (1.0, 2.0)
"""Widths as multiples of the smallest voxel spacing of the first case that can be read."""
ALTERNATIVES = ("largest component of each label", "smoothed", "smoothed, then largest component")


@dataclass(frozen=True)
class Member:
    """A case of the cross-validation: where its probabilities are, and its truth."""

    name: str
    fold: str
    folder: Path
    truth: Path


@dataclass(frozen=True)
class Search:
    """lams beside 0; volumes by the label as text, what its user asks for it; eps and iterations of the dynamics."""

    lams: Sequence[float] = LAMS
    sigmas_mm: Sequence[float] | None = None
    volumes: Mapping[str, tuple[float, float]] | None = None
    eps: float = 1.0
    iterations: int = 10

    def candidates(self, label: str, sigmas_mm: Sequence[float]) -> list[Prior]:
        """The first is nnU-Net's answer as it is."""
        asked = (self.volumes or {}).get(label)
        volumes: tuple[Any, ...] = (None, "own") if asked is None else (None, asked)
        return [
            Prior(),
            *(Prior(lam, sigma, volume) for lam in self.lams for sigma in sigmas_mm for volume in volumes),
        ]


@dataclass(frozen=True)
class Judged:
    """The mean over cases of the Dice that an alternative adds to nnU-Net's, in the held-out folds."""

    name: str
    before: float
    after: float
    interval: tuple[float, float] | None
    p: float | None

    @property
    def better(self) -> bool:
        return (
            self.after > self.before
            and self.interval is not None
            and self.interval[0] > 0
            and self.p is not None
            and self.p < 1 - LEVEL
        )


@dataclass(frozen=True)
class Fitted:
    """smoothing is what is to be applied: nothing, unless the held-out folds say that it helps."""

    smoothing: Smoothing
    chosen: Mapping[str, Prior]
    """The settings chosen on all folds; what is applied if the held-out folds say so."""
    by_fold: Mapping[str, Mapping[str, Prior]]
    judged: Sequence[Judged]
    cases: int
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Cases that cannot be read, and what is wrong with each."""


def members_of(trained: TrainedFolder, folds: Sequence[str], truths: Path) -> tuple[list[Member], set[str]]:
    """The cases of these folds with their probabilities, which nnU-Net saves where it is trained with --npz.

    And those that several folds validated: such a case counts in the first alone, or it would be judged by what was
    chosen on it.
    """
    ending, found, again = trained.file_ending, dict[str, Member](), set[str]()
    for fold in folds:
        if fold not in trained.folds:
            raise InputError(f"{trained.folder} has no fold_{fold}; it has {', '.join(trained.folds)}: choose with -f")
        folder = trained.folds[fold].validation
        for name in soft_cases(folder, ending):
            if found.setdefault(name, Member(name, fold, folder, truths / f"{name}{ending}")).fold != fold:
                again.add(name)
    return [*found.values()], again


def fit(
    trained: TrainedFolder,
    members: Sequence[Member],
    search: Search,
    *,
    workers: int = 1,
    seed: int = 0,
) -> Fitted:
    """A case that cannot be read, or that has no truth, is left out of choosing and of judging, and is told."""
    setup = trained.setup
    labels = [str(label) for label in setup.dataset.labels]
    _require_folds(members)
    for name in search.volumes or {}:
        if name not in labels:
            raise InputError(f"--volume names a label {name!r} that {setup.dataset.source} lacks")
    sigmas = search.sigmas_mm or [_smallest_spacing(members, setup) * voxels for voxels in SIGMAS_IN_VOXELS]
    candidates = {label: search.candidates(label, sigmas) for label in labels}
    with _pool(workers) as each:
        choosing = partial(_scores, model=trained.folder, candidates=candidates, search=search)
        found = each("choosing", choosing, members)
        left_out = {m.name: said for m, said in zip(members, found, strict=True) if isinstance(said, str)}
        members = [m for m, said in zip(members, found, strict=True) if not isinstance(said, str)]
        folds = _require_folds(members, left_out)
        scores = np.array([row for row in found if not isinstance(row, str)])
        of = np.array([member.fold for member in members])
        by_fold = {fold: _best(scores[of != fold], candidates) for fold in folds}
        tasks = [(member, by_fold[member.fold]) for member in members]
        held_out = np.array(each("judging", partial(_alternatives, model=trained.folder, search=search), tasks))
    judged = _judge(held_out, seed)
    chosen = _best(scores, candidates)
    helps = judged[ALTERNATIVES.index("smoothed")].better
    idle = {label: Prior() for label in labels}
    smoothing = Smoothing(
        names_of(setup.dataset.labels),
        chosen if helps else idle,
        search.eps,
        search.iterations,
        Evidence(
            len(members), folds, [HeldOut(**asdict(one)) for one in judged if math.isfinite(one.before)], [*left_out]
        ),
        setup.plans.dataset,
        trained.identifier,
    )
    return Fitted(smoothing, chosen, by_fold, judged, len(members), left_out)


def _require_folds(members: Sequence[Member], left_out: Mapping[str, str] | None = None) -> list[str]:
    folds = sorted({member.fold for member in members})
    if len(folds) < 2:
        why = f", since {len(left_out)} cases are left out: {next(iter(left_out.values()))}" if left_out else ""
        raise InputError(
            f"fit needs 2 folds or more, to judge by one what others chose, got {', '.join(folds) or 'none'} of -f{why}"
        )
    return folds


def _best(scores: np.ndarray, candidates: Mapping[str, Sequence[Prior]]) -> dict[str, Prior]:
    """scores (cases, labels, candidates): of each label the candidate with the best mean Dice, the first of equals."""
    best = {}
    for i, (label, priors) in enumerate(candidates.items()):
        counted = scores[np.isfinite(scores[:, i]).all(1), i]
        best[label] = priors[int(counted.mean(0).argmax())] if len(counted) else priors[0]
    return best


def _scores(
    member: Member, model: Path, candidates: Mapping[str, Sequence[Prior]], search: Search
) -> list[list[float]] | str:
    """(labels, candidates): the Dice of each label if it alone is smoothed so; a label that nobody has is NaN.

    A sentence where the case cannot be read.
    """
    setup, found = _setup(model), []
    try:
        case, truth = _read(member, setup)
    except InputError as error:
        return str(error)
    for label, priors in zip(setup.dataset.labels, candidates.values(), strict=True):
        row = []
        for prior in priors:
            answer = smoothed_labels(case, setup, {str(label): prior}, eps=search.eps, iterations=search.iterations)
            row.append(dice_of(answer, truth, [label], setup.dataset.ignore_label)[0])
        found.append(row)
    return found


def _alternatives(task: tuple[Member, Mapping[str, Prior]], model: Path, search: Search) -> list[float]:
    """The mean Dice over labels of nnU-Net's answer and of each of ALTERNATIVES."""
    (member, priors), setup = task, _setup(model)
    case, truth = _read(member, setup)
    labels = list(setup.dataset.labels)
    smoothed = smoothed_labels(case, setup, priors, eps=search.eps, iterations=search.iterations)
    answers = [case.labels, largest_components(case.labels, labels), smoothed, largest_components(smoothed, labels)]
    dice = np.array([dice_of(answer, truth, labels, setup.dataset.ignore_label) for answer in answers])
    counted = np.isfinite(dice).all(0)  # the same labels for all answers
    return list(dice[:, counted].mean(1)) if counted.any() else [math.nan] * len(answers)


def _judge(held_out: np.ndarray, seed: int) -> list[Judged]:
    """held_out (cases, 1 + alternatives). Each alternative is a question of its own; only smoothing is decided on."""
    held_out = held_out[np.isfinite(held_out).all(1)]
    differences = held_out[:, 1:] - held_out[:, :1]
    found = []
    for k, name in enumerate(ALTERNATIVES):
        test = sign_flip(differences[:, [k]], seed)
        interval = mean_intervals(differences[:, [k]], [LEVEL], seed)[0]
        found.append(
            Judged(
                name,
                float(held_out[:, 0].mean()),
                float(held_out[:, 1 + k].mean()),
                (interval.low, interval.high) if interval else None,
                test.p[0],
            )
        )
    return found


def _read(member: Member, setup: Setup) -> tuple[SoftCase, np.ndarray]:
    case = read_soft_case(member.folder, member.name, setup)
    return case, read_truth(member.truth, case, setup)


def _smallest_spacing(members: Sequence[Member], setup: Setup) -> float:
    """Of the first case that can be read."""
    why = ""
    for member in members:
        try:
            case = read_soft_case(member.folder, member.name, setup)
        except InputError as error:
            why = why or str(error)
            continue
        seen = [mm for mm, n in zip(case.spacing_mm, case.labels.shape, strict=True) if n > 1]
        return min(seen or case.spacing_mm)
    raise InputError(f"no case can be read: {why}")


@cache
def _setup(folder: Path) -> Setup:
    """The setup of a trained folder; each process reads it once."""
    return read_trained(folder).setup


@contextmanager
def _pool(workers: int) -> Iterator[Callable[[str, Callable[[Any], Any], Sequence[Any]], list[Any]]]:
    """each(what, function, tasks): the results in order, with a progress bar, in so many processes."""
    with pool(workers) if workers > 1 else nullcontext() as executor:

        def each(what: str, function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
            done: Iterable[Any] = executor.map(function, tasks) if executor else map(function, tasks)
            return list(progress_bar(done, total=len(tasks), desc=what))

        yield each
