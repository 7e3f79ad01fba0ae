"""A loss and its exact gradient in one call."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import engine as engines
from .drivers import stem
from .engine import Cotangents, check_finite, contract
from .engine.driver_paths import movers_of_jumps, time_objection
from .errors import NoGradientError, ValidationError, warn_caller
from .losses import Loss
from .network import Network
from .simulation import Solution, prepare, warn_of_likely_mistakes, warn_where_no_synapse
from .solvers import SOLVERS
from .unbiased import at_places, choose_insertions, with_insertions
from .validation import as_names, describe

Array = NDArray[np.float64]

# Up to so many directions, carrying tangents along with the solution costs less than a reverse sweep after it.
FORWARD_DIRECTIONS = 2

GRADIENTS = ("auto", "unbiased", "pathwise")


def value_and_grad(
    loss: Callable[..., Any],
    network: Network,
    wrt: str | Sequence[str],
    *,
    data: Any = None,
    gradient: str = "auto",
    **simulate_arguments: Any,
) -> tuple[float, dict[str, Any]]:
    r"""Simulate, evaluate a loss and differentiate it with respect to parameters.

    Parameters
    ----------
    loss : Loss or callable
        A :class:`Loss`; or a function that takes a :class:`Solution` and returns a :class:`LossValue`, or a tuple
        ``(value, spike_times_bar[, v_bar[, i_bar[, entries[, entries_at_saves[, states_bar]]]]])``: the loss, its
        derivatives with respect to spike times (S, K) and recorded values (S, T, N), what one more spike would change,
        (S, N) and (S, T, N), and derivatives with respect to variables of other names (a dict); None where it does not
        depend on them.
    network : Network
    wrt : str or sequence of str
        Names of the network's parameters, ``"v0"`` or ``"i0"``.
    data : optional
        What a :class:`Loss` compares with.
    gradient : {"auto", "unbiased", "pathwise"}
        "pathwise" is the derivative of the loss of these samples, noise and number of spikes frozen. "unbiased" is one
        whose mean is the derivative of the loss's mean: the pathwise one and what spikes change that appear and vanish
        (docs/gradients.md). "auto" is "unbiased" wherever loss and network allow it, else, after a warning, "pathwise";
        and "pathwise" for losses that are meant for it (those that match spikes).
    **simulate_arguments
        As for :func:`simulate`.

    Returns
    -------
    value : float
    gradients : dict of str to ndarray
        One array per name, shaped like the parameter.

    Raises
    ------
    ValidationError
        If an argument, or what the loss returned, is not what it should be.
    NoGradientError
        If the model has no pathwise gradient, or none that is unbiased where that is asked for.

    Warns
    -----
    LikelyMistakeWarning
        Where `wrt` names the weights of a network without a synapse (:func:`fit` refuses it), and as for
        :func:`simulate`.

    Examples
    --------
    The mean of the first spike time, and how it changes with the input current:

    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
    >>> def mean_first_spike(solution):
    ...     return solution.spike_times.mean(), np.full((8, 1), 1 / 8)
    >>> value, grads = ssnn.value_and_grad(
    ...     mean_first_spike, net, wrt="input_current", gradient="pathwise", t1=50.0, dt=0.01, num_samples=8,
    ...     max_spikes=1)
    >>> bool(grads["input_current"] < 0)
    True
    """
    problem, name = prepare(network, **simulate_arguments)
    warn_of_likely_mistakes(problem)
    names = checked_names(wrt, problem.parameters)
    network.check_gradients(wrt=names)
    warn_where_no_synapse(network, names)
    outcome = differentiate(Objective(loss, data), problem, name, names, checked_gradient(gradient))
    if outcome.fallback:
        warn_of_fallback(outcome.fallback)
    return outcome.value, outcome.gradients


def checked_gradient(gradient: Any) -> str:
    """The argument `gradient`, if it is one of its values."""
    if gradient not in GRADIENTS:
        raise ValidationError(f"gradient must be one of {', '.join(map(repr, GRADIENTS))}, got {describe(gradient)}")
    return str(gradient)


def warn_of_fallback(reason: str) -> None:
    """Say that `gradient="auto"` has taken the pathwise gradient."""
    warn_caller(
        f'gradient="auto" takes the pathwise gradient, which does not see spikes that appear or vanish: {reason}. '
        'Say gradient="pathwise" if that is meant.',
        PathwiseGradientWarning,
    )


class DiscontinuousStepWarning(UserWarning):
    """An unbiased gradient at a step at which the solver's own jumps bias it by more than about a per cent."""


class PathwiseGradientWarning(UserWarning):
    """An expectation is differentiated pathwise, because its unbiased gradient is not to be had."""


LIKELIHOOD_IS_PATHWISE = (
    'a likelihood is no mean over samples: its own gradient is the pathwise one, say gradient="pathwise"'
)


