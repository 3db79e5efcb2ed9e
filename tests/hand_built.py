"""Trained models nobody trained: weights set by hand, or random, in a folder as nnU-Net leaves one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

RESAMPLING = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}


def plans(dimensions: int, patch: list[int], *, norm: bool = False, **changes: Any) -> dict[str, Any]:
    conv = f"torch.nn.modules.conv.Conv{dimensions}d"
    configured = {
        "data_identifier": "x",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": patch,
        "spacing": [1.0] * dimensions,
        "normalization_schemes": ["NoNormalization"] * 4,
        "use_mask_for_norm": [False] * 4,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": RESAMPLING,
        "resampling_fn_seg_kwargs": RESAMPLING | {"is_seg": True},
        "resampling_fn_probabilities_kwargs": RESAMPLING,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 2,
                "features_per_stage": [4, 4],
                "conv_op": conv,
                "kernel_sizes": [[3] * dimensions] * 2,
                "strides": [[1] * dimensions, [2] * dimensions],
                "n_conv_per_stage": [1, 1],
                "n_conv_per_stage_decoder": [1],
                "conv_bias": True,
                "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d" if norm else None,
                "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "nonlin"],
        },
        "batch_dice": False,
    }
    top = {key: changes.pop(key) for key in list(changes) if key not in configured and key != "previous_stage"}
    configured.update(changes)
    return {
        "dataset_name": "Dataset009_Toy",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(channel): {} for channel in range(4)},
        "configurations": {"2d" if dimensions == 2 else "3d_fullres": configured},
        **top,
    }


def write_model(
    results: Path,
    planned: dict[str, Any],
    *,
    trainer: str = "nnUNetTrainerProSMA",
    channels: int = 1,
    ending: str = ".nii.gz",
    folds: int = 1,
    by_hand: bool = True,
) -> Path:
    """The folder TRAINER__PLANS__CONFIGURATION, with weights set by hand or random ones."""
    (name,) = planned["configurations"]
    folder = results / "Dataset009_Toy" / f"{trainer}__nnUNetPlans__{name}"
    folder.mkdir(parents=True)
    dataset = {
        "channel_names": {str(i): f"MR{i}" for i in range(channels)},
        "labels": {"background": 0, "bright": 1},
        "file_ending": ending,
        "numTraining": 1,
    }
    (folder / "plans.json").write_text(json.dumps(planned))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    manager = PlansManager(planned)
    if "previous_stage" in planned["configurations"][name]:
        planned["configurations"]["3d_lowres"] = planned["configurations"][name] | {"next_stage": name}
    configuration = manager.get_configuration(name)
    inputs = determine_num_input_channels(manager, configuration, dataset)
    for fold in range(folds):
        torch.manual_seed(fold)
        trainer_class = recursive_find_trainer_class_by_name(trainer)
        network = trainer_class.build_network_architecture(manager, configuration, inputs, 2, False)
        if by_hand:
            open_where_bright(network, closed=fold > 0)
        else:
            predict_half(network, torch.randn(1, inputs, *planned["configurations"][name]["patch_size"]))
        checkpoint = {
            "network_weights": network.state_dict(),
            "trainer_name": trainer,
            "init_args": {"configuration": name},
            "inference_allowed_mirroring_axes": tuple(range(len(planned["configurations"][name]["patch_size"]))),
        }
        (folder / f"fold_{fold}").mkdir()
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def open_where_bright(network: Any, closed: bool = False) -> None:
    """Where the image is 1 one latent channel of eight survives and psi is sigmoid(10); where it is -1, none does, and
    psi is sigmoid(-10). closed: psi is sigmoid(-10) everywhere. c is 0.5, but 0.9 for channel 2 and 0.1 for channel 3.
    Class 1 is predicted where the image is bright and the gate is open.
    """
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        middle = (1,) * (network.encoder.conv_op(1, 1, 1).weight.ndim - 2)
        weights = dict(network.named_parameters())
        weights["encoder.stages.0.0.convs.0.conv.weight"][(0, 0, *middle)] = 1  # skip: the image itself, if bright
        (gate,) = network.decoder.gates
        if gate.config.spatial:
            gate.skip_proj.weight[0, 0] = 1
            gate.branches[0].weight[(0, 0, *middle)] = 1
            gate.fuse.weight[0, 0] = 1  # u is 1 where bright, 0 where not
            gate.theta.fill_(np.log(np.expm1(0.5)))  # z is 0.5, or 0
            gate.psi.weight[0, 0] = 0 if closed else 40
            gate.psi.bias.fill_(-10)
        if gate.config.channel:
            gate.mlp[2].bias[2:4] = torch.tensor([1.0, -1.0]) * np.log(9)
        weights["decoder.stages.0.convs.0.conv.weight"][(0, 4, *middle)] = 1
        weights["decoder.seg_layers.0.weight"][1, 0] = 100  # large: nnU-Net adds logits up in half precision
        weights["decoder.seg_layers.0.bias"][1] = -10


def predict_half(network: Any, noise: torch.Tensor) -> None:
    """Of noise, half is predicted to be of class 1."""
    with torch.no_grad():
        logits = network.eval()(noise)
        network.decoder.seg_layers[-1].bias[1] -= (logits[:, 1] - logits[:, 0]).median()


def half_bright(size: tuple[int, int, int]) -> np.ndarray:
    """(z, y, x): 1 in the half of large x, -1 in the other."""
    image = np.full(size, -1, np.float32)
    image[..., size[2] // 2 :] = 1
    return image


def write_image(path: Path, array: np.ndarray, **geometry: Any) -> sitk.Image:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    for key, value in geometry.items():
        getattr(image, f"Set{key.capitalize()}")(value)
    sitk.WriteImage(image, str(path))
    return image
