"""Networks and runs that devices must compute to the numbers of the native engine, and the comparison."""

import contextlib

import numpy as np
import pytest
from helpers import one_neuron, random_network, run_arguments

import ssnn_py as ssnn
from ssnn_py import engine as engines
from ssnn_py import models
from ssnn_py.engine import boot, device_arrays, devices

SOLVERS = ("euler_maruyama", "milstein", "stochastic_heun", "shark", "exact_ou")
PAIR = np.array([[0.0, 1.0], [1.0, 0.0]])
CHANNELS, NEURONS, SAMPLES = 3, 3, 2

#: Two events, each its own; a noise that two variables share, and one in proportion to the state.
TWO_EVENTS = ssnn.EventSDE(
    """
    dv/dt = 3*(I - v) + i + 0.3*xi
    di/dt = -4*i + 0.3*xi + 0.2*i*xi_2
    """,
    events=[
        ssnn.Event(hazard="2*exp(2*(v - 1))", then="v -= r", dead_zone=0.05),
        ssnn.Event(hazard="1 + i**2", then="i -= 0.5*i"),
    ],
    synapse="i += w*(1 - 0.2*i)",
    parameters=dict(r=0.8),
    interpretation="stratonovich",
)


def slif(seed=3, neurons=3, samples=2, run=None, **changes):
    """A network with all that may differ between samples and neurons; t1 is no multiple of dt, and `saveat` has times
    at the ends of steps and within them.
    """
    network = random_network(seed, neurons=neurons, samples=samples)
    return network.replace(**changes) if changes else network, run_arguments(seed, neurons, samples) | (run or {})


def sparse():
    scipy = pytest.importorskip("scipy.sparse")
    network, run = slif(neurons=6, run=dict(num_samples=2))
    return ssnn.SLIFNetwork(
        scipy.csr_matrix(network.weights),
        network.parameters["input_current"][:, 0],
        mu=network.parameters["mu"],
        sigma=0.3,
        alpha=network.parameters["alpha"],
    ), run


def many(neurons=300, targets=20):
    """More neurons than a group has lanes, of which many fire in each step, and most are reached by several spikes."""
    scipy = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(8)
    rows = np.repeat(np.arange(neurons), targets)
    columns = np.concatenate([rng.choice(neurons, targets, replace=False) for _ in range(neurons)])
    weights = scipy.csr_array((rng.normal(0.0, 0.1, rows.size), (rows, columns)), (neurons, neurons))
    network = ssnn.SLIFNetwork(weights, rng.uniform(1.2, 1.6, neurons), mu=(6.0, 5.0), sigma=0.3, alpha=0.05)
    return network, dict(t1=0.31, dt=0.02, num_samples=SAMPLES, seed=2, v0=0.9, saveat=[0.1, 0.2, 0.277])


def with_inputs(delays, is_sparse=False, one_train=False, **changes):
    """Arrivals at t0, at the ends of steps, several at once, and one after the end; `delays` are "per synapse", "one"
    or None.
    """
    rng = np.random.default_rng(5)
    weights = np.array([[0.0, 0.4, -0.3], [0.5, 0.0, 0.0], [0.2, 0.3, 0.1]])
    incoming = rng.uniform(0.1, 0.6, (CHANNELS, NEURONS))
    between, coming = rng.uniform(0.0, 0.15, weights.shape), rng.uniform(0.0, 0.1, incoming.shape)
    between[0, 1] = 0.0
    if is_sparse:
        scipy = pytest.importorskip("scipy.sparse")
        weights, incoming = scipy.csr_array(weights), scipy.csr_array(incoming)
    between, coming = {"per synapse": (between, coming), "one": (0.07, 0.05), None: (None, None)}[delays]
    network = ssnn.SLIFNetwork(
        weights,
        input_current=1.2,
        mu=[[7.0, 5.0], [6.0, 4.0], [5.0, 6.0]],
        sigma=0.2,
        intensity=ssnn.ExponentialIntensity(beta=2.0, tau=0.4),
        delays=between,
        inputs=ssnn.SpikeInput(incoming, coming, ["v", "i", "i"]),
    )
    count = 1 if one_train else SAMPLES
    times = [[0.0, 0.02, 0.02, 0.3, *np.sort(rng.uniform(0.31, 0.9, 4)), 1.7] for _ in range(count)]
    trains = ssnn.SpikeTrains(times, rng.integers(0, CHANNELS, (count, 9)), CHANNELS, 0.0, 2.0)
    run = dict(t1=1.01, dt=0.02, num_samples=SAMPLES, seed=3, saveat=[0.0, 0.02, 0.3, 0.613])
    return network, {**run, "input_spikes": trains, **changes}


