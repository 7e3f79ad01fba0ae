"""Networks as differentiable functions in PyTorch: tensors in, spike times and potentials out, backward through the
exact adjoint.

:func:`simulate` differentiates samples, :func:`expectation` means over samples: spikes that appear and vanish included.
Needs PyTorch, which is not installed with ssnn_py: ``pip install torch``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    import torch
except ImportError as error:  # pragma: no cover
    raise ImportError("ssnn_py.torch needs PyTorch: pip install torch") from error

from . import engine as engines
from .engine import Cotangents, Insertions, Problem, RawSolution
from .engine.device_arrays import ArrayLibrary
from .errors import NoGradientError, ValidationError
from .network import Network
from .recordings import Recordings, with_spike_at_end
from .simulation import Solution, prepare, warn_of_likely_mistakes, with_input_times
from .unbiased import at_places, choose_insertions, with_insertions
from .validation import describe


@dataclass(frozen=True)
class _Result:
    """What an engine has computed. Its arrays are NumPy's, or tensors where it is on a device."""

    problem: Problem
    engine: str
    raw: RawSolution

    @functools.cached_property
    def solution(self) -> Solution:
        """In NumPy."""
        there: Any = self.raw
        if not isinstance(there.spike_times, torch.Tensor):
            return Solution(self.problem, self.engine, self.raw)
        times, neurons = there.spike_times.cpu().numpy(), there.spike_neurons.cpu().numpy()
        states = {name: values.cpu().numpy() for name, values in there.states.items()}
        raw = replace(self.raw, spike_times=times, spike_neurons=neurons, states=states)
        return Solution(self.problem, self.engine, raw)


@dataclass(frozen=True)
class TorchSolution:
    """What :func:`simulate` returns, and what functions take whose :func:`expectation` is asked for.

    Attributes
    ----------
    spike_times : torch.Tensor, shape (S, K), float64
        Differentiable; inf where there is no spike (no gradient flows there).
    spike_neurons : torch.Tensor, shape (S, K), int64
        Which neuron fired; −1 where there is no spike.
    spike_counts : torch.Tensor, shape (S, N), int64
        Number of spikes of each neuron.
    states : dict of str to torch.Tensor, shape (S, T, N), float64
        Differentiable: the state variables by name, recorded where ``saveat`` was given.
    v, i : torch.Tensor, shape (S, T, N), float64
        Those of these names.
    solution : Solution
        The solution in NumPy, with everything else. Of one that is on a GPU the spikes and recorded values are copied
        when it is first asked for.
    """

    spike_times: torch.Tensor
    states: dict[str, torch.Tensor]
    result: _Result = field(repr=False)

    @property
    def solution(self) -> Solution:
        return self.result.solution

    @property
    def v(self) -> torch.Tensor:
        return self.states["v"]

    @property
    def i(self) -> torch.Tensor:
        return self.states["i"]

    @property
    def spike_neurons(self) -> torch.Tensor:
        return _copied(self.result.raw.spike_neurons).to(self.spike_times.device)

    @property
    def spike_counts(self) -> torch.Tensor:
        neurons: Any = self.result.raw.spike_neurons
        if not isinstance(neurons, torch.Tensor):
            return torch.tensor(self.solution.spike_counts, device=self.spike_times.device)
        one_more = self.result.problem.network.num_neurons  # for no spike
        counts = neurons.new_zeros(len(neurons), one_more + 1)
        counts.scatter_add_(1, neurons.where(neurons >= 0, one_more), torch.ones_like(neurons))
        return counts[:, :one_more]


class TorchArrays(ArrayLibrary):
    """Tensors on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def full(self, shape: tuple[int, ...], value: float) -> torch.Tensor:
        dtype = torch.int64 if isinstance(value, int) else torch.float64
        return torch.full(shape, value, dtype=dtype, device=self.device)

    def contiguous(self, array: torch.Tensor) -> torch.Tensor:
        return (array.to(torch.float64) if array.is_floating_point() else array).contiguous()

    def address(self, array: torch.Tensor) -> int:
        return int(array.data_ptr())

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@functools.cache
def _arrays_on(device: torch.device) -> TorchArrays:
    return TorchArrays(device)


def _library(device: str, tensors: Sequence[torch.Tensor]) -> TorchArrays | None:
    """Where solutions stay that are computed on `device`: on the GPU that a tensor is on if it is that one, the first
    of its kind, and of kernels on the processor in its memory; else nothing, and they go through the host's.
    """
    if device == "cpu":
        return None
    if device == "kernels" or engines.is_emulation(device):
        return _arrays_on(torch.device("cpu"))
    is_ours = {"cuda": torch.version.cuda, "rocm": torch.version.hip}.get(device) is not None
    there = [tensor.device for tensor in tensors if tensor.device.type == "cuda" and tensor.device.index == 0]
    return _arrays_on(there[0]) if is_ours and there else None


def _copied(array: Any) -> torch.Tensor:
    """A tensor of one's own with the numbers of a tensor or an array."""
    return array.clone() if isinstance(array, torch.Tensor) else torch.from_numpy(np.array(array))


