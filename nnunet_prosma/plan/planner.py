"""nnU-Net's planners with the gates in the network, so that patch and batch sizes keep nnU-Net's memory budget."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    ResEncUNetPlanner,
    nnUNetPlannerResEncL,
    nnUNetPlannerResEncM,
    nnUNetPlannerResEncXL,
)
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.json_export import recursive_fix_for_json_export

from nnunet_prosma.architectures.twins import gated_twin
from nnunet_prosma.errors import InputError
from nnunet_prosma.files import read_json, write_bytes
from nnunet_prosma.gate import GateConfig
from nnunet_prosma.host.preprocessing import data_settings

if TYPE_CHECKING:
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner as _Host
else:
    _Host = object


class GatedPlannerMixin(_Host):
    """Stands before one of nnU-Net's planners among a class's bases."""

    plans_name: ClassVar[str]
    memory_target_gb: ClassVar[float]
    """The host's default, for which the plans have no suffix."""

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float | None = None,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str | None = None,
        overwrite_target_spacing: Sequence[float] | None = None,
        suppress_transpose: bool = False,
        *,
        gate: GateConfig | Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Plans of another memory target are named after it, as nnU-Net's documentation names them: ..._24G."""
        target = self.memory_target_gb if gpu_memory_target_in_gb is None else gpu_memory_target_in_gb
        suffix = "" if target == self.memory_target_gb else f"_{target:g}G"
        super().__init__(
            dataset_name_or_id,
            target,
            preprocessor_name,
            plans_name or self.plans_name + suffix,
            overwrite_target_spacing,
            suppress_transpose,
        )
        self.gate = GateConfig.of(gate).to_dict()
        self.overwrite = overwrite
        self.UNet_class: Any = gated_twin(f"{self.UNet_class.__module__}.{self.UNet_class.__qualname__}")

    def plan_experiment(self) -> Any:
        """As nnU-Net's, which copies dataset.json before the plans are saved: where those are refused, what was there
        is there again."""
        path = Path(nnUNet_preprocessed) / self.dataset_name / "dataset.json"
        before = path.read_bytes() if path.is_file() else None
        try:
            return super().plan_experiment()
        except BaseException:
            if before is not None:
                write_bytes(path, before)
            else:
                path.unlink(missing_ok=True)
            raise

    def static_estimate_VRAM_usage(  # noqa: N802
        self,
        patch_size: Sequence[int],
        input_channels: int,
        output_channels: int,
        arch_class_name: str,
        arch_kwargs: dict[str, Any],
        arch_kwargs_req_import: Sequence[str],
    ) -> int:
        """nnU-Net's estimate with these gates; on the meta device, where the count is the same and fast."""
        with torch.device("meta"):
            estimate: int = super().static_estimate_VRAM_usage(
                patch_size,
                input_channels,
                output_channels,
                arch_class_name,
                {**arch_kwargs, "gate": self.gate},
                arch_kwargs_req_import,
            )
        return estimate

    def get_plans_for_configuration(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        plan: dict[str, Any] = super().get_plans_for_configuration(*args, **kwargs)
        plan["architecture"]["arch_kwargs"]["gate"] = self.gate
        return plan

    def generate_data_identifier(self, configuration_name: str) -> str:
        """The name of the data, as nnU-Net's ResEnc planners give it: 2d and 3d_fullres do not depend on the patch,
        and use the default plans' data.

        Where the data would be others than those, save_plans gives them an identifier of their own.
        """
        shared = configuration_name in ("2d", "3d_fullres")
        return f"{'nnUNetPlans' if shared else self.plans_identifier}_{configuration_name}"

    def save_plans(self, plans: dict[str, Any]) -> None:
        """Saves as nnU-Net's planner does, unless it would change plans that are there."""
        recursive_fix_for_json_export(plans)
        self._part_from_other_data(plans)
        path = self.plans_file(self.plans_identifier)
        if path.exists() and not self.overwrite:
            old = read_json(path)
            kept = {**old.get("configurations", {}), **plans["configurations"]}
            if json.loads(json.dumps({**plans, "configurations": kept})) != old:
                raise InputError(
                    f"{path} is there already and holds other plans; name these with -overwrite_plans_name, or replace "
                    f"those with --overwrite"
                )
        super().save_plans(plans)

    def plans_file(self, name: str) -> Path:
        return Path(nnUNet_preprocessed) / self.dataset_name / f"{name}.json"

    def _part_from_other_data(self, plans: dict[str, Any]) -> None:
        """Give data of its own to each configuration whose data are not those of nnUNetPlans as they are."""
        default = self.plans_file("nnUNetPlans")
        theirs = read_json(default) if default.exists() else None
        for name, configuration in plans["configurations"].items():
            if configuration.get("data_identifier") != f"nnUNetPlans_{name}":
                continue
            if theirs is None:
                same = self.overwrite_target_spacing is None and self.preprocessor_name == "DefaultPreprocessor"
            else:
                same = data_settings(theirs, name) == data_settings(json.loads(json.dumps(plans)), name)
            if not same:
                configuration["data_identifier"] = f"{self.plans_identifier}_{name}"


class ProSMAPlanner(GatedPlannerMixin, ExperimentPlanner):
    plans_name = "nnUNetProSMAPlans"
    memory_target_gb = 8


class ProSMAResEncUNetPlanner(GatedPlannerMixin, ResEncUNetPlanner):
    plans_name = "nnUNetProSMAResEncUNetPlans"
    memory_target_gb = 8


class ProSMAResEncMPlanner(GatedPlannerMixin, nnUNetPlannerResEncM):
    plans_name = "nnUNetProSMAResEncUNetMPlans"
    memory_target_gb = 8


class ProSMAResEncLPlanner(GatedPlannerMixin, nnUNetPlannerResEncL):
    plans_name = "nnUNetProSMAResEncUNetLPlans"
    memory_target_gb = 24


class ProSMAResEncXLPlanner(GatedPlannerMixin, nnUNetPlannerResEncXL):
    plans_name = "nnUNetProSMAResEncUNetXLPlans"
    memory_target_gb = 40


PLANNERS: dict[str, type[GatedPlannerMixin]] = {
    "ExperimentPlanner": ProSMAPlanner,
    "ResEncUNetPlanner": ProSMAResEncUNetPlanner,
    "nnUNetPlannerResEncM": ProSMAResEncMPlanner,
    "nnUNetPlannerResEncL": ProSMAResEncLPlanner,
    "nnUNetPlannerResEncXL": ProSMAResEncXLPlanner,
}
"""The gated planner by the name of nnU-Net's."""
