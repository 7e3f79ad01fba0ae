"""The most likely parameters of a network given recorded spikes, and how sure the recording makes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .diagnosis import Coordinates, unidentified
from .engine import Problem
from .errors import NoGradientError, SSNNError, ValidationError
from .formulas.analysis import evaluated, name_set
from .gradients import Objective, checked_names, differentiate
from .likelihoods import LogLikelihood, NegativeLogLikelihood, is_noise_free, log_likelihood
from .network import Network
from .simulation import NO_SYNAPSE, prepare, renewed
from .spike_trains import SpikeTrains
from .validation import as_float, as_int, as_real_array, describe
from .values import Record

Array = NDArray[np.float64]

#: Central differences of the exact gradient, in units of each parameter's size.
_STEP = 1e-4
#: Curvatures below this share of the largest are those of rounding and of the differences' own error.
_FLAT = 1e-7


@dataclass(frozen=True, eq=False)
class MaximumLikelihood(Record):
    """What :func:`maximum_likelihood` returns; its ``repr`` says it in words. P coordinates.

    Attributes
    ----------
    network : Network
        With the parameters that were found.
    labels : tuple of str, length P
        The coordinates: ``"beta"``, ``"mu[0]"``, ``"weights[0, 1]"``.
    values : ndarray, shape (P,)
    standard_errors : ndarray, shape (P,)
        Roots of the diagonal of the inverse observed information; infinite where the data do not identify the
        coordinate.
    covariance : ndarray, shape (P, P)
        That inverse, over the combinations that the data identify.
    information : ndarray, shape (P, P)
        The observed information: minus the second derivative of the log likelihood.
    combinations, curvatures : ndarray, shape (P, P) and (P,)
        Its eigenvectors (rows) and eigenvalues from the largest on, in units of `scales`.
    identified : ndarray of bool, shape (P,)
        Whether the data identify each combination: whether its standard error is below its size.
    scales : ndarray, shape (P,)
        The size of each coordinate.
    gradient : ndarray, shape (P,)
        Of the log likelihood, there.
    log_likelihood : LogLikelihood
    converged : bool
        Whether a Newton step from there gains less than 1e-6 nats.
    num_evaluations : int
    has_dead_zone : bool
        Whether spikes are impossible for a while after each: the likelihood then ends where parameters make one of the
        recorded ones so, and near that edge the standard errors are not right.
    """

    network: Network
    labels: tuple[str, ...]
    values: Array
    standard_errors: Array
    covariance: Array
    information: Array
    combinations: Array
    curvatures: Array
    identified: NDArray[np.bool_]
    scales: Array
    gradient: Array
    log_likelihood: LogLikelihood
    converged: bool
    num_evaluations: int
    has_dead_zone: bool = False
    _climb: Any = field(default=None, repr=False)

    @property
    def unidentified(self) -> tuple[str, ...]:
        """The combinations that the data do not identify, in words; coordinates below a tenth are left out."""
        return unidentified(self.combinations, self.identified, self.labels)

    def confidence_intervals(self, level: float = 0.95) -> Array:
        r"""Wald's intervals :math:`\hat\theta \pm z\cdot\mathrm{SE}`, shape (P, 2).

        Raises
        ------
        ValidationError
            If `level` is not between 0 and 1.
        """
        level = as_float("level", level)
        if not 0.0 < level < 1.0:
            raise ValidationError(f"level must be between 0 and 1, got {level}")
        reach = NormalDist().inv_cdf((1.0 + level) / 2.0) * self.standard_errors
        return np.stack([self.values - reach, self.values + reach], axis=1)

    def profile(self, label: str, values: ArrayLike | None = None) -> Profile:
        r"""The greatest log likelihood where one coordinate is held: :math:`\max_{\theta:\,\theta_j=x}\log L(\theta)`.

        Parameters
        ----------
        label : str
            One of :attr:`labels`.
        values : array_like, shape (M,), optional
            Where to hold it; default nine places within two and a half standard errors.

        Returns
        -------
        Profile

        Raises
        ------
        ValidationError
            If there is no such coordinate; if `values` are needed since its standard error is infinite; or if this
            result was unpickled, and so does not know the data.

        Examples
        --------
        >>> import ssnn_py as ssnn
        >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, alpha=0.0)
        >>> trains = ssnn.simulate(net, t1=2.0, dt=0.01, num_samples=40, seed=1).spike_trains
        >>> found = ssnn.maximum_likelihood(net, trains, ["beta", "v_th"], dt=0.01)
        >>> profile = found.profile("beta")
        >>> bool(profile.log_likelihoods.max() <= found.log_likelihood.value + 1e-9)
        True
        """
        if self._climb is None:
            raise ValidationError("profile needs the data, which an unpickled result does not know: fit it again")
        if label not in self.labels:
            raise ValidationError(f"label must be one of {', '.join(self.labels)}, got {describe(label)}")
        j = self.labels.index(label)
        if values is None:
            if not math.isfinite(self.standard_errors[j]):
                raise ValidationError(f"values must be given: the data do not identify {label}")
            held = self.values[j] + self.standard_errors[j] * np.linspace(-2.5, 2.5, 9)
        else:
            held = as_real_array("values", values, (1,), "an array of shape (M,)")
        climb: _Climb = self._climb
        found = np.empty(held.size)
        # From the best outwards, each from where the one before has ended.
        for side in (np.flatnonzero(held >= self.values[j]), np.flatnonzero(held < self.values[j])[::-1]):
            at = self.values.copy()
            for place in side:
                start = at.copy()
                start[j] = held[place]
                free = np.arange(self.values.size) != j
                at, loss = climb.descend(start, free)
                found[place] = -loss
        return Profile(label, held, found, self.log_likelihood.value)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_climb": None}

    def _held(self) -> tuple[Any, ...]:
        return super()._held()[:-1]

    def __repr__(self) -> str:
        low = self.confidence_intervals()
        rows = [("", "value", "standard error", "95 % interval")]
        for k, label in enumerate(self.labels):
            rows.append(
                (
                    label,
                    f"{self.values[k]:.5g}",
                    f"{self.standard_errors[k]:.2g}",
                    f"{low[k, 0]:.4g} to {low[k, 1]:.4g}",
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        said = [f"The data do not identify {what}." for what in self.unidentified]
        if self.has_dead_zone:
            said.append(
                "Neurons have a dead zone: parameters that put a recorded spike into it are impossible, which the "
                "standard errors do not know."
            )
        if not self.converged:
            edge = "it has met the edge where a spike falls into the dead zone, or " if self.has_dead_zone else ""
            said.append(f"The search has not converged: {edge}it needs more iterations, or another start.")
        return "\n".join([*lines, repr(self.log_likelihood), *said])


@dataclass(frozen=True, eq=False)
class Profile(Record):
    """What :meth:`MaximumLikelihood.profile` returns.

    Attributes
    ----------
    label : str
        The coordinate that was held.
    values : ndarray, shape (M,)
        Where.
    log_likelihoods : ndarray, shape (M,)
        The greatest log likelihood there.
    maximum : float
        That of the whole.
    """

    label: str
    values: Array
    log_likelihoods: Array
    maximum: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        r"""Where :math:`2(\log L_{max} - \log L)` is below the quantile of χ² with one degree of freedom.

        Linear between the values in the root of the drop; infinite on a side on which the values do not reach it.
        """
        drop = NormalDist().inv_cdf((1.0 + as_float("level", level)) / 2.0)
        order = np.argsort(self.values)
        x, z = self.values[order], np.sqrt(np.maximum(2.0 * (self.maximum - self.log_likelihoods[order]), 0.0))
        best = int(np.argmin(z))
        ends = []
        for side in (slice(best, None, -1), slice(best, None)):
            zs, xs = z[side], x[side]
            beyond = np.flatnonzero(zs >= drop)
            if not beyond.size:
                ends.append(math.inf if side.step is None else -math.inf)
                continue
            k = int(beyond[0])
            ends.append(float(np.interp(drop, zs[max(k - 1, 0) : k + 1], xs[max(k - 1, 0) : k + 1])))
        return ends[0], ends[1]


def maximum_likelihood(
    network: Network,
    trains: SpikeTrains,
    wrt: str | Sequence[str],
    dt: float,
    *,
    neurons: ArrayLike | None = None,
    max_iterations: int = 200,
    **simulate_arguments: Any,
) -> MaximumLikelihood:
    r"""The parameters that make recorded spikes most likely, with their standard errors.

    Climbs the exact :func:`log_likelihood` by its exact gradient: BFGS with backtracking, then Newton's steps with the
    observed information J, whose inverse is the covariance of the estimate where the model is true and the data are
    many,

    .. math:: \hat\theta - \theta \approx N(0, J^{-1}), \qquad
              J = -\partial^2_\theta \log L(\hat\theta).

    J is a central difference of exact gradients. A combination of parameters whose standard error exceeds its size is
    not identified by the data, and is named; parameters in it have an infinite standard error.

    This theory is that of neurons without a dead zone. With one (`alpha`) the support of the likelihood depends on the
    parameters: the search ends where the first recorded spike would fall into the dead zone, if it meets that edge, and
    the result says so.

    Parameters
    ----------
    network : Network
        Where to start. No noise may drive its state, and all its neurons must have been recorded.
    trains : SpikeTrains
        The recording; trials are its samples, which are taken to be independent.
    wrt : str or sequence of str
        Parameters to find; those of the network, ``"v0"`` or ``"i0"``. Not those of a dead zone: the likelihood grows
        in them until a spike falls within it, so that they have no standard error of this kind.
    dt : float
        Base step.
    neurons : array_like of int, optional
        Which of the network's neurons those of the recording are; default all, in their order.
    max_iterations : int
    **simulate_arguments
        As for :func:`log_likelihood`.

    Returns
    -------
    MaximumLikelihood

    Raises
    ------
    ValidationError
        If an argument is not what it should be, or the likelihood grows in a parameter without bound.
    NoGradientError
        If a spike is impossible at the start: in its neuron's dead zone.

    References
    ----------
    Paninski, "Maximum likelihood estimation of cascade point-process neural encoding models", Network 15 (2004).

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, alpha=0.0)
    >>> trains = ssnn.simulate(net, t1=2.0, dt=0.01, num_samples=100, seed=1).spike_trains
    >>> found = ssnn.maximum_likelihood(net.replace(input_current=1.2), trains, ["input_current", "beta"], dt=0.01)
    >>> bool(np.all(np.abs(found.values - [1.5, 5.0]) < 3 * found.standard_errors))
    True
    """
    if not isinstance(trains, SpikeTrains):
        raise ValidationError(f"trains must be SpikeTrains, got {describe(trains)}")
    steps = as_int("max_iterations", max_iterations, 1)
    problem, engine = prepare(
        network, t0=trains.t0, t1=trains.t1, dt=dt, num_samples=max(1, trains.num_samples), **simulate_arguments
    )
    network.check_gradients()
    if not is_noise_free(network):
        raise ValidationError(
            "maximum_likelihood needs a network without noise on its state: with noise the likelihood is estimated "
            "(log_likelihood), and fit follows NegativeLogLikelihood(particles=...)"
        )
    names = checked_names(wrt, problem.parameters)
    if "weights" in names and not network.synapses.targets.size:
        raise ValidationError(NO_SYNAPSE)
    for name in names:
        if name in _dead_zone_parameters(network):
            raise ValidationError(
                f"wrt must not name {name}, a dead zone: the likelihood grows in it until a spike falls within it, and "
                "has no maximum with a standard error. Choose it by hand: see LogLikelihood.rescaled, whose smallest "
                "value is by how much it may grow"
            )
    climb = _Climb(network, problem, engine, trains, names, neurons)
    start = climb.coordinates.values
    climb(start)  # an impossible spike is said at once
    everything = np.ones(start.size, dtype=bool)
    values, _ = climb.descend(start, everything, steps)
    information, gain = climb.information(values, everything), math.inf
    for _ in range(5):
        loss, gradient = climb(values)
        step = _newton(information, gradient, climb.coordinates.scales)
        gain = float(-gradient @ step) / 2
        moved = climb.try_at(values + step)
        if moved is None or moved[0] > loss:
            break
        values = values + step
        if gain < 1e-12 * max(1.0, abs(loss)):
            break
        information = climb.information(values, everything)
    loss, gradient = climb(values)
    found = climb.network_at(values)
    arguments = {**simulate_arguments, **climb.initial_at(values)}
    at = log_likelihood(found, trains, dt, neurons=neurons, **arguments)
    return _judged(found, climb, values, information, -gradient, at, abs(gain) < 1e-6)


def _dead_zone_parameters(network: Network) -> set[str]:
    if network.model is None:
        return {"alpha"}
    zones = [event.dead_zone for event in network.model.parsed_events if event.dead_zone is not None]
    return {name for zone in zones for name in name_set(zone)}


def _has_dead_zone(network: Network) -> bool:
    if network.model is None:
        return bool(np.any(network.parameters["alpha"]))
    zones = [event.dead_zone for event in network.model.parsed_events]
    return any(zone is not None and bool(np.any(evaluated(zone, network.parameters))) for zone in zones)


class _Climb:
    """Minus the log likelihood of all samples and its gradient as functions of the coordinates."""

    def __init__(
        self, network: Network, problem: Problem, engine: str, trains: SpikeTrains, names: Sequence[str], neurons: Any
    ) -> None:
        self.network, self.problem, self.engine, self.names = network, problem, engine, tuple(names)
        parameters = {name: np.array(problem.parameters[name]) for name in names}
        self.coordinates = Coordinates(network, parameters, names)
        self.loss = NegativeLogLikelihood(neurons)
        self.objective, self.count = Objective(self.loss, trains), trains.num_samples
        self.evaluations = 0

    def network_at(self, vector: Array) -> Network:
        own = {name: x for name, x in self.coordinates.at(vector).items() if name in self.network.parameters}
        return self.network.replace(**own)

    def initial_at(self, vector: Array) -> dict[str, Array]:
        return {name: x for name, x in self.coordinates.at(vector).items() if name in self.problem.initial}

    def __call__(self, vector: Array) -> tuple[float, Array]:
        self.evaluations += 1
        problem = renewed(self.problem, self.network_at(vector), self.problem.seed, self.initial_at(vector))
        outcome = differentiate(self.objective, problem, self.engine, self.names, "pathwise")
        return self.count * outcome.value, self.count * self.coordinates.vector(outcome.plain_gradients)

    def try_at(self, vector: Array) -> tuple[float, Array] | None:
        """The same; None where a parameter is out of its range, a spike impossible, or the run fails."""
        try:
            value, gradient = self(vector)
        except SSNNError:
            return None
        return (value, gradient) if math.isfinite(value) and np.isfinite(gradient).all() else None

    def descend(self, start: Array, free: NDArray[np.bool_], iterations: int = 200) -> tuple[Array, float]:
        """The minimum over the free coordinates: BFGS in units of their sizes, with backtracking (Nocedal and Wright,
        "Numerical Optimization", 2006, chapter 6). Returns where, and its value.
        """
        scales, at = self.coordinates.scales[free], start.copy()
        found = self.try_at(at)
        if found is None or not free.any():
            return at, math.inf if found is None else found[0]
        value, gradient = found[0], found[1][free] * scales
        inverse = np.eye(scales.size) / max(1.0, float(np.linalg.norm(gradient)) / 0.1)
        fresh = True
        for _ in range(iterations):
            step = -inverse @ gradient
            slope = float(gradient @ step)
            if slope > 0.0 or np.abs(step).max() > 1.0:
                step, slope = _shortened(step, gradient)
            if -slope < 1e-10 * max(1.0, abs(value)):
                break
            length, moved = 1.0, None
            for _ in range(40):
                there = at.copy()
                there[free] += length * step * scales
                moved = self.try_at(there)
                if moved is not None and moved[0] <= value + 1e-4 * length * slope:
                    break
                length, moved = length / 2, None
            if moved is None:
                break
            change, new = length * step, moved[1][free] * scales
            at, value, difference = there, moved[0], new - gradient
            gradient, curvature = new, float(change @ difference)
            if curvature > 1e-12 * float(np.linalg.norm(change) * np.linalg.norm(difference)):
                if fresh:
                    inverse, fresh = np.eye(scales.size) * curvature / float(difference @ difference), False
                left = np.eye(scales.size) - np.outer(change, difference) / curvature
                inverse = left @ inverse @ left.T + np.outer(change, change) / curvature
        return at, value

    def information(self, vector: Array, free: NDArray[np.bool_]) -> Array:
        """Second derivatives by central differences of exact gradients; from one side where the other is refused."""
        rows = []
        for j in np.flatnonzero(free):
            step, ends, width = _STEP * self.coordinates.scales[j], [], 0.0
            for sign in (1.0, -1.0):
                moved = vector.copy()
                moved[j] += sign * step
                found = self.try_at(moved)
                ends.append(self(vector)[1] if found is None else found[1])
                width += 0.0 if found is None else step
            if width == 0.0:
                raise NoGradientError(f"{self.coordinates.labels[j]} can be moved to neither side of {vector[j]:.6g}")
            rows.append((ends[0] - ends[1]) / width)
        matrix = np.array(rows)[:, free]
        return np.asarray((matrix + matrix.T) / 2)


def _shortened(step: Array, gradient: Array) -> tuple[Array, float]:
    """A step no longer than one size in any coordinate; downhill where BFGS's is not."""
    if float(gradient @ step) > 0.0:
        step = -gradient
    step = step / max(1.0, float(np.abs(step).max()))
    return step, float(gradient @ step)


