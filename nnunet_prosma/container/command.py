"""nnunet-prosma container: writes the folder from which a challenge's container is built."""

import argparse
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_prosma import __version__
from nnunet_prosma.arguments import command_parser, number_above
from nnunet_prosma.errors import InputError

if TYPE_CHECKING:
    from nnunet_prosma.host.plans import Setup

PLATFORMS = ("grand-challenge",)
TEMPLATE = Path(__file__).with_name("template")
BASES = {
    "3.10": "python:3.10.18-slim-bookworm",
    "3.11": "python:3.11.13-slim-bookworm",
    "3.12": "python:3.12.11-slim-bookworm",
    "3.13": "python:3.13.5-slim-bookworm",
}
OUTPUTS = (".mha", ".nii.gz", ".tif")


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "container",
        description="Write a folder ready for docker build from a bundle: Dockerfile, entry script, scripts to build, "
        "test and save, and a README with the platform's steps.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that nnunet-prosma bundle made")
    parser.add_argument("--platform", choices=PLATFORMS, default="grand-challenge", help="default: %(default)s")
    parser.add_argument(
        "--input", nargs="+", required=True, metavar="PATH=CHANNEL", help="socket's relative path and its channel"
    )
    parser.add_argument(
        "--output", required=True, metavar="PATH[=ENDING]", help="ending .mha (default), .nii.gz or .tif"
    )
    parser.add_argument("-o", dest="folder", type=Path, required=True, help="a folder not yet there")
    parser.add_argument(
        "--weights", choices=("image", "model"), default="image", help="in the image, or as model.tar.gz"
    )
    parser.add_argument(
        "--memory", type=number_above(0), default=16, metavar="GB", help="main memory of a job; default: %(default)g"
    )
    parser.add_argument(
        "--time-limit", type=number_above(0), metavar="S", help="of a job: measure options, and take one that fits"
    )
    parser.add_argument("--gpu-memory", type=number_above(0), metavar="GB", help="of the platform's GPU; a T4 has 16")
    parser.add_argument(
        "--samples", type=Path, help="cases to measure on, CASE_0000...; default: the largest training shape"
    )
    parser.add_argument("-device", default="cuda", choices=("cuda", "cpu"), help="to measure on; default: %(default)s")
    parser.add_argument("--wheel", type=Path, help="wheel of nnunet-prosma; default: made of the installed package")
    return parser


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    print(write_folder(options))
    return 0


def write_folder(options: argparse.Namespace) -> str:
    from nnunet_prosma.bundle.manifest import read_manifest
    from nnunet_prosma.bundle.network import read_setup
    from nnunet_prosma.bundle.wheel import write_installed
    from nnunet_prosma.container.sockets import parse_inputs
    from nnunet_prosma.files import folder_made_whole

    if options.folder.exists():
        raise InputError(f"-o {options.folder} is there already: name another folder")
    for flag in ("memory", "time_limit", "gpu_memory"):
        value = getattr(options, flag)
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"--{flag.replace('_', '-')} must be a number above 0, got {value:g}")
    if options.time_limit is None and (options.gpu_memory or options.samples):
        raise InputError(
            "--gpu-memory and --samples are for the choice that --time-limit asks for: give --time-limit too"
        )
    manifest = read_manifest(options.bundle)
    model = options.bundle / "models" / manifest["models"][0]["name"]
    setups = [read_setup(options.bundle / "models" / m["name"], m["configuration"]) for m in manifest["models"]]
    _require_reader(str(setups[0].plans.said.image_reader_writer))
    sockets = parse_inputs(options.input, setups[0].dataset.channel_names)
    path, ending = output_socket(options.output)
    python = ".".join(manifest["python"].split(".")[:2])
    if python not in BASES:
        raise InputError(f"the bundle was made with Python {python}, and base images are known for {', '.join(BASES)}")
    for entry, setup in zip(manifest["models"], setups, strict=True):
        _require_fit(options.bundle / "models" / entry["name"], entry["folds"], setup)
    choice, said = make_choice(options, manifest, model)
    container = {
        "inputs": [{"path": socket.path, "channels": list(socket.channels)} for socket in sockets],
        "output": {"path": path, "ending": ending},
        "memory_gb": options.memory,
        "choice": {key: choice[key] for key in ("folds", "mirroring", "step_size", "on_device")},
    }
    with folder_made_whole(options.folder) as folder:
        shutil.copytree(options.bundle, folder / "bundle")
        (folder / "container.json").write_text(json.dumps(container, indent=1) + "\n")
        (folder / "choice.json").write_text(json.dumps(choice, indent=1) + "\n")
        write_installed(folder, options.bundle, options.wheel)
        _fill_templates(folder, options, manifest, container, setups[0].plans.dataset, BASES[python])
    return f"{said}{options.folder}\nnext: {options.folder}/do_build.sh, then as its README.md tells"


def _require_fit(folder: Path, folds: Sequence[str], setup: "Setup") -> None:
    """A network that cannot be built, or weights that are not its own, would be found out on the platform alone."""
    from nnunet_prosma.bundle.network import build
    from nnunet_prosma.bundle.weights import FILE, read_weights
    from nnunet_prosma.host.checkpoints import require_fit

    network = build(setup)
    for fold in folds:
        path = folder / f"fold_{fold}" / FILE
        require_fit(network, read_weights(path), path)


