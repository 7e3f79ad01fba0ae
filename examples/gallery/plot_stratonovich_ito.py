r"""
Stratonovich and Itô
====================

Where the noise depends on the state, it matters in which sense the equation is meant. Both solve
:math:`dx = σ x\,dB` from 1 along the same path; in Itô's sense the mean stays 1, in Stratonovich's it is
:math:`e^{σ^2 t/2}`.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

SIGMA = 0.8
run = dict(t1=2.0, dt=0.01, num_samples=4000, saveat=0.02, solver="milstein", seed=0)

fig, (ax, right) = plt.subplots(1, 2, figsize=(8.5, 3.8), layout="constrained")
for meaning, color in (("ito", "tab:blue"), ("stratonovich", "tab:orange")):
    model = ssnn.EventSDE(
        "dx/dt = sigma*x*xi",
        events=ssnn.Event(hazard="0.0*x", then="x = x"),
        parameters=dict(sigma=SIGMA),
        initial=dict(x=1.0),
        interpretation=meaning,
    )
    sol = ssnn.simulate(ssnn.Network(model), **run)
    x = sol.states["x"][:, :, 0]
    ax.plot(sol.ts, x[:3].T, color=color, linewidth=0.9, label=[meaning, None, None])
    right.plot(sol.ts, x.mean(axis=0), color=color, label=f"{meaning}, mean of 4000")
right.plot(sol.ts, np.exp(SIGMA**2 * sol.ts / 2), "--", color="0.3", label="exp(σ² t/2), and 1")
right.axhline(1.0, linestyle="--", color="0.3")
ax.set(xlabel="t", ylabel="x", title="three samples, along the same paths")
right.set(xlabel="t", ylabel="E[x]", title="means")
ax.legend()
right.legend(fontsize=8)
plt.show()
