"""SMOOTH.json in a bundle: taken over as it is, and read again where it is applied."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nnunet_prosma.bundle.models import Chosen
from nnunet_prosma.host.plans import Setup
from nnunet_prosma.smooth.settings import Smoothing, read_smoothing, refuse_other_data

NAME = "SMOOTH.json"


def refuse_others(path: Path, models: Sequence[Chosen]) -> None:
    """Settings that were fitted on other data or labels than the models'."""
    smoothing = read_smoothing(path)
    for model in models:
        refuse_other_data(smoothing, model.trained.setup, model.trained.folder)


def take_smoothing(path: Path, bundle: Path) -> str:
    shutil.copyfile(path, bundle / NAME)
    return NAME


def bundled_smoothing(bundle: Path, manifest: dict[str, Any], setup: Setup) -> Smoothing | None:
    """None where the bundle has none, or one that asks for nothing."""
    if not manifest.get("smoothing"):
        return None
    smoothing = read_smoothing(bundle / manifest["smoothing"])
    refuse_other_data(smoothing, setup, bundle)
    return None if smoothing.idle else smoothing


def about(smoothing: Smoothing, names: Sequence[str]) -> Iterator[str]:
    """For the model card; names: of the bundled models."""
    fitted = smoothing.model or "a model that the file does not name"
    if smoothing.idle:
        yield f"- Smoothing ({NAME}, fitted on {fitted}): asks for nothing, since the held-out folds showed no gain"
    else:
        yield f"- Smoothing ({NAME}, fitted on {fitted}), applied to the averaged probabilities, before postprocessing:"
        for label, prior in smoothing.priors.items():
            if not prior.idle:
                volume = "free" if prior.volume is None else f"{prior.volume}"
                said = f"lam {prior.lam:g}, sigma {prior.sigma_mm:.3g} mm, volume {volume}, eps {smoothing.eps:g}"
                yield f"  - {smoothing.labels[label]}: {said}"
    if left_out := smoothing.evidence.left_out:
        yield f"  - fitted without what could not be read ({len(left_out)}): {', '.join(left_out)}"
    for judged in smoothing.evidence.held_out:
        span = "no interval" if judged.interval is None else "{:+.4f} to {:+.4f}".format(*judged.interval)
        said = f"Dice {judged.after - judged.before:+.4f} ({span})"
        yield f"  - held-out folds, {smoothing.evidence.cases} cases, {judged.name}: {said}"
    if smoothing.model is not None and list(names) != [smoothing.model]:
        yield "  - It was not fitted on what is bundled here, so what the folds said was said of another model."
