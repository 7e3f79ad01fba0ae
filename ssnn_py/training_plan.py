"""The arguments of :func:`ssnn_py.fit`, checked: a :class:`Plan` of a training."""

from __future__ import annotations

import copy
import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .engine import Problem
from .errors import ValidationError
from .gradients import Objective, checked_gradient, checked_names
from .losses import Loss
from .network import Network
from .optimizers import Optimizer, RMSProp
from .simulation import NO_SYNAPSE, prepare, renewed, simulate, warn_of_likely_mistakes
from .spike_trains import SpikeTrains
from .validation import as_float, as_int, describe, require_memory

Array = NDArray[np.float64]
LossFunction = Callable[[Any, Any], Any]
Bounds = Mapping[str, tuple[float | None, float | None]]


@dataclass(frozen=True, eq=False)
class Plan:
    """A training whose arguments are what they should be.

    Attributes
    ----------
    network : Network
    start : dict of str to ndarray
        The trained parameters before the first step.
    data, test_data
    loss, test_loss : callable
    optimizer : Optimizer
    gradient : str
    steps, seed : int
    num_recorded, batch_size : int
        How many samples the data has, and how many of them a step sees.
    bounds : dict of str to pair of ndarray
        The least and greatest value of every entry of the bounded parameters.
    clip_norm : float or None
    callback : callable or None
    patience : int or None
    record_every, checkpoint_every : int
    checkpoint : Path or None
    problem : Problem
        What the first step solves; those after it change noise and parameters.
    engine : str
    settings : dict
        What the numbers depend on besides data, loss and optimizer.
    input_spikes : SpikeTrains or None
        What came in as each sample of the data was recorded, where that is known of each.
    """

    network: Network
    start: dict[str, Array]
    data: Any
    test_data: Any
    loss: LossFunction
    test_loss: LossFunction
    optimizer: Optimizer
    gradient: str
    steps: int
    seed: int
    num_recorded: int
    batch_size: int
    bounds: dict[str, tuple[Array, Array]]
    clip_norm: float | None
    callback: Callable[[int, dict[str, Any]], bool | None] | None
    patience: int | None
    record_every: int
    checkpoint: Path | None
    checkpoint_every: int
    problem: Problem
    engine: str
    settings: dict[str, Any]
    input_spikes: SpikeTrains | None

    @property
    def names(self) -> tuple[str, ...]:
        """The trained parameters."""
        return tuple(self.start)

    @property
    def watched(self) -> str:
        """The column of the history that `patience` watches."""
        return "loss" if self.test_data is None else "test_loss"

    def objective(self, batch: Any) -> Objective:
        """The loss against a batch of the data."""
        loss = self.loss
        return Objective(loss, batch) if isinstance(loss, Loss) else Objective(lambda solution: loss(solution, batch))

    def network_at(self, parameters: Mapping[str, Array]) -> Network:
        """The network with trained parameters."""
        return self.network.replace(**{name: x for name, x in parameters.items() if name in self.network.parameters})

    def problem_at(
        self, parameters: Mapping[str, Array], network: Network, seed: int, rows: NDArray[np.int64] | None = None
    ) -> Problem:
        """The simulation with trained parameters, `network` being that :meth:`network_at` them, and noise of `seed`.

        Where spikes come in that belong to the samples of the data, they are those of its `rows`; default all.
        """
        initial = {name: parameters[name] for name in self.problem.initial if name in parameters}
        problem = self.problem
        if self.input_spikes is not None:
            given = self.input_spikes if rows is None else self.input_spikes[rows]
            problem = replace(problem, input_spikes=given, num_samples=given.num_samples)
        return renewed(problem, network, seed, initial)


