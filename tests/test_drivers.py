"""Drivers: the laws of their paths, solutions along them, and gradients by their values."""

import copy
import pickle

import numpy as np
import pytest
from conftest import needs_julia
from helpers import one_neuron, random_network, run_arguments, scalar, with_parameter

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


@needs_julia
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", drivers(1))
def test_engines_agree_and_modes_are_transposes(name, solver):
    # One neuron takes its steps without events by themselves; noise steps of several steps have nodes.
    neurons, noise_dt = (1, None) if (len(name) + len(solver)) % 2 else (4, 0.08)
    network = random_network(1, neurons=neurons).replace(driver=drivers(neurons)[name])
    arguments = {**run_arguments(1, neurons), "noise_dt": noise_dt, "solver": solver}
    if not takes(name, solver):
        with pytest.raises(ssnn.ValidationError, match="only some noises of this network have a BrownianMotion"):
            ssnn.simulate(network, **arguments)
        return
    one, two = (ssnn.simulate(network, engine=engine, **arguments) for engine in ("julia", "reference"))
    assert one.num_spikes.sum() > 3
    assert np.array_equal(one.spike_neurons, two.spike_neurons)
    rng = np.random.default_rng(2)
    directions = {name: rng.normal(size=value.shape) for name, value in one.problem.parameters.items()}
    a, b = one.tangents(directions), two.tangents(directions)
    scale = max(1.0, np.abs(b.v).max(), np.abs(b.spike_times).max())
    for part in ("spike_times", "v", "i"):
        np.testing.assert_allclose(getattr(one, part), getattr(two, part), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(getattr(a, part), getattr(b, part), rtol=1e-9, atol=1e-9 * scale)
    bars = [rng.normal(size=part.shape) for part in (one.spike_times, one.v, one.i)]
    reverse = one.vjp(bars[0], v_bar=bars[1], i_bar=bars[2])
    forward = sum((bar * moved[0]).sum() for bar, moved in zip(bars, (a.spike_times, a.v, a.i), strict=True))
    backward = sum((reverse[name] * directions[name]).sum() for name in directions)
    assert backward == pytest.approx(forward, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", ["per_noise", "sum"])
def test_gradients_by_the_values_are_finite_differences(name, solver, engine):
    network = random_network(1, neurons=2).replace(driver=drivers(2)[name])
    arguments = {**run_arguments(1, 2), "solver": solver, "engine": engine}
    solution = ssnn.simulate(network, **arguments)
    rng = np.random.default_rng(3)
    bars = [rng.normal(size=part.shape) for part in (solution.spike_times, solution.v, solution.i)]
    wanted = [parameter for parameter in network.parameters if parameter.startswith("driver")]
    assert wanted == (["driver_values"] if name == "per_noise" else ["driver_values", "driver_values_2"])
    for parameter in wanted:
        value = network.parameters[parameter]
        direction, errors = rng.normal(size=value.shape), []
        if engine == "julia":
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


@needs_julia
@pytest.mark.parametrize("interpretation", ["ito", "stratonovich"])
@pytest.mark.parametrize("solver", SOLVERS[:3])
def test_noise_that_depends_on_the_state(interpretation, solver):
    network = ssnn.SLIFNetwork(
        [[0.0, 0.3], [0.2, 0.0]],
        input_current=0.9,
        intensity=ssnn.ExponentialIntensity(beta=2.0),
        sigma=[[0.4, 0.1], [0.1, 0.2]],
        v_reset=0.0,
        diffusion=ssnn.AffineDiffusion(0.5, 0.4),
        interpretation=interpretation,
        mu=(6.0, 5.0),
        driver=path(1, 3, 2),
    )
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


@pytest.mark.parametrize("solver", SOLVERS[:4])
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
    mu, sigma, samples, t1 = 4.0, 0.6, 40_000, 2.0
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


# --- gradients of expectations ----------------------------------------------------------------------------------------


def test_unbiased_gradients_hold_along_a_path():
    """The mean number of spikes by the values of a path added to Brownian motion, against finite differences."""
    knots, samples = np.array([0.0, 0.3, 0.6]), 60_000
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
        (lambda: ssnn.FractionalBrownianMotion(0.5, scale=0.0), "scale must be"),
        (lambda: ssnn.SampledPath([0.0, 0.0], [1.0, 2.0]), "ts must be strictly increasing"),
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
    for name, driver in drivers(2).items():
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
            moved = network.replace(**{parameter: 2 * network.parameters[parameter]})
            assert moved != network
            assert np.array_equal(moved.driver.parameters[parameter], 2 * network.parameters[parameter])
