"""Networks, finite differences and Julia programs that several tests use."""

import os
import subprocess

import numpy as np
import pytest

import ssnn_py as ssnn
from ssnn_py import engine as engines
from ssnn_py.engine import boot, debian
from ssnn_py.engine.boot import choice, libjulia


def one_neuron(**changes):
    settings = dict(weights=[[0.0]], input_current=1.5, mu=(15.0, 0.0), sigma=0.25, v_reset=1.4, alpha=0.03)
    return ssnn.SLIFNetwork(**{**settings, **changes})


def random_network(seed, neurons=5, samples=3, density=0.6, per_sample=True, sampled=True, matrix_noise=True):
    """A network in which every parameter has as many dimensions as it may."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 0.5, (neurons, neurons)) * (rng.random((neurons, neurons)) < density)
    weights[0, 0] = 0.4
    leading = (samples,) if per_sample else ()
    current = rng.uniform(1, 2, (*leading, neurons))
    if sampled:
        current = ssnn.SampledCurrent(np.linspace(0, 2, 9), rng.uniform(1, 2, (*leading, 9, neurons)))
    return ssnn.SLIFNetwork(
        weights=weights,
        input_current=current,
        mu=rng.uniform(4, 8, (neurons, 2)),
        sigma=rng.normal(0, 0.3, (neurons, 2, 2)) if matrix_noise else rng.uniform(0.1, 0.4, neurons),
        v_reset=rng.uniform(0.8, 1.4, (*leading, neurons)),
        alpha=rng.uniform(0.02, 0.1, neurons),
        intensity=ssnn.ExponentialIntensity(
            beta=rng.uniform(3, 5, neurons),
            v_th=rng.uniform(0.8, 1.1, (*leading, neurons)),
            tau=rng.uniform(0.3, 0.9, neurons),
        ),
    )


def run_arguments(seed, neurons=5, samples=3):
    """A run with a shortened last step, and records inside and at the ends of steps."""
    rng = np.random.default_rng(1000 + seed)
    return dict(
        t1=1.0953,
        dt=0.02,
        num_samples=samples,
        seed=seed,
        v0=rng.uniform(0, 1, (samples, neurons)),
        i0=0.3,
        saveat=[0.0, 0.02, 0.333, 1.0, 1.0953],
    )


def with_parameter(network, arguments, name, value):
    """Solve with another value of one parameter."""
    if name in ("v0", "i0"):
        return ssnn.simulate(network, **{**arguments, name: value})
    return ssnn.simulate(network.replace(**{name: value}), **arguments)


def scalar(solution, bars):
    """Σ bar · output over all outputs of a solution."""
    times = np.where(np.isfinite(solution.spike_times), solution.spike_times, 0.0)
    return (
        (bars[0] * times).sum()
        + (bars[1] * np.nan_to_num(solution.v)).sum()
        + (bars[2] * np.nan_to_num(solution.i)).sum()
    )


def by_reference(solution, directions):
    """What the reference engine makes of a solution's problem, with tangents, in one go: (outputs, tangents)."""
    blocks = {name: np.asarray(direction)[None] for name, direction in directions.items()}
    outputs = engines.load("reference").solve(solution.problem, blocks)
    return outputs, outputs.tangents


def random_trains(rng, samples, spikes, neurons, ties=False):
    counts = rng.integers(0, spikes + 1, samples)
    times = np.full((samples, spikes), np.inf)
    labels = np.full((samples, spikes), -1)
    for s, n in enumerate(counts):
        times[s, :n] = np.sort(rng.uniform(0, 2, n))
        labels[s, :n] = rng.integers(0, neurons, n)
        if ties and n > 2:
            times[s, 1] = times[s, 2]
            labels[s, 1] = (labels[s, 2] + 1) % neurons
    return ssnn.SpikeTrains(times, labels, neurons, 0.0, 2.0)


def why_no_modern_julia():
    """Why tests that need juliacall's Julia cannot run here; empty where they can."""
    found = boot.look_around()
    if not found.juliacall_installed:
        return "juliacall is not installed"
    if not (found.modern_julia or found.juliacall_imported):
        return "juliacall has no Julia 1.10 or newer"
    return "SSNN_JULIA asks for the embedded Julia" if found.requested == "embedded" else ""


def julia_programs():
    """The Julias of this machine that run as programs, by how the package starts them: (command, environment) each."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JULIA_")}
    found, programs = debian.installed(), {}
    if found is not None:
        executable = found.root / "usr/bin/julia"
        libraries, image = libjulia.embedded_files(executable)
        path = libjulia.library_path(libraries)
        programs["embedded"] = [str(executable), "-J", str(image)], {**environment, "LD_LIBRARY_PATH": path}
    modern = choice.modern_julia()
    if modern is not None:
        programs["juliacall"] = [str(modern)], environment
    return programs


def run_julia(how, *options, **environment):
    """What a Julia program says: (output, errors). Fails where it does; skips where there is no such Julia."""
    if how not in julia_programs():
        pytest.skip(f"there is no Julia that could be started by way of {how!r}")
    command, settings = julia_programs()[how]
    done = subprocess.run(
        [*command, "--startup-file=no", "--history-file=no", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        env={**settings, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def formula_network():
    """A model from formulas whose variables are not in the order of the alphabet, and are not called v and i."""
    model = ssnn.EventSDE(
        "dx/dt = (I - x)/tau + s*xi\nda/dt = -a",
        events=ssnn.Event(hazard="exp(4*(x - 1))", then="x -= 1; a += 1"),
        synapse="a += w",
        parameters=dict(tau=0.1, s=0.1),
    )
    return ssnn.Network(model, [[0.0, 0.3], [0.2, 0.0]], input_current=1.5)


class LastStateAndCount(ssnn.Loss):
    """The mean of Σ a(t1), recorded, and the number of spikes."""

    order_matters, observes_states = False, True

    def __call__(self, generated, data=None):
        last = np.zeros(generated.states["a"].shape)
        last[:, -1] = 1 / len(last)
        values = self.values(generated)
        return ssnn.LossValue(values.mean(), None, None, None, states_bar={"a": last})

    @staticmethod
    def values(batch):
        return batch.states["a"][:, -1].sum(-1) + batch.spike_trains.num_spikes

    def exchange(self, generated, data, other):
        return (self.values(other) - self.values(generated)) / len(generated.spike_trains.num_spikes)
