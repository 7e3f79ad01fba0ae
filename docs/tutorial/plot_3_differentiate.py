r"""
3. Differentiate
================

Spike times, potentials and means have exact derivatives in all parameters.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

weights = 0.8 * np.eye(5, k=1)
net = ssnn.SLIFNetwork(weights, [1.4, 0.6, 0.6, 0.6, 0.6], mu=(10.0, 5.0), sigma=0.3, v_reset=1.2)
run = dict(t1=4.0, dt=0.01, num_samples=100, seed=0)
sol = ssnn.simulate(net, **run)

# %%
# Forward mode (``jvp``): how every spike moves in one direction of the parameters. Here the current of neuron 0.

shift = sol.jvp({"input_current": [1.0, 0.0, 0.0, 0.0, 0.0]})
print(shift.shape, np.round(shift[0, :5], 3))

# %%
# Reverse mode (``vjp``): the gradient of one number, a weighted sum of spike times, in all parameters at once. Here the
# mean time of the first spike.

first = np.zeros(sol.spike_times.shape)
first[:, 0] = 1.0 / 100
gradient = sol.vjp(first, wrt=("input_current", "sigma"))
print(gradient)

# %%
# Numbers of spikes change, too, and no derivative of the spikes that are there tells by how much.
# :func:`ssnn_py.value_and_grad` differentiates the expectation itself: this gradient is unbiased.
# :doc:`/gradients` tells when each is the right one.

count = ssnn.SampleMean(lambda trains: (trains.num_spikes, None))
value, grads = ssnn.value_and_grad(count, net, "weights", **run)
print(f"{value:.2f} spikes in the mean")

# %%
# How the mean number of spikes changes with each of the four weights. What is no synapse has no gradient.

fig, ax = plt.subplots(figsize=(4.4, 3.4), layout="constrained")
image = ax.imshow(np.where(weights != 0, grads["weights"], np.nan), cmap="viridis")
ax.set(xlabel="to neuron", ylabel="from neuron", title="∂E[number of spikes]/∂w")
fig.colorbar(image)
plt.show()