class _Simulate(torch.autograd.Function):
    """Spike times and recorded states; and the integrated hazards' part in the gradient: zeros (S, N) at t1, and (S,)
    at one place within the interval.

    Whoever adds multiples of these zeros to a loss gives the hazards cotangents (docs/gradients.md).
    """

    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        call.solve([tensor.detach().cpu().numpy().astype(np.float64) for tensor in tensors])
        ctx.call = call
        ctx.like = [(tensor.dtype, tensor.device) for tensor in tensors]
        ctx.set_materialize_grads(False)
        problem, raw = call.result.problem, call.result.raw
        samples, neurons = problem.num_samples, problem.network.num_neurons
        times, *states = (_copied(part) for part in (raw.spike_times, *raw.states.values()))
        hazards = (times.new_zeros(shape) for shape in ((samples, neurons), (samples,)))
        return (times, *states, *hazards)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *bars: torch.Tensor | None) -> tuple[Any, ...]:
        wanted = ctx.needs_input_grad[1:]
        names = [name for name, needed in zip(ctx.call.names, wanted, strict=True) if needed]
        gradients = ctx.call.pull_back(bars, names)
        out = []
        for name, (dtype, device), needed in zip(ctx.call.names, ctx.like, wanted, strict=True):
            out.append(torch.from_numpy(gradients[name]).to(dtype=dtype, device=device) if needed else None)
        return (None, *out)


class _Call:
    """A simulation that waits for the values of its parameters."""

    def __init__(self, network: Network, parameters: Mapping[str, torch.Tensor], arguments: dict[str, Any]) -> None:
        layer = arguments.get("input_spikes")
        if isinstance(layer, TorchSolution):
            if "input_times" in parameters:
                raise ValidationError("parameters must not name 'input_times' where input_spikes is a TorchSolution")
            parameters = {**parameters, "input_times": layer.spike_times}
            arguments = {**arguments, "input_spikes": layer.solution.spike_trains}
        self.network, self.names, self.arguments = network, tuple(parameters), arguments
        self.tensors = tuple(parameters.values())
        known = (*network.parameters, *network.initial_names, *([] if network.inputs is None else ["input_times"]))
        for name, value in parameters.items():
            if name not in known:
                raise ValidationError(f"parameters names an unknown parameter {name!r}; there are {', '.join(known)}")
            if not isinstance(value, torch.Tensor):
                raise ValidationError(f"parameters must hold tensors, got {describe(value)} for {name}")
        self.differentiated = any(value.requires_grad for value in parameters.values()) and torch.is_grad_enabled()
        self.insertions: Insertions | None = None

    def solve(self, arrays: list[Any]) -> None:
        values = dict(zip(self.names, arrays, strict=True))
        arguments = with_input_times(self.arguments, values.pop("input_times", None))
        own = {name: value for name, value in values.items() if name in self.network.parameters}
        initial = {name: value for name, value in values.items() if name not in own}
        network = self.network.replace(**own)
        if self.differentiated:
            network.check_gradients(wrt=self.names)
        problem, engine = prepare(network, **{**arguments, **initial})
        warn_of_likely_mistakes(problem)
        self.library = _library(problem.device, self.tensors)
        self.result = _Result(problem, engine, engines.engine_for(engine, problem, self.library).solve(problem))

    def cotangents(
        self, times: torch.Tensor | None, states: Mapping[str, torch.Tensor], entries: NDArray[Any] | None
    ) -> Cotangents:
        """Those of the solution; of spike times and recorded values tensors where it is on a device."""
        if self.library is None:
            return self.result.solution.cotangents(
                None if times is None else times.cpu().numpy(),
                entries=entries,
                states_bar={name: bar.cpu().numpy() for name, bar in states.items()},
            )
        raw: Any = self.result.raw
        return Cotangents(
            raw.spike_times.new_zeros(()).expand_as(raw.spike_times)
            if times is None
            else _counted("spike_times", times, raw.spike_times),
            {name: _counted(name, bar, raw.states[name]) for name, bar in states.items()},
            entries,
        )

    def pull_back(self, bars: Sequence[torch.Tensor | None], names: list[str]) -> dict[str, Any]:
        times, *of_states, end, place = bars
        named = dict(zip(self.network.states, of_states, strict=True))
        states = {name: bar for name, bar in named.items() if bar is not None}
        at_end, at_place = (None if bar is None else bar.cpu().numpy() for bar in (end, place))
        result, problem = self.result, self.result.problem
        if at_end is not None and states and result.raw.truncated.any():
            raise NoGradientError(
                "no unbiased gradient: samples were cut at max_spikes, and with them what they record; give no "
                "max_spikes, or a larger one"
            )
        cotangents = self.cotangents(times, states, at_end)
        if at_place is not None and self.insertions is not None:
            cotangents = replace(cotangents, **at_places(self.insertions, at_place, result.solution.recorded_shape))
        gradients = engines.engine_for(result.engine, problem, self.library).pull_back(problem, cotangents, names)
        engines.check_finite(gradients)
        return gradients


