"""One training step of figure 1, against the same arithmetic as a bare Julia loop in the same process.

Run with ``python benchmarks/training_step.py``.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from common import milliseconds, table

import ssnn_py as ssnn
from ssnn_py.engine import boot
from ssnn_py.experiments import figure1

BARE = Path(__file__).with_name("bare_loop.jl")


def bare_loop(samples: int, repeats: int) -> tuple[float, float]:
    """Median and smallest time of the bare loop's step, in milliseconds."""
    julia = boot.runtime()
    out = (ctypes.c_double * 2)()
    julia.eval(f'isdefined(Main, :BareLoop) || include(raw"{BARE}")')
    call = f"BareLoop.measure({samples}, {repeats})"
    julia.eval(
        f"{call}; m = {call}; unsafe_store!(Ptr{{Float64}}({ctypes.addressof(out)}), m[1]); "
        f"unsafe_store!(Ptr{{Float64}}({ctypes.addressof(out)}), m[2], 2)"
    )
    return out[0], out[1]


def training_step(samples: int, repeats: int, gradient: str = "pathwise") -> tuple[float, float]:
    """The same for the package: solve, tangent, loss, update, through `fit`; by default spikes are matched."""
    network = figure1.network(0.25, 1.0)
    data = ssnn.simulate(figure1.network(0.25, 1.5), num_samples=samples, seed=1, **figure1.SIMULATION).spike_trains
    result = ssnn.fit(
        network,
        data,
        ssnn.ExpectedSignatureLoss(depth=3, match_spikes=gradient == "pathwise"),
        "input_current",
        steps=repeats,
        gradient=gradient,
        optimizer=ssnn.RMSProp(1e-3, 0.7, 0.3),
        **figure1.SIMULATION,
    )
    times = sorted(1e3 * result.history["seconds"][20:])
    return times[len(times) // 2], times[0]


def main() -> None:
    rows = []
    for samples in figure1.SAMPLE_SIZES:
        bare, ours = bare_loop(samples, 1500), training_step(samples, 1500)
        unbiased = training_step(samples, 500, "unbiased")
        rows.append([samples, *bare, *ours, ours[0] / bare[0], *unbiased])
    julia = boot.runtime()
    print(f"Figure 1's training step in ms, Julia {julia.version}, {julia.threads} threads (the bare loop has one)")
    print(
        table(
            ["samples", "bare median", "bare min", "ssnn median", "ssnn min", "ratio of medians", "unbiased", "min"],
            rows,
        )
    )
    solution = ssnn.simulate(figure1.network(0.25, 1.5), num_samples=128, seed=1, **figure1.SIMULATION)
    median, least = milliseconds(lambda: ssnn.simulate(solution.network, num_samples=128, seed=1, **figure1.SIMULATION))
    print(f"simulate() alone, 128 samples: median {median:.3f} ms, min {least:.3f} ms")


if __name__ == "__main__":
    main()
