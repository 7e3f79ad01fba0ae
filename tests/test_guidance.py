"""Where users go wrong without an error of their own: they are told, with the remedy."""

import sys
import warnings

import numpy as np
import pytest
from helpers import one_neuron
from scipy import sparse

import ssnn_py as ssnn
from ssnn_py.simulation import solved


def poisson(rng, rate, samples=30, t1=1.0, t0=0.0):
    counts = rng.poisson(rate * (t1 - t0), samples)
    return ssnn.SpikeTrains.from_lists([[np.sort(rng.uniform(t0, t1, count))] for count in counts], t0, t1)


def test_weights_are_not_trained_where_there_is_no_synapse():
    """It would train nothing, and say nothing; a stored zero of a sparse matrix is a synapse."""
    run = dict(steps=1, num_samples=2, t1=0.5, dt=0.05, engine="reference")
    loss = ssnn.SampleMean(lambda trains: (trains.num_spikes, None))
    for wrt in ("weights", ["mu", "weights"]):
        with pytest.raises(ssnn.ValidationError, match=r"wrt names 'weights', but the network has no synapse.*sparse"):
            ssnn.fit(one_neuron(), None, loss, wrt, **run)
    run.pop("steps")
    (told,) = warned(lambda: ssnn.value_and_grad(loss, one_neuron(), "weights", **run))
    assert "no synapse" in told
    assert told.endswith("stored zeros are synapses: the gradient is 0")
    solution = ssnn.simulate(one_neuron(), t1=0.5, dt=0.05, engine="reference")
    bars = np.ones(solution.spike_times.shape)
    (told,) = warned(lambda: solution.vjp(bars, "weights"))
    assert "no synapse" in told
    assert warned(lambda: solution.vjp(bars)) == []
    stored = sparse.csr_matrix((np.zeros(1), ([0], [0])), shape=(1, 1))
    assert warned(lambda: ssnn.value_and_grad(loss, one_neuron(weights=stored), "weights", **run)) == []
    run["steps"] = 1
    assert ssnn.fit(one_neuron(weights=stored), None, loss, "weights", **run).parameters["weights"].shape == (1,)


def test_samples_seen_for_different_times_are_not_compared():
    """The time itself is a channel of the signature: the test would find that one is longer."""
    rng = np.random.default_rng(0)
    short, long = poisson(rng, 5.0, 4), poisson(rng, 5.0, 4, t1=2.0)
    for compare in (ssnn.two_sample_test, ssnn.signature_mmd, ssnn.signature_mmd_backprop):
        with pytest.raises(ssnn.ValidationError, match=r"one length, got \[0, 1\] and \[0, 2\].*cut it"):
            compare(short, long, engine="reference")
    later = ssnn.SpikeTrains(short.times + 3.0, short.neurons, 1, 3.0, 4.0)
    assert ssnn.signature_mmd(short, later, depth=3, engine="reference", unbiased=False) == pytest.approx(0.0, abs=1e-9)


def test_the_two_sample_test_is_scaled_by_default():
    """So that some spikes more do not make a statistic of 10^9."""
    rng, same = np.random.default_rng(1), dict(num_permutations=20, depth=4, engine="reference")
    X, Y = poisson(rng, 40.0, 8), poisson(rng, 60.0, 8)
    statistic = ssnn.two_sample_test(X, Y, **same).statistic
    assert 0 < statistic < 10
    assert abs(ssnn.two_sample_test(X, Y, **same, scales=1.0).statistic) > 1e3
    swapped = ssnn.two_sample_test(Y, X, **same).statistic
    assert swapped == pytest.approx(statistic, rel=1e-9)


def trains_of(counts, t1=1.0):
    return ssnn.SpikeTrains.from_lists([[np.linspace(0.1 * t1, 0.9 * t1, count)] for count in counts], 0.0, t1)


def test_kernels_that_cannot_be_floats_are_refused_before_they_are_computed(monkeypatch):
    """k is at least I₀(2n) for trains of n spikes each: beyond n = 357 no float64 holds it."""
    from ssnn_py import signature_kernels

    def compute(*arguments, **named):
        raise AssertionError("it is computed")

    monkeypatch.setattr(signature_kernels.SignatureKernel, "_in_numpy", compute)
    few, many = trains_of([3, 5]), trains_of([3, 420])
    refused = dict(match=r"too large for float64, more than 10\^36\d: give smaller scales \(see median_scales\)")
    for call in (
        lambda: ssnn.signature_kernel_gram(many, engine="reference"),
        lambda: ssnn.signature_mmd(few, many, engine="reference"),
        lambda: ssnn.SignatureMMD()(many, many),
        lambda: ssnn.two_sample_test(few, many, scales=1.0, engine="reference"),
        lambda: ssnn.signature_kernel(many, many, engine="reference"),
    ):
        with pytest.raises(ssnn.ValidationError, **refused):
            call()
    # Each of them is computed: another pair, other scales, normalised, cut at a depth.
    monkeypatch.undo()
    assert np.isfinite(ssnn.signature_kernel_gram(few, scales=[1.0, 0.1], engine="reference")).all()
    assert np.isfinite(ssnn.signature_kernel(many, trains_of([2, 2]), engine="julia")).all()


