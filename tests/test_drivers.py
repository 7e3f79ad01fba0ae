"""Drivers: the laws of their paths, solutions along them, and gradients by their values."""

import copy
import pickle

import numpy as np
import pytest
from conftest import needs_julia
from helpers import by_reference, one_neuron, random_network, run_arguments, scalar, with_parameter

import ssnn_py as ssnn

SOLVERS = ("euler_maruyama", "milstein", "stochastic_heun", "shark", "exact_ou")
KNOTS = np.sort(np.random.default_rng(7).uniform(-0.1, 1.3, 23))


def path(seed, *shape, knots=KNOTS, size=0.2):
    """A rough path of that many samples, neurons and noises, after the axis of knots."""
    rng = np.random.default_rng(seed)
    samples, rest = shape[:1] if len(shape) > 1 else (), shape[1:] if len(shape) > 1 else shape
    steps = rng.normal(0, size, (*samples, knots.size, *rest))
    return ssnn.SampledPath(knots, np.cumsum(steps, axis=len(samples)))


def drivers(neurons):
    return {
        "shared": path(1),
        "per_neuron": path(2, neurons),
        "per_noise": path(3, 3, neurons, 2),
        "fractional": ssnn.FractionalBrownianMotion(0.3),
        "sum": ssnn.BrownianMotion() + path(4, neurons) + ssnn.FractionalBrownianMotion(0.7, 0.5) + path(5, 3, neurons),
        "by_noise": {
            "B1": path(6, 3, neurons),
            "B2": ssnn.FractionalBrownianMotion(0.8) + ssnn.BrownianMotion() + path(1),
        },
    }


def free(driver, neurons=1, **more):
    """Neurons whose potential is the driver's path."""
    quiet = ssnn.ExponentialIntensity(beta=0.0, tau=1e12)
    return ssnn.SLIFNetwork(
        np.zeros((neurons, neurons)), mu=(0.0, 0.0), sigma=1.0, intensity=quiet, driver=driver, **more
    )


# --- both engines, every solver ---------------------------------------------------------------------------------------


def takes(name, solver):
    """Whether a solver takes the driver of that name in `drivers`."""
    return not (name == "by_noise" and solver == "exact_ou")


