"""
Five more neurons of the shelf
==============================

``ssnn.models`` has ten models of the literature: here are the leaky, the quadratic, the theta, the exponential and the
generalised integrate-and-fire neuron, and one model from elsewhere, Merton's jump diffusion.
"""

import matplotlib.pyplot as plt

import ssnn_py as ssnn
from ssnn_py import models

# Title, model, input current, variable, t1, dt, and the units of time and of the variable.
PANELS = [
    ("leaky, fires by escape", models.lif(sigma=0.5), 230.0, "v", 200.0, 0.1, "t (ms)", "v (mV)"),
    ("quadratic", models.qif(sigma=20.0), 90.0, "v", 200.0, 0.05, "t (ms)", "v (mV)"),
    ("theta", models.theta(sigma=0.1), 0.1, "theta", 200.0, 0.1, "t (ms)", "θ"),
    ("exponential, fires by escape", models.eif(sigma=0.6), 0.75, "v", 200.0, 0.02, "t (ms)", "v (mV)"),
    ("GLIF, with a moving threshold", models.glif(), 350.0, "v", 200.0, 0.05, "t (ms)", "v (mV)"),
    ("jump diffusion", models.jump_diffusion(J=-0.25, mu=0.2), None, "s", 3.0, 1e-3, "t (years)", "price"),
]

fig, axes = plt.subplots(3, 2, figsize=(8.5, 6.4), layout="constrained")
for ax, (title, model, current, variable, t1, dt, xlabel, ylabel) in zip(axes.flat, PANELS, strict=True):
    net = ssnn.Network(model, input_current=current)
    sol = ssnn.simulate(net, t1=t1, dt=dt, num_samples=2, saveat=t1 / 1000, solver="stochastic_heun", seed=2)
    for path, color in zip(sol.states[variable][:, :, 0], ("tab:blue", "tab:orange"), strict=True):
        ax.plot(sol.ts, path, color=color, linewidth=0.8)
    if "theta_v" in sol.states:
        threshold = model.parameters["theta_inf"] + sol.states["theta_v"] + sol.states["theta_s"]
        ax.plot(sol.ts, threshold[0, :, 0], color="tab:red", linewidth=0.8, label="threshold")
        ax.legend(loc="lower right", fontsize=8)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, xlim=(0.0, t1))
fig.suptitle("blue and orange: two samples of each")
plt.show()
