"""Drivers: the signals whose increments are the noise of a network, one path per noise of every neuron.

A new driver is a subclass of :class:`Driver` here, made of the terms that ``engine/driver_paths.py`` knows how to lay
out, or one file in ``julia/src/paths`` with its twin in ``engine/reference_noise.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .components import Component
from .errors import ValidationError
from .validation import as_float, as_real_array, describe

Array = NDArray[np.float64]
Same = TypeVar("Same", bound="Driver")

#: Parameters that are one number each, whatever the network.
NUMBERS = ("hurst", "path_scale", "jump_mean", "jump_std")
#: The shapes of the values of a path, in words.
PATH_SHAPES = "of shape (M,), (M, N), (S, M, N) or (S, M, N, C)"


class Driver(Component):
    """Base class of drivers; see :class:`ssnn_py.components.Component`.

    The equation of a variable with the noise ``sigma*xi`` is dy = f dt + σ dX, with X the driver's path for that noise
    and that neuron; paths of different noises, neurons and samples are independent where they are random. Drivers are
    added with ``+``: the sum of the paths.
    """

    def __add__(self, other: object) -> Driver:
        if not isinstance(other, Driver):
            return NotImplemented
        return DriverSum((*self.terms, *other.terms))

    @property
    def terms(self) -> tuple[Driver, ...]:
        """What it is the sum of."""
        return (self,)

    def of_noise(self, noise: str) -> Driver:
        """The driver of the noise of that name."""
        return self

    #: Whether the path jumps, and whether it moves in between.
    has_jumps: bool = False
    flows: bool = True

    def check_fit(self, name: str, array: Array, num_samples: int, num_neurons: int, num_noises: int) -> None:
        """Raise ValueError unless a parameter's value fits so many samples, neurons and noises."""
        if stem(name) in NUMBERS:
            np.broadcast_to(array, ())
        elif stem(name) == "jump_rate":
            np.broadcast_to(array, (num_neurons,))
        elif stem(name) in ("jump_times", "jump_sizes"):
            np.broadcast_to(array, (num_samples, num_neurons, array.shape[-1]))
        else:
            values = spread(array)
            np.broadcast_to(values, (num_samples, num_neurons, num_noises, values.shape[-1]))

    def named_terms(self, noise: str) -> list[tuple[Driver, dict[str, str]]]:
        """What the driver of that noise is the sum of, each with the names that its parameters have here."""
        return [(self, {name: name for name in self.parameters})]


class BrownianMotion(Driver):
    """Brownian motion, the default: white noise.

    Its path is refined inside steps as far as anyone looks (docs/numerics.md).

    Examples
    --------
    >>> BrownianMotion() == BrownianMotion()
    True
    """

    kind = "brownian"

    def __init__(self) -> None:
        super().__init__()


class FractionalBrownianMotion(Driver):
    r"""Fractional Brownian motion: the Gaussian process with stationary increments and
    :math:`\operatorname{Var} X(t) = \mathrm{scale}^2\,t^{2H}`.

    Its increments are positively correlated where H > 1/2, negatively where H < 1/2; with H = 1/2 it is Brownian motion
    in law. The path is exact on the noise grid, t0 + n·noise_dt (`simulate`'s ``noise_dt``, by default its ``dt``), and
    linear within it: two steps see one and the same path if their ``noise_dt`` is the same. It is drawn at once for
    the whole interval (Davies and Harte's circulant embedding), and so is another one where the number of noise steps
    passes a power of 2.

    Parameters
    ----------
    hurst : float
        H, between 0 and 1. This is the parameter ``"hurst"`` of gradients: with the numbers of the seed frozen, the
        path moves smoothly with it.
    scale : float
        The standard deviation of X(1); of use in sums of drivers. This is the parameter ``"path_scale"``.

    Raises
    ------
    ValidationError
        If H is not between 0 and 1, or the scale is not positive.

    References
    ----------
    Davies and Harte, "Tests for Hurst effect", Biometrika 74 (1987).

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.5, driver=FractionalBrownianMotion(0.7))
    >>> ssnn.simulate(net, t1=2.0, dt=0.01, max_spikes=2, seed=1).spike_times.shape
    (1, 2)
    """

    kind = "fractional"

    def __init__(self, hurst: float, scale: float = 1.0) -> None:
        super().__init__({"hurst": hurst, "path_scale": scale})

    @property
    def hurst(self) -> float:
        return float(self.parameters["hurst"])

    @property
    def scale(self) -> float:
        return float(self.parameters["path_scale"])

    def checked(self, name: str, value: ArrayLike) -> Array:
        if name == "path_scale":
            return np.asarray(as_float("scale", value, positive=True))
        number = as_float("hurst", value)
        if not 0.0 < number < 1.0:
            raise ValidationError(f"hurst must be between 0 and 1, got {number}")
        return np.asarray(number)

    def _shown(self) -> dict[str, Any]:
        return {"hurst": self.hurst, "scale": self.scale}


