"""Networks in PyTorch."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers import LastStateAndCount, formula_network, one_neuron, random_network, run_arguments

import ssnn_py as ssnn

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
layer = pytest.importorskip("ssnn_py.torch")


def tensors(network, names):
    return {name: torch.tensor(network.parameters[name], requires_grad=True) for name in names}


def test_gradients_pass_torchs_own_check(engine):
    network = random_network(0, 3, 2)
    arguments = run_arguments(0, 3, 2) | {"engine": engine, "max_spikes": 5}
    names = ("input_current", "mu", "sigma", "beta", "weights")
    there = network.parameters["weights"] != 0
    mask = torch.from_numpy(there * 1.0)

    def outputs(*values):
        parameters = dict(zip(names, values, strict=True))
        parameters["weights"] = parameters["weights"] * mask
        out = layer.simulate(network, parameters, **arguments)
        spike_times = torch.where(torch.isfinite(out.spike_times), out.spike_times, 0.0)
        return spike_times, torch.nan_to_num(out.v), torch.nan_to_num(out.i)

    inputs = tuple(tensors(network, names).values())
    assert torch.autograd.gradcheck(outputs, inputs, eps=1e-7, atol=1e-4, rtol=1e-5)


def test_equals_numpy_in_any_dtype(engine):
    network = one_neuron()
    run = {"t1": 2.0, "dt": 0.01, "num_samples": 4, "max_spikes": 2, "seed": 3, "engine": engine}
    solution = ssnn.simulate(network, **run)
    wanted = solution.vjp(1.0, "input_current")["input_current"]
    for dtype in (torch.float64, torch.float32):
        c = torch.tensor(1.5, dtype=dtype, requires_grad=True)
        out = layer.simulate(network, {"input_current": c}, **run)
        np.testing.assert_allclose(out.spike_times.detach().numpy(), solution.spike_times)
        out.spike_times.sum().backward()
        assert c.grad.dtype == dtype
        assert float(c.grad) == pytest.approx(float(wanted), rel=1e-6)


# --- on devices -------------------------------------------------------------------------------------------------------

ON_DEVICE = dict(t1=1.0, dt=0.02, num_samples=4, seed=5, saveat=0.25)


def several(solution):
    """A function of each sample that looks at all that is there."""
    times = solution.spike_times.where(torch.isfinite(solution.spike_times), 0.0)
    ones = (solution.spike_neurons == 1) * times
    v = torch.nan_to_num(solution.v)
    return (
        times.square().sum(1)
        + ones.sum(1)
        + v.sin().sum((1, 2))
        + (solution.spike_counts * torch.tensor([1.0, 0.5])).sum(1)
    )


@pytest.mark.parametrize("max_spikes", [3, None])
@pytest.mark.parametrize("of", ["samples", "expectations"])
def test_solutions_on_a_device_stay_there_with_their_derivatives(of, max_spikes, julia):
    network = random_network(1, neurons=2, samples=4, per_sample=False, sampled=False)
    # Samples that are cut have no unbiased gradient of what they record.
    run = ON_DEVICE | {"max_spikes": 50 if max_spikes and of == "expectations" else max_spikes}
    found = []
    for device in ("cpu", "emulation:2"):
        c = tensors(network, ("mu", "weights"))
        if of == "samples":
            out = layer.simulate(network, c, **run, device=device)
            assert isinstance(out.result.raw.spike_times, torch.Tensor) == (device != "cpu")
            value = several(out).mean()
            np.testing.assert_array_equal(out.spike_counts, out.solution.spike_counts)
            np.testing.assert_array_equal(out.spike_neurons, out.solution.spike_neurons)
        else:
            value = layer.expectation(several, network, c, **run, device=device)
        value.backward()
        found.append([value.item(), *(tensor.grad.numpy() for tensor in c.values())])
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-12)


def test_what_is_done_to_tensors_does_not_change_the_solution(julia):
    network = one_neuron()
    run = ON_DEVICE | {"max_spikes": 3}
    wanted = ssnn.simulate(network, **run)
    for device in ("cpu", "emulation:2"):
        c = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
        out = layer.simulate(network, {"input_current": c}, **run, device=device)
        with torch.no_grad():
            out.spike_times[torch.isinf(out.spike_times)] = 9.0
            out.spike_neurons[:] = 7
            out.v[:] = 0.0
        np.testing.assert_allclose(out.solution.spike_times, wanted.spike_times, rtol=1e-12)
        np.testing.assert_array_equal(out.solution.spike_neurons, wanted.spike_neurons)
        np.testing.assert_allclose(out.solution.v, wanted.v, rtol=1e-9)
        out.spike_times.sum().backward()
        assert c.grad.item() == pytest.approx(wanted.vjp(1.0, "input_current")["input_current"], rel=1e-9)


def test_derivatives_on_a_device_that_are_not_finite_are_refused(julia):
    c = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    for device in ("cpu", "emulation:2"):
        out = layer.simulate(one_neuron(), {"input_current": c}, **ON_DEVICE, device=device)
        with pytest.raises(ssnn.ValidationError, match="must be finite wherever there is a spike or a recorded value"):
            (out.v * torch.nan).sum().backward()


def test_which_solutions_stay_on_a_device():
    """Tensors of a GPU, with a device that is it; these say where they are and no more."""
    gpu, second, host = (torch.device(name) for name in ("cuda:0", "cuda:1", "cpu"))
    at = [SimpleNamespace(device=device) for device in (host, second, gpu)]
    built = {"cuda": torch.version.cuda, "rocm": torch.version.hip}
    for device, version in built.items():
        library = layer._library(device, at)
        assert (library is None) == (version is None)
        assert library is None or library.device == gpu
        assert layer._library(device, at[:2]) is None
    assert layer._library("kernels", at).device == host
    assert layer._library("cpu", at) is layer._library("oneapi", at) is None


# --- training ---------------------------------------------------------------------------------------------------------


def test_training_with_torch_optim(engine):
    run = {"t1": 2.0, "dt": 0.02, "num_samples": 24, "max_spikes": 2, "engine": engine}
    target = torch.from_numpy(ssnn.simulate(one_neuron(), seed=99, **run).spike_times.mean(axis=0))
    c = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([c], lr=0.03)
    for step in range(60):
        optimizer.zero_grad()
        out = layer.simulate(one_neuron(), {"input_current": c}, seed=step, **run)
        loss = (out.spike_times.clamp(max=2.0).mean(0) - target).square().mean()
        loss.backward()
        optimizer.step()
    assert abs(float(c.detach()) - 1.5) < 0.25


def test_what_simulate_refuses_it_names():
    with pytest.raises(ssnn.ValidationError, match="gamma"):
        layer.simulate(one_neuron(), {"gamma": torch.tensor(1.0)}, t1=1.0, dt=0.1, engine="reference")
    with pytest.raises(ssnn.ValidationError, match="tensors"):
        layer.simulate(one_neuron(), {"alpha": 1.0}, t1=1.0, dt=0.1, engine="reference")
    hard = one_neuron(reset="hard")
    with pytest.raises(ssnn.NoGradientError):
        layer.simulate(hard, {"alpha": torch.tensor(0.1, requires_grad=True)}, t1=1.0, dt=0.1, engine="reference")
    out = layer.simulate(hard, {"alpha": torch.tensor(0.1)}, t1=1.0, dt=0.1, engine="reference")
    assert not out.spike_times.requires_grad


# --- expectations
# -------------------------------------------------------------------------------------------------------------------


def number(solution):
    return solution.spike_counts.sum(1)


def squares(solution):
    times = solution.spike_times
    return torch.where(torch.isfinite(times), times, 0.0).square().sum(1)


def pairs(solution):
    """How often neuron 0 fires before neuron 1; weighted by when, so that the pathwise part counts, too."""
    times, neurons = solution.spike_times, solution.spike_neurons
    times = torch.where(torch.isfinite(times), times, 0.0)
    first, second = (neurons == 0)[:, :, None], (neurons == 1)[:, None, :]
    return (first * second * (times[:, :, None] < times[:, None, :]) * (1 + times[:, :, None])).sum((1, 2))


def sample_mean(function, **settings):
    """The same expectation as a loss of the package: `function` of trains, differentiated by torch."""

    class Batch:
        def __init__(self, trains):
            self.spike_times = torch.tensor(trains.times, requires_grad=True)
            self.spike_neurons = torch.from_numpy(trains.neurons)
            self.spike_counts = torch.from_numpy(trains.spike_counts)

    def in_numpy(trains):
        batch = Batch(trains)
        values = function(batch)
        bar = torch.autograd.grad(values.sum(), batch.spike_times)[0] if values.requires_grad else None
        return values.detach().numpy(), None if bar is None else np.where(np.isfinite(trains.times), bar, 0.0)

    return ssnn.SampleMean(in_numpy, **settings)


def check_expectation(function, loss, network, names, **arguments):
    """Value and gradients of the expectation are those of `loss`."""
    values = tensors(network, names)
    mean = layer.expectation(function, network, values, **arguments)
    mean.backward()
    arguments.pop("order_matters", None)
    wanted, gradients = ssnn.value_and_grad(loss, network, names, gradient="unbiased", **arguments)
    assert mean.item() == pytest.approx(wanted, rel=1e-12)
    for name, gradient in gradients.items():
        assert np.abs(gradient).max() > 1e-3
        np.testing.assert_allclose(values[name].grad.numpy(), gradient, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_mean_count_at_a_constant_rate_has_its_closed_form(engine, dtype):
    """Of t1/τ: −t1/τ², in every sample."""
    network = ssnn.SLIFNetwork([[0.0]], alpha=0.0, intensity=ssnn.ExponentialIntensity(beta=0.0))
    tau = torch.tensor(0.5, dtype=dtype, requires_grad=True)
    run = {"t1": 3.0, "dt": 0.1, "num_samples": 5, "engine": engine}
    mean = layer.expectation(number, network, {"tau": tau}, **run)
    mean.backward()
    assert tau.grad.dtype == dtype
    assert tau.grad.item() == pytest.approx(-12.0, rel=1e-12 if dtype == torch.float64 else 1e-6)
    assert mean.item() == pytest.approx(ssnn.simulate(network.replace(tau=0.5), **run).num_spikes.mean())


@pytest.mark.parametrize("function", [number, squares])
@pytest.mark.parametrize("capacity", [None, 3])
def test_expectations_of_one_neuron_equal_sample_mean(engine, function, capacity):
    run = {"t1": 0.6, "dt": 0.01, "num_samples": 20, "seed": 2, "engine": engine, "max_spikes": capacity}
    loss = sample_mean(function, order_matters=False)
    check_expectation(function, loss, one_neuron(), ["input_current", "mu"], order_matters=False, **run)


@pytest.mark.parametrize("capacity", [None, 4])
@pytest.mark.parametrize("order_matters", [True, False])
def test_expectations_of_coupled_neurons_equal_sample_mean(engine, capacity, order_matters):
    network = random_network(0, 3, 8)
    run = run_arguments(0, 3, 8) | {"dt": 0.04, "engine": engine, "max_spikes": capacity, "saveat": None}
    function = pairs if order_matters else squares
    loss = sample_mean(function, order_matters=order_matters)
    names = ["weights", "beta", "v0"]
    parameters = tensors(network, names[:-1]) | {"v0": torch.tensor(run.pop("v0"), requires_grad=True)}
    mean = layer.expectation(function, network, parameters, order_matters=order_matters, **run)
    mean.backward()
    run["v0"] = parameters["v0"].detach().numpy()
    value, gradients = ssnn.value_and_grad(loss, network, names, gradient="unbiased", **run)
    assert mean.item() == pytest.approx(value, rel=1e-12)
    for name, gradient in gradients.items():
        assert np.abs(gradient).max() > 1e-3
        np.testing.assert_allclose(parameters[name].grad.numpy(), gradient, rtol=1e-10, atol=1e-10)


class EnergyOfPotentials(ssnn.Loss):
    """Mean over samples of Σ v² + Σ i² at the recorded times, and of their product at the first two times."""

    order_matters = False
    observes_states = True

    def __call__(self, generated, data=None):
        v, i = generated.v, generated.i
        product = v[:, :1] * v[:, 1:2]
        value = ((v**2 + i**2).sum((1, 2)) + product.sum((1, 2))).mean()
        v_bar = 2 * v
        v_bar[:, :1] += v[:, 1:2]
        v_bar[:, 1:2] += v[:, :1]
        return ssnn.LossValue(value, None, v_bar / len(v), 2 * i / len(v))


def energy(solution):
    v, i = solution.v, solution.i
    return (v**2 + i**2).sum((1, 2)) + (v[:, 0] * v[:, 1]).sum(1)


def test_expectations_of_recorded_values_equal_those_of_a_loss_that_observes_states(engine):
    network = random_network(0, 2, 8, per_sample=False)
    run = {"t1": 1.0, "dt": 0.02, "num_samples": 8, "seed": 3, "saveat": [0.3, 0.55, 1.0], "engine": engine}
    check_expectation(energy, EnergyOfPotentials(), network, ["weights", "mu", "v_reset"], order_matters=False, **run)


def in_window(solution):
    times = solution.spike_times
    return ((times >= 0.3) & (times < 0.7)).sum(1) ** 2


@pytest.mark.parametrize("capacity", [None, 3])
def test_counts_in_a_window_whose_edges_are_recorded(engine, capacity):
    network = random_network(0, 2, 8, per_sample=False)
    run = {
        "t1": 1.0,
        "dt": 0.02,
        "num_samples": 8,
        "seed": 3,
        "saveat": [0.3, 0.7],
        "engine": engine,
        "max_spikes": capacity,
    }
    loss = sample_mean(in_window, order_matters=False)
    loss.edges = (0.3, 0.7)
    check_expectation(in_window, loss, network, ["weights", "mu", "v_reset"], order_matters=False, **run)


def test_several_expectations_at_once(engine):
    run = {"t1": 0.8, "dt": 0.05, "num_samples": 6, "seed": 1, "engine": engine}
    network, wanted = random_network(0, 3, 6), []
    for function in (pairs, squares):
        values = tensors(network, ["weights"])
        (layer.expectation(function, network, values, **run) ** 2).backward()
        wanted.append(values["weights"].grad)
    values = tensors(network, ["weights"])
    both = layer.expectation(lambda s: torch.stack([pairs(s), squares(s)], 1), network, values, **run)
    assert both.shape == (2,)
    both.square().sum().backward()
    np.testing.assert_allclose(values["weights"].grad, wanted[0] + wanted[1], rtol=1e-10, atol=1e-12)


def test_cross_entropy_by_counts_with_a_trained_readout(engine):
    """Counts have no pathwise gradient; the readout has its ordinary one."""
    network = random_network(1, 3, 6)
    run = {"t1": 0.8, "dt": 0.02, "num_samples": 6, "seed": 1, "engine": engine}
    labels = torch.tensor([0, 1, 1, 0, 1, 0])
    values = tensors(network, ["weights"])
    readout = torch.nn.Linear(3, 2)

    def entropy(solution):
        scores = readout(solution.spike_counts.to(torch.float32))
        return torch.nn.functional.cross_entropy(scores, labels, reduction="none")

    mean = layer.expectation(entropy, network, values, order_matters=False, **run)
    mean.backward()
    counts = torch.from_numpy(ssnn.simulate(network, **run).spike_counts).float()
    loss = torch.nn.functional.cross_entropy(readout(counts), labels)
    (wanted,) = torch.autograd.grad(loss, readout.weight)
    np.testing.assert_allclose(readout.weight.grad, wanted, rtol=1e-5)
    in_package = ssnn.SampleMean(
        lambda trains: (entropy(Counted(trains)).detach().numpy().astype(float), None), order_matters=False
    )
    _, gradients = ssnn.value_and_grad(in_package, network, "weights", gradient="unbiased", **run)
    assert np.abs(gradients["weights"]).max() > 1e-3
    np.testing.assert_allclose(values["weights"].grad, gradients["weights"], rtol=1e-4, atol=1e-5)


class Counted:
    def __init__(self, trains):
        self.spike_counts = torch.from_numpy(trains.spike_counts)


def test_training_to_a_mean_count(engine):
    network = ssnn.SLIFNetwork([[0.0]], alpha=0.0, intensity=ssnn.ExponentialIntensity(beta=0.0))
    tau = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([tau], lr=0.04)
    for step in range(50):
        optimizer.zero_grad()
        mean = layer.expectation(
            number, network, {"tau": tau}, t1=3.0, dt=0.5, num_samples=24, seed=step, engine=engine
        )
        (mean - 6.0).square().backward()
        optimizer.step()
    assert abs(tau.item() - 0.5) < 0.08


def test_expectations_without_gradients_take_every_network(engine):
    run = {"t1": 1.0, "dt": 0.02, "num_samples": 4, "engine": engine}
    network = one_neuron(sigma=0.0, intensity=ssnn.ThresholdIntensity(0.5))
    mean = layer.expectation(number, network, {"alpha": torch.tensor(0.1)}, **run)
    assert not mean.requires_grad
    alpha = torch.tensor(0.1, requires_grad=True)
    with torch.no_grad():
        assert layer.expectation(number, network, {"alpha": alpha}, **run) == mean


def test_expectations_that_have_no_unbiased_gradient():
    run = {"t1": 1.0, "dt": 0.05, "num_samples": 4, "engine": "reference"}
    c = {"input_current": torch.tensor(1.5, requires_grad=True)}
    with pytest.raises(ssnn.NoGradientError, match="ThresholdIntensity"):
        layer.expectation(number, one_neuron(sigma=0.0, intensity=ssnn.ThresholdIntensity(0.5)), c, **run)
    with pytest.raises(ssnn.NoGradientError, match="hard"):
        layer.expectation(number, one_neuron(reset="hard"), c, **run)
    with pytest.raises(ssnn.NoGradientError, match="max_spikes"):
        layer.expectation(
            lambda s: torch.nan_to_num(s.v).sum((1, 2)), one_neuron(), c, max_spikes=1, saveat=[0.05, 1.0], **run
        ).backward()


def test_expectations_by_solvers_that_do_not_carry_hazards(monkeypatch):
    prepare, engine_for = layer.prepare, layer.engines.engine_for
    monkeypatch.setattr(layer, "prepare", lambda *args, **options: (prepare(*args, **options)[0], "sciml"))
    monkeypatch.setattr(layer.engines, "engine_for", lambda name, *rest: engine_for("reference", *rest))
    c = {"input_current": torch.tensor(1.5, requires_grad=True)}
    with pytest.raises(ssnn.NoGradientError, match="native solver"):
        layer.expectation(number, one_neuron(), c, t1=1.0, dt=0.05, num_samples=2, engine="reference")


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (None, "callable"),
        (lambda solution: 1.0, "tensor"),
        (lambda solution: torch.tensor(1.0), "shape"),
        (lambda solution: torch.zeros(3), "shape"),
        (lambda solution: solution.spike_times.sum(1), "finite"),
    ],
)
def test_what_an_expectation_cannot_take_it_names(function, word):
    c = {"input_current": torch.tensor(1.5, requires_grad=True)}
    with pytest.raises(ssnn.ValidationError, match=word):
        layer.expectation(function, one_neuron(), c, t1=1.0, dt=0.05, num_samples=4, max_spikes=9, engine="reference")


def test_models_from_formulas(julia):
    """Pathwise and unbiased gradients of what they record by name are those of NumPy's."""
    net, run = formula_network(), dict(t1=1.0, dt=0.01, num_samples=50, seed=1, saveat=0.25, engine="julia")
    tau = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    out = layer.simulate(net, {"tau": tau}, **run)
    (out.states["x"][..., 0].sum() + 2 * out.states["a"].sum()).backward()
    bars = {"x": [1.0, 0.0], "a": 2.0}
    assert float(tau.grad) == pytest.approx(float(ssnn.simulate(net, **run).vjp(states_bar=bars, wrt="tau")["tau"]))
    tau.grad = None
    function = lambda batch: batch.states["a"][:, -1].sum(-1) + batch.spike_counts.sum(-1)  # noqa: E731
    layer.expectation(function, net, {"tau": tau}, order_matters=False, **run).backward()
    _, wanted = ssnn.value_and_grad(LastStateAndCount(), net, "tau", gradient="unbiased", **run)
    assert float(tau.grad) == pytest.approx(float(wanted["tau"]), rel=1e-9)


