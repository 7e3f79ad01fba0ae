"""Try a wheel as a new user would: installed in a virtual environment of its own, started outside of any checkout.

    python .github/try_wheel.py dist/*.whl

Takes the Julia that the package chooses there; it may download one.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TRIAL = """
import importlib.metadata, importlib.resources, pathlib, sys, warnings
import numpy as np
warnings.simplefilter("error", RuntimeWarning)  # which would say that another engine is used
import ssnn_py as ssnn

files = importlib.resources.files("ssnn_py")
assert pathlib.Path(str(files)).resolve().is_relative_to(pathlib.Path(sys.prefix).resolve()), files
assert files.joinpath("py.typed").is_file() and files.joinpath("julia/src/SSNN.jl").is_file()
assert importlib.metadata.version("ssnn_py") == ssnn.__version__

net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, mu=(15.0, 0.0), sigma=0.25, v_reset=1.4, alpha=0.03)
run = dict(t1=5.0, dt=0.01, num_samples=4, max_spikes=3, seed=0)
solution = ssnn.simulate(net, engine="julia", **run)
reference = ssnn.simulate(net, engine="reference", **run)
np.testing.assert_allclose(solution.spike_times, reference.spike_times, rtol=1e-9)
forward = solution.jvp({"input_current": 1.0}).sum()
reverse = solution.vjp(np.ones_like(solution.spike_times), wrt="input_current")["input_current"].sum()
np.testing.assert_allclose(forward, reverse, rtol=1e-9)
print("ssnn_py", ssnn.__version__, "simulates and differentiates, from", files)
"""


def main(wheel: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        programs = Path(folder) / "bin"
        settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        for command in (
            [programs / "python", "-m", "pip", "install", "--quiet", wheel],
            [programs / "ssnn", "setup"],
            [programs / "ssnn", "doctor"],
            [programs / "python", "-c", TRIAL],
        ):
            subprocess.run(command, check=True, cwd=folder, env=settings)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve())
