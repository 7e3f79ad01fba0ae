"""What a run will take, before it is made: steps, events, memory and time, from a short pilot."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import engine as engines
from .engine import Problem, RawSolution
from .engine.executors import part_of
from .errors import ValidationError
from .network import Network
from .simulation import prepare
from .spike_trains import SpikeTrains
from .synapses import of_synapses
from .validation import counted

#: Neuron-steps of the pilot, its least number of steps, and its samples if it is a part of the time only, at most.
PILOT_STEPS, LEAST_STEPS, PILOT_SAMPLES = 2**21, 64, 8
#: Bytes of a spike; per neuron and variable of each thread.
SPIKE, THREAD_VARIABLE = 16, 64
#: As in ``julia/src/host/team.jl``: so many neurons at least are each thread's where threads share a sample.
MEMBER_NEURONS = 512


@dataclass(frozen=True)
class Estimate:
    """What :func:`estimate` returns; printed, it says so in words.

    Attributes
    ----------
    steps : int
        Steps of one sample.
    neurons, samples : int
    neuron_steps : int
        Of all neurons in all samples.
    spikes : float
        Expected, of all samples together.
    arrivals : float
        Expected arrivals of spikes at synapses, from outside, too.
    memory : dict of str to float
        Bytes of the largest things that are in memory at the same time: ``"network"``, ``"threads"`` (what each thread
        of the core has of the network), ``"spikes"``, ``"states"``.
    seconds : float
        On `threads` threads of this machine, if it has nothing else to do; the first call, which compiles, excepted.
    threads : int
    duration : float
        t1 − t0.
    pilot_steps, pilot_samples : int
        What that was learnt from.
    """

    steps: int
    neurons: int
    samples: int
    spikes: float
    arrivals: float
    memory: dict[str, float]
    seconds: float
    threads: int
    duration: float
    pilot_steps: int
    pilot_samples: int

    @property
    def neuron_steps(self) -> int:
        return self.steps * self.neurons * self.samples

    @property
    def total_memory(self) -> float:
        """Bytes, all together."""
        return sum(self.memory.values())

    @property
    def rate(self) -> float:
        """Spikes per neuron and unit of time."""
        return self.spikes / (self.samples * self.neurons * self.duration)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {_bytes(size)}" for name, size in self.memory.items() if size > 0)
        return (
            f"Estimate: {counted(self.steps, 'step')} of {counted(self.neurons, 'neuron')} in "
            f"{counted(self.samples, 'sample')}, {self.neuron_steps:.2g} neuron-steps\n"
            f"  events  about {self.spikes:.2g} spikes, {self.rate:.3g} per neuron and unit of time, and "
            f"{self.arrivals:.2g} arrivals at synapses\n"
            f"  memory  about {_bytes(self.total_memory)} ({parts})\n"
            f"  time    about {_seconds(self.seconds)} on {counted(self.threads, 'thread')}\n"
            f"  from a pilot of {counted(self.pilot_steps, 'step')} of {counted(self.pilot_samples, 'sample')}"
            f"{'' if self.pilot_steps < self.steps else ', the whole time'}"
        )


def estimate(network: Network, t1: float, dt: float, **simulate_arguments: Any) -> Estimate:
    """What a call of :func:`simulate` will take: steps, expected events, memory and time.

    A few samples are simulated for the first part of the time, twice: the second time tells how long a step takes, and
    the later half how often neurons fire. Spikes are taken to go on at that rate: where a network needs longer than the
    pilot to settle, they will not.

    Parameters
    ----------
    network, t1, dt, **simulate_arguments
        As for :func:`simulate`.

    Returns
    -------
    Estimate

    Raises
    ------
    ValidationError
        Where `simulate` would, but for what does not fit into memory: :attr:`Estimate.memory` says so; and of a run on
        another `device` than the processor.

    See Also
    --------
    record : runs on disk, in memory that does not grow with time.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
    >>> plan = ssnn.estimate(net, t1=1000.0, dt=0.01, num_samples=16)
    >>> plan.steps, plan.memory["states"]
    (100000, 0.0)
    >>> whole = ssnn.simulate(net, t1=1000.0, dt=0.01, num_samples=16)
    >>> bool(0.9 < plan.spikes / whole.num_spikes.sum() < 1.1)
    True
    """
    problem, name = prepare(network, t1, dt, any_size=True, **simulate_arguments)
    if problem.device != "cpu":
        raise ValidationError(
            f"device must be 'cpu', got {problem.device!r}: a few samples do not tell how long a device takes for many"
        )
    engine, neurons = engines.load(name), network.num_neurons
    samples = min(problem.num_samples, PILOT_SAMPLES)
    if name == "sciml" or problem.recording is not None:  # of which there is no part
        steps = problem.num_steps
    else:
        steps = min(problem.num_steps, max(LEAST_STEPS, PILOT_STEPS // (samples * neurons)))
    if steps == problem.num_steps:  # of short runs more samples, or what every call costs would be all there is to see
        samples = min(problem.num_samples, max(samples, PILOT_STEPS // (steps * neurons)))
    pilot = _beginning(problem, steps, samples)
    raw = engine.solve(pilot)
    if name == "julia":
        engine.solve(pilot)  # which compiles what the first call has not needed
    seconds = math.inf
    for _ in range(3 if name == "julia" else 1):
        begin = time.process_time()
        engine.solve(pilot)
        seconds = min(seconds, time.process_time() - begin)

    counts = SpikeTrains.unchecked(raw.spike_times, raw.spike_neurons, neurons, pilot.t0, pilot.t1).spike_counts
    firings = _expected(problem, pilot, raw, counts.sum(axis=0) / samples)
    fan_out = np.diff(network.synapses.indptr) if network.synapses.targets.size else np.zeros(neurons)
    arrivals = float((firings * fan_out).sum()) * problem.num_samples + _from_outside(problem)
    mean = float(firings.sum())
    work = problem.num_steps * problem.num_samples / (pilot.num_steps * samples)
    return Estimate(
        steps=problem.num_steps,
        neurons=neurons,
        samples=problem.num_samples,
        spikes=mean * problem.num_samples,
        arrivals=arrivals,
        memory=_memory(problem, mean, name),
        seconds=seconds * work / _busy_threads(problem),
        threads=problem.threads,
        duration=problem.t1 - problem.t0,
        pilot_steps=pilot.num_steps,
        pilot_samples=samples,
    )


def _beginning(problem: Problem, steps: int, samples: int) -> Problem:
    """Some of the samples over some of the time."""
    part = part_of(problem, slice(0, samples))
    if steps == problem.num_steps:
        return part
    t1 = problem.t0 + steps * problem.dt
    return replace(part, t1=t1, num_steps=steps, saveat=problem.saveat[problem.saveat <= t1])


def _expected(problem: Problem, pilot: Problem, raw: RawSolution, counts: NDArray[Any]) -> NDArray[Any]:
    """How often each neuron of a sample fires, on average: in the pilot, and as in its later half from there on."""
    middle = 0.5 * (pilot.t0 + pilot.t1)
    late = np.where(raw.spike_times > middle, raw.spike_neurons, -1)
    rates = np.bincount(late[late >= 0], minlength=counts.size) / len(late) / (pilot.t1 - middle)
    expected = counts + rates * (problem.t1 - pilot.t1)
    limit = math.inf if problem.max_spikes is None else problem.max_spikes
    return np.asarray(expected * min(1.0, limit / max(float(expected.sum()), 1e-300)))


def _from_outside(problem: Problem) -> float:
    inputs, spikes = problem.network.inputs, problem.input_spikes
    if inputs is None or spikes is None:
        return 0.0
    there = spikes.neurons[(spikes.neurons >= 0) & (spikes.times <= problem.t1)]
    copies = problem.num_samples if spikes.num_samples == 1 else 1
    return float(np.diff(inputs.synapses.indptr)[there].sum()) * copies


def _busy_threads(problem: Problem) -> int:
    """How many threads compute at the same time: each a sample, or all of them one where there are fewer samples."""
    shared = max(1, problem.network.num_neurons // MEMBER_NEURONS) if problem.num_samples < problem.threads else 1
    return min(problem.threads, max(problem.num_samples, shared))


def _synapse_bytes(network: Network) -> float:
    """What the arrays of synapses take, and what is put together of them for the core during a call."""
    lists = [network.synapses, *([] if network.inputs is None else [network.inputs.synapses])]
    arrays = [part for synapses in lists for part in synapses.held() if part is not None]
    numbers = [network.parameters[name] for name in of_synapses(network.parameters)]
    in_place = len(lists) == 1 and network.synapses.are_list_of(network.parameters.get("weights", np.empty(0)))
    joined = 0 if in_place else 12 * sum(synapses.targets.size for synapses in lists)
    return float(sum(array.nbytes for array in [*arrays, *numbers]) + joined)


def _memory(problem: Problem, spikes: float, engine: str) -> dict[str, float]:
    network, samples = problem.network, problem.num_samples
    threads = _busy_threads(problem)
    most = spikes + 3.0 * math.sqrt(spikes)
    if problem.num_columns is not None:
        held = float(problem.num_columns)
    elif engine == "julia":  # arrays that are made longer until they are long enough, and then cut
        held = 64.0 + 4.0 * network.num_neurons
        while held < most:
            held *= 4
        held += most
    else:
        held = most
    states = len(network.states) * problem.saveat.size * network.num_neurons
    return {
        "network": _synapse_bytes(network),
        "threads": float(threads * THREAD_VARIABLE * _numbers(network)),
        "spikes": SPIKE * held * samples,
        "states": 8.0 * (states + _numbers(network)) * samples if states else 0.0,
    }


def _numbers(network: Network) -> int:
    return network.num_variables * network.num_neurons


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _seconds(seconds: float) -> str:
    for limit, unit, name in ((1, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "minutes"), (172_800, 3600, "hours")):
        if seconds < limit:
            return f"{seconds / unit:.2g} {name}"
    return f"{seconds / 86400:.2g} days"
