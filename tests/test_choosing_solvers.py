"""Multilevel Monte Carlo, the recommendation of a solver, and the benchmark behind it."""

import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import needs_julia
from helpers import one_neuron
from test_laws import mean_first_spike

import ssnn_py as ssnn
from ssnn_py import cli
from ssnn_py.experiments import every_solver, work_precision
from ssnn_py.experiments.work_precision import BenchmarkProblem, Point


def first_spike(solution):
    return np.minimum(solution.spike_times[:, 0], solution.problem.t1)


@needs_julia
@pytest.mark.parametrize("solver", ["euler_maruyama", "exact_ou"])
def test_multilevel_meets_its_tolerance_against_fokker_planck(solver):
    mu, sigma, beta, v_th, current = 3.0, 0.8, 3.0, 1.0, 1.2
    exact, _ = mean_first_spike(current, mu, sigma, beta, v_th)
    intensity = ssnn.ExponentialIntensity(beta=beta, v_th=v_th)
    network = one_neuron(input_current=current, mu=(mu, 0.0), sigma=sigma, alpha=0.0, intensity=intensity)
    tol = 0.005
    estimate = ssnn.multilevel(network, first_spike, 60.0, 0.5, tol, solver=solver, max_spikes=1, seed=3)
    assert estimate.converged
    assert estimate.standard_error <= 1.05 * tol / math.sqrt(2)
    assert abs(estimate.value - exact) < 3 * tol
    assert estimate.steps == sum(level.num_samples * level.steps for level in estimate.levels)
    # One path seen at two steps: differences shrink.
    variances = [level.variance for level in estimate.levels[1:]]
    assert all(fine < coarse for coarse, fine in itertools.pairwise(variances))


def test_multilevel_says_where_it_did_not_converge_and_is_reproducible():
    network = one_neuron()
    run = dict(t1=0.5, dt=0.25, tol=1e-4, max_levels=2, pilot_samples=10, max_spikes=1, engine="reference")

    def rough(solution):  # so few values that the Monte Carlo part is soon small, and the bias is not
        return np.round(first_spike(solution), 2)

    def constant(solution):
        return np.full(solution.spike_times.shape[0], solution.problem.dt)

    estimate = ssnn.multilevel(network, constant, **run)
    assert not estimate.converged
    assert estimate.bias > 1e-4
    assert estimate.value == pytest.approx(0.0625)
    again = [ssnn.multilevel(network, rough, **{**run, "tol": 0.05}).value for _ in range(2)]
    assert again[0] == again[1]


def test_multilevel_names_the_argument_it_refuses():
    run = dict(t1=0.5, dt=0.25, tol=0.1, pilot_samples=10, engine="reference")
    with pytest.raises(ssnn.ValidationError, match=r"one finite number per sample, shape \(10,\)"):
        ssnn.multilevel(one_neuron(), lambda solution: 1.0, **run)
    with pytest.raises(ssnn.ValidationError, match="num_samples is chosen by multilevel"):
        ssnn.multilevel(one_neuron(), first_spike, num_samples=3, **run)
    with pytest.raises(ssnn.ValidationError, match="solver must be one of"):
        ssnn.multilevel(one_neuron(), first_spike, solver="sciml:EM", **run)
    with pytest.raises(ssnn.ValidationError, match="tol must be positive"):
        ssnn.multilevel(one_neuron(), first_spike, **{**run, "tol": 0.0})


