"""Two recordings of a grasshopper's auditory receptor, of the nitime package: LIF neurons fitted to their first halves
predict the second ones, beside Poisson GLMs of the same input. Ends in grasshopper.png; the GLMs take some minutes.

    pip install nitime statsmodels
"""

from __future__ import annotations

import argparse
import importlib.util
import math
from pathlib import Path

import numpy as np

import ssnn_py as ssnn
from ssnn_py import plotting

#: Milliseconds: the length of a recording, and of its first half.
LENGTH, HALF = 10_000.0, 5_000.0
#: How long the ear and the nerve may take.
LATENCIES = np.arange(4.0, 7.01, 0.25)
RUN = {"dt": 0.2, "solver": "stochastic_heun"}

EQUATIONS = """
dv/dt = (offset + gain*I - v)/tau_m     # potential, in units in which the intensity grows by e
dr/dt = -r/tau_r                        # relative refractoriness
"""
START = {"offset": -1.75, "gain": 1.86, "tau_m": 0.8, "v_reset": 1.0, "refractory": 11.5, "tau_r": 2.25}


def neuron(current: ssnn.InputCurrent, adaptive: bool) -> ssnn.Network:
    """A leaky integrate-and-fire neuron with escape noise; with a threshold that adapts, or one that does not."""
    equations, start = EQUATIONS, dict(START)
    hazard, then = "exp(v - r)", "v -= v_reset; r += refractory"
    if adaptive:
        equations += "da/dt = -a/tau_a\n"
        hazard, then = "exp(v - r - a)", then + "; a += adaptation"
        start |= {"adaptation": 0.003, "tau_a": 3000.0}
    model = ssnn.EventSDE(equations, events=ssnn.Event(hazard=hazard, then=then), parameters=start)
    return ssnn.Network(model, input_current=current)


