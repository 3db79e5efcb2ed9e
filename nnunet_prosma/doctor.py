"""nnunet-prosma doctor: does nnU-Net find the trainers in this environment, and what to do if not."""

import argparse
import json
import os
import platform
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_prosma import __version__
from nnunet_prosma.arguments import add_quiet, command_parser
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.versions import versions
from nnunet_prosma.register import DIRECTORY, SWITCH, VARIABLE

TRAINER = "nnUNetTrainerProSMA"
FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
A_FILE = "is a file, and must be a folder"


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "doctor",
        description="Say whether nnU-Net finds the trainers here, and what to do if not. With FOLDER: say which "
        "trainings below it are whole, which can go on, and which have gates. Exit status 0 if all is well, else 1.",
    )
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        help="nnUNet_results, a data set's folder in it, or TRAINER__PLANS__CONFIGURATION",
    )
    add_quiet(parser)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--gpu", action="store_true", help="also time the gates' paths on this GPU, for nnU-Net's standard 3D plan"
    )
    return parser


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 when the trainer is found and nothing else is in the way, 1 when not."""
    options = parser().parse_args(arguments)
    if options.folder is not None:
        return examine_results(options)
    report = examine()
    if options.gpu:
        report["paths on this GPU"] = paths_on_this_gpu()
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print(as_text(report))
    return 0 if report["trainer"]["found"] and not report["problems"] else 1


def examine_results(options: argparse.Namespace) -> int:
    """Exit status 0 when every training below the folder is whole or collected, 1 when not."""
    from nnunet_prosma.host import trainings

    if options.gpu:
        raise InputError("--gpu is about this machine, and FOLDER about trainings: give one of them")
    report = trainings.examine_folder(options.folder)
    print(json.dumps(report, indent=2) if options.json else trainings.as_text(report))
    return 0 if all(training["state"] in ("whole", "collected") for training in report) else 1


def examine() -> dict[str, Any]:
    trainer, trains_on = find_trainer(), device()
    folders = {name: folder_state(os.environ.get(name)) for name in FOLDERS}
    return {
        "versions": {"nnunet-prosma": __version__, "python": platform.python_version(), **versions()},
        "device": trains_on,
        "gate path": gate_path(trains_on),
        "folders": folders,
        "trainer": trainer,
        "problems": problems(folders),
        "advice": advice(trainer),
    }


def device() -> str:
    """What nnU-Net would train on: a CUDA device by default, else what -device must name."""
    try:
        import torch
    except ImportError as error:
        return f"none: torch cannot be imported ({error})"
    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    if torch.backends.mps.is_available():
        return "mps: no CUDA device found; train with -device mps"
    return f"cpu: {torch.get_num_threads()} threads, no GPU found; train with -device cpu"


def gate_path(device: str) -> str:
    """The path by which a gate of default settings is computed on a device."""
    try:
        import torch

        from nnunet_prosma.fast.concatenation import chosen_path
        from nnunet_prosma.gate import ProSMAGate

        return chosen_path(ProSMAGate(torch.nn.Conv3d, 32, 32), torch.device(device.partition(":")[0]))
    except (ImportError, RuntimeError, ValueError) as error:
        return f"none: {error}"


def paths_on_this_gpu() -> list[str]:
    """Each path's time and the choice, gate by gate, as at the start of a training; measured once and remembered."""
    import torch

    from nnunet_prosma.fast.concatenation import VARIABLE as PATH
    from nnunet_prosma.fast.concatenation import forced_path
    from nnunet_prosma.fast.gpu import choose_paths, standard_gates

    if not torch.cuda.is_available():
        raise InputError("--gpu needs a GPU that torch can use, and there is none: leave it out")
    if forced_path() is not None:
        return [f"nothing is chosen: {PATH}={forced_path()} forces a path"]
    device = torch.device("cuda")
    return choose_paths(standard_gates(device), device)


def folder_state(path: str | None) -> dict[str, str | None]:
    if path is None:
        state = "not set"
    elif os.path.isdir(path):
        state = "ok" if os.access(path, os.W_OK) else "not writable"
    elif os.path.exists(path):
        state = A_FILE
    else:
        state = "does not exist"
    return {"path": path, "state": state}


def problems(folders: dict[str, dict[str, str | None]]) -> list[str]:
    """What the other commands would refuse, each with what to do about it."""
    found = [
        f"{name} is {folder['path']}, which is a file: nnU-Net needs a folder there, so set {name} to one"
        for name, folder in folders.items()
        if folder["state"] == A_FILE
    ]
    try:
        from nnunet_prosma.fast.concatenation import forced_path

        forced_path()
    except ImportError:
        pass  # without torch, which is said elsewhere
    except ValueError as error:
        found.append(f"{error}; unset it, and the fastest path is taken")
    return found


def find_trainer() -> dict[str, Any]:
    """Looks TRAINER up as nnU-Net's commands do, twice: a class that differs could not be pickled."""
    report: dict[str, Any] = {"name": TRAINER, "found": False, VARIABLE: os.environ.get(VARIABLE)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from nnunet_prosma.host.trainers import search

            first, second = (search(TRAINER) for _ in range(2))
    except Exception as error:  # whatever stops nnU-Net's search is what the report is about
        return {**report, "error": f"{type(error).__name__}: {error}"}
    module = sys.modules[first.__module__]
    listed = os.environ.get(VARIABLE, "").split(os.pathsep)
    return {
        **report,
        "found": True,
        "class": f"{first.__module__}.{first.__qualname__}",
        "file": module.__file__,
        "through": DIRECTORY if DIRECTORY in listed else None,
        "same class twice": first is second,
    }


def advice(trainer: dict[str, Any]) -> str:
    """One line of what to do next."""
    if trainer["found"]:
        return f"Nothing to do: nnUNetv2_train DATASET CONFIGURATION FOLD -tr {TRAINER}"
    if not versions()["nnunetv2"]:
        return "nnU-Net is not installed in this environment: pip install 'nnunetv2>=2.8,<3'"
    if os.environ.get(SWITCH) == "0":
        return f"The registration is switched off: unset {SWITCH}"
    if DIRECTORY not in (trainer[VARIABLE] or "").split(os.pathsep):
        return (
            f"Python's start-up file was not read (an editable install or pip install --target has none): "
            f"export {VARIABLE}=$(nnunet-prosma trainer-path)"
        )
    if "torchvision" in trainer.get("error", ""):
        return (
            "torch and torchvision, which nnU-Net's networks import, must be of one build: pip install "
            "--force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cpu (or the index of "
            "your CUDA)"
        )
    return "nnU-Net's search failed: mend what the error names, often another module in a directory of the list"


def as_text(report: dict[str, Any]) -> str:
    trainer = report["trainer"]
    lines = ["versions"]
    lines += [f"  {name:<30} {version or 'not installed'}" for name, version in report["versions"].items()]
    lines += ["device", f"  {report['device']}", "path of the gates", f"  {report['gate path']}", "nnU-Net's folders"]
    lines += [f"  {name:<30} {f['path'] or '-'} ({f['state']})" for name, f in report["folders"].items()]
    lines += [f"trainer {trainer['name']}: {'found' if trainer['found'] else 'NOT FOUND'}"]
    lines += [f"  {key:<30} {trainer[key]}" for key in trainer if key not in ("name", "found")]
    lines += report.get("paths on this GPU", [])
    return "\n".join([*lines, *(f"PROBLEM: {problem}" for problem in report["problems"]), report["advice"]])
