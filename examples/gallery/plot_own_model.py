"""
A model of one's own
====================

Equations, an event and what it does, as text; gradients in all parameters follow. Here a neuron whose threshold jumps
at each spike and decays: its spikes thin out after a step of current.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

model = ssnn.EventSDE(
    """
    dv/dt = (I - v)/tau_m + sigma*xi
    dh/dt = -h/tau_h
    """,
    events=ssnn.Event(hazard="exp(beta*(v - v_th - h))/tau_e", then="v -= v_reset; h += jump", dead_zone=0.1),
    parameters=dict(tau_m=0.05, tau_h=0.6, sigma=0.5, beta=8.0, v_th=1.0, tau_e=0.05, v_reset=0.8, jump=0.35),
)
step = ssnn.SampledCurrent([0.0, 0.5, 2.5], [0.0, 2.2, 0.0], interpolation="previous")
net = ssnn.Network(model, input_current=step)
sol = ssnn.simulate(net, t1=3.0, dt=0.005, num_samples=200, saveat=0.005, solver="stochastic_heun", seed=0)

fig, (ax, below) = plt.subplots(2, 1, figsize=(7.5, 5.0), sharex=True, height_ratios=[1.3, 1], layout="constrained")
ax.plot(sol.ts, sol.states["v"][0, :, 0], linewidth=0.8, label="potential v")
ax.plot(sol.ts, 1.0 + sol.states["h"][0, :, 0], color="tab:red", label="threshold v_th + h")
ax.plot(sol.spike_times[0], np.full(sol.spike_times.shape[1], 3.0), "|", color="0.2", markersize=9, label="spikes")
ax.set(ylabel="one sample", ylim=(-0.6, 3.2))
ax.legend(loc="lower center", ncols=3)
edges = np.arange(0.0, 3.02, 0.05)
times = sol.spike_times[np.isfinite(sol.spike_times)]
below.stairs(np.histogram(times, edges)[0] / (200 * 0.05), edges, fill=True, color="0.6")
below.set(xlabel="time", ylabel="rate of 200 samples", xlim=(0.0, 3.0))
plt.show()

# %%
# How the first ten spikes move with the size of the threshold's jump: the first not at all, later ones later.
shift = sol.jvp({"jump": 1.0})[0]
print(np.round(shift[:10], 3))
