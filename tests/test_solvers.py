"""The native solvers: engine against engine, derivatives, laws, orders, and what they refuse."""

import functools

import numpy as np
import pytest
from conftest import needs_julia
from helpers import by_reference, one_neuron, random_network, run_arguments, scalar, with_parameter

import ssnn_py as ssnn
from ssnn_py.simulation import prepare

SOLVERS = [solver.name for solver in ssnn.solvers()]
HIGH_ORDER = ["shark", "exact_ou"]
MULTIPLICATIVE = [solver.name for solver in ssnn.solvers() if solver.multiplicative_order is not None]


def multiplicative_network(seed, interpretation="ito", neurons=5, samples=3):
    """A network whose noise depends on the potential, which spikes leave alone."""
    rng = np.random.default_rng(100 + seed)
    base = random_network(seed, neurons=neurons, samples=samples)
    own = {name: base.parameters[name] for name in ("mu", "sigma", "alpha")}
    return ssnn.SLIFNetwork(
        0.1 * base.weights,
        base.input_current,
        v_reset=0.0,
        intensity=base.intensity.replace(beta=2.0, v_th=1.5),
        diffusion=ssnn.AffineDiffusion(rng.uniform(0.5, 1.0, neurons), rng.uniform(-0.8, 0.8, (samples, neurons))),
        interpretation=interpretation,
        **own,
    )


# Long enough for some spikes; its last step is shortened too.
SHORT = {"t1": 0.5953, "saveat": [0.0, 0.02, 0.333, 0.58, 0.5953]}


def cases():
    for solver in SOLVERS:
        for seed, shape in ((0, {}), (1, {"per_sample": False, "sampled": False}), (4, {"neurons": 1})):
            yield solver, random_network(seed, **shape), run_arguments(seed, shape.get("neurons", 5)) | SHORT
        yield solver, random_network(2), run_arguments(2) | SHORT | {"noise_dt": 0.08}
        yield solver, random_network(3), run_arguments(3) | SHORT | {"max_spikes": 6}
        # Rates that make responses of exact_ou degenerate.
        for mu in ((6.0, 0.0), (6.0, 6.0), (0.0, 3.0)):
            yield solver, random_network(5, sampled=False).replace(mu=mu), run_arguments(5) | SHORT
    for solver in MULTIPLICATIVE:
        for interpretation in ("ito", "stratonovich"):
            yield solver, multiplicative_network(0, interpretation), run_arguments(0) | SHORT
        yield solver, multiplicative_network(1), run_arguments(1) | SHORT | {"noise_dt": 0.04}


@needs_julia
@pytest.mark.parametrize(("solver", "network", "arguments"), list(cases()))
def test_julia_and_numpy_agree(solver, network, arguments):
    one = ssnn.simulate(network, solver=solver, engine="julia", **arguments)
    rng = np.random.default_rng(0)
    directions = {name: rng.normal(size=value.shape) for name, value in one.problem.parameters.items()}
    directions["weights"] = directions["weights"] * (network.parameters["weights"] != 0)
    a, (two, b) = one.tangents(directions), by_reference(one, directions)
    assert np.array_equal(one.spike_neurons, two.spike_neurons)
    assert one.num_spikes.sum() > 0
    for part in ("spike_times", "v", "i"):
        np.testing.assert_allclose(getattr(one, part), getattr(two, part), rtol=1e-9, atol=1e-9)
    bars = [rng.normal(size=part.shape) for part in (one.spike_times, one.v, one.i)]
    for part in ("spike_times", "v", "i"):
        # The steeper a path, the more rounding shifts its events.
        scale = max(1.0, np.abs(np.nan_to_num(getattr(b, part))).max(initial=0))
        np.testing.assert_allclose(getattr(a, part), getattr(b, part), rtol=1e-7, atol=1e-8 * scale)
    reverse = one.vjp(bars[0], v_bar=bars[1], i_bar=bars[2])
    pulled = sum((reverse[name] * direction).sum() for name, direction in directions.items())
    pushed = sum((bar * np.nan_to_num(dot[0])).sum() for bar, dot in zip(bars, (a.spike_times, a.v, a.i), strict=True))
    assert pulled == pytest.approx(pushed, rel=1e-10, abs=1e-10)