@needs_julia
@pytest.mark.parametrize("quantity", ["spike_times", "potential", "gradient"])
def test_a_recommended_step_meets_the_tolerance(quantity):
    network, tol = one_neuron(sigma=0.5), {"spike_times": 1e-3, "potential": 0.02, "gradient": 0.05}[quantity]
    choice = ssnn.recommend_solver(network, tol, t1=2.0, quantity=quantity)
    assert choice.solver in {solver.name for solver in ssnn.solvers()}
    assert choice.error <= tol
    assert choice == choice.choices[0] or choice.seconds == choice.choices[0].seconds
    assert [other.seconds for other in choice.choices] == sorted(other.seconds for other in choice.choices)
    assert choice.solver in str(choice)
    # On other samples, against a solve that is finer than any that was tried.
    run = dict(t1=2.0, num_samples=500, seed=9, noise_dt=0.5, saveat=[2.0])

    def measured(solver, dt):
        solution = ssnn.simulate(network, dt=dt, solver=solver, **run)
        if quantity == "potential":
            return solution.v
        if quantity == "spike_times":
            return solution.spike_trains.first_spikes(1)
        tangents = solution.jvp({"input_current": 1.0})[:, 0]
        return np.where(solution.num_spikes > 0, tangents, 0.0)

    error = np.abs(measured(choice.solver, choice.dt) - measured("exact_ou", 0.5 / 2**11)).mean()
    assert error < 2 * tol


@needs_julia
def test_recommendations_fit_the_noise_and_refuse():
    network = one_neuron(diffusion=ssnn.AffineDiffusion(0.5, 1.0), v_reset=0.0)
    choice = ssnn.recommend_solver(network, 0.01, t1=1.0)
    assert {other.solver for other in choice.choices} <= {"euler_maruyama", "milstein", "stochastic_heun"}
    with pytest.raises(ssnn.SSNNError, match="no solver meets tol"):
        ssnn.recommend_solver(network, 1e-12, t1=1.0, max_steps=16)
    with pytest.raises(ssnn.NoGradientError):
        ssnn.recommend_solver(network.replace(v_reset=1.0), 0.1, t1=1.0, quantity="gradient")
    with pytest.raises(ssnn.ValidationError, match='quantity must be "spike_times"'):
        ssnn.recommend_solver(network, 0.1, t1=1.0, quantity="v")
    with pytest.raises(ssnn.ValidationError, match="dt is chosen by recommend_solver"):
        ssnn.recommend_solver(network, 0.1, t1=1.0, dt=0.1)


def test_fitted_orders_and_costs_of_known_errors():
    points = [
        Point("p", "exact_ou", dt, 1e-6 / dt, 2e-6 / dt, {"spike_times": 3 * dt**1.5}, {"spike_times": 1e-9})
        for dt in 0.1 / 2.0 ** np.arange(6)
    ]
    assert work_precision.fitted_order(points, "spike_times") == pytest.approx(1.5)
    dt = (1e-3 / 3) ** (2 / 3)
    assert work_precision.seconds_at(points, "spike_times", 1e-3) == (pytest.approx(1e-6 / dt), False)
    dt = (1e-5 / 3) ** (2 / 3)
    assert work_precision.seconds_at(points, "spike_times", 1e-5) == (pytest.approx(1e-6 / dt), True)
    assert math.isnan(work_precision.fitted_order(points, "gradient"))


@needs_julia
def test_bench_solvers_writes_table_csv_json_and_picture(tmp_path, monkeypatch, capsys):
    problem = BenchmarkProblem(
        name="tiny",
        network=one_neuron(),
        t1=1.0,
        saveat=(1.0,),
        spikes=1,
        capacity=64,
        dt=0.1,
        levels=3,
        reference="shark",
        reference_level=6,
        samples=40,
        bias_samples=80,
        bias_levels=2,
        bias_reference_level=4,
    )
    monkeypatch.setattr(work_precision, "problems", lambda quick: [problem])
    monkeypatch.setattr(work_precision, "sciml_installed", lambda: False)
    assert cli.main(["bench", "solvers", "--out", str(tmp_path), "--json", str(tmp_path / "points.json")]) == 0
    printed = capsys.readouterr().out
    assert "fitted orders" in printed
    assert "euler_maruyama" in printed
    rows = (tmp_path / "solvers.csv").read_text().splitlines()
    assert len(rows) == 1 + 5 * 3
    points = json.loads((tmp_path / "points.json").read_text())
    assert {point["solver"] for point in points} == {solver.name for solver in ssnn.solvers()}
    assert all(point["errors"]["spike_times"] > 0 for point in points)
    assert (tmp_path / "solvers.png").stat().st_size > 10_000


