"""nnunet-prosma plan: nnU-Net's experiment planning with the gates counted, under plans names of its own."""

import argparse
import contextlib
import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_prosma.arguments import command_parser, number_above
from nnunet_prosma.errors import InputError

if TYPE_CHECKING:
    from nnunet_prosma.plan.planner import GatedPlannerMixin

PLANNERS = {
    "default": "ExperimentPlanner",
    "ResEnc": "ResEncUNetPlanner",
    "ResEncM": "nnUNetPlannerResEncM",
    "ResEncL": "nnUNetPlannerResEncL",
    "ResEncXL": "nnUNetPlannerResEncXL",
}


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "plan",
        description="Plan data sets as nnUNetv2_plan_experiment does, with a gate on each skip of the network and its "
        "memory counted. The fingerprint must have been extracted; preprocessing and training are nnU-Net's commands.",
    )
    parser.add_argument("-d", metavar="DATASET", nargs="+", required=True, help="data sets, by number or name")
    parser.add_argument(
        "-pl",
        metavar="PLANNER",
        default="default",
        help=f"one of {', '.join(PLANNERS)}, or nnU-Net's name for it; default: %(default)s",
    )
    parser.add_argument(
        "-gpu_memory_target",
        metavar="GB",
        type=number_above(0),
        help="default: the planner's. Plans of another target are named after it, nnUNetProSMAPlans_24G for 24",
    )
    parser.add_argument(
        "-overwrite_target_spacing", metavar="MM", type=number_above(0), nargs=3, help="of 3d_fullres, as in nnU-Net"
    )
    parser.add_argument("-preprocessor_name", metavar="CLASS", default="DefaultPreprocessor", help="as in nnU-Net")
    parser.add_argument("-overwrite_plans_name", metavar="NAME", help="instead of nnUNetProSMA...Plans")
    parser.add_argument(
        "--gate", metavar="SETTING", nargs="+", default=[], help="lam=0.1 dilations=1,2 ..., or all as a JSON object"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace gated plans of that name")
    return parser


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    for dataset in options.d:
        print(plan(dataset, options))
    return 0


def plan(dataset: str, options: argparse.Namespace) -> str:
    """Plan one data set, and say what came out of it and how to go on."""
    if options.pl not in PLANNERS and options.pl not in PLANNERS.values():
        raise InputError(f"-pl must be one of {', '.join(PLANNERS)} (or nnU-Net's name for it), got {options.pl!r}")
    name = options.overwrite_plans_name
    if name is not None and (not name or name != Path(name).name):
        raise InputError(f"-overwrite_plans_name must be a file's name without folder and ending, got {name!r}")
    gate = gate_settings(options.gate)
    from nnunet_prosma.host.datasets import require_planned_data
    from nnunet_prosma.host.preprocessing import require_preprocessor
    from nnunet_prosma.plan.planner import PLANNERS as CLASSES

    name_of_dataset = require_planned_data(dataset)
    require_preprocessor(options.preprocessor_name)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "WARNING: You are running nnUNetPlanner", UserWarning)
            planner = CLASSES[PLANNERS.get(options.pl, options.pl)](
                name_of_dataset,
                options.gpu_memory_target,
                options.preprocessor_name,
                name,
                options.overwrite_target_spacing,
                gate=gate,
                overwrite=options.overwrite,
            )
            _refuse_foreign_plans(planner)
            _require_first_image(planner)
            planner.plan_experiment()
    except (InputError, OSError, RecursionError, MemoryError):
        raise
    except Exception as error:  # nnU-Net's planner asserts, divides and indexes by what data sets hold
        about = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"data set {dataset} cannot be planned: {about}") from error
    return _summary(planner)


def gate_settings(words: Sequence[str]) -> dict[str, Any]:
    """Settings of GateConfig from NAME=VALUE words, values in JSON or comma-separated, or from one JSON object."""
    from nnunet_prosma.gate import GateConfig

    settings: dict[str, Any] = {}
    for word in words:
        if word.lstrip().startswith("{"):
            whole = _json_or(word, None)
            settings.update(whole if isinstance(whole, dict) else _refuse(word))
            continue
        key, equals, value = word.partition("=")
        if not equals:
            _refuse(word)
        settings[key] = _json_or(f"[{value}]", None) if "," in value else _json_or(value, value)
        if key == "dilations" and isinstance(settings[key], int):
            settings[key] = [settings[key]]
    try:
        return GateConfig.of(settings).to_dict()
    except ValueError as error:
        raise InputError(f"--gate: {error}") from error


def _json_or(text: str, otherwise: Any) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return otherwise


def _refuse(word: str) -> dict[str, Any]:
    raise InputError(f"--gate takes NAME=VALUE, such as lam=0.1, or one JSON object, got {word!r}")


def _require_first_image(planner: Any) -> None:
    """Which reader serves, nnU-Net finds out with the first case's first image."""
    from nnunet_prosma.host.whole import require_whole

    case = next(iter(planner.dataset.values()), None)
    if case is None:
        raise InputError(f"{planner.raw_dataset_folder} holds no training image: imagesTr is empty, or named otherwise")
    require_whole(case["images"][:1])


def _refuse_foreign_plans(planner: "GatedPlannerMixin") -> None:
    """--overwrite is for gated plans, never for those of nnU-Net or of the user."""
    from nnunet_prosma.host.plans import Plans
    from nnunet_prosma.plan.planner import PLANNERS as CLASSES

    path = planner.plans_file(planner.plans_identifier)
    if path.exists():
        by = Plans.read(path).said.experiment_planner_used
        if by not in {gated.__name__ for gated in CLASSES.values()}:
            raise InputError(
                f"{path} is there already and was planned by {by}, not here; choose another -overwrite_plans_name"
            )


def _summary(planner: "GatedPlannerMixin") -> str:
    from nnunet_prosma.host.plans import Plans

    path = planner.plans_file(planner.plans_identifier)
    lines = [f"{path}"]
    to_preprocess = []
    planned = Plans.read(path).said.configurations
    for name, part in planned.items():
        if part.patch_size is None or part.architecture is None:
            lines.append(f"  {name}: as {part.inherits_from}")
            continue
        patch = "x".join(map(str, part.patch_size))
        network = part.architecture.network_class_name.rpartition(".")[-1]
        there = (path.parent / str(part.data_identifier)).is_dir()
        data = f"data {part.data_identifier}, {'preprocessed already' if there else 'to be preprocessed'}"
        lines.append(f"  {name}: {network}, patch {patch}, batch {part.batch_size}; {data}")
        to_preprocess += [] if there else [name]
    number = int(planner.dataset_name[len("Dataset") :].split("_")[0])
    if to_preprocess:
        lines.append(
            f"next: nnUNetv2_preprocess -d {number} -plans_name {planner.plans_identifier} -c {' '.join(to_preprocess)}"
        )
    configuration = "3d_fullres" if "3d_fullres" in planned else "2d"
    lines.append(f"then: nnUNetv2_train {number} {configuration} 0 -p {planner.plans_identifier}")
    return "\n".join(lines)
