"""Gradient-descent rules. Each is a set of numbers; what it remembers is a plain dict of arrays, so that training can
be saved.
"""

from __future__ import annotations

import abc
import bisect
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import ValidationError
from .validation import as_float, as_int, describe

Array = NDArray[np.float64]
Parameters = Mapping[str, Array]
Schedule = float | Callable[[int], float]


def piecewise_constant(rates: Mapping[int, float]) -> Callable[[int], float]:
    """A learning rate that changes at given steps.

    Parameters
    ----------
    rates : mapping of int to float
        The rate from each step on; one must be for step 0.

    Returns
    -------
    callable
        The rate as a function of the step, for the `learning_rate` of an optimizer.

    Raises
    ------
    ValidationError
        If there is no rate for step 0, a step is negative or a rate is not positive.

    Examples
    --------
    >>> rate = piecewise_constant({0: 3e-3, 1000: 1e-3})
    >>> rate(999), rate(1000)
    (0.003, 0.001)
    """
    if not isinstance(rates, Mapping) or 0 not in rates:
        raise ValidationError(f"rates must map steps to rates, from step 0 on, got {describe(rates)}")
    steps = sorted(as_int("a step of rates", step, 0) for step in rates)
    values = [as_float(f"the rate from step {step}", rates[step], positive=True) for step in steps]
    return functools.partial(_piece, steps, values)


def _piece(steps: list[int], values: list[float], step: int) -> float:
    return values[bisect.bisect_right(steps, step) - 1]


@dataclass(frozen=True)
class Optimizer(abc.ABC):
    """Base class: `init` makes the memory, `update` turns gradients into changes of the parameters.

    Parameters
    ----------
    learning_rate : float or callable
        A positive number, or a function of the step (from 0) such as :func:`piecewise_constant`.

    Raises
    ------
    ValidationError
        If a setting is out of its range.
    """

    learning_rate: Schedule

    def __post_init__(self) -> None:
        if not callable(self.learning_rate):
            as_float("learning_rate", self.learning_rate, positive=True)
        for name in ("decay", "momentum", "b1", "b2"):
            value = getattr(self, name, 0.0)
            if not 0 <= as_float(name, value) < 1:
                raise ValidationError(f"{name} must be at least 0 and below 1, got {value}")
        # Where a gradient is exactly zero, as for weights without a synapse, eps alone keeps 0/0 out of the parameters.
        as_float("eps", getattr(self, "eps", 1.0), positive=True)

    def rate(self, step: int) -> float:
        """The learning rate at a step (from 0)."""
        if callable(self.learning_rate):
            return as_float(f"learning_rate at step {step}", self.learning_rate(step), nonnegative=True)
        return float(self.learning_rate)

    @abc.abstractmethod
    def init(self, parameters: Parameters) -> dict[str, Array]:
        """The memory before the first step."""

    @abc.abstractmethod
    def update(
        self, gradients: Parameters, state: dict[str, Array], step: int
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Changes of the parameters at `step` (from 0), and the new memory."""


def _zeros(parameters: Parameters, *parts: str) -> dict[str, Array]:
    return {f"{part}/{name}": np.zeros(np.shape(value)) for part in parts for name, value in parameters.items()}


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent with momentum: m ← momentum·m − rate·g; the parameters change by m.

    Parameters
    ----------
    learning_rate : float or callable
    momentum : float
        From 0 to below 1; default 0.

    References
    ----------
    Polyak, "Some methods of speeding up the convergence of iteration methods", USSR Comput. Math. Math. Phys. 4, 1964.

    Examples
    --------
    >>> rule = SGD(0.1)
    >>> changes, state = rule.update({"c": np.array(2.0)}, rule.init({"c": np.array(1.0)}), step=0)
    >>> float(changes["c"])
    -0.2
    """

    momentum: float = 0.0

    def init(self, parameters: Parameters) -> dict[str, Array]:
        return _zeros(parameters, "trace")

    def update(
        self, gradients: Parameters, state: dict[str, Array], step: int
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        rate = self.rate(step)
        new = {f"trace/{name}": self.momentum * state[f"trace/{name}"] - rate * g for name, g in gradients.items()}
        return {name: new[f"trace/{name}"] for name in gradients}, new


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """RMSProp with momentum: ν ← decay·ν + (1 − decay)·g², m ← momentum·m − rate·g/√(ν + eps); the parameters change by
    m.

    Parameters
    ----------
    learning_rate : float or callable
    decay, momentum : float
        From 0 to below 1; default 0.9 and 0.
    eps : float
        Positive; default 1e-8.

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5 – rmsprop", 2012.

    Examples
    --------
    >>> rule = RMSProp(0.1, decay=0.75)
    >>> parameters = {"c": np.array(1.0)}
    >>> changes, state = rule.update({"c": np.array(2.0)}, rule.init(parameters), step=0)
    >>> round(float(changes["c"]), 6)
    -0.2
    """

    decay: float = 0.9
    momentum: float = 0.0
    eps: float = 1e-8

    def init(self, parameters: Parameters) -> dict[str, Array]:
        return _zeros(parameters, "square", "trace")

    def update(
        self, gradients: Parameters, state: dict[str, Array], step: int
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        rate, changes, new = self.rate(step), {}, {}
        for name, g in gradients.items():
            square = self.decay * state[f"square/{name}"] + (1.0 - self.decay) * g * g
            trace = self.momentum * state[f"trace/{name}"] - rate * g / np.sqrt(square + self.eps)
            new[f"square/{name}"], new[f"trace/{name}"], changes[name] = square, trace, trace
        return changes, new


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam, with bias correction.

    In step t = 1, 2, …: m ← b1·m + (1 − b1)·g, ν ← b2·ν + (1 − b2)·g²; the parameters change by −rate·m̂/(√ν̂ + eps),
    where m̂ = m/(1 − b1ᵗ) and ν̂ = ν/(1 − b2ᵗ).

    Parameters
    ----------
    learning_rate : float or callable
        Default 1e-3.
    b1, b2 : float
        From 0 to below 1; default 0.9 and 0.999.
    eps : float
        Positive; default 1e-8.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.

    Examples
    --------
    The first change is the learning rate, whatever the gradient:

    >>> rule = Adam(0.1)
    >>> changes, state = rule.update({"c": np.array(2.0)}, rule.init({"c": np.array(1.0)}), step=0)
    >>> round(float(changes["c"]), 6)
    -0.1
    """

    learning_rate: Schedule = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8

    def init(self, parameters: Parameters) -> dict[str, Array]:
        return _zeros(parameters, "mean", "square")

    def update(
        self, gradients: Parameters, state: dict[str, Array], step: int
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        rate, changes, new = self.rate(step), {}, {}
        for name, g in gradients.items():
            mean = self.b1 * state[f"mean/{name}"] + (1.0 - self.b1) * g
            square = self.b2 * state[f"square/{name}"] + (1.0 - self.b2) * g * g
            new[f"mean/{name}"], new[f"square/{name}"] = mean, square
            mean, square = mean / (1.0 - self.b1 ** (step + 1)), square / (1.0 - self.b2 ** (step + 1))
            changes[name] = -rate * mean / (np.sqrt(square) + self.eps)
        return changes, new
