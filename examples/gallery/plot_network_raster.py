"""
Raster of a network
===================

A sparse network of 200 neurons, of which one in five inhibits. Its weights are a sparse matrix, so that a spike costs
only its targets.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

N, INHIBITORY = 200, 40
weights = ssnn.random_weights(N, num_targets=20, low=0.5, high=1.5, gain=2.0, seed=1).tolil()
weights[:INHIBITORY] *= -4.0
drive = ssnn.FormulaCurrent("1.1 + 0.4*sin(2*pi*t/2)")
net = ssnn.SLIFNetwork(weights.tocsr(), drive, mu=(10.0, 10.0), sigma=0.5, v_reset=1.2)
sol = ssnn.simulate(net, t1=6.0, dt=0.005, seed=0)

n = sol.num_spikes[0]
times, neurons = sol.spike_times[0, :n], sol.spike_neurons[0, :n]
inhibits = neurons < INHIBITORY

fig, (ax, below) = plt.subplots(2, 1, figsize=(7.5, 4.8), sharex=True, height_ratios=[3, 1], layout="constrained")
for which, color, label in ((~inhibits, "tab:blue", "excitatory"), (inhibits, "tab:red", "inhibitory")):
    ax.plot(times[which], neurons[which], "|", color=color, markersize=3, label=label)
ax.set(ylabel="neuron", ylim=(-2, N + 1), title="One sample of 200 neurons")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, -0.16), ncols=2, markerscale=3, frameon=False)
edges = np.arange(0.0, 6.05, 0.1)
below.stairs(np.histogram(times, edges)[0] / (N * 0.1), edges, fill=True, color="0.6")
below.set(xlabel="time", ylabel="rate", xlim=(0.0, 6.0))
plt.show()
