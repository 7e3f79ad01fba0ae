r"""
Do two sets of recordings differ?
=================================

Two networks whose neurons fire at nearly the same rates; in one of them the first neuron excites the second. The test
compares the distance of the two sets of trains (the MMD of the signature kernel) with the distances of random
divisions of the same trains: where the recordings differ, it lies outside.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

SIZE, DIVISIONS = 40, 400


def recordings(weight, current, seed):
    net = ssnn.SLIFNetwork([[0.0, weight], [0.0, 0.0]], [1.4, current], (6.0, 5.0), 0.3, v_reset=1.2)
    return ssnn.simulate(net, t1=1.0, dt=0.01, num_samples=SIZE, seed=seed).spike_trains


def divided(X, Y, scales):
    """MMD² of the two halves, and of random divisions, all from one Gram matrix."""
    xx, xy, yy = (ssnn.signature_kernel_gram(A, B, scales=scales) for A, B in ((X, X), (X, Y), (Y, Y)))
    gram = np.block([[xx, xy], [xy.T, yy]])
    signs = np.repeat([1.0, -1.0], SIZE)
    rng = np.random.default_rng(0)
    return signs @ gram @ signs / SIZE**2, [
        (s := rng.permutation(signs)) @ gram @ s / SIZE**2 for _ in range(DIVISIONS)
    ]


reference = recordings(0.0, 1.3, 1)
scales = ssnn.median_scales(reference)
fig, axes = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
for ax, weight, current in zip(axes, (0.0, 2.0), (1.3, 1.0), strict=True):
    other = recordings(weight, current, 2)
    p = ssnn.two_sample_test(reference, other, num_permutations=DIVISIONS, scales=scales).p_value
    seen, chance = divided(reference, other, scales)
    ax.hist(chance, 30, color="0.7", label="random divisions")
    ax.axvline(seen, color="tab:red", label="the two sets")
    ax.set(xlabel="MMD² (biased)", title=f"{'same' if weight == 0 else 'different'} network: p = {p:.3f}")
axes[0].set_ylabel("divisions")
axes[0].legend(loc="upper right")
plt.show()
