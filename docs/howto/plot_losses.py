r"""
Choose a loss
=============

What do the data say? Then take:

========================================  ====================================================
data                                      loss
========================================  ====================================================
spike trains, all of their law            ``SignatureMMD()``; quadratic in samples
spike trains, many neurons or samples     ``ExpectedSignatureLoss(depth=3)``; linear in samples
times of first spikes                     ``FirstSpikeLoss(n=3)``
numbers of spikes                         ``SpikeCountLoss()``
labels, by counts                         ``CountCrossEntropy()``
labels, by first spikes                   ``FirstSpikeCrossEntropy(time_scale=0.1)``
membrane potentials                       ``PotentialLoss()``
any function of one sample                ``SampleMean(function)``
several of these                          ``SumLoss([a, b], weights=[1, 0.1])``
========================================  ====================================================

:doc:`/gradients` tells more of each. Before you train, look at the loss along a line: it should have its minimum near
the truth, and not be flat.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

net = ssnn.SLIFNetwork([[0.0]], 1.5, mu=(15.0, 0.0), sigma=0.3, v_reset=1.4)
run = dict(t1=2.0, dt=0.01, num_samples=200)
data = ssnn.simulate(net, seed=1, **run).spike_trains
losses = {
    "SignatureMMD": ssnn.SignatureMMD(scales=ssnn.median_scales(data)),
    "ExpectedSignatureLoss": ssnn.ExpectedSignatureLoss(depth=3),
    "FirstSpikeLoss": ssnn.FirstSpikeLoss(n=2),
    "SpikeCountLoss": ssnn.SpikeCountLoss(),
}
currents = np.linspace(1.0, 2.0, 21)
fig, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
for name, loss in losses.items():
    values = [loss(ssnn.simulate(net.replace(input_current=c), **run), data).value for c in currents]
    ax.plot(currents, np.array(values) / max(values), label=name)
ax.axvline(1.5, color="0.3", linestyle="--", label="truth")
ax.set(xlabel="input current", ylabel="loss, relative to its largest")
ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
plt.show()
