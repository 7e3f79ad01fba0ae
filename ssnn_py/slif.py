"""Networks of stochastic leaky integrate-and-fire neurons, the model of the paper, tuned by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .components import Component
from .currents import InputCurrent, as_input_current
from .diffusions import ConstantDiffusion, Diffusion
from .drivers import Driver, as_driver
from .errors import NoGradientError, ValidationError
from .intensities import ExponentialIntensity, Intensity
from .network import Core, Network, part
from .synapses import SpikeInput, read_matrix
from .validation import as_real_array, counted, describe, require

Array = NDArray[np.float64]

# Numbers of dimensions and shapes of the network's own parameters.
_PER_NEURON = ((0, 1, 2), "a number or an array of shape (N,) or (S, N)")
_OWN_PARAMETERS: dict[str, tuple[tuple[int, ...], str]] = {
    "mu": ((1, 2, 3), "an array of shape (2,), (N, 2) or (S, N, 2)"),
    "sigma": ((0, 1, 2, 3, 4), "a number or an array of shape (N,), (2, 2), (N, 2, 2) or (S, N, 2, 2)"),
    "v_reset": _PER_NEURON,
    "alpha": _PER_NEURON,
}
# Coefficients of one neuron; those that the parameters say nothing of are 0.
_COEFFICIENTS = ("mu1", "mu2", "sigma11", "sigma12", "sigma21", "sigma22", "v_reset", "alpha", "v0", "i0")

_NOBODY = np.zeros(0, dtype=np.int32)


class SLIFNetwork(Network):
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
        Diffusion matrix; a number, or one per neuron, is noise on the potential alone (σ11). A negative σ is the same
        noise with the other sign: the law is that of its absolute value, and training may pass through 0.
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
    delays : array_like or scipy.sparse matrix, shape () or (N, N), optional
        How long a spike takes to each target, at least 0; for all synapses, or in the form of the weights. Default: 0,
        and no parameter.
    inputs : SpikeInput, optional
        Channels of spikes from outside.
    driver : Driver or mapping of str to Driver, optional
        The paths B of each neuron, or by the noises' names, ``"B1"`` and ``"B2"``; default :class:`BrownianMotion`.

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
    diffusion: Diffusion
    initial_names: ClassVar[tuple[str, ...]] = ("v0", "i0")
    part_classes: ClassVar[Mapping[str, type[Component]]] = {
        "intensity": Intensity,
        "input_current": InputCurrent,
        "diffusion": Diffusion,
        "inputs": SpikeInput,
        "driver": Driver,
    }

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
        delays: Any = None,
        inputs: SpikeInput | None = None,
        driver: Any = None,
    ) -> None:
        for argument, choice, allowed in (
            ("reset", reset, ("subtract", "hard")),
            ("interpretation", interpretation, ("ito", "stratonovich")),
        ):
            if choice not in allowed:
                raise ValidationError(f'{argument} must be "{allowed[0]}" or "{allowed[1]}", got {describe(choice)}')
        self.reset, self.interpretation = reset, interpretation
        self.model, self.states = None, ("v", "i")
        (self.num_neurons, _), self.synapses, values, self._sparse = read_matrix("weights", weights, True)
        given = {"mu": mu, "sigma": sigma, "v_reset": v_reset, "alpha": alpha}
        self.intensity = self._part("intensity", ExponentialIntensity() if intensity is None else intensity)
        self.input_current = self._part("input_current", as_input_current(input_current))
        self.diffusion = self._part("diffusion", ConstantDiffusion() if diffusion is None else diffusion)
        own = {"weights": values, **{name: self._own(name, value) for name, value in given.items()}}
        self.driver = as_driver(driver)
        self._connect(own, delays, inputs)
        self._unite(own)

    @property
    def _has_arrival(self) -> bool:
        return True

    def _part(self, argument: str, given: Any) -> Any:
        return part(argument, given, self.part_classes)

    @property
    def _hears_current(self) -> bool:
        return True

    def _held(self) -> tuple[Any, ...]:
        return (self.reset, self.interpretation, *super()._held())

    def _own(self, name: str, value: ArrayLike) -> Array:
        ndims, meaning = _OWN_PARAMETERS[name]
        array = as_real_array(name, value, ndims, meaning)
        if name in ("mu", "alpha"):
            require(name, array, array >= 0, "at least 0")
        return array

    def tail(self, name: str, array: Array) -> tuple[int, ...]:
        if name == "sigma":
            return (2, 2) if array.ndim >= 2 else ()
        return (2,) if name == "mu" else ()

    def _check_shape(self, name: str, array: Array) -> None:
        tail = self.tail(name, array)
        if tail and array.shape[-len(tail) :] != tail:
            raise ValidationError(f"{name} must be {_OWN_PARAMETERS[name][1]}, got shape {array.shape}")
        super()._check_shape(name, array)

    def slots(self, name: str, array: Array, num_samples: int) -> dict[str, Array]:
        shape = (num_samples, self.num_neurons)
        if name == "mu":
            return {f"mu{r + 1}": np.broadcast_to(array[..., r], shape) for r in range(2)}
        if name == "sigma" and array.ndim >= 2:
            entries = ((r, c) for r in range(2) for c in range(2))
            return {f"sigma{r + 1}{c + 1}": np.broadcast_to(array[..., r, c], shape) for r, c in entries}
        return super().slots("sigma11" if name == "sigma" else name, array, num_samples)

    @property
    def core(self) -> Core:
        kinds = (self.intensity.kind, self.input_current.kind, self.diffusion.kind)
        stratonovich = self.interpretation == "stratonovich"
        return Core("slif", *kinds, self.intensity.settings, self.reset == "hard", stratonovich, self._core_driver)

    @property
    def noise_names(self) -> tuple[str, ...]:
        return ("B1", "B2")[: self.num_noise_components]

    @property
    def coefficient_names(self) -> tuple[str, ...]:
        parts = (self.intensity, self.input_current, self.diffusion)
        return (*_COEFFICIENTS, *(name for one in parts for name in one.parameters))

    @property
    def num_noise_components(self) -> int:
        """How many independent Brownian motions each neuron has a coefficient for: 1, or 2 where sigma is a matrix."""
        return 2 if self.parameters["sigma"].ndim >= 2 else 1

    @property
    def has_additive_noise(self) -> bool:
        return self.diffusion.additive

    @property
    def num_events(self) -> int:
        return 1

    @property
    def has_linear_drift(self) -> bool:
        return True

    @property
    def has_commutative_noise(self) -> bool:
        return True

    @property
    def has_crossings(self) -> bool:
        return self.intensity.event != "hazard"

    def noise_is_diagonal(self, parameters: Mapping[str, Array], num_samples: int) -> bool:
        """Whether σ12 = σ21 = 0."""
        slots = self.slots("sigma", parameters["sigma"], num_samples) if "sigma" in parameters else {}
        return not any(np.any(view) for slot, view in slots.items() if slot in ("sigma12", "sigma21"))

    def time_rates(self) -> Array:
        return self.parameters["mu"]

    def decay_rates(self) -> dict[str, Array]:
        mu = self.parameters["mu"]
        return {"v": mu[..., 0], "i": mu[..., 1]} if self._has_arrivals() else {"v": mu[..., 0]}

    def _has_arrivals(self) -> bool:
        """Whether there is a synapse by which spikes come to a synaptic current."""
        return bool(self.synapses.targets.size or self._reached_by_inputs().size)

    def _reached_by_inputs(self) -> NDArray[np.int32]:
        """Neurons whose synaptic current spikes from outside move, of each synapse."""
        if self.inputs is None:
            return _NOBODY
        to_i = np.isin(self.inputs.variables(self.states), (0, 1 + self.states.index("i")))
        return self.inputs.synapses.targets[to_i[self.inputs.synapses.sources]]

    def _driven(self) -> NDArray[np.int64]:
        """Neurons whose synaptic current spikes move, by weights that are not 0."""
        driven = np.zeros(self.num_neurons, dtype=bool)
        driven[self.synapses.targets[np.abs(self.weight_values) >= np.finfo(float).tiny]] = True
        driven[self._reached_by_inputs()] = True
        return np.flatnonzero(driven)

    def likely_mistakes(self) -> list[str]:
        mu2 = self.parameters["mu"][..., 1]
        if mu2.all() or not self._has_arrivals():
            return []
        mu2 = np.broadcast_to(mu2, (*mu2.shape[:-1], self.num_neurons))
        targets = self._driven()
        if targets.size == 0 or mu2[..., targets].all():
            return []
        return [
            "mu2 is 0 for neurons with synapses: their synaptic current never decays, and every spike that reaches "
            "them drives them for ever. Give mu=(mu1, mu2) with mu2 > 0, as in mu=(15.0, 5.0)"
        ]

    def check_gradients(self, explain: bool = False, wrt: Sequence[str] = ()) -> None:
        """Raise unless spike times and trajectories have pathwise derivatives; see :meth:`Network.check_gradients`.

        A hazard event with a positive intensity satisfies (i), (ii) and almost surely (iv) and (v); subtracting at a
        spike satisfies (iii) for additive noise, and for any noise where nothing is subtracted (v_reset = 0).

        Examples
        --------
        >>> SLIFNetwork([[0.0]], sigma=0.5, reset="hard").check_gradients()
        Traceback (most recent call last):
        ssnn_py.errors.NoGradientError: condition (iii) fails: ...
        """
        failures = self._failures()
        if explain:
            for condition in ("(i)", "(ii)", "(iii)", "(iv)", "(v)"):
                print(f"{condition:5s}  {failures.get(condition, 'holds')}")
        for condition, why in failures.items():
            raise NoGradientError(f"condition {condition} fails: {why}")
        self._check_moving_inputs(wrt)

    def _clash_of_arrival(self, variable: str | None) -> str | None:
        if variable != "v" or self.diffusion.additive or not self._noisy:
            return None
        return (
            "the noise depends on the potential (diffusion), and a spike from outside moves the potential. Use "
            'target="i", or additive noise'
        )

    @property
    def _noisy(self) -> bool:
        """Whether noise drives the potential."""
        sigma = self.parameters["sigma"]
        return bool((sigma[..., 0, :] if sigma.ndim >= 2 else sigma).any())

    def _failures(self) -> dict[str, str]:
        """The conditions that fail, and why."""
        failures = {}
        noisy, v_reset = self._noisy, self.parameters["v_reset"]
        threshold = self.intensity.event == "threshold"
        if threshold and noisy:
            failures["(i)"] = (
                "the event is that the potential reaches v_th, and noise drives the potential (sigma). "
                "Use a stochastic intensity, or no noise on v"
            )
        if self.reset == "hard" and noisy:
            failures["(iii)"] = (
                "a hard reset forgets the potential, but not the noise that drives it (sigma). "
                'Use reset="subtract", or no noise on v'
            )
        if noisy and not self.diffusion.additive and np.any(v_reset):
            failures["(iii)"] = (
                "the noise depends on the potential (diffusion), and a spike moves the potential (v_reset). "
                "Use v_reset=0, or additive noise"
            )
        if threshold and np.any((v_reset >= self.parameters["v_th"]) if self.reset == "hard" else (v_reset <= 0)):
            failures["(iv)"] = (
                "after a spike the potential is still at or above v_th, so that another event follows at once (v_reset)"
            )
        return failures

    def check_unbiased_gradients(self) -> None:
        """Raise unless expectations have unbiased gradients: unless every event is driven by a hazard, and no spike
        from outside moves a potential that a hard reset forgets.

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
        if self.reset == "hard" and "v" in self._input_targets():
            raise NoGradientError(
                "no unbiased gradient: a hard reset forgets what a spike from outside has added to the potential, so "
                'that it matters which comes first. Use reset="subtract", or target="i"'
            )

    def after_spikes(
        self, states: Mapping[str, Array], saves: NDArray[np.int64], neurons: NDArray[np.int64]
    ) -> dict[str, Array]:
        v, i = states["v"].copy(), states["i"].copy()
        slots = self.slots("v_reset", self.parameters["v_reset"], len(v))["v_reset"]
        values, synapses = self.weight_values, self.synapses
        rows = np.flatnonzero(saves >= 0)
        at, firing = saves[rows], neurons[rows]
        lowered = slots[rows, firing] if self.reset == "hard" else v[rows, at, firing] - slots[rows, firing]
        v[rows, at, firing] = lowered
        for k in np.unique(firing) if not self.has_delays else ():
            outgoing = slice(synapses.indptr[k], synapses.indptr[k + 1])
            mine = rows[firing == k][:, None]
            i[mine, saves[mine], synapses.targets[outgoing]] += values[outgoing]
        return {"v": v, "i": i}

    def __repr__(self) -> str:
        size = f"{counted(self.num_neurons, 'neuron')}, {counted(self.synapses.targets.size, 'synapse')}"
        return f"SLIFNetwork({size}, {self.intensity!r}{self._special()})"
