"""One network with all that nnU-Net trains it by: nnU-Net's own trainer, without its folders, data and log."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_prosma import trainers
from nnunet_prosma.architectures.gated_unet import GatedNetwork
from nnunet_prosma.architectures.twins import gated_twin, vanilla_twin
from nnunet_prosma.benchmark.setting import Setting
from nnunet_prosma.fast.gpu import choose_paths
from nnunet_prosma.host.changed import with_gates
from nnunet_prosma.host.silent_trainer import nnUNetTrainer, silent_trainer
from nnunet_prosma.trainers.paths import gate_shapes

TRAINERS: dict[str, type[nnUNetTrainer]] = {
    "vanilla": nnUNetTrainer,
    "attention": trainers.nnUNetTrainerAttentionGate,
    "prosma": trainers.nnUNetTrainerProSMA,
    "prosma-spatial": trainers.nnUNetTrainerProSMA_spatialOnly,
    "prosma-channel": trainers.nnUNetTrainerProSMA_channelOnly,
    "prosma-hard": trainers.nnUNetTrainerProSMA_hardRemoval,
}


class TrainableNetwork:
    """Loss, deep supervision, optimizer, AMP, compile and the step itself are those of the trainer class."""

    def __init__(
        self,
        setting: Setting,
        device: torch.device,
        trainer_class: type[nnUNetTrainer] = nnUNetTrainer,
        network: nn.Module | None = None,
    ) -> None:
        """Trains network, or, where none is given, what the trainer class builds from the plans."""
        torch.manual_seed(0)
        trainer = self.trainer = silent_trainer(setting.setup, device, trainer_class)
        self.input_channels = setting.setup.input_channels
        if network is None:
            network = setting.setup.network(trainer, trainer.enable_deep_supervision, new=True)
        self.network = network.to(trainer.device)
        self.compiled = trainer._do_i_compile()
        if isinstance(network, GatedNetwork):
            cases = gate_shapes(network, setting.setup.batch_size, setting.setup.patch_size)
            choose_paths(cases, trainer.device, compiled=self.compiled)
        trainer.network = torch.compile(self.network) if self.compiled else self.network
        trainer.optimizer, trainer.lr_scheduler = trainer.configure_optimizers()
        trainer.loss = trainer._build_loss()
        self.batch = self._random_batch()

    def training_step(self) -> None:
        """nnU-Net's own training step, on the random batch."""
        self.network.train()
        self._supervise_deeply(True)
        self.trainer.train_step(self.batch)

    def training_forward(self) -> object:
        """The first part of a step, up to the network's outputs, with what autograd keeps for the second."""
        self.network.train()
        self._supervise_deeply(True)
        with self._autocast():
            return self.trainer.network(self.batch["data"])

    def inference(self) -> None:
        """A forward pass as nnU-Net's predictor calls it for one patch, but for the whole batch; not compiled, like
        there."""
        self.network.eval()
        self._supervise_deeply(False)
        with torch.no_grad(), self._autocast():
            self.network(self.batch["data"])

    def forget_gradients(self) -> None:
        self.trainer.optimizer.zero_grad(set_to_none=True)

    def standing_tensors(self) -> Iterator[Tensor]:
        """What lives from step to step: weights, momentum, the batch."""
        yield from self.network.parameters()
        yield from self.network.buffers()
        for state in self.trainer.optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, Tensor))
        yield self.batch["data"]
        targets = self.batch["target"]
        yield from targets if isinstance(targets, list) else [targets]

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        amp = self.trainer.device.type == "cuda"  # as in nnU-Net's train_step and predictor
        return torch.autocast("cuda") if amp else contextlib.nullcontext()

    def _supervise_deeply(self, enabled: bool) -> None:
        if self.trainer.enable_deep_supervision:
            self.trainer.set_deep_supervision_enabled(enabled)

    def _random_batch(self) -> dict[str, Any]:
        """Noise, and random labels at each of the resolutions that deep supervision asks for, without it at one."""
        trainer = self.trainer
        labels = trainer.label_manager
        batch, patch = trainer.configuration_manager.batch_size, trainer.configuration_manager.patch_size
        targets = []
        for scale in trainer._get_deep_supervision_scales() or [[1] * len(patch)]:
            size = [round(p * s) for p, s in zip(patch, scale, strict=True)]
            if labels.has_regions:  # one map a region, and one of what to ignore
                maps = labels.num_segmentation_heads + labels.has_ignore_label
                targets.append(torch.randint(2, (batch, maps, *size)).float())
            else:
                targets.append(torch.randint(labels.num_segmentation_heads, (batch, 1, *size), dtype=torch.int16))
        data = torch.randn(batch, self.input_channels, *patch)
        targets = [target.to(trainer.device) for target in targets]
        return {"data": data.to(trainer.device), "target": targets if trainer.enable_deep_supervision else targets[0]}


def trainable(name: str, setting: Setting, device: torch.device) -> TrainableNetwork:
    """The network that the trainer of this name, one of TRAINERS, trains on these plans."""
    return TrainableNetwork(_plans_for(name, setting), device, TRAINERS[name])


def _plans_for(name: str, setting: Setting) -> Setting:
    """Plans that name a gated network are given back the vanilla one where that is what is asked for."""
    setup = setting.setup
    twin = gated_twin(setup.network_class)
    if name not in ("vanilla", "attention"):
        return setting
    gate = setup.gate or {}
    sizes: dict[str, Any] = {key: gate[key] for key in ("latent_reduction", "min_channels", "stages") if key in gate}
    return Setting(setting.name, with_gates(setup, vanilla_twin(twin), sizes if name == "attention" else None))
