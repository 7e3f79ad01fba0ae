"""Networks, spike trains, solutions and trainings in files: :func:`save` and :func:`load`.

Format "ssnn", version 3
------------------------

An archive of NumPy's (``.npz``) without pickles. Its entry ``header`` is a text in JSON,
``{"format": "ssnn", "version": 2, "object": VALUE}``; every other entry is an array of numbers. VALUE is

* null, true, false, a whole number, a text, or a finite number, as JSON has them;
* ``{"number": "inf"}``, ``"-inf"`` or ``"nan"``;
* ``{"array": NAME}``, the entry of that name;
* ``[VALUE, …]``, a list; ``{"tuple": [VALUE, …]}``; ``{"mapping": [[NAME, VALUE], …]}``;
* ``{"is": KIND, FIELD: VALUE, …}``, an object:

======================  ============================================================================================
KIND                    fields
======================  ============================================================================================
SLIFNetwork             weights, mu, sigma, v_reset, alpha, input_current, intensity, diffusion, reset, interpretation,
                        driver, inputs (null: none)
Network                 model, weights (null: none), n, input_current (null: not heard), driver, inputs (null: none),
                        parameters
weights                 sparse (null: dense; else "csr_matrix" or "csr_array"), n, indptr, targets, values and delays
                        (null: none, or a number): of every synapse, row by row
SpikeInput              weights (of M channels, not of n neurons, by the size of indptr), target
EventSDE                equations, events, synapse, parameters, initial, interpretation
Event                   hazard, crossing, then, dead_zone
ConstantCurrent         input_current
SampledCurrent          values, times, interpolation
FormulaCurrent          formula, parameters
JuliaFunction           source, derivative
ExponentialIntensity    beta, v_th, tau, cap
FormulaIntensity        formula, parameters
ThresholdIntensity      v_th
ConstantDiffusion
AffineDiffusion         offset, slope
BrownianMotion
FractionalBrownianMotion  hurst, scale
SampledPath             xs, ts, interpolation
JumpProcess             rate, jumps
GivenJumps              times, sizes
NormalJumps             mean, std
ExponentialJumps        mean
DriverSum               terms
NoiseDrivers            drivers
SpikeTrains             times, neurons, num_neurons, t0, t1
Solution                problem, engine, raw
Problem                 network, t0, t1, dt, num_steps, num_samples, first_sample, seed, max_spikes, initial, saveat,
                        solver, threads, noise_levels, options, insertions, device, precision; null where there is
                        none: input_spikes, recording, start
RawSolution             spike_times, spike_neurons, num_spikes, truncated, states, tangents, spike_events, at_recorded
                        (null: no recording), last_state (null: not known)
Start                   variables, step, time; null where there is none: fired, spike_times, spike_neurons
Tangents                spike_times, states, s, s_at_saves, s_at_insertions; null where there is none: log_hazards,
                        hazards, at_end
Recording               trains, neurons
AtRecordedSpikes        log_hazards, hazards, s
Insertions              neurons, spikes, saves
FitResult               network, parameters, history, stopped, gradient, state, settings
======================  ============================================================================================

The fields are the arguments, or the attributes, of the classes of these names. A change to any of this is a new
version. Older ones are read, too: in version 1 there are no delays and no inputs, and drivers are Brownian motion; in
versions 1 and 2 solutions have no last state, and cannot be continued; before version 4 all were computed on the
processor, and before version 5 in double precision.
"""

from __future__ import annotations

