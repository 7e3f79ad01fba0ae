"""What objects say of themselves: what they hold, not where they are; and, in notebooks, a picture."""

import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from helpers import one_neuron

import ssnn_py as ssnn

TRAINS = ssnn.SpikeTrains([[0.5, 1.0, np.inf], [0.2, 0.9, 1.5]], [[0, 1, -1], [1, 1, 0]], 2, 0.0, 2.0)
RUN = dict(t1=1.0, dt=0.05, num_samples=3, seed=2, engine="reference")


def test_spike_trains_say_how_many_and_how_often():
    assert repr(TRAINS) == (
        "SpikeTrains(2 samples of 2 neurons from 0 to 2: 5 spikes, on average 0.625 per neuron and unit of time)"
    )
    assert repr(TRAINS[:0]).startswith("SpikeTrains(0 samples of 2 neurons")


def test_a_solution_says_what_was_computed():
    solution = ssnn.simulate(one_neuron(), saveat=[0.5, 1.0], **RUN)
    count = int(solution.num_spikes.sum())
    assert repr(solution) == (
        "Solution(3 samples of 1 neuron from 0 to 1 in steps of 0.05, euler_maruyama, engine 'reference': "
        f"{count} spikes; v, i at 2 times)"
    )
    cut = ssnn.simulate(one_neuron(input_current=3.0), max_spikes=1, **RUN)
    assert f"{cut.truncated.sum()} of the samples cut at max_spikes)" in repr(cut)


def test_a_fit_says_where_it_has_come_to():
    loss = ssnn.SampleMean(lambda trains: (trains.num_spikes, None))
    fit = ssnn.fit(one_neuron(), None, loss, ["input_current", "mu"], steps=2, **RUN)
    first, *parameters = repr(fit).splitlines()
    assert first.startswith("FitResult(2 steps, unbiased gradient, loss ")
    assert [line.split(":")[0] for line in parameters] == ["  input_current", "  mu"]
    none = ssnn.fit(one_neuron(), None, loss, "mu", steps=0, **RUN)
    assert repr(none).splitlines()[0] == "FitResult(0 steps, auto gradient)"
    early = ssnn.fit(one_neuron(), None, loss, "mu", steps=5, callback=lambda step, record: True, **RUN)
    assert "FitResult(1 step, stopped by callback, " in repr(early)


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (ssnn.ExpectedSignatureLoss(), "ExpectedSignatureLoss()"),
        (ssnn.ExpectedSignatureLoss(2, scales=0.5), "ExpectedSignatureLoss(depth=2, scales=0.5)"),
        (ssnn.SignatureMMD(normalize=True), "SignatureMMD(normalize=True)"),
        (ssnn.SpikeCountLoss("mse", windows=[(0, 1)]), "SpikeCountLoss(kind='mse', windows=[[0.0, 1.0]])"),
        (ssnn.SampleMean(len), "SampleMean(function=len)"),
        (ssnn.SumLoss([ssnn.FirstSpikeLoss(2)]), "SumLoss(losses=(FirstSpikeLoss(n=2),), weights=(1.0,))"),
        (ssnn.PotentialLoss(neurons=[1]), "PotentialLoss(neurons=[1])"),
    ],
)
def test_losses_say_what_is_not_as_by_default(loss, text):
    assert repr(loss) == text


def test_networks_say_how_many_neurons_and_synapses():
    assert repr(one_neuron()).startswith("SLIFNetwork(1 neuron, 0 synapses, ExponentialIntensity(")
    assert repr(ssnn.SLIFNetwork([[0.0, 1.0], [0.0, 0.0]])).startswith("SLIFNetwork(2 neurons, 1 synapse, ")
    assert repr(ssnn.SpikeInput([[1.0, 0.0]])) == "SpikeInput(1 channel, 2 neurons, 1 synapse)"


def test_currents_of_many_numbers_say_how_many():
    assert repr(ssnn.SampledCurrent([0, 1.0], np.ones((2, 1)))) == (
        "SampledCurrent(times=[0.0, 1.0], values=[[1.0], [1.0]], interpolation='linear')"
    )
    many = ssnn.SampledCurrent(np.linspace(0, 9, 100), np.ones((100, 3)))
    assert repr(many) == (
        "SampledCurrent(times=<100 numbers from 0 to 9>, values=<100 × 3 numbers from 1 to 1>, interpolation='linear')"
    )


def picture(value):
    """The lines that a picture draws, and its words; the picture is well-formed."""
    text = value._repr_html_()
    assert "<svg" in text
    svg = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + len("</svg>")])
    space = "{http://www.w3.org/2000/svg}"
    return svg.find(f"{space}path").get("d"), [words.text for words in svg.iter(f"{space}text")]


def test_in_a_notebook_spikes_are_a_raster():
    marks, words = picture(TRAINS)
    assert marks.count("M") == 2  # of the first sample
    assert words == ["0", "neurons 0 to 1", "2"]
    marks, words = picture(TRAINS.select([1]))
    assert marks.count("M") == 3  # of all samples of the one neuron
    assert words[1] == "samples 0 to 1"
    solution = ssnn.simulate(one_neuron(), **RUN)
    assert picture(solution)[0].count("M") == solution.num_spikes.sum()
    assert "Solution(3 samples" in solution._repr_html_()
    many = ssnn.SpikeTrains(np.linspace(0, 1, 9000)[None], np.arange(9000)[None], 9000, 0, 1)
    assert len(many._repr_html_()) < 100_000
    assert "of 9000" in picture(many)[1][1]
    assert "SpikeTrains(0 samples" in TRAINS[:0]._repr_html_()


def test_in_a_notebook_a_fit_is_its_losses():
    history = {"loss": np.array([100.0, 10.0, 1.0, 1.5]), "seconds": np.ones(4), "mu": np.ones((4, 2))}
    fit = ssnn.FitResult(one_neuron(), {"mu": np.ones(2)}, history)
    line, words = picture(fit)
    assert line.count("L") == 3
    assert words == ["0", "loss, 1 to 100, logarithmic", "3"]
    assert "<svg" not in ssnn.FitResult(one_neuron(), {}, {"loss": np.empty(0)})._repr_html_()


def test_pictures_of_notebooks_need_no_drawing_library():
    program = """
import sys
import ssnn_py as ssnn
trains = ssnn.SpikeTrains([[0.5]], [[0]], 1, 0.0, 1.0)
assert "<svg" in trains._repr_html_()
print("matplotlib" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["False"]


def test_progress_of_a_recommendation_names_the_solvers(capsys, julia):
    net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.5)
    run = dict(tol=1e-1, t1=0.5, num_samples=2, max_steps=16)
    ssnn.recommend_solver(net, **run)
    assert capsys.readouterr().err == ""
    ssnn.recommend_solver(net, progress=True, **run)
    said = capsys.readouterr().err
    assert "solver" in said
    assert "euler_maruyama" in said
