"""What the record of the gates adds to an epoch of nnU-Net's 250 training and 50 validation iterations.

    python benchmarks/record_cost.py PLANS CONFIGURATION [DEVICE]

Measures a training step, a validation step, and what the record adds (the watched pass, the file and the picture of a
training of 1000 epochs) on random data of the plans' patch and batch, each the median of several; loading and
augmentation, which make an epoch longer and the share smaller, are left out.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_prosma.trainers import nnUNetTrainerProSMA
from nnunet_prosma.watch.observe import observe, summarise
from nnunet_prosma.watch.plot import draw_record
from nnunet_prosma.watch.record import FILE, GateEpoch, Record

EPOCHS, TRAINING, VALIDATION = 1000, 250, 50


def main(plans: str, configuration: str, device: str = "cpu") -> None:
    manager = PlansManager(json.loads(Path(plans).read_text()))
    configured = manager.get_configuration(configuration)
    network = nnUNetTrainerProSMA.build_network_architecture(manager, configured, 1, 3, True).to(device)
    batch = torch.randn(configured.batch_size, 1, *configured.patch_size, device=device)
    optimizer = torch.optim.SGD(network.parameters(), 1e-5, momentum=0.99, nesterov=True)
    values: dict[int, dict[str, float]] = {}

    def autocast() -> torch.autocast:
        return torch.autocast(device, enabled=device == "cuda")

    def training() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            loss = sum(output.float().square().mean() for output in network(batch))
        loss.backward()
        optimizer.step()

    def validation() -> None:
        with torch.no_grad(), autocast():
            network(batch)

    def record() -> None:
        with torch.no_grad(), autocast():
            observe(network, batch, lambda s, fields: values.__setitem__(s, summarise(fields)))

    def write_and_draw() -> None:
        rows = [GateEpoch(epoch, s, "1x1x1", v) for epoch in range(EPOCHS) for s, v in values.items()]
        with tempfile.TemporaryDirectory() as folder:
            Record(rows).write(Path(folder) / FILE)
            draw_record({"": Record(rows)}, Path(folder) / "gates.png")

    network.train()
    step = seconds(training, device)
    network.eval()
    passed, watched, file = (seconds(f, device) for f in (validation, record, write_and_draw))
    epoch = TRAINING * step + VALIDATION * passed
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {configured.patch_size}")
    print(f"training step {step:.3f} s, validation step {passed:.3f} s, epoch {epoch:.0f} s")
    print(f"record: pass {watched:.3f} s, file and picture {file:.3f} s: {(watched + file) / epoch:.2%} of an epoch")


def seconds(work: Callable[[], None], device: str, times: int = 5) -> float:
    work()
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


if __name__ == "__main__":
    main(*sys.argv[1:])
