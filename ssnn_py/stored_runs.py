"""Runs that are written to disk while they go on, so that neither their length nor their spikes need to fit in memory.

A folder has the spikes of all samples in three arrays, row by row as they come, recorded states in one per variable,
the last state as a file of :func:`save`, and ``run.json``, which says how much of all that counts. It is replaced when
a window of time has been written whole: what a run that was killed has written after that is written again.
"""

from __future__ import annotations

import functools
import io
import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import engine as engines
from .continuation import continued, new_end, why_not
from .engine import Problem
from .engine.workers import checked_executor
from .errors import ValidationError
from .network import Network
from .saving import load, save
from .simulation import Solution, prepare, save_times, step_count, warn_of_likely_mistakes
from .spike_trains import SpikeTrains, checked_window, padded, seen
from .validation import as_float, counted, describe
from .values import Named

Array = NDArray[np.float64]
FORMAT = {"format": "ssnn-run", "version": 1}
#: Bytes of spikes and states of one window of time.
WINDOW_BYTES = 2**25
#: How many spikes, or numbers of states, are read at once.
ROWS_AT_ONCE = 2**20
#: Steps of the first window, which tells how many spikes to expect, and by how much the next may be longer.
FIRST_STEPS, GROWTH = 64, 8
_SPIKES: dict[str, Any] = {"spike_times": np.float64, "spike_neurons": np.int32, "spike_samples": np.int32}


def record(
    network: Network,
    t1: float,
    dt: float,
    *,
    out: str | os.PathLike[str],
    window: float | None = None,
    progress: bool = False,
    **simulate_arguments: Any,
) -> StoredRun:
    """Simulate, and write spikes and recorded states to disk as they come, in memory that does not grow with time.

    The run is made in windows of time, each continued from the one before: its numbers are those of :func:`simulate`,
    to the last bit, whatever the windows. Killed on its way, it goes on from its last window
    (``StoredRun.open(out).continue_to(t1)``).

    Parameters
    ----------
    network, t1, dt
        As for :func:`simulate`.
    out : path
        A folder that does not exist yet, of ``.npy`` files, or, where its name ends with ``.zarr``, a group of zarr's
        (version 3; ``pip install zarr``).
    window : float, optional
        How long windows are, in the unit of time; default as long as their results take about 32 MB.
    progress : bool
        Show a progress bar of time.
    **simulate_arguments
        Others of :func:`simulate`, `saveat` and `executor` among them. Not `max_spikes`, `observed`, `device`,
        fractional Brownian motion or a solver of DifferentialEquations.jl: such runs cannot be continued.

    Returns
    -------
    StoredRun

    Raises
    ------
    ValidationError
        If an argument is not what it should be, or `out` exists.

    Examples
    --------
    >>> import tempfile
    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = ssnn.record(net, t1=5.0, dt=0.01, out=f"{folder}/run", saveat=1.0)
    ...     whole = ssnn.simulate(net, t1=5.0, dt=0.01, saveat=1.0)
    ...     run.spike_trains() == whole.spike_trains, run.states["v"].shape
    (True, (1, 6, 1))
    """
    problem, name = prepare(network, t1, dt, **simulate_arguments)
    why = why_not(problem, name)
    if why:
        raise ValidationError(f"this run cannot be recorded in windows of time, it has {why}")
    length = None if window is None else as_float("window", window, positive=True)
    folder = _new_folder(out)
    warn_of_likely_mistakes(problem)
    files = _files(folder)
    for key, dtype in _SPIKES.items():
        files.create(key, dtype, ())
    files.create("times", np.float64, ())
    for state in network.states:
        files.create(f"state_{state}", np.float64, (problem.num_samples, network.num_neurons))
    np.save(folder / "saveat.npy", problem.saveat)
    _go_on(folder, problem, name, None, length, progress)
    return StoredRun.open(folder)