# --- spikes that come in ----------------------------------------------------------------------------------------------

INPUTS = ssnn.SpikeInput([[0.8, 0.2], [0.3, 0.9]], delays=0.05, target="v")


def second_layer():
    return ssnn.SLIFNetwork(np.zeros((2, 2)), 0.8, mu=(6.0, 5.0), sigma=0.2, inputs=INPUTS)


def test_gradients_go_through_the_times_of_another_network(engine):
    first = ssnn.SLIFNetwork(np.zeros((2, 2)), 1.5, sigma=0.2)
    run = dict(t1=2.0, dt=0.02, num_samples=3, engine=engine)

    def number(c, w):
        hidden = layer.simulate(first, {"input_current": c}, **run, seed=1)
        out = layer.simulate(second_layer(), {"input_weights": w}, input_spikes=hidden, **run, seed=2)
        return torch.where(torch.isfinite(out.spike_times), out.spike_times, 0.0).square().sum()

    c = torch.tensor([1.5, 1.3], dtype=torch.float64, requires_grad=True)
    w = torch.tensor(INPUTS.weights, requires_grad=True)
    assert torch.autograd.gradcheck(number, (c, w), eps=1e-7, atol=1e-4, rtol=1e-5)
    number(c, w).backward()
    assert c.grad.abs().min() > 1e-3


