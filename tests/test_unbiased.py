"""Unbiased gradients are the derivatives of expectations, where spikes that appear and vanish count."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import needs_julia
from helpers import one_neuron, random_network, run_arguments

import ssnn_py as ssnn
from ssnn_py import engine as engines
from ssnn_py.engine import Cotangents, Insertions, contract

SOLVERS = ("euler_maruyama", "milstein", "stochastic_heun", "shark", "exact_ou")
PARAMETERS = ("weights", "input_current", "mu", "sigma", "v_reset", "alpha", "beta", "v_th", "tau", "v0", "i0")


def counts(trains):
    return trains.num_spikes, None


def squares(trains):
    times = np.where(trains.neurons >= 0, trains.times, 0.0)
    return (times**2).sum(axis=1), 2.0 * times


def pairs(trains):
    """How often neuron 0 fires before neuron 1 of 2, or 2 of 5: it matters which comes first."""
    before = np.cumsum(trains.neurons == 0, axis=1)
    return ((trains.neurons == trains.num_neurons // 2) * before).sum(axis=1), None


# --- the cotangents of the hazards, against transposes, differences, and the other engine
# -------------------------------------------


def random_insertions(solution, rng, at_saves):
    """One inserted spike per sample: at one of its spikes, or, in every other sample, at a recorded time."""
    samples, neurons = solution.spike_times.shape[0], solution.network.num_neurons
    rows = np.arange(samples)
    spikes = rng.integers(0, solution.num_spikes)
    fired = solution.spike_neurons[rows, spikes]
    others = (fired + 1 + rng.integers(0, neurons - 1, samples)) % neurons
    saves = rng.integers(1, solution.ts.size - 1, samples)
    there = at_saves & (rows % 2 == 0)
    return Insertions(others, np.where(there, -1, spikes), np.where(there, saves, -1))


def random_cotangents(solution, insertions, rng):
    samples, neurons = solution.spike_times.shape[0], solution.network.num_neurons
    recorded = solution.v.shape
    times, *states = (rng.normal(size=shape) for shape in (solution.spike_times.shape, recorded, recorded))
    entries = (rng.normal(size=shape) for shape in ((samples, neurons), recorded, (samples,)))
    return Cotangents(times, dict(zip(("v", "i"), states, strict=True)), *entries, insertions)


@needs_julia
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_hazards_have_the_same_tangents_in_both_engines_and_transposed(solver, seed):
    network, arguments = random_network(seed, samples=4), run_arguments(seed, samples=4) | {"solver": solver}
    problem = ssnn.simulate(network, **arguments).problem
    solution = ssnn.simulate(network, **arguments)
    rng = np.random.default_rng(seed)
    insertions = random_insertions(solution, rng, at_saves=False)
    cotangents = random_cotangents(solution, insertions, rng)
    directions = {name: rng.normal(size=(1, *value.shape)) for name, value in problem.parameters.items()}
    directions["weights"] *= network.parameters["weights"] != 0
    one, two = (engines.load(name).solve(problem, directions, insertions).tangents for name in ("julia", "reference"))
    for part in ("s", "s_at_saves", "s_at_insertions"):
        mine, theirs = getattr(one, part), getattr(two, part)
        assert np.array_equal(mine != 0, theirs != 0)
        assert set(np.unique(mine != 0)) == {False, True}
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())
    gradients = engines.load("julia").pull_back(problem, cotangents, tuple(problem.parameters))
    reverse = sum((gradients[name] * directions[name][0]).sum() for name in gradients)
    assert reverse == pytest.approx(contract(cotangents, one)[0], rel=1e-10)


@needs_julia
@pytest.mark.parametrize("solver", ["euler_maruyama", "shark"])
def test_samples_go_on_after_an_inserted_spike_in_the_same_way_in_both_engines(solver):
    for seed in range(3):
        network, arguments = random_network(seed, samples=6), run_arguments(seed, samples=6) | {"solver": solver}
        solution = ssnn.simulate(network, **arguments)
        insertions = random_insertions(solution, np.random.default_rng(seed), at_saves=True)
        problem = replace(solution.problem, insertions=insertions)
        one, two = (engines.load(name).solve(problem) for name in ("julia", "reference"))
        assert np.array_equal(one.spike_neurons, two.spike_neurons)
        for part in ("spike_times", "v", "i"):
            np.testing.assert_allclose(getattr(one, part), getattr(two, part), rtol=1e-9, atol=1e-9)
        for sample, (k, spike, save) in enumerate(
            zip(insertions.neurons, insertions.spikes, insertions.saves, strict=True)
        ):
            if spike >= 0:  # right after that spike, at the same time; before it nothing has changed
                assert np.array_equal(one.spike_times[sample, : spike + 1], solution.spike_times[sample, : spike + 1])
                assert one.spike_times[sample, spike + 1] == one.spike_times[sample, spike]
                assert one.spike_neurons[sample, spike + 1] == k
            else:
                assert k in one.spike_neurons[sample, one.spike_times[sample] == solution.ts[save]]
                assert np.array_equal(one.v[sample, : save + 1], solution.v[sample, : save + 1])


def test_a_constant_rate_in_closed_form(engine):
    """E[N] = t1/τ without dead zone, in every sample: its derivative is −t1/τ²."""
    network = one_neuron(alpha=0.0, intensity=ssnn.ExponentialIntensity(beta=0.0, tau=0.5))
    run = dict(t1=3.0, dt=0.1, num_samples=20, engine=engine)
    _, gradients = ssnn.value_and_grad(ssnn.SampleMean(counts), network, "tau", gradient="unbiased", **run)
    assert gradients["tau"] == pytest.approx(-12.0, rel=1e-12)
    _, reverse = ssnn.value_and_grad(ssnn.SampleMean(counts), network, ["tau", "alpha", "v0"], **run)
    assert reverse["tau"] == pytest.approx(-12.0, rel=1e-12)
    assert reverse["v0"] == 0.0


def test_order_of_spikes_of_two_independent_neurons_in_closed_form(engine):
    """E[#{neuron 0 before neuron 1}] = t1²/(2 τ0 τ1). Without the spikes that change their order one derivative is 0,
    the other twice the truth.
    """
    network = ssnn.SLIFNetwork(
        np.zeros((2, 2)), alpha=0.0, v_reset=0.0, intensity=ssnn.ExponentialIntensity(beta=0.0, tau=[0.5, 1.0])
    )
    size = 60 if engine == "reference" else 10_000

    def gradient(first, loss):
        run = dict(t1=2.0, dt=0.1, num_samples=size, first_sample=first * size, engine=engine)
        return ssnn.value_and_grad(loss, network, "tau", gradient="unbiased", **run)[1]["tau"]

    estimates = np.array([gradient(first, ssnn.SampleMean(pairs)) for first in range(10)])
    error = estimates.std(axis=0, ddof=1) / np.sqrt(10)
    assert np.all(np.abs(estimates.mean(axis=0) - [-8.0, -4.0]) < 4.5 * error)
    assert np.all(error < (3.0 if engine == "reference" else 0.2))
    indifferent = gradient(0, ssnn.SampleMean(pairs, order_matters=False))
    assert indifferent[0] == 0.0
    assert indifferent[1] == pytest.approx(-8.0, abs=2.5)


# --- against finite differences of means, with common random numbers
# ---------------------------------------------------------------


def check_against_means(losses, data, network, direction, parts, size, step, far, **run):
    """The unbiased derivative along `direction` is within 4 standard errors of the mean's, and the pathwise one `far`
    times these 4 off, if that is positive.

    Of each part, `size` samples, the loss at θ ± h with the noise of the derivative: what they differ by has mean 0,
    and little variance.
    """
    names = tuple(direction)
    truths, unbiased, pathwise = [], [], []
    for part in range(parts):
        arguments = dict(num_samples=size, first_sample=part * size) | run
        ends = []
        for sign in (1.0, -1.0):
            moved = {name: network.parameters[name] + sign * step * d for name, d in direction.items()}
            solution = ssnn.simulate(network.replace(**moved), **arguments)
            ends.append(np.array([loss(solution, data).value for loss in losses]))
        truths.append((ends[0] - ends[1]) / (2.0 * step))
        for gradient, estimates in (("unbiased", unbiased), ("pathwise", pathwise)):
            if gradient == "pathwise" and part >= 3:
                continue
            along = []
            for loss in losses:
                given = ssnn.value_and_grad(loss, network, names, data=data, gradient=gradient, **arguments)[1]
                along.append(sum((given[name] * d).sum() for name, d in direction.items()))
            estimates.append(along)
    truth, difference = np.mean(truths, axis=0), np.array(unbiased) - truths
    error = difference.std(axis=0, ddof=1) / np.sqrt(parts)
    assert np.all(np.abs(difference.mean(axis=0)) < 4.0 * error), (difference.mean(axis=0), error, truth)
    off = np.abs(np.mean(pathwise, axis=0) - truth)
    assert np.all(off > far * 4.0 * error), (off, error, truth)


class MeanPotential(ssnn.Loss):
    """E[Σ_k v_k(t)] at the recorded time of that index."""

    observes_states, order_matters = True, False

    def __init__(self, index):
        self.index = index

    def __call__(self, generated, data=None):
        bar = np.zeros(generated.v.shape)
        bar[:, self.index] = 1.0 / len(bar)
        return ssnn.LossValue(generated.v[:, self.index].sum(axis=1).mean(), None, bar)

    def exchange(self, generated, data, other):
        return (other.v - generated.v)[:, self.index].sum(axis=1) / len(generated.v)


@needs_julia
@pytest.mark.parametrize("solver", ["euler_maruyama", "shark", "exact_ou"])
def test_moments_of_one_neuron_against_differences_of_means(solver):
    network = one_neuron(mu=(15.0, 2.0), sigma=[[0.25, 0.0], [0.0, 0.2]])
    direction = {"input_current": 1.0, "mu": np.array([0.5, 0.1]), "sigma": np.eye(2) * 0.2, "v_reset": -0.3}
    direction |= {"alpha": 0.05, "beta": 0.5, "v_th": 0.1, "tau": -0.2}
    losses = (ssnn.SampleMean(counts), ssnn.SampleMean(squares), MeanPotential(0))
    run = dict(t1=0.6, dt=0.01, saveat=[0.6], solver=solver)
    check_against_means(losses, None, network, direction, 20, 4000, 0.02, far=2.0, **run)


def recurrent_network():
    weights = np.random.default_rng(4).normal(0.0, 0.5, (5, 5)) * (1 - np.eye(5))
    current = [1.2, 1.0, 0.8, 1.1, 0.7]
    return ssnn.SLIFNetwork(weights, current, mu=(15.0, 5.0), sigma=0.25, v_reset=1.2, alpha=0.03)


def recurrent_direction():
    rng = np.random.default_rng(8)
    weights = rng.normal(0.3, 1.0, size=(5, 5)) * (1 - np.eye(5))
    own = {"mu": np.array([2.0, 0.5]), "sigma": 0.1, "v_reset": -0.2, "alpha": -0.02, "beta": 0.5}
    return {"weights": weights, "input_current": rng.normal(0.5, 0.5, size=5), **own}


@needs_julia
def test_moments_of_a_recurrent_network_against_differences_of_means():
    """Recorded within a step, at the end of one, and at t1; how often one neuron fires before another."""
    losses = (ssnn.SampleMean(counts), ssnn.SampleMean(pairs), *(MeanPotential(index) for index in range(3)))
    run = dict(t1=0.5, dt=0.01, saveat=[0.203, 0.4, 0.5])
    check_against_means(losses, None, recurrent_network(), recurrent_direction(), 20, 4000, 0.01, far=1.0, **run)


def recurrent_data(samples):
    network = recurrent_network().replace(input_current=0.7)
    return ssnn.simulate(network, t1=0.5, dt=0.01, num_samples=samples, seed=2**40).spike_trains


@needs_julia
def test_the_expected_signature_loss_of_a_recurrent_network_against_differences_of_means():
    loss = ssnn.ExpectedSignatureLoss(depth=3, match_spikes=False, scales=0.5)
    run = dict(t1=0.5, dt=0.01)
    check_against_means(
        (loss,), recurrent_data(5000), recurrent_network(), recurrent_direction(), 20, 1000, 0.01, far=1.0, **run
    )


@needs_julia
def test_the_signature_mmd_of_a_recurrent_network_against_differences_of_means():
    loss = ssnn.SignatureMMD(scales=0.4)
    run = dict(t1=0.5, dt=0.01)
    check_against_means(
        (loss,), recurrent_data(40), recurrent_network(), recurrent_direction(), 60, 60, 0.01, far=1.0, **run
    )


@needs_julia
def test_counts_in_windows_and_classification_by_counts_against_differences_of_means():
    """A spike that crosses the edge of a window changes the counts, and neither loss is a sum over samples' spikes."""
    samples = 4000
    labels = np.random.default_rng(3).integers(0, 5, samples)
    counted = np.random.default_rng(4).integers(0, 4, (samples, 5, 2))
    network, direction, run = recurrent_network(), recurrent_direction(), dict(t1=0.5, dt=0.01)
    check_against_means((ssnn.CountCrossEntropy(),), labels, network, direction, 20, samples, 0.01, far=2.0, **run)
    windows = ssnn.SpikeCountLoss("mse", windows=[(0.0, 0.2), (0.2, 0.5)])
    check_against_means((windows,), counted, network, direction, 20, samples, 0.01, far=2.0, saveat=[0.2], **run)


@needs_julia
def test_classification_by_first_spikes_against_differences_of_means():
    """Its pathwise gradient is unbiased: a spike that leaves the interval is at t1 when it does."""
    loss = ssnn.FirstSpikeCrossEntropy(0.1, earliness=0.2)
    labels = np.random.default_rng(3).integers(0, 5, 1500)
    check_against_means(
        (loss,), labels, recurrent_network(), recurrent_direction(), 12, 1500, 0.01, far=-1.0, t1=0.5, dt=0.01
    )


@needs_julia
@pytest.mark.parametrize("start", [1.4, 1.3])
def test_a_fit_on_potentials_ends_at_the_truth_wherever_it_starts(start):
    """The input current is 1.4; many samples a step, so that what is left is not their noise."""
    run = {"t1": 1.0, "dt": 0.02, "saveat": [0.0, 0.5, 1.0]}
    truth = ssnn.SLIFNetwork([[0.0]], 1.4, mu=(15.0, 5.0), sigma=0.25, v_reset=1.4, alpha=0.03)
    data = ssnn.simulate(truth, num_samples=40_000, seed=100, engine="julia", **run)
    result = ssnn.fit(
        truth.replace(input_current=start),
        data,
        ssnn.PotentialLoss("expected_signature", depth=2),
        "input_current",
        steps=80,
        batch_size=2000,
        optimizer=ssnn.Adam(ssnn.piecewise_constant({0: 1e-2, 40: 2e-3})),
        engine="julia",
        **run,
    )
    assert result.gradient == "unbiased"
    assert abs(result.history["input_current"][-30:].mean() - 1.4) < 0.02
