"""nnunet-prosma inspect: one case after the other, then the tables and the page."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nnunet_prosma.errors import InputError
from nnunet_prosma.inspect.options import parse, parser

__all__ = ["main", "parser"]


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    try:
        print(draw_records(options.training, options.o) if options.training else inspect(options))
    except OSError as error:
        raise InputError(
            f"{error.filename or options.o} cannot be read or written: {error.strerror or error}"
        ) from error
    return 0


def inspect(options: argparse.Namespace) -> Path:
    from tqdm import tqdm

    from nnunet_prosma.fast.concatenation import forced_path
    from nnunet_prosma.files import folder_made_whole
    from nnunet_prosma.inspect.case import inspect_case
    from nnunet_prosma.inspect.index import write_index
    from nnunet_prosma.inspect.model import cases_of, load, model_folder
    from nnunet_prosma.inspect.tables import write_tables
    from nnunet_prosma.inspect.viewers import write_label_descriptions
    from nnunet_prosma.smooth.settings import read_smoothing, refuse_other_data

    forced_path()  # refuses a bad one once, not case by case
    output: Path = options.o
    model = model_folder(options)
    predictor = load(model, options)
    smoothing = None
    if options.smooth is not None:
        smoothing = read_smoothing(options.smooth)
        refuse_other_data(smoothing, predictor.setup, model)
    cases = cases_of(predictor, options)
    settings = {
        "model": str(model),
        "trainer": predictor.trainer_name,
        "configuration": options.c or model.resolve().name.split("__")[-1],
        "folds": list(options.f),
        "checkpoint": options.chk,
        "step_size": options.step_size,
        "mirroring": predictor.use_mirroring and predictor.allowed_mirroring_axes is not None,
    }
    rows, files, failed = [], {}, []
    with folder_made_whole(output, "inspect") as folder:
        for number, case in enumerate(cases, start=1):
            if not options.quiet:
                tqdm.write(f"{case.name} ({number} of {len(cases)})")
            try:
                found, files[case.name] = inspect_case(
                    predictor, case, list(options.f), folder, options.outlines, smoothing
                )
            except InputError as error:
                failed.append(case.name)
                print(f"nnunet-prosma inspect: {case.name} is left out: {error}", file=sys.stderr, flush=True)
                continue
            rows += found
        if not files:
            raise InputError(f"nothing was written, since no case could be inspected: {', '.join(failed)}")
        write_label_descriptions(folder / "segmentations", predictor.setup.dataset)
        changed = {name: shown["smoothed"] for name, shown in files.items() if "smoothed" in shown}
        write_tables(rows, settings, folder, changed)
        write_index(rows, settings, files, folder)
    if failed:
        raise InputError(f"{len(failed)} of {len(cases)} cases could not be inspected: {', '.join(failed)}")
    return output / "index.html"


def draw_records(folders: Sequence[Path], output: Path | None) -> Path:
    """The picture of one record, or of several side by side."""
    from nnunet_prosma.files import refuse_file
    from nnunet_prosma.watch.plot import draw_record, is_picture
    from nnunet_prosma.watch.record import FILE, read

    picture = (output or folders[0]) / "gates.png"
    if output is not None:
        refuse_file(picture, is_picture)
    records = {}
    for folder in folders:
        path = folder / FILE
        if not path.is_file():
            raise InputError(
                f"{path} is not there: --training takes the folders fold_X of trainings with a gated trainer, which "
                f"write it at the end of each epoch"
            )
        try:
            record = read(path)
        except (ValueError, OSError) as error:
            raise InputError(f"{path} cannot be read: {error}") from error
        if not record.rows:
            raise InputError(f"{path} holds no epoch yet")
        records[_name(folder, folders)] = record
    draw_record(records, picture)
    return picture


def _name(folder: Path, among: Sequence[Path]) -> str:
    """A name of as much of the path as tells the folders apart."""
    whole = folder.resolve().parts
    others = [other.resolve().parts for other in among]
    for length in range(1, len(whole) + 1):
        if sum(other[-length:] == whole[-length:] for other in others) == 1:
            return "/".join(whole[-length:])
    raise InputError(f"{folder} is given twice")
