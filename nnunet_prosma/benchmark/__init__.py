"""nnunet-prosma benchmark: what gates cost on a plan's own network, patch and batch, beside vanilla nnU-Net."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_prosma.arguments import STDOUT, add_device, add_json, add_quiet, command_parser, whole
from nnunet_prosma.errors import InputError

if TYPE_CHECKING:
    from nnunet_prosma.benchmark.setting import Setting

PRESETS = ("3d", "2d", "3d-aniso", "resenc-m")
NETWORKS = ("vanilla", "attention", "prosma", "prosma-spatial", "prosma-channel", "prosma-hard")


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "benchmark",
        description="Measure parameters, arithmetic, the time of a training step and of a forward pass, kept "
        "activations and peak memory, of vanilla and gated networks in turn, trained as nnU-Net trains them.",
    )
    parser.add_argument("-d", metavar="DATASET", help="a planned data set, by number or name")
    parser.add_argument("-p", metavar="PLANS", default="nnUNetPlans", help="with -d; default: %(default)s")
    parser.add_argument("--plans", metavar="FILE", type=Path, help="a plans file, instead of -d")
    parser.add_argument("-c", metavar="CONFIGURATION", help="of the plans, with -d or --plans")
    parser.add_argument("--preset", metavar="NAME", help=f"built-in plans, instead of both: {', '.join(PRESETS)}")
    parser.add_argument("--patch", metavar="N", type=whole(1), nargs="+", help="instead of the plans'")
    parser.add_argument("--batch", metavar="N", type=whole(1), help="instead of the plans'")
    parser.add_argument(
        "--networks",
        metavar="NAME",
        nargs="+",
        default=["vanilla", "attention", "prosma"],
        help=f"any of {', '.join(NETWORKS)}; default: vanilla attention prosma",
    )
    add_device(parser)
    parser.add_argument(
        "--rounds", metavar="N", type=whole(1), default=7, help="timed, after warm-up; default: %(default)s"
    )
    add_json(parser)
    add_quiet(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    unknown = [name for name in options.networks if name not in NETWORKS]
    if unknown:
        raise InputError(f"no network {', '.join(map(repr, unknown))}; there are {', '.join(NETWORKS)}")
    to_file = options.json not in (None, STDOUT)
    if to_file and not options.json.absolute().parent.is_dir():
        raise InputError(f"the folder of --json {options.json} does not exist")
    if to_file:
        from nnunet_prosma.files import is_json_of, refuse_file

        refuse_file(options.json, is_json_of("benchmark"))
    from nnunet_prosma.host.devices import choose_device

    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # torch's profiler reports a missing GPU as an error, on import
    report = benchmark(
        _setting(options), list(dict.fromkeys(options.networks)), choose_device(options.device), options.rounds
    )
    print(json.dumps(report, indent=1) if options.json == STDOUT else as_text(report))
    if to_file:
        _write(options.json, report)
    return 0


def _setting(options: argparse.Namespace) -> "Setting":
    from nnunet_prosma.benchmark import setting

    if sum(value is not None for value in (options.d, options.plans, options.preset)) != 1:
        raise InputError("name one of -d DATASET, --plans FILE and --preset NAME")
    if options.preset is not None:
        chosen = setting.from_preset(options.preset, options.patch)
    elif options.c is None:
        raise InputError("-d and --plans need -c CONFIGURATION, such as 3d_fullres")
    elif options.plans is not None:
        chosen = setting.from_file(options.plans, options.c)
    else:
        chosen = setting.from_dataset(options.d, options.c, options.p)
    return chosen.resized(options.patch, options.batch)


def benchmark(setting: "Setting", networks: Sequence[str], device_name: str, rounds: int) -> dict[str, Any]:
    """The report: versions, machine, setting, and the measurements by network."""
    from functools import partial

    import torch

    from nnunet_prosma import __version__
    from nnunet_prosma.benchmark.machine import machine
    from nnunet_prosma.benchmark.measure import measure
    from nnunet_prosma.benchmark.trainable import trainable
    from nnunet_prosma.fast.concatenation import forced_path
    from nnunet_prosma.host.versions import versions

    forced_path()  # refuses a bad one before anything is measured
    device = torch.device(device_name)
    try:
        results = measure({name: partial(trainable, name, setting, device) for name in networks}, device, rounds)
    except ValueError as error:  # a network that cannot have gates
        raise InputError(str(error)) from error
    setup = setting.setup
    return {
        "versions": {"nnunet-prosma": __version__, **versions()},
        "machine": machine(device),
        "setting": {
            "plans": setting.name,
            "configuration": setting.configuration,
            "network": setup.network_class.rpartition(".")[-1],
            "stages": setup.stages,
            "patch_size": list(setup.patch_size),
            "batch_size": setup.batch_size,
            "rounds": rounds,
        },
        "networks": results,
    }


def as_text(report: dict[str, Any]) -> str:
    from nnunet_prosma.benchmark.table import stage_table, table

    setting, results = report["setting"], report["networks"]
    patch = "x".join(map(str, setting["patch_size"]))
    stages = "" if setting["stages"] is None else f" of {setting['stages']} stages"
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items() if version)
    lines = [
        f"{setting['plans']}, {setting['configuration']}: {setting['network']}{stages}, "
        f"patch {patch}, batch {setting['batch_size']}",
        report["machine"],
        versions,
        "",
        table(results),
        "",
        f"step, infer: median and quartile distance (+-) of {setting['rounds']} interleaved rounds; x: ratio to",
        "vanilla, of times round by round. GFLOPs: forward, the whole batch. kept: by autograd, for backward.",
    ]
    for name, result in results.items():
        if result.get("gate_path"):
            lines.append(f"{name}: gates computed by the path {result['gate_path']}")
    for name, result in results.items():
        if "stages" in result:
            lines += ["", stage_table(name, result)]
    return "\n".join(lines)


def _write(path: Path, report: dict[str, Any]) -> None:
    from nnunet_prosma.files import write_json_of

    try:
        write_json_of("benchmark", path, report)
    except OSError as error:
        raise InputError(f"cannot write --json {path}: {error.strerror or error}") from error
