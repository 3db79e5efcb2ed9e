"""Time and memory of nnunet-prosma smooth apply on one large case, beside nnU-Net's own export of it.

    OMP_NUM_THREADS=1 python benchmarks/smooth_cost.py [--size 300 512 512] [--rounds 2] [--write docs/smooth.md]

The case is a made one of three classes: a liver-like body with two lesions, logits with noise around their borders, at
0.8 of the image's resolution. Each measurement is a process of its own, and the three take turns.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import marked
import numpy as np

NAME, SPACING = "case", (1.0, 0.8, 0.8)
PARTS = {
    "export": "nnU-Net's export, segmentation alone",
    "probabilities": "nnU-Net's export with probabilities",
    "apply": "smooth apply on these",
    "predict": "smoothing alone, as in predict",
}


def logits(size: tuple[int, ...]) -> np.ndarray:
    """(3, *S) in the network's resolution."""
    from scipy.ndimage import zoom

    shape = [round(0.8 * n) for n in size]
    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32).reshape([-1 if a == b else 1 for b in range(3)])
               for a, n in enumerate(shape))  # fmt: skip
    noise = np.random.default_rng(0).normal(0, 1, (2, *[max(2, n // 6) for n in shape])).astype(np.float32)
    rough = [zoom(field, [n / m for n, m in zip(shape, field.shape, strict=True)], order=1) for field in noise]
    body = 1 - np.sqrt((z / 0.55) ** 2 + ((y + 0.1) / 0.5) ** 2 + ((x + 0.2) / 0.55) ** 2)
    lesion = np.maximum(
        0.2 - np.sqrt((z - 0.1) ** 2 + y**2 + (x + 0.3) ** 2), 0.12 - np.sqrt(z**2 + (y + 0.3) ** 2 + x**2)
    )
    found = np.stack([np.zeros_like(body), 25 * body + 2 * rough[0], 25 * body + 60 * lesion + 2 * rough[1]])
    return found.astype(np.float32)


def plans() -> dict[str, Any]:
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "x",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [64, 64, 64],
        "spacing": [mm / 0.8 for mm in SPACING],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        **{f"resampling_fn_{kind}": "resample_data_or_seg_to_shape" for kind in ("data", "seg", "probabilities")},
        **{f"resampling_fn_{kind}_kwargs": resampling for kind in ("data", "seg", "probabilities")},
        "architecture": {"network_class_name": "none", "arch_kwargs": {}, "_kw_requires_import": []},
    }
    return {
        "dataset_name": "Dataset009_Toy",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": {"3d_fullres": configuration},
    }


DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "liver": 1, "tumour": 2},
    "file_ending": ".nii.gz",
    "numTraining": 1,
}


def properties(size: tuple[int, ...]) -> dict[str, Any]:
    kept = {"spacing": SPACING[::-1], "origin": (0.0,) * 3, "direction": tuple(np.eye(3).ravel())}
    return {
        "sitk_stuff": kept,
        "spacing": list(SPACING),
        "shape_before_cropping": size,
        "shape_after_cropping_and_before_resampling": size,
        "bbox_used_for_cropping": [[0, n] for n in size],
    }


def measure(part: str, folder: Path, size: tuple[int, ...]) -> dict[str, float]:
    import torch
    from nnunetv2.inference.export_prediction import export_prediction_from_logits
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunet_prosma.host.dataset_json import Dataset
    from nnunet_prosma.host.plans import Plans, Setup
    from nnunet_prosma.host.probabilities import read_soft_case
    from nnunet_prosma.smooth.apply import apply
    from nnunet_prosma.smooth.case import smoothed
    from nnunet_prosma.smooth.dynamics import Prior
    from nnunet_prosma.smooth.settings import Smoothing

    threads = int(os.environ.get("OMP_NUM_THREADS", "0")) or torch.get_num_threads()
    torch.set_num_threads(threads)
    smoothing = Smoothing({"1": "liver", "2": "tumour"}, {"1": Prior(1.0, 1.6), "2": Prior(1.0, 1.6)})
    setup = Setup(Plans.of(plans(), "plans.json"), "3d_fullres", Dataset.of(DATASET, "dataset.json"))
    manager, case, given = PlansManager(plans()), None, None
    if part in ("export", "probabilities"):
        given = np.load(folder / "logits.npy")
    if part == "predict":
        case = read_soft_case(folder / "probabilities", NAME, setup)
    started, cpu = time.perf_counter(), time.process_time()
    if given is not None:
        (folder / part).mkdir(exist_ok=True)
        export_prediction_from_logits(
            given,
            properties(size),
            manager.get_configuration("3d_fullres"),
            manager,
            DATASET,
            str(folder / part / NAME),
            save_probabilities=part == "probabilities",
            num_threads_torch=threads,
        )
    elif case is not None:
        smoothed(case, setup, smoothing)
    else:
        apply(smoothing, folder / "probabilities", folder / "smoothed")
    taken = {"wall": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    return {**taken, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


def report(rows: dict[str, list[dict[str, float]]], size: tuple[int, ...]) -> list[str]:
    versions = ", ".join(f"{n} {version(n)}" for n in ("nnunet-prosma", "nnunetv2", "torch", "numpy", "scikit-image"))
    shape = " x ".join(map(str, size))
    rounds = len(next(iter(rows.values())))
    lines = [f"{shape} voxels, 3 classes, median of {rounds} round{'s' * (rounds > 1)}; {versions}.", ""]
    lines += ["| | CPU s | wall s | peak GB |", "| --- | --- | --- | --- |"]
    for part, found in rows.items():
        cells = [statistics.median(row[key] for row in found) for key in ("cpu", "wall", "peak")]
        lines.append(f"| {PARTS[part]} | {cells[0]:.0f} | {cells[1]:.0f} | {cells[2]:.1f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[300, 512, 512])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--write", type=Path, metavar="DOCUMENT")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = tuple(options.size)
    if options.part:
        print("MEASURED", json.dumps(measure(options.part, options.folder, size)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "logits.npy", logits(size))
        (folder / "probabilities").mkdir()
        for file, content in (("plans.json", plans()), ("dataset.json", DATASET)):
            (folder / "probabilities" / file).write_text(json.dumps(content))
        rows: dict[str, list[dict[str, float]]] = {part: [] for part in PARTS}
        for _ in range(options.rounds):
            for part in PARTS:
                named = ["--part", part, "--folder", str(folder), "--size", *map(str, size)]
                said = subprocess.run([sys.executable, __file__, *named], capture_output=True, text=True)
                if said.returncode:
                    raise SystemExit(said.stderr)
                rows[part].append(json.loads(said.stdout.partition("MEASURED")[2]))
                print(part, rows[part][-1], flush=True)
    lines = report(rows, size)
    print("\n".join(lines))
    if options.write:
        marked.replace(options.write, Path(__file__).name, "\n".join(lines))


if __name__ == "__main__":
    main()
