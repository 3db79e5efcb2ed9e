"""What the record says of a gate: dead, idle, saturated, or that weights are NaN; each once."""

import math

import pytest
import torch
from networks import build, image
from recorded import history, row, watched

from nnunet_prosma.architectures import ProSMAUNet
from nnunet_prosma.watch.observe import observe, summarise
from nnunet_prosma.watch.record import (
    FILE,
    GateEpoch,
    Record,
    changes,
    is_saturated,
    resumed_record,
    state,
)


@pytest.mark.parametrize(
    ("zeros", "expected"),
    [
        ([0.995] * 5, "dead"),
        ([0.5, *[0.995] * 5], "dead"),
        ([0.995] * 4, None),
        ([*[0.995] * 4, 0.99], None),
        ([0.0005] * 5, "idle"),
        ([*[0.0005] * 4, 0.001], None),
        ([0.5] * 9, None),
        ([None] * 9, None),
    ],
)
def test_a_gate_is_dead_or_idle_if_it_was_for_five_epochs(zeros, expected):
    assert state(history(*zeros).rows) == expected


def test_it_is_said_once_which_gate_is_dead_and_what_can_be_done():
    record, said = Record(), []
    for epoch in range(14):
        dying = 1.0 if 2 <= epoch < 10 else 0.5
        record.add([row(epoch, 0, 0.5), row(epoch, 3, dying)])
        said.append(changes(record, "none"))
    assert [len(sentences) for sentences in said] == [0] * 6 + [1] + [0] * 3 + [1] + [0] * 3
    (dead,), (again,) = said[6], said[10]
    assert dead.startswith("WARNING: gates.3 (stride 2x2) is dead: for 5 epochs more than 99% of its responses were")
    assert 'gate setting lam), or norm="instance"' in dead
    assert again == "gates.3 (stride 2x2) is no longer dead: 50 % of its z are exact zeros."


def test_it_is_said_that_a_gate_is_idle_and_not_to_do_what_is_done_already():
    (sentence,) = changes(history(*[0.0] * 5), "instance")
    assert "is idle: for 5 epochs fewer than 0.1% of its responses" in sentence
    assert "higher threshold" in sentence
    assert "norm=" not in sentence


def test_weights_that_are_nan_are_said_to_be_and_nothing_about_thresholds():
    nan = {"zeros": math.nan, "psi_low": 0.0, "psi_high": 0.0}
    record, said = Record(), []
    for epoch in range(9):
        record.add([watched(epoch, **(nan if epoch >= 3 else {}))])
        said += [(epoch, text) for text in changes(record, "none", "encoder.stages.0.weight")]
    ((epoch, text),) = said
    assert epoch == 3
    assert "since epoch 3 the network's weights are NaN (encoder.stages.0.weight is one)" in text
    assert "threshold" not in text
    (text,) = changes(Record(record.rows[:4]), "none", None)
    assert "since epoch 3 the values of gates.0 are NaN, while no weight is" in text
    assert "threshold" not in text


def test_a_network_with_nan_weights_is_recorded_as_nan():
    network = build(ProSMAUNet, 2)
    network.encoder.stages[0][0].convs[0].conv.weight.data[0] = math.nan
    seen = []
    with torch.no_grad():
        observe(network, image(2), lambda s, fields: seen.append(GateEpoch(0, s, "1x1", summarise(fields))))
    assert [state([row]) for row in seen] == ["NaN", "NaN"]
    assert all(math.isnan(row.values[name]) for row in seen for name in ("zeros", "unsupported", "psi_mean"))


def test_a_saturated_gate_is_told_once():
    record, said = Record(), []
    for epoch in range(9):
        record.add([watched(epoch, psi_low=0.3, psi_high=0.3 if epoch >= 2 else 0.1)])
        said += [(epoch, text) for text in changes(record, "none")]
    ((epoch, text),) = said
    assert epoch == 6  # the fifth of those epochs
    assert "gates.0 (stride 2x2) is saturated" in text
    assert "(30% below, 30% above)" in text
    hard = [watched(e, psi_low=0.6, psi_high=0.0, psi_p05=0.0, unsupported=0.6) for e in range(5)]
    assert not is_saturated(hard), "removed, which is what it is for"


def test_after_a_resume_what_was_said_is_not_said_again(tmp_path):
    history(*[1.0] * 6).write(tmp_path / FILE)
    record, _ = resumed_record(tmp_path, 6)
    record.add([row(6, 0, 1.0)])
    assert changes(record, "none") == []
