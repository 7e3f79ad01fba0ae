"""Time rescaling put to the test: how often it rejects models that are true, and how often those that are wrong.

A neuron is driven by one stimulus, always the same. Uniformity: in 400 experiments the true model is tested; its
p-values must be uniform. Power: in each experiment models are fitted to one recording and tested on a second one of the
same size. Three truths, each with the model that lacks what makes it special: the slope β of the escape rate (held at
another value), a dead zone, adaptation. Beside them stand Poisson GLMs of the same stimulus (statsmodels), fitted and
tested likewise, with the rescaling for binned spikes of Haslinger, Pipa and Brown (Neural Computation 22, 2010): one
with a history filter of 0.6, one of 0.2, one without. Every number is a percentage of rejections at 5 %, of the
Kolmogorov-Smirnov test and of the serial one.

    pip install statsmodels
    python benchmarks/goodness_of_fit_power.py [experiments] [trials of a recording ...]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import statsmodels.api as sm
from common import table
from scipy import stats

import ssnn_py as ssnn
from ssnn_py.goodness_of_fit import joined_intervals, ks_test, serial_test

T1, WIDTH = 2.0, 0.005
RUN = dict(dt=0.01, solver="stochastic_heun", threads=1)
TIMES = np.arange(0.0, T1 + 0.015, 0.01)
STIMULUS = 1.5 + 0.5 * np.sin(2 * np.pi * 1.7 * TIMES) + 0.4 * np.sin(2 * np.pi * 4.3 * TIMES + 1.0)

PLAIN = dict(beta=5.0, v_th=1.0, reset=1.4, pause=0.0, b=0.0, tau_a=0.3, tau_m=1 / 15)
#: What is special about each truth, and what the model without it has in its place.
TRUTHS = {
    "slope of the escape rate": (dict(beta=5.0), dict(beta=3.5)),
    "dead zone": (dict(pause=0.2), dict(pause=0.0)),
    "adaptation": (dict(b=0.3), dict(b=0.0)),
}
RIDGE = 0.1
#: What is fitted besides: a neuron whose potential has no scale of its own.
FREE = ["beta", "v_th", "reset", "tau_m"]

Tests = tuple[float, float]


def neuron(**changes: float) -> ssnn.Network:
    model = ssnn.EventSDE(
        "dv/dt = (I - v)/tau_m\nda/dt = -a/tau_a",
        events=ssnn.Event(hazard="exp(beta*(v - a - v_th))", then="v -= reset; a += b", dead_zone="pause"),
        parameters={**PLAIN, **changes},
    )
    return ssnn.Network(model, input_current=ssnn.SampledCurrent(TIMES, STIMULUS))


def recordings(net: ssnn.Network, experiments: int, trials: int, seed: int) -> list[ssnn.SpikeTrains]:
    trains = ssnn.simulate(net, t1=T1, num_samples=experiments * trials, seed=seed, **RUN).spike_trains
    return [trains[part * trials : (part + 1) * trials] for part in range(experiments)]


def p_values(net: ssnn.Network, trains: ssnn.SpikeTrains) -> Tests:
    u = -np.expm1(-joined_intervals(ssnn.log_likelihood(net, trains, **RUN), 0))
    return ks_test(u)[1], serial_test(u)[1]


def refitted(net: ssnn.Network, trains: ssnn.SpikeTrains, free: Sequence[str]) -> ssnn.Network:
    return ssnn.maximum_likelihood(net, trains, free, **RUN).network


# --- the GLM ----------------------------------------------------------------------------------------------------------


def bumps(reach: float, count: int) -> np.ndarray:
    """Raised cosines in the logarithm of time, up to `reach`, one a row."""
    at = np.log(WIDTH + WIDTH * np.arange(1, round(reach / WIDTH) + 1))
    centers = np.linspace(np.log(2 * WIDTH), np.log(reach), count)
    phase = (at - centers[:, None]) * np.pi / (2 * (centers[1] - centers[0]))
    return 0.5 * (1 + np.cos(np.clip(phase, -np.pi, np.pi)))


def causal(signal: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Each trial (a row) filtered by what was before each bin: columns of a design."""
    trials, bins = signal.shape
    found = np.empty((trials, bins, len(filters)))
    for place, one in enumerate(filters):
        kernel = np.concatenate([[0.0], one])
        found[:, :, place] = [np.convolve(row, kernel)[:bins] for row in signal]
    return found.reshape(trials * bins, -1)


