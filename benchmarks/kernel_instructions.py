"""Instructions per value of the Triton kernels, counted in the machine code that they compile to; no GPU is needed.

python benchmarks/kernel_instructions.py [--write docs/benchmark.md]

For 27 taps and a row of 128 voxels with 16 channels. Counted are the lines of nvdisasm, those in a loop as often as the
loop runs, of a program of which no branch is left out; divided by the values that one thread makes. Interior: with the
branch for pieces that touch no end of a row; edge: with the other one.
"""

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import marked

os.environ.pop("TRITON_INTERPRET", None)

import triton.backends.nvidia
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from nnunet_prosma.fast import depthwise_gpu

TOOLS = Path(next(iter(triton.backends.nvidia.__path__))) / "bin"
ROW, CHANNELS, TAPS = 128, 16, 27
TARGETS = ((75, "fp16"), (80, "bf16"), (80, "fp32"), (90, "fp16"))
KERNEL = {"kd": 3, "kh": 3, "kw": 3, "channels_at_once": CHANNELS, "sum_type": tl.float32}
INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?);")


def compiled(kernel: Any, constants: dict[str, Any], warps: int, capability: int, dtype: str) -> bytes:
    """The machine code, for channels that 16 divides, as nnU-Net's are."""
    types, attributes = {}, {}
    for at, name in enumerate(kernel.arg_names):
        single = name in ("sums", "kernel")
        pointer = "*fp32" if single else f"*{dtype}" if name in ("grad", "field", "out") else "i32"
        types[name] = "constexpr" if name in constants else pointer
        if name not in constants and (pointer != "i32" or name == "channels"):
            attributes[(at,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, types, constants, attributes)
    code: bytes = triton.compile(source, GPUTarget("cuda", capability, 32), {"num_warps": warps}).asm["cubin"]
    return code


def tool(name: str, *arguments: str, code: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        return subprocess.run([TOOLS / name, *arguments, file.name], capture_output=True, text=True, check=True).stdout


def spilled(code: bytes) -> int:
    """Bytes of registers and stack that did not fit."""
    usage = tool("cuobjdump", "-res-usage", code=code)
    return sum(int(n) for n in re.findall(r"(?:STACK|LOCAL):(\d+)", usage))


def executed(code: bytes, trips: tuple[int, ...]) -> int:
    """Instructions of one thread, with so many trips through the loops, the outermost first."""
    labels, places, jumps = {}, list[int](), list[tuple[int, str]]()
    for line in tool("nvdisasm", "-c", code=code).splitlines():
        if found := re.match(r"^(\.L_x_\d+):", line):
            labels[found[1]] = len(places)
        elif (found := INSTRUCTION.match(line)) and found[2] != "NOP":
            if jump := re.search(r"BRA.*\((\.L_x_\d+)\)", found[2]):
                jumps.append((len(places), jump[1]))
            places.append(1)
    loops = sorted((labels[to], at) for at, to in jumps if labels[to] < at)
    depth = 0
    for number, (start, end) in enumerate(loops):
        depth = sum(s <= start and end <= e for s, e in loops[:number])
        for place in range(start, end + 1):
            places[place] *= trips[depth]
    assert depth + 1 == len(trips) if loops else not trips, f"the code has loops {loops}, not {len(trips)}"
    return sum(places)


def variants() -> dict[str, ModuleType]:
    """The kernels as they are but for the one branch, which is decided."""
    text, made = Path(depthwise_gpu.__file__).read_text(), {}
    for name, decided in (("interior", "True"), ("edge", "False")):
        path = Path(tempfile.mkdtemp()) / f"depthwise_{name}.py"
        path.write_text(text.replace("if is_interior:", f"if tl.constexpr({decided}):"))
        spec: Any = importlib.util.spec_from_file_location(path.stem, path)
        made[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made[name])
    return made


def per_value(module: ModuleType, capability: int, dtype: str) -> tuple[float, float]:
    """Of the convolution and of its weight gradient, for all taps."""
    wide, narrow = module.VALUES // CHANNELS, module.VALUES // 4 // CHANNELS
    constants = {**KERNEL, "even": True}
    convolution = compiled(module._convolve, {**constants, "full": True, "across": wide}, 2, capability, dtype)
    rows = module.ROWS_PER_SUM
    more = {"across": narrow, "rows_per_sum": rows}
    gradient = compiled(module._kernel_gradient, {**constants, **more}, 1, capability, dtype)
    assert spilled(convolution) == spilled(gradient) == 0
    lines = KERNEL["kd"] * KERNEL["kh"]
    return (
        executed(convolution, ()) / (wide * CHANNELS / 64),
        lines * executed(gradient, (rows, ROW // narrow)) / (rows * ROW * CHANNELS / 32),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", metavar="FILE", type=Path, help="replace the table between the marks in FILE")
    options = parser.parse_args()
    lines = [
        "| GPU, precision | convolution, interior | edge | weight gradient, interior | edge |",
        "|---|---|---|---|---|",
    ]
    modules = variants()
    for capability, dtype in TARGETS:
        counts = [per_value(modules[name], capability, dtype) for name in ("interior", "edge")]
        cells = [f"{counts[where][what]:.0f}" for what in (0, 1) for where in (0, 1)]
        lines.append(f"| sm_{capability}, {dtype} | " + " | ".join(cells) + " |")
    text = "\n".join([*lines, "", f"Triton {triton.__version__}; no kernel spills a register."])
    print(text)
    if options.write:
        marked.replace(options.write, Path(sys.argv[0]).name, text)


if __name__ == "__main__":
    main()
