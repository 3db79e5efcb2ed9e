"""What a study file says."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError

CHECKPOINTS = ("best", "final")
METRICS = ("IoU", "F1")
MOST_REPEATS = 1000


@dataclass(frozen=True)
class Arm:
    """A row of the table: a trainer on plans."""

    row: str
    trainer: str
    plans: str = "nnUNetPlans"
    published: Mapping[str, Any] | None = field(default=None, hash=False)
    """IoU and F1 as the paper gives them, in its own words."""


@dataclass(frozen=True)
class Study:
    """The first of the arms is the one that the others are compared with."""

    title: str
    arms: tuple[Arm, ...]
    dataset: str = ""
    configuration: str = "2d"
    folds: tuple[int, ...] = (0, 1, 2)
    checkpoint: str = "final"
    """The one of nnU-Net's checkpoints that is validated: final, or best (nnUNetv2_train --val_best)."""
    label: int = 1
    """The label that the table shows; table.csv has all."""
    about: str = ""
    compare: tuple[str, ...] = ()
    """Further options of nnunet-prosma compare."""
    repeats: int | None = None
    """How often each arm and fold is trained, in results/repeat_R of the output; None: once, in nnUNet_results."""


def read(path: Path, *, dataset: str | None = None, folds: Sequence[int] | None = None) -> Study:
    """The study in a file, with the data set and the folds of the command line in the place of its own."""
    settings = _checked(_content(path), Study, str(path))
    arms = settings["arms"]
    if not isinstance(arms, list) or not arms:
        raise InputError(f"{path}: arms must be a list of at least one row, got {arms!r}")
    settings["arms"] = tuple(Arm(**_checked(arm, Arm, f"{path}, arm {n}")) for n, arm in enumerate(arms, 1))
    for name in ("folds", "compare"):
        if name in settings:
            if not isinstance(settings[name], list):
                raise InputError(f"{path}: {name} must be a list, got {settings[name]!r}")
            settings[name] = tuple(settings[name])
    settings["dataset"] = "" if settings.get("dataset") is None else settings["dataset"]
    if isinstance(settings["dataset"], bool) or not isinstance(settings["dataset"], str | int):
        raise InputError(f"{path}: dataset must be a number or a name, got {settings['dataset']!r}")
    settings["dataset"] = str(settings["dataset"])
    study = Study(**settings)
    study = replace(study, dataset=dataset or study.dataset, folds=tuple(folds or study.folds))
    _check(study, path)
    return study


def _content(path: Path) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """A number that begins with 0, as nnU-Net's data sets' do, is decimal as it is in YAML 1.2: yaml reads 027 as
        23."""

        def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
            text = str(self.construct_scalar(node))
            return int(text) if re.fullmatch(r"0\d+", text) else int(super().construct_yaml_int(node))

    Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)
    try:
        content = yaml.load(path.read_text(), Loader)
        for text in _texts(content, set()):
            text.encode()  # half of a surrogate pair is no text
        return content
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = str(error)
    except (AttributeError, KeyError) as error:  # of yaml's, where a value is not what its !!tag says
        reason = f"a value is not of the type that its tag says ({error})"
    raise InputError(f"{path} cannot be read as YAML: {' '.join(reason.split())}")


def _texts(content: Any, seen: set[int]) -> Iterator[str]:
    """All text in what YAML holds, which may lead back to itself."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict | list) and id(content) not in seen:
        seen.add(id(content))
        for part in [*content, *content.values()] if isinstance(content, dict) else content:
            yield from _texts(part, seen)


def _checked(content: Any, kind: type, where: str) -> dict[str, Any]:
    """The content as settings of kind; one that is unknown or missing is named."""
    known = {f.name: f.default is MISSING for f in fields(kind)}
    if not isinstance(content, dict):
        raise InputError(f"{where} must hold settings ({', '.join(known)}), not {content!r}")
    unknown = [key for key in content if key not in known]
    if unknown:
        raise InputError(f"{where}: unknown setting {', '.join(map(repr, unknown))}; known are {', '.join(known)}")
    missing = [name for name, needed in known.items() if needed and name not in content]
    if missing:
        raise InputError(f"{where} lacks {', '.join(missing)}")
    return dict(content)


def _check(study: Study, path: Path) -> None:
    if study.checkpoint not in CHECKPOINTS:
        raise InputError(f"{path}: checkpoint must be one of {', '.join(CHECKPOINTS)}, got {study.checkpoint!r}")
    if not study.folds or any(not _whole(fold, 0) for fold in study.folds):
        raise InputError(f"{path}: folds must be whole numbers from 0 on, got {list(study.folds)}")
    if len(set(study.folds)) < len(study.folds):
        raise InputError(
            f"{path}: a fold stands twice in {list(study.folds)}; for several trainings of one use repeats"
        )
    if not _whole(study.label, 1):
        raise InputError(f"{path}: label must be the number of one of the data set's labels, got {study.label!r}")
    if study.repeats is not None and (not _whole(study.repeats, 1) or study.repeats > MOST_REPEATS):
        raise InputError(f"{path}: repeats must be a whole number from 1 to {MOST_REPEATS}, got {study.repeats!r}")
    for name in ("title", "about", "configuration"):
        if not isinstance(getattr(study, name), str):
            raise InputError(f"{path}: {name} must be text, got {getattr(study, name)!r}")
    if any(isinstance(option, bool) or not isinstance(option, str | int | float) for option in study.compare):
        raise InputError(f"{path}: compare must list options of nnunet-prosma compare, got {list(study.compare)}")
    _check_arms(study, path)


def _check_arms(study: Study, path: Path) -> None:
    for arm in study.arms:
        for name in ("row", "trainer", "plans"):
            if not isinstance(getattr(arm, name), str) or not getattr(arm, name).strip():
                raise InputError(f"{path}: {name} of an arm must be text, got {getattr(arm, name)!r}")
        if not isinstance(arm.published, dict | None):
            raise InputError(f"{path}, {arm.row}: published must hold {' and '.join(METRICS)}, got {arm.published!r}")
        unknown = [key for key in arm.published or {} if key not in METRICS]
        if unknown:
            raise InputError(f"{path}, {arm.row}: published may hold {' and '.join(METRICS)}, not {unknown[0]!r}")
        for metric, value in (arm.published or {}).items():
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise InputError(
                    f"{path}, {arm.row}: published {metric} must be a number, or text as 80.13 ± 1, got {value!r}"
                )
    if len({(arm.trainer, arm.plans) for arm in study.arms}) < len(study.arms):
        raise InputError(f"{path}: two arms are the same trainer on the same plans; name each once")
    if len({arm.row for arm in study.arms}) < len(study.arms):
        raise InputError(f"{path}: two arms have the same row; each needs a name of its own")


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def as_yaml(study: Study) -> str:
    """The study as a file that read() takes, whatever the command line changed in it."""
    import yaml

    content = {f.name: getattr(study, f.name) for f in fields(study) if getattr(study, f.name) is not None}
    for name in ("folds", "compare"):
        content[name] = list(content[name])
    content["arms"] = [{k: v for k, v in vars(arm).items() if v is not None} for arm in study.arms]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
