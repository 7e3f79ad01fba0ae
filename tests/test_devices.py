"""Devices: what they refuse and say, and that the kernels compute the numbers of the native engine. Here these run as
tasks on the host, by so many lanes per sample; tests/modern has them by KernelAbstractions.jl.
"""

import argparse
import copy
import json
import pickle
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import needs_julia
from device_cases import LARGE, QUICK, FarArrays, all_are_large, assert_agree, assert_stays_there
from helpers import one_neuron, random_network

import ssnn_py as ssnn
from ssnn_py import cli, doctor
from ssnn_py.engine import boot, devices, packages

RUN = dict(t1=1.0, dt=0.02)
TRAINS = ssnn.SpikeTrains([[0.5]], [[0]], num_neurons=1, t0=0.0, t1=1.0)

core_has_kernels = pytest.mark.skipif(
    not any("ssnn_device_solve" in path.read_text() for path in (boot.source_dir() / "src").rglob("*.jl")),
    reason="this core has no entry points for devices",
)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["gpu", "CUDA", "emulation", "emulation:0", "emulation:x", 3, None, ["cuda"]])
def test_a_device_that_does_not_exist_is_refused_with_those_that_do(device):
    allowed = "device must be one of 'cpu', 'kernels', 'cuda', 'rocm', 'oneapi', got"
    with pytest.raises(ssnn.ValidationError, match=re.escape(f"{allowed} {device!r}")):
        ssnn.simulate(one_neuron(), **RUN, device=device)


def test_apples_gpus_are_refused_with_the_reason():
    with pytest.raises(ssnn.ValidationError, match="got 'metal': Apple's GPUs have no Float64"):
        ssnn.simulate(one_neuron(), **RUN, device="metal")


def driven_by(driver):
    return one_neuron(driver=driver), {}


REFUSED = {
    "fractional noise": (lambda: driven_by(ssnn.FractionalBrownianMotion(0.3)), r"the driver is FractionalBrownian"),
    "jumps": (
        lambda: driven_by(ssnn.BrownianMotion() + ssnn.JumpProcess(1.0, ssnn.NormalJumps(0.0, 0.1))),
        r"driven by BrownianMotion\(\), and the driver is .*JumpProcess",
    ),
    "a path": (lambda: driven_by(ssnn.SampledPath([0.0, 1.0], [0.0, 1.0])), "the driver is SampledPath"),
    "code of one's own": (
        lambda: (one_neuron(input_current=ssnn.JuliaFunction("t -> 1.5")), {}),
        r"input_current is JuliaFunction\(source='t -> 1.5'.*take a FormulaCurrent",
    ),
    "a recording": (lambda: (one_neuron(), dict(observed=TRAINS)), "observed, or a likelihood, must not be given"),
    "a solver of others": (lambda: (one_neuron(), dict(solver="sciml:EM")), r"no solver 'sciml:EM'.*ssnn.solvers\(\)"),
    "NumPy": (lambda: (one_neuron(), dict(engine="reference")), "through Julia, and the engine is 'reference'"),
}


@needs_julia
@pytest.mark.parametrize("what", REFUSED)
def test_what_a_device_cannot_do_is_refused_by_name(what):
    make, said = REFUSED[what]
    network, arguments = make()
    for call in (ssnn.simulate, lambda *given, **run: ssnn.fit(*given[:1], TRAINS, max, "alpha", 1, **run)):
        with pytest.raises(ssnn.ValidationError, match=rf"^device 'cuda' .*{said}.*device='cpu'"):
            call(network, **RUN, **arguments, device="cuda")


@needs_julia
def test_executors_are_refused_with_a_device():
    with ThreadPoolExecutor(1) as executor, pytest.raises(ssnn.ValidationError, match="executor must not be given"):
        ssnn.simulate(one_neuron(), **RUN, device="cuda", executor=executor)


