r"""
Inside JAX
==========

``ssnn_py.jax.simulate`` is a JAX function: it can be differentiated and compiled. Needs ``pip install jax``, and 64-bit
numbers.
"""

import jax
import jax.numpy as jnp

import ssnn_py as ssnn
import ssnn_py.jax as sj

jax.config.update("jax_enable_x64", True)
net = ssnn.SLIFNetwork([[0.0]], 1.5, mu=(15.0, 0.0), sigma=0.25, v_reset=1.4)


def mean_first_spike(current):
    sol = sj.simulate(net, {"input_current": current}, t1=5.0, dt=0.02, num_samples=64, max_spikes=1)
    return jnp.minimum(sol.spike_times[:, 0], 5.0).mean()


print(jax.jit(jax.value_and_grad(mean_first_spike))(1.5))
