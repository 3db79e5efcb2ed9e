"""The trainers of the paper's protocol, without a training."""

from collections import Counter
from copy import deepcopy

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch.nn import functional as F

from nnunet_prosma import trainers
from nnunet_prosma.architectures import PUNet
from nnunet_prosma.decoder import gates_of
from nnunet_prosma.gate import GateConfig
from nnunet_prosma.trainers.protocol import CosineLR, InOrder, mean_batch_iou, nnUNetTrainerPaperProtocol

P_UNETS = {
    "nnUNetTrainerPUNet": {},
    "nnUNetTrainerPUNet_noGate": None,
    "nnUNetTrainerPUNet_spatialOnly": {"channel": False},
    "nnUNetTrainerPUNet_channelOnly": {"spatial": False},
    "nnUNetTrainerPUNet_attentionGate": {"kind": "attention"},
}


def plans_dict(dimensions=2, **settings):
    pooling = [[1] * dimensions, *[[2] * dimensions] * 3]
    return {
        "plans_name": "nnUNetPlans",
        "dataset_name": "Dataset001_No",
        "configurations": {
            "2d": {
                "data_identifier": "nnUNetPlans_2d",
                "batch_size": 3,
                "batch_dice": True,
                "patch_size": [40, 56, 72][-dimensions:],
                "median_image_size_in_voxels": [50.0, 250.0, 256.0][-dimensions:],
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                    "arch_kwargs": {"strides": pooling, "kernel_sizes": [[3] * dimensions] * 4},
                    "_kw_requires_import": [],
                },
                **settings,
            }
        },
    }


def protocol_of(trainer, plans):
    return trainer._with_p_unet(plans, "2d")["configurations"]["2d"]


def network_of(trainer, plans):
    manager = PlansManager(trainer._with_p_unet(plans, "2d"))
    return trainer.build_network_architecture(manager, manager.get_configuration("2d"), 3, 2, False)


def bare(trainer_class, **attributes):
    """A trainer without a data set."""
    trainer = trainer_class.__new__(trainer_class)
    defaults = {"initial_lr": 1e-4, "weight_decay": 1e-4, "num_epochs": 400, "is_ddp": False, "local_rank": 0}
    trainer.__dict__.update({**defaults, "device": torch.device("cpu"), **attributes})
    return trainer


@pytest.mark.parametrize(("name", "settings"), P_UNETS.items())
def test_each_trainer_builds_the_p_unet_it_is_named_after(name, settings):
    network = network_of(getattr(trainers, name), plans_dict())
    assert isinstance(network, PUNet)
    assert network.encoder.conv_op is torch.nn.Conv2d
    configs = [gate.config for _, gate in gates_of(network)]
    assert configs == ([] if settings is None else [GateConfig(**settings)] * 4)
    assert getattr(trainers, f"{name}_20epochs").epochs == 20


def test_in_2d_the_patch_is_the_image_and_the_batch_8_and_the_plans_stay_as_they_are():
    plans = plans_dict()
    before = deepcopy(plans)
    settings = protocol_of(trainers.nnUNetTrainerPUNet, plans)
    assert (settings["patch_size"], settings["batch_size"]) == ([256, 256], 8)
    assert plans == before


def test_in_3d_patch_and_batch_stay_the_planners_but_for_what_the_network_divides():
    plans = plans_dict(3)
    architecture = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]
    architecture["strides"] = [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2]]
    architecture["kernel_sizes"] = [[1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]]
    settings = protocol_of(trainers.nnUNetTrainerPUNet, plans)
    assert (settings["patch_size"], settings["batch_size"]) == ([40, 64, 80], 3)
    network = network_of(trainers.nnUNetTrainerPUNet, plans)
    assert network.encoder.strides == [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
    assert network.encoder.kernel_sizes == [[1, 3, 3], *[[3, 3, 3]] * 4]


def test_plans_that_name_a_p_unet_keep_network_patch_and_batch_and_the_trainers_switch_goes_on_top():
    architecture = {
        "network_class_name": "nnunet_prosma.architectures.PUNet",
        "arch_kwargs": {"conv_op": "torch.nn.Conv2d", "features_per_stage": [8] * 5, "gate": {"lam": 0.1}},
        "_kw_requires_import": ["conv_op"],
    }
    plans = plans_dict(architecture=architecture)
    settings = protocol_of(trainers.nnUNetTrainerPUNet_spatialOnly, plans)
    assert (settings["patch_size"], settings["batch_size"]) == ([56, 72], 3)
    network = network_of(trainers.nnUNetTrainerPUNet_spatialOnly, plans)
    assert network.encoder.output_channels == [8] * 5
    assert [g.config for _, g in gates_of(network)] == [GateConfig(lam=0.1, channel=False)] * 4
    assert not list(gates_of(network_of(trainers.nnUNetTrainerPUNet_noGate, plans)))


def test_a_prosma_trainer_never_trains_a_p_unet_without_gates():
    architecture = {
        "network_class_name": "nnunet_prosma.architectures.PUNet",
        "arch_kwargs": {"conv_op": "torch.nn.Conv2d", "gate": "none"},
        "_kw_requires_import": ["conv_op"],
    }
    manager = PlansManager(plans_dict(architecture=architecture))
    with pytest.raises(
        ValueError, match=r"the plans ask for plain skips .*, and nnUNetTrainerProSMA sets gates on them"
    ):
        trainers.nnUNetTrainerProSMA.build_network_architecture(manager, manager.get_configuration("2d"), 3, 2, False)


def test_adam_with_the_papers_rates_and_thresholds_that_do_not_decay():
    trainer = bare(trainers.nnUNetTrainerPUNet)
    trainer.network = network_of(trainers.nnUNetTrainerPUNet, plans_dict())
    optimizer, scheduler = trainer.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert [(g["lr"], g["weight_decay"], len(g["params"])) for g in optimizer.param_groups][1] == (1e-4, 0.0, 4)
    assert optimizer.param_groups[0]["weight_decay"] == 1e-4
    scheduler.step(200)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([5.5e-5] * 2)  # half way from 1e-4 to 1e-5


def test_the_schedule_is_torchs_cosine_annealing_also_when_a_training_goes_on_in_the_middle():
    def optimizer():
        return torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], 1e-4)

    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer(), T_max=400, eta_min=1e-5)
    ours = CosineLR(optimizer(), 1e-4, 1e-5, 400)
    for epoch in range(400):
        if epoch == 250:
            ours = CosineLR(optimizer(), 1e-4, 1e-5, 400)
        ours.step(epoch)
        assert ours.get_last_lr() == pytest.approx(reference.get_last_lr(), rel=1e-6)
        reference.optimizer.step()
        reference.step()


