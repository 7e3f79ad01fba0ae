"""
A ball in gusty air
===================

Nothing here is about neurons alone: an event is where a function of the state reaches zero, and what it does is a
formula. Gusts are noise that is proportional to the velocity. To the right, how far the times of the bounces move where
the ball bounces better, which is exact, too.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

net = ssnn.Network(ssnn.models.bouncing_ball(sigma=0.3))
sol = ssnn.simulate(net, t1=2.5, dt=1e-3, num_samples=5, max_spikes=4, solver="stochastic_heun", saveat=5e-3, seed=2)

fig, (ax, right) = plt.subplots(1, 2, figsize=(8.5, 3.8), width_ratios=[2, 1], layout="constrained")
calm = ssnn.simulate(ssnn.Network(ssnn.models.bouncing_ball()), t1=2.5, dt=1e-3, saveat=5e-3, solver="stochastic_heun")
ax.plot(calm.ts, calm.states["h"][0, :, 0], color="0.3", linestyle="--", label="calm air")
for s, path in enumerate(sol.states["h"][:, :, 0]):
    ax.plot(sol.ts, path, linewidth=1.0, color=f"C{s}", label=f"sample {s + 1}")
ax.set(xlabel="t (s)", ylabel="height (m)", xlim=(0.0, 2.5), ylim=(0.0, 1.4), title="Until the fourth bounce")
ax.legend(ncols=3, loc="upper right", fontsize=8)

shift = sol.jvp({"c": 1.0})
for s in range(5):
    n = sol.num_spikes[s]
    right.plot(np.arange(1, n + 1), shift[s, :n], "o-", color=f"C{s}", markersize=4)
right.set(xlabel="bounce", ylabel="∂(its time)/∂(restitution), s", xticks=range(1, 5))
plt.show()
