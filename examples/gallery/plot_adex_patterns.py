"""
Firing patterns of the adaptive exponential neuron
==================================================

``ssnn.models.adex`` with four choices of its adaptation and reset. Times are in ms, potentials in mV, currents in pA.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

PATTERNS = {
    "tonic": dict(a=0.0, b=0.0),
    "adapting": dict(a=4.0, b=80.5),
    "bursting": dict(tau_w=40.0, v_reset=-46.4),
    "adapting, with noise": dict(sigma=40.0),
}

fig, axes = plt.subplots(2, 2, figsize=(8.5, 4.6), sharex=True, sharey=True, layout="constrained")
for ax, (name, parameters) in zip(axes.flat, PATTERNS.items(), strict=True):
    net = ssnn.Network(ssnn.models.adex(**parameters), input_current=800.0)
    sol = ssnn.simulate(net, t1=300.0, dt=0.02, solver="stochastic_heun", saveat=0.1, seed=1)
    spikes = sol.spike_times[0][np.isfinite(sol.spike_times[0])]
    ax.plot(sol.ts, sol.v[0, :, 0], linewidth=0.8)
    ax.vlines(spikes, -40.0, 0.0, color="tab:blue", linewidth=0.8)  # the upswing, which the model does not draw
    ax.set(title=f"{name}: {spikes.size} spikes", xlim=(0.0, 300.0))
for ax in axes[-1]:
    ax.set_xlabel("t (ms)")
for ax in axes[:, 0]:
    ax.set_ylabel("v (mV)")
plt.show()
