"""Work that goes out to the workers of an executor: what travels, what they keep, and what if one is lost."""

from __future__ import annotations

import hashlib
import io
import pickle
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ValidationError, WorkerLostWarning, warn_caller
from ..validation import describe
from ..values import frozen

#: As many tasks go out where an executor does not say how many workers it has.
NUM_TASKS = 16
#: Read-only arrays of so many bytes stay with the workers.
LARGE = 2**14
#: How many bytes a worker keeps, besides those of its last task.
MAX_KEPT_BYTES = 2**30


def checked_executor(executor: Any, progress: bool = False) -> Workers | None:
    """The workers of something with the method ``submit`` of :class:`concurrent.futures.Executor`, or None.

    Raises
    ------
    ValidationError
        If it has none.
    """
    if executor is None or isinstance(executor, Workers):
        return executor
    if callable(getattr(executor, "submit", None)):
        return Workers(executor, progress)
    raise ValidationError(
        "executor must have the method submit of concurrent.futures.Executor, as a ProcessPoolExecutor or a Dask "
        f"Client, got {describe(executor)}"
    )


class Workers:
    """The workers of an executor.

    Parameters
    ----------
    executor
        Anything with ``submit(function, *arguments)`` that returns futures.
    progress : bool
        Show a progress bar of the tasks of every call.
    """

    def __init__(self, executor: Any, progress: bool = False) -> None:
        # A Dask client's futures of equal calls are one; its executor knows better.
        self._submits = executor.get_executor(pure=False) if hasattr(executor, "get_executor") else executor
        self._owner, self._progress = executor, progress
        self.count = _num_workers(executor)

    def map(self, work: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """``work(*call)`` for every call, in their order; of those that workers have lost, by this process.

        Where one fails, or at Ctrl-C, those that have not begun are cancelled.
        """
        here = isinstance(self._submits, ThreadPoolExecutor)
        tasks: list[_Shared] | list[_Packed] = (
            [_Shared(work, call) for call in calls] if here else _packed(work, calls, _sent_to(self._owner))
        )
        futures: list[Any] = []
        results: dict[int, Any] = {}
        try:
            with self._bar(len(calls)) as bar:
                futures.extend(task.submit(self._submits) for task in tasks)
                waiting = deque(range(len(calls)))
                while waiting:
                    place = waiting.popleft()
                    result = futures[place].result()
                    if isinstance(result, _Missing):
                        futures[place] = tasks[place].submit(self._submits, with_all=True)
                        waiting.append(place)
                        continue
                    results[place] = result
                    bar.update()
        except BrokenExecutor as error:
            warn_caller(
                f"the executor has lost its workers ({error}): this process computes what is missing",
                WorkerLostWarning,
            )
            for place, call in enumerate(calls):
                if place not in results:
                    found = _found(futures[place]) if place < len(futures) else None
                    results[place] = work(*call) if found is None else found
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return [results[place] for place in range(len(calls))]

    def _bar(self, total: int) -> Any:
        from tqdm.auto import tqdm

        return tqdm(total=total, unit="task", mininterval=0.5, disable=not self._progress)


def _found(future: Any) -> Any:
    """The result of a future that has one; None of one that was lost, or has asked for more."""
    try:
        result = future.result()
    except BrokenExecutor:
        return None
    return None if isinstance(result, _Missing) else result


def _num_workers(executor: Any) -> int:
    """How many there are, as far as the executor says."""
    if hasattr(executor, "scheduler_info"):
        info = executor.scheduler_info()
        return max(1, int(info.get("n_workers", len(info["workers"]))))  # of which some versions list five
    known = getattr(executor, "_max_workers", None)
    return known if isinstance(known, int) and known > 0 else NUM_TASKS


# --- what travels -----------------------------------------------------------------------------------------------------
# Large arrays that never change are named by what is in them. They travel with the first task that has them, and a
# worker that has not seen one asks for it: so a network of many synapses, and recorded spikes, travel to a worker once.


@dataclass(frozen=True)
class _Shared:
    """A call for workers that are threads of this process."""

    work: Callable[..., Any]
    call: tuple[Any, ...]

    def submit(self, executor: Any, with_all: bool = False) -> Any:
        return executor.submit(self.work, *self.call)


@dataclass(frozen=True)
class _Packed:
    """A call as bytes, and its large arrays by name; those that are new to an executor go along at once."""

    work: Callable[..., Any]
    packed: bytes
    arrays: dict[str, NDArray[Any]]
    new: frozenset[str]

    def submit(self, executor: Any, with_all: bool = False) -> Any:
        along = {name: array for name, array in self.arrays.items() if with_all or name in self.new}
        return executor.submit(perform, self.work, self.packed, tuple(self.arrays), along)


@dataclass(frozen=True)
class _Missing:
    """A worker's answer where it does not have the arrays of these names."""

    names: tuple[str, ...]


class _Packer(pickle.Pickler):
    """Leaves out large arrays, which it collects by name."""

    def __init__(self, file: io.BytesIO, named: dict[int, str]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.arrays: dict[str, NDArray[Any]] = {}
        self._named = named

    def persistent_id(self, obj: Any) -> str | None:
        if type(obj) is not np.ndarray or obj.flags.writeable or obj.nbytes < LARGE or obj.dtype.kind not in "fiub":
            return None
        if id(obj) not in self._named:
            self._named[id(obj)] = _name_of(obj)
        name = self._named[id(obj)]
        self.arrays[name] = obj
        return name


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, arrays: dict[str, NDArray[Any]]) -> None:
        super().__init__(file)
        self._arrays = arrays

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        return self._arrays[pid]


def _packed(work: Callable[..., Any], calls: Sequence[tuple[Any, ...]], sent: set[str]) -> list[_Packed]:
    """The calls as they travel; what they have goes among what was `sent`."""
    named: dict[int, str] = {}
    tasks = []
    for call in calls:
        file = io.BytesIO()
        packer = _Packer(file, named)
        packer.dump(call)
        tasks.append(_Packed(work, file.getvalue(), packer.arrays, frozenset(packer.arrays.keys() - sent)))
    sent.update(*(task.arrays for task in tasks))
    return tasks


# The names of arrays that live, as long as they do.
_NAMES: dict[int, tuple[weakref.ref[NDArray[Any]], str]] = {}


def _name_of(array: NDArray[Any]) -> str:
    known = _NAMES.get(id(array))
    if known is not None and known[0]() is array:
        return known[1]
    contents = hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).hexdigest()
    name = f"{contents}/{array.dtype.str}/{array.shape}"
    if array.base is None:  # else the numbers may be another's, who changes them
        key = id(array)
        _NAMES[key] = weakref.ref(array, lambda _: _NAMES.pop(key, None)), name
    return name