class Objective:
    """A loss as a function of a solution alone: a :class:`Loss` with its data, or any function."""

    def __init__(self, loss: Callable[..., Any], data: Any = None) -> None:
        self.loss, self.data = loss, data
        self.is_loss = isinstance(loss, Loss)
        if data is not None and not self.is_loss:
            raise ValidationError(f"data goes with a Loss; a function closes over its own, got {describe(loss)}")

    def __call__(self, solution: Solution, entries: bool) -> tuple[float, Cotangents]:
        """Its value and cotangents, with those of the hazards where `entries`."""
        if isinstance(self.loss, Loss):
            result = (self.loss.with_entries if entries else self.loss)(solution, self.data)
        else:
            result = self.loss(solution)
        value, (times, v, i, ends, saves, states, *recorded) = _checked_loss(result)
        if not entries and not self.clamps:
            ends = saves = None
        return value, solution.cotangents(times, v, i, ends, saves, states, *recorded)

    @property
    def clamps(self) -> bool:
        """Whether the loss looks at runs clamped to its data."""
        return isinstance(self.loss, Loss) and self.loss.clamps

    def clamped(self, problem: engines.Problem) -> engines.Problem:
        """The problem whose solution the loss looks at."""
        return self.loss.clamped(problem, self.data) if isinstance(self.loss, Loss) else problem

    def evaluated(
        self, problem: engines.Problem, engine: str, wrt: Sequence[str]
    ) -> tuple[float, dict[str, Array], engines.Problem] | None:
        """What :meth:`Loss.evaluated` returns."""
        return self.loss.evaluated(problem, self.data, engine, wrt) if isinstance(self.loss, Loss) else None

    def value(self, problem: engines.Problem, engine: str) -> float:
        """The loss at a problem, without its gradient."""
        own = self.evaluated(problem, engine, ())
        if own is not None:
            return own[0]
        problem = self.clamped(problem)
        return self(Solution(problem, engine, engines.engine_for(engine, problem).solve(problem)), entries=False)[0]

    def why_pathwise(self, solution: Solution, result: Cotangents | None = None) -> str:
        """Why the unbiased gradient is not to be had, or nothing; `result` is what a function has returned."""
        if self.clamps:
            return LIKELIHOOD_IS_PATHWISE
        states = (
            self.loss.observes_states if isinstance(self.loss, Loss) else result is not None and bool(result.states)
        )
        try:
            solution.check_entries(states)
        except NoGradientError as error:
            return str(error)
        if isinstance(self.loss, Loss) and not self.loss.has_entries:
            return "a part of the loss is a function that returns no entries; use a Loss such as SampleMean"
        if states and solution.truncated.any():
            return "samples were cut at max_spikes, and with them what they record; give no max_spikes, or a larger one"
        if result is None or isinstance(self.loss, Loss):
            return ""
        if result.entries is None and result.entries_at_saves is None:
            return "the loss is a function that returns no entries; return them, or use a Loss such as SampleMean"
        if solution.truncated.any() and solution.network.num_neurons > 1:
            return (
                "samples were cut at max_spikes, where it matters who fires first; give no max_spikes, or a larger one"
            )
        return ""


@dataclass(frozen=True)
class Outcome:
    """What :func:`differentiate` returns: which gradient it took, and, of "auto", why not the unbiased one."""

    value: float
    gradients: dict[str, Any]
    solution: Solution
    gradient: str
    fallback: str = ""

    @property
    def plain_gradients(self) -> dict[str, Array]:
        """The gradients as arrays of the parameters' shapes: of sparse weights, those at stored entries."""
        return {name: g.data if hasattr(g, "tocsr") else g for name, g in self.gradients.items()}


def differentiate(
    objective: Objective, problem: engines.Problem, engine_name: str, names: Sequence[str], gradient: str = "auto"
) -> Outcome:
    """The objective of a problem's solution and its gradient in the parameters `names`."""
    meaningless = time_objection(problem, names)
    if meaningless:
        raise NoGradientError(meaningless)
    engine = engines.engine_for(engine_name, problem)
    own = objective.evaluated(problem, engine_name, names)
    if own is not None:
        if gradient == "unbiased":
            raise NoGradientError(LIKELIHOOD_IS_PATHWISE)
        value, gradients, one = own
        if math.isfinite(value):
            check_finite(gradients)
        solution = Solution(one, engine_name, engine.solve(one))
        return Outcome(value, solution.presented(gradients), solution, "pathwise")
    problem = objective.clamped(problem)
    shapes = {key: problem.parameters[key].shape for key in names}
    forward = sum(map(math.prod, shapes.values())) <= FORWARD_DIRECTIONS
    directions = _unit_directions(*shapes.items()) if forward else None
    solution = Solution(problem, engine_name, engine.solve(problem, directions))
    why, result = "", None
    if gradient == "auto" and isinstance(objective.loss, Loss) and objective.loss.pathwise_by_design:
        gradient = "pathwise"
    if gradient != "pathwise":
        if not objective.is_loss:
            value, result = objective(solution, entries=True)
        why = objective.why_pathwise(solution, result) or _why_jumps_are_missed(objective, problem, names, result)
        if why and gradient == "unbiased":
            raise NoGradientError(why)
    unbiased = gradient != "pathwise" and not why
    if unbiased:
        _check_step(problem)
    if result is None:
        value, result = objective(solution, entries=unbiased)
    elif not unbiased:
        result = replace(result, entries=None, entries_at_saves=None)
    if unbiased and isinstance(objective.loss, Loss):
        _check_states(objective.loss, result)
        inner = _inner_entries(objective, solution)
        # A loss that is a sum over recorded times has given its own entries there.
        result = replace(result, **{name: part for name, part in inner.items() if part is not None})
    if forward and result.insertions is not None:
        raw = engine.solve(problem, directions, result.insertions)
    else:
        raw = solution.raw
    if forward:
        assert raw.tangents is not None
        flat = contract(result, raw.tangents)
        gradients, start = {}, 0
        for key in names:
            shape = shapes[key]
            stop = start + math.prod(shape)
            gradients[key], start = flat[start:stop].reshape(shape), stop
    else:
        gradients = engine.pull_back(problem, result, names)
    if math.isfinite(value):
        check_finite(gradients)
    return Outcome(value, solution.presented(gradients), solution, "unbiased" if unbiased else "pathwise", why)


