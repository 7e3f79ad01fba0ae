"""The training loop: :func:`fit`, and what it returns."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .errors import SSNNError, ValidationError
from .gradients import checked_names, value_and_grad
from .losses import LossValue, as_trains
from .network import SLIFNetwork
from .optimizers import Optimizer, RMSProp
from .simulation import Solution
from .validation import as_float, as_int, as_real_array, describe

Array = NDArray[np.float64]
Loss = Callable[[Any, Any], Any]
Bounds = Mapping[str, tuple[float | None, float | None]]


class DivergedError(SSNNError):
    """Training met a loss or a gradient that is not finite; ``result`` is the :class:`FitResult` up to the last good step."""

    def __init__(self, message: str, result: FitResult) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class FitResult:
    """What :func:`fit` returns.

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
    """

    network: SLIFNetwork
    parameters: dict[str, Array]
    history: dict[str, Array]
    stopped: str = "steps"
    state: dict[str, Array] = field(default_factory=dict, repr=False)

    @property
    def num_steps(self) -> int:
        """How many steps were made."""
        return int(self.history["loss"].size)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything but the network's fixed part to an ``.npz`` file: plain arrays, no pickle."""
        arrays = {f"parameters/{name}": value for name, value in self.parameters.items()}
        arrays |= {f"history/{name}": value for name, value in self.history.items()}
        arrays |= {f"state/{name}": value for name, value in self.state.items()}
        header = np.array(json.dumps({"format": "ssnn-fit", "version": 1, "stopped": self.stopped}))
        path = Path(path)
        path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
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
        path = Path(path)
        path = path if path.exists() or path.suffix == ".npz" else path.with_name(path.name + ".npz")
        try:
            with np.load(path, allow_pickle=False) as file:
                contents = {name: file[name] for name in file.files}
            header = json.loads(str(contents.pop("header")))
            if header["format"] != "ssnn-fit":
                raise KeyError("format")
        except FileNotFoundError:
            raise ValidationError(f"path must be a saved result, but there is no {path}") from None
        except Exception as error:
            raise ValidationError(f"{path} is not a saved result of ssnn_py ({error})") from None

        def part(prefix: str) -> dict[str, Array]:
            return {name[len(prefix) :]: value for name, value in contents.items() if name.startswith(prefix)}

        parameters = part("parameters/")
        own = {name: value for name, value in parameters.items() if name in network.parameters}
        return cls(network.replace(**own), parameters, part("history/"), header["stopped"], part("state/"))


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
    loss: Loss,
    wrt: str | Sequence[str],
    steps: int,
    optimizer: Optimizer | None = None,
    *,
    batch_size: int | None = None,
    num_samples: int | None = None,
    seed: int = 0,
    test_data: Any = None,
    test_loss: Loss | None = None,
    bounds: Bounds | None = None,
    clip_norm: float | None = None,
    callback: Callable[[int, dict[str, float]], bool | None] | None = None,
    patience: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 100,
    progress: bool = False,
    **simulate_arguments: Any,
) -> FitResult:
    """Train parameters of a network by stochastic gradient descent with exact pathwise gradients.

    Every step simulates with fresh noise (:func:`step_seed`), compares with the data and follows the optimizer.

    Parameters
    ----------
    network : SLIFNetwork
        Where to start.
    data : SpikeTrains or Solution
        Recordings to be matched.
    loss : callable
        ``loss(generated, data) -> LossValue``, for instance :class:`ExpectedSignatureLoss`.
    wrt : str or sequence of str
        Parameters to train; those of the network, ``"v0"`` or ``"i0"``.
    steps : int
        Number of steps, those of a resumed checkpoint included.
    optimizer : Optimizer
        Default ``RMSProp(1e-3)``.
    batch_size : int, optional
        Samples of the data per step, in a fresh order every epoch; default all.
    num_samples : int, optional
        Samples generated per step; default the size of the batch.
    seed : int
        Key of all noise and of the order of the batches.
    test_data, test_loss : optional
        Evaluated on the generated batch of every step; `test_loss` defaults to `loss`.
    bounds : mapping of str to (low, high), optional
        After every step the parameter is projected into [low, high]; None leaves a side open.
    clip_norm : float, optional
        Gradients are scaled down to this global Euclidean norm where they exceed it.
    callback : callable, optional
        ``callback(step, record)`` after every step; training ends where it returns True.
    patience : int, optional
        Training ends when the test loss (without test data, the loss) has not reached a new minimum for so many steps.
    checkpoint : path, optional
        An ``.npz`` file, written every `checkpoint_every` steps and at the end. If it exists, training resumes from it, to the same numbers.
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
        If an argument is not what it should be.
    DivergedError
        If a loss or gradient is not finite; the error keeps the result up to there.

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
    if not callable(loss):
        raise ValidationError(f"loss must be callable, got {describe(loss)}")
    trains = as_trains("data", data)
    rule = RMSProp(1e-3) if optimizer is None else optimizer
    if not isinstance(rule, Optimizer):
        raise ValidationError(f"optimizer must be an Optimizer, got {describe(optimizer)}")
    steps = as_int("steps", steps, 0)
    seed = as_int("seed", seed, 0, 2**64 - 1)
    size = trains.num_samples if batch_size is None else as_int("batch_size", batch_size, 1, trains.num_samples)
    samples = size if num_samples is None else as_int("num_samples", num_samples, 1)
    clip = None if clip_norm is None else as_float("clip_norm", clip_norm, positive=True)
    patience = None if patience is None else as_int("patience", patience, 1)
    checkpoint_every = as_int("checkpoint_every", checkpoint_every, 1)
    if test_loss is not None and test_data is None:
        raise ValidationError("test_loss needs test_data")
    for name in ("seed", "num_samples"):
        simulate_arguments.pop(name, None)
    initial = {name: as_real_array(name, simulate_arguments.get(name, 0.0), (0, 1, 2)) for name in ("v0", "i0")}
    parameters = {**network.parameters, **initial}
    names = checked_names(wrt, parameters)
    limits = _checked_bounds(bounds, names)

    current = {name: np.array(parameters[name], copy=True) for name in names}
    state = rule.init(current)
    columns: dict[str, list[Any]] = {"loss": [], "seconds": [], **({"test_loss": []} if test_data is not None else {})}
    columns |= {name: [] for name in names}
    start = 0
    if checkpoint is not None and _exists(checkpoint):
        resumed = FitResult.load(checkpoint, network)
        if set(resumed.parameters) != set(names):
            raise ValidationError(f"checkpoint holds {sorted(resumed.parameters)}, but wrt names {sorted(names)}")
        current, state, start = resumed.parameters, resumed.state, resumed.num_steps
        columns = {name: list(resumed.history[name]) for name in columns}

    def result(stopped: str) -> FitResult:
        own = {name: value for name, value in current.items() if name in network.parameters}
        history = {name: np.array(values) for name, values in columns.items()}
        return FitResult(network.replace(**own), dict(current), history, stopped, dict(state))

    stopped = "steps"
    for step in _steps(start, steps, progress):
        begin = time.perf_counter()
        batch = data if size == trains.num_samples else trains[batch_indices(trains.num_samples, size, seed, step)]
        here = network.replace(**{name: value for name, value in current.items() if name in network.parameters})
        moved = {name: value for name, value in current.items() if name in initial}
        tested: list[float] = []

        def compare(solution: Solution, batch: Any = batch, tested: list[float] = tested) -> LossValue:
            if test_data is not None:
                tested.append(float((test_loss or loss)(solution, test_data)[0]))
            return cast(LossValue, loss(solution, batch))

        value, gradients = value_and_grad(
            compare,
            here,
            names,
            **{**simulate_arguments, **moved, "num_samples": samples, "seed": step_seed(seed, step)},
        )
        flat = {
            name: getattr(gradient, "data", gradient) if hasattr(gradient, "tocsr") else gradient
            for name, gradient in gradients.items()
        }
        norm = float(np.sqrt(sum(float(np.vdot(g, g)) for g in flat.values())))
        if not (np.isfinite(value) and np.isfinite(norm)):
            raise DivergedError(
                f"training diverged at step {step}: loss {value}, norm of the gradient {norm}", result("diverged")
            )
        if clip is not None and norm > clip:
            flat = {name: g * (clip / norm) for name, g in flat.items()}
        changes, state = rule.update(flat, state, step)
        for name in names:
            columns[name].append(current[name])
            low, high = limits.get(name, (None, None))
            new = current[name] + changes[name]
            current[name] = new if low is None and high is None else np.clip(new, low, high)
        columns["loss"].append(value)
        columns["seconds"].append(time.perf_counter() - begin)
        if tested:
            columns["test_loss"].append(tested[0])
        watched = columns["test_loss" if tested else "loss"]
        if callback is not None and callback(step, {"loss": value, **({"test_loss": tested[0]} if tested else {})}):
            stopped = "callback"
        elif patience is not None and len(watched) - 1 - int(np.argmin(watched)) >= patience:
            stopped = "patience"
        if checkpoint is not None and ((step + 1) % checkpoint_every == 0 or stopped != "steps"):
            result(stopped).save(checkpoint)
        if stopped != "steps":
            break
    done = result(stopped)
    if checkpoint is not None:
        done.save(checkpoint)
    return done


def batch_indices(num_samples: int, size: int, seed: int, step: int) -> NDArray[np.int64]:
    """Which samples of the data a step sees: batches follow each other through a fresh permutation per epoch.

    A pure function of the step, so that a resumed training sees the same batches.
    """
    positions = np.arange(step * size, (step + 1) * size)
    epochs = positions // num_samples
    out = np.empty(size, dtype=np.int64)
    for epoch in np.unique(epochs):
        order = np.random.default_rng([seed, int(epoch)]).permutation(num_samples)
        out[epochs == epoch] = order[positions[epochs == epoch] % num_samples]
    return out


def _steps(start: int, stop: int, progress: bool) -> Any:
    if not progress:
        return range(start, stop)
    from tqdm.auto import tqdm

    return tqdm(range(start, stop), initial=start, total=stop, unit="step", mininterval=0.5)


def _exists(path: str | os.PathLike[str]) -> bool:
    path = Path(path)
    return path.exists() or path.with_name(path.name + ".npz").exists()


def _checked_bounds(bounds: Bounds | None, names: Sequence[str]) -> dict[str, tuple[float | None, float | None]]:
    checked = {}
    for name, pair in (bounds or {}).items():
        if name not in names:
            raise ValidationError(f"bounds names {name!r}, which is not trained; wrt names {', '.join(names)}")
        try:
            low, high = (None if side is None else as_float(f"a bound of {name}", side) for side in pair)
        except (TypeError, ValueError) as error:
            raise ValidationError(
                f"bounds of {name} must be a pair (low, high), got {describe(pair)}: {error}"
            ) from None
        if low is not None and high is not None and low > high:
            raise ValidationError(f"bounds of {name} must have low ≤ high, got {describe(pair)}")
        checked[name] = (low, high)
    return checked
