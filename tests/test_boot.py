"""Starting Julia: each awkward way in a process of its own."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import run_julia

import ssnn_py as ssnn
from ssnn_py.engine import boot, debian
from ssnn_py.engine.boot import Surroundings, candidates, core, juliacall_host, start, symbols
from ssnn_py.engine.boot.thread import LastingThread

ROOT = Path(__file__).resolve().parents[1]
SEARCH_PATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
FIRST_RESULT = """
import ssnn_py as ssnn
net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
def run():
    return ssnn.simulate(net, t1=2.0, dt=0.01, max_spikes=2, seed=3).spike_times[0, 0]
"""


def python(code, timeout=120, arguments=(), **environment):
    """Run code in a fresh interpreter; returns what it printed. Fails on a crash, a hang or noise on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_RESULT + textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": SEARCH_PATH, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def start_python(code, **environment):
    """A fresh interpreter running code, once it has said "ready"."""
    # Whoever runs the tests may ignore SIGINT, as background jobs do, and children inherit that.
    listen = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", listen + FIRST_RESULT + textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": SEARCH_PATH, **environment},
    )
    assert process.stdout.readline().strip() == "ready"
    return process


def signalled_outside_julia(number, **environment):
    """What a program does that gets a signal while it sleeps in Python, after Julia has run: (output, errors, return
    code).
    """
    process = start_python(
        """
        import time
        run()
        try:
            print("ready", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            print("interrupted", run() > 0)
        """,
        **environment,
    )
    process.send_signal(number)
    return (*process.communicate(timeout=60), process.returncode)


# An entry point that runs until it is stopped, at most a minute.
FOREVER = r"""
from ssnn_py.engine.boot import runtime
import ctypes, threading, time
julia = runtime()
julia.eval('''@eval SSNN @entry_point function ssnn_test_forever(started::Ptr{Int32})
    unsafe_store!(started, Int32(1))
    deadline = time() + 60
    while time() < deadline
        check_cancelled()
    end
end''')
forever = julia.function("ssnn_test_forever", ctypes.c_void_p)
started = ctypes.c_int32(0)
"""


def test_the_choice_of_julia(tmp_path):
    assert candidates(Surroundings()) == ()
    assert candidates(Surroundings(embedded_installed=True)) == ("embedded",)
    assert candidates(Surroundings(juliacall_installed=True)) == ("juliacall",)
    assert candidates(Surroundings(juliacall_installed=True, embedded_installed=True)) == ("embedded",)
    everything = Surroundings(juliacall_installed=True, modern_julia=True, embedded_installed=True)
    assert candidates(everything) == ("juliacall", "embedded")
    assert candidates(Surroundings(juliacall_imported=True, embedded_installed=True)) == ("juliacall",)
    assert candidates(Surroundings(requested="embedded", juliacall_imported=True)) == ("embedded",)
    executable = tmp_path / "julia"
    executable.touch()
    assert candidates(Surroundings(requested=str(executable))) == (str(executable),)
    with pytest.raises(ssnn.JuliaError, match="SSNN_JULIA"):
        candidates(Surroundings(requested="/nowhere/julia"))


@pytest.mark.parametrize("how", ["embedded", "juliacall"])
def test_the_core_overwrites_no_method(how):
    """A modern Julia refuses to precompile a package that does, and would compile all of it in every process."""
    include = f"include({core.julia_string(str(boot.source_dir() / 'src' / 'SSNN.jl'))})"
    assert run_julia(how, "--warn-overwrite=yes", "-e", include) == ("", "")
    assert "overwritten" in run_julia(how, "--warn-overwrite=yes", "-e", "f(x) = 1; f(y) = 2")[1]


def test_importing_is_quick_and_starts_nothing():
    out, _ = python("import sys; print('juliacall' in sys.modules, 'matplotlib' in sys.modules)")
    assert out.split() == ["False", "False"]


def test_a_wrong_ssnn_julia_says_what_to_do(tmp_path):
    code = "try: ssnn.simulate(net, t1=1.0, dt=0.1, engine='julia')\nexcept ssnn.JuliaError as error: print(error)"
    assert "SSNN_JULIA" in python(code, SSNN_JULIA="/nowhere/julia")[0]
    broken = tmp_path / "julia"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    assert "does not run" in python(code, SSNN_JULIA=str(broken))[0]
    assert "ssnn setup" in python(code, SSNN_JULIA="embedded", SSNN_CACHE_DIR=str(tmp_path / "empty"))[0]