import functools
import json
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from . import engine as engines
from .components import Component
from .continuation import check_start
from .currents import ConstantCurrent, FormulaCurrent, JuliaFunction, SampledCurrent
from .diffusions import AffineDiffusion, ConstantDiffusion
from .drivers import (
    BrownianMotion,
    DriverSum,
    ExponentialJumps,
    FractionalBrownianMotion,
    GivenJumps,
    JumpProcess,
    NoiseDrivers,
    NormalJumps,
    SampledPath,
)
from .engine import AtRecordedSpikes, Insertions, Problem, RawSolution, Recording, Start, Tangents
from .errors import ValidationError
from .formulas.event_sde import Event, EventSDE
from .intensities import ExponentialIntensity, FormulaIntensity, ThresholdIntensity
from .network import Network
from .simulation import Solution, prepare
from .slif import SLIFNetwork
from .spike_trains import SpikeTrains
from .synapses import SpikeInput
from .training import FORMAT as CHECKPOINT
from .training import FitResult
from .training_plan import npz, write_npz
from .validation import as_int, describe

FORMAT, VERSION = "ssnn", 5

#: The fields that came with a later version, by what they are in files of an older one.
ADDED: dict[str, dict[str, Any]] = {
    "SLIFNetwork": {"driver": None, "inputs": None},
    "Network": {"driver": None, "inputs": None},
    "weights": {"delays": None},
    "Problem": {"input_spikes": None, "recording": None, "start": None, "device": "cpu", "precision": "float64"},
    "RawSolution": {"at_recorded": None, "last_state": None},
    "Tangents": {"log_hazards": None, "hazards": None, "at_end": None},
}

#: What one may save by itself.
SAVED = (Network, SpikeTrains, Solution, FitResult)


def save(path: str | os.PathLike[str], value: Network | SpikeTrains | Solution | FitResult) -> None:
    """Write a network, spike trains, a solution or a training to a file, whole or not at all.

    The file is an ``.npz`` archive without pickles, which :func:`load` reads to an equal object, on other machines and
    by later versions too. A solution's file has its problem, network and noise's key included, so that gradients can be
    asked for again; a training's has its network, optimizer's memory and history, but neither data nor loss.

    Parameters
    ----------
    path : str or path
        ``.npz`` is appended where it is missing; a file that is there is replaced.
    value : Network, SpikeTrains, Solution or FitResult
        An :class:`SLIFNetwork`, too. Parts must be this package's own or formulas: of a class of one's own the file has
        no code to make it again.

    Raises
    ------
    ValidationError
        If `value` or a part of it cannot be saved, or the folder does not exist.

    See Also
    --------
    FitResult.save : a checkpoint, without the network's fixed part, from which `fit` resumes.

    Examples
    --------
    >>> import tempfile, os
    >>> network = SLIFNetwork([[0.0, 0.5], [0.0, 0.0]], input_current=1.5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(os.path.join(folder, "network"), network)
    ...     load(os.path.join(folder, "network")) == network
    True
    """
    if not isinstance(value, SAVED):
        raise ValidationError(f"value must be a Network, SpikeTrains, Solution or FitResult, got {describe(value)}")
    writer = _Writer()
    header = json.dumps({"format": FORMAT, "version": VERSION, "object": writer.value(value)}, ensure_ascii=False)
    file = _path(path)
    if not file.parent.is_dir():
        raise ValidationError(f"path must be in an existing folder, but there is no {file.parent}")
    write_npz(file, {"header": np.array(header), **writer.arrays})


def load(path: str | os.PathLike[str], *, allow_code: bool = False) -> Any:
    """Read what :func:`save` wrote; nothing of the file is executed.

    Parameters
    ----------
    path : str or path
    allow_code : bool, optional
        Whether the file may have a :class:`JuliaFunction`, which Julia runs with the rights of this process as soon as
        the network is simulated. Default False: allow it for files that you trust.

    Returns
    -------
    Network, SpikeTrains, Solution or FitResult
        Equal to what was saved.

    Raises
    ------
    ValidationError
        If there is no such file, it is none of this package's, of another version of the format, or damaged; or if it
        has code that is not allowed.

    Examples
    --------
    >>> import tempfile, os
    >>> trains = SpikeTrains([[0.5, 1.0]], [[0, 0]], num_neurons=1, t0=0.0, t1=2.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "trains.npz")
    ...     save(path, trains)
    ...     load(path) == trains
    True
    """
    file = _path(path)
    if not file.is_file():
        raise ValidationError(f"path must be that of a saved object, but there is no {file}")
    header, arrays = _contents(file)
    try:
        return _Reader(arrays, allow_code, header["version"]).whole(header["object"])
    except _RefusedError as error:
        raise ValidationError(f"{file} {error}") from None
    except Exception as error:
        why = f"it has no {error}" if isinstance(error, KeyError) and type(error) is KeyError else error
        raise ValidationError(f"{file} is damaged: {why}") from None


