"""Spike trains as groups of pynapple: samples are the epochs of the group's time support."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ValidationError
from ..validation import describe
from . import Recorded, Session, Trains, library, session, trials


def write(trains: Trains, unit: object, gap: float | None) -> Any:
    """A TsGroup; see :meth:`ssnn_py.SpikeTrains.to_pynapple`."""
    pynapple = library("pynapple", "to_pynapple")
    axis = session(trains, unit, gap)
    epochs = pynapple.IntervalSet(start=axis.starts, end=axis.stops)
    group = {k: pynapple.Ts(times, time_support=epochs) for k, times in enumerate(axis.neurons)}
    return pynapple.TsGroup(group, time_support=epochs)


def read(group: Any, unit: object, epochs: Any, t0: float, t1: float | None) -> Recorded:
    """The spikes of a TsGroup within epochs; see :meth:`ssnn_py.SpikeTrains.from_pynapple`."""
    pynapple = library("pynapple", "from_pynapple")
    if not isinstance(group, pynapple.TsGroup):
        raise ValidationError(f"group must be a pynapple TsGroup, got {describe(group)}")
    if epochs is not None and not isinstance(epochs, pynapple.IntervalSet):
        raise ValidationError(f"trials must be a pynapple IntervalSet, got {describe(epochs)}")
    support = group.time_support
    chosen = support if epochs is None else epochs
    if epochs is not None:
        for start, stop in zip(chosen.start, chosen.end, strict=True):
            if not np.any((support.start <= start) & (stop <= support.end)):
                raise ValidationError(
                    f"trials must be within the group's time support, but that from {start:g} to {stop:g} s is not"
                )
    neurons = [np.asarray(group[key].times(), dtype=np.float64) for key in group.keys()]  # noqa: SIM118
    return trials(Session(neurons, np.asarray(chosen.start), np.asarray(chosen.end)), unit, t0, t1)
