"""Input currents I(t): what drives the membrane potential from outside.

A new current is a subclass of :class:`InputCurrent` here or in the user's own file, and one file in
``julia/src/models/currents`` that registers the same ``kind`` for the Julia core.
"""

from __future__ import annotations

import abc
import hashlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .components import Component
from .errors import ValidationError
from .formulas.functions import derivatives, kind_of, read_function, value
from .validation import as_real_array, describe

Array = NDArray[np.float64]


class InputCurrent(Component):
    """Base class of input currents, in units of potential; see :class:`ssnn_py.components.Component`.

    Attributes
    ----------
    knots : ndarray, shape (M,)
        Times that belong to the parameters' knot axis; empty where there is none.
    """

    knots: Array = np.empty(0)

    def slots(self, name: str, array: Array, num_samples: int, num_neurons: int) -> Array:
        """A view of `array`, shaped like parameter `name`, of shape (S, N), or (S, N, M) where it has a knot axis."""
        return np.broadcast_to(array, (num_samples, num_neurons))

    @abc.abstractmethod
    def value(self, t: Array, /, **slots: Array) -> Array:
        """I(t) for times of shape (S, N) or (), from the parameters as seen through :meth:`slots`."""

    @abc.abstractmethod
    def derivatives(self, t: Array, /, **slots: Array) -> tuple[Array, dict[str, Array]]:
        """∂I/∂t, and ∂I/∂p for every parameter p, with p's knot axis last where it has one."""


class ConstantCurrent(InputCurrent):
    """A current that does not change in time.

    Parameters
    ----------
    input_current : array_like, shape (), (N,) or (S, N)
        The current, for all neurons, per neuron, or per sample and neuron.

    Examples
    --------
    >>> ConstantCurrent([1.5, 0.0]).parameters["input_current"].shape
    (2,)
    """

    kind = "constant"

    def __init__(self, input_current: ArrayLike) -> None:
        super().__init__({"input_current": input_current})

    def value(self, t: Array, /, **slots: Array) -> Array:
        return slots["input_current"]

    def derivatives(self, t: Array, /, **slots: Array) -> tuple[Array, dict[str, Array]]:
        shape = slots["input_current"].shape
        return np.zeros(shape), {"input_current": np.ones(shape)}


class SampledCurrent(InputCurrent):
    """A current given by samples on a grid of times: linear between them, or held; constant beyond both ends.

    Parameters
    ----------
    times : array_like, shape (M,)
        Increasing times of the samples.
    values : array_like, shape (M,), (M, N) or (S, M, N)
        The current at these times, for all neurons, per neuron, or per sample and neuron. This is the parameter
        ``"input_current"`` of gradients.
    interpolation : {"linear", "previous"}
        Between two samples: a straight line, or the earlier value (a piecewise-constant current, continuous from the
        right). With "previous" the gradient of a spike time ignores that a jump of the current might
        move across it, which has probability zero.

    Raises
    ------
    ValidationError
        If the times do not increase, or the number of values is not that of the times.

    Examples
    --------
    >>> ramp = SampledCurrent([0.0, 1.0], [0.0, 2.0])
    >>> float(ramp.value(np.array([[0.25]]), input_current=np.array([[[0.0, 2.0]]]))[0, 0])
    0.5
    """

    def __init__(self, times: ArrayLike, values: ArrayLike, interpolation: str = "linear") -> None:
        self.knots = as_real_array("times", times, (1,), "an array of shape (M,)")
        if self.knots.size == 0 or np.any(np.diff(self.knots) <= 0):
            raise ValidationError("times must be strictly increasing and not empty")
        if interpolation not in ("linear", "previous"):
            raise ValidationError(f'interpolation must be "linear" or "previous", got {describe(interpolation)}')
        self.interpolation = interpolation
        self.kind = f"sampled_{interpolation}"
        super().__init__({"input_current": values})

    def checked(self, name: str, value: ArrayLike) -> Array:
        array = as_real_array("values", value, (1, 2, 3), "an array of shape (M,), (M, N) or (S, M, N)")
        if array.shape[-2 if array.ndim > 1 else 0] != self.knots.size:
            raise ValidationError(
                f"values must be of shape (M,), (M, N) or (S, M, N), with one entry for each of the M = "
                f"{self.knots.size} times, got shape {array.shape}"
            )
        return array

    def _shown(self) -> dict[str, Any]:
        values = self.parameters["input_current"].tolist()
        return {"times": self.knots.tolist(), "values": values, "interpolation": repr(self.interpolation)}

    def slots(self, name: str, array: Array, num_samples: int, num_neurons: int) -> Array:
        knots_last = array if array.ndim == 1 else np.swapaxes(array, -1, -2)
        return np.broadcast_to(knots_last, (num_samples, num_neurons, self.knots.size))

    def _weights(self, t: Array) -> tuple[Any, Array, Array]:
        """Left knot of each time, the weight of the right one, and that weight's slope in time."""
        last = self.knots.size - 1
        left = np.clip(np.searchsorted(self.knots, t, side="right") - 1, 0, max(last - 1, 0))
        if self.interpolation == "previous" or last == 0:
            held = np.clip(np.searchsorted(self.knots, t, side="right") - 1, 0, last)
            return held, np.zeros(np.shape(t)), np.zeros(np.shape(t))
        width = self.knots[left + 1] - self.knots[left]
        inside = (t >= self.knots[0]) & (t < self.knots[-1])
        weight = np.clip((t - self.knots[left]) / width, 0.0, 1.0)
        return left, weight, np.where(inside, 1.0 / width, 0.0)

    def derivatives(self, t: Array, /, **slots: Array) -> tuple[Array, dict[str, Array]]:
        samples = slots["input_current"]
        t = np.broadcast_to(t, samples.shape[:-1])
        left, weight, slope = self._weights(t)
        right = np.minimum(left + 1, self.knots.size - 1)
        knots = np.arange(self.knots.size)
        partial = (knots == left[..., None]) * (1.0 - weight[..., None])
        partial = partial + (knots == right[..., None]) * weight[..., None]
        step = np.take_along_axis(samples, right[..., None], -1) - np.take_along_axis(samples, left[..., None], -1)
        return slope * step[..., 0], {"input_current": partial}

    def value(self, t: Array, /, **slots: Array) -> Array:
        _, partial = self.derivatives(t, **slots)
        return np.asarray((partial["input_current"] * slots["input_current"]).sum(-1))


