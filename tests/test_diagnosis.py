"""What a fit says of itself: standard errors against closed forms, what is not identified, what is still moving."""

import pickle

import numpy as np
import pytest

import ssnn_py as ssnn
from ssnn_py.diagnosis import Coordinates

T = 10.0
RUN = dict(t1=T, dt=1.0)
COUNT = ssnn.SpikeCountLoss()


def poisson(rate, **changes):
    """A neuron that fires at a constant rate."""
    constant = ssnn.ExponentialIntensity(beta=0.0, tau=1 / rate)
    return ssnn.SLIFNetwork([[0.0]], sigma=0.0, **{"alpha": 0.0, "intensity": constant, **changes})


def recorded(rate, samples, seed=1, **changes):
    return ssnn.simulate(poisson(rate, **changes), num_samples=samples, seed=seed, **RUN).spike_trains


def at(network, data, wrt, steps=0, loss=COUNT, **changes):
    """A fit of so many steps from where the network stands."""
    return ssnn.fit(network, data, loss, wrt, steps=steps, **RUN, **changes)


def test_standard_errors_are_those_of_a_poisson_rate(julia):
    """The loss (m − m')², m = T/τ: the estimate of τ has variance m(1/M + 1/S)·(τ²/T)², its curvature is 2(T/τ²)²."""
    tau, data, generated, repeats = 0.5, 100, 200, 60
    found = at(poisson(1 / tau), recorded(1 / tau, data), "tau", num_samples=generated).diagnose(repeats=repeats)
    mean, slope = T / tau, T / tau**2
    assert found.labels == ("tau",)
    assert found.gradient_kind == "unbiased"
    # The standard error of a standard deviation is 1/√(2R) of it; noise moves the curvature by its own error.
    expected = np.sqrt(mean * (1 / data + 1 / generated)) / slope
    assert found.standard_errors[0] == pytest.approx(expected, rel=4 / np.sqrt(2 * repeats))
    error = found.curvature_errors[0] / found.scales[0] ** 2
    assert error < 0.1 * 2 * slope**2
    assert abs(found.hessian[0, 0] - 2 * slope**2) < 4 * error + 0.02 * 2 * slope**2


def test_own_data_say_where_the_loss_would_be(julia):
    """At the truth the loss is one of them; at a rate of 2.5 instead of 2 it is above all."""
    data = recorded(2.0, 100)
    true, wrong = (at(poisson(rate), data, "tau").diagnose(repeats=20) for rate in (2.0, 2.5))
    assert true.own_losses.shape == true.losses.shape == (20,)
    assert true.p_value > 0.05
    assert "as repeated data would be" in repr(true)
    # (25 − 20)² against twice the variance of a mean count, 25·(1/100 + 1/100).
    assert wrong.p_value == 1 / 21
    assert wrong.losses.mean() == pytest.approx(25, abs=4 * 10 * np.sqrt(20 / 100 + 25 / 100 / 20))
    assert wrong.own_losses.mean() < 2.0
    assert "far from where repeated data would be" in repr(wrong)


def test_what_the_loss_cannot_tell_apart_is_named(julia):
    """Mean intervals are τ(1 + α): the mean count alone identifies no more than one combination of τ and α."""
    net = poisson(2.0, alpha=0.5)
    found = at(net, recorded(2.0, 200, alpha=0.5), ["tau", "alpha"], num_samples=400).diagnose(repeats=24)
    assert found.identified.tolist() == [True, False]
    assert np.isinf(found.standard_errors).all()
    (what,) = found.unidentified
    # Along dτ/τ = −dα/(1 + α) nothing changes: in units of their sizes as 1 to −(1 + α)/α = −3.
    ratio = found.combinations[1] / found.combinations[1][0]
    assert ratio[1] == pytest.approx(-3.0, rel=0.25)
    assert "alpha" in what
    assert "tau" in what
    assert f"does not identify {what}" in repr(found)
    alone = at(net, recorded(2.0, 200, alpha=0.5), ["tau", "alpha"], num_samples=400).diagnose("tau", repeats=24)
    assert alone.labels == ("tau",)
    assert np.isfinite(alone.standard_errors).all()


def test_a_parameter_without_effect_is_not_identified(julia):
    """At β = 0 the threshold has no say: its curvature is 0."""
    found = at(poisson(2.0), recorded(2.0, 50), ["tau", "v_th"]).diagnose(repeats=8)
    assert np.isfinite(found.standard_errors).tolist() == [True, False]
    assert found.unidentified == ("v_th",)


