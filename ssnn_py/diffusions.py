"""State-dependent diffusion: the factor g(v) by which the noise on a membrane potential grows with that potential.

A new diffusion is a subclass of :class:`Diffusion` here or in the user's own file, and one file in
``julia/src/models/diffusions`` that registers the same ``kind`` for the Julia core.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .components import Component

Array = NDArray[np.float64]


class Diffusion(Component):
    r"""Base class of factors g(v): the noise on the potential is :math:`g(v)\,(\sigma_{11}\,dB^1 + \sigma_{12}\,dB^2)`.

    See :class:`ssnn_py.components.Component`.

    Attributes
    ----------
    additive : bool
        Whether g is 1 everywhere.
    """

    additive: ClassVar[bool] = False

    @abc.abstractmethod
    def factor(self, v: Array, **parameters: Array) -> tuple[Array, Array]:
        """g(v) and g′(v), elementwise; `parameters` broadcast against `v`."""

    @abc.abstractmethod
    def derivatives(self, v: Array, **parameters: Array) -> tuple[Array, dict[str, tuple[Array, Array]]]:
        """g″(v), and for every parameter p the pair (∂g/∂p, ∂g′/∂p), elementwise."""


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
        super().__init__()

    def factor(self, v: Array, **parameters: Array) -> tuple[Array, Array]:
        return np.ones(np.shape(v)), np.zeros(np.shape(v))

    def derivatives(self, v: Array, **parameters: Array) -> tuple[Array, dict[str, tuple[Array, Array]]]:
        return np.zeros(np.shape(v)), {}


class AffineDiffusion(Diffusion):
    r"""Multiplicative noise: :math:`g(v) = \mathrm{offset} + \mathrm{slope}\cdot v`.

    The noise of a fluctuating conductance with reversal potential E is ``AffineDiffusion(offset=E, slope=-1)``;
    geometric noise is ``AffineDiffusion(offset=0, slope=1)``.

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
        super().__init__({"diffusion_offset": offset, "diffusion_slope": slope})

    def factor(self, v: Array, **parameters: Array) -> tuple[Array, Array]:
        slope = parameters["diffusion_slope"]
        return np.asarray(parameters["diffusion_offset"] + slope * v), np.broadcast_to(slope, np.shape(v))

    def derivatives(self, v: Array, **parameters: Array) -> tuple[Array, dict[str, tuple[Array, Array]]]:
        one, zero = np.ones(np.shape(v)), np.zeros(np.shape(v))
        return zero, {"diffusion_offset": (one, zero), "diffusion_slope": (v, one)}

    def _shown(self) -> dict[str, Any]:
        return {name.removeprefix("diffusion_"): value for name, value in super()._shown().items()}
