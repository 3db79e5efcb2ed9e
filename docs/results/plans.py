"""Smaller plans for docs/results.md and docs/protocol.md.

python plans.py kvasir|kvasir-half|hippocampus|half-size|half-size-wide PREPROCESSED_FOLDER
"""

import json
import sys
from pathlib import Path

P_UNET = {
    "network_class_name": "nnunet_prosma.architectures.PUNet",
    "arch_kwargs": {
        "n_stages": 5,
        "conv_op": "torch.nn.modules.conv.Conv2d",
        "features_per_stage": [8, 16, 32, 64, 128],
        "strides": [[1, 1], [2, 2], [2, 2], [2, 2], [2, 2]],
    },
    "_kw_requires_import": ["conv_op"],
}

HALF = {  # the batch sizes of each configuration
    "kvasir-half": {"2d": 8},
    "hippocampus": {"2d": 8, "3d_fullres": 2},
    "half-size": {"2d": 8},
    "half-size-wide": {"2d": 8},
}

which, folder = sys.argv[1], Path(sys.argv[2])
plans = json.loads((folder / "nnUNetPlans.json").read_text())
if which == "kvasir":
    plans["plans_name"] = "PUNetQuarterPlans"
    plans["configurations"]["2d"].update(patch_size=[64, 64], batch_size=8, architecture=P_UNET)
else:
    plans["plans_name"] = "widePlans" if which == "half-size-wide" else "halfPlans"
    if which.startswith("half-size"):  # twice the spacing, so that nnU-Net resamples; a stage less
        planned = plans["configurations"]["2d"]
        planned["data_identifier"] = "halfPlans_2d"
        planned["spacing"] = [2 * spacing for spacing in planned["spacing"]]
        for size in ("patch_size", "median_image_size_in_voxels"):
            planned[size] = [length // 2 for length in planned[size]]
        kwargs = planned["architecture"]["arch_kwargs"]
        kwargs["n_stages"] -= 1
        for stages in ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage", "n_conv_per_stage_decoder"):
            kwargs[stages] = kwargs[stages][:-1]
    for name, batch_size in HALF[which].items():
        configuration = plans["configurations"][name]
        kwargs = configuration["architecture"]["arch_kwargs"]
        kwargs["features_per_stage"] = [channels // 2 for channels in kwargs["features_per_stage"]]
        configuration["batch_size"] = batch_size
        if which == "half-size-wide":  # until a step of nnU-Net costs what the gated one does, on a CPU
            features = kwargs["features_per_stage"]
            kwargs["features_per_stage"] = features[:3] + [channels * 3 // 2 for channels in features[3:]]
(folder / f"{plans['plans_name']}.json").write_text(json.dumps(plans, indent=1))
