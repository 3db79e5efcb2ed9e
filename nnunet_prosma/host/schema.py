"""What stands in nnU-Net's files, as types: only what is read here, so unknown keys pass.

A field that nnU-Net itself can do without has a default. Where nnU-Net takes several forms, as of labels, so do these.
"""

from math import isnan
from typing import Any

from msgspec import Struct, field

Label = int | float | str | list[int | float | str]
"""A label's number, or those of a region; nnU-Net makes int of each."""


class Architecture(Struct):
    network_class_name: str
    arch_kwargs: dict[str, Any]
    requires_import: list[str] = field(name="_kw_requires_import")


class PartOfConfiguration(Struct):
    """One configuration as a plans file has it: what it leaves out it inherits from another one."""

    inherits_from: str | None = None
    architecture: Architecture | None = None
    data_identifier: str | None = None
    preprocessor_name: str | None = None
    batch_size: int | None = None
    patch_size: list[int] | None = None
    spacing: list[float] | None = None
    median_image_size_in_voxels: list[float] | None = None
    normalization_schemes: list[str] | None = None
    use_mask_for_norm: list[bool] | None = None
    resampling_fn_data: str | None = None
    resampling_fn_seg: str | None = None
    resampling_fn_probabilities: str | None = None
    resampling_fn_data_kwargs: dict[str, Any] | None = None
    resampling_fn_seg_kwargs: dict[str, Any] | None = None
    resampling_fn_probabilities_kwargs: dict[str, Any] | None = None
    batch_dice: bool | None = None
    next_stage: str | list[str] | None = None
    previous_stage: str | None = None
    UNet_class_name: str | None = None
    UNet_base_num_features: int | None = None
    unet_max_num_features: int | None = None
    num_pool_per_axis: list[int] | None = None
    n_conv_per_stage_encoder: list[int] | None = None
    n_conv_per_stage_decoder: list[int] | None = None
    conv_kernel_sizes: list[list[int]] | None = None
    pool_op_kernel_sizes: list[list[int]] | None = None


class Configuration(Struct):
    """A configuration with all that it inherits, as nnU-Net resolves it; without these nothing can be trained."""

    architecture: Architecture
    patch_size: list[int]
    batch_size: int
    spacing: list[float]
    data_identifier: str | None = None
    preprocessor_name: str | None = None
    normalization_schemes: list[str] | None = None
    resampling_fn_data: str | None = None
    resampling_fn_seg: str | None = None
    resampling_fn_probabilities: str | None = None

    def __post_init__(self) -> None:
        if len(self.patch_size) not in (2, 3) or min(self.patch_size) < 1:
            raise ValueError("`patch_size` must hold two or three sizes from 1 on")
        if self.batch_size < 1:
            raise ValueError("`batch_size` must be at least 1")
        if len(self.spacing) not in (2, 3) or not min(self.spacing) > 0:
            raise ValueError("`spacing` must hold two or three numbers above 0")


class PlansFile(Struct):
    """A plans file. Each configuration is checked as a part, so that the one at fault is named."""

    configurations: dict[str, PartOfConfiguration]
    dataset_name: str | None = None
    plans_name: str | None = None
    image_reader_writer: str | None = None
    label_manager: str | None = None
    experiment_planner_used: str | None = None
    original_median_spacing_after_transp: Any = None
    original_median_shape_after_transp: Any = None
    transpose_forward: list[int] | None = None
    transpose_backward: list[int] | None = None


class ListedCase(Struct):
    """One case of a dataset.json that lists its files."""

    images: list[str]
    label: str | None = None


class DatasetFile(Struct):
    """dataset.json; channel_names was called modality by older versions."""

    labels: dict[str, Label]
    file_ending: str
    channel_names: dict[str, str] | None = None
    modality: dict[str, str] | None = None
    regions_class_order: list[int] | None = None
    overwrite_image_reader_writer: str | None = None
    dataset: dict[str, ListedCase] | None = None
    cases: Any = field(name="numTraining", default=None)
    source: Any = field(name="reference", default=None)
    licence: Any = None
    license: Any = None
    description: Any = None

    def __post_init__(self) -> None:
        if "background" not in self.labels:
            raise ValueError("`labels` must name the background, as 0")
        if not self.channel_names and not self.modality:
            raise ValueError("`channel_names` must name each channel")


class FingerprintFile(Struct):
    """dataset_fingerprint.json, which planning reads."""

    spacings: list[list[float]]
    shapes_after_crop: list[list[float]]
    foreground_intensity_properties_per_channel: dict[str, dict[str, float]]
    median_relative_size_after_cropping: float

    def __post_init__(self) -> None:
        if not self.spacings or not all(v > 0 for spacing in self.spacings for v in spacing):
            raise ValueError("`spacings` must hold a spacing for each case, of numbers above 0")
        if not self.shapes_after_crop or not all(v > 0 for shape in self.shapes_after_crop for v in shape):
            raise ValueError("`shapes_after_crop` must hold a shape for each case, of numbers above 0")


class Split(Struct):
    """One fold of splits_final.json."""

    train: list[str]
    val: list[str]


class Measured(Struct):
    """One label of one case in summary.json. Dice and IoU are NaN where neither segmentation has the label."""

    dice: float = field(name="Dice")
    iou: float = field(name="IoU")
    n_ref: float
    n_pred: float

    def __post_init__(self) -> None:
        for name, value in (("Dice", self.dice), ("IoU", self.iou)):
            if not (0 <= value <= 1 or isnan(value)):
                raise ValueError(f"`{name}` must be from 0 to 1, or NaN, and is {value:g}")
        for name, value in (("n_ref", self.n_ref), ("n_pred", self.n_pred)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"`{name}` must be a number of voxels, and is {value:g}")


class MeasuredCase(Struct):
    prediction_file: str
    reference_file: str
    metrics: dict[str, Measured]


class SummaryFile(Struct):
    """validation/summary.json."""

    metric_per_case: list[MeasuredCase]


class InitArguments(Struct):
    """init_args of a checkpoint: what its trainer was made with. Prediction needs no more than this."""

    configuration: str


class CheckpointFacts(Struct):
    """What a checkpoint says beside its weights."""

    trainer_name: str
    init_args: InitArguments
    current_epoch: int = 0
    inference_allowed_mirroring_axes: Any = None


DebugFile = dict[str, str | int | float | bool | None]
"""debug.json: what the trainer was set to, mostly as text."""