@pytest.fixture
def no_julia(tmp_path):
    """Settings of an interpreter without a private Julia, and with a juliacall that cannot start one."""
    (tmp_path / "juliacall.py").write_text(
        """raise Exception("'path' entries are not unique: two copies of a package")"""
    )
    path = os.pathsep.join([str(tmp_path), SEARCH_PATH])
    return {"SSNN_JULIA": "", "SSNN_ENGINE": "", "SSNN_CACHE_DIR": str(tmp_path / "empty"), "PYTHONPATH": path}


def test_without_julia_numpy_computes_after_one_warning(no_julia):
    out, err = python("print(run()); print(run())", **no_julia)
    assert len(set(out.split())) == 1
    assert err.count("RuntimeWarning") == 1
    assert "several copies of ssnn_py" in err
    out_reference, err = python("print(run())", **{**no_julia, "SSNN_ENGINE": "reference"})
    assert out_reference.split()[0] == out.split()[0]
    assert err == ""


@pytest.mark.parametrize(("named", "why"), [("juliacall", "several copies of ssnn_py"), ("embedded", "ssnn setup")])
def test_a_julia_that_was_asked_for_by_name_is_taken_or_is_an_error(no_julia, named, why):
    code = "for _ in range(2):\n    try: run()\n    except ssnn.JuliaError as error: print(error)"
    out, err = python(code, **{**no_julia, "SSNN_JULIA": named})
    assert err == ""
    assert len(out.splitlines()) == 2
    for said in out.splitlines():
        assert f"SSNN_JULIA asks for '{named}', which cannot be had: " in said
        assert why in said


@pytest.mark.skipif(not hasattr(os, "RTLD_DEEPBIND"), reason="this system's loader cannot be told")
def test_a_library_with_an_llvm_of_its_own_takes_its_own_functions(monkeypatch):
    """Here any module of the standard library in C plays it; no other import is touched."""
    name, finder, flags = "_json", symbols.OwnSymbols(), []
    assert finder.find_spec(name) is None
    monkeypatch.setattr(symbols, "WITH_LLVM", {name})
    spec = finder.find_spec(name)
    if spec is None:
        pytest.skip(f"{name} is built into this Python")
    monkeypatch.setattr(ExtensionFileLoader, "create_module", lambda loader, spec: flags.append(sys.getdlopenflags()))
    before = sys.getdlopenflags()
    spec.loader.create_module(spec)
    assert flags == [before | os.RTLD_DEEPBIND]
    assert sys.getdlopenflags() == before


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_triton_can_be_imported_after_julia_has_started(julia):
    """As PyTorch does where an optimizer is made."""
    said, _ = python("run(); from triton._C import libtriton; libtriton.llvm.init_targets(); print(run() > 0)")
    assert said == "True\n"


def test_another_julia_than_the_first_of_the_choice_is_taken_with_a_word(monkeypatch):
    def start_one(candidate):
        if candidate == "juliacall":
            raise ssnn.JuliaError("several copies")
        return SimpleNamespace(how=candidate, version="1.5.3", check_process=lambda: None)

    monkeypatch.setattr(start, "_RUNTIME", None)
    monkeypatch.setattr(start, "_start", start_one)
    found = Surroundings(juliacall_installed=True, modern_julia=True, embedded_installed=True)
    monkeypatch.setattr(start, "look_around", lambda: found)
    with pytest.warns(RuntimeWarning, match=r"Julia 1\.5\.3, embedded, is used, .*: several copies"):
        assert boot.runtime().instead_of == "several copies"
    assert boot.runtime().how == "embedded"  # without another word


