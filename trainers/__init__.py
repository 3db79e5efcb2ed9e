"""The trainers that nnU-Net's ``-tr`` may name, and the mixin that they are all made of."""

from nnunet_prosma.trainers.gated import *  # noqa: F403
from nnunet_prosma.trainers.gated import __all__ as _gated
from nnunet_prosma.trainers.mixin import ProSMATrainerMixin
from nnunet_prosma.trainers.p_unet import *  # noqa: F403
from nnunet_prosma.trainers.p_unet import __all__ as _p_unet
from nnunet_prosma.trainers.protocol import nnUNetTrainerPaperProtocol
from nnunet_prosma.trainers.variants import *  # noqa: F403
from nnunet_prosma.trainers.variants import __all__ as _variants

__all__ = ["ProSMATrainerMixin", "nnUNetTrainerPaperProtocol", *_gated, *_p_unet, *_variants]
