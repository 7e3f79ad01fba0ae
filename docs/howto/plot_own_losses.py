r"""
Write a loss of your own
========================

If it is a mean over samples, ``SampleMean`` makes it a loss from any function of a sample; its gradient is unbiased.
The function returns one number per sample and, where it depends on the spike times themselves, its derivatives.
"""

import numpy as np

import ssnn_py as ssnn

net = ssnn.SLIFNetwork([[0.0]], 1.5, mu=(15.0, 0.0), sigma=0.5, v_reset=1.4)
run = dict(t1=2.0, dt=0.02, num_samples=1000, solver="exact_ou")


def squares(trains):
    """Sum of the squared spike times of each sample, and its derivatives."""
    times = np.where(np.isfinite(trains.times), trains.times, 0.0)
    return (times**2).sum(axis=1), 2 * times


value, grads = ssnn.value_and_grad(ssnn.SampleMean(squares), net, "input_current", **run)
print(f"E = {value:.3f}, dE/dc = {float(grads['input_current']):.3f}")

# %%
# Against a difference of means with common noise:

h = 0.1
up, down = (squares(ssnn.simulate(net.replace(input_current=1.5 + d), **run).spike_trains)[0] for d in (h, -h))
print(f"{(up.mean() - down.mean()) / (2 * h):.3f}")

# %%
# Any other function ``(generated, data) -> LossValue`` is a loss, too; ``data`` is left out where there is none.
# Without ``entries`` its gradient is pathwise, and a warning says so unless you ask for it:


def mean_first_spike(generated):
    first = np.minimum(generated.spike_times[:, 0], 2.0)
    bar = np.zeros(generated.spike_times.shape)
    bar[:, 0] = 2 * (first.mean() - 0.3) / first.size
    return ssnn.LossValue((first.mean() - 0.3) ** 2, bar)


value, grads = ssnn.value_and_grad(mean_first_spike, net, "input_current", gradient="pathwise", **run)
print(f"{value:.4f}, {float(grads['input_current']):.4f}")
