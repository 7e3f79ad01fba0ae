"""Train the model of train_by_mmd.py with PyTorch, by a loss of one's own: how many spikes each neuron fires when, on
average. Needs PyTorch.

Counts have no pathwise gradient; `ssnn_py.torch.expectation` gives the gradient of their means. Ends in
train_with_torch.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from train_by_mmd import RUN, SPIKES, WRT, generate, model, recordings

import ssnn_py as ssnn
import ssnn_py.torch
from ssnn_py import plotting

EDGES = np.arange(7.0)  # of windows in which spikes are counted


def counts(times: torch.Tensor, neurons: torch.Tensor) -> torch.Tensor:
    """Number of spikes of each of the two neurons in each window, (S, 2, 6)."""
    fired = neurons[:, :, None] == torch.arange(2)
    edges = torch.from_numpy(EDGES)
    within = (times[:, :, None] >= edges[:-1]) & (times[:, :, None] < edges[1:])
    return (fired[..., None] & within[:, :, None, :]).sum(1).to(torch.float64)


def mean_counts(trains: ssnn.SpikeTrains) -> torch.Tensor:
    return counts(torch.from_numpy(trains.times), torch.from_numpy(trains.neurons)).mean(0)


def draw(path: Path, history: list[float], batches: dict[str, tuple[dict, ssnn.SpikeTrains]]) -> None:
    fig, axes = plotting.figure(1, 2, width=5.0, height=3.2)
    left, right = axes[0]
    left.semilogy(plotting.running_mean(np.array(history), 10), color="0.2")
    left.set(xlabel="training step", ylabel="squared distance of mean counts", title="Loss (mean of 10 steps)")
    for label, (style, trains) in batches.items():
        for neuron, rates in enumerate(mean_counts(trains)):
            right.stairs(rates.numpy(), EDGES + 0.02 * neuron, label=label if neuron == 0 else None, **style)
    right.set(xlabel="time", ylabel="spikes per window", title="Mean counts of both neurons")
    plotting.legend_beside(right)
    path.parent.mkdir(parents=True, exist_ok=True)
    plotting.save(fig, [path])


def main(out: Path) -> None:
    data, held_out = recordings(512, seed=1), recordings(512, seed=2)
    target, net = mean_counts(data), model()
    parameters = {name: torch.tensor(net.parameters[name], requires_grad=True) for name in WRT}
    optimizer = torch.optim.Adam(parameters.values(), lr=0.01)
    history = []
    for step in range(200):
        optimizer.zero_grad()
        mean = ssnn_py.torch.expectation(
            lambda solution: counts(solution.spike_times, solution.spike_neurons),
            net,
            parameters,
            order_matters=False,
            saveat=EDGES,  # where spikes pass from one window to the next
            num_samples=128,
            max_spikes=SPIKES,
            seed=step,
            **RUN,
        )
        loss = (mean - target).square().sum()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    trained = net.replace(**{name: value.detach().numpy() for name, value in parameters.items()})
    before, after = generate(net, 512, seed=3), generate(trained, 512, seed=3)
    batches = {
        "recorded": ({"color": "k", "linewidth": 2}, held_out),
        "model, before": ({"color": "tab:gray", "linestyle": ":"}, before),
        "model, trained": ({"color": "tab:red"}, after),
    }
    draw(out / "train_with_torch.png", history, batches)
    distances = [(mean_counts(trains) - mean_counts(held_out)).square().sum().item() for trains in (before, after)]
    print(
        f"squared distance to mean counts of held-out recordings: before {distances[0]:.4f}, trained {distances[1]:.4f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    main(parser.parse_args().out)
