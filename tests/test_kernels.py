"""The kernel that makes a gate's output of v, in Triton's interpreter, against the gate's own forward."""

import os
import subprocess
import sys

import pytest
import torch
from gates import assert_equal, gate_and_inputs, reference, values_and_gradients
from torch import nn

from nnunet_prosma.fast import field
from nnunet_prosma.fast.fused import fused_concatenation
from nnunet_prosma.gate import GateConfig

depthwise_gpu = pytest.importorskip("nnunet_prosma.fast.depthwise_gpu")
gated_gpu = pytest.importorskip("nnunet_prosma.fast.gated_gpu")
tl = pytest.importorskip("triton.language")
InterpreterBuilder = pytest.importorskip("triton.runtime.interpreter").InterpreterBuilder

GATES = {
    "2D": (nn.Conv2d, (3, 20), 3, GateConfig(lam=0.3)),
    "several pieces a row": (nn.Conv2d, (2, 70), 3, GateConfig(lam=0.3, residual=True)),
    "3D, smaller than the dilation": (nn.Conv3d, (2, 3, 5), 3, GateConfig(lam=0.3, channel=False, residual=True)),
    "anisotropic, hard": (nn.Conv3d, (3, 4, 5), (1, 3, 3), GateConfig(lam=1.5, removal="hard")),
    "two dilations, five taps": (nn.Conv2d, (4, 9), 3, GateConfig(lam=0.3, dilations=(3, 1), kernel_size=5)),
    "more channels than at a time": (nn.Conv2d, (4, 6), 3, GateConfig(lam=0.3, min_channels=40)),
}


@pytest.fixture
def through_the_kernel(monkeypatch):
    """The interpreter multiplies matrices of bfloat16 as whole numbers, their bits: here they are widened for it."""
    as_it_is = InterpreterBuilder.create_dot

    def dot(self, a, b, *others):
        a, b = (self.create_fp_ext(m, tl.float32) if m.dtype == tl.bfloat16 else m for m in (a, b))
        return as_it_is(self, a, b, *others)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", dot)
    monkeypatch.setattr(field, "_kernels", lambda *_: (depthwise_gpu, gated_gpu.gated))


@pytest.mark.parametrize("name", GATES)
def test_the_output_is_that_of_the_definition(name, through_the_kernel):
    conv_op, size, kernel, config = GATES[name]
    given = gate_and_inputs(conv_op, size, kernel, config, samples=2)
    with torch.no_grad():
        ours, expected = fused_concatenation(*given), reference(*given)
    assert_equal([ours], [expected], 0, 1e-12)
    if config.removal == "hard":
        removed = expected[:, 10:].abs().amax(1) == 0
        assert 0 < removed.double().mean() < 1
        assert torch.equal(ours[:, 10:].abs().amax(1) == 0, removed)


