"""State-dependent diffusion: the factor g(v) by which the noise on a membrane potential grows with that potential.

A new diffusion is a subclass of :class:`Diffusion` here or in the user's own file, and one file in
``julia/src/models/diffusions`` that registers the same ``kind`` for the Julia core.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .validation import as_real_array

Array = NDArray[np.float64]


class Diffusion(abc.ABC):
    r"""Base class of factors g(v): the noise on the potential is :math:`g(v)\,(\sigma_{11}\,dB^1 + \sigma_{12}\,dB^2)`.

    Attributes
    ----------
    kind : str
        The name under which the Julia core knows the formula.
    additive : bool
        Whether g is 1 everywhere.
    parameters : dict of str to ndarray
        What one may differentiate with respect to, by the name under which the core knows it; each of shape ``()``,
        ``(N,)`` or ``(S, N)``.
    """

    kind: ClassVar[str]
    additive: ClassVar[bool] = False
    parameters: dict[str, Array]

    @abc.abstractmethod
    def factor(self, v: Array, **parameters: Array) -> tuple[Array, Array]:
        """g(v) and g′(v), elementwise; `parameters` broadcast against `v`."""

    @abc.abstractmethod
    def derivatives(self, v: Array, **parameters: Array) -> tuple[Array, dict[str, tuple[Array, Array]]]:
        """g″(v), and for every parameter p the pair (∂g/∂p, ∂g′/∂p), elementwise."""

    @abc.abstractmethod
    def replace(self, **parameters: ArrayLike) -> Diffusion:
        """The same diffusion with other values of some parameters."""


class ConstantDiffusion(Diffusion):
    """Additive noise: g(v) = 1.

    Examples
    --------
    >>> ConstantDiffusion().additive
    True
    """

    kind = "constant"
    additive = True

    def __init__(self) -> None:
        self.parameters = {}

    def factor(self, v: Array, **parameters: Array) -> tuple[Array, Array]:
        return np.ones(np.shape(v)), np.zeros(np.shape(v))

    def derivatives(self, v: Array, **parameters: Array) -> tuple[Array, dict[str, tuple[Array, Array]]]:
        return np.zeros(np.shape(v)), {}

    def replace(self, **parameters: ArrayLike) -> ConstantDiffusion:
        return self

    def __repr__(self) -> str:
        return "ConstantDiffusion()"


class AffineDiffusion(Diffusion):
    r"""Multiplicative noise: :math:`g(v) = \mathrm{offset} + \mathrm{slope}\cdot v`.

    The noise of a fluctuating conductance with reversal potential E is ``AffineDiffusion(offset=E, slope=-1)``; geometric noise is
    ``AffineDiffusion(offset=0, slope=1)``.

    Parameters
    ----------
    offset : array_like, shape (), (N,) or (S, N)
        Parameter ``"diffusion_offset"`` of the network.
    slope : array_like, shape (), (N,) or (S, N)
        Parameter ``"diffusion_slope"``, per unit of potential.

    Raises
    ------
    ValidationError
        If a value is not finite or has a wrong shape.

    Examples
    --------
    >>> noise = AffineDiffusion(offset=1.0, slope=0.5)
    >>> float(noise.factor(np.array(2.0), **noise.parameters)[0])
    2.0
    """

    kind = "affine"

    def __init__(self, offset: ArrayLike = 1.0, slope: ArrayLike = 0.0) -> None:
        shapes = "a number or an array of shape (N,) or (S, N)"
        self.parameters = {
            "diffusion_offset": as_real_array("offset", offset, what=shapes),
            "diffusion_slope": as_real_array("slope", slope, what=shapes),
        }

    def factor(self, v: Array, **parameters: Array) -> tuple[Array, Array]:
        slope = parameters["diffusion_slope"]
        return np.asarray(parameters["diffusion_offset"] + slope * v), np.broadcast_to(slope, np.shape(v))

    def derivatives(self, v: Array, **parameters: Array) -> tuple[Array, dict[str, tuple[Array, Array]]]:
        one, zero = np.ones(np.shape(v)), np.zeros(np.shape(v))
        return zero, {"diffusion_offset": (one, zero), "diffusion_slope": (v, one)}

    def replace(self, **parameters: ArrayLike) -> AffineDiffusion:
        values: dict[str, Any] = {**self.parameters, **parameters}
        return AffineDiffusion(values["diffusion_offset"], values["diffusion_slope"])

    def __repr__(self) -> str:
        offset, slope = (value.tolist() for value in self.parameters.values())
        return f"AffineDiffusion(offset={offset}, slope={slope})"
