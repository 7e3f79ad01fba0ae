"""Runs that go on from where others have ended, to the numbers of one run over the whole time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .drivers import FractionalBrownianMotion
from .engine import Problem, RawSolution, Start
from .errors import ValidationError
from .spike_trains import SpikeTrains, packed_spikes
from .validation import as_float, describe


def why_not(problem: Problem, engine: str, raw: RawSolution | None = None) -> str:
    """What of a run keeps it from being continued; nothing where it can be."""
    network = problem.network
    noises = [network.driver.of_noise(noise).terms for noise in network.noise_names]
    if engine == "sciml":
        return f"solver {problem.solver!r}, whose steps are its own: take a native solver (ssnn.solvers())"
    if problem.recording is not None:
        return "observed, a recording that ends with it: simulate over all of it"
    if problem.max_spikes is not None:
        return "max_spikes, which counts the spikes of the whole run: leave it out"
    if problem.insertions is not None:
        return "inserted spikes"
    if problem.device != "cpu":
        return f"device {problem.device!r}, which cannot begin where another run has ended: leave it out"
    if any(isinstance(term, FractionalBrownianMotion) for terms in noises for term in terms):
        return "fractional Brownian motion, whose path depends on where it ends: draw it as a SampledPath"
    if raw is not None and problem.last_is_shorter:
        return (
            f"a last step that is shorter than dt = {problem.dt:g}, and another than the run has that goes on: end it "
            f"at t1 = {problem.t0 + (problem.num_steps - 1) * problem.dt:.12g}"
        )
    if raw is not None and raw.last_state is None:
        return "no last state, as files of older versions have none: simulate again"
    return ""


def new_end(problem: Problem, engine: str, raw: RawSolution, t1: Any, what: str) -> float:
    """The time to which a solution, or a run, as `what` says, is to go on; raises where it cannot."""
    why = why_not(problem, engine, raw)
    if why:
        raise ValidationError(f"this run cannot go on, it has {why}")
    end = as_float("t1", t1)
    if end <= problem.t1:
        raise ValidationError(f"t1 must be after t = {problem.t1}, where the {what} ends, got {end}")
    return end


def continued(problem: Problem, raw: RawSolution, inputs: SpikeTrains | None = None, **changes: Any) -> Problem:
    """The problem that goes on where another has ended, with other `changes` of its fields; `inputs` are spikes on the
    input channels after that, if they are others than it had.
    """
    network, time, before = problem.network, problem.t1, problem.start
    assert raw.last_state is not None
    trains = SpikeTrains.unchecked(raw.spike_times, raw.spike_neurons, network.num_neurons, problem.begin, time)
    fired = trains.spike_counts + (0 if before is None or before.fired is None else before.fired)
    sent: tuple[Any, ...] = (None, None)
    if network.has_delays:
        sent = raw.spike_times, raw.spike_neurons
        if before is not None and before.spike_times is not None:
            sent = tuple(
                np.concatenate([old, new], axis=1)
                for old, new in zip((before.spike_times, before.spike_neurons), sent, strict=True)
            )
        sent = _under_way(sent[0], sent[1], time, network.longest_delay)
    start = Start(raw.last_state, problem.num_steps, time, fired, *sent)
    spikes = problem.input_spikes
    if spikes is not None and network.inputs is not None:
        spikes = _inputs(problem, spikes, inputs, network.inputs.longest_delay)
    return replace(problem, start=start, input_spikes=spikes, **changes)


def _under_way(times: Any, neurons: Any, time: float, delay: float) -> tuple[Any, Any]:
    """Those of the spikes, shape (S, K), that have not arrived everywhere at `time`."""
    return packed_spikes(times, neurons, (neurons >= 0) & (times + delay >= time))[:2]


def _inputs(problem: Problem, had: SpikeTrains, given: SpikeTrains | None, delay: float) -> SpikeTrains:
    """Spikes on input channels that still count: those under way, and those to come."""
    time, t1 = problem.t1, max(had.t1, problem.t1)
    times, neurons = had.times, had.neurons
    if given is not None:
        rows = (1, problem.num_samples)
        fits = isinstance(given, SpikeTrains) and given.num_neurons == had.num_neurons and given.num_samples in rows
        if not fits:
            raise ValidationError(
                f"input_spikes must be {had.num_neurons} channels in {problem.num_samples} samples, or in one for all, "
                f"got {describe(given)}"
            )
        first = float(given.times.min(initial=np.inf))
        if first <= time:
            raise ValidationError(
                f"input_spikes must come after t = {time:g}, where the run goes on, got one at {first}"
            )
        past = np.where(times <= time, neurons, -1)
        old, new = ((times, past), (given.times, given.neurons))
        size = max(len(had), len(given))
        times, neurons = (
            np.concatenate([np.broadcast_to(part, (size, part.shape[1])) for part in pair], axis=1)
            for pair in zip(old, new, strict=True)
        )
        t1 = given.t1
    times, neurons = _under_way(times, neurons, time, delay)
    return SpikeTrains.unchecked(times, neurons, had.num_neurons, had.t0, t1)


def check_start(problem: Problem) -> None:
    """Raise ValueError unless the start of a problem is one that a run may have left."""
    start, network = problem.start, problem.network
    assert start is not None
    samples, neurons = problem.num_samples, network.num_neurons
    fits = start.variables.shape == (network.num_variables, samples, neurons) and 0 < start.step < problem.num_steps
    fits = fits and start.fired is not None and start.fired.shape == (samples, neurons)
    if not fits or not np.isfinite(start.variables).all() or start.time >= problem.t1:
        raise ValueError("it goes on from a state that does not fit its network")
    if (start.spike_times is None) != (start.spike_neurons is None) or (
        start.spike_times is not None
        and start.spike_neurons is not None
        and (
            start.spike_times.shape != start.spike_neurons.shape
            or len(start.spike_times) != samples
            or start.spike_neurons.max(initial=-1) >= neurons
        )
    ):
        raise ValueError("it goes on with spikes under way that do not fit its network")
