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

fig, (upper, lower) = plt.subplots(2, 1, figsize=(7.5, 5), sharex=True, layout="constrained")
ssnn.plotting.training_history(fit, ax=upper)
ssnn.plotting.training_history(fit, "input_current", truth=[1.4, 0.9], ax=lower)
upper.label_outer()
plt.show()

# %%
# What is fitted together must be told apart by the data: a larger current and a larger weight both make the second
# neuron fire more. :meth:`~ssnn_py.FitResult.diagnose` says how well the data tell: standard errors, combinations that
# the loss does not identify, whether training was still under way, and where the loss would be if the network itself
# had made the data.

print(fit.diagnose())
