r"""
Julia and engines
=================

You need to know no Julia. The first simulation starts one in this process; ``ssnn doctor`` on the command line tells
which, and what to do about what is missing.
"""

import numpy as np

import ssnn_py as ssnn

net = ssnn.SLIFNetwork([[0.0]], 1.5, mu=(15.0, 0.0), sigma=0.3, v_reset=1.4)
run = dict(t1=2.0, dt=0.02, num_samples=8, max_spikes=3, seed=0)
sol = ssnn.simulate(net, **run)
print(sol.engine)

# %%
# Without any Julia there is the reference engine, in plain NumPy: slower, the same numbers.

reference = ssnn.simulate(net, engine="reference", **run)
print(np.abs(sol.spike_times - reference.spike_times).max() < 1e-9)

# %%
# Solvers of DifferentialEquations.jl are an engine of their own: ``ssnn setup --sciml`` once, then
# ``solver="sciml:SOSRA2"``. :doc:`/engines` has the details: the first run, machines without internet, variables.
