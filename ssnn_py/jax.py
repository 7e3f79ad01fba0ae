"""Networks as differentiable functions in JAX: under ``jit``, ``grad`` and ``vmap``, backward through the exact
adjoint.

:func:`simulate` differentiates samples, :func:`expectation` means over samples: spikes that appear and vanish included.

Needs JAX, which is not installed with ssnn_py: ``pip install jax``. Numbers have JAX's precision: enable
``jax_enable_x64`` for double.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:  # pragma: no cover
    raise ImportError("ssnn_py.jax needs JAX: pip install jax") from error

from . import engine as engines
from .engine import Cotangents, RawSolution
from .errors import NoGradientError, ValidationError
from .network import Network
from .recordings import Recordings, with_spike_at_end
from .simulation import Solution, prepare, with_input_times
from .spike_trains import SpikeTrains
from .unbiased import at_places, choose_insertions, with_insertions
from .validation import describe

# Which neuron of another network each spike is of that comes in: beside the parameters, as a program may compute it.
_NEURONS = "input_neurons"


class JaxSolution(NamedTuple):
    """What :func:`simulate` returns, as JAX arrays; spike times and recorded states are differentiable."""

    spike_times: Any  # (S, K), inf where there is no spike
    spike_neurons: Any  # (S, K), −1 where there is no spike
    states: dict[str, Any]  # (S, T, N) by the name of the state variable

    @property
    def v(self) -> Any:
        return self.states["v"]

    @property
    def i(self) -> Any:
        return self.states["i"]

    @property
    def num_neurons(self) -> int:
        """N."""
        return int(next(iter(self.states.values())).shape[-1])

    @property
    def spike_counts(self) -> Any:
        """Number of spikes of each neuron, shape (S, N)."""
        return (self.spike_neurons[..., None] == jnp.arange(self.num_neurons)).sum(axis=-2)


def simulate(
    network: Network, parameters: Mapping[str, Any], *, seed: Any = 0, max_spikes: int, **simulate_arguments: Any
) -> JaxSolution:
    """Simulate a network with some of its parameters given as JAX arrays.

    Parameters
    ----------
    network : Network
    parameters : mapping of str to array
        Names of the network's parameters, ``"v0"`` or ``"i0"``; sparse weights by their stored values; or
        ``"input_times"``, which take the place of those of `input_spikes`. May be traced.
    seed : int or integer array of shape ()
        May be traced: ``jax.vmap`` over seeds runs one solve after the other.
    max_spikes : int
        K: JAX needs to know shapes beforehand.
    **simulate_arguments
        As for :func:`ssnn_py.simulate`, fixed numbers. `input_spikes` may be a JaxSolution, too, the spikes of another
        network: gradients go through their times. Spikes that appear or vanish there are not seen.

    Returns
    -------
    JaxSolution

    Raises
    ------
    ValidationError
        If a name is unknown, or an argument is not what it should be.
    NoGradientError
        If the network has no pathwise gradient and one is asked for. It depends on the values of parameters, is raised
        as the program runs, and then arrives within JAX's own error.

    Examples
    --------
    ::

        @jax.jit
        def loss(c, seed):
            out = ssnn_py.jax.simulate(net, {"input_current": c}, seed=seed, t1=5.0, dt=0.01, num_samples=64,
                max_spikes=3)
            return jnp.minimum(out.spike_times, 5.0).mean()

        jax.value_and_grad(loss)(1.0, 7)
    """
    call = _Call(network, parameters, {**simulate_arguments, "max_spikes": max_spikes})
    solution: JaxSolution
    solution, _ = _simulate(call, call.values(), jnp.asarray(seed))
    return solution


def expectation(
    function: Callable[[JaxSolution], Any],
    network: Network,
    parameters: Mapping[str, Any],
    *,
    seed: Any = 0,
    max_spikes: int,
    order_matters: bool = True,
    **simulate_arguments: Any,
) -> Any:
    r"""The mean over samples of a function of each sample, :math:`\frac1S\sum_s f(X_s)`, whose gradient is the unbiased
    one of :math:`\mathbb E\,f(X)`.

    The gradient of :func:`simulate` is pathwise: it does not see spikes that appear or vanish, and of a count nothing
    at all. This one gains

    .. math:: \frac1S\sum_{s,k}\bigl(f(X_s\cup\{k\text{ at }t_1\})-f(X_s)\bigr)\,\partial_\theta\Lambda_{sk}(t_1)

    with Λ the integrated hazard since a neuron's last spike, where a spike could come (docs/gradients.md), and likewise
    what spikes change that come just before or after another neuron's, or just before or after a recorded time; of
    these places one per sample is chosen at random, and the sample is simulated again with a spike there. `function` is
    evaluated up to N + 3 times, where a gradient is asked for; under ``jit`` once, where none is.

    Parameters
    ----------
    function : callable
        ``function(solution: JaxSolution) -> values``, shape (S,), or (S, …) for several expectations at once. It must
        treat each sample by itself. It may jump where a spike comes or goes, where two spikes of different neurons
        change their order, and where a spike passes a time of ``saveat``; otherwise it must be differentiable in the
        spike times (and v and i). It may close over arrays, which get their gradients as usual.
    network : Network
    parameters : mapping of str to array
        As for :func:`simulate`.
    seed : int or integer array of shape ()
        May be traced.
    max_spikes : int
        K. Of a sample that has so many, nothing is known afterwards: the mean is that of the function of the first K
        spikes.
    order_matters : bool
        False where the function never jumps as two spikes change their order (counts, sums over spikes): spares the
        second simulation, unless ``saveat`` or samples of several neurons that end at their last spike want it.
    **simulate_arguments
        As for :func:`ssnn_py.simulate`, fixed numbers. At the times of ``saveat`` the function may look at v and i, and
        jump as a spike passes them: edges of windows in which it counts must be among them.

    Returns
    -------
    array, shape () or (…)
        A smooth function of expectations, such as their squared distance to data, has its gradient at the sample means:
        biased by O(1/S).

    Raises
    ------
    ValidationError
        If an argument, or what the function returned, is not what it should be.
    NoGradientError
        If gradients are asked for that do not exist: deterministic crossings (:class:`ssnn_py.ThresholdIntensity`),
        solvers of DifferentialEquations.jl, or recorded values of samples that were cut at `max_spikes`. The last shows
        as the program runs, and arrives within JAX's own error.

    Examples
    --------
    How the mean number of spikes depends on the current; ``simulate`` has no gradient of it::

        @jax.jit
        def mean_count(c, seed):
            return ssnn_py.jax.expectation(
                lambda solution: solution.spike_counts.sum(1), net, {"input_current": c}, seed=seed, t1=5.0, dt=0.01,
                num_samples=1000, max_spikes=50, order_matters=False,
            )

        jax.value_and_grad(mean_count)(1.5, 7)
    """
    if not callable(function):
        raise ValidationError(f"function must be callable, got {describe(function)}")
    order = bool(order_matters)
    call = _Call(network, parameters, {**simulate_arguments, "max_spikes": max_spikes}, expectation=True, order=order)
    given, seed = call.values(), jnp.asarray(seed)
    solution, hazards = _simulate(call, given, seed)

    def evaluate(batch: JaxSolution) -> Any:
        values = jnp.asarray(function(batch))
        if values.shape[:1] != (call.samples,):
            raise ValidationError(
                f"function must return shape ({call.samples},) or ({call.samples}, …), got shape {values.shape}"
            )
        return values if jnp.issubdtype(values.dtype, jnp.inexact) else values.astype(jnp.result_type(float))

    values = evaluate(solution)
    # From here on to the entries nothing is differentiated, and under jit nothing is computed unless a gradient asks
    # for it.
    known: Any
    given, known, here = jax.lax.stop_gradient((given, solution, values))
    at_end = jax.lax.map(lambda k: evaluate(call.ended(given, seed, known, k)) - here, jnp.arange(call.neurons))
    entries = [jnp.moveaxis(at_end, 0, 1)]
    if call.has_places:
        shapes = (call.shapes, call.shapes, call.hazards[1])
        early, late, weights = jax.pure_callback(call.continued, shapes, given, seed, known, vmap_method="sequential")
        change = evaluate(early) - evaluate(late)
        entries.append(weights.reshape(-1, *(1,) * (change.ndim - 1)) * change)
    entries = [jax.lax.stop_gradient(part) / call.samples for part in entries]
    return _with_hazards(values.mean(axis=0), hazards[: len(entries)], entries)


class _Call:
    """The fixed part of a simulation; compared by identity, as JAX wants of static arguments."""

    def __init__(
        self,
        network: Network,
        parameters: Mapping[str, Any],
        arguments: dict[str, Any],
        expectation: bool = False,
        order: bool = False,
    ) -> None:
        known = (*network.parameters, *network.initial_names, *([] if network.inputs is None else ["input_times"]))
        for name in parameters:
            if name not in known:
                raise ValidationError(f"parameters names an unknown parameter {name!r}; there are {', '.join(known)}")
        layer = arguments.get("input_spikes")
        if isinstance(layer, JaxSolution):
            if "input_times" in parameters:
                raise ValidationError("parameters must not name 'input_times' where input_spikes is a JaxSolution")
            parameters = {**parameters, "input_times": layer.spike_times, _NEURONS: layer.spike_neurons}
            shape, end = layer.spike_times.shape, float(arguments["t1"])
            nothing = np.full(shape, np.inf), np.full(shape, -1, dtype=np.int64)
            none = SpikeTrains.unchecked(*nothing, layer.num_neurons, float(arguments.get("t0", 0.0)), end)
            arguments = {**arguments, "input_spikes": none}
        self.parameters = parameters
        self.network, self.arguments, self.expectation, self.order = network, arguments, expectation, order
        self.problem, self.engine = prepare(network, **{**arguments, "seed": 0})
        self.samples, self.neurons, saves = self.problem.num_samples, network.num_neurons, self.problem.saveat
        self.observed = expectation and saves.size > 0
        self.has_places = self.neurons > 1 or (
            self.observed and bool(((saves > self.problem.t0) & (saves < self.problem.t1)).any())
        )
        real = jnp.result_type(float)
        spikes, recorded = (self.samples, self.problem.max_spikes), (self.samples, saves.size, self.neurons)
        self.shapes = JaxSolution(
            jax.ShapeDtypeStruct(spikes, real),
            jax.ShapeDtypeStruct(spikes, jnp.result_type(int)),
            {name: jax.ShapeDtypeStruct(recorded, real) for name in network.states},
        )
        self.hazards = tuple(
            jax.ShapeDtypeStruct(shape, real) for shape in ((self.samples, self.neurons), (self.samples,))
        )

    def values(self) -> dict[str, Any]:
        return {name: jnp.asarray(value, dtype=jnp.result_type(float)) for name, value in self.parameters.items()}

    def prepared(self, values: Mapping[str, Any], seed: Any) -> tuple[engines.Problem, str]:
        arrays = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
        neurons, times = arrays.pop(_NEURONS, None), arrays.pop("input_times", None)
        arguments = self.arguments
        if neurons is not None and times is not None:
            heard = arguments["input_spikes"]
            heard = SpikeTrains(times, neurons.astype(np.int64), heard.num_neurons, heard.t0, heard.t1)
            arguments = {**arguments, "input_spikes": heard}
        elif times is not None:
            arguments = with_input_times(arguments, times)
        own = {name: value for name, value in arrays.items() if name in self.network.parameters}
        initial = {name: value for name, value in arrays.items() if name not in own}
        return prepare(self.network.replace(**own), **{**arguments, **initial, "seed": int(seed)})

    def solve(self, values: Mapping[str, Any], seed: Any) -> tuple[JaxSolution, tuple[Any, ...]]:
        problem, name = self.prepared(values, seed)
        raw = engines.engine_for(name, problem).solve(problem)
        hazards = tuple(np.zeros(part.shape, part.dtype) for part in self.hazards)
        return self.cast(raw.spike_times, raw.spike_neurons, raw.states), hazards

    def solution(self, values: Mapping[str, Any], seed: Any, known: JaxSolution) -> Solution:
        """The solution in NumPy, of what JAX knows of it."""
        times, neurons = np.asarray(known.spike_times), np.asarray(known.spike_neurons)
        states = {name: np.asarray(known.states[name]) for name in self.network.states}
        num_spikes = (neurons >= 0).sum(axis=1)
        truncated = num_spikes == self.problem.max_spikes
        raw = RawSolution(times.astype(np.float64), neurons.astype(np.int64), num_spikes, truncated, states)
        return Solution(*self.prepared(values, seed), raw)

    def cast(self, times: Any, neurons: Any, states: Mapping[str, Any]) -> JaxSolution:
        """As JAX has it; spikes that come one after the other, or before a recorded time, do so too."""
        shape, real = self.shapes.spike_times.shape, self.shapes.spike_times.dtype
        missing = max(shape[1] - times.shape[1], 0)
        if missing:
            times = np.pad(times, ((0, 0), (0, missing)), constant_values=np.inf)
            neurons = np.pad(neurons, ((0, 0), (0, missing)), constant_values=-1)
        rounded = np.ascontiguousarray(times[:, : shape[1]], dtype=real)
        saves = np.append(self.problem.saveat, np.inf)
        edge = saves[np.minimum(np.searchsorted(saves, times[:, : shape[1]], "right"), saves.size - 1)].astype(real)
        rounded = np.where(np.isfinite(edge) & (rounded >= edge), np.nextafter(edge, real.type(-np.inf)), rounded)
        tied = (rounded[:, 1:] == rounded[:, :-1]) & (times[:, 1 : shape[1]] > times[:, : shape[1] - 1])
        rounded[:, 1:] = np.where(tied, np.nextafter(rounded[:, 1:], real.type(np.inf)), rounded[:, 1:])
        neurons = np.ascontiguousarray(neurons[:, : shape[1]], dtype=self.shapes.spike_neurons.dtype)
        return JaxSolution(rounded, neurons, {name: np.asarray(values, dtype=real) for name, values in states.items()})

    def cast_recordings(self, batch: Recordings) -> JaxSolution:
        return self.cast(batch.spike_trains.times, batch.spike_trains.neurons, batch.states)

    def ended(self, values: Mapping[str, Any], seed: Any, known: JaxSolution, k: Any) -> JaxSolution:
        """The samples with one more spike of neuron k at t1, where max_spikes allows it: others were cut before t1."""
        if self.observed and self.problem.saveat[-1] == self.problem.t1:
            return JaxSolution(
                *jax.pure_callback(self.ended_in_numpy, self.shapes, values, seed, known, k, vmap_method="sequential")
            )
        free = (known.spike_neurons >= 0).sum(axis=1)[:, None] == jnp.arange(known.spike_neurons.shape[1])
        return known._replace(
            spike_times=jnp.where(free, self.problem.t1, known.spike_times),
            spike_neurons=jnp.where(free, k, known.spike_neurons),
        )

    def ended_in_numpy(self, values: Mapping[str, Any], seed: Any, known: JaxSolution, k: Any) -> JaxSolution:
        return self.cast_recordings(with_spike_at_end(self.solution(values, seed, known), int(k)))

    def continued(
        self, values: Mapping[str, Any], seed: Any, known: JaxSolution
    ) -> tuple[JaxSolution, JaxSolution, Any]:
        """The samples with a spike at one place each, just before and just after what is there, and the weights of
        these places.
        """
        solution = self.solution(values, seed, known)
        insertions, weights = choose_insertions(solution, self.order, self.observed)
        if insertions is None:
            return known, known, np.zeros(self.samples, self.shapes.spike_times.dtype)
        early, late = (self.cast_recordings(batch) for batch in with_insertions(solution, insertions))
        return early, late, weights.astype(self.shapes.spike_times.dtype)

    def check_expectation(self) -> None:
        """Raise NoGradientError where it is known beforehand that expectations have no unbiased gradient."""
        nothing = np.empty((self.samples, 0))
        none = np.zeros(self.samples, dtype=np.int64)
        raw = RawSolution(nothing, nothing.astype(np.int64), none, none > 0, {})
        Solution(self.problem, self.engine, raw).check_entries(recorded=self.observed)

    def pull_back(
        self, values: Mapping[str, Any], seed: Any, known: JaxSolution, bars: tuple[Any, ...]
    ) -> dict[str, Any]:
        solution = self.solution(values, seed, known)
        names = tuple(name for name in values if name != _NEURONS)
        solution.network.check_gradients(wrt=names)

        # Where there is no spike, or nothing recorded, nothing depends on anything.
        def seen(values: Any, bar: Any) -> Any:
            return np.where(np.isfinite(values), np.asarray(bar, np.float64), 0.0)

        times = seen(solution.spike_times, bars[0])
        states = {name: seen(solution.states[name], bar) for name, bar in bars[1].items()}
        cotangents = Cotangents(times, states)
        if self.expectation:
            if solution.truncated.any() and any(map(np.any, states.values())):
                raise NoGradientError(
                    "no unbiased gradient: samples were cut at max_spikes, and with them what they record; give a "
                    "larger one"
                )
            at_end, at_place = (np.asarray(bar, np.float64) for bar in bars[2:])
            cotangents = replace(cotangents, entries=at_end)
            insertions, _ = choose_insertions(solution, self.order, self.observed)
            if insertions is not None:
                cotangents = replace(cotangents, **at_places(insertions, at_place, solution.recorded_shape))
        gradients = engines.engine_for(solution.engine, solution.problem).pull_back(solution.problem, cotangents, names)
        engines.check_finite(gradients)
        if _NEURONS in values:
            gradients[_NEURONS] = np.zeros(values[_NEURONS].shape)
        return {key: gradient.astype(np.asarray(values[key]).dtype) for key, gradient in gradients.items()}


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _simulate(call: _Call, values: dict[str, Any], seed: Any) -> tuple[JaxSolution, tuple[Any, ...]]:
    """The solution, and what stands for the integrated hazards: zeros (S, N) at t1, and (S,) at one place within the
    interval.
    """
    # Constants made here would be one and the same for all that vmap maps over.
    shapes = (call.shapes, call.hazards)
    solution, hazards = jax.pure_callback(call.solve, shapes, values, seed, vmap_method="sequential")
    return solution, hazards


def _forward(call: _Call, values: dict[str, Any], seed: Any) -> tuple[Any, Any]:
    if call.expectation:
        call.check_expectation()
    solution, hazards = _simulate(call, values, seed)
    return (solution, hazards), (values, seed, solution)


def _backward(call: _Call, residuals: Any, bars: tuple[Any, ...]) -> tuple[Any, Any]:
    values, seed, solution = residuals
    shapes = {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in values.items()}
    times, _, states = bars[0]
    gradients = jax.pure_callback(
        call.pull_back, shapes, values, seed, solution, (times, states, *bars[1]), vmap_method="sequential"
    )
    return gradients, np.zeros(np.shape(seed), dtype=jax.dtypes.float0)


_simulate.defvjp(_forward, _backward)


@jax.custom_vjp
def _with_hazards(mean: Any, hazards: Any, entries: Any) -> Any:
    """The mean, which changes with the hazards by `entries`."""
    return mean


def _with_hazards_forward(mean: Any, hazards: Any, entries: Any) -> tuple[Any, Any]:
    return mean, (hazards, entries)


def _with_hazards_backward(residuals: Any, bar: Any) -> tuple[Any, Any, Any]:
    hazards, entries = residuals
    pairs = zip(hazards, entries, strict=True)
    pulled = tuple(jnp.tensordot(part, bar, axes=bar.ndim).astype(hazard.dtype) for hazard, part in pairs)
    return bar, pulled, None


_with_hazards.defvjp(_with_hazards_forward, _with_hazards_backward)
