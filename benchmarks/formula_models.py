"""Models from formulas: 1000 adaptive exponential neurons against a hand-written Julia loop and Brian2's C++ standalone
mode; SLIF from text against the tuned one; and how long the first call with a new model takes.

Run with ``python benchmarks/formula_models.py``; for the comparison with Brian2 in an environment that has ``brian2``
(and ``numpy<2.3``). One sample, one thread, 100 random targets per neuron, 1 s at 0.1 ms.
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
from typing import Any

import numpy as np
from common import table

NEURONS, DEGREE, STEPS, DT = 1000, 100, 10_000, 1e-4
ADEX: dict[str, float] = {
    "E_L": 0.0,
    "Delta": 0.2,
    "v_T": 1.0,
    "tau_m": 0.02,
    "c": 0.3,
    "tau_a": 0.1,
    "tau_s": 0.005,
    "sigma": 1.0,
    "beta": 8.0,
    "v_th": 0.6,
    "v_reset": 1.0,
    "b": 0.1,
}
CURRENT, ZONE = 0.9, 0.03


def connections() -> tuple[Any, Any, Any]:
    """Rows, targets and weights of the synapses."""
    rng = np.random.default_rng(0)
    targets = np.concatenate([np.sort(rng.choice(NEURONS, DEGREE, replace=False)) for _ in range(NEURONS)])
    return np.arange(NEURONS + 1) * DEGREE, targets, rng.uniform(-0.5, 0.5, targets.size) / DEGREE


def sparse_weights() -> Any:
    import scipy.sparse as sp

    indptr, targets, weights = connections()
    return sp.csr_matrix((weights, targets, indptr), shape=(NEURONS, NEURONS))


def adex() -> Any:
    import ssnn_py as ssnn

    model = ssnn.EventSDE(
        """
        dv/dt = (E_L - v + Delta*exp((v - v_T)/Delta) - a + i + I)/tau_m + sigma*xi
        da/dt = (c*(v - E_L) - a)/tau_a
        di/dt = -i/tau_s
        """,
        events=ssnn.Event(hazard="exp(beta*(v - v_th))", then="v -= v_reset; a += b", dead_zone=ZONE),
        synapse="i += w",
        parameters=ADEX,
    )
    return ssnn.Network(model, sparse_weights(), input_current=CURRENT)


def slif(tuned: bool) -> Any:
    import ssnn_py as ssnn

    weights = sparse_weights()
    if tuned:
        return ssnn.SLIFNetwork(weights, 0.8, mu=(20.0, 100.0), sigma=0.5, v_reset=1.0)
    model = ssnn.EventSDE(
        """
        dv/dt = mu1*(i + I - v) + sigma*xi
        di/dt = -mu2*i
        """,
        events=ssnn.Event(hazard="exp(beta*min(v - v_th, 10))", then="v -= v_reset", dead_zone=0.03),
        synapse="i += w",
        parameters=dict(mu1=20.0, mu2=100.0, sigma=0.5, v_reset=1.0, beta=5.0, v_th=1.0),
    )
    return ssnn.Network(model, weights, input_current=0.8)


def timed(network: Any, repeats: int = 3) -> tuple[float, float]:
    """Nanoseconds per neuron-step, and spikes per neuron."""
    import ssnn_py as ssnn

    run = {"dt": DT, "seed": 1, "threads": 1, "max_spikes": 1000 * NEURONS}
    ssnn.simulate(network, t1=10 * DT, **run)
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        solution = ssnn.simulate(network, t1=STEPS * DT, **run)
        times.append(time.perf_counter() - begin)
    return 1e9 * min(times) / (NEURONS * STEPS), float(solution.num_spikes[0]) / NEURONS


def bare_loop() -> tuple[float, float]:
    """The same of the loop in Julia."""
    from ssnn_py.engine import boot

    julia = boot.runtime()
    indptr, targets, weights = connections()
    out = (ctypes.c_double * 2)()
    path = Path(__file__).with_name("bare_adex.jl")
    julia.eval(f'isdefined(Main, :BareAdEx) || include(raw"{path}")')
    arrays = {"indptr": indptr + 1, "targets": targets + 1, "weights": weights}
    kept = {name: np.ascontiguousarray(array) for name, array in arrays.items()}

    def wrap(name: str) -> str:
        kind, array = "Int64" if name != "weights" else "Float64", kept[name]
        return f"unsafe_wrap(Array, Ptr{{{kind}}}({array.ctypes.data}), {array.size})"

    settings = ", ".join(f"{name} = {value}" for name, value in (ADEX | {"current": CURRENT, "zone": ZONE}).items())
    call = f"BareAdEx.run(STEPS, {DT}, {wrap('indptr')}, {wrap('targets')}, {wrap('weights')}, ({settings},), SEED)"
    julia.eval(call.replace("STEPS", "10").replace("SEED", "1"))
    times = []
    for seed in (1, 2, 3):
        done = call.replace("STEPS", str(STEPS)).replace("SEED", str(seed))
        pointer = f"Ptr{{Float64}}({ctypes.addressof(out)})"
        julia.eval(f"r = {done}; unsafe_store!({pointer}, r[1]); unsafe_store!({pointer}, Float64(r[2]), 2)")
        times.append(out[0])
    return 1e9 * min(times) / (NEURONS * STEPS), out[1] / NEURONS


def brian() -> None:
    """Run Brian2's C++ standalone mode in this process and print its time of the run phase as JSON."""
    import brian2 as b

    folder = tempfile.mkdtemp()
    b.set_device("cpp_standalone", directory=folder, build_on_run=False)
    b.seed(1)
    b.defaultclock.dt = DT * b.second
    units = {"tau_m": b.second, "tau_a": b.second, "tau_s": b.second, "sigma": b.Hz**0.5}
    group = b.NeuronGroup(
        NEURONS,
        """dv/dt = (E_L - v + Delta*exp((v - v_T)/Delta) - a + c_syn + current)/tau_m + sigma*xi : 1
        da/dt = (c*(v - E_L) - a)/tau_a : 1
        dc_syn/dt = -c_syn/tau_s : 1
        lam = exp(beta*clip(v - v_th, -1000, 10))*Hz : Hz""",
        threshold="rand() < lam*dt",
        reset="v -= v_reset; a += b",
        method="euler",
        namespace={**{name: value * units.get(name, 1) for name, value in ADEX.items()}, "current": CURRENT},
    )
    indptr, targets, weights = connections()
    synapses = b.Synapses(group, group, "w : 1", on_pre="c_syn_post += w")
    synapses.connect(i=np.repeat(np.arange(NEURONS), np.diff(indptr)), j=targets)
    synapses.w = weights
    monitor = b.SpikeMonitor(group)
    begin = time.perf_counter()
    b.run(STEPS * DT * b.second)
    b.device.build(directory=folder, compile=True, run=True, debug=False)
    seconds = b.device._last_run_time
    facts = {
        "seconds": seconds,
        "compile": time.perf_counter() - begin - seconds,
        "spikes": monitor.num_spikes / NEURONS,
    }
    print(json.dumps(facts))


