"""What is simulated: a network of stochastic leaky integrate-and-fire neurons, and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .components import Component
from .currents import InputCurrent, as_input_current
from .diffusions import ConstantDiffusion, Diffusion
from .errors import NoGradientError, ValidationError
from .intensities import ExponentialIntensity, Intensity
from .validation import as_real_array, describe, require, require_broadcastable
from .values import Arrays, Immutable

Array = NDArray[np.float64]

# Numbers of dimensions and shapes of the network's own parameters.
_PER_NEURON = ((0, 1, 2), "a number or an array of shape (N,) or (S, N)")
_OWN_PARAMETERS: dict[str, tuple[tuple[int, ...], str]] = {
    "mu": ((1, 2, 3), "an array of shape (2,), (N, 2) or (S, N, 2)"),
    "sigma": ((0, 1, 2, 3, 4), "a number or an array of shape (N,), (2, 2), (N, 2, 2) or (S, N, 2, 2)"),
    "v_reset": _PER_NEURON,
    "alpha": _PER_NEURON,
}
# The chosen parts of the model, by the argument that names them.
_PARTS: dict[str, type[Component]] = {"intensity": Intensity, "input_current": InputCurrent, "diffusion": Diffusion}


class Synapses(Immutable):
    """The connections of a network in compressed sparse rows: row j lists the targets of neuron j.

    Networks made of each other by :meth:`SLIFNetwork.replace` share the object, as long as they have the same synapses.
    It is equal to itself alone, so that it can be a key.

    Attributes
    ----------
    indptr : ndarray of int64, shape (N + 1,)
        Where each row begins in `targets`.
    targets : ndarray of int64, shape (nnz,)
        The receiving neuron of each synapse.
    position : ndarray of int64, shape (nnz,)
        Where the synapse's weight stands in the flattened parameter ``"weights"``.
    """

    def __init__(self, indptr: ArrayLike, targets: ArrayLike, position: ArrayLike) -> None:
        self.indptr, self.targets, self.position = (
            np.ascontiguousarray(part, dtype=np.int64) for part in (indptr, targets, position)
        )

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class SLIFNetwork(Immutable):
    r"""A network of N stochastic leaky integrate-and-fire (SLIF) neurons.

    Between spikes neuron k has membrane potential v, synaptic current i and integrated hazard s,

    .. math::
        dv_k &= \mu_1 (i_k + I_k(t) - v_k)\,dt + g(v_k)\,(\sigma_{11}\,dB^1_k + \sigma_{12}\,dB^2_k) \\
        di_k &= -\mu_2 i_k\,dt + \sigma_{21}\,dB^1_k + \sigma_{22}\,dB^2_k \\
        ds_k &= \lambda(v_k)\,dt

    (g = 1 unless `diffusion` says otherwise), and neuron j fires when s_j reaches 0 from below: then v_j falls by
    `v_reset`, i_k rises by w_jk for every target k, and s_j restarts at log U − α with U uniform on (0, 1).

    A network never changes: :meth:`replace` makes another. Attributes and arrays are read-only, and arrays that are
    given are copied. Two networks are equal where all their parameters, parts and synapses are; networks can be keys,
    be copied and be pickled.

    Parameters
    ----------
    weights : array_like or scipy.sparse matrix, shape (N, N)
        ``weights[j, k]`` is the weight from neuron j to neuron k. A zero is no synapse, and has no gradient; an
        explicitly stored zero of a sparse matrix is a synapse.
    input_current : float, array_like of shape (N,) or (S, N), or InputCurrent
        I(t), in units of potential. S is the number of samples of the simulation.
    mu : array_like, shape (2,), (N, 2) or (S, N, 2)
        Leak rates (μ1, μ2) ≥ 0 of potential and synaptic current, per unit of time.
    sigma : array_like, shape (), (N,), (2, 2), (N, 2, 2) or (S, N, 2, 2)
        Diffusion matrix; a number, or one per neuron, is noise on the potential alone (σ11).
    v_reset : array_like, shape (), (N,) or (S, N)
        By how much the potential falls at a spike; with a hard reset, where it is put.
    alpha : array_like, shape (), (N,) or (S, N)
        Refractory dead zone α ≥ 0 of the integrated hazard.
    intensity : Intensity
        λ(v); default ``ExponentialIntensity()``.
    reset : {"subtract", "hard"}
        Whether a spike lowers the potential by `v_reset` or puts it to `v_reset`. A hard reset forgets the potential,
        and with noise on it there is no pathwise gradient (:meth:`check_gradients`).
    diffusion : Diffusion
        The factor g(v) of the noise on the potential; default ``ConstantDiffusion()``, additive noise. Where g varies,
        there are pathwise gradients only if spikes leave the potential alone (``v_reset = 0``).
    interpretation : {"ito", "stratonovich"}
        Of the stochastic differential equation where g varies; every solver solves the equation that is meant.

    Raises
    ------
    ValidationError
        If a parameter has a wrong shape, is not finite, or is out of range.

    References
    ----------
    Holberg and Salvi, "Exact Gradients for Stochastic Spiking Neural Networks Driven by Rough Signals", NeurIPS 2024,
    section 2.

    Examples
    --------
    >>> net = SLIFNetwork(weights=np.zeros((1, 1)), input_current=1.5, mu=(15.0, 0.0), sigma=0.25, v_reset=1.4)
    >>> net.num_neurons
    1
    >>> sorted(net.parameters)
    ['alpha', 'beta', 'input_current', 'mu', 'sigma', 'tau', 'v_reset', 'v_th', 'weights']
    """

    intensity: Intensity
    input_current: InputCurrent
    diffusion: Diffusion
    #: Every parameter one may differentiate with respect to, by name; read-only. Weights of a sparse matrix are its
    #: stored values.
    parameters: dict[str, Array]

    def __init__(
        self,
        weights: Any,
        input_current: Any = 0.0,
        mu: ArrayLike = (15.0, 0.0),
        sigma: ArrayLike = 0.0,
        v_reset: ArrayLike = 1.4,
        alpha: ArrayLike = 0.03,
        intensity: Intensity | None = None,
        reset: str = "subtract",
        diffusion: Diffusion | None = None,
        interpretation: str = "ito",
    ) -> None:
        for argument, choice, allowed in (
            ("reset", reset, ("subtract", "hard")),
            ("interpretation", interpretation, ("ito", "stratonovich")),
        ):
            if choice not in allowed:
                raise ValidationError(f'{argument} must be "{allowed[0]}" or "{allowed[1]}", got {describe(choice)}')
        self.reset, self.interpretation = reset, interpretation
        self.num_neurons, self.synapses, values, self._sparse = _read_weights(weights)
        given = {"mu": mu, "sigma": sigma, "v_reset": v_reset, "alpha": alpha}
        own = {"weights": values, **{name: _own(name, value) for name, value in given.items()}}
        self.intensity = _part("intensity", ExponentialIntensity() if intensity is None else intensity)
        self.input_current = _part("input_current", as_input_current(input_current))
        self.diffusion = _part("diffusion", ConstantDiffusion() if diffusion is None else diffusion)
        self.parameters = _united(own, {argument: getattr(self, argument) for argument in _PARTS})
        for name, array in self.parameters.items():
            self._check_shape(name, array)

    def _held(self) -> tuple[Any, ...]:
        synapses = self.synapses
        return (
            *(self.reset, self.interpretation, self.num_neurons, self._sparse, self.parameters),
            *(getattr(self, argument) for argument in _PARTS),
            *(synapses.indptr, synapses.targets, synapses.position),
        )

    def _check_shape(self, name: str, array: Array) -> None:
        if name == "weights":
            return
        tail = _tail(name, array)
        if tail and array.shape[-len(tail) :] != tail:
            raise ValidationError(f"{name} must be {_OWN_PARAMETERS[name][1]}, got shape {array.shape}")
        try:
            self.slots(name, array, array.shape[0] if self._has_sample_axis(name, array) else 1)
        except ValueError:
            raise ValidationError(
                f"{name} has shape {array.shape}, which does not fit a network of {self.num_neurons} neurons: it must "
                "be one "
                f"value for all, one per neuron, or one per sample and neuron"
            ) from None

    def _has_sample_axis(self, name: str, array: Array) -> bool:
        return array.ndim == 2 + len(_tail(name, array)) + self._knot_axes(name, array)

    def _knot_axes(self, name: str, array: Array) -> int:
        return int(name in self.input_current.parameters and self.input_current.knots.size > 0)

    def check_samples(self, num_samples: int, extra: Mapping[str, Array]) -> None:
        """Raise unless every parameter fits `num_samples` samples; `extra` are the initial values."""
        for name, array in {**self.parameters, **extra}.items():
            # What has no axis of samples was checked when the network was made.
            if array.ndim == 0 or name == "weights" or not (name in extra or self._has_sample_axis(name, array)):
                continue
            try:
                self.slots(name, array, num_samples)
            except ValueError:
                raise ValidationError(
                    f"{name} has shape {array.shape}, which does not fit {num_samples} samples of {self.num_neurons} "
                    "neurons"
                ) from None

    def slots(self, name: str, array: Array, num_samples: int) -> dict[str, Array]:
        """The scalar coefficients that parameter `name` stands for, as views of `array` of shape (S, N[, M]).

        Views, not copies: a broadcast axis has stride 0, so the same strides scatter a gradient back.
        """
        shape = (num_samples, self.num_neurons)
        if name in self.input_current.parameters:
            return {name: self.input_current.slots(name, array, *shape)}
        if name == "mu":
            return {f"mu{r + 1}": np.broadcast_to(array[..., r], shape) for r in range(2)}
        if name == "sigma" and array.ndim >= 2:
            entries = ((r, c) for r in range(2) for c in range(2))
            return {f"sigma{r + 1}{c + 1}": np.broadcast_to(array[..., r, c], shape) for r, c in entries}
        if name == "sigma":
            return {"sigma11": np.broadcast_to(array, shape)}
        return {name: np.broadcast_to(array, shape)}

    @property
    def num_noise_components(self) -> int:
        """How many independent Brownian motions each neuron has a coefficient for: 1, or 2 where sigma is a matrix."""
        return 2 if self.parameters["sigma"].ndim >= 2 else 1

    @property
    def weights(self) -> Any:
        """The weights as they were given: a dense array, or a sparse matrix."""
        return self.like_weights(self.parameters["weights"])

    def like_weights(self, values: Array) -> Any:
        """Values of the parameter ``"weights"`` in the form in which the weights were given, dense or sparse."""
        if self._sparse is None:
            return values
        kind, shape = self._sparse
        return kind((values, self.synapses.targets, self.synapses.indptr), shape=shape)

    def replace(self, **parameters: Any) -> SLIFNetwork:
        """The same network with other values of some parameters.

        Parameters
        ----------
        **parameters : array_like
            Any names of :attr:`parameters`, or ``intensity``, ``input_current`` or ``diffusion``. Weights of a sparse
            network may be given as a sparse matrix or as its stored values. Dense weights keep the network's synapses,
            also those whose weight becomes zero.

        Returns
        -------
        SLIFNetwork

        Raises
        ------
        ValidationError
            If a name is unknown or a value does not fit.

        Examples
        --------
        >>> net = SLIFNetwork(weights=np.zeros((2, 2)), input_current=1.0)
        >>> net.replace(input_current=[1.0, 2.0]).parameters["input_current"]
        array([1., 2.])
        """
        unknown = [name for name in parameters if name not in self.parameters and name not in _PARTS]
        if unknown:
            raise ValidationError(f"unknown parameter {unknown[0]!r}; this network has {', '.join(self.parameters)}")
        attributes: dict[str, Any] = {argument: self._other_part(argument, parameters) for argument in _PARTS}
        own = {name: self.parameters[name] for name in ("weights", *_OWN_PARAMETERS)}
        own |= {name: _own(name, parameters[name]) for name in _OWN_PARAMETERS if name in parameters}
        if "weights" in parameters:
            own["weights"], connections = self._other_weights(parameters["weights"])
            attributes |= connections
        united = _united(own, {argument: attributes[argument] for argument in _PARTS})
        new = self._changed(**attributes, parameters=united)
        for name, array in united.items():
            before = self.parameters.get(name)
            if before is not array and (before is None or before.shape != array.shape):
                new._check_shape(name, array)
        return new

    def _other_part(self, argument: str, parameters: Mapping[str, Any]) -> Component:
        """The part of the model with the values among `parameters` that are its own, or the one that stands there in
        its place.
        """
        part: Component = getattr(self, argument)
        if parameters.keys().isdisjoint((argument, *part.parameters)):
            return part
        given = parameters.get(argument)
        if argument in parameters and (argument not in part.parameters or isinstance(given, Component)):
            part = _part(argument, as_input_current(given) if argument == "input_current" else given)
            parameters = {name: value for name, value in parameters.items() if name != argument}
        values = {name: value for name, value in parameters.items() if name in part.parameters}
        return part.replace(**values) if values else part

    def _other_weights(self, weights: Any) -> tuple[Array, dict[str, Any]]:
        """Weights for the same synapses; dense weights where there was no synapse make new ones, which are attributes
        to change.
        """
        values = self.parameters["weights"]
        if hasattr(weights, "tocsr") or (values.ndim == 2 and np.shape(weights) != values.shape):
            n, synapses, values, sparse = _read_weights(weights)
            if n != self.num_neurons:
                raise ValidationError(f"weights must keep the network's {self.num_neurons} neurons, got {n}")
            return values, {"synapses": synapses, "_sparse": sparse}
        array = as_real_array("weights", weights, (values.ndim,), f"an array of shape {values.shape}")
        if array.shape != values.shape:
            raise ValidationError(f"weights must have shape {values.shape}, got shape {array.shape}")
        if np.count_nonzero(array) > np.count_nonzero(array.ravel()[self.synapses.position]):
            return array, {"synapses": _read_weights(array)[1]}
        return array, {}

    def check_gradients(self) -> None:
        """Raise unless spike times and trajectories have pathwise derivatives.

        The conditions (Holberg and Salvi, NeurIPS 2024, assumptions of theorem 3.2), with E the event function, T the
        transition, f the drift and σ the diffusion: (i) the noise does not drive the event, ∇E·σ = 0; (ii) E is crossed
        transversally, ∇E·f ≠ 0; (iii) the transition commutes with the noise, ∇T σ(y) = σ(T(y)); (iv) no event follows
        at once, E(T(y)) ≠ 0; (v) events are finitely many. A hazard event with a positive intensity satisfies (i), (ii)
        and almost surely (iv) and (v); subtracting at a spike satisfies (iii) for additive noise, and for any noise
        where nothing is subtracted (v_reset = 0).

        Raises
        ------
        NoGradientError
            Naming the condition that fails.

        Examples
        --------
        >>> SLIFNetwork([[0.0]], sigma=0.5, reset="hard").check_gradients()
        Traceback (most recent call last):
        ssnn_py.errors.NoGradientError: condition (iii) fails: ...
        """
        sigma = self.parameters["sigma"]
        noisy = bool((sigma[..., 0, :] if sigma.ndim >= 2 else sigma).any())
        v_reset = self.parameters["v_reset"]
        threshold = self.intensity.event == "threshold"
        if threshold and noisy:
            raise NoGradientError(
                "condition (i) fails: the event is that the potential reaches v_th, and noise drives the potential "
                "(sigma). "
                "Use a stochastic intensity, or no noise on v"
            )
        if self.reset == "hard" and noisy:
            raise NoGradientError(
                "condition (iii) fails: a hard reset forgets the potential, but not the noise that drives it (sigma). "
                'Use reset="subtract", or no noise on v'
            )
        if noisy and not self.diffusion.additive and np.any(v_reset):
            raise NoGradientError(
                "condition (iii) fails: the noise depends on the potential (diffusion), and a spike moves the "
                "potential (v_reset). "
                "Use v_reset=0, or additive noise"
            )
        if threshold and np.any((v_reset >= self.parameters["v_th"]) if self.reset == "hard" else (v_reset <= 0)):
            raise NoGradientError(
                "condition (iv) fails: after a spike the potential is still at or above v_th, so that another event "
                "follows at once (v_reset)"
            )

    def check_unbiased_gradients(self) -> None:
        """Raise unless expectations have unbiased gradients: unless every event is driven by a hazard.

        A spike that enters or leaves an interval changes an expectation by its density there, which is known for the
        exponential thresholds of a hazard. A potential that reaches a threshold has none.

        Raises
        ------
        NoGradientError
        """
        if self.intensity.event != "hazard":
            raise NoGradientError(
                "no unbiased gradient: the event is a deterministic crossing (ThresholdIntensity), and nothing is "
                "known of the density of spikes "
                "that appear or vanish. Use a stochastic intensity"
            )

    def __repr__(self) -> str:
        return f"SLIFNetwork({self.num_neurons} neurons, {self.synapses.targets.size} synapses, {self.intensity!r})"


def _own(name: str, value: ArrayLike) -> Array:
    """A value of one of the network's own parameters, checked."""
    ndims, meaning = _OWN_PARAMETERS[name]
    array = as_real_array(name, value, ndims, meaning)
    if name in ("mu", "alpha"):
        require(name, array, array >= 0, "at least 0")
    return array