def _require_reader(reader: str) -> None:
    from nnunet_prosma.container.images import MEDICAL, PHOTOGRAPHS, STACKS

    if reader not in (*MEDICAL, PHOTOGRAPHS, STACKS):
        raise InputError(
            f"the model was trained on images as nnU-Net's {reader} turns them, and the container reads images as "
            f"{', '.join((*MEDICAL, PHOTOGRAPHS, STACKS))} do"
        )


def output_socket(word: str) -> tuple[str, str]:
    from nnunet_prosma.container.sockets import relative

    path, equals, ending = word.partition("=")
    if equals and ending not in OUTPUTS:
        raise InputError(f"--output takes PATH=ENDING with one of {', '.join(OUTPUTS)}, got {word!r}")
    return relative(path, "--output"), ending or OUTPUTS[0]


def make_choice(options: argparse.Namespace, manifest: dict[str, Any], model: Path) -> tuple[dict[str, Any], str]:
    """What choice.json holds, and the table to print. Without a time limit: all folds, mirroring, step 0.5."""
    everything: dict[str, Any] = {"folds": None, "mirroring": True, "step_size": 0.5, "on_device": True}
    if options.time_limit is None:
        return everything, ""
    from nnunet_prosma.container.choice import as_json, choose, measure, table
    from nnunet_prosma.host.devices import choose_device

    choose_device(options.device)
    measured = measure(options.bundle, manifest, options.device, list(sample_cases(options, manifest, model)))
    chosen = choose(measured, options.time_limit, options.gpu_memory)
    device = _device_name(options.device)
    choice = {
        **as_json(chosen),
        "folds": manifest["models"][0]["folds"][: chosen.folds],
        "time_limit_s": options.time_limit,
        "gpu_memory_gb": options.gpu_memory,
        "measured_on": device,
        "options": [as_json(option) for option in measured],
    }
    return choice, table(measured, chosen, device) + "\n\n"


def _device_name(device: str) -> str:
    import platform

    import torch

    return (
        str(torch.cuda.get_device_name())
        if device == "cuda"
        else f"CPU {platform.machine()}, {torch.get_num_threads()} threads"
    )


def sample_cases(options: argparse.Namespace, manifest: dict[str, Any], model: Path) -> Any:
    from nnunet_prosma.bundle.predict import find_cases
    from nnunet_prosma.bundle.predictor import BundlePredictor, How
    from nnunet_prosma.container.choice import largest_case
    from nnunet_prosma.host.fingerprint import read_fingerprint
    from nnunet_prosma.host.images import read_images

    predictor = BundlePredictor(options.bundle, manifest, How(device="cpu", progress=False))
    if options.samples:
        reader = predictor.members[0].plans_manager.image_reader_writer_class()
        for files in find_cases(options.samples, predictor).values():
            yield read_images(reader, files)
        return
    fingerprint = read_fingerprint(model)
    if fingerprint is None:
        raise InputError("the bundle has no dataset_fingerprint.json to take a shape from: give cases with --samples")
    yield largest_case(fingerprint, len(predictor.channel_names))


def _fill_templates(
    folder: Path, options: argparse.Namespace, manifest: dict[str, Any], container: dict[str, Any], name: str, base: str
) -> None:
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:100].strip("-_") or "model"  # docker and files allow 255
    tag = name.lower().replace("_", "-")
    first = container["inputs"][0]["path"]
    separate = options.weights == "model"
    endings = [f"`test/input/{entry['path']}/`" for entry in container["inputs"]]
    sockets = [
        f"- input `{entry['path']}`: channel {', '.join(map(str, entry['channels']))}" for entry in container["inputs"]
    ]
    sockets.append(f"- output `{container['output']['path']}`: `output{container['output']['ending']}`")
    save = "tar -C bundle -czf model.tar.gz.part .\nmv model.tar.gz.part model.tar.gz\n"
    values = {
        "BASE": base,
        "TAG": tag,
        "NAME": name,
        "VERSION": __version__,
        "MEMORY": f"{options.memory:g}",
        "FIRST_INPUT": first,
        "SOCKETS": "\n".join(sockets),
        "TEST_FILES": ", ".join(endings),
        "MODEL_VOLUME": '--volume "$PWD/bundle:/opt/ml/model:ro" \\\n    ' if separate else "",
        "SAVE_MODEL": save if separate else "",
        "MODEL_FILE": " and `model.tar.gz`" if separate else "",
        "UPLOAD_MODEL": ", and `model.tar.gz` under Models" if separate else "",
    }
    for template in sorted(TEMPLATE.iterdir()):
        if template.is_file():
            text = template.read_text()
            for key, value in values.items():
                text = text.replace(f"@{key}@", value)
            (folder / template.name).write_text(text)
            (folder / template.name).chmod(0o755 if template.suffix == ".sh" else 0o644)
    ignored = ["*", "!bundle", "!wheels", "!requirements.txt", "!container.json", "!inference.py"]
    ignored += ["bundle/models", "bundle/manifest.json"] if separate else []
    (folder / ".dockerignore").write_text("\n".join(ignored) + "\n")
    (folder / "test" / "input" / first).mkdir(parents=True)
