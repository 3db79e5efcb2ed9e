"""Which path a GPU's gates take: the decision, its memory and what is said of it, with a clock and paths of our own."""

import json
import types
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from gates import gate_and_inputs
from networks import build
from torch import nn

from nnunet_prosma import command
from nnunet_prosma.architectures import ProSMAUNet
from nnunet_prosma.decoder import describe_gates, gates_of
from nnunet_prosma.fast import gpu
from nnunet_prosma.fast.choice import Choice, choose
from nnunet_prosma.fast.concatenation import VARIABLE, by_path, chosen_path
from nnunet_prosma.fast.gpu import cache_file, choose_paths, remembered
from nnunet_prosma.gate import GateConfig
from nnunet_prosma.host.training_log import read_training_logs
from nnunet_prosma.trainers.paths import choose_paths_for, gate_shapes

CPU = torch.device("cpu")
PATHS = {name: partial(by_path, name) for name in ("fused", "recomputed", "reference")}


def a_gate():
    return gate_and_inputs(nn.Conv2d, (8, 6), 3, GateConfig(lam=0.3), torch.float32)[0]


def clock(**seconds):
    """A clock on which the first path that is timed takes seconds["fused"], the second seconds["recomputed"]."""
    order = iter(["fused"] * 5 + ["recomputed"] * 5)

    def tick(call):
        call()
        return seconds[next(order)]

    return tick


@pytest.mark.parametrize(("fused", "recomputed", "path"), [(0.002, 0.003, "fused"), (0.003, 0.002, "recomputed")])
def test_the_faster_path_is_taken(fused, recomputed, path):
    chosen = choose(a_gate(), (2, 12, 8, 6), PATHS, clock(fused=fused, recomputed=recomputed), nullcontext)
    assert chosen == Choice(path, fused * 1000, recomputed * 1000)
    assert str(chosen) == f"{path} (fused {fused * 1000:.2f} ms, recomputed {recomputed * 1000:.2f} ms)"


def slightly_wrong(gate, skip, signal):
    return by_path("fused", gate, skip, signal) * 1.01


def wrong_gradient(gate, skip, signal):
    return by_path("fused", gate, skip, signal) + 0.1 * (gate.theta - gate.theta.detach()).sum()


def without_a_number(gate, skip, signal):
    return by_path("fused", gate, skip, signal) * float("nan")


def does_not_compile(gate, skip, signal):
    raise RuntimeError("ptxas fatal: no such register\nand a hundred lines more")


@pytest.mark.parametrize(
    ("fused", "remark"),
    [
        (slightly_wrong, "the fused path is wrong: the output is off by 1.0e-02"),
        (wrong_gradient, "the fused path is wrong: the gradient of theta is off by"),
        (without_a_number, "the fused path is wrong: the output is off by nan"),
        (does_not_compile, "the fused path failed: RuntimeError: ptxas fatal: no such register"),
    ],
)
def test_a_fused_path_that_is_wrong_or_fails_is_not_taken_however_fast(fused, remark):
    chosen = choose(a_gate(), (2, 12, 8, 6), {**PATHS, "fused": fused}, clock(fused=0, recomputed=1), nullcontext)
    assert chosen.path == "recomputed"
    assert chosen.remark.startswith(remark)
    assert "\n" not in chosen.remark


def test_a_path_that_runs_out_of_memory_at_full_size_is_not_taken():
    def grows(gate, skip, signal):
        if skip.shape[2] > 96:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return by_path("fused", gate, skip, signal)

    chosen = choose(a_gate(), (1, 12, 100, 6), {**PATHS, "fused": grows}, lambda call: call() or 1.0, nullcontext)
    assert chosen == Choice("recomputed", None, 1000, "the fused path failed: OutOfMemoryError: CUDA out of memory")


