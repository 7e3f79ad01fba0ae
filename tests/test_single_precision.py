"""Single precision on devices: what it refuses, how far it is from double, and that nothing of double is left in it."""

import contextlib
import copy
from dataclasses import replace

import numpy as np
import pytest
from conftest import needs_julia
from device_cases import CASES, FarArrays, all_are_large, assert_agree, assert_stays_there, tolerances
from helpers import one_neuron, random_network
from test_devices import RUN, FakeJulia

import ssnn_py as ssnn
from ssnn_py.engine import boot, devices
from ssnn_py.experiments import figure1

SINGLE = dict(device="emulation:1", precision="float32")


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["half", "float16", "Float32", 32, None, np.float32])
def test_precisions_that_do_not_exist_are_refused_with_those_that_do(precision):
    match = "precision must be one of 'float64', 'float32', got"
    with pytest.raises(ssnn.ValidationError, match=match):
        ssnn.simulate(one_neuron(), **RUN, device="cuda", precision=precision)


def test_the_native_engine_refuses_single_precision_and_says_who_has_it():
    match = "precision must be 'float64', got 'float32': device 'cpu', .* one of the devices 'kernels', 'cuda'"
    trains = ssnn.SpikeTrains([[0.5]], [[0]], num_neurons=1, t0=0.0, t1=1.0)
    for call in (ssnn.simulate, lambda *given, **run: ssnn.fit(*given, trains, max, "alpha", 1, **run)):
        with pytest.raises(ssnn.ValidationError, match=match):
            call(one_neuron(), **RUN, precision="float32")


def test_apples_gpus_take_single_precision_alone():
    with pytest.raises(ssnn.ValidationError, match=r"'oneapi', got 'metal': Apple's .* take precision='float32'"):
        ssnn.simulate(one_neuron(), **RUN, device="metal")
    assert devices.checked_device("metal", "float32") == "metal"
    allowed = "device must be one of 'kernels', 'cuda', 'rocm', 'oneapi', 'metal', got 'gpu'"
    with pytest.raises(ssnn.ValidationError, match=allowed):
        ssnn.simulate(one_neuron(), **RUN, device="gpu", precision="float32")
    julia = FakeJulia()
    devices.load_packages(julia, "metal")
    assert julia.asked[-1].startswith('SSNN.DEVICE_HOOK[]("metal", Metal.MetalBackend(), () -> ')


@needs_julia
def test_steps_that_single_precision_cannot_tell_apart_are_refused():
    match = r"tells times around 10000 apart by 9.8e-04 .* dt must be at least 6.2e-02, and it is 0.05; take precision="
    with pytest.raises(ssnn.ValidationError, match=match):
        ssnn.simulate(one_neuron(), t1=10_000.0, dt=0.05, **SINGLE)


# --- where it is kept -------------------------------------------------------------------------------------------------


@needs_julia
def test_solutions_keep_their_precision(tmp_path):
    solution = ssnn.simulate(one_neuron(), **RUN, num_samples=2, seed=1)
    single = replace(solution, problem=replace(solution.problem, device="cuda", precision="float32"))
    assert "device 'cuda' with float32" in repr(single)
    assert single != replace(single, problem=replace(single.problem, precision="float64"))
    ssnn.save(tmp_path / "solution", single)
    for other in (copy.deepcopy(single), ssnn.load(tmp_path / "solution")):
        assert other == single
        assert other.problem.precision == "float32"


# --- the numbers ------------------------------------------------------------------------------------------------------


@needs_julia
def test_single_precision_is_near_to_double():
    assert_agree("slif, euler_maruyama", "emulation:3", "float32")


@needs_julia
def test_steps_of_large_networks_are_those_of_groups():
    network, run = CASES["slif, euler_maruyama"]()
    solutions = []
    for how in (contextlib.nullcontext, all_are_large):
        with how():
            solution = ssnn.simulate(network, **run, **SINGLE)
            bar = np.where(np.isfinite(solution.spike_times), 1.0, 0.0)
            solutions.append((solution, solution.vjp(bar, ["mu", "weights"])))
    (groups, of_groups), (steps, of_steps) = solutions
    np.testing.assert_array_equal(steps.spike_times, groups.spike_times)
    for name, states in groups.states.items():
        np.testing.assert_array_equal(steps.states[name], states)
    for name, gradient in of_groups.items():
        np.testing.assert_array_equal(of_steps[name], gradient)


@needs_julia
def test_what_happens_at_the_end_of_a_step_does_so_in_both_precisions():
    """One spacing later it would happen in the next step, whose noise is another."""
    network, run = CASES["input spikes, the same for all samples"]()
    double, single = (ssnn.simulate(network, **run, **more) for more in ({}, SINGLE))
    tolerance, _ = tolerances(run, "float32")
    np.testing.assert_array_equal(single.spike_neurons, double.spike_neurons)
    np.testing.assert_allclose(single.spike_times, double.spike_times, rtol=0, atol=tolerance * run["t1"])


@needs_julia
def test_nearly_all_samples_have_the_same_spikes():
    """And times as near as the hazard's sum is known, whose terms, one per step, are each rounded."""
    run = dict(figure1.SIMULATION, num_samples=512, seed=2)
    double, single = (ssnn.simulate(figure1.network(0.25, 1.5), **run, **more) for more in ({}, SINGLE))
    same = double.num_spikes == single.num_spikes
    assert np.mean(same) > 0.99
    both = np.isfinite(double.spike_times) & np.isfinite(single.spike_times) & same[:, None]
    errors = np.abs(double.spike_times[both] - single.spike_times[both])
    assert np.median(errors) < 4 * np.spacing(np.float32(run["t1"]))
    assert np.mean(errors < 64 * np.spacing(np.float32(run["t1"]))) > 0.99


@needs_julia
def test_results_go_into_arrays_of_another_library_in_double_precision():
    """And derivatives come from them."""
    assert_stays_there("emulation:1", FarArrays(), 3, "float32")


@needs_julia
def test_value_and_grad_and_fit_in_single_precision():
    network = random_network(3, neurons=3, samples=2)
    run = dict(t1=1.0, dt=0.02, num_samples=2, seed=1)
    latency = ssnn.SampleMean(lambda trains: (np.where(np.isfinite(trains.times), trains.times, 0.0).sum(1), None))
    fits = [ssnn.fit(network, None, latency, "mu", 2, gradient="pathwise", **run, **more) for more in ({}, SINGLE)]
    np.testing.assert_allclose(fits[1].parameters["mu"], fits[0].parameters["mu"], rtol=1e-4)


# --- what is computed with --------------------------------------------------------------------------------------------


@pytest.fixture
def noting(julia, monkeypatch):
    """A device that computes and knows with what; it is called so."""
    tests = boot.source_dir() / "test" / "doubles.jl"
    julia.eval(f'isdefined(Main, :Noting) || include(raw"{tests}")')
    julia.eval('SSNN.DEVICES["noting"] = Noting(true, [])')
    monkeypatch.setattr(devices, "is_emulation", lambda name: name == "noting")
    yield "noting"
    julia.eval('delete!(SSNN.DEVICES, "noting")')


@needs_julia
def test_no_number_of_double_precision_is_left_in_the_kernels_of_a_formula(noting, julia):
    network, run = CASES["two events"]()
    ssnn.simulate(network, **run, device=noting, precision="float32")
    julia.eval('found = doubles(SSNN.DEVICES["noting"].calls...); isempty(found) || error(join(found, "\\n"))')
