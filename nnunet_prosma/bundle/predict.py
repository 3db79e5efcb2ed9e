"""nnunet-prosma predict: a bundle's segmentations of a folder of images."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_prosma import progress
from nnunet_prosma.arguments import add_device, add_quiet, command_parser, number_above
from nnunet_prosma.errors import InputError
from nnunet_prosma.files.leftovers import taken

if TYPE_CHECKING:
    import numpy as np

    from nnunet_prosma.bundle.predictor import BundlePredictor


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
    add_device(parser)
    parser.add_argument("--not_on_device", action="store_true", help="gather logits in the main memory, as in nnU-Net")
    parser.add_argument("--continue_prediction", action="store_true", help="leave out cases that are in -o already")
    add_quiet(parser, "--disable_progress_bar")
    return parser


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    from nnunet_prosma.bundle.manifest import read_manifest
    from nnunet_prosma.bundle.predictor import BundlePredictor, How
    from nnunet_prosma.fast.concatenation import forced_path
    from nnunet_prosma.host.devices import choose_device

    forced_path()  # refuses a bad one once, not case by case
    manifest = read_manifest(options.bundle)
    how = How(
        folds=options.folds,
        step_size=options.step_size,
        mirroring=not options.disable_tta,
        device=choose_device(options.device),
        on_device=not options.not_on_device,
        progress=not options.quiet and progress.shown(),
    )
    predictor = BundlePredictor(options.bundle, manifest, how)
    cases = find_cases(options.images, predictor)
    ending = predictor.file_ending
    there = [name for name in sorted(cases) if os.path.lexists(options.output / (name + ending))]
    if there and not options.continue_prediction:
        raise InputError(
            f"{options.output / (there[0] + ending)} is there already and is not replaced: name another folder, or "
            f"predict the others with --continue_prediction"
        )
    cases = {name: files for name, files in cases.items() if name not in there}
    failed = []
    for number, (name, files) in enumerate(sorted(cases.items()), 1):
        print(f"{number}/{len(cases)} {name}", flush=True)
        try:
            predict_case(predictor, files, options.output / (name + ending))
        except InputError as error:
            failed.append(name)
            print(f"nnunet-prosma predict: {name} is left out: {error}", file=sys.stderr, flush=True)
    if failed:
        raise InputError(f"{len(failed)} of {len(cases)} cases could not be segmented: {', '.join(failed)}")
    return 0


def find_cases(images: Path, predictor: "BundlePredictor") -> dict[str, list[str]]:
    """Each case with its files, in the order of channels, as nnU-Net finds them."""
    from nnunet_prosma.host.cases import cases_in

    return cases_in(images, predictor.file_ending)


def predict_case(predictor: "BundlePredictor", files: Sequence[str], target: Path) -> None:
    """Read, segment, and write by nnU-Net's reader and writer; the file gets its name when it is whole.

    Its place is taken first, so that what cannot be written is not segmented.
    """
    from nnunet_prosma.host.images import write_segmentation

    writer = predictor.members[0].plans_manager.image_reader_writer_class()
    with taken(target) as folder:
        segmentation, properties = segmented(predictor, writer, files)
        write_segmentation(writer, segmentation, folder / target.name, properties)
        for file in sorted(folder.iterdir(), key=lambda file: file.name == target.name):  # a .tif comes with a .json
            os.replace(file, target.with_name(file.name))


def segmented(predictor: "BundlePredictor", reader: Any, files: Sequence[str]) -> tuple["np.ndarray", dict[str, Any]]:
    """The labels, and the image's properties as nnU-Net's reader gives them."""
    from nnunet_prosma.host.images import read_images

    image, properties = read_images(reader, files)
    if len(image) != len(predictor.channel_names):
        raise InputError(
            f"{files[0]} and its fellows make {len(image)} channels, and the network needs "
            f"{len(predictor.channel_names)}: {', '.join(predictor.channel_names)}"
        )
    try:
        return predictor.segment(image, properties), properties
    except Exception as error:  # what nnU-Net makes of crafted plans, or of an image unlike those of the training
        said = " ".join(str(error).split())[:300]
        raise InputError(f"the model cannot segment {files[0]} ({type(error).__name__}: {said})") from error
