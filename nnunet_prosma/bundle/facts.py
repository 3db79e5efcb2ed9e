"""What the files of a training say about it, for the model card; None where they do not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nnunet_prosma.bundle.models import Chosen
from nnunet_prosma.gate import GateFields
from nnunet_prosma.host.datasets import optional_folder
from nnunet_prosma.host.prepared import preprocessed_case
from nnunet_prosma.watch.observe import observe


@dataclass(frozen=True)
class Score:
    """Dice of one label over the validation cases of the bundled folds, each predicted by its own fold alone."""

    label: str
    mean: float
    cases: int
    undefined: int
    """Cases with the label neither in the reference nor in the prediction, where nnU-Net leaves Dice undefined."""


def unvalidated(model: Chosen) -> str | None:
    """Why the Dice of the bundled checkpoints is not known; None if it is."""
    folds = [model.trained.folds[fold] for fold in model.folds]
    if not all(fold.validated for fold in folds):
        return "not every bundled fold has a validation/summary.json; nnUNetv2_train ... --val writes it"
    if retrained := [fold.name for fold in folds if fold.retrained]:
        return (
            f"fold {', '.join(retrained)} was trained again after the validation that lies there; "
            f"nnUNetv2_train ... --val validates it anew"
        )
    for fold, checkpoint in zip(folds, model.checkpoints, strict=True):
        if fold.validated_checkpoint != checkpoint.name:
            return (
                f"{checkpoint.name} is bundled, and the validation of fold {fold.name} is of "
                f"{fold.validated_checkpoint}, as far as is known; nnunet-prosma study with checkpoint: best or final "
                f"validates, and marks which"
            )
    return None


def scores(model: Chosen) -> list[Score] | None:
    """The scores of the bundled checkpoints; None unless each has been validated."""
    if unvalidated(model):
        return None
    folds = [model.trained.folds[fold] for fold in model.folds]
    cases = [case.values for fold in folds for case in fold.validated_cases()]
    names = model.trained.labels
    found = []
    for key in cases[0] if cases else ():
        dice = np.array([case[key].dice for case in cases if key in case], float)
        defined = dice[~np.isnan(dice)]
        mean = float(defined.mean()) if defined.size else float("nan")
        found.append(Score(names.get(key, str(key)), mean, len(dice), int(np.isnan(dice).sum())))
    return found


def mean_dice(found: Sequence[Score] | None) -> float | None:
    """The mean Dice over labels, as nnU-Net's foreground_mean."""
    values = [score.mean for score in found or [] if not np.isnan(score.mean)]
    return float(np.mean(values)) if values else None


def thresholds(weights: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The lam of each gate, the coarsest first."""
    for key, theta in weights.items():
        if key.startswith("decoder.gates.") and key.endswith(".theta"):
            yield key.removeprefix("decoder.").removesuffix(".theta"), F.softplus(theta.float())


def sparsity(network: nn.Module, patch: Tensor) -> list[tuple[str, float, float]]:
    """What each gate does to one patch (1, channels, *size): the share of z that is exactly zero, and the mean of
    psi."""
    found: list[tuple[str, float, float]] = []

    def keep(s: int, fields: GateFields) -> None:
        if fields.z is not None and fields.psi is not None:
            found.append((f"gates.{s}", float((fields.z == 0).float().mean()), float(fields.psi.mean())))

    with torch.inference_mode():
        observe(network.eval(), patch, keep)
    return found


def validation_patch(model: Chosen) -> Tensor | None:
    """The middle of the first preprocessed case that the first fold validated, if nnU-Net's folders still hold it."""
    preprocessed, setup = optional_folder("nnUNet_preprocessed"), model.trained.setup
    if preprocessed is None:
        return None
    folder = preprocessed / setup.plans.dataset / setup.manager.data_identifier
    ending = setup.dataset.file_ending
    validated = sorted(model.trained.folds[model.folds[0]].validation.glob(f"*{ending}"))
    cases = [name for path in validated if (folder / f"{(name := path.name.removesuffix(ending))}.b2nd").is_file()]
    if not cases:
        return None
    data = torch.from_numpy(preprocessed_case(folder, cases[0])).float()
    if len(setup.patch_size) == 2:
        data = data[:, data.shape[1] // 2]
    for axis, size in enumerate(setup.patch_size, 1):
        missing = max(0, size - data.shape[axis])
        data = F.pad(data, [0, 0] * (data.ndim - 1 - axis) + [0, missing])
        data = data.narrow(axis, (data.shape[axis] - size) // 2, size)
    return data[None]
