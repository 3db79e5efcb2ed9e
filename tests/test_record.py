"""The record of a training's gates: its numbers, its file, what it says in the log, and that a training is with it
as without. That it goes on after a kill is tested in test_resume.py, through nnU-Net's command."""

import csv
import math
import os

import matplotlib
import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from networks import both_dimensions, build, image
from torch.nn.parallel import DistributedDataParallel

from nnunet_prosma import command
from nnunet_prosma.architectures import ProSMAResEncUNet, ProSMAUNet
from nnunet_prosma.decoder import gates_of
from nnunet_prosma.gate import GateFields
from nnunet_prosma.trainers import ProSMATrainerMixin, nnUNetTrainerProSMA_1epoch
from nnunet_prosma.trainers import nnUNetTrainerProSMABenchmark_5epochs as Benchmark
from nnunet_prosma.watch.observe import FINE, bare, observe, quantiles, saturation, summarise
from nnunet_prosma.watch.plot import draw_record
from nnunet_prosma.watch.record import (
    COLUMNS,
    FILE,
    STATISTICS,
    GateEpoch,
    Record,
    changes,
    is_saturated,
    read,
    resumed_record,
    state,
)


def row(epoch, gate=0, zeros=0.5, **values):
    values = {"zeros": zeros, "lam_min": 0.6, "lam_median": 0.7, "lam_max": 0.8} | values
    return GateEpoch(epoch, gate, "2x2", {name: value for name, value in values.items() if value is not None})


def history(*zeros, gate=0):
    return Record([row(epoch, gate, value) for epoch, value in enumerate(zeros)])


# what is looked at


@both_dimensions
@pytest.mark.parametrize("deep_supervision", [True, False])
def test_looking_changes_nothing_and_sees_what_each_gate_is_given(dimensions, deep_supervision):
    network = build(ProSMAUNet, dimensions, deep_supervision=deep_supervision)
    given, seen = [], []
    with torch.no_grad():
        alone = network(image(dimensions))
        looked = observe(network, image(dimensions), lambda s, fields: seen.append((s, fields)))
        for _, gate in gates_of(network):  # the same, seen from outside
            gate.register_forward_pre_hook(lambda module, inputs: given.append(module.fields(*inputs)))
        network(image(dimensions))
    pairs = zip(alone, looked, strict=True) if deep_supervision else [(alone, looked)]
    assert all(torch.equal(a, b) for a, b in pairs)
    assert [s for s, _ in seen] == [0, 1]
    for (_, fields), expected in zip(seen, given, strict=True):
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(fields, expected, strict=True))


def test_a_compiled_network_is_not_compiled_again_and_keeps_its_answer():
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    network = build(ProSMAResEncUNet, 2)
    compiled = torch.compile(network, backend=backend)
    batch = image(2)

    def a_training_and_a_validation_step():
        network.train()
        sum(x.mean() for x in compiled(batch)).backward()
        network.eval()
        with torch.no_grad():
            return compiled(batch)[0]

    before = a_training_and_a_validation_step()
    made = len(graphs)
    with torch.no_grad():
        observe(bare(compiled), batch, lambda s, fields: summarise(fields))
    assert torch.equal(a_training_and_a_validation_step(), before)
    assert len(graphs) == made
    assert bare(compiled) is network
    torch._dynamo.reset()


def test_wrappers_are_taken_off(tmp_path):
    network = build(ProSMAUNet, 2)
    assert bare(network) is network
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        assert bare(DistributedDataParallel(torch.compile(network))) is network
    finally:
        torch.distributed.destroy_process_group()


# numbers


def test_a_gate_is_summed_up_as_counted_by_hand():
    z = torch.zeros(1, 2, 2, 2)
    z[0, 0] = torch.tensor([[1.0, 0.0], [-2.0, 0.0]])
    z[0, 1, 0, 0] = 3
    lam = torch.tensor([0.1, 0.5, 0.2, 0.4])
    psi = torch.linspace(0, 1, 101).view(1, 1, 1, 101)
    c = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    found = summarise(GateFields(psi=psi, c=c, u=z, lam=lam, z=z))
    expected = {"zeros": 5 / 8, "unsupported": 2 / 4, "lam_min": 0.1, "lam_median": 0.3, "lam_max": 0.5}
    expected |= {"psi_mean": 0.5, "psi_p05": 0.05, "psi_p95": 0.95, "c_mean": 0.5, "c_p05": 0.05, "c_p95": 0.95}
    assert found == pytest.approx(expected)
    assert tuple(found) == STATISTICS


