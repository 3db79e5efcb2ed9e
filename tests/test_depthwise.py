"""The depthwise convolutions of the fused path, on a CPU and as Triton kernels, against torch's own."""

import os
import subprocess
import sys

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


@pytest.mark.parametrize(
    ("conv_op", "size", "config"),
    [
        (nn.Conv2d, (9, 7), GateConfig(lam=0.3)),
        (nn.Conv3d, (3, 5, 4), GateConfig(lam=0.3, dilations=(2,), removal="hard", channel=False)),
    ],
    ids=["2D", "3D"],
)
def test_the_gated_concatenation_is_the_same_through_the_kernels(conv_op, size, config, monkeypatch):
    given = gate_and_inputs(conv_op, size, 3, config, samples=2)
    expected = values_and_gradients(reference, *given)
    monkeypatch.setattr("nnunet_prosma.fast.field._depthwise", lambda device: depthwise_gpu)
    assert_equal(values_and_gradients(fused.fused_concatenation, *given), expected, 0, 1e-12)


COMPILE = """
import re, subprocess, tempfile
from pathlib import Path
import triton
import triton.backends.nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
import triton.language as tl
from nnunet_prosma.fast import depthwise_gpu

RESOURCES = Path(next(iter(triton.backends.nvidia.__path__))) / "bin" / "cuobjdump"

def compiled(kernel, dtype, target, warps, **constants):
    pointers = {"grad": dtype, "field": dtype, "out": dtype, "kernel": "fp32", "sums": "fp32"}
    constants |= {"sum_type": tl.float32, "even": True, "channels_at_once": 16, "kd": 3, "kh": 3, "kw": 3}
    types = {
        name: "constexpr" if name in constants else f"*{pointers[name]}" if name in pointers else "i32"
        for name in kernel.arg_names
    }
    divisible = {
        (at,): [["tt.divisibility", 16]]
        for at, name in enumerate(kernel.arg_names)
        if name in pointers or name == "channels"
    }
    return triton.compile(ASTSource(kernel, types, constants, divisible), target, {"num_warps": warps})

for capability, dtype in ((75, "fp16"), (80, "fp32"), (80, "bf16"), (90, "fp16")):
    for kernel, warps, more in (
        (depthwise_gpu._convolve, 2, {"across": 128, "full": True}),
        (depthwise_gpu._kernel_gradient, 1, {"across": 32, "rows_per_sum": 32}),
    ):
        program = compiled(kernel, dtype, GPUTarget("cuda", capability, 32), warps, **more)
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(program.asm["cubin"])
            file.flush()
            used = subprocess.run([RESOURCES, "-res-usage", file.name], capture_output=True, text=True, check=True)
        print(kernel.__name__, capability, dtype, *re.findall(r"(?:STACK|LOCAL):[0-9]+", used.stdout))
"""


@pytest.mark.slow
def test_the_kernels_compile_for_gpus_from_the_t4_to_the_h200():
    """To machine code, which needs no GPU: what the interpreter takes and the compiler does not would be seen here.

    Registers that do not fit would be spilled to the stack.
    """
    surroundings = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, env=surroundings)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4 * 2
    assert {word for line in lines for word in line.split()[3:]} == {"STACK:0", "LOCAL:0"}, done.stdout
