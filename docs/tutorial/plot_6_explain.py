r"""
6. Explain recordings
=====================

Recordings in, verdict out: does this model explain these spikes, with which parameters, how sure, and where does it
fail? The building block is a *clamped* run: recorded neurons fire when the recording says so, and only then, while
their hazards are integrated.
"""

import matplotlib.pyplot as plt

import ssnn_py as ssnn

# %%
# Sixty trials of two seconds, of a neuron that we pretend not to know. Its spikes come from its hazard alone, nothing
# else is random, and it has no dead zone (``alpha=0``).

truth = ssnn.SLIFNetwork([[0.0]], input_current=1.5, mu=(15.0, 0.0), v_reset=1.4, alpha=0.0)
solve = dict(dt=0.02, solver="exact_ou")
trials = ssnn.simulate(truth, t1=2.0, num_samples=60, seed=1, **solve).spike_trains
train, test = trials[:40], trials[40:]

# %%
# The likelihood of the first forty under a guess, and under the truth:

guess = truth.replace(input_current=1.2, beta=3.0, v_th=0.9)
for name, network in (("guess", guess), ("truth", truth)):
    print(name, ssnn.log_likelihood(network, train, **solve))

# %%
# Without noise on the potential it is exact, and so is its gradient: :func:`ssnn_py.maximum_likelihood` climbs it. The
# standard errors are those of the observed information.

found = ssnn.maximum_likelihood(guess, train, ["input_current", "beta", "v_th"], **solve)
print(found)

# %%
# Spikes do not say in which unit the potential is measured: current, threshold and reset twice as large, and β half as
# large, make the same spikes. Ask for all of them, and the answer names that combination instead of giving numbers that
# mean nothing:

print(ssnn.maximum_likelihood(found.network, train, ["input_current", "beta", "v_th", "v_reset"], **solve))

# %%
# The profile of one parameter: how much likelihood it costs to hold it elsewhere, the others at their best.

profile = found.profile("beta")
fig, ax = plt.subplots(figsize=(5, 3), layout="constrained")
ax.plot(profile.values, profile.log_likelihoods - profile.maximum, "o-")
ax.axhline(-0.5 * 1.96**2, color="0.3", linestyle="--", label="95 % interval")
ax.axvline(5.0, color="C1", label="truth")
ax.set(xlabel="β", ylabel="log likelihood − maximum")
ax.legend()
plt.show()

# %%
# Does it explain the trials that it has not seen? Rescaled by the model's own intensity, intervals must be exponential
# and independent, the PSTH that of fresh simulations, and the law of whole trials theirs, too.

fit = ssnn.goodness_of_fit(found.network, test, **solve)
print(fit)
fit.plot(fig=plt.figure(figsize=(9, 6.4), layout="constrained"))
plt.show()

# %%
# A model that is wrong is found out, and the tests say where. This one falls too little at its spikes:

print(ssnn.goodness_of_fit(found.network.replace(v_reset=0.7), test, **solve).verdict)

# %%
# With noise on the potential the state is hidden, and a particle filter takes the mean over it. The estimate of the
# likelihood is unbiased, and says how sure it is:

for sigma in (0.2, 0.5, 1.0):
    print(sigma, ssnn.log_likelihood(truth.replace(sigma=sigma), test[:5], particles=100, filters=4, **solve))

# %%
# What to know besides
# --------------------
#
# * *The solver.* The likelihood is that of the equations, as far as the solver is exact: of ``euler_maruyama`` its
#   error falls with `dt` alone, and a coarse step biases what is found, β most. ``exact_ou``, ``shark`` and
#   ``stochastic_heun`` are right to higher order.
# * *Dead zones.* With ``alpha > 0`` parameters that put a recorded spike into its neuron's dead zone are impossible.
#   The likelihood ends there, the usual theory of standard errors does not hold, and the result says so. Find the
#   parameters with ``alpha=0`` first, or choose `alpha` well below the smallest hazard between spikes.
# * *Noise and gradients.* ``NegativeLogLikelihood(particles=...)`` lets :func:`ssnn_py.fit` follow the particle filter,
#   at a bias that falls as one over the number of particles. There is no gradient where neurons of the network were not
#   recorded: their spikes appear and vanish.
# * *Real recordings.* ``SpikeTrains.from_neo``, ``from_nwb`` and others read them, with their unit of time; trials are
#   samples. ``examples/grasshopper.py`` does all of this with two recordings of an auditory receptor.