def check_engines_and_modes(network, arguments):
    """Both engines give the same, and reverse mode is the transpose of forward mode."""
    one = ssnn.simulate(network, engine="julia", **arguments)
    rng = np.random.default_rng(2)
    directions = {name: rng.normal(size=value.shape) for name, value in one.problem.parameters.items()}
    a, (two, b) = one.tangents(directions), by_reference(one, directions)
    assert one.num_spikes.sum() > 3
    assert np.array_equal(one.spike_neurons, two.spike_neurons)
    scale = max(1.0, np.abs(b.v).max(), np.abs(b.spike_times).max())
    for part in ("spike_times", "v", "i"):
        np.testing.assert_allclose(getattr(one, part), getattr(two, part), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(getattr(a, part), getattr(b, part), rtol=1e-9, atol=1e-9 * scale)
    bars = [rng.normal(size=part.shape) for part in (one.spike_times, one.v, one.i)]
    reverse = one.vjp(bars[0], v_bar=bars[1], i_bar=bars[2])
    forward = sum((bar * moved[0]).sum() for bar, moved in zip(bars, (a.spike_times, a.v, a.i), strict=True))
    backward = sum((reverse[name] * directions[name]).sum() for name in directions)
    assert backward == pytest.approx(forward, rel=1e-10, abs=1e-10)


def check_finite_differences(network, arguments):
    """Gradients by what the driver is made of are central differences."""
    solution = ssnn.simulate(network, **arguments)
    rng = np.random.default_rng(3)
    bars = [rng.normal(size=part.shape) for part in (solution.spike_times, solution.v, solution.i)]
    wanted = network.driver.parameters
    assert wanted
    for parameter in wanted:
        value = network.parameters[parameter]
        direction, errors = rng.normal(size=value.shape), []
        if arguments["engine"] == "julia":
            gradient = solution.vjp(bars[0], parameter, v_bar=bars[1], i_bar=bars[2])[parameter]
            assert gradient.shape == value.shape
            moved = (gradient * direction).sum()
        else:  # which has forward mode alone
            tangents = solution.tangents({parameter: direction})
            parts = zip(bars, (tangents.spike_times, tangents.v, tangents.i), strict=True)
            moved = sum((bar * part[0]).sum() for bar, part in parts)
        for step in (1e-6, 1e-7):  # a spike may move from one leaf to the next within the larger one
            up, down = (
                scalar(with_parameter(network, arguments, parameter, value + sign * step * direction), bars)
                for sign in (1, -1)
            )
            errors.append(abs((up - down) / (2 * step) - moved))
        assert min(errors) < 1e-6 * max(1.0, abs(moved))


def pairs(names, shifts=(0, 2)):
    """Each name with so many solvers, and each solver with that many names or more."""
    return [(name, SOLVERS[(n + shift) % 5]) for n, name in enumerate(names) for shift in shifts]


@needs_julia
@pytest.mark.parametrize(("name", "solver"), [*pairs(drivers(1)), ("by_noise", "exact_ou")])
def test_engines_agree_and_modes_are_transposes(name, solver):
    # One neuron takes its steps without events by themselves; noise steps of several steps have nodes.
    neurons, noise_dt = (1, None) if (len(name) + len(solver)) % 2 else (4, 0.08)
    network = random_network(1, neurons=neurons).replace(driver=drivers(neurons)[name])
    arguments = {**run_arguments(1, neurons), "noise_dt": noise_dt, "solver": solver}
    if takes(name, solver):
        check_engines_and_modes(network, arguments)
        return
    with pytest.raises(ssnn.ValidationError, match="only some noises of this network have a BrownianMotion"):
        ssnn.simulate(network, **arguments)


@pytest.mark.parametrize(
    ("name", "solver", "engine"),
    [
        pytest.param("per_noise", "euler_maruyama", "julia", marks=needs_julia),
        pytest.param("per_noise", "shark", "julia", marks=needs_julia),
        ("per_noise", "euler_maruyama", "reference"),
        pytest.param("sum", "milstein", "julia", marks=needs_julia),
        pytest.param("sum", "stochastic_heun", "julia", marks=needs_julia),
        pytest.param("sum", "exact_ou", "julia", marks=needs_julia),
        ("fractional", "stochastic_heun", "reference"),
    ],
)
def test_gradients_by_what_paths_are_made_of_are_finite_differences(name, solver, engine):
    network = random_network(1, neurons=2).replace(driver=drivers(2)[name])
    parameters = {
        "sum": ["driver_values", "hurst", "path_scale", "driver_values_2"],
        "fractional": ["hurst", "path_scale"],
    }
    assert list(network.driver.parameters) == parameters.get(name, ["driver_values"])
    check_finite_differences(network, {**run_arguments(1, 2), "solver": solver, "engine": engine})


def with_noise_that_depends_on_the_state(**more):
    return ssnn.SLIFNetwork(
        [[0.0, 0.3], [0.2, 0.0]],
        input_current=0.9,
        intensity=ssnn.ExponentialIntensity(beta=2.0),
        sigma=[[0.4, 0.1], [0.1, 0.2]],
        v_reset=0.0,
        diffusion=ssnn.AffineDiffusion(0.5, 0.4),
        mu=(6.0, 5.0),
        **more,
    )


@needs_julia
@pytest.mark.parametrize("interpretation", ["ito", "stratonovich"])
@pytest.mark.parametrize("solver", SOLVERS[:3])
def test_noise_that_depends_on_the_state(interpretation, solver):
    network = with_noise_that_depends_on_the_state(interpretation=interpretation, driver=path(1, 3, 2))
    arguments = {**run_arguments(1, 2), "solver": solver}
    one, two = (ssnn.simulate(network, engine=engine, **arguments) for engine in ("julia", "reference"))
    np.testing.assert_allclose(one.v, two.v, rtol=1e-9, atol=1e-9)
    rng = np.random.default_rng(4)
    directions = {name: rng.normal(size=value.shape) for name, value in one.problem.parameters.items()}
    bars = [rng.normal(size=part.shape) for part in (one.spike_times, one.v)]
    moved, reverse = two.tangents(directions), one.vjp(bars[0], v_bar=bars[1])
    forward = (bars[0] * moved.spike_times[0]).sum() + (bars[1] * moved.v[0]).sum()
    assert sum((reverse[name] * directions[name]).sum() for name in directions) == pytest.approx(forward, rel=1e-9)
    # Along a path of bounded variation the two senses are one.
    other = ssnn.SLIFNetwork(
        network.weights,
        interpretation="stratonovich" if interpretation == "ito" else "ito",
        diffusion=network.diffusion,
        intensity=network.intensity,
        driver=network.driver,
        **{name: network.parameters[name] for name in ("input_current", "mu", "sigma", "v_reset", "alpha")},
    )
    assert np.array_equal(ssnn.simulate(other, **arguments).v, one.v)


FORMULAS = """
dv/dt = (I - v)/tau_m + a
da/dt = -a/tau_a + sigma*xi
"""


@pytest.mark.parametrize("solver", ["euler_maruyama", "shark"])
def test_models_from_formulas(solver, engine):
    """A threshold, which the noise of another variable drives."""
    model = ssnn.EventSDE(
        FORMULAS, ssnn.Event(crossing="v - 1", then="v -= 1"), parameters=dict(tau_m=0.1, tau_a=0.2, sigma=2.0)
    )
    network = ssnn.Network(model, n=2, input_current=1.3, driver={"xi": path(1, 3, 2)})
    arguments = dict(t1=1.0953, dt=0.02, num_samples=3, saveat=[0.333, 1.0], solver=solver, engine=engine)
    solution = ssnn.simulate(network, **arguments)
    assert solution.num_spikes.sum() > 10
    bar = np.random.default_rng(5).normal(size=solution.spike_times.shape)
    direction = np.random.default_rng(6).normal(size=network.parameters["driver_values"].shape)
    moved = (bar * solution.jvp({"driver_values": direction})).sum()
    if engine == "julia":
        gradient = solution.vjp(bar, "driver_values")["driver_values"]
        assert (gradient * direction).sum() == pytest.approx(moved, rel=1e-10)
    errors = []
    for step in (1e-6, 1e-7):
        up, down = (
            ssnn.simulate(
                network.replace(driver_values=direction * h + network.parameters["driver_values"]), **arguments
            )
            for h in (step, -step)
        )
        times = [np.where(np.isfinite(run.spike_times), run.spike_times, 0.0) for run in (up, down)]
        errors.append(abs((bar * (times[0] - times[1])).sum() / (2 * step) - moved))
    assert min(errors) < 1e-6 * abs(moved)


def test_noise_from_formulas_that_depends_on_the_state_has_no_correction_along_a_path(engine):
    """dv = v dX is v0·exp(X(t) − X(0)), in whichever sense."""
    knots = np.linspace(0.0, 1.0, 5)
    driver = ssnn.SampledPath(knots, [0.0, 0.3, -0.2, 0.1, 0.5])
    for sense in ("ito", "stratonovich"):
        model = ssnn.EventSDE("dv/dt = v*xi", (), initial=dict(v=2.0), interpretation=sense)
        network = ssnn.Network(model, driver=driver)
        for solver, error in (("euler_maruyama", 1e-2), ("milstein", 1e-4), ("stochastic_heun", 1e-4)):
            v = ssnn.simulate(network, 1.0, 2**-8, solver=solver, engine=engine, saveat=knots).states["v"][0, :, 0]
            np.testing.assert_allclose(v, 2 * np.exp(driver.parameters["driver_values"]), rtol=error)


# --- sampled paths ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_sampled_path_is_met_exactly_whatever_the_step(solver, engine):
    driver = path(1, 3, 2)
    network, times = free(driver, 2), np.array([0.0, 0.02, 0.333, 0.7, 1.0953])
    for dt in (0.02, 0.15, 2.0):
        v = ssnn.simulate(network, 1.0953, dt, num_samples=3, saveat=times, solver=solver, engine=engine).v
        for s in range(3):
            for k in range(2):
                x = np.interp(times, KNOTS, driver.parameters["driver_values"][s, :, k])
                at = np.arange(times.size)
                if solver == "euler_maruyama":  # linear within its steps
                    at = at[[0, -1]] if dt != 0.02 else at[[0, 1, 3, 4]]
                elif (solver == "exact_ou" and dt > 0.02) or solver in ("milstein", "stochastic_heun", "shark"):
                    at = at[[0, -1]] if dt != 0.02 else at[[0, 1, 3, 4]]  # inside steps up to their leaves
                np.testing.assert_allclose(v[s, at, k], x[at] - x[0], atol=1e-12)


def test_a_linear_neuron_along_a_path_has_its_closed_form(engine):
    """Where the path is linear within steps, exact_ou makes no error at all."""
    mu, sigma, knots = 3.0, 0.7, np.arange(9) * 0.25
    driver = path(1, knots=knots)
    network = one_neuron(mu=(mu, 0.0), sigma=sigma, input_current=1.0, driver=driver,
                         intensity=ssnn.ExponentialIntensity(beta=0.0, tau=1e12))  # fmt: skip
    v = ssnn.simulate(network, 2.0, 0.125, solver="exact_ou", saveat=knots, engine=engine).v[0, :, 0]
    exact, slopes = [0.0], np.diff(driver.parameters["driver_values"]) / 0.25
    for slope in slopes:
        rest = 1.0 + sigma * slope / mu
        exact.append(rest + (exact[-1] - rest) * np.exp(-mu * 0.25))
    np.testing.assert_allclose(v, exact, atol=1e-12)


def test_knots_beyond_the_interval_and_steps_beyond_the_knots(engine):
    driver = ssnn.SampledPath([-5.0, 0.25, 0.3, 9.0], [7.0, 1.0, 2.0, -4.0])
    few = ssnn.SampledPath([0.4, 0.6], [1.0, 3.0])
    v = ssnn.simulate(free(driver), 1.0, 0.1, saveat=[1.0], engine=engine).v
    x = np.interp([0.0, 1.0], driver.ts, driver.parameters["driver_values"])
    np.testing.assert_allclose(v[0, 0, 0], x[1] - x[0], atol=1e-13)
    v = ssnn.simulate(free(few), 1.0, 0.1, saveat=[0.4, 0.5, 0.7, 1.0], engine=engine).v
    np.testing.assert_allclose(v[0, :, 0], [0.0, 1.0, 2.0, 2.0], atol=1e-13)


def test_a_sum_with_brownian_motion_is_the_sum_of_the_paths(engine):
    driver, run = path(1, 2), dict(t1=1.0, dt=0.01, num_samples=3, seed=4, saveat=[0.25, 1.0], engine=engine)
    both, one, two = (
        ssnn.simulate(free(part, 2), **run).v
        for part in (driver + ssnn.BrownianMotion(), driver, ssnn.BrownianMotion())
    )
    np.testing.assert_allclose(both, one + two, atol=1e-12)


# --- fractional Brownian motion ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("hurst", [0.1, 0.3, 0.7, 0.9])
def test_covariance_of_fractional_increments(hurst):
    """10⁵ paths of 6 steps of length 1/4, the entries of their covariance within 4 standard errors."""
    samples, steps, d = 100_000, 6, 0.25
    network = free(ssnn.FractionalBrownianMotion(hurst, scale=1.5))
    saved = np.arange(steps + 1) * d
    x = ssnn.simulate(network, steps * d, d, num_samples=samples, saveat=saved, seed=1).v[:, :, 0]
    increments = np.diff(x, axis=1)
    lags = np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))
    exact = 0.5 * (1.5 * d**hurst) ** 2 * ((lags + 1.0) ** (2 * hurst) + np.abs(lags - 1.0) ** (2 * hurst))
    exact -= (1.5 * d**hurst) ** 2 * lags ** (2.0 * hurst)
    found = increments.T @ increments / samples
    variance = exact[0, 0]
    error = np.sqrt((variance**2 + exact**2) / samples)
    assert np.all(np.abs(found - exact) < 4 * error)
    assert np.all(np.abs(increments.mean(axis=0)) < 4 * np.sqrt(variance / samples))


