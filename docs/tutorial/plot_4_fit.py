r"""
4. Fit
======

Recordings in, parameters out: :func:`ssnn_py.fit` simulates with fresh noise, compares, and follows the gradient.
"""

import matplotlib.pyplot as plt

import ssnn_py as ssnn

# %%
# Recordings are spike trains: from a simulation, or ``ssnn.SpikeTrains.from_lists(samples, t0, t1)`` from your own.

truth = ssnn.SLIFNetwork([[0.0, 2.0], [0.0, 0.0]], [1.4, 0.9], mu=(10.0, 5.0), sigma=0.3, v_reset=1.2)
run = dict(t1=2.0, dt=0.02)
data = ssnn.simulate(truth, num_samples=48, seed=1, **run).spike_trains

# %%
# The start does not know the input currents. The loss compares the expected signatures of the trains: words of
# up to three letters of "who fired when, after whom".

start = truth.replace(input_current=[1.1, 1.2])
fit = ssnn.fit(
    start,
    data,
    ssnn.ExpectedSignatureLoss(depth=3),
    wrt="input_current",
    steps=200,
    optimizer=ssnn.Adam(0.05),
    **run,
)
print("currents:", fit.parameters["input_current"].round(2))
print("gradient:", fit.gradient)

# %%

fig, (ax, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
ax.semilogy(fit.history["loss"], linewidth=0.8, color="0.3")
ax.set(xlabel="step", ylabel="loss")
for k in range(2):
    right.plot(fit.history["input_current"][:, k], color=f"C{k}", label=f"current of neuron {k}")
for value, color in ((1.4, "C0"), (0.9, "C1")):
    right.axhline(value, color=color, linestyle="--", linewidth=0.8)
right.set(xlabel="step", title="dashed: the truth")
right.legend(fontsize=8)
plt.show()

# %%
# What is fitted together must be told apart by the data: a larger current and a larger weight both make the second
# neuron fire more. :meth:`~ssnn_py.FitResult.diagnose` says how well the data tell: standard errors, combinations that
# the loss does not identify, whether training was still under way, and where the loss would be if the network itself
# had made the data.

print(fit.diagnose())