def test_the_bound_that_refuses_kernels_is_below_them(julia):
    """Whatever is refused would have overflowed; and what is just below the bound is computed."""
    for count, t1 in ((300, 1.0), (40, 80.0)):
        trains = trains_of([count], t1)
        kernel = ssnn.signature_kernel(trains, trains)[0]
        bound = 2 * max(count, t1)
        assert np.log(kernel) > bound - 0.5 * np.log(2 * np.pi * bound)


def test_the_bound_grows_with_scales_as_kernels_do(julia):
    """Of one straight piece k is I₀(2·c·length) for a scale c of both trains, and not of its square."""
    quiet = ssnn.SpikeTrains([[np.inf]], [[-1]], 1, 0.0, 100.0)
    assert ssnn.signature_kernel(quiet, quiet, scales=3.0)[0] == pytest.approx(np.i0(600.0), rel=1e-12)
    for scale in (3.6, 0.5):
        longer = ssnn.SpikeTrains([[np.inf]], [[-1]], 1, 0.0, 360.0 / scale)
        with pytest.raises(ssnn.ValidationError, match=r"too large for float64, more than 10\^311"):
            ssnn.signature_kernel(longer, longer, scales=scale)


def test_a_statistic_of_one_train_alone_is_told():
    """Kernels at scale 1 of 13 spikes are e^16 times those of five."""
    X, Y = trains_of([5, 4, 6]), trains_of([4, 5, 13])
    same = dict(engine="reference")
    for compare in (
        lambda **scales: ssnn.signature_mmd(X, Y, **scales, **same),
        lambda **scales: ssnn.two_sample_test(X, Y, **({"scales": 1.0} | scales), num_permutations=5, **same),
    ):
        (told,) = warned(compare)
        assert "that of the train with the most spikes is about e^26, that of the median one e^10" in told
        assert "median_scales" in told
        assert warned(lambda compare=compare: compare(scales=ssnn.median_scales(X))) == []
        assert warned(lambda compare=compare: compare(normalize=True)) == []
    assert warned(lambda: ssnn.signature_mmd(X, trains_of([4, 5, 7]), **same)) == []
    assert warned(lambda: ssnn.two_sample_test(X, Y, num_permutations=5, **same)) == []


def test_progress_changes_nothing(capsys):
    X, Y = trains_of([3, 2, 4, 1, 5]), trains_of([4, 2, 2])
    same = dict(num_permutations=30, engine="reference")
    quiet, told = (ssnn.two_sample_test(X, Y, progress=progress, **same) for progress in (False, True))
    assert told.p_value == quiet.p_value
    assert told.statistic == pytest.approx(quiet.statistic, rel=1e-12)
    assert "block" in capsys.readouterr().err
    swapped = dict(same, normalize=True)
    quiet, told = (ssnn.two_sample_test(X, Y, progress=progress, **swapped) for progress in (False, True))
    assert told.statistic == pytest.approx(quiet.statistic, rel=1e-9)


