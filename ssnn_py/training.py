"""The training loop: :func:`fit`, and what it returns."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .errors import SSNNError, ValidationError
from .gradients import Objective, checked_gradient, checked_names, differentiate, warn_of_fallback
from .losses import Loss
from .network import SLIFNetwork
from .optimizers import Optimizer, RMSProp
from .recordings import Recordings
from .simulation import Solution, prepare, simulate
from .spike_trains import SpikeTrains
from .validation import as_float, as_int, describe, require_memory
from .values import Record

Array = NDArray[np.float64]
LossFunction = Callable[[Any, Any], Any]
Bounds = Mapping[str, tuple[float | None, float | None]]


class DivergedError(SSNNError):
    """Training cannot go on: a loss or gradient is not finite, a parameter left its range, or a simulation failed.

    Attributes
    ----------
    result : FitResult
        The training as it stood before the step that failed.
    """

    def __init__(self, message: str, result: FitResult) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.result)


FORMAT = {"format": "ssnn-fit", "version": 2}


@dataclass(frozen=True, eq=False)
class FitResult(Record):
    """What :func:`fit` returns; two are equal where all their attributes are.

    Attributes
    ----------
    network : SLIFNetwork
        The trained network.
    parameters : dict of str to ndarray
        The trained parameters.
    history : dict of str to ndarray
        Per step: ``"loss"``, ``"seconds"``, ``"test_loss"`` where there is test data, and each trained parameter before the step.
    stopped : str
        Why training ended: "steps", "callback", "patience" or "diverged".
    gradient : str
        Which gradient was followed: "unbiased", "pathwise", or "mixed" where some steps had to fall back.
    state : dict of str to ndarray
        What the optimizer remembers.
    settings : dict of str to int, float, str or None
        What the numbers depend on besides data, loss and optimizer; a training resumes only under the same.
    """

    network: SLIFNetwork
    parameters: dict[str, Array]
    history: dict[str, Array]
    stopped: str = "steps"
    gradient: str = "pathwise"
    state: dict[str, Array] = field(default_factory=dict, repr=False)
    settings: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def num_steps(self) -> int:
        """How many steps were made."""
        return int(self.history["loss"].size)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything but the network's fixed part to an ``.npz`` file: plain arrays, no pickle."""
        arrays = {f"parameters/{name}": value for name, value in self.parameters.items()}
        arrays |= {f"history/{name}": value for name, value in self.history.items()}
        arrays |= {f"state/{name}": value for name, value in self.state.items()}
        header = np.array(
            json.dumps({**FORMAT, "stopped": self.stopped, "gradient": self.gradient, "settings": self.settings})
        )
        path = _npz(path)
        scratch = path.with_name(path.name + ".part")
        with scratch.open("wb") as file:
            np.savez(file, header=header, **cast(dict[str, Any], arrays))
        scratch.replace(path)  # whole or not at all

    @classmethod
    def load(cls, path: str | os.PathLike[str], network: SLIFNetwork) -> FitResult:
        """Read what :meth:`save` wrote; the trained parameters take the place of those of `network`.

        Raises
        ------
        ValidationError
            If the file is not a saved result.
        """
        path = _npz(path)
        try:
            with np.load(path, allow_pickle=False) as file:
                contents = {name: file[name] for name in file.files}
            header = json.loads(str(contents.pop("header")))
            if {key: header[key] for key in FORMAT} != FORMAT:
                raise ValueError(f"format {header['format']!r}, version {header['version']!r}")
            stopped, gradient, settings = header["stopped"], header["gradient"], header["settings"]
        except FileNotFoundError:
            raise ValidationError(f"path must be a saved result, but there is no {path}") from None
        except Exception as error:
            raise ValidationError(f"{path} is not a saved result of ssnn_py ({error})") from None

        def part(prefix: str) -> dict[str, Array]:
            return {name[len(prefix) :]: value for name, value in contents.items() if name.startswith(prefix)}

        parameters = part("parameters/")
        own = {name: value for name, value in parameters.items() if name in network.parameters}
        return cls(network.replace(**own), parameters, part("history/"), stopped, gradient, part("state/"), settings)


