"""Looking at gates changes nothing, and what is seen of a field is summed up as counted by hand."""

import pytest
import torch
from networks import both_dimensions, build, image
from torch.nn.parallel import DistributedDataParallel

from nnunet_prosma.architectures import ProSMAResEncUNet, ProSMAUNet
from nnunet_prosma.decoder import gates_of
from nnunet_prosma.gate import GateFields
from nnunet_prosma.watch.observe import FINE, bare, observe, quantiles, saturation, summarise
from nnunet_prosma.watch.record import (
    STATISTICS,
)


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


def test_how_many_voxels_are_saturated_is_counted():
    psi = torch.tensor([0.0, 0.005, 0.01, 0.5, 0.991, 1.0, 0.3, 0.3]).view(1, 1, 2, 4)
    assert saturation(psi) == {"psi_low": 2 / 8, "psi_high": 2 / 8}
