"""Networks and results are values: they do not change, compare and hash by what they hold, and survive copying and
pickling.
"""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest
from conftest import JULIA
from helpers import one_neuron, random_network, run_arguments

import ssnn_py as ssnn
from ssnn_py.engine import Cotangents, Insertions
from ssnn_py.recordings import Recordings
from ssnn_py.values import Remembered, equal

WAYS = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda value: pickle.loads(pickle.dumps(value))}

RUN = dict(t1=1.0, dt=0.02, num_samples=3, seed=1, saveat=[0.5, 1.0])


@pytest.fixture(params=WAYS)
def copied(request):
    return WAYS[request.param]


def assert_same_gradients(one, other):
    bar = np.ones(one.spike_times.shape)
    wrt = ("input_current", "weights", "alpha")
    first, second = (solution.vjp(bar, wrt, v_bar=np.ones(one.v.shape)) for solution in (one, other))
    assert equal(first, second)
    assert np.array_equal(*(solution.jvp({"v_th": 1.0, "alpha": 0.5}) for solution in (one, other)))


def test_a_copied_network_simulates_the_same_before_and_after_use(engine, copied):
    network, arguments = random_network(1, 2, 2), run_arguments(1, 2, 2) | {"engine": engine, "dt": 0.05}
    before = copied(network)
    solution = ssnn.simulate(network, **arguments)
    solution.vjp(1.0, "alpha")
    after = copied(network)
    for other in (before, after):
        assert other == network
        assert hash(other) == hash(network)
        again = ssnn.simulate(other, **arguments)
        assert np.array_equal(solution.spike_times, again.spike_times)
        assert_same_gradients(solution, again)


def test_a_copied_solution_has_the_same_gradients(engine, copied):
    arguments = run_arguments(2, 2, 2) | {"engine": engine, "dt": 0.05}
    solution = ssnn.simulate(random_network(2, 2, 2), **arguments)
    before = copied(solution)
    assert solution.num_spikes.min() > 0
    assert solution.spike_counts.sum() == solution.num_spikes.sum()
    solution.vjp(1.0, "alpha")
    after = copied(solution)
    for other in (before, after):
        assert other == solution
        assert hash(other) == hash(solution)
        assert other.spike_trains == solution.spike_trains
        assert_same_gradients(solution, other)


def test_a_sparse_network_can_be_copied(copied):
    sparse = pytest.importorskip("scipy.sparse")
    network = ssnn.SLIFNetwork(sparse.csr_matrix([[0.0, 1.0], [0.5, 0.0]]), input_current=2.0)
    other = copied(network)
    assert other == network
    assert np.array_equal(other.weights.toarray(), network.weights.toarray())


@pytest.mark.parametrize(
    "part",
    [
        ssnn.ExponentialIntensity(beta=[1.0, 2.0], cap=3.0),
        ssnn.ThresholdIntensity(0.5),
        ssnn.ConstantCurrent([1.0, 2.0]),
        ssnn.SampledCurrent([0.0, 1.0], [1.0, 2.0], "previous"),
        ssnn.JuliaFunction("t -> 1.0"),
        ssnn.ConstantDiffusion(),
        ssnn.AffineDiffusion(1.0, [0.5, 0.0]),
        ssnn.SpikeTrains([[0.5]], [[0]], 1, 0.0, 1.0),
        ssnn.solvers()[0],
        ssnn.Adam(ssnn.piecewise_constant({0: 0.1, 5: 0.01})),
    ],
    ids=lambda part: type(part).__name__,
)
def test_components_and_spike_trains_equal_their_copies(part, copied):
    other = copied(part)
    assert hash(other) == hash(other)
    assert type(other) is type(part)
    if not isinstance(part, ssnn.Adam):  # whose learning rate is a function, and equal to itself alone
        assert other == part
        assert hash(other) == hash(part)
    assert part != "something else"


