"""
Train a layer to fire at given times
====================================

Four input neurons drive eight hidden and three output neurons. All weights are trained until each output neuron first
fires at a time of its own, on average: the loss compares mean times, so that the spread of late spikes stays.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

targets = (0.6, 1.0, 1.4)
outputs = [12, 13, 14]
weights = ssnn.feedforward_weights([4, 8, 3], gain=2.0, seed=0)
current = np.where(np.arange(15) < 4, 1.6, 0.0)
net = ssnn.SLIFNetwork(
    weights, current, (8.0, 8.0), 0.1, v_reset=1.0, intensity=ssnn.ExponentialIntensity(8.0, tau=0.2)
)
run = dict(t1=2.0, dt=0.02)

SAMPLES = 32
lists = [[[]] * 12 + [[target] for target in targets]] * SAMPLES
data = ssnn.SpikeTrains.from_lists(lists, t0=0.0, t1=2.0)
fit = ssnn.fit(
    net, data, ssnn.FirstSpikeLoss(n=1, neurons=outputs), wrt="weights", steps=150, optimizer=ssnn.Adam(0.05), **run
)

fig, axes = plt.subplots(1, 3, figsize=(9.5, 3.4), width_ratios=[1, 1.2, 1.2], layout="constrained")
axes[0].semilogy(fit.history["loss"], color="0.3")
axes[0].set(xlabel="step", ylabel="loss")
for ax, network, title in ((axes[1], net, "before"), (axes[2], fit.network, "after")):
    firsts = ssnn.simulate(network, num_samples=400, seed=5, **run).spike_trains.first_spikes(1)[:, outputs, 0]
    for k, target in enumerate(targets):
        ax.hist(firsts[:, k], np.arange(0.0, 2.05, 0.05), color=f"C{k}", alpha=0.7, label=f"output {k + 1}")
        ax.axvline(target, color=f"C{k}", linestyle="--")
    ax.set(xlabel="time of the first spike", title=f"{title}; dashed: targets", xlim=(0.0, 2.0))
axes[1].legend(fontsize=8)
plt.show()
