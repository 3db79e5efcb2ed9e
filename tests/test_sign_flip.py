"""The sign-flip test against enumeration, scipy, another correction, and what it promises."""

import itertools

import numpy as np
import pytest
from scipy import stats

from nnunet_prosma.statistics.sign_flip import sign_flip

DARWIN = (6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75)
"""Darwin's maize. Fisher (1935), The design of experiments, section 21: of 2^15 signs 863 give a sum as large."""


def test_darwins_maize_has_fishers_p_value():
    result = sign_flip(np.array(DARWIN, float)[:, None], seed=0, flips=2**14)
    assert result.exact
    assert result.p == [pytest.approx(2 * 863 / 2**15)]


def test_one_column_is_scipys_permutation_test():
    d = np.random.default_rng(3).gamma(1, 1, 11) - 0.6
    expected = stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(d[:, None], seed=0).p == [pytest.approx(expected.pvalue)]


def test_corrected_p_values_are_those_of_the_closed_test_by_brute_force():
    columns = np.random.default_rng(5).normal((0.8, 0.6, 0.0), 1, (8, 3))
    scaled = columns / np.sqrt((columns**2).sum(0))
    every = np.abs(np.array(list(itertools.product((1, -1), repeat=8))) @ scaled)
    observed = np.abs(scaled.sum(0))
    subsets = [list(s) for size in (1, 2, 3) for s in itertools.combinations(range(3), size)]
    by_subset = {tuple(s): (every[:, s].max(1) >= observed[s].max() - 1e-9).mean() for s in subsets}
    expected = [max(p for s, p in by_subset.items() if k in s) for k in range(3)]
    result = sign_flip(columns, seed=0)
    assert result.corrected == pytest.approx(expected)
    assert result.p == pytest.approx([by_subset[k,] for k in range(3)])


def test_drawn_signs_come_near_to_all_of_them():
    d = np.random.default_rng(2).normal(0.5, 1, (14, 2))
    exact, drawn = sign_flip(d, seed=0), sign_flip(d, seed=0, flips=8000)
    assert (exact.exact, drawn.exact) == (True, False)
    assert drawn.p == pytest.approx(exact.p, abs=0.012)
    assert drawn.corrected == pytest.approx(exact.corrected, abs=0.012)


def test_cases_of_one_unit_flip_together():
    d = np.random.default_rng(1).normal(0.3, 1, (24, 1))
    units = np.repeat(np.arange(8), 3)
    sums = d.reshape(8, 3).sum(1)[:, None]
    assert sign_flip(d, seed=0, units=units).p == sign_flip(sums, seed=0).p


def test_cases_that_do_not_count_and_cases_that_do_not_differ_change_nothing():
    d = np.random.default_rng(4).normal(0.5, 1, (9, 1))
    longer = np.concatenate([d, np.zeros((5, 1)), np.full((5, 1), np.nan), np.full((2, 1), 1e-15)])
    assert sign_flip(longer, seed=0).p == sign_flip(d, seed=0).p


def test_a_column_in_which_too_few_differ_has_no_p_value_and_is_no_member_of_the_family():
    columns = np.random.default_rng(0).normal(1, 1, (10, 2))
    columns[5:, 1] = 0
    both, alone = sign_flip(columns, seed=0), sign_flip(columns[:, :1], seed=0)
    assert both.differing == [10, 5]
    assert both.p == [alone.p[0], None]
    assert both.corrected == [alone.corrected[0], None]


@pytest.mark.parametrize("cases", [10, 40])
def test_among_exchangeable_runs_at_most_5_percent_of_reports_have_a_small_corrected_p(cases):
    rng = np.random.default_rng(cases)
    runs = np.clip(0.9 - 0.03 * rng.exponential(1, (800, cases, 4)) ** 2, 0, 1)
    smallest = [min(sign_flip(r[:, 1:] - r[:, :1], seed=0, flips=499).corrected) for r in runs]
    assert np.mean(np.array(smallest) < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 800)
