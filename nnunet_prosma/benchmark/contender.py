"""The names that nnunet_prosma.benchmark.trainable had in version 0.1: they still work, with a warning."""

import warnings

_NOW = {"Contender": "TrainableNetwork", "contender": "trainable", "TRAINERS": "TRAINERS"}


def __getattr__(name: str) -> object:
    if name not in _NOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nnunet_prosma.benchmark import trainable

    said = f"{__name__}.{name} is now nnunet_prosma.benchmark.trainable.{_NOW[name]}, and goes away in version 0.3"
    warnings.warn(said, FutureWarning, stacklevel=2)
    found: object = getattr(trainable, _NOW[name])
    return found