def formulas(model, t1, dt, solver="stochastic_heun", **arguments):
    network = ssnn.Network(model, **arguments)
    run = dict(t1=t1 + 0.3 * dt, dt=dt, num_samples=SAMPLES, seed=4, saveat=[0.0, 2 * dt, t1 / 2, t1], solver=solver)
    return network, run


def with_parts(**parts):
    run = dict(t1=1.01, dt=0.02, num_samples=SAMPLES, seed=6, saveat=[0.0, 0.4, 0.777], v0=0.4)
    settings = dict(input_current=1.3, sigma=0.2, mu=(8.0, 5.0), alpha=0.05, v_reset=1.2)
    return ssnn.SLIFNetwork(0.3 * PAIR, **{**settings, **parts}), run


#: Noise that grows with the potential, which spikes then leave as it is: else there would be no gradient.
AFFINE = dict(
    diffusion=ssnn.AffineDiffusion(0.5, 0.2),
    v_reset=0.0,
    intensity=ssnn.ExponentialIntensity(beta=1.0, v_th=1.0, tau=0.3),
)


def conductances():
    """Spikes and spikes that are under way, into a variable that each raises less than the one before."""
    like, run = with_inputs("per synapse")
    model = ssnn.EventSDE(
        "dv/dt = (I - v)/0.2 + g*(2 - v) + 0.2*xi\ndg/dt = -g/tau_g",
        events=ssnn.Event(hazard="2*exp(3*(v - 1))", then="v -= 1"),
        synapse="g += w*(1 - 0.2*g)",
        parameters=dict(tau_g=0.15),
    )
    inputs = ssnn.SpikeInput(like.inputs.weights, like.inputs.delays)
    network = ssnn.Network(model, like.weights, input_current=1.1, delays=like.delays, inputs=inputs)
    return network, run | {"solver": "stochastic_heun"}


def frequent():
    """More spikes than arrays have room for at first, several of them in most steps."""
    constant = ssnn.ExponentialIntensity(beta=0.0, tau=0.008)
    return one_neuron(intensity=constant, alpha=0.0), dict(t1=1.0, dt=0.02, num_samples=SAMPLES, seed=1)