class _RefusedError(Exception):
    """A file that is in order is not read here."""


def _path(path: Any) -> Any:
    try:
        return npz(path)
    except (TypeError, ValueError):
        raise ValidationError(f"path must be the path of a file, got {describe(path)}") from None


def _contents(file: Any) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of a file of this version; else a ValidationError that says what the file is."""
    foreign = f"{file} is not a file of ssnn_py"
    with file.open("rb") as stream:
        try:
            archive = np.load(stream, allow_pickle=False)
        except (zipfile.BadZipFile, EOFError):
            raise ValidationError(f"{file} is damaged, or not a file of ssnn_py") from None
        except Exception:
            raise ValidationError(foreign) from None
        if not isinstance(archive, np.lib.npyio.NpzFile) or "header" not in archive.files:
            raise ValidationError(foreign)
        try:
            header = json.loads(str(archive["header"]))
            format, version = header["format"], header["version"]
        except zipfile.BadZipFile as error:
            raise ValidationError(f"{file} is damaged: {error}") from None
        except Exception:
            raise ValidationError(foreign) from None
        if format == CHECKPOINT["format"]:
            raise ValidationError(f"{file} is a checkpoint of fit: read it with FitResult.load(path, network)")
        if format != FORMAT:
            raise ValidationError(foreign)
        if isinstance(version, bool) or version not in range(1, VERSION + 1):
            newer = isinstance(version, int) and version > VERSION
            advice = "install a newer ssnn_py" if newer else "this ssnn_py cannot read it"
            raise ValidationError(f"{file} has version {version!r} of the format, not {VERSION}: {advice}")
        try:
            arrays = {name: archive[name] for name in archive.files if name != "header"}
        except Exception as error:
            raise ValidationError(f"{file} is damaged: {error}") from None
    return header, arrays


# --- what objects consist of ------------------------------------------------------------------------------------------

#: Records whose fields are kept as they are. ``tests/test_saving.py`` holds them against the classes.
RECORDS: dict[type, tuple[str, ...]] = {
    SpikeTrains: ("times", "neurons", "num_neurons", "t0", "t1"),
    Solution: ("problem", "engine", "raw"),
    Problem: (
        *("network", "t0", "t1", "dt", "num_steps", "num_samples", "first_sample", "seed", "max_spikes", "initial"),
        *("saveat", "solver", "threads", "noise_levels", "options", "insertions", "input_spikes"),
        *("recording", "start", "device", "precision"),
    ),
    RawSolution: (
        "spike_times",
        "spike_neurons",
        "num_spikes",
        "truncated",
        "states",
        "tangents",
        "spike_events",
        "at_recorded",
        "last_state",
    ),
    Start: ("variables", "step", "time", "fired", "spike_times", "spike_neurons"),
    Tangents: ("spike_times", "states", "s", "s_at_saves", "s_at_insertions", "log_hazards", "hazards", "at_end"),
    Recording: ("trains", "neurons"),
    AtRecordedSpikes: ("log_hazards", "hazards", "s"),
    Insertions: ("neurons", "spikes", "saves"),
    NormalJumps: ("mean", "std"),
    ExponentialJumps: ("mean",),
    FitResult: ("network", "parameters", "history", "stopped", "gradient", "state", "settings"),
}

#: Components by what their constructors take: the arguments that are parameters, by their names as such, then others,
#: by the attributes that keep them. Those of None have a formula, and any parameters.
COMPONENTS: dict[type[Component], tuple[dict[str, str], dict[str, str]] | None] = {
    ConstantCurrent: ({"input_current": "input_current"}, {}),
    SampledCurrent: ({"values": "input_current"}, {"times": "knots", "interpolation": "interpolation"}),
    FormulaCurrent: None,
    JuliaFunction: ({}, {"source": "source", "derivative": "derivative"}),
    ExponentialIntensity: ({"beta": "beta", "v_th": "v_th", "tau": "tau"}, {"cap": "cap"}),
    FormulaIntensity: None,
    ThresholdIntensity: ({"v_th": "v_th"}, {}),
    ConstantDiffusion: ({}, {}),
    AffineDiffusion: ({"offset": "diffusion_offset", "slope": "diffusion_slope"}, {}),
    BrownianMotion: ({}, {}),
    FractionalBrownianMotion: ({"hurst": "hurst", "scale": "path_scale"}, {}),
    SampledPath: ({"xs": "driver_values"}, {"ts": "ts", "interpolation": "interpolation"}),
    JumpProcess: ({"rate": "jump_rate"}, {"jumps": "law"}),
    GivenJumps: ({"times": "jump_times", "sizes": "jump_sizes"}, {}),
    DriverSum: ({}, {"terms": "terms"}),
    NoiseDrivers: ({}, {"drivers": "drivers"}),
}

_SLIF_PARAMETERS = ("mu", "sigma", "v_reset", "alpha")
_SLIF_ATTRIBUTES = ("input_current", "intensity", "diffusion", "reset", "interpretation", "driver", "inputs")
_SPARSE = ("csr_matrix", "csr_array")

#: The fields of every kind of object.
SCHEMA: dict[str, tuple[str, ...]] = {
    **{kind.__name__: fields for kind, fields in RECORDS.items()},
    **{
        kind.__name__: ("formula", "parameters") if names is None else (*names[0], *names[1])
        for kind, names in COMPONENTS.items()
    },
    "SLIFNetwork": ("weights", *_SLIF_PARAMETERS, *_SLIF_ATTRIBUTES),
    "Network": ("model", "weights", "n", "input_current", "driver", "inputs", "parameters"),
    "weights": ("sparse", "n", "indptr", "targets", "values", "delays"),
    "SpikeInput": ("weights", "target"),
    "EventSDE": ("equations", "events", "synapse", "parameters", "initial", "interpretation"),
    "Event": ("hazard", "crossing", "then", "dead_zone"),
}


def _component_fields(part: Component) -> dict[str, Any]:
    names = COMPONENTS[type(part)]
    if names is None:
        return {"formula": cast(Any, part).formula, "parameters": dict(part.parameters)}
    parameters, others = names
    return {argument: part.parameters[name] for argument, name in parameters.items()} | {
        argument: getattr(part, name) for argument, name in others.items()
    }


class _Weights:
    """The synapses of a network, or of its inputs, with weights and delays, dense or sparse, as the file has them."""

    def __init__(self, network: Network | SpikeInput) -> None:
        self.network, self.prefix = network, "input_" if isinstance(network, SpikeInput) else ""

    def fields(self) -> dict[str, Any]:
        network, synapses = self.network, self.network.synapses
        sparse = None if network._sparse is None else network._sparse[0].__name__
        if sparse not in (None, *_SPARSE):
            raise ValidationError(f"weights must be dense or a matrix of scipy.sparse to be saved, got a {sparse}")
        delays = network.parameters.get(f"{self.prefix}delays")
        return {
            "sparse": sparse,
            "n": network.num_neurons,
            "indptr": synapses.indptr,
            "targets": synapses.targets,
            "values": self.at_synapses(network.parameters[f"{self.prefix}weights"]),
            "delays": delays if delays is None or delays.ndim == 0 else self.at_synapses(delays),
        }

    def at_synapses(self, parameter: NDArray[Any]) -> NDArray[Any]:
        return self.network.synapses.at(parameter)


class _Writer:
    """Makes values of the file's JSON of objects, and collects the arrays."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}

    def value(self, value: Any, place: str = "object") -> Any:
        """What stands for `value` in the header; arrays are named by their place."""
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, np.bool_ | np.number) and not isinstance(value, np.complexfloating):
            value = value.item()
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"number": str(float(value))}
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "fiub":
                raise ValidationError(f"{place} must be an array of numbers to be saved, got {describe(value)}")
            while place in self.arrays:  # a name may have a slash
                place += "'"
            self.arrays[place] = value
            return {"array": place}
        if isinstance(value, Mapping):
            return {
                "mapping": [[self.name(name, place), self.value(x, f"{place}/{name}")] for name, x in value.items()]
            }
        if isinstance(value, tuple | list):
            parts = [self.value(x, f"{place}/{index}") for index, x in enumerate(value)]
            return parts if isinstance(value, list) else {"tuple": parts}
        kind, fields = self.fields(value, place)
        return {"is": kind} | {name: self.value(x, f"{place}/{name}") for name, x in fields.items()}

    @staticmethod
    def name(name: Any, place: str) -> str:
        if not isinstance(name, str):
            raise ValidationError(f"{place} must have texts as keys to be saved, got {describe(name)}")
        return name

    @staticmethod
    def fields(value: Any, place: str) -> tuple[str, dict[str, Any]]:
        """Its kind and what it consists of."""
        kind = type(value)
        if kind in RECORDS:
            return kind.__name__, {name: getattr(value, name) for name in RECORDS[kind]}
        if kind in COMPONENTS:
            return kind.__name__, _component_fields(value)
        if kind is _Weights:
            return "weights", value.fields()
        if kind is SpikeInput:
            return "SpikeInput", {"weights": _Weights(value), "target": value.target}
        if kind is SLIFNetwork:
            own = {name: value.parameters[name] for name in _SLIF_PARAMETERS}
            others = {name: getattr(value, name) for name in _SLIF_ATTRIBUTES}
            return "SLIFNetwork", {"weights": _Weights(value), **own, **others}
        if kind is Network:
            return "Network", {
                "model": value.model,
                "weights": _Weights(value) if "weights" in value.parameters else None,
                "n": value.num_neurons,
                "input_current": value.input_current if value.model.uses_input else None,
                "driver": value.driver,
                "inputs": value.inputs,
                "parameters": {name: value.parameters[name] for name in value.model.parameters},
            }
        if kind is EventSDE:
            return "EventSDE", dict(zip(SCHEMA["EventSDE"], value.__reduce__()[1], strict=True))
        if kind is Event:
            return "Event", {name: getattr(value, name) for name in SCHEMA["Event"]}
        raise ValidationError(
            f"{place} cannot be saved: it is a {kind.__name__}, and the file would have no code to make one again"
        )