def test_long_fractional_paths_have_the_variance_of_their_law():
    times = np.array([1.0, 10.0, 40.0])
    for hurst in (0.2, 0.8):
        run = dict(t1=40.0, dt=0.125, num_samples=4000, seed=3)
        x = ssnn.simulate(free(ssnn.FractionalBrownianMotion(hurst)), saveat=times, **run).v[:, :, 0]
        exact = times ** (2 * hurst)
        assert np.all(np.abs((x**2).mean(axis=0) / exact - 1) < 4 * np.sqrt(2 / 4000))


@pytest.mark.parametrize("hurst", [0.2, 0.5, 0.8])
def test_the_mean_gradient_by_the_hurst_exponent_is_that_of_the_variance(hurst, engine):
    """Var X(t) = s²·t^2H, so that its derivatives are 2·ln t·s²·t^2H and 2·s·t^2H."""
    times, scale, samples = np.array([0.05, 0.5, 1.7]), 1.5, 4000
    network = free(ssnn.FractionalBrownianMotion(hurst, scale))
    run = dict(t1=1.7, dt=0.05, num_samples=samples, saveat=times, seed=4, engine=engine)
    solution = ssnn.simulate(network, **run)
    variance = scale**2 * times ** (2 * hurst)
    for name, exact in (("hurst", 2 * np.log(times) * variance), ("path_scale", 2 * variance / scale)):
        found = 2 * solution.v[..., 0] * solution.tangents({name: 1.0}).v[0, ..., 0]
        error = found.std(axis=0) / np.sqrt(samples)
        assert np.all(np.abs(found.mean(axis=0) - exact) < 4 * error)


def test_the_hurst_exponent_of_paths_is_learned():
    """From the mean square of potentials at one time, by which H is known where its scale is."""
    network, run = free(ssnn.FractionalBrownianMotion(0.4)), dict(t1=0.2, dt=0.02, num_samples=500, saveat=[0.2])

    def loss(solution):
        excess = (solution.v**2).mean() - 0.2 ** (2 * 0.7)
        return excess**2, None, 4 * excess * solution.v / solution.v.size

    for _ in range(30):
        _, gradients = ssnn.value_and_grad(loss, network, "hurst", seed=1, gradient="pathwise", **run)
        network = network.replace(hurst=network.parameters["hurst"] - gradients["hurst"])
    assert network.driver.hurst == pytest.approx(0.7, abs=0.06)


