"""nnunet-prosma warm-start: reads a checkpoint, writes the file for nnUNetv2_train -pretrained_weights."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_prosma.arguments import command_parser
from nnunet_prosma.errors import InputError

if TYPE_CHECKING:
    from nnunet_prosma.host.plans import Setup
    from nnunet_prosma.warm_start.transfer import Transfer


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "warm-start",
        description="Turn a checkpoint of nnU-Net without gates into one that a gated training can start from: "
        "nnUNetv2_train DATASET CONFIGURATION FOLD -tr nnUNetTrainerProSMA -pretrained_weights START.pth. "
        "At the start the network segments as the checkpoint does; the gates learn from there.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="fold_X/checkpoint_final.pth of nnU-Net")
    parser.add_argument("-o", dest="output", type=Path, metavar="START.pth", required=True, help="file for the start")
    parser.add_argument("-tr", metavar="TRAINER", default="nnUNetTrainerProSMA", help="default: %(default)s")
    parser.add_argument("-d", metavar="DATASET", help="data set to train on; default: the checkpoint's own plans hold")
    parser.add_argument("-p", metavar="PLANS", help="plans of that data set; default: those that the checkpoint names")
    parser.add_argument("-c", metavar="CONFIGURATION", help="default: the checkpoint's")
    parser.add_argument(
        "--keep-weights",
        action="store_true",
        help="touch no weight, and open the gates to 0.9999 instead: they then hardly learn (docs/warm-start.md)",
    )
    parser.add_argument("--tensors", action="store_true", help="name each tensor, whether copied or new")
    parser.add_argument("--overwrite", action="store_true", help="replace START.pth if it exists")
    return parser


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    if options.output.exists() and (not options.overwrite or options.output.resolve() == options.checkpoint.resolve()):
        what = "is the checkpoint itself" if options.output.resolve() == options.checkpoint.resolve() else "exists"
        raise InputError(f"-o {options.output} {what}: name another file, or replace an earlier START with --overwrite")
    if options.output.is_file() and not is_start(options.output):
        raise InputError(f"-o {options.output} exists, and is no start that warm-start made: name another file")
    print(warm_start(options))
    return 0


def warm_start(options: argparse.Namespace) -> str:
    """Write the file, and say what it holds and how to go on."""
    from nnunet_prosma.host.checkpoints import facts_of, read_checkpoint, require_fit, weights_of
    from nnunet_prosma.warm_start.fit import allowed_differences, refuse_misfit, same_outputs
    from nnunet_prosma.warm_start.target import (
        build_network,
        first_weight,
        has_all_outputs,
        smallest_size,
        trained_setup,
        vanilla_network,
        wanted_setup,
    )
    from nnunet_prosma.warm_start.transfer import largest_difference, transfer

    checkpoint = read_checkpoint(options.checkpoint)
    weights, trainer = weights_of(checkpoint), facts_of(checkpoint, options.checkpoint).trainer_name
    trained = trained_setup(checkpoint, options.checkpoint)
    wanted = wanted_setup(trained, options.d, options.p, options.c)
    refuse_misfit(trained, wanted)
    all_outputs = has_all_outputs(weights)
    network = build_network(options.tr, wanted, all_outputs)
    same_channels = trained.input_channels == wanted.input_channels
    same_heads = same_outputs(trained, wanted)
    done = transfer(
        network,
        weights,
        keep_weights=options.keep_weights,
        same_heads=same_heads,
        first_layer=None if same_channels else first_weight(network),
    )
    if same_channels and same_heads:
        vanilla = vanilla_network(trained, trainer, all_outputs)
        require_fit(vanilla, weights, options.checkpoint)
        vanilla.load_state_dict(weights)
        size = smallest_size(trained)
        done.logits_differ_by = largest_difference(vanilla, network, trained.input_channels, size)
        if not done.logits_differ_by < 1e-3:
            raise InputError(
                f"nothing was written: the gated network's logits differ from the checkpoint's by "
                f"{done.logits_differ_by:.1e} of the largest, so its trainer "
                f"{trainer} must have trained another network than its plans name"
            )
    write(options, network, done, same_heads)
    how = "the identity (alpha is 0)" if network.decoder.config.residual else None
    return describe(options, trained, wanted, done, list(allowed_differences(trained, wanted)), how)


def write(options: argparse.Namespace, network: Any, done: "Transfer", same_heads: bool) -> None:
    from nnunet_prosma import __version__
    from nnunet_prosma.architectures.carried_heads import carry_settings, with_heads
    from nnunet_prosma.files import file_made_whole
    from nnunet_prosma.host.checkpoints import write_checkpoint

    weights = {key: value.clone() for key, value in network.state_dict().items()}
    if same_heads:
        weights = with_heads(weights)
    carry_settings(weights, network.decoder.config.to_dict())
    start = {
        "network_weights": weights,
        "warm_start": {
            "nnunet_prosma": __version__,
            "from": options.checkpoint.name,
            "trainer": options.tr,
            "copied": done.copied,
            "divided": done.divided,
            "new": done.new,
        },
    }
    with file_made_whole(options.output, is_start) as temporary:
        write_checkpoint(start, temporary)


def is_start(path: Path) -> bool:
    """Whether an earlier warm-start wrote it: anything else is not replaced, not even with --overwrite."""
    from nnunet_prosma.host.checkpoints import read_checkpoint

    try:
        return "warm_start" in read_checkpoint(path)
    except InputError:
        return False


def describe(
    options: argparse.Namespace,
    trained: "Setup",
    wanted: "Setup",
    done: "Transfer",
    differences: Sequence[str],
    how: str | None = None,
) -> str:
    """how: what the gates are at the start, where they are not open to some share."""
    from nnunet_prosma.gate import OPEN
    from nnunet_prosma.warm_start.open_gates import SLIT

    how = how or f"open to {1 - SLIT if options.keep_weights else OPEN:g}"
    names = options.tensors
    lines = [f"copied unchanged: {_listed(done.copied, names)}"]
    if done.divided:
        lines.append(f"copied, the skip's half divided by the gate's openness: {_listed(done.divided, names)}")
    lines.append(f"new, gates {how}: {_listed([k for k in done.new if k.startswith('decoder.gates.')], names)}")
    if others := [key for key in done.new if not key.startswith("decoder.gates.")]:
        lines.append(f"new, as nnU-Net draws it, since channels or labels differ: {_listed(others, True)}")
    lines += [f"differs, which is allowed: {difference}" for difference in differences]
    if done.logits_differ_by is not None:
        lines.append(f"logits differ from the checkpoint's by {done.logits_differ_by:.1e} of the largest")
    else:
        lines.append("logits differ from the checkpoint's, since layers are new")
    name = wanted.plans.dataset if options.d is None else options.d
    plans = "" if wanted.plans.name == "nnUNetPlans" else f" -p {wanted.plans.name}"
    lines.append(
        f"next: nnUNetv2_train {name} {wanted.configuration} FOLD{plans} -tr {options.tr} "
        f"-pretrained_weights {options.output}"
    )
    return "\n".join(lines)


def _listed(keys: Sequence[str], names: bool) -> str:
    return f"{len(keys)} tensors" + "".join(f"\n  {key}" for key in keys if names)