class SampledPath(Driver):
    """A path of one's own: linear between knots, constant beyond both ends; with jumps where a time comes twice.

    Whatever the step, increments are those of the path itself, and a step that is coarser than the knots sees their
    area, too (docs/numerics.md). Only increments matter: where the path starts does not. Jumps come when they do, also
    within steps, and move the state in Marcus's sense (:class:`JumpProcess`).

    Parameters
    ----------
    ts : array_like, shape (M,)
        Increasing times of the knots, at least two. A time that is there twice is a jump, from the first of its values
        to the second.
    xs : array_like, shape (M,), (M, N), (S, M, N) or (S, M, N, C)
        The path there: one for all neurons, one per neuron, per sample and neuron, or per sample, neuron and noise, of
        which a neuron has C. An axis of length 1 stands for all. This is the parameter ``"driver_values"``.
    interpolation : {"linear", "previous"}
        Between two knots: a straight line, or the earlier value, so that the path jumps at every knot.

    Attributes
    ----------
    ts : ndarray, shape (M,)
    jumps : ndarray of bool, shape (M - 1,)
        Whether the path jumps from a knot's value to the next one's.

    Raises
    ------
    ValidationError
        If the times do not increase, or the number of values is not that of the times.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> path = SampledPath([0.0, 1.0, 2.0], [0.0, 1.0, 0.5])
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.5, driver=path)
    >>> sorted(name for name in net.parameters if name.startswith("driver"))
    ['driver_values']
    """

    kind = "sampled"

    def __init__(self, ts: ArrayLike, xs: ArrayLike, interpolation: str = "linear") -> None:
        self.ts = as_real_array("ts", ts, (1,), "an array of shape (M,)")
        if interpolation not in ("linear", "previous"):
            raise ValidationError(f'interpolation must be "linear" or "previous", got {describe(interpolation)}')
        steps = np.diff(self.ts)
        if self.ts.size < 2 or np.any(steps < 0) or np.any((steps[1:] == 0) & (steps[:-1] == 0)):
            raise ValidationError(
                "ts must be increasing, and two times or more; a time may come twice where the path jumps"
            )
        if interpolation == "previous" and np.any(steps == 0):
            raise ValidationError('ts must be strictly increasing where interpolation is "previous"')
        self.interpolation = interpolation
        self.jumps = np.ones(steps.size, dtype=bool) if interpolation == "previous" else steps == 0
        self.has_jumps, self.flows = bool(self.jumps.any()), interpolation == "linear"
        super().__init__({"driver_values": xs})

    def checked(self, name: str, value: ArrayLike) -> Array:
        array = as_real_array("xs", value, (1, 2, 3, 4), f"an array {PATH_SHAPES}")
        if array.shape[min(max(array.ndim - 2, 0), 1)] != self.ts.size:
            raise ValidationError(
                f"xs must be {PATH_SHAPES}, with one entry for each of the M = {self.ts.size} times, got shape "
                f"{array.shape}"
            )
        return array

    def _shown(self) -> dict[str, Any]:
        shown = {"ts": self.ts.tolist(), "xs": self.parameters["driver_values"].tolist()}
        return {**shown, "interpolation": repr(self.interpolation)} if self.interpolation != "linear" else shown


