"""
Hodgkin and Huxley's neuron, with noise
=======================================

Just below the current from which on it fires, noise on the synaptic current makes spikes of its own. To the right, the
potential against the potassium gate n: the loop of a spike, and the resting state that noise keeps shaking.
"""

import matplotlib.pyplot as plt

import ssnn_py as ssnn

fig, axes = plt.subplots(2, 2, figsize=(8.5, 4.8), width_ratios=[2.2, 1], layout="constrained")
for (path, phase), sigma, color in zip(axes, (0.0, 1.0), ("0.4", "tab:blue"), strict=True):
    net = ssnn.Network(ssnn.models.hodgkin_huxley(sigma=sigma), input_current=6.0)
    sol = ssnn.simulate(net, t1=200.0, dt=0.01, solver="stochastic_heun", saveat=0.05, seed=2)
    path.plot(sol.ts, sol.v[0, :, 0], linewidth=0.8, color=color)
    path.set(ylabel="v (mV)", title=f"σ = {sigma}: {sol.num_spikes[0]} spikes", xlim=(0.0, 200.0), ylim=(-85, 50))
    phase.plot(sol.v[0, :, 0], sol.states["n"][0, :, 0], linewidth=0.6, color=color)
    phase.set(ylabel="gate n", xlim=(-85, 50), ylim=(0.25, 0.85))
axes[-1, 0].set_xlabel("t (ms)")
axes[-1, 1].set_xlabel("v (mV)")
plt.show()
