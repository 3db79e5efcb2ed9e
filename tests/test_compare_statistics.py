"""Intervals and tests against scipy, statsmodels, published data, enumeration, and their own promises."""

import itertools

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from nnunet_prosma.statistics.bootstrap import MINIMUM, bca, intervals, mean_distributions, median_distribution
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

SPATIAL_TEST = (48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41)
"""Efron and Tibshirani (1993), An introduction to the bootstrap, table 14.1."""


def test_darwins_maize_gives_the_published_statistic_and_p_value():
    result = signed_rank(np.array(MAIZE, float))
    assert (result.statistic, result.method) == (24, "exact")
    assert result.p == pytest.approx(0.041259765625)


def test_the_depression_scores_give_the_p_value_of_r():
    first, second = map(np.array, DEPRESSION)
    assert signed_rank(second - first).p == pytest.approx(2 * 0.01953125)


def test_the_variance_of_the_spatial_test_has_the_published_bca_interval():
    sample = np.array(SPATIAL_TEST, float)
    drawn = np.random.default_rng(0).choice(sample, (20000, len(sample)))
    interval = bca(sample, drawn.var(1), np.var, level=0.9)
    assert interval.method == "BCa"
    assert (interval.low, interval.high) == pytest.approx((115.8, 259.6), rel=0.02)  # table 14.2


@pytest.mark.parametrize("n", [10, 25, 300])
def test_intervals_are_those_of_scipys_own_bootstrap(n):
    d = np.random.default_rng(n).gamma(2, 1, n) - 1.5
    (mean, median), *_ = intervals([d], seed=3, resamples=20000)
    for interval, statistic in ((mean, np.mean), (median, np.median)):
        expected = stats.bootstrap((d,), statistic, method="BCa", n_resamples=20000, rng=1).confidence_interval
        tolerance = 0.05 * (expected.high - expected.low)
        assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=tolerance)


def test_the_distribution_of_the_means_is_that_of_enumerated_resamples():
    d = np.array([0.0, 1.0, 5.0])
    every = [np.mean(resample) for resample in itertools.product(d, repeat=3)]
    drawn = mean_distributions(d[None], np.random.default_rng(0), 40000)[0]
    assert drawn.mean() == pytest.approx(np.mean(every), abs=0.03)
    for q in np.unique(every):
        assert (drawn <= q + 1e-9).mean() == pytest.approx(np.mean(np.array(every) <= q + 1e-9), abs=0.015)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_the_distribution_of_the_medians_is_that_of_enumerated_resamples(n):
    d = np.array([0.0, 1.0, 5.0, 7.0, 20.0])[:n]
    every = np.array([np.median(resample) for resample in itertools.product(d, repeat=n)])
    drawn = median_distribution(d, np.random.default_rng(0), 40000)
    for value in np.unique(every):
        assert (drawn == value).mean() == pytest.approx((every == value).mean(), abs=0.015)


def test_the_same_seed_gives_the_same_interval_whatever_other_labels_there_are():
    rng = np.random.default_rng(0)
    d, other = rng.normal(size=20), rng.normal(size=33)
    assert intervals([d], seed=7)[0] == intervals([other, d], seed=7)[1]
    assert intervals([d], seed=7) != intervals([d], seed=8)


def test_too_few_cases_and_equal_differences_have_no_interval():
    assert intervals([np.arange(MINIMUM - 1.0), np.full(50, 0.1)], seed=0) == [(None, None), (None, None)]


def test_a_median_among_ties_has_a_percentile_interval_that_is_called_so():
    d = np.array([0.0] * 30 + [1.0] * 5)
    _, median = intervals([d], seed=0)[0]
    assert (median.low, median.high, median.method) == (0, 0, "percentile")


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


REPEATS = 1000


def identical_models(rng, repeats, cases):
    """Dice of two models of the same ability on cases of differing difficulty."""
    difficulty = rng.beta(8, 1.5, (repeats, cases))
    first, second = (np.clip(difficulty + rng.normal(0, 0.03, difficulty.shape), 0, 1) for _ in range(2))
    return second - first


def share_within(expected, share, repeats=REPEATS):
    """Three standard errors of a share of so many repeats."""
    return abs(share - expected) < 3 * np.sqrt(expected * (1 - expected) / repeats)


@pytest.mark.parametrize("cases", [50, 200])
def test_the_interval_covers_the_true_mean_difference_in_95_percent_of_repeats(cases):
    differences = np.random.default_rng(cases).normal(0.02, 0.05, (REPEATS, cases))
    covered = np.mean([i.low <= 0.02 <= i.high for i, _ in intervals(list(differences), seed=0, resamples=1999)])
    assert share_within(0.95, covered), covered


def test_the_interval_of_the_median_covers_the_true_median_at_least_so_often():
    differences = np.random.default_rng(3).normal(0.02, 0.05, (REPEATS, 100))
    covered = np.mean([i.low <= 0.02 <= i.high for _, i in intervals(list(differences), seed=0, resamples=1999)])
    assert 0.93 < covered < 0.98, covered


def test_identical_models_are_called_different_in_5_percent_of_repeats():
    differences = identical_models(np.random.default_rng(0), REPEATS, 50)
    found = intervals(list(differences), seed=0, resamples=1999)
    by_interval = np.mean([not i.low <= 0 <= i.high for i, _ in found])
    by_test = np.mean([signed_rank(d).p < 0.05 for d in differences])
    assert share_within(0.05, by_interval), by_interval
    assert share_within(0.05, by_test), by_test


def test_at_the_fewest_cases_an_interval_is_given_for_it_is_at_most_5_points_short():
    differences = identical_models(np.random.default_rng(1), REPEATS, MINIMUM)
    covered = np.mean([i.low <= 0 <= i.high for i, _ in intervals(list(differences), seed=0, resamples=1999)])
    assert covered > 0.90 - 0.02, covered
