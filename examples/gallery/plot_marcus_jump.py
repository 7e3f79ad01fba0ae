r"""
A jump in Marcus's sense
========================

The equation :math:`dy = y\,dX` along a path X that drifts and jumps. At a jump the state follows the flow of
:math:`dy/du = y\,ΔX` for a unit of fictitious time u, while the clock stands still: y is multiplied by
:math:`e^{ΔX}`, as the chain rule has it. The convention :math:`y + y\,ΔX`, Itô's, is the dotted alternative.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

# Times that come twice are jumps, from the first value to the second.
ts = [0.0, 0.5, 0.5, 1.2, 1.2, 1.6, 1.6, 2.0]
xs = [0.0, 0.2, 0.9, 0.6, -0.5, -0.4, 0.5, 0.6]
path = ssnn.SampledPath(ts, xs)
model = ssnn.EventSDE(
    "dy/dt = y*xi",
    events=ssnn.Event(hazard="0.0*y", then="y = y"),
    initial=dict(y=1.0),
    interpretation="stratonovich",
)
net = ssnn.Network(model, driver=path)
sol = ssnn.simulate(net, t1=2.0, dt=0.01, solver="stochastic_heun", saveat=np.linspace(0.0, 2.0, 401))

fig, (left, middle, right) = plt.subplots(1, 3, figsize=(10.5, 3.6), layout="constrained")
ssnn.plotting.path(np.column_stack([ts, xs]), ax=left)
left.set(title="the driver X", ylabel="X")
left.get_legend().remove()

middle.plot(sol.ts, sol.states["y"][0, :, 0], ".", markersize=2.5, color="C1", label="simulated")
middle.plot(ts, np.exp(xs), "o", markerfacecolor="none", color="0.3", label="exp(X) at the knots")
ito, steps = 1.0, np.diff(xs)
for t, step, jumps in zip(ts[1:], steps, np.diff(ts) == 0, strict=True):
    ito *= 1.0 + step if jumps else np.exp(step)
    if jumps:
        middle.plot(t, ito, "x", color="C3", label="y + y ΔX instead" if t == 0.5 else None)
middle.set(title="the state y", xlabel="time", ylabel="y")
middle.legend(fontsize=8)

u = np.linspace(0.0, 1.0, 50)
for t, before, after in ((0.5, 0.2, 0.9), (1.2, 0.6, -0.5), (1.6, -0.4, 0.5)):
    (line,) = right.plot(u, np.exp(before + u * (after - before)), label=f"t = {t}")
    right.plot([0, 1], np.exp(before) * np.array([1.0, 1.0 + after - before]), ":", color=line.get_color())
right.set(title="within a jump; dotted: y + y ΔX u", xlabel="fictitious time u", ylabel="y")
right.legend(fontsize=8)
plt.show()
