"""nnunet-prosma benchmark: what it counts against counts by hand, and that one network's failure is its own."""

import json
import sys
from copy import deepcopy

import pytest
import torch
from networks import build
from torch import nn

from nnunet_prosma import benchmark as benchmark_command
from nnunet_prosma import command
from nnunet_prosma.architectures import ProSMAUNet
from nnunet_prosma.benchmark import measure as measure_module
from nnunet_prosma.benchmark import setting as settings
from nnunet_prosma.benchmark.arithmetic import decoder_stages, flops, parameter_count
from nnunet_prosma.benchmark.measure import measure
from nnunet_prosma.benchmark.memory import is_out_of_memory, kept_activations, peak_memory
from nnunet_prosma.benchmark.setting import PRESETS, Setting, from_file, from_preset
from nnunet_prosma.benchmark.timing import interleaved, median_and_quartile_distance, ratio_by_round
from nnunet_prosma.benchmark.trainable import TRAINERS, TrainableNetwork, trainable
from nnunet_prosma.decoder import gates_of
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.changed import with_arguments, with_gates

CPU = torch.device("cpu")


@pytest.fixture
def tiny(tmp_path):
    """A plans file of three small stages, 16x16x16."""
    planned = from_preset("3d").setup.plans.content
    configured = deepcopy(planned["configurations"]["3d_fullres"])
    plans = {**planned, "configurations": {"3d_fullres": configured}}
    kwargs = configured["architecture"]["arch_kwargs"]
    for key in ("kernel_sizes", "strides"):
        kwargs[key] = kwargs[key][:3]
    kwargs |= {"n_stages": 3, "features_per_stage": [4, 8, 16], "n_conv_per_stage": [1] * 3}
    kwargs["n_conv_per_stage_decoder"] = [1, 1]
    configured["patch_size"] = [16, 16, 16]
    path = tmp_path / "tinyPlans.json"
    path.write_text(json.dumps(plans))
    return path


@pytest.fixture
def setting(tiny):
    return from_file(tiny, "3d_fullres")


def test_parameters_and_operations_are_those_counted_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 2, 1, bias=False))
    assert parameter_count(network) == 3 * 5 * 9 + 5 + 5 * 2
    assert flops(network, (4, 3, 8, 6)) == 2 * 4 * 8 * 6 * (3 * 5 * 9 + 5 * 2)


def test_a_gates_operations_are_those_counted_by_hand():
    network = build(ProSMAUNet, 2)
    batch, patch = 2, (16, 16)
    stages = decoder_stages(network, batch, patch)
    assert [stage["size"] for stage in stages] == [[8, 8], [16, 16]]
    assert [stage["channels"] for stage in stages] == [16, 8]
    for stage, (_, gate) in zip(stages, gates_of(network), strict=True):
        latent = hidden = 8
        channels, (height, width) = stage["channels"], stage["size"]
        a_voxel = 2 * channels * latent + 3 * latent * 9 + 3 * latent * latent + latent
        mlp = channels * hidden + hidden * channels
        assert stage["flops"] == 2 * batch * (height * width * a_voxel + mlp)
        assert stage["parameters"] == parameter_count(gate)


def test_kept_activations_are_those_counted_by_hand():
    """A convolution keeps its input, a ReLU its output, each storage once; the weight is a parameter."""
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 2, 1))
    image = torch.randn(2, 3, 8, 8)
    kept = kept_activations(lambda: network(image), network)
    assert kept == 4 * (2 * 3 * 64 + 2 * 5 * 64)


def test_what_a_custom_function_keeps_counts_and_what_is_not_kept_does_not():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, keep):
            if keep:
                ctx.save_for_backward(x[:1], x * 1)
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return 2 * grad, None

    x = torch.randn(10, 10, requires_grad=True)
    assert kept_activations(lambda: Twice.apply(x, False), nn.Module()) == 0
    assert kept_activations(lambda: Twice.apply(x, True), nn.Module()) == 2 * 400, "a view keeps its whole storage"


def test_the_peak_on_a_cpu_is_the_one_counted_by_hand():
    standing = torch.zeros(1000)

    def step():
        first = torch.zeros(500)
        second = first.neg()
        del first
        third = second.neg()
        fourth = third.neg()
        del second, third, fourth

    assert peak_memory(step, [standing, standing[:10]], CPU) == 4 * (1000 + 3 * 500)


