"""Spike trains in NWB files, through PyNWB: neurons are units, samples are trials."""

from __future__ import annotations

import datetime
import os
import uuid
from typing import Any

import numpy as np

from ..errors import ValidationError
from ..validation import as_real_array, describe
from . import SAME_LENGTH, Array, Recorded, Session, Trains, library, seconds, session, trials


def write(trains: Trains, unit: object, gap: float | None, file: Any, session_start_time: Any) -> Any:
    """An NWBFile; see :meth:`ssnn_py.SpikeTrains.to_nwb`."""
    pynwb = library("pynwb", "to_nwb")
    axis = session(trains, unit, gap)
    if file is None:
        start = datetime.datetime.now().astimezone() if session_start_time is None else session_start_time
        if not isinstance(start, datetime.datetime):
            raise ValidationError(f"session_start_time must be a datetime, got {describe(start)}")
        file = pynwb.NWBFile("spike trains of ssnn_py", str(uuid.uuid4()), start)
    elif not isinstance(file, pynwb.NWBFile):
        raise ValidationError(f"file must be a pynwb NWBFile, got {describe(file)}")
    elif file.units is not None or file.trials is not None:
        raise ValidationError("file must have neither units nor trials yet: theirs and these could not be told apart")
    windows = np.stack([axis.starts, axis.stops], axis=1)
    for start, stop in windows.tolist():
        file.add_trial(start_time=start, stop_time=stop)
    for times in axis.neurons:
        file.add_unit(spike_times=times, obs_intervals=windows)
    return file


def read(file: Any, unit: object, given: Any, t0: float, t1: float | None) -> Recorded:
    """The units' spikes within trials; see :meth:`ssnn_py.SpikeTrains.from_nwb`."""
    pynwb = library("pynwb", "from_nwb")
    if isinstance(file, str | os.PathLike):
        if not os.path.isfile(file):
            raise ValidationError(f"file must be an NWBFile or the path of one, but there is no {os.fspath(file)}")
        try:
            with pynwb.NWBHDF5IO(os.fspath(file), "r") as io:
                return read(io.read(), unit, given, t0, t1)
        except ValidationError:
            raise
        except Exception as error:
            raise ValidationError(f"{os.fspath(file)} cannot be read as an NWB file ({error})") from None
    if not isinstance(file, pynwb.NWBFile):
        raise ValidationError(f"file must be a pynwb NWBFile or the path of one, got {describe(file)}")
    units = file.units
    if units is None or "spike_times" not in units.colnames:
        raise ValidationError("file must have a table of units with spike_times, but this one has none")
    neurons = [np.asarray(units["spike_times"][k], dtype=np.float64) for k in range(len(units))]
    observed: list[Array] = []
    if "obs_intervals" in units.colnames:
        observed = [np.asarray(units["obs_intervals"][k], dtype=np.float64).reshape(-1, 2) for k in range(len(units))]
    windows = _windows(file, given, observed)
    recorded = trials(Session(neurons, windows[:, 0], windows[:, 1]), unit, t0, t1)
    length = (recorded.t1 - recorded.t0) * seconds(unit)
    rounding = SAME_LENGTH * length
    for k, intervals in enumerate(observed):
        for start in windows[:, 0]:
            inside = (intervals[:, 0] <= start + rounding) & (start + length <= intervals[:, 1] + rounding)
            if intervals.size and not inside.any():
                raise ValidationError(
                    f"trials must be within the units' obs_intervals, but unit {k} is not observed over {length:g} s "
                    f"from {start:g} s on: silence there would be made up"
                )
    for a, b in _invalid(file):
        for start in windows[:, 0]:
            if max(a, start) + rounding < min(b, start + length):
                raise ValidationError(
                    f"trials must keep clear of the file's invalid_times, but {length:g} s from {start:g} s on meet "
                    f"those from {a:g} to {b:g} s: silence there would be made up. Give trials that do, see "
                    "ssnn_py.observed_windows"
                )
    return recorded


def _invalid(file: Any) -> list[tuple[float, float]]:
    """The intervals that the file says to leave out, in seconds."""
    table = file.invalid_times
    if table is None:
        return []
    return list(zip(map(float, table["start_time"][:]), map(float, table["stop_time"][:]), strict=True))


def _windows(file: Any, given: Any, observed: list[Array]) -> Array:
    """The trials, shape (S, 2) in seconds: those given, of the file, or over which all units are observed."""
    if given is not None:
        windows = as_real_array("trials", given, (2,), "an array of shape (S, 2): beginnings and ends in seconds")
        if windows.shape[1] != 2:
            raise ValidationError(f"trials must be of shape (S, 2): beginnings and ends, got shape {windows.shape}")
        return windows
    if file.trials is not None:
        ends = [np.asarray(file.trials[name][:], dtype=np.float64) for name in ("start_time", "stop_time")]
        return np.stack(ends, axis=1)
    if observed and all(np.array_equal(one, observed[0]) for one in observed) and observed[0].size:
        return observed[0]
    raise ValidationError(
        "trials must be given, an array of shape (S, 2) of beginnings and ends in seconds: the file has no trials, and "
        "no obs_intervals that are the same for all units"
    )
