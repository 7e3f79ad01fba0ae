"""The reference engine: docs/numerics.md in plain NumPy, all samples at once, one event after the other.

The independent oracle of the tests, and what computes where no Julia can be had. Everything is indexed by ``at = (samples, neurons)``, two
arrays of equal length; tangents have a leading axis over directions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SSNNError
from . import Array, Engine, Problem, RawSolution, Tangents

Words = NDArray[np.uint64]
At = tuple[NDArray[np.intp], NDArray[np.intp]]

_PARITY = np.uint64(0x1BD11BDAA9FC1A22)
_ROTATIONS = (16, 42, 12, 31, 16, 32, 24, 21)
INCREMENT, THRESHOLD, LAST_STEP = 0, 1, 3
MAX_SPIKES_IN_STEP = 1000


def threefry(key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[Words, Words]:
    """Threefry-2x64 with 20 rounds, elementwise (Salmon et al., SC 2011).

    Examples
    --------
    >>> [hex(int(word)) for word in threefry((0, 0), (0, 0))]
    ['0xc2b6e3a8c2c69865', '0x6f81ed42f350084d']
    """
    with np.errstate(over="ignore"):
        k0, k1, x0, x1 = (np.asarray(word, dtype=np.uint64) for word in (*key, *counter))
        keys = (k0, k1, k0 ^ k1 ^ _PARITY)
        x0, x1 = x0 + keys[0], x1 + keys[1]
        for round_ in range(20):
            turn = np.uint64(_ROTATIONS[round_ % 8])
            x0 = x0 + x1
            x1 = ((x1 << turn) | (x1 >> (np.uint64(64) - turn))) ^ x0
            if round_ % 4 == 3:
                group = round_ // 4 + 1
                x0, x1 = x0 + keys[group % 3], x1 + keys[(group + 1) % 3] + np.uint64(group)
    return x0, x1


def uniform(word: Words) -> Array:
    """The 52 leading bits, as a number strictly between 0 and 1."""
    return np.asarray(((word >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)


def _counter(purpose: int, component: Any, neuron: Any) -> Words:
    word = np.asarray(neuron, np.uint64) | (np.asarray(component, np.uint64) << np.uint64(32))
    return np.asarray(word | np.uint64(purpose << 36))


class _Run:
    """One solve in progress."""

    def __init__(self, problem: Problem, directions: Mapping[str, Array]) -> None:
        self.problem, network = problem, problem.network
        self.shape = (problem.num_samples, network.num_neurons)
        self.keys = np.arange(problem.first_sample, problem.first_sample + problem.num_samples, dtype=np.uint64)
        self.num_directions = next((block.shape[0] for block in directions.values()), 0)
        self.c: dict[str, Array] = {f"sigma{r}{k}": np.zeros(self.shape) for r in (1, 2) for k in (1, 2)}
        for name, array in problem.parameters.items():
            if name != "weights":
                self.c |= network.slots(name, array, problem.num_samples)
        self.d = {name: np.zeros((self.num_directions, *view.shape)) for name, view in self.c.items()}
        for name, block in directions.items():
            for p in range(self.num_directions if name != "weights" else 0):
                for slot, view in network.slots(name, block[p], problem.num_samples).items():
                    self.d[slot][p] = view
        position = network.synapses.position
        self.w = network.parameters["weights"].ravel()[position]
        blocks = directions.get("weights", np.zeros((self.num_directions, network.parameters["weights"].size)))
        self.dw = blocks.reshape(self.num_directions, network.parameters["weights"].size)[:, position]

        start = np.full(self.shape, problem.t0)
        self.v, self.i, self.a = self.c["v0"].copy(), self.c["i0"].copy(), start
        self.fired = np.zeros(self.shape, dtype=np.int64)
        everyone = self.everyone(np.ones(problem.num_samples, dtype=bool))
        self.s = (self.log_uniform(everyone) - self.c["alpha"][everyone]).reshape(self.shape)
        self.dv, self.di, self.ds = self.d["v0"].copy(), self.d["i0"].copy(), -self.d["alpha"]
        self.da = np.zeros((self.num_directions, *self.shape))
        self.alive = np.ones(problem.num_samples, dtype=bool)
        self.spikes: list[list[tuple[float, int, Array]]] = [[] for _ in range(problem.num_samples)]
        times = problem.saveat.size
        self.saved = np.full((2, problem.num_samples, times, network.num_neurons), np.nan)
        self.dsaved = np.zeros((2, self.num_directions, problem.num_samples, times, network.num_neurons))

    def everyone(self, alive: NDArray[np.bool_]) -> At:
        rows, columns = np.nonzero(np.broadcast_to(alive[:, None], self.shape))
        return rows, columns

    def log_uniform(self, at: At) -> Array:
        rows, neurons = at
        word, _ = threefry((self.problem.seed, self.keys[rows]), (self.fired[at], _counter(THRESHOLD, 0, neurons)))
        return np.log(uniform(word))

    def normals(self, step: int, purpose: int) -> Array:
        """Standard normals of a step, shape (2, S, N): one row per Brownian motion."""
        samples, neurons, components = self.keys[None, :, None], np.arange(self.shape[1]), np.arange(2)[:, None, None]
        word0, word1 = threefry((self.problem.seed, samples), (step // 2, _counter(purpose, components, neurons)))
        radius, angle = np.sqrt(-2.0 * np.log(uniform(word0))), 2.0 * np.pi * uniform(word1)
        return np.asarray(radius * (np.cos(angle) if step % 2 == 0 else np.sin(angle)))

    def rate(self, at: At) -> tuple[Array, Array]:
        """λ(v) and its tangents."""
        intensity = self.problem.network.intensity
        values = {name: self.c[name][at] for name in intensity.parameters}
        slope, partial = intensity.rate_derivatives(self.v[at], **values)
        drate = slope * self.dv[:, at[0], at[1]]
        for name, derivative in partial.items():
            drate = drate + derivative * self.d[name][:, at[0], at[1]]
        return intensity.rate(self.v[at], **values), drate

    def current(self, at: At) -> tuple[Array, Array]:
        """I at the local times, and its tangents."""
        current = self.problem.network.input_current
        slots = {name: self.c[name][at] for name in current.parameters}
        in_time, partial = current.derivatives(self.a[at], **slots)
        change = in_time * self.da[:, at[0], at[1]]
        for name, derivative in partial.items():
            moved = derivative * self.d[name][:, at[0], at[1]]
            change = change + (moved.sum(axis=-1) if current.knots.size else moved)
        return current.value(self.a[at], **slots), change

    def piece(self, at: At, end: Any, dend: Any = 0.0) -> tuple[Array, ...]:
        """(v, i, s) and their tangents at time `end`, along the pieces that start at the neurons' local times."""
        c = {name: self.c[name][at] for name in ("mu1", "mu2", "sigma11", "sigma12", "sigma21", "sigma22")}
        d = {name: self.d[name][:, at[0], at[1]] for name in c}
        v, i, s = self.v[at], self.i[at], self.s[at]
        dv, di, ds, da = (part[:, at[0], at[1]] for part in (self.dv, self.di, self.ds, self.da))
        current, dcurrent = self.current(at)
        rate, drate = self.rate(at)
        noise1, noise2 = self.noise[0][at], self.noise[1][at]
        velocity_v = c["mu1"] * (i + current - v) + c["sigma11"] * noise1 + c["sigma12"] * noise2
        velocity_i = -c["mu2"] * i + c["sigma21"] * noise1 + c["sigma22"] * noise2
        dvelocity_v = d["mu1"] * (i + current - v) + c["mu1"] * (di + dcurrent - dv)
        dvelocity_v = dvelocity_v + d["sigma11"] * noise1 + d["sigma12"] * noise2
        dvelocity_i = -d["mu2"] * i - c["mu2"] * di + d["sigma21"] * noise1 + d["sigma22"] * noise2
        length, dlength = end - self.a[at], dend - da
        return (
            v + length * velocity_v,
            i + length * velocity_i,
            s + length * rate,
            dv + length * dvelocity_v + dlength * velocity_v,
            di + length * dvelocity_i + dlength * velocity_i,
            ds + length * drate + dlength * rate,
        )

    def go(self, at: At, end: Any, dend: Any = 0.0) -> None:
        """Move neurons along their pieces to `end`, which becomes their local time."""
        v, i, s, dv, di, ds = self.piece(at, end, dend)
        self.v[at], self.i[at], self.s[at], self.a[at] = v, i, s, end
        for part, new in ((self.dv, dv), (self.di, di), (self.ds, ds), (self.da, dend)):
            part[:, at[0], at[1]] = new

    def step(self, n: int) -> None:
        problem = self.problem
        start = problem.t0 + n * problem.dt
        last = n == problem.num_steps - 1
        stop = problem.t1 if last else problem.t0 + (n + 1) * problem.dt
        increment, length = math.sqrt(problem.dt) * self.normals(n, INCREMENT), problem.dt
        if last and problem.num_steps - (problem.t1 - problem.t0) / problem.dt > 1e-9:
            length = stop - start
            bridge = math.sqrt(length * (problem.dt - length) / problem.dt)
            increment = length / problem.dt * increment + bridge * self.normals(n, LAST_STEP)
        self.noise = increment / length
        self.a[:] = start
        self.da[:] = 0.0
        saves = [(index, t) for index, t in enumerate(problem.saveat) if start < t <= stop]
        everyone = self.everyone(self.alive)
        rate, _ = self.rate(everyone)
        firing = np.zeros(self.shape, dtype=bool)
        if problem.network.intensity.event == "threshold":
            firing[everyone] = self.piece(everyone, stop)[0] >= self.c["v_th"][everyone]
        else:
            firing[everyone] = self.s[everyone] + (stop - start) * rate >= 0.0
        for sample in np.flatnonzero(firing.any(axis=1)):
            self.events(int(sample), stop, saves)
        for index, t in saves:
            # Samples with events have recorded what came before their last one.
            todo = self.everyone(self.alive & np.isnan(self.saved[0, :, index, 0]))
            self.save(todo, index, t)
        self.go(self.everyone(self.alive), stop)

    def save(self, at: At, index: int, t: float) -> None:
        v, i, _, dv, di, _ = self.piece(at, t)
        self.saved[0][at[0], index, at[1]], self.saved[1][at[0], index, at[1]] = v, i
        self.dsaved[0][:, at[0], index, at[1]], self.dsaved[1][:, at[0], index, at[1]] = dv, di

    def crossings(self, at: At, stop: float) -> tuple[Array, Array]:
        """When each neuron fires along its piece (inf: not before `stop`), and the tangents of these times."""
        a, da = self.a[at], self.da[:, at[0], at[1]]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if self.problem.network.intensity.event == "threshold":
                v, dv = self.v[at], self.dv[:, at[0], at[1]]
                v_stop, _, _, dv_stop, _, _ = self.piece(at, stop)
                slope = (v_stop - v) / (stop - a)
                # dv_stop is dv + (stop − a)·dslope − da·slope.
                dslope = (dv_stop - dv + da * slope) / (stop - a)
                gap, dgap = self.c["v_th"][at] - v, self.d["v_th"][:, at[0], at[1]] - dv
                fires, times = v_stop >= self.c["v_th"][at], a + gap / slope
                dtimes = da + dgap / slope - gap * dslope / slope**2
            else:
                rate, drate = self.rate(at)
                s, ds = self.s[at], self.ds[:, at[0], at[1]]
                fires, times = s + (stop - a) * rate >= 0.0, a - s / rate
                dtimes = da - ds / rate + s * drate / rate**2
            return np.where(fires, np.clip(times, a, stop), np.inf), dtimes

    def events(self, sample: int, stop: float, saves: list[tuple[int, float]]) -> None:
        """All spikes of one sample within the step, in the order of time."""
        network, problem = self.problem.network, self.problem
        neurons = np.arange(self.shape[1])
        whole = (np.full(neurons.size, sample), neurons)
        before = self.fired[sample].copy()
        while True:
            times, dtimes = self.crossings(whole, stop)
            j = int(np.argmin(times))
            tau, dtau = float(times[j]), dtimes[:, j]
            if not np.isfinite(tau):
                return
            for index, t in saves:
                if t < tau and np.isnan(self.saved[0, sample, index, 0]):
                    self.save(whole, index, t)
            synapses = slice(network.synapses.indptr[j], network.synapses.indptr[j + 1])
            targets = network.synapses.targets[synapses]
            touched = np.union1d(targets, [j])
            self.go((np.full(touched.size, sample), touched), tau, dtau[:, None])
            one = (np.array([sample]), np.array([j]))
            self.fired[sample, j] += 1
            if network.reset == "hard":
                self.v[sample, j], self.dv[:, sample, j] = self.c["v_reset"][sample, j], self.d["v_reset"][:, sample, j]
            else:
                self.v[sample, j] -= self.c["v_reset"][sample, j]
                self.dv[:, sample, j] -= self.d["v_reset"][:, sample, j]
            self.s[sample, j] = self.log_uniform(one)[0] - self.c["alpha"][sample, j]
            self.ds[:, sample, j] = -self.d["alpha"][:, sample, j]
            self.i[sample, targets] += self.w[synapses]
            self.di[:, sample, targets] += self.dw[:, synapses]
            self.spikes[sample].append((tau, j, dtau))
            if len(self.spikes[sample]) == problem.max_spikes:
                for index, t in saves:
                    if t == tau:
                        self.save(whole, index, t)
                self.alive[sample] = False
                return
            if self.fired[sample, j] - before[j] > MAX_SPIKES_IN_STEP:
                raise SSNNError(
                    f"neuron {j} fires more than {MAX_SPIKES_IN_STEP} times within the step to t = {stop}: "
                    "dt is too large for its intensity"
                )


