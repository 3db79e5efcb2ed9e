"""nnU-Net's training lengths and benchmarks, under its naming, for the ProSMA gate by both starts and the dense one.

Each is the gated trainer joined to nnU-Net's own variant: nnUNetTrainerProSMA_250epochs has nnUNetTrainerProSMA and
nnUNetTrainer_250epochs as its bases.
"""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.benchmarking import (
    nnUNetTrainerBenchmark_5epochs,
    nnUNetTrainerBenchmark_5epochs_noDataLoading,
)
from nnunetv2.training.nnUNetTrainer.variants.training_length import nnUNetTrainer_Xepochs

from nnunet_prosma.trainers.gated import nnUNetTrainerAttentionGate, nnUNetTrainerProSMA, nnUNetTrainerProSMA_open

_MODULES = (nnUNetTrainer_Xepochs, nnUNetTrainerBenchmark_5epochs, nnUNetTrainerBenchmark_5epochs_noDataLoading)

__all__: list[str] = []

for _module in _MODULES:
    for _host in list(vars(_module).values()):
        if not (isinstance(_host, type) and issubclass(_host, nnUNetTrainer) and _host.__module__ == _module.__name__):
            continue
        for _gated in (nnUNetTrainerProSMA, nnUNetTrainerProSMA_open, nnUNetTrainerAttentionGate):
            _name = _gated.__name__ + _host.__name__.removeprefix("nnUNetTrainer")
            _own: dict[str, object] = {"__module__": __name__}
            if _module is not nnUNetTrainer_Xepochs:
                _own |= {"record_gates": False}  # a benchmark times the training alone
            globals()[_name] = type(_name, (_gated, _host), _own)
            __all__.append(_name)
