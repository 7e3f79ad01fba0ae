"""Spike trains in the formats of other libraries, one file for each, and what these files share.

Nothing here knows the class :class:`ssnn_py.SpikeTrains`: what is written is anything with its fields, what is read is
:class:`Recorded`, of which the class makes itself. A library is imported where its format is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ValidationError
from ..validation import as_float, as_real_array, describe

Array = NDArray[np.float64]

#: How many seconds units of time have, by name.
SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}

#: By how much of itself the length of a trial may differ from that of another which counts as equal.
SAME_LENGTH = 1e-6


class Trains(Protocol):
    """What spike trains consist of; see :class:`ssnn_py.SpikeTrains`."""

    @property
    def times(self) -> Array: ...
    @property
    def neurons(self) -> NDArray[np.int64]: ...
    @property
    def num_neurons(self) -> int: ...
    @property
    def t0(self) -> float: ...
    @property
    def t1(self) -> float: ...


class Recorded(NamedTuple):
    """What was read, in units of one's own: for each sample one array of times per neuron, and the interval."""

    samples: list[list[Array]]
    t0: float
    t1: float


class Session(NamedTuple):
    """Samples as trials one after the other on one axis of time, in seconds.

    ``neurons`` has the times of each neuron, ``starts`` and ``stops`` of shape (S,) the trials' ends.
    """

    neurons: list[Array]
    starts: Array
    stops: Array


def library(name: str, asked: str) -> Any:
    """The module `name`, which `asked` needs.

    Raises
    ------
    ValidationError
        If it is not installed.

    Examples
    --------
    >>> library("no_such_library", "to_nothing")
    Traceback (most recent call last):
    ssnn_py.errors.ValidationError: to_nothing needs no_such_library: pip install no_such_library
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # something that the library itself needs
            raise
        raise ValidationError(f"{asked} needs {name}: pip install {name}") from None


def seconds(unit: object) -> float:
    """How many seconds a unit of time has: of one of :data:`SECONDS` by its name, or as a positive number.

    Raises
    ------
    ValidationError
        If it is neither.

    Examples
    --------
    >>> seconds("ms"), seconds(0.02)
    (0.001, 0.02)
    """
    if isinstance(unit, str) and unit in SECONDS:
        return SECONDS[unit]
    if isinstance(unit, str | bool) or not isinstance(unit, int | float | np.number):
        known = ", ".join(f'"{name}"' for name in SECONDS)
        raise ValidationError(f"unit must be one of {known}, or a number of seconds, got {describe(unit)}")
    return as_float("unit", unit, positive=True)


def lists(trains: Trains) -> list[list[Array]]:
    """For each sample one array of times per neuron."""
    samples, width = trains.times.shape
    rows = np.repeat(np.arange(samples), width)
    labels, times = trains.neurons.ravel(), trains.times.ravel()
    there = labels >= 0
    return grouped(rows[there], labels[there], times[there], samples, trains.num_neurons)


def grouped(
    samples: NDArray[np.int64], neurons: NDArray[np.int64], times: Array, num_samples: int, num_neurons: int
) -> list[list[Array]]:
    """Spikes, each with its sample and neuron, as one increasing array of times per sample and neuron."""
    train = samples * num_neurons + neurons
    order = np.lexsort((times, train))
    ends = np.searchsorted(train[order], np.arange(1, num_samples * num_neurons))
    parts = np.split(times[order], ends)
    return [parts[s * num_neurons : (s + 1) * num_neurons] for s in range(num_samples)]


def session(trains: Trains, unit: object, gap: float | None) -> Session:
    """The samples one after the other, the first from 0 s on; `gap` in the trains' own unit, by default as long as a
    sample.

    Raises
    ------
    ValidationError
        If `unit` is no unit of time, or the gap not positive.
    """
    scale, length = seconds(unit), trains.t1 - trains.t0
    apart = length + (length if gap is None else as_float("gap", gap, positive=True))
    starts: Array = np.arange(trains.times.shape[0], dtype=np.float64) * (apart * scale)
    by_sample = lists(trains)
    neurons = [
        np.concatenate(
            [start + (sample[k] - trains.t0) * scale for start, sample in zip(starts, by_sample, strict=True)]
        )
        if by_sample
        else np.empty(0)
        for k in range(trains.num_neurons)
    ]
    return Session(neurons, starts, starts + length * scale)


def trials(given: Session, unit: object, t0: float, t1: float | None) -> Recorded:
    """The trials of a session as samples of equal windows, whose time is t0 where the trial begins.

    Raises
    ------
    ValidationError
        If there are no trials or no neurons, if one ends before it begins, or if their lengths differ and `t1` does not
        say which window all of them have.
    """
    scale, t0 = seconds(unit), as_float("t0", t0)
    starts = as_real_array("the trials' beginnings", given.starts, (1,), "an array of times")
    stops = as_real_array("the trials' ends", given.stops, (1,), "an array of times")
    if starts.size == 0 or starts.size != stops.size or not given.neurons:
        raise ValidationError(
            f"there must be at least one neuron and one trial, got {len(given.neurons)} and {starts.size}"
        )
    lengths = stops - starts
    if lengths.min() <= 0:
        raise ValidationError(f"trials must end after they begin, but trial {int(lengths.argmin())} does not")
    if t1 is None:
        if np.ptp(lengths) > SAME_LENGTH * lengths.max():
            raise ValidationError(
                f"t1 must be given for trials of different lengths, here {lengths.min() / scale:g} to "
                f"{lengths.max() / scale:g} units of time: samples have one window [t0, t1], at most as long as the "
                "shortest trial"
            )
        end = t0 + float(lengths.min()) / scale
        whole = stops
    else:
        end = as_float("t1", t1)
        window = (end - t0) * scale
        if not 0 < window <= lengths.min() * (1 + SAME_LENGTH):
            raise ValidationError(
                f"t1 must be after t0 = {t0:g} and at most {t0 + lengths.min() / scale:g}, where the shortest trial "
                f"ends, got {end:g}"
            )
        whole = np.minimum(starts + window, stops)
    found = []
    for start, stop in zip(starts, whole, strict=True):
        sample = []
        for times in given.neurons:
            inside = times[(times >= start) & (times <= stop)]
            sample.append(np.clip((inside - start) / scale + t0, t0, end))
        found.append(sample)
    return Recorded(found, t0, end)


def common_window(windows: Sequence[tuple[float, float]], t0: float | None, t1: float | None) -> tuple[float, float]:
    """The window [t0, t1] of all trains: the one that they have, or one that is given and within all of theirs.

    Raises
    ------
    ValidationError
        If theirs differ and none is given, or the given one is not within theirs.
    """
    latest, earliest = max(start for start, _ in windows), min(stop for _, stop in windows)
    for name, given, same in (
        ("t0", t0, len({start for start, _ in windows}) == 1),
        ("t1", t1, len({stop for _, stop in windows}) == 1),
    ):
        if given is None and not same:
            raise ValidationError(
                f"{name} must be given where trains are observed over different intervals; all of these are from "
                f"{latest:g} to {earliest:g}"
            )
    start = latest if t0 is None else as_float("t0", t0)
    stop = earliest if t1 is None else as_float("t1", t1)
    if start < latest or stop > earliest:
        raise ValidationError(
            f"t0 and t1 must be within the interval over which all trains are observed, [{latest:g}, {earliest:g}], "
            f"got {start:g} and {stop:g}"
        )
    return start, stop
