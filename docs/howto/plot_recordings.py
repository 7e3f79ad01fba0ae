r"""
Use your own recordings
=======================

Spike trains come from lists: for each sample (trial), one array of times per neuron.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

rng = np.random.default_rng(0)
trials = [[np.sort(rng.uniform(0.0, 2.0, rng.poisson(rate))) for rate in (6, 3)] for _ in range(30)]
trains = ssnn.SpikeTrains.from_lists(trials, t0=0.0, t1=2.0)
print(trains.num_samples, trains.num_neurons, trains.spike_counts.mean(axis=0))

# %%
# Some trials, and one neuron alone:

print(trains[:10].num_samples, trains.select([1]).spike_counts.mean())

# %%
# All trials must be observed over the same interval [t0, t1], in the unit of time of the network. Simulate over this
# interval, and compare:

net = ssnn.SLIFNetwork(np.zeros((2, 2)), [1.2, 0.9], mu=(10.0, 5.0), sigma=0.3, v_reset=1.0)
fit = ssnn.fit(net, trains, ssnn.SpikeCountLoss(), "input_current", 100, ssnn.Adam(0.03), t1=2.0, dt=0.02)
model = ssnn.simulate(fit.network, t1=2.0, dt=0.02, num_samples=30, seed=9)
print(model.spike_counts.mean(axis=0))

fig, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
for ax, part, title in ((axes[0], trains, "recordings"), (axes[1], model.spike_trains, "fitted model")):
    ssnn.plotting.raster(part, sample=None, neurons=0, ax=ax)
    ax.set(title=title)
axes[1].set_ylabel("")
plt.show()