def first_calls() -> None:
    """Print, as JSON, how long the first call with a new model takes in this process, and the second one."""
    import ssnn_py as ssnn

    ssnn.simulate(ssnn.SLIFNetwork([[0.0]]), t1=1.0, dt=0.01, engine="julia")  # Julia is started
    facts = {}
    for place, solver in enumerate(("euler_maruyama", "shark")):
        model = ssnn.EventSDE(
            f"dv/dt = (I - v + 0.{place + 1}*sin(v))/tau + 0.2*xi\nda/dt = v - a",
            events=ssnn.Event(hazard="exp(5*(v - 1))", then="v -= 1; a += b"),
            parameters=dict(tau=0.1, b=0.1),
        )
        begin = time.perf_counter()
        net = ssnn.Network(model, n=3, input_current=1.5)
        solution = ssnn.simulate(net, t1=1.0, dt=0.01, seed=1, solver=solver, engine="julia")
        after_first = time.perf_counter()
        solution.vjp(1.0)
        after_gradient = time.perf_counter()
        ssnn.simulate(net.replace(b=0.2), t1=1.0, dt=0.01, seed=2, solver=solver, engine="julia").vjp(1.0)
        again = time.perf_counter()
        facts[solver] = [after_first - begin, after_gradient - after_first, again - after_gradient]
    print(json.dumps(facts))


def apart(*arguments: str) -> Any:
    """What this script prints in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    text, text_spikes = timed(adex())
    loop, loop_spikes = bare_loop()
    rows = [["ssnn, from formulas", text_spikes, text, 1.0], ["loop in Julia", loop_spikes, loop, text / loop]]
    if importlib.util.find_spec("brian2") is not None:
        facts = apart("--brian")
        cost = 1e9 * facts["seconds"] / (NEURONS * STEPS)
        rows.append(["Brian2, C++ standalone", facts["spikes"], cost, text / cost])
    print(f"AdEx, {NEURONS} neurons, {DEGREE} targets, one sample, one thread")
    print(table(["", "spikes/s", "ns per neuron-step", "ssnn's time over it"], rows))
    tuned, _ = timed(slif(True))
    from_text, spikes = timed(slif(False))
    print("\nSLIF: tuned by hand, and from text")
    print(table(["", "spikes/s", "ns per neuron-step"], [["tuned", spikes, tuned], ["text", spikes, from_text]]))
    facts = apart("--first")
    print("\nfirst call with a new model, seconds (Julia is started, the model is in no cache)")
    rows = [[solver, *facts[solver]] for solver in facts]
    print(table(["solver", "simulation", "then gradient", "both again, other parameters"], rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brian", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--first", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.brian:
        brian()
    elif arguments.first:
        first_calls()
    else:
        main()
