"""Makes tests/fixtures/v0_1: what version 0.1.0 trained, planned and bundled, and what it predicted.

Run once, by 0.1.0: ``python tests/fixtures_v0_1.py``. test_fixtures_v0_1.py holds later versions to these files: they
are never made again. Channels are few and images small; otherwise all is as nnU-Net's trainer and our commands leave
it. Each model's folder holds logits.npz: the logits of all heads for image(dimensions), by nnU-Net's own predictor.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
FIXTURES = HERE / "fixtures" / "v0_1"
DATASET = "Dataset009_Toy"
SIZES = {2: (16, 32), 3: (4, 16, 16)}
OF_ANOTHER_PROCESSOR = {"rtol": 1e-4, "atol": 1e-4}
"""How far the logits may lie from those that were stored: processors round differently, by 4e-5 at most as far as
seen. A gate of other settings once changed them by 0.47."""
VANILLA = "dynamic_network_architectures.architectures.unet."
GATED = "nnunet_prosma.architectures."

# (trainer, name of the plans, network, dimensions, gate settings that the plans hold)
MODELS = [
    ("nnUNetTrainerProSMA", "nnUNetPlans", VANILLA + "PlainConvUNet", 2, None),
    ("nnUNetTrainerProSMA", "nnUNetPlans", VANILLA + "PlainConvUNet", 3, None),
    ("nnUNetTrainerProSMA_hardRemoval", "nnUNetPlans", VANILLA + "PlainConvUNet", 2, None),
    ("nnUNetTrainerProSMA_spatialOnly", "nnUNetPlans", VANILLA + "PlainConvUNet", 2, None),
    ("nnUNetTrainerProSMA_channelOnly", "nnUNetPlans", VANILLA + "PlainConvUNet", 2, None),
    ("nnUNetTrainerAttentionGate", "nnUNetPlans", VANILLA + "PlainConvUNet", 2, None),
    ("nnUNetTrainerProSMA", "normPlans", GATED + "ProSMAUNet", 2, {"norm": "instance", "dilations": [1, 3]}),
    ("nnUNetTrainer", "normPlans", GATED + "ProSMAUNet", 2, {"norm": "instance"}),
    ("nnUNetTrainerProSMA", "resencPlans", VANILLA + "ResidualEncoderUNet", 2, None),
    ("nnUNetTrainerAttentionGate", "resencPlans", VANILLA + "ResidualEncoderUNet", 3, None),
    ("nnUNetTrainerProSMA", "residualPlans", VANILLA + "ResidualUNet", 2, None),
    ("nnUNetTrainerProSMA_hardRemoval", "residualPlans", VANILLA + "ResidualUNet", 3, None),
    ("nnUNetTrainerPUNet", "punetPlans", GATED + "PUNet", 2, None),
    ("nnUNetTrainerPUNet", "punetPlans", GATED + "PUNet", 3, {"lam": 0.3}),
    ("nnUNetTrainerPUNet_noGate", "punetPlans", GATED + "PUNet", 2, None),
    ("nnUNetTrainerPUNet_attentionGate", "punetPlans", GATED + "PUNet", 2, None),
    ("nnUNetTrainerProSMA_hardRemoval", "punetPlans", GATED + "PUNet", 2, None),
    ("nnUNetTrainer", "punetNonePlans", GATED + "PUNet", 2, "none"),
]


def image(dimensions):
    """(1, 1, *size); numpy keeps this stream from version to version."""
    return np.random.RandomState(7).standard_normal((1, 1, *SIZES[dimensions])).astype(np.float32)


def folder_of(trainer, plans, dimensions):
    return f"{trainer}__{plans}__{'2d' if dimensions == 2 else '3d_fullres'}"


def make_plans(name, network, dimensions, gate):
    from hand_built import plans

    planned = plans(dimensions, list(SIZES[dimensions]), norm=True)
    planned |= {"plans_name": name, "dataset_name": DATASET}
    (configuration,) = planned["configurations"].values()
    architecture = configuration["architecture"]
    kwargs = architecture["arch_kwargs"]
    architecture["network_class_name"] = network
    stages = 5 if network.endswith("PUNet") and "ProSMA" not in network else 3
    in_plane, last = [[1, 2, 2][-dimensions:]], {2: [2, 2], 3: [1, 1, 1]}[dimensions]
    kwargs |= {
        "n_stages": stages,
        "features_per_stage": [3, 4, 5, 4, 4][:stages],
        "kernel_sizes": [[1, 3, 3][-dimensions:]] + [[3] * dimensions] * (stages - 1),
        "strides": [[1] * dimensions, *in_plane * 2, [2] * dimensions, last][:stages],
    }
    for key in ("n_conv_per_stage", "n_conv_per_stage_decoder"):
        del kwargs[key]
    if stages == 3:
        blocks = "n_blocks_per_stage" if "Res" in network else "n_conv_per_stage"
        kwargs |= {blocks: [1, 1, 1], "n_conv_per_stage_decoder": [1, 1]}
    if gate is not None:
        kwargs["gate"] = gate
    return planned


def make_model(target, scratch, trainer, name, network, dimensions, gate):
    """A checkpoint as nnU-Net's trainer saves it, of random weights."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    folder = target / folder_of(trainer, name, dimensions)
    (folder / "fold_0").mkdir(parents=True)
    dataset = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "ball": 1, "core": 2},
        "numTraining": 10,
        "file_ending": ".nii.gz",
    }
    planned = make_plans(name, network, dimensions, gate)
    preprocessed = scratch / DATASET
    (preprocessed / "x").mkdir(parents=True, exist_ok=True)
    (preprocessed / "x" / "case_000.b2nd").touch()  # nnU-Net looks how data are stored
    torch.manual_seed(1)
    trained = recursive_find_trainer_class_by_name(trainer)(
        {**planned, "continue_training": False}, folder.name.split("__")[2], 0, dataset, torch.device("cpu")
    )
    trained.initialize()
    with torch.no_grad():
        for parameter in trained.network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    trained.save_checkpoint(str(folder / "fold_0" / "checkpoint_final.pth"))
    (folder / "plans.json").write_text(json.dumps(trained.plans_manager.plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(str(folder), (0,), "checkpoint_final.pth")
    with torch.no_grad():
        logits = predictor.network.eval()(torch.from_numpy(image(dimensions)))
    np.savez_compressed(folder / "logits.npz", logits=logits.numpy())


def make_training(target):
    """A short real training, which can be resumed, and a bundle of it."""
    from datasets import write_dataset
    from workspace import Workspace

    with tempfile.TemporaryDirectory() as path:
        workspace = Workspace(Path(path))
        write_dataset(workspace.raw, DATASET, cases=10)
        workspace.plan(9, "-c", "3d_fullres")
        planned = json.loads((workspace.preprocessed / DATASET / "nnUNetPlans.json").read_text())
        kwargs = planned["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
        kwargs["features_per_stage"] = [4] * len(kwargs["features_per_stage"])
        kwargs["n_conv_per_stage"] = [1] * len(kwargs["n_conv_per_stage"])
        planned["plans_name"] = "tinyPlans"
        (workspace.preprocessed / DATASET / "tinyPlans.json").write_text(json.dumps(planned))
        workspace.train(9, "3d_fullres", 0, "nnUNetTrainerProSMAShort", "-p", "tinyPlans", SHORT_TRAINER_EPOCHS="25")
        fold = workspace.fold("nnUNetTrainerProSMAShort", plans="tinyPlans")
        kept = target / "training" / fold.parent.name
        (kept / "fold_0").mkdir(parents=True)
        for name in ("plans.json", "dataset.json", "dataset_fingerprint.json"):
            shutil.copy(fold.parent / name, kept / name)
        for name in ("checkpoint_final.pth", "gates.csv", "debug.json"):
            shutil.copy(fold / name, kept / "fold_0" / name)
        workspace.run("nnunet-prosma", "bundle", "-m", fold.parent, "-f", 0, "-o", target / "bundle")
        images = workspace.raw / DATASET / "imagesTs"
        (images / "case_008_0000.nii.gz").unlink()
        workspace.run(
            "nnunet-prosma", "predict", target / "bundle", "-i", images, "-o", path + "/out", "-device", "cpu"
        )
        shutil.copytree(images, target / "images")
        for file in Path(path, "out").glob("*.nii.gz"):
            shutil.copy(file, target / "images" / file.name.replace("case", "predicted"))


if __name__ == "__main__":
    FIXTURES.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            os.environ[variable] = scratch
        for model in MODELS:
            make_model(FIXTURES / "models", Path(scratch), *model)
    make_training(FIXTURES)