def checked_plan(
    network: Network,
    data: Any,
    loss: LossFunction,
    wrt: str | Sequence[str],
    steps: int,
    optimizer: Optimizer | None,
    *,
    gradient: str,
    batch_size: int | None,
    num_samples: int | None,
    seed: int,
    test_data: Any,
    test_loss: LossFunction | None,
    bounds: Bounds | None,
    clip_norm: float | None,
    callback: Callable[[int, dict[str, Any]], bool | None] | None,
    patience: int | None,
    record_every: int,
    checkpoint: str | os.PathLike[str] | None,
    checkpoint_every: int,
    run: Mapping[str, Any],
) -> Plan:
    """The plan that arguments of :func:`ssnn_py.fit` describe.

    Raises
    ------
    ValidationError
        If an argument is not what it should be.
    NoGradientError
        If the model has no pathwise gradient.
    """
    if not isinstance(network, Network):
        raise ValidationError(f"network must be a Network, such as an SLIFNetwork, got {describe(network)}")
    for label, function in (("loss", loss), ("test_loss", test_loss), ("callback", callback)):
        if not callable(function) and not (function is None and label != "loss"):
            raise ValidationError(f"{label} must be callable, got {describe(function)}")
    gradient = checked_gradient(gradient)
    recorded = _recorded(data, num_samples, batch_size)
    if test_data is not None:
        _num_samples("test_data", test_data)
    elif test_loss is not None:
        raise ValidationError("test_loss needs test_data")
    rule = RMSProp(1e-3) if optimizer is None else optimizer
    if not isinstance(rule, Optimizer):
        raise ValidationError(f"optimizer must be an Optimizer, got {describe(optimizer)}")
    steps, seed = as_int("steps", steps, 0), as_int("seed", seed, 0, 2**64 - 1)
    size = recorded if batch_size is None else as_int("batch_size", batch_size, 1, recorded)
    samples = size if num_samples is None else as_int("num_samples", num_samples, 1)
    clip_norm = None if clip_norm is None else as_float("clip_norm", clip_norm, positive=True)
    patience = None if patience is None else as_int("patience", patience, 1)
    record_every = as_int("record_every", record_every, 1)
    checkpoint_every = as_int("checkpoint_every", checkpoint_every, 1)
    path = None if checkpoint is None else _checkpoint_path(checkpoint)
    input_spikes, run = _per_recording(run, recorded, size, samples)
    if input_spikes is not None and test_data is not None:
        raise ValidationError(
            "test_data must not be given where input_spikes has a sample for each of the data: what is generated has "
            "heard the data's. Simulate the test's own in a callback"
        )
    try:
        inspect.signature(simulate).bind(network, **run)
    except TypeError as error:
        raise ValidationError(f"arguments of simulate: {error}") from None
    problem, engine = prepare(network, **run)
    warn_of_likely_mistakes(problem)
    start = {name: np.array(problem.parameters[name]) for name in checked_names(wrt, problem.parameters)}
    if "weights" in start and not network.synapses.targets.size:
        raise ValidationError(NO_SYNAPSE)
    if "input_times" in start:
        raise ValidationError(
            "wrt must name parameters of the network or initial values, got 'input_times', which are data"
        )
    network.check_gradients(wrt=tuple(start))
    limits = _checked_bounds(bounds, network, start)
    kept = 8.0 * sum(value.size for value in start.values()) * math.ceil(steps / record_every)
    require_memory("the history of the parameters", kept, "take a larger record_every")
    settings = {key: getattr(problem, key) for key in ("t0", "t1", "dt", "max_spikes", "num_samples", "first_sample")}
    settings |= {"solver": problem.solver, "seed": seed, "batch_size": size, "record_every": record_every}
    return Plan(
        network=network,
        start=start,
        data=data,
        test_data=test_data,
        loss=loss,
        # A loss remembers what it computed of its data: one that meets two sets of data in turn would do so in vain.
        test_loss=test_loss or (copy.copy(loss) if isinstance(loss, Loss) else loss),
        optimizer=rule,
        gradient=gradient,
        steps=steps,
        seed=seed,
        num_recorded=recorded,
        batch_size=size,
        bounds=limits,
        clip_norm=clip_norm,
        callback=callback,
        patience=patience,
        record_every=record_every,
        checkpoint=path,
        checkpoint_every=checkpoint_every,
        problem=problem,
        engine=engine,
        settings={**settings, "gradient": gradient},
        input_spikes=input_spikes,
    )


def _per_recording(
    run: Mapping[str, Any], recorded: int, size: int, samples: int
) -> tuple[SpikeTrains | None, dict[str, Any]]:
    """Spikes that come in for each sample of the data, if these are not one and the same for all or those of the
    generated samples; and the arguments of the first step's simulation.
    """
    arguments = {**run, "num_samples": samples}
    spikes = run.get("input_spikes")
    if not isinstance(spikes, SpikeTrains) or spikes.num_samples in (1, samples) or spikes.num_samples != recorded:
        return None, arguments
    if samples != size:
        raise ValidationError(
            f"num_samples must be the size of a batch, {size}, where input_spikes has a sample for each of the data, "
            f"got {samples}"
        )
    return spikes, {**arguments, "input_spikes": spikes[:samples]}


def _recorded(data: Any, num_samples: int | None, batch_size: int | None) -> int:
    """How many samples the data has; 0 where there is none."""
    if data is not None:
        return _num_samples("data", data)
    if num_samples is None or batch_size is not None:
        raise ValidationError("num_samples must be given, and no batch_size, where data is None")
    return 0


def _num_samples(name: str, data: Any) -> int:
    if isinstance(data, np.ndarray) and data.ndim and len(data):
        return len(data)
    trains = getattr(data, "spike_trains", data)
    if not isinstance(trains, SpikeTrains):
        raise ValidationError(
            f"{name} must be a Solution, SpikeTrains or an array whose first axis counts samples, got {describe(data)}"
        )
    return trains.num_samples


def step_seed(seed: int, step: int) -> int:
    """Seed of the noise of one training step: a 64-bit mix of the two, so that no two steps share noise.

    The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) on ``seed + (step + 1)·golden ratio``: for a given
    seed a bijection of the step.
    """
    mask = (1 << 64) - 1
    z = (seed + (step + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def npz(path: str | os.PathLike[str]) -> Path:
    """`path` with the suffix of NumPy's archives."""
    path = Path(path)
    return path if path.suffix == ".npz" else path.with_name(path.name + ".npz")


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an archive of NumPy's, whole or not at all."""
    scratch = path.with_name(path.name + ".part")
    with scratch.open("wb") as file:
        np.savez(file, **cast(dict[str, Any], arrays))
    scratch.replace(path)


def _checkpoint_path(checkpoint: Any) -> Path:
    try:
        path = npz(checkpoint)
    except (TypeError, ValueError):
        raise ValidationError(f"checkpoint must be the path of a file, got {describe(checkpoint)}") from None
    if not path.parent.is_dir():
        raise ValidationError(f"checkpoint must be in an existing folder, but there is no {path.parent}")
    return path


def _checked_bounds(
    bounds: Bounds | None, network: Network, start: Mapping[str, Array]
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
        bounded = np.zeros(start[name].shape, dtype=bool)
        bounded.ravel()[network.own_entries(name, start[name])] = True
        outside = start[name][bounded & ((start[name] < low) | (start[name] > high))]
        if outside.size:
            raise ValidationError(
                f"bounds of {name} must hold at the start, got {describe(pair)}, but {outside[0]} there"
            )
        checked[name] = (np.where(bounded, low, -math.inf), np.where(bounded, high, math.inf))
    return checked
