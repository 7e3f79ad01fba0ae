"""Losses on potentials, and on potentials and spikes together."""

import numpy as np
import pytest
from helpers import one_neuron, random_network

import ssnn_py as ssnn

RUN = {"t1": 0.6, "dt": 0.01, "saveat": [0.0, 0.15, 0.3, 0.45, 0.6]}
LOSSES = {
    "mmd": ssnn.PotentialLoss(scales=0.5),
    "expected signature": ssnn.PotentialLoss("expected_signature", depth=3),
    "one neuron": ssnn.PotentialLoss(neurons=[1], scales=[1.0, 0.5]),
    "spikes and potentials": ssnn.SumLoss([ssnn.PotentialLoss(scales=0.5), ssnn.ExpectedSignatureLoss(2)], [1.0, 0.1]),
}


@pytest.fixture(autouse=True)
def _engine(engine, monkeypatch):
    monkeypatch.setenv("SSNN_ENGINE", engine)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_in_parameters_against_finite_differences(name):
    network = random_network(0, 2, 4, per_sample=False, sampled=False)
    data = ssnn.simulate(random_network(1, 2, 4, per_sample=False, sampled=False), num_samples=4, seed=9, **RUN)
    loss = LOSSES[name]
    value, gradients = ssnn.value_and_grad(
        lambda s: loss(s, data), network, ["alpha", "mu"], gradient="pathwise", num_samples=4, seed=3, **RUN
    )
    assert abs(value) > 1e-6
    for parameter in ("alpha", "mu"):
        direction = np.random.default_rng(0).normal(size=network.parameters[parameter].shape)
        values = [
            loss(
                ssnn.simulate(
                    network.replace(**{parameter: network.parameters[parameter] + sign * 1e-6 * direction}),
                    num_samples=4,
                    seed=3,
                    **RUN,
                ),
                data,
            ).value
            for sign in (1, -1)
        ]
        wanted = (values[0] - values[1]) / 2e-6
        assert (gradients[parameter] * direction).sum() == pytest.approx(wanted, rel=1e-5, abs=1e-8)


def test_training_on_potentials():
    quiet, run = ssnn.ExponentialIntensity(beta=0.0, tau=1e9), RUN | {"dt": 0.05}
    truth = one_neuron(mu=(3.0, 0.0), intensity=quiet)
    data = ssnn.simulate(truth, num_samples=32, seed=1, **run)
    result = ssnn.fit(
        truth.replace(input_current=1.0),
        data,
        ssnn.PotentialLoss("expected_signature", depth=2),
        "input_current",
        steps=60,
        optimizer=ssnn.Adam(0.03),
        **run,
    )
    assert abs(result.network.parameters["input_current"] - 1.5) < 0.15


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda s: ssnn.PotentialLoss("l2"), "kind"),
        (lambda s: ssnn.PotentialLoss(depth=0), "depth"),
        (lambda s: ssnn.PotentialLoss()(s.spike_trains, s), "generated"),
        (lambda s: ssnn.PotentialLoss()(s, np.zeros((2, 3, 1))), "data"),
        (lambda s: ssnn.PotentialLoss(neurons=[3])(s, s), "neurons"),
        (lambda s: ssnn.SumLoss([]), "losses"),
        (lambda s: ssnn.SumLoss([ssnn.PotentialLoss()], [1.0, 2.0]), "weights"),
    ],
)
def test_what_losses_on_potentials_refuse_they_name(call, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        call(ssnn.simulate(one_neuron(), num_samples=2, **RUN))
    cut = ssnn.simulate(one_neuron(), num_samples=2, max_spikes=1, **{**RUN, "t1": 3.0, "saveat": 0.5})
    with pytest.raises(ssnn.ValidationError, match="max_spikes"):
        ssnn.PotentialLoss()(cut, cut)
    trains = ssnn.simulate(one_neuron(), num_samples=2, **RUN).spike_trains
    with pytest.raises(ssnn.ValidationError, match="data must be a Solution with recorded potentials"):
        ssnn.PotentialLoss()(ssnn.simulate(one_neuron(), num_samples=2, **RUN), trains)
