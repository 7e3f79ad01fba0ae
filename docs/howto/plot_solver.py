r"""
Choose a solver and a step
==========================

``exact_ou`` for additive noise, ``stochastic_heun`` where noise depends on the state and for models from formulas; or
have it measured on your own network. :doc:`/solvers` has the table, and what was measured.
"""

import ssnn_py as ssnn

net = ssnn.SLIFNetwork([[0.0]], 1.5, mu=(15.0, 0.0), sigma=0.5, v_reset=1.4)
choice = ssnn.recommend_solver(net, tol=1e-3, t1=2.0, num_samples=32)
print(choice)

# %%
# The first line is the cheapest:

sol = ssnn.simulate(net, t1=2.0, dt=choice.dt, solver=choice.solver, num_samples=10)
print(choice.solver, choice.dt, sol.num_spikes)

# %%
# As a rule of thumb keep ``dt`` times the largest leak rate below about 1/4 with ``euler_maruyama``, and where results
# matter halve the step once and look whether they stay. All solvers there are:

for info in ssnn.solvers():
    print(f"{info.name:16} order {info.strong_order}, noise: {info.noise}")