class FormulaCurrent(InputCurrent):
    """A current that is a formula of time, with parameters.

    Parameters
    ----------
    formula : str
        I(t) of the time ``t`` and the parameters, in the notation of :class:`EventSDE`.
    **parameters : array_like, shape (), (N,) or (S, N)
        Every other name in it; each can be differentiated by.

    Attributes
    ----------
    formula : str
        As given.
    parameters : mapping of str to ndarray
        Read-only.
    kind : str
        The name under which the Julia core knows the formula.

    Raises
    ------
    ValidationError
        Where the formula cannot be understood, with the place; or if a parameter is not in it.

    Notes
    -----
    The Julia core compiles it once, with its derivatives. Where it jumps, the gradient of spike times ignores
    that the jump might move across a spike, which has probability zero.

    Examples
    --------
    >>> FormulaCurrent("a + b*sin(2*pi*f*t)", a=1.5, b=0.5, f=[1.0, 2.0]).parameters["f"]
    array([1., 2.])
    """

    def __init__(self, formula: str, /, **parameters: ArrayLike) -> None:
        self.formula = formula
        self._function = read_function("formula", formula, "t", parameters)
        self.kind = kind_of("current", self._function, parameters)
        super().__init__(parameters)

    def value(self, t: Array, /, **slots: Array) -> Array:
        return value(self._function, "t", t, slots)

    def derivatives(self, t: Array, /, **slots: Array) -> tuple[Array, dict[str, Array]]:
        return derivatives(self._function, "t", t, slots)

    @property
    def code(self) -> str:
        """Its formula in Julia, for the core."""
        from .formulas.julia_parts import current_code

        return current_code(self.kind, self._function, tuple(self.parameters))

    def _shown(self) -> dict[str, Any]:
        return {"": repr(self.formula), **super()._shown()}


class JuliaFunction(InputCurrent):
    """A current that is one's own Julia function, compiled by the core: no slower than those it knows.

    Parameters
    ----------
    source : str
        A Julia expression that is a function: ``"t -> ..."`` of time, or ``"(t, neuron) -> ..."`` with neurons counted
        from 0. Base is there; for what a package defines, give ``"begin import Package; t -> ... end"``. It is run with
        the rights of this process.
    derivative : str, optional
        Likewise its derivative in time. Gradients need it: a spike that moves meets another current.

    Raises
    ------
    ValidationError
        If an argument is not a text.
    JuliaError
        At the first simulation, with Julia's message, if it is not such a function; or if a gradient lacks the
        derivative.

    Notes
    -----
    There is nothing in it to differentiate with respect to, and the NumPy engine cannot run it.

    Examples
    --------
    >>> JuliaFunction("t -> 1.5 + 0.5sin(2pi * t)", derivative="t -> pi * cos(2pi * t)").parameters
    {}
    """

    def __init__(self, source: str, derivative: str | None = None) -> None:
        for name, text in (("source", source), ("derivative", derivative)):
            if name == "derivative" and text is None:
                continue
            if not isinstance(text, str) or not text.strip() or "\0" in text:
                raise ValidationError(f'{name} must be the text of a Julia function, "t -> ...", got {describe(text)}')
        self.source, self.derivative = source, derivative
        #: Its name in the core, whose engine compiles it when it first meets it.
        self.kind = f"julia_function_{hashlib.sha256(repr((source, derivative)).encode()).hexdigest()[:16]}"
        super().__init__()

    def _shown(self) -> dict[str, Any]:
        return {"source": repr(self.source), "derivative": repr(self.derivative)}

    def value(self, t: Array, /, **slots: Array) -> Array:
        raise ValidationError(
            "a JuliaFunction can be computed by Julia alone: engine must not be 'reference' for this input_current"
        )

    def derivatives(self, t: Array, /, **slots: Array) -> tuple[Array, dict[str, Array]]:
        return self.value(t), {}


def as_input_current(current: Any) -> InputCurrent:
    """`current` itself, or the constant current that a number or an array stands for."""
    return current if isinstance(current, InputCurrent) else ConstantCurrent(current)
