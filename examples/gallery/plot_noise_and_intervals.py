"""
Noise, and the intervals between spikes
=======================================

The same neuron at three levels of noise on its potential. Where the threshold is steep (a large ``beta``) the potential
alone decides when to fire, and it is the noise that makes intervals irregular.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

net = ssnn.SLIFNetwork(
    [[0.0]], 1.3, mu=(5.0, 0.0), v_reset=1.0, intensity=ssnn.ExponentialIntensity(beta=20.0, tau=0.2)
)
levels = (0.05, 0.4, 1.2)

fig, axes = plt.subplots(len(levels), 2, figsize=(8.0, 5.4), width_ratios=[2, 1], sharex="col", layout="constrained")
for (path, histogram), sigma in zip(axes, levels, strict=True):
    sol = ssnn.simulate(net.replace(sigma=sigma), t1=40.0, dt=0.005, num_samples=40, saveat=0.02, seed=0)
    intervals = np.concatenate([np.diff(row[np.isfinite(row)]) for row in sol.spike_times])
    first = sol.spike_times[0][sol.spike_times[0] < 6.0]
    path.plot(sol.ts, sol.v[0, :, 0], linewidth=0.7)
    path.plot(first, np.full(first.size, 2.1), "|", color="tab:red", markersize=8)
    path.set(ylabel=f"v, σ = {sigma}", xlim=(0.0, 6.0), ylim=(-1.2, 2.3))
    histogram.hist(intervals, np.arange(0.0, 2.5, 0.05), density=True, color="0.6")
    histogram.text(0.95, 0.8, f"CV {intervals.std() / intervals.mean():.2f}", ha="right", transform=histogram.transAxes)
axes[0, 0].set_title("potential, and spikes in red")
axes[0, 1].set_title("density of intervals")
axes[-1, 0].set_xlabel("time")
axes[-1, 1].set_xlabel("interval")
plt.show()