def test_neurons_noises_samples_and_terms_are_independent():
    fractional = ssnn.FractionalBrownianMotion(0.8)
    quiet = ssnn.ExponentialIntensity(beta=0.0, tau=1e12)
    network = ssnn.SLIFNetwork(
        np.zeros((2, 2)), mu=(0.0, 0.0), sigma=np.eye(2), intensity=quiet, driver=fractional + fractional
    )
    solution = ssnn.simulate(network, 1.0, 0.25, num_samples=20_000, saveat=[1.0], seed=5)
    x = np.stack([solution.v[:, 0, 0], solution.v[:, 0, 1], solution.i[:, 0, 0], solution.i[:, 0, 1]])
    # v moves with i where μ1 ≠ 0 only. Two terms that are one path would have twice the variance of independent ones.
    assert np.all(np.abs(np.cov(x) - 2 * np.eye(4)) < 4 * 2 * np.sqrt(2 / 20_000))


def test_one_path_whatever_the_step_threads_batches_and_engines():
    network = free(ssnn.FractionalBrownianMotion(0.4) + ssnn.FractionalBrownianMotion(0.7), 3)
    saved = np.arange(17) * 0.125
    run = dict(t1=2.0, num_samples=6, seed=8, saveat=saved, noise_dt=0.125)
    coarse = ssnn.simulate(network, dt=0.125, **run).v
    for dt in (0.125 / 4, 0.125 / 32):
        np.testing.assert_allclose(ssnn.simulate(network, dt=dt, **run).v, coarse, atol=1e-12)
    np.testing.assert_allclose(ssnn.simulate(network, dt=0.125, engine="reference", **run).v, coarse, atol=1e-12)
    assert np.array_equal(ssnn.simulate(network, dt=0.125, threads=1, **run).v, coarse)
    parts = [ssnn.simulate(network, dt=0.125, **{**run, "num_samples": 2}, first_sample=first).v for first in (0, 2, 4)]
    assert np.array_equal(np.concatenate(parts), coarse)
    assert not np.array_equal(ssnn.simulate(network, dt=0.125, **{**run, "seed": 9}).v, coarse)


def test_an_ornstein_uhlenbeck_neuron_with_h_one_half_is_the_brownian_one():
    """Its stationary law by the Fokker–Planck equation: normal with mean I and variance σ²/(2μ); and its spikes."""
    mu, sigma, samples, t1 = 4.0, 0.6, 10_000, 2.0
    run = dict(t1=t1, dt=0.02, num_samples=samples, solver="exact_ou", saveat=[t1], v0=1.2)
    quiet = one_neuron(mu=(mu, 0.0), sigma=sigma, input_current=1.2, driver=ssnn.FractionalBrownianMotion(0.5),
                       intensity=ssnn.ExponentialIntensity(beta=0.0, tau=1e12))  # fmt: skip
    v = ssnn.simulate(quiet, seed=1, **run).v[:, 0, 0]
    exact = sigma**2 / (2 * mu)
    assert abs(v.mean() - 1.2) < 4 * np.sqrt(exact / samples)
    assert abs(v.var() / exact - 1) < 4 * np.sqrt(2 / samples) + (mu * 0.02) ** 2
    firing = one_neuron(mu=(mu, 0.0), sigma=sigma, input_current=1.2)
    one, two = (
        ssnn.simulate(firing.replace(driver=driver), seed=seed, **{**run, "dt": 0.01}).num_spikes
        for seed, driver in ((2, ssnn.FractionalBrownianMotion(0.5)), (3, ssnn.BrownianMotion()))
    )
    assert abs(one.mean() - two.mean()) < 4 * np.sqrt((one.var() + two.var()) / samples)


# --- jumps ------------------------------------------------------------------------------------------------------------


JUMP_KNOTS = np.array([-0.1, 0.1, 0.1, 0.35, 0.5, 0.5, 0.77, 1.0, 1.2])  # 0.1 and 0.5 are edges of steps, twice


def jumping(neurons):
    rng = np.random.default_rng(10)
    given = ssnn.GivenJumps(rng.uniform(0, 1.2, (3, neurons, 5)), rng.normal(0, 0.3, (3, neurons, 5)))
    values = np.cumsum(rng.normal(0, 0.3, (3, JUMP_KNOTS.size, neurons, 2)), axis=1)
    held = ssnn.SampledPath(np.linspace(0, 1, 7), rng.normal(0, 0.3, (7, neurons)), "previous")
    poisson = ssnn.JumpProcess(5.0, ssnn.NormalJumps(0.0, 0.3)) + ssnn.JumpProcess(3.0, ssnn.ExponentialJumps(0.1))
    return {
        "given": given,
        "shared": ssnn.GivenJumps([0.02, 0.3, 0.3 + 1e-12, 0.48, 1.0953], [0.3, -0.2, 0.1, 0.2, 0.1]) + held,
        "cadlag": ssnn.SampledPath(JUMP_KNOTS, values) + ssnn.FractionalBrownianMotion(0.7),
        "poisson": ssnn.BrownianMotion() + poisson,
        "by_noise": {"B1": ssnn.JumpProcess(np.full(neurons, 5.0), 0.2), "B2": given},
        "edges": ssnn.GivenJumps([0.04, 0.3 - 1e-12, 0.5 + 1e-12], [0.3, -0.2, 0.2]),
    }


@needs_julia
@pytest.mark.parametrize(("name", "solver"), [*pairs(jumping(1), shifts=(0,)), ("edges", "shark")])
def test_with_jumps_engines_agree_and_modes_are_transposes(name, solver):
    neurons, noise_dt = (1, None) if (len(name) + len(solver)) % 2 else (3, 0.08)
    network = random_network(1, neurons=neurons).replace(driver=jumping(neurons)[name])
    check_engines_and_modes(network, {**run_arguments(1, neurons), "noise_dt": noise_dt, "solver": solver})


@needs_julia
@pytest.mark.parametrize("solver", SOLVERS[:3])
@pytest.mark.parametrize("on_a_path", [True, False])
def test_jumps_of_noise_that_depends_on_the_state(solver, on_a_path):
    rng = np.random.default_rng(11)
    given = ssnn.GivenJumps(rng.uniform(0, 1, (3, 2, 5)), rng.normal(0, 0.5, (3, 2, 5)))
    driver = {"B1": given, "B2": path(1, 2)} if on_a_path else ssnn.BrownianMotion() + given
    network = with_noise_that_depends_on_the_state(driver=driver)
    check_engines_and_modes(network, {**run_arguments(1, 2), "solver": solver})


