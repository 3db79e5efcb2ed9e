"""Whether a checkpoint's plans fit those of the training to come, and in what they differ."""

from collections.abc import Iterator

from nnunet_prosma.errors import InputError
from nnunet_prosma.host.plans import Setup
from nnunet_prosma.host.schema import Architecture

ALLOWED = ("spacing", "patch_size", "normalization_schemes", "preprocessor_name", "image_reader_writer")
"""What may differ, as it may in nnU-Net's own -pretrained_weights, but is better known."""
VARIABLE_ARGUMENTS = ("gate", "deep_supervision")


def refuse_misfit(trained: Setup, wanted: Setup) -> None:
    """The network of the wanted plans must be that of the trained ones: else which setting differs, and how."""
    architectures = (setup.said.architecture for setup in (trained, wanted))
    differences = list(network_differences(*architectures))
    if differences:
        raise InputError(
            f"the checkpoint's plans do not fit: {'; '.join(differences)}; use the plans that it was trained with "
            f"(nnUNetv2_move_plans_between_datasets brings them to another data set, then -d DATASET -p PLANS)"
        )


def network_differences(trained: Architecture, wanted: Architecture) -> Iterator[str]:
    """A sentence for each; plans may name the gated class of the network that was trained."""
    names = [a.network_class_name.rpartition(".")[-1] for a in (trained, wanted)]
    if names[0] != names[1] and _gated(trained.network_class_name) != names[1]:
        yield f"its network is a {names[0]}, the training's a {names[1]}"
    ours, theirs = trained.arch_kwargs, wanted.arch_kwargs
    for key in sorted(ours.keys() | theirs.keys()):
        if key not in VARIABLE_ARGUMENTS and ours.get(key) != theirs.get(key):
            yield f"its {key} is {ours.get(key)}, the training's {theirs.get(key)}"


def _gated(network_class: str) -> str | None:
    """The name of the gated class that stands for this one; None if there is none."""
    from nnunet_prosma.architectures.twins import gated_twin

    try:
        return gated_twin(network_class).__name__
    except ValueError:
        return None


def same_outputs(trained: Setup, wanted: Setup) -> bool:
    """Whether each output of the network means the same. Those of regions are numbered by the order in dataset.json."""
    were, will_be = (list(setup.dataset.said.labels.items()) for setup in (trained, wanted))
    if not trained.labels.has_regions:
        were, will_be = sorted(were), sorted(will_be)
    return were == will_be and trained.heads == wanted.heads


def allowed_differences(trained: Setup, wanted: Setup) -> Iterator[str]:
    ours, theirs = (setup.settings() for setup in (trained, wanted))
    for key in ALLOWED:
        if ours.get(key) != theirs.get(key):
            yield f"{key} was {ours.get(key)}, will be {theirs.get(key)}"
    if not same_outputs(trained, wanted):
        yield f"labels were {trained.dataset.said.labels}, will be {wanted.dataset.said.labels}"
    was, will_be = (setup.dataset.said.channel_names for setup in (trained, wanted))
    if was != will_be:
        yield f"channels were {was}, will be {will_be}"
