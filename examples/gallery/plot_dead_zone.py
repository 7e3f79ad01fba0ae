r"""
The refractory dead zone
========================

A spike comes where the hazard that has been integrated since the last one exceeds :math:`α + E`, with :math:`E`
exponential of mean 1. With a dead zone :math:`α > 0` no spike can come at once: short intervals vanish, and intervals
become more regular (their coefficient of variation falls).
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

fig, ax = plt.subplots(figsize=(7.0, 3.8), layout="constrained")
for alpha, color in ((0.0, "0.5"), (0.5, "tab:blue"), (2.0, "tab:red")):
    net = ssnn.SLIFNetwork(
        [[0.0]], 1.2, mu=(10.0, 0.0), v_reset=0.5, alpha=alpha, intensity=ssnn.ExponentialIntensity(beta=2.0, tau=0.5)
    )
    sol = ssnn.simulate(net, t1=50.0, dt=0.02, num_samples=50, seed=0)
    intervals = np.concatenate([np.diff(row[np.isfinite(row)]) for row in sol.spike_times])
    cv = intervals.std() / intervals.mean()
    ax.hist(
        intervals,
        np.arange(0.0, 3.0, 0.05),
        density=True,
        histtype="step",
        color=color,
        label=f"α = {alpha}: CV {cv:.2f}",
    )
ax.set(xlabel="interval between spikes", ylabel="density", xlim=(0.0, 3.0), title="Intervals, by dead zone")
ax.legend()
plt.show()
