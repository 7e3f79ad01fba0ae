"""A small recurrent network: simulate it, look at it, and differentiate its spike times. Ends in first_steps.png."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import ssnn_py as ssnn
from ssnn_py import plotting


def main(out: Path) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(0.0, 0.6, (8, 8)) * (rng.random((8, 8)) < 0.4)
    net = ssnn.SLIFNetwork(
        weights, input_current=1.1, mu=(6.0, 5.0), sigma=0.3, v_reset=1.2, intensity=ssnn.ExponentialIntensity(beta=5.0)
    )
    solution = ssnn.simulate(net, t1=4.0, dt=0.005, num_samples=64, seed=1, saveat=0.01)

    fig, axes = plotting.figure(3, 1, width=7.0, height=2.3)
    plotting.potentials(solution, neurons=[0, 1], ax=axes[0, 0])
    plotting.raster(solution, ax=axes[1, 0])

    # How the spike times of the sample above move with the common input current: negative is earlier.
    shift = solution.jvp({"input_current": 1.0})[0]
    n = solution.num_spikes[0]
    axes[2, 0].vlines(solution.spike_times[0, :n], 0.0, shift[:n], color="0.3", linewidth=1.0)
    axes[2, 0].set(xlabel="spike time", ylabel="∂(spike time)/∂(current)", xlim=(0.0, 4.0))
    out.mkdir(parents=True, exist_ok=True)
    plotting.save(fig, [out / "first_steps.png"])

    # Which synapses delay the network's spikes, on average over all samples? One reverse sweep for all of them.
    spikes = np.isfinite(solution.spike_times)
    gradient = solution.vjp(spikes / spikes.sum(), wrt="weights")["weights"]
    j, k = np.unravel_index(np.argmin(gradient), gradient.shape)
    print(
        f"{spikes.sum()} spikes in 64 samples; the synapse that most advances them runs from neuron {j} to neuron {k}"
    )
    print(f"first_steps.png is in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    main(parser.parse_args().out)