class StoredRun:
    """A run on disk, of :func:`record`. Arrays are read from there as they are looked at.

    Attributes
    ----------
    path : Path
    last : Solution
        Of the last window: what the run goes on from.
    """

    def __init__(self, path: Path, last: Solution, rows: Mapping[str, int]) -> None:
        self.path, self.last, self._rows = path, last, dict(rows)
        self._files = _files(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, allow_code: bool = False) -> StoredRun:
        """The run in a folder, up to where it was written whole.

        Raises
        ------
        ValidationError
            If there is none. `allow_code` is that of :func:`load`.
        """
        folder = Path(path)
        try:
            header = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            state, rows = header["state"], {str(key): int(count) for key, count in header["rows"].items()}
            if {key: header[key] for key in FORMAT} != FORMAT or Path(state).name != state:
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise ValidationError(f"path must be that of a recorded run, got {describe(str(folder))}") from None
        return cls(folder, load(folder / state, allow_code=allow_code), rows)

    def __repr__(self) -> str:
        problem = self.last.problem
        size = f"{counted(problem.num_samples, 'sample')} of {counted(self.network.num_neurons, 'neuron')}"
        times = f", states at {counted(self.ts.size, 'time')}" if self.ts.size else ""
        return (
            f"StoredRun({size} from {problem.t0:g} to {problem.t1:g}: {counted(self.num_spikes, 'spike')}{times}, in "
            f"{str(self.path)!r})"
        )

    @property
    def network(self) -> Network:
        return self.last.network

    @property
    def t1(self) -> float:
        """How far the run has come."""
        return self.last.problem.t1

    @property
    def num_spikes(self) -> int:
        """Of all samples together."""
        return self._rows["spike_times"]

    @property
    def spike_times(self) -> NDArray[Any]:
        """Of all spikes, shape (number of spikes,): window after window, of each sample in the order of time."""
        return self._array("spike_times")

    @property
    def spike_neurons(self) -> NDArray[Any]:
        """Which neuron fired, for each of `spike_times`."""
        return self._array("spike_neurons")

    @property
    def spike_samples(self) -> NDArray[Any]:
        """In which sample, for each of `spike_times`."""
        return self._array("spike_samples")

    @property
    def ts(self) -> NDArray[Any]:
        """The times at which the state was recorded, shape (T,)."""
        return self._array("times")

    @functools.cached_property
    def states(self) -> Mapping[str, Array]:
        """Recorded variables by name, shape (S, T, N): memory-mapped, or, from zarr's arrays, in memory."""
        return Named({name: np.swapaxes(self._array(f"state_{name}"), 0, 1) for name in self.network.states})

    def _array(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = self._files.read(name, slice(self._rows[name]))
        return array

    def spike_trains(
        self, samples: ArrayLike | None = None, t0: float | None = None, t1: float | None = None
    ) -> SpikeTrains:
        """The spikes of some samples, default all, in memory.

        They are read piece by piece, so that this takes the memory of what is asked for, however long the run is.

        Parameters
        ----------
        samples : array_like of int, optional
        t0, t1 : float, optional
            What is seen between these times, as by :meth:`SpikeTrains.window`; default the whole run.

        Returns
        -------
        SpikeTrains

        Raises
        ------
        ValidationError
            If there are no such samples, or the times are not in order and within the run.
        """
        num_samples = self.last.problem.num_samples
        chosen, begin, end = self._asked_for(samples, t0, t1)
        times, neurons, samples_of = self._spikes(np.isin(np.arange(num_samples), chosen), begin, end)
        order = np.argsort(samples_of, kind="stable")
        ends = np.searchsorted(samples_of[order], np.arange(num_samples + 1))
        columns = [order[ends[sample] : ends[sample + 1]] for sample in chosen]
        rows = [(times[column], neurons[column]) for column in columns]
        return SpikeTrains.unchecked(*padded(rows), self.network.num_neurons, begin, end)

    def states_between(
        self, samples: ArrayLike | None = None, t0: float | None = None, t1: float | None = None
    ) -> tuple[Array, Mapping[str, Array]]:
        """Recorded variables of some samples, default all, between two times, in memory.

        Read piece by piece, as :meth:`spike_trains` reads spikes.

        Parameters
        ----------
        samples : array_like of int, optional
        t0, t1 : float, optional
            The first and the last time that is wanted; default the whole run.

        Returns
        -------
        ts : ndarray, shape (T,)
            The times of recording from t0 to t1.
        states : mapping of str to ndarray, shape (S, T, N)

        Raises
        ------
        ValidationError
            If there are no such samples, or the times are not in order and within the run.
        """
        chosen, begin, end = self._asked_for(samples, t0, t1)
        ts = np.asarray(self.ts)
        first, stop = int(np.searchsorted(ts, begin)), int(np.searchsorted(ts, end, side="right"))
        neurons = self.network.num_neurons
        at_once = max(1, ROWS_AT_ONCE // (neurons * self.last.problem.num_samples))
        found = {name: np.empty((chosen.size, stop - first, neurons)) for name in self.network.states}
        for name, values in found.items():
            for start in range(first, stop, at_once):
                rows = slice(start, min(start + at_once, stop))
                piece = self._files.read(f"state_{name}", rows)[:, chosen]
                values[:, start - first : rows.stop - first] = np.swapaxes(piece, 0, 1)
        return ts[first:stop], Named(found)

    def _asked_for(
        self, samples: ArrayLike | None, t0: float | None, t1: float | None
    ) -> tuple[NDArray[Any], float, float]:
        """Samples and times, all of them where they are not given, checked."""
        problem = self.last.problem
        chosen = np.arange(problem.num_samples) if samples is None else np.atleast_1d(np.asarray(samples))
        if chosen.dtype.kind not in "iu" or ((chosen < 0) | (chosen >= problem.num_samples)).any():
            raise ValidationError(f"samples must be from 0 to {problem.num_samples - 1}, got {describe(samples)}")
        asked = problem.t0 if t0 is None else t0, self.t1 if t1 is None else t1
        return chosen, *checked_window(*asked, problem.t0, self.t1, "run's")

    def _spikes(self, wanted: NDArray[np.bool_], begin: float, end: float) -> list[NDArray[Any]]:
        """Times, neurons and samples of the spikes of the wanted samples between two times, in the files' order."""
        found = {name: [np.empty(0, dtype)] for name, dtype in _SPIKES.items()}
        for start in range(0, self.num_spikes, ROWS_AT_ONCE):
            rows = slice(start, min(start + ROWS_AT_ONCE, self.num_spikes))
            piece = {name: np.asarray(self._files.read(name, rows)) for name in _SPIKES}
            there = wanted[piece["spike_samples"]] & seen(piece["spike_times"], begin, end, self.t1)
            for name, array in piece.items():
                found[name].append(array[there])
        return [np.concatenate(parts) for parts in found.values()]

    def continue_to(
        self,
        t1: float,
        *,
        saveat: ArrayLike | None = None,
        window: float | None = None,
        executor: Any = None,
        progress: bool = False,
    ) -> StoredRun:
        """Go on to t1, in the same files, to the numbers of one run.

        Parameters
        ----------
        t1 : float
        saveat : float or array_like, optional
            As for :meth:`Solution.continue_to`; default those of the times that :func:`record` was given which have
            not come.
        window, executor, progress
            As for :func:`record`.

        Returns
        -------
        StoredRun
            The longer run; this object stays that of the shorter one.
        """
        solution, begin = self.last, self.t1
        end = new_end(solution.problem, solution.engine, solution.raw, t1, "run")
        given = np.load(self.path / "saveat.npy") if saveat is None else save_times(saveat, solution.problem.t0, end)
        planned = given[given > begin]
        np.save(self.path / "saveat.npy", planned)
        for name, count in self._rows.items():
            self._files.cut(name, count)
        whole = replace(
            solution.problem,
            t1=end,
            num_steps=step_count(solution.problem.t0, end, solution.problem.dt),
            saveat=planned[planned <= end],
            executor=checked_executor(executor),
        )
        length = None if window is None else as_float("window", window, positive=True)
        _go_on(self.path, whole, solution.engine, solution, length, progress, self._rows)
        return StoredRun.open(self.path)


def _go_on(
    folder: Path,
    whole: Problem,
    engine_name: str,
    last: Solution | None,
    window: float | None,
    progress: bool,
    rows: Mapping[str, int] | None = None,
) -> None:
    """Window after window, from the last one to the end of the `whole` problem."""
    from tqdm.auto import tqdm

    engine, files = engines.engine_for(engine_name, whole), _files(folder)
    names = (*_SPIKES, "times", *(f"state_{name}" for name in whole.network.states))
    counts = dict.fromkeys(names, 0) | dict(rows or {})
    done = 0 if last is None else last.problem.num_steps
    steps = FIRST_STEPS if window is None else max(1, round(window / whole.dt))
    with tqdm(total=whole.num_steps, initial=done, unit="step", mininterval=0.5, disable=not progress) as bar:
        while done < whole.num_steps:
            stop = min(done + steps, whole.num_steps)
            t1 = whole.t1 if stop == whole.num_steps else whole.t0 + stop * whole.dt
            begin = -math.inf if last is None else last.problem.t1
            piece: dict[str, Any] = {"t1": t1, "num_steps": stop, "saveat": _between(whole.saveat, begin, t1)}
            piece["executor"] = whole.executor
            problem = replace(whole, **piece) if last is None else continued(last.problem, last.raw, None, **piece)
            last = Solution(problem, engine_name, engine.solve(problem))
            size = _write(files, counts, last)
            _commit(folder, counts, last)
            bar.update(stop - done)
            if window is None:
                fitting = int(WINDOW_BYTES * (stop - done) / max(size, 1))
                steps = max(1, min(fitting, GROWTH * steps))
            done = stop


def _between(times: Array, after: float, until: float) -> Array:
    return np.ascontiguousarray(times[(times > after) & (times <= until)])


def _write(files: _Files, counts: dict[str, int], solution: Solution) -> int:
    """Append the results of a window; returns how many bytes."""
    samples, columns = np.nonzero(solution.spike_neurons >= 0)
    found: dict[str, NDArray[Any]] = {
        "spike_times": solution.spike_times[samples, columns],
        "spike_neurons": solution.spike_neurons[samples, columns],
        "spike_samples": samples,
        "times": solution.ts,
    }
    found |= {f"state_{name}": np.swapaxes(values, 0, 1) for name, values in solution.states.items()}
    for name, array in found.items():
        files.append(name, counts[name], array)
        counts[name] += len(array)
    return sum(array.nbytes for array in found.values())


def _commit(folder: Path, counts: Mapping[str, int], solution: Solution) -> None:
    """Say that a window has been written whole."""
    state = f"state-{solution.problem.num_steps}.npz"
    save(folder / state, solution)
    text = json.dumps({**FORMAT, "state": state, "rows": dict(counts)})
    (folder / "run.json.new").write_text(text, encoding="utf-8")
    os.replace(folder / "run.json.new", folder / "run.json")
    for other in folder.glob("state-*.npz"):
        if other.name != state:
            other.unlink()


def _new_folder(out: Any) -> Path:
    try:
        folder = Path(out)
    except TypeError:
        raise ValidationError(f"out must be the path of a folder, got {describe(out)}") from None
    if folder.exists():
        raise ValidationError(
            f"out must not exist yet, got {str(folder)!r}: StoredRun.open(out).continue_to(t1) goes on with a run"
        )
    if not folder.parent.is_dir():
        raise ValidationError(f"out must be in an existing folder, but there is no {folder.parent}")
    if folder.suffix == ".zarr":
        _zarr()
    folder.mkdir()
    return folder


# --- arrays that grow by rows -----------------------------------------------------------------------------------------


class _Files:
    """One ``.npy`` file per array; its header has room for any number of rows."""

    HEADER = 128

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def create(self, name: str, dtype: Any, row: tuple[int, ...]) -> None:
        self._path(name).write_bytes(self._header(np.dtype(dtype), (0, *row)))

    def append(self, name: str, count: int, array: NDArray[Any]) -> None:
        """Write rows after the first `count` ones."""
        dtype, (_, *row) = self._layout(name)
        with self._path(name).open("r+b") as file:
            file.seek(self.HEADER + count * dtype.itemsize * math.prod(row))
            np.ascontiguousarray(array, dtype=dtype).tofile(file)
            file.truncate()
            file.seek(0)
            file.write(self._header(dtype, (count + len(array), *row)))

    def cut(self, name: str, count: int) -> None:
        """Keep the first `count` rows."""
        dtype, (_, *row) = self._layout(name)
        self.append(name, count, np.empty((0, *row), dtype))

    def read(self, name: str, rows: slice) -> Any:
        """Some rows of an array; memory-mapped."""
        dtype, shape = self._layout(name)
        if shape[0] == 0:
            return np.empty(shape, dtype)
        return np.load(self._path(name), mmap_mode="r", allow_pickle=False)[rows]

    def _layout(self, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
        with self._path(name).open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        return dtype, shape

    def _header(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
        text = io.BytesIO()
        about = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(text, about)
        header = text.getvalue()
        assert len(header) == self.HEADER
        return header


class _ZarrFiles(_Files):
    """One array each of a zarr group."""

    ROWS_OF_CHUNK = 2**16

    @functools.cached_property
    def _group(self) -> Any:
        return _zarr().open_group(str(self.folder), mode="a")

    def create(self, name: str, dtype: Any, row: tuple[int, ...]) -> None:
        rows = max(1, self.ROWS_OF_CHUNK // max(1, math.prod(row)))
        self._group.create_array(name, shape=(0, *row), chunks=(rows, *row), dtype=np.dtype(dtype))

    def append(self, name: str, count: int, array: NDArray[Any]) -> None:
        held = self._group[name]
        held.resize((count + len(array), *held.shape[1:]))
        if len(array):
            held[count:] = np.asarray(array, dtype=held.dtype)

    def cut(self, name: str, count: int) -> None:
        held = self._group[name]
        held.resize((count, *held.shape[1:]))

    def read(self, name: str, rows: slice) -> Any:
        return self._group[name][rows]


def _files(folder: Path) -> _Files:
    return _ZarrFiles(folder) if folder.suffix == ".zarr" else _Files(folder)


def _zarr() -> Any:
    try:
        import zarr
    except ImportError:
        raise ValidationError("out ends with .zarr, which needs zarr: pip install zarr, or give a folder") from None
    return zarr
