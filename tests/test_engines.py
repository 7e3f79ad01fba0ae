"""Engines, thread counts and chunks give the same numbers."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import needs_julia
from helpers import one_neuron, random_network, run_arguments

import ssnn_py as ssnn

CASES = [
    (0, {}),
    (1, {"per_sample": False, "sampled": False}),
    (2, {"matrix_noise": False}),
    (3, {"neurons": 8}),
    (4, {"neurons": 1}),
    (5, {"neurons": 2, "sampled": False}),
]


@needs_julia
@pytest.mark.parametrize(("seed", "shape"), CASES)
@pytest.mark.parametrize("max_spikes", [None, 7])
def test_julia_and_numpy_agree(seed, shape, max_spikes):
    neurons = shape.get("neurons", 5)
    network, arguments = random_network(seed, **shape), run_arguments(seed, neurons) | {"max_spikes": max_spikes}
    one, two = (ssnn.simulate(network, engine=name, **arguments) for name in ("julia", "reference"))
    assert np.array_equal(one.spike_neurons, two.spike_neurons)
    assert np.array_equal(one.truncated, two.truncated)
    assert one.num_spikes.sum() > 0
    for part in ("spike_times", "v", "i"):
        np.testing.assert_allclose(getattr(one, part), getattr(two, part), rtol=1e-9, atol=1e-9)
    rng = np.random.default_rng(seed)
    directions = {name: rng.normal(size=value.shape) for name, value in one.problem.parameters.items()}
    a, b = one.tangents(directions), two.tangents(directions)
    scale = max(1.0, np.abs(b.v).max(), np.abs(b.spike_times).max(initial=0))
    for part in ("spike_times", "v", "i"):
        np.testing.assert_allclose(getattr(a, part), getattr(b, part), rtol=1e-9, atol=1e-9 * scale)
    bars = [rng.normal(size=part.shape) for part in (one.spike_times, one.v, one.i)]
    forward, reverse = two.vjp(bars[0], v_bar=bars[1], i_bar=bars[2]), one.vjp(bars[0], v_bar=bars[1], i_bar=bars[2])
    there = one.problem.parameters["weights"] != 0
    for name, gradient in forward.items():
        gradient = gradient * there if name == "weights" else gradient
        np.testing.assert_allclose(reverse[name], gradient, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(gradient).max()))


@needs_julia
def test_sampled_current_that_is_held():
    network = one_neuron(input_current=ssnn.SampledCurrent([0.0, 0.3, 0.95], [1.0, 2.0, 0.5], interpolation="previous"))
    one, two = (
        ssnn.simulate(network, 1.5, 0.01, num_samples=4, saveat=0.1, engine=name) for name in ("julia", "reference")
    )
    np.testing.assert_allclose(one.spike_times, two.spike_times, rtol=1e-9)
    np.testing.assert_allclose(one.v, two.v, rtol=1e-9, atol=1e-12)


@needs_julia
def test_threads_do_not_change_a_bit():
    network = random_network(3, samples=40)
    arguments = run_arguments(3, samples=40)
    one, two = (ssnn.simulate(network, threads=threads, **arguments) for threads in (1, 2))
    assert np.array_equal(one.spike_times, two.spike_times)
    assert np.array_equal(one.v, two.v)
    bar = np.random.default_rng(0).normal(size=one.spike_times.shape)
    first, second = one.vjp(bar), two.vjp(bar)
    for name, gradient in first.items():
        assert np.array_equal(gradient, second[name]), name
    direction = {"beta": 1.0, "weights": network.parameters["weights"]}
    assert np.array_equal(one.jvp(direction), two.jvp(direction))


NUMBERS_OF_A_RUN = """
import sys
import numpy as np
import ssnn_py as ssnn

net = ssnn.SLIFNetwork(0.2 * (1 - np.eye(3)), input_current=[1.0, 1.2, 1.4], sigma=0.2)
numbers = []
for solver in ("euler_maruyama", "exact_ou"):
    solution = ssnn.simulate(net, 3.0, 0.01, num_samples=16, max_spikes=12, saveat=0.5, solver=solver)
    gradients = solution.vjp(np.ones_like(solution.spike_times), v_bar=solution.v)
    numbers += [solution.spike_times, solution.v, ssnn.signature_kernel_gram(solution), *gradients.values()]