def _spectrum(information: Array, scales: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Curvatures and combinations in units of sizes, from the most curved on; and which are identified."""
    curvatures, vectors = np.linalg.eigh(information * scales[:, None] * scales)
    order = np.argsort(-curvatures, kind="stable")
    curvatures, combinations = curvatures[order], vectors[:, order].T
    # A standard error below the size is a curvature above 1.
    return curvatures, combinations, (curvatures > 1.0) & (curvatures > _FLAT * np.abs(curvatures).max(initial=0.0))


def _newton(information: Array, gradient: Array, scales: Array) -> Array:
    curvatures, combinations, identified = _spectrum(information, scales)
    inverse = np.where(identified, 1 / np.where(identified, curvatures, 1.0), 0.0)
    step = -(combinations.T @ (inverse * (combinations @ (gradient * scales))))
    # What rounding leaves of directions that nothing identifies would take a parameter at its bound out of its range.
    return np.where(np.abs(step) > np.finfo(float).eps * np.abs(step).max(initial=0.0), scales * step, 0.0)


def _judged(
    network: Network,
    climb: _Climb,
    values: Array,
    information: Array,
    gradient: Array,
    at: LogLikelihood,
    converged: bool,
) -> MaximumLikelihood:
    scales = climb.coordinates.scales
    curvatures, combinations, identified = _spectrum(information, scales)
    inverse = np.where(identified, 1 / np.where(identified, curvatures, 1.0), 0.0)
    covariance = scales[:, None] * ((combinations.T * inverse) @ combinations) * scales
    lost = (combinations[~identified] ** 2).sum(axis=0) > 0.01
    errors = np.where(lost, np.inf, np.sqrt(np.maximum(np.diag(covariance), 0.0)))
    return MaximumLikelihood(
        network=network,
        labels=climb.coordinates.labels,
        values=values,
        standard_errors=errors,
        covariance=covariance,
        information=information,
        combinations=combinations,
        curvatures=curvatures,
        identified=identified,
        scales=scales,
        gradient=gradient,
        log_likelihood=at,
        converged=converged,
        num_evaluations=climb.evaluations,
        has_dead_zone=_has_dead_zone(network),
        _climb=climb,
    )
