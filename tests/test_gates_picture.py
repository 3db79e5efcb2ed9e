"""gates.png after few epochs, as somebody sees it who has just started."""

import pytest
from matplotlib.figure import Figure

from nnunet_prosma.watch import plot
from nnunet_prosma.watch.record import GateEpoch, Record


@pytest.fixture
def axes_of(monkeypatch, tmp_path):
    """The picture's axes by the start of their titles, of a record of these thresholds, an epoch each."""
    pages = []

    class Kept(Figure):
        def __init__(self, **settings):
            super().__init__(**settings)
            pages.append(self)

    def draw(*lams):
        values = {"zeros": 0.4, "unsupported": 0.0, "psi_mean": 0.5, "psi_p05": 0.1, "psi_p95": 0.9}
        rows = [
            GateEpoch(epoch, 0, "1x1", values | {"lam_min": lam - 1e-5, "lam_median": lam, "lam_max": lam + 1e-5})
            for epoch, lam in enumerate(lams)
        ]
        plot.draw_record({"": Record(rows)}, tmp_path / "gates.png")
        return {axes.get_title(loc="left").partition(" ")[0]: axes for axes in pages[-1].axes}

    monkeypatch.setattr(plot, "Figure", Kept)
    return draw


def numbers(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.mark.parametrize("lams", [[0.69315], [0.69315, 0.69314], [0.69315, 0.69314, 0.6932]], ids=["1", "2", "3"])
def test_after_few_epochs_epochs_are_whole_and_thresholds_have_two_digits(axes_of, lams):
    axes = axes_of(*lams)
    ticks = [tick for tick in axes["psi,"].get_xticks() if -0.5 <= tick <= len(lams) - 0.5]
    assert all(tick == round(tick) for tick in ticks)
    low, high = axes["threshold"].get_ylim()
    assert high - low == pytest.approx(plot.SMALLEST_SPAN)
    assert low < min(lams) <= max(lams) < high
    assert all(len(number) == len("0.69") for number in numbers(axes["threshold"].yaxis))


def test_thresholds_that_moved_keep_the_axis_that_they_need(axes_of):
    low, high = axes_of(0.69, 0.5, 0.1)["threshold"].get_ylim()
    assert low < 0.1 < 0.69 < high < 0.8
