"""What intensities, input currents and diffusions share: parameters by name, settings, and how they are made and
changed.

A component's Python half is one class with its NumPy formula; the Julia core knows the formula by the component's
`kind`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ValidationError
from .validation import as_real_array, require, short
from .values import Arrays, Immutable

Array = NDArray[np.float64]
Same = TypeVar("Same", bound="Component")

#: What :attr:`Component.ranges` may name.
RANGES: dict[str, Callable[[Array], NDArray[np.bool_]]] = {
    "positive": lambda array: array > 0,
    "at least 0": lambda array: array >= 0,
}

#: The shapes of a parameter that is one number per neuron, in words.
PER_NEURON = "a number or an array of shape (N,) or (S, N)"


class Component(Immutable):
    """Base class of the parts of a model that are chosen: intensity, input current, diffusion.

    A component never changes: :meth:`replace` makes another. Two are equal where their class, parameters and settings
    are.

    Parameters
    ----------
    parameters : mapping of str to array_like
        What one may differentiate with respect to, in the order in which the core expects it; each of shape ``()``,
        ``(N,)`` or ``(S, N)``. Arrays are copied.
    settings : sequence of float
        Further numbers of the formula that are fixed. The Julia core is given those of the intensity.

    Attributes
    ----------
    kind : str
        The name under which the Julia core knows the formula.
    parameters : dict of str to ndarray
        Read-only, and so are the arrays.
    settings : tuple of float
    ranges : mapping of str to str
        Which parameters must be "positive" or "at least 0".

    Raises
    ------
    ValidationError
        If a parameter has a wrong shape, is not finite or not in its range.
    """

    kind: str
    parameters: dict[str, Array]
    settings: tuple[float, ...] = ()
    ranges: ClassVar[Mapping[str, str]] = {}

    def __init__(self, parameters: Mapping[str, ArrayLike] | None = None, settings: Sequence[float] = ()) -> None:
        self.parameters = Arrays({name: self.checked(name, value) for name, value in (parameters or {}).items()})
        self.settings = tuple(settings)

    def _seal(self) -> None:
        # A constructor of one's own may have set a plain dict.
        parameters = getattr(self, "parameters", None)
        if not isinstance(parameters, Arrays):
            Component.__init__(self, parameters, self.settings)
        super()._seal()

    def checked(self, name: str, value: ArrayLike) -> Array:
        """A value of the parameter `name` as an array, if the formula can take it; else a ValidationError."""
        array = as_real_array(name, value, what=PER_NEURON)
        if name in self.ranges:
            require(name, array, RANGES[self.ranges[name]](array), self.ranges[name])
        return array

    def replace(self: Same, /, **parameters: ArrayLike) -> Same:
        """The same component with other values of some parameters.

        Raises
        ------
        ValidationError
            If a name is unknown or a value does not fit.
        """
        for name in parameters:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise ValidationError(f"unknown parameter {name!r}; this {type(self).__name__} has {known}")
        new = {name: self.checked(name, value) for name, value in parameters.items()}
        return self._changed(parameters=Arrays(self.parameters, new))

    def _shown(self) -> dict[str, Any]:
        """The constructor's arguments, for the representation; one without a name is positional."""
        return {name: value.tolist() for name, value in self.parameters.items()}

    def __repr__(self) -> str:
        texts = {name: value if isinstance(value, str) else short(value) for name, value in self._shown().items()}
        shown = (f"{name}={text}" if name else text for name, text in texts.items())
        return f"{type(self).__name__}({', '.join(shown)})"