def warned(simulate):
    """What a function warns of as likely mistakes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        simulate()
    return [str(one.message) for one in caught if one.category is ssnn.LikelyMistakeWarning]


def formula(**changes):
    model = ssnn.EventSDE(
        "dv/dt = (i + I - v)/tau_m + sigma*xi\ndi/dt = -i**3",
        events=ssnn.Event(hazard="exp(5*(v - 1))", then="v -= 1.4"),
        parameters=dict(tau_m=1 / 15, sigma=0.2) | changes,
    )
    return ssnn.Network(model, input_current=1.5)


@pytest.mark.parametrize("network", [one_neuron(), formula()], ids=["SLIF", "formula"])
def test_a_step_longer_than_a_decay_is_told(network):
    run = dict(t1=0.3, engine="reference")
    assert warned(lambda: ssnn.simulate(network, dt=0.06, **run)) == []
    (told,) = warned(lambda: ssnn.simulate(network, dt=0.1, **run))
    assert told.startswith("dt = 0.1 is too large for solver 'euler_maruyama': v decays at a rate of 15,")
    assert "dt·rate = 1.5 > 1" in told
    assert "Take dt = 0.007 or less" in told
    assert ("exact_ou" in told) == isinstance(network, ssnn.SLIFNetwork)
    assert len(warned(lambda: ssnn.simulate(network, dt=0.1, solver="milstein", **run))) == 1
    assert warned(lambda: ssnn.simulate(network, dt=0.1, solver="stochastic_heun", **run)) == []


def test_the_step_is_told_by_gradients_and_training_once_and_not_where_it_is_chosen_for_one():
    loss = ssnn.SampleMean(lambda trains: (trains.num_spikes, None))
    run = dict(t1=0.3, dt=0.1, num_samples=2, engine="reference")
    net = one_neuron()
    assert len(warned(lambda: ssnn.value_and_grad(loss, net, "tau", **run))) == 1
    assert len(warned(lambda: ssnn.fit(net, None, loss, "tau", steps=3, **run))) == 1
    assert warned(lambda: solved(net, **run)) == []
    for module in ("multilevel", "recommendation"):
        assert not hasattr(sys.modules[f"ssnn_py.{module}"], "simulate"), "they take coarse steps on purpose"


def test_the_warning_is_of_the_users_line():
    with pytest.warns(ssnn.LikelyMistakeWarning) as caught:
        ssnn.simulate(one_neuron(), t1=0.3, dt=0.1, engine="reference")
    assert [one.filename for one in caught] == [__file__]


def test_synaptic_currents_that_never_decay_are_told():
    run = dict(t1=0.1, dt=0.01, engine="reference")
    weights = [[0.0, 0.5], [0.0, 0.0]]
    (told,) = warned(lambda: ssnn.simulate(ssnn.SLIFNetwork(weights), **run))
    assert "current never decays" in told
    assert "mu=(15.0, 5.0)" in told
    for quiet in (
        ssnn.SLIFNetwork(weights, mu=(15.0, 5.0)),
        ssnn.SLIFNetwork(weights, mu=[(15.0, 0.0), (15.0, 5.0)]),
        ssnn.SLIFNetwork(np.zeros((2, 2))),
        ssnn.SLIFNetwork(sparse.csr_matrix(weights)).replace(weights=[0.0]),
    ):
        assert warned(lambda quiet=quiet: ssnn.simulate(quiet, **run)) == []
    assert len(warned(lambda: ssnn.simulate(ssnn.SLIFNetwork(weights, mu=[(15.0, 5.0), (15.0, 0.0)]), **run))) == 1


def excited(weight, neurons=20, **changes):
    weights = weight * (1 - np.eye(neurons))
    return ssnn.SLIFNetwork(weights, input_current=1.5, sigma=0.25, mu=(15.0, 5.0), **changes)


@pytest.mark.parametrize("max_spikes", [None, 10**9])
def test_runaway_excitation_is_told_with_the_weights_and_the_remedy(julia, max_spikes):
    """With every spike making others follow, minutes of them would come before the memory is full."""
    run = dict(t1=10.0, dt=0.01, num_samples=2, max_spikes=max_spikes)
    with pytest.raises(ssnn.SSNNError, match=r"excitation runs away in sample [01]: 50 neurons fire") as caught:
        ssnn.simulate(excited(50.0, 50), **run)
    said = str(caught.value)
    assert "more than 10101 times within the step" in said
    assert "largest of the weights is 50, and all that leave a neuron add up to 2450" in said
    for remedy in ("smaller weights", "inhibition", "mu2", "alpha", "smaller dt", "max_spikes"):
        assert remedy in said


def test_the_limit_of_spikes_in_a_step_is_that_of_numerics(engine):
    """Up to it nothing changes, beyond it is an error, in both engines; without synapses there is none."""
    ring = sparse.csr_matrix(np.roll(np.eye(450), 1, axis=1))

    def count(rate):
        constant = ssnn.ExponentialIntensity(beta=0.0, tau=0.1 / rate)
        net = ssnn.SLIFNetwork(ring, mu=(15.0, 5.0), alpha=0.0, v_reset=0.0, intensity=constant)
        return ssnn.simulate(net, t1=0.1, dt=0.1, engine=engine).num_spikes[0]

    assert 2100 < count(4.8) <= 5 * 450
    with pytest.raises(
        ssnn.SSNNError, match=r"450 neurons fire more than 2250 times within the step from t = 0\.0: each"
    ):
        count(5.2)
    for weights, limit in ((np.ones((20, 20)), 10**6 // (20 + 20)), (np.zeros((20, 20)), np.inf)):
        assert ssnn.engine.spike_limit(ssnn.simulation.prepare(ssnn.SLIFNetwork(weights), 1.0, 0.1)[0]) == limit


def test_a_neuron_that_excites_itself_without_end_is_told_of_its_weight(engine):
    """More than 1000 spikes of one neuron within a step, as ever; now with what may be the reason."""
    net = ssnn.SLIFNetwork([[50.0]], input_current=1.5, mu=(15.0, 5.0), alpha=0.0)
    with pytest.raises(ssnn.SSNNError, match="dt is too large for its intensity: excitation may run away, where each"):
        ssnn.simulate(net, t1=2.0, dt=0.05, engine=engine)


def test_training_that_runs_away_keeps_its_result(julia):
    """A step of the optimizer that makes spikes explode ends the training, and not the patience of its user."""
    loss = ssnn.SampleMean(lambda trains: (-trains.num_spikes, None))
    with pytest.raises(ssnn.DivergedError, match="excitation"):
        ssnn.fit(
            excited(0.01), None, loss, "weights", steps=20, num_samples=2, optimizer=ssnn.SGD(1e3), t1=2.0, dt=0.02
        )
