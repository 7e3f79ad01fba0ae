"""Networks as differentiable functions in JAX: under ``jit``, ``grad`` and ``vmap``, backward through the exact adjoint.

Needs JAX, which is not installed with ssnn_py: ``pip install jax``. Numbers have JAX's precision: enable ``jax_enable_x64`` for double.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:  # pragma: no cover
    raise ImportError("ssnn_py.jax needs JAX: pip install jax") from error

from . import engine as engines
from .engine import Cotangents
from .errors import ValidationError
from .network import SLIFNetwork
from .simulation import prepare


class JaxSolution(NamedTuple):
    """What :func:`simulate` returns, as JAX arrays; the first, v and i are differentiable."""

    spike_times: Any  # (S, K), inf where there is no spike
    spike_neurons: Any  # (S, K), −1 where there is no spike
    v: Any  # (S, T, N)
    i: Any


def simulate(
    network: SLIFNetwork, parameters: Mapping[str, Any], *, seed: Any = 0, max_spikes: int, **simulate_arguments: Any
) -> JaxSolution:
    """Simulate a network with some of its parameters given as JAX arrays.

    Parameters
    ----------
    network : SLIFNetwork
    parameters : mapping of str to array
        Names of the network's parameters, ``"v0"`` or ``"i0"``; sparse weights by their stored values. May be traced.
    seed : int or integer array of shape ()
        May be traced: ``jax.vmap`` over seeds runs one solve after the other.
    max_spikes : int
        K: JAX needs to know shapes beforehand.
    **simulate_arguments
        As for :func:`ssnn_py.simulate`, fixed numbers.

    Returns
    -------
    JaxSolution

    Raises
    ------
    ValidationError
        If a name is unknown, or an argument is not what it should be.
    NoGradientError
        If the network has no pathwise gradient and one is asked for.

    Examples
    --------
    ::

        @jax.jit
        def loss(c, seed):
            out = ssnn_py.jax.simulate(net, {"input_current": c}, seed=seed, t1=5.0, dt=0.01, num_samples=64, max_spikes=3)
            return jnp.minimum(out.spike_times, 5.0).mean()

        jax.value_and_grad(loss)(1.0, 7)
    """
    known = (*network.parameters, "v0", "i0")
    for name in parameters:
        if name not in known:
            raise ValidationError(f"parameters names an unknown parameter {name!r}; there are {', '.join(known)}")
    call = _Call(network, {**simulate_arguments, "max_spikes": max_spikes})
    values = {name: jnp.asarray(value, dtype=jnp.result_type(float)) for name, value in parameters.items()}
    return JaxSolution(*_simulate(call, values, jnp.asarray(seed)))


class _Call:
    """The fixed part of a simulation; compared by identity, as JAX wants of static arguments."""

    def __init__(self, network: SLIFNetwork, arguments: dict[str, Any]) -> None:
        self.network, self.arguments = network, arguments
        problem, _ = prepare(network, **{**arguments, "seed": 0})
        samples, neurons, times = problem.num_samples, network.num_neurons, problem.saveat.size
        real = jnp.result_type(float)
        spikes = (samples, problem.max_spikes)
        self.shapes = (
            jax.ShapeDtypeStruct(spikes, real),
            jax.ShapeDtypeStruct(spikes, jnp.result_type(int)),
            jax.ShapeDtypeStruct((samples, times, neurons), real),
            jax.ShapeDtypeStruct((samples, times, neurons), real),
        )

    def problem(self, values: Mapping[str, Any], seed: Any) -> tuple[engines.Problem, str]:
        arrays = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
        own = {name: value for name, value in arrays.items() if name in self.network.parameters}
        initial = {name: value for name, value in arrays.items() if name not in own}
        return prepare(self.network.replace(**own), **{**self.arguments, **initial, "seed": int(seed)})

    def solve(self, values: Mapping[str, Any], seed: Any) -> tuple[Any, ...]:
        problem, name = self.problem(values, seed)
        raw = engines.load(name).solve(problem)
        parts = (raw.spike_times, raw.spike_neurons, raw.v, raw.i)
        return tuple(part.astype(shape.dtype) for part, shape in zip(parts, self.shapes, strict=True))

    def pull_back(self, values: Mapping[str, Any], seed: Any, there: Any, bars: tuple[Any, ...]) -> dict[str, Any]:
        problem, name = self.problem(values, seed)
        problem.network.check_gradients()
        # Where there is no spike, or nothing recorded, nothing depends on anything.
        spikes, v, i = (np.where(mask, np.asarray(bar, np.float64), 0.0) for mask, bar in zip(there, bars, strict=True))
        gradients = engines.load(name).pull_back(problem, Cotangents(spikes, v, i), tuple(values))
        return {key: gradient.astype(np.asarray(values[key]).dtype) for key, gradient in gradients.items()}


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _simulate(call: _Call, values: dict[str, Any], seed: Any) -> tuple[Any, ...]:
    return tuple(jax.pure_callback(call.solve, call.shapes, values, seed, vmap_method="sequential"))


def _forward(call: _Call, values: dict[str, Any], seed: Any) -> tuple[tuple[Any, ...], Any]:
    out = _simulate(call, values, seed)
    there = tuple(jnp.isfinite(out[k]) for k in (0, 2, 3))
    return out, (values, seed, there)


def _backward(call: _Call, residuals: Any, bars: tuple[Any, ...]) -> tuple[Any, Any]:
    values, seed, there = residuals
    shapes = {name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in values.items()}
    gradients = jax.pure_callback(
        call.pull_back, shapes, values, seed, there, (bars[0], bars[2], bars[3]), vmap_method="sequential"
    )
    return gradients, np.zeros(np.shape(seed), dtype=jax.dtypes.float0)


_simulate.defvjp(_forward, _backward)
