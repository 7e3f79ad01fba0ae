"""Time to import, and to the first result in a new process. Run with ``python benchmarks/startup.py``."""

from __future__ import annotations

import subprocess
import sys
import time

from common import table

IMPORT = "import ssnn_py"
FIRST = """
import ssnn_py as ssnn
net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
ssnn.simulate(net, t1=5.0, dt=0.01, num_samples=128, max_spikes=3)
"""
GRADIENT = (
    FIRST
    + """
data = ssnn.simulate(net, t1=5.0, dt=0.01, num_samples=16, max_spikes=3)
ssnn.fit(net, data, ssnn.ExpectedSignatureLoss(3), "input_current", steps=1, t1=5.0, dt=0.01, max_spikes=3)
"""
)


def seconds(code: str, repeats: int = 5) -> list[float]:
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - begin)
    return sorted(times)


def main() -> None:
    rows = []
    for name, code in (
        ("python alone", "pass"),
        ("import", IMPORT),
        ("first solution", FIRST),
        ("first training step", GRADIENT),
    ):
        times = seconds(code)
        rows.append([name, times[len(times) // 2], times[0]])
    print("seconds in a new process")
    print(table(["what", "median", "min"], rows))


if __name__ == "__main__":
    main()
