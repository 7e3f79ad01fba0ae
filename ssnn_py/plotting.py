"""Pictures of spike trains, solutions, trainings and matrices, one function each; and what the experiments draw with.

Every function draws into `ax`, or into a new figure (``ax.figure.savefig("a.png")``), and returns the axes. Nothing
global of matplotlib is read or changed; it is imported by the first picture. Legends stand beside the axes: figures of
one's own need ``layout="constrained"`` for it, as those made here have.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ValidationError
from .losses import as_trains
from .network import Network
from .simulation import Solution
from .spike_trains import SpikeTrains, different_indices
from .training import FitResult
from .validation import as_int, as_real_array, describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: How many neurons are drawn by a line each where nobody says which: the first ones.
FEW = 5
#: Rows of a raster up to which spikes are drawn as ticks; dots where there are more.
TICKS = 100
#: Rows and columns of a picture of a matrix; larger ones are drawn as means of blocks.
CELLS = 500

_GREY = "0.35"


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


def raster(
    trains: SpikeTrains | Solution,
    sample: int | None = 0,
    neurons: ArrayLike | None = None,
    rates: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Raster plot: a mark for every spike, a row per neuron of one sample, or per sample of one neuron.

    Marks are ticks for up to 100 rows, dots for more.

    Parameters
    ----------
    trains : SpikeTrains or Solution
    sample : int or None
        Which sample to draw; None for a row per sample, of one neuron.
    neurons : array_like of int, optional
        Which neurons, from below to above; default all.
    rates : float, optional
        Width of bins for a panel below with the rate over time, averaged over the rows; default no panel. The panel is
        the child of the axes, ``ax.child_axes[0]``.
    ax : matplotlib.axes.Axes, optional
        Where; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValidationError
        If there is no such sample or neuron, more than one neuron is drawn with ``sample=None``, or `rates` is no
        width of bins (:meth:`SpikeTrains.rates`).

    Examples
    --------
    >>> trains = SpikeTrains([[0.5, 1.0]], [[1, 0]], num_neurons=2, t0=0.0, t1=2.0)
    >>> raster(trains, rates=0.5).get_ylabel()
    'neuron'
    """
    trains = as_trains("trains", trains)
    chosen = _chosen(neurons, trains.num_neurons)
    picked = trains if neurons is None else trains.select(chosen)
    if sample is None:
        if chosen.size > 1:
            raise ValidationError(
                f"neurons must be one neuron where sample is None (a row per sample), got {chosen.size} of them"
            )
        kept, columns = np.nonzero(picked.neurons >= 0)
        times, rows, count = picked.times[kept, columns], kept, picked.num_samples
        names, label = np.arange(count), f"sample (of neuron {chosen[0]})"
    else:
        picked = picked[as_int("sample", sample, 0, trains.num_samples - 1)]
        there = picked.neurons[0] >= 0
        times, rows, count, names = picked.times[0, there], picked.neurons[0, there], chosen.size, chosen
        label = "neuron" if count == trains.num_neurons else f"neuron ({count} of {trains.num_neurons})"
    histogram = None if rates is None else picked.psth(rates)
    ax = _axes(ax)
    if count <= TICKS:
        ax.vlines(times, rows - 0.4, rows + 0.4, colors="0.1", linewidth=1.2)
    else:
        ax.plot(times, rows, ".", color="0.1", markersize=2.0, markeredgewidth=0.0)
    low, high = -0.6, max(count, 1) - 0.4
    ax.set(xlabel="time", ylabel=label, xlim=(trains.t0, trains.t1), ylim=(low, high))
    _row_ticks(ax, names)
    if histogram is not None:
        # The panel has the lower part of the axes, the rows what is left above.
        share, gap = 0.28, 0.05
        ax.set_ylim(low - (high - low) * (share + gap) / (1 - share - gap), high)
        ax.yaxis.label.set_y(0.5 * (1 + share + gap))
        panel = ax.inset_axes((0.0, 0.0, 1.0, share))
        panel.spines[["top", "right"]].set_visible(False)
        panel.stairs(histogram.values.mean(axis=1), histogram.edges, color=_GREY, fill=True)
        panel.set(ylabel="mean rate", xlim=(trains.t0, trains.t1), ylim=(0.0, None))
        panel.tick_params(labelbottom=False, bottom=False)
    return ax