def test_fit_results_equal_their_copies_and_divergence_keeps_its_own(copied):
    network = one_neuron()
    data = ssnn.simulate(network, engine="reference", **RUN).spike_trains
    loss, run = ssnn.ExpectedSignatureLoss(2, match_spikes=True), dict(t1=1.0, dt=0.02, engine="reference")
    result = ssnn.fit(network.replace(input_current=1.2), data, loss, "input_current", steps=2, **run)
    other = copied(result)
    assert other == result
    assert hash(other) == hash(result)
    assert other.network == result.network
    assert result != ssnn.fit(network, data, loss, "input_current", steps=2, **run)
    error = copied(ssnn.DivergedError("why", result))
    assert str(error) == "why"
    assert error.result == result


def gradients(solution):
    return solution.vjp(1.0), solution.jvp({"alpha": 1.0})


def test_a_solution_can_be_differentiated_in_another_process():
    engine = "julia" if JULIA else "reference"
    solution = ssnn.simulate(
        one_neuron(input_current=ssnn.SampledCurrent([0.0, 1.0], [1.0, 2.0])), engine=engine, **RUN
    )
    here = gradients(solution)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert equal(here, pool.apply(gradients, (solution,)))


def test_losses_forget_what_they_remember_of_data_when_they_are_copied(copied):
    generated, data = (ssnn.simulate(one_neuron(), engine="reference", **{**RUN, "seed": seed}) for seed in (1, 2))
    for loss in (
        ssnn.ExpectedSignatureLoss(2),
        ssnn.FirstSpikeLoss(1),
        ssnn.SignatureMMD(),
        ssnn.SpikeCountLoss(),
        ssnn.SumLoss([ssnn.FirstSpikeLoss(2)]),
    ):
        value = loss.with_entries(generated, data)
        loss.exchange(generated, data, generated)
        other = copied(loss)
        assert not any(
            value == data for part in vars(other).values() if isinstance(part, Remembered) for value in vars(part)
        )
        assert other.with_entries(generated, data) == value
        assert loss == loss
        assert hash(loss) == hash(loss)


def test_networks_differ_where_anything_differs():
    network = random_network(3)
    parameters = network.parameters
    for name, value in parameters.items():
        assert network.replace(**{name: value}) == network, name
        other = network.replace(**{name: value * 1.5})
        assert other != network, name
        assert hash(other) != hash(network), name
    assert one_neuron(reset="hard") != one_neuron()
    assert one_neuron(intensity=ssnn.ExponentialIntensity(cap=5.0)) != one_neuron()
    assert one_neuron(sigma=-0.0) == one_neuron(sigma=0.0)
    assert hash(one_neuron(sigma=-0.0)) == hash(one_neuron(sigma=0.0))
    assert len({one_neuron(), one_neuron(), one_neuron(sigma=0.5)}) == 2
    assert network != ssnn.SpikeTrains([[0.5]], [[0]], 1, 0.0, 1.0)


def test_solutions_and_what_belongs_to_them_compare_without_an_error(engine):
    network = one_neuron()
    one, two = (ssnn.simulate(network, engine=engine, **RUN) for _ in range(2))
    other = ssnn.simulate(network, engine=engine, **{**RUN, "seed": 2})
    assert one == two
    assert one != other
    assert hash(one) == hash(two)
    assert one.spike_trains != other.spike_trains
    truncated = [ssnn.simulate(network, engine=engine, **{**RUN, "t1": 5.0, "max_spikes": 1}) for _ in range(2)]
    assert np.isnan(truncated[0].v).any() or truncated[0].truncated.all()
    assert truncated[0] == truncated[1], "NaN after the end of a truncated sample equals itself"
    tangents = [solution.tangents({"alpha": 1.0}) for solution in (one, two, other)]
    assert tangents[0] == tangents[1]
    assert tangents[0] != tangents[2]
    assert len(set(tangents)) == 2 or hash(tangents[0]) == hash(tangents[2])
    values = [ssnn.FirstSpikeLoss(1)(solution, other) for solution in (one, two, other)]
    assert values[0] == values[1]
    assert values[0] != values[2]
    assert hash(values[0]) == hash(values[1])
    assert Recordings.of(one) == Recordings.of(two)
    none = np.array([-1])
    assert Insertions(none, none, none) == Insertions(none, none, none)
    assert Cotangents(np.ones((1, 2))) != Cotangents(np.zeros((1, 2)))


