"""A balanced random network after Brunel (2000), here, in NEST, and in Brian2's C++ standalone mode with OpenMP.

10,000 excitatory and 2,500 inhibitory neurons, each with synapses from 1000 and 250 of them (10 %), inhibition five
times as strong, all delays 1.5 ms, steps of 0.1 ms. Between spikes

    dv = mu1*(i + I - v) dt + sigma dB        di = -mu2*i dt

a neuron fires at the rate exp(beta*(v - v_th))/tau, which puts v to v_reset, and adds w to i of its targets. The
constant drive I and the white noise sigma stand for Brunel's Poisson spikes from outside, escape noise for his
threshold. What is not the same everywhere:

* here spikes have times inside steps and arrive at times inside steps; in NEST and Brian2 they are on the grid, at the
  end of the step;
* NEST (gif_psc_exp) solves i and v exactly between grid points and holds the white noise constant over a step, with the
  variance per step that the others have; its reset needs a refractory time of one step, in which v is at v_reset;
* each draws the connections, by the same rule, and all noise by itself.

Every run is a process of its own. The part of the neurons is a run without synapses; the rest of the time of a run is
the part of its synaptic events. Rates and CVs are those after the first 0.2 s, CVs over the neurons with at least five
spikes, with the standard errors between runs of different seeds: what all neurons of a run do together moves them far
more than the spread over neurons tells. Times are the least of these runs.

The last table has gradients of the same network, but that a spike takes v_reset from v, as a pathwise gradient needs:
that of the mean rate with respect to the constant drive I and to v_th, unbiased, in forward mode, with the rate itself;
and that of the sum of all spike times with respect to all weights, in reverse mode, of a run that is there already.
Beside them the forward run of the same process, least times of a few repeats each. (What they are worth is another
matter: the network is chaotic, and the gradient of a run grows with its length.)

Run with ``python benchmarks/balanced_network.py --peers PYTHON``, where PYTHON is an interpreter that has ``nest`` or
``brian2``, or both; default: this one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from common import peak_memory, table

DT, SETTLING, DELAY = 1e-4, 0.2, 1.5e-3
MODEL = {
    **{"mu1": 50.0, "mu2": 500.0, "sigma": 1.0, "current": 1.0, "v_reset": 0.5},
    **{"beta": 20.0, "v_th": 1.0, "tau": 0.01},
}
WEIGHT, RATIO = 0.11, 5.0
PEERS = {"nest": "NEST", "brian2": "Brian2, C++ standalone"}


def connections(neurons: int, degree: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sources (a row per target), and weights in units of an excitatory one; four of five neurons are excitatory."""
    rng, excitatory = np.random.default_rng(seed), neurons * 4 // 5
    sources = np.empty((neurons, degree), dtype=np.int32)
    kinds = (0, excitatory, slice(0, degree * 4 // 5)), (excitatory, neurons, slice(degree * 4 // 5, degree))
    for first, last, columns in kinds:
        number = columns.stop - columns.start
        for target in range(neurons):
            inside = first <= target < last
            drawn = first + rng.choice(last - first - inside, number, replace=False, shuffle=False)
            sources[target, columns] = drawn + (inside & (drawn >= target))
    weights = np.where(np.arange(degree) < degree * 4 // 5, 1.0, -RATIO)
    return sources, weights, np.arange(neurons)


def statistics(times: np.ndarray, neurons: np.ndarray, number: int, stop: float) -> dict[str, float]:
    """Mean rate and CV of one run."""
    late = times >= SETTLING
    spikes, order = int(times.size), np.lexsort((times[late], neurons[late]))
    times, neurons = times[late][order], neurons[late][order]
    same = neurons[1:] == neurons[:-1]
    owners, intervals = neurons[1:][same], np.diff(times)[same]
    counts = np.bincount(owners, minlength=number)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.bincount(owners, intervals, number) / counts
        squares = np.bincount(owners, (intervals - means[owners]) ** 2, number) / (counts - 1)
        cvs = (np.sqrt(squares) / means)[counts >= 4]
    rate = times.size / number / (stop - SETTLING)
    return {"spikes": spikes, "rate": float(rate), "cv": float(cvs.mean()) if cvs.size else np.nan}


# --- each of them, in a process of its own ----------------------------------------------------------------------------


def network(chosen: argparse.Namespace, reset: str = "hard") -> Any:
    from scipy.sparse import csc_matrix, csr_matrix

    import ssnn_py as ssnn

    n, degree = chosen.neurons, chosen.degree
    if degree:
        sources, weights, _ = connections(n, degree)
        values = np.broadcast_to(chosen.weight * weights, sources.shape)
        edges = np.arange(n + 1) * degree
        matrix = csc_matrix((values.ravel(), sources.ravel(), edges), shape=(n, n)).tocsr()
        del sources, values
    else:
        matrix = csr_matrix((n, n))
    return ssnn.SLIFNetwork(
        matrix,
        MODEL["current"],
        mu=(MODEL["mu1"], MODEL["mu2"]),
        sigma=MODEL["sigma"],
        v_reset=MODEL["v_reset"],
        alpha=0.0,
        intensity=ssnn.ExponentialIntensity(MODEL["beta"], MODEL["v_th"], MODEL["tau"]),
        reset=reset,
        delays=DELAY if degree else None,
    )


def arguments_of_run(chosen: argparse.Namespace) -> dict[str, Any]:
    v0 = np.random.default_rng(1).uniform(0.0, 1.0, chosen.neurons)
    return {"dt": DT, "seed": chosen.seed, "v0": v0, "threads": chosen.threads, "solver": chosen.solver}


def ours(chosen: argparse.Namespace) -> dict[str, Any]:
    import ssnn_py as ssnn

    begin = time.perf_counter()
    net, run, n = network(chosen), arguments_of_run(chosen), chosen.neurons
    ssnn.simulate(net, t1=20 * DT, **run)
    built = time.perf_counter()
    solution = ssnn.simulate(net, t1=chosen.seconds, **run)
    seconds = time.perf_counter() - built
    times, neurons = solution.spike_times[0], solution.spike_neurons[0]
    fired = np.isfinite(times)
    times, neurons = times[fired], neurons[fired]
    return {
        **{"build": built - begin, "seconds": seconds, "memory": peak_memory() / 1024**2},
        "digest": hashlib.sha256(times.tobytes() + neurons.tobytes()).hexdigest(),
        **statistics(times, neurons, n, chosen.seconds),
    }


def gradient(chosen: argparse.Namespace) -> dict[str, Any]:
    """Least seconds of a forward run, of the mean rate with its gradient, and of that of spike times by all weights."""
    import ssnn_py as ssnn

    net, run, n = network(chosen, reset="subtract"), arguments_of_run(chosen), chosen.neurons

    def mean_rate(solution: ssnn.Solution) -> tuple[Any, ...]:
        per_spike = 1.0 / (n * solution.problem.t1)
        more = np.full((1, n), per_spike)  # what one more spike would add
        return per_spike * solution.num_spikes.sum(), np.zeros(solution.spike_times.shape), None, None, more

    def rate_and_gradient(t1: float) -> Any:
        return ssnn.value_and_grad(mean_rate, net, ("input_current", "v_th"), gradient="unbiased", t1=t1, **run)

    def timed(work: Any) -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    def by_weights(t1: float) -> float:
        solution = ssnn.simulate(net, t1=t1, **run)
        return timed(lambda: solution.vjp(np.ones(solution.spike_times.shape), "weights"))

    rate_and_gradient(20 * DT)
    by_weights(20 * DT)
    modes = {
        "forward run": lambda: timed(lambda: ssnn.simulate(net, t1=chosen.seconds, **run)),
        "rate, 2 parameters": lambda: timed(lambda: rate_and_gradient(chosen.seconds)),
        "times, all weights": lambda: by_weights(chosen.seconds),
    }
    found = {}
    for name, seconds in modes.items():
        found[name] = {"seconds": min(seconds() for _ in range(5)), "memory": peak_memory() / 1024**2}
    return found


def nest(chosen: argparse.Namespace) -> dict[str, Any]:
    import nest

    begin = time.perf_counter()
    nest.SetKernelStatus({"resolution": 1e3 * DT, "local_num_threads": chosen.threads, "rng_seed": chosen.seed + 1})
    n, degree, excitatory = chosen.neurons, chosen.degree, chosen.neurons * 4 // 5
    leak, noise_step = 1e-3 * MODEL["mu1"], 1 - np.exp(-DT * MODEL["mu1"])
    population = nest.Create(
        "gif_psc_exp",
        n,
        {
            **{"C_m": 1.0, "g_L": leak, "E_L": 0.0, "V_reset": MODEL["v_reset"], "V_T_star": MODEL["v_th"]},
            **{"Delta_V": 1 / MODEL["beta"], "lambda_0": 1 / MODEL["tau"], "t_ref": 1e3 * DT},
            **{"tau_syn_ex": 1e3 / MODEL["mu2"], "tau_syn_in": 1e3 / MODEL["mu2"], "I_e": leak * MODEL["current"]},
            **{"tau_sfa": [], "q_sfa": [], "tau_stc": [], "q_stc": []},
            "V_m": nest.random.uniform(0.0, 1.0),
        },
    )
    noise = nest.Create("noise_generator", params={"std": leak * MODEL["sigma"] * DT**0.5 / noise_step, "dt": 1e3 * DT})
    recorder = nest.Create("spike_recorder")
    nest.Connect(noise, population, syn_spec={"delay": 1e3 * DT})
    nest.Connect(population, recorder)
    kinds = (population[:excitatory], degree * 4 // 5, 1.0), (population[excitatory:], degree // 5, -RATIO)
    for senders, indegree, weight in kinds if degree else ():
        nest.Connect(
            senders,
            population,
            {"rule": "fixed_indegree", "indegree": indegree, "allow_autapses": False, "allow_multapses": False},
            {"synapse_model": "static_synapse", "weight": leak * chosen.weight * weight, "delay": 1e3 * DELAY},
        )
    nest.Prepare()
    nest.Run(20 * 1e3 * DT)
    built = time.perf_counter()
    nest.Run(1e3 * chosen.seconds)
    seconds = time.perf_counter() - built
    nest.Cleanup()
    events = recorder.get("events")
    times = 1e-3 * np.asarray(events["times"]) - 20 * DT
    senders = np.asarray(events["senders"], dtype=np.int64) - population[0].global_id
    late = times >= 0
    return {
        **{"build": built - begin, "seconds": seconds, "memory": peak_memory() / 1024**2, "version": nest.__version__},
        **statistics(times[late], senders[late], n, chosen.seconds),
    }


def brian2(chosen: argparse.Namespace) -> dict[str, Any]:
    import brian2 as b

    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        b.set_device("cpp_standalone", directory=folder, build_on_run=False)
        b.prefs.devices.cpp_standalone.openmp_threads = chosen.threads if chosen.threads > 1 else 0
        b.seed(chosen.seed + 1)
        b.defaultclock.dt = DT * b.second
        units = {"mu1": b.Hz, "mu2": b.Hz, "sigma": b.Hz**0.5, "tau": b.second}
        n, degree = chosen.neurons, chosen.degree
        group = b.NeuronGroup(
            n,
            """dv/dt = mu1*(c + current - v) + sigma*xi : 1
            dc/dt = -mu2*c : 1""",
            threshold="rand() < 1 - exp(-exp(beta*clip(v - v_th, -1000, 10))/tau*dt)",
            reset="v = v_reset",
            method="euler",
            namespace={name: value * units.get(name, 1) for name, value in MODEL.items()},
        )
        group.v = "rand()"
        if degree:
            sources, weights, targets = connections(n, degree)
            synapses = b.Synapses(group, group, "w : 1", on_pre="c_post += w", delay=DELAY * b.second)
            synapses.connect(i=sources.ravel(), j=np.repeat(targets, degree))
            synapses.w = np.tile(chosen.weight * weights, n)
            del sources
        monitor = b.SpikeMonitor(group)
        b.run(chosen.seconds * b.second)
        b.device.build(directory=folder, compile=True, run=False, debug=False)
        compilers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        b.device.run(folder, with_output=False, run_args=[])
        built = time.perf_counter() - begin - b.device._last_run_time
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        return {
            **{"build": built, "seconds": b.device._last_run_time, "version": b.__version__},
            "memory": memory if memory > compilers else np.nan,
            **statistics(np.asarray(monitor.t / b.second), np.asarray(monitor.i), n, chosen.seconds),
        }


# --- the tables -------------------------------------------------------------------------------------------------------


def apart(python: str, simulator: str, **options: object) -> dict[str, Any]:
    """Facts of one run."""
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    done = subprocess.run([python, __file__, "--run", simulator, *given], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{simulator} failed: {(done.stderr or done.stdout)[-2000:]}")
    printed = [line for line in done.stdout.splitlines() if line.startswith("{")]
    facts: dict[str, Any] = json.loads(printed[-1])
    return facts


def has(python: str, module: str) -> bool:
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", look], check=False).returncode == 0


def parts(
    python: str, simulator: str, neurons: int, degree: int, runs: int = 1, **options: Any
) -> tuple[dict[str, Any], float, float]:
    """Facts of runs, nanoseconds per neuron and step of one without synapses, and of the rest per synaptic event."""
    every = [apart(python, simulator, neurons=neurons, degree=degree, seed=seed, **options) for seed in range(runs)]
    fastest = min(every, key=lambda facts: facts["seconds"])
    facts = {**fastest, "digests": [facts["digest"] for facts in every if "digest" in facts]}
    for name in ("rate", "cv"):
        values = np.array([facts[name] for facts in every])
        facts[name] = values.mean()
        facts[f"{name}_error"] = values.std(ddof=1) / np.sqrt(runs) if runs > 1 else np.nan
    alone = apart(python, simulator, neurons=neurons, degree=0, **options)
    steps = neurons * options["seconds"] / DT
    rest = fastest["seconds"] - alone["seconds"]
    return facts, 1e9 * alone["seconds"] / steps, 1e9 * rest / (fastest["spikes"] * degree)


def row(name: str, threads: int, seconds: float, facts: dict[str, Any], step: float, event: float) -> list[object]:
    return [
        *(name, threads, facts["seconds"] / seconds, facts["build"], step, event),
        *(f"{facts['rate']:.3f} ± {facts['rate_error']:.3f}", f"{facts['cv']:.4f} ± {facts['cv_error']:.4f}"),
        facts["memory"],
    ]


def main(chosen: argparse.Namespace) -> None:
    seconds, sizes = chosen.seconds, {"neurons": chosen.neurons, "degree": chosen.degree, "runs": chosen.runs}
    rows, digests = [], {}
    for solver in chosen.solvers:
        for threads in (1, 2):
            found = parts(sys.executable, "ours", **sizes, threads=threads, seconds=seconds, solver=solver)
            digests[solver, threads] = found[0]["digests"]
            rows.append(row(f"ssnn, {solver}", threads, seconds, *found))
    missing = []
    for simulator, name in PEERS.items():
        if not has(chosen.peers, simulator):
            missing.append(name)
            continue
        found = parts(chosen.peers, simulator, **sizes, threads=2, seconds=seconds)
        rows.append(row(f"{name} {found[0]['version']}", 2, seconds, *found))
    print(f"{chosen.neurons} neurons, {chosen.degree} synapses to each, {seconds:g} s, {chosen.runs} runs")
    head = ["simulator", "threads", "s per s", "build, s", "ns per neuron-step", "ns per event", "rate, Hz", "CV", "MB"]
    print(table(head, rows))
    for solver in chosen.solvers:
        same = digests[solver, 1] == digests[solver, 2]
        print(f"{solver}: spikes on one thread and on two are {'the same to the bit' if same else 'NOT THE SAME'}")
    for name in missing:
        print(f"{name} is not installed for {chosen.peers}: no comparison")

    rows = []
    for neurons in (1000, 10_000, 100_000):
        short = seconds * min(1.0, 10_000 / neurons)
        sparse = {"neurons": neurons, "degree": 100, "weight": WEIGHT * 12.5**0.5}
        facts, step, event = parts(sys.executable, "ours", **sparse, threads=1, seconds=short)
        rows.append([neurons, short, facts["spikes"] / neurons / short, step, event, facts["memory"]])
    print("\nssnn, 100 synapses to each neuron, one thread")
    print(table(["neurons", "model s", "rate, Hz", "ns per neuron-step", "ns per event", "MB"], rows))

    short = 0.1
    rows = []
    for threads in (1, 2):
        settings = {"neurons": chosen.neurons, "degree": chosen.degree, "seconds": short, "threads": threads}
        facts = apart(sys.executable, "gradient", **settings)
        forward = facts["forward run"]["seconds"]
        rows += [
            [threads, name, each["seconds"], each["seconds"] / forward, each["memory"]] for name, each in facts.items()
        ]
    print(f"\nssnn, euler_maruyama, gradients of {short:g} s; memory is the peak so far")
    print(table(["threads", "what", "s", "forward runs", "MB"], rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="interpreter with nest and brian2")
    parser.add_argument("--seconds", type=float, default=1.2, help="of model time")
    parser.add_argument("--neurons", type=int, default=12_500)
    parser.add_argument("--degree", type=int, default=1250, help="synapses to each neuron")
    parser.add_argument("--solvers", nargs="+", default=["euler_maruyama"])
    parser.add_argument("--weight", type=float, default=WEIGHT, help="of excitatory synapses")
    parser.add_argument("--runs", type=int, default=4, help="of each simulator, with seeds of their own")
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--run", choices=["ours", "gradient", *PEERS], help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--solver", default="euler_maruyama", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        runs = {"ours": ours, "gradient": gradient, "nest": nest, "brian2": brian2}
        print(json.dumps(runs[arguments.run](arguments)))
    else:
        main(arguments)