def binned(trains: ssnn.SpikeTrains, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts in bins, trial after trial, and the GLM's design with a history filter of that reach."""
    bins = round(T1 / WIDTH)
    counts = trains.rates(WIDTH).values[:, :, 0] * WIDTH
    stimulus = np.interp((np.arange(bins) + 0.5) * WIDTH, TIMES, STIMULUS) - STIMULUS.mean()
    columns = [causal(np.broadcast_to(stimulus, counts.shape), bumps(0.3, 6))]
    # The potential starts at 0: a transient at the beginning of each trial.
    since = np.exp(-np.arange(bins)[:, None] * WIDTH / np.array([0.03, 0.1, 0.3]))
    columns.append(np.tile(since, (len(counts), 1)))
    if reach > 0.0:
        columns.append(causal(counts, bumps(reach, 8 if reach > 0.3 else 6)))
    return counts.ravel(), sm.add_constant(np.concatenate(columns, axis=1), has_constant="add")


def glm_p_values(fitted: ssnn.SpikeTrains, tested: ssnn.SpikeTrains, reach: float, rng: np.random.Generator) -> Tests:
    counts, design = binned(fitted, reach)
    # Without a penalty a dead zone, in which no spike ever comes, has no finite filter.
    ridge = np.append(0.0, np.full(design.shape[1] - 1, RIDGE / len(counts)))
    found = sm.GLM(counts, design, family=sm.families.Poisson()).fit_regularized(alpha=ridge, L1_wt=0.0)
    counts, design = binned(tested, reach)
    mean = found.predict(design)
    fired = np.flatnonzero(counts > 0)
    # Within its bin a spike comes where a uniform number puts it, given that it comes.
    within = -np.log1p(rng.uniform(size=fired.size) * np.expm1(-mean[fired]))
    ends = np.concatenate([[0.0], np.cumsum(mean)])
    z = np.diff(ends[fired + 1], prepend=0.0) - mean[fired] + within
    u = -np.expm1(-z)
    return ks_test(u)[1], serial_test(u)[1]


# --- tables -----------------------------------------------------------------------------------------------------------


def uniformity(trials: int, repeats: int = 400) -> str:
    rows = []
    for name, (special, _) in TRUTHS.items():
        net = neuron(**special)
        found = np.array([p_values(net, part) for part in recordings(net, repeats, trials, seed=100)])
        for test, column in zip(("KS", "serial"), found.T, strict=True):
            law = stats.kstest(column, "uniform").pvalue
            rows.append((name, test, *(f"{100 * np.mean(column < q):.1f}" for q in (0.01, 0.05, 0.5)), f"{law:.2f}"))
    head = ("truth", "test", "below 0.01 (%)", "below 0.05 (%)", "below 0.5 (%)", "uniform? p")
    return f"p-values of the true model, {repeats} experiments of {trials} trials\n{table(head, rows)}"


def models_of(name: str, rng: np.random.Generator) -> dict[str, Callable[[ssnn.SpikeTrains, ssnn.SpikeTrains], Tests]]:
    """What is tested where that is the truth: functions of the recording to fit, and of that to test."""
    special, wrong = TRUTHS[name]
    truth = neuron(**special)
    without = truth.replace(**wrong)
    # The likelihood grows in a dead zone until a spike falls into it: it is held.
    every = FREE + (["b", "tau_a"] if name == "adaptation" else [])
    others = [x for x in FREE if x not in wrong]
    return {
        "true": lambda fitted, tested: p_values(truth, tested),
        "true, fitted": lambda fitted, tested: p_values(refitted(truth, fitted, every), tested),
        "wrong": lambda fitted, tested: p_values(without, tested),
        "wrong, fitted": lambda fitted, tested: p_values(refitted(without, fitted, others), tested),
        "GLM, history 0.6": lambda fitted, tested: glm_p_values(fitted, tested, 0.6, rng),
        "GLM, history 0.2": lambda fitted, tested: glm_p_values(fitted, tested, 0.2, rng),
        "GLM, none": lambda fitted, tested: glm_p_values(fitted, tested, 0.0, rng),
    }


def power(experiments: int, trials: int) -> str:
    rng, rows, head = np.random.default_rng(1), [], ("truth", "spikes")
    for name, (special, _) in TRUTHS.items():
        models = models_of(name, rng)
        fitted, tested = (recordings(neuron(**special), experiments, trials, seed) for seed in (1, 2))
        cells = [name, f"{np.mean([part.num_spikes.sum() for part in tested]):.0f}"]
        for model in models.values():
            found = np.array([model(*pair) for pair in zip(fitted, tested, strict=True)])
            ks, serial = 100 * np.mean(found < 0.05, axis=0)
            cells.append(f"{ks:.0f} / {serial:.0f}")
        rows.append(tuple(cells))
        head = ("truth", "spikes", *models)
    return f"rejections at 5 % (KS / serial) in %, {experiments} experiments, {trials} trials\n{table(head, rows)}"


def main(experiments: int = 100, *trials: int) -> None:
    begin = time.process_time()
    print(uniformity(20), flush=True)
    for number in trials or (10,):
        print(power(experiments, number), flush=True)
    print(f"{time.process_time() - begin:.0f} s of processor time")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
