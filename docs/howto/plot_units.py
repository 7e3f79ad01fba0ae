r"""
Parameters, units and time scales
=================================

Nothing has a unit by itself: take one unit of time and keep to it. A leak rate ``mu`` is 1 over a time constant, noise
``sigma`` is potential over the root of time, rates are per unit of time.
"""

import matplotlib.pyplot as plt
import numpy as np

import ssnn_py as ssnn

# %%
# A neuron in ms and mV: membrane 20 ms, synapses 5 ms, threshold 15 mV above rest, reset by 15 mV.

tau_m, tau_s = 20.0, 5.0
net = ssnn.SLIFNetwork(
    np.zeros((1, 1)),
    input_current=14.0,  # mV: where the potential would settle
    mu=(1 / tau_m, 1 / tau_s),
    sigma=4.0 * np.sqrt(2 / tau_m),  # so that v has a standard deviation of 4 mV without spikes
    v_reset=15.0,
    alpha=0.0,
    intensity=ssnn.ExponentialIntensity(beta=1.0, v_th=15.0, tau=2.0),  # at 15 mV it fires every 2 ms, in the mean
)
sol = ssnn.simulate(net, t1=1000.0, dt=0.5, num_samples=20, saveat=0.5, solver="exact_ou")
print(f"{1000 * sol.num_spikes.mean() / 1000.0:.1f} spikes per second")

# %%
# The same in seconds: rates times 1000, noise times the root of 1000. Results agree in law.

seconds = net.replace(mu=(1000 / tau_m, 1000 / tau_s), sigma=4.0 * np.sqrt(2000 / tau_m), tau=2e-3)
again = ssnn.simulate(seconds, t1=1.0, dt=5e-4, num_samples=20, seed=1, solver="exact_ou")
print(f"{again.num_spikes.mean():.1f} spikes per second")

# %%
# A parameter is one number, one per neuron ``(N,)``, or one per sample and neuron ``(S, N)``. ``net.parameters`` lists
# them; ``replace`` makes another network.

print({name: value.shape for name, value in net.parameters.items()})
plt.figure(figsize=(7, 2.4), layout="constrained")
plt.plot(sol.ts[:1000], sol.v[0, :1000, 0], linewidth=0.8)
plt.xlabel("t (ms)")
plt.ylabel("v (mV)")
plt.show()
