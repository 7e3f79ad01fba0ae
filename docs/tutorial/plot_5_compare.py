r"""
5. Compare
==========

Is a model good enough? :func:`ssnn_py.two_sample_test` tells whether two sets of recordings come from the same law.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

truth = ssnn.SLIFNetwork([[0.0, 2.0], [0.0, 0.0]], [1.4, 0.9], mu=(10.0, 5.0), sigma=0.3, v_reset=1.2)
run = dict(t1=2.0, dt=0.02, num_samples=64)
data = ssnn.simulate(truth, seed=1, **run).spike_trains
scales = ssnn.median_scales(data)

# %%
# Fresh samples of the truth, and of networks whose synapse is too weak:

p_values = {}
for weight in (2.0, 1.5, 1.0, 0.5, 0.0):
    other = ssnn.simulate(truth.replace(weights=[[0.0, weight], [0.0, 0.0]]), seed=2, **run).spike_trains
    test = ssnn.two_sample_test(data, other, num_permutations=500, scales=scales)
    p_values[weight] = test.p_value
    print(f"weight {weight}: MMD² = {test.statistic:.4f}, p = {test.p_value:.3f}")

# %%
# A small p says that the two differ; a large one, that so many recordings cannot tell.

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.semilogy(list(p_values), np.array(list(p_values.values())), "o-")
ax.axhline(0.05, color="0.3", linestyle="--", label="5 %")
ax.set(xlabel="weight of the other network (truth: 2)", ylabel="p-value")
ax.legend()
plt.show()
