"""Smoothing of one case: in millimetres, by class, with volumes, in a box and in pieces."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from nnunet_prosma.smooth.dynamics import Prior, smooth
from nnunet_prosma.std import std_softmax


def _noisy(*shape, classes=3, sharp=2.0, seed=0):
    """Probabilities with structure: softmax of blurred noise and noise."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(classes, *shape))
    structure = np.stack([gaussian_filter(rng.normal(size=shape), 3) for _ in range(classes)])
    logits = sharp * (structure / structure.std() + 0.7 * noise)
    return torch.softmax(torch.from_numpy(logits), 0).float().numpy()


def _disc_mm(shape, spacing, radius_mm, noise, seed=0):
    """Probabilities of background and a disc in the middle, drawn in millimetres."""
    grids = np.meshgrid(*[(np.arange(n) + 0.5) * mm for n, mm in zip(shape, spacing, strict=True)], indexing="ij")
    middle = [n * mm / 2 for n, mm in zip(shape, spacing, strict=True)]
    inside = sum((g - m) ** 2 for g, m in zip(grids, middle, strict=True)) <= radius_mm**2
    logit = np.where(inside, 1.5, -1.5) + noise * np.random.default_rng(seed).normal(size=shape)
    foreground = 1 / (1 + np.exp(-logit))
    return np.stack([1 - foreground, foreground]).astype(np.float32)


@pytest.mark.parametrize(("shape", "spacing"), [((24, 30), (1.0, 1.0)), ((9, 20, 16), (3.0, 1.0, 0.8))])
def test_with_one_prior_for_all_classes_it_is_the_layer(shape, spacing, monkeypatch):
    monkeypatch.setattr("nnunet_prosma.smooth.dynamics.MARGIN", 1e6)
    p = _noisy(*shape)
    ours = smooth(p, spacing, {1: Prior(0.6, 1.2), 2: Prior(0.6, 1.2)}, iterations=3)
    layer = std_softmax(torch.from_numpy(p).log()[None].double(), 0.6, [1.2 / mm for mm in spacing], iterations=3)[0]
    np.testing.assert_allclose(ours, layer.numpy(), atol=2e-5)


def test_without_a_prior_nothing_is_touched():
    p = _noisy(12, 13)
    np.testing.assert_array_equal(smooth(p, (1, 1), {}), p)
    np.testing.assert_array_equal(smooth(p, (1, 1), {1: Prior(0.0, 3.0)}), p)


def test_what_comes_out_does_not_depend_on_the_pieces():
    p, priors = _noisy(20, 24, 22), {1: Prior(1.0, 1.5), 2: Prior(0.5, 0.9, "own")}
    whole = smooth(p, (1.5, 1, 1), priors)
    for piece in (1, 5000, 40000):
        parts = smooth(p, (1.5, 1, 1), priors, piece=piece)
        np.testing.assert_allclose(parts, whole, atol=1e-5)
        np.testing.assert_array_equal(parts.argmax(0), whole.argmax(0))


def test_only_what_is_open_is_computed_and_the_labels_are_those_of_the_whole(monkeypatch):
    p = np.zeros((2, 60, 60), np.float32)
    p[0] = 1 - 1e-6
    p[:, 20:35, 22:40] = _noisy(15, 18, classes=2)
    p[1] = 1 - p[0]
    boxed = smooth(p, (1, 1), {1: Prior(1.0, 1.5)})
    np.testing.assert_array_equal(boxed[:, :20], p[:, :20])
    np.testing.assert_array_equal(boxed[:, :, 40:], p[:, :, 40:])
    monkeypatch.setattr("nnunet_prosma.smooth.dynamics.MARGIN", 1e6)
    whole = smooth(p, (1, 1), {1: Prior(1.0, 1.5)})
    np.testing.assert_allclose(boxed, whole, atol=1e-3)
    np.testing.assert_array_equal(boxed.argmax(0), whole.argmax(0))
    assert (whole.argmax(0) != p.argmax(0)).any()


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 0.7, 0.7)])
def test_a_volume_is_kept_within_a_thousandth(spacing):
    p = _noisy(*((40, 40) if len(spacing) == 2 else (14, 30, 30)))
    voxel_ml = np.prod(spacing) / 1000
    free = smooth(p, spacing, {1: Prior(1.5, 2.0), 2: Prior(1.5, 2.0)})
    kept = smooth(p, spacing, {1: Prior(1.5, 2.0, "own"), 2: Prior(1.5, 2.0, "own")})
    np.testing.assert_allclose(kept[1:].sum((1, 2, 3)[: len(spacing)]), p[1:].sum((1, 2, 3)[: len(spacing)]), rtol=1e-3)
    assert not np.allclose(free[1].sum(), p[1].sum(), rtol=1e-3)
    own = p[1].sum() * voxel_ml
    wide = smooth(p, spacing, {1: Prior(1.5, 2.0, (0.0, 10 * own)), 2: Prior(1.5, 2.0)})
    np.testing.assert_allclose(wide, free, atol=1e-5)
    least = smooth(p, spacing, {1: Prior(1.5, 2.0, (1.2 * own, 2 * own)), 2: Prior(1.5, 2.0)})
    assert least[1].sum() * voxel_ml == pytest.approx(1.2 * own, rel=2e-3)