def test_what_a_gate_has_not_is_not_made_up():
    nothing = GateFields(psi=None, c=None, u=None, lam=None, z=None)
    assert summarise(nothing) == {}
    assert set(summarise(nothing._replace(psi=torch.rand(1, 1, 2, 2)))) == {"psi_mean", "psi_p05", "psi_p95"}
    assert set(summarise(nothing._replace(c=torch.rand(1, 4, 1, 1)))) == {"c_mean", "c_p05", "c_p95"}


def test_half_precision_is_summed_up_without_overflow():
    psi = torch.full((1, 1, 512, 512), 0.75, dtype=torch.half)
    found = summarise(GateFields(psi=psi, c=None, u=None, lam=None, z=None))
    assert found == {"psi_mean": 0.75, "psi_p05": 0.75, "psi_p95": 0.75}


def test_percentiles_of_very_many_values_are_those_of_a_part_that_no_grid_lines_up_with():
    """Brightness by column; taking every 4th of rows of 2048 would see a quarter of the columns only."""
    values = (torch.arange(2048) % 4 == 0).float().expand(2048, 2048)
    assert values.numel() > FINE
    assert quantiles(values, 0.74, 0.76) == [0, 1]


# the file


def test_the_file_holds_what_was_recorded_and_is_read_again(tmp_path):
    record = Record()
    record.add([row(0, 0, 0.25), GateEpoch(0, 1, "1x1", {"psi_mean": 0.5})])
    record.add([row(1, 0, 1 / 3), GateEpoch(1, 1, "1x1", {"psi_mean": 0.125})])
    record.write(tmp_path / FILE)
    with (tmp_path / FILE).open() as file:
        lines = list(csv.DictReader(file))
    assert tuple(lines[0]) == COLUMNS
    assert [(line["epoch"], line["gate"], line["zeros"]) for line in lines] == [
        ("0", "gates.0", "0.25"),
        ("0", "gates.1", ""),
        ("1", "gates.0", "0.333333"),
        ("1", "gates.1", ""),
    ]
    again = read(tmp_path / FILE)
    assert [(r.epoch, r.gate, r.stride) for r in again.rows] == [(r.epoch, r.gate, r.stride) for r in record.rows]
    assert again.rows[1].values == {"psi_mean": 0.5}
    assert os.listdir(tmp_path) == [FILE]


def test_an_epoch_that_is_run_again_replaces_what_was_recorded_of_it(tmp_path):
    record = history(0.1, 0.2, 0.3, 0.4)
    record.write(tmp_path / FILE)
    resumed, problem = resumed_record(tmp_path, 2)
    assert problem is None
    assert [r.epoch for r in resumed.rows] == [0, 1]
    resumed.add([row(2, 0, 0.9)])
    assert [(r.epoch, r.values["zeros"]) for r in resumed.rows] == [(0, 0.1), (1, 0.2), (2, 0.9)]
    record.add([row(1, 0, 0.7)])
    assert [r.epoch for r in record.rows] == [0, 1]


def test_a_training_from_the_start_begins_a_record_of_its_own(tmp_path):
    assert resumed_record(tmp_path, 5) == (Record(), None)
    history(0.1, 0.2).write(tmp_path / FILE)
    assert resumed_record(tmp_path, 0) == (Record(), None)


def test_a_damaged_record_is_put_aside_not_lost(tmp_path):
    history(0.1, 0.2).write(tmp_path / FILE)
    damaged = (tmp_path / FILE).read_text()[:-30]
    (tmp_path / FILE).write_text(damaged)
    record, problem = resumed_record(tmp_path, 7)
    assert record.rows == []
    assert "line 3 is cut off or damaged): it is now gates.csv.unreadable, and the record starts at 7" in problem
    assert (tmp_path / "gates.csv.unreadable").read_text() == damaged
    (tmp_path / FILE).write_text("a,b\n")
    with pytest.raises(ValueError, match="its columns must be epoch, gate, stride, zeros"):
        read(tmp_path / FILE)


# dead and idle


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


