r"""
The derivative of a spike time, against a finite difference
===========================================================

With the noise frozen (the same seed), spike times are smooth functions of a parameter as long as no spike comes or
goes. Each line below is the time of one spike; the short strokes are the slopes that ``jvp`` returns. To the right, how
far a central finite difference of step :math:`h` is from them: it falls as :math:`h^2`, until rounding takes over.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

net = ssnn.SLIFNetwork([[0.0, 0.8], [0.0, 0.0]], 1.3, mu=(10.0, 5.0), sigma=0.3, v_reset=1.2)


def spike_times(current):
    return ssnn.simulate(net.replace(input_current=current), t1=6.0, dt=0.01, max_spikes=4, seed=1)


fig, (ax, right) = plt.subplots(1, 2, figsize=(8.5, 3.8), layout="constrained")
grid = np.linspace(1.0, 1.6, 61)
ax.plot(grid, [spike_times(c).spike_times[0] for c in grid], color="0.6", linewidth=1.0)
for c in np.linspace(1.05, 1.55, 6):
    sol = spike_times(c)
    for time, slope in zip(sol.spike_times[0], sol.jvp({"input_current": 1.0})[0], strict=True):
        ax.plot([c - 0.03, c + 0.03], [time - 0.03 * slope, time + 0.03 * slope], color="tab:red", linewidth=1.8)
ax.set(xlabel="input current", ylabel="spike time", title="four spikes of two neurons; slopes in red")

steps = 10.0 ** np.arange(-9.0, -2.0, 0.5)
exact = spike_times(1.3).jvp({"input_current": 1.0})
errors = [
    np.abs((spike_times(1.3 + h).spike_times - spike_times(1.3 - h).spike_times) / (2 * h) - exact).max() for h in steps
]
right.loglog(steps, errors, "o-", markersize=4)
right.loglog(steps[7:], 3 * errors[11] * (steps[7:] / steps[11]) ** 2, "--", color="0.5", label="order 2")
right.set(xlabel="step h of the finite difference", ylabel="largest difference from jvp")
right.legend()
plt.show()
