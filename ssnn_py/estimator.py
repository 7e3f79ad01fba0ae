"""Networks fitted to recordings as an estimator of scikit-learn: :class:`SpikeTrainModel`.

Needs scikit-learn from 1.6 on, which is not installed with ssnn_py: ``pip install 'ssnn_py[sklearn]'``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

try:
    from sklearn.base import BaseEstimator, DensityMixin
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:  # pragma: no cover
    raise ImportError("ssnn_py.SpikeTrainModel needs scikit-learn: pip install scikit-learn") from error

from .errors import ValidationError
from .gradients import Objective
from .likelihoods import log_likelihood
from .losses import Loss
from .maximum_likelihood import maximum_likelihood
from .network import Network
from .optimizers import Optimizer
from .simulation import prepare, simulate
from .spike_trains import SpikeTrains
from .training import fit
from .validation import as_int, describe

#: What the estimator has arguments of its own for, or takes from the trains.
_OWN = ("t0", "t1", "dt", "num_samples", "seed", "max_spikes", "solver")


class SpikeTrainModel(DensityMixin, BaseEstimator):  # type: ignore[misc]
    r"""A network that is fitted to recorded spike trains, as an estimator of scikit-learn.

    Without a `loss` the most likely parameters θ are taken, as :func:`maximum_likelihood` finds them, and the score of
    held-out trains is their mean log likelihood in nats,

    .. math:: \frac1S \sum_{s=1}^S \log L_\theta(x_s).

    With one, :func:`fit` trains the parameters, and the score is minus the loss of freshly simulated samples, as many
    as there are trains, against these. Greater is better in both cases.

    What stands for scikit-learn's matrix X are spike trains: samples are trials, there are no features, and `y` is
    ignored. ``cross_val_score(model, trains)``, ``GridSearchCV(model, {"network": [...]}).fit(trains)`` and
    ``clone(model)`` work; estimators that compute with the numbers of X, such as scalers, do not.

    Parameters
    ----------
    network : Network
        Where to start.
    wrt : str or sequence of str
        Parameters of the network to find.
    dt : float
        Base step, in the trains' unit of time.
    loss : Loss, optional
        What to make small; default None, the likelihood, which needs a network without noise on its state.
    steps : int
        Of training, default 200; of the search for the most likely parameters, at most so many.
    optimizer : Optimizer, optional
        Of training; default that of :func:`fit`.
    batch_size : int, optional
        Trains per step of training; default all.
    max_spikes : int, optional
        Of each simulated sample; not with a likelihood.
    solver : str
        Default ``"euler_maruyama"``.
    seed : int
        Key of all noise: of training, of the score and, unless it is given another, of :meth:`sample`.
    simulate_arguments : mapping, optional
        Further arguments of :func:`simulate`: v0, i0, engine, device, threads, …

    Attributes
    ----------
    network_ : Network
        With the parameters that were found.
    result_ : MaximumLikelihood or FitResult
        All that was found.
    interval_ : tuple of float
        t0 and t1 of the trains it was fitted to, which samples have, too.

    Raises
    ------
    ValidationError
        By :meth:`fit` and :meth:`score`, never by the constructor, as is scikit-learn's custom.

    Examples
    --------
    >>> import ssnn_py as ssnn
    >>> from sklearn.model_selection import cross_val_score
    >>> net = ssnn.SLIFNetwork([[0.0]], input_current=1.5, alpha=0.0)
    >>> trains = ssnn.simulate(net, t1=2.0, dt=0.05, num_samples=40, seed=1).spike_trains
    >>> model = ssnn.SpikeTrainModel(net.replace(input_current=1.0), "input_current", dt=0.05)
    >>> held_out = cross_val_score(model, trains, cv=4).mean()
    >>> bool(held_out > ssnn.log_likelihood(model.network, trains, dt=0.05).value / 40)
    True
    """

    def __init__(
        self,
        network: Network,
        wrt: str | Sequence[str],
        dt: float,
        *,
        loss: Loss | None = None,
        steps: int = 200,
        optimizer: Optimizer | None = None,
        batch_size: int | None = None,
        max_spikes: int | None = None,
        solver: str = "euler_maruyama",
        seed: int = 0,
        simulate_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.network = network
        self.wrt = wrt
        self.dt = dt
        self.loss = loss
        self.steps = steps
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.max_spikes = max_spikes
        self.solver = solver
        self.seed = seed
        self.simulate_arguments = simulate_arguments

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags

    def fit(self, X: SpikeTrains | Sequence[SpikeTrains], y: Any = None) -> SpikeTrainModel:
        """Find the parameters.

        Parameters
        ----------
        X : SpikeTrains, or list of SpikeTrains
            The recording, whole or in parts, as scikit-learn's splits make them.
        y : ignored

        Returns
        -------
        SpikeTrainModel
            Itself.

        Raises
        ------
        ValidationError
            If an argument, of this or of the constructor, is not what it should be.
        """
        trains = _joined(X)
        run = self._run()
        if isinstance(self.network, Network):
            names = [self.wrt] if isinstance(self.wrt, str) else self.wrt
            for name in names:
                if isinstance(name, str) and name in ("v0", "i0"):
                    raise ValidationError(f"wrt must name parameters of the network, got {name!r}, an initial value")
        if self.loss is None:
            for given in ("optimizer", "batch_size", "max_spikes"):
                if getattr(self, given) is not None:
                    raise ValidationError(f"{given} goes with a loss: the likelihood is that of all trains")
            result: Any = maximum_likelihood(
                self.network, trains, self.wrt, max_iterations=as_int("steps", self.steps, 1), **run
            )
        else:
            result = fit(
                self.network, trains, self._loss(), self.wrt, self.steps, self.optimizer, batch_size=self.batch_size,
                max_spikes=self.max_spikes, t0=trains.t0, t1=trains.t1, **run,
            )  # fmt: skip
        self.result_, self.network_, self.interval_ = result, result.network, (trains.t0, trains.t1)
        return self

    def score(self, X: SpikeTrains | Sequence[SpikeTrains], y: Any = None) -> float:
        """How well the fitted network explains trains: their mean log likelihood, or minus the loss against them.

        Parameters
        ----------
        X : SpikeTrains, or list of SpikeTrains
        y : ignored

        Returns
        -------
        float
            −inf where the likelihood of a train is 0: where a spike is within its neuron's dead zone.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        ValidationError
            As for :func:`log_likelihood`, or for the loss.
        """
        check_is_fitted(self)
        trains, run = _joined(X), self._run()
        if self.loss is None:
            return log_likelihood(self.network_, trains, **run).value / trains.num_samples
        problem, engine = prepare(
            self.network_, t0=trains.t0, t1=trains.t1, num_samples=trains.num_samples, max_spikes=self.max_spikes, **run
        )
        return -Objective(self._loss(), trains).value(problem, engine)

    def sample(self, n_samples: int = 1, seed: int | None = None) -> SpikeTrains:
        """Spike trains of the fitted network, over the interval of the trains it was fitted to.

        Parameters
        ----------
        n_samples : int
        seed : int, optional
            Default that of the constructor.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        """
        check_is_fitted(self)
        run = self._run() if seed is None else {**self._run(), "seed": seed}
        t0, t1 = self.interval_
        return simulate(
            self.network_, t0=t0, t1=t1, num_samples=n_samples, max_spikes=self.max_spikes, **run
        ).spike_trains

    def _loss(self) -> Loss:
        """The loss, without what it has remembered of other trains."""
        if not isinstance(self.loss, Loss):
            raise ValidationError(f"loss must be a Loss, or None for the likelihood, got {describe(self.loss)}")
        return copy.copy(self.loss)

    def _run(self) -> dict[str, Any]:
        further = {} if self.simulate_arguments is None else self.simulate_arguments
        if not isinstance(further, Mapping):
            raise ValidationError(f"simulate_arguments must be a mapping, got {describe(further)}")
        for name in _OWN:
            if name in further:
                raise ValidationError(
                    f"simulate_arguments must not have {name!r}, which is an argument of its own or the trains' own"
                )
        return {"dt": self.dt, "solver": self.solver, "seed": self.seed, **further}


def _joined(trains: Any) -> SpikeTrains:
    """All samples of X, at least one; scikit-learn's splits are lists of single samples."""
    parts = list(trains) if isinstance(trains, (list, tuple)) and trains else [trains]
    for part in parts:
        if not isinstance(part, SpikeTrains):
            raise ValidationError(f"X must be SpikeTrains, or a list of them, got {describe(trains)}")
    joined = parts[0] if len(parts) == 1 else SpikeTrains.concatenate(parts)
    if joined.num_samples == 0:
        raise ValidationError("X must have at least one sample, got none")
    return joined
