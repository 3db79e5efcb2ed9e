"""What a network goes through on its way to a cluster or a clinic: compile, distribute, copy, pickle, export."""

import copy
import io
import pickle
import socket

import numpy as np
import onnxruntime
import pytest
import torch
from networks import build, every_network, image
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import distributed as dist
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from nnunet_prosma.architectures import ProSMAUNet
from nnunet_prosma.decoder import describe_gates, gates_of

SETTINGS = [{}, {"removal": "hard"}, {"kind": "attention"}]


@pytest.mark.slow
@every_network
@pytest.mark.parametrize("dimensions", [2, 3])
def test_it_compiles_without_a_break_in_the_graph(gated, vanilla, dimensions):
    """To machine code for one network; for the others to the graphs that this is made of, forward and backward."""
    network = build(gated, dimensions)
    compiled = torch.compile(network, fullgraph=True, backend="inductor" if gated is ProSMAUNet else "aot_eager")
    outputs, expected = compiled(image(dimensions)), network(image(dimensions))
    for ours, theirs in zip(outputs, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    sum(output.square().mean() for output in outputs).backward()
    assert all(p.grad is not None for gate in gates_of(network) for p in gate[1].parameters())
    assert [name for name, _ in gates_of(compiled)] == ["decoder.gates.0", "decoder.gates.1"]
    assert describe_gates(compiled) == describe_gates(network)


def train_on_one_rank(rank, port, settings, gradients):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    network = DistributedDataParallel(build(ProSMAUNet, 2, gate=settings).train())  # find_unused_parameters is off
    loss = DeepSupervisionWrapper(
        DC_and_CE_loss(
            {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False},
            {},
            dice_class=MemoryEfficientSoftDiceLoss,
        ),
        [1 - 1e-6, 1e-6],  # nnU-Net's under DDP: the coarsest output nearly, but not quite, without weight
    )
    target = torch.randint(0, 3, (4, 1, 16, 16), generator=torch.manual_seed(1)).float()
    x = torch.randn(4, 2, 16, 16, generator=torch.manual_seed(2))
    for _ in range(2):  # the second step fails if a parameter had no gradient in the first
        outputs = network(x[2 * rank : 2 * rank + 2])
        part = target[2 * rank : 2 * rank + 2]
        loss(outputs, [part, part[..., ::2, ::2]]).backward()
    gradients[rank] = {name: p.grad.numpy() for name, p in network.named_parameters() if "gates" in name}
    assert [name for name, _ in gates_of(network)] == ["decoder.gates.0", "decoder.gates.1"]
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_distributed_over_two_processes_no_parameter_is_unused(settings):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with multiprocessing.Manager() as manager:
        gradients = manager.dict()
        multiprocessing.spawn(train_on_one_rank, (port, settings, gradients), nprocs=2)
        first, second = gradients[0], gradients[1]
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@every_network
def test_it_is_copied_whole(gated, vanilla):
    network = build(gated, 3)
    twin = copy.deepcopy(network)
    assert torch.equal(twin(image(3))[0], network(image(3))[0])
    assert twin.decoder.encoder is twin.encoder


@every_network
def test_it_is_pickled_whole_where_the_vanilla_network_is(gated, vanilla):
    network = build(gated, 3)
    try:
        pickle.dumps(build(vanilla, 3))
    except AttributeError:  # nnU-Net's residual blocks hold a lambda
        network = network.decoder.gates
        assert pickle.loads(pickle.dumps(network)).state_dict().keys() == network.state_dict().keys()
        return
    stored = io.BytesIO()
    torch.save(network, stored)
    stored.seek(0)
    for twin in (pickle.loads(pickle.dumps(network)), torch.load(stored, weights_only=False)):
        assert torch.equal(twin(image(3))[0], network(image(3))[0])
        assert twin.decoder.encoder is twin.encoder


@pytest.mark.slow
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.filterwarnings("ignore")  # of the exporter, about itself
def test_exported_to_onnx_it_gives_the_same_output_elsewhere(tmp_path, dimensions, settings):
    network = build(ProSMAUNet, dimensions, deep_supervision=False, gate=settings)
    path = tmp_path / "network.onnx"
    torch.onnx.export(network, (image(dimensions),), str(path), verbose=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: image(dimensions).numpy()})
    np.testing.assert_allclose(output, network(image(dimensions)).detach().numpy(), rtol=1e-3, atol=1e-5)