@pytest.mark.usefixtures("julia")
class TestRunningJulia:
    def test_twice_and_from_threads(self):
        out, err = python(
            """
            import threading
            results = []
            threads = [threading.Thread(target=lambda: results.append(run())) for _ in range(4)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            print(len(set(results)) == 1, results[0] == run())
            """
        )
        assert out.split() == ["True", "True"]
        assert err == ""

    def test_boots_in_a_forked_child(self):
        out, _ = python(
            """
            import os
            child = os.fork()
            if child == 0:
                print(run() > 0, flush=True)
                os._exit(0)
            print(os.waitpid(child, 0)[1])
            """
        )
        assert out.split() == ["True", "0"]

    def test_a_fork_after_the_boot_is_refused_with_advice(self):
        out, _ = python(
            """
            import os, warnings
            warnings.simplefilter("ignore")
            run()
            child = os.fork()
            if child == 0:
                try:
                    run()
                except ssnn.JuliaError as error:
                    print("spawn" in str(error), flush=True)
                os._exit(0)
            print(os.waitpid(child, 0)[1], run() > 0)
            """
        )
        assert out.split() == ["True", "0", "True"]

    def test_spawned_workers(self, tmp_path):
        script = tmp_path / "work.py"
        script.write_text(
            FIRST_RESULT
            + textwrap.dedent(
                """
                import multiprocessing
                def work(seed):
                    return float(ssnn.simulate(net, t1=1.0, dt=0.01, max_spikes=1, seed=seed).spike_times[0, 0])
                if __name__ == "__main__":
                    work(0)
                    with multiprocessing.get_context("spawn").Pool(2) as pool:
                        print(pool.map(work, [1, 2]) == [work(1), work(2)])
                """
            )
        )
        done = subprocess.run(
            [sys.executable, str(script)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": SEARCH_PATH},
        )
        assert done.stdout.split() == ["True"], done.stderr

    def test_ctrl_c_stops_a_long_solve(self):
        process = start_python(
            """
            import time
            run()
            print("ready", flush=True)
            begin = time.perf_counter()
            try:
                ssnn.simulate(net, t1=1e6, dt=1e-5, num_samples=4, max_spikes=10**6)
            except KeyboardInterrupt:
                print("stopped", time.perf_counter() - begin < 20, run() > 0, flush=True)
            """
        )
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert out.split() == ["stopped", "True", "True"], err
        assert process.returncode == 0

    def test_ctrl_c_outside_julia_and_termination_are_pythons(self):
        for number, status in ((signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)):
            out, err, returned = signalled_outside_julia(number)
            assert returned == status, err
            assert out.split() == (["interrupted", "True"] if number == signal.SIGINT else [])

    def test_ctrl_c_stops_only_the_interrupted_callers_own_call(self):
        process = start_python(
            FOREVER
            + """
import signal
outcome = []
def other():
    try:
        forever(ctypes.addressof(started))
    except BaseException as error:
        outcome.append(type(error).__name__)
thread = threading.Thread(target=other, daemon=True)
thread.start()
while not started.value:
    time.sleep(0.01)
print("ready", flush=True)
try:
    julia.eval("nothing")  # waits behind the other thread's call
except KeyboardInterrupt:
    print("withdrawn", thread.is_alive(), outcome)
"""
        )
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)  # leaving stops the other thread's call as well
        assert (out.split(), err, process.returncode) == (["withdrawn", "True", "[]"], "", 0)

    def test_a_broken_core_is_reported_and_may_be_mended(self, tmp_path):
        broken = tmp_path / "julia"
        (broken / "src").mkdir(parents=True)
        (broken / "src" / "SSNN.jl").write_text('error("a broken core")')
        shutil.copy(ROOT / "julia" / "Project.toml", broken)
        out, err = python(
            """
            import sys
            from pathlib import Path
            from ssnn_py.engine import boot
            from ssnn_py.engine.boot import core
            whole = core.source_dir()
            core.source_dir = lambda: Path(sys.argv[1])
            for _ in range(2):
                try:
                    boot.runtime()
                except ssnn.JuliaError as error:
                    print("a broken core" in str(error))
            core.source_dir = lambda: whole
            print(run() > 0)
            """,
            arguments=[str(broken)],
            SSNN_JULIA="embedded",
        )
        assert (out.split(), err) == (["True", "True", "True"], "")

    def test_a_second_julia_is_refused(self):
        found = debian.installed()
        if found is None:
            pytest.skip("no private Julia is set up")
        out, _ = python(
            """
            import ctypes
            from ssnn_py.engine import boot, debian
            from ssnn_py.engine.boot import libjulia
            libraries = debian.installed().library_dir
            libjulia.preload(libraries)
            other = ctypes.CDLL(str(libraries / "libjulia.so.1"), mode=ctypes.RTLD_GLOBAL)
            try:
                boot.runtime()
            except ssnn.JuliaError as error:
                print("another Julia" in str(error))
            """,
            SSNN_JULIA="embedded",
        )
        assert out.split() == ["True"]

    def test_an_unwritable_cache_only_costs_time(self, tmp_path):
        found = debian.installed()
        if found is None:
            pytest.skip("no private Julia is set up")
        (tmp_path / "debian-julia").symlink_to(found.root)
        (tmp_path / "compiled").write_text("in the way")
        out, err = python("print(run() > 0)", SSNN_CACHE_DIR=str(tmp_path), SSNN_JULIA="embedded")
        assert (out.split(), err) == (["True"], "")

    def test_the_core_is_compiled_once(self, tmp_path):
        found = debian.installed()
        if found is None:
            pytest.skip("no private Julia is set up")
        (tmp_path / "debian-julia").symlink_to(found.root)
        for _ in range(2):
            out, err = python("print(run() > 0)", SSNN_CACHE_DIR=str(tmp_path), SSNN_JULIA="embedded")
            assert (out.split(), err) == (["True"], "")
            compiled = [path.stat().st_mtime_ns for path in (tmp_path / "compiled").rglob("*.ji")]
            assert len(compiled) == 1

    def test_exit_by_an_exception_is_clean(self):
        done = subprocess.run(
            [sys.executable, "-c", FIRST_RESULT + "run()\nraise SystemExit(7)"],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": SEARCH_PATH},
        )
        assert (done.returncode, done.stderr) == (7, "")

    @pytest.mark.parametrize(
        ("first", "then"),
        [("", "enable"), ("faulthandler.enable()", "disable")],
        ids=["enabled after the start", "disabled after the start, as by pytest"],
    )
    def test_julia_collects_garbage_and_ends_whatever_faulthandler_does(self, first, then):
        """Julia's threads are stopped by memory faults, whose handler Python's module replaces."""
        code = f"""
        import faulthandler
        from ssnn_py.engine import boot
        {first}
        run()
        faulthandler.{then}()
        boot.runtime().eval("Threads.@threads for i in 1:32; GC.gc(false); end")
        print(run() > 0)
        faulthandler.{then}()
        """
        out, err = python(code, SSNN_NUM_THREADS="4")
        assert (out.split(), err) == (["True"], "")

    def test_a_handler_of_memory_faults_that_is_another_librarys_stays(self):
        out, err = python(
            """
            import ctypes
            from ssnn_py.engine import boot
            run()
            faults, libc = boot.runtime()._faults, ctypes.CDLL(None)
            julias = faults.action().handler
            libc.signal(11, libc.getpid)
            others = faults.action().handler
            faults.restore()
            print(faults.action().handler == others != julias)
            libc.signal(11, None)
            faults.restore()
            print(faults.action().handler == julias)
            """
        )
        assert (out.split(), err) == (["True", "True"], "")

    def test_errors_carry_julias_message(self, julia):
        with pytest.raises(ssnn.JuliaError, match=r'so "quoted" \$ and nothing else'):
            julia.eval(r'error("so \"quoted\" \$ and nothing else")')
        with pytest.raises(ssnn.JuliaError, match="no_such_entry"):
            julia.function("no_such_entry")()

    def test_the_runtime_says_which_julia_it_is(self, julia):
        assert julia.how in ("embedded", "juliacall")
        assert julia.threads >= 1
        assert tuple(int(part) for part in julia.version.split(".")[:2]) >= (1, 5)
        assert boot.available() == (True, julia.how)

    def test_a_path_with_spaces(self, tmp_path):
        found = debian.installed()
        if found is None:
            pytest.skip("no private Julia is set up")
        folder = tmp_path / "a folder with spaces"
        folder.mkdir()
        (folder / "debian-julia").symlink_to(found.root)
        out, err = python("print(run() > 0)", SSNN_CACHE_DIR=str(folder), SSNN_JULIA="embedded")
        assert (out.split(), err) == (["True"], "")

    def test_an_executable_as_ssnn_julia(self):
        found = debian.installed()
        if found is None:
            pytest.skip("no private Julia is set up")
        libraries = found.library_dir
        path = os.pathsep.join([str(libraries), str(libraries / "julia"), str(found.root / "lib" / libraries.name)])
        out, _ = python(
            "from ssnn_py.engine import boot\nprint(run() > 0, boot.runtime().how)",
            SSNN_JULIA=str(found.root / "usr/bin/julia"),
            LD_LIBRARY_PATH=path,
        )
        assert out.split() == ["True", "embedded"]


