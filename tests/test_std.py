"""Soft threshold dynamics against what is known of them without running them."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from torch.autograd import gradcheck

from nnunet_prosma.std import STDSoftmax, bands, blurred, energy, gaussian, std_softmax


def _logits(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _disc(radius, size=41):
    y, x = torch.meshgrid(*[torch.arange(size, dtype=torch.float64) - size // 2] * 2, indexing="ij")
    return (x**2 + y**2 <= radius**2).double()


def _two_classes(inside, margin):
    """Logits of background and disc: the labels are certain, and by how much is margin (a number or a field)."""
    signed = (2 * inside - 1) * margin / 2
    return torch.stack([-signed, signed])[None]


@pytest.mark.parametrize("shape", [(2, 3, 9, 7), (1, 2, 5, 6, 7), (1, 4, 11)])
def test_without_a_prior_it_is_softmax(shape):
    logits = _logits(*shape)
    torch.testing.assert_close(STDSoftmax(0.0, 1.5)(logits), torch.softmax(logits, 1), rtol=0, atol=0)
    torch.testing.assert_close(STDSoftmax(0.0, 1.5, eps=0.5)(logits), torch.softmax(2 * logits, 1))


@pytest.mark.parametrize("lam", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("sigma", [0.7, 2.0, (3.0, 0.4)])
@pytest.mark.parametrize("eps", [0.1, 1.0])
def test_no_step_raises_the_energy(lam, sigma, eps):
    logits = 3 * _logits(2, 3, 24, 20)
    steps = [energy(std_softmax(logits, lam, sigma, eps, n), logits, lam, sigma, eps) for n in range(12)]
    for before, after in pairwise(steps):
        assert (after <= before + 1e-9 * before.abs()).all()
    assert (steps[-1] < steps[0]).all()


def test_a_constant_added_to_all_classes_of_a_voxel_changes_nothing():
    logits, shift = _logits(1, 3, 12, 12), 50 * _logits(1, 1, 12, 12, seed=1)
    torch.testing.assert_close(std_softmax(logits + shift, 1.0, 1.2), std_softmax(logits, 1.0, 1.2))


@pytest.mark.parametrize(
    ("sigma", "near"), [(1.0, 0.1), (2.5, 0.02), (5.0, 0.005)]
)  # the grid is felt where it is coarse
def test_a_straight_boundary_costs_sigma_over_root_two_pi_per_class_and_length(sigma, near):
    half = torch.zeros(60, 400, dtype=torch.float64)
    half[:, 200:] = 1
    u = torch.stack([1 - half, half])[None]
    rows = slice(25, 35)  # the ends of the boundary are far
    lengths = u * (1 - blurred(u, bands(sigma, u)))
    per_class = lengths[0, :, rows, 100:300].sum((1, 2)) / 10
    np.testing.assert_allclose(per_class.numpy(), sigma / math.sqrt(2 * math.pi), rtol=near)


@pytest.mark.parametrize("radius", [2, 6])
def test_one_step_from_certain_labels_flips_exactly_the_voxels_under_their_own_bound(radius):
    lam, sigma, eps = 1.0, 2.0, 1e-4
    inside = _disc(radius)
    weights = gaussian(sigma).numpy()
    mass = correlate1d(correlate1d(inside.numpy(), weights, 0, mode="constant"), weights, 1, mode="constant")
    whole = correlate1d(correlate1d(np.ones_like(mass), weights, 0, mode="constant"), weights, 1, mode="constant")
    of_others = np.where(inside > 0, whole - mass, mass)
    bound = 2 * lam * (2 * of_others - whole)  # 2 lam (1 - 2 K) for the kernel's mass K of the voxel's own class
    margin = torch.rand(inside.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.02
    assert np.abs(bound - margin.numpy()).min() > 1e-5  # none so near that eps decides
    u = std_softmax(_two_classes(inside, margin), lam, sigma, eps, iterations=1)
    flipped = u[0].argmax(0).numpy() != inside.numpy()
    np.testing.assert_array_equal(flipped, margin.numpy() < bound)
    assert flipped.any()


def test_a_disc_stays_where_all_margins_are_above_their_bounds_and_goes_where_all_are_below():
    lam, sigma, inside = 1.0, 2.0, _disc(1.5)
    kernels = bands(sigma, inside[None, None])
    bound = 2 * lam * (1 - 2 * blurred(inside[None, None], kernels)[0, 0])[inside > 0]
    assert bound.min() > 0  # so small a disc is a minority of the kernel everywhere
    above, below = float(bound.max()) + 0.05, float(bound.min()) - 0.05
    kept = std_softmax(_two_classes(inside, above), lam, sigma, 1e-3, iterations=30)[0].argmax(0)
    gone = std_softmax(_two_classes(inside, below), lam, sigma, 1e-3, iterations=30)[0].argmax(0)
    assert torch.equal(kept.double(), inside)
    assert not gone.any()


def test_the_blur_is_that_of_scipy_with_zeros_outside():
    field = _logits(2, 3, 7, 9, 8)
    ours = blurred(field, bands((1.0, 0.2, 1.7), field))
    theirs = field.numpy()
    for axis, sigma in ((2, 1.0), (4, 1.7)):  # the axis of 0.2 voxels is left alone
        theirs = correlate1d(theirs, gaussian(sigma).numpy(), axis, mode="constant")
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-12)


def test_gradients_pass_all_steps():
    layer = STDSoftmax(0.8, (1.0, 0.6), eps=0.7, iterations=3)
    assert gradcheck(layer, (_logits(1, 3, 4, 5).requires_grad_(),))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lam": -1.0, "sigma": 1.0}, "lam must be a finite number of at least 0, got -1.0"),
        ({"lam": math.nan, "sigma": 1.0}, "lam must be a finite number"),
        ({"lam": 1.0, "sigma": 1.0, "eps": 0.0}, "eps must be a finite number above 0"),
        ({"lam": 1.0, "sigma": 1.0, "iterations": 2.5}, "iterations must be a whole number"),
        ({"lam": 1.0, "sigma": (1.0, 1.0, 1.0)}, "one for each of the 2 axes"),
        ({"lam": 1.0, "sigma": math.inf}, "sigma must be a number of at least 0"),
    ],
)
def test_senseless_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        STDSoftmax(**settings)(torch.zeros(1, 2, 4, 4))
