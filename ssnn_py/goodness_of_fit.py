"""Does a network explain recorded spikes, and where does it fail? Tests, a table, one figure, and a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ValidationError
from .likelihoods import LogLikelihood, log_likelihood, poisson_log_likelihood
from .network import Network
from .plotting import figure, legend_beside
from .signature_kernels import TwoSampleTest, two_sample_test
from .simulation import solved
from .spike_trains import PSTH, SpikeTrains
from .validation import as_float, as_int, counted
from .values import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

#: Lags over which serial correlation is looked for; even, so that the law of the statistic is a short sum.
LAGS = 10
#: Fewer intervals than these say nothing of their law.
FEWEST = 20


@dataclass(frozen=True, eq=False)
class NeuronFit(Record):
    """What :class:`GoodnessOfFit` says of one neuron.

    Attributes
    ----------
    neuron : int
        Its number in the recording.
    num_spikes : int
    rate, model_rate : float
        Recorded, and of fresh simulations.
    bits_per_spike : float
        By how much better than a constant rate the spikes are predicted.
    intervals : ndarray, shape (n,)
        Its intervals in rescaled time, as numbers that are uniform on (0, 1) and independent where the model is true.
    ks, ks_p_value : float
        Greatest distance of their distribution from the uniform one, and how often chance alone would exceed it.
    correlations : ndarray, shape (LAGS,)
        Of their normal quantiles with those 1, 2, … intervals before.
    serial_p_value : float
        How often chance alone would make all of them together so large (Ljung and Box).
    """

    neuron: int
    num_spikes: int
    rate: float
    model_rate: float
    bits_per_spike: float
    intervals: Array
    ks: float
    ks_p_value: float
    correlations: Array
    serial_p_value: float


@dataclass(frozen=True, eq=False)
class GoodnessOfFit(Record):
    """What :func:`goodness_of_fit` returns; printed, it is a table and a verdict in words.

    Attributes
    ----------
    likelihood : LogLikelihood
    neurons : tuple of NeuronFit
    data, model : PSTH
        Of the recording, and of fresh simulations.
    psth_outside : ndarray, shape (N,)
        Of each neuron the fraction of bins in which these two differ by more than the band of the level: about the
        level where the model is true.
    two_sample : TwoSampleTest or None
        Of fresh simulations against the recording, by their signatures.
    why_no_two_sample : str
        Why there is none.
    level : float
    """

    likelihood: LogLikelihood
    neurons: tuple[NeuronFit, ...]
    data: PSTH
    model: PSTH
    psth_outside: Array
    two_sample: TwoSampleTest | None
    why_no_two_sample: str
    level: float

    @property
    def p_values(self) -> dict[str, float]:
        """All p-values, by the names of the tests: ``"KS of neuron 0"``, ``"signature MMD"``; NaN ones left out."""
        found = {}
        for one in self.neurons:
            found[f"KS of neuron {one.neuron}"] = one.ks_p_value
            found[f"independence of neuron {one.neuron}"] = one.serial_p_value
        if self.two_sample is not None:
            found["signature MMD"] = self.two_sample.p_value
        return {name: p for name, p in found.items() if math.isfinite(p)}

    @property
    def failures(self) -> dict[str, float]:
        """The tests that reject the model at the level, all of them together: by Holm's rule."""
        p_values, failed = self.p_values, {}
        for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
            if p > self.level / (len(p_values) - place):
                break
            failed[name] = p
        return failed

    @property
    def verdict(self) -> str:
        """The same in words."""
        bits, tests = self.likelihood.bits_per_spike, self.p_values
        gain = f"The model predicts the spikes {bits:.2g} bits per spike better than constant rates"
        if not tests:
            return f"{gain}; there are too few spikes to test it."
        if not self.failures:
            return (
                f"{gain}, and none of {counted(len(tests), 'test')} rejects it at a level of {self.level:g} (the "
                f"smallest p-value is {min(tests.values()):.2g})."
            )
        said = "; ".join(f"{name} (p = {p:.2g})" for name, p in self.failures.items())
        return f"{gain}, but is rejected at a level of {self.level:g}: {said}. {' '.join(self._hints())}".rstrip()

    def _hints(self) -> list[str]:
        hints = []
        for one in self.neurons:
            who = f"Neuron {one.neuron}"
            if f"KS of neuron {one.neuron}" in self.failures and one.intervals.size:
                early, late = np.mean(one.intervals < 0.1) - 0.1, np.mean(one.intervals > 0.9) - 0.1
                side = "short" if abs(early) >= abs(late) else "long"
                excess = early if side == "short" else late
                hints.append(f"{who} has {'more' if excess > 0 else 'fewer'} {side} intervals than it should.")
            if f"independence of neuron {one.neuron}" in self.failures:
                lag = int(np.argmax(np.abs(one.correlations)))
                hints.append(
                    f"{who}'s intervals are correlated, most at lag {lag + 1} ({one.correlations[lag]:+.2f}): "
                    "something slow, such as adaptation, is missing or wrong."
                )
        return hints

    def __repr__(self) -> str:
        head = ("neuron", "spikes", "rate", "of model", "bits/spike", "KS", "p", "serial p", "PSTH outside")
        rows: list[tuple[str, ...]] = [head]
        for one, outside in zip(self.neurons, self.psth_outside, strict=True):
            numbers = (one.rate, one.model_rate, one.bits_per_spike, one.ks, one.ks_p_value, one.serial_p_value)
            cells = [f"{x:.3g}" for x in numbers]
            rows.append((str(one.neuron), str(one.num_spikes), *cells, f"{100 * outside:.0f} %"))
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        mmd = (
            f"Signature MMD of fresh simulations: p = {self.two_sample.p_value:.3g}."
            if self.two_sample is not None
            else f"No signature MMD: {self.why_no_two_sample}."
        )
        return "\n".join([*lines, mmd, self.verdict])

    def plot(self, neuron: int = 0, fig: Figure | None = None) -> Figure:
        """One figure with all of it, of one neuron: rescaled intervals with the band of the KS test, their serial
        correlations, the PSTHs, and the verdict.

        Parameters
        ----------
        neuron : int
            Its number in the recording.
        fig : matplotlib.figure.Figure, optional
            Where to draw; default a new one.

        Returns
        -------
        matplotlib.figure.Figure
            ``figure.savefig("fit.png")``.

        Raises
        ------
        ValidationError
            If there is no such neuron.
        """
        one = self.neurons[as_int("neuron", neuron, 0, len(self.neurons) - 1)]
        if fig is None:
            fig, axes = figure(2, 2, 4.8, 3.4)
        else:
            axes = fig.subplots(2, 2)
        quantiles, correlations, rates, between = axes.flat
        self._plot_quantiles(quantiles, one)
        self._plot_correlations(correlations, one)
        self._plot_rates(rates, neuron)
        if one.intervals.size:
            between.hist(one.intervals, bins=np.linspace(0, 1, 11), density=True, color="0.8", edgecolor="white")
        between.axhline(1.0, color="0.35", linewidth=1)
        between.set(xlabel="rescaled interval", ylabel="density", xlim=(0, 1), title="flat where the model is true")
        words = self.verdict.split(" ")
        lines, line = [], ""
        for word in words:
            if len(line) + len(word) > 110:
                lines.append(line)
                line = ""
            line += (" " if line else "") + word
        fig.suptitle("\n".join([*lines, line]), fontsize="small")
        return fig

    def _plot_quantiles(self, ax: Any, one: NeuronFit) -> None:
        u = np.sort(one.intervals)
        if u.size:
            ax.plot((np.arange(u.size) + 0.5) / u.size, u, color="C0")
            band = ks_band(u.size, self.level)
            ax.plot([0, 1], [0, 1], color="0.35", linewidth=1)
            for side in (-band, band):
                ax.plot([0, 1], [side, 1 + side], color="0.35", linewidth=1, linestyle="--")
        percent = f"{100 * (1 - self.level):g} %"
        ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="uniform quantile", ylabel="rescaled interval")
        ax.set_title(f"time rescaling, KS p = {one.ks_p_value:.2g} (dashed: {percent})")

    def _plot_correlations(self, ax: Any, one: NeuronFit) -> None:
        lags = np.arange(1, LAGS + 1)
        ax.bar(lags, one.correlations, color="C0", width=0.6)
        if one.intervals.size:
            reach = NormalDist().inv_cdf(1 - self.level / 2) / math.sqrt(one.intervals.size)
            for side in (-reach, reach):
                ax.axhline(side, color="0.35", linewidth=1, linestyle="--")
        ax.axhline(0.0, color="0.35", linewidth=1)
        ax.set(xlabel="lag (intervals)", ylabel="correlation", title=f"independence, p = {one.serial_p_value:.2g}")

    def _plot_rates(self, ax: Any, neuron: int) -> None:
        edges, recorded, simulated = self.data.edges, self.data.values[:, neuron], self.model.values[:, neuron]
        reach = NormalDist().inv_cdf(1 - self.level / 2) * np.nan_to_num(_difference_errors(self.data, self.model))
        low, high = simulated - reach[:, neuron], simulated + reach[:, neuron]
        ax.stairs(
            high, edges, baseline=np.maximum(low, 0.0), fill=True, color="C1", alpha=0.3, label="model, with band"
        )
        ax.stairs(simulated, edges, color="C1")
        ax.stairs(recorded, edges, color="C0", label="recorded")
        ax.set(xlabel="time", ylabel="rate", xlim=(edges[0], edges[-1]), ylim=(0, None), title="PSTH")
        legend_beside(ax)


