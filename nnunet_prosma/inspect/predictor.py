"""nnU-Net's predictor with the gates watched: their maps take the way of the logits, window by window."""

from dataclasses import dataclass
from math import ceil, exp, floor, log2
from typing import Any

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import Tensor, nn
from torch.nn import functional as F

from nnunet_prosma.decoder import GatedDecoder
from nnunet_prosma.gate import GateFields
from nnunet_prosma.host.plans import Setup
from nnunet_prosma.host.stand_ins import MoreHeads
from nnunet_prosma.inspect.tally import GateTally
from nnunet_prosma.watch.observe import bare, observe

HALF_PRECISION = torch.finfo(torch.half).max


@dataclass(frozen=True)
class Seen:
    """What came of one preprocessed case."""

    logits: Tensor
    """(heads, *S), bit by bit what nnU-Net's own predictor gives."""
    maps: dict[tuple[str, int], Tensor]
    """(psi or support, gate) -> (1, *S), scale times the mean over folds, windows (Gaussian weights) and mirrorings."""
    scale: float
    tallies: list[list[GateTally]]
    """The tallies by fold, then by gate."""


class Watched(nn.Module):
    """A network whose answer is its logits, and behind them one map after the other, each at the size of the image.

    The maps of a coarse gate are set larger without interpolation: a voxel shows the psi of the gate's voxel it is in.
    """

    def __init__(self, network: nn.Module, wanted: list[tuple[str, int]], missing: list[int], scale: float) -> None:
        """missing: voxels by which the image is smaller than the patch, by axis."""
        super().__init__()
        self.network = network
        self.wanted = wanted
        self.missing = missing
        self.scale = scale
        self.clear()

    def clear(self) -> None:
        self.tallies = [GateTally() for _ in decoder_of(self.network).gates]

    def forward(self, image: Tensor) -> Tensor:
        maps: dict[tuple[str, int], Any] = {}

        def look(s: int, fields: GateFields) -> None:
            stride = decoder_of(self.network).gate_stride(s)
            padding = [ceil(ceil(m / 2) / n) for m, n in zip(self.missing, stride, strict=True)]
            self.tallies[s].add(fields, padding)
            maps["psi", s] = fields.psi
            if ("support", s) in self.wanted and fields.z is not None:
                maps["support", s] = (fields.z != 0).to(fields.z.dtype).mean(1, keepdim=True)

        logits = observe(self.network, image, look)
        size = image.shape[2:]
        shown = [F.interpolate(maps[key], size).to(logits.dtype) * self.scale for key in self.wanted]
        return torch.cat([logits, *shown], 1)


class WatchingPredictor(nnUNetPredictor):
    """nnU-Net's predictor, but for what a prediction holds beside the logits."""

    setup: Setup
    with_support: bool = False
    network: Any
    label_manager: Any

    def watch(self, data: Tensor) -> Seen:
        self.tallies: list[list[GateTally]] = []
        prediction = self.predict_logits_from_preprocessed_data(data).cpu()
        heads = self.label_manager.num_segmentation_heads
        maps = {key: prediction[heads + i][None] for i, key in enumerate(self.wanted())}
        return Seen(prediction[:heads], maps, self.scale(), self.tallies)

    def scale(self) -> float:
        """nnU-Net adds up in half precision what a Gaussian of 10 in a window's middle and of 6e-8 in its corners has
        weighted, where a number below 1 would be lost. So maps are as many times larger as that precision can hold.
        """
        apart = 4 * self.tile_step_size  # windows, in standard deviations, where they are closest
        overlap = max(2, sum(exp(-((k * apart) ** 2) / 2) for k in range(-20, 21)))
        largest = 10 * overlap ** len(self.configuration_manager.patch_size)
        return float(2 ** max(0, floor(log2(HALF_PRECISION / largest))))

    def wanted(self) -> list[tuple[str, int]]:
        decoder = decoder_of(bare(self.network))
        config = decoder.config
        kinds = ["psi"] if config.spatial else []
        kinds += ["support"] if self.with_support and config.spatial and config.kind == "prosma" else []
        return [(kind, s) for s in decoder.gated() for kind in kinds]

    def predict_sliding_window_return_logits(self, input_image: Tensor) -> Any:
        """nnU-Net calls it once for each fold."""
        network, labels = self.network, self.label_manager
        patch = self.configuration_manager.patch_size
        missing = [max(0, p - n) for p, n in zip(patch, input_image.shape[-len(patch) :], strict=True)]
        watched = Watched(bare(network), self.wanted(), missing, self.scale())
        self.network = watched
        self.label_manager = MoreHeads(labels.num_segmentation_heads + len(watched.wanted))
        try:
            prediction = super().predict_sliding_window_return_logits(input_image)
        finally:
            self.network, self.label_manager = network, labels
        self.tallies.append(watched.tallies)
        return prediction

    def _internal_predict_sliding_window_return_logits(self, *args: Any, **kwargs: Any) -> Any:
        """nnU-Net calls it again, with less on the device, when memory ran out."""
        self.network.clear()
        return super()._internal_predict_sliding_window_return_logits(*args, **kwargs)


def decoder_of(network: Any) -> GatedDecoder:
    decoder: GatedDecoder = network.decoder
    return decoder