def test_input_times_are_a_parameter(engine):
    trains = ssnn.SpikeTrains([[0.2, 0.7, 0.9]], [[0, 1, 0]], num_neurons=2, t0=0.0, t1=2.0)
    times = torch.tensor(trains.times, requires_grad=True)
    run = dict(input_spikes=trains, t1=2.0, dt=0.02, num_samples=4, engine=engine)
    out = layer.simulate(second_layer(), {"input_times": times}, **run)
    torch.where(torch.isfinite(out.spike_times), out.spike_times, 0.0).sum().backward()
    solution = ssnn.simulate(second_layer(), **run)
    expected = solution.vjp(np.ones(solution.spike_times.shape), "input_times")["input_times"]
    np.testing.assert_allclose(times.grad.numpy(), expected, rtol=1e-12)
    for wrong in ({"input_times": times[:, :2]}, {"input_times": times.flip(1)}):
        with pytest.raises(ssnn.ValidationError, match="times must"):
            layer.simulate(second_layer(), wrong, **run)
    with pytest.raises(ssnn.ValidationError, match="unknown parameter 'input_times'"):
        layer.simulate(one_neuron(), {"input_times": times}, t1=1.0, dt=0.1)


def test_no_unbiased_gradient_of_recorded_states_with_delays():
    network = ssnn.SLIFNetwork([[0.0, 0.5], [0.5, 0.0]], 1.5, mu=(6.0, 5.0), delays=0.1)
    c = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    arguments = dict(t1=1.0, dt=0.1, num_samples=2, engine="reference")
    with pytest.raises(ssnn.NoGradientError, match="with delays"):
        layer.expectation(lambda out: out.v[:, 0].sum(1), network, {"input_current": c}, saveat=[0.5], **arguments)
    layer.expectation(lambda out: out.spike_counts.sum(1), network, {"input_current": c}, **arguments)