def test_ctrl_c_is_seen_while_the_main_thread_is_inside_c():
    """Wherever the signal is handled: here by another thread, as where a listener of Julia's takes it."""
    out, err = python(
        """
        import ctypes, os, signal, threading, time
        from ssnn_py.engine.boot.signals import CtrlC
        signal.signal(signal.SIGINT, signal.default_int_handler)
        flag, seen = ctypes.c_int32(0), []
        watch = CtrlC(flag, borrowed=False)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)  # as an event loop does

        def interrupt():
            time.sleep(0.3)
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            deadline = time.monotonic() + 1
            while not flag.value and time.monotonic() < deadline:
                time.sleep(0.01)
            seen.append(flag.value)

        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            with watch.watched():
                ctypes.CDLL(None).usleep(2_000_000)
        except KeyboardInterrupt:
            print("interrupted", seen, os.read(reader, 8) == bytes([signal.SIGINT]), signal.set_wakeup_fd(-1) == writer)
        thread.join()

        flag.value = 0
        with watch.watched():
            pass
        try:
            signal.raise_signal(signal.SIGINT)  # outside a call
        except KeyboardInterrupt:
            time.sleep(0.1)
            print(flag.value)
        worker = threading.Thread(target=lambda: watch.watched().__enter__())  # nothing to do there
        worker.start()
        worker.join()
        print(signal.set_wakeup_fd(-1))
        """
    )
    assert (out.splitlines(), err) == (["interrupted [1] True True", "0", "-1"], "")