def potentials(
    solution: Solution,
    sample: int = 0,
    neurons: ArrayLike | None = None,
    ax: Axes | None = None,
    variable: str | None = None,
) -> Axes:
    """Membrane potentials of one sample over the recorded times; above them a mark at every spike, in the same colour.

    Parameters
    ----------
    solution : Solution
        Simulated with `saveat`.
    sample : int
        Which sample to draw.
    neurons : array_like of int, optional
        Which neurons; default the first five.
    ax : matplotlib.axes.Axes, optional
        Where; default a new figure.
    variable : str, optional
        Which variable of the model; default "v", or the first one of a model that has none of this name.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValidationError
        If nothing was recorded, or there is no such sample, neuron or variable.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.25)
    >>> solution = ssnn.simulate(net, t1=1.0, dt=0.01, saveat=0.1, engine="reference")
    >>> potentials(solution).get_ylabel()
    'membrane potential'
    """
    if not isinstance(solution, Solution):
        raise ValidationError(f"solution must be a Solution, got {describe(solution)}")
    if solution.ts.size == 0:
        raise ValidationError("solution has no recorded potentials: simulate with saveat")
    sample = as_int("sample", sample, 0, solution.problem.num_samples - 1)
    name = variable if variable is not None else "v" if "v" in solution.states else next(iter(solution.states))
    if name not in solution.states:
        raise ValidationError(f"variable must be one of {', '.join(solution.states)}, got {describe(variable)}")
    count = solution.network.num_neurons
    chosen = _chosen(neurons, count, FEW)
    ax = _axes(ax)
    colors = _colors(chosen.size)
    # Marks have a strip of the axes for themselves, a row per neuron, and the potentials what is left below.
    row = min(0.045, 0.3 / chosen.size)
    for place, (neuron, color) in enumerate(zip(chosen, colors, strict=True)):
        ax.plot(solution.ts, solution.states[name][sample, :, neuron], color=color, linewidth=1.0)
        times = solution.spike_times[sample][solution.spike_neurons[sample] == neuron]
        height = 1.0 - (place + 0.7) * row
        ax.plot(times, np.full(times.size, height), "|", color=color, markersize=5, transform=ax.get_xaxis_transform())
    low, high = (float(end) for end in ax.dataLim.intervaly)
    if not low < high:
        low, high = (low - 0.5, low + 0.5) if np.isfinite(low) else (0.0, 1.0)
    used = 1.0 - (chosen.size + 0.7) * row
    ax.set_ylim(low - 0.05 * (high - low), low + (high - low) / used)
    what = "membrane potential" if name == "v" else name
    ax.set(xlabel="time", ylabel=what, xlim=(solution.problem.t0, solution.problem.t1))
    entries = [({"color": color}, f"neuron {neuron}") for neuron, color in zip(chosen, colors, strict=True)]
    marks = ({"color": _GREY, "marker": "|", "linestyle": ""}, "spikes")
    _legend(ax, [*entries, marks], _of(chosen.size, count))
    return ax


def psth(trains: SpikeTrains | Solution, bin: float, neurons: ArrayLike | None = None, ax: Axes | None = None) -> Axes:
    """Peristimulus time histogram: rates over time, means over samples, with a band of one standard error to each side.

    Parameters
    ----------
    trains : SpikeTrains or Solution
    bin : float
        Width of a bin, as for :meth:`SpikeTrains.psth`.
    neurons : array_like of int, optional
        Which neurons; default the first five, and, where there are more, the mean of all of them in black.
    ax : matplotlib.axes.Axes, optional
        Where; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValidationError
        If there is no such neuron, or `bin` is no width of bins.

    Examples
    --------
    >>> trains = SpikeTrains([[0.5, 1.0], [0.25, np.inf]], [[0, 0], [0, -1]], num_neurons=1, t0=0.0, t1=2.0)
    >>> psth(trains, bin=1.0).get_ylabel()
    'rate (mean of 2 samples)'
    """
    trains = as_trains("trains", trains)
    chosen = _chosen(neurons, trains.num_neurons, FEW)
    histogram = trains.psth(bin)
    ax = _axes(ax)
    colors = _colors(chosen.size)
    entries: list[tuple[dict[str, Any], str]] = []
    for neuron, color in zip(chosen, colors, strict=True):
        rate, error = histogram.values[:, neuron], histogram.standard_errors[:, neuron]
        ax.stairs(rate, histogram.edges, color=color, linewidth=1.2)
        if trains.num_samples > 1:
            ax.stairs(rate + error, histogram.edges, baseline=rate - error, color=color, alpha=0.2, fill=True)
        entries.append(({"color": color}, f"neuron {neuron}"))
    if neurons is None and chosen.size < trains.num_neurons:
        ax.stairs(histogram.values.mean(axis=1), histogram.edges, color="k", linewidth=1.8, baseline=None)
        entries.append(({"color": "k", "linewidth": 1.8}, f"mean of all {trains.num_neurons}"))
    if trains.num_samples > 1:
        entries.append(({"color": _GREY, "alpha": 0.3, "linewidth": 6.0}, "± standard error"))
    samples = f"mean of {trains.num_samples} samples" if trains.num_samples > 1 else "one sample"
    ax.set(xlabel="time", ylabel=f"rate ({samples})", xlim=(trains.t0, trains.t1), ylim=(0.0, None))
    _legend(ax, entries, _of(chosen.size, trains.num_neurons))
    return ax


