"""The published experiments, in short."""

import csv

import numpy as np
import pytest
from conftest import needs_julia

from ssnn_py import cli
from ssnn_py.experiments import figure1, figure2


@needs_julia
@pytest.mark.parametrize("loss", ["signature", "first_spikes"])
def test_figure_1_recovers_the_current(tmp_path, capsys, loss):
    assert cli.main(["reproduce", "figure1", "--quick", "--loss", loss, "--out", str(tmp_path)]) == 0
    stem = "figure1" if loss == "signature" else "figure1_first_spikes"
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
    assert (tmp_path / "figure2.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "figure2.pdf").read_bytes().startswith(b"%PDF")
    with (tmp_path / "figure2.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(figure2.DATA_SIZES) * 60
    for size in figure2.DATA_SIZES:
        mine = [row for row in rows if int(row["data_size"]) == size]
        assert float(mine[-1]["weight_distance"]) < 0.9 * float(mine[0]["weight_distance"])
        assert float(mine[-1]["test_loss"]) < 0.7 * float(mine[0]["test_loss"])
    assert capsys.readouterr().out.count("\n") == 5


def test_a_bad_command_is_one_line_on_standard_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SSNN_ENGINE", "abacus")
    assert cli.main(["reproduce", "figure1", "--quick", "--out", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("ssnn: ")
    assert captured.err.count("\n") == 1
    with pytest.raises(SystemExit) as stopped:
        cli.main(["reproduce", "figure9"])
    assert stopped.value.code == 2
