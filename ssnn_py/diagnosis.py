"""What a training has found, and how well the data say it: curvature, standard errors, the network's own data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import engine as engines
from .errors import NoGradientError, ValidationError
from .gradients import differentiate
from .network import Network
from .simulation import Solution
from .spike_trains import SpikeTrains
from .training_plan import Plan, step_seed
from .validation import as_float, as_int, as_names
from .values import Record

Array = NDArray[np.float64]

# Streams of noise apart from those of the steps of any training.
_GENERATED, _OWN = 2**40, 2**41
# More coordinates than these take more simulations than anyone waits for.
MAX_COORDINATES = 200


@dataclass(frozen=True, eq=False)
class Diagnosis(Record):
    """What :meth:`FitResult.diagnose` returns; its ``repr`` says it in words. P coordinates, R repeats.

    Attributes
    ----------
    labels : tuple of str, length P
        The trained coordinates: ``"beta"``, ``"mu[1]"``, ``"weights[0, 1]"`` (of weights, those at synapses).
    values : ndarray, shape (P,)
        Where the training has ended.
    gradient, gradient_error : ndarray, shape (P,)
        The mean gradient of the loss there over R repeats of the noise, and its standard error.
    hessian : ndarray, shape (P, P)
        The curvature of the mean loss there.
    standard_errors : ndarray, shape (P,)
        By how much the estimate would scatter over repeated data and noise of the same size; infinite where the loss
        does not identify the coordinate.
    combinations : ndarray, shape (P, P)
        Rows are the combinations of coordinates in which the loss is curved by itself, from the most to the least
        curved; in units of `scales`.
    curvatures, curvature_errors : ndarray, shape (P,)
        The curvature along each of them, in these units, and its standard error over the repeats.
    identified : ndarray of bool, shape (P,)
        Whether each combination is identified by the loss.
    scales : ndarray, shape (P,)
        The size of each coordinate: its own value, or a tenth of the largest of its parameter where that is more.
    moved : ndarray, shape (P,)
        By how much each coordinate moved in the last third of the training.
    still_moving : ndarray of bool, shape (P,)
        Whether it went one way then: by more than twice what steps of these lengths in random directions make, and more
        than a hundredth of its scale.
    losses : ndarray, shape (R,)
        The loss against the data, once for each repeat of the noise.
    own_losses : ndarray, shape (R,)
        The same where the network's own simulated data take the place of the data; empty where the data are neither
        spike trains nor a solution.
    gradient_kind : str
        Which gradient was differentiated, "unbiased" or "pathwise".
    """

    labels: tuple[str, ...]
    values: Array
    gradient: Array
    gradient_error: Array
    hessian: Array
    standard_errors: Array
    combinations: Array
    curvatures: Array
    curvature_errors: Array
    identified: NDArray[np.bool_]
    scales: Array
    moved: Array
    still_moving: NDArray[np.bool_]
    losses: Array
    own_losses: Array = field(default_factory=lambda: np.empty(0))
    gradient_kind: str = "unbiased"

    @property
    def p_value(self) -> float:
        """How rarely the network's own data make a loss as large as the data do: (1 + how many of R)/(R + 1).

        NaN where there are no own losses. Small where training has stopped too early or the network cannot make the
        data. Since parameters were fitted to the data, it is rather too large than too small.
        """
        own = self.own_losses
        return float((1 + (own >= self.losses.mean()).sum()) / (own.size + 1)) if own.size else math.nan

    @property
    def unidentified(self) -> tuple[str, ...]:
        """The combinations that the loss does not identify, in words; coordinates below a tenth are left out."""
        return unidentified(self.combinations, self.identified, self.labels)

    def __repr__(self) -> str:
        head = ("", "value", "standard error", "gradient", "moved in last third")
        rows = [head]
        for k, label in enumerate(self.labels):
            gradient = f"{self.gradient[k]:.3g} ± {self.gradient_error[k]:.2g}"
            moved = f"{self.moved[k]:+.3g}{', still moving' if self.still_moving[k] else ''}"
            rows.append((label, f"{self.values[k]:.5g}", f"{self.standard_errors[k]:.2g}", gradient, moved))
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([*lines, *self.remarks()])

    def remarks(self) -> list[str]:
        """What follows from the numbers, a sentence each."""
        said = [f"The loss does not identify {what}." for what in self.unidentified]
        if self.still_moving.any():
            said.append(f"Training was still under way: {_named(self.labels, self.still_moving)} went one way.")
        if self.own_losses.size:
            low, high, mean = self.own_losses.min(), self.own_losses.max(), self.losses.mean()
            against = (
                f"The loss is {mean:.4g}; against the network's own data it is {low:.4g} to {high:.4g} "
                f"(p = {self.p_value:.2g})"
            )
            far = self.p_value < 2 / (self.own_losses.size + 1)
            said.append(
                against
                + (
                    ": far from where repeated data would be. Training stopped too early, or no parameters of this "
                    "network make such data."
                    if far
                    else ": as repeated data would be."
                )
            )
        return said


def _named(labels: Sequence[str], chosen: NDArray[np.bool_]) -> str:
    names = [label for label, one in zip(labels, chosen, strict=True) if one]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def in_words(row: Array, labels: Sequence[str]) -> str:
    """A combination of coordinates, each in units of its scale, the largest first and positive."""
    order = [int(k) for k in np.argsort(-np.abs(row), kind="stable") if abs(row[k]) >= 0.1 * np.abs(row).max()]
    if len(order) == 1:
        return labels[order[0]]
    sign = np.sign(row[order[0]])
    terms = [f"{'-' if sign * row[k] < 0 else '+'} {abs(row[k]):.2g}·{labels[k]}" for k in order[:5]]
    return " ".join(terms).removeprefix("+ ") + (" + …" if len(order) > 5 else "") + " (each in units of its size)"


def unidentified(combinations: Array, identified: NDArray[np.bool_], labels: Sequence[str]) -> tuple[str, ...]:
    """The combinations that are not identified, in words."""
    return tuple(in_words(row, labels) for row, known in zip(combinations, identified, strict=True) if not known)


class Coordinates:
    """The trained parameters as one vector, and back."""

    def __init__(self, network: Network, parameters: Mapping[str, Array], names: Sequence[str]) -> None:
        self.parameters = dict(parameters)
        self.places: dict[str, NDArray[np.intp]] = {}
        labels: list[str] = []
        for name in names:
            array = self.parameters[name]
            self.places[name] = np.asarray(network.own_entries(name, array), dtype=np.intp)
            labels += [
                name + (f"[{', '.join(map(str, np.unravel_index(int(k), array.shape)))}]" if array.ndim else "")
                for k in self.places[name]
            ]
        self.labels = tuple(labels)
        self.values = self.vector(self.parameters)
        sizes = []
        for name, place in self.places.items():
            own = np.abs(self.parameters[name].ravel()[place])
            largest = float(own.max(initial=0.0))
            sizes.append(np.maximum(own, 0.1 * largest) if largest > 0 else np.ones(own.size))
        self.scales = np.concatenate(sizes)

    def vector(self, arrays: Mapping[str, Array]) -> Array:
        """Entries of arrays of these names that are coordinates."""
        return np.concatenate([np.ravel(arrays[name])[place] for name, place in self.places.items()])

    def at(self, vector: Array) -> dict[str, Array]:
        """The parameters with other coordinates."""
        moved, start = dict(self.parameters), 0
        for name, place in self.places.items():
            array = self.parameters[name].copy().ravel()
            array[place] = vector[start : start + place.size]
            moved[name], start = array.reshape(self.parameters[name].shape), start + place.size
        return moved


def diagnose(
    plan: Plan,
    parameters: Mapping[str, Array],
    history: Mapping[str, Array],
    wrt: str | Sequence[str] | None,
    repeats: int,
    step: float,
    progress: bool,
) -> Diagnosis:
    """As :meth:`FitResult.diagnose` says, of a training with this plan that has come to `parameters`."""
    names = tuple(plan.start) if wrt is None else as_names("wrt", wrt, tuple(plan.start))
    repeats, step = as_int("repeats", repeats, 2), as_float("step", step, positive=True)
    coordinates = Coordinates(plan.network, parameters, names)
    count = coordinates.values.size
    if count > MAX_COORDINATES:
        raise ValidationError(
            f"wrt must name parameters of at most {MAX_COORDINATES} entries in all, got {count}: their curvature would "
            f"take {2 * count * repeats} simulations"
        )
    from tqdm.auto import tqdm

    evaluate = _Evaluation(plan, coordinates)
    total = repeats * (2 + 2 * count)
    kinds, losses, gradients, own_losses, own_gradients = set(), [], [], [], []
    hessians = np.zeros((repeats, count, count))
    with tqdm(total=total, unit="simulation", mininterval=0.5, disable=not progress) as bar:

        def measured(vector: Array, repeat: int, data: Any) -> tuple[float, Array]:
            value, gradient, kind = evaluate(vector, repeat, data)
            kinds.add(kind)
            bar.update()
            return value, gradient

        for r in range(repeats):
            value, gradient = measured(coordinates.values, r, plan.data)
            losses.append(value)
            gradients.append(gradient)
            for j in range(count):
                hessians[r, j] = _slope(lambda v, r=r: measured(v, r, plan.data)[1], coordinates, j, step, gradient)
            own = evaluate.own_data(r)
            if own is not None:
                value, gradient = measured(coordinates.values, r, own)
                own_losses.append(value)
                own_gradients.append(gradient)
    moved, moving = _last_third(history, parameters, coordinates)
    return _judged(
        coordinates,
        np.array(losses),
        np.array(gradients),
        hessians,
        np.array(own_losses),
        np.array(own_gradients if own_gradients else gradients),
        moved,
        moving,
        "unbiased" if kinds == {"unbiased"} else "pathwise",
    )


class _Evaluation:
    """Loss and gradient at any coordinates, with the noise of any repeat."""

    def __init__(self, plan: Plan, coordinates: Coordinates) -> None:
        self.plan, self.coordinates, self.names = plan, coordinates, tuple(coordinates.places)

    def problem(self, vector: Array, seed: int) -> engines.Problem:
        parameters = self.coordinates.at(vector)
        return self.plan.problem_at(parameters, self.plan.network_at(parameters), seed)

    def __call__(self, vector: Array, repeat: int, data: Any) -> tuple[float, Array, str]:
        plan = self.plan
        problem = self.problem(vector, step_seed(plan.seed, _GENERATED + repeat))
        outcome = differentiate(plan.objective(data), problem, plan.engine, self.names, plan.gradient)
        gradient = self.coordinates.vector(outcome.plain_gradients)
        if not (math.isfinite(outcome.value) and np.isfinite(gradient).all()):
            raise NoGradientError(f"the loss near the fitted parameters is {outcome.value}, its gradient {gradient}")
        return outcome.value, gradient, outcome.gradient

    def own_data(self, repeat: int) -> Any:
        """As many samples as the data have, from the network as it was fitted; None where data are of another kind."""
        plan = self.plan
        if not isinstance(plan.data, SpikeTrains | Solution):
            return None
        problem = self.problem(self.coordinates.values, step_seed(plan.seed, _OWN + repeat))
        if plan.input_spikes is None:
            problem = replace(problem, num_samples=plan.num_recorded)
        problem.network.check_samples(problem.num_samples, problem.initial)
        solution = Solution(problem, plan.engine, engines.engine_for(plan.engine, problem).solve(problem))
        return solution if isinstance(plan.data, Solution) else solution.spike_trains


def _slope(gradient_at: Any, coordinates: Coordinates, j: int, step: float, here: Array) -> Array:
    """How the gradient changes with coordinate j, the noise frozen; from one side where the other is not allowed."""
    ends, width = [], 0.0
    for sign in (1.0, -1.0):
        vector = coordinates.values.copy()
        vector[j] += sign * step * coordinates.scales[j]
        try:
            ends.append(gradient_at(vector))
            width += step * coordinates.scales[j]
        except ValidationError:
            ends.append(here)
    if width == 0.0:
        raise ValidationError(
            f"{coordinates.labels[j]} = {coordinates.values[j]:.5g} can be moved to neither side by step = {step:g} "
            "of its size: give a smaller step"
        )
    return np.asarray((ends[0] - ends[1]) / width)


def _last_third(
    history: Mapping[str, Array], parameters: Mapping[str, Array], coordinates: Coordinates
) -> tuple[Array, NDArray[np.bool_]]:
    """By how much coordinates moved in the last third of a training, and whether they went one way."""
    paths = []
    for name, place in coordinates.places.items():
        last = np.ravel(parameters[name])
        kept = np.reshape(history[name], (-1, last.size)) if name in history else np.empty((0, last.size))
        paths.append(np.concatenate([kept, last[None]])[:, place])
    path = np.concatenate(paths, axis=1)
    path = path[len(path) - 1 - (len(path) - 1) // 3 :]
    steps = np.diff(path, axis=0)
    moved = path[-1] - path[0]
    at_random = 2 * np.sqrt((steps**2).sum(axis=0))
    return moved, (np.abs(moved) > at_random) & (np.abs(moved) > 0.01 * coordinates.scales)


def _judged(
    coordinates: Coordinates,
    losses: Array,
    gradients: Array,
    hessians: Array,
    own_losses: Array,
    scattered: Array,
    moved: Array,
    moving: NDArray[np.bool_],
    kind: str,
) -> Diagnosis:
    repeats, scales = len(losses), coordinates.scales
    hessians = (hessians + hessians.transpose(0, 2, 1)) / 2
    hessian = hessians.mean(axis=0)
    scaled = hessian * scales[:, None] * scales
    curvatures, vectors = np.linalg.eigh(scaled)
    order = np.argsort(-curvatures, kind="stable")
    curvatures, combinations = curvatures[order], vectors[:, order].T
    each = np.einsum("ki,rij,kj->rk", combinations * scales, hessians, combinations * scales)
    errors = each.std(axis=0, ddof=1) / math.sqrt(repeats)
    # The scatter of the gradient over repeated data and noise, along the combinations.
    scatter = np.cov((scattered * scales) @ combinations.T, rowvar=False, ddof=1).reshape(len(scales), len(scales))
    flat = 1e-9 * np.abs(curvatures).max(initial=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(np.diag(scatter)) / np.abs(curvatures)
        identified = (curvatures > 2 * errors) & (curvatures > flat) & (spread < 1.0)
    inverse = np.where(identified, 1 / np.where(identified, curvatures, 1.0), 0.0)
    covariance = combinations.T @ (inverse[:, None] * scatter * inverse) @ combinations
    standard_errors = scales * np.sqrt(np.maximum(np.diag(covariance), 0.0))
    lost = (combinations[~identified] ** 2).sum(axis=0) > 0.01
    return Diagnosis(
        labels=coordinates.labels,
        values=coordinates.values,
        gradient=gradients.mean(axis=0),
        gradient_error=gradients.std(axis=0, ddof=1) / math.sqrt(repeats),
        hessian=hessian,
        standard_errors=np.where(lost, np.inf, standard_errors),
        combinations=combinations,
        curvatures=curvatures,
        curvature_errors=errors,
        identified=identified,
        scales=scales,
        moved=moved,
        still_moving=moving,
        losses=losses,
        own_losses=own_losses,
        gradient_kind=kind,
    )