def test_every_round_runs_every_call_and_starts_with_another():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    times = interleaved(calls, rounds=3, warmup=1, device=CPU)
    assert "".join(order) == "cab" + "abc" + "bca" + "cab"
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_call_that_runs_out_of_memory_is_left_out_and_another_error_is_not_hidden():
    calls = {"fits": lambda: None, "grows": lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory"))}
    assert set(interleaved(calls, rounds=2, warmup=1, device=CPU)) == {"fits"}
    with pytest.raises(ZeroDivisionError, match="division"):
        interleaved({"wrong": lambda: 1 / 0}, rounds=1, warmup=0, device=CPU)


def test_median_spread_and_ratio_are_those_of_the_rounds():
    assert median_and_quartile_distance([3.0, 1.0, 2.0, 5.0, 4.0]) == (3.0, 2.0)
    assert median_and_quartile_distance([3.0]) == (3.0, 0.0)
    assert ratio_by_round([2.0, 40.0, 3.0], [1.0, 10.0, 1.0]) == 3.0


def test_out_of_memory_is_told_from_other_errors():
    with pytest.raises(RuntimeError, match="can't allocate memory") as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize("name", TRAINERS)
def test_a_step_is_nnunets_and_moves_every_network(setting, name):
    torch.manual_seed(1)
    one = trainable(name, setting, CPU)
    assert one.trainer.optimizer.defaults["nesterov"]
    assert type(one.trainer.loss).__name__ == "DeepSupervisionWrapper"
    assert [target.shape[2:] for target in one.batch["target"]] == [(16,) * 3, (8,) * 3]
    before = [p.detach().clone() for p in one.network.parameters()]
    one.training_step()
    assert any(not torch.equal(p, q) for p, q in zip(before, one.network.parameters(), strict=True))
    one.inference()
    assert one.network.decoder.deep_supervision is False
    assert not one.network.training
    assert len(one.training_forward()) == 2


def test_a_network_of_ones_own_can_be_measured(setting):
    planned = trainable("prosma", setting, CPU)
    network = ProSMAUNet(**_arguments(setting), gate={"dilations": [1]})
    results = measure(
        {"vanilla": lambda: planned, "mine": lambda: TrainableNetwork(setting, CPU, network=network)}, CPU, rounds=1
    )
    assert results["mine"]["parameters"] < results["vanilla"]["parameters"]


@pytest.mark.parametrize("ignore", [False, True])
def test_a_planned_data_set_is_found_by_its_number_and_regions_have_a_map_each(tiny, tmp_path, monkeypatch, ignore):
    folder = tmp_path / "preprocessed" / "Dataset009_Toy"
    folder.mkdir(parents=True)
    monkeypatch.setenv("nnUNet_preprocessed", str(folder.parent))
    (folder / "minePlans.json").write_text(tiny.read_text())
    labels = {"background": 0, "whole": [1, 2], "core": 2} | ({"ignore": 3} if ignore else {})
    dataset_json = {"channel_names": {"0": "a", "1": "b"}, "labels": labels, "regions_class_order": [1, 2]}
    dataset_json["file_ending"] = ".nii.gz"
    (folder / "dataset.json").write_text(json.dumps(dataset_json))
    one = trainable("prosma", settings.from_dataset("9", "3d_fullres", "minePlans"), CPU)
    assert one.batch["data"].shape == (2, 2, 16, 16, 16)
    assert one.batch["target"][0].shape == (2, 2 + ignore, 16, 16, 16)
    one.training_step()


def test_gated_plans_are_compared_with_the_vanilla_network_of_the_same_shape(setting):
    plain = trainable("vanilla", setting, CPU).network
    setting = Setting(setting.name, with_gates(setting.setup, ProSMAUNet, {"lam": 0.1, "latent_reduction": 4}))
    vanilla, dense, gated = (trainable(name, setting, CPU).network for name in ("vanilla", "attention", "prosma"))
    assert type(vanilla) is type(plain)
    assert vanilla.state_dict().keys() == plain.state_dict().keys()
    assert (dense.decoder.config.kind, dense.decoder.config.latent_reduction) == ("attention", 4)
    assert gated.decoder.config.lam == 0.1


def test_plans_of_0_1_whose_gate_is_the_word_none_tell_a_kind_and_are_compared_too(setting):
    """That version wrote "gate": "none" where others have an object of settings."""
    named = with_gates(setting.setup, ProSMAUNet, {})
    arguments = {**named.architecture["arch_kwargs"], "gate": "none"}
    setup = with_arguments(named, named.network_class, arguments)
    assert setup.gate == {"kind": "none"}
    vanilla, dense = (trainable(name, Setting("x", setup), CPU).network for name in ("vanilla", "attention"))
    assert parameter_count(vanilla) == parameter_count(trainable("vanilla", setting, CPU).network)
    assert dense.decoder.config.kind == "attention"


def test_a_network_that_does_not_fit_is_reported_and_the_others_are_measured(tiny, monkeypatch, capsys, tmp_path):
    def fail(trainer, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TRAINERS["attention"], "train_step", fail)
    arguments = ["--plans", str(tiny), "-c", "3d_fullres", "--rounds", "2", "-device", "cpu"]
    assert command.main(["benchmark", *arguments, "--json", str(tmp_path / "out.json")]) == 0
    out, error = capsys.readouterr()
    assert "out of memory in a training step" in out
    assert "threads on" in out, "the machine"
    assert all(len(line) <= 100 for line in out.splitlines() if not line.startswith((str(tiny), "nnunet-prosma ")))
    assert error == "", "no progress bar is drawn into a pipe"
    networks = json.loads((tmp_path / "out.json").read_text())["networks"]
    alone = [*arguments, "--networks", "vanilla", "--json"]
    assert command.main(["benchmark", *alone]) == 0
    assert set(json.loads(capsys.readouterr().out)["networks"]) == {"vanilla"}
    assert networks["attention"]["out_of_memory"] == "a training step"
    assert "step_seconds" not in networks["attention"]
    assert networks["vanilla"]["ratios"] == dict.fromkeys(measure_module.QUANTITIES, 1.0)
    assert set(networks["prosma"]["ratios"]) == set(measure_module.QUANTITIES)
    assert len(networks["prosma"]["step_seconds"]["rounds"]) == 2
    assert len(networks["prosma"]["stages"]) == 2
    assert networks["prosma"]["gate_path"] == "fused"
    assert "prosma: gates computed by the path fused" in out
    assert networks["prosma"]["peak_bytes"] > networks["prosma"]["kept_bytes"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "tinyPlans.json"]


def test_a_network_that_does_not_fit_beside_the_others_keeps_what_was_measured_alone(setting):
    def build(name):
        made = trainable(name, setting, CPU)
        if name == "prosma":

            def fail():
                raise MemoryError

            made.inference = fail
        return made

    results = measure({name: lambda name=name: build(name) for name in ("vanilla", "prosma")}, CPU, rounds=1)
    assert results["prosma"]["out_of_memory"] == "inference, with the others in memory"
    assert set(results["prosma"]["ratios"]) == {"step_seconds", "kept_bytes", "peak_bytes"}
    assert "inference_seconds" in results["vanilla"]


def test_the_presets_are_plans_of_the_shapes_that_nnunet_makes():
    assert tuple(PRESETS) == benchmark_command.PRESETS
    assert tuple(TRAINERS) == benchmark_command.NETWORKS
    stages = {"3d": 6, "2d": 8, "3d-aniso": 7, "resenc-m": 6}
    for name in PRESETS:
        preset = from_preset(name)
        with torch.device("meta"):
            network = TrainableNetwork(preset, torch.device("meta")).network
        assert len(network.encoder.stages) == stages[name]
        assert network.encoder.output_channels[-1] == (512 if name == "2d" else 320)
        assert preset.setup.batch_size == (12 if name == "2d" else 2)
        assert preset.setup.patch_size == PRESETS[name].size
    kernels = from_preset("3d-aniso").setup.said.architecture.arch_kwargs["kernel_sizes"]
    assert kernels[0] == [1, 3, 3]
    blocks = from_preset("resenc-m").setup.said.architecture.arch_kwargs["n_blocks_per_stage"]
    assert blocks == [1, 3, 4, 6, 6, 6]


def test_names_of_version_0_1_still_work_and_say_how_they_are_called_now():
    from nnunet_prosma.benchmark import contender as old

    with pytest.warns(FutureWarning, match="is now nnunet_prosma.benchmark.trainable.TrainableNetwork"):
        assert old.Contender is TrainableNetwork
    with pytest.warns(FutureWarning, match="is now nnunet_prosma.benchmark.trainable.trainable"):
        assert old.contender is trainable
    with pytest.raises(AttributeError, match="has no attribute 'champion'"):
        _ = old.champion


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name one of -d DATASET, --plans FILE and --preset NAME"),
        (["--preset", "4d"], "no preset '4d'; there are 3d, 2d, 3d-aniso, resenc-m"),
        (["--preset", "3d", "--networks", "prosmo"], "no network 'prosmo'; there are vanilla"),
        (["--preset", "3d", "--rounds", "0"], "--rounds must be at least 1"),
        (["--preset", "3d", "--batch", "0"], "--batch must be at least 1"),
        (["--preset", "3d", "--patch", "41", "64", "64"], "total strides 8 16 16 divide, got 41 64 64"),
        (["--preset", "3d", "--patch", "64", "64"], "must name 3 sizes"),
        (["--preset", "3d", "--patch", "4", "4", "7"], "4 4 7 is too small for a U-Net"),
        (["--plans", "no.json", "-c", "2d"], "no.json is missing"),
        (["--plans", "no.json"], "need -c CONFIGURATION"),
        (["--preset", "3d", "--json", "no/where.json"], "the folder of --json no/where.json does not exist"),
        (["-d", "997", "-c", "2d"], "nnU-Net knows no data set 997"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    assert command.main(["benchmark", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_preset_is_planned_for_the_patch_and_other_plans_keep_their_network():
    def stages(setting):
        return setting.setup.stages

    assert [stages(from_preset("2d", patch)) for patch in (None, (192, 192), (64, 64))] == [8, 6, 5]
    large = from_preset("3d")
    assert stages(large.resized((64, 64, 64), 1)) == stages(large) == 6
    with pytest.raises(InputError, match="a single voxel at the bottleneck"):
        large.resized((32, 32, 32), 1)


def test_a_configuration_that_is_not_in_the_plans_and_a_device_that_is_not_there(tiny, capsys, monkeypatch):
    assert command.main(["benchmark", "--plans", str(tiny), "-c", "2d"]) == 2
    assert "has no configuration '2d'; it has 3d_fullres" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main(["benchmark", "--preset", "3d", "-device", "cuda"]) == 2
    assert "-device cuda needs a device that torch" in capsys.readouterr().err


def test_a_network_that_cannot_have_gates_is_one_sentence(tiny, capsys):
    plans = json.loads(tiny.read_text())
    plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = "torch.nn.Linear"
    tiny.write_text(json.dumps(plans))
    assert command.main(["benchmark", "--plans", str(tiny), "-c", "3d_fullres", "-device", "cpu"]) == 2
    assert "no gates can be set on the network 'torch.nn.Linear'" in capsys.readouterr().err


def test_a_plans_file_that_is_no_object_is_refused(tmp_path):
    (tmp_path / "plans.json").write_text("[]")
    with pytest.raises(InputError, match="must hold a JSON object"):
        settings.from_file(tmp_path / "plans.json", "2d")


def _arguments(setting):
    kwargs = dict(setting.setup.said.architecture.arch_kwargs)
    for key in ("conv_op", "norm_op", "nonlin"):
        module, _, name = kwargs[key].rpartition(".")
        kwargs[key] = getattr(sys.modules[module], name)
    return {"input_channels": 1, "num_classes": 3, "deep_supervision": True, **kwargs}


def test_stages_hold_for_the_dense_gate_too_and_only_they_are_told(setting):
    fewer = Setting(setting.name, with_gates(setting.setup, None, {"stages": 1}))
    for name in ("prosma", "attention"):
        network = trainable(name, fewer, CPU).network
        assert len(decoder_stages(network, 1, (16, 16, 16))) == len(network.decoder.gated()) == 1
