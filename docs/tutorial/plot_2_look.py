r"""
2. Look
=======

Potentials are recorded where ``saveat`` says so; rates and intervals follow from the arrays of spikes.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

weights = 0.8 * np.eye(5, k=1)
net = ssnn.SLIFNetwork(weights, [1.4, 0.6, 0.6, 0.6, 0.6], mu=(10.0, 5.0), sigma=0.3, v_reset=1.2)
sol = ssnn.simulate(net, t1=4.0, dt=0.01, num_samples=100, seed=0, saveat=0.01)

# %%
# ``sol.v`` has shape (samples, times, neurons).

fig, axes = plt.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained")
for neuron, ax in enumerate(axes):
    ax.plot(sol.ts, sol.v[0, :, neuron], linewidth=0.8)
    own = sol.spike_times[0][sol.spike_neurons[0] == neuron]
    ax.plot(own, np.full(own.size, 2.0), "|", color="tab:red", markersize=10)
    ax.set_ylabel(f"v of neuron {neuron}")
axes[-1].set_xlabel("time")
plt.show()

# %%
# Mean rates of the five neurons, over all samples:

print(np.round(sol.spike_counts.mean(axis=0) / 4.0, 2))

# %%
# And how they change in time:

fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
edges = np.linspace(0.0, 4.0, 41)
for neuron in range(5):
    rate = np.histogram(sol.spike_times[sol.spike_neurons == neuron], edges)[0] / (100 * 0.1)
    ax.stairs(rate, edges, label=f"neuron {neuron}")
ax.set(xlabel="time", ylabel="rate")
ax.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.18), fontsize=8, frameon=False)
plt.show()
