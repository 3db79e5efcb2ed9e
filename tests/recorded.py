"""Records of gates that a test can count on its fingers."""

from nnunet_prosma.watch.record import (
    GateEpoch,
    Record,
)


def row(epoch, gate=0, zeros=0.5, **values):
    values = {"zeros": zeros, "lam_min": 0.6, "lam_median": 0.7, "lam_max": 0.8} | values
    return GateEpoch(epoch, gate, "2x2", {name: value for name, value in values.items() if value is not None})


def history(*zeros, gate=0):
    return Record([row(epoch, gate, value) for epoch, value in enumerate(zeros)])


def watched(epoch, **values):
    return GateEpoch(epoch, 0, "2x2", {"zeros": 0.5, "lam_median": 0.7, "psi_low": 0.0, "psi_high": 0.0, **values})
