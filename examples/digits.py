"""Learn handwritten digits: a pixel fires the earlier the darker it is, and the class is which of ten neurons fires
first. scikit-learn has the digits; without it nothing is learned. Ends in digits.png.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from yin_yang import DRAWS, FINE, classifier, loss_of, mean_predictions, predictions, train

import ssnn_py as ssnn
from ssnn_py import datasets, plotting

TRAINING, T1 = 1400, 2.0


def encode(features: np.ndarray) -> ssnn.SpikeTrains:
    """A channel per pixel, white ones last, and one that says when the sample begins."""
    return datasets.latency_spikes(features, T1, earliest=0.1, latest=0.6, bias=0.0)


def varied(features: np.ndarray, rng: np.random.Generator, most: float = 0.4, noise: float = 0.08) -> np.ndarray:
    """Images moved by up to `most` of a pixel in both directions, grey values in between, and with noise on them."""
    images = features.reshape(-1, 8, 8)
    for axis in (1, 2):
        by = rng.uniform(-most, most, (len(images), 1, 1))
        width = [(0, 0), (0, 0), (0, 0)]
        width[axis] = (1, 1)
        padded = np.pad(images, width)
        before, after = padded.take(range(8), axis), padded.take(range(2, 10), axis)
        images = (1.0 - np.abs(by)) * images + np.maximum(by, 0.0) * before + np.maximum(-by, 0.0) * after
    return np.clip(images.reshape(-1, 64) + noise * rng.normal(size=features.shape), 0.0, 1.0)


def picture(
    net: ssnn.SLIFNetwork, losses: np.ndarray, features: np.ndarray, truth: np.ndarray, said: np.ndarray, path: Path
) -> None:
    """The loss, what is taken for what, and a sample's spikes."""
    fig, (row,) = plotting.figure(1, 3, width=4.2, height=3.8)
    ax = row[0]
    ax.plot(losses, color="0.8", linewidth=0.7)
    ax.plot(plotting.running_mean(losses, max(1, len(losses) // 30)), color="tab:blue")
    ax.set(xlabel="training step", ylabel="loss", title="Loss, and its running mean", ylim=(0.0, None))

    ax, confusion = row[1], np.zeros((10, 10))
    np.add.at(confusion, (truth[said >= 0], said[said >= 0]), 1)
    ax.imshow(np.sqrt(confusion), cmap="Blues", vmax=1.4 * np.sqrt(confusion.max()))
    for i, j in zip(*np.nonzero(confusion), strict=True):
        ax.text(j, i, f"{confusion[i, j]:.0f}", ha="center", va="center", fontsize=7)
    ax.set(xlabel="who fires first", ylabel="digit", xticks=range(10), yticks=range(10))
    ax.set_title(f"{(said == truth).sum()} of {truth.size} test digits are right")

    ax, hidden = row[2], net.num_neurons - 10
    sample = encode(features[:1])
    solution = ssnn.simulate(net, input_spikes=sample, seed=3, t1=T1, dt=FINE)
    times, neurons = solution.spike_times[0], solution.spike_neurons[0]
    ax.plot(sample.times[0], sample.neurons[0], "|", color="tab:green", markersize=4)
    for first, last, color in ((0, hidden, "0.3"), (hidden, net.num_neurons, "tab:red")):
        mine = (neurons >= first) & (neurons < last)
        # Rows of classes are three apart, so that they can be told from each other.
        place = 75 + neurons[mine] if last == hidden else 85 + hidden + 3 * (neurons[mine] - hidden)
        ax.plot(times[mine], place, "|", color=color, markersize=4)
    ax.set(xlabel="t", xlim=(-0.05, T1), ylim=(-5, hidden + 117), title=f"Spikes of a {truth[0]}")
    ax.set_yticks([32, 75 + hidden / 2, hidden + 98], ["65 inputs", f"{hidden} hidden", "0 to 9"])
    ax.tick_params(axis="y", length=0)
    inset = ax.inset_axes((0.76, 0.02, 0.24, 0.24))
    inset.imshow(features[0].reshape(8, 8), cmap="Greys")
    inset.set(xticks=[], yticks=[])
    plotting.save(fig, [path])


def main(out: Path, quick: bool, hidden: int, epochs: int | None) -> None:
    begin, busy, epochs = time.perf_counter(), time.process_time(), epochs or (2 if quick else 90)
    features, labels = datasets.digits(seed=0)
    training, test = slice(0, 400 if quick else TRAINING), slice(TRAINING, 1500 if quick else None)
    # At first a hidden neuron fires at about 0.75 by its own current: none is silent, and pixels only move its spike.
    net = classifier(65, 20 if quick else hidden, 10, inputs=(0.0, 0.25), drive=2.0, currents=(1.3, 1.2))
    loss = loss_of(net, 10, 0.05, 0.03)
    net, losses = train(
        net,
        encode(features[training]),
        labels[training],
        loss,
        epochs,
        rate=0.015,
        pace=0.2,
        vary=lambda rng: encode(varied(features[training], rng)),
        progress=sys.stderr.isatty(),
    )
    seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    spikes, truth = encode(features[test]), labels[test]
    said, mean = predictions(net, spikes, 10, seed=2**40), mean_predictions(net, spikes, loss, DRAWS)
    fitted = predictions(net, encode(features[training]), 10, seed=2**40) == labels[training]
    print(f"test accuracy {(said == truth).mean():.1%} of {truth.size}, of training {fitted.mean():.1%}")
    print(f"by the mean of {len(DRAWS)} runs {(mean == truth).mean():.1%}")
    print(f"{len(losses)} steps in {seconds / 60:.1f} minutes, {busy / 60:.1f} of them of processor time")
    out.mkdir(parents=True, exist_ok=True)
    picture(net, losses, features[test], truth, said, out / "digits.png")
    print(f"digits.png is in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--quick", action="store_true", help="fewer digits, neurons and steps: about ten seconds")
    parser.add_argument("--hidden", type=int, default=80, help="hidden neurons (default: 80)")
    parser.add_argument("--epochs", type=int, help="passes through the training digits (default: 90)")
    arguments = parser.parse_args()
    main(arguments.out, arguments.quick, arguments.hidden, arguments.epochs)
