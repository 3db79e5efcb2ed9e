"""Whether a checkpoint's plans fit those of the training to come, and in what they differ."""

from collections.abc import Iterator, Mapping
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.warm_start.target import Setup

ALLOWED = ("spacing", "patch_size", "normalization_schemes", "preprocessor_name", "image_reader_writer")
"""What may differ, as it may in nnU-Net's own -pretrained_weights, but is better known."""
VARIABLE_ARGUMENTS = ("gate", "deep_supervision")
TWINS = {"PlainConvUNet": "ProSMAUNet", "ResidualEncoderUNet": "ProSMAResEncUNet", "ResidualUNet": "ProSMAResUNet"}
"""Plans may name the gated class of the network that was trained."""


def refuse_misfit(trained: Setup, wanted: Setup) -> None:
    """The network of the wanted plans must be that of the trained ones: else which setting differs, and how."""
    differences = list(network_differences(trained.settings()["architecture"], wanted.settings()["architecture"]))
    if differences:
        raise InputError(
            f"the checkpoint's plans do not fit: {'; '.join(differences)}; use the plans that it was trained with "
            f"(nnUNetv2_move_plans_between_datasets brings them to another data set, then -d DATASET -p PLANS)"
        )


def network_differences(trained: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    names = [v["network_class_name"].rpartition(".")[-1] for v in (trained, wanted)]
    if names[0] != names[1] and TWINS.get(names[0]) != names[1]:
        yield f"its network is a {names[0]}, the training's a {names[1]}"
    ours, theirs = (v["arch_kwargs"] for v in (trained, wanted))
    for key in sorted(ours.keys() | theirs.keys()):
        if key not in VARIABLE_ARGUMENTS and ours.get(key) != theirs.get(key):
            yield f"its {key} is {ours.get(key)}, the training's {theirs.get(key)}"


def allowed_differences(trained: Setup, wanted: Setup) -> Iterator[str]:
    ours, theirs = ({**s.plans, **s.settings()} for s in (trained, wanted))
    for key in ALLOWED:
        if ours.get(key) != theirs.get(key):
            yield f"{key} was {ours.get(key)}, will be {theirs.get(key)}"
    labels = [s.dataset_json.get("labels") for s in (trained, wanted)]
    if labels[0] != labels[1]:
        yield f"labels were {labels[0]}, will be {labels[1]}"
    channels = [s.dataset_json.get("channel_names") for s in (trained, wanted)]
    if channels[0] != channels[1]:
        yield f"channels were {channels[0]}, will be {channels[1]}"