def step_seed(seed: int, step: int) -> int:
    """Seed of the noise of one training step: a 64-bit mix of the two, so that no two steps share noise.

    The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) on ``seed + (step + 1)·golden ratio``: for a given seed
    a bijection of the step.
    """
    mask = (1 << 64) - 1
    z = (seed + (step + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def fit(
    network: SLIFNetwork,
    data: Any,
    loss: LossFunction,
    wrt: str | Sequence[str],
    steps: int,
    optimizer: Optimizer | None = None,
    *,
    gradient: str = "auto",
    batch_size: int | None = None,
    num_samples: int | None = None,
    seed: int = 0,
    test_data: Any = None,
    test_loss: LossFunction | None = None,
    bounds: Bounds | None = None,
    clip_norm: float | None = None,
    callback: Callable[[int, dict[str, Any]], bool | None] | None = None,
    patience: int | None = None,
    record_every: int = 1,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 100,
    progress: bool = False,
    **simulate_arguments: Any,
) -> FitResult:
    """Train parameters of a network by stochastic gradient descent with exact gradients.

    Every step simulates with fresh noise (:func:`step_seed`), compares with the data and follows the optimizer.

    Parameters
    ----------
    network : SLIFNetwork
        Where to start.
    data : SpikeTrains, Solution, ndarray of shape (S, …) or None
        Recordings to be matched: spikes, spikes and potentials, potentials alone (S, T, N), or whatever per sample the loss compares with. None where
        it compares with nothing (:class:`SampleMean`).
    loss : callable
        ``loss(generated, data) -> LossValue``, for instance :class:`ExpectedSignatureLoss`.
    wrt : str or sequence of str
        Parameters to train; those of the network, ``"v0"`` or ``"i0"``.
    steps : int
        Number of steps, those of a resumed checkpoint included.
    optimizer : Optimizer
        Default ``RMSProp(1e-3)``.
    gradient : {"auto", "unbiased", "pathwise"}
        As for :func:`value_and_grad`; :attr:`FitResult.gradient` says which was used.
    batch_size : int, optional
        Samples of the data per step, in a fresh order every epoch; default all.
    num_samples : int, optional
        Samples generated per step; default the size of the batch. Needed where there is no data.
    seed : int
        Key of all noise and of the order of the batches.
    test_data, test_loss : optional
        Evaluated on the generated batch of every step; `test_loss` defaults to `loss`, and may return a number alone.
    bounds : mapping of str to (low, high), optional
        After every step the parameter is projected into [low, high]; None leaves a side open. Bounds of weights are those of the
        network's synapses, and make no new ones.
    clip_norm : float, optional
        Gradients are scaled down to this global Euclidean norm where they exceed it.
    callback : callable, optional
        ``callback(step, record)`` after every step, with what the history keeps of it; training ends where it returns True.
    patience : int, optional
        Training ends when the test loss (without test data, the loss) has not reached a new minimum for so many steps.
    record_every : int
        Parameters go into the history every so many steps; default every step.
    checkpoint : path, optional
        An ``.npz`` file, written every `checkpoint_every` steps and at the end. If it exists, training resumes from it, to the same numbers.
    checkpoint_every : int
        Default 100.
    progress : bool
        Show a progress bar.
    **simulate_arguments
        As for :func:`simulate`: t1, dt, max_spikes, v0, …

    Returns
    -------
    FitResult

    Raises
    ------
    ValidationError
        If an argument is not what it should be, or the checkpoint is that of another training.
    NoGradientError
        If the model has no pathwise gradient, or none that is unbiased where that is asked for.
    DivergedError
        If training cannot go on; the error keeps the result up to there.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> truth = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
    >>> run = dict(t1=2.0, dt=0.02, max_spikes=2)
    >>> data = ssnn.simulate(truth, num_samples=16, seed=1, **run).spike_trains
    >>> result = ssnn.fit(truth.replace(input_current=1.0), data, ssnn.ExpectedSignatureLoss(depth=2), "input_current",
    ...                   steps=3, optimizer=ssnn.RMSProp(1e-2), **run)
    >>> result.history["loss"].shape
    (3,)
    """
    if not isinstance(network, SLIFNetwork):
        raise ValidationError(f"network must be an SLIFNetwork, got {describe(network)}")
    for label, function in (("loss", loss), ("test_loss", test_loss), ("callback", callback)):
        if not callable(function) and not (function is None and label != "loss"):
            raise ValidationError(f"{label} must be callable, got {describe(function)}")
    gradient = checked_gradient(gradient)
    recorded = 0 if data is None else _num_samples("data", data)
    if data is None and (num_samples is None or batch_size is not None):
        raise ValidationError("num_samples must be given, and no batch_size, where data is None")
    if test_data is not None:
        _num_samples("test_data", test_data)
    elif test_loss is not None:
        raise ValidationError("test_loss needs test_data")
    rule = RMSProp(1e-3) if optimizer is None else optimizer
    if not isinstance(rule, Optimizer):
        raise ValidationError(f"optimizer must be an Optimizer, got {describe(optimizer)}")
    steps = as_int("steps", steps, 0)
    seed = as_int("seed", seed, 0, 2**64 - 1)
    size = recorded if batch_size is None else as_int("batch_size", batch_size, 1, recorded)
    samples = size if num_samples is None else as_int("num_samples", num_samples, 1)
    clip = None if clip_norm is None else as_float("clip_norm", clip_norm, positive=True)
    patience = None if patience is None else as_int("patience", patience, 1)
    record_every = as_int("record_every", record_every, 1)
    checkpoint_every = as_int("checkpoint_every", checkpoint_every, 1)
    path = None if checkpoint is None else _checkpoint_path(checkpoint)

    run: dict[str, Any] = {**simulate_arguments, "num_samples": samples}
    try:
        inspect.signature(simulate).bind(network, **run)
    except TypeError as error:
        raise ValidationError(f"arguments of simulate: {error}") from None
    problem, _ = prepare(network, **run)
    network.check_gradients()
    names = checked_names(wrt, problem.parameters)
    current = {name: np.array(problem.parameters[name]) for name in names}
    limits = _checked_bounds(bounds, network, current)
    kept = 8.0 * sum(value.size for value in current.values()) * math.ceil(steps / record_every)
    require_memory("the history of the parameters", kept, "take a larger record_every")

    # A loss remembers what it computed of its data: one that meets two sets of data in turn would do so in vain.
    test = test_loss or (copy.copy(loss) if isinstance(loss, Loss) else loss)
    settings = {key: getattr(problem, key) for key in ("t0", "t1", "dt", "max_spikes", "num_samples", "first_sample")}
    settings |= {"solver": problem.solver, "seed": seed, "batch_size": size, "record_every": record_every}
    settings["gradient"] = gradient
    watched = "loss" if test_data is None else "test_loss"
    columns: dict[str, list[Any]] = {name: [] for name in ("loss", watched, "seconds", *names)}
    state, start = rule.init(current), 0
    followed: set[str] = set()
    if path is not None and path.exists():
        resumed = FitResult.load(path, network)
        _check_resumable(
            resumed, FitResult(network, current, {name: np.empty(0) for name in columns}, "", "", state, settings)
        )
        current, state, start = resumed.parameters, resumed.state, resumed.num_steps
        followed = {"unbiased", "pathwise"} if resumed.gradient == "mixed" else {resumed.gradient}
        columns = {name: list(resumed.history[name]) for name in columns}

    def at(parameters: Mapping[str, Array]) -> SLIFNetwork:
        return network.replace(**{name: value for name, value in parameters.items() if name in network.parameters})

    here = at(current)
    lowest, since = math.inf, 0  # of the watched loss, and how many steps ago
    for value in columns[watched]:
        lowest, since = (value, 0) if value < lowest else (lowest, since + 1)

    def result(stopped: str) -> FitResult:
        history = {name: np.array(values) for name, values in columns.items()}
        kind = "mixed" if len(followed) > 1 else next(iter(followed), gradient)
        return FitResult(here, dict(current), history, stopped, kind, dict(state), settings)

    def diverged(step: int, why: object) -> DivergedError:
        advice = "a smaller learning rate, clip_norm or bounds may help"
        return DivergedError(f"training diverged at step {step}: {why} ({advice})", result("diverged"))

    batch, tested = data, math.nan

    def objective(batch: Any) -> Objective:
        return Objective(loss, batch) if isinstance(loss, Loss) else Objective(lambda solution: loss(solution, batch))

    stopped = "patience" if patience is not None and since >= patience else "steps"
    with _progress_bar(start, steps) if progress else contextlib.nullcontext() as bar:
        for step in range(start, steps if stopped == "steps" else start):
            begin = time.perf_counter()
            if size < recorded:
                batch = _samples(data, batch_indices(recorded, size, seed, step))
            initial: dict[str, Any] = {name: current[name] for name in ("v0", "i0") if name in current}
            try:
                arguments: dict[str, Any] = {**run, **initial, "seed": step_seed(seed, step)}
                problem, engine = prepare(here, **arguments)
                here.check_gradients()
                outcome = differentiate(objective(batch), problem, engine, names, gradient)
                if test_data is not None:
                    tested = _tested(test(outcome.solution, test_data))
            except SSNNError as error:
                if step == start:  # then it is an argument that is wrong, not the training
                    raise
                raise diverged(step, error) from error
            if outcome.fallback and "pathwise" not in followed:
                warn_of_fallback(outcome.fallback)
            followed.add(outcome.gradient)
            value, gradients = outcome.value, outcome.gradients
            flat = {name: g.data if hasattr(g, "tocsr") else g for name, g in gradients.items()}
            norm = math.sqrt(sum(float(np.vdot(g, g)) for g in flat.values()))
            if not (math.isfinite(value) and math.isfinite(norm)):
                raise diverged(step, f"loss {value}, norm of the gradient {norm}")
            if clip is not None and norm > clip:
                flat = {name: g * (clip / norm) for name, g in flat.items()}
            try:
                changes, new_state = rule.update(flat, state, step)
                new = {name: np.asarray(before + changes[name]) for name, before in current.items()}
                for name, (low, high) in limits.items():
                    new[name] = np.asarray(np.minimum(np.maximum(new[name], low), high))
                there = at(new)
            except SSNNError as error:
                raise diverged(step, error) from error

            record: dict[str, Any] = {"loss": value, watched: value if test_data is None else tested}
            record |= {"seconds": time.perf_counter() - begin, **current}
            for name, entry in record.items():
                if name not in current or step % record_every == 0:
                    columns[name].append(entry)
            current, state, here = new, new_state, there
            lowest, since = (record[watched], 0) if record[watched] < lowest else (lowest, since + 1)
            if bar is not None:
                bar.set_postfix_str(f"loss {value:.3g}", refresh=False)
                bar.update()
            if callback is not None and callback(step, record):
                stopped = "callback"
            elif patience is not None and since >= patience:
                stopped = "patience"
            if stopped != "steps":
                break
            if path is not None and (step + 1) % checkpoint_every == 0:
                result(stopped).save(path)
    done = result(stopped)
    if path is not None:
        done.save(path)
    return done


def _tested(outcome: Any) -> float:
    try:
        return float(outcome[0] if isinstance(outcome, tuple) else outcome)
    except (TypeError, ValueError, IndexError):
        raise ValidationError(f"test_loss must return a number, or a LossValue, got {describe(outcome)}") from None


def batch_indices(num_samples: int, size: int, seed: int, step: int) -> NDArray[np.int64]:
    """Which samples of the data a step sees: batches follow each other through a fresh permutation per epoch.

    A pure function of the step, so that a resumed training sees the same batches.
    """
    first, last = step * size // num_samples, ((step + 1) * size - 1) // num_samples
    orders = np.concatenate([_order(num_samples, seed, epoch) for epoch in range(first, last + 1)])
    begin = step * size - first * num_samples
    return orders[begin : begin + size]


@functools.lru_cache(maxsize=2)
def _order(num_samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(num_samples)


def _num_samples(name: str, data: Any) -> int:
    if isinstance(data, np.ndarray) and data.ndim and len(data):
        return len(data)
    trains = getattr(data, "spike_trains", data)
    if not isinstance(trains, SpikeTrains):
        raise ValidationError(
            f"{name} must be a Solution, SpikeTrains or an array whose first axis counts samples, got {describe(data)}"
        )
    return trains.num_samples


def _samples(data: Any, rows: NDArray[np.int64]) -> Any:
    if isinstance(data, Solution):
        return Recordings.of(data)[rows]
    return data[rows]


def _progress_bar(start: int, stop: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(initial=start, total=stop, unit="step", mininterval=0.5)


def _npz(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    return path if path.suffix == ".npz" else path.with_name(path.name + ".npz")


def _checkpoint_path(checkpoint: Any) -> Path:
    try:
        path = _npz(checkpoint)
    except (TypeError, ValueError):
        raise ValidationError(f"checkpoint must be the path of a file, got {describe(checkpoint)}") from None
    if not path.parent.is_dir():
        raise ValidationError(f"checkpoint must be in an existing folder, but there is no {path.parent}")
    return path


def _check_resumable(resumed: FitResult, fresh: FitResult) -> None:
    """Raise unless the training that was saved is the one that would start now."""
    for what, key in (("trained parameters", "parameters"), ("optimizer state", "state")):
        shapes = [{name: np.shape(x) for name, x in getattr(fit, key).items()} for fit in (resumed, fresh)]
        if shapes[0] != shapes[1]:
            raise ValidationError(f"checkpoint has {what} {shapes[0]}, not {shapes[1]}")
    if set(resumed.history) != set(fresh.history):
        raise ValidationError(f"checkpoint has the history {sorted(resumed.history)}, not {sorted(fresh.history)}")
    for key, value in fresh.settings.items():
        if resumed.settings.get(key) != value:
            raise ValidationError(f"checkpoint was written with {key} = {resumed.settings.get(key)}, got {value}")


def _checked_bounds(
    bounds: Bounds | None, network: SLIFNetwork, start: Mapping[str, Array]
) -> dict[str, tuple[Array, Array]]:
    """The least and greatest value of every entry of the bounded parameters."""
    if not isinstance(bounds, Mapping | None):
        raise ValidationError(f"bounds must map names to pairs (low, high), got {describe(bounds)}")
    checked = {}
    for name, pair in (bounds or {}).items():
        if name not in start:
            raise ValidationError(f"bounds names {name!r}, which is not trained; wrt names {', '.join(start)}")
        try:
            low, high = pair
        except (TypeError, ValueError):
            raise ValidationError(f"bounds of {name} must be a pair (low, high), got {describe(pair)}") from None
        low = -math.inf if low is None else as_float(f"bounds of {name}", low)
        high = math.inf if high is None else as_float(f"bounds of {name}", high)
        if low > high:
            raise ValidationError(f"bounds of {name} must have low ≤ high, got {describe(pair)}")
        bounded = np.ones(start[name].shape, dtype=bool)
        if name == "weights" and bounded.ndim == 2:
            bounded[:] = False
            bounded.ravel()[network.synapses.position] = True
        outside = start[name][bounded & ((start[name] < low) | (start[name] > high))]
        if outside.size:
            raise ValidationError(
                f"bounds of {name} must hold at the start, got {describe(pair)}, but {outside[0]} there"
            )
        checked[name] = (np.where(bounded, low, -math.inf), np.where(bounded, high, math.inf))
    return checked