@pytest.mark.parametrize(
    ("name", "solver", "engine"),
    [
        pytest.param("given", "exact_ou", "julia", marks=needs_julia),
        pytest.param("cadlag", "shark", "julia", marks=needs_julia),
        pytest.param("by_noise", "euler_maruyama", "julia", marks=needs_julia),
        pytest.param("poisson", "exact_ou", "julia", marks=needs_julia),
        ("by_noise", "euler_maruyama", "reference"),
    ],
)
def test_gradients_by_sizes_times_rates_and_laws_of_jumps_are_finite_differences(name, solver, engine):
    network = random_network(1, neurons=2).replace(driver=jumping(2)[name])
    # Where a jump passes a recorded time there is no derivative.
    arguments = {**run_arguments(1, 2), "saveat": [0.0, 0.333, 1.0, 1.0953], "solver": solver, "engine": engine}
    check_finite_differences(network, arguments)


def test_a_gradient_by_the_time_of_a_jump_has_its_closed_form(engine):
    """A linear neuron remembers a jump as e^(−μ(t − T)); those of a Poisson process move by −T/ρ with its rate."""
    mu, sigma, jump, time, change = 3.0, 0.7, 0.4, 0.333, 1e-6
    quiet = ssnn.ExponentialIntensity(beta=0.0, tau=1e12)
    given = ssnn.GivenJumps([time, np.inf], [jump, 1.0])
    network = one_neuron(mu=(mu, 0.0), sigma=sigma, driver=given, intensity=quiet)
    run = dict(t1=1.0, dt=0.01, solver="exact_ou", saveat=[1.0], seed=1, engine=engine)
    found = ssnn.simulate(network, **run).tangents({"jump_times": [1.0, 0.0]}).v[0, 0, 0, 0]
    assert found == pytest.approx(mu * sigma * jump * np.exp(-mu * (1.0 - time)), rel=1e-4)
    poisson = network.replace(driver=ssnn.JumpProcess(4.0, jump))
    up, down = (ssnn.simulate(poisson.replace(jump_rate=4.0 + sign * change), **run).v[0, 0, 0] for sign in (1, -1))
    moved = ssnn.simulate(poisson, **run).tangents({"jump_rate": 1.0}).v[0, 0, 0, 0]
    assert moved == pytest.approx((up - down) / (2 * change), rel=1e-7)
    assert moved < 0.0


def test_there_is_no_gradient_by_the_time_of_a_jump_at_which_another_one_comes(engine):
    driver = ssnn.GivenJumps([0.3, 0.5], [0.2, 0.1]) + ssnn.GivenJumps([0.5], 0.3)
    network, run = one_neuron(driver=driver), dict(t1=1.0, dt=0.1, engine=engine, saveat=[1.0])
    solution = ssnn.simulate(network, **run)
    for name in ("jump_times", "jump_times_2"):
        with pytest.raises(
            ssnn.NoGradientError, match=f"no gradient in '{name}': neuron 0 jumps more than once at t = 0.5"
        ):
            solution.tangents({name: 1.0})
    gradients = solution.vjp(v_bar=1.0)
    assert "jump_sizes_2" in gradients
    assert not {"jump_times", "jump_times_2"} & set(gradients)
    # One jump of both noises of a neuron is moved by one number.
    both = ssnn.simulate(network.replace(driver=ssnn.GivenJumps([0.3, 0.5], 0.2), sigma=np.eye(2)), **run)
    assert np.any(both.vjp(v_bar=1.0)["jump_times"] != 0.0)


def test_there_is_no_gradient_by_the_time_of_a_jump_beside_a_rough_path_that_does_not_commute():
    model = ssnn.EventSDE(
        "dv/dt = -v + a*xi\nda/dt = -a + (1 + v)*xi_1",
        ssnn.Event(hazard="exp(v)", then=""),
        interpretation="stratonovich",
    )
    network = ssnn.Network(model, driver=ssnn.BrownianMotion() + ssnn.GivenJumps([0.3], [0.5]))
    solution = ssnn.simulate(network, 1.0, 0.1, solver="stochastic_heun", engine="reference")
    with pytest.raises(ssnn.NoGradientError, match="the noises of this model do not commute"):
        solution.jvp({"jump_times": 1.0})


def test_a_jump_too_large_for_its_flow_is_refused(engine):
    model = ssnn.EventSDE("dy/dt = y*xi", (), initial=dict(y=1.5), interpretation="stratonovich")
    network = ssnn.Network(model, driver=ssnn.GivenJumps([0.25], [-20.0]))
    with pytest.raises(ssnn.SSNNError, match="not resolved: give smaller jumps"):
        ssnn.simulate(network, 1.0, 0.1, solver="stochastic_heun", engine=engine)


@pytest.mark.parametrize("size", [1e-3, 0.5, 1.0, -2.0, 4.0])
def test_a_scalar_marcus_jump_is_exact(size, engine):
    """With g(y) = y the state is multiplied by exp(ΔX), and its gradient is that."""
    model = ssnn.EventSDE("dy/dt = y*xi", (), initial=dict(y=1.5), interpretation="stratonovich")
    network = ssnn.Network(model, driver=ssnn.GivenJumps([0.25], [size]))
    for solver in ("euler_maruyama", "milstein", "stochastic_heun"):
        solution = ssnn.simulate(network, 1.0, 0.1, solver=solver, engine=engine, saveat=[0.2499, 0.25, 1.0])
        y = solution.states["y"][0, :, 0]
        np.testing.assert_allclose(y, 1.5 * np.exp([0.0, size, size]), rtol=1e-12)
        gradient = solution.vjp(wrt=("jump_sizes", "y0"), states_bar={"y": [[[0.0], [0.0], [1.0]]]})
        np.testing.assert_allclose(gradient["jump_sizes"], y[2:], rtol=1e-11)
        np.testing.assert_allclose(gradient["y0"], np.exp(size), rtol=1e-11)


