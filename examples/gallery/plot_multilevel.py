r"""
Multilevel Monte Carlo
======================

An expectation to a given tolerance, most of it from coarse steps: what a finer step changes is small, so that few
samples suffice to learn it. Below, the variance of the differences, how many samples of each level were taken, and
what the same would have cost at the finest step alone.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

net = ssnn.SLIFNetwork([[0.0]], 1.5, mu=(15.0, 0.0), sigma=0.5, v_reset=1.4)


def first_spike(solution):
    return np.minimum(solution.spike_times[:, 0], 2.0)


estimate = ssnn.multilevel(net, first_spike, t1=2.0, dt=0.05, tol=1e-3, max_spikes=1, seed=0)
levels = estimate.levels
names = [f"{level.dt:.3g}" for level in levels]

fig, axes = plt.subplots(1, 3, figsize=(9.5, 3.4), layout="constrained")
axes[0].bar(names, [level.variance for level in levels], color="tab:blue")
axes[0].set(yscale="log", ylabel="variance of what the level adds")
axes[1].bar(names, [level.num_samples for level in levels], color="tab:orange")
axes[1].set(yscale="log", ylabel="samples")
cost = sum(level.num_samples * level.steps for level in levels)
finest = ssnn.simulate(net, t1=2.0, dt=levels[-1].dt, max_spikes=1, num_samples=500, seed=1)
alone = 2.0 * first_spike(finest).var() / 1e-3**2 * levels[-1].steps  # half of tol² for the Monte Carlo error
axes[2].bar(["multilevel", "finest step alone"], [cost, alone], color=["tab:green", "0.6"])
axes[2].set(ylabel="steps in all")
for ax in axes[:2]:
    ax.set_xlabel("dt")
    ax.tick_params(axis="x", labelrotation=60)
fig.suptitle(f"E[time of the first spike] = {estimate.value:.4f} ± {estimate.standard_error:.4f}")
plt.show()