@pytest.mark.parametrize("name", ["sigma", "parameters", "reset", "intensity", "note"])
def test_attributes_of_networks_are_refused_with_the_remedy(name):
    network = one_neuron()
    with pytest.raises(AttributeError, match="replace"):
        setattr(network, name, 3)
    with pytest.raises(AttributeError, match="replace"):
        delattr(network, name)
    for part in (network.intensity, network.input_current, network.diffusion, network.synapses):
        with pytest.raises(AttributeError, match="replace"):
            setattr(part, name, 3)


def test_parameters_cannot_be_written_to(copied):
    network = copied(random_network(4))
    parameters = network.parameters
    parts = (network.intensity.parameters, network.input_current.parameters)
    for arrays in (parameters, *parts):
        for name, array in arrays.items():
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0.0
            for write in (
                lambda arrays=arrays, name=name: arrays.__setitem__(name, np.zeros(1)),
                lambda arrays=arrays, name=name: arrays.__delitem__(name),
                lambda arrays=arrays, name=name: arrays.pop(name),
                lambda arrays=arrays, name=name: arrays.update({name: np.zeros(1)}),
                lambda arrays=arrays, name=name: arrays.__ior__({name: np.zeros(1)}),
                lambda arrays=arrays: arrays.setdefault("other", np.zeros(1)),
                lambda arrays=arrays: arrays.popitem(),
                lambda arrays=arrays: arrays.clear(),
            ):
                with pytest.raises(TypeError, match="replace"):
                    write()
    for array in (network.input_current.knots, network.synapses.targets):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert network == random_network(4)


def test_a_name_that_is_not_there_is_told_which_are(copied):
    network = copied(one_neuron())
    solution = copied(ssnn.simulate(network, engine="reference", **RUN))
    tangents = solution.tangents({"tau": 1.0})
    for states in (solution.states, tangents.states, Recordings.of(solution).states, copied(solution.states)):
        assert list(states) == ["v", "i"]
        assert states == dict(states)
        assert states.get("zz") is None
        with pytest.raises(KeyError) as caught:
            states["zz"]
        assert isinstance(caught.value, ssnn.ValidationError)
        assert str(copied(caught.value)) == "unknown variable 'zz'; there are v, i"
    with pytest.raises(ssnn.ValidationError, match=r"^unknown parameter 'zz'; there are weights, mu, sigma"):
        network.parameters["zz"]


def test_arrays_that_are_given_are_copied_and_not_frozen(engine):
    weights, current, beta, v0 = np.zeros((1, 1)), np.array([1.5]), np.array([5.0]), np.array([0.1])
    knots, values = np.array([0.0, 1.0]), np.array([1.0, 2.0])
    intensity, sampled = ssnn.ExponentialIntensity(beta), ssnn.SampledCurrent(knots, values)
    network = ssnn.SLIFNetwork(weights, current, intensity=intensity).replace(input_current=current)
    solution = ssnn.simulate(network, v0=v0, engine=engine, **RUN)
    before = solution.vjp(1.0, wrt="v0")
    for array in (weights, current, beta, v0, knots, values):
        array[...] = 7.0
    assert network.parameters["input_current"] == 1.5
    assert network.parameters["beta"] == 5.0
    assert not network.parameters["weights"].any()
    assert sampled.knots.tolist() == [0.0, 1.0]
    assert sampled.parameters["input_current"].tolist() == [1.0, 2.0]
    assert equal(before, solution.vjp(1.0, wrt="v0"))