def test_simultaneous_jumps_of_noises_that_do_not_commute_are_one_flow(engine):
    """That of a linear equation is a matrix exponential."""
    model = ssnn.EventSDE(
        "dx/dt = -y*xi + 0.3*x*xi_1\ndy/dt = x*xi + xi_1", (), initial=dict(x=1.0, y=0.2), interpretation="stratonovich"
    )
    first, second = 1.2, -0.7
    driver = {"xi": ssnn.GivenJumps([0.5], [first]), "xi_1": ssnn.GivenJumps([0.5], [second])}
    states = ssnn.simulate(
        ssnn.Network(model, driver=driver), 1.0, 0.1, solver="stochastic_heun", engine=engine, saveat=[1.0]
    ).states
    matrix = np.array([[0.3 * second, -first, 0.0], [first, 0.0, second], [0.0, 0.0, 0.0]])
    power = exponential = np.eye(3)
    for n in range(1, 40):
        power = power @ matrix / n
        exponential = exponential + power
    x, y, _ = exponential @ [1.0, 0.2, 1.0]
    np.testing.assert_allclose([states["x"][0, 0, 0], states["y"][0, 0, 0]], [x, y], rtol=1e-12)


def test_a_path_with_jumps_is_met_exactly(engine):
    """The values that are recorded are those from the right, at edges of steps and within them."""
    xs = np.random.default_rng(12).normal(size=(3, JUMP_KNOTS.size, 2))
    driver, times = ssnn.SampledPath(JUMP_KNOTS, xs), np.array([0.05, 0.1, 0.11, 0.3, 0.5, 0.55, 1.0])
    right = np.searchsorted(JUMP_KNOTS, times, side="right")
    weight = (times - JUMP_KNOTS[right - 1]) / (JUMP_KNOTS[right] - JUMP_KNOTS[right - 1])
    for dt in (0.05, 0.04, 0.7):
        run = dict(num_samples=3, saveat=times, engine=engine, solver="exact_ou")
        v = ssnn.simulate(free(driver, 2), 1.0, dt, **run).v
        x = xs[:, right - 1] * (1 - weight)[:, None] + xs[:, right] * weight[:, None]
        start = 0.5 * (xs[:, 0] + xs[:, 1])
        exact = np.array([0.1, 0.5, 1.0])  # where the path is between knots, steps may see its mean alone
        at = slice(None) if dt == 0.05 else [-1] if dt == 0.7 else np.isin(times, exact[2:])
        np.testing.assert_allclose(v[:, at], (x - start[:, None])[:, at], atol=1e-12)


def test_a_held_path_is_constant_between_its_jumps(engine):
    driver = ssnn.SampledPath([0.1, 0.3, 0.55, 2.0], [5.0, 1.0, 2.0, 9.0], "previous")
    v = ssnn.simulate(free(driver), 1.0, 0.1, saveat=[0.0, 0.2, 0.3, 0.5, 0.55, 1.0], engine=engine).v[0, :, 0]
    np.testing.assert_allclose(v, [0.0, 0.0, -4.0, -4.0, -3.0, -3.0], atol=1e-13)


def test_jumps_at_the_ends_of_the_interval(engine):
    """One at t0 is over, one at t1 counts."""
    driver = ssnn.GivenJumps([0.0, 1.0, np.inf, 1.0 + 1e-9], [1.0, 2.0, 4.0, 8.0])
    v = ssnn.simulate(free(driver), 1.0, 0.3, saveat=[0.0, 0.999, 1.0], engine=engine).v[0, :, 0]
    np.testing.assert_allclose(v, [0.0, 0.0, 2.0], atol=1e-13)


def test_a_jump_over_a_threshold_is_a_spike_at_its_time(engine):
    model = ssnn.EventSDE("dv/dt = -v + xi", ssnn.Event(crossing="v - 1", then="v -= 1"))
    network = ssnn.Network(model, driver=ssnn.GivenJumps([0.333], [1.7]))
    solution = ssnn.simulate(network, 1.0, 0.1, engine=engine, saveat=[0.333])
    assert solution.spike_times.tolist() == [[0.333]]
    np.testing.assert_allclose(solution.states["v"][0, 0, 0], 0.7, atol=1e-12)


@pytest.mark.parametrize(
    ("law", "mean", "second"),
    [
        (ssnn.NormalJumps(0.3, 0.4), 0.3, 0.09 + 0.16),
        (ssnn.ExponentialJumps(-0.5), -0.5, 2 * 0.25),
        (0.6, 0.6, 0.36),
        (lambda u: np.where(u < 0.25, -1.0, 0.5), 0.125, 0.25 + 0.75 * 0.25),
    ],
)
def test_a_linear_neuron_driven_by_a_compound_poisson_process_has_its_closed_form(law, mean, second):
    """Campbell: mean σρE[Z](1 − e^(−μt))/μ and variance σ²ρE[Z²](1 − e^(−2μt))/(2μ)."""
    mu, sigma, rates, samples = 3.0, 0.8, np.array([4.0, 12.0]), 10_000
    times = np.array([0.3, 1.0])
    network = ssnn.SLIFNetwork(
        np.zeros((2, 2)),
        mu=(mu, 0.0),
        sigma=sigma,
        intensity=ssnn.ExponentialIntensity(beta=0.0, tau=1e12),
        driver=ssnn.JumpProcess(rates, law),
    )
    v = ssnn.simulate(network, 1.0, 0.25, num_samples=samples, solver="exact_ou", saveat=times, seed=3).v
    exact_mean = sigma * mean * rates * (1 - np.exp(-mu * times[:, None])) / mu
    exact_variance = sigma**2 * second * rates * (1 - np.exp(-2 * mu * times[:, None])) / (2 * mu)
    error = v.std(axis=0) / np.sqrt(samples)
    assert np.all(np.abs(v.mean(axis=0) - exact_mean) < 4 * error)
    of_variance = ((v - v.mean(axis=0)) ** 2).std(axis=0) / np.sqrt(samples)
    assert np.all(np.abs(v.var(axis=0) - exact_variance) < 4 * of_variance)
    assert abs(np.corrcoef(v[:, 1].T)[0, 1]) < 4 / np.sqrt(samples)


