"""Memory per synapse of large sparse networks: of a forward run, and of gradients.

N neurons with K random targets each, a few steps in which some of them fire. Every row is a process of its own, and
what it takes is the most memory that it has had beyond a process with a network of 1000 neurons and 10 targets: while
the network is made, or after that, with the network in memory. Run with ``python benchmarks/synapse_memory.py``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from common import peak_memory, table

MODES = {
    "network": "making the network",
    "forward": "simulate",
    "global": "gradient, mu and sigma",
    "weights": "gradient, weights",
}


def measure(mode: str, neurons: int, targets: int) -> dict[str, float]:
    import numpy as np

    import ssnn_py as ssnn

    net = ssnn.SLIFNetwork(
        ssnn.random_weights(neurons, targets, -0.5, 0.5),
        1.5,
        mu=(20.0, 100.0),
        sigma=0.5,
        v_reset=1.0,
        alpha=0.0,
        intensity=ssnn.ExponentialIntensity(5.0, 1.0, 0.05),
    )
    if mode == "network":
        return {"bytes": peak_memory(), "spikes": 0}
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of what follows
    solution = ssnn.simulate(net, t1=1e-3, dt=1e-4, v0=1.0, seed=1)
    if mode != "forward":
        ones = np.isfinite(solution.spike_times).astype(float)
        solution.vjp(ones, wrt=("mu", "sigma") if mode == "global" else ("weights",))
    return {"bytes": peak_memory(), "spikes": int(solution.num_spikes.sum())}


def apart(mode: str, neurons: int, targets: int) -> dict[str, float]:
    given = ["--mode", mode, "--sizes", f"{neurons}x{targets}"]
    done = subprocess.run([sys.executable, __file__, *given], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{mode} with {neurons} x {targets} synapses failed: {done.stderr[-2000:]}")
    facts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return facts


def main(sizes: list[tuple[int, int]]) -> None:
    small = {mode: apart(mode, 1000, 10)["bytes"] for mode in MODES}
    rows = []
    for neurons, targets in sizes:
        for mode, name in MODES.items():
            facts = apart(mode, neurons, targets)
            more = (facts["bytes"] - small[mode]) / (neurons * targets)
            rows.append([neurons, targets, name, facts["spikes"], facts["bytes"] / 1e9, more])
    print(table(["neurons", "targets", "what", "spikes", "peak, GB", "bytes per synapse"], rows))


def size(text: str) -> tuple[int, int]:
    neurons, targets = text.split("x")
    return int(neurons), int(targets)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=size, nargs="+", default=[(20_000, 1000)], metavar="NxK")
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.mode:
        print(json.dumps(measure(arguments.mode, *arguments.sizes[0])))
    else:
        main(arguments.sizes)
