"""
An intensity of one's own
=========================

How likely a neuron is to fire at a potential is its intensity. The exponential one is the default; others are a
formula. A softplus grows only linearly far above the threshold.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

INTENSITIES = {
    "exponential": ssnn.ExponentialIntensity(beta=5.0, v_th=1.0, tau=1.0),
    "softplus": ssnn.FormulaIntensity("log(1 + exp(beta*(v - v_th)))", beta=5.0, v_th=1.0),
    "sigmoid": ssnn.FormulaIntensity("rho/(1 + exp(-beta*(v - v_th)))", rho=8.0, beta=5.0, v_th=1.0),
}
v = np.linspace(0.0, 2.0, 201)

fig, (ax, right) = plt.subplots(1, 2, figsize=(8.5, 3.8), layout="constrained")
currents = np.linspace(0.0, 3.0, 25)
for name, intensity in INTENSITIES.items():
    (line,) = ax.plot(v, intensity(v), label=name)
    net = ssnn.SLIFNetwork(np.zeros((25, 25)), currents, mu=(10.0, 0.0), sigma=0.5, v_reset=1.0, intensity=intensity)
    sol = ssnn.simulate(net, t1=10.0, dt=0.01, num_samples=20, seed=0)
    right.plot(currents, sol.spike_counts.mean(axis=0) / 10.0, "o-", markersize=3, color=line.get_color(), label=name)
ax.set(xlabel="potential v", ylabel="intensity λ(v)", ylim=(0.0, 20.0))
ax.legend()
right.set(xlabel="input current", ylabel="spikes per unit of time")
plt.show()
