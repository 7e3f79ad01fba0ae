r"""
Drive a network by spikes, with delays
======================================

Channels of spikes from outside are a ``SpikeInput`` of the network; which spikes come, a simulation is told. A spike
arrives at its own time, inside whatever step, and adds its weight to the variable ``target``.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

inputs = ssnn.SpikeInput(weights=[[0.9, 0.0], [0.0, 0.6]], delays=[[0.0, 0.0], [0.0, 0.3]], target=["v", "i"])
net = ssnn.SLIFNetwork(
    weights=[[0.0, 0.8], [0.0, 0.0]],
    delays=0.4,  # from neuron 0 to neuron 1
    input_current=0.2,
    mu=(4.0, 6.0),
    inputs=inputs,
)
spikes = ssnn.SpikeTrains.from_lists([[[0.2, 0.5, 0.55, 1.6], [0.35, 1.0]]], t0=0.0, t1=2.0)
sol = ssnn.simulate(net, t1=2.0, dt=0.01, input_spikes=spikes, saveat=0.01)

fig, (ax, below) = plt.subplots(2, 1, sharex=True, figsize=(7.0, 4.6), layout="constrained")
ax.plot(sol.ts, sol.v[0], label=["v of neuron 0", "v of neuron 1"])
ax.plot(sol.ts, sol.i[0, :, 1], "--", color="tab:orange", label="i of neuron 1")
ax.set(ylabel="state", title="Spikes from outside, and one neuron's to the other")
ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, -0.22), frameon=False)
shown = [("channel 0", spikes, 0, "0.4"), ("channel 1", spikes, 1, "0.6")]
shown += [(f"neuron {k}", sol.spike_trains, k, color) for k, color in ((0, "tab:blue"), (1, "tab:orange"))]
for row, (_, trains, k, color) in enumerate(shown):
    below.plot(
        trains.times[0][trains.neurons[0] == k],
        np.full(np.sum(trains.neurons[0] == k), row),
        "|",
        color=color,
        markersize=14,
        markeredgewidth=2,
    )
below.set(xlabel="time", yticks=range(4), yticklabels=[label for label, *_ in shown], ylim=(3.6, -0.6), xlim=(0, 2))
plt.show()

# %%
# Weights, delays and the times of the spikes are parameters like any other: what would come later if the spikes of
# channel 0 did?

bars = np.zeros(sol.spike_times.shape)
bars[0, 0] = 1.0  # the first spike
gradients = sol.vjp(bars, ("input_times", "input_weights", "delays"))
print("first spike, neuron", int(sol.spike_neurons[0, 0]), "at", round(float(sol.spike_times[0, 0]), 3))
print("by the times of the inputs:", gradients["input_times"].round(3).tolist())

# %%
# Each sample hears its own trains where ``input_spikes`` has as many samples as ``num_samples``, and all the same where
# it has one. In ``fit``, each batch of the data hears those of its samples.
