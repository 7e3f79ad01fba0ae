"""Solvers of DifferentialEquations.jl through simulate: parity, gradients, options, errors, threads, Ctrl-C. Skipped
where juliacall has no Julia with them.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import formula_network, one_neuron, random_network, run_arguments, why_no_modern_julia

import ssnn_py as ssnn
from ssnn_py.engine import boot, packages, sciml
from ssnn_py.experiments import every_solver, work_precision

ROOT = Path(__file__).resolve().parents[2]


WHY_NOT = why_no_modern_julia()
if not WHY_NOT and not packages.sciml_installed():
    WHY_NOT = "the SciML packages are not installed (ssnn setup --sciml)"
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


def test_the_core_runs_on_both_sides_of_juliacall():
    assert boot.runtime().how == "juliacall"
    boot.runtime().eval(f'include(raw"{ROOT / "julia" / "test" / "runtests.jl"}")')


def test_euler_maruyama_agrees_with_both_native_engines():
    arguments = dict(t1=3.0, dt=0.01, num_samples=8, max_spikes=4, seed=5, saveat=[0.0, 0.5, 1.234, 3.0])
    solution = ssnn.simulate(one_neuron(), solver="sciml:EM", **arguments)
    for engine in ("julia", "reference"):
        native = ssnn.simulate(one_neuron(), engine=engine, **arguments)
        np.testing.assert_allclose(solution.spike_times, native.spike_times, rtol=1e-9)
        np.testing.assert_array_equal(solution.truncated, native.truncated)
        np.testing.assert_allclose(solution.v, native.v, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ["SRA1", "SOSRA", "SRIW1", "SOSRI"])
def test_higher_orders_follow_the_same_path(name):
    arguments = dict(t1=2.0, num_samples=16, max_spikes=1, seed=2, noise_dt=0.04)
    fine = ssnn.simulate(one_neuron(), dt=0.04 / 64, solver="shark", **arguments).spike_times
    errors = [
        np.mean(np.abs(ssnn.simulate(one_neuron(), dt=dt, solver=f"sciml:{name}", **arguments).spike_times - fine))
        for dt in (0.04, 0.01)
    ]
    assert errors[1] < errors[0] / 3


def test_adaptive_steps_follow_the_same_path():
    arguments = dict(t1=2.0, num_samples=8, max_spikes=1, seed=2)
    fine = ssnn.simulate(one_neuron(), dt=0.04 / 64, noise_dt=0.04, solver="shark", **arguments).spike_times
    options = dict(adaptive=True, abstol=1e-5, reltol=1e-5, noise_depth=10)
    adaptive = ssnn.simulate(one_neuron(), dt=0.04, solver="sciml:SOSRA2", **options, **arguments).spike_times
    np.testing.assert_allclose(adaptive, fine, atol=2e-3)


@pytest.mark.parametrize("name", ["EM", "SOSRA2"])
def test_gradients_of_both_modes_agree_with_each_other_and_with_the_native_ones(name):
    network = random_network(1, neurons=2, samples=2, matrix_noise=False)
    arguments = {**run_arguments(1, neurons=2, samples=2), "dt": 0.0025, "t1": 1.0, "saveat": None, "max_spikes": 2}
    solution = ssnn.simulate(network, solver=f"sciml:{name}", **arguments)
    bar = np.random.default_rng(0).normal(size=solution.spike_times.shape)
    direction = np.random.default_rng(1).normal(size=network.parameters["v_th"].shape)
    forward = np.nansum(np.where(np.isfinite(solution.spike_times), bar, 0.0) * solution.jvp({"v_th": direction}))
    reverse = np.sum(solution.vjp(bar, wrt="v_th")["v_th"] * direction)
    np.testing.assert_allclose(forward, reverse, rtol=1e-9)
    native = ssnn.simulate(network, **arguments)
    np.testing.assert_allclose(forward, np.sum(native.vjp(bar, wrt="v_th")["v_th"] * direction), rtol=0.1)


@pytest.mark.skipif(
    not packages.sciml_installed(sensitivity=True),
    reason="SciMLSensitivity.jl is not installed (ssnn setup --sensitivity)",
)
@pytest.mark.parametrize("name", ["EM", "SOSRA2"])
def test_reverse_mode_by_scimlsensitivity_approaches_forward_mode(name):
    network = random_network(1, neurons=2, samples=2, matrix_noise=False)
    errors = []
    for dt in (0.01, 0.00125):
        arguments = {
            **run_arguments(1, neurons=2, samples=2),
            "dt": dt,
            "t1": 1.0,
            "saveat": [0.5, 1.0],
            "max_spikes": 2,
        }
        arguments["solver"] = f"sciml:{name}"
        forward = ssnn.simulate(network, **arguments)
        reverse = ssnn.simulate(network, sensealg="InterpolatingAdjoint", **arguments)
        rng = np.random.default_rng(0)
        bars = [rng.normal(size=part.shape) for part in (forward.spike_times, forward.v, forward.i)]
        one, two = (solution.vjp(bars[0], v_bar=bars[1], i_bar=bars[2]) for solution in (forward, reverse))
        errors.append(max(np.abs(one[key] - two[key]).max() / (1 + np.abs(one[key]).max()) for key in one))
    print(f"{name}: reverse against forward mode, relative, dt = 0.01 and 0.00125: {errors}")
    assert errors[1] < errors[0] / 2 or errors[0] < 1e-6
    assert errors[1] < 0.05


@pytest.mark.skipif(
    not packages.sciml_installed(sensitivity=True),
    reason="SciMLSensitivity.jl is not installed (ssnn setup --sensitivity)",
)
@pytest.mark.parametrize("sensealg", sciml.SENSEALGS)
def test_every_adjoint_of_scimlsensitivity_agrees_with_forward_mode(sensealg):
    arguments = dict(t1=1.0, dt=0.00125, num_samples=3, max_spikes=2, seed=4, saveat=[0.5, 1.0], solver="sciml:SOSRA2")
    network = one_neuron(sigma=0.2)
    forward = ssnn.simulate(network, **arguments)
    reverse = ssnn.simulate(network, sensealg=sensealg, **arguments)
    rng = np.random.default_rng(0)
    bars = [rng.normal(size=part.shape) for part in (forward.spike_times, forward.v, forward.i)]
    one, two = (solution.vjp(bars[0], v_bar=bars[1], i_bar=bars[2]) for solution in (forward, reverse))
    for name, gradient in one.items():
        np.testing.assert_allclose(two[name], gradient, atol=0.05 * (1 + np.abs(gradient).max()))


def test_all_solvers_by_name_are_measured_beside_the_native_ones():
    """Fixed steps' errors follow the step; adaptive ones are below those of their first step (docs/solvers.md: they do
    not follow the tolerance). That every solver works is tested in julia/test/modern.
    """
    problem = replace(work_precision.problems(quick=True)[0], reference_level=9)
    rows = every_solver.measure(problem, ["exact_ou", "sciml:EM", "sciml:SOSRA2"], 20)
    errors = {(row.solver, row.setting): row.spike_times for row in rows}
    fixed, adaptive = (
        [s for s in every_solver.settings(problem) if bool(s.tolerance) is kind] for kind in (False, True)
    )
    assert len(errors) == 3 * len(fixed) + len(adaptive)
    for name in ("exact_ou", "sciml:EM", "sciml:SOSRA2"):
        assert errors[name, fixed[-1]] < errors[name, fixed[0]] / 3
    for setting in adaptive:
        assert errors["sciml:SOSRA2", setting] < errors["sciml:SOSRA2", fixed[0]] / 3


def test_numbers_do_not_depend_on_threads():
    arguments = dict(t1=1.0, dt=0.01, num_samples=20, seed=3, solver="sciml:SOSRA")
    one, many = (ssnn.simulate(one_neuron(), threads=threads, **arguments) for threads in (1, 4))
    np.testing.assert_array_equal(one.spike_times, many.spike_times)


def test_first_solutions_in_new_processes(capsys):
    """What they take is printed; nothing else is said, whatever had to be compiled."""
    code = """