@needs_julia
def test_likelihoods_are_refused(tmp_path):
    network, match = one_neuron(sigma=0.0), "device 'cuda' has no neurons that are clamped"
    with pytest.raises(ssnn.ValidationError, match=match):
        ssnn.log_likelihood(network, TRAINS, dt=0.02, device="cuda")
    with pytest.raises(ssnn.ValidationError, match="device must be 'cpu', got 'cuda'"):
        ssnn.estimate(network, **RUN, device="cuda")
    with pytest.raises(ssnn.ValidationError, match="it has device 'cuda'"):
        ssnn.record(network, **RUN, device="cuda", out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# --- how a device is found --------------------------------------------------------------------------------------------


class FakeJulia:
    """A Julia that notes what it is asked to evaluate, and fails where `fails` is in it."""

    def __init__(self, how="juliacall", fails=None):
        self.how, self.version, self.fails, self.asked = how, "1.11.9", fails, []

    def eval(self, code):
        self.asked.append(code)
        if self.fails and self.fails in code:
            raise ssnn.JuliaError("what Julia says")


def test_the_tables_name_the_same_devices():
    available = list(devices.DEVICES)
    assert ["cpu", *available] == list(devices.NAMES)
    assert set(available) == set(packages.DEVICE_PACKAGES) == set(cli._DEVICES)
    (commands,) = (part for part in cli.parser()._actions if isinstance(part, argparse._SubParsersAction))
    setup = {option for part in commands.choices["setup"]._actions for option in part.option_strings}
    assert {f"--{name}" for name in available} <= setup
    for name, needed in packages.DEVICE_PACKAGES.items():
        assert needed[0][0] == "KernelAbstractions"
        module = devices.DEVICES[name].module
        assert [package for package, _, _ in needed[1:]] == ([module] if module else [])


@core_has_kernels
def test_the_versions_are_those_that_the_core_allows():
    project = (boot.source_dir() / "Project.toml").read_text()
    weak, compat = (project.split(f"[{part}]")[1].split("\n[")[0] for part in ("weakdeps", "compat"))
    ((name, uuid, version),) = packages.DEVICE_PACKAGES["kernels"]
    assert f'{name} = "{uuid}"\n' in weak
    assert f'{name} = "{version}"\n' in compat


@needs_julia
def test_the_embedded_julia_says_what_to_do(julia):
    if julia.how != "embedded":
        pytest.skip("the packages may be loaded here")
    for name in ("kernels", "cuda"):
        with pytest.raises(ssnn.JuliaError, match=f"device '{name}' needs Julia 1.10.*`ssnn setup --{name}` and set"):
            ssnn.simulate(one_neuron(), **RUN, device=name)


def test_packages_that_do_not_load_are_named_with_what_installs_them():
    julia = FakeJulia(fails="import")
    with pytest.raises(ssnn.JuliaError, match="needs KernelAbstractions, CUDA, which could not be loaded; run"):
        devices.load_packages(julia, "cuda")
    with pytest.raises(ssnn.JuliaError, match=r"`ssnn setup --kernels`.*Julia says: what Julia says"):
        devices.load_packages(julia, "kernels")


def test_without_a_gpu_it_is_said_which_kind_is_missing():
    for name, kind in (("cuda", "NVIDIA"), ("rocm", "AMD"), ("oneapi", "Intel"), ("metal", "Apple")):
        with pytest.raises(ssnn.JuliaError, match=f"device '{name}' finds no usable GPU, an {kind} GPU. Julia says"):
            devices.load_packages(FakeJulia(fails="functional"), name)


def test_a_gpus_backend_is_told_to_the_core():
    julia = FakeJulia()
    devices.load_packages(julia, "cuda")
    assert julia.asked[0].startswith("import KernelAbstractions, CUDA; SSNN.DEVICE_HOOK[] === nothing")
    assert julia.asked[1:] == [
        'CUDA.functional() || error("CUDA.functional() is false")',
        'SSNN.DEVICE_HOOK[]("cuda", CUDA.CUDABackend(), () -> CUDA.free_memory() ÷ 2, '
        "CUDA.CUDABackend(; always_inline = true), "
        "(T, address, count) -> unsafe_wrap(CUDA.CuArray, CUDA.CuPtr{T}(address), count))",
    ]
    julia = FakeJulia()
    devices.load_packages(julia, "kernels")
    assert len(julia.asked) == 1
    devices.load_packages(julia, "emulation:2")
    assert len(julia.asked) == 1


@pytest.mark.parametrize("words", [["--kernels"], ["--cuda"], ["--kernels", "--rocm"]])
def test_setup_adds_the_packages_of_devices(words, monkeypatch, capsys):
    juliapkg = pytest.importorskip("juliapkg")
    monkeypatch.delenv("PYTHON_JULIACALL_PROJECT", raising=False)
    monkeypatch.delitem(sys.modules, "juliacall", raising=False)
    monkeypatch.setattr(juliapkg, "offline", lambda value=None: False)
    added = []
    monkeypatch.setattr(juliapkg, "add", lambda name, **options: added.append((name, *options.values())))
    monkeypatch.setattr(juliapkg, "resolve", lambda: added.append("resolve"))
    assert cli.main(["setup", *words]) == 0
    names = [word.removeprefix("--") for word in words]
    wanted = dict.fromkeys(package for name in names for package in packages.DEVICE_PACKAGES[name])
    assert added == [*(tuple(filter(None, package)) for package in wanted), "resolve"]
    said = capsys.readouterr().out
    assert [f"device '{name}'" in said for name in names] == [True] * len(names)


def test_doctor_says_which_devices_are_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHON_JULIAPKG_PROJECT", str(tmp_path))
    monkeypatch.delenv("PYTHON_JULIACALL_PROJECT", raising=False)
    assert not packages.device_installed("kernels")
    (tmp_path / "pyjuliapkg").mkdir()
    (tmp_path / "pyjuliapkg" / "juliapkg.json").write_text(json.dumps({"packages": {"KernelAbstractions": {}}}))
    assert [packages.device_installed(name) for name in ("kernels", "cuda")] == [True, False]

    def looked_at(said, status):
        """What doctor says where Julia cannot be started, and its look at a device says this."""
        none = SimpleNamespace(returncode=0, stdout='{"problem": "there is no Julia"}', stderr="")
        device = SimpleNamespace(returncode=status, stdout=said, stderr="a word of Julia's")
        monkeypatch.setattr(doctor.subprocess, "run", lambda command, **_: device if command[-1] == "kernels" else none)
        return doctor.examine(devices=True)

    facts = looked_at("device 'kernels' needs Julia 1.10\n", 1)
    assert facts["devices"] == {"kernels": True, "cuda": False, "rocm": False, "oneapi": False, "metal": False}
    assert facts["problems"] == ["there is no Julia", "device 'kernels' needs Julia 1.10"]
    said = doctor.report(facts)
    assert re.search(r"device +kernels: installed\n", said)
    assert re.search(r"device +cuda: not installed; `ssnn setup --cuda` adds it\n", said)
    assert re.search(r"device +kernels: on the processor\n", doctor.report(looked_at("on the processor\n", 0)))
    assert "ended the process (status -11): a word of Julia's" in looked_at("", -11)["problems"][1]


# --- where a device is kept -------------------------------------------------------------------------------------------


@pytest.fixture
def on_cuda():
    """A solution that says it is of a GPU."""
    solution = ssnn.simulate(one_neuron(), **RUN, num_samples=2, seed=1, engine="julia")
    return replace(solution, problem=replace(solution.problem, device="cuda"))


@needs_julia
def test_solutions_keep_their_device(on_cuda, tmp_path):
    assert "device 'cuda'" in repr(on_cuda)
    assert on_cuda != replace(on_cuda, problem=replace(on_cuda.problem, device="cpu"))
    ssnn.save(tmp_path / "solution", on_cuda)
    for other in (copy.deepcopy(on_cuda), pickle.loads(pickle.dumps(on_cuda)), ssnn.load(tmp_path / "solution")):
        assert other == on_cuda
        assert other.problem.device == "cuda"


@needs_julia
def test_a_solution_of_a_device_does_not_go_on(on_cuda):
    with pytest.raises(ssnn.ValidationError, match="it has device 'cuda', which cannot begin where another run"):
        on_cuda.continue_to(2.0)


@needs_julia
def test_gradients_are_computed_where_the_solution_was(on_cuda, julia):
    """And so need the device, too."""
    if julia.how != "embedded":
        pytest.skip("there may be a GPU here")
    for derivative in (lambda: on_cuda.vjp(1.0, "alpha"), lambda: on_cuda.jvp({"alpha": 1.0})):
        with pytest.raises(ssnn.JuliaError, match="device 'cuda' needs Julia"):
            derivative()


# --- the numbers of the native engine ---------------------------------------------------------------------------------


@needs_julia
@core_has_kernels
@pytest.mark.parametrize("name", QUICK)
def test_kernels_compute_what_the_native_engine_does(name):
    assert_agree(name, "emulation:1" if name == "sparse delays" else "emulation:3")


@pytest.fixture
def little_memory(julia):
    """For one sample at a time, so many bytes of its tape, and so many pieces of a passage."""
    settings = "SSNN.EMULATED_MEMORY[], SSNN.TAPE_BYTES[], SSNN.PIECES_KEPT[]"
    julia.eval(f"{settings} = 1, 8000, 2")
    yield
    julia.eval(f"{settings} = 2^30, 2^25, 24")


@needs_julia
@core_has_kernels
@pytest.mark.parametrize(("name", "lanes"), [("slif, euler_maruyama", 3), ("sparse delays", 1)])
def test_gradients_do_not_depend_on_how_much_is_kept_on_the_way(name, lanes, little_memory):
    """Of samples one after the other, in many segments, and of passages in more pieces than there is memory for."""
    assert_agree(name, f"emulation:{lanes}")


@needs_julia
@core_has_kernels
@pytest.mark.parametrize("name", LARGE)
def test_so_do_those_of_steps_in_large_networks(name):
    with all_are_large():
        assert_agree(name, "emulation:3")


@needs_julia
@core_has_kernels
def test_gradients_of_large_networks_do_not_depend_on_how_much_is_kept(little_memory):
    with all_are_large():
        assert_agree("slif, euler_maruyama", "emulation:3")


@needs_julia
@core_has_kernels
def test_recorded_states_are_those_right_after_a_spike():
    network, run = one_neuron(), dict(RUN, num_samples=1, seed=3, device="emulation:1")
    times = ssnn.simulate(network, **run).spike_times[0]
    assert times.size >= 2
    around = np.sort(np.concatenate([times - 1e-9, times, times + 1e-9]))
    before, at, after = ssnn.simulate(network, **run, saveat=around).v[0].reshape(times.size, 3).T
    np.testing.assert_allclose(at, after, atol=1e-6)
    np.testing.assert_allclose(before - at, 1.4, atol=1e-6)


@needs_julia
@core_has_kernels
def test_samples_do_not_depend_on_their_batch():
    network, run = one_neuron(), dict(RUN, max_spikes=3, seed=9, saveat=0.25, device="emulation:2")
    whole = ssnn.simulate(network, num_samples=6, **run)
    parts = [ssnn.simulate(network, num_samples=2, first_sample=first, **run) for first in (0, 2, 4)]
    assert np.array_equal(whole.spike_times, np.concatenate([part.spike_times for part in parts]))
    assert np.array_equal(whole.v, np.concatenate([part.v for part in parts]), equal_nan=True)


@needs_julia
@core_has_kernels
def test_value_and_grad_and_fit_on_a_device():
    network = random_network(1, neurons=2, samples=4, per_sample=False, sampled=False)
    run = dict(t1=1.0, dt=0.02, num_samples=4, max_spikes=5)
    count = ssnn.SampleMean(lambda trains: (trains.num_spikes, None), order_matters=False)
    fits = [
        ssnn.fit(network, None, count, "mu", 3, device=device, **run).parameters["mu"]
        for device in ("cpu", "emulation:2")
    ]
    np.testing.assert_allclose(*fits, rtol=1e-7)


@needs_julia
@core_has_kernels
@pytest.mark.parametrize("memory", ["much", "little"])
@pytest.mark.parametrize("max_spikes", [3, None])
def test_results_go_into_arrays_of_another_library_and_derivatives_come_from_them(max_spikes, memory, request):
    if memory == "little":
        request.getfixturevalue("little_memory")
    assert_stays_there("emulation:2", FarArrays(), max_spikes)


FEW, MORE = "mu", ("mu", "weights", "alpha", "sigma", "v0")


@needs_julia
@core_has_kernels
@pytest.mark.parametrize("wrt", [FEW, MORE])
@pytest.mark.parametrize("observed", ["the order of spikes", "spikes in windows"])
def test_unbiased_gradients_on_a_device(observed, wrt):
    """By runs with inserted spikes, at others or at recorded times; of few parameters forwards, of more backwards."""
    assert_unbiased_agree(observed, wrt)


@needs_julia
@core_has_kernels
@pytest.mark.parametrize(("observed", "wrt"), [("the order of spikes", MORE), ("spikes in windows", FEW)])
def test_so_are_those_of_large_networks(observed, wrt):
    with all_are_large():
        assert_unbiased_agree(observed, wrt)


def assert_unbiased_agree(observed, wrt):
    """An unbiased gradient on a device and by the native engine."""
    network = random_network(1, neurons=3, samples=4, per_sample=False, sampled=False)
    loss = {
        "the order of spikes": ssnn.SampleMean(
            lambda trains: ((trains.neurons == 0) @ (1.0 / (1 + np.arange(trains.neurons.shape[1]))), None)
        ),
        "spikes in windows": ssnn.SpikeCountLoss(windows=[(0.0, 0.31), (0.31, 0.6)]),
    }[observed]
    data = ssnn.SpikeTrains([[0.2, 0.5]], [[0, 1]], num_neurons=3, t0=0.0, t1=1.0)
    run = dict(t1=1.0, dt=0.02, num_samples=4, saveat=[0.31, 0.6], gradient="unbiased")
    one, two = (
        ssnn.value_and_grad(loss, network, wrt, data=data, device=device, **run) for device in ("cpu", "emulation:2")
    )
    np.testing.assert_allclose(two[0], one[0], rtol=1e-12)
    for name, gradient in one[1].items():
        assert np.any(gradient)
        np.testing.assert_allclose(two[1][name], gradient, rtol=1e-9, atol=1e-9 * np.abs(gradient).max())


@needs_julia
@core_has_kernels
def test_a_likelihood_in_fit_is_refused():
    with pytest.raises(ssnn.ValidationError, match="has no neurons that are clamped"):
        ssnn.fit(one_neuron(sigma=0.0), TRAINS, ssnn.NegativeLogLikelihood(), "alpha", 2, **RUN, device="emulation:1")


@needs_julia
@core_has_kernels
def test_multilevel_on_a_device():
    run = dict(t1=1.0, dt=0.1, tol=0.05, max_spikes=1, pilot_samples=20)
    values = [
        ssnn.multilevel(one_neuron(), lambda s: np.minimum(s.spike_times[:, 0], 1.0), **run, device=device).value
        for device in ("cpu", "emulation:1")
    ]
    np.testing.assert_allclose(*values, rtol=1e-9)


@needs_julia
@core_has_kernels
@pytest.mark.parametrize(
    ("changes", "run", "said"),
    [
        (
            dict(mu=(500.0, 0.0), intensity=ssnn.ExponentialIntensity(beta=0.0, tau=1e12)),
            dict(t1=100.0, dt=0.1),
            "no longer finite",
        ),
        (
            dict(v_reset=0.0, alpha=0.0, intensity=ssnn.ExponentialIntensity(beta=0.0, tau=1e-6)),
            dict(t1=1.0, dt=0.1),
            "fires more than",
        ),
    ],
)
def test_what_goes_wrong_is_said_as_by_the_native_engine(changes, run, said):
    def assert_said(device):
        with pytest.raises(ssnn.JuliaError, match=said):
            ssnn.simulate(one_neuron(**changes), **run, device=device)

    for device in ("cpu", "emulation:2"):
        assert_said(device)
    with all_are_large():
        assert_said("emulation:2")
