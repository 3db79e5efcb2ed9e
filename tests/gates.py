"""A gate with inputs, what it and its gradients are by definition, and when two such results are equal."""

import torch

from nnunet_prosma.gate import ProSMAGate


def gate_and_inputs(conv_op, size, kernel, config, dtype=torch.float64, samples=3):
    torch.manual_seed(11)
    gate = ProSMAGate(conv_op, 12, 10, kernel, config).to(dtype)
    for parameter in gate.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    skip = torch.randn(samples, 12, *size, dtype=dtype, requires_grad=True)
    signal = torch.randn(samples, 10, *size, dtype=dtype, requires_grad=True)
    return gate, skip, signal


def values_and_gradients(concatenate, gate, skip, signal):
    out = concatenate(gate, skip, signal)
    weight = torch.randn(out.shape, dtype=out.dtype, generator=torch.manual_seed(5))
    return out, *torch.autograd.grad((out * weight).sum(), [skip, signal, *gate.parameters()])


def reference(gate, skip, signal):
    return torch.cat((signal, gate(skip, signal)), 1)


def assert_equal(ours, theirs, rtol, atol):
    for mine, expected in zip(ours, theirs, strict=True):
        scale = expected.abs().max().item() + 1e-12
        torch.testing.assert_close(mine / scale, expected / scale, rtol=rtol, atol=atol)