def _counted(name: str, bar: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A cotangent with zeros where there is no spike or recorded value."""
    counted = bar.to(like).where(torch.isfinite(like), 0.0)
    if not torch.isfinite(counted).all():
        raise ValidationError(f"the gradient by {name} must be finite wherever there is a spike or a recorded value")
    return counted


def _run(
    network: Network, parameters: Mapping[str, torch.Tensor], arguments: dict[str, Any]
) -> tuple[_Call, TorchSolution, tuple[torch.Tensor, ...]]:
    """The call, what it returns, and the two zeros that stand for its hazards."""
    call = _Call(network, parameters, arguments)
    spike_times, *states, at_end, at_place = _Simulate.apply(call, *call.tensors)  # type: ignore[no-untyped-call]
    named = dict(zip(network.states, states, strict=True))
    return call, TorchSolution(spike_times, named, call.result), (at_end, at_place)


def simulate(network: Network, parameters: Mapping[str, torch.Tensor], **simulate_arguments: Any) -> TorchSolution:
    """Simulate a network with some of its parameters given as tensors.

    Parameters
    ----------
    network : Network
    parameters : mapping of str to torch.Tensor
        Names of the network's parameters, ``"v0"`` or ``"i0"``; sparse weights by their stored values; or
        ``"input_times"``, which take the place of those of `input_spikes`. Any dtype and device.
    **simulate_arguments
        As for :func:`ssnn_py.simulate`. `input_spikes` may be a TorchSolution, too, the spikes of another network:
        gradients go through their times. Spikes that appear or vanish there are not seen.

    Returns
    -------
    TorchSolution
        In double precision on the CPU; with a `device` that is a GPU, on which one of the tensors is, too, it is there
        and stays there, as do its derivatives (docs/devices.md).

    Raises
    ------
    ValidationError
        If a name is unknown or a value does not fit.
    NoGradientError
        If a gradient is asked for that does not exist.

    Examples
    --------
    Descent on one's own loss, ten steps with fresh noise::

        c = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([c], lr=0.02)
        for step in range(10):
            optimizer.zero_grad()
            out = ssnn_py.torch.simulate(net, {"input_current": c}, t1=5.0, dt=0.01, num_samples=64, max_spikes=3,
                seed=step)
            loss = (out.spike_times.clamp(max=5.0).mean(0) - target).square().mean()
            loss.backward()
            optimizer.step()

    Two layers::

        hidden = ssnn_py.torch.simulate(first, {"input_weights": w1}, input_spikes=trains, **run)
        out = ssnn_py.torch.simulate(second, {"input_weights": w2}, input_spikes=hidden, **run)
    """
    return _run(network, parameters, dict(simulate_arguments))[1]


def expectation(
    function: Callable[[TorchSolution], torch.Tensor],
    network: Network,
    parameters: Mapping[str, torch.Tensor],
    *,
    order_matters: bool = True,
    **simulate_arguments: Any,
) -> torch.Tensor:
    r"""The mean over samples of a function of each sample, :math:`\frac1S\sum_s f(X_s)`, whose backward pass is the
    unbiased gradient of :math:`\mathbb E\,f(X)`.

    The gradient of :func:`simulate` is pathwise: it does not see spikes that appear or vanish, and of a count nothing
    at all. This one gains

    .. math:: \frac1S\sum_{s,k}\bigl(f(X_s\cup\{k\text{ at }t_1\})-f(X_s)\bigr)\,\partial_\theta\Lambda_{sk}(t_1)

    with Λ the integrated hazard since a neuron's last spike, where a spike could come (docs/gradients.md), and likewise
    what spikes change that come just before or after another neuron's, or just before or after a recorded time; of
    these places one per sample is chosen at random, and the sample is simulated again with a spike there. `function` is
    evaluated up to N + 3 times, once of these with gradients.

    Parameters
    ----------
    function : callable
        ``function(solution: TorchSolution) -> values``, shape (S,), or (S, …) for several expectations at once. It must
        treat each sample by itself. It may jump where a spike comes or goes, where two spikes of different neurons
        change their order, and where a spike passes a time of ``saveat``; otherwise it must be differentiable in the
        spike times (and v and i). It may hold parameters of its own, which get their gradients as usual.
    network : Network
    parameters : mapping of str to torch.Tensor
        As for :func:`simulate`.
    order_matters : bool
        False where the function never jumps as two spikes change their order (counts, sums over spikes): spares the
        second simulation, unless ``saveat`` or samples of several neurons that end at their last spike want it.
    **simulate_arguments
        As for :func:`ssnn_py.simulate`. At the times of ``saveat`` the function may look at v and i, and jump as a
        spike passes them: edges of windows in which it counts must be among them.

    Returns
    -------
    torch.Tensor, shape () or (…)
        A smooth function of expectations, such as their squared distance to data, has its gradient at the sample means:
        biased by O(1/S).

    Raises
    ------
    ValidationError
        If an argument, or what the function returned, is not what it should be.
    NoGradientError
        If gradients are asked for that do not exist: deterministic crossings (:class:`ssnn_py.ThresholdIntensity`),
        solvers of DifferentialEquations.jl, or (in the backward pass) recorded values of samples that were cut at
        ``max_spikes``.

    Examples
    --------
    How the mean number of spikes depends on the current; ``simulate`` has no gradient of it::

        c = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
        mean = ssnn_py.torch.expectation(
            lambda solution: solution.spike_counts.sum(1), net, {"input_current": c}, t1=5.0, dt=0.01, num_samples=1000,
            order_matters=False
        )
        mean.backward()
    """
    if not callable(function):
        raise ValidationError(f"function must be callable, got {describe(function)}")
    call, outputs, (at_end, at_place) = _run(network, parameters, dict(simulate_arguments))
    solution = call.result.solution
    samples = solution.problem.num_samples
    if call.differentiated:
        solution.check_entries(recorded=solution.ts.size > 0)

    def evaluate(batch: TorchSolution) -> torch.Tensor:
        values = function(batch)
        if not isinstance(values, torch.Tensor) or values.shape[:1] != (samples,):
            raise ValidationError(
                f"function must return a tensor of shape ({samples},) or ({samples}, …), got {describe(values)}"
            )
        return values if values.is_floating_point() else values.to(torch.float64)

    values = evaluate(outputs)
    mean = values.mean(0)
    if not call.differentiated:
        return mean

    def seen(batch: Recordings) -> torch.Tensor:
        return evaluate(_seen(solution, batch, outputs.spike_times.device))

    def weighted(hazards: torch.Tensor, weights: NDArray[Any], changes: torch.Tensor) -> torch.Tensor:
        """Zero, and a gradient: hazards (S, …) times `weights` times `changes`, summed over the hazards' axes."""
        if not torch.isfinite(changes).all():
            raise ValidationError("function must return finite values, also of samples with one spike more")
        axes = hazards.ndim
        factors = (hazards * torch.from_numpy(weights / samples)).to(changes)
        return torch.tensordot(factors, changes, axes)

    here = values.detach()
    with torch.no_grad():
        at_t1 = [seen(with_spike_at_end(solution, k)) - here for k in range(network.num_neurons)]
    # A sample that is cut before t1 has no end.
    mean = mean + weighted(at_end, 1.0 - solution.truncated[:, None], torch.stack(at_t1, 1))
    call.insertions, weights = choose_insertions(solution, bool(order_matters), at_saves=True)
    if call.insertions is not None:
        with torch.no_grad():
            early, late = (seen(batch) for batch in with_insertions(solution, call.insertions))
        # Where two neurons fire at once, each of the two spikes is a place for the other: half of the jump belongs to
        # either.
        mean = mean + weighted(at_place, weights, early - late)
    return mean


def _seen(solution: Solution, batch: Recordings, device: torch.device) -> TorchSolution:
    """The solution, with the spikes and recorded values of `batch`, on a device."""
    trains, capacity = batch.spike_trains, solution.problem.max_spikes
    times, neurons = (
        np.ascontiguousarray(trains.times[:, :capacity]),
        np.ascontiguousarray(trains.neurons[:, :capacity]),
    )
    num_spikes = (neurons >= 0).sum(axis=1)
    raw = RawSolution(times, neurons, num_spikes, num_spikes == capacity, batch.states)
    states = {name: _copied(values).to(device) for name, values in batch.states.items()}
    return TorchSolution(_copied(times).to(device), states, _Result(solution.problem, solution.engine, raw))
