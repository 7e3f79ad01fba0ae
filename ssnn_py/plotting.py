"""Pictures: what the experiments and examples draw with, and plots of one's own solutions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ValidationError
from .validation import as_int

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .simulation import Solution
    from .spike_trains import SpikeTrains


def figure(rows: int, columns: int, width: float = 4.6, height: float = 3.0) -> tuple[Figure, Any]:
    """A figure with a grid of axes that draws without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fig = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(fig)
    axes = fig.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    return fig, axes


def save(fig: Figure, paths: Sequence[Path]) -> None:
    """Write the figure to every path, the format by its ending."""
    for path in paths:
        fig.savefig(path, dpi=150)


def running_mean(values: ArrayLike, width: int) -> NDArray[np.float64]:
    """Mean over a window of `width` values that ends at each; over fewer at the beginning."""
    values = np.asarray(values, dtype=np.float64)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, values.size + 1)
    starts = np.maximum(ends - width, 0)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))


def sample_size_color(size: int, sizes: Sequence[int]) -> Any:
    """A colour for one of several ordered sizes: the darker, the larger."""
    from matplotlib import colormaps

    order = sorted(sizes)
    return colormaps["viridis_r"](0.15 + 0.8 * order.index(size) / max(1, len(order) - 1))


def raster(trains: SpikeTrains | Solution, sample: int = 0, ax: Axes | None = None) -> Axes:
    """Raster plot: a tick for every spike, a row per neuron.

    Parameters
    ----------
    trains : SpikeTrains or Solution
    sample : int
        Which sample to draw.
    ax : matplotlib.axes.Axes, optional
        Where; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValidationError
        If there is no such sample.
    """
    from .losses import as_trains

    trains = as_trains("trains", trains)
    sample = as_int("sample", sample, 0, trains.times.shape[0] - 1)
    ax = figure(1, 1)[1][0, 0] if ax is None else ax
    rows = [trains.times[sample][trains.neurons[sample] == k] for k in range(trains.num_neurons)]
    ax.eventplot(rows, colors="0.1", linelengths=0.8)
    ax.set(xlabel="time", ylabel="neuron", xlim=(trains.t0, trains.t1), ylim=(-0.6, trains.num_neurons - 0.4))
    return ax


def potentials(
    solution: Solution, sample: int = 0, neurons: Sequence[int] | None = None, ax: Axes | None = None
) -> Axes:
    """Membrane potentials of one sample over the recorded times, with a mark at every spike.

    Raises
    ------
    ValidationError
        If nothing was recorded (`saveat`), or there is no such sample.
    """
    if solution.ts.size == 0:
        raise ValidationError("solution has no recorded potentials: simulate with saveat")
    sample = as_int("sample", sample, 0, solution.v.shape[0] - 1)
    ax = figure(1, 1)[1][0, 0] if ax is None else ax
    for k in range(solution.network.num_neurons) if neurons is None else neurons:
        (line,) = ax.plot(solution.ts, solution.v[sample, :, k], linewidth=1.0, label=f"neuron {k}")
        times = solution.spike_times[sample][solution.spike_neurons[sample] == k]
        ax.plot(times, np.full(times.size, 1.03), "|", color=line.get_color(), transform=ax.get_xaxis_transform())
    ax.set(xlabel="time", ylabel="membrane potential", xlim=(solution.problem.t0, solution.problem.t1))
    return ax