def test_gradients_through_it_are_those_of_the_definition(through_the_kernel):
    given = gate_and_inputs(nn.Conv2d, (9, 7), 3, GateConfig(lam=0.3, residual=True), samples=2)
    assert_equal(values_and_gradients(fused_concatenation, *given), values_and_gradients(reference, *given), 0, 1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_it_is_as_close_as_the_definition_under_autocast(dtype, through_the_kernel):
    config = GateConfig(lam=0.3, residual=True)
    exact = reference(*gate_and_inputs(nn.Conv2d, (6, 20), 3, config))
    gate, skip, signal = gate_and_inputs(nn.Conv2d, (6, 20), 3, config, torch.float32)
    with torch.no_grad(), torch.autocast("cpu", dtype):
        ours, theirs = fused_concatenation(gate, skip, signal), reference(gate, skip, signal).to(dtype)
    assert ours.dtype == dtype
    mine, usual = ((out.double() - exact).norm() / exact.norm() for out in (ours, theirs))
    assert mine <= 1.1 * usual + 1e-5


def test_where_float16_overflows_the_output_is_a_number(through_the_kernel):
    gate, skip, signal = gate_and_inputs(nn.Conv2d, (4, 6), 3, GateConfig(), torch.float32)
    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        out = fused_concatenation(gate, skip * 1e4, signal * 1e4)
    assert out.isfinite().all()


@pytest.mark.parametrize(
    ("dtype", "latent", "dilations", "taps", "served"),
    [
        (torch.float16, 256, (1, 2, 4), 27, True),
        (torch.bfloat16, 16, (255,) * 7, 9, True),
        (torch.float32, 16, (1, 2, 4), 9, False),
        (torch.float16, 257, (1, 2, 4), 9, False),
        (torch.float16, 16, (1, 256), 9, False),
        (torch.float16, 16, (1,) * 8, 9, False),
        (torch.float16, 16, (1, 2, 4), 125, False),
    ],
)
def test_other_gates_than_it_is_for_are_gated_by_torchs_operations(dtype, latent, dilations, taps, served):
    skip = torch.empty(1, 32, 8, 8, dtype=dtype, device="meta")  # of a device that is not a CPU
    expected = depthwise_gpu, gated_gpu.gated if served else None
    assert field._kernels(skip, latent, dilations, taps) == expected


def test_channels_that_lie_beyond_two_to_the_31_values_are_gated():
    """33 channels of a row of 2^26 voxels, of which one program gates the first 16: so hardly any memory is taken."""
    width, channels, one = 2**26, 33, torch.ones(1)
    skip, out, psi = torch.empty(channels, width), torch.empty(channels, width), torch.empty(width)
    skip[:, :16] = torch.arange(channels * 16.0).view(channels, 16)
    v, lam, bias = torch.zeros(17), torch.zeros(1), torch.tensor([0.5])
    settings = (1, 1, width, 1, channels, 0, 1, 1, 1, 1, 1)  # one dilation, of one tap
    gated_gpu._gate[(1, 1)](
        *(v, one, one, bias, lam, one, lam, skip, v, v, out, psi, *settings),
        *(16, 16, False, False, 16, False, False, False, tl.float32),
    )
    openness = torch.sigmoid(bias)  # u is phi's bias, and nothing is removed from it
    torch.testing.assert_close(psi[:16], openness.expand(16))
    torch.testing.assert_close(out[:, :16], openness * skip[:, :16])


COMPILE = """
import re, subprocess, tempfile
from pathlib import Path
import triton
import triton.backends.nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
import triton.language as tl
from nnunet_prosma.fast import depthwise_gpu, gated_gpu

RESOURCES = Path(next(iter(triton.backends.nvidia.__path__))) / "bin" / "cuobjdump"
WIDE = ("kernel", "kernels", "sums", "lam", "c")

def compiled(kernel, dtype, target, warps, **constants):
    constants |= {"sum_type": tl.float32, "kh": 3, "kw": 3}
    integers = ("depth", "height", "width", "parts", "latent", "channels", "dilation", "dilations", "out_stride")
    types, divisible = {}, {}
    for at, name in enumerate(kernel.arg_names):
        is_pointer = name not in integers
        types[name] = f"*{'fp32' if name in WIDE else dtype}" if is_pointer else "i32"
        if name in constants:
            types[name] = "constexpr"
        elif is_pointer or name in ("latent", "channels", "out_stride"):
            divisible[at,] = [["tt.divisibility", 16]]
    return triton.compile(ASTSource(kernel, types, constants, divisible), target, {"num_warps": warps})

def gate(latent, width, **more):
    tile = gated_gpu.tile_of(latent, (width,) * 3)
    settings = {"hard": False, "by_channel": True, "residual": False, "branches": 3, "at_once": gated_gpu.AT_ONCE}
    return gated_gpu._gate, gated_gpu.warps(tile), {**tile, **settings, "kd": 3, **more}

pieces = {"even": True, "channels_at_once": 16, "kd": 3}
kernels = [
    (depthwise_gpu._convolve, 2, {"across": 128, "full": True, **pieces}),
    (depthwise_gpu._kernel_gradient, 1, {"across": 32, "rows_per_sum": 32, **pieces}),
]
gates = [gate(16, 128), gate(64, 32, residual=True), gate(160, 8), gate(20, 40, hard=True)]
gates.append(gate(256, 16, depth=1, kd=1))  # in 2D, where the depth is known to be 1
for capability, dtype in ((75, "fp16"), (80, "fp32"), (80, "bf16"), (90, "fp16")):
    for kernel, warps, more in kernels + gates[: {"fp16": 5, "bf16": 2, "fp32": 0}[dtype]]:
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
    assert len(lines) == 4 * 2 + 2 * 5 + 2
    assert {word for line in lines for word in line.split()[3:]} == {"STACK:0", "LOCAL:0"}, done.stdout