class JumpProcess(Driver):
    r"""A compound Poisson process: jumps at random times, of random sizes, independent for every neuron.

    Jumps come when they do, also within steps. A jump ΔX moves the state in Marcus's sense, along ẏ = g(y)·ΔX for a
    unit of fictitious time: the limit of ever steeper paths that climb ΔX. Where the noise is additive this adds g·ΔX.
    The process is not compensated: it drifts at the rate times the mean jump.

    Parameters
    ----------
    rate : array_like, shape () or (N,)
        How many jumps come per unit of time. This is the parameter ``"jump_rate"`` of gradients: with the seed's
        numbers frozen, a larger rate has every jump come earlier.
    jumps : float, NormalJumps, ExponentialJumps or callable
        The size of a jump: always the same; drawn from that law; or from the law whose quantile function this is, which
        takes an array of numbers in (0, 1) and gives an array of sizes. The mean of the first three is the parameter
        ``"jump_mean"``, the standard deviation of `NormalJumps` the parameter ``"jump_std"``.

    Raises
    ------
    ValidationError
        If a rate is negative, or `jumps` is no law.

    References
    ----------
    Marcus, "Modeling and analysis of stochastic differential equations driven by point processes", IEEE Transactions on
    Information Theory 24 (1978).

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> shots = JumpProcess(rate=5.0, jumps=ExponentialJumps(0.3))
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.0, sigma=0.5, driver=ssnn.BrownianMotion() + shots)
    >>> ssnn.simulate(net, t1=2.0, dt=0.01, max_spikes=2, seed=1).spike_times.shape
    (1, 2)
    """

    kind = "jumps"
    has_jumps, flows = True, False

    def __init__(self, rate: ArrayLike, jumps: Any) -> None:
        if not callable(jumps):
            jumps = _FixedJumps(as_float("jumps", jumps))
        of_law = {f"jump_{name}": value for name, value in vars(jumps).items()} if isinstance(jumps, JumpLaw) else {}
        self._law = type(jumps)() if isinstance(jumps, JumpLaw) else jumps  # its numbers are parameters
        super().__init__({"jump_rate": rate, **of_law})

    @property
    def rate(self) -> Array:
        return self.parameters["jump_rate"]

    @property
    def law(self) -> Any:
        """Of the sizes: as `jumps` was given, with the parameters that the process has."""
        law = self._with_numbers()
        return law.mean if isinstance(law, _FixedJumps) else law

    def _with_numbers(self) -> Any:
        if not isinstance(self._law, JumpLaw):
            return self._law
        return type(self._law)(**{name: float(self.parameters[f"jump_{name}"]) for name in vars(self._law)})

    def checked(self, name: str, value: ArrayLike) -> Array:
        if name in NUMBERS:
            number = as_float(name, value)
            type(self._law)(**{**vars(self._law), name.removeprefix("jump_"): number})  # which refuses what cannot be
            return np.asarray(number)
        array = as_real_array("rate", value, (0, 1), "a number or an array of shape (N,)")
        if np.any(array < 0):
            raise ValidationError(f"rate must be at least 0, got {describe(value)}")
        return array

    def _shown(self) -> dict[str, Any]:
        return {"rate": self.rate.tolist(), "jumps": repr(self.law)}

    def sizes(self, u: Array, other: Array) -> tuple[Array, dict[str, Array]]:
        """Sizes of jumps from two numbers in (0, 1) for each, of which quantile functions take the first; and their
        derivatives by the parameters that belong to the law.
        """
        law = self._with_numbers()
        if isinstance(law, JumpLaw):
            return law.sizes(u, other), {f"jump_{name}": slope for name, slope in law.slopes(u, other).items()}
        found = np.asarray(law(u))
        if found.shape != u.shape or found.dtype.kind not in "fiu" or not np.isfinite(found).all():
            raise ValidationError(
                f"jumps must give a finite size for each of {u.shape} numbers in (0, 1), got {describe(found)}"
            )
        return np.asarray(found, dtype=np.float64), {}


class JumpLaw:
    """A law of the sizes of jumps, whose fields are parameters: a frozen dataclass with defaults for all of them."""

    def sizes(self, u: Array, other: Array) -> Array:
        """Sizes from two numbers in (0, 1) for each."""
        return self(u)

    def slopes(self, u: Array, other: Array) -> dict[str, Array]:
        """Derivatives of the sizes by the fields."""
        raise NotImplementedError

    def __call__(self, u: Array) -> Array:
        """The quantile function."""
        raise NotImplementedError


@dataclass(frozen=True)
class _FixedJumps(JumpLaw):
    mean: float = 0.0

    def __call__(self, u: Array) -> Array:
        return np.full(u.shape, self.mean)

    def slopes(self, u: Array, other: Array) -> dict[str, Array]:
        return {"mean": np.ones(u.shape)}


