r"""
A Gram matrix of the signature kernel
=====================================

The signature kernel compares whole spike trains: when which neuron fired, and in which order. Here are 24 trains of
each of three networks of two neurons; the networks differ in who excites whom. Normalised, so that a train has
similarity 1 with itself.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

NETWORKS = {"no synapse": (0.0, 0.0), "0 excites 1": (4.0, 0.0), "1 excites 0": (0.0, 4.0)}

parts = []
for seed, (there, back) in enumerate(NETWORKS.values()):
    net = ssnn.SLIFNetwork([[0.0, there], [back, 0.0]], [1.1, 0.9], (6.0, 5.0), 0.3, v_reset=1.2)
    trains = ssnn.simulate(net, t1=2.0, dt=0.01, num_samples=24, seed=seed).spike_trains
    order = np.argsort(trains.num_spikes)
    parts.append(trains[order])
lists = [[t.times[s][t.neurons[s] == k] for k in range(2)] for t in parts for s in range(24)]
together = ssnn.SpikeTrains.from_lists(lists, t0=0.0, t1=2.0)
gram = ssnn.signature_kernel_gram(together, scales=ssnn.median_scales(together), normalize=True)

fig, ax = plt.subplots(figsize=(6.0, 5.0), layout="constrained")
image = ax.imshow(gram, cmap="magma", vmin=0.0, vmax=1.0)
for edge in (24, 48):
    ax.axhline(edge - 0.5, color="white", linewidth=1.0)
    ax.axvline(edge - 0.5, color="white", linewidth=1.0)
ax.set_xticks([11.5, 35.5, 59.5], list(NETWORKS))
ax.set_yticks([11.5, 35.5, 59.5], list(NETWORKS), rotation=90, va="center")
ax.set_title("trains of each network sorted by their number of spikes")
fig.colorbar(image, label="normalised signature kernel")
plt.show()