def check_against_differences(network, arguments, names):
    """Central differences in a step so small that spikes stay within their leaves: there the map is smooth."""
    solution = ssnn.simulate(network, **arguments)
    assert solution.num_spikes.sum() > 0
    rng = np.random.default_rng(7)
    bars = tuple(rng.normal(size=part.shape) for part in (solution.spike_times, solution.v, solution.i))
    checked = 0
    for name in names:
        value = solution.problem.parameters[name]
        direction = rng.normal(size=value.shape) * (value != 0 if name == "weights" else 1)
        tangents = solution.tangents({name: direction})
        parts = (tangents.spike_times, tangents.v, tangents.i)
        forward = sum((bar * np.nan_to_num(dot[0])).sum() for bar, dot in zip(bars, parts, strict=True))
        for step in (1e-8, 3e-9, 1e-9):
            ahead, behind = (
                with_parameter(network, arguments, name, value + sign * step * direction) for sign in (1, -1)
            )
            if np.array_equal(leaves(ahead), leaves(behind)):
                difference = (scalar(ahead, bars) - scalar(behind, bars)) / (2 * step)
                assert difference == pytest.approx(forward, rel=5e-14 / step, abs=5e-14 / step), name
                checked += 1
                break
    assert checked >= len(names) - 1


def leaves(solution):
    """Where each spike is on a grid no coarser than the leaves of these networks; the last step, which may be shorter,
    has its own.
    """
    problem = solution.problem
    times = np.where(np.isfinite(solution.spike_times), solution.spike_times - problem.t0, 0.0)
    last = problem.t0 + (problem.num_steps - 1) * problem.dt
    length = np.where(times >= last, problem.t1 - last, problem.dt)
    return np.floor((times - np.where(times >= last, last, 0.0)) / length * 2**9)


NAMES = ["weights", "input_current", "mu", "sigma", "v_reset", "alpha", "beta", "v_th", "tau", "v0", "i0"]


@needs_julia
@pytest.mark.parametrize("solver", SOLVERS)
def test_additive_noise_against_finite_differences(solver):
    check_against_differences(random_network(0), run_arguments(0) | {"engine": "julia", "solver": solver}, NAMES)


@needs_julia
@pytest.mark.parametrize("solver", SOLVERS)
def test_refined_paths_and_sampled_currents_against_finite_differences(solver):
    for seed in (1, 2):
        arguments = run_arguments(seed) | {"engine": "julia", "solver": solver, "noise_dt": 0.08}
        check_against_differences(random_network(seed), arguments, NAMES)


