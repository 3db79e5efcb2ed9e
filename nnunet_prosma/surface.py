"""For Python without the command line: build a gated network, open a trained one, look at its gates, read a comparison.

All of it is also importable from nnunet_prosma itself, which loads it when it is asked for.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnunet_prosma.architectures.gated_unet import GatedNetwork
from nnunet_prosma.errors import InputError
from nnunet_prosma.gate import GateConfig, GateFields
from nnunet_prosma.host.changed import with_gates
from nnunet_prosma.host.checkpoints import read_checkpoint, required
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.plans import Plans, Setup
from nnunet_prosma.host.trained import FINAL, read_trained
from nnunet_prosma.host.trainers import find_trainer
from nnunet_prosma.watch.observe import bare, observe

if TYPE_CHECKING:
    from pandas import DataFrame

TRAINER = "nnUNetTrainerProSMA"


def gated_network(
    plans: Path | str | Mapping[str, Any],
    dataset_json: Path | str | Mapping[str, Any],
    configuration: str,
    *,
    trainer: str = TRAINER,
    gate: GateConfig | Mapping[str, Any] | None = None,
    deep_supervision: bool = False,
) -> GatedNetwork:
    """The network of nnU-Net's plans with gates, initialised as for a training.

    plans and dataset_json are files or their content, which is not changed. gate: settings in the place of the plans'
    own; the trainer's own (those of nnUNetTrainerProSMA_hardRemoval, say) are applied on top.
    """
    described = Dataset.of(_content(dataset_json), "dataset_json")
    setup = Setup(Plans.of(_content(plans), _source(plans)), configuration, described)
    asked = None if gate is None else GateConfig.of(gate)
    if asked is not None:
        setup = with_gates(setup, gate=asked.to_dict())
    network = _gated(setup, trainer, deep_supervision, new=True)
    if asked is not None and network.decoder.config.kind != asked.kind:
        raise InputError(
            f"gate asks for the kind {asked.kind}, and {trainer} sets {network.decoder.config.kind}: name another "
            f"trainer, such as nnUNetTrainerAttentionGate for the kind attention"
        )
    return network


def open_trained(folder: Path | str, fold: int | str = 0, *, checkpoint: str = FINAL) -> GatedNetwork:
    """The network of a trained folder TRAINER__PLANS__CONFIGURATION with its weights, in eval mode, on the CPU.

    The checkpoint is read by torch's weights-only loading: no code in it is executed. For whole images with nnU-Net's
    preprocessing and sliding window use nnUNetv2_predict, or nnunet-prosma inspect.
    """
    trained = read_trained(Path(folder))
    (path,) = trained.checkpoints([str(fold)], checkpoint)
    network = _gated(trained.setup, trained.trainer, deep_supervision=False)
    network.load_state_dict(required(read_checkpoint(path), path, "network_weights"))
    return network.eval()


@torch.no_grad()
def look(network: GatedNetwork, image: Tensor) -> dict[str, GateFields]:
    """What each gate computes for an image (B, C, *S), by its name in the state dict; the coarsest is gates.0.

    The sizes of the image must be multiples of the network's strides. psi says where, and c what, a gate lets through.
    """
    seen: dict[str, GateFields] = {}
    observe(bare(network), image, lambda number, fields: seen.update({f"decoder.gates.{number}": fields}))
    return seen


@dataclass(frozen=True)
class Comparison:
    """A report of nnunet-prosma compare. cases: a dict for each case, label and run, and for each training where runs
    have several. summary: all else."""

    cases: list[dict[str, Any]]
    summary: dict[str, Any]

    def to_pandas(self) -> "DataFrame":
        """The cases as a table, which pandas.DataFrame.pivot turns as you like."""
        import pandas

        return pandas.DataFrame(self.cases)


def read_comparison(report: Path | str) -> Comparison:
    """The tables that nnunet-prosma compare wrote into a folder; what is not defined is None."""
    folder = Path(report)
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        lines = (folder / "cases.csv").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be read ({error.strerror}): {folder} must be what nnunet-prosma compare -o wrote"
        ) from None
    except ValueError as error:
        raise InputError(f"{folder / 'summary.json'} or cases.csv beside it is cut off or damaged ({error})") from None
    texts = {"case", "fold", "label", "run", "training", "masks"}
    try:
        cases = [
            {key: value if key in texts else float(value) if value else None for key, value in row.items()}
            for row in csv.DictReader(lines)
        ]
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{folder / 'cases.csv'} is cut off or damaged ({error})") from None
    return Comparison(cases, summary)


def _gated(setup: Setup, trainer: str, deep_supervision: bool, *, new: bool = False) -> GatedNetwork:
    network = bare(setup.network(find_trainer(trainer), deep_supervision, new=new))
    if not isinstance(network, GatedNetwork):
        raise InputError(f"the trainer {trainer} builds a {type(network).__name__}, which has no gates")
    return network


def _content(given: Path | str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    try:
        content = json.loads(Path(given).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{given} cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{given} must hold a JSON object, and holds a {type(content).__name__}")
    return content


def _source(given: Path | str | Mapping[str, Any]) -> str:
    return "plans (a dict)" if isinstance(given, Mapping) else str(given)
