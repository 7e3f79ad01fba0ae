"""Learn the yin-yang data set: the coordinates of a point are times of input spikes, and its class is which of three
neurons fires first. Ends in yin_yang.png.
"""

from __future__ import annotations

import argparse
import math
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
DRAWS = range(2**40, 2**40 + 10)
WEIGHTS = ("weights", "input_weights")
COLORS = ["tab:orange", "tab:blue", "0.35"]


def encode(features: np.ndarray, latest: float = 1.2) -> ssnn.SpikeTrains:
    """A channel per feature, and one that says when the sample begins."""
    return datasets.latency_spikes(features, T1, earliest=0.1, latest=latest, bias=0.0)


def classifier(
    channels: int,
    hidden: int,
    classes: int,
    inputs: tuple[float, float] = (1.5, 1.5),
    drive: float = 10.0,
    currents: tuple[float, float] = (0.0, 1.1),
    sigma: float = 0.0,
    seed: int = 0,
) -> ssnn.SLIFNetwork:
    """Channels of input; hidden neurons, with weights of the mean and standard deviation `inputs`; and last a neuron
    per class, with weights that sum up to about `drive`. The hidden ones and the last have these `currents`.

    A current of 1.1 lets a neuron fire at about 1.5 if it hears nothing: one that is silent in all samples has no first
    spike, and so no gradient.
    """
    rng = np.random.default_rng(seed)
    input_weights, weights = np.zeros((channels, hidden + classes)), np.zeros((hidden + classes, hidden + classes))
    input_weights[:, :hidden] = rng.normal(*inputs, (channels, hidden))
    weights[:hidden, hidden:] = rng.normal(drive, drive, (hidden, classes)) / hidden
    return ssnn.SLIFNetwork(
        weights,
        input_current=np.repeat(currents, [hidden, classes]),
        mu=(2.0, 6.0),
        sigma=sigma,
        v_reset=1.0,
        alpha=4.0,
        intensity=ssnn.ExponentialIntensity(beta=20.0, v_th=1.0, tau=0.0125),
        inputs=ssnn.SpikeInput(input_weights),
    )


def loss_of(net: ssnn.SLIFNetwork, classes: int, time_scale: float, earliness: float) -> ssnn.FirstSpikeCrossEntropy:
    """Cross-entropy of the last neurons' first spikes."""
    neurons = np.arange(net.num_neurons - classes, net.num_neurons)
    return ssnn.FirstSpikeCrossEntropy(time_scale, neurons, earliness)


def exact_gradients(
    net: ssnn.SLIFNetwork, trains: ssnn.SpikeTrains, labels: np.ndarray, loss: ssnn.Loss, seed: int, dt: float
) -> tuple[float, dict[str, np.ndarray]]:
    """The loss of a mini-batch, with noise of its own, and its exact gradient in the weights."""
    run = {"t1": trains.t1, "dt": dt, "input_spikes": trains, "num_samples": len(trains), "seed": seed}
    return ssnn.value_and_grad(loss, net, WEIGHTS, data=labels, gradient="unbiased", **run)


def cosine(rate: float, steps: int) -> Callable[[int], float]:
    """A schedule from `rate` down to a hundredth of it, along half a cosine."""
    return lambda step: rate * (0.505 + 0.495 * math.cos(math.pi * min(step / steps, 1.0)))


