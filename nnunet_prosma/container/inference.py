"""What runs in the container, once for each case: reads the sockets, segments, writes the socket.

Everything is said on stdout, which the platform shows as the log. A case that cannot be read, or that does not fit,
ends with one sentence and exit status 1, and nothing is written.
"""

import argparse
import math
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_prosma.errors import InputError, of_system
from nnunet_prosma.files import read_json

if TYPE_CHECKING:
    from nnunet_prosma.bundle.predictor import BundlePredictor

STARTED = time.monotonic()


def main(arguments: Sequence[str] | None = None) -> int:
    here = Path(os.environ.get("NNUNET_PROSMA_APP", "/opt/app"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=Path, default=here / "container.json")
    parser.add_argument("--input", type=Path, default=Path("/input"))
    parser.add_argument("--output", type=Path, default=Path("/output"))
    parser.add_argument("--model", type=Path, default=Path("/opt/ml/model"), help="the platform's model, if it has one")
    parser.add_argument("--bundle", type=Path, default=here / "bundle", help="the model in the image")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TQDM_MININTERVAL", "10")  # a line of progress each ten seconds
    sys.stderr = sys.stdout  # the platform counts what is on stderr as a warning
    try:
        run(options)
    except InputError as error:
        print(f"FAILED: {error}", flush=True)
        return 1
    except MemoryError:
        print("FAILED: out of memory: give the job more of it", flush=True)
        return 1
    except OSError as error:
        print(f"FAILED: {of_system(error)}", flush=True)
        return 1
    except Exception as error:  # a fault of ours, or of the GPU: for the log, where the platform's user looks
        traceback.print_exc(file=sys.stdout)
        print(f"FAILED: unforeseen, {type(error).__name__}: {error}", flush=True)
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    from nnunet_prosma.container.images import check_headers, read_header, read_image, reader_of, write_segmentation
    from nnunet_prosma.container.sockets import Socket, find_files

    settings = read_json(options.settings)
    sockets = [Socket(entry["path"], tuple(entry["channels"])) for entry in settings["inputs"]]
    files = find_files(options.input, sockets)
    headers = [read_header(path) for path in files]
    check_headers(files, sockets, headers)
    for path, socket, header in zip(files, sockets, headers, strict=True):
        said = "x".join(map(str, header.size))
        say(f"{socket.path}: {path.name}, {said}, channel {', '.join(map(str, socket.channels))}")
    predictor = load(options, settings["choice"])
    reader = reader_of(predictor.setup.plans)
    make_room(predictor, headers[0], reader, settings)
    if predictor.smoothing is not None:
        say("smoothing: as SMOOTH.json of the bundle says")
    image, properties = read_image(files, sockets, headers, reader)
    say(f"segmenting with {settings['choice']}")
    segmentation = predictor.segment(image, properties)
    counts = {int(label): int((segmentation == label).sum()) for label in range(1, int(segmentation.max()) + 1)}
    said = ", ".join(f"label {label}: {count} voxels" for label, count in counts.items() if count)
    say(said or "NOTE: the network finds no foreground in this image, so the segmentation is all background")
    target = options.output / settings["output"]["path"] / f"output{settings['output']['ending']}"
    write_segmentation(segmentation, files[0], headers[0], target, options.output)
    say(f"written: {target}")


def say(sentence: str) -> None:
    print(f"[{time.monotonic() - STARTED:7.1f} s] {sentence}", flush=True)


def load(options: argparse.Namespace, choice: dict[str, Any]) -> "BundlePredictor":
    """The platform's model if there is one, else the image's, checked file by file."""
    from nnunet_prosma.bundle.manifest import NAME, read_manifest

    bundle = options.model if (options.model / NAME).is_file() else options.bundle
    if not (bundle / NAME).is_file():
        raise InputError(f"there is no model, neither in {options.model} nor in {options.bundle}: upload model.tar.gz")
    manifest = read_manifest(bundle)
    say(f"model: {bundle}, {', '.join(model['name'] for model in manifest['models'])}")
    import torch

    from nnunet_prosma.bundle.predictor import BundlePredictor, How

    device = "cuda" if torch.cuda.is_available() else "cpu"
    say(f"device: {torch.cuda.get_device_name() if device == 'cuda' else 'CPU, for there is no GPU here'}")
    how = How(
        folds=choice["folds"],
        step_size=choice["step_size"],
        mirroring=choice["mirroring"],
        device=device,
        on_device=choice["on_device"],
    )
    return BundlePredictor(bundle, manifest, how)


def make_room(predictor: "BundlePredictor", header: Any, reader: str, settings: dict[str, Any]) -> None:
    """Refuse the image that would be killed for its size later."""
    from nnunet_prosma.container.images import spacing
    from nnunet_prosma.container.memory import bytes_needed, ceiling, network_voxels, require_room

    size = [1] * (3 - len(header.size)) + list(header.size[::-1])
    needed = 0.0
    for member in predictor.members:
        forward = member.plans_manager.transpose_forward
        turned, steps = [size[axis] for axis in forward], [spacing(header, reader)[axis] for axis in forward]
        voxels = network_voxels(turned, steps, member.configuration_manager.spacing)
        arguments = (len(predictor.channel_names), member.label_manager.num_segmentation_heads)
        folds, models = len(member.list_of_parameters), len(predictor.members)
        patch = member.configuration_manager.patch_size
        maps = 0.0
        if predictor.how.device == "cpu":
            maps = 5.0 * member.network.compute_conv_feature_map_size(patch)
        counts, smoothed = (folds, models, math.prod(patch)), predictor.smoothing is not None
        needed = max(needed, maps + bytes_needed(math.prod(size), voxels, *arguments, *counts, smoothed=smoothed))
    limit = ceiling(settings["memory_gb"])
    say(f"memory: up to {needed / 1e9:.1f} GB of {limit / 1e9:.1f} GB")
    require_room(needed, limit, header.size)


if __name__ == "__main__":
    sys.exit(main())
