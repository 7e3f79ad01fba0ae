"""The published experiments, in short."""

import csv

import numpy as np
import pytest
from conftest import needs_julia

from ssnn_py import cli
from ssnn_py.experiments import figure1, figure2
from ssnn_py.training import FitResult


@needs_julia
@pytest.mark.parametrize("loss", ["signature", "first_spikes"])
def test_figure_1_recovers_the_current(tmp_path, capsys, loss):
    assert cli.main(["reproduce", "figure1", "--quick", "--loss", loss, "--out", str(tmp_path)]) == 0
    stem = "figure1_quick" if loss == "signature" else "figure1_first_spikes_quick"
    assert (tmp_path / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / f"{stem}.pdf").read_bytes().startswith(b"%PDF")
    with (tmp_path / f"{stem}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 * figure1.QUICK_STEPS
    for row in rows:
        if int(row["step"]) == figure1.QUICK_STEPS - 1 and int(row["num_samples"]) >= 64:
            assert abs(float(row["c"]) - 1.5) < (0.1 if row["sigma"] == "0.25" else 0.2)
    assert capsys.readouterr().out.count("\n") == 10


def test_figure_1_in_one_setting(engine, monkeypatch):
    monkeypatch.setenv("SSNN_ENGINE", engine)
    monkeypatch.setattr(figure1, "QUICK_STEPS", 25)
    (line,) = figure1.run(quick=True, sigmas=[0.25], sample_sizes=[16], progress=False)
    assert np.abs(line.estimates[-1] - 1.5) < np.abs(line.start - 1.5)


@needs_julia
def test_figure_2_approaches_the_weights(tmp_path, capsys):
    assert cli.main(["reproduce", "figure2", "--quick", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "figure2_quick.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "figure2_quick.pdf").read_bytes().startswith(b"%PDF")
    with (tmp_path / "figure2_quick.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(figure2.DATA_SIZES) * 60
    for size in figure2.DATA_SIZES:
        mine = [row for row in rows if int(row["data_size"]) == size]
        assert float(mine[-1]["weight_distance"]) < 0.9 * float(mine[0]["weight_distance"])
        assert float(mine[-1]["test_loss"]) < 0.7 * float(mine[0]["test_loss"])
    assert capsys.readouterr().out.count("\n") == 5


def test_a_quick_run_leaves_the_files_of_a_full_one_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(figure1, "STEPS", 3)
    monkeypatch.setattr(figure1, "QUICK_STEPS", 2)
    whole = figure1.run
    monkeypatch.setenv("SSNN_ENGINE", "reference")
    monkeypatch.setattr(figure1, "run", lambda *a, **k: whole(a[0], sigmas=[0.25], sample_sizes=[16], progress=False))
    figure1.reproduce(tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    figure1.reproduce(tmp_path, quick=True, progress=False)
    assert before == {name: (tmp_path / name).read_bytes() for name in before}
    assert {path.name for path in tmp_path.iterdir()} - set(before) == {
        f"figure1_quick.{kind}" for kind in ("png", "pdf", "csv")
    }


@pytest.mark.parametrize("figure", [figure1, figure2])
def test_pictures_have_each_title_once_and_legends_beside_what_they_explain(figure, monkeypatch, tmp_path):
    """Of runs that are no more than a few invented numbers."""
    from ssnn_py import plotting

    drawn = []
    monkeypatch.setattr(plotting, "save", lambda fig, paths: drawn.append(fig))
    runs = [invented(figure, size) for size in (figure1.SAMPLE_SIZES if figure is figure1 else figure2.DATA_SIZES)]
    figure.plot(runs, [])
    (fig,) = drawn
    fig.draw_without_rendering()
    texts = [text for ax in fig.axes for text in (ax.get_title(), ax.get_ylabel()) if text]
    assert len(set(texts)) == len(texts)
    legends = [ax.get_legend() for ax in fig.axes if ax.get_legend() is not None]
    assert len(legends) == 1
    assert not any(legends[0].get_window_extent().overlaps(ax.get_window_extent()) for ax in fig.axes)
    # Lines use their panels: none is mostly empty.
    for ax in fig.axes:
        heights = np.concatenate([line.get_ydata() for line in ax.lines])
        low, high = ax.transData.inverted().transform(ax.get_window_extent().get_points())[:, 1]
        if ax.get_yscale() == "linear":
            assert np.ptp(heights) > 0.8 * (high - low)


def invented(figure, size):
    steps, rng = 20, np.random.default_rng(size)
    loss = np.exp(-np.arange(steps) / 5) + rng.uniform(0.01, 0.02, steps)
    if figure is figure1:
        net = figure1.network(0.25, 1.5)
        history = {"loss": loss, "test_loss": loss, "input_current": np.linspace(1.0, 1.5, steps)}
        return figure1.Run(0.25, size, 1.0, FitResult(net, {}, history))
    truth = figure2.feedforward_weights(figure2.LAYERS, 0.5, 1.5, gain=3.0, seed=0)
    path = truth + (truth != 0) * np.linspace(0.4, 0.35, steps)[:, None, None]
    history = {"loss": loss, "test_loss": loss, "weights": path}
    return figure2.Run(size, truth, FitResult(figure2.network(path[-1]), {}, history))


def test_a_bad_command_is_one_line_on_standard_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SSNN_ENGINE", "abacus")
    assert cli.main(["reproduce", "figure1", "--quick", "--out", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("ssnn: ")
    assert captured.err.count("\n") == 1
    with pytest.raises(SystemExit) as stopped:
        cli.main(["reproduce", "figure9"])
    assert stopped.value.code == 2