def recording(folder: Path, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spike times in ms, and times and values of the stimulus in decibels, standardised."""
    spikes = np.loadtxt(folder / f"grasshopper_spike_times{number}.txt", comments="#") / 1000.0
    times, amplitude = np.loadtxt(folder / f"grasshopper_stimulus{number}.txt").T
    decibels = 20 * np.log10(amplitude)
    return spikes, times / 1000.0, (decibels - decibels.mean()) / decibels.std()


def trains_of(spikes: np.ndarray, t0: float, t1: float) -> ssnn.SpikeTrains:
    return ssnn.SpikeTrains.from_lists([[spikes[(spikes > t0) & (spikes <= t1)]]], t0, t1)


def delayed(times: np.ndarray, stimulus: np.ndarray, half: ssnn.SpikeTrains) -> ssnn.SampledCurrent:
    """The stimulus as it reaches the neuron, at the latency and time constant that make the first half most likely."""
    tried = {}
    for latency in LATENCIES:
        current = ssnn.SampledCurrent(times + latency, stimulus)
        for tau_m in (0.5, 0.8, 1.2, 1.8):
            network = neuron(current, adaptive=False).replace(tau_m=tau_m)
            tried[ssnn.log_likelihood(network, half, **RUN).value] = latency, current
    latency, current = tried[max(tried)]
    print(f"latency {latency:g} ms")
    return current


def constant_rate(spikes: np.ndarray) -> tuple[float, int]:
    """The log likelihood of the second half at the rate of the first one, and its number of spikes."""
    early, late = int((spikes <= HALF).sum()), int((spikes > HALF).sum())
    rate = early / HALF
    return late * math.log(rate) - rate * (LENGTH - HALF), late


def glm_bits(spikes: np.ndarray, stimulus: np.ndarray, step: float, width: float, slow: bool) -> float:
    """Held-out bits per spike of a Poisson GLM in bins: stimulus filter of 2 to 20 ms, history filter of 80 ms.

    With a slow history there are traces of all spikes that decay over 0.3, 1 and 3 s, too, and a quadratic penalty: of
    those tried the one that predicts the last quarter of the first half best from what comes before.
    """
    import scipy.signal
    import statsmodels.api as sm

    bins, per = round(LENGTH / width), round(width / step)
    counts = np.histogram(spikes, bins=bins, range=(0.0, LENGTH))[0].astype(float)
    signal = stimulus[: bins * per].reshape(bins, per).mean(axis=1)
    lags = range(round(2.0 / width), round(20.0 / width))
    filters = [np.concatenate([np.zeros(lag), signal[: bins - lag]]) for lag in lags]
    # Raised cosines in the logarithm of time.
    at = np.log(1.0 + width * np.arange(1, round(80.0 / width) + 1))
    centers = np.linspace(np.log(1.5), np.log(81.0), 8)
    for center in centers:
        bump = 0.5 * (1 + np.cos(np.clip((at - center) * np.pi / (2 * (centers[1] - centers[0])), -np.pi, np.pi)))
        filters.append(np.convolve(counts, np.concatenate([[0.0], bump]))[:bins])
    for tau in (300.0, 1000.0, 3000.0) if slow else ():
        filters.append(scipy.signal.lfilter([0.0, 1.0], [1.0, -math.exp(-width / tau)], counts))
    columns, half = np.array(filters).T, bins // 2
    design = sm.add_constant((columns - columns[:half].mean(axis=0)) / columns[:half].std(axis=0))

    def found(fitted: slice, predicted: slice, penalty: float) -> float:
        glm = sm.GLM(counts[fitted], design[fitted], family=sm.families.Poisson())
        each = np.append(0.0, np.full(design.shape[1] - 1, penalty / counts[fitted].size))
        mean = (glm.fit_regularized(alpha=each, L1_wt=0.0) if penalty else glm.fit()).predict(design[predicted])
        return float((counts[predicted] * np.log(mean / width) - mean).sum())

    early, penalty = slice(0, half - half // 4), 0.0
    if slow:
        penalty = max((0.0, 1.0, 3.0, 10.0, 30.0), key=lambda size: found(early, slice(early.stop, half), size))
    constant, number = constant_rate(spikes)
    return (found(slice(0, half), slice(half, bins), penalty) - constant) / (number * math.log(2.0))


def held_out(found: ssnn.MaximumLikelihood, spikes: np.ndarray) -> float:
    """Bits per spike of the second half, given the first, better than the constant rate of the first."""
    whole = ssnn.log_likelihood(found.network, trains_of(spikes, 0.0, LENGTH), **RUN).value
    constant, number = constant_rate(spikes)
    return (whole - found.log_likelihood.value - constant) / (number * math.log(2.0))


def windows(trains: ssnn.SpikeTrains, width: float) -> ssnn.SpikeTrains:
    """A train cut into windows, as samples of one law."""
    return trains.cut(ssnn.observed_windows(trains.t0, trains.t1, [], width))


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    fig, axes = plotting.figure(2, 3, width=4.2, height=2.9)
    spec = importlib.util.find_spec("nitime")
    if spec is None or spec.origin is None:
        print("nitime is not installed, whose recordings this example reads: pip install nitime statsmodels")
        axes[0, 0].text(0.5, 0.5, "pip install nitime statsmodels", ha="center", va="center")
        plotting.save(fig, [out / "grasshopper.png"])
        return
    folder = Path(spec.origin).parent / "data"
    has_glm = importlib.util.find_spec("statsmodels") is not None
    for row, number in zip(axes, (1, 2), strict=True):
        spikes, times, stimulus = recording(folder, number)
        half, late = trains_of(spikes, 0.0, HALF), trains_of(spikes, HALF, LENGTH)
        current = delayed(times, stimulus, half)
        bits = {}
        known: dict[str, float] = {}
        for name, adaptive in (("LIF", False), ("adaptive LIF", True)):
            start = neuron(current, adaptive).replace(**known)
            # The potential forgets within a millisecond, and with it by how much it was reset.
            free = [p for p in start.parameters if p not in ("input_current", "v_reset", "v0", "r0", "a0")]
            found = ssnn.maximum_likelihood(start, half, free, **RUN)
            known = dict(zip(found.labels, found.values.tolist(), strict=True))
            bits[name] = held_out(found, spikes)
            print(f"recording {number}, {name}:\n{found}")
        if has_glm:
            for name, slow in (("GLM", False), ("slow GLM", True)):
                for width in (1.0, 0.5, 0.25):
                    bits[f"{name}, {width:g} ms"] = glm_bits(spikes, stimulus, times[1] - times[0], width, slow)
        for name, value in bits.items():
            print(f"recording {number}: {name:17s} {value:.3f} bits per held-out spike")
        # The second half goes on from the state to which the first one has led.
        there = ssnn.simulate(found.network, t1=HALF, observed=half, saveat=[HALF], **RUN).states
        later = found.network.replace(**{f"{name}0": values[0, 0] for name, values in there.items()})
        fit = ssnn.goodness_of_fit(later, late, bin=100.0, num_samples=20, **RUN)
        fresh = ssnn.simulate(later, t0=HALF, t1=LENGTH, num_samples=1, seed=5, **RUN).spike_trains
        test = ssnn.two_sample_test(windows(late, 100.0), windows(fresh, 100.0), 500)
        print(f"{fit}\nwindows of 100 ms, recorded and simulated: MMD p = {test.p_value:.3g}\n")
        row[0].barh(list(bits)[::-1], list(bits.values())[::-1], color="C0")
        row[0].set(xlabel="bits per held-out spike", title=f"recording {number}")
        u = np.sort(fit.neurons[0].intervals)
        row[1].plot((np.arange(u.size) + 0.5) / u.size, u)
        row[1].plot([0, 1], [0, 1], color="0.35", linewidth=1)
        row[1].set(xlabel="uniform quantile", ylabel="rescaled interval")
        row[1].set_title(f"held out, KS p = {fit.neurons[0].ks_p_value:.2g}")
        model = ssnn.simulate(later, t0=HALF, t1=HALF + 300.0, num_samples=20, seed=6, **RUN).spike_trains
        for sample, (shown,) in enumerate(model.to_lists()):
            row[2].plot(shown, np.full(shown.size, sample), "|", color="C1", markersize=4)
        shown = spikes[(spikes > HALF) & (spikes < HALF + 300.0)]
        row[2].plot(shown, np.full(shown.size, 21.5), "|", color="C0", markersize=8)
        row[2].set(xlabel="time (ms)", yticks=[10, 21.5], yticklabels=["model", "recorded"], xlim=(HALF, HALF + 300))
    plotting.save(fig, [out / "grasshopper.png"])
    print(f"grasshopper.png is in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"))
    main(parser.parse_args().out)
