"""Spike trains as pandas DataFrames, one row per spike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ValidationError
from ..validation import as_float, as_int, as_real_array, describe
from . import Recorded, Trains, grouped, library


def write(trains: Trains) -> Any:
    """A DataFrame with columns sample, neuron and time; see :meth:`ssnn_py.SpikeTrains.to_dataframe`."""
    pandas = library("pandas", "to_dataframe")
    rows, places = np.nonzero(trains.neurons >= 0)
    columns = {"sample": rows, "neuron": trains.neurons[rows, places], "time": trains.times[rows, places]}
    frame = pandas.DataFrame(columns)
    frame.attrs.update(t0=trains.t0, t1=trains.t1, num_samples=trains.times.shape[0], num_neurons=trains.num_neurons)
    return frame


def read(
    frame: Any,
    t0: float | None,
    t1: float | None,
    num_samples: int | None,
    num_neurons: int | None,
    names: tuple[str, str, str],
) -> Recorded:
    """What the columns `names` (sample, neuron, time) hold; see :meth:`ssnn_py.SpikeTrains.from_dataframe`."""
    pandas = library("pandas", "from_dataframe")
    if not isinstance(frame, pandas.DataFrame):
        raise ValidationError(f"frame must be a pandas DataFrame, got {describe(frame)}")
    for argument, name in zip(("sample", "neuron", "time"), names, strict=True):
        if name not in frame.columns:
            known = ", ".join(map(repr, frame.columns)) or "none"
            raise ValidationError(f"{argument} must name a column of the frame, which has {known}, got {name!r}")
    given: dict[str, Any] = {"t0": t0, "t1": t1, "num_samples": num_samples, "num_neurons": num_neurons}
    given = {name: frame.attrs.get(name) if value is None else value for name, value in given.items()}
    for name, value in given.items():
        if value is None:
            raise ValidationError(
                f"{name} must be given: rows of spikes do not tell it, and this frame does not come from to_dataframe"
            )
    samples, neurons = (as_int(count, given[count], 1) for count in ("num_samples", "num_neurons"))
    recorded = grouped(
        _indices("sample", names[0], frame[names[0]], "num_samples", samples),
        _indices("neuron", names[1], frame[names[1]], "num_neurons", neurons),
        as_real_array(f"column {names[2]!r}", frame[names[2]].to_numpy(), (1,), "times of spikes"),
        samples,
        neurons,
    )
    return Recorded(recorded, as_float("t0", given["t0"]), as_float("t1", given["t1"]))


def _indices(argument: str, name: str, column: Any, count: str, number: int) -> NDArray[np.int64]:
    """A column of indices from 0 to number − 1."""
    values = column.to_numpy()
    if values.dtype.kind not in "iu" and values.size:
        raise ValidationError(
            f"{argument} must name a column of integers, but {name!r} has type {column.dtype}: number its entries with "
            "pandas.factorize"
        )
    if values.size and (values.min() < 0 or values.max() >= number):
        worst = values.min() if values.min() < 0 else values.max()
        raise ValidationError(f"column {name!r} must be from 0 to {count} − 1 = {number - 1}, got {worst}")
    return np.asarray(values, dtype=np.int64)
