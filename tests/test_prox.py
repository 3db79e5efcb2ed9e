import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nnunet_prosma.prox import soft_threshold

reals = st.floats(-8, 8, allow_nan=False, width=64)
fields = arrays(np.float64, (3, 5), elements=reals)
thresholds = arrays(np.float64, (3, 1), elements=st.floats(0, 6, width=64))


@given(reals, st.floats(0, 6))
def test_it_minimises_the_objective_of_equation_3(u, lam):
    grid = np.linspace(-9, 9, 18001)  # holds 0 and is 1e-3 fine
    objective = (grid - u) ** 2 / 2 + lam * np.abs(grid)
    z = soft_threshold(torch.tensor(u, dtype=torch.float64), torch.tensor(lam, dtype=torch.float64)).item()
    assert abs(z - grid[objective.argmin()]) <= 1e-3
    assert (z - u) ** 2 / 2 + lam * abs(z) <= objective.min() + 1e-12


def test_it_gives_the_values_counted_by_hand():
    u = torch.tensor([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5])
    assert soft_threshold(u, torch.tensor(1.0)).tolist() == [-2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]


@given(fields, thresholds, thresholds)
def test_theorem_1_a_larger_threshold_only_removes_support(u, lam, more):
    z = soft_threshold(torch.from_numpy(u), torch.from_numpy(lam))
    stricter = soft_threshold(torch.from_numpy(u), torch.from_numpy(lam + more))
    assert not ((stricter != 0) & (z == 0)).any()


@given(fields, fields, thresholds)
def test_theorem_1_it_does_not_expand_distances(u, v, lam):
    u, v, lam = map(torch.from_numpy, (u, v, lam))
    assert (soft_threshold(u, lam) - soft_threshold(v, lam)).norm() <= (u - v).norm() * (1 + 1e-12)


def test_its_gradients_match_finite_differences_off_the_kinks():
    lam = torch.tensor([[0.4], [0.9]], dtype=torch.float64, requires_grad=True)
    u = torch.tensor([[-2.0, -0.1, 0.7], [-1.5, 0.5, 3.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(soft_threshold, (u, lam))


def test_half_precision_is_thresholded_in_float32():
    u = torch.tensor([1.0009765625], dtype=torch.float16)  # the float16 after 1
    z = soft_threshold(u, torch.tensor([1.0004], dtype=torch.float32))  # a lam that float16 would round to 1
    assert z.dtype == torch.float32
    assert abs(z.item() - 0.0005765625) < 1e-7
