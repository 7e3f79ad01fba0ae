"""Networks in JAX."""

import numpy as np
import pytest
from helpers import one_neuron

import ssnn_py as ssnn

jax = pytest.importorskip("jax", reason="JAX is not installed")
layer = pytest.importorskip("ssnn_py.jax")
jax.config.update("jax_enable_x64", True)

RUN = {"t1": 2.0, "dt": 0.01, "num_samples": 4, "max_spikes": 3, "saveat": [0.5, 2.0]}


def loss(parameters, seed, engine):
    out = layer.simulate(one_neuron(), parameters, seed=seed, engine=engine, **RUN)
    return jax.numpy.minimum(out.spike_times, 2.0).sum() + jax.numpy.nan_to_num(out.v).sum()


def test_value_and_gradient_equal_numpy_with_and_without_jit(engine):
    parameters = {"input_current": 1.4, "mu": np.array([14.0, 1.0])}
    solution = ssnn.simulate(one_neuron().replace(**parameters), seed=5, engine=engine, **RUN)
    spikes = np.isfinite(solution.spike_times)
    wanted = solution.vjp(spikes * 1.0, ("input_current", "mu"), v_bar=np.isfinite(solution.v) * 1.0)
    for transform in (lambda f: f, jax.jit):
        value, gradient = transform(jax.value_and_grad(lambda p, s: loss(p, s, engine)))(parameters, 5)
        assert float(value) == pytest.approx(np.minimum(solution.spike_times, 2.0).sum() + np.nansum(solution.v))
        for name, array in wanted.items():
            np.testing.assert_allclose(gradient[name], array, rtol=1e-10)


def test_vmap_over_seeds(engine):
    seeds = jax.numpy.arange(3)
    gradient = jax.grad(lambda c, seed: loss({"input_current": c}, seed, engine))
    together = jax.vmap(gradient, in_axes=(None, 0))(1.5, seeds)
    apart = [gradient(1.5, seed) for seed in range(3)]
    np.testing.assert_allclose(together, apart, rtol=1e-12)


def test_gradient_against_finite_differences(engine):
    from jax.test_util import check_grads

    check_grads(lambda c: loss({"input_current": c}, 2, engine), (1.5,), order=1, modes=["rev"], eps=1e-6, rtol=1e-5)


def test_bad_input():
    with pytest.raises(ssnn.ValidationError, match="gamma"):
        layer.simulate(one_neuron(), {"gamma": 1.0}, **RUN)
    with pytest.raises(ssnn.ValidationError, match="dt"):
        layer.simulate(one_neuron(), {"alpha": 1.0}, **{**RUN, "dt": -1.0})
