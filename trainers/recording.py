"""What makes a gated trainer keep a record of its gates, an epoch a row: record.py says in which form."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from nnunetv2.utilities.helpers import dummy_context
from torch import Tensor

from nnunet_prosma.gate import GateFields
from nnunet_prosma.watch.observe import bare, observe, saturation, summarise
from nnunet_prosma.watch.record import FILE, GateEpoch, Record, changes, has_nan, resumed_record

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as _Host
else:
    _Host = object


class GateRecordMixin(_Host):
    """A record of the gates: at the end of each epoch a validation batch goes through the network once more, with the
    gates watched.

    The compiled network is not touched: no hook is set, and the module inside of it is called beside it. The record is
    kept by the process of rank 0 alone. Nothing that goes wrong with it stops a training.
    """

    record_gates: ClassVar[bool] = True
    """False leaves the record out."""

    _gate_record: Record | None = None
    _gate_batch: Tensor | None = None
    _gate_failures: frozenset[str] = frozenset()

    def on_train_start(self) -> None:
        super().on_train_start()
        if self._records_gates():
            self._try("taken up", self._take_up_record)

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        result = super().validation_step(batch)
        if self._records_gates():
            self._gate_batch = batch["data"]
        return result

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        super().on_validation_epoch_end(val_outputs)
        if self._records_gates():
            self._try("kept", self._record_epoch)
            self._gate_batch = None

    def on_epoch_end(self) -> None:
        super().on_epoch_end()  # nnU-Net draws its progress.png
        if self._records_gates():
            self._try("drawn", self._draw_record)

    def _records_gates(self) -> bool:
        return self.record_gates and self.local_rank == 0

    def _take_up_record(self) -> None:
        self._gate_record, problem = resumed_record(Path(self.output_folder), self.current_epoch)
        if problem:
            self.print_to_log_file(f"WARNING: {problem}")

    def _record_epoch(self) -> None:
        if self._gate_record is None:  # it could not be taken up; what is there already must not be lost
            self._take_up_record()
        if self._gate_batch is None or not bare(self.network).decoder.gated():
            return
        rows = self._gate_rows(self._gate_batch)
        assert self._gate_record is not None
        self._gate_record.add(rows)
        for row in rows:
            for logger in getattr(self.logger, "loggers", []):  # Weights & Biases, if nnU-Net has it on
                for name, value in row.values.items():
                    logger.log(f"{row.name}/{name}", value, self.current_epoch)
        network = bare(self.network)
        weights = network.named_parameters() if any(has_nan(row) for row in rows) else ()
        nan_weight = next((name for name, weight in weights if not weight.isfinite().all()), None)
        for sentence in changes(self._gate_record, network.decoder.config.norm, nan_weight):
            self.print_to_log_file(sentence)
        self._gate_record.write(Path(self.output_folder) / FILE)

    def _gate_rows(self, batch: Tensor) -> list[GateEpoch]:
        network = bare(self.network)
        rows: list[GateEpoch] = []

        def keep(s: int, fields: GateFields) -> None:
            stride = "x".join(map(str, network.decoder.gate_stride(s)))
            values = summarise(fields)
            if fields.psi is not None:
                values |= saturation(fields.psi)
            if network.decoder.config.residual:
                values["alpha"] = network.decoder.gates[s].alpha.mean().item()
            rows.append(GateEpoch(self.current_epoch, s, stride, values))

        training = network.training
        network.eval()
        try:
            cuda = self.device.type == "cuda"
            with torch.no_grad(), torch.autocast("cuda") if cuda else dummy_context():  # as nnU-Net's validation_step
                observe(network, batch.to(self.device, non_blocking=True), keep)
        finally:
            network.train(training)
        return rows

    def _draw_record(self) -> None:
        if self._gate_record is not None and self._gate_record.rows:
            from nnunet_prosma.watch.plot import draw_record

            draw_record({"": self._gate_record}, Path(self.output_folder) / "gates.png")

    def _try(self, what: str, step: Any) -> None:
        """A record is no reason to end a training of days: what fails is said in the log, once, and tried again."""
        try:
            step()
        except Exception as error:
            if what not in self._gate_failures:
                self._gate_failures |= {what}
                problem = f"{type(error).__name__}: {error}"
                self.print_to_log_file(
                    f"WARNING: the record of the gates could not be {what} ({problem}). The training goes on without; "
                    f"this is said once."
                )
