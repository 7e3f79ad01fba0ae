"""The core on a modern Julia through juliacall: what the embedded Julia does, it does too. Skipped where there is none.

What may hang or crash runs in a process of its own. tests/test_boot.py, which takes whatever Julia there is, has more
of the kind.
"""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import one_neuron, random_network, random_trains, run_arguments, run_julia, why_no_modern_julia

import ssnn_py as ssnn
from ssnn_py.engine import boot
from ssnn_py.engine.boot import core

ROOT = Path(__file__).resolve().parents[2]
SEARCH_PATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


WHY_NOT = why_no_modern_julia()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

BEGIN = """
import faulthandler, signal, threading, time
faulthandler.dump_traceback_later(100)  # says where, if anything hangs
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
import ssnn_py as ssnn
from ssnn_py.engine import boot
net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
def run(**options):
    return ssnn.simulate(net, **{**dict(t1=2.0, dt=0.01, max_spikes=2, seed=3, num_samples=20), **options}).spike_times
def long():
    run(t1=1e6, dt=1e-5, num_samples=8, max_spikes=10**6)
"""


def start(code, **environment):
    settings = {**os.environ, "PYTHONPATH": SEARCH_PATH, "SSNN_JULIA": "juliacall", **environment}
    command = [sys.executable, "-c", BEGIN + textwrap.dedent(code)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=settings)


def python(code, **environment):
    """What the code prints in a fresh interpreter, where juliacall starts Julia; fails on a crash, a hang or noise."""
    out, err = start(code, **environment).communicate(timeout=120)
    assert err == ""
    return out.split()


@pytest.fixture(scope="module")
def julia():
    julia = boot.runtime()
    assert julia.how == "juliacall"
    return julia


def test_the_cores_own_tests(julia):
    julia.eval(f'include(raw"{ROOT / "julia" / "test" / "runtests.jl"}")')


def test_the_core_is_this_packages_own(julia):
    entry = core.julia_string(str(boot.source_dir() / "src" / "SSNN.jl"))
    julia.eval(f'samefile(pathof(SSNN), {entry}) || error("the core was loaded from ", pathof(SSNN))')


def test_the_work_for_precompilation_is_done_without_several_threads_too(julia):
    julia.eval("SSNN.precompile_workload(); @assert SSNN.available_threads() == Threads.nthreads()")


def test_the_core_is_precompiled_without_a_word(tmp_path):
    """Into a depot of its own, with the standard library as Julia has it."""
    shared = run_julia("juliacall", "-e", 'print(join(DEPOT_PATH, Sys.iswindows() ? ";" : ":"))')[0]
    settings = {
        "JULIA_DEPOT_PATH": os.pathsep.join([str(tmp_path), shared]),
        "JULIA_LOAD_PATH": os.pathsep.join([str(boot.source_dir()), "@stdlib"]),
    }
    compiling = 'Base.compilecache(Base.identify_package("SSNN")); import SSNN'
    assert run_julia("juliacall", "-e", compiling, **settings) == ("", "")
    assert [*tmp_path.glob("compiled/*/SSNN/*.ji")]


def test_julia_runs_as_juliacall_started_it(julia):
    assert tuple(int(part) for part in julia.version.split(".")[:2]) >= boot.MODERN
    assert Path(julia.library).exists()
    assert boot.available() == (True, "juliacall")


