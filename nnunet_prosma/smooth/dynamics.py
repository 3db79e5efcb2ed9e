"""Soft threshold dynamics on the probabilities of one case, in bounded memory.

    argmin over u  -<u, log p> + eps <u, log u> + sum_i lam_i <u_i, k_i * (1 - u_i)>,   sum_i u_i = 1 at each voxel

std.py solves it for a network's logits, with one prior for all classes. Here each class has its own, lengths are in
millimetres, a class may have a volume, and only what can change is computed: a voxel whose first class is ahead by
more than the prior can move, and by MARGIN more, keeps its probabilities.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nnunet_prosma.std import RADIUS, SMALLEST, band

SMALL = 1e-7
"""Probabilities are taken to be at least that."""
MARGIN = 7.0
"""The margin in units of eps: e^-7 is how much probability a voxel that keeps its own may hold back."""
HELD = 1e-3
"""Volumes are held to this share of themselves, which may take up to MORE further steps."""
MORE = 200
BLOCK = 64
"""Rows of a blur that are worked on together: about what a kernel reaches, so that few products are with zeros."""
PIECE = 1 << 24
"""Values that are worked on together."""


@dataclass(frozen=True)
class Prior:
    """What is asked of one class. volume: None, "own" for that of its probabilities, or (least, most) in ml."""

    lam: float = 0.0
    sigma_mm: float = 1.0
    volume: str | tuple[float, float] | None = None

    @property
    def idle(self) -> bool:
        return self.lam == 0 and self.volume is None


def smooth(
    probabilities: np.ndarray,
    spacing_mm: Sequence[float],
    priors: Mapping[int, Prior],
    *,
    eps: float = 1.0,
    iterations: int = 10,
    piece: int = PIECE,
) -> np.ndarray:
    """u (C, *S) in float32, from p (C, *S) that sum to 1 at each voxel; priors by class, none for the rest.

    The first class is the background: its lam is the largest of the others', so that with one lam for all classes the
    energy is that of std.py.
    """
    p = torch.from_numpy(np.ascontiguousarray(probabilities, dtype=np.float32))
    asked = _with_background(priors, len(p))
    if all(prior.idle for prior in asked):
        return p.numpy()
    case = _Case(p, spacing_mm, asked, eps, piece)
    for step in range(iterations + MORE):
        changed = case.step()
        if (step + 1 >= iterations or not changed) and case.holds_volumes():
            break
    return case.result()


def _with_background(priors: Mapping[int, Prior], classes: int) -> list[Prior]:
    asked = [priors.get(i, Prior()) for i in range(classes)]
    strongest = max(asked[1:], key=lambda prior: prior.lam)
    if 0 not in priors and strongest.lam > 0:
        asked[0] = Prior(strongest.lam, strongest.sigma_mm)
    return asked


class _Case:
    """The state between steps: u inside the box where the answer is open, and a rim around it that stays as it is."""

    def __init__(self, p: Tensor, spacing_mm: Sequence[float], priors: Sequence[Prior], eps: float, piece: int) -> None:
        self.p, self.priors, self.eps, self.piece = p, priors, eps, piece
        self.voxel_ml = math.prod(spacing_mm) / 1000
        self.shape = tuple(p.shape[1:])
        self.bands = [_bands(prior, spacing_mm, self.shape) for prior in priors]
        self.shift = torch.zeros(len(p))
        self.volumes = self._volumes()
        self.box = self._open_box()
        reach = [
            max(RADIUS * math.ceil(prior.sigma_mm / mm) + 1 if prior.lam else 0 for prior in priors)
            for mm in spacing_mm
        ]
        self.rim = tuple(
            slice(max(0, b.start - r), min(n, b.stop + r)) for b, r, n in zip(self.box, reach, self.shape, strict=True)
        )
        self.within = tuple(slice(b.start - r.start, b.stop - r.start) for b, r in zip(self.box, self.rim, strict=True))
        self.u = _softened(p[_of_all(self.rim)], eps)
        self.next = self.u.clone()
        self.first = _first_class(self.u[_of_all(self.within)])
        """The class that is ahead, in the box."""

    def step(self) -> bool:
        """One step inside the box; whether a voxel has another first class than before."""
        changed = False
        for part in self._pieces():
            rows = slice(self.box[0].start + part.start, self.box[0].start + part.stop)
            at = (slice(self.within[0].start + part.start, self.within[0].start + part.stop), *self.within[1:])
            o = self.p[_of_all((rows, *self.box[1:]))].clamp(min=SMALL).log_()
            for i, curvature in self._curvatures(rows):
                o[i].sub_(curvature, alpha=self.priors[i].lam)
            for i, bounds in enumerate(self.volumes):
                if bounds is not None:
                    o[i] += self.shift[i]
            new = torch.softmax(o if self.eps == 1 else o.div_(self.eps), 0)
            first = _first_class(new)
            changed = changed or not torch.equal(first, self.first[part])
            self.first[part] = first
            self.next[_of_all(at)] = new
        self.u, self.next = self.next, self.u
        self._pull_volumes()
        return changed

    def holds_volumes(self) -> bool:
        """Whether each volume lies within its bounds, and at the bound to which it is pulled if it is."""
        now = self._now() if any(self.volumes) else None
        for i, bounds in enumerate(self.volumes):
            if bounds is None or now is None:
                continue
            least = bounds[1] if self.shift[i] < 0 else bounds[0]
            most = bounds[0] if self.shift[i] > 0 else bounds[1]
            if not least * (1 - HELD) <= float(now[i]) <= most * (1 + HELD):
                return False
        return True

    def result(self) -> np.ndarray:
        out = self.p.clone()
        out[_of_all(self.box)] = self.u[_of_all(self.within)]
        return out.numpy()

    def _curvatures(self, rows: slice) -> Iterator[tuple[int, Tensor]]:
        """Of each class with a prior, k * 1 - 2 k * u_i on these rows of the box: between -1 and 1.

        With one k for all classes, that of the background follows from the others, since all u_i are 1 together.
        """
        asked = [i for i, prior in enumerate(self.priors) if prior.lam]
        one = len(asked) == len(self.priors) and len({prior.sigma_mm for prior in self.priors}) == 1
        inside, rest = self._inside(asked[-1], rows), None
        for i in asked[1:] if one else asked:
            inside = inside if one else self._inside(i, rows)
            curvature = self._blurred(i, rows).mul_(-2).add_(inside)
            rest = curvature if rest is None or not one else rest + curvature
            yield i, curvature
        if one and rest is not None:
            yield 0, (len(self.priors) - 2) * inside - rest

    def _inside(self, i: int, rows: slice) -> Tensor:
        """k * 1: how much of the kernel lies in the image."""
        inside = torch.ones(())
        for axis, blur in enumerate(self.bands[i]):
            into = rows if axis == 0 else self.box[axis]
            inside = inside[..., None] * (torch.ones(into.stop - into.start) if blur is None else blur[into].sum(1))
        return inside

    def _blurred(self, i: int, rows: slice) -> Tensor:
        """k * u_i, a new tensor."""
        field = self.u[i]
        for axis, blur in enumerate(self.bands[i]):
            into = rows if axis == 0 else self.box[axis]
            if blur is None:
                field = field.narrow(axis, into.start - self.rim[axis].start, into.stop - into.start)
            else:
                field = _blurred(field, blur[into, self.rim[axis]], axis)
        return field.clone() if all(blur is None for blur in self.bands[i]) else field

    def _pieces(self) -> Iterator[slice]:
        rows = self.box[0].stop - self.box[0].start
        values = math.prod(r.stop - r.start for r in self.rim[1:]) * len(self.p)
        step = max(1, self.piece // max(1, values))
        return (slice(start, min(start + step, rows)) for start in range(0, rows, step))

    def _open_box(self) -> tuple[slice, ...]:
        if any(self.volumes):
            return tuple(slice(0, n) for n in self.shape)  # a volume may move any voxel
        ahead = float(torch.tensor(2 * max(prior.lam for prior in self.priors) + MARGIN * self.eps).exp())
        planes = []
        for z in range(self.shape[0]):
            first, second = self.p[0, z], torch.zeros(self.shape[1:])
            for values in self.p[1:, z]:
                second = torch.maximum(second, torch.minimum(first, values))
                first = torch.maximum(first, values)
            planes.append((first <= second.clamp_(min=SMALL).mul_(ahead)).numpy())
        is_open = np.stack(planes)
        box = []
        for axis in range(is_open.ndim):
            others = [a for a in range(is_open.ndim) if a != axis]
            places = np.flatnonzero(is_open.any(tuple(others)))
            box.append(slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0))
        return tuple(box)

    def _volumes(self) -> list[tuple[float, float] | None]:
        """Least and most of each class, in voxels."""
        own = self._sum(self.p) if any(prior.volume for prior in self.priors) else ()
        bounds: list[tuple[float, float] | None] = []
        for i, prior in enumerate(self.priors):
            if prior.volume is None:
                bounds.append(None)
            elif isinstance(prior.volume, str):
                bounds.append((float(own[i]), float(own[i])))
            else:
                bounds.append((prior.volume[0] / self.voxel_ml, prior.volume[1] / self.voxel_ml))
        return bounds

    def _pull_volumes(self) -> None:
        """q += eps (log V - log sum u), V the bound that is missed; a pull that is no longer needed is let go."""
        now = self._now() if any(self.volumes) else None
        for i, bounds in enumerate(self.volumes):
            if bounds is None or now is None:
                continue
            shift, volume = float(self.shift[i]), max(float(now[i]), SMALL)
            up, down = (shift + self.eps * math.log(max(bound, SMALL) / volume) for bound in bounds)
            self.shift[i] = max(up, min(down, 0.0))

    def _now(self) -> Tensor:
        return self._sum(self.u)  # where there are volumes, all is open

    def _sum(self, u: Tensor) -> Tensor:
        return u.flatten(1).sum(1, dtype=torch.float64)


def _bands(prior: Prior, spacing_mm: Sequence[float], shape: Sequence[int]) -> list[Tensor | None]:
    """The matrix that blurs along each axis; None for one along which sigma is below half a voxel."""
    sigmas = [prior.sigma_mm / mm for mm in spacing_mm]
    return [None if s < SMALLEST or n == 1 else band(s, n).float() for s, n in zip(sigmas, shape, strict=True)]


def _blurred(field: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """The matrix along an axis, BLOCK rows at a time: a band of zeros has no use."""
    out = field.new_empty(*field.shape[:axis], len(matrix), *field.shape[axis + 1 :])
    last = axis == field.ndim - 1
    before = math.prod(field.shape[:axis])
    for start, block in zip(range(0, len(matrix), BLOCK), matrix.split(BLOCK), strict=True):
        used = torch.nonzero(block.any(0)).flatten()
        first, count = int(used[0]), int(used[-1] - used[0]) + 1
        reached, weights = field.narrow(axis, first, count), block[:, first : first + count]
        into = out.narrow(axis, start, len(weights))
        if last:
            torch.matmul(reached, weights.t(), out=into)
        else:
            torch.matmul(weights, reached.reshape(before, count, -1), out=into.view(before, len(weights), -1))
    return out


def _first_class(u: Tensor) -> Tensor:
    """argmax(0), the first of equals, which torch takes ten times as long for."""
    found, most = torch.zeros(u.shape[1:], dtype=torch.int16), u[0].clone()
    for i, values in enumerate(u[1:], 1):
        found.masked_fill_(values > most, i)
        torch.maximum(most, values, out=most)
    return found


def _of_all(box: Sequence[slice]) -> tuple[slice, ...]:
    """The box in all classes."""
    return (slice(None), *box)


def _softened(p: Tensor, eps: float) -> Tensor:
    return p.clone() if eps == 1 else torch.softmax(p.clamp(min=SMALL).log() / eps, 0)
