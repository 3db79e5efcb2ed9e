"""Intervals of means and medians against enumeration, scipy, and what they promise."""

import itertools

import numpy as np
import pytest
from scipy import stats

from nnunet_prosma.statistics import studentised
from nnunet_prosma.statistics.median import median_interval
from nnunet_prosma.statistics.studentised import MINIMUM, mean_intervals


def one(d, level=0.95, **kwargs):
    return mean_intervals(np.asarray(d, float)[:, None], [level], seed=0, **kwargs)[0]


def test_the_interval_is_that_of_all_resamples_enumerated(monkeypatch):
    monkeypatch.setattr(studentised, "MINIMUM", 3)
    d = np.array([0.0, 1.0, 3.0, 3.5, 7.0])
    every = np.array(list(itertools.product(d, repeat=5)))
    every = every[np.ptp(every, axis=1) > 0]
    t = np.abs(stats.ttest_1samp(every, d.mean(), axis=1).statistic)
    with np.errstate(divide="ignore"):
        expected = np.quantile(np.append(t, np.full(5, np.inf)), 0.8) * stats.sem(d)
    interval = one(d, 0.8, resamples=200_000)
    assert (interval.high - d.mean(), d.mean() - interval.low) == pytest.approx((expected, expected), rel=0.03)


def test_of_normal_differences_it_is_nearly_students():
    d = np.random.default_rng(0).normal(0.02, 0.05, 200)
    expected = stats.t.interval(0.95, 199, d.mean(), stats.sem(d))
    assert (one(d).low, one(d).high) == pytest.approx(expected, abs=0.0005)


def test_units_of_one_case_each_are_cases():
    d = np.random.default_rng(1).gamma(1, 1, 30)
    assert one(d, units=np.arange(30)) == one(d)


def test_units_of_unequal_size_have_the_error_of_a_ratio_as_survey_statisticians_write_it():
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(300), rng.integers(1, 5, 300))
    d = rng.normal(0, 1, 300)[units] + rng.normal(0, 0.3, len(units))
    total, size = np.bincount(units, d), np.bincount(units)
    error = np.sqrt(300 / 299 * ((total - d.mean() * size) ** 2).sum()) / len(d)
    interval = one(d, units=units)
    assert (interval.high - interval.low) / 2 == pytest.approx(1.968 * error, rel=0.04)


def test_cases_copied_within_their_unit_leave_the_interval_as_wide_as_it_was():
    d = np.random.default_rng(1).normal(0, 1, 40)
    plain, copied = one(d), one(np.repeat(d, 6), units=np.repeat(np.arange(40), 6))
    assert (copied.low, copied.high) == pytest.approx((plain.low, plain.high), rel=0.05)


def test_the_same_seed_gives_the_same_interval_whatever_other_columns_there_are():
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(33, 2))
    columns[20:, 1] = np.nan
    both = mean_intervals(columns, [0.95, 0.9], seed=7)
    assert both[1] == mean_intervals(columns[:20, 1:], [0.9], seed=7)[0]
    assert both != mean_intervals(columns, [0.95, 0.9], seed=8)


@pytest.mark.parametrize(
    "d", [np.arange(MINIMUM - 1.0), np.full(50, 0.1), [*np.zeros(20), 0.5]], ids=["few", "equal", "one differs"]
)
def test_too_few_cases_and_too_few_that_differ_have_no_interval(d):
    assert one(d) is None


def test_it_covers_the_mean_of_skewed_differences_where_students_interval_falls_short():
    rng = np.random.default_rng(0)
    samples = (rng.normal(0, 0.02, (600, 30)) + 0.3 * (rng.random((600, 30)) < 0.1)).T
    found = mean_intervals(samples, [0.95] * 600, seed=0, resamples=999)
    covered = np.mean([i is None or i.low <= 0.03 <= i.high for i in found])
    low, high = stats.t.interval(0.95, 29, samples.mean(0), stats.sem(samples, axis=0))
    assert np.mean((low <= 0.03) & (high >= 0.03)) < 0.93 < covered


@pytest.mark.parametrize("n", [10, 25, 300])
def test_the_interval_of_a_median_is_that_of_scipys_quantile_test(n):
    d = np.random.default_rng(n).gamma(2, 1, n)
    low, high = stats.quantile_test(d, q=0, p=0.5).confidence_interval(0.95)
    interval = median_interval(d)
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_few_cases_have_no_interval_of_the_median():
    assert median_interval(np.arange(MINIMUM - 1.0)) is None