#: By name: what makes a network and the arguments of its run.
CASES = {
    **{f"slif, {solver}": (lambda solver=solver: slif(run=dict(solver=solver))) for solver in SOLVERS},
    "one neuron": lambda: slif(4, neurons=1),
    "coefficients that samples share": lambda: (
        random_network(1, 3, per_sample=False, sampled=False, matrix_noise=False),
        run_arguments(1, 3),
    ),
    "later samples of a long seed": lambda: slif(run=dict(seed=2**64 - 5, first_sample=70)),
    "nothing recorded": lambda: slif(run=dict(saveat=None)),
    "cut at max_spikes": lambda: slif(run=dict(max_spikes=4)),
    "max_spikes that nobody reaches": lambda: slif(run=dict(max_spikes=300)),
    "noise on longer steps": lambda: slif(run=dict(noise_dt=0.08)),
    "noise on longer steps, shark": lambda: slif(run=dict(noise_dt=0.08, solver="shark")),
    "noise on longer steps, exact_ou": lambda: slif(run=dict(noise_dt=0.04, solver="exact_ou")),
    "dt that divides t1": lambda: slif(run=dict(t1=1.0, dt=0.025, saveat=0.05)),
    "frequent spikes": frequent,
    "sparse": sparse,
    "many neurons": many,
    "input spikes": lambda: with_inputs(None),
    "input spikes, the same for all samples": lambda: with_inputs(None, one_train=True, solver="milstein"),
    "delays": lambda: with_inputs("per synapse"),
    "delays, exact_ou": lambda: with_inputs("per synapse", solver="exact_ou"),
    "one delay": lambda: with_inputs("one", solver="shark"),
    "delays, cut at max_spikes": lambda: with_inputs("per synapse", max_spikes=6),
    "sparse delays": lambda: with_inputs("per synapse", is_sparse=True, solver="stochastic_heun"),
    "conductances with delays": conductances,
    "a current that is held": lambda: with_parts(
        input_current=ssnn.SampledCurrent([0.0, 0.31, 0.9], [1.0, 2.0, 0.5], "previous")
    ),
    "a current from a formula": lambda: with_parts(
        input_current=ssnn.FormulaCurrent("a + b*sin(2*pi*t)", a=1.5, b=[0.5, 0.25])
    ),
    "an intensity from a formula": lambda: with_parts(
        intensity=ssnn.FormulaIntensity("4*log(1 + exp(b2*(v - v_th)))", b2=5.0, v_th=[0.9, 1.0])
    ),
    "a threshold and a hard reset": lambda: with_parts(
        intensity=ssnn.ThresholdIntensity([0.8, 0.9]), reset="hard", v_reset=0.1, sigma=0.0
    ),
    "noise that depends on the state": lambda: with_parts(**AFFINE),
    "noise that depends on the state, Stratonovich": lambda: with_parts(**AFFINE, interpretation="stratonovich"),
    "neurons that fire at one time": lambda: (
        ssnn.SLIFNetwork(
            0.2 * (1 - np.eye(4)), input_current=1.3, mu=(8.0, 5.0), intensity=ssnn.ThresholdIntensity(0.9)
        ),
        dict(t1=0.5, dt=0.02, num_samples=SAMPLES, max_spikes=10, saveat=0.05),
    ),
    "lif, by escape": lambda: formulas(models.lif(sigma=0.4, rho=0.3), 50.0, 1.0, weights=80 * PAIR, input_current=300),
    "izhikevich, a crossing": lambda: formulas(
        models.izhikevich(sigma=0.3), 12.0, 0.2, weights=4 * PAIR, input_current=[14.0, 12.0]
    ),
    "glif, a crossing of six variables": lambda: formulas(
        models.glif(sigma=10.0), 15.0, 0.3, "shark", weights=50 * PAIR, input_current=[450.0, 400.0]
    ),
    "bouncing ball, a crossing and noise that depends on the state": lambda: formulas(
        models.bouncing_ball(sigma=0.1, k=0.05), 1.0, 0.02, "milstein", n=2, h0=[1.0, 0.7]
    ),
    "jump diffusion, hazards and noise that depends on the state": lambda: formulas(
        models.jump_diffusion(rho=8.0, p=0.5), 1.0, 0.02, "euler_maruyama", n=2, s0=[1.0, 1.2]
    ),
    "a threshold that noise reaches, without gradients": lambda: formulas(
        models.lif(firing="threshold", sigma=1.0), 50.0, 1.0, weights=80 * PAIR, input_current=300
    ),
    "two events": lambda: formulas(TWO_EVENTS, 1.0, 0.02, weights=0.5 * PAIR, input_current=1.2),
}
#: Enough of them to see every part of a kernel: code for each takes seconds to compile. tests/modern has all.
QUICK = (
    "slif, euler_maruyama",
    "cut at max_spikes",
    "slif, exact_ou",
    "sparse delays",
    "conductances with delays",
    "bouncing ball, a crossing and noise that depends on the state",
)
#: Of large networks, whose steps are kernels of their own: every kind of event, ties, and a run that is cut.
LARGE = (
    "slif, euler_maruyama",
    "cut at max_spikes",
    "many neurons",
    "sparse delays",
    "neurons that fire at one time",
)
#: Those without a spike would show little.
LEAST_SPIKES = 4


@contextlib.contextmanager
def all_are_large():
    """Any network is a large one, whose steps are kernels of their own."""
    julia = boot.runtime()
    julia.eval("SSNN.LARGE_FROM[] = 1")
    try:
        yield
    finally:
        julia.eval("SSNN.LARGE_FROM[] = nothing")


#: Those in which single precision is compared. Not among them are cases in which two things happen at one time by
#: intention, spikes or an arrival and the edge of a leaf: their derivatives depend on which comes first, and that on
#: rounding. Nor is the bouncing ball, where h0 and its next float of single precision have gradients that differ by a
#: thousandth.
IN_SINGLE = (
    "slif, exact_ou",
    "slif, shark",
    "cut at max_spikes",
    "noise on longer steps, exact_ou",
    "input spikes, the same for all samples",
    "sparse delays",
    "conductances with delays",
    "izhikevich, a crossing",
)


def tolerances(run, precision):
    """How far spike times may be from those of the native engine, and all else, both relative to the largest of them.

    In single precision rounding errors of steps add up to some spacings of the numbers around t1. Where an event comes,
    a leaf of a step is left or begun, which is 1/32 of the step here: what noise does in a part of it is known as well
    as the part's length, to a spacing, and gradients have the noise of a few of these in them.
    """
    if precision == "float64":
        return 1e-9, 1e-9
    spacing = float(np.spacing(np.float32(run["t1"])))
    return 64 * spacing / run["t1"], 8 * 32 * spacing / run["dt"]


