"""Solvers of DifferentialEquations.jl: what can be promised without any of its packages. What needs them is in
tests/modern.
"""

import ctypes
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import one_neuron, random_network, run_arguments

import ssnn_py as ssnn
from ssnn_py import doctor
from ssnn_py.engine import boot, packages, sciml, structs
from ssnn_py.engine.boot import Surroundings, start
from ssnn_py.engine.julia import JuliaEngine
from ssnn_py.simulation import prepare

ROOT = Path(__file__).resolve().parents[1]


def section(text, name):
    """Entries of one section of a TOML file."""
    body = re.search(rf"^\[{name}\]$(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL).group(1)
    return dict(re.findall(r"^(\w+) = (.+)$", body, re.MULTILINE))


def problem_for(solver, network=None, **options):
    problem, _ = prepare(network or one_neuron(), 1.0, 0.01, engine="reference")
    return replace(problem, solver=f"sciml:{solver}", options=options)


def test_the_extension_and_its_packages_are_consistent():
    project = (ROOT / "julia" / "Project.toml").read_text()
    parts = ("weakdeps", "extensions", "compat", "extras")
    weak, extensions, compat, extras = (section(project, name) for name in parts)
    assert set(compat) == {*weak, *extras, "julia"}
    used = set()
    for name, triggers in extensions.items():
        source = (ROOT / "julia" / "ext" / f"{name}.jl").read_text()
        loaded = set(re.findall(r"^using (\w+)", source, re.MULTILINE)) - {"SSNN"}
        assert loaded == set(json.loads(triggers))
        assert re.search(rf"^module {name}$", source, re.MULTILINE)
        used |= loaded
    assert used == set(weak)
    assert {path.stem for path in (ROOT / "julia" / "ext").glob("*.jl")} == set(extensions)
    for name, uuid, version in packages.SCIML_PACKAGES + packages.SENSITIVITY_PACKAGES:
        assert json.loads(weak[name]) == uuid
        assert json.loads(compat[name]) == version
    # The core alone is what a first start installs.
    assert set(json.loads((ROOT / "juliapkg.json").read_text())["packages"]) == {"SSNN"}


def test_the_extension_is_packed_into_the_wheel():
    packed = re.findall(
        r'^"(julia/\w+(?:\.toml)?)" = "ssnn_py/(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert dict(packed) == {name: name for name in ("julia/Project.toml", "julia/src", "julia/ext")}


def test_the_extension_implements_what_the_core_asks_for():
    source = (ROOT / "julia" / "ext" / "SSNNSciMLExt.jl").read_text()
    core = "".join(path.read_text() for path in (ROOT / "julia" / "src").rglob("*.jl"))
    for name in set(re.findall(r"SSNN\.(\w+!?)", source)):
        assert re.search(
            r"^(?:@inline |@entry_point )?(?:const |function |struct |mutable struct |abstract type )?"
            rf"{re.escape(name)}(?![\w!])",
            core,
            re.MULTILINE,
        ), name


def test_every_row_of_the_table_of_solvers_says_what_the_solver_can_do():
    assert "SOSRA2" in sciml.SCIML_SOLVERS
    assert "EM" in sciml.SCIML_SOLVERS
    assert {solver.noise for solver in sciml.TABLE.values()} == {"any", "diagonal", "additive"}
    assert all(solver.strong_order in (1.0, 1.5) for solver in sciml.TABLE.values())


def test_options_become_typed_text():
    options = dict(adaptive=True, abstol=1e-6, maxiters=np.int64(100), reltol=np.float32(0.5), mode="fast")
    assert sciml.encode_options(options) == "adaptive=b:true\nabstol=f:1e-06\nmaxiters=i:100\nreltol=f:0.5\nmode=s:fast"
    for wrong in ({"dt": 0.1}, {"abstol": [1.0]}, {"abstol": float("nan")}, {"mode": "a\nb=i:1"}, {"größe": 1.0}):
        with pytest.raises(ssnn.ValidationError, match=next(iter(wrong))):
            sciml.encode_options(wrong)


def test_a_problem_that_the_solver_does_not_take_is_refused():
    assert sciml.check(problem_for("SOSRA2"))
    full = one_neuron(sigma=[[0.2, 0.1], [0.0, 0.1]])
    assert not sciml.check(problem_for("EM", full))
    with pytest.raises(ssnn.ValidationError, match="diagonal noise only"):
        sciml.check(problem_for("SOSRI", full))
    assert sciml.check(problem_for("SOSRI", one_neuron(sigma=np.diag([0.2, 0.1]))))
    direction = {"sigma": np.array([[[0.0, 1.0], [0.0, 0.0]]])}
    with pytest.raises(ssnn.ValidationError, match="diagonal noise only"):
        sciml.check(problem_for("SOSRI", one_neuron(sigma=np.diag([0.2, 0.1]))), direction)
    multiplicative = one_neuron(diffusion=ssnn.AffineDiffusion(0.5, 0.2), v_reset=0.0)
    with pytest.raises(ssnn.ValidationError, match="additive noise only"):
        sciml.check(problem_for("SRA1", multiplicative))
    for name in ("EM", "ISSEM", "ISSEulerHeun", "SKenCarp"):  # all but the first adapt in the library, wrongly
        with pytest.raises(ssnn.ValidationError, match=f"adaptive must be False for solver 'sciml:{name}'"):
            sciml.check(problem_for(name, adaptive=True))
    with pytest.raises(ssnn.ValidationError, match="implicit"):
        sciml.check(problem_for("ImplicitEM"), {"alpha": np.ones((1,))})


def test_what_to_do_where_the_packages_are_missing(julia):
    if julia.how == "embedded":
        with pytest.raises(ssnn.JuliaError, match="ssnn setup --sciml"):
            sciml.SciMLEngine()


def test_the_core_itself_says_what_to_install(julia):
    """The entry point takes the same arrays as the native one, and the walk needs an extension."""
    if julia.how != "embedded":
        pytest.skip("the packages may be loaded here")
    problem = problem_for("SOSRA2")
    solve = julia.function(
        "ssnn_sciml_solve", ctypes.POINTER(structs.Problem), ctypes.POINTER(structs.Outputs), ctypes.c_char_p
    )
    bound = JuliaEngine(lambda *arguments: solve(*arguments, b"adaptive=b:true"), None, None)
    with pytest.raises(ssnn.JuliaError, match="ssnn setup --sciml"):
        bound.solve(replace(problem, max_spikes=2))


def test_reverse_mode_between_spikes_is_the_adjoint_of_forward_mode(julia, monkeypatch):
    """From Python through marshalling, walk and event rule; only the solver and its adjoint are the tests' own, which
    agree to rounding.
    """
    if julia.how != "embedded":
        pytest.skip("the packages' own solvers are tested in tests/modern")
    monkeypatch.setattr(sciml, "load_packages", lambda julia: None)
    monkeypatch.setattr(sciml, "load_sensitivity", lambda julia: None)
    julia.eval(f'''
        module SmoothSolvers
            const SSNN = Main.SSNN
            include(raw"{ROOT / "julia" / "test" / "smooth_solvers.jl"}")
            function attach()
                SSNN.SCIML_HOOK[] = (solver, options, run, directions) ->
                    ParabolaRungeKutta(
                        run, convert(Vector{{typeof(run.θ)}}, directions), SSNN.noise_depth(solver, options))
                SSNN.PIECE_ADJOINT_HOOK[] = (name, run) -> RungeKuttaAdjoint()
            end
        end
        SmoothSolvers.attach()''')
    try:
        for per_sample, threads, max_spikes in ((True, 1, 4), (False, 2, None)):
            network = random_network(3, neurons=3, samples=4, per_sample=per_sample)
            arguments = run_arguments(3, neurons=3, samples=4) | {"solver": "sciml:SOSRA2", "threads": threads}
            arguments |= {"t1": 1.0, "max_spikes": max_spikes, "saveat": [0.0, 0.2, 0.37, 1.0]}
            forward = ssnn.simulate(network, **arguments)
            reverse = ssnn.simulate(network, sensealg="InterpolatingAdjoint", **arguments)
            np.testing.assert_array_equal(forward.spike_times, reverse.spike_times)
            assert forward.num_spikes.sum() > 0
            rng = np.random.default_rng(0)
            bars = [rng.normal(size=part.shape) for part in (forward.spike_times, forward.v, forward.i)]
            one, two = (solution.vjp(bars[0], v_bar=bars[1], i_bar=bars[2]) for solution in (forward, reverse))
            assert one.keys() == two.keys()
            for name, gradient in one.items():
                np.testing.assert_allclose(two[name], gradient, rtol=1e-8, atol=1e-8 * np.abs(gradient).max())
    finally:
        julia.eval("SSNN.SCIML_HOOK[] = nothing; SSNN.PIECE_ADJOINT_HOOK[] = nothing")


def test_what_sensealg_refuses():
    with pytest.raises(ssnn.ValidationError, match=r"sensealg must be one of InterpolatingAdjoint, .*, got 'Adjoint'"):
        sciml.check_sensealg(problem_for("EM", sensealg="Adjoint"))
    multiplicative = one_neuron(diffusion=ssnn.AffineDiffusion(0.5, 0.2), v_reset=0.0)
    with pytest.raises(ssnn.ValidationError, match="sensealg needs additive noise"):
        sciml.check_sensealg(problem_for("EM", multiplicative, sensealg="InterpolatingAdjoint"))
    with pytest.raises(ssnn.ValidationError, match="implicit"):
        sciml.check_sensealg(problem_for("ImplicitEM", sensealg="InterpolatingAdjoint"))
    extension = (ROOT / "julia" / "ext" / "SSNNSciMLSensitivityExt.jl").read_text()
    assert re.findall(r"^    :(\w+) => ", extension, re.MULTILINE) == list(sciml.SENSEALGS)
    for name in sciml.SENSEALGS:
        sciml.check_sensealg(problem_for("EM", sensealg=name))


def test_what_to_do_where_the_sensitivity_package_is_missing(julia):
    if julia.how == "embedded":
        with pytest.raises(ssnn.JuliaError, match="ssnn setup --sensitivity"):
            sciml.load_sensitivity(julia)


def test_a_failed_setup_says_why_and_leaves_the_project_as_it_was(tmp_path):
    pytest.importorskip("juliapkg")
    settings = {"PYTHON_JULIAPKG_PROJECT": str(tmp_path), "PYTHON_JULIAPKG_OFFLINE": "yes", "PATH": "/nowhere"}
    unset = {"PYTHON_JULIAPKG_EXE", "PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT"}
    done = subprocess.run(
        [sys.executable, "-m", "ssnn_py", "setup", "--sciml"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**{name: value for name, value in os.environ.items() if name not in unset}, **settings},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "the SciML packages could not be installed" in done.stderr.splitlines()[-1]
    assert (
        not (tmp_path / "pyjuliapkg" / "juliapkg.json").is_file()
        or "StochasticDiffEq" not in (tmp_path / "pyjuliapkg" / "juliapkg.json").read_text()
    )


def test_doctor_knows_whether_the_packages_are_there(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHON_JULIAPKG_PROJECT", str(tmp_path))
    monkeypatch.delenv("PYTHON_JULIACALL_PROJECT", raising=False)
    assert not packages.sciml_installed()
    (tmp_path / "pyjuliapkg").mkdir()
    (tmp_path / "pyjuliapkg" / "juliapkg.json").write_text(json.dumps({"packages": {"StochasticDiffEq": {}}}))
    assert packages.sciml_installed()
    facts = {
        **dict.fromkeys(
            ("julia", "core_folder", "cache_folder", "private_julia", "juliacall_installed", "modern_julia")
        )
    }
    facts |= {
        "engine": "reference",
        "python": "3",
        "platform": "here",
        "settings": {},
        "problems": [],
        "sciml_installed": True,
        "devices": {},
        "openssl": "3",
        "openssl_limit": "",
    }
    assert re.search("SciML +installed", doctor.report(facts))


def test_juliacall_without_a_julia_is_not_available(monkeypatch):
    monkeypatch.setattr(start, "_RUNTIME", None)
    for found, answer in (
        (Surroundings(juliacall_installed=True), False),
        (Surroundings(juliacall_installed=True, requested="juliacall"), False),
        (Surroundings(juliacall_installed=True, modern_julia=True), True),
        (Surroundings(juliacall_installed=True, juliacall_imported=True), True),
        (Surroundings(juliacall_installed=True, embedded_installed=True), True),
    ):
        monkeypatch.setattr(start, "look_around", lambda found=found: found)
        assert boot.available()[0] is answer, found
    monkeypatch.setattr(start, "look_around", lambda: Surroundings(juliacall_installed=True))
    assert "ssnn setup" in boot.available()[1]


def test_juliacalls_settings_yield_to_the_users(monkeypatch):
    monkeypatch.delenv("JULIA_NUM_THREADS", raising=False)
    monkeypatch.setenv("SSNN_NUM_THREADS", "3")
    assert boot.juliacall_defaults()["PYTHON_JULIACALL_THREADS"] == "3"
    monkeypatch.setenv("JULIA_NUM_THREADS", "5")
    assert "PYTHON_JULIACALL_THREADS" not in boot.juliacall_defaults()
