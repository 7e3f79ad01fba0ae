r"""
1. Simulate
===========

A network has weights, parameters and an input current. :func:`ssnn_py.simulate` runs independent samples of it.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

# %%
# Five stochastic leaky integrate-and-fire neurons in a chain: each excites the next. Times and potentials are pure
# numbers here; take whichever units you like, and keep to them.

weights = 0.8 * np.eye(5, k=1)  # weights[j, k]: from neuron j to neuron k
net = ssnn.SLIFNetwork(
    weights,
    input_current=[1.4, 0.6, 0.6, 0.6, 0.6],
    mu=(10.0, 5.0),  # leak rates of potential and synaptic current
    sigma=0.3,  # noise on the potential
    v_reset=1.2,
)
sol = ssnn.simulate(net, t1=4.0, dt=0.01, num_samples=100, seed=0)

# %%
# A first picture, of the first sample: a row per neuron, a mark per spike.

fig, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
ssnn.plotting.raster(sol, ax=ax)
plt.show()

# %%
# All samples stand in rectangular arrays: the times in increasing order, and which neuron fired. Where a sample has
# fewer spikes than the longest one, its times end in inf and its neurons in −1.

print(sol.spike_times.shape)
print(sol.spike_times[0, :5])
print(sol.spike_neurons[0, :5])
print(sol.num_spikes[:10])

# %%
# The same seed gives the same numbers on every machine and for every number of threads.
