"""What the benchmarks share: times, memory, and tables."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence


def milliseconds(work: Callable[[], object], repeats: int = 200, warm_up: int = 3) -> tuple[float, float]:
    """Median and smallest time of a call, in milliseconds."""
    for _ in range(warm_up):
        work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times), min(times)


def peak_memory() -> float:
    """The most memory that this process has had, in bytes; Linux only."""
    with open("/proc/self/status") as status:
        return 1024.0 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns aligned, numbers to three digits."""
    cells = [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
