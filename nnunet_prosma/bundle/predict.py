"""nnunet-prosma predict: a bundle's segmentations of a folder of images."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_prosma.arguments import add_quiet, command_parser, number_above
from nnunet_prosma.errors import InputError
from nnunet_prosma.leftovers import taken

if TYPE_CHECKING:
    from nnunet_prosma.bundle.predictor import BundlePredictor
    from nnunet_prosma.ownership import Growing


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "predict",
        description="Check a bundle file by file, and segment images with it in the present environment. The "
        "segmentations are those of nnUNetv2_predict with the same folds. No worker processes, no shared memory.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that nnunet-prosma bundle made")
    parser.add_argument("-i", dest="images", type=Path, required=True, help="images, CASE_0000.nii.gz and so on")
    parser.add_argument("-o", dest="output", type=Path, required=True, help="folder for the segmentations")
    parser.add_argument("-f", dest="folds", metavar="FOLD", nargs="+", help="default: all folds of the bundle")
    parser.add_argument(
        "-step_size", type=number_above(0, most=1), default=0.5, help="as in nnU-Net; default: %(default)s"
    )
    parser.add_argument("--disable_tta", action="store_true", help="no mirroring, as in nnU-Net")
    parser.add_argument("-device", default="cuda", choices=("cuda", "cpu", "mps"), help="default: %(default)s")
    parser.add_argument("--not_on_device", action="store_true", help="gather logits in the main memory, as in nnU-Net")
    parser.add_argument("--continue_prediction", action="store_true", help="leave out cases that are in -o already")
    add_quiet(parser, "--disable_progress_bar")
    return parser


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    from nnunet_prosma.bundle.manifest import read_manifest
    from nnunet_prosma.bundle.predictor import BundlePredictor, How
    from nnunet_prosma.ownership import Growing

    manifest = read_manifest(options.bundle)
    require_device(options.device)
    how = How(
        folds=options.folds,
        step_size=options.step_size,
        mirroring=not options.disable_tta,
        device=options.device,
        on_device=not options.not_on_device,
        progress=not options.quiet,
    )
    predictor = BundlePredictor(options.bundle, manifest, how)
    cases = find_cases(options.images, predictor)
    ending = predictor.dataset_json["file_ending"]
    output = Growing(options.output, "predict")
    if options.continue_prediction:
        cases = {name: files for name, files in cases.items() if not (options.output / (name + ending)).is_file()}
    output.refuse_foreign(*(name + ending for name in cases))
    for number, (name, files) in enumerate(sorted(cases.items()), 1):
        print(f"{number}/{len(cases)} {name}", flush=True)
        predict_case(predictor, files, name + ending, output)
    return 0


def require_device(name: str) -> None:
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if not there[name]:
        raise InputError(f"there is no {name} device here that torch {torch.__version__} can use: say -device cpu")


def find_cases(images: Path, predictor: "BundlePredictor") -> dict[str, list[str]]:
    """Each case with its files, in the order of channels, as nnU-Net finds them."""
    from nnunet_prosma.host.cases import cases_in

    return cases_in(images, predictor.dataset_json["file_ending"])


def predict_case(predictor: "BundlePredictor", files: Sequence[str], name: str, output: "Growing") -> None:
    """Read, segment, and write by nnU-Net's reader and writer; the file gets its name when it is whole."""
    writer = predictor.members[0].plans_manager.image_reader_writer_class()
    try:
        image, properties = writer.read_images(files)
    except Exception as error:  # readers raise what their libraries do
        raise InputError(f"{files[0]} cannot be read: {' '.join(str(error).split())[:300]}") from None
    if len(image) != len(predictor.channel_names):
        raise InputError(
            f"{files[0]} and its fellows make {len(image)} channels, and the network needs "
            f"{len(predictor.channel_names)}: {', '.join(predictor.channel_names)}"
        )
    segmentation = predictor.segment(image, properties)
    with taken(output.folder / name) as folder:
        writer.write_seg(segmentation, str(folder / name), properties)
        for file in sorted(folder.iterdir()):  # a .tif comes with a .json
            output.put(file.name, file)
