"""nnunet-prosma bundle: gathers trained models into one folder."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_prosma.arguments import add_quiet, command_parser
from nnunet_prosma.errors import InputError
from nnunet_prosma.progress import progress_bar

if TYPE_CHECKING:
    from nnunet_prosma.bundle.models import Chosen

SHOWN = ("nnunet-prosma", "nnunetv2", "torch", "dynamic-network-architectures", "numpy")


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "bundle",
        description="Gather a trained model, or several for an ensemble, into one folder that predicts elsewhere: "
        "nnunet-prosma predict BUNDLE -i IMAGES -o OUT.",
    )
    parser.add_argument(
        "-m", dest="folders", metavar="MODEL_FOLDER", type=Path, nargs="+", help="instead of -d, -c, -tr, -p"
    )
    parser.add_argument("-d", dest="dataset", metavar="DATASET", help="data set, by number or name")
    parser.add_argument(
        "-c", dest="configurations", metavar="CONFIGURATION", nargs="+", help="several make an ensemble"
    )
    parser.add_argument(
        "-tr",
        dest="trainers",
        metavar="TRAINER",
        nargs="+",
        default=["nnUNetTrainerProSMA"],
        help="default: nnUNetTrainerProSMA",
    )
    parser.add_argument(
        "-p", dest="plans", metavar="PLANS", nargs="+", default=["nnUNetPlans"], help="default: nnUNetPlans"
    )
    parser.add_argument("-f", dest="folds", metavar="FOLD", nargs="+", default=list("01234"), help="default: 0 1 2 3 4")
    parser.add_argument("-chk", metavar="NAME", default="checkpoint_final.pth", help="default: %(default)s")
    parser.add_argument("-o", dest="output", metavar="BUNDLE", type=Path, required=True, help="a folder not yet there")
    parser.add_argument(
        "-pp_pkl_file",
        metavar="FILE",
        type=Path,
        help="nnU-Net's postprocessing.pkl; default: find_best_configuration's",
    )
    parser.add_argument(
        "--smooth", metavar="SMOOTH.json", type=Path, help="what nnunet-prosma smooth fit wrote; predict applies it"
    )
    parser.add_argument("--licence", help="of the weights, for the model card")
    parser.add_argument("--intended", help="what the model is for, for the model card")
    parser.add_argument("--not-for", help="what it is not for, for the model card")
    parser.add_argument("--wheel", type=Path, help="wheel of nnunet-prosma; default: made of the installed package")
    add_quiet(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    if options.output.exists():
        raise InputError(f"-o {options.output} is there already: a bundle is never changed, so name another folder")
    from nnunet_prosma.bundle.models import find_models
    from nnunet_prosma.bundle.smoothing import refuse_others
    from nnunet_prosma.files import folder_made_whole

    models = find_models(model_folders(options), options.folds, options.chk)
    if options.smooth is not None:
        refuse_others(options.smooth, models)
    with folder_made_whole(options.output) as folder:
        manifest = fill(folder, models, options)
    size = sum(file["bytes"] for file in manifest["files"].values())
    print(f"{options.output}: {len(manifest['files'])} files, {size / 1e6:.1f} MB")
    for line in (options.output / "MODEL_CARD.md").read_text().splitlines():
        if "GAP" in line:
            print(f"  MODEL_CARD.md {line.strip('- ')}")
    print(f"next: nnunet-prosma predict {options.output} -i IMAGES -o SEGMENTATIONS")
    return 0


def model_folders(options: argparse.Namespace) -> list[Path]:
    if options.folders:
        if options.dataset or options.configurations:
            raise InputError("-m names the models already: leave out -d and -c")
        return list(options.folders)
    if not options.dataset or not options.configurations:
        raise InputError("the models are named by -d and -c, or by -m")
    from nnunet_prosma.host.runs import folders_by_name

    number = max(len(named) for named in (options.configurations, options.trainers, options.plans))
    columns = []
    for flag, named in (("-c", options.configurations), ("-tr", options.trainers), ("-p", options.plans)):
        if len(named) not in (1, number):
            raise InputError(f"{flag} takes one name, or {number} as another of -c, -tr and -p has, not {len(named)}")
        columns.append(named * number if len(named) == 1 else named)
    return [folders_by_name(options.dataset, c, [t], [p])[0] for c, t, p in zip(*columns, strict=True)]


def fill(folder: Path, models: "Sequence[Chosen]", options: argparse.Namespace) -> dict[str, Any]:
    """Write all files, the manifest last."""
    from datetime import datetime, timezone

    from nnunet_prosma.bundle.manifest import read_manifest, write_manifest
    from nnunet_prosma.bundle.model_card import NAME, Told, model_card
    from nnunet_prosma.bundle.postprocessing import read_pickle
    from nnunet_prosma.bundle.requirements import closure, write_requirements
    from nnunet_prosma.bundle.smoothing import take_smoothing
    from nnunet_prosma.bundle.wheel import take_wheel

    versions = closure()
    python = ".".join(map(str, sys.version_info[:3]))
    write_requirements(folder, versions, python)
    take_wheel(folder / "wheels", options.wheel)
    progress = progress_bar(models, desc="models")
    entries = [write_model(folder / "models" / model.trained.identifier, model) for model in progress]
    pickled = options.pp_pkl_file or found_postprocessing(models)
    manifest = {
        "models": entries,
        "postprocessing": [] if pickled is None else read_pickle(pickled),
        "postprocessing_from": None if pickled is None else f"{pickled.parent.name}/{pickled.name}",
        "smoothing": None if options.smooth is None else take_smoothing(options.smooth, folder),
        "python": python,
        "versions": {name: versions[name] for name in SHOWN},
        "made": datetime.now(timezone.utc).date().isoformat(),
    }
    told = Told(options.licence, options.intended, options.not_for)
    (folder / NAME).write_text(model_card(folder, models, entries, manifest, told))
    write_manifest(folder, manifest)
    return read_manifest(folder)


def write_model(folder: Path, model: "Chosen") -> dict[str, Any]:
    import json

    from nnunet_prosma.bundle.facts import mean_dice, scores
    from nnunet_prosma.bundle.network import build, plans_with_network, read_setup
    from nnunet_prosma.bundle.weights import FILE, convert_checkpoint, read_weights
    from nnunet_prosma.host.checkpoints import require_fit

    trained = model.trained
    checkpoints = [
        convert_checkpoint(source, folder / f"fold_{fold}" / FILE, trained.configuration, fold)
        for fold, source in zip(model.folds, model.checkpoints, strict=True)
    ]
    plans = plans_with_network(trained.setup, checkpoints[0]["trainer"])
    (folder / "plans.json").write_text(json.dumps(plans.content, indent=1) + "\n")
    for name in ("dataset.json", "dataset_fingerprint.json"):
        if (trained.folder / name).is_file():
            shutil.copyfile(trained.folder / name, folder / name)
    network = build(read_setup(folder, trained.configuration))
    for fold, source in zip(model.folds, model.checkpoints, strict=True):
        require_fit(network, read_weights(folder / f"fold_{fold}" / FILE), source)
    return {
        "name": trained.identifier,
        "configuration": trained.configuration,
        "folds": list(model.folds),
        "checkpoints": checkpoints,
        "crossvalidation_dice": mean_dice(scores(model)),
    }


def found_postprocessing(models: "Sequence[Chosen]") -> Path | None:
    """The postprocessing.pkl where nnUNetv2_find_best_configuration leaves it for these models and folds."""
    folds = "_".join(models[0].folds)
    if len(models) == 1:
        candidates = [models[0].trained.folder / f"crossval_results_folds_{folds}"]
    else:
        ensembles = models[0].trained.folder.resolve().parent / "ensembles"
        names = [model.trained.identifier for model in models]
        candidates = [ensembles / "___".join(["ensemble", *order, folds]) for order in (names, names[::-1])]
    return next((c / "postprocessing.pkl" for c in candidates if (c / "postprocessing.pkl").is_file()), None)