def goodness_of_fit(
    network: Network,
    trains: SpikeTrains,
    dt: float,
    *,
    neurons: ArrayLike | None = None,
    level: float = 0.05,
    bin: float | None = None,
    num_samples: int | None = None,
    num_permutations: int = 500,
    particles: int | None = None,
    filters: int = 8,
    seed: int = 0,
    **simulate_arguments: Any,
) -> GoodnessOfFit:
    r"""Test a network against recorded spikes, best against ones that it was not fitted to.

    * **Time rescaling.** With :math:`\hat\lambda` the intensity of a neuron given all spikes before, the integrals
      :math:`z = \int\hat\lambda\,dt` between its spikes are exponential with mean 1 and independent where the model is
      true; dead zones are left out of them. The samples are joined: an interval goes on from the end of one to the
      first spike of the next, so that none is lost to the ends. Of :math:`u = 1 - e^{-z}`, uniform, the Kolmogorov and
      Smirnov distance is tested, and of their normal quantiles the serial correlation up to lag 10 (Ljung and Box).
    * **PSTH** of the recording beside that of fresh simulations.
    * **Signature MMD** of fresh simulations against the recording (:func:`two_sample_test`): all of the law of a trial,
      where there are some eight trials or more.

    Where the state is hidden, intensities are the predictions of :func:`log_likelihood`'s particle filter.

    Parameters
    ----------
    network : Network
    trains : SpikeTrains
        The recording; trials are its samples.
    dt : float
        Base step.
    neurons : array_like of int, optional
        Which of the network's neurons were recorded; default all.
    level : float
        Of all tests together.
    bin : float, optional
        Of the PSTHs; default a fiftieth of the interval.
    num_samples : int, optional
        Of fresh simulations; default as many as were recorded, at least 100.
    num_permutations : int
        Of the two-sample test.
    particles, filters
        As for :func:`log_likelihood`.
    seed : int
        Of fresh simulations and of filters.
    **simulate_arguments
        As for :func:`log_likelihood`.

    Returns
    -------
    GoodnessOfFit
        Printed, a table of neurons and the verdict; ``plot()`` is the figure.

    Raises
    ------
    ValidationError
        As for :func:`log_likelihood`, or if an argument is not what it should be.

    Notes
    -----
    Where parameters were fitted to the same spikes, p-values are rather too large.

    References
    ----------
    Brown, Barbieri, Ventura, Kass and Frank, "The time-rescaling theorem and its application to neural spike train data
    analysis", Neural Computation 14 (2002). Haslinger, Pipa and Brown, Neural Computation 22 (2010).

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, alpha=0.0)
    >>> trains = ssnn.simulate(net, t1=2.0, dt=0.01, num_samples=40, seed=1).spike_trains
    >>> ssnn.goodness_of_fit(net, trains, dt=0.01).failures
    {}
    >>> "KS of neuron 0" in ssnn.goodness_of_fit(net.replace(v_reset=0.7), trains, dt=0.01).failures
    True
    """
    level = as_float("level", level)
    if not 0.0 < level < 1.0:
        raise ValidationError(f"level must be between 0 and 1, got {level}")
    likelihood = log_likelihood(
        network, trains, dt, neurons=neurons, particles=particles, filters=filters, seed=seed, **simulate_arguments
    )
    count = max(trains.num_samples, 100) if num_samples is None else as_int("num_samples", num_samples, 2)
    generated = _simulated(network, trains, dt, neurons, count, seed + 1, simulate_arguments)
    width = (trains.t1 - trains.t0) / 50 if bin is None else bin
    data, model = trains.psth(width), generated.psth(width)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.abs(data.values - model.values) / _difference_errors(data, model)
    outside = np.mean(np.nan_to_num(z) > NormalDist().inv_cdf(1 - level / 2), axis=0)
    test, why = _two_sample(trains, generated, num_permutations, seed)
    each = tuple(_neuron_fit(likelihood, generated, k) for k in range(trains.num_neurons))
    return GoodnessOfFit(likelihood, each, data, model, outside, test, why, level)


