"""
Input currents
==============

A constant, samples with steps or lines between them, and a formula: four neurons, each driven by a current of its own,
and 60 samples of its spikes.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

CURRENTS = {
    "constant": ssnn.ConstantCurrent(1.2),
    "sampled, lines": ssnn.SampledCurrent([0.0, 1.0, 2.0, 4.0], [0.0, 2.0, 0.5, 1.5]),
    "sampled, steps": ssnn.SampledCurrent([0.0, 1.0, 2.0, 3.0], [0.5, 2.0, 0.5, 2.0], interpolation="previous"),
    "formula": ssnn.FormulaCurrent("a + b*sin(2*pi*f*t)", a=1.0, b=1.0, f=1.0),
}

fig, axes = plt.subplots(
    2, 4, figsize=(10.0, 4.0), sharex=True, sharey="row", height_ratios=[1, 1.6], layout="constrained"
)
ts = np.linspace(0.0, 4.0, 801)
for (above, below), (name, current) in zip(axes.T, CURRENTS.items(), strict=True):
    net = ssnn.SLIFNetwork([[0.0]], current, mu=(15.0, 0.0), sigma=0.3, v_reset=1.2)
    sol = ssnn.simulate(net, t1=4.0, dt=0.01, num_samples=60, seed=0)
    # The current itself is what a neuron without noise follows at once: a fast leak shows it.
    fast = ssnn.SLIFNetwork([[0.0]], current, mu=(400.0, 0.0), intensity=ssnn.ExponentialIntensity(v_th=100.0))
    shown = ssnn.simulate(fast, t1=4.0, dt=0.001, saveat=ts)
    above.plot(ts[8:], shown.v[0, 8:, 0], color="tab:orange")
    above.set_title(name)
    below.eventplot([row[np.isfinite(row)] for row in sol.spike_times], color="tab:blue", linewidths=0.8)
    below.set(xlabel="time", xlim=(0.0, 4.0))
axes[0, 0].set_ylabel("I(t)")
axes[1, 0].set_ylabel("sample")
plt.show()