def test_a_training_that_is_under_way_is_told(julia):
    data = recorded(2.0, 100)
    early = at(poisson(1.0), data, "tau", steps=30, optimizer=ssnn.SGD(2e-5)).diagnose(repeats=4)
    assert early.still_moving.tolist() == [True]
    assert early.moved[0] < 0
    assert "still under way: tau went one way" in repr(early)
    late = at(poisson(2.0), data, "tau", steps=60, optimizer=ssnn.SGD(1e-4)).diagnose(repeats=4)
    assert late.still_moving.tolist() == [False]
    none = at(poisson(2.0), data, "tau").diagnose(repeats=4)
    assert none.moved.tolist() == [0.0]


def test_coordinates_of_weights_are_synapses(julia):
    net = ssnn.SLIFNetwork([[0.0, 0.3], [0.2, 0.0]], input_current=[1.5, 1.2], mu=(15.0, 5.0), sigma=0.25)
    run = dict(t1=1.0, dt=0.02, num_samples=8)
    loss = ssnn.SampleMean(lambda trains: (trains.num_spikes, None))
    fit = ssnn.fit(net, None, loss, ["weights", "mu"], steps=1, gradient="pathwise", **run)
    found = fit.diagnose(repeats=2)
    assert found.labels == ("weights[0, 1]", "weights[1, 0]", "mu[0]", "mu[1]")
    assert found.hessian.shape == (4, 4)
    assert found.gradient_kind == "pathwise"
    assert found.own_losses.size == 0
    assert np.isnan(found.p_value)
    from scipy import sparse

    same = ssnn.fit(
        ssnn.SLIFNetwork(sparse.csr_matrix(net.parameters["weights"]), net.input_current, (15.0, 5.0), 0.25),
        None, loss, ["weights", "mu"], steps=1, gradient="pathwise", **run,
    )  # fmt: skip
    np.testing.assert_allclose(same.diagnose(repeats=2).values, found.values)


def test_at_the_edge_of_what_is_allowed_curvature_is_taken_from_one_side(julia):
    """As at a dead zone of 0, which must not be negative."""
    net = poisson(2.0).replace(sigma=0.0)
    loss = ssnn.SampleMean(lambda trains: (trains.num_spikes, None))
    fit = ssnn.fit(net, None, loss, ["alpha", "tau"], steps=0, num_samples=4, **RUN)
    found = fit.diagnose(repeats=2)
    assert np.isfinite(found.hessian).all()
    with pytest.raises(ssnn.ValidationError, match="step"):
        fit.diagnose(step=-1.0)


def test_what_cannot_be_diagnosed_says_so(tmp_path, julia):
    fit = at(poisson(2.0), recorded(2.0, 4), "tau", steps=1)
    ssnn.save(tmp_path / "fit.npz", fit)
    for other in (pickle.loads(pickle.dumps(fit)), ssnn.load(tmp_path / "fit.npz")):
        assert other == fit
        with pytest.raises(ssnn.ValidationError, match=r"steps=0, \.\.\.\)\.diagnose"):
            other.diagnose()
    with pytest.raises(ssnn.ValidationError, match="wrt names an unknown parameter 'sigma'; there are tau"):
        fit.diagnose("sigma")
    big = ssnn.SLIFNetwork(0.1 * np.ones((20, 20)), mu=(15.0, 5.0))
    loss = ssnn.SampleMean(lambda trains: (trains.num_spikes, None))
    fit = ssnn.fit(big, None, loss, "weights", steps=0, num_samples=2, t1=0.1, dt=0.1)
    with pytest.raises(ssnn.ValidationError, match=r"at most 200 entries in all, got 400: .* 12800 simulations"):
        fit.diagnose()


def test_coordinates_are_the_numbers_of_synapses_alone():
    inputs = ssnn.SpikeInput([[0.5, 0.0], [0.3, 0.2]], [[0.1, 0.0], [0.1, 0.2]])
    network = ssnn.SLIFNetwork([[0.0, 0.4], [0.0, 0.0]], delays=[[0.0, 0.2], [0.0, 0.0]], inputs=inputs)
    names = ("weights", "delays", "input_weights", "input_delays")
    coordinates = Coordinates(network, {name: network.parameters[name] for name in names}, names)
    assert coordinates.values.tolist() == [0.4, 0.2, 0.5, 0.3, 0.2, 0.1, 0.1, 0.2]
    assert coordinates.labels[1:4] == ("delays[0, 1]", "input_weights[0, 0]", "input_weights[1, 0]")
