r"""
How fast solvers converge
=========================

All solvers can be made to look at one and the same Brownian path: ``noise_dt`` is the step on which it is laid out. So
the error of each single spike time can be measured. ``shark`` and ``exact_ou`` have order 3/2, the others order 1.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

net = ssnn.SLIFNetwork([[0.0]], 1.5, mu=(15.0, 0.0), sigma=0.5, v_reset=1.4, intensity=ssnn.ExponentialIntensity(5.0))
steps = 0.08 / 2.0 ** np.arange(5)


def spike_times(solver, dt):
    run = dict(t1=2.0, noise_dt=0.08, num_samples=200, max_spikes=3, seed=0)
    return ssnn.simulate(net, dt=dt, solver=solver, **run).spike_times


exact = spike_times("shark", 0.08 / 2**8)

fig, ax = plt.subplots(figsize=(6.0, 4.4), layout="constrained")
for solver in ("euler_maruyama", "stochastic_heun", "shark", "exact_ou"):
    times = [np.minimum(spike_times(solver, dt), 2.0) for dt in steps]
    errors = [np.abs(t - np.minimum(exact, 2.0)).mean() for t in times]
    ax.loglog(steps, errors, "o-", markersize=4, label=solver)
ax.loglog(steps, 1.0 * steps, ":", color="0.5", label="orders 1 and 3/2")
ax.loglog(steps, 0.25 * steps**1.5, ":", color="0.5")
ax.set(xlabel="step dt", ylabel="mean error of a spike time", title="Strong convergence along one path")
ax.set_xticks(steps, [f"{dt:g}" for dt in steps])
ax.set_xticks([], minor=True)
ax.legend(fontsize=8)
plt.show()