@needs_julia
@pytest.mark.parametrize("interpretation", ["ito", "stratonovich"])
@pytest.mark.parametrize("solver", MULTIPLICATIVE)
def test_multiplicative_noise_against_finite_differences(solver, interpretation):
    names = [name for name in NAMES if name != "v_reset"] + ["diffusion_offset", "diffusion_slope"]
    arguments = run_arguments(0) | {"engine": "julia", "solver": solver}
    check_against_differences(multiplicative_network(0, interpretation), arguments, names)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_constant_intensity_has_an_exponential_first_spike(engine, solver):
    """With β = 0 the first spike is at τ·(α − log U), whatever the step and the solver."""
    network = one_neuron(intensity=ssnn.ExponentialIntensity(beta=0.0, tau=0.7))
    run = dict(t1=20.0, num_samples=8, max_spikes=1, seed=3, engine=engine)
    coarse = ssnn.simulate(network, dt=0.25, solver=solver, **run)
    fine = ssnn.simulate(network, dt=0.01, **run)
    np.testing.assert_allclose(coarse.spike_times, fine.spike_times, rtol=1e-10)
    np.testing.assert_allclose(coarse.jvp({"tau": 1.0}), coarse.spike_times / 0.7, rtol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_path_laid_out_on_coarse_steps_is_one_path(engine, solver):
    """Without drift the potential is the Brownian path: the same at common times whatever the step, and a Brownian
    motion at all.
    """
    quiet = ssnn.ExponentialIntensity(beta=0.0, tau=1e12)
    network = ssnn.SLIFNetwork([[0.0]], 0.0, (0.0, 0.0), np.eye(2), intensity=quiet)
    samples = 2000
    run = dict(t1=1.0, num_samples=samples, seed=12, engine=engine, noise_dt=0.5, solver=solver)
    coarse = ssnn.simulate(network, dt=0.5, saveat=[0.5, 1.0], **run)
    fine = ssnn.simulate(network, dt=0.0625, saveat=0.0625 * np.arange(1, 17), **run)
    for part in ("v", "i"):
        path = getattr(fine, part)[:, :, 0]
        np.testing.assert_allclose(path[:, [7, 15]], getattr(coarse, part)[:, :, 0], atol=1e-12)
        increments = np.diff(path, axis=1, prepend=0.0)
        covariance = np.cov(increments.T)
        np.testing.assert_allclose(covariance, 0.0625 * np.eye(16), atol=4.5 * 0.0625 * np.sqrt(2 / samples))


@pytest.mark.parametrize("solver", [*HIGH_ORDER, "stochastic_heun"])
def test_values_recorded_inside_a_step_lie_on_a_brownian_path(engine, solver):
    quiet = ssnn.ExponentialIntensity(beta=0.0, tau=1e12)
    network = ssnn.SLIFNetwork([[0.0]], 0.0, (0.0, 0.0), 1.0, intensity=quiet)
    samples = 500 if engine == "reference" else 4000
    solution = ssnn.simulate(
        network, 1.0, 1.0, saveat=[0.25, 0.5, 0.75, 1.0], num_samples=samples, solver=solver, engine=engine
    )
    covariance = np.cov(np.diff(solution.v[:, :, 0], axis=1, prepend=0.0).T)
    np.testing.assert_allclose(covariance, 0.25 * np.eye(4), atol=4.5 * 0.25 * np.sqrt(2 / samples))


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_area_belongs_to_the_path(engine, solver):
    """∫B dt of a shortened last step: v' = i with noise on i alone; the law of (∫B, B) at t1 is known for schemes that
    see the area.
    """
    if solver not in HIGH_ORDER:
        pytest.skip("uses no area")
    quiet = ssnn.ExponentialIntensity(beta=0.0, tau=1e12)
    mu, samples = 1e-3, 4000
    network = ssnn.SLIFNetwork([[0.0]], 0.0, (mu, 0.0), [[0.0, 0.0], [1.0, 0.0]], intensity=quiet)
    solution = ssnn.simulate(network, 0.7, 1.0, saveat=[0.7], num_samples=samples, solver=solver, engine=engine)
    integral, end = solution.v[:, 0, 0] / mu, solution.i[:, 0, 0]
    t = 0.7
    law = np.array([[t**3 / 3, t**2 / 2], [t**2 / 2, t]])
    np.testing.assert_allclose(np.cov(integral, end), law, atol=5 * np.sqrt(2 / samples) * t**2)


@pytest.mark.parametrize("mu", [(3.0, 0.0), (3.0, 2.0), (2.0, 2.0)])
def test_exact_ou_without_noise_is_exact_at_any_step(engine, mu):
    quiet = ssnn.ExponentialIntensity(beta=0.0, tau=1e12)
    network = one_neuron(mu=mu, sigma=0.0, input_current=1.3, intensity=quiet)
    run = dict(t1=2.0, v0=0.2, i0=0.7, saveat=[2.0], engine=engine, solver="exact_ou")
    v = ssnn.simulate(network, dt=2.0, **run).v[0, 0, 0]
    a, b, t = *mu, 2.0
    response = a * t * np.exp(-a * t) if a == b else a * (np.exp(-b * t) - np.exp(-a * t)) / (a - b)
    assert v == pytest.approx(0.2 * np.exp(-a * t) + 0.7 * response + 1.3 * (1 - np.exp(-a * t)), rel=1e-12)


@functools.cache
def spikes_and_gradients(solver, levels):
    """Spike times and their derivatives by the input current, at steps of 0.1/2^levels along the same paths."""
    run = dict(t1=20.0, num_samples=1000, max_spikes=3, seed=3, noise_dt=0.1)
    solution = ssnn.simulate(one_neuron(sigma=0.5), dt=0.1 / 2**levels, solver=solver, **run)
    return solution.spike_times, solution.jvp({"input_current": 1.0})


@needs_julia
@pytest.mark.parametrize("solver", SOLVERS)
def test_strong_orders_of_spike_times_and_gradients(solver):
    """Pathwise errors against a much finer solve of the same path: at least the orders that the table states, less the
    fit's own error.
    """
    info = ssnn.solvers()[SOLVERS.index(solver)]
    exact = spikes_and_gradients("shark", 11)
    errors = [
        [np.abs(near - true).mean() for near, true in zip(spikes_and_gradients(solver, levels), exact, strict=True)]
        for levels in range(3, 7)
    ]
    times, gradients = (np.polyfit(range(4), -np.log2(column), 1)[0] for column in zip(*errors, strict=True))
    assert info.spike_time_order - 0.15 < times < info.spike_time_order + 0.5
    assert info.gradient_order - 0.15 < gradients < info.gradient_order + 0.3


@functools.cache
def potentials_with_multiplicative_noise(interpretation, solver, levels):
    """At steps of 1/2^(3 + levels) along the same paths."""
    quiet = ssnn.ExponentialIntensity(beta=0.0, tau=1e12)
    network = one_neuron(
        mu=(2.0, 0.0),
        sigma=[[0.5, 0.3], [0.0, 0.0]],
        input_current=1.0,
        v_reset=0.0,
        intensity=quiet,
        diffusion=ssnn.AffineDiffusion(0.5, 1.0),
        interpretation=interpretation,
    )
    run = dict(t1=1.0, num_samples=2000, seed=4, noise_dt=0.125, saveat=[0.5, 1.0])
    return ssnn.simulate(network, dt=0.125 / 2**levels, solver=solver, **run).v


@needs_julia
@pytest.mark.parametrize("interpretation", ["ito", "stratonovich"])
@pytest.mark.parametrize("solver", MULTIPLICATIVE)
def test_strong_order_of_potentials_with_multiplicative_noise(solver, interpretation):
    """Also: all solvers converge to the equation that is meant."""
    exact = potentials_with_multiplicative_noise(interpretation, "milstein", 11)
    errors = [
        np.abs(potentials_with_multiplicative_noise(interpretation, solver, levels) - exact).mean()
        for levels in range(5)
    ]
    order = np.polyfit(range(4), -np.log2(errors[1:]), 1)[0]
    info = ssnn.solvers()[SOLVERS.index(solver)]
    assert abs(order - info.multiplicative_order) < 0.15


@needs_julia
def test_geometric_noise_has_the_means_of_both_interpretations():
    """dv = σ v dB from v = 1: the mean stays 1 in Itô's sense, and grows like exp(σ² t/2) in Stratonovich's."""
    quiet = ssnn.ExponentialIntensity(beta=0.0, tau=1e12)
    for interpretation, mean in (("ito", 1.0), ("stratonovich", np.exp(0.125))):
        network = one_neuron(
            mu=(0.0, 0.0),
            sigma=0.5,
            v_reset=0.0,
            intensity=quiet,
            diffusion=ssnn.AffineDiffusion(0.0, 1.0),
            interpretation=interpretation,
        )
        for solver in MULTIPLICATIVE:
            v = ssnn.simulate(network, 1.0, 1 / 64, num_samples=20000, v0=1.0, saveat=[1.0], solver=solver).v
            assert abs(v.mean() - mean) < 4 * v.std() / np.sqrt(v.size) + 0.01 * (mean - 1), solver


@needs_julia
def test_threads_and_checkpoints_change_nothing(monkeypatch):
    network, arguments = random_network(3, samples=40), run_arguments(3, samples=40)
    for solver in HIGH_ORDER:
        one, two = (
            ssnn.simulate(network, threads=threads, solver=solver, noise_dt=0.04, **arguments) for threads in (1, 2)
        )
        assert np.array_equal(one.spike_times, two.spike_times)
        bar = np.random.default_rng(0).normal(size=one.spike_times.shape)
        for name, gradient in one.vjp(bar).items():
            assert np.array_equal(gradient, two.vjp(bar)[name])


def test_gradients_are_refused_where_spikes_move_a_potential_with_multiplicative_noise():
    network = one_neuron(diffusion=ssnn.AffineDiffusion(1.0, 0.5), v_reset=1.0)
    solution = ssnn.simulate(network, 0.5, 0.01, engine="reference")
    with pytest.raises(ssnn.NoGradientError, match=r"condition \(iii\).*diffusion"):
        solution.jvp({"alpha": 1.0})
    network.replace(v_reset=0.0).check_gradients()
    network.replace(sigma=0.0).check_gradients()


def test_what_solvers_refuse():
    noisy = one_neuron(diffusion=ssnn.AffineDiffusion(1.0, 0.5), v_reset=0.0)
    run = dict(t1=1.0, dt=0.1, engine="reference")
    for solver in HIGH_ORDER:
        with pytest.raises(ssnn.ValidationError, match=r"additive noise only.*milstein"):
            ssnn.simulate(noisy, solver=solver, **run)
    with pytest.raises(ssnn.ValidationError, match=r"solver must be one of .*exact_ou"):
        ssnn.simulate(noisy, solver="runge_kutta", **run)
    with pytest.raises(ssnn.ValidationError, match="abstol is not an argument"):
        ssnn.simulate(noisy, abstol=1e-3, **run)
    for noise_dt in (0.05, 0.3, 0.1 * 2**21):
        with pytest.raises(ssnn.ValidationError, match="noise_dt must be"):
            ssnn.simulate(noisy, noise_dt=noise_dt, **run)
    with pytest.raises(ssnn.ValidationError, match='interpretation must be "ito" or "stratonovich"'):
        one_neuron(interpretation="strat")
    with pytest.raises(ssnn.ValidationError, match="diffusion must be a Diffusion"):
        one_neuron(diffusion=0.5)


def test_diffusions_are_parameters():
    network = one_neuron(diffusion=ssnn.AffineDiffusion(1.0, 0.5))
    assert network.replace(diffusion_slope=0.2).parameters["diffusion_slope"] == 0.2
    assert "diffusion_slope" not in network.replace(diffusion=ssnn.ConstantDiffusion()).parameters
    assert repr(network.diffusion) == "AffineDiffusion(offset=1.0, slope=0.5)"
    with pytest.raises(ssnn.ValidationError, match="unknown parameter 'diffusion_slope'"):
        one_neuron().replace(diffusion_slope=0.2)


@needs_julia
@pytest.mark.parametrize("solver", SOLVERS)
def test_last_steps_of_any_length(solver):
    """Also where its length is dt/8, which the tables of exact_ou might take for a part of a whole step, and where it
    is all but a whole one.
    """
    network = ssnn.SLIFNetwork(np.zeros((2, 2)), 1.5, mu=[[0.0, 0.0], [15.0, 0.0]], sigma=0.3)
    for dt, t1 in ((0.5, 1.125), (0.5, 1.0 + 2**-20), (0.1, (10 - 3e-8) * 0.1), (0.1, (10 - 1e-6) * 0.1)):
        run = dict(t1=t1, dt=dt, num_samples=4, seed=1, saveat=[t1], solver=solver)
        one, two = (ssnn.simulate(network, engine=engine, **run) for engine in ("julia", "reference"))
        np.testing.assert_array_equal(one.num_spikes, two.num_spikes)
        np.testing.assert_allclose(one.v, two.v, rtol=1e-9, atol=1e-9)


def test_a_rounded_number_of_steps_has_no_shortened_step():
    """From some 10⁷ steps on, rounding alone is more than a fixed tolerance."""
    for steps in (9_999_999, 30_000_000, 30_000_001):
        problem, _ = prepare(one_neuron(), t1=steps * 0.07, dt=0.07, engine="reference")
        assert problem.num_steps == steps


@needs_julia
@pytest.mark.parametrize("solver", ["milstein", "stochastic_heun"])
def test_a_neuron_that_another_ones_spike_shows_to_be_due_fires_with_it(solver):
    """It is walked more finely to that spike than in a whole step; its ∂τ then is the other's. Engines agree, and both
    modes.
    """
    network = ssnn.SLIFNetwork(
        ssnn.recurrent_weights(20, gain=0.5, seed=1), 1.2, mu=(15.0, 5.0), sigma=0.3, v_reset=1.0, alpha=0.03
    )
    run = dict(t1=1.0, dt=0.1, num_samples=12, seed=3, solver=solver)
    one, direction = ssnn.simulate(network, engine="julia", **run), {"input_current": 1.0}
    two, others = by_reference(one, direction)
    times = one.spike_times
    together = (times[:, 1:] == times[:, :-1]) & np.isfinite(times[:, 1:])
    assert together.any() or solver == "stochastic_heun"
    np.testing.assert_array_equal(one.spike_neurons, two.spike_neurons)
    tangents, others = one.jvp(direction), others.spike_times[0]
    np.testing.assert_allclose(tangents, others, rtol=1e-6, atol=1e-6 * np.abs(others).max())
    np.testing.assert_array_equal(np.diff(tangents, axis=1)[together], 0.0)
    bar = np.random.default_rng(0).normal(size=one.spike_times.shape)
    gradient = one.vjp(bar, wrt="input_current")["input_current"].sum()
    assert gradient == pytest.approx((bar * tangents).sum(), rel=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_potential_that_starts_at_or_above_the_threshold_fires_at_once(engine, solver):
    for v0 in (1.0, 1.5):
        network = one_neuron(
            input_current=2.0, mu=(1.0, 0.0), sigma=0.0, v_reset=2.0, intensity=ssnn.ThresholdIntensity(v_th=1.0)
        )
        solution = ssnn.simulate(network, t1=0.1, dt=0.1, v0=v0, engine=engine, solver=solver)
        assert solution.spike_times.tolist() == [[0.0]]
        assert solution.jvp({"v0": 1.0}).tolist() == [[0.0]]
        assert solution.vjp([[1.0]], wrt="v0")["v0"] == 0.0


@needs_julia
def test_no_step_is_too_large_for_exact_ou():
    """Many time constants in a step: leaves resolve the fastest of them, and the number of spikes is that of small
    steps.
    """
    network = one_neuron(sigma=0.5)
    counts = [
        ssnn.simulate(network, t1=10.0, dt=dt, num_samples=400, seed=2, solver="exact_ou").num_spikes
        for dt in (5.0, 0.05)
    ]
    difference = counts[0].mean() - counts[1].mean()
    assert abs(difference) < 5 * np.hypot(*(count.std() for count in counts)) / 20 + 0.1


class QuarticIntensity(ssnn.Intensity):
    """λ(v) = (a + v)⁴: an intensity of the user's own that says nothing of its mean under noise."""

    kind = "quartic"

    def __init__(self, a):
        super().__init__({"a": a})

    def rate(self, v, **parameters):
        return (parameters["a"] + v) ** 4

    def rate_derivatives(self, v, **parameters):
        slope = 4.0 * (parameters["a"] + v) ** 3
        return slope, {"a": slope}


QUARTIC = """
struct QuarticIntensity <: Intensity
    a::Vector{Float64}
end
INTENSITIES["quartic"] = (n, settings) -> QuarticIntensity(zeros(n))
parameter_arrays(λ::QuarticIntensity) = (a = λ.a,)
rate(λ::QuarticIntensity, k, v) = (λ.a[k] + v)^4
slope(λ::QuarticIntensity, k, v, rate) = 4 * (λ.a[k] + v)^3
rate_tangent(λ::QuarticIntensity, dλ::QuarticIntensity, k, v, rate) = 4 * (λ.a[k] + v)^3 * dλ.a[k]
rate_adjoint!(λ̄::QuarticIntensity, λ::QuarticIntensity, k, v, rate, bar) = λ̄.a[k] += bar * 4 * (λ.a[k] + v)^3
"""


@needs_julia
@pytest.mark.parametrize("solver", SOLVERS)
def test_an_intensity_of_five_methods_runs_in_every_solver_and_engine(julia, solver):
    julia.eval(f'haskey(SSNN.INTENSITIES, "quartic") || Base.include_string(SSNN, raw"""{QUARTIC}""")')
    network = ssnn.SLIFNetwork(
        [[0.0, 0.4], [0.3, 0.0]], 1.3, mu=(6.0, 5.0), sigma=0.3, v_reset=1.0, intensity=QuarticIntensity([0.5, 0.7])
    )
    run = {"t1": 1.0, "dt": 0.05, "num_samples": 4, "seed": 3, "solver": solver}
    one, two = (ssnn.simulate(network, engine=name, **run) for name in ("julia", "reference"))
    assert one.spike_times.shape[1] > 5
    np.testing.assert_allclose(one.spike_times, two.spike_times, rtol=1e-9)
    bar = np.where(np.isfinite(one.spike_times), 1.0, 0.0)
    gradients, theirs = one.vjp(bar), two.vjp(bar)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, theirs[name], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(one.jvp({"a": [1.0, -2.0]}).sum(), gradients["a"] @ [1.0, -2.0], rtol=1e-9)
