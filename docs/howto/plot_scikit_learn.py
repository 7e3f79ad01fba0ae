r"""
Use scikit-learn's validation and searches
==========================================

:class:`ssnn_py.SpikeTrainModel` is a network as an estimator of scikit-learn, whose samples are trials: its splits,
``cross_val_score`` and ``GridSearchCV`` choose between models by how well they explain trials that they have not seen.
"""

import matplotlib.pyplot as plt
from sklearn.model_selection import GridSearchCV

import ssnn_py as ssnn

truth = ssnn.SLIFNetwork([[0.0]], input_current=1.5, sigma=0.0, alpha=0.0)
run = dict(dt=0.02, solver="exact_ou")
trains = ssnn.simulate(truth, t1=5.0, num_samples=60, seed=1, **run).spike_trains

# %%
# Without a ``loss`` the parameters are the most likely ones, and the score is the mean log likelihood of held-out
# trials, in nats; with one, training makes it small, and the score is minus the loss.

constant = truth.replace(beta=0.0)  # fires at random, whatever its potential
candidates = {
    "constant rate": dict(network=[constant], wrt=["tau"]),
    "current": dict(network=[truth.replace(input_current=1.0)], wrt=["input_current"]),
    "current, slope": dict(network=[truth.replace(input_current=1.0)], wrt=[("input_current", "beta")]),
}
model = ssnn.SpikeTrainModel(constant, "tau", **run)
search = GridSearchCV(model, list(candidates.values()), cv=5).fit(trains)
print(search.best_estimator_.result_)

# %%

scores = [search.cv_results_[f"split{fold}_test_score"] for fold in range(5)]
fig, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
for fold, score in enumerate(scores):
    ax.plot(score, range(3), "o", color="0.6", label="each fold" if fold == 0 else None)
ax.plot(search.cv_results_["mean_test_score"], range(3), "|", markersize=14, label="mean of five")
ax.set_yticks(range(3), candidates)
ax.set(xlabel="log likelihood of a held-out trial (nats)", ylim=(-0.5, 2.5))
ax.legend(fontsize=8, loc="lower right")
plt.show()

# %%
# A slope that is fitted, too, gains nothing: that of the start is the true one.
#
# Of scikit-learn's own checks of estimators none applies as it stands: all of them give a matrix, which is refused.
# Once rows of matrices are made into trains it passes all (``tests/test_estimator.py``). Steps that compute with the
# numbers of a matrix, scalers say, have no meaning here. Only ``check_array_api_input`` is skipped, by scikit-learn.