class Trainer:
    """As much of nnU-Net's trainer as the start of a training asks."""

    def __init__(self, network, device=CPU):
        self.network, self.device, self.batch_size = network, device, 2
        self.configuration_manager = types.SimpleNamespace(patch_size=(16, 16))
        self.log = []

    def _do_i_compile(self):
        return False

    def print_to_log_file(self, line, add_timestamp=True):
        self.log.append(line)


def deciding(asked, answer):
    def decide(gate, shape):
        asked.append(tuple(shape))
        return answer(shape)

    return decide


def test_each_gate_is_decided_once_and_remembered_and_the_log_says_it(tmp_path):
    file, asked = tmp_path / "cache" / "paths.json", []
    answers = {8: Choice("fused", 1.0, 2.0), 16: Choice("recomputed", 3.0, 2.5)}
    decide = deciding(asked, lambda shape: answers[shape[1]])
    trainer = Trainer(build(ProSMAUNet, 2))
    choose_paths_for(trainer, decide=decide, remembered_in=file)
    assert (
        asked
        == [(2, 16, 8, 8), (2, 8, 16, 16)]
        == [shape for _, shape in gate_shapes(trainer.network, 2, (16, 16)).values()]
    )
    assert trainer.log[1:] == [
        "  decoder.gates.0: recomputed (fused 3.00 ms, recomputed 2.50 ms)",
        "  decoder.gates.1: fused (fused 1.00 ms, recomputed 2.00 ms)",
    ]
    assert [gate.decided_path for _, gate in gates_of(trainer.network)] == ["recomputed", "fused"]
    line = "decoder.gates.0 recomputed (measured on this GPU), decoder.gates.1 fused (measured on this GPU)"
    assert f"computed on cpu by the path: {line}" in describe_gates(trainer.network)
    again = Trainer(build(ProSMAUNet, 2))
    choose_paths_for(again, decide=decide, remembered_in=file)
    assert len(asked) == 2
    assert again.log == [*trainer.log, f"  as remembered in {file}"]
    assert [gate.decided_path for _, gate in gates_of(again.network)] == ["recomputed", "fused"]
    assert list(file.parent.iterdir()) == [file]


def test_a_decided_path_is_the_one_that_is_taken_and_a_forced_one_comes_first(monkeypatch, tmp_path):
    network = build(ProSMAUNet, 2)
    cases = gate_shapes(network, 1, (16, 16))
    choose_paths(cases, CPU, decide=lambda gate, shape: Choice("recomputed", 2.0, 1.0), remembered_in=tmp_path / "a")
    gate = next(gates_of(network))[1]
    calls = []
    forward = type(gate).forward
    monkeypatch.setattr(type(gate), "forward", lambda *given: calls.append(1) or forward(*given))
    image = torch.randn(1, 2, 16, 16)
    network(image)
    assert len(calls) == 2
    monkeypatch.setenv(VARIABLE, "fused")
    network(image)
    assert len(calls) == 2
    assert chosen_path(gate, CPU) == "fused"
    assert choose_paths(cases, CPU, decide=lambda gate, shape: pytest.fail("decided"), remembered_in=tmp_path) == []


def test_on_a_gpu_a_decision_for_the_fused_path_is_what_was_missing(monkeypatch):
    monkeypatch.setattr("nnunet_prosma.fast.concatenation.has_triton", lambda: True)
    gate, cuda = a_gate(), torch.device("cuda")
    assert chosen_path(gate, cuda).startswith("recomputed (the fused path has not been timed on this GPU")
    gate.decided_path = "fused"
    assert chosen_path(gate, cuda) == "fused (measured on this GPU)"


def test_a_fault_is_one_warning_for_all_gates(tmp_path):
    cases = gate_shapes(build(ProSMAUNet, 2), 2, (16, 16))
    fault = Choice("recomputed", remark="the fused path failed: no such register")
    with pytest.warns(
        UserWarning, match="gates on cpu: the fused path failed: no such register; the recomputed"
    ) as said:
        choose_paths(cases, CPU, decide=lambda gate, shape: fault, remembered_in=tmp_path / "paths.json")
    assert len(said) == 1


