"""The command line, ``ssnn``: one function per command."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .errors import SSNNError, ValidationError

#: What ``ssnn setup`` adds for each device of ``engine/devices.py``.
_DEVICES = {
    "kernels": "KernelAbstractions.jl, for device='kernels'",
    "cuda": "it and CUDA.jl, for NVIDIA's GPUs",
    "rocm": "it and AMDGPU.jl, for AMD's GPUs",
    "oneapi": "it and oneAPI.jl, for Intel's GPUs",
    "metal": "it and Metal.jl, for Apple's GPUs, in single precision",
}


def _doctor(arguments: argparse.Namespace) -> int:
    from . import doctor

    facts = doctor.examine(arguments.devices)
    print(json.dumps(facts, indent=2) if arguments.json else doctor.report(facts))
    chosen = facts["settings"].get("SSNN_ENGINE", "").strip().lower()
    return 0 if facts["julia"] or chosen == "reference" else 1


def _setup(arguments: argparse.Namespace) -> int:
    from .engine import boot, debian, packages

    if arguments.sciml or arguments.sensitivity:
        packages.install_sciml(arguments.sensitivity)
        print("the solvers of DifferentialEquations.jl are set up in juliacall's project")
    if arguments.devices:
        packages.install_devices(arguments.devices)
        for name in arguments.devices:
            print(f"the packages of device {name!r} are set up in juliacall's project")
    if arguments.sciml or arguments.sensitivity or arguments.devices:
        return 0
    found = boot.look_around()
    modern = found.modern_julia or found.requested == "juliacall" or not debian.possible()
    if arguments.debs is None and found.juliacall_installed and modern and found.requested != "embedded":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # it is said below
            julia = boot.runtime()  # juliapkg downloads one where there is none; Julia compiles the core
        why = f", because a newer one could not be: {julia.instead_of}" if julia.instead_of else ""
        print(f"Julia {julia.version}, {julia.how}, is set up{why}")
        return 0
    private = debian.setup(arguments.debs)
    boot.prepare()
    print(f"Julia {private.version} is set up in {private.root}")
    return 0


def _executor(arguments: argparse.Namespace) -> contextlib.AbstractContextManager[Any]:
    """Whose workers simulate: processes of this machine, those of a Dask cluster, or none's."""
    if arguments.dask is not None:
        try:
            from distributed import Client
        except ImportError:
            raise ValidationError("--dask needs Dask: pip install ssnn_py[dask]") from None
        client: contextlib.AbstractContextManager[Any] = Client(arguments.dask)
        return client
    if arguments.workers is not None:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        return ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn"))
    return contextlib.nullcontext()


def _reproduce(arguments: argparse.Namespace) -> int:
    progress = sys.stderr.isatty()
    run = (arguments.seed, progress)
    with _executor(arguments) as executor:
        if arguments.figure == "figure1":
            from .experiments import figure1

            figure1.reproduce(
                arguments.out, arguments.quick, arguments.loss, *run, arguments.gradient, executor=executor
            )
        else:
            from .experiments import figure2

            figure2.reproduce(
                arguments.out, arguments.quick, *run, arguments.rate_scale, arguments.gradient, executor=executor
            )
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    from .engine.packages import sciml_installed
    from .experiments import every_solver, work_precision

    with _executor(arguments) as executor:
        points = work_precision.run(arguments.out, arguments.quick, arguments.seed, sys.stderr.isatty(), executor)
    if sciml_installed():
        every_solver.run(arguments.out, arguments.quick, arguments.seed, sys.stderr.isatty())
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(point) for point in points], indent=1) + "\n")
    return 0


def _add_executors(command: argparse.ArgumentParser) -> None:
    """The options that say who simulates."""
    who = command.add_mutually_exclusive_group()
    who.add_argument("--workers", type=_positive, metavar="N", help="simulate in N processes of this machine")
    who.add_argument("--dask", metavar="ADDRESS", help="simulate by the workers of the Dask scheduler at this address")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parser() -> argparse.ArgumentParser:
    """The parser of ``ssnn``."""
    top = argparse.ArgumentParser(prog="ssnn", description="Stochastic spiking neural networks with exact gradients.")
    top.add_argument("--version", action="version", version=f"ssnn_py {sys.modules[__package__].__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    doctor = commands.add_parser("doctor", help="which engine and Julia are used, and what to do about what is missing")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.add_argument(
        "--devices", action="store_true", help="load the packages of each device, and say which GPU it is"
    )
    doctor.set_defaults(run=_doctor)

    setup = commands.add_parser("setup", help="set up a private Julia, where no modern one is to be had")
    setup.add_argument("--debs", type=Path, metavar="DIR", help="install from a folder of Debian packages")
    setup.add_argument(
        "--sciml", action="store_true", help="add the solvers of DifferentialEquations.jl to juliacall's Julia"
    )
    setup.add_argument(
        "--sensitivity", action="store_true", help="these, and SciMLSensitivity.jl for their reverse mode"
    )
    for name, what in _DEVICES.items():
        setup.add_argument(f"--{name}", action="append_const", dest="devices", const=name, help=f"add {what}")
    setup.set_defaults(run=_setup)

    reproduce = commands.add_parser("reproduce", help="rerun a published experiment")
    reproduce.add_argument("figure", choices=["figure1", "figure2"])
    reproduce.add_argument("--quick", action="store_true", help="a fraction of the training steps")
    reproduce.add_argument(
        "--out", type=Path, default=Path("out"), metavar="DIR", help="where pictures go (default: out)"
    )
    reproduce.add_argument(
        "--loss",
        choices=["signature", "first_spikes"],
        default="signature",
        help="figure 1's loss (default: signature)",
    )
    reproduce.add_argument(
        "--rate-scale", type=float, default=1.0, metavar="X", help="multiply figure 2's learning rates (default: 1)"
    )
    reproduce.add_argument(
        "--gradient",
        choices=["pathwise", "unbiased"],
        default="pathwise",
        help="the published gradient, of matched spikes, or the unbiased one, of all spikes (default: pathwise)",
    )
    reproduce.add_argument("--seed", type=int, default=0, help="key of data, start and noise (default: 0)")
    _add_executors(reproduce)
    reproduce.set_defaults(run=_reproduce)

    bench = commands.add_parser("bench", help="measure: which solver is how accurate at what cost")
    bench.add_argument("what", choices=["solvers"])
    bench.add_argument("--quick", action="store_true", help="fewer samples and steps: about two minutes")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to a file")
    bench.add_argument(
        "--out", type=Path, default=Path("out"), metavar="DIR", help="where picture and CSV go (default: out)"
    )
    bench.add_argument("--seed", type=int, default=0, help="key of the noise (default: 0)")
    _add_executors(bench)
    bench.set_defaults(run=_bench)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0, or 1 with one line on standard error."""
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (SSNNError, OSError) as error:
        print(f"ssnn: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ssnn: interrupted", file=sys.stderr)
        return 1
