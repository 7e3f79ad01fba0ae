"""A loss and its exact gradient in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import engine as engines
from .engine import Cotangents, contract
from .errors import ValidationError
from .network import SLIFNetwork
from .simulation import Solution, prepare
from .validation import describe

Array = NDArray[np.float64]

# Up to so many directions, carrying tangents along with the solution costs less than a reverse sweep after it.
FORWARD_DIRECTIONS = 2


def value_and_grad(
    loss: Callable[[Solution], Any], network: SLIFNetwork, wrt: str | Sequence[str], **simulate_arguments: Any
) -> tuple[float, dict[str, Any]]:
    """Simulate, evaluate a loss and differentiate it with respect to parameters.

    Parameters
    ----------
    loss : callable
        Takes a :class:`Solution`, returns a :class:`LossValue` or a tuple ``(value, spike_times_bar[, v_bar[, i_bar]])``: the loss, and its
        derivatives with respect to spike times (S, K) and recorded values (S, T, N); None where it does not depend on them.
    network : SLIFNetwork
    wrt : str or sequence of str
        Names of the network's parameters, ``"v0"`` or ``"i0"``.
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
        If the model has no pathwise gradient.

    Examples
    --------
    The mean of the first spike time, and how it changes with the input current:

    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
    >>> def mean_first_spike(solution):
    ...     return solution.spike_times.mean(), np.full((8, 1), 1 / 8)
    >>> value, grads = ssnn.value_and_grad(
    ...     mean_first_spike, net, wrt="input_current", t1=50.0, dt=0.01, num_samples=8, max_spikes=1)
    >>> bool(grads["input_current"] < 0)
    True
    """
    problem, name = prepare(network, **simulate_arguments)
    network.check_gradients()
    engine = engines.load(name)
    names = checked_names(wrt, problem.parameters)
    sizes = {key: problem.parameters[key].size for key in names}
    count = sum(sizes.values())
    forward = count <= FORWARD_DIRECTIONS
    solution = Solution(
        problem, name, engine.solve(problem, _unit_directions(problem.parameters, names) if forward else None)
    )
    value, cotangents = _checked_loss(loss(solution), solution)
    if not forward:
        gradients = engine.pull_back(problem, cotangents, names)
    else:
        assert solution.raw.tangents is not None
        flat = contract(cotangents, solution.raw.tangents)
        ends = np.cumsum(list(sizes.values()))
        gradients = {
            key: flat[end - sizes[key] : end].reshape(problem.parameters[key].shape)
            for key, end in zip(names, ends, strict=True)
        }
    return value, solution.presented(gradients)


def checked_names(wrt: str | Sequence[str], known: dict[str, Array]) -> tuple[str, ...]:
    """`wrt` as a tuple of different names of parameters."""
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    for name in names:
        if name not in known:
            raise ValidationError(f"wrt names an unknown parameter {name!r}; there are {', '.join(known)}")
    if not names or len(set(names)) < len(names):
        raise ValidationError(f"wrt must name different parameters, at least one, got {describe(wrt)}")
    return names


def _unit_directions(parameters: dict[str, Array], names: Sequence[str]) -> dict[str, Array]:
    """One direction per coordinate of the named parameters: blocks of shape (P, *shape)."""
    total = sum(parameters[name].size for name in names)
    blocks, start = {}, 0
    for name in names:
        size = parameters[name].size
        block = np.zeros((total, size))
        block[start : start + size] = np.eye(size)
        blocks[name] = block.reshape(total, *parameters[name].shape)
        start += size
    return blocks


def _checked_loss(result: Any, solution: Solution) -> tuple[float, Cotangents]:
    try:
        value, *bars = result
        value = float(value)
    except (TypeError, ValueError):
        raise ValidationError(
            f"the loss must return (value, spike_times_bar[, v_bar[, i_bar]]), got {describe(result)}"
        ) from None
    return value, solution.cotangents(*bars[:3])