class ReferenceEngine(Engine):
    """Plain NumPy: the same numbers as the Julia core, to rounding."""

    name = "reference"

    def solve(self, problem: Problem, directions: Mapping[str, Array] | None = None) -> RawSolution:
        run = _Run(problem, directions or {})
        if problem.saveat.size and problem.saveat[0] == problem.t0:
            run.saved[0][:, 0], run.saved[1][:, 0] = run.v, run.i
            run.dsaved[0][:, :, 0], run.dsaved[1][:, :, 0] = run.dv, run.di
        with np.errstate(over="ignore", invalid="ignore"):
            for n in range(problem.num_steps):
                if not run.alive.any():
                    break
                run.step(n)
        finite = np.isfinite(run.v).all(axis=1) & np.isfinite(run.s).all(axis=1)
        if not finite.all():
            raise SSNNError(
                f"the solution of sample {int(np.argmin(finite))} is no longer finite: dt = {problem.dt} is too large for the rates mu, "
                "or a parameter is too large"
            )
        counts = np.array([len(spikes) for spikes in run.spikes], dtype=np.int64)
        room = problem.max_spikes if problem.max_spikes is not None else int(counts.max(initial=0))
        times = np.full((problem.num_samples, room), np.inf)
        neurons = np.full((problem.num_samples, room), -1, dtype=np.int64)
        dtimes = np.zeros((run.num_directions, problem.num_samples, room))
        for sample, spikes in enumerate(run.spikes):
            for k, (tau, j, dtau) in enumerate(spikes):
                times[sample, k], neurons[sample, k], dtimes[:, sample, k] = tau, j, dtau
        tangents = Tangents(dtimes, *run.dsaved) if directions is not None else None
        return RawSolution(times, neurons, counts, ~run.alive, run.saved[0], run.saved[1], tangents)
