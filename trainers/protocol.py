"""The training protocol of the paper's 2D experiments (U-KAN's, which it follows), on nnU-Net's data pipeline."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

SMOOTH = 1e-5
"""U-KAN's, in loss and validation IoU."""
INTENSITY = ("batchgeneratorsv2.transforms.intensity", "batchgeneratorsv2.transforms.noise")
LOW_RESOLUTION = "batchgeneratorsv2.transforms.spatial.low_resolution"


class nnUNetTrainerPaperProtocol(nnUNetTrainer):
    """Adam, cosine, 0.5 CE + Dice, flips and quarter turns, epochs of one pass, best checkpoint by validation IoU.

    Network, patch and batch are those of the plans; nnUNetTrainerPUNet changes these.
    """

    epochs = 400
    final_lr = 1e-5

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.epochs
        self.initial_lr = 1e-4
        self.weight_decay = 1e-4
        self.oversample_foreground_percent = 0.0
        self.enable_deep_supervision = False
        self.save_every = 10

    def configure_optimizers(self) -> tuple[Optimizer, Any]:
        optimizer = Adam(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, CosineLR(optimizer, self.initial_lr, self.final_lr, self.num_epochs)

    def _build_loss(self) -> nn.Module:
        """nnU-Net's sum of cross-entropy and Dice with the first weighed 0.5, and Dice of each image by itself.

        For two classes, cross-entropy over two logits is the binary one of their difference.
        """
        built: nn.Module = super()._build_loss()
        loss: Any = getattr(built, "loss", built)  # inside of deep supervision's weighing
        getattr(loss.dc, "_orig_mod", loss.dc).batch_dice = False  # compiled or not
        loss.weight_ce = 0.5
        return built

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, Any]:  # noqa: N802
        """No small rotations, so no larger patch to cut from; mirrored in training, but not in prediction."""
        *_, mirror_axes = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = None
        return (0.0, 0.0), False, self.configuration_manager.patch_size, mirror_axes

    @staticmethod
    def get_training_transforms(patch_size: Any, *args: Any, **kwargs: Any) -> BasicTransform:
        """nnU-Net's without what moves or recolours images, but its flips, and with quarter turns before the rest."""
        host: Any = nnUNetTrainer.get_training_transforms(patch_size, *args, **kwargs)
        kept = [transform for transform in host.transforms if not _is_augmentation_to_drop(transform)]
        return ComposeTransforms([*quarter_turns(patch_size), *kept])

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """An epoch is as many images as there are, in whole batches; a validation is all of its images, once."""
        training, validation = super().get_tr_and_val_datasets()
        batch = self.configuration_manager.batch_size  # of all GPUs together
        self.num_iterations_per_epoch = max(1, len(training.identifiers) // batch)
        self.num_val_iterations_per_epoch = math.ceil(len(validation.identifiers) / self.batch_size)
        return training, validation

    def get_dataloaders(self) -> tuple[Any, Any]:
        """nnU-Net's, but the validation images come in the order of the split, each once an epoch."""
        training, random_validation = super().get_dataloaders()
        loader: Any = getattr(random_validation, "data_loader", None) or random_validation.generator
        if hasattr(random_validation, "_finish"):
            random_validation._finish()
        return training, InOrder(loader, self.do_split()[1])

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """nnU-Net's; and in the place of its moving average the IoU by which the best checkpoint is kept."""
        super().on_validation_epoch_end(val_outputs)
        iou = mean_batch_iou(val_outputs)
        self.logger.local_logger.my_fantastic_logging["ema_fg_dice"][self.current_epoch] = iou
        self.print_to_log_file(
            f"Validation IoU, pooled over each batch: {iou:.4f}. The best so far is kept in checkpoint_best.pth; "
            f"nnU-Net's messages and its picture of the progress call it EMA or moving average of the pseudo Dice"
        )

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {**super().validation_step(batch), "images": len(batch["data"])}


class CosineLR(LRScheduler):
    """Half a cosine from initial_lr, in epoch 0, to final_lr, which epoch max_steps would have."""

    def __init__(self, optimizer: Optimizer, initial_lr: float, final_lr: float, max_steps: int) -> None:
        self.initial_lr, self.final_lr, self.max_steps = initial_lr, final_lr, max_steps
        super().__init__(optimizer)

    def step(self, epoch: int | None = None) -> None:
        """nnU-Net names the epoch at its start, also when it resumes a training."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        share = (1 + math.cos(math.pi * self.last_epoch / self.max_steps)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = self.final_lr + (self.initial_lr - self.final_lr) * share
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class InOrder:
    """The batches of nnU-Net's loader over these images, in their order, again and again; the last one short.

    nnU-Net's data sets sort the names that they are given, so the order is not the loader's to know.
    """

    def __init__(self, loader: nnUNetDataLoader, names: Sequence[str]) -> None:
        self.loader = loader
        self.names = list(names)
        self.batch_size = loader.batch_size
        self.position = 0
        loader.get_indices = self._take

    def _take(self) -> list[str]:
        names = self.names[self.position : self.position + self.batch_size]
        self.position = (self.position + self.batch_size) * (self.position + self.batch_size < len(self.names))
        return names

    def __next__(self) -> dict[str, Any]:
        batch = self.loader.generate_train_batch()
        held = len(batch["keys"])  # nnU-Net's tensors always have room for a whole batch
        return {**batch, "data": batch["data"][:held], "target": batch["target"][:held]}


def mean_batch_iou(outputs: list[dict[str, Any]]) -> float:
    """IoU of each batch as one image, averaged over foreground classes, then over batches by their images."""
    total = images = 0.0
    for output in outputs:
        tp, fp, fn = (output[name] for name in ("tp_hard", "fp_hard", "fn_hard"))
        total += output["images"] * float(((tp + SMOOTH) / (tp + fp + fn + SMOOTH)).mean())
        images += output["images"]
    return total / images


def quarter_turns(patch_size: Any) -> list[BasicTransform]:
    """A random number of quarter turns, in the planes in which the patch is square; none where it never is."""
    sizes = [int(size) for size in patch_size]
    axes = max(({axis for axis, other in enumerate(sizes) if other == size} for size in sizes), key=len)
    return [Rot90Transform(1, (0, 1, 2, 3), axes)] if len(axes) > 1 else []


def _is_augmentation_to_drop(transform: BasicTransform) -> bool:
    if isinstance(transform, (SpatialTransform, Convert3DTo2DTransform, Convert2DTo3DTransform)):
        return True
    inner = transform.transform if isinstance(transform, RandomTransform) else transform
    return inner.__class__.__module__.startswith((*INTENSITY, LOW_RESOLUTION))
