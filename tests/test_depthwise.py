"""The depthwise convolutions of the fused path, on a CPU and as Triton kernels, against torch's own."""

import pytest
import torch
from gates import assert_equal, gate_and_inputs, reference, values_and_gradients
from torch import nn
from torch.nn import functional as F

from nnunet_prosma.fast import depthwise_cpu, fused
from nnunet_prosma.gate import GateConfig

depthwise_gpu = pytest.importorskip("nnunet_prosma.fast.depthwise_gpu")
tl = pytest.importorskip("triton.language")

GEOMETRIES = [
    ((3, 4, 7), (3, 3, 3), 2, 6),
    ((1, 7, 5), (1, 3, 3), 4, 80),  # more channels than a program works on
    ((6, 4, 7), (3, 1, 3), 3, 16),
    ((2, 3, 1), (1, 3, 5), 4, 5),  # smaller than the dilation
    ((1, 34, 9), (1, 3, 3), 1, 3),  # more rows than a program adds up
    ((1, 2, 70), (1, 1, 3), 2, 64),  # an interior
    ((3, 4, 8), (3, 3, 3), 2, 16),  # a row is a piece
]


@pytest.mark.parametrize("module", [depthwise_cpu, depthwise_gpu])
@pytest.mark.parametrize(("size", "kernel_size", "dilation", "channels"), GEOMETRIES, ids=str)
def test_values_and_gradients_are_those_of_torchs_convolution(module, size, kernel_size, dilation, channels):
    torch.manual_seed(3)
    field, kernel = torch.randn(2, torch.Size(size).numel(), channels), torch.randn(channels, 1, *kernel_size)
    field, kernel = field.double().requires_grad_(), kernel.double().requires_grad_()
    image = field.transpose(1, 2).unflatten(2, size)
    padding = [dilation * (k // 2) for k in kernel_size]
    expected = F.conv3d(image, kernel, None, 1, padding, dilation, channels).flatten(2).transpose(1, 2)
    grad = torch.randn(expected.shape, dtype=torch.float64)
    expected_gradients = torch.autograd.grad(expected, [field, kernel], grad)
    with torch.no_grad():
        ours = module.convolved(field, kernel, dilation, size)
        gradients = module.convolved_backward(grad, field, kernel, dilation, size)
    for mine, theirs in zip((ours, *gradients), (expected, *expected_gradients), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


def test_rows_that_lie_beyond_two_to_the_31_values_are_found():
    """Three rows of 2^30 values each, of which only those of channel 0 are touched, so that no memory is taken."""
    height, width, channels = 3, 8, 2**27
    field, out, grad = (torch.empty(height * width, channels, dtype=torch.float16) for _ in range(3))
    field[:, 0], grad[:, 0] = torch.arange(1.0, 25.0), 2.0
    sums, settings = torch.zeros(1), (1, 1, 1, width)  # one tap; a piece is a row
    tile = (1, True, tl.float32)
    depthwise_gpu._convolve[(height, 1, 1)](
        field, torch.tensor([3.0]), out, 1, height, width, channels, 1, *settings, 1, True, *tile[1:]
    )
    assert torch.equal(out[:, 0], 3 * field[:, 0])
    depthwise_gpu._kernel_gradient[(1, 1, 1)](
        grad, field, sums, 1, height, width, 1, channels, 1, *settings, height, *tile
    )
    assert sums.item() == 2 * (24 * 25 / 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_kernels_add_up_half_precision_in_float32(dtype):
    torch.manual_seed(3)
    size, channels = (1, 12, 64), 4
    field, grad = (torch.randn(1, 12 * 64, channels).to(dtype) for _ in range(2))
    kernel = torch.randn(channels, 1, 1, 3, 3).to(dtype)
    wide = (grad.double(), field.double(), kernel.double())
    exact = (depthwise_cpu.convolved(*wide[1:], 2, size), *depthwise_cpu.convolved_backward(*wide, 2, size))
    ours = (
        depthwise_gpu.convolved(field, kernel, 2, size),
        *depthwise_gpu.convolved_backward(grad, field, kernel, 2, size),
    )
    rounding = torch.finfo(dtype).eps
    for mine, expected in zip(ours, exact, strict=True):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.double(), expected, rtol=rounding, atol=rounding)


def test_the_gated_concatenation_is_the_same_through_the_kernels(monkeypatch):
    config = GateConfig(lam=0.3, dilations=(2,), removal="hard", channel=False)
    given = gate_and_inputs(nn.Conv3d, (3, 5, 4), 3, config, samples=2)
    expected = values_and_gradients(reference, *given)
    monkeypatch.setattr("nnunet_prosma.fast.field._kernels", lambda *_: (depthwise_gpu, None))
    assert_equal(values_and_gradients(fused.fused_concatenation, *given), expected, 0, 1e-12)