def test_an_anisotropic_image_gives_the_same_shape_in_millimetres():
    def area_and_dice(shape, spacing):
        p = _disc_mm(shape, spacing, 12.0, noise=0.0)
        p[:, :, : shape[1] // 4] = _disc_mm(shape, spacing, 12.0, noise=0.0)[:, :, : shape[1] // 4]
        u = smooth(p, spacing, {1: Prior(2.0, 4.0)}, iterations=40)
        return u.argmax(0)

    fine = area_and_dice((120, 120), (0.5, 0.5))
    thick = area_and_dice((30, 120), (2.0, 0.5)).repeat(4, axis=0)
    dice = 2 * (fine & thick).sum() / (fine.sum() + thick.sum())
    assert fine.sum() * 0.25 == pytest.approx(thick.sum() * 0.25, rel=0.03)
    assert dice > 0.97


def test_an_axis_along_which_sigma_is_below_half_a_voxel_is_left_alone(monkeypatch):
    monkeypatch.setattr("nnunet_prosma.smooth.dynamics.MARGIN", 1e6)
    p = _noisy(6, 24, 24, classes=2)
    together = smooth(p, (5.0, 1.0, 1.0), {1: Prior(0.8, 1.5)}, iterations=2)
    for z in range(6):
        alone = std_softmax(torch.from_numpy(p[:, z]).log()[None].double(), 0.8, 1.5, iterations=2)[0]
        np.testing.assert_allclose(together[:, z], alone.numpy(), atol=2e-5)


def test_noise_goes_and_the_disc_stays():
    p = _disc_mm((80, 80), (1.0, 1.0), 20.0, noise=1.5)
    truth = _disc_mm((80, 80), (1.0, 1.0), 20.0, noise=0.0).argmax(0)
    before, after = p.argmax(0), smooth(p, (1, 1), {1: Prior(1.0, 1.5)}).argmax(0)
    wrong = [(answer != truth).sum() for answer in (before, after)]
    assert wrong[1] < 0.25 * wrong[0]


def _energy(p, u, spacing, priors, eps):
    """-<u, log p> + eps <u, log u> + sum_i lam_i <u_i, k_i * (1 - u_i)>, k by scipy, zeros outside of the image."""

    def blurred(field, sigma_mm):
        for axis, mm in enumerate(spacing):
            field = gaussian_filter1d(field, sigma_mm / mm, axis=axis, mode="constant", truncate=4.0)
        return field

    u, p = u.astype(float), p.astype(float)
    length = sum(lam * (u[i] * blurred(1 - u[i], sigma)).sum() for i, (lam, sigma) in enumerate(priors))
    return (-u * np.log(p) + eps * u * np.log(np.maximum(u, 1e-300))).sum() + length


@pytest.mark.parametrize("eps", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("lams", [(0.8, 0.0), (0.3, 1.5), (2.0, 2.0)])
def test_no_step_raises_the_energy_where_each_class_has_a_prior_of_its_own(lams, eps, monkeypatch):
    """The background has the largest lam, with its sigma."""
    monkeypatch.setattr("nnunet_prosma.smooth.dynamics.MARGIN", 1e6)
    p, spacing, sigmas = np.maximum(_noisy(18, 20, sharp=1.5), 1e-6), (1.0, 0.8), (1.25, 1.0)
    asked = {i + 1: Prior(lam, sigma) for i, (lam, sigma) in enumerate(zip(lams, sigmas, strict=True))}
    strongest = int(np.argmax(lams))
    priors = [(lams[strongest], sigmas[strongest]), *zip(lams, sigmas, strict=True)]
    steps = [smooth(p, spacing, asked, eps=eps, iterations=n) for n in range(1, 9)]
    found = [_energy(p, u, spacing, priors, eps) for u in steps]
    assert found[0] - found[-1] > 1e-4 * abs(found[0])
    assert all(after <= before + 1e-5 * abs(before) for before, after in pairwise(found))
