r"""
2. Look
=======

Potentials are recorded where ``saveat`` says so; rates, intervals and pictures are one call each.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

weights = 0.8 * np.eye(5, k=1)
net = ssnn.SLIFNetwork(weights, [1.4, 0.6, 0.6, 0.6, 0.6], mu=(10.0, 5.0), sigma=0.3, v_reset=1.2)
sol = ssnn.simulate(net, t1=4.0, dt=0.01, num_samples=100, seed=0, saveat=0.01)

# %%
# ``sol.v`` has shape (samples, times, neurons). Two neurons of the first sample, and the spikes of all five:

fig, (upper, lower) = plt.subplots(2, 1, figsize=(7.5, 5), sharex=True, layout="constrained")
ssnn.plotting.potentials(sol, neurons=[0, 1], ax=upper)
ssnn.plotting.raster(sol, ax=lower)
upper.label_outer()
plt.show()

# %%
# ``sol.spike_trains`` has the spikes alone. Rates of the five neurons, means over all samples, and how irregular their
# interspike intervals are: the coefficient of variation is 0 for a clock, and about 1 for a Poisson process.

trains = sol.spike_trains
print("rates:", trains.mean_rates.mean(axis=0).round(2))
print("CV:   ", trains.cv().round(2))

# %%
# How rates change in time: the peristimulus time histogram. The chain wakes up one neuron after the other.

fig, ax = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
ssnn.plotting.psth(trains, bin=0.1, ax=ax)
plt.show()

# %%
# :doc:`/plotting` has a function for every such picture, and the numbers behind.