def close(mine, theirs, what, tolerance):
    """To that part of the largest of them."""
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    assert mine.shape == theirs.shape, what
    size = np.max(np.abs(theirs), where=np.isfinite(theirs), initial=1.0)
    np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance * size, err_msg=what)


def assert_agree(name, device, precision="float64"):
    """A case on a device and by the native engine: spikes, recorded states, tangents in three directions, and gradients
    by all parameters; those of hazards, too.
    """
    network, run = CASES[name]()
    native = ssnn.simulate(network, **run)
    there = ssnn.simulate(network, **run, device=device, precision=precision)
    of_times, of_others = tolerances(run, precision)
    assert native.num_spikes.sum() >= LEAST_SPIKES
    for part in ("spike_neurons", "num_spikes", "truncated", "spike_events"):
        np.testing.assert_array_equal(getattr(there, part), getattr(native, part), part)
    close(there.spike_times, native.spike_times, "spike times", of_times)
    for state, values in native.states.items():
        close(there.states[state], values, state, of_others)
    try:
        network.check_gradients()
    except ssnn.NoGradientError:
        return
    rng, parameters = np.random.default_rng(0), native.problem.parameters
    directions = {key: rng.normal(size=(3, *value.shape)) for key, value in parameters.items()}
    neurons = (native.problem.num_samples, network.num_neurons)
    cotangents = engines.Cotangents(
        spike_times=np.where(np.isfinite(native.spike_times), rng.normal(size=native.spike_times.shape), 0.0),
        states={state: rng.normal(size=values.shape) for state, values in native.states.items()},
        entries=rng.normal(size=neurons),
        entries_at_saves=rng.normal(size=native.recorded_shape),
    )
    mine, theirs = (
        (
            engine.solve(solution.problem, directions).tangents,
            engine.pull_back(solution.problem, cotangents, parameters),
        )
        for solution in (there, native)
        for engine in [engines.engine_for("julia", solution.problem)]
    )
    for part in ("spike_times", "s", "s_at_saves"):
        close(getattr(mine[0], part), getattr(theirs[0], part), f"tangents of {part}", of_others)
    for state, values in theirs[0].states.items():
        close(mine[0].states[state], values, f"tangents of {state}", of_others)
    for key, gradient in theirs[1].items():
        close(mine[1][key], gradient, f"gradient by {key}", of_others)


# --- arrays of other libraries ----------------------------------------------------------------------------------------


class FarArrays(device_arrays.ArrayLibrary):
    """NumPy's arrays, as if they were a device's: it notes which addresses it was asked for, and how often to wait."""

    def __init__(self):
        self.addresses, self.waits = [], 0

    def full(self, shape, value):
        return np.full(shape, value)

    def contiguous(self, array):
        return np.array(array, order="C")

    def address(self, array):
        assert array.flags.c_contiguous
        self.addresses.append(array.ctypes.data)
        return array.ctypes.data

    def wait(self):
        self.waits += 1


def assert_stays_there(device, library, max_spikes, precision="float64"):
    """What a device computes into the arrays of a library of its memory, and from these, is what it does in NumPy's."""
    network = random_network(1, neurons=2, samples=4, per_sample=False, sampled=False)
    run = dict(t1=1.0, dt=0.02, num_samples=4, max_spikes=max_spikes, saveat=0.25, device=device)
    solution = ssnn.simulate(network, **run, precision=precision)
    problem, engine = solution.problem, devices.DeviceEngine(device, precision, library)
    raw = engine.solve(problem)
    if max_spikes:  # else spikes were cut to as many columns as there are
        large = (raw.spike_times, raw.spike_neurons, *raw.states.values())
        assert library.addresses == [array.ctypes.data for array in large]
    for name in ("spike_times", "spike_neurons", "num_spikes", "truncated", "last_state"):
        np.testing.assert_array_equal(getattr(raw, name), getattr(solution.raw, name))
    for name, values in raw.states.items():
        np.testing.assert_array_equal(values, solution.states[name])
    times_bar, v_bar = (np.cos(np.arange(array.size)).reshape(array.shape) for array in (raw.spike_times, raw.v))
    bars, wrt = solution.cotangents(times_bar, v_bar), ("mu", "weights")
    there = engine.pull_back(problem, bars, wrt)
    assert (library.waits, len(library.addresses)) == (2, 6)  # of four arrays and two cotangents
    here = engines.engine_for("julia", problem).pull_back(problem, bars, wrt)
    for name in wrt:
        np.testing.assert_array_equal(there[name], here[name])
