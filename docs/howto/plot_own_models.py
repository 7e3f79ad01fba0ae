r"""
Write a model of your own
=========================

Any stochastic differential equation with events, as text: :doc:`/models` has the notation.
"""

import ssnn_py as ssnn

model = ssnn.EventSDE(
    """
    dv/dt = (E_L - v + i + I)/tau_m + sigma*xi
    di/dt = -i/tau_s
    """,
    events=ssnn.Event(hazard="exp(beta*(v - v_th))", then="v -= v_reset", dead_zone=0.03),
    synapse="i += w",
    parameters=dict(E_L=0.0, tau_m=0.02, tau_s=0.005, sigma=1.0, beta=8.0, v_th=0.9, v_reset=1.0),
)
print(model)

# %%
# A network of it is used like any other. Whether there are gradients is decided from the formulas:

net = ssnn.Network(model, weights=[[0.0, 2.0], [0.0, 0.0]], input_current=[1.0, 0.7])
net.check_gradients(explain=True)
sol = ssnn.simulate(net, t1=1.0, dt=1e-3, solver="stochastic_heun", num_samples=50)
print(sol.spike_counts.mean(axis=0))
print(sol.vjp(1.0, wrt=("tau_m", "v_th")))

# %%
# What is misspelt is shown where it stands:

try:
    ssnn.EventSDE("dv/dt = (I - v)/tau", events=ssnn.Event(crossing="v - 1", then="v = 0"), parameters=dict(tau_m=1.0))
except ssnn.ValidationError as error:
    print(error)

# %%
# ``ssnn.models`` has :doc:`ten models </shelf>` of the literature; ``ssnn.from_brian2`` reads :doc:`those of Brian 2
# </brian2>`.