def test_jumps_are_those_of_the_seed_whatever_step_interval_threads_batch_and_engine():
    network, saved = free(ssnn.JumpProcess(8.0, ssnn.NormalJumps()), 3), np.arange(9) * 0.25
    run = dict(num_samples=6, seed=8, saveat=saved)
    whole = ssnn.simulate(network, 2.0, 0.1, **run).v
    for other in (
        ssnn.simulate(network, 2.0, 0.0125, **run),
        ssnn.simulate(network, 2.5, 0.1, **run),
        ssnn.simulate(network, 2.0, 0.1, engine="reference", **run),
    ):
        np.testing.assert_allclose(other.v, whole, atol=1e-12)
    assert np.array_equal(ssnn.simulate(network, 2.0, 0.1, threads=1, **run).v, whole)
    parts = [ssnn.simulate(network, 2.0, 0.1, **{**run, "num_samples": 3}, first_sample=first).v for first in (0, 3)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_segments_of_reverse_mode_do_not_change_gradients_along_paths_with_jumps(julia):
    """Long solves are recorded in segments: each begins with the jump that comes next."""
    network = random_network(1, neurons=2).replace(driver=jumping(2)["cadlag"])
    solution = ssnn.simulate(network, **{**run_arguments(1, 2), "dt": 0.005}, solver="shark", engine="julia")
    bar = np.ones(solution.spike_times.shape)
    whole = solution.vjp(bar)
    julia.eval("SSNN.SEGMENT_BYTES[] = 1")
    try:
        cut = solution.vjp(bar)
    finally:
        julia.eval("SSNN.SEGMENT_BYTES[] = 32 * 2^20")
    for name, gradient in whole.items():
        np.testing.assert_allclose(cut[name], gradient, rtol=1e-12, atol=1e-12, err_msg=name)


# --- gradients of expectations ----------------------------------------------------------------------------------------


def test_unbiased_gradients_hold_along_a_path():
    """The mean number of spikes by the values of a path added to Brownian motion, against finite differences."""
    knots, samples = np.array([0.0, 0.3, 0.6]), 20_000
    driver = ssnn.BrownianMotion() + ssnn.SampledPath(knots, [0.0, 0.5, 0.3])
    network = one_neuron(driver=driver)
    run = dict(t1=0.6, dt=0.01, num_samples=samples)
    loss = ssnn.SampleMean(lambda trains: (trains.num_spikes, None), order_matters=False)
    found = ssnn.value_and_grad(loss, network, "driver_values", seed=1, gradient="unbiased", **run)
    gradient = found[1]["driver_values"]
    direction, h = np.array([0.0, 1.0, 0.5]), 0.05
    up, down = (
        ssnn.simulate(network.replace(driver_values=[0.0, 0.5, 0.3] + sign * h * direction), seed=2, **run).num_spikes
        for sign in (1, -1)
    )
    change = (up - down) / (2 * h)
    error = change.std() / np.sqrt(samples)
    assert gradient.sum() == pytest.approx(0.0, abs=1e-10)  # only increments matter
    assert abs((gradient * direction).sum() - change.mean()) < 5 * error


def test_unbiased_gradients_hold_by_the_rate_and_the_times_of_jumps():
    """The mean number of spikes by the rate of jumps, and by the time of a given one, against finite differences."""
    samples, h = 20_000, 0.05
    run = dict(t1=0.6, dt=0.02, num_samples=samples, solver="exact_ou")
    driver = ssnn.BrownianMotion() + ssnn.JumpProcess(3.0, 1.0) + ssnn.GivenJumps([0.2], [1.5])
    network = one_neuron(driver=driver)
    loss = ssnn.SampleMean(lambda trains: (trains.num_spikes, None), order_matters=False)
    names = ("jump_rate", "jump_times")
    _, gradients = ssnn.value_and_grad(loss, network, names, seed=1, gradient="unbiased", **run)
    for name, step in (("jump_rate", 10 * h), ("jump_times", h)):
        value = network.parameters[name]
        up, down = (
            ssnn.simulate(network.replace(**{name: value + sign * step}), seed=2, **run).num_spikes for sign in (1, -1)
        )
        change = (up - down) / (2 * step)
        assert abs(gradients[name].sum() - change.mean()) < 5 * change.std() / np.sqrt(samples)
        assert abs(change.mean()) > 5 * change.std() / np.sqrt(samples)


def test_a_record_has_no_unbiased_gradient_by_the_rate_of_jumps():
    def final_potential(solution):
        v = solution.v
        return v.mean(), None, np.full(v.shape, 1 / v.size), None, np.zeros((4, 1)), np.zeros(v.shape)

    network = one_neuron(driver=ssnn.JumpProcess(3.0, 1.0))
    run = dict(t1=0.6, dt=0.02, num_samples=4, saveat=[0.6], engine="reference", gradient="unbiased")
    with pytest.raises(ssnn.NoGradientError, match="a jump that moves past a recorded time"):
        ssnn.value_and_grad(final_potential, network, "jump_rate", **run)


# --- what is refused --------------------------------------------------------------------------------------------------


def multiplicative(driver, interpretation="stratonovich"):
    return one_neuron(
        driver=driver, v_reset=0.0, diffusion=ssnn.AffineDiffusion(0.5, 0.4), interpretation=interpretation
    )


@pytest.mark.parametrize(
    ("network", "solver", "why"),
    [
        (multiplicative(ssnn.FractionalBrownianMotion(0.7), "ito"), "milstein", "Itô's integral is not defined"),
        (multiplicative(ssnn.FractionalBrownianMotion(0.3)), "milstein", "iterated integrals of third order"),
        (multiplicative(ssnn.FractionalBrownianMotion(0.4)), "euler_maruyama", "does not converge"),
        (multiplicative(ssnn.FractionalBrownianMotion(0.7)), "shark", "additive noise only"),
        (
            multiplicative({"B1": path(1)}, "ito").replace(sigma=np.eye(2)),
            "milstein",
            "correction between Itô's and Stratonovich's",
        ),
    ],
)
def test_combinations_without_meaning_are_refused(network, solver, why):
    with pytest.raises(ssnn.ValidationError, match=why):
        ssnn.simulate(network, 1.0, 0.1, solver=solver, engine="reference")


def test_noises_that_do_not_commute_and_a_rough_driver_are_refused():
    model = ssnn.EventSDE(
        "dv/dt = -v + a*xi\nda/dt = -a + (1 + v)*xi_1",
        ssnn.Event(hazard="exp(v)", then=""),
        interpretation="stratonovich",
    )
    network = ssnn.Network(model, driver=ssnn.FractionalBrownianMotion(0.4))
    with pytest.raises(ssnn.ValidationError, match="Lévy areas, which the path alone does not determine"):
        ssnn.simulate(network, 1.0, 0.1, solver="stochastic_heun")


def test_a_path_that_is_another_one_at_another_noise_step_is_not_refined():
    network = one_neuron(driver=ssnn.FractionalBrownianMotion(0.7))
    with pytest.raises(ssnn.ValidationError, match="recommend_solver compares finer and finer steps along one path"):
        ssnn.recommend_solver(network, tol=1e-2, t1=1.0)
    with pytest.raises(ssnn.ValidationError, match="multilevel compares finer"):
        ssnn.multilevel(network, lambda solution: solution.num_spikes, tol=0.1, t1=1.0, dt=0.1)


def test_solvers_of_differential_equations_jl_have_brownian_motion_only():
    with pytest.raises(ssnn.ValidationError, match="is driven by Brownian motion here"):
        ssnn.simulate(one_neuron(driver=path(1)), 1.0, 0.1, solver="sciml:EM")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: ssnn.FractionalBrownianMotion(1.0), "hurst must be between 0 and 1"),
        (lambda: one_neuron(driver=ssnn.FractionalBrownianMotion(0.7)).replace(hurst=1.5), "hurst must be between 0"),
        (lambda: one_neuron(driver=ssnn.FractionalBrownianMotion(0.7)).replace(hurst=[0.5]), "hurst must be a number"),
        (lambda: ssnn.JumpProcess(1.0, ssnn.NormalJumps()).replace(jump_std=-1.0), "std must be positive"),
        (lambda: ssnn.JumpProcess(1.0, ssnn.ExponentialJumps()).replace(jump_mean=0.0), "mean must not be 0"),
        (lambda: ssnn.JumpProcess(1.0, lambda u: u).replace(jump_mean=0.0), "unknown parameter 'jump_mean'"),
        (lambda: ssnn.FractionalBrownianMotion(0.5, scale=0.0), "scale must be"),
        (lambda: ssnn.SampledPath([0.0, 1.0, 0.5], [1.0, 2.0, 3.0]), "ts must be increasing"),
        (lambda: ssnn.SampledPath([0.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]), "ts must be increasing"),
        (lambda: ssnn.SampledPath([0.0, 0.0], [1.0, 2.0], "previous"), "ts must be strictly increasing"),
        (lambda: ssnn.SampledPath([0.0, 1.0], [1.0, 2.0], "cubic"), "interpolation must be"),
        (lambda: ssnn.JumpProcess(-1.0, 1.0), "rate must be at least 0"),
        (lambda: ssnn.JumpProcess(1.0, "normal"), "jumps must be"),
        (lambda: ssnn.NormalJumps(0.0, 0.0), "std must be"),
        (lambda: ssnn.GivenJumps([0.1, np.nan], 1.0), "times must be"),
        (lambda: ssnn.GivenJumps([0.1, 0.2], [1.0]), "sizes must be of the shape of times"),
        (lambda: one_neuron(driver=ssnn.JumpProcess([1.0, 2.0], 0.5)), "jump_rate has shape"),
        (lambda: one_neuron(driver=ssnn.GivenJumps([0.1], 1.0)).replace(jump_times=[0.1, 0.2]), "keep their shape"),
        (lambda: one_neuron(driver=ssnn.GivenJumps([[0.1], [0.2]], 1.0)), "jump_times has shape"),
        (
            lambda: ssnn.simulate(one_neuron(driver=ssnn.JumpProcess(9.0, lambda u: u[:1])), 1.0, 0.1),
            "jumps must give a finite size for each",
        ),
        (lambda: ssnn.SampledPath([0.0, 1.0], [1.0, 2.0, 3.0]), "one entry for each of the M = 2 times"),
        (lambda: ssnn.BrownianMotion() + ssnn.BrownianMotion(), "change sigma instead"),
        (lambda: one_neuron(driver={"xi": ssnn.BrownianMotion()}), "this network has B1"),
        (lambda: one_neuron(driver=0.5), "driver must be a Driver"),
        (lambda: one_neuron(driver=path(1, 2)), "driver_values has shape"),
        (lambda: ssnn.simulate(one_neuron(driver=path(1, 3, 1)), 1.0, 0.1, num_samples=4), "driver_values has shape"),
    ],
)
def test_mistakes_are_named(make, why):
    with pytest.raises(ssnn.ValidationError, match=why):
        make()