_SENT: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


def _sent_to(executor: Any) -> set[str]:
    """The names of the arrays that the workers of an executor were sent."""
    try:
        return _SENT.setdefault(executor, set())
    except TypeError:  # nothing can be remembered of it
        return set()


# --- what a worker does -----------------------------------------------------------------------------------------------

# From the least to the most recently used.
_KEPT: dict[str, NDArray[Any]] = {}


def perform(work: Callable[..., Any], packed: bytes, names: Sequence[str], along: dict[str, NDArray[Any]]) -> Any:
    """The result of a packed call whose large arrays have these names, some of which came along."""
    missing = tuple(name for name in names if name not in _KEPT and name not in along)
    for name in names:
        array = _KEPT.pop(name, None)
        if array is None and name in along:
            array = frozen(along[name])
        if array is not None:
            _KEPT[name] = array
    _forget(set(names))
    if missing:
        return _Missing(missing)
    return work(*_Unpacker(io.BytesIO(packed), {name: _KEPT[name] for name in names}).load())


def _forget(needed: set[str]) -> None:
    """Let go of arrays that are not needed now, where they are too many; those that were used longest ago go first."""
    size = sum(array.nbytes for array in _KEPT.values())
    for name in [name for name in _KEPT if name not in needed]:
        if size <= MAX_KEPT_BYTES:
            return
        size -= _KEPT.pop(name).nbytes
