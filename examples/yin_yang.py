"""Learn the yin-yang data set: the coordinates of a point are times of input spikes, and its class is which of three
neurons fires first. Ends in yin_yang.png.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap

import ssnn_py as ssnn
from ssnn_py import datasets, plotting

T1 = 3.0
COARSE, FINE = 0.04, 0.02
WEIGHTS = ("weights", "input_weights")
COLORS = ["tab:orange", "tab:blue", "0.35"]


def encode(features: np.ndarray) -> ssnn.SpikeTrains:
    """A channel per feature, and one that says when the sample begins."""
    return datasets.latency_spikes(features, T1, earliest=0.1, latest=1.6, bias=0.0)


def classifier(
    channels: int, hidden: int, classes: int, firing: int = 5, drive: float = 10.0, sigma: float = 0.0, seed: int = 0
) -> ssnn.SLIFNetwork:
    """Channels of input, of which so many are `firing` in a sample; hidden neurons; and last a neuron per class, with
    weights that sum up to about `drive`.

    Most hidden neurons fire from the start, and the others' current lets them fire at about 1.5 if they hear nothing:
    a neuron that is silent in all samples has no first spike, and so no gradient.
    """
    rng = np.random.default_rng(seed)
    inputs, weights = np.zeros((channels, hidden + classes)), np.zeros((hidden + classes, hidden + classes))
    inputs[:, :hidden] = rng.normal(7.5 / firing, 3.35 / np.sqrt(firing), (channels, hidden))
    weights[:hidden, hidden:] = rng.normal(drive, drive, (hidden, classes)) / hidden
    return ssnn.SLIFNetwork(
        weights,
        input_current=np.repeat([0.0, 1.1], [hidden, classes]),
        mu=(2.0, 6.0),
        sigma=sigma,
        v_reset=1.0,
        alpha=4.0,
        intensity=ssnn.ExponentialIntensity(beta=20.0, v_th=1.0, tau=0.0125),
        inputs=ssnn.SpikeInput(inputs),
    )


def loss_of(net: ssnn.SLIFNetwork, classes: int, time_scale: float, earliness: float) -> ssnn.FirstSpikeCrossEntropy:
    """Cross-entropy of the last neurons' first spikes."""
    neurons = np.arange(net.num_neurons - classes, net.num_neurons)
    return ssnn.FirstSpikeCrossEntropy(time_scale, neurons, earliness)


def exact_gradients(
    net: ssnn.SLIFNetwork, trains: ssnn.SpikeTrains, labels: np.ndarray, loss: ssnn.Loss, seed: int, dt: float
) -> tuple[float, dict[str, np.ndarray]]:
    """The loss of a mini-batch, with noise of its own, and its exact gradient in the weights."""
    run = {"t1": T1, "dt": dt, "input_spikes": trains, "num_samples": len(trains), "seed": seed}
    return ssnn.value_and_grad(loss, net, WEIGHTS, data=labels, gradient="unbiased", **run)


