"""Train a two-neuron generative model, by the signature MMD, to recordings of two neurons of a ten-neuron network. Ends
in train_by_mmd.png.

The model knows nothing of the other eight: it has two currents, two weights and the steepness of its intensity to
imitate them with.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import ssnn_py as ssnn
from ssnn_py import plotting

SPIKES = 6
RUN = {"t1": 6.0, "dt": 0.01}
WRT = ("input_current", "weights", "beta")


def recordings(samples: int, seed: int) -> ssnn.SpikeTrains:
    """The first spikes of neurons 0 and 1 of a recurrent network of ten."""
    weights = ssnn.recurrent_weights(10, gain=0.6, seed=4)
    net = ssnn.SLIFNetwork(
        weights, np.linspace(1.3, 0.9, 10), (6.0, 5.0), 0.3, v_reset=1.2, intensity=ssnn.ExponentialIntensity(5.0)
    )
    trains = ssnn.simulate(net, num_samples=samples, seed=seed, **RUN).spike_trains.select([0, 1])
    return ssnn.SpikeTrains(trains.times[:, :SPIKES], trains.neurons[:, :SPIKES], 2, 0.0, RUN["t1"])


def model() -> ssnn.SLIFNetwork:
    """Where training starts."""
    return ssnn.SLIFNetwork(
        [[0.0, 0.1], [0.1, 0.0]], [1.0, 1.0], (6.0, 5.0), 0.3, v_reset=1.2, intensity=ssnn.ExponentialIntensity(3.0)
    )


def generate(net: ssnn.SLIFNetwork, samples: int, seed: int) -> ssnn.SpikeTrains:
    return ssnn.simulate(net, num_samples=samples, seed=seed, max_spikes=SPIKES, **RUN).spike_trains


def mean_times(trains: ssnn.SpikeTrains) -> np.ndarray:
    """Mean time of each neuron's first three spikes, (2, 3)."""
    return trains.first_spikes(3).mean(axis=0)


def draw(
    out: Path, history: np.ndarray, before: ssnn.SpikeTrains, after: ssnn.SpikeTrains, data: ssnn.SpikeTrains
) -> None:
    fig, axes = plotting.figure(1, 2, width=5.0, height=3.2)
    left, right = axes[0]
    left.plot(history, color="0.8", linewidth=0.8)
    left.plot(plotting.running_mean(history, 10), color="0.2")
    left.set(xlabel="training step", ylabel="MMD² (unbiased)", title="Loss (dark: mean of 10 steps)")
    for trains, style, label in (
        (data, "ko-", "recorded"),
        (before, "s:", "model, before"),
        (after, "^--", "model, trained"),
    ):
        for neuron in range(2):
            color = {} if style.startswith("k") else {"color": ("tab:gray", "tab:red")[trains is after]}
            right.plot([1, 2, 3], mean_times(trains)[neuron], style, label=label if neuron == 0 else None, **color)
    right.set(xlabel="spike", ylabel="mean time", title="First three spikes of both neurons", xticks=[1, 2, 3])
    plotting.legend_beside(right)
    out.parent.mkdir(parents=True, exist_ok=True)
    plotting.save(fig, [out])


def main(out: Path, quick: bool) -> None:
    steps, size = (10, 32) if quick else (160, 128)
    data, held_out = recordings(size, seed=1), recordings(2 * size, seed=2)
    loss = ssnn.SignatureMMD(scales=ssnn.median_scales(data))
    result = ssnn.fit(
        model(),
        data,
        loss,
        WRT,
        steps=steps,
        optimizer=ssnn.Adam(0.01),
        num_samples=size,
        bounds={"beta": (0.5, 10.0)},
        max_spikes=SPIKES,
        **RUN,
    )
    before, after = (generate(net, 2 * size, seed=3) for net in (model(), result.network))
    for name, trains in (("before", before), ("trained", after)):
        test = ssnn.two_sample_test(trains, held_out, scales=ssnn.median_scales(data), num_permutations=500)
        print(f"{name:>8}: MMD² to held-out recordings {test.statistic:.4f}, p = {test.p_value:.3f}")
    draw(out / "train_by_mmd.png", result.history["loss"], before, after, held_out)
    print(f"train_by_mmd.png is in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--quick", action="store_true", help="fewer steps and recordings: a few seconds")
    arguments = parser.parse_args()
    main(arguments.out, arguments.quick)