def watched(epoch, **values):
    return GateEpoch(epoch, 0, "2x2", {"zeros": 0.5, "lam_median": 0.7, "psi_low": 0.0, "psi_high": 0.0, **values})


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


def test_how_many_voxels_are_saturated_is_counted():
    psi = torch.tensor([0.0, 0.005, 0.01, 0.5, 0.991, 1.0, 0.3, 0.3]).view(1, 1, 2, 4)
    assert saturation(psi) == {"psi_low": 2 / 8, "psi_high": 2 / 8}


def test_a_record_of_0_1_is_read_and_goes_on(tmp_path):
    path = tmp_path / FILE
    old = ",".join(COLUMNS[:14])
    path.write_text(f"{old}\n0,gates.0,2x2{',0.5' * 11}\n")
    record = read(path)
    assert "psi_low" not in record.rows[0].values
    record.add([watched(1, alpha=0.2)])
    record.write(path)
    again = read(path)
    assert again.rows[1].values["alpha"] == 0.2
    assert "psi_low" not in again.rows[0].values
    path.write_text(path.read_text() + f"2,gates.0,2x2{',0.5' * 11},0.1\n")
    with pytest.raises(ValueError, match="line 4 is cut off or damaged"):
        read(path)


def test_after_a_resume_what_was_said_is_not_said_again(tmp_path):
    history(*[1.0] * 6).write(tmp_path / FILE)
    record, _ = resumed_record(tmp_path, 6)
    record.add([row(6, 0, 1.0)])
    assert changes(record, "none") == []


# in a trainer


BATCH = image(2)


class Host:
    """As much of nnU-Net's trainer as the record has to do with."""

    def __init__(self, folder, network, local_rank=0):
        self.output_folder, self.network, self.local_rank = str(folder), network, local_rank
        self.device, self.current_epoch, self.said = torch.device("cpu"), 0, []
        self.logger = type("Logger", (), {"loggers": []})()

    def print_to_log_file(self, *words, **_):
        self.said.append(" ".join(map(str, words)))

    def on_train_start(self):
        pass

    def validation_step(self, batch):
        return {"loss": 1.0}

    def on_validation_epoch_end(self, outputs):
        pass

    def on_epoch_end(self):
        self.current_epoch += 1


class Trainer(ProSMATrainerMixin, Host):
    pass


def epochs(trainer, number):
    for _ in range(number):
        trainer.network.eval()
        assert trainer.validation_step({"data": BATCH, "target": None}) == {"loss": 1.0}
        trainer.on_validation_epoch_end([])
        trainer.on_epoch_end()


def test_an_epoch_is_a_row_a_gate_and_a_training_is_as_without(tmp_path):
    network = build(ProSMAUNet, 2)
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    chance = torch.get_rng_state()
    trainer = Trainer(tmp_path, network)
    trainer.on_train_start()
    epochs(trainer, 2)
    rows = read(tmp_path / FILE).rows
    assert [(r.epoch, r.gate, r.stride) for r in rows] == [(0, 0, "2x2"), (0, 1, "1x1"), (1, 0, "2x2"), (1, 1, "1x1")]
    assert (tmp_path / "gates.png").stat().st_size > 10_000
    assert trainer.said == []
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert all(p.grad is None for p in network.parameters())
    assert trainer._gate_batch is None  # no batch is held through the next epoch's training


def test_another_process_than_the_first_records_nothing(tmp_path):
    trainer = Trainer(tmp_path, build(ProSMAUNet, 2), local_rank=1)
    trainer.on_train_start()
    epochs(trainer, 1)
    assert list(tmp_path.iterdir()) == []


def test_the_record_can_be_left_out_and_benchmarks_do(tmp_path):
    trainer = type("Plain", (Trainer,), {"record_gates": False})(tmp_path, build(ProSMAUNet, 2))
    trainer.on_train_start()
    epochs(trainer, 1)
    assert list(tmp_path.iterdir()) == []
    assert not Benchmark.record_gates
    assert nnUNetTrainerProSMA_1epoch.record_gates