def isi_histogram(
    trains: SpikeTrains | Solution, neurons: ArrayLike | None = None, bins: int = 30, ax: Axes | None = None
) -> Axes:
    """Histogram of interspike intervals of all samples, as a density, with the coefficient of variation (CV).

    Up to five neurons have a line each. More are one histogram of all their intervals, with the median of their CVs.

    Parameters
    ----------
    trains : SpikeTrains or Solution
    neurons : array_like of int, optional
        Which neurons; default all.
    bins : int
        Number of bins from 0 to the longest interval.
    ax : matplotlib.axes.Axes, optional
        Where; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValidationError
        If there is no such neuron, or `bins` is not positive.

    Examples
    --------
    >>> trains = SpikeTrains([[0.5, 1.0, 1.5]], [[0, 0, 0]], num_neurons=1, t0=0.0, t1=2.0)
    >>> isi_histogram(trains).get_legend().get_texts()[0].get_text()
    'neuron 0: CV 0.00'
    """
    trains = as_trains("trains", trains)
    chosen = _chosen(neurons, trains.num_neurons)
    bins = as_int("bins", bins, 1)
    picked = trains.select(chosen)
    intervals, cvs = list(picked.isi()), picked.cv()
    texts = [f"neuron {neuron}" for neuron in chosen]
    cv_texts = ["no CV" if np.isnan(cv) else f"CV {cv:.2f}" for cv in cvs]
    if chosen.size > FEW:
        intervals = [np.concatenate(intervals)]
        texts = [
            f"{chosen.size} neurons" if chosen.size == trains.num_neurons else _of(chosen.size, trains.num_neurons)
        ]
        cv_texts = ["no CV" if np.isnan(cvs).all() else f"median CV {np.nanmedian(cvs):.2f}"]
    ax = _axes(ax)
    colors = _colors(len(intervals))
    longest = max((part.max(initial=0.0) for part in intervals), default=0.0)
    edges = np.linspace(0.0, longest if longest > 0 else trains.t1 - trains.t0, bins + 1)
    entries = []
    for part, text, cv, color in zip(intervals, texts, cv_texts, colors, strict=True):
        density = np.histogram(part, edges)[0] / (max(part.size, 1) * np.diff(edges))
        ax.stairs(density, edges, color=color, linewidth=1.2)
        ax.stairs(density, edges, color=color, alpha=0.15, fill=True)
        entries.append(({"color": color}, f"{text}: {cv}"))
    ax.set(xlabel="interspike interval", ylabel="density", xlim=(0.0, edges[-1]), ylim=(0.0, None))
    _legend(ax, entries, always=True)
    return ax


