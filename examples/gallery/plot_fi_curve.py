"""
Firing rate against input current
=================================

The f–I curve of one neuron. All currents are simulated in a single call: a network of neurons without synapses, one
per current. Noise makes the neuron fire below its threshold, and smooths the bend there.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

currents = np.linspace(0.0, 2.5, 41)
steep = ssnn.ExponentialIntensity(beta=20.0, v_th=1.0, tau=0.1)

fig, ax = plt.subplots(figsize=(6.5, 4.0), layout="constrained")
for sigma, color in ((0.0, "0.5"), (1.0, "tab:blue"), (2.0, "tab:red")):
    net = ssnn.SLIFNetwork(np.zeros((41, 41)), currents, mu=(10.0, 0.0), sigma=sigma, v_reset=1.0, intensity=steep)
    sol = ssnn.simulate(net, t1=20.0, dt=0.005, num_samples=16, seed=0)
    rate = sol.spike_counts.mean(axis=0) / 20.0
    error = sol.spike_counts.std(axis=0) / 20.0 / np.sqrt(16)
    ax.errorbar(currents, rate, error, color=color, marker="o", markersize=3, linewidth=1.0, label=f"σ = {sigma}")
ax.axvline(1.0, color="0.8", linestyle="--", zorder=0)
ax.text(1.02, 0.2, "threshold", color="0.5")
ax.set(xlabel="input current I", ylabel="spikes per unit of time", title="f–I curve, with noise")
ax.legend()
plt.show()