@dataclass(frozen=True)
class NormalJumps(JumpLaw):
    """Sizes of jumps from the normal law.

    Examples
    --------
    >>> float(np.round(NormalJumps(1.0, 2.0)(np.array([0.975])), 4)[0])
    4.9199
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        as_float("mean", self.mean)
        as_float("std", self.std, positive=True)

    def __call__(self, u: Array) -> Array:
        quantile = NormalDist().inv_cdf
        return np.array([self.mean + self.std * quantile(p) for p in u.ravel().tolist()]).reshape(u.shape)

    def sizes(self, u: Array, other: Array) -> Array:
        return np.asarray(self.mean + self.std * np.sqrt(-2.0 * np.log(u)) * np.cos(2.0 * np.pi * other))

    def slopes(self, u: Array, other: Array) -> dict[str, Array]:
        return {"mean": np.ones(u.shape), "std": np.sqrt(-2.0 * np.log(u)) * np.cos(2.0 * np.pi * other)}


@dataclass(frozen=True)
class ExponentialJumps(JumpLaw):
    """Sizes of jumps from the exponential law; with a negative mean they go down.

    Examples
    --------
    >>> float(np.round(ExponentialJumps(2.0)(np.array([0.5])), 4)[0])
    1.3863
    """

    mean: float = 1.0

    def __post_init__(self) -> None:
        if as_float("mean", self.mean) == 0.0:
            raise ValidationError("mean must not be 0")

    def __call__(self, u: Array) -> Array:
        return np.asarray(-self.mean * np.log1p(-u))

    def slopes(self, u: Array, other: Array) -> dict[str, Array]:
        return {"mean": -np.log1p(-u)}


class GivenJumps(Driver):
    """A path that is constant but for jumps at times of one's own, which move the state as those of a
    :class:`JumpProcess` do.

    Parameters
    ----------
    times : array_like, shape (J,), (N, J) or (S, N, J)
        The times of jumps of all neurons, per neuron, or per sample and neuron, in any order; inf is no jump. Those up
        to t0 and after t1 do not count. This is the parameter ``"jump_times"`` of gradients.
    sizes : array_like of the same shape, or a number for all
        This is the parameter ``"jump_sizes"`` of gradients.

    Raises
    ------
    ValidationError
        If the shapes differ, or a size is not finite.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], mu=(0.0, 0.0), sigma=2.0, driver=GivenJumps([0.25, 0.5], [0.1, 0.2]))
    >>> ssnn.simulate(net, t1=1.0, dt=0.1, saveat=[0.2, 0.25, 1.0], engine="reference").v[0, :, 0].round(6).tolist()
    [0.0, 0.2, 0.6]
    """

    kind = "given_jumps"
    has_jumps, flows = True, False

    def __init__(self, times: ArrayLike, sizes: ArrayLike) -> None:
        self._shape = np.shape(times)
        super().__init__({"jump_times": times, "jump_sizes": sizes})

    @property
    def times(self) -> Array:
        return self.parameters["jump_times"]

    def checked(self, name: str, value: ArrayLike) -> Array:
        if name == "jump_times":
            return self._checked_times(value)
        array = as_real_array("sizes", value, (0, 1, 2, 3))
        if array.ndim == 0:
            array = np.full(self._shape, array)
        if array.shape != self._shape:
            raise ValidationError(
                f"sizes must be of the shape of times, {self._shape}, or a number, got shape {array.shape}"
            )
        return array

    def _checked_times(self, value: ArrayLike) -> Array:
        given, what = np.asarray(value), "an array of shape (J,), (N, J) or (S, N, J)"
        finite = given[np.isfinite(given)] if given.dtype.kind in "fiu" else given
        as_real_array("times", finite, (1,), what)
        if given.ndim not in (1, 2, 3) or np.isnan(given).any() or (given == -np.inf).any():
            raise ValidationError(f"times must be {what}, with inf for no jump, got {describe(value)}")
        if given.shape != self._shape:
            raise ValidationError(f"times must keep their shape, {self._shape}, got shape {given.shape}")
        return np.array(given, dtype=np.float64)

    def _shown(self) -> dict[str, Any]:
        return {"times": self.times.tolist(), "sizes": self.parameters["jump_sizes"].tolist()}


def stem(name: str) -> str:
    """The name of a driver's parameter without its number in a sum."""
    return name.rstrip("0123456789").rstrip("_")


def spread(xs: Array) -> Array:
    """Values of a path as a view of shape (S or 1, N or 1, C or 1, M)."""
    if xs.ndim == 1:
        return np.asarray(xs[None, None, None, :])
    if xs.ndim == 2:
        return np.asarray(xs.T[None, :, None, :])
    return np.asarray(np.moveaxis(xs if xs.ndim == 4 else xs[..., None], 1, -1))