def training_history(
    fit: FitResult, what: str = "loss", truth: ArrayLike | None = None, ax: Axes | None = None
) -> Axes:
    """The loss of every training step, or the path of a trained parameter.

    A loss that is always positive has a logarithmic axis; of more than 50 steps the running mean is drawn, too. The
    test loss is drawn where there was test data.

    Parameters
    ----------
    fit : FitResult
    what : str
        "loss", or the name of a trained parameter. Of a parameter with many entries five are drawn, evenly spread over
        those that moved.
    truth : float or array_like of the parameter's shape, optional
        True values of the parameter, for a dashed line.
    ax : matplotlib.axes.Axes, optional
        Where; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValidationError
        If nothing of that name was trained, or `truth` does not fit.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> fit = FitResult(ssnn.SLIFNetwork([[0.0]], 1.0), {}, {"loss": np.array([2.0, 1.0, 0.5])})
    >>> training_history(fit).get_yscale()
    'log'
    """
    if not isinstance(fit, FitResult):
        raise ValidationError(f"fit must be a FitResult, got {describe(fit)}")
    known = ["loss", *fit.parameters]
    if what not in known:
        raise ValidationError(f"what must be one of {', '.join(known)}, got {describe(what)}")
    if what == "loss" and truth is not None:
        raise ValidationError("truth must not be given for the loss, only for a parameter")
    if what != "loss":
        return _parameter_history(fit, what, truth, ax)
    ax = _axes(ax)
    entries: list[tuple[dict[str, Any], str]] = []
    window = fit.num_steps // 50
    for name, color, text in (("loss", "0.2", "loss"), ("test_loss", "tab:red", "test loss")):
        if name not in fit.history:
            continue
        values = fit.history[name]
        if window > 1:
            ax.plot(values, color=color, linewidth=0.7, alpha=0.3)
            ax.plot(running_mean(values, window), color=color, linewidth=1.5)
            entries.append(({"color": color, "alpha": 0.3, "linewidth": 0.7}, f"{text}, every step"))
            text = f"{text}, mean of {window} steps"
        else:
            ax.plot(values, color=color, linewidth=1.2)
        entries.append(({"color": color}, text))
    drawn = np.concatenate([line.get_ydata() for line in ax.lines])
    ax.set(xlabel="training step", ylabel="loss")
    if drawn.size and np.all(drawn[np.isfinite(drawn)] > 0):
        ax.set_yscale("log")
    _legend(ax, entries)
    return ax


def _parameter_history(fit: FitResult, what: str, truth: ArrayLike | None, ax: Axes | None) -> Axes:
    last = np.asarray(fit.parameters[what])
    path = np.concatenate([fit.history[what], last[None]]).reshape(fit.num_steps + 1, -1)
    true = None
    if truth is not None:
        true = as_real_array("truth", truth, (0, last.ndim), f"a number or an array of shape {last.shape}")
        if true.ndim and true.shape != last.shape:
            raise ValidationError(f"truth must be a number or an array of shape {last.shape}, got {describe(true)}")
        true = np.broadcast_to(true, last.shape).ravel()
    ax = _axes(ax)
    moved = np.flatnonzero(np.ptp(path, axis=0) != 0)
    if moved.size == 0:
        moved = np.arange(path.shape[1])
    drawn = moved if moved.size <= FEW else moved[np.linspace(0, moved.size - 1, FEW).round().astype(int)]
    colors = _colors(drawn.size)
    entries: list[tuple[dict[str, Any], str]] = []
    for entry, color in zip(drawn, colors, strict=True):
        ax.plot(path[:, entry], color=color, linewidth=1.2)
        if true is not None:
            ax.axhline(true[entry], color=color, linewidth=0.9, linestyle="--", zorder=0)
        index = ", ".join(str(part) for part in np.unravel_index(entry, last.shape))
        entries.append(({"color": color}, f"{what}[{index}]" if last.ndim else what))
    if true is not None:
        entries.append(({"color": _GREY, "linestyle": "--", "linewidth": 0.9}, "true value"))
    ax.set(xlabel="training step", ylabel=what)
    _legend(ax, entries, _of(drawn.size, path.shape[1], "entries"))
    return ax