def test_weights_and_biases_gets_what_the_file_gets(tmp_path):
    class Wandb:
        got = {}

        def log(self, key, value, step):
            self.got[key, step] = value

    trainer = Trainer(tmp_path, build(ProSMAUNet, 2))
    trainer.logger.loggers.append(Wandb())
    trainer.on_train_start()
    epochs(trainer, 2)
    expected = {(f"{r.name}/{n}", r.epoch): v for r in read(tmp_path / FILE).rows for n, v in r.values.items()}
    assert Wandb.got == pytest.approx(expected, rel=1e-5)
    assert len(expected) == 2 * 2 * len({*STATISTICS, "psi_low", "psi_high"})


def test_a_record_that_cannot_be_written_is_told_once_and_stops_nothing(tmp_path):
    trainer = Trainer(tmp_path, build(ProSMAUNet, 2))
    (tmp_path / FILE).mkdir()  # a folder in the file's place
    (tmp_path / "gates.png").mkdir()
    trainer.on_train_start()
    epochs(trainer, 3)
    assert len(trainer.said) == 2
    assert "the record of the gates could not be kept (IsADirectoryError: " in trainer.said[0]
    assert "the record of the gates could not be drawn (IsADirectoryError: " in trainer.said[1]
    (tmp_path / FILE).rmdir()  # and once it can be written, nothing of it is missing
    epochs(trainer, 1)
    assert [r.epoch for r in read(tmp_path / FILE).rows] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_trainers_log_says_which_gate_is_dead(tmp_path):
    network = build(ProSMAUNet, 2)
    with torch.no_grad():
        network.decoder.gates[1].theta.fill_(1e4)
    trainer = Trainer(tmp_path, network)
    trainer.on_train_start()
    epochs(trainer, 6)
    (sentence,) = trainer.said
    assert sentence.startswith("WARNING: gates.1 (stride 1x1) is dead: ")
    assert "(100 % of its z are exact zeros; median threshold 1e+04)" in sentence


def test_a_network_that_cannot_be_looked_into_stops_nothing(tmp_path):
    trainer = Trainer(tmp_path, build(PlainConvUNet, 2))
    trainer.on_train_start()
    epochs(trainer, 2)
    assert len(trainer.said) == 1
    assert "could not be kept (AttributeError: " in trainer.said[0]


# the picture


def test_the_picture_is_the_same_whatever_style_nnunets_own_has_set(tmp_path):
    record = history(0.1, 0.5, 0.4)
    draw_record({"": record}, tmp_path / "before.png")
    with matplotlib.rc_context():
        import seaborn

        seaborn.set(font_scale=2.5)
        draw_record({"": record}, tmp_path / "after.png")
        assert matplotlib.rcParams["font.size"] == 12 * 2.5
    assert (tmp_path / "before.png").read_bytes() == (tmp_path / "after.png").read_bytes()


def test_the_command_draws_one_record_in_its_folder_or_several_side_by_side(tmp_path, capsys):
    from skimage.io import imread

    for fold in ("fold_0", "fold_1"):
        history(0.1, 0.5, 0.4).write(tmp_path / fold / FILE)
    assert command.main(["inspect", "--training", str(tmp_path / "fold_0")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'fold_0' / 'gates.png'}\n"
    folds = [str(tmp_path / "fold_0"), str(tmp_path / "fold_1")]
    assert command.main(["inspect", "--training", *folds, "-o", str(tmp_path / "out")]) == 0
    one, two = imread(tmp_path / "fold_0" / "gates.png"), imread(tmp_path / "out" / "gates.png")
    assert two.shape[1] > 1.8 * one.shape[1]
    half = two.shape[1] // 2
    assert all(np.ptp(part[..., :3]) > 200 for part in (two[:, :half], two[:, half:]))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, [], "gates.csv is not there: --training takes the folders fold_X of trainings with a gated trainer"),
        ("a,b\n", [], "gates.csv cannot be read: its columns must be epoch"),
        (",".join(COLUMNS) + "\n", [], "gates.csv holds no epoch yet"),
        ("", ["-i", "x"], "--training shows a record and takes no -i: leave them out"),
        ("", ["SELF"], "--training with several folders needs -o OUT"),
    ],
)
def test_a_record_that_cannot_be_drawn_is_told(tmp_path, capsys, content, options, message):
    if content is not None:
        (tmp_path / FILE).write_text(content)
    options = [str(tmp_path) if option == "SELF" else option for option in options]
    assert command.main(["inspect", "--training", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err
