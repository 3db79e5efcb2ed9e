"""Wilcoxon's test and Holm's correction against scipy, statsmodels, published data and enumeration."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from nnunet_prosma.statistics.signed_rank import holm, signed_rank

MAIZE = (6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75)
"""Darwin (1876), The effects of cross and self fertilisation in the vegetable kingdom: pairs of maize plants, the
differences of their heights in eighths of an inch; the example with which scipy and Fisher (1935) show paired tests."""

DEPRESSION = (
    (1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30),
    (0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29),
)
"""Hollander and Wolfe (1973), Nonparametric statistical methods, p. 29: Hamilton scores before and under treatment;
the example of R's wilcox.test."""


def test_darwins_maize_gives_the_published_statistic_and_p_value():
    result = signed_rank(np.array(MAIZE, float))
    assert (result.statistic, result.method) == (24, "exact")
    assert result.p == pytest.approx(0.041259765625)


def test_the_depression_scores_give_the_p_value_of_r():
    first, second = map(np.array, DEPRESSION)
    assert signed_rank(second - first).p == pytest.approx(2 * 0.01953125)


def test_with_ties_the_p_value_is_that_of_all_signs_enumerated():
    d = np.array([1, 1, 2, 2, -2, 3, 3, 4])
    ranks = stats.rankdata(np.abs(d))
    sums = np.array([np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=8)])
    observed = min(ranks[d > 0].sum(), ranks[d < 0].sum())
    result = signed_rank(d)
    assert result.p == pytest.approx(min(1, 2 * (sums <= observed).mean()))
    assert result.method == "exact, all signs enumerated"


def test_many_tied_pairs_use_the_normal_approximation_of_scipy():
    d = np.round(np.random.default_rng(1).normal(0.1, 1, 200), 1)
    d = d[d != 0]
    assert signed_rank(d).method == "normal approximation"
    assert signed_rank(d).p == pytest.approx(stats.wilcoxon(d, method="asymptotic", correction=True).pvalue)


@pytest.mark.parametrize(
    ("d", "why"),
    [
        ([], "no case differs"),
        ([0, 0, 0], "no case differs"),
        ([1, 2, 3, 4, 5], "5 cases differ, 6 are needed"),
        ([1, 2, 3, 4, 5, 0, 0, 1e-15], "5 cases differ, 6 are needed"),
    ],
)
def test_too_few_differing_cases_have_no_p_value_but_a_reason(d, why):
    result = signed_rank(np.array(d, float))
    assert result.p is None
    assert why in result.method


def test_six_cases_all_better_have_the_smallest_exact_p_value():
    assert signed_rank(np.arange(1.0, 7)).p == pytest.approx(2 / 2**6)


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed):
    p = np.random.default_rng(seed).beta(0.4, 2, 12)
    assert holm(list(p)) == pytest.approx(list(multipletests(p, method="holm")[1]))


def test_holm_leaves_out_what_was_not_tested():
    assert holm([0.02, None, 0.03]) == [0.04, None, pytest.approx(0.04)]