def _simulated(
    network: Network, trains: SpikeTrains, dt: float, neurons: ArrayLike | None, count: int, seed: int, arguments: Any
) -> SpikeTrains:
    """Fresh simulations of the recorded neurons."""
    inputs = arguments.get("input_spikes")
    if inputs is not None and len(inputs) > 1:  # trials with inputs of their own: each as often as the others
        count = len(inputs) * max(1, count // len(inputs))
        arguments = {**arguments, "input_spikes": inputs[np.tile(np.arange(len(inputs)), count // len(inputs))]}
    solution = solved(network, trains.t1, dt, t0=trains.t0, num_samples=count, seed=seed, **arguments)
    return solution.spike_trains.select(neurons)


def _two_sample(
    trains: SpikeTrains, generated: SpikeTrains, rounds: int, seed: int
) -> tuple[TwoSampleTest | None, str]:
    if trains.num_samples < 8:
        return None, f"{counted(trains.num_samples, 'trial')} of the recording cannot be told from others"
    try:
        return two_sample_test(generated[: max(100, len(trains))], trains, rounds, seed), ""
    except ValidationError as error:
        return None, str(error)


def _difference_errors(data: PSTH, model: PSTH) -> Array:
    """Standard errors of the difference; the model's alone, scaled, would miss what the recording's own scatter is."""
    return np.sqrt(np.nan_to_num(data.standard_errors) ** 2 + model.standard_errors**2)


def _neuron_fit(likelihood: LogLikelihood, generated: SpikeTrains, k: int) -> NeuronFit:
    trains = likelihood.trains
    z = joined_intervals(likelihood, k)
    u = -np.expm1(-z)
    distance, p = ks_test(u)
    correlations, serial = serial_test(u)
    spikes = int(trains.spike_counts[:, k].sum())
    length = trains.num_samples * (trains.t1 - trains.t0)
    constant = poisson_log_likelihood(trains.select([k]))
    bits = (float(likelihood.neurons[:, k].sum()) - constant) / (spikes * math.log(2.0)) if spikes else math.nan
    return NeuronFit(
        k, spikes, spikes / length, float(generated.mean_rates[:, k].mean()), bits, u, distance, p, correlations, serial
    )


def joined_intervals(likelihood: LogLikelihood, k: int) -> Array:
    """Neuron k's intervals in rescaled time, from the end of one sample on to the first spike of the next."""
    trains, intervals, left = likelihood.trains, [], 0.0
    for sample in range(trains.num_samples):
        mine = likelihood.rescaled[sample, trains.neurons[sample] == k]
        if mine.size:
            intervals.append(mine + np.where(np.arange(mine.size) == 0, left, 0.0))
            left = 0.0
        left += float(likelihood.rescaled_end[sample, k])
    return np.concatenate(intervals) if intervals else np.empty(0)


def ks_test(u: Array) -> tuple[float, float]:
    """Distance of a sample from the uniform law on (0, 1), and its p-value; NaN of fewer than 20 numbers.

    The limit law at √n + 0.12 + 0.11/√n times the distance (Stephens, J. R. Stat. Soc. B 32, 1970).

    Examples
    --------
    >>> distance, p = ks_test((np.arange(100) + 0.5) / 100)
    >>> round(distance, 3), p
    (0.005, 1.0)
    """
    n = u.size
    if n < FEWEST:
        return math.nan, math.nan
    ordered, places = np.sort(u), np.arange(n) / n
    distance = float(max((ordered - places).max(), (places + 1 / n - ordered).max()))
    return distance, _kolmogorov((math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)) * distance)


def _kolmogorov(x: float) -> float:
    """The probability that Kolmogorov's statistic exceeds x."""
    if x < 0.3:
        return 1.0
    k = np.arange(1, 101)
    return float(np.clip(2.0 * np.sum((-1.0) ** (k - 1) * np.exp(-2.0 * (k * x) ** 2)), 0.0, 1.0))


def ks_band(n: int, level: float) -> float:
    """The distance that n uniform numbers exceed with the probability `level`.

    Examples
    --------
    >>> round(ks_band(1000, 0.05), 4)
    0.0428
    """
    low, high = 0.3, 5.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _kolmogorov(middle) > level else (low, middle)
    return low / (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n))


def serial_test(u: Array) -> tuple[Array, float]:
    r"""Correlations of the normal quantiles of uniform numbers with those before, and the p-value of all together.

    :math:`Q = n(n+2)\sum_l r_l^2/(n-l)` is χ² with as many degrees of freedom as lags where the numbers are independent
    (Ljung and Box, Biometrika 65, 1978). NaN of fewer than 20 numbers.
    """
    n = u.size
    if n < FEWEST:
        return np.full(LAGS, math.nan), math.nan
    law = NormalDist()
    g = np.array([law.inv_cdf(x) for x in np.clip(u, 1e-12, 1 - 1e-12)])
    g = g - g.mean()
    lags = np.arange(1, LAGS + 1)
    correlations = np.array([float(g[lag:] @ g[:-lag]) for lag in lags]) / float(g @ g)
    half = float(n * (n + 2) * np.sum(correlations**2 / (n - lags))) / 2
    terms = np.cumprod(np.concatenate([[1.0], half / np.arange(1, LAGS // 2)]))
    return correlations, min(1.0, math.exp(-half) * float(terms.sum()))
