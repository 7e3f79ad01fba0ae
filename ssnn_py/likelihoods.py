"""Likelihoods of recorded spikes: exact where nothing is hidden, by a particle filter where noise or neurons are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import engine as engines
from .clamping import check_clampable, checked_recording
from .drivers import BrownianMotion
from .engine import Problem
from .errors import NoGradientError, ValidationError
from .formulas.analysis import evaluated
from .losses import Loss, LossValue, as_trains
from .network import Network
from .particle_filter import filtered, filtered_gradients, log_sum_exp
from .simulation import Solution, prepare
from .spike_trains import SpikeTrains
from .validation import as_float, as_int, counted, describe, require_memory
from .values import Record

Array = NDArray[np.float64]


def is_noise_free(network: Network) -> bool:
    """Whether no noise drives the state of neurons, at the network's parameters.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> is_noise_free(ssnn.SLIFNetwork([[0.0]], sigma=0.0)), is_noise_free(ssnn.SLIFNetwork([[0.0]], sigma=0.1))
    (True, False)
    """
    if network.model is None:
        return not np.any(network.parameters["sigma"])
    # What multiplies a noise is 0 at one state, and at any other, where a parameter makes it so.
    names = {name: 0.7309 + 0.1 * place for place, name in enumerate(("t", "I", *network.states))}
    values = {**names, **network.parameters}
    return not any(np.any(evaluated(node, values) != 0.0) for node in network.model.diffusion.values())


def is_hidden(problem: Problem) -> bool:
    """Whether something of the state is not known from what was recorded: noise drives it, or neurons run free."""
    assert problem.recording is not None
    return not (is_noise_free(problem.network) and bool(problem.recording.clamped.all()))


@dataclass(frozen=True, eq=False)
class LogLikelihood(Record):
    """What :func:`log_likelihood` returns. S recorded samples of R neurons, with arrays of K spikes.

    Attributes
    ----------
    trains : SpikeTrains
        The recording.
    samples : ndarray, shape (S,)
        The log likelihood of each sample.
    standard_errors : ndarray, shape (S,)
        Of these, from the scatter of the filters' estimates; 0 where it is exact.
    log_intensities : ndarray, shape (S, K)
        log λ̂ at each spike, λ̂ the intensity given all spikes before it; 0 where there is none.
    rescaled : ndarray, shape (S, K)
        ∫λ̂ dt from the neuron's spike before (t0 for the first) to each spike, dead zones left out. Where the model is
        true these are exponential with mean 1 and independent: time rescaling.
    rescaled_end : ndarray, shape (S, R)
        The same from each neuron's last spike to t1.
    exact : bool
        Whether nothing was hidden.
    particles, filters : int
        Of each sample's estimate; 0 where it is exact.
    effective : float
        The least effective number of particles of any filter; few are a warning.
    """

    trains: SpikeTrains
    samples: Array
    standard_errors: Array
    log_intensities: Array
    rescaled: Array
    rescaled_end: Array
    exact: bool = True
    particles: int = 0
    filters: int = 0
    effective: float = field(default=math.inf)

    @property
    def value(self) -> float:
        """The log likelihood of all samples, in nats."""
        return float(self.samples.sum())

    @property
    def standard_error(self) -> float:
        """Of :attr:`value`."""
        return float(np.sqrt((self.standard_errors**2).sum()))

    @property
    def neurons(self) -> Array:
        """What each neuron adds: Σ log λ̂ − ∫λ̂ dt, shape (S, R); of filters the means of their predictions."""
        trains = self.trains
        rows, columns = np.nonzero(trains.neurons >= 0)
        added = self.log_intensities[rows, columns] - self.rescaled[rows, columns]
        total: Array = -self.rescaled_end
        np.add.at(total, (rows, trains.neurons[rows, columns]), added)
        return total

    @property
    def bits_per_spike(self) -> float:
        r"""By how much better than a constant rate the spikes are predicted, per spike, in bits:
        :math:`(\log L - \log L_0)/(n \log 2)`.

        L₀ is the likelihood of a Poisson process for each neuron with the rate that these samples have; NaN where there
        is no spike.
        """
        return self.bits_against(poisson_log_likelihood(self.trains))

    def bits_against(self, other: float) -> float:
        """Likewise against another log likelihood of the same spikes."""
        count = int((self.trains.neurons >= 0).sum())
        return (self.value - other) / (count * math.log(2.0)) if count else math.nan

    def __repr__(self) -> str:
        trains, spikes = self.trains, int((self.trains.neurons >= 0).sum())
        how = (
            "exact"
            if self.exact
            else f"± {self.standard_error:.2g}, {counted(self.filters, 'filter')} of {self.particles} particles, "
            f"effectively at least {self.effective:.0f}"
        )
        return (
            f"LogLikelihood({self.value:.6g} nats, {how}; {counted(spikes, 'spike')} of "
            f"{counted(trains.num_neurons, 'neuron')} in {counted(trains.num_samples, 'sample')}, "
            f"{self.bits_per_spike:.3g} bits per spike better than constant rates)"
        )


def poisson_log_likelihood(trains: SpikeTrains, rates: ArrayLike | None = None) -> float:
    """The log likelihood of spikes where each neuron is a Poisson process; default `rates` are those of the trains.

    Examples
    --------
    >>> trains = SpikeTrains([[0.5, 1.0]], [[0, 0]], num_neurons=1, t0=0.0, t1=2.0)
    >>> poisson_log_likelihood(trains), round(poisson_log_likelihood(trains, [2.0]), 6)
    (-2.0, -2.613706)
    """
    counts, length = trains.spike_counts.sum(axis=0), trains.num_samples * (trains.t1 - trains.t0)
    rate = counts / length if rates is None else np.broadcast_to(np.asarray(rates, dtype=np.float64), counts.shape)
    logs = np.log(np.where(counts > 0, rate, 1.0))
    return float((counts * logs - rate * length).sum())


def log_likelihood(
    network: Network,
    trains: SpikeTrains,
    dt: float,
    *,
    neurons: ArrayLike | None = None,
    particles: int | None = None,
    filters: int = 8,
    resample_every: float | None = None,
    **simulate_arguments: Any,
) -> LogLikelihood:
    r"""The log likelihood of recorded spikes: how probable the network makes them.

    The network is run with its recorded neurons clamped to the recording, so that they fire when it says so. With
    :math:`\Lambda_k` the hazard of neuron k since its last spike (from t0 for the first), α its dead zone, and τ its
    recorded spikes,

    .. math::
        \log L = \sum_k \Bigl[\sum_{\tau} \bigl(\log \lambda_k(\tau^-) - (\Lambda_k(\tau) - \alpha_k)\bigr)
                 - (\Lambda_k(t_1) - \alpha_k)^+\Bigr],

    and −∞ where a spike is within its neuron's dead zone (:math:`\Lambda_k(\tau) \le \alpha_k`): the logarithm of a
    density in the spike times, in the unit of time of the recording.

    Where no noise drives the state and every neuron was recorded, this is exact but for the solver's error. That of
    ``euler_maruyama`` falls with `dt` alone: at a coarse step its λ along a step is not the λ(v) at its end, and what
    maximises the likelihood is biased. ``exact_ou``, ``shark`` and ``stochastic_heun`` are of higher order. Otherwise
    the state is hidden, and the likelihood is the mean over it, which a bootstrap particle filter estimates without
    bias: `particles` runs that are weighted by what they make of each spike, and resampled systematically as their
    weights degenerate. The logarithm of the estimate is lower on average by half its variance.

    Parameters
    ----------
    network : Network
        Its neurons must have one event, driven by a hazard.
    trains : SpikeTrains
        The recording; trials are its samples. The run goes from its t0 to its t1.
    dt : float
        Base step, in the recording's unit of time.
    neurons : array_like of int, optional
        Which of the network's neurons were recorded; default all.
    particles : int, optional
        Needed where the state is hidden, at least 2. The cost is linear in it.
    filters : int
        Independent filters of each sample, of `particles` each, at least 2: their mean is the estimate, their scatter
        its standard error.
    resample_every : float, optional
        At which distance weights are looked at; default the mean time between two spikes of a sample.
    **simulate_arguments
        As for :func:`simulate`: seed, solver, engine, threads, v0, i0, input_spikes, noise_dt.

    Returns
    -------
    LogLikelihood
        ``value`` and ``standard_error``; by sample and neuron; with the rescaled times of :func:`goodness_of_fit`.

    Raises
    ------
    ValidationError
        If an argument is not what it should be; if `particles` is missing where the state is hidden; or, of a filter,
        where spikes take their time (delays).

    References
    ----------
    Daley and Vere-Jones, "An Introduction to the Theory of Point Processes", vol. 1 (2003), section 7.2; Gordon,
    Salmond and Smith, "Novel approach to nonlinear/non-Gaussian Bayesian state estimation", IEE Proceedings F 140
    (1993).

    Examples
    --------
    Neurons that fire at the constant rate 1/τ = 2, unless they are within a dead zone of half an expected spike:

    >>> import ssnn_py as ssnn
    >>> constant = ssnn.ExponentialIntensity(beta=0.0, tau=0.5)
    >>> net = ssnn.SLIFNetwork([[0.0]], alpha=0.5, intensity=constant)
    >>> trains = ssnn.SpikeTrains([[1.0, 2.5]], [[0, 0]], num_neurons=1, t0=0.0, t1=3.0)
    >>> found = ssnn.log_likelihood(net, trains, dt=0.1)
    >>> bool(abs(found.value - (2 * np.log(2.0) - (1.5 + 2.5 + 0.5))) < 1e-12)
    True
    """
    for name in ("num_samples", "t0", "t1", "max_spikes", "observed", "observed_neurons", "saveat", "first_sample"):
        if name in simulate_arguments:
            raise ValidationError(f"{name} is not an argument of log_likelihood, which takes it from the recording")
    if not isinstance(trains, SpikeTrains):
        raise ValidationError(f"trains must be SpikeTrains, got {describe(trains)}")
    samples = trains.num_samples
    if samples == 0:
        raise ValidationError("trains must have at least one sample")
    filters = as_int("filters", filters, 2)
    count = 1 if particles is None else as_int("particles", particles, 2)
    problem, engine = prepare(
        network, t0=trains.t0, t1=trains.t1, dt=dt, num_samples=samples, observed=trains, observed_neurons=neurons,
        **simulate_arguments,
    )  # fmt: skip
    if not is_hidden(problem):
        return _exact(trains, Solution(problem, engine, engines.engine_for(engine, problem).solve(problem)))
    if particles is None:
        raise ValidationError(
            f"particles must be given where the state is hidden: {why_hidden(problem)}. Some hundreds are a beginning; "
            "the standard error says whether they are enough"
        )
    _check_filterable(network)
    every = _segment_length(trains, resample_every)
    rows = samples * filters * count
    require_memory("the particles", 64.0 * rows * network.num_neurons, "take fewer particles or filters")
    problem = _spread(problem, samples, filters * count)
    found = filtered(problem, engine, samples, filters, count, every)
    estimates = log_sum_exp(found.log_likelihoods) - math.log(filters)
    assert problem.recording is not None
    return LogLikelihood(
        trains,
        estimates,
        _errors(found.log_likelihoods, estimates),
        found.log_intensities,
        found.rescaled,
        found.rescaled_end[:, problem.recording.neurons],
        exact=False,
        particles=count,
        filters=filters,
        effective=found.effective,
    )


def _errors(estimates: Array, means: Array) -> Array:
    """Standard errors of the logarithms of means of exp(estimates), (S, R) to (S,): by the delta method."""
    with np.errstate(invalid="ignore"):
        relative = np.exp(estimates - means[:, None])
    errors = relative.std(axis=1, ddof=1) / math.sqrt(estimates.shape[1])
    return np.where(np.isfinite(means), errors, 0.0)


def _check_filterable(network: Network) -> None:
    """Raise where a run cannot go on from its state alone, as a filter has it do."""
    for name in ("delays", "input_delays"):
        if name in network.parameters:
            raise ValidationError(
                f"{name} must not be given for a network whose likelihood takes a particle filter: a particle is the "
                "state of the neurons, and spikes that are under way where it is resampled are not in it. Without "
                "noise and with all neurons recorded no filter is needed, and delays are allowed"
            )
    if not isinstance(network.driver, BrownianMotion):
        raise ValidationError(
            f"driver must be Brownian motion for a network whose likelihood takes a particle filter, got "
            f"{network.driver!r}: a particle that goes on from its state must have noise that knows nothing of before"
        )


def _segment_length(trains: SpikeTrains, resample_every: float | None) -> float:
    """At which distance weights are looked at."""
    mean_count = max(1.0, float(trains.num_spikes.mean()))
    every = (trains.t1 - trains.t0) / mean_count if resample_every is None else resample_every
    return as_float("resample_every", every, positive=True)


def why_hidden(problem: Problem) -> str:
    """What hides the state, in words."""
    assert problem.recording is not None
    free = np.flatnonzero(~problem.recording.clamped)
    if free.size:
        return f"{counted(free.size, 'neuron')} of the network, such as {free[0]}, were not recorded"
    return "noise drives it"


def _spread(problem: Problem, samples: int, copies: int) -> Problem:
    """The problem with so many copies of every sample, one after the other."""
    if copies == 1:
        return problem
    rows = np.repeat(np.arange(samples), copies)
    inputs, initial = problem.input_spikes, problem.initial
    if samples > 1:
        inputs = inputs[rows] if inputs is not None and len(inputs) > 1 else inputs
        initial = {name: x[rows] if x.ndim == 2 and len(x) == samples else x for name, x in initial.items()}
    whole = replace(problem, num_samples=samples * copies, input_spikes=inputs, initial=initial)
    whole.network.check_samples(whole.num_samples, initial)
    return whole


def _exact(trains: SpikeTrains, solution: Solution) -> LogLikelihood:
    there = trains.neurons >= 0
    hazards, recording = solution.hazards, solution.problem.recording
    assert recording is not None
    log_intensities = np.where(there & (hazards <= 0.0), -np.inf, solution.log_hazards)
    rescaled, ends = np.maximum(hazards, 0.0), np.maximum(solution.end_hazards[:, recording.neurons], 0.0)
    samples = (log_intensities - rescaled).sum(axis=1) - ends.sum(axis=1)
    return LogLikelihood(trains, samples, np.zeros(len(samples)), log_intensities, rescaled, ends)


class NegativeLogLikelihood(Loss):
    r"""Minus the log likelihood of recorded spikes, the mean over recorded samples: for :func:`fit` and
    :func:`value_and_grad`, whose `data` is the recording.

    Neurons are clamped to the recording, see :func:`log_likelihood`. Where no noise drives the state and every neuron
    was recorded, loss and gradient are exact: the derivative of :math:`-\sum\log\lambda+\int\lambda\,dt` along the
    discretised run.

    With noise, and all neurons recorded, the loss is minus the logarithm of what a filter of P `particles` makes of the
    likelihood. Its gradient is the mean of the gradients of the log likelihood given the noise, over the lines of
    ancestors of the particles that are there in the end: Fisher's identity, the exact derivative of the filter's
    estimate where each child's weight is that of its parent over a copy that does not move (Ścibior and Wood, 2021).
    The derivative of the estimate of L is unbiased. Loss and gradient, of its logarithm, have a bias that falls as 1/P:
    about :math:`\mathrm{Var}(\hat L/L)/2` per sample, that of the loss. Measured on one trial of three spikes with σ =
    0.6, of which the loss by the Fokker-Planck equation is −0.11, with derivatives 0.98 in β and 0.35 in σ: with P = 10
    these are off by 0.044 ± 0.029, 0.031 ± 0.021 and 0.105 ± 0.055, with P = 40 by 0.005 ± 0.013, 0.007 ± 0.011 and
    0.008 ± 0.026 (docs/likelihoods.md, with a trial of 41 spikes). Without resampling (importance sampling) the weight
    of long trials goes to a single run.

    Parameters
    ----------
    neurons : array_like of int, optional
        Which of the network's neurons were recorded; default all.
    particles : int
        P; 1 where no noise drives the state, else at least 2.
    resample_every : float, optional
        As for :func:`log_likelihood`; ``math.inf``: importance sampling.

    Raises
    ------
    ValidationError
        If an argument is not what it should be; with noise, if the network has delays, or a driver other than
        Brownian motion.
    NoGradientError
        Where neurons of the network were not recorded, or where a spike is impossible: in its neuron's dead zone, or,
        with noise, in that of any particle.

    References
    ----------
    Ścibior and Wood, "Differentiable particle filtering without modifying the forward pass", arXiv:2106.10314 (2021).
    Poyiadjis, Doucet and Singh, Biometrika 98 (2011), on how the scatter grows with the length of a trial.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5)
    >>> trains = ssnn.simulate(net, t1=2.0, dt=0.01, num_samples=20, seed=1).spike_trains
    >>> value, gradients = ssnn.value_and_grad(
    ...     ssnn.NegativeLogLikelihood(), net, "input_current", data=trains, t1=2.0, dt=0.01, num_samples=20)
    >>> bool(abs(value + ssnn.log_likelihood(net, trains, dt=0.01).value / 20) < 1e-12)
    True
    """

    clamps = True
    order_matters = False
    has_entries = False
    pathwise_by_design = True

    def __init__(
        self, neurons: ArrayLike | None = None, particles: int = 1, resample_every: float | None = None
    ) -> None:
        self.neurons = neurons
        self.particles = as_int("particles", particles, 1)
        # Infinite is a number here: a filter that never looks at its weights.
        never = resample_every == math.inf
        positive = resample_every is None or never or as_float("resample_every", resample_every, positive=True)
        self.resample_every = resample_every if never or resample_every is None else float(positive)

    def evaluated(
        self, problem: Problem, data: Any, engine: str, wrt: Sequence[str]
    ) -> tuple[float, dict[str, Array], Problem] | None:
        """What the particle filter says; None where the loss is a function of one solution."""
        if self.particles == 1 or self.resample_every == math.inf or is_noise_free(problem.network):
            return None
        one = self._of_samples(problem, data)
        trains, network = as_trains("data", data), problem.network
        _check_filterable(network)
        if "input_times" in wrt:
            raise NoGradientError(
                "no gradient by input_times of a likelihood that takes a particle filter, which cuts them into "
                "segments. NegativeLogLikelihood(resample_every=math.inf) has one"
            )
        samples, count = trains.num_samples, self.particles
        rows = samples * count
        every = _segment_length(trains, self.resample_every)
        kept = (len(network.states) + 1) * max(1.0, (problem.t1 - problem.t0) / every)
        require_memory("the particles", 8.0 * rows * network.num_neurons * (8.0 + kept), "take fewer particles")
        filters = (_spread(one, samples, count), engine, samples, 1, count, every)
        found, gradients = filtered_gradients(*filters, wrt) if wrt else (filtered(*filters), {})
        if not np.isfinite(found.log_likelihoods).all():
            sample = int(np.argmin(np.isfinite(found.log_likelihoods[:, 0])))
            raise NoGradientError(f"the likelihood is 0: no particle can have made the spikes of sample {sample}")
        for name, x in one.initial.items():
            if name in gradients and gradients[name].shape != x.shape:
                gradients[name] = gradients[name].reshape(samples, count, -1).sum(axis=1)
        gradients = {name: gradient / -samples for name, gradient in gradients.items()}
        return -float(found.log_likelihoods.mean()), gradients, one

    def clamped(self, problem: Problem, data: Any) -> Problem:
        """The problem with its neurons clamped to `data`, a run for each sample and particle.

        Raises
        ------
        ValidationError, NoGradientError
            As for the loss.
        """
        problem = self._of_samples(problem, data)
        recording, samples = problem.recording, problem.num_samples
        assert recording is not None
        if self.particles == 1 or is_noise_free(problem.network):
            return problem
        problem = _spread(problem, samples, self.particles)
        if samples == 1:
            return problem
        spread = recording.trains[np.repeat(np.arange(samples), self.particles)]
        return replace(problem, recording=engines.Recording(spread, recording.neurons))

    def _of_samples(self, problem: Problem, data: Any) -> Problem:
        """The problem with its neurons clamped to `data`, a run for each sample."""
        trains = as_trains("data", data)
        check_clampable(problem.network)
        if problem.max_spikes is not None:
            raise ValidationError(
                "max_spikes must not be given with NegativeLogLikelihood: spikes after it would be lost"
            )
        samples = trains.num_samples
        if problem.num_samples not in (samples, samples * self.particles):
            raise ValidationError(
                f"num_samples must be that of the recording, {samples}, with NegativeLogLikelihood, got "
                f"{problem.num_samples}"
            )
        recording = checked_recording(problem.network, trains, self.neurons, samples, problem.t0, problem.t1)
        problem = replace(problem, num_samples=samples, recording=recording, saveat=np.empty(0))
        assert recording is not None
        if not recording.clamped.all():
            raise NoGradientError(
                f"no gradient of the likelihood: {why_hidden(problem)}, and their spikes may appear and vanish. Give "
                "log_likelihood particles for its value"
            )
        if self.particles == 1 and not is_noise_free(problem.network):
            raise ValidationError(
                "particles must be at least 2 where noise drives the state: NegativeLogLikelihood(particles=100)"
            )
        return problem

    def __call__(self, generated: Any, data: Any) -> LossValue:
        trains = as_trains("data", data)
        recording = generated.problem.recording if isinstance(generated, Solution) else None
        copies = 0 if recording is None else generated.problem.num_samples // max(1, trains.num_samples)
        times = None if recording is None else recording.trains.times[:: copies if len(recording.trains) > 1 else 1]
        if times is None or copies < 1 or not np.array_equal(times, trains.times):
            raise ValidationError(
                "generated must be a solution that is clamped to data: simulate(..., observed=data); fit and "
                "value_and_grad do so by themselves"
            )
        assert isinstance(generated, Solution)
        assert recording is not None
        shape = (trains.num_samples, copies)
        there = np.broadcast_to(recording.trains.neurons >= 0, generated.hazards.shape)
        hazards, ends = generated.hazards, np.where(recording.clamped, generated.end_hazards, 0.0)
        with np.errstate(divide="ignore"):
            logs = np.where(there & (hazards <= 0.0), -np.inf, generated.log_hazards) - np.maximum(hazards, 0.0)
        runs = (logs.sum(axis=1) - np.maximum(ends, 0.0).sum(axis=1)).reshape(shape)
        each = log_sum_exp(runs) - math.log(copies)
        if not np.isfinite(each).all():
            raise NoGradientError(_impossible(trains, generated, int(np.flatnonzero(~np.isfinite(each))[0]) * copies))
        shares = (np.exp(runs - log_sum_exp(runs)[:, None]) / shape[0]).reshape(-1, 1)
        counted_in = there & (hazards > 0.0)
        return LossValue(
            float(-each.mean()),
            entries=np.where(ends > 0.0, shares, 0.0),
            log_hazards_bar=np.where(counted_in, -shares, 0.0),
            hazards_bar=np.where(counted_in, shares, 0.0),
        )


def _impossible(trains: SpikeTrains, generated: Solution, row: int) -> str:
    """Which spike has no density, in words; of the first run of a sample."""
    recording = generated.problem.recording
    assert recording is not None
    source = recording.trains
    line = row if len(source) > 1 else 0
    there = source.neurons[line] >= 0
    early = there & (generated.hazards[row] <= 0.0)
    silent = there & ~np.isfinite(generated.log_hazards[row])
    column = int(np.flatnonzero(early | silent)[0])
    k, at = source.neurons[line, column], source.times[line, column]
    if early[column]:
        why = (
            f"is within its dead zone: the hazard since its last spike is {-generated.hazards[row, column]:.3g} short "
            "of alpha. Start from a smaller alpha (dead_zone), or a larger intensity"
        )
    else:
        why = "comes where its intensity is 0. Start from parameters with a larger intensity"
    return f"the likelihood is 0: the spike of neuron {k} at t = {at:.6g} {why}"