def test_training_does_not_touch_the_network_it_starts_from():
    network = one_neuron()
    data = ssnn.simulate(network, engine="reference", **RUN).spike_trains
    start = network.replace(input_current=1.2)
    loss = ssnn.ExpectedSignatureLoss(2, match_spikes=True)
    result = ssnn.fit(start, data, loss, "input_current", steps=2, t1=1.0, dt=0.02, engine="reference")
    assert start == network.replace(input_current=1.2)
    assert result.network.parameters["input_current"] == result.parameters["input_current"] != 1.2


class Square(ssnn.Diffusion):
    """A component of one's own with the constructor that the base class has."""

    kind = "square"
    ranges = {"floor": "positive"}  # noqa: RUF012

    def __init__(self, floor):
        super().__init__({"floor": floor}, settings=(2.0,))

    def factor(self, v, **parameters):
        return parameters["floor"] + v**2, 2 * v

    def derivatives(self, v, **parameters):
        return np.full(np.shape(v), 2.0), {"floor": (np.ones(np.shape(v)), np.zeros(np.shape(v)))}


class Assigned(Square):
    """One whose constructor sets the dict itself."""

    def __init__(self, floor):
        self.parameters = {"floor": floor}


@pytest.mark.parametrize("kind", [Square, Assigned])
def test_a_component_of_ones_own_is_one_class(kind, copied):
    floor = np.array([0.5])
    part = kind(floor)
    network = copied(ssnn.SLIFNetwork([[0.0]], sigma=0.3, v_reset=0.0, diffusion=part)).replace(floor=0.7)
    floor[0] = 9.0
    assert part.parameters["floor"] == 0.5
    assert type(network.diffusion) is kind
    assert network.parameters["floor"] == network.diffusion.parameters["floor"] == 0.7
    assert part.replace(floor=0.5) != part, "one number is not an array of one"
    assert part.replace(floor=[0.5]) == part
    assert repr(part) == f"{kind.__name__}(floor=[0.5])"
    assert ssnn.simulate(network, engine="reference", **RUN).v.shape == (3, 2, 1)
    with pytest.raises(AttributeError, match="replace"):
        part.floor = 1.0


@pytest.mark.parametrize(
    ("part", "name", "bad"),
    [
        (ssnn.ExponentialIntensity(), "tau", 0.0),
        (ssnn.ExponentialIntensity(), "beta", -1.0),
        (ssnn.ThresholdIntensity(), "v_th", np.nan),
        (ssnn.ConstantCurrent(1.0), "input_current", "high"),
        (ssnn.SampledCurrent([0.0], [1.0]), "input_current", [1.0, 2.0]),
        (ssnn.AffineDiffusion(), "diffusion_slope", np.ones((1, 1, 1))),
        (Square(1.0), "floor", -1.0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ssnn.SSNNError) else None,
)
def test_all_components_check_parameters_where_they_are_made_and_where_they_are_replaced(part, name, bad):
    shown = "values" if isinstance(part, ssnn.SampledCurrent) else name
    with pytest.raises(ssnn.ValidationError, match=shown):
        part.replace(**{name: bad})
    with pytest.raises(
        ssnn.ValidationError,
        match=f"unknown parameter 'gamma'; this {type(part).__name__} has {name.split('_')[0]}|beta",
    ):
        part.replace(gamma=1.0)


def test_a_network_takes_another_current_of_any_kind():
    network = one_neuron()
    sampled = ssnn.SampledCurrent([0.0, 1.0], [1.0, 2.0])
    assert network.replace(input_current=sampled).input_current == sampled
    function = network.replace(input_current=ssnn.JuliaFunction("t -> 1.0"))
    assert "input_current" not in function.parameters
    assert function.replace(input_current=1.5) == network
    with pytest.raises(ssnn.ValidationError, match="intensity must be an Intensity"):
        network.replace(intensity=5.0)
    with pytest.raises(ssnn.ValidationError, match="diffusion must be a Diffusion"):
        network.replace(diffusion=ssnn.ExponentialIntensity())
