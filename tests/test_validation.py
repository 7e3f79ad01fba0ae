"""Bad input gets a ValidationError that names the argument, at the call that was given it."""

import numpy as np
import pytest
from helpers import one_neuron

import ssnn_py as ssnn
from ssnn_py.engine.boot import libjulia


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"weights": np.zeros((2, 3))}, "weights"),
        ({"weights": np.zeros((0, 0))}, "weights"),
        ({"weights": [1.0]}, "weights"),
        ({"weights": [[np.nan]]}, "weights"),
        ({"weights": "w"}, "weights"),
        ({"weights": [[1j]]}, "weights"),
        ({"input_current": np.inf}, "input_current"),
        ({"input_current": np.ones(2)}, "input_current"),
        ({"input_current": None}, "input_current"),
        ({"mu": (-1.0, 0.0)}, "mu"),
        ({"mu": 3.0}, "mu"),
        ({"mu": (1.0, 2.0, 3.0)}, "mu"),
        ({"sigma": np.ones((2, 3))}, "sigma"),
        ({"sigma": np.ones(4)}, "sigma"),
        ({"sigma": np.nan}, "sigma"),
        ({"v_reset": np.ones((1, 1, 1))}, "v_reset"),
        ({"v_reset": "high"}, "v_reset"),
        ({"v_reset": "1"}, "v_reset must be a number or an array of shape"),
        ({"v_reset": None}, "v_reset must be a number or an array of shape"),
        ({"alpha": -0.1}, "alpha"),
        ({"alpha": np.ones(3)}, "alpha"),
        ({"intensity": 5.0}, "intensity"),
    ],
)
def test_a_network_names_the_argument_it_refuses(change, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        one_neuron(**change)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"beta": -1.0}, "beta"),
        ({"beta": np.nan}, "beta"),
        ({"tau": 0.0}, "tau"),
        ({"tau": [1.0, -1.0]}, "tau"),
        ({"v_th": "a"}, "v_th"),
        ({"cap": 0.0}, "cap"),
        ({"cap": np.inf}, "cap"),
    ],
)
def test_an_intensity_names_the_argument_it_refuses(arguments, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        ssnn.ExponentialIntensity(**arguments)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (([0.0, 0.0], [1.0, 2.0]), "times"),
        (([], []), "times"),
        (([0.0, 1.0], [1.0]), "values"),
        (([0.0, np.nan], [1.0, 2.0]), "times"),
        (([0.0, 1.0], [1.0, np.inf]), "values"),
        (([0.0, 1.0], [1.0, 2.0], "cubic"), "interpolation"),
    ],
)
def test_a_sampled_current_names_the_argument_it_refuses(arguments, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        ssnn.SampledCurrent(*arguments)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"t1": 0.0}, "t1"),
        ({"t1": np.nan}, "t1"),
        ({"t1": "late"}, "t1"),
        ({"t1": "1"}, "t1 must be a number"),
        ({"dt": 0.0}, "dt"),
        ({"dt": -0.1}, "dt"),
        ({"dt": np.inf}, "dt"),
        ({"dt": 1e-30}, "dt"),
        ({"num_samples": 0}, "num_samples"),
        ({"num_samples": 2.5}, "num_samples"),
        ({"num_samples": 2**39}, "samples"),
        ({"max_spikes": 0}, "max_spikes"),
        ({"max_spikes": 1.5}, "max_spikes"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"seed": "s"}, "seed"),
        ({"t0": np.inf}, "t0"),
        ({"v0": np.ones(3)}, "v0"),
        ({"v0": np.nan}, "v0"),
        ({"i0": np.ones((5, 1))}, "i0"),
        ({"solver": "runge_kutta"}, "solver"),
        ({"solver": 3}, "solver"),
        ({"engine": "fast"}, "engine"),
        ({"saveat": 0.0}, "saveat"),
        ({"saveat": 1e-12}, "saveat"),
        ({"saveat": [0.5, 0.5]}, "saveat"),
        ({"saveat": [0.5, 2.0]}, "saveat"),
        ({"saveat": [np.nan]}, "saveat"),
        ({"saveat": [[0.5]]}, "saveat"),
        ({"threads": 0}, "threads"),
        ({"first_sample": -1}, "first_sample"),
    ],
)
def test_simulate_names_the_argument_it_refuses(change, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        ssnn.simulate(one_neuron(), **{"t1": 1.0, "dt": 0.01, "engine": "reference", **change})


def test_simulate_wants_a_network():
    with pytest.raises(ssnn.ValidationError, match="network"):
        ssnn.simulate("net", t1=1.0, dt=0.1)


def test_per_sample_parameters_must_fit_the_samples():
    network = one_neuron(alpha=np.full((3, 1), 0.1))
    assert ssnn.simulate(network, t1=0.1, dt=0.01, num_samples=3, engine="reference").spike_times.shape[0] == 3
    with pytest.raises(ssnn.ValidationError, match="alpha"):
        ssnn.simulate(network, t1=0.1, dt=0.01, num_samples=2, engine="reference")


def test_absurd_records_are_refused_before_they_are_made():
    with pytest.raises(ssnn.ValidationError, match="GB"):
        ssnn.simulate(one_neuron(), t1=1e4, dt=0.01, num_samples=10**6, saveat=0.01, engine="reference")


def test_environment_variables_that_make_no_sense_are_named(monkeypatch):
    monkeypatch.setenv("SSNN_NUM_THREADS", "many")
    with pytest.raises(ssnn.ValidationError, match="SSNN_NUM_THREADS"):
        ssnn.simulate(one_neuron(), t1=1.0, dt=0.1, engine="reference")
    monkeypatch.setenv("SSNN_NUM_THREADS", "1")
    for level in ("fast", "4", "-1"):
        monkeypatch.setenv("SSNN_JULIA_OPTIMIZE", level)
        with pytest.raises(ssnn.ValidationError, match="SSNN_JULIA_OPTIMIZE must be 0, 1, 2 or 3, got"):
            libjulia.optimization_level()
    monkeypatch.setenv("SSNN_JULIA_OPTIMIZE", "")
    assert libjulia.optimization_level() == 3
    monkeypatch.setenv("SSNN_ENGINE", "abacus")
    with pytest.raises(ssnn.ValidationError, match="abacus"):
        ssnn.simulate(one_neuron(), t1=1.0, dt=0.1)


def test_replace_keeps_synapses_and_checks_names():
    network = ssnn.SLIFNetwork([[0.0, 1.0], [0.0, 0.0]])
    still = network.replace(weights=np.zeros((2, 2)))
    assert still.synapses.targets.tolist() == [1], "a weight that becomes zero keeps its synapse"
    more = network.replace(weights=[[0.0, 1.0], [2.0, 0.0]])
    assert more.synapses.targets.tolist() == [1, 0]
    with pytest.raises(ssnn.ValidationError, match="gamma"):
        network.replace(gamma=1.0)
    with pytest.raises(ssnn.ValidationError, match="weights"):
        network.replace(weights=np.zeros((3, 3)))
    with pytest.raises(ssnn.ValidationError, match="alpha"):
        network.replace(alpha=np.ones(3))
    assert network.replace(beta=2.0).intensity.parameters["beta"] == 2.0
    assert network.replace(intensity=ssnn.ExponentialIntensity(tau=3.0)).parameters["tau"] == 3.0
    assert network.parameters["tau"] == 1.0, "the original is not touched"


def test_solution_is_right_continuous_and_marked_where_cut_short(engine):
    network = one_neuron()
    solution = ssnn.simulate(network, t1=5.0, dt=0.01, num_samples=6, max_spikes=2, seed=3, saveat=0.05, engine=engine)
    assert solution.truncated.all()
    assert np.array_equal(solution.num_spikes, [2] * 6)
    for sample in range(6):
        last = solution.spike_times[sample, -1]
        assert np.array_equal(np.isnan(solution.v[sample, :, 0]), solution.ts > last)
    tau = solution.spike_times[0, 0]
    at = ssnn.simulate(network, t1=5.0, dt=0.01, max_spikes=2, seed=3, saveat=[tau - 1e-9, tau], engine=engine).v[
        0, :, 0
    ]
    assert at[0] - at[1] == pytest.approx(1.4, abs=1e-6)


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        ({"tau": [1.0, 2.0, 3.0]}, "the direction of tau must be a number, as tau is, got an array of shape (3,)"),
        ({"tau": None}, "the direction of tau must be a number, as tau is, got None"),
        ({"tau": "1"}, "the direction of tau must be a number, as tau is, got '1'"),
        ({"mu": np.ones(3)}, "must be of shape (2,), as mu is, or of one that broadcasts to it, got shape (3,)"),
        ({"mu": np.ones((1, 2))}, "must be of shape (2,), as mu is, or of one that broadcasts to it, got an array of"),
        ({"rate": 1.0}, "directions names an unknown parameter 'rate'; there are"),
        ({}, "directions must name at least one parameter"),
    ],
)
def test_a_direction_that_does_not_fit_is_told_the_shape(directions, message):
    solution = ssnn.simulate(one_neuron(), 0.1, 0.1, engine="reference")
    with pytest.raises(ssnn.ValidationError) as caught:
        solution.jvp(directions)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["tau", "beta", "sigma", "input_current", "v0"])
def test_a_part_whose_parameter_has_the_name_of_another_is_refused(name):
    """Intensity, current and diffusion share the network's names: one would take the other's value, and the wrong rate
    be simulated.
    """

    class Named(ssnn.ConstantDiffusion):
        def __init__(self):
            self.parameters = {name: np.array(2.0)}

    with pytest.raises(ssnn.ValidationError, match=f"diffusion must not have a parameter named '{name}'"):
        ssnn.SLIFNetwork([[0.0]], diffusion=Named())
    network = ssnn.SLIFNetwork([[0.0]])
    with pytest.raises(ssnn.ValidationError, match=name):
        network.replace(diffusion=Named())
    assert network.replace(intensity=ssnn.ExponentialIntensity(beta=2.0)).parameters["beta"] == 2.0
