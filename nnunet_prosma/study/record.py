"""OUT/runs/KEY.json: what was done for a run, attempt by attempt. How far it is, nnU-Net's own files say."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import read_json, write_json


@dataclass
class Attempt:
    """One call of nnUNetv2_train for a run."""

    command: str
    node: str
    begun: str
    """The time in UTC."""
    job: str | None = None
    """Slurm's."""
    gpus: str | None = None
    log: str = ""
    results: str = ""
    """nnUNet_results, as it was for the command."""
    seconds: float | None = None
    epochs_before: float = 0
    epochs_after: float | None = None
    """Epochs that a checkpoint keeps, with the part of one that was cut off: by these a restart is seen to get on."""
    seed: int | None = None
    """torch's, with which the weights began in a first attempt. nnU-Net's workers draw seeds that nobody sees."""
    exit: int | None = None
    signal: str | None = None
    """What made it stop at a checkpoint."""
    state: str = "running"
    """running, finished, stopped (at a checkpoint, to go on) or failed."""
    why: str = ""


@dataclass
class Record:
    key: str
    row: str = ""
    fold: int = 0
    repeat: int | None = None
    validated: str | None = None
    """The checkpoint whose validation this study has seen: final or best."""
    given_up: str = ""
    """Why Slurm does not start it again."""
    counted_from: int = 0
    """The first attempt that counts for giving up."""
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def restarts(self) -> int:
        return max(0, len(self.attempts) - 1)

    @property
    def without_progress(self) -> int:
        """How many attempts in a row, the last among them, ended without an epoch more in a checkpoint."""
        count = 0
        for attempt in reversed(self.attempts[self.counted_from :]):
            if attempt.state == "finished" or (attempt.epochs_after or 0) > attempt.epochs_before:
                break
            count += 1
        return count

    @property
    def why(self) -> str:
        return self.given_up or (self.attempts[-1].why if self.attempts else "")


def path_of(output: Path, key: str) -> Path:
    return output / "runs" / f"{key}.json"


def read_record(output: Path, key: str) -> Record:
    path = path_of(output, key)
    if not path.is_file():
        return Record(key, validated=_validated_before(output, key))
    content = read_json(path)
    try:
        known = {f.name for f in fields(Attempt)}
        attempts = [Attempt(**{k: v for k, v in a.items() if k in known}) for a in content.pop("attempts")]
        known = {f.name for f in fields(Record)}
        return Record(**{k: v for k, v in content.items() if k in known}, attempts=attempts)
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{path} is damaged; remove it, and what is finished is validated again") from None


def write_record(output: Path, record: Record) -> None:
    write_json(path_of(output, record.key), asdict(record) | {"restarts": record.restarts})


def _validated_before(output: Path, key: str) -> Any:
    """What version 0.1 kept of all runs in one file, study.json."""
    path = output / "study.json"
    return read_json(path).get("checkpoints", {}).get(key) if path.is_file() else None