def train(
    net: ssnn.SLIFNetwork,
    trains: ssnn.SpikeTrains,
    labels: np.ndarray,
    loss: ssnn.FirstSpikeCrossEntropy,
    epochs: int,
    rate: float,
    batch: int = 100,
    clip: float = 0.2,
    seed: int = 0,
    progress: bool = False,
    gradients_of: Callable[..., tuple[float, dict[str, np.ndarray]]] = exact_gradients,
) -> tuple[ssnn.SLIFNetwork, np.ndarray]:
    """Mini-batches by Adam, the last three tenths at half the step; the network, and the loss of every mini-batch.

    Where a neuron fires at a low rate, its spike moves far with the weights: such gradients are rare and large, and
    their norm is clipped.
    """
    rng, history = np.random.default_rng(seed), []
    parameters = {name: net.parameters[name] for name in WEIGHTS}
    per_epoch = len(labels) // batch
    steps = epochs * per_epoch
    rule = ssnn.Adam(
        ssnn.piecewise_constant({0: rate, steps * 6 // 10 + 1: rate / 3, steps * 85 // 100 + 2: rate / 10})
    )
    state = rule.init(parameters)
    for epoch in range(epochs):
        order = rng.permutation(len(labels))
        for rows in order[: per_epoch * batch].reshape(per_epoch, batch):
            step = len(history)
            dt = COARSE if step < 0.7 * steps else FINE
            value, gradients = gradients_of(net, trains[rows], labels[rows], loss, seed * 10**6 + step, dt)
            gradients = {name: g * min(1.0, clip / max(np.linalg.norm(g), clip)) for name, g in gradients.items()}
            changes, state = rule.update(gradients, state, step)
            parameters = {name: parameters[name] + changes[name] for name in WEIGHTS}
            net = net.replace(**parameters)
            history.append(value)
        if progress:
            print(f"epoch {epoch + 1} of {epochs}: loss {np.mean(history[-per_epoch:]):.3f}", file=sys.stderr)
    return net, np.array(history)


def predictions(
    net: ssnn.SLIFNetwork, trains: ssnn.SpikeTrains, classes: int, seed: int, dt: float = FINE, **run: Any
) -> np.ndarray:
    """Which class's neuron fires first; −1 where none does."""
    solution = ssnn.simulate(net, input_spikes=trains, num_samples=len(trains), seed=seed, t1=T1, dt=dt, **run)
    times = solution.spike_trains.select(np.arange(net.num_neurons - classes, net.num_neurons)).first_spikes(1)[..., 0]
    return np.where(times.min(axis=1) < T1, times.argmin(axis=1), -1)


def picture(net: ssnn.SLIFNetwork, losses: np.ndarray, points: np.ndarray, hits: np.ndarray, cells: int, path: Path):
    """The loss, the regions that are learned with the test points that are missed, and a sample's spikes."""
    fig, (row,) = plotting.figure(1, 3, width=4.2, height=3.8)
    ax = row[0]
    ax.plot(losses, color="0.8", linewidth=0.7)
    ax.plot(plotting.running_mean(losses, max(1, len(losses) // 30)), color="tab:blue")
    ax.set(xlabel="training step", ylabel="loss", title="Loss, and its running mean", ylim=(0.0, None))

    middle = (np.arange(cells) + 0.5) / cells
    x, y = (part.ravel() for part in np.meshgrid(middle, middle))
    regions = predictions(net, encode(np.stack([x, y, 1.0 - x, 1.0 - y], axis=1)), 3, seed=2**41)
    shown = np.ma.masked_where((np.hypot(x - 0.5, y - 0.5) > 0.5) | (regions < 0), regions).reshape(cells, cells)
    ax = row[1]
    ax.imshow(shown, origin="lower", extent=(0, 1, 0, 1), cmap=ListedColormap(COLORS), vmin=0, vmax=2, alpha=0.45)
    ax.plot(*points[~hits].T, "x", color="k", markersize=4)
    ax.set(xlabel="x", ylabel="y", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], aspect="equal")
    ax.set_title(f"Who fires first; ×: test points missed\n({hits.mean():.1%} of {hits.size} are right)")

    ax, sample = row[2], encode(np.array([[0.75, 0.5, 0.25, 0.5]]))
    solution = ssnn.simulate(net, input_spikes=sample, seed=3, t1=T1, dt=FINE)
    hidden = net.num_neurons - 3
    times, neurons = solution.spike_times[0], solution.spike_neurons[0]
    for k in range(3):
        mine = times[neurons == hidden + k]
        ax.plot(mine, np.full(mine.size, hidden + 7 + 3 * k), "|", color=COLORS[k], markersize=9, markeredgewidth=2)
    inner = (neurons >= 0) & (neurons < hidden)
    ax.plot(times[inner], neurons[inner], "|", color="0.3", markersize=4)
    ax.plot(sample.times[0], -18 + 3 * sample.neurons[0], "|", color="tab:green", markersize=6, markeredgewidth=1.5)
    ax.set(xlabel="t", xlim=(-0.05, T1), ylim=(-21, hidden + 16), title="Spikes of the right dot's centre")
    ax.set_yticks([-12, hidden / 2, hidden + 10], ["inputs", f"{hidden} hidden", "classes"])
    ax.tick_params(axis="y", length=0)
    plotting.save(fig, [path])


def main(out: Path, quick: bool, hidden: int, epochs: int | None) -> None:
    begin, epochs = time.perf_counter(), epochs or (4 if quick else 60)
    features, labels = datasets.yin_yang(1000 if quick else 5000, seed=1)
    test, truth = datasets.yin_yang(300 if quick else 1000, seed=2)
    net = classifier(channels=5, hidden=30 if quick else hidden, classes=3)
    net, losses = train(
        net, encode(features), labels, loss_of(net, 3, 0.05, 0.02), epochs, 0.02, progress=sys.stderr.isatty()
    )
    hits = predictions(net, encode(test), 3, seed=2**40) == truth
    fine = predictions(net, encode(test), 3, seed=2**40, dt=0.05, solver="exact_ou") == truth
    seconds = time.perf_counter() - begin
    out.mkdir(parents=True, exist_ok=True)
    picture(net, losses, test[:, :2], hits, 60 if quick else 200, out / "yin_yang.png")
    print(f"test accuracy {hits.mean():.1%}; by solver exact_ou {fine.mean():.1%}")
    print(f"{len(losses)} steps in {seconds:.0f} s; yin_yang.png is in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--quick", action="store_true", help="fewer points, neurons and steps: about ten seconds")
    parser.add_argument("--hidden", type=int, default=100, help="hidden neurons (default: 100)")
    parser.add_argument("--epochs", type=int, help="passes through the training points (default: 60)")
    arguments = parser.parse_args()
    main(arguments.out, arguments.quick, arguments.hidden, arguments.epochs)
