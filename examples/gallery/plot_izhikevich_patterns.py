"""
Firing patterns of Izhikevich's neuron
======================================

``ssnn.models.izhikevich`` with the parameters of six kinds of cortical neurons, and a constant current of 10 mV/ms.
"""

import matplotlib.pyplot as plt

import ssnn_py as ssnn

KINDS = {
    "regular spiking": dict(),
    "intrinsically bursting": dict(c=-55.0, d=4.0),
    "chattering": dict(c=-50.0, d=2.0),
    "fast spiking": dict(a=0.1, d=2.0),
    "low-threshold spiking": dict(b=0.25, d=2.0),
    "chattering, with noise": dict(c=-50.0, d=2.0, sigma=3.0),
}

fig, axes = plt.subplots(3, 2, figsize=(8.5, 6.0), sharex=True, sharey=True, layout="constrained")
for ax, (name, parameters) in zip(axes.flat, KINDS.items(), strict=True):
    net = ssnn.Network(ssnn.models.izhikevich(**parameters), input_current=10.0)
    sol = ssnn.simulate(net, t1=250.0, dt=0.02, solver="stochastic_heun", saveat=0.1, seed=2)
    ax.plot(sol.ts, sol.v[0, :, 0], linewidth=0.8)
    ax.set(title=name, xlim=(0.0, 250.0), ylim=(-90.0, 40.0))
for ax in axes[-1]:
    ax.set_xlabel("t (ms)")
for ax in axes[:, 0]:
    ax.set_ylabel("v (mV)")
plt.show()