np.savez(sys.argv[1], *numbers)
"""


@needs_julia
def test_how_much_julia_optimises_changes_numbers_by_rounding_alone(tmp_path):
    for level in ("1", "3"):
        subprocess.run(
            [sys.executable, "-c", NUMBERS_OF_A_RUN, str(tmp_path / level)],
            env=os.environ | {"SSNN_JULIA_OPTIMIZE": level},
            check=True,
        )
    with np.load(tmp_path / "1.npz") as one, np.load(tmp_path / "3.npz") as three:
        for name in three:
            scale = np.nanmax(np.abs(three[name]), where=np.isfinite(three[name]), initial=1.0)
            np.testing.assert_allclose(one[name], three[name], rtol=1e-11, atol=1e-11 * scale)


def test_samples_do_not_depend_on_their_batch(engine):
    network = one_neuron()
    run = dict(t1=2.0, dt=0.01, max_spikes=4, seed=9, engine=engine, saveat=0.25)
    whole = ssnn.simulate(network, num_samples=6, **run)
    parts = [ssnn.simulate(network, num_samples=2, first_sample=first, **run) for first in (0, 2, 4)]
    assert np.array_equal(whole.spike_times, np.concatenate([part.spike_times for part in parts]))
    assert np.array_equal(whole.v, np.concatenate([part.v for part in parts]), equal_nan=True)


def test_recording_does_not_change_the_path(engine):
    network = one_neuron()
    run = dict(t1=2.0, dt=0.01, num_samples=4, seed=9, engine=engine)
    assert np.array_equal(
        ssnn.simulate(network, **run).spike_times, ssnn.simulate(network, saveat=0.013, **run).spike_times
    )


def test_seeds_and_samples_differ(engine):
    run = dict(t1=2.0, dt=0.01, num_samples=2, max_spikes=1, engine=engine)
    times = [ssnn.simulate(one_neuron(), seed=seed, **run).spike_times for seed in (0, 1, 2**64 - 1)]
    assert np.unique(times).size == 6


def test_capacity_for_spikes_grows_by_itself(engine):
    network = one_neuron(intensity=ssnn.ExponentialIntensity(beta=0.0, tau=0.01), alpha=0.0)
    solution = ssnn.simulate(network, t1=6.0, dt=0.01, num_samples=2, seed=1, engine=engine)
    assert solution.num_spikes.min() > 400
    assert not solution.truncated.any()
    assert solution.spike_times.shape[1] == solution.num_spikes.max()
    times = solution.spike_times[0][: solution.num_spikes[0]]
    assert np.all(np.diff(times) >= 0)


def test_a_blow_up_is_an_error(engine):
    quiet = ssnn.ExponentialIntensity(beta=0.0, tau=1e12)
    with pytest.raises(ssnn.SSNNError, match="no longer finite"):
        ssnn.simulate(one_neuron(mu=(500.0, 0.0), intensity=quiet), t1=100.0, dt=0.1, engine=engine)


def test_an_intensity_too_steep_for_the_step_is_an_error(engine):
    network = one_neuron(v_reset=0.0, alpha=0.0, intensity=ssnn.ExponentialIntensity(beta=0.0, tau=1e-6))
    with pytest.raises(ssnn.SSNNError, match="fires more than"):
        ssnn.simulate(network, t1=1.0, dt=0.1, engine=engine)


@needs_julia
def test_without_julia_one_warning_and_the_same_numbers(monkeypatch):
    from ssnn_py import engine as engines
    from ssnn_py.engine import boot

    def no_julia():
        raise ssnn.JuliaError("there is none")

    expected = ssnn.simulate(one_neuron(), t1=1.0, dt=0.01, seed=2).spike_times
    monkeypatch.delenv("SSNN_JULIA", raising=False)  # a Julia that is named has no fallback
    monkeypatch.setattr(boot, "runtime", no_julia)
    engines._best_engine.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="ssnn setup"):
            solution = ssnn.simulate(one_neuron(), t1=1.0, dt=0.01, seed=2)
        again = ssnn.simulate(one_neuron(), t1=1.0, dt=0.01, seed=2)  # silently: warnings are errors here
    finally:
        engines._best_engine.cache_clear()
    assert solution.engine == again.engine == "reference"
    np.testing.assert_allclose(solution.spike_times, expected, rtol=1e-9)