def train(
    net: ssnn.SLIFNetwork,
    trains: ssnn.SpikeTrains,
    labels: np.ndarray,
    loss: ssnn.FirstSpikeCrossEntropy,
    epochs: int,
    rate: float,
    pace: float = 1.0,
    batch: int = 100,
    clip: float = 0.2,
    seed: int = 0,
    progress: bool = False,
    schedule: Callable[[float, int], Callable[[int], float]] = cosine,
    vary: Callable[[np.random.Generator], ssnn.SpikeTrains] | None = None,
    gradients_of: Callable[..., tuple[float, dict[str, np.ndarray]]] = exact_gradients,
) -> tuple[ssnn.SLIFNetwork, np.ndarray]:
    """Mini-batches by Adam, the last three tenths at half the step; the network, and the loss of every mini-batch.
    Weights between neurons learn at `pace` times the rate; `vary` gives the spikes of an epoch, where they differ.

    Where a neuron fires at a low rate, its spike moves far with the weights: such gradients are rare and large, and
    their norm is clipped.
    """
    rng, history = np.random.default_rng(seed), []
    parameters = {name: net.parameters[name] for name in WEIGHTS}
    per_epoch = len(labels) // batch
    steps = epochs * per_epoch
    rule = ssnn.Adam(schedule(rate, steps))
    state = rule.init(parameters)
    for epoch in range(epochs):
        order = rng.permutation(len(labels))
        if vary:
            trains = vary(rng)
        for rows in order[: per_epoch * batch].reshape(per_epoch, batch):
            step = len(history)
            dt = COARSE if step < 0.7 * steps else FINE
            value, gradients = gradients_of(net, trains[rows], labels[rows], loss, seed * 10**6 + step, dt)
            gradients = {name: g * min(1.0, clip / max(np.linalg.norm(g), clip)) for name, g in gradients.items()}
            changes, state = rule.update(gradients, state, step)
            changes["weights"] = pace * changes["weights"]
            parameters = {name: parameters[name] + changes[name] for name in WEIGHTS}
            net = net.replace(**parameters)
            history.append(value)
        if progress:
            print(f"epoch {epoch + 1} of {epochs}: loss {np.mean(history[-per_epoch:]):.3f}", file=sys.stderr)
    return net, np.array(history)


def first_spikes(
    net: ssnn.SLIFNetwork, trains: ssnn.SpikeTrains, classes: int, seed: int, dt: float = FINE, **run: Any
) -> np.ndarray:
    """When each class's neuron fires first, (S, C); t1 where it does not."""
    solution = ssnn.simulate(net, input_spikes=trains, num_samples=len(trains), seed=seed, t1=trains.t1, dt=dt, **run)
    return solution.spike_trains.select(np.arange(net.num_neurons - classes, net.num_neurons)).first_spikes(1)[..., 0]


def predictions(
    net: ssnn.SLIFNetwork, trains: ssnn.SpikeTrains, classes: int, seed: int, dt: float = FINE, **run: Any
) -> np.ndarray:
    """Which class's neuron fires first; −1 where none does."""
    times = first_spikes(net, trains, classes, seed, dt, **run)
    return np.where(times.min(axis=1) < trains.t1, times.argmin(axis=1), -1)


def mean_predictions(
    net: ssnn.SLIFNetwork, trains: ssnn.SpikeTrains, loss: ssnn.FirstSpikeCrossEntropy, seeds: range
) -> np.ndarray:
    """The class with the largest mean of the softmax of −τ/ξ over runs, each with noise of its own."""
    mean = 0.0
    for seed in seeds:
        times = first_spikes(net, trains, loss.neurons.size, seed)
        odds = np.exp((times.min(axis=1, keepdims=True) - times) / loss.time_scale)
        mean = mean + odds / odds.sum(axis=1, keepdims=True)
    return mean.argmax(axis=1)


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
    begin, busy, epochs = time.perf_counter(), time.process_time(), epochs or (4 if quick else 120)
    features, labels = datasets.yin_yang(1000 if quick else 5000, seed=1)
    test, truth = datasets.yin_yang(300 if quick else 1000, seed=2)
    net = classifier(channels=5, hidden=30 if quick else hidden, classes=3)
    loss = loss_of(net, 3, 0.05, 0.02)
    net, losses = train(net, encode(features), labels, loss, epochs, 0.02, progress=sys.stderr.isatty())
    seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    hits = predictions(net, encode(test), 3, seed=2**40) == truth
    mean = mean_predictions(net, encode(test), loss, DRAWS) == truth
    fine = predictions(net, encode(test), 3, seed=2**40, dt=0.05, solver="exact_ou") == truth
    print(f"test accuracy {hits.mean():.1%} of {hits.size}, {mean.mean():.1%} by the mean of {len(DRAWS)} runs")
    print(f"by solver exact_ou {fine.mean():.1%}")
    print(f"{len(losses)} steps in {seconds / 60:.1f} minutes, {busy / 60:.1f} of them of processor time")
    out.mkdir(parents=True, exist_ok=True)
    picture(net, losses, test[:, :2], hits, 60 if quick else 200, out / "yin_yang.png")
    print(f"yin_yang.png is in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--quick", action="store_true", help="fewer points, neurons and steps: about ten seconds")
    parser.add_argument("--hidden", type=int, default=120, help="hidden neurons (default: 120)")
    parser.add_argument("--epochs", type=int, help="passes through the training points (default: 120)")
    arguments = parser.parse_args()
    main(arguments.out, arguments.quick, arguments.hidden, arguments.epochs)