# --- reading ----------------------------------------------------------------------------------------------------------


class _Reader:
    """Makes objects again, by the constructors of the classes that the format knows, and by no other function."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], allow_code: bool, version: int) -> None:
        self.arrays, self.allow_code, self.version = arrays, allow_code, version

    def whole(self, value: Any) -> Any:
        """What was saved."""
        found = self.value(value)
        if not isinstance(found, SAVED):
            raise ValueError(f"it holds {describe(found)}")
        return found

    def value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.value(part) for part in value]
        if not isinstance(value, dict):
            return value
        if "is" in value:
            fields = {name: self.value(part) for name, part in value.items() if name != "is"}
            return self.made(value["is"], fields)
        ((tag, content),) = value.items()
        if tag == "array":
            array = self.arrays[content]
            if array.dtype.kind not in "fiub":
                raise ValueError(f"{content} is no array of numbers")
            return array
        if tag == "number":
            return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[content]
        if tag == "tuple":
            return tuple(self.value(part) for part in content)
        if tag == "mapping":
            return {str(name): self.value(part) for name, part in content}
        raise ValueError(f"it has an unknown {tag!r}")

    def made(self, kind: Any, fields: dict[str, Any]) -> Any:
        if kind == "JuliaFunction" and not self.allow_code:
            raise _RefusedError(
                "has Julia code of its own, a JuliaFunction, which would run with your rights; load it with "
                "allow_code=True if you trust where it comes from"
            )
        if kind not in SCHEMA:
            raise ValueError(f"it has an unknown kind {kind!r}")
        if self.version < VERSION:
            fields = {**ADDED.get(kind, {}), **fields}
        if fields.keys() != set(SCHEMA[kind]):
            raise ValueError(f"{kind} has the fields {', '.join(fields)}")
        return _MAKERS[kind](fields)


def _plain(kind: type, fields: dict[str, Any]) -> Any:
    return kind(**fields)


def _component(kind: type[Component], fields: dict[str, Any]) -> Component:
    if COMPONENTS[kind] is None:
        return cast(Component, cast(Any, kind)(fields["formula"], **fields["parameters"]))
    return kind(**fields)


class _Read(NamedTuple):
    """Weights by which a network, or an input, gets its synapses; those that it then has; and delays."""

    pattern: Any = None
    weights: Any = None
    delays: Any = None


def _weights(fields: dict[str, Any]) -> _Read:
    n, indptr, targets = as_int("n", fields["n"], 1), fields["indptr"], fields["targets"]
    values, delays = fields["values"], fields["delays"]
    m = indptr.size - 1
    if indptr.ndim != 1 or m < 1 or targets.shape != values.shape or targets.ndim != 1 or values.dtype != np.float64:
        raise ValueError("synapses and weights do not fit each other")
    per_synapse = isinstance(delays, np.ndarray) and delays.ndim > 0
    if delays is not None and (per_synapse and delays.shape != values.shape):
        raise ValueError("synapses and delays do not fit each other")
    steps = np.diff(indptr)
    if indptr[0] != 0 or indptr[-1] != targets.size or (steps < 0).any():
        raise ValueError("the rows of the synapses are none")
    if targets.dtype.kind != "i" or indptr.dtype.kind != "i" or ((targets < 0) | (targets >= n)).any():
        raise ValueError("synapses have targets that do not exist")
    rows = np.repeat(np.arange(m), steps)
    if (np.diff(rows * n + targets) <= 0).any():
        raise ValueError("the synapses are not in order")
    if fields["sparse"] is None:

        def dense(values: Any) -> NDArray[Any]:
            matrix = np.zeros((m, n))
            matrix[rows, targets] = values
            return matrix

        return _Read(dense(1.0), dense(values), dense(delays) if per_synapse else delays)
    if fields["sparse"] not in _SPARSE:
        raise ValueError(f"its sparse matrices are {fields['sparse']!r}")
    try:
        import scipy.sparse
    except ModuleNotFoundError:
        raise _RefusedError("has a sparse matrix of weights, which needs scipy: pip install scipy") from None

    def matrix(values: Any) -> Any:
        return getattr(scipy.sparse, fields["sparse"])((values, targets, indptr), shape=(m, n))

    return _Read(matrix(values), None, matrix(delays) if per_synapse else delays)


def _slif(fields: dict[str, Any]) -> SLIFNetwork:
    read = _between_neurons(fields.pop("weights"))
    network = SLIFNetwork(read.pattern, delays=read.delays, **fields)
    return network if read.weights is None else network.replace(weights=read.weights)


def _network(fields: dict[str, Any]) -> Network:
    read = _Read() if fields["weights"] is None else _between_neurons(fields["weights"])
    parts = {"input_current": fields["input_current"], "driver": fields["driver"], "inputs": fields["inputs"]}
    network = Network(fields["model"], read.pattern, fields["n"], delays=read.delays, **parts, **fields["parameters"])
    return network if read.weights is None else network.replace(weights=read.weights)


def _between_neurons(read: _Read) -> _Read:
    if read.pattern.shape[0] != read.pattern.shape[1]:
        raise ValueError("synapses and weights do not fit each other")
    return read


def _spike_input(fields: dict[str, Any]) -> SpikeInput:
    read = fields["weights"]
    inputs = SpikeInput(read.pattern, read.delays, fields["target"])
    return inputs if read.weights is None else inputs.replace(input_weights=read.weights)


def _checked(problem: Problem, engine: str) -> Problem:
    """The problem, if `simulate` would have made the same: that is what engines rely on."""
    checked, _ = prepare(
        problem.network,
        problem.t1,
        problem.dt,
        num_samples=problem.num_samples,
        max_spikes=problem.max_spikes,
        seed=problem.seed,
        t0=problem.t0,
        solver=problem.solver,
        engine=engine,
        saveat=problem.saveat,
        threads=problem.threads,
        first_sample=problem.first_sample,
        input_spikes=problem.input_spikes,
        **_observed(problem.recording),
        device=problem.device,
        precision=problem.precision,
        noise_dt=math.ldexp(problem.dt, as_int("noise_levels", problem.noise_levels, 0)),
        **cast(dict[str, Any], {**problem.initial, **problem.options}),
    )
    if problem.start is not None:
        check_start(problem)
        checked = replace(checked, start=problem.start)
    if checked != problem:
        raise ValueError("its problem is none that simulate makes")
    return checked


def _observed(recording: Recording | None) -> dict[str, Any]:
    """A recording as arguments of `simulate`."""
    if recording is None:
        return {}
    trains, neurons = recording.trains, recording.neurons
    place = np.full(trains.num_neurons + 1, -1)
    place[neurons] = np.arange(neurons.size)
    observed = SpikeTrains(trains.times, place[trains.neurons], neurons.size, trains.t0, trains.t1)
    return {"observed": observed, "observed_neurons": neurons}


def _solution(fields: dict[str, Any]) -> Solution:
    problem, engine, raw = fields["problem"], fields["engine"], fields["raw"]
    if engine not in (*engines.ENGINES, "sciml"):
        raise ValueError(f"its engine is {engine!r}")
    solution = Solution(_checked(problem, engine), engine, raw)
    trains = SpikeTrains(raw.spike_times, raw.spike_neurons, solution.network.num_neurons, problem.begin, problem.t1)
    samples, width = trains.times.shape
    if problem.num_columns is None:
        fits = width == trains.num_spikes.max(initial=0) <= (problem.max_spikes or width)
    else:
        fits = width == problem.num_columns
    if samples != problem.num_samples or not fits:
        raise ValueError(f"its spikes have the shape {trains.times.shape}")
    if not np.array_equal(trains.num_spikes, raw.num_spikes) or raw.truncated.shape != (samples,):
        raise ValueError("its numbers of spikes are not those of its spikes")
    if raw.spike_events is not None and raw.spike_events.shape != trains.times.shape:
        raise ValueError("its spikes have events of another shape")
    network = solution.network
    last = (network.num_variables, samples, network.num_neurons)
    if raw.last_state is not None and raw.last_state.shape != last:
        raise ValueError(f"its last state has the shape {raw.last_state.shape}")
    shapes = {name: values.shape for name, values in raw.states.items()}
    if shapes != dict.fromkeys(solution.network.states, solution.recorded_shape):
        raise ValueError(f"its states have the shapes {shapes}")
    return solution


def _fit(fields: dict[str, Any]) -> FitResult:
    if not isinstance(fields["network"], Network) or "loss" not in fields["history"]:
        raise ValueError("its training has no network, or a history without a loss")
    return FitResult(**fields)


_MAKERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    **{kind.__name__: functools.partial(_plain, kind) for kind in (*RECORDS, EventSDE, Event)},
    **{kind.__name__: functools.partial(_component, kind) for kind in COMPONENTS},
    "SLIFNetwork": _slif,
    "Network": _network,
    "weights": _weights,
    "SpikeInput": _spike_input,
    "Solution": _solution,
    "FitResult": _fit,
}
