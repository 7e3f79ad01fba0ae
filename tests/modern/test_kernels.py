"""Devices by KernelAbstractions.jl, on its backend of the processor, through simulate. Skipped where juliacall has no
Julia with it. (A name of its own: pytest takes one of each.)
"""

import numpy as np
import pytest
from device_cases import (
    CASES,
    IN_SINGLE,
    LARGE,
    FarArrays,
    all_are_large,
    assert_agree,
    assert_stays_there,
)
from helpers import one_neuron, random_network, why_no_modern_julia
from signature_cases import CASES as SIGNATURES
from signature_cases import assert_agree as assert_arrays_agree
from signature_cases import kernels, long_kernel, signatures

import ssnn_py as ssnn
from ssnn_py import doctor
from ssnn_py.engine import boot, devices, packages

WHY_NOT = why_no_modern_julia()
if not WHY_NOT and not packages.device_installed("kernels"):
    WHY_NOT = "KernelAbstractions.jl is not installed (ssnn setup --kernels)"
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


@pytest.mark.parametrize("name", CASES)
def test_kernels_compute_what_the_native_engine_does(name):
    assert_agree(name, "kernels")


@pytest.mark.parametrize("name", CASES)
def test_so_do_three_lanes(name):
    assert_agree(name, "emulation:3")


@pytest.mark.parametrize("name", LARGE)
def test_so_do_those_of_steps_in_large_networks(name):
    with all_are_large():
        assert_agree(name, "kernels")


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_those_of_the_processor(name):
    assert_arrays_agree(kernels(name, "cpu"), kernels(name, "kernels"), 1e-12)
    for depth in (1, 4):
        assert_arrays_agree(signatures(name, "cpu", depth), signatures(name, "kernels", depth), 1e-13)


def test_kernels_beyond_the_range_of_floats_have_units():
    assert_arrays_agree(long_kernel("cpu"), long_kernel("kernels"), 1e-11)


@pytest.mark.parametrize("name", IN_SINGLE)
def test_single_precision_is_near(name):
    assert_agree(name, "kernels", "float32")


def test_a_training_takes_the_same_steps():
    network = random_network(1, neurons=2, samples=4, per_sample=False, sampled=False)
    count = ssnn.SampleMean(lambda trains: (trains.num_spikes, None), order_matters=False)
    run = dict(num_samples=4, t1=1.0, dt=0.02)
    fits = [ssnn.fit(network, None, count, "mu", 3, device=device, **run) for device in ("cpu", "kernels")]
    np.testing.assert_allclose(*(fit.parameters["mu"] for fit in fits), rtol=1e-7)
    np.testing.assert_allclose(*(fit.history["loss"] for fit in fits), rtol=1e-9)


@pytest.mark.parametrize("max_spikes", [3, None])
def test_results_go_into_arrays_of_another_library_and_derivatives_come_from_them(max_spikes):
    assert_stays_there("kernels", FarArrays(), max_spikes)


def test_samples_do_not_depend_on_their_batch():
    run = dict(t1=1.0, dt=0.02, max_spikes=3, seed=9, saveat=0.25, device="kernels")
    whole = ssnn.simulate(one_neuron(), num_samples=6, **run)
    parts = [ssnn.simulate(one_neuron(), num_samples=2, first_sample=first, **run) for first in (0, 2, 4)]
    assert np.array_equal(whole.spike_times, np.concatenate([part.spike_times for part in parts]))
    assert np.array_equal(whole.v, np.concatenate([part.v for part in parts]), equal_nan=True)


def test_errors_carry_the_kernels_own_words():
    quiet = ssnn.ExponentialIntensity(beta=0.0, tau=1e12)
    with pytest.raises(ssnn.JuliaError, match="no longer finite"):
        ssnn.simulate(one_neuron(mu=(500.0, 0.0), intensity=quiet), t1=100.0, dt=0.1, device="kernels")


def test_doctor_says_which_kernels_there_are():
    assert "KernelAbstractions" in devices.facts(boot.runtime(), "kernels")
    assert doctor.examine(devices=True)["devices"]["kernels"] not in (True, False)


@pytest.mark.parametrize("name", [name for name in packages.DEVICE_PACKAGES if name != "kernels"])
def test_a_gpu_that_is_there_computes_the_same_and_one_that_is_not_is_said_to_be_missing(name):
    if not packages.device_installed(name):
        pytest.skip(f"its packages are not installed (ssnn setup --{name})")
    try:
        devices.load_packages(boot.runtime(), name)
    except ssnn.JuliaError:
        with pytest.raises(ssnn.JuliaError, match=f"device '{name}' finds no usable GPU"):
            ssnn.simulate(one_neuron(), t1=1.0, dt=0.02, device=name)
        return
    for case in CASES:
        assert_agree(case, name)
        with all_are_large():
            assert_agree(case, name)
    for case in SIGNATURES:
        assert_arrays_agree(kernels(case, "cpu"), kernels(case, name), 1e-12)
        assert_arrays_agree(signatures(case, "cpu", 4), signatures(case, name, 4), 1e-13)


@pytest.mark.parametrize("name", ["cuda", "rocm"])
def test_tensors_of_a_gpu_stay_there(name):
    """Values and gradients are those of the processor."""
    if not packages.device_installed(name):
        pytest.skip(f"its packages are not installed (ssnn setup --{name})")
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    layer = pytest.importorskip("ssnn_py.torch")
    run, found = dict(t1=1.0, dt=0.02, num_samples=64, seed=3, saveat=0.25), []
    for where, device in (("cpu", "cpu"), ("cuda", name)):
        c = torch.tensor(1.5, dtype=torch.float64, device=where, requires_grad=True)
        out = layer.simulate(one_neuron(), {"input_current": c}, **run, device=device)
        assert {out.spike_times.device.type, out.spike_counts.device.type, out.v.device.type} == {where}
        value = torch.nan_to_num(out.spike_times, posinf=0.0).sin().sum() + out.v.square().sum()
        value.backward()
        assert c.grad.device.type == where
        found.append((value.item(), c.grad.item(), out.spike_counts.sum().item(), float(out.solution.v.sum())))
    np.testing.assert_allclose(*found, rtol=1e-9)
