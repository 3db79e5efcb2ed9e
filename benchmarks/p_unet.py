"""Parameters and operations of P-UNET with each of its gates, for docs/paper.md.

    python benchmarks/p_unet.py [--write docs/paper.md]

Operations are torch's count for one image, two for a multiplication with an addition; norms and elementwise ones do
not count.
"""

import argparse
from pathlib import Path

import marked
import torch
from torch import nn

from nnunet_prosma.architectures import PUNet
from nnunet_prosma.benchmark.arithmetic import flops, parameter_count

GATES = {
    "no gate": "none",
    "spatial only": {"channel": False},
    "channel only": {"spatial": False},
    "ProSMA": None,
    "dense attention gate": {"kind": "attention"},
}
INPUTS = ((nn.Conv2d, (1, 3, 256, 256)), (nn.Conv2d, (1, 3, 512, 512)), (nn.Conv3d, (1, 1, 96, 96, 96)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", metavar="FILE", type=Path, help="put the table between the marks in this file")
    options = parser.parse_args()
    lines = [["P-UNET with", "input", "parameters", "gates' part", "GFLOPs"], ["---"] * 5]
    for conv_op, shape in INPUTS:
        plain = 0
        for name, gate in GATES.items():
            with torch.device("meta"):
                network = PUNet(shape[1], 2, conv_op, gate=gate)
            count = parameter_count(network)
            plain = plain or count
            size = "x".join(map(str, shape[2:]))
            lines.append(
                [name, f"{shape[1]} x {size}", f"{count:,}", f"{count - plain:,}", f"{flops(network, shape) / 1e9:.1f}"]
            )
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    print(table)
    if options.write:
        marked.replace(options.write, "p_unet.py", table)


if __name__ == "__main__":
    main()