def test_the_loss_is_half_the_binary_cross_entropy_and_the_dice_of_each_image():
    class Labels:
        has_regions, ignore_label = False, None

    trainer = bare(nnUNetTrainerPaperProtocol, enable_deep_supervision=False, label_manager=Labels)
    plans = plans_dict()
    trainer.configuration_manager = PlansManager(plans).get_configuration("2d")
    loss = trainer._build_loss()
    assert trainer.configuration_manager.batch_dice is True  # as planned: the plans are not ours to change
    logits = torch.randn(3, 2, 9, 7, generator=torch.manual_seed(0))
    truth = (torch.rand(3, 1, 9, 7, generator=torch.manual_seed(1)) < 0.3).short()
    difference, target = logits[:, 1:] - logits[:, :1], truth.float()  # the foreground's one logit
    p = torch.sigmoid(difference)
    dice = (2 * (p * target).sum((1, 2, 3)) + 1e-5) / (p.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1e-5)
    expected = 0.5 * F.binary_cross_entropy_with_logits(difference, target) + (1 - dice).mean()
    torch.testing.assert_close(loss(logits, truth), expected - 1)  # nnU-Net's Dice loss lacks the 1
    deep = bare(nnUNetTrainerPaperProtocol, enable_deep_supervision=True, label_manager=Labels, is_ddp=False)
    deep.configuration_manager = trainer.configuration_manager
    deep._get_deep_supervision_scales = lambda: [[1.0, 1.0], [0.5, 0.5]]
    weighed = deep._build_loss()  # the coarsest output weighs nothing
    torch.testing.assert_close(weighed([logits, logits], [truth, truth]), expected - 1)


def symmetries(size, draws=300):
    """How often each result comes out for an image whose pixels all differ."""
    transforms = nnUNetTrainerPaperProtocol.get_training_transforms(size, (0.0, 0.0), None, (0, 1), False)
    picture = torch.arange(size[0] * size[1], dtype=torch.float32).reshape(1, *size)
    torch.manual_seed(0)
    np.random.seed(0)
    found = Counter()
    for _ in range(draws):
        out = transforms(image=picture.clone(), segmentation=picture.short())
        assert torch.equal(out["image"].short(), out["segmentation"])
        assert out["image"].shape == picture.shape
        found[tuple(out["image"].flatten().int().tolist())] += 1
    return found, picture


def test_training_turns_and_flips_images_and_changes_nothing_else():
    found, picture = symmetries((5, 5))
    turned = [torch.rot90(p, k, (1, 2)) for p in (picture, picture.flip(1)) for k in range(4)]
    assert set(found) == {tuple(t.flatten().int().tolist()) for t in turned}
    assert min(found.values()) > 300 / 8 / 2


def test_images_that_are_not_square_are_only_flipped():
    assert len(symmetries((4, 6))[0]) == 4


def test_the_augmentation_of_nnunet_that_is_kept_ends_with_its_own_last_steps():
    args = ((32, 32), (0.0, 0.0), None, (0, 1), False)
    host = [type(t).__name__ for t in nnUNetTrainer.get_training_transforms(*args).transforms]
    kept = [type(t).__name__ for t in nnUNetTrainerPaperProtocol.get_training_transforms(*args).transforms]
    assert kept == ["Rot90Transform", "MirrorTransform", "RemoveLabelTransform"]
    assert host[-2:] == kept[-2:]


def test_a_validation_goes_through_every_image_once_in_the_order_of_the_split():
    class Loader:
        indices, batch_size = list("abcdefg"), 3  # nnU-Net has sorted them

        def generate_train_batch(self):
            keys = self.get_indices()
            data = torch.full((3, 1), torch.nan)
            data[: len(keys), 0] = torch.tensor([float(ord(k)) for k in keys])
            return {"data": data, "target": data.clone(), "keys": keys}

    batches = InOrder(Loader(), "gfabcde")
    for _ in range(2):
        seen = [next(batches) for _ in range(3)]
        assert [b["keys"] for b in seen] == [["g", "f", "a"], ["b", "c", "d"], ["e"]]
        assert [len(b["target"]) for b in seen] == [3, 3, 1]
        assert not torch.cat([b["data"] for b in seen]).isnan().any()


def test_the_validation_iou_weighs_batches_by_their_images():
    def batch(tp, fp, fn, images):
        return {"tp_hard": np.array([tp]), "fp_hard": np.array([fp]), "fn_hard": np.array([fn]), "images": images}

    outputs = [batch(30, 10, 20, 8), batch(0, 0, 0, 2)]  # 30 of 60 pixels; nothing there and nothing found
    assert mean_batch_iou(outputs) == pytest.approx((8 * 0.5 + 2 * 1) / 10)
