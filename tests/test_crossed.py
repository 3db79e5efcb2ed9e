"""Cases and trainings crossed: against statsmodels' analysis of variance, limits with a known answer, and its level."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from nnunet_prosma.statistics.crossed import crossed, error_parts, half_widths


def arms(rng, trainings, cases, between, rest=0.03):
    case = rng.normal(0.8, 0.1, cases)
    return [
        case + rng.normal(0, between, (count, 1)) + rng.normal(0, rest, (count, cases)) for count in trainings
    ]  # fmt: skip


def test_the_spread_of_trainings_is_that_of_the_two_way_analysis_of_variance():
    first, second = arms(np.random.default_rng(0), (4, 3), 25, 0.02)
    found = crossed(first, second)
    for arm, sd in zip((first, second), found.training_sd, strict=True):
        r, c = np.indices(arm.shape)
        frame = pd.DataFrame({"value": arm.ravel(), "training": r.ravel(), "case": c.ravel()})
        table = anova_lm(ols("value ~ C(training) + C(case)", frame).fit())
        expected = (table.mean_sq["C(training)"] - table.mean_sq["Residual"]) / arm.shape[1]
        assert sd**2 == pytest.approx(expected)


def test_trainings_that_do_not_vary_leave_the_paired_t_test():
    rng = np.random.default_rng(1)
    first, second = rng.normal(0.8, 0.1, 30), rng.normal(0.82, 0.1, 30)
    found = crossed(np.tile(first, (3, 1)), np.tile(second, (2, 1)))
    assert found.p == pytest.approx(stats.ttest_rel(first, second).pvalue)
    expected = stats.ttest_rel(second, first).confidence_interval()
    assert (found.interval().low, found.interval().high) == pytest.approx(expected)


def test_cases_that_do_not_vary_leave_welchs_t_test_of_the_trainings():
    first, second = np.array([0.80, 0.84, 0.79]), np.array([0.85, 0.9, 0.86])
    found = crossed(np.tile(first[:, None], 20), np.tile(second[:, None], 20))
    expected = stats.ttest_ind(second, first, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.interval().low, found.interval().high) == pytest.approx(tuple(expected.confidence_interval()))


def test_arms_that_were_trained_unequally_often_have_banerjees_interval():
    first, second = np.array([0.80, 0.84, 0.79, 0.82]), np.array([0.85, 0.9])
    found = crossed(np.tile(first[:, None], 20), np.tile(second[:, None], 20)).interval()
    squares = (stats.t.ppf(0.975, 3) * stats.sem(first)) ** 2 + (stats.t.ppf(0.975, 1) * stats.sem(second)) ** 2
    expected = second.mean() - first.mean() + np.sqrt(squares) * np.array([-1, 1])
    assert (found.low, found.high) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("trainings", [(5, 2), (3, 2), (10, 3)])
@pytest.mark.parametrize("factor", [0.25, 1, 4, 16])
def test_whichever_scatters_more_no_more_than_5_percent_are_called_different(trainings, factor):
    rng, repeats = np.random.default_rng(trainings), 20_000
    first, second = (sd * rng.normal(size=(n, 1, repeats)) for n, sd in zip(trainings, (1, factor), strict=True))
    parts, freedom, _ = error_parts(first, second)
    false = np.abs(second.mean(0) - first.mean(0))[0] > half_widths(parts, freedom, 0.05)
    assert false.mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)


def test_many_columns_at_once_are_each_of_them_alone():
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=(3, 12, 4)), rng.normal(size=(2, 12, 4))
    units = np.arange(12) // 2
    parts, freedom, sds = error_parts(first, second, units)
    for k in range(4):
        alone = crossed(first[..., k], second[..., k], units)
        assert alone.parts == pytest.approx(tuple(parts[:, k]))
        assert alone.freedom == tuple(freedom[:, k])
        assert alone.training_sd == pytest.approx(tuple(sds[:, k]))


def test_the_interval_ends_at_0_where_its_level_is_1_minus_p():
    found = crossed(*arms(np.random.default_rng(3), (3, 4), 25, 0.02))
    interval = found.interval(1 - found.p)
    assert min(abs(interval.low), abs(interval.high)) == pytest.approx(0, abs=1e-9)


def test_where_nothing_varies_there_is_nothing_to_tell():
    assert crossed(np.full((2, 10), 0.5), np.full((2, 10), 0.6)) is None


@pytest.mark.parametrize("between", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("trainings", [(2, 2), (3, 3), (2, 5)])
@pytest.mark.parametrize("cases", [10, 100])
def test_methods_that_are_the_same_are_called_different_in_5_percent_of_repeats_at_most(trainings, between, cases):
    """Each method is better in some cases and worse in others, by the same on average."""
    rng, repeats = np.random.default_rng(trainings), 2000
    arms = [
        rng.normal(0, 0.02, (1, cases, repeats))
        + rng.normal(0, between, (count, 1, repeats))
        + rng.normal(0, 0.03, (count, cases, repeats))
        for count in trainings
    ]
    parts, freedom, _ = error_parts(*arms)
    false = np.abs(arms[1].mean((0, 1)) - arms[0].mean((0, 1))) > half_widths(parts, freedom, 0.05)
    assert false.mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)