def _part(argument: str, part: Any) -> Any:
    """`part` itself, if it is of the class that the argument needs."""
    kind = _PARTS[argument]
    if not isinstance(part, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise ValidationError(f"{argument} must be {article} {kind.__name__}, got {describe(part)}")
    return part


def _united(own: Mapping[str, Array], parts: Mapping[str, Component]) -> Arrays:
    """All parameters by name, if no two have the same."""
    taken = {*own, "v0", "i0"}
    for argument, part in parts.items():
        if not taken.isdisjoint(part.parameters):
            name = next(name for name in part.parameters if name in taken)
            raise ValidationError(
                f"{argument} must not have a parameter named {name!r}: the network has one of that name already, "
                f"and one value cannot stand for both; got {describe(part)}"
            )
        taken.update(part.parameters)
    return Arrays(own, *(part.parameters for part in parts.values()))


def _tail(name: str, array: Array) -> tuple[int, ...]:
    """Axes of a parameter that belong to one neuron."""
    if name == "sigma":
        return (2, 2) if array.ndim >= 2 else ()
    return (2,) if name == "mu" else ()


def _read_weights(weights: Any) -> tuple[int, Synapses, Array, tuple[Any, tuple[int, int]] | None]:
    """Number of neurons, synapses, values of the parameter, and how to rebuild a sparse matrix."""
    if hasattr(weights, "tocsr"):
        matrix = weights.tocsr().copy()
        matrix.sum_duplicates()
        values = as_real_array("weights", matrix.data, (1,))
        require_broadcastable("weights", np.empty(matrix.shape, dtype=bool), (matrix.shape[0],) * 2, "(N, N)")
        synapses = Synapses(matrix.indptr, matrix.indices, np.arange(values.size))
        return matrix.shape[0], synapses, values, (type(matrix), matrix.shape)
    values = as_real_array("weights", weights, (2,), "a matrix of shape (N, N)")
    if values.shape[0] != values.shape[1] or values.size == 0:
        raise ValidationError(f"weights must be a matrix of shape (N, N) with N ≥ 1, got shape {values.shape}")
    rows, targets = np.nonzero(values)
    indptr = np.searchsorted(rows, np.arange(values.shape[0] + 1))
    return values.shape[0], Synapses(indptr, targets, rows * values.shape[0] + targets), values, None