# --- the same numbers
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["euler_maruyama", "exact_ou", "milstein", "shark", "stochastic_heun"])
@pytest.mark.parametrize("seed", [0, 1])
def test_parity_with_the_reference(julia, solver, seed):
    network, arguments = random_network(seed), {**run_arguments(seed), "solver": solver}
    ours, theirs = (ssnn.simulate(network, engine=engine, **arguments) for engine in ("julia", "reference"))
    np.testing.assert_array_equal(ours.spike_neurons, theirs.spike_neurons)
    np.testing.assert_allclose(ours.spike_times, theirs.spike_times, rtol=1e-9)
    np.testing.assert_allclose(ours.v, theirs.v, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("solver", ["euler_maruyama", "shark"])
def test_gradients_of_both_modes_and_both_engines(julia, solver):
    network, arguments = random_network(2), {**run_arguments(2), "solver": solver}
    ours, theirs = (ssnn.simulate(network, engine=engine, **arguments) for engine in ("julia", "reference"))
    rng = np.random.default_rng(0)
    bar = rng.normal(size=ours.spike_times.shape)
    names = ("weights", "mu", "sigma", "v_reset", "alpha", "v_th", "input_current")
    reverse, expected = ours.vjp(bar, wrt=names), theirs.vjp(bar, wrt=names)
    for name in names:
        np.testing.assert_allclose(reverse[name], expected[name], rtol=1e-6, atol=1e-8)
        direction = rng.normal(size=reverse[name].shape)
        forward = np.sum(np.where(np.isfinite(ours.spike_times), bar, 0.0) * ours.jvp({name: direction}))
        np.testing.assert_allclose(forward, np.sum(reverse[name] * direction), rtol=1e-8, atol=1e-9)


def test_signatures_and_kernels_are_finite_and_gram_matrices_transpose(julia):
    X, Y = (random_trains(np.random.default_rng(seed), 6, 5, 3) for seed in (1, 2))
    gram = ssnn.signature_kernel_gram(X, Y)
    assert gram.shape == (6, 6)
    assert np.all(np.isfinite(gram))
    np.testing.assert_allclose(ssnn.signature_kernel_gram(Y, X).T, gram, rtol=1e-12)
    assert np.all(np.isfinite(ssnn.expected_signature(X, 3)))


def test_training_lowers_the_loss(julia):
    data = ssnn.simulate(one_neuron(), t1=3.0, dt=0.01, num_samples=32, max_spikes=3, seed=0).spike_trains
    fit = ssnn.fit(
        one_neuron(input_current=1.2),
        data,
        ssnn.ExpectedSignatureLoss(depth=3),
        wrt="input_current",
        steps=50,
        optimizer=ssnn.RMSProp(1e-2),
        t1=3.0,
        dt=0.01,
        max_spikes=3,
    )
    assert fit.history["loss"][-1] < fit.history["loss"][0]


def test_numbers_do_not_depend_on_threads(julia):
    network, arguments = random_network(3, samples=70), {**run_arguments(3, samples=70)}
    one, many = (ssnn.simulate(network, threads=threads, **arguments) for threads in (1, 4))
    np.testing.assert_array_equal(one.spike_times, many.spike_times)
    bar = np.ones(one.spike_times.shape)
    np.testing.assert_array_equal(one.vjp(bar, wrt="weights")["weights"], many.vjp(bar, wrt="weights")["weights"])


def test_a_function_of_ones_own(julia):
    current = ssnn.JuliaFunction("t -> 1.5 + 0.5sin(2pi * t)", derivative="t -> pi * cos(2pi * t)")
    solution = ssnn.simulate(one_neuron(input_current=current), t1=2.0, dt=0.01, num_samples=4, max_spikes=3)
    assert np.all(np.isfinite(solution.vjp(np.ones((4, 3)), wrt="mu")["mu"]))


def test_errors_carry_julias_message_and_no_stack(julia):
    with pytest.raises(ssnn.JuliaError, match="in so many words") as caught:
        julia.eval('error("in so many words")')
    assert "Stacktrace" not in str(caught.value)
    with pytest.raises(ssnn.JuliaError, match="no_such_entry"):
        julia.function("no_such_entry")()
    with pytest.raises(ssnn.JuliaError, match="too large"):
        ssnn.simulate(one_neuron(mu=(1e3, 0.0)), t1=1e5, dt=100.0, num_samples=64)


# --- threads of Python, and garbage
# ----------------------------------------------------------------------------------------------


def test_a_collection_that_another_thread_begins_does_not_wait_for_the_main_thread():
    code = """
    run()
    done = []
    def work():
        for _ in range(3):
            boot.runtime().eval("GC.gc()")
            done.append(bool((run() == expected).all()))
    expected = run()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()  # in Python, and not in Julia
    print(done)
    """
    assert python(code) == ["[True,", "True,", "True]"]


def test_started_by_a_thread_that_ends():
    code = """
    results = []
    thread = threading.Thread(target=lambda: results.append(run()))
    thread.start()
    thread.join()
    boot.runtime().eval("GC.gc()")
    print(bool((run() == results[0]).all()), boot.runtime().how)
    """
    assert python(code) == ["True", "juliacall"]


def test_garbage_made_on_several_threads_of_julia():
    code = """
    boot.runtime().eval("for _ in 1:20; Threads.@threads for i in 1:64; sum(rand(10^4)); end; GC.gc(); end")
    first = run(num_samples=500)
    for _ in range(20):
        boot.runtime().eval("GC.gc(false)")
        assert (run(num_samples=500) == first).all()
    print("same")
    """
    assert python(code, SSNN_NUM_THREADS="4") == ["same"]


def test_juliacall_is_the_users_too():
    code = """
    run()
    from juliacall import Main
    print(Main.seval("1 + 1"), list(Main.map(Main.abs, [-1, 2])))
    Main.println("from Julia")
    thread = threading.Thread(target=lambda: print(Main.seval("2 + 2"), flush=True))
    thread.start()
    thread.join()
    """
    assert python(code) == ["2", "[1,", "2]", "from", "Julia", "4"]


def test_juliacall_imported_before():
    code = """
    from juliacall import Main
    print(bool((run() == run()).all()), Main.seval("Threads.nthreads()"))
    thread = threading.Thread(target=lambda: boot.runtime().eval("GC.gc()"))
    thread.start()
    thread.join()
    """
    settings = dict(PYTHON_JULIACALL_HANDLE_SIGNALS="yes", PYTHON_JULIACALL_THREADS="2", SSNN_NUM_THREADS="2")
    assert python(code, **settings) == ["True", "2"]


# --- Ctrl-C
# ----------------------------------------------------------------------------------------------------------------------


def interrupted(code, after=1.0, times=1, number=signal.SIGINT, **environment):
    """(words, errors, status) of a process that is sent signals once it has said "ready"."""
    process = start(code, **environment)
    assert process.stdout.readline().strip() == "ready"
    for _ in range(times):
        time.sleep(after)
        process.send_signal(number)
    out, err = process.communicate(timeout=120)
    return out.split(), err, process.returncode


LONG_SOLVE = """
run()
print("ready", flush=True)
begin = time.perf_counter()
try:
    long()
except KeyboardInterrupt:
    print("stopped", time.perf_counter() - begin < 20, run().shape)
"""


@pytest.mark.parametrize("threads", ["1", "4"])
def test_ctrl_c_stops_a_long_solve(threads):
    assert interrupted(LONG_SOLVE, SSNN_NUM_THREADS=threads) == (["stopped", "True", "(20,", "2)"], "", 0)


def test_ctrl_c_pressed_again_and_again():
    code = """
    run()
    print("ready", flush=True)
    stopped = 0
    while stopped < 4:
        try:
            long()
        except KeyboardInterrupt:
            stopped += 1
    print(run().shape)
    """
    assert interrupted(code, times=4) == (["(20,", "2)"], "", 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_outside_julia_signals_are_pythons(number):
    code = """
    run()
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", run().shape)
    """
    out, err, status = interrupted(code, after=0.2, number=number)
    assert err == ""
    assert (out, status) == ((["interrupted", "(20,", "2)"], 0) if number == signal.SIGINT else ([], -signal.SIGTERM))


def test_ctrl_c_where_julia_handles_it():
    """Imported first, juliacall keeps Ctrl-C for Julia: it is thrown into Julia's first thread, and the core stops the
    others.
    """
    code = "import juliacall\n" + LONG_SOLVE
    settings = dict(PYTHON_JULIACALL_HANDLE_SIGNALS="yes", PYTHON_JULIACALL_THREADS="4", SSNN_NUM_THREADS="4")
    assert interrupted(code, **settings) == (["stopped", "True", "(20,", "2)"], "", 0)


def test_leaving_stops_another_threads_call():
    code = """
    run()
    threading.Thread(target=long, daemon=True).start()
    time.sleep(1)
    print("ready", flush=True)
    """
    process = start("threading.excepthook = lambda *_: None\n" + textwrap.dedent(code))
    out, err = process.communicate(timeout=120)
    assert (out.split(), err, process.returncode) == (["ready"], "", 0)


def test_a_process_of_pytest_ends_as_it_should(tmp_path):
    """pytest enables faulthandler before Julia's start, and disables it before juliacall ends Julia: then the handler
    of the faults by which Julia stops its threads is gone, unless it is put back.
    """
    (tmp_path / "test_one.py").write_text(
        textwrap.dedent(
            """
            import ssnn_py as ssnn
            from ssnn_py.engine import boot

            def test_one():
                network = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
                assert (ssnn.simulate(network, t1=2.0, dt=0.01, num_samples=20, max_spikes=2).spike_times > 0).all()
                boot.runtime().eval(
                    "atexit(() -> begin; Threads.@threads for i in 1:32; GC.gc(false); end; end)"
                )
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": SEARCH_PATH, "SSNN_JULIA": "juliacall", "SSNN_NUM_THREADS": "4"},
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "1 passed" in done.stdout


# --- how long the first result takes
# ---------------------------------------------------------------------------------------------


def test_first_results_in_new_processes(capsys):
    code = """
    begin = time.perf_counter()
    run()
    print(f"{time.perf_counter() - begin:.2f}", flush=True)
    begin = time.perf_counter()
    solution = ssnn.simulate(net, t1=2.0, dt=0.01, num_samples=20, max_spikes=2)
    solution.vjp(0 * solution.spike_times + 1, wrt="mu")
    print(f"{time.perf_counter() - begin:.2f}")
    """
    for attempt in ("once", "again"):
        begin = time.perf_counter()
        solve, gradient = python(code)
        with capsys.disabled():
            print(
                f"\nfirst solve {solve} s, first gradient {gradient} s, process {time.perf_counter() - begin:.2f} s "
                f"({attempt})"
            )
        assert re.fullmatch(r"\d+\.\d+", solve)
