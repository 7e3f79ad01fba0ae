"""Stochastic intensities λ(v): the rate at which a neuron fires, given its membrane potential.

A new intensity is a subclass of :class:`Intensity` here or in the user's own file, and one file in
``julia/src/models/intensities`` that registers the same ``kind`` for the Julia core.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .components import Component
from .formulas.analysis import check_rate
from .formulas.functions import derivatives, kind_of, read_function, value
from .formulas.grammar import Source
from .validation import as_float

Array = NDArray[np.float64]


class Intensity(Component):
    """Base class of intensities λ(v), in spikes per unit of time; see :class:`ssnn_py.components.Component`.

    Attributes
    ----------
    event : {"hazard", "threshold"}
        The event: the integrated hazard reaches 0, or the potential itself reaches the parameter ``"v_th"``.
    """

    event: ClassVar[str] = "hazard"

    @abc.abstractmethod
    def rate(self, v: Array, /, **parameters: Array) -> Array:
        """λ(v), elementwise; `parameters` broadcast against `v`."""

    @abc.abstractmethod
    def rate_derivatives(self, v: Array, /, **parameters: Array) -> tuple[Array, dict[str, Array]]:
        """∂λ/∂v and ∂λ/∂p for every parameter p, elementwise."""

    def steepness(self, v: Array, /, **parameters: Array) -> tuple[Array, dict[str, Array]] | None:
        """The κ for which the rate is on average, under normal noise ξ around v, that at v + κ·Var(ξ)/2; or None.

        With ∂κ/∂p for every parameter p, elementwise. Where it is None the mean is that of Gauss and Hermite's rule of
        three points. Only ``exact_ou`` asks for it.
        """
        return None

    def __call__(self, v: ArrayLike) -> Array:
        """λ(v) at the intensity's own parameters."""
        return self.rate(np.asarray(v, dtype=np.float64), **self.parameters)


class ExponentialIntensity(Intensity):
    r"""The exponential intensity :math:`\lambda(v) = \exp(\beta\,\min(v - v_\mathrm{th}, \mathrm{cap})) / \tau`.

    Parameters
    ----------
    beta : array_like, shape (), (N,) or (S, N)
        Steepness β ≥ 0, per unit of potential.
    v_th : array_like, shape (), (N,) or (S, N)
        Threshold: the potential at which the rate is 1/τ.
    tau : array_like, shape (), (N,) or (S, N)
        Time constant τ > 0, in the user's unit of time.
    cap : float
        Potentials further than `cap` above the threshold fire at the rate of that point; λ has zero slope there.

    Raises
    ------
    ValidationError
        If a value is not finite, β is negative, or τ or the cap is not positive.

    References
    ----------
    Holberg and Salvi, NeurIPS 2024, section 2; the rate function is that of Gerstner et al., *Neuronal Dynamics*,
    section 9.1.

    Examples
    --------
    >>> intensity = ExponentialIntensity(beta=5.0, v_th=1.0, tau=2.0)
    >>> float(intensity(1.0))
    0.5
    """

    kind = "exponential"
    ranges: ClassVar = {"beta": "at least 0", "tau": "positive"}

    def __init__(self, beta: ArrayLike = 5.0, v_th: ArrayLike = 1.0, tau: ArrayLike = 1.0, cap: float = 10.0) -> None:
        self.cap = as_float("cap", cap, positive=True)
        super().__init__({"beta": beta, "v_th": v_th, "tau": tau}, settings=(self.cap,))

    def rate(self, v: Array, /, **parameters: Array) -> Array:
        beta, v_th, tau = parameters["beta"], parameters["v_th"], parameters["tau"]
        return np.asarray(np.exp(beta * np.minimum(v - v_th, self.cap)) / tau)

    def rate_derivatives(self, v: Array, /, **parameters: Array) -> tuple[Array, dict[str, Array]]:
        beta, v_th, tau = parameters["beta"], parameters["v_th"], parameters["tau"]
        rate = self.rate(v, **parameters)
        slope = np.where(v - v_th < self.cap, beta * rate, 0.0)
        return slope, {"beta": np.minimum(v - v_th, self.cap) * rate, "v_th": -slope, "tau": -rate / tau}

    def steepness(self, v: Array, /, **parameters: Array) -> tuple[Array, dict[str, Array]]:
        below, zero = np.where(v - parameters["v_th"] < self.cap, 1.0, 0.0), np.zeros(np.shape(v))
        return below * parameters["beta"], {"beta": below, "v_th": zero, "tau": zero}

    def _shown(self) -> dict[str, Any]:
        return {**super()._shown(), "cap": self.cap}


class FormulaIntensity(Intensity):
    r"""An intensity λ(v) of one's own, as a formula.

    Parameters
    ----------
    formula : str
        λ(v) ≥ 0 of the membrane potential ``v`` and the parameters, in the notation of :class:`EventSDE`.
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
        Where the formula cannot be understood, with the place, or is a constant that is not positive; or if a parameter
        is not in it.

    Notes
    -----
    The Julia core compiles it once, with its derivatives. Where λ is negative the integrated hazard falls, which
    no rate does: write ``max(…, 0)`` where that could be.

    Examples
    --------
    >>> softplus = FormulaIntensity("log(1 + exp(beta*(v - v_th)))", beta=5.0, v_th=1.0)
    >>> round(float(softplus(1.0)), 6)
    0.693147
    """

    def __init__(self, formula: str, /, **parameters: ArrayLike) -> None:
        self.formula = formula
        self._function = read_function("formula", formula, "v", parameters)
        check_rate(Source("formula", formula), self._function, "an intensity")
        self.kind = kind_of("intensity", self._function, parameters)
        super().__init__(parameters)

    def rate(self, v: Array, /, **parameters: Array) -> Array:
        return value(self._function, "v", v, parameters)

    def rate_derivatives(self, v: Array, /, **parameters: Array) -> tuple[Array, dict[str, Array]]:
        return derivatives(self._function, "v", v, parameters)

    @property
    def code(self) -> str:
        """Its formula in Julia, for the core."""
        from .formulas.julia_parts import intensity_code

        return intensity_code(self.kind, self._function, tuple(self.parameters))

    def _shown(self) -> dict[str, Any]:
        return {"": repr(self.formula), **super()._shown()}


class ThresholdIntensity(Intensity):
    """Deterministic firing: a neuron fires when its potential itself reaches `v_th` from below.

    There is no hazard, so α plays no part. With noise on the potential such a network can be simulated (along the
    solver's piecewise-linear path), but has no pathwise gradient: a Brownian path that touches a threshold crosses it
    at once infinitely often.

    Parameters
    ----------
    v_th : array_like, shape (), (N,) or (S, N)

    Examples
    --------
    >>> ThresholdIntensity(v_th=1.0).event
    'threshold'
    """

    kind = "threshold"
    event = "threshold"

    def __init__(self, v_th: ArrayLike = 1.0) -> None:
        super().__init__({"v_th": v_th})

    def rate(self, v: Array, /, **parameters: Array) -> Array:
        return np.zeros(np.shape(v))

    def rate_derivatives(self, v: Array, /, **parameters: Array) -> tuple[Array, dict[str, Array]]:
        return np.zeros(np.shape(v)), {"v_th": np.zeros(np.shape(v))}