@pytest.mark.parametrize("content", ["", "[1]", '{"a": 3}', '{"a": {"path": "magic"}}', '{"a": {"road": 1}}', "\xff"])
def test_a_damaged_memory_is_measured_anew_and_mended(content, tmp_path):
    file, asked = tmp_path / "paths.json", []
    file.write_text(content, encoding="latin-1")
    cases = gate_shapes(build(ProSMAUNet, 2), 2, (16, 16))
    choose_paths(cases, CPU, decide=deciding(asked, lambda shape: Choice("fused", 1.0, 2.0)), remembered_in=file)
    assert len(asked) == 2
    assert len(remembered(file)) == len(json.loads(file.read_text())) == 2


def test_what_cannot_be_remembered_is_said_and_used(tmp_path):
    (tmp_path / "file").write_text("")
    cases = gate_shapes(build(ProSMAUNet, 2), 2, (16, 16))
    decide = deciding([], lambda shape: Choice("fused", 1.0, 2.0))
    lines = choose_paths(cases, CPU, decide=decide, remembered_in=tmp_path / "file" / "paths.json")
    assert "they cannot be remembered in" in lines[-1]
    assert all(gate.decided_path == "fused" for gate, _ in cases.values())


def test_another_shape_precision_of_the_network_or_version_is_another_decision(monkeypatch):
    gate = a_gate()
    keys = {
        gpu.key_of(gate, (2, 12, 8, 6), CPU, False),
        gpu.key_of(gate, (2, 12, 8, 8), CPU, False),
        gpu.key_of(gate, (2, 12, 8, 6), CPU, True),
    }
    monkeypatch.setattr(torch, "__version__", "9.9")
    assert len(keys | {gpu.key_of(gate, (2, 12, 8, 6), CPU, False)}) == 4


def test_rank_0_decides_for_all(monkeypatch):
    distributed, sent = torch.distributed, {}
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(distributed, "broadcast_object_list", lambda held, src: sent.update({src: held[0]}))
    assert gpu.from_rank_0(lambda: "fused") == "fused"
    assert sent == {0: "fused"}
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "broadcast_object_list", lambda held, src: held.__setitem__(0, sent[src]))
    assert gpu.from_rank_0(lambda: pytest.fail("decided on rank 1")) == "fused"


def test_on_a_cpu_nothing_is_measured():
    assert choose_paths(gate_shapes(build(ProSMAUNet, 2), 2, (16, 16)), CPU) == []


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "cache/nnunet-prosma/paths.json"),
        ("linux", None, ".cache/nnunet-prosma/paths.json"),
        ("darwin", None, "Library/Caches/nnunet-prosma/paths.json"),
        ("win32", "LOCALAPPDATA", "cache/nnunet-prosma/paths.json"),
    ],
)
def test_the_memory_lies_where_the_platform_keeps_caches(platform, variable, expected, monkeypatch, tmp_path):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "cache"))
    monkeypatch.setattr(gpu.sys, "platform", platform)
    monkeypatch.setattr(gpu.Path, "home", lambda: tmp_path)
    assert cache_file() == tmp_path / expected


def test_doctor_says_that_there_is_no_gpu_to_measure(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main(["doctor", "--gpu"]) == 2
    assert "--gpu needs a GPU that torch can use, and there is none" in capsys.readouterr().err


def test_the_log_tells_the_path_and_not_the_reason(tmp_path):
    line = "  computed on cuda by the path: decoder.gates.0 recomputed (measured on this GPU), gates.1 fused (x)"
    (tmp_path / "training_log_2026_1_1_0_0_0.txt").write_text(f"a\n{line}\n")
    expected = "cuda by the path: decoder.gates.0 recomputed, gates.1 fused"
    assert read_training_logs(tmp_path).gate_path == expected