def weight_matrix(weights: Any, ax: Axes | None = None) -> Axes:
    """Synaptic weights as an image, rows to columns: from neuron j to neuron k; white is zero.

    Of more than 500 neurons the means of square blocks are drawn, and the colour bar says of how many weights.

    Parameters
    ----------
    weights : Network, array_like or scipy.sparse matrix, shape (N, N)
    ax : matplotlib.axes.Axes, optional
        Where; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValidationError
        If the network has no weights, or they are no square matrix of finite numbers.

    Examples
    --------
    >>> weight_matrix([[0.0, 0.5], [-0.2, 0.0]]).images[0].get_clim()
    (-0.5, 0.5)
    """
    if isinstance(weights, Network):
        weights = weights.weights
        if weights is None:
            raise ValidationError("weights must be a network that has some, got one without weights")
    if hasattr(weights, "tocoo"):
        sparse, shape = weights.tocoo(), weights.shape
        rows, columns, values = sparse.row, sparse.col, as_real_array("weights", sparse.data, (1,))
    else:
        dense = as_real_array("weights", weights, (2,), "a Network, or an array or sparse matrix of shape (N, N)")
        shape = dense.shape
        rows, columns = np.nonzero(dense)
        values = dense[rows, columns]
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ValidationError(f"weights must have shape (N, N), got shape {tuple(shape)}")
    count = int(shape[0])
    block = -(-count // CELLS)
    cells = -(-count // block)
    flat = np.asarray(rows, dtype=np.int64) // block * cells + np.asarray(columns, dtype=np.int64) // block
    sizes = np.diff(np.minimum(block * np.arange(cells + 1), count))
    image = np.bincount(flat, values, minlength=cells**2).reshape(cells, cells) / np.outer(sizes, sizes)
    largest = float(np.abs(image).max()) or 1.0
    label = "weight" if block == 1 else f"mean of {block} × {block} weights"
    ax = _axes(ax)
    _image(ax, image, (-0.5, count - 0.5, count - 0.5, -0.5), label, cmap="RdBu_r", vmin=-largest, vmax=largest)
    ax.set(xlabel="to neuron", ylabel="from neuron")
    return ax


def gram_matrix(gram: ArrayLike, split: int | None = None, ax: Axes | None = None) -> Axes:
    """A Gram matrix of signature kernels as an image; on a logarithmic scale where it is positive and spans over 1000.

    Parameters
    ----------
    gram : array_like, shape (S, R)
        Such as :func:`ssnn_py.signature_kernel_gram` returns.
    split : int, optional
        Where, in rows and columns, the second of two groups begins; red lines separate them.
    ax : matplotlib.axes.Axes, optional
        Where; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValidationError
        If `gram` is no matrix of finite numbers, or `split` is not inside of it.

    Examples
    --------
    >>> gram_matrix([[1.0, 0.5], [0.5, 1.0]]).get_xlabel()
    'sample'
    """
    matrix = as_real_array("gram", gram, (2,), "an array of shape (S, R)")
    if matrix.size == 0:
        raise ValidationError(f"gram must have at least one entry, got shape {matrix.shape}")
    if split is not None:
        split = as_int("split", split, 1, min(matrix.shape) - 1)
    options: dict[str, Any] = {"cmap": "viridis"}
    label = "kernel"
    if matrix.min() > 0 and matrix.max() > 1000 * matrix.min():
        from matplotlib.colors import LogNorm

        options["norm"], label = LogNorm(float(matrix.min()), float(matrix.max())), "kernel (logarithmic scale)"
    ax = _axes(ax)
    rows, columns = matrix.shape
    _image(ax, matrix, (-0.5, columns - 0.5, rows - 0.5, -0.5), label, **options)
    if split is not None:
        ax.axhline(split - 0.5, color="tab:red", linewidth=1.5)
        ax.axvline(split - 0.5, color="tab:red", linewidth=1.5)
    ax.set(xlabel="sample", ylabel="sample")
    return ax


def path(
    trains: SpikeTrains | Solution | ArrayLike,
    sample: int = 0,
    neurons: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A path with jumps, such as the Marcus lift of spike trains: its coordinates over time; dashed where it jumps.

    Parameters
    ----------
    trains : SpikeTrains, Solution, or array_like of shape (P, 1 + d)
        Spike trains, whose counts are drawn (:meth:`SpikeTrains.marcus_lift`); or the points of a path, the first
        column the time, which must not decrease. The path jumps where time stands still.
    sample : int
        Which sample to draw, of trains.
    neurons : array_like of int, optional
        Which neurons or coordinates; default the first five.
    ax : matplotlib.axes.Axes, optional
        Where; default a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValidationError
        If there is no such sample or neuron, or the points are no path.

    Examples
    --------
    >>> trains = SpikeTrains([[0.5, 1.0]], [[1, 0]], num_neurons=2, t0=0.0, t1=2.0)
    >>> path(trains).get_ylabel()
    'number of spikes'
    """
    if isinstance(trains, SpikeTrains | Solution):
        spikes = as_trains("trains", trains)
        spikes = spikes[as_int("sample", sample, 0, spikes.num_samples - 1)]
        count, noun, label = spikes.num_neurons, "neuron", "number of spikes"
        chosen = _chosen(neurons, count, FEW)
        points = spikes.marcus_lift(chosen)[0]
    else:
        points = as_real_array("trains", trains, (2,), "SpikeTrains, a Solution, or points of shape (P, 1 + d)")
        if points.shape[0] < 2 or points.shape[1] < 2:
            raise ValidationError(
                f"trains must be at least two points of shape (P, 1 + d) with d > 0, got shape {points.shape}"
            )
        if np.any(np.diff(points[:, 0]) < 0):
            raise ValidationError("trains must be points whose first column, the time, does not decrease")
        count, noun, label = points.shape[1] - 1, "coordinate", "path"
        chosen = _chosen(neurons, count, FEW)
        points = points[:, np.append(0, 1 + chosen)]
    still = np.diff(points[:, 0]) == 0
    ax = _axes(ax)
    colors = _colors(chosen.size)
    for place, color in enumerate(colors, start=1):
        # Segments that flow and segments that jump, each kind one line with gaps.
        for jumps, style in ((False, "-"), (True, "--")):
            kept = still == jumps
            t = np.column_stack([points[:-1, 0], points[1:, 0], np.full(still.size, np.nan)])[kept].ravel()
            x = np.column_stack([points[:-1, place], points[1:, place], np.full(still.size, np.nan)])[kept].ravel()
            ax.plot(t, x, style, color=color, linewidth=1.0 if jumps else 1.6)
    ax.set(xlabel="time", ylabel=label, xlim=(points[0, 0], points[-1, 0]))
    entries: list[tuple[dict[str, Any], str]] = [
        ({"color": color}, f"{noun} {one}") for one, color in zip(chosen, colors, strict=True)
    ]
    jump = ({"color": _GREY, "linestyle": "--", "linewidth": 1.0}, "jump, in fictitious time")
    _legend(ax, [*entries, jump], _of(chosen.size, count, f"{noun}s"))
    return ax


def _axes(ax: Axes | None) -> Axes:
    """`ax`, checked, or axes of a new figure."""
    from matplotlib.axes import Axes

    if ax is None:
        new: Axes = figure(1, 1)[1][0, 0]
        return new
    if not isinstance(ax, Axes):
        raise ValidationError(f"ax must be the axes of a matplotlib figure, got {describe(ax)}")
    return ax


def _chosen(neurons: ArrayLike | None, count: int, at_most: int | None = None) -> NDArray[np.int64]:
    """Which neurons to draw: those given, checked, else all or the first ones."""
    if neurons is None:
        return np.arange(count if at_most is None else min(count, at_most))
    return different_indices(neurons, count).astype(np.int64)


def _colors(count: int) -> list[Any]:
    """Different colours for lines that a legend tells apart: of ten, or from one end of a scale to the other."""
    from matplotlib import colormaps

    if count <= 10:
        return [colormaps["tab10"](place) for place in range(count)]
    return [colormaps["viridis"](place / (count - 1)) for place in range(count)]


def _of(drawn: int, count: int, noun: str = "neurons") -> str:
    """What a legend says where not all is drawn."""
    return "" if drawn == count else f"{drawn} of {count} {noun}"


def _legend(ax: Axes, entries: Sequence[tuple[dict[str, Any], str]], title: str = "", always: bool = False) -> None:
    """A legend beside the axes, where it covers nothing; none where there is one line and nothing to say of it."""
    from matplotlib.lines import Line2D

    if len(entries) < 2 and not title and not always:
        return
    shown = list(entries)
    if len(shown) > 12:
        # The ends of a scale of colours, which say enough.
        shown = [*shown[:5], ({"linestyle": ""}, "…"), *shown[-5:]]
    handles = [Line2D([], [], label=text, **style) for style, text in shown]
    legend_beside(ax, handles=handles, title=title or None)


def legend_beside(ax: Axes, **options: Any) -> None:
    """A legend to the right of the axes, where it covers nothing; `options` are those of matplotlib's ``legend``."""
    place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    ax.legend(**{**place, "frameon": False, "fontsize": "small", "title_fontsize": "small", **options})


def _row_ticks(ax: Axes, names: NDArray[np.int64]) -> None:
    """Ticks at some of the rows, called by what the rows are: neurons or samples."""
    from matplotlib.ticker import MaxNLocator

    values = MaxNLocator(nbins=6, integer=True, min_n_ticks=1).tick_values(0, max(names.size - 1, 0))
    rows = [round(value) for value in values if 0 <= value < names.size]
    ax.set_yticks(rows, [str(names[row]) for row in rows])


def _image(
    ax: Axes, image: NDArray[np.float64], extent: tuple[float, float, float, float], label: str, **options: Any
) -> None:
    from matplotlib.ticker import MaxNLocator

    drawn = ax.imshow(image, extent=extent, interpolation="nearest", aspect="equal", **options)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    ax.figure.colorbar(drawn, ax=ax, label=label)