import sys, time
import ssnn_py as ssnn
begin = time.perf_counter()
network = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
ssnn.simulate(network, t1=2.0, dt=0.01, num_samples=20, max_spikes=2, **eval(sys.argv[1]))
print(time.perf_counter() - begin)
"""
    for options in ({"solver": "sciml:EM"}, {"solver": "sciml:SOSRA2"}, {"solver": "sciml:SOSRA2", "adaptive": True}):
        done = subprocess.run(
            [sys.executable, "-c", code, repr(options)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert (done.returncode, done.stderr) == (0, "")
        with capsys.disabled():
            print(f"\nfirst solution in a new process: {float(done.stdout):.1f} s, {options}")


def test_errors_of_solvers_say_what_to_do():
    for name in ("EM", "ISSEM", "SKenCarp"):
        with pytest.raises(ssnn.ValidationError, match="adaptive"):
            ssnn.simulate(one_neuron(), t1=1.0, dt=0.01, solver=f"sciml:{name}", adaptive=True)
    with pytest.raises(ssnn.JuliaError, match="no_such_keyword"):
        ssnn.simulate(one_neuron(), t1=1.0, dt=0.01, solver="sciml:SOSRA", no_such_keyword=1)
    with pytest.raises(ssnn.JuliaError, match="return code"):
        ssnn.simulate(one_neuron(), t1=1.0, dt=0.01, solver="sciml:SOSRA", maxiters=3)


@pytest.mark.parametrize("solver", ["euler_maruyama", "sciml:SOSRA"])
def test_ctrl_c_stops_a_long_solve(solver):
    code = f"""
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
import ssnn_py as ssnn
net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
run = lambda t1, dt: ssnn.simulate(net, t1=t1, dt=dt, num_samples=4, max_spikes=10**5, solver={solver!r})
run(1.0, 0.1)
print("ready", flush=True)
try:
    run(1e5, 1e-5)
except KeyboardInterrupt:
    run(1.0, 0.1)
    print("stopped", flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline().strip() == "ready"
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert out.split() == ["stopped"]


def test_models_from_formulas():
    """By Euler–Maruyama the native numbers; by SOSRA those of the finest native run, as the step shrinks; gradients."""
    net = formula_network()
    run = dict(t1=1.0, num_samples=4, seed=3, max_spikes=3)
    one = ssnn.simulate(net, dt=0.01, solver="sciml:EM", **run)
    np.testing.assert_allclose(one.spike_times, ssnn.simulate(net, dt=0.01, **run).spike_times, rtol=1e-9)
    fine = ssnn.simulate(net, dt=0.02 / 256, noise_dt=0.02, solver="shark", **run)
    coarse, finer = (ssnn.simulate(net, dt=dt, noise_dt=0.02, solver="sciml:SOSRA", **run) for dt in (0.02, 0.0025))
    errors = [np.abs(each.spike_times[:, 0] - fine.spike_times[:, 0]).max() for each in (coarse, finer)]
    assert errors[1] < errors[0] / 4
    assert errors[1] < 1e-4
    wanted = fine.jvp({"tau": 1.0})[:, 0]
    np.testing.assert_allclose(finer.jvp({"tau": 1.0})[:, 0], wanted, rtol=0.05, atol=0.05 * np.abs(wanted).max())
