"""The training loop: :func:`fit`, and what it returns."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import sketches
from .diagnosis import Diagnosis, diagnose
from .errors import SSNNError, ValidationError
from .gradients import Objective, Outcome, differentiate, warn_of_fallback
from .losses import Loss
from .network import Network
from .optimizers import Optimizer
from .recordings import Recordings
from .simulation import Solution
from .training_plan import Bounds, LossFunction, Plan, checked_plan, npz, step_seed, write_npz
from .validation import counted, describe
from .values import Record

Array = NDArray[np.float64]


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


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C has ended a training, between two of its steps.

    Like any KeyboardInterrupt it ends the program unless it is caught: nothing goes on with half a training unasked.

    Attributes
    ----------
    result : FitResult
        The training as it stood after its last whole step, with ``stopped="interrupted"``; the checkpoint, where there
        is one, holds the same.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> def ctrl_c(step, record):
    ...     if step == 2:
    ...         raise KeyboardInterrupt
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
    >>> count = ssnn.SampleMean(lambda trains: (trains.num_spikes, None))
    >>> try:
    ...     result = ssnn.fit(net, None, count, "mu", steps=100, num_samples=4, callback=ctrl_c, t1=1.0, dt=0.1)
    ... except ssnn.TrainingInterrupted as interrupt:
    ...     result = interrupt.result
    >>> result.stopped, result.num_steps
    ('interrupted', 3)
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
    network : Network
        The trained network.
    parameters : dict of str to ndarray
        The trained parameters.
    history : dict of str to ndarray
        Per step: ``"loss"``, ``"seconds"``, ``"test_loss"`` where there is test data, and each trained parameter before
        the step.
    stopped : str
        Why training ended: "steps", "callback", "patience", "diverged" or "interrupted".
    gradient : str
        Which gradient was followed: "unbiased", "pathwise", or "mixed" where some steps had to fall back.
    state : dict of str to ndarray
        What the optimizer remembers.
    settings : dict of str to int, float, str or None
        What the numbers depend on besides data, loss and optimizer; a training resumes only under the same.
    """

    network: Network
    parameters: dict[str, Array]
    history: dict[str, Array]
    stopped: str = "steps"
    gradient: str = "pathwise"
    state: dict[str, Array] = field(default_factory=dict, repr=False)
    settings: dict[str, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        losses, why = self.history["loss"], self.stopped
        ended = f"stopped by {why}" if why in ("callback", "patience") else why
        made = f"{counted(self.num_steps, 'step')}{'' if why == 'steps' else f', {ended}'}, {self.gradient} gradient"
        path = f", loss {losses[0]:.4g} → {losses[-1]:.4g}" if losses.size else ""
        lines = [f"FitResult({made}{path})"]
        for name, value in self.parameters.items():
            if value.size <= 8:
                text = np.array2string(value, precision=4, separator=", ").replace("\n", "")
            else:
                text = f"{' × '.join(map(str, value.shape))} numbers from {value.min():.4g} to {value.max():.4g}"
            lines.append(f"  {name}: {text}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """For notebooks: what it is, and how the loss went."""
        return sketches.beside_text(repr(self), sketches.line(np.asarray(self.history["loss"]), "loss"))

    @property
    def num_steps(self) -> int:
        """How many steps were made."""
        return int(self.history["loss"].size)

    def diagnose(
        self,
        wrt: str | Sequence[str] | None = None,
        *,
        repeats: int = 16,
        step: float = 0.05,
        progress: bool = False,
    ) -> Diagnosis:
        r"""How well the data say what was fitted: curvature, standard errors, and the network's own data beside them.

        At the fitted parameters θ the loss L is evaluated `repeats` times, each time with noise of its own, and

        * its curvature H is the mean over the repeats of central differences of exact gradients, the noise frozen;
        * G is the covariance of the gradient where the network's own simulated data, as many samples as were recorded,
          take the place of the data (where data are neither spike trains nor a solution: of the noise alone);
        * standard errors are the roots of the diagonal of :math:`H^{-1} G H^{-1}`, the sandwich formula: by how much
          the θ at which one batch of noise has its least loss would scatter over repeated data and noise, if the
          network were true;
        * a combination of parameters is not identified where its curvature is not above twice its standard error over
          the repeats, or its own standard error exceeds its size: then parameters in it have an infinite one;
        * losses against the network's own data say where the loss would be if the data were the network's.

        Parameters
        ----------
        wrt : str or sequence of str, optional
            Trained parameters to look at, default all; those left out stay where they are.
        repeats : int
            How often noise and own data are drawn.
        step : float
            Of the central differences, in units of each parameter's size.
        progress : bool
            Show a progress bar.

        Returns
        -------
        Diagnosis
            Printed, it is a table and its consequences in words.

        Raises
        ------
        ValidationError
            If this result was loaded or unpickled, and so does not know the data; or if an argument is wrong.

        Notes
        -----
        It costs ``repeats·(2 + 2·P)`` simulations with gradients, P the number of trained entries. Where training
        follows pathwise gradients, as of losses that match spikes, H is the curvature of the loss as they see it.

        Examples
        --------
        A longer dead zone and a lower rate both make fewer spikes: mean counts alone cannot tell them apart.

        >>> import ssnn_py as ssnn
        >>> net = ssnn.SLIFNetwork([[0.0]], alpha=0.5, intensity=ssnn.ExponentialIntensity(beta=0.0, tau=1.0))
        >>> run = dict(t1=10.0, dt=1.0, num_samples=100)
        >>> data = ssnn.simulate(net, seed=1, **run).spike_trains
        >>> fit = ssnn.fit(net, data, ssnn.SpikeCountLoss(), ["alpha", "tau"], steps=0, **run)
        >>> found = fit.diagnose(repeats=8)
        >>> found.identified.tolist(), found.p_value > 0.05
        ([True, False], True)
        """
        plan = self.__dict__.get("_plan")
        if plan is None:
            raise ValidationError(
                "diagnose needs the training that made this result, and a loaded one does not know its data: call "
                "fit(result.network, data, loss, wrt, steps=0, ...).diagnose()"
            )
        return diagnose(plan, self.parameters, self.history, wrt, repeats, step, progress)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything but the network's fixed part to an ``.npz`` file: plain arrays, no pickle.

        Parameters
        ----------
        path : str or path
            Where; ``.npz`` is added where it is missing.

        Examples
        --------
        >>> import tempfile, os
        >>> import ssnn_py as ssnn
        >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5)
        >>> result = FitResult(net, {"input_current": np.array(1.5)}, {"loss": np.array([2.0, 1.0])})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "fit.npz")
        ...     result.save(path)
        ...     FitResult.load(path, net) == result
        True
        """
        arrays = {f"parameters/{name}": value for name, value in self.parameters.items()}
        arrays |= {f"history/{name}": value for name, value in self.history.items()}
        arrays |= {f"state/{name}": value for name, value in self.state.items()}
        header = np.array(
            json.dumps({**FORMAT, "stopped": self.stopped, "gradient": self.gradient, "settings": self.settings})
        )
        write_npz(npz(path), {"header": header, **arrays})

    @classmethod
    def load(cls, path: str | os.PathLike[str], network: Network) -> FitResult:
        """Read what :meth:`save` wrote; the trained parameters take the place of those of `network`.

        Parameters
        ----------
        path : str or path
        network : Network
            The one that was trained, or another that has its parameters.

        Returns
        -------
        FitResult

        Raises
        ------
        ValidationError
            If the file is not a saved result.
        """
        path = npz(path)
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


def fit(
    network: Network,
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
    network : Network
        Where to start.
    data : SpikeTrains, Solution, ndarray of shape (S, …) or None
        Recordings to be matched: spikes, spikes and potentials, potentials alone (S, T, N), or whatever per sample the
        loss compares with. None where it compares with nothing (:class:`SampleMean`).
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
        After every step the parameter is projected into [low, high]; None leaves a side open. Bounds of weights are
        those of the network's synapses, and make no new ones.
    clip_norm : float, optional
        Gradients are scaled down to this global Euclidean norm where they exceed it.
    callback : callable, optional
        ``callback(step, record)`` after every step, with what the history keeps of it; training ends where it returns
        True.
    patience : int, optional
        Training ends when the test loss (without test data, the loss) has not reached a new minimum for so many steps.
    record_every : int
        Parameters go into the history every so many steps; default every step.
    checkpoint : path, optional
        An ``.npz`` file, written every `checkpoint_every` steps, at the end and at Ctrl-C. If it exists, training
        resumes from it, to the same numbers.
    checkpoint_every : int
        Default 100.
    progress : bool
        Show a progress bar.
    **simulate_arguments
        As for :func:`simulate`: t1, dt, max_spikes, v0, … Where `input_spikes` has as many samples as the data, each
        batch hears those of its samples.

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
    TrainingInterrupted
        At Ctrl-C: a KeyboardInterrupt that keeps the result up to there, in an interactive Python
        ``sys.last_value.result``.

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
    plan = checked_plan(
        network,
        data,
        loss,
        wrt,
        steps,
        optimizer,
        gradient=gradient,
        batch_size=batch_size,
        num_samples=num_samples,
        seed=seed,
        test_data=test_data,
        test_loss=test_loss,
        bounds=bounds,
        clip_norm=clip_norm,
        callback=callback,
        patience=patience,
        record_every=record_every,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        run=simulate_arguments,
    )
    training = _Training(plan)
    try:
        with _progress_bar(training.step, plan.steps) if progress else contextlib.nullcontext() as bar:
            while training.stopped == "" and training.step < plan.steps:
                record = training.advance()
                if bar is not None:
                    bar.set_postfix_str(f"loss {record['loss']:.3g}", refresh=False)
                    bar.update()
                if callback is not None and callback(training.step - 1, record):
                    training.stopped = "callback"
                elif plan.checkpoint and not training.stopped and training.step % plan.checkpoint_every == 0:
                    training.result().save(plan.checkpoint)
    except KeyboardInterrupt as interrupt:
        training.stopped = "interrupted"
        result, kept = training.result(), "its attribute result holds what there is"
        if plan.checkpoint is not None and training.step > training.start:
            result.save(plan.checkpoint)
            kept += f", and so does {plan.checkpoint}"
        raise TrainingInterrupted(
            f"training interrupted after {training.step} of {plan.steps} steps: {kept}", result
        ) from interrupt
    result = training.result()
    if plan.checkpoint is not None:
        result.save(plan.checkpoint)
    return result


class _Training:
    """A training between two steps: what the next one starts from, and what is kept of those made."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.parameters, self.memory = dict(plan.start), plan.optimizer.init(plan.start)
        self.columns: dict[str, list[Any]] = {name: [] for name in ("loss", plan.watched, "seconds", *plan.names)}
        self.followed: set[str] = set()
        #: Why it has ended; nothing while it goes on.
        self.stopped = ""
        if plan.checkpoint is not None and plan.checkpoint.exists():
            self._resume(FitResult.load(plan.checkpoint, plan.network))
        self.network = plan.network_at(self.parameters)
        self.start = self.step = len(self.columns["loss"])
        # The least value of the watched loss, and how many steps ago it was reached.
        self._lowest, self._since = math.inf, 0
        for value in self.columns[plan.watched]:
            self._watch(value)

    def _resume(self, saved: FitResult) -> None:
        plan, history = self.plan, {name: np.empty(0) for name in self.columns}
        _check_resumable(saved, FitResult(plan.network, self.parameters, history, "", "", self.memory, plan.settings))
        self.parameters, self.memory = dict(saved.parameters), dict(saved.state)
        self.followed = {"unbiased", "pathwise"} if saved.gradient == "mixed" else {saved.gradient}
        self.columns = {name: list(saved.history[name]) for name in self.columns}

    def advance(self) -> dict[str, Any]:
        """Make one step; returns what the history keeps of it.

        Raises
        ------
        DivergedError
            If training cannot go on.
        """
        begin = time.perf_counter()
        outcome, tested = self._differentiated()
        if outcome.fallback and "pathwise" not in self.followed:
            warn_of_fallback(outcome.fallback)
        self.followed.add(outcome.gradient)
        gradients = self._clipped(outcome)
        try:
            parameters, memory = self._updated(gradients)
            network = self.plan.network_at(parameters)
        except SSNNError as error:
            raise self._diverged(error) from error
        record: dict[str, Any] = {"loss": outcome.value, self.plan.watched: outcome.value if tested is None else tested}
        record |= {"seconds": time.perf_counter() - begin, **self.parameters}
        for name, entry in record.items():
            if name not in self.parameters or self.step % self.plan.record_every == 0:
                self.columns[name].append(entry)
        # At once, without a call between: Ctrl-C comes before it or after it.
        self.parameters, self.memory, self.network, self.step = parameters, memory, network, self.step + 1
        self._watch(record[self.plan.watched])
        return record

    def _differentiated(self) -> tuple[Outcome, float | None]:
        """Loss and gradient at the noise of this step, and the test loss where there is test data."""
        plan, batch, tested, rows = self.plan, self.plan.data, None, None
        if plan.batch_size < plan.num_recorded:
            rows = batch_indices(plan.num_recorded, plan.batch_size, plan.seed, self.step)
            batch = _samples(batch, rows)
        try:
            problem = plan.problem_at(self.parameters, self.network, step_seed(plan.seed, self.step), rows)
            self.network.check_gradients(wrt=plan.names)
            outcome = differentiate(plan.objective(batch), problem, plan.engine, plan.names, plan.gradient)
            if plan.test_data is not None:
                tested = self._test_loss(outcome.solution)
        except SSNNError as error:
            if self.step == self.start:  # then it is an argument that is wrong, not the training
                raise
            raise self._diverged(error) from error
        return outcome, tested

    def _test_loss(self, solution: Solution) -> float:
        """Of the generated batch, or of runs that are clamped to the test data."""
        plan = self.plan
        if isinstance(plan.test_loss, Loss) and plan.test_loss.clamps:
            problem = plan.problem_at(self.parameters, self.network, solution.problem.seed)
            return Objective(plan.test_loss, plan.test_data).value(problem, plan.engine)
        return _tested(plan.test_loss(solution, plan.test_data))

    def _clipped(self, outcome: Outcome) -> dict[str, Array]:
        """The gradients as plain arrays, scaled down to the greatest norm that is allowed."""
        flat = outcome.plain_gradients
        norm = math.sqrt(sum(float(np.vdot(g, g)) for g in flat.values()))
        if not math.isfinite(outcome.value):
            here = f"the loss is {outcome.value}, though the simulation is finite"
            own = "; is a function of one's own not defined there? spike times are inf where there is no spike"
            raise self._diverged(here + own, *([""] if self.step == self.start else []))
        if not math.isfinite(norm):
            raise self._diverged(f"norm of the gradient {norm}")
        limit = self.plan.clip_norm
        return flat if limit is None or norm <= limit else {name: g * (limit / norm) for name, g in flat.items()}

    def _updated(self, gradients: dict[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """The parameters of the next step, within their bounds, and what the optimizer remembers then."""
        changes, memory = self.plan.optimizer.update(gradients, self.memory, self.step)
        new = {name: np.asarray(before + changes[name]) for name, before in self.parameters.items()}
        for name, (low, high) in self.plan.bounds.items():
            new[name] = np.asarray(np.minimum(np.maximum(new[name], low), high))
        for array in new.values():
            array.flags.writeable = False  # so that the network needs no copy of its own
        return new, memory

    def _watch(self, value: float) -> None:
        self._lowest, self._since = (value, 0) if value < self._lowest else (self._lowest, self._since + 1)
        if self.plan.patience is not None:
            self.stopped = "patience" if self._since >= self.plan.patience else ""

    def result(self) -> FitResult:
        """The training as it stands."""
        # A step that was interrupted may have left its entries in some of the columns.
        thinned = -(-self.step // self.plan.record_every)
        made = {name: thinned if name in self.parameters else self.step for name in self.columns}
        history = {name: np.array(values[: made[name]]) for name, values in self.columns.items()}
        kind = "mixed" if len(self.followed) > 1 else next(iter(self.followed), self.plan.gradient)
        state, settings = dict(self.memory), self.plan.settings
        stopped = self.stopped or "steps"
        result = FitResult(self.network, dict(self.parameters), history, stopped, kind, state, settings)
        object.__setattr__(result, "_plan", self.plan)  # for `diagnose`; no part of the value
        return result

    def _diverged(
        self, why: object, advice: str = " (a smaller learning rate, clip_norm or bounds may help)"
    ) -> DivergedError:
        self.stopped = "diverged"
        return DivergedError(f"training diverged at step {self.step}: {why}{advice}", self.result())


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


def _samples(data: Any, rows: NDArray[np.int64]) -> Any:
    if isinstance(data, Solution):
        return Recordings.of(data)[rows]
    return data[rows]


def _progress_bar(start: int, stop: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(initial=start, total=stop, unit="step", mininterval=0.5)


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