def _why_jumps_are_missed(
    objective: Objective, problem: engines.Problem, names: Sequence[str], result: Cotangents | None
) -> str:
    """Why a gradient by the rate of jumps is not unbiased, or nothing."""
    loss = objective.loss
    looks = loss.observes_states if isinstance(loss, Loss) else result is not None and bool(result.states)
    rates = [name for name in movers_of_jumps(problem, names) if stem(name) == "jump_rate"]
    if not (looks and rates):
        return ""
    return (
        f"a jump that moves past a recorded time with {rates[0]!r} changes what is recorded there by its whole size, "
        "which no pathwise derivative sees; take a loss of spikes alone"
    )


def _check_step(problem: engines.Problem) -> None:
    """Warn where the discretised map jumps in its parameters so much that the gradient of expectations is missed."""
    longest = SOLVERS[problem.solver].continuous_below
    step = problem.dt * float(problem.network.time_rates().max(initial=0.0))
    if step > longest:
        warn_caller(
            f"solver {problem.solver!r} jumps where a spike moves from one step to the next, too much at dt = "
            f"{problem.dt} for an unbiased gradient: "
            f"dt·max(mu) should be at most {longest}, and is {step:.3g}. Take exact_ou or euler_maruyama, or a "
            "smaller dt.",
            DiscontinuousStepWarning,
        )


def _check_states(loss: Loss, result: Cotangents) -> None:
    """Raise where a loss looks at recorded states and does not say so: what spikes change there would be missed."""
    looks = any(map(np.any, result.states.values()))
    if looks and not loss.observes_states and result.entries_at_saves is None:
        raise ValidationError(
            f"loss depends on recorded states: it must say observes_states = True, or give entries_at_saves, got "
            f"{describe(loss)}"
        )


def _inner_entries(objective: Objective, solution: Solution) -> dict[str, Any]:
    """Cotangents of the hazards in the middle of the interval: at one place per sample, for all of them."""
    loss = objective.loss
    assert isinstance(loss, Loss)
    insertions, weights = choose_insertions(solution, loss.order_matters, loss.observes_states, loss.edges)
    if insertions is None:
        return {}
    before, after = with_insertions(solution, insertions)
    change = loss.exchange(solution, objective.data, before) - loss.exchange(solution, objective.data, after)
    return at_places(insertions, weights * change, solution.recorded_shape)


def checked_names(wrt: str | Sequence[str], known: dict[str, Array]) -> tuple[str, ...]:
    """`wrt` as a tuple of different names of parameters."""
    names = as_names("wrt", wrt, known)
    if not names or len(set(names)) < len(names):
        raise ValidationError(f"wrt must name different parameters, at least one, got {describe(wrt)}")
    return names


@functools.lru_cache(maxsize=16)
def _unit_directions(*shapes: tuple[str, tuple[int, ...]]) -> dict[str, Array]:
    """One direction per coordinate of parameters of these names and shapes: blocks (P, *shape), not to be changed."""
    total = sum(math.prod(shape) for _, shape in shapes)
    blocks, start = {}, 0
    for name, shape in shapes:
        size = math.prod(shape)
        block = np.zeros((total, size))
        block[start : start + size] = np.eye(size)
        blocks[name] = block.reshape(total, *shape)
        start += size
    return blocks


def _checked_loss(result: Any) -> tuple[float, list[Any]]:
    try:
        value, *bars = result
        return float(value), [*bars, *[None] * 8][:8]
    except (TypeError, ValueError):
        raise ValidationError(
            "the loss must return (value, spike_times_bar[, v_bar[, i_bar[, entries[, entries_at_saves[, states_bar[, "
            f"log_hazards_bar[, hazards_bar]]]]]]]), got {describe(result)}"
        ) from None