class DriverSum(Driver):
    """The sum of several drivers, made by ``+``. The values of its second, third, … sampled path are the parameters
    ``"driver_values_2"``, ``"driver_values_3"``, ….

    Examples
    --------
    >>> BrownianMotion() + FractionalBrownianMotion(0.8, scale=0.5)
    BrownianMotion() + FractionalBrownianMotion(hurst=0.8, scale=0.5)
    """

    kind = "sum"

    def __init__(self, terms: Sequence[Driver]) -> None:
        self._terms = tuple(terms)
        if sum(isinstance(term, BrownianMotion) for term in self._terms) > 1:
            raise ValidationError(
                "two Brownian motions are one of another size: add one BrownianMotion(), and change sigma instead"
            )
        super().__init__(_united_parameters(self._terms))

    def checked(self, name: str, value: ArrayLike) -> Array:
        for known, place, of_term in _numbered(self._terms):
            if known == name:
                return self._terms[place].checked(of_term, value)
        raise KeyError(name)

    @property
    def terms(self) -> tuple[Driver, ...]:
        return _with_parameters(self._terms, self.parameters)

    def named_terms(self, noise: str) -> list[tuple[Driver, dict[str, str]]]:
        return list(zip(self.terms, _names_of(self._terms), strict=True))

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.terms))


class NoiseDrivers(Driver):
    """One driver for each noise of a neuron, by the noise's name: what a mapping given as ``driver`` becomes. Noises
    that are not named are driven by Brownian motion.
    """

    kind = "noises"

    def __init__(self, drivers: Mapping[str, Driver]) -> None:
        for name, driver in drivers.items():
            if not isinstance(driver, Driver) or isinstance(driver, NoiseDrivers):
                raise ValidationError(f"driver[{name!r}] must be a Driver, got {describe(driver)}")
        self._drivers = tuple(sorted(drivers.items()))
        super().__init__(_united_parameters([driver for _, driver in self._drivers]))

    def checked(self, name: str, value: ArrayLike) -> Array:
        drivers = [driver for _, driver in self._drivers]
        for known, place, of_term in _numbered(drivers):
            if known == name:
                return drivers[place].checked(of_term, value)
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the noises that are named."""
        return tuple(name for name, _ in self._drivers)

    @property
    def drivers(self) -> dict[str, Driver]:
        """By the names of noises."""
        return {name: self.of_noise(name) for name in self.names}

    def of_noise(self, noise: str) -> Driver:
        drivers = _with_parameters([driver for _, driver in self._drivers], self.parameters)
        return dict(zip(self.names, drivers, strict=True)).get(noise, BrownianMotion())

    def named_terms(self, noise: str) -> list[tuple[Driver, dict[str, str]]]:
        if noise not in self.names:
            return [(BrownianMotion(), {})]
        here = _names_of([driver for _, driver in self._drivers])[self.names.index(noise)]
        return [
            (term, {own: here[name] for own, name in names.items()})
            for term, names in self.of_noise(noise).named_terms(noise)
        ]

    def __add__(self, other: object) -> Driver:
        raise ValidationError("drivers by the names of noises have no sum: add the drivers of each noise")

    def __repr__(self) -> str:
        return repr(self.drivers)


def _numbered(terms: Sequence[Driver]) -> list[tuple[str, int, str]]:
    """Of every parameter of several drivers its name among those of all, the driver's place, and its name there."""
    names: list[tuple[str, int, str]] = []
    for place, term in enumerate(terms):
        for name in term.parameters:
            count = 1 + sum(stem(known) == stem(name) for known, *_ in names)
            names.append((stem(name) if count == 1 else f"{stem(name)}_{count}", place, name))
    return names


def _names_of(terms: Sequence[Driver]) -> list[dict[str, str]]:
    """Of each of several drivers, how its parameters are named among those of all."""
    found: list[dict[str, str]] = [{} for _ in terms]
    for known, place, name in _numbered(terms):
        found[place][name] = known
    return found


def _united_parameters(terms: Sequence[Driver]) -> dict[str, Array]:
    return {known: terms[place].parameters[name] for known, place, name in _numbered(terms)}


def _with_parameters(terms: Sequence[Driver], parameters: Mapping[str, Array]) -> tuple[Driver, ...]:
    """These drivers with the values that `parameters`, named as those of all, have."""
    changes: list[dict[str, Array]] = [{} for _ in terms]
    for known, place, name in _numbered(terms):
        if parameters[known] is not terms[place].parameters[name]:
            changes[place][name] = parameters[known]
    return tuple(term.replace(**change) if change else term for term, change in zip(terms, changes, strict=True))


def as_driver(driver: Any) -> Driver:
    """`driver` itself, Brownian motion for None, or what a mapping of noises to drivers stands for."""
    if driver is None:
        return BrownianMotion()
    if isinstance(driver, Mapping):
        return NoiseDrivers(driver)
    if not isinstance(driver, Driver):
        raise ValidationError(
            f"driver must be a Driver, such as BrownianMotion(), or a mapping of noises to drivers, got "
            f"{describe(driver)}"
        )
    return driver