def test_solvers_of_differentialequations_join_where_they_are_installed(monkeypatch):
    additive, _, multiplicative = work_precision.problems(quick=True)
    monkeypatch.setattr(work_precision, "sciml_installed", lambda: False)
    native = {problem.name: problem.solvers for problem in (additive, multiplicative)}
    assert native[additive.name] == [solver.name for solver in ssnn.solvers()]
    monkeypatch.setattr(work_precision, "sciml_installed", lambda: True)
    joined = {problem.name: problem.solvers[len(native[problem.name]) :] for problem in (additive, multiplicative)}
    assert joined[additive.name] == ["sciml:" + name for name in work_precision.SCIML_CONTENDERS]
    assert joined[multiplicative.name] == ["sciml:EM", "sciml:EulerHeun", "sciml:RKMil", "sciml:SOSRI"]
    assert work_precision.theory("sciml:SRA1", "potential", True) == 1.5
    assert work_precision.theory("sciml:SRA1", "gradient", True) is None
    assert work_precision.theory("milstein", "potential", False) == 1.0


def test_every_solver_in_every_setting_that_it_takes(julia, monkeypatch, tmp_path, capsys):
    """Here the native ones; tests/modern has those of DifferentialEquations.jl."""
    monkeypatch.setattr(every_solver.sciml, "TABLE", {})
    rows = every_solver.run(tmp_path, quick=True, progress=False)
    assert {row.solver for row in rows} == {solver.name for solver in ssnn.solvers()}
    for solver in ssnn.solvers():
        coarse, fine = (row for row in rows if row.solver == solver.name)
        assert coarse.setting.tolerance is None
        assert 0.0 < fine.spike_times < coarse.spike_times < 0.1
        assert 0.0 < fine.potential < coarse.potential
    printed = capsys.readouterr().out
    assert f"dt = {rows[0].setting.dt:g}" in printed
    again = every_solver.read_rows(tmp_path / "every_solver_quick.csv")
    assert [(row.solver, row.setting) for row in again] == [(row.solver, row.setting) for row in rows]
    assert (tmp_path / "every_solver_quick.png").stat().st_size > 10_000


def test_adaptive_steps_are_measured_where_a_solver_has_them():
    problem = work_precision.problems(quick=True)[0]
    adaptive = [setting for setting in every_solver.settings(problem) if setting.tolerance]
    assert len(adaptive) == len(every_solver.TOLERANCES)
    assert adaptive[0].options["abstol"] == adaptive[0].options["reltol"] == every_solver.TOLERANCES[0]
    taken = {
        name: every_solver.takes(name, adaptive[0]) for name in ("sciml:SOSRA2", "sciml:EM", "sciml:ISSEM", "shark")
    }
    assert taken == {"sciml:SOSRA2": True, "sciml:EM": False, "sciml:ISSEM": False, "shark": False}


def test_the_page_about_solvers_has_their_table():
    page = (Path(__file__).resolve().parents[1] / "docs" / "solvers.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ((?:any|additive) \| .+) \|$", page, re.MULTILINE))
    assert list(rows) == [solver.name for solver in ssnn.solvers()]
    fractions = {"1/2": 0.5, "3/2": 1.5, "3/4": 0.75, "1": 1.0, "2": 2.0}
    for solver in ssnn.solvers():
        noise, potentials, spikes, gradients, bias, evaluations = rows[solver.name].split(" | ")
        assert (noise == "any") == (solver.multiplicative_order is not None)
        orders = [fractions[cell.split(",")[0]] for cell in (potentials, spikes, gradients, bias)]
        assert orders == [solver.strong_order, solver.spike_time_order, solver.gradient_order, solver.bias_order]
        assert int(evaluations) == solver.stages
