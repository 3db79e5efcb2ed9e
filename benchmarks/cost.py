"""What gates cost on nnU-Net's presets, in three sizes of patch: `nnunet-prosma benchmark`, row by row.

python benchmarks/cost.py [--write docs/benchmark.md]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import marked

ROWS = (
    ("3d", (48, 48, 48), 2),
    ("3d", (64, 64, 64), 2),
    ("3d", (80, 80, 80), 2),
    ("2d", (128, 128), 8),
    ("2d", (192, 192), 8),
    ("2d", (256, 256), 8),
)
ROUNDS = 5
COMMAND = (sys.executable, "-m", "nnunet_prosma.command", "benchmark")
QUANTITIES = ("step_seconds", "inference_seconds", "kept_bytes", "peak_bytes")


def report(preset: str, patch: tuple[int, ...], batch: int) -> dict[str, Any]:
    size = [str(n) for n in patch]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        given = ["--preset", preset, "--patch", *size, "--batch", str(batch), "--rounds", str(ROUNDS)]
        subprocess.run([*COMMAND, *given, "--json", str(path)], check=True)
        content: dict[str, Any] = json.loads(path.read_text())
    return content


def lines_of(preset: str, measured: dict[str, Any]) -> list[str]:
    setting, networks = measured["setting"], measured["networks"]
    patch = "x".join(map(str, setting["patch_size"]))
    step = networks["vanilla"]["step_seconds"]["median"]
    first = (
        f"{preset}, {setting['stages']} stages, {patch}, batch {setting['batch_size']} (vanilla: {step:.2f} s a step)"
    )
    lines = []
    for name in ("prosma", "attention"):
        ratios = networks[name]["ratios"]
        cells = [_ratio(ratios.get(key)) for key in QUANTITIES]
        lines.append("| " + " | ".join([first, name, *cells]) + " |")
        first = ""
    return lines


def _ratio(ratio: Any) -> str:
    return "-" if ratio is None else f"{ratio['median'] if isinstance(ratio, dict) else ratio:.2f}x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", metavar="FILE", type=Path, help="replace the table between the marks in FILE")
    options = parser.parse_args()
    lines = [
        "| plans | gate | training step | inference | kept activations | peak memory of a step |",
        "|---|---|---|---|---|---|",
    ]
    for preset, patch, batch in ROWS:
        measured = report(preset, patch, batch)
        lines += lines_of(preset, measured)
    versions = ", ".join(f"{name} {version}" for name, version in measured["versions"].items() if version)
    text = "\n".join([*lines, "", f"Medians of {ROUNDS} rounds on {measured['machine']}; {versions}."])
    print(text)
    if options.write:
        marked.replace(options.write, "cost.py", text)


if __name__ == "__main__":
    main()
