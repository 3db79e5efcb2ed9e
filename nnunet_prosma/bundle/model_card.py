"""MODEL_CARD.md: what a bundle was made of, filled from files; what no file says is marked as a gap."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_prosma.bundle import facts
from nnunet_prosma.bundle.models import Chosen
from nnunet_prosma.bundle.network import build, read_setup
from nnunet_prosma.bundle.smoothing import about
from nnunet_prosma.bundle.weights import FILE, read_weights
from nnunet_prosma.host.fingerprint import read_fingerprint
from nnunet_prosma.smooth.settings import read_smoothing

NAME = "MODEL_CARD.md"
GAP = "**GAP, fill in:** "


@dataclass(frozen=True)
class Told:
    """What only the person who bundles can say."""

    licence: str | None = None
    intended: str | None = None
    not_for: str | None = None


def model_card(
    bundle: Path,
    models: Sequence[Chosen],
    entries: Sequence[Mapping[str, Any]],
    manifest: Mapping[str, Any],
    told: Told,
) -> str:
    lines = [f"# Model card: {models[0].trained.dataset}", ""]
    lines += [f"Licence of the weights: {told.licence or GAP + 'under which licence may they be used?'}", ""]
    lines += [
        "## What it is for",
        "",
        told.intended or GAP + "which images, of whom, by which device, for which use?",
        "",
    ]
    lines += ["## What it is not for", "", told.not_for or GAP + "where has it not been tried, where does it fail?", ""]
    lines += [
        "It is no medical device, and nothing here says how it does on images unlike those it was trained on.",
        "",
    ]
    lines += ["## Data", "", *_data(models[0]), ""]
    for model, entry in zip(models, entries, strict=True):
        lines += [f"## Model {model.trained.identifier}", "", *_training(model, entry), ""]
        lines += ["### Cross-validation", "", *_scores(model), ""]
        lines += ["### Gates", "", *_gates(bundle, model, entry), ""]
    lines += ["## Prediction", "", *_prediction(bundle, models, manifest), ""]
    return "\n".join(lines)


def _data(model: Chosen) -> Iterator[str]:
    plans, dataset = model.trained.setup.plans.said, model.trained.setup.dataset
    said = dataset.said
    yield f"- Channels: {', '.join(f'{key} {name}' for key, name in dataset.channels.items())}"
    yield f"- Labels: {', '.join(f'{name} = {value}' for name, value in said.labels.items())}"
    yield f"- Training cases: {GAP + 'how many?' if said.cases is None else said.cases}"
    for value, title in (
        (said.source, "Source"),
        (said.licence or said.license, "Licence of the data"),
        (said.description, "Description"),
    ):
        yield f"- {title}: {value or GAP + 'dataset.json does not say'}"
    yield f"- Median spacing {_mm(plans.original_median_spacing_after_transp)}"
    yield f"- Median shape {plans.original_median_shape_after_transp} voxels (both in nnU-Net's order of axes)"
    fingerprint = read_fingerprint(model.trained.folder)
    if fingerprint is None:
        yield f"- {GAP}dataset_fingerprint.json is not beside the model: the range of shapes and spacings"
        return
    shapes, spacings = fingerprint.shapes_after_crop, fingerprint.spacings
    low, high = ([int(edge(axis)) for axis in zip(*shapes, strict=True)] for edge in (min, max))
    yield f"- Shapes of {len(shapes)} cases, after nnU-Net's crop: {low} to {high} voxels"
    low, high = ([round(edge(axis), 4) for axis in zip(*spacings, strict=True)] for edge in (min, max))
    yield f"- Spacings: {low} to {high} mm"
    for channel, numbers in fingerprint.foreground_intensity_properties_per_channel.items():
        told = ", ".join(f"{key} {value:.4g}" for key, value in numbers.items())
        yield f"- Intensity in the foreground, channel {channel}: {told}"


def _mm(spacing: Any) -> str:
    return GAP + "not in the plans" if not isinstance(spacing, list) else f"{[round(s, 4) for s in spacing]} mm"


def _training(model: Chosen, entry: Mapping[str, Any]) -> Iterator[str]:
    said, debug = model.trained.setup.said, model.trained.folds[model.folds[0]].debug
    yield f"- Folds: {', '.join(model.folds)}"
    yield f"- Checkpoint of each fold: {', '.join(dict.fromkeys(path.name for path in model.checkpoints))}"
    yield f"- Trainer {entry['checkpoints'][0]['trainer']}, plans {model.trained.plans_name}"
    yield f"- Epochs, by fold: {', '.join(str(c['epochs']) for c in entry['checkpoints'])}"
    for planned, title in ((said.patch_size, "Patch"), (said.batch_size, "Batch"), (said.spacing, "Spacing in mm")):
        yield f"- {title}: {planned}"
    for key, title in (
        ("initial_lr", "Initial learning rate"),
        ("weight_decay", "Weight decay"),
        ("num_iterations_per_epoch", "Iterations per epoch"),
        ("loss", "Loss"),
        ("torch_version", "torch"),
        ("gpu_name", "GPU"),
        ("device", "Device"),
    ):
        if key == "gpu_name" and debug.get("device") == "cpu":
            continue
        value = " ".join(str(debug[key]).split()) if key in debug else GAP + "not in debug.json"
        yield f"- {title}: {value}"


def _scores(model: Chosen) -> Iterator[str]:
    scores = facts.scores(model)
    if scores is None:
        yield f"{GAP}{facts.unvalidated(model)}"
        return
    yield f"Dice over the validation cases of the folds {', '.join(model.folds)}, each segmented by its own fold alone:"
    yield ""
    yield "| label | mean Dice | cases | of these without the label, not counted |"
    yield "|---|---|---|---|"
    for score in scores:
        yield f"| {score.label} | {score.mean:.4f} | {score.cases} | {score.undefined} |"
    mean = facts.mean_dice(scores)
    yield f"| mean over labels | {'undefined' if mean is None else format(mean, '.4f')} | | |"


def _gates(bundle: Path, model: Chosen, entry: Mapping[str, Any]) -> Iterator[str]:
    folder = bundle / "models" / model.trained.identifier
    setup = read_setup(folder, model.trained.configuration)
    gate = setup.gate
    if gate is None or gate["kind"] == "none":
        yield "None."
        return
    yield f"Settings: {', '.join(f'{key} {value}' for key, value in gate.items())}"
    yield ""
    patch = facts.validation_patch(model)
    for fold in model.folds:
        weights = read_weights(folder / f"fold_{fold}" / FILE)
        for name, lam in facts.thresholds(weights):
            yield f"- Fold {fold}, {name}: lam {lam.mean():.4f} on average, {lam.min():.4f} to {lam.max():.4f}"
    if patch is None:
        yield f"- {GAP}final sparsity; the preprocessed data was not there to measure it on"
        return
    network = build(setup)
    network.load_state_dict(read_weights(folder / f"fold_{model.folds[0]}" / FILE))
    yield f"- Final sparsity, for the middle patch of one validation case of fold {model.folds[0]}:"
    for name, zero, psi in facts.sparsity(network, patch):
        yield f"  - {name}: {zero:.1%} of z exactly zero, psi {psi:.3f} on average"


def _prediction(bundle: Path, models: Sequence[Chosen], manifest: Mapping[str, Any]) -> Iterator[str]:
    if len(models) > 1:
        yield f"- Average of the probabilities of {len(models)} models, as nnUNetv2_ensemble takes it"
    if manifest.get("smoothing"):
        yield from about(read_smoothing(bundle / manifest["smoothing"]), [model.trained.identifier for model in models])
    steps = [f"{s['function']} {s['arguments']}" for s in manifest["postprocessing"]]
    if manifest["postprocessing_from"] is None:
        yield f"- {GAP}no postprocessing was found: nnUNetv2_find_best_configuration determines whether one helps"
    else:
        yield f"- Postprocessing, of {manifest['postprocessing_from']}: {'; '.join(steps) or 'none helped'}"
    yield f"- Made {manifest['made']} with Python {manifest['python']}; versions in requirements.txt, of which"
    yield "  " + ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
