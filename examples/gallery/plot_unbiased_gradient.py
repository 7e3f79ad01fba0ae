r"""
Pathwise and unbiased gradients of a rate
=========================================

How does the mean number of spikes change with the input current? A pathwise derivative describes how the spikes that
are there move; their number it holds constant, so it says 0. The unbiased gradient also knows which spikes are about to
enter, and follows the slope of the mean.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

net = ssnn.SLIFNetwork([[0.0]], 1.5, mu=(15.0, 0.0), sigma=0.5, v_reset=1.4)
count = ssnn.SampleMean(lambda trains: (trains.num_spikes, None))
run = dict(t1=1.0, dt=0.01, solver="exact_ou", num_samples=2000, seed=0)

currents = np.linspace(0.5, 2.5, 21)
means = [ssnn.simulate(net.replace(input_current=c), **run).num_spikes.mean() for c in currents]

fig, ax = plt.subplots(figsize=(6.5, 4.0), layout="constrained")
ax.plot(currents, means, color="0.6", linewidth=4, label="mean of 2000 samples")
for c in (0.8, 1.3, 1.8, 2.3):
    for gradient, color in (("pathwise", "tab:orange"), ("unbiased", "tab:blue")):
        value, grads = ssnn.value_and_grad(
            count, net.replace(input_current=c), "input_current", gradient=gradient, **run
        )
        change = 0.18 * float(grads["input_current"])
        label = gradient if c == 0.8 else None
        ax.plot([c - 0.18, c + 0.18], [value - change, value + change], color=color, linewidth=2, label=label)
ax.set(xlabel="input current", ylabel="E[number of spikes]", title="Slopes by two gradients")
ax.legend()
plt.show()
