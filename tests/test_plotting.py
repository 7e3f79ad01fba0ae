"""Pictures: what is drawn, where, and that nothing else is touched. No pixels are compared."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

import ssnn_py as ssnn
from ssnn_py import plotting

RNG = np.random.default_rng(0)


def poisson(samples, neurons, rate=4.0, t1=5.0):
    counts = RNG.poisson(rate * t1, (samples, neurons))
    return ssnn.SpikeTrains.from_lists([[RNG.uniform(0, t1, n) for n in row] for row in counts], 0.0, t1)


ONE, FEW, MANY = poisson(12, 1), poisson(6, 3), poisson(2, 1000, 2.0)


@pytest.fixture(scope="module")
def solution():
    """Seven neurons, recorded."""
    rng = np.random.default_rng(1)
    net = ssnn.SLIFNetwork(rng.normal(0, 0.3, (7, 7)), 1.4, (6.0, 5.0), 0.3, v_reset=1.2)
    return ssnn.simulate(net, t1=2.0, dt=0.01, num_samples=2, saveat=0.02, engine="reference")


@pytest.fixture(scope="module")
def fit():
    """A training of 200 invented steps, of a matrix in which the diagonal stays."""
    rng = np.random.default_rng(2)
    steps = np.cumsum(rng.normal(0, 0.01, (201, 7, 7)), axis=0) * (1 - np.eye(7))
    loss = np.exp(-np.arange(200) / 40) * rng.uniform(0.8, 1.2, 200)
    net = ssnn.SLIFNetwork(steps[-1] + np.eye(7), 1.0)
    history = {"loss": loss, "test_loss": loss + 0.1, "weights": steps[:-1]}
    return ssnn.FitResult(net, {"weights": steps[-1]}, history)


def new_axes():
    return Figure(figsize=(4.6, 3.0), layout="constrained").subplots()


def texts(ax):
    """What the legend says, its title first."""
    legend = ax.get_legend()
    return [] if legend is None else [legend.get_title().get_text(), *(text.get_text() for text in legend.get_texts())]


def pictures(solution, fit):
    """Every function, for one neuron and for many."""
    return {
        "raster of one neuron": lambda ax: plotting.raster(ONE, ax=ax),
        "raster of samples": lambda ax: plotting.raster(ONE, sample=None, rates=0.5, ax=ax),
        "raster of many": lambda ax: plotting.raster(MANY, rates=0.5, ax=ax),
        "potentials": lambda ax: plotting.potentials(solution, ax=ax),
        "potential": lambda ax: plotting.potentials(solution, neurons=[3], ax=ax),
        "psth of one": lambda ax: plotting.psth(ONE, 0.5, ax=ax),
        "psth of many": lambda ax: plotting.psth(MANY, 0.5, ax=ax),
        "intervals of one": lambda ax: plotting.isi_histogram(ONE, ax=ax),
        "intervals of many": lambda ax: plotting.isi_histogram(MANY, ax=ax),
        "loss": lambda ax: plotting.training_history(fit, ax=ax),
        "weights trained": lambda ax: plotting.training_history(fit, "weights", truth=0.1, ax=ax),
        "weights": lambda ax: plotting.weight_matrix(solution.network, ax=ax),
        "one weight": lambda ax: plotting.weight_matrix([[0.0]], ax=ax),
        "Gram matrix": lambda ax: plotting.gram_matrix(np.eye(4), split=2, ax=ax),
        "path of one": lambda ax: plotting.path(ONE, ax=ax),
        "path of many": lambda ax: plotting.path(MANY, ax=ax),
    }


NAMES = list(pictures(None, None))


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_drawn_where_it_was_asked_for_and_legends_cover_nothing(name, solution, fit):
    ax = new_axes()
    assert pictures(solution, fit)[name](ax) is ax
    ax.figure.draw_without_rendering()
    box, page = ax.get_window_extent(), ax.figure.bbox
    legend = ax.get_legend()
    if legend is not None:
        extent = legend.get_window_extent()
        assert not extent.overlaps(box)
        assert extent.x1 <= page.x1 + 1
        assert extent.y0 >= page.y0 - 1
    assert ax.get_title() == "", "titles are the user's"
    assert box.width > 0.25 * page.width
    assert box.height > 0.5 * page.height


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_without_axes_has_a_figure_of_its_own(name, solution, fit):
    one, other = (pictures(solution, fit)[name](None) for _ in range(2))
    assert one.figure is not other.figure
    assert one.get_xlabel()
    assert one.get_ylabel()


def test_importing_takes_no_matplotlib_and_drawing_leaves_its_state_alone():
    code = """if True:
        import sys
        import ssnn_py as ssnn
        assert "matplotlib" not in sys.modules
        plotting = ssnn.plotting
        assert "matplotlib" not in sys.modules
        import matplotlib
        settings = lambda: {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}
        before = settings()
        trains = ssnn.SpikeTrains([[0.5, 1.0, 1.5]], [[0, 0, 0]], 1, 0.0, 2.0)
        plotting.raster(trains, rates=0.5), plotting.psth(trains, 0.5), plotting.isi_histogram(trains)
        plotting.path(trains), plotting.weight_matrix([[1.0]]), plotting.gram_matrix([[1.0]])
        assert settings() == before
        assert "matplotlib.pyplot" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_a_raster_has_a_tick_for_every_spike_of_its_sample():
    ax = plotting.raster(FEW, sample=2)
    (ticks,) = ax.collections
    places = np.array([segment.mean(axis=0) for segment in ticks.get_segments()])
    assert places[:, 0] == pytest.approx(FEW.times[2][: FEW.num_spikes[2]])
    assert np.array_equal(places[:, 1], FEW.neurons[2][: FEW.num_spikes[2]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1", "2"]


def test_a_raster_of_some_neurons_calls_its_rows_by_their_names_and_says_how_many_there_are():
    ax = plotting.raster(MANY, neurons=[900, 7])
    assert ax.get_ylabel() == "neuron (2 of 1000)"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["900", "7"]
    rows = np.array([segment[:, 1].mean() for segment in ax.collections[0].get_segments()])
    assert np.array_equal([np.sum(rows == 0), np.sum(rows == 1)], MANY.spike_counts[0, [900, 7]])


def test_a_thousand_neurons_are_dots_and_all_of_them_are_there():
    (dots,) = plotting.raster(MANY, sample=1).lines
    assert dots.get_xdata().size == MANY.num_spikes[1]
    assert set(dots.get_ydata()) == set(MANY.neurons[1][: MANY.num_spikes[1]])


def test_a_raster_over_samples_has_a_row_per_sample():
    ax = plotting.raster(FEW, sample=None, neurons=1)
    rows = np.array([segment[:, 1].mean() for segment in ax.collections[0].get_segments()])
    assert np.array_equal(np.bincount(rows.astype(int)), FEW.spike_counts[:, 1])
    assert ax.get_ylabel() == "sample (of neuron 1)"


@pytest.mark.parametrize("sample", [0, None])
def test_the_panel_of_rates_has_the_mean_rate_of_the_rows_and_lies_below_them(sample):
    ax = plotting.raster(ONE if sample is None else FEW, sample=sample, rates=0.5)
    expected = ONE.psth(0.5).values[:, 0] if sample is None else FEW[0].psth(0.5).values.mean(axis=1)
    (panel,) = ax.child_axes
    values, edges, _ = panel.patches[0].get_data()
    assert values == pytest.approx(expected)
    assert edges == pytest.approx(np.linspace(0, 5, 11))
    ax.figure.draw_without_rendering()
    lowest = min(segment[0, 1] for segment in ax.collections[0].get_segments())
    assert ax.transData.transform((0, lowest))[1] > panel.get_window_extent().y1
    assert panel.get_xlim() == ax.get_xlim()


def test_marks_of_spikes_are_inside_the_axes_above_the_potentials_in_their_colours(solution):
    ax = plotting.potentials(solution, sample=1, neurons=[0, 4])
    ax.figure.draw_without_rendering()
    box = ax.get_window_extent()
    for neuron, (potential, marks) in zip([0, 4], zip(ax.lines[::2], ax.lines[1::2], strict=True), strict=True):
        mine = solution.spike_times[1][solution.spike_neurons[1] == neuron]
        assert mine.size
        assert np.array_equal(marks.get_xdata(), mine)
        assert np.array_equal(potential.get_ydata(), solution.v[1, :, neuron])
        assert marks.get_color() == potential.get_color()
        heights = marks.get_transform().transform(np.column_stack([marks.get_xdata(), marks.get_ydata()]))[:, 1]
        highest = ax.transData.transform((0, solution.v[1][:, [0, 4]].max()))[1]
        assert np.all((heights > highest) & (heights < box.y1))


def test_potentials_of_a_large_network_are_those_of_five_neurons_and_the_legend_says_so(solution):
    ax = plotting.potentials(solution)
    assert texts(ax) == ["5 of 7 neurons", *(f"neuron {k}" for k in range(5)), "spikes"]
    colors = [line.get_color() for line in ax.get_legend().get_lines()[:5]]
    assert colors == [line.get_color() for line in ax.lines[::2]]


def test_any_variable_can_be_drawn(solution):
    ax = plotting.potentials(solution, neurons=2, variable="i")
    assert np.array_equal(ax.lines[0].get_ydata(), solution.i[0, :, 2])
    assert ax.get_ylabel() == "i"


def test_a_psth_has_the_rates_with_a_band_of_one_standard_error():
    ax = plotting.psth(FEW, 0.5, neurons=[2])
    line, band = ax.patches
    histogram = FEW.psth(0.5)
    assert line.get_data().values == pytest.approx(histogram.values[:, 2])
    assert band.get_data().values == pytest.approx((histogram.values + histogram.standard_errors)[:, 2])
    assert band.get_data().baseline == pytest.approx((histogram.values - histogram.standard_errors)[:, 2])
    assert texts(ax) == ["1 of 3 neurons", "neuron 2", "± standard error"]
    assert ax.get_ylabel() == "rate (mean of 6 samples)"


def test_a_psth_of_a_thousand_neurons_has_five_of_them_and_the_mean_of_all():
    ax = plotting.psth(MANY, 0.5)
    assert texts(ax)[0] == "5 of 1000 neurons"
    assert "mean of all 1000" in texts(ax)
    assert ax.patches[-1].get_data().values == pytest.approx(MANY.psth(0.5).values.mean(axis=1))


def test_a_histogram_of_intervals_has_area_one_and_says_the_cv():
    ax = plotting.isi_histogram(FEW, bins=17)
    assert texts(ax)[1:] == [f"neuron {k}: CV {cv:.2f}" for k, cv in enumerate(FEW.cv())]
    for patch in ax.patches:
        values, edges, _ = patch.get_data()
        assert values.size == 17
        assert (values * np.diff(edges)).sum() == pytest.approx(1.0)


def test_intervals_of_a_thousand_neurons_are_one_histogram_with_the_median_of_their_cvs():
    ax = plotting.isi_histogram(MANY)
    assert texts(ax)[1:] == [f"1000 neurons: median CV {np.nanmedian(MANY.cv()):.2f}"]
    silent = ssnn.SpikeTrains(np.empty((2, 0)), np.empty((2, 0), dtype=int), 1, 0.0, 1.0)
    assert texts(plotting.isi_histogram(silent))[1:] == ["neuron 0: no CV"]


def test_the_history_of_the_loss_is_drawn_with_that_of_the_test_loss_and_their_means(fit):
    ax = plotting.training_history(fit)
    drawn = [line.get_ydata() for line in ax.lines]
    for values in (fit.history["loss"], fit.history["test_loss"]):
        assert any(np.array_equal(values, line) for line in drawn)
        assert any(np.array_equal(plotting.running_mean(values, 4), line) for line in drawn)
    assert ax.get_yscale() == "log"
    assert "test loss, mean of 4 steps" in texts(ax)
    below = ssnn.FitResult(fit.network, {}, {"loss": np.array([1.0, -0.5])})
    assert plotting.training_history(below).get_yscale() == "linear"


def test_the_path_of_a_parameter_ends_in_its_trained_value_beside_the_true_one(fit):
    ax = plotting.training_history(fit, "weights", truth=np.full((7, 7), 0.3))
    paths, truths = ax.lines[::2], ax.lines[1::2]
    assert texts(ax)[0] == "5 of 49 entries"
    for line, true, text in zip(paths, truths, texts(ax)[1:], strict=False):
        j, k = (int(part) for part in text.removeprefix("weights[").removesuffix("]").split(", "))
        assert j != k, "an entry that never moved tells nothing"
        assert line.get_ydata()[-1] == fit.parameters["weights"][j, k]
        assert line.get_ydata().size == 201
        assert true.get_ydata()[0] == 0.3


def test_weights_are_an_image_from_rows_to_columns_with_zero_in_the_middle_of_its_colours(solution):
    weights = np.array([[0.0, 0.5], [-0.2, 0.0]])
    (image,) = plotting.weight_matrix(weights).images
    assert np.array_equal(image.get_array(), weights)
    assert image.get_clim() == (-0.5, 0.5)
    (image,) = plotting.weight_matrix(solution.network).images
    assert np.allclose(image.get_array(), solution.network.weights)


def test_a_large_matrix_is_drawn_as_means_of_blocks_sparse_ones_without_making_them_dense():
    weights = RNG.normal(size=(1001, 1001)) * (RNG.random((1001, 1001)) < 0.1)
    ax = plotting.weight_matrix(weights)
    blocks = ax.images[0].get_array()
    assert blocks.shape == (334, 334)
    assert blocks[5, 7] == pytest.approx(weights[15:18, 21:24].mean())
    assert blocks[333, 0] == pytest.approx(weights[999:, :3].mean())
    assert ax.images[0].get_extent() == [-0.5, 1000.5, 1000.5, -0.5]
    assert ax.figure.axes[-1].get_ylabel() == "mean of 3 × 3 weights"
    scipy_sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    of_sparse = plotting.weight_matrix(scipy_sparse.csr_matrix(weights)).images[0].get_array()
    assert np.allclose(of_sparse, blocks)
    huge = scipy_sparse.csr_matrix(([1.0], ([0], [199_999])), shape=(200_000, 200_000))
    assert np.count_nonzero(plotting.weight_matrix(huge).images[0].get_array()) == 1


def test_a_gram_matrix_is_logarithmic_where_that_shows_more_and_groups_are_separated():
    ax = plotting.gram_matrix(np.exp(np.arange(12.0)).reshape(3, 4), split=1)
    assert type(ax.images[0].norm).__name__ == "LogNorm"
    assert ax.figure.axes[-1].get_ylabel() == "kernel (logarithmic scale)"
    assert [line.get_ydata()[0] for line in ax.lines[:1]] == [0.5]
    assert type(plotting.gram_matrix(np.eye(3)).images[0].norm).__name__ == "Normalize"


def test_a_path_flows_in_full_lines_and_jumps_in_dashed_ones():
    trains = ssnn.SpikeTrains([[0.5, 1.0]], [[0, 0]], 1, 0.0, 2.0)
    flow, jump = plotting.path(trains).lines
    points = np.column_stack([flow.get_xdata(), flow.get_ydata()])
    nan = [np.nan, np.nan]
    assert np.array_equal(points, [[0, 0], [0.5, 0], nan, [0.5, 1], [1, 1], nan, [1, 2], [2, 2], nan], equal_nan=True)
    points = np.column_stack([jump.get_xdata(), jump.get_ydata()])
    assert np.array_equal(points, [[0.5, 0], [0.5, 1], nan, [1, 1], [1, 2], nan], equal_nan=True)
    assert (flow.get_linestyle(), jump.get_linestyle()) == ("-", "--")


def test_any_path_can_be_drawn_and_of_many_coordinates_five():
    ax = plotting.path(FEW.marcus_lift()[1], neurons=[2])
    assert np.nanmax(ax.lines[0].get_ydata()) == FEW.spike_counts[1, 2]
    assert texts(plotting.path(MANY))[0] == "5 of 1000 neurons"


def test_two_pictures_share_a_figure():
    fig = Figure(layout="constrained")
    upper, lower = fig.subplots(2, sharex=True)
    plotting.raster(FEW, ax=upper)
    plotting.psth(FEW, 0.5, ax=lower)
    fig.draw_without_rendering()
    assert [len(ax.collections) + len(ax.patches) > 0 for ax in (upper, lower)] == [True, True]


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda s, f: plotting.raster([1.0]), "trains must be a Solution or SpikeTrains"),
        (lambda s, f: plotting.raster(FEW, sample=6), "sample must be between 0 and 5, got 6"),
        (lambda s, f: plotting.raster(FEW, sample=None), "neurons must be one neuron .* got 3"),
        (lambda s, f: plotting.raster(FEW, neurons=[3]), "neurons must be from 0 to 2"),
        (lambda s, f: plotting.raster(FEW, neurons=[0, 0]), "different indices"),
        (lambda s, f: plotting.raster(FEW, rates=-1.0), "bin must be positive"),
        (lambda s, f: plotting.raster(FEW, ax=3), "ax must be the axes of a matplotlib figure, got 3"),
        (lambda s, f: plotting.potentials(FEW), "solution must be a Solution"),
        (lambda s, f: plotting.potentials(s, sample=2), "sample must be between 0 and 1, got 2"),
        (lambda s, f: plotting.potentials(s, neurons=[7]), "neurons must be from 0 to 6"),
        (lambda s, f: plotting.potentials(s, variable="u"), "variable must be one of .*v.* got 'u'"),
        (lambda s, f: plotting.psth(FEW, 9.0), "bin must be at most"),
        (lambda s, f: plotting.isi_histogram(FEW, bins=0), "bins must be at least 1, got 0"),
        (lambda s, f: plotting.isi_histogram(FEW, neurons=[]), "neurons must be a list of different indices"),
        (lambda s, f: plotting.training_history(FEW), "fit must be a FitResult"),
        (lambda s, f: plotting.training_history(f, "mu"), "what must be one of loss, weights, got 'mu'"),
        (lambda s, f: plotting.training_history(f, truth=1.0), "truth must not be given"),
        (lambda s, f: plotting.training_history(f, "weights", [[1.0]]), r"truth must be .* shape \(7, 7\)"),
        (lambda s, f: plotting.weight_matrix([[1.0, 2.0]]), r"weights must have shape \(N, N\), got shape \(1, 2\)"),
        (lambda s, f: plotting.weight_matrix("w"), "weights must be a Network"),
        (lambda s, f: plotting.weight_matrix([[np.nan]]), "weights must be finite"),
        (lambda s, f: plotting.gram_matrix([1.0]), "gram must be an array of shape"),
        (lambda s, f: plotting.gram_matrix(np.eye(3), split=3), "split must be between 1 and 2, got 3"),
        (lambda s, f: plotting.path([[1.0, 0.0], [0.5, 1.0]]), "does not decrease"),
        (lambda s, f: plotting.path([[1.0], [2.0]]), "at least two points"),
        (lambda s, f: plotting.path(FEW, sample=-1), "sample must be between 0 and 5, got -1"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(call, word, solution, fit):
    with pytest.raises(ssnn.ValidationError, match=word):
        call(solution, fit)


def test_a_solution_without_records_is_told_to_record(solution):
    bare = ssnn.simulate(solution.network, t1=0.1, dt=0.01, engine="reference")
    with pytest.raises(ssnn.ValidationError, match="saveat"):
        plotting.potentials(bare)
