"""
Fit a synaptic weight by MMD
============================

The first neuron excites the second, and its weight is not known. From recordings of both, the weight is found by making
simulated trains as similar to them as can be: ``SignatureMMD`` is 0 only where their laws agree.
"""

import matplotlib.pyplot as plt

import ssnn_py as ssnn

truth = ssnn.SLIFNetwork([[0.0, 1.5], [0.0, 0.0]], [1.5, 0.8], (8.0, 5.0), 0.3, v_reset=1.2)
run = dict(t1=2.0, dt=0.02)
data = ssnn.simulate(truth, num_samples=32, seed=1, **run).spike_trains
loss = ssnn.SignatureMMD(scales=ssnn.median_scales(data))

fig, (ax, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
for start, color in ((0.3, "tab:blue"), (3.0, "tab:orange")):
    fit = ssnn.fit(
        truth.replace(weights=[[0.0, start], [0.0, 0.0]]),
        data,
        loss,
        wrt="weights",
        steps=80,
        optimizer=ssnn.Adam(0.1),
        **run,
    )
    ax.plot(fit.history["weights"][:, 0, 1], color=color, label=f"from {start}")
    right.plot(fit.history["loss"], color=color, linewidth=0.8)
ax.axhline(1.5, color="0.3", linestyle="--", label="truth")
ax.set(xlabel="step", ylabel="weight from neuron 0 to 1")
ax.legend()
right.set(xlabel="step", ylabel="MMD² (unbiased, so below 0 at times)")
plt.show()