def test_what_must_last_is_started_on_a_thread_that_stays():
    lasting, threads = LastingThread(), []
    assert lasting.start(lambda: threads.append(threading.current_thread()) or "done") == "done"
    assert threads[0].is_alive()
    assert threads[0].daemon
    with pytest.raises(ZeroDivisionError):
        lasting.start(lambda: 1 / 0)
    assert lasting.call(threading.current_thread) is threads[0]


def test_what_must_last_is_ended_on_the_thread_that_started_it():
    """Where another thread closed Julia's event loop, it would wait for ever for the one that runs it."""
    out, err = python(
        """
        import atexit, threading
        from ssnn_py.engine.boot.thread import LastingThread
        lasting, whole = LastingThread(), atexit.register

        def say(what):
            print(what, threading.current_thread().name, flush=True)

        def start():
            others = threading.Thread(target=atexit.register, args=(say, "registered elsewhere:"))
            others.start()
            others.join()
            return atexit.register(say, "registered here:")

        def fail():
            atexit.register(say, what="before it failed:")
            raise ValueError

        print(lasting.start(start) is say)
        try:
            lasting.start(fail)
        except ValueError:
            print(atexit.register is whole)
        """
    )
    ends = ["before it failed: julia", "registered here: julia", "registered elsewhere: MainThread"]
    assert (out.splitlines(), err) == (["True", "True", *ends], "")


def test_copies_that_hinder_each_other_are_explained():
    error = Exception(
        "'path' entries are not unique:\n- '/a/julia' at /a/juliapkg.json\n- '/b/julia' at /b/juliapkg.json"
    )
    assert "several copies of ssnn_py" in juliacall_host.advice_on_copies(error)
    assert juliacall_host.advice_on_copies(Exception("no internet")) == ""