# --- values -----------------------------------------------------------------------------------------------------------


def test_drivers_are_values(tmp_path):
    for name, driver in {**drivers(2), **jumping(2)}.items():
        network = ssnn.SLIFNetwork(np.zeros((2, 2)), sigma=np.eye(2), driver=driver)
        same = network.replace(driver=network.driver)
        assert same == network
        assert hash(same) == hash(network)
        assert copy.deepcopy(network) == network
        assert pickle.loads(pickle.dumps(network)) == network
        assert network != network.replace(driver=ssnn.BrownianMotion())
        assert repr(network.driver)
        ssnn.save(tmp_path / name, network)
        assert ssnn.load(tmp_path / name) == network
        for parameter in network.driver.parameters:
            moved = network.replace(**{parameter: network.parameters[parameter] + 0.05})
            assert moved != network
            assert np.array_equal(moved.driver.parameters[parameter], network.parameters[parameter] + 0.05)


def test_runs_without_jumps_do_not_remember_those_of_a_run_with_some(engine):
    """Workers are kept from call to call where problems have the same shape."""
    plain, run = one_neuron(), dict(t1=1.0, dt=0.1, saveat=[1.0], threads=1, engine=engine)
    before = ssnn.simulate(plain, **run)
    jumping = plain.replace(driver=ssnn.BrownianMotion() + ssnn.GivenJumps([0.35, 0.5], [2.0, 1.0]))
    assert not np.array_equal(ssnn.simulate(jumping, **run).v, before.v)
    assert ssnn.simulate(plain, **run) == before
    drawn = plain.replace(driver=ssnn.JumpProcess(0.7, ssnn.NormalJumps(0.5, 0.1)))
    states = [ssnn.simulate(drawn, seed=seed, **run).v for seed in range(8)]
    again = [ssnn.simulate(drawn, seed=seed, **run).v for seed in reversed(range(8))]
    assert all(np.array_equal(a, b) for a, b in zip(states, reversed(again), strict=True))
