"""Forward runs of large sparse networks: nanoseconds per neuron and step, against Brian2 where it is installed, and
against bare draws.

N neurons, 100 random targets each, additive noise on every potential, 1 s at 0.1 ms. Run with ``python
benchmarks/scaling.py``; for the comparison, in an environment that has ``brian2`` (and ``numpy<2.3``), in which its C++
standalone mode and its Cython mode run the same model.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import table

STEPS, DT = 10_000, 1e-4
MODEL = {"mu1": 20.0, "mu2": 100.0, "sigma": 0.5, "current": 0.8, "beta": 5.0, "v_th": 1.0, "tau": 0.05, "v_reset": 1.0}


def ours(neurons: int, samples: int, threads: int) -> tuple[float, float]:
    """Nanoseconds per neuron-step, and spikes per neuron."""
    import ssnn_py as ssnn

    net = ssnn.SLIFNetwork(
        ssnn.random_weights(neurons, 100 if neurons > 100 else neurons - 1, -0.5, 0.5, gain=1.0),
        MODEL["current"],
        mu=(MODEL["mu1"], MODEL["mu2"]),
        sigma=MODEL["sigma"],
        v_reset=MODEL["v_reset"],
        intensity=ssnn.ExponentialIntensity(MODEL["beta"], MODEL["v_th"], MODEL["tau"]),
    )
    run = {"dt": DT, "num_samples": samples, "seed": 1, "max_spikes": 100 * neurons, "threads": threads}
    ssnn.simulate(net, t1=10 * DT, **run)
    times = []
    for _ in range(3 if neurons * samples < 50_000 else 1):
        begin = time.perf_counter()
        solution = ssnn.simulate(net, t1=STEPS * DT, **run)
        times.append(time.perf_counter() - begin)
    return 1e9 * min(times) / (neurons * samples * STEPS), float(solution.num_spikes.mean()) / neurons


def bare(neurons: int) -> tuple[float, float]:
    """Nanoseconds for one normal and one exponential: Julia's own, and the core's."""
    from ssnn_py.engine import boot

    julia = boot.runtime()
    out = (ctypes.c_double * 2)()
    path = Path(__file__).with_name("bare_draws.jl")
    julia.eval(f'isdefined(Main, :BareDraws) || include(raw"{path}")')
    pointer = f"Ptr{{Float64}}({ctypes.addressof(out)})"
    julia.eval(
        f"m = BareDraws.measure({neurons}, {2_000_000 // neurons}); unsafe_store!({pointer}, m[1]); "
        f"unsafe_store!({pointer}, m[2], 2)"
    )
    return out[0], out[1]


def brian(mode: str, neurons: int) -> None:
    """Run Brian2 in this process and print its time of the run phase as JSON."""
    import brian2 as b

    folder = tempfile.mkdtemp()
    if mode == "cpp":
        b.set_device("cpp_standalone", directory=folder, build_on_run=False)
    else:
        b.prefs.codegen.target = "cython"
    b.seed(1)
    b.defaultclock.dt = DT * b.second
    constants = {name: value for name, value in MODEL.items() if name not in ("mu1", "mu2", "sigma", "tau")}
    group = b.NeuronGroup(
        neurons,
        """dv/dt = mu1*(c + current - v) + sigma*xi : 1
        dc/dt = -mu2*c : 1
        lam = exp(beta*clip(v - v_th, -1000, 10))/tau : Hz""",
        threshold="rand() < lam*dt",
        reset="v -= v_reset",
        method="euler",
        namespace={
            **constants,
            "mu1": MODEL["mu1"] * b.Hz,
            "mu2": MODEL["mu2"] * b.Hz,
            "sigma": MODEL["sigma"] * b.Hz**0.5,
            "tau": MODEL["tau"] * b.second,
        },
    )
    degree = 100 if neurons > 100 else neurons - 1
    rng = np.random.default_rng(0)
    targets = np.concatenate([rng.choice(neurons, degree, replace=False) for _ in range(neurons)])
    synapses = b.Synapses(group, group, "w : 1", on_pre="c_post += w")
    synapses.connect(i=np.repeat(np.arange(neurons), degree), j=targets)
    synapses.w = rng.uniform(-0.5, 0.5, targets.size) / degree
    monitor = b.SpikeMonitor(group)
    begin = time.perf_counter()
    if mode == "cpp":
        b.run(STEPS * DT * b.second)
        b.device.build(directory=folder, compile=True, run=True, debug=False)
        seconds = b.device._last_run_time
        compiled = time.perf_counter() - begin - seconds
    else:
        b.run(DT * b.second)
        compiled = time.perf_counter() - begin
        begin = time.perf_counter()
        b.run(STEPS * DT * b.second)
        seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "compile": compiled, "spikes": monitor.num_spikes / neurons}))


def brian_apart(mode: str, neurons: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--brian", mode, "--neurons", str(neurons)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"Brian2 failed: {done.stderr[-2000:]}")
    facts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return facts


def main() -> None:
    rows = []
    for neurons in (100, 1000, 10_000):
        base, core = bare(neurons)
        single, spikes = ours(neurons, 1, 1)
        shared, _ = ours(neurons, 1, 2)
        batch, _ = ours(neurons, 16 if neurons < 10_000 else 4, 2)
        rows.append([neurons, spikes, base, core, single, single / base, shared, batch])
    print("nanoseconds per neuron and step (one thread; one sample on two; a batch of 16 samples, 4 at 10000, on two)")
    print(
        table(
            [
                "neurons",
                "spikes/s",
                "bare draws, Julia's",
                "bare draws, core's",
                "ssnn, one sample",
                "ratio to Julia's",
                "on two threads",
                "ssnn, batch",
            ],
            rows,
        )
    )
    if importlib.util.find_spec("brian2") is None:
        print("\nBrian2 is not installed here: no comparison")
        return
    single, batch = rows[1][4], rows[1][7]
    rows = []
    for mode, name in (("cpp", "C++ standalone"), ("cython", "Cython")):
        facts = brian_apart(mode, 1000)
        per_step = 1e9 * facts["seconds"] / (1000 * STEPS)
        rows.append([name, facts["spikes"], facts["compile"], per_step, per_step / single, per_step / batch])
    print("\nBrian2, 1000 neurons, run phase only (it has no batches: samples run one after the other)")
    print(table(["mode", "spikes/s", "compilation, s", "ns", "ssnn faster, one sample", "ssnn faster, batch"], rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brian", choices=["cpp", "cython"], help=argparse.SUPPRESS)
    parser.add_argument("--neurons", type=int, default=1000, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.brian:
        brian(arguments.brian, arguments.neurons)
    else:
        main()
