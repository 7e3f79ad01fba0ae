"""Expected signatures and signature kernels on devices: the numbers of the processor, by lanes that are tasks on the
host; tests/modern has them by KernelAbstractions.jl.
"""

import re

import numpy as np
import pytest
from conftest import needs_julia
from helpers import one_neuron, random_network
from signature_cases import CASES, SCALES, assert_agree, batches, kernels, long_kernel, signatures

import ssnn_py as ssnn

pytestmark = needs_julia


@pytest.mark.parametrize("name", CASES)
def test_kernels_are_those_of_the_processor(name):
    assert_agree(kernels(name, "cpu"), kernels(name, "emulation:1"), 1e-12)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("name", ["one at a time", "at once"])
@pytest.mark.parametrize("lanes", [1, 3])
def test_expected_signatures_are_those_of_the_processor(name, depth, lanes):
    assert_agree(signatures(name, "cpu", depth), signatures(name, f"emulation:{lanes}", depth), 1e-13)


def test_kernels_beyond_the_range_of_floats_have_units_as_on_the_processor():
    assert_agree(long_kernel("cpu"), long_kernel("emulation:1"), 1e-11)


@pytest.fixture
def little_memory(julia):
    julia.eval("SSNN.EMULATED_MEMORY[] = 1")
    yield
    julia.eval("SSNN.EMULATED_MEMORY[] = 2^30")


@pytest.mark.parametrize("name", ["one at a time", "at once"])
def test_nothing_depends_on_how_much_fits_into_memory(name, julia, request):
    once = kernels(name, "emulation:1"), signatures(name, "emulation:2", 3)
    request.getfixturevalue("little_memory")
    for whole, parts in zip(once, (kernels(name, "emulation:1"), signatures(name, "emulation:2", 3)), strict=True):
        assert_agree(whole, parts, 0.0)


def test_blocks_of_rows_make_the_same_matrix():
    X = batches("at once")[0]
    whole = ssnn.signature_kernel_gram(X, scales=SCALES, device="emulation:1")
    blocks = ssnn.signature_kernel_gram(X, scales=SCALES, device="emulation:1", progress=True)
    np.testing.assert_allclose(blocks, whole, rtol=1e-13)


def test_kernels_of_too_many_spikes_are_refused_as_on_the_processor():
    times = np.linspace(0.01, 0.99, 700)[None]
    many = ssnn.SpikeTrains(times, np.zeros_like(times, dtype=int), 1, 0.0, 1.0)
    said = []
    for device in ("cpu", "emulation:1"):
        with pytest.raises(ssnn.ValidationError, match=r"sum to 700\.0, more than .*give smaller scales") as caught:
            ssnn.signature_kernel_gram(many, normalize=True, device=device)
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "loss",
    [
        ssnn.ExpectedSignatureLoss(3),
        ssnn.ExpectedSignatureLoss(2, match_spikes=True, neurons=[0]),
        ssnn.SignatureMMD(scales=0.5),
        ssnn.SignatureMMD(depth=2),
    ],
    ids=repr,
)
def test_losses_are_computed_where_the_samples_were(loss, monkeypatch):
    network = random_network(1, neurons=2, samples=4, per_sample=False, sampled=False)
    run = dict(num_samples=6, t1=1.0, dt=0.02)
    data = ssnn.simulate(network, **run, seed=8).spike_trains
    asked, ask = [], ssnn.engine.device_function
    monkeypatch.setattr(
        ssnn.engine, "device_function", lambda device, *rest: asked.append(device) or ask(device, *rest)
    )
    values = [loss(ssnn.simulate(network, **run, device=device), data) for device in ("cpu", "emulation:2")]
    # Truncated kernels are products of signatures of every sample, which the processor has.
    assert set(asked) == (set() if getattr(loss, "options", {}).get("depth") else {"emulation:2"})
    np.testing.assert_allclose(values[1].value, values[0].value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(values[1].spike_times_bar, values[0].spike_times_bar, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("loss", [ssnn.SignatureMMD(scales=0.5), ssnn.ExpectedSignatureLoss(2)], ids=repr)
def test_trainings_take_the_same_steps(loss):
    network = random_network(1, neurons=2, samples=4, per_sample=False, sampled=False)
    run = dict(num_samples=4, t1=1.0, dt=0.02)
    data = ssnn.simulate(network, **run, seed=8).spike_trains
    fits = [ssnn.fit(network, data, loss, "mu", 2, device=device, **run) for device in ("cpu", "emulation:1")]
    np.testing.assert_allclose(*(fit.parameters["mu"] for fit in fits), rtol=1e-7)
    np.testing.assert_allclose(*(fit.history["loss"] for fit in fits), rtol=1e-9)


PATHS = np.zeros((2, 3, 4))
REFUSED = {
    "a depth": (lambda X: ssnn.signature_kernel_gram(X, depth=2, device="cuda"), r'of "linear" lifts, got depth=2'),
    "a lift": (lambda X: ssnn.signature_kernel(X, X, lift="rbf", device="cuda"), "lift='rbf'.*device='cpu'"),
    "paths": (lambda X: ssnn.signature_kernel_gram(PATHS, device="cuda"), "'cuda' has kernels of spike trains alone"),
    "one of both": (lambda X: ssnn.signature_kernel_gram(X, PATHS, device="cuda"), "kernels of spike trains alone"),
    "NumPy": (lambda X: ssnn.signature_kernel_gram(X, engine="reference", device="cuda"), "the engine is 'reference'"),
    "an executor": (
        lambda X: ssnn.signature_kernel_gram(X, executor=2, device="cuda"),
        "executor must",
    ),
    "signatures of paths": (lambda X: ssnn.expected_signature(PATHS, 2, device="cuda"), "X are points of paths"),
    "their gradients": (
        lambda X: ssnn.expected_signature_backprop(PATHS, np.zeros(20), 2, device="cuda"),
        "X are points of paths",
    ),
    "signatures by NumPy": (
        lambda X: ssnn.expected_signature(X, 2, engine="reference", device="cuda"),
        "the engine is 'reference'",
    ),
    "a device there is none of": (
        lambda X: ssnn.expected_signature(X, 2, device="gpu"),
        re.escape("device must be one of 'cpu', 'kernels'"),
    ),
    "a device there is none of, for kernels": (
        lambda X: ssnn.signature_kernel_gram(X, device="gpu"),
        re.escape("device must be one of 'cpu', 'kernels'"),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_device_has_not_is_refused_by_name(what):
    call, said = REFUSED[what]
    with pytest.raises(ssnn.ValidationError, match=said):
        call(batches("at once")[0])


def test_unbiased_gradients_take_the_losses_entries():
    network = one_neuron()
    run = dict(num_samples=4, t1=1.0, dt=0.02, gradient="unbiased")
    data = ssnn.simulate(network, num_samples=4, t1=1.0, dt=0.02, seed=8).spike_trains
    for loss in (ssnn.SignatureMMD(scales=0.5), ssnn.ExpectedSignatureLoss(2)):
        here, there = (
            ssnn.value_and_grad(loss, network, "mu", data=data, **run, device=device)
            for device in ("cpu", "emulation:1")
        )
        np.testing.assert_allclose(there[0], here[0], rtol=1e-9)
        np.testing.assert_allclose(there[1]["mu"], here[1]["mu"], rtol=1e-7)
