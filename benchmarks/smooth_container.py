"""How much memory the entry script of a container takes for one large case, with a bundle that smooths and without.

    OMP_NUM_THREADS=1 python benchmarks/smooth_container.py [--size 300 512 512] [--write docs/smooth.md]

The network is a small one of random weights, so that nearly every voxel is open: the most that smoothing can ask for.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import marked
import numpy as np
from smooth_cost import DATASET, SPACING, plans

TRAINER, PATCH = "nnUNetTrainerProSMA", [64, 128, 128]
CHILD = "import sys; from nnunet_prosma.container import inference; sys.exit(inference.main(sys.argv[1:]))"


def planned() -> dict[str, Any]:
    found = plans()
    configuration = found["configurations"]["3d_fullres"]
    configuration["patch_size"] = PATCH
    configuration["normalization_schemes"] = ["NoNormalization"]
    architecture = {
        "n_stages": 2,
        "features_per_stage": [4, 4],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3] * 3] * 2,
        "strides": [[1] * 3, [2] * 3],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    configuration["architecture"] = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": architecture,
        "_kw_requires_import": ["conv_op", "norm_op", "nonlin"],
    }
    return found


def write_model(results: Path) -> Path:
    import torch
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    folder = results / "Dataset009_Toy" / f"{TRAINER}__nnUNetPlans__3d_fullres"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(planned()))
    (folder / "dataset.json").write_text(json.dumps(DATASET))
    manager = PlansManager(planned())
    build = recursive_find_trainer_class_by_name(TRAINER).build_network_architecture
    torch.manual_seed(0)
    network = build(manager, manager.get_configuration("3d_fullres"), 1, len(DATASET["labels"]), False)
    content = {
        "network_weights": network.state_dict(),
        "trainer_name": TRAINER,
        "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(content, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def write_case(folder: Path, size: tuple[int, ...]) -> None:
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(np.random.default_rng(0).standard_normal(size, dtype=np.float32))
    image.SetSpacing(SPACING[::-1])
    folder.mkdir(parents=True)
    sitk.WriteImage(image, str(folder / "case.mha"))


def peak_gb(bundle: Path, folder: Path) -> float:
    """Of the child that reads the case of the folder and writes its segmentation."""
    said = {
        "inputs": [{"path": "images/ct", "channels": [0]}],
        "output": {"path": "images/seg", "ending": ".mha"},
        "memory_gb": None,
        "choice": {"folds": None, "mirroring": False, "step_size": 1.0, "on_device": True},
    }
    (folder / "container.json").write_text(json.dumps(said))
    output = folder / f"output of {bundle.name}"
    output.mkdir()
    places = {"settings": folder / "container.json", "input": folder / "input", "output": output}
    places |= {"model": folder / "none", "bundle": bundle}
    arguments = [text for key, place in places.items() for text in (f"--{key}", str(place))]
    subprocess.run([sys.executable, "-c", CHILD, *arguments], check=True, stdout=sys.stderr)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9


def report(size: tuple[int, ...]) -> Iterator[str]:
    from nnunet_prosma.command import main as command
    from nnunet_prosma.smooth.dynamics import Prior
    from nnunet_prosma.smooth.settings import Evidence, HeldOut, Smoothing, write_smoothing

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, smooth = write_model(folder / "results"), folder / "SMOOTH.json"
        evidence = Evidence(20, ["0", "1"], [HeldOut("smoothed", 0.8, 0.81, (0.001, 0.02), 0.01)], [])
        priors = {label: Prior(1.0, 1.6) for label in ("1", "2")}
        known = {"dataset": "Dataset009_Toy", "model": model.name}
        write_smoothing(smooth, Smoothing({"1": "liver", "2": "tumour"}, priors, 1.0, 10, evidence, **known))
        write_case(folder / "input" / "images" / "ct", size)
        versions = ", ".join(f"{n} {version(n)}" for n in ("nnunet-prosma", "nnunetv2", "torch", "numpy"))
        yield f"{' x '.join(map(str, size))} voxels, 3 classes, one fold, on a CPU; {versions}."
        yield ""
        yield "| the bundle | peak GB |"
        yield "| --- | --- |"
        for title, more in (("does not smooth", []), ("smooths", ["--smooth", str(smooth)])):  # the larger one last
            bundle = folder / title
            if command(["bundle", "-m", str(model), "-f", "0", *more, "-o", str(bundle)]):
                raise SystemExit("no bundle was made")
            yield f"| {title} | {peak_gb(bundle, folder):.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[300, 512, 512])
    parser.add_argument("--write", type=Path, metavar="DOCUMENT")
    options = parser.parse_args()
    lines = list(report(tuple(options.size)))
    print("\n".join(lines))
    if options.write:
        marked.replace(options.write, Path(__file__).name, "\n".join(lines))


if __name__ == "__main__":
    main()