# A stand-in for the module juliacall: the private Julia on the main thread, which calls itself a modern one, and whose
# start takes signals away from Python as juliacall's does. So what surrounds juliacall's Julia is tried without one.
STAND_IN = """
import atexit, ctypes, signal
from ssnn_py.engine import debian
from ssnn_py.engine.boot import cache, core, libjulia

CONFIG = {"libpath": "a stand-in", "opt_handle_signals": "yes"}
_executable = debian.installed().root / "usr/bin/julia"
_libraries, _image = libjulia.embedded_files(_executable)
_julia = libjulia.LibJulia(_libraries, _executable, _image, True)
blocked = {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGABRT, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
ctypes.CDLL(None).signal(2, 1)  # ignored
atexit.register(_julia.end)


class _Main:
    def seval(self, code):
        if "VERSION" in code:
            return "1.10.0"
        if "start_facts" in code:
            threads, processor, _, *addresses = _julia.text(code).split("\\n")
            # Instead of jl_gc_safe_enter: this Julia's entry points would not leave that state.
            address = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p).value
            return "\\n".join([threads, processor, str(address), *addresses])
        if "import SSNN" in code:  # compiled before
            compiled = cache.compiled_core(_executable, _image, _julia.cpu_target, libjulia.library_path(_libraries))
            load = cache.load_compiled(compiled)
            code = code.replace(":(import SSNN)", f"Meta.parse({core.julia_string('begin ' + load + ' end')})")
        _julia.evaluate(code)


Main = _Main()
"""


@pytest.mark.skipif(debian.installed() is None, reason="no private Julia is set up")
class TestAroundJuliacall:
    @pytest.fixture
    def juliacall(self, tmp_path):
        """Settings of an interpreter that takes the stand-in for juliacall."""
        (tmp_path / "juliacall.py").write_text(STAND_IN)
        return {"SSNN_JULIA": "juliacall", "PYTHONPATH": os.pathsep.join([str(tmp_path), SEARCH_PATH])}

    def test_results_and_errors(self, juliacall):
        out, err = python(
            """
            from ssnn_py.engine import boot
            julia = boot.runtime()
            print(julia.how, julia.version, julia.library, run() == run())
            same = ssnn.simulate(net, t1=2.0, dt=0.01, max_spikes=2, seed=3, engine="reference").spike_times[0, 0]
            print(abs(run() - same) < 1e-12)
            for attempt in (lambda: julia.eval('error("in so many words")'), julia.function("no_such_entry")):
                try:
                    attempt()
                except ssnn.JuliaError as error:
                    print(str(error).count("in so many words") + str(error).count("no_such_entry") >= 1)
            """,
            **juliacall,
        )
        assert (out.split("\n"), err) == (["juliacall 1.10.0 a stand-in True", "True", "True", "True", ""], "")

    @pytest.mark.parametrize("first", ["", "import juliacall"], ids=["imported by us", "imported before"])
    def test_ctrl_c_stops_a_long_solve(self, juliacall, first):
        process = start_python(
            first
            + """
import time
run()
print("ready", flush=True)
begin = time.perf_counter()
try:
    ssnn.simulate(net, t1=1e6, dt=1e-5, num_samples=4, max_spikes=10**6)
except KeyboardInterrupt:
    print("stopped", time.perf_counter() - begin < 20, run() > 0, flush=True)
""",
            **juliacall,
        )
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (out.split(), err, process.returncode) == (["stopped", "True", "True"], "", 0)

    def test_outside_julia_signals_are_pythons(self, juliacall):
        for number, status in ((signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)):
            out, err, returned = signalled_outside_julia(number, **juliacall)
            assert (returned, err) == (status, "")
            assert out.split() == (["interrupted", "True"] if number == signal.SIGINT else [])

    def test_waiting_for_another_threads_call_can_be_interrupted(self, juliacall):
        process = start_python(
            """
            import threading, time
            from ssnn_py.engine.boot import runtime
            julia, begun = runtime(), threading.Event()

            def other():
                julia._perform(lambda: (begun.set(), time.sleep(2)), ())

            thread = threading.Thread(target=other)
            thread.start()
            begun.wait()
            print("ready", flush=True)
            try:
                run()
            except KeyboardInterrupt:
                print("withdrawn", thread.is_alive())
            thread.join()
            print(run() > 0)
            """,
            **juliacall,
        )
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (out.split(), err, process.returncode) == (["withdrawn", "True", "True"], "", 0)
