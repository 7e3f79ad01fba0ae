r"""
A stochastic neuron, and how its spikes move
============================================

Noise drives the membrane potential, and noise decides when the neuron fires. Yet every spike time has an exact
derivative: the bars below say by how much each spike moves where the input current grows.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

net = ssnn.SLIFNetwork([[0.0]], input_current=1.3, mu=(8.0, 5.0), sigma=0.4, v_reset=1.0)
sol = ssnn.simulate(net, t1=5.0, dt=0.005, saveat=0.005, seed=3)
spikes = sol.spike_times[0, : sol.num_spikes[0]]
shift = sol.jvp({"input_current": 1.0})[0, : sol.num_spikes[0]]  # ∂(spike time)/∂(input current), exact

fig, (ax, below) = plt.subplots(2, 1, figsize=(7.5, 4.2), sharex=True, height_ratios=[2, 1], layout="constrained")
ax.plot(sol.ts, sol.v[0, :, 0], linewidth=0.8, color="tab:blue")
ax.vlines(spikes, 1.9, 2.2, color="tab:red", linewidth=1.2)
ax.text(0.05, 2.0, "spikes", color="tab:red")
ax.set(ylabel="membrane potential v", title="One sample of a SLIF neuron")
below.bar(spikes, shift, width=0.04, color="tab:red")
below.axhline(0.0, color="0.3", linewidth=0.8)
below.set(xlabel="time", ylabel="∂(spike time)/∂I", xlim=(0.0, 5.0))
plt.show()

# %%
# With more current every spike comes earlier, and most so where the potential was nearly level before it.
print(f"{spikes.size} spikes, {np.sum(shift < 0)} of them earlier")
