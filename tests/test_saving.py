"""Networks, spike trains, solutions and trainings in files: what comes back, and what is refused."""

import copy
import dataclasses
import json
import pickle
import re
import zipfile

import numpy as np
import pytest
from helpers import one_neuron, random_network

import ssnn_py as ssnn
from ssnn_py import saving

LEAKY = ssnn.EventSDE(
    """
    dv/dt = (i + I - v)/tau_m + sigma*xi
    di/dt = -i/tau_s + 0.1*xi_2
    """,
    events=[
        ssnn.Event(hazard="exp(beta*(v - 1))", then="v -= 1", dead_zone="zone"),
        ssnn.Event(hazard="rate", dead_zone=0.1),
    ],
    synapse="i += w",
    parameters=dict(tau_m=0.1, tau_s=[0.05, 0.06], sigma=0.2, beta=5.0, zone=0.02, rate=0.3),
    initial=dict(v="0.5*zone", i=[0.1, 0.2]),
    interpretation="stratonovich",
)
SINE = ssnn.FormulaCurrent("a + b*sin(2*pi*t)", a=1.5, b=[0.5, 0.25])
WEIGHTS = np.array([[0.0, 0.5], [-0.25, 0.0]])

INPUTS = ssnn.SpikeInput([[0.4, 0.0], [0.3, 0.1], [0.0, 0.0]], [[0.1, 0.0], [0.2, 0.3], [0.0, 0.0]], ["v", "i", "v"])


def networks():
    """By what is special about each."""
    return {
        "one neuron": one_neuron(),
        "all shapes": random_network(1),
        "per neuron": random_network(2, per_sample=False, sampled=False, matrix_noise=False),
        "held current": one_neuron(input_current=ssnn.SampledCurrent([0.0, 0.7], [1.0, 2.0], "previous")),
        "formulas": ssnn.SLIFNetwork(
            WEIGHTS, SINE, sigma=0.2, intensity=ssnn.FormulaIntensity("log(1 + exp(b2*(v - v_th)))", b2=5.0, v_th=1.0)
        ),
        "threshold": ssnn.SLIFNetwork(WEIGHTS, 1.5, intensity=ssnn.ThresholdIntensity([1.0, 1.1]), reset="hard"),
        "diffusion": one_neuron(diffusion=ssnn.AffineDiffusion(1.0, 0.3), interpretation="stratonovich", v_reset=0.0),
        "a synapse whose weight is 0": ssnn.SLIFNetwork(WEIGHTS, 1.5).replace(weights=[[0.0, 0.0], [-0.0, 0.0]]),
        "equations": ssnn.Network(LEAKY, WEIGHTS, input_current=SINE),
        "equations, other values": ssnn.Network(LEAKY, WEIGHTS, sigma=[0.1, 0.2], i0=0.3).replace(zone=0.0),
        "without synapses": ssnn.Network(ssnn.EventSDE("dv/dt = -v + xi", ssnn.Event("1 + v**2")), n=3, v0=[1, 2, 3]),
        "of the shelf": ssnn.Network(ssnn.models.adex(), n=2),
        "delays": ssnn.SLIFNetwork(WEIGHTS, 1.5, delays=[[0.0, 0.2], [0.3, 0.0]], inputs=INPUTS),
        "one delay": ssnn.Network(LEAKY, WEIGHTS, delays=0.1, inputs=ssnn.SpikeInput([[0.4, 0.0]], 0.2)),
        "inputs alone": ssnn.Network(ssnn.models.adex(), n=2, inputs=ssnn.SpikeInput([[0.4, 0.1]], target="v")),
    }


@pytest.mark.parametrize("what", networks())
def test_networks_come_back_equal(what, tmp_path):
    network = networks()[what]
    ssnn.save(tmp_path / "network.npz", network)
    loaded = ssnn.load(tmp_path / "network.npz")
    assert loaded == network
    assert hash(loaded) == hash(network)
    assert list(loaded.parameters) == list(network.parameters), "the order of gradients"
    assert loaded.synapses.targets.tolist() == network.synapses.targets.tolist()
    assert [array.dtype for array in loaded.parameters.values()] == [x.dtype for x in network.parameters.values()]


@pytest.mark.parametrize("form", ["csr_matrix", "csr_array", "coo_matrix", "csc_array"])
def test_sparse_networks_come_back_sparse(form, tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    stored_zero = sparse.csr_array((np.array([0.0, 0.5]), np.array([1, 0]), np.array([0, 1, 2])), shape=(2, 2))
    for weights in (getattr(sparse, form)(WEIGHTS), stored_zero):
        inputs = ssnn.SpikeInput(getattr(sparse, form)(WEIGHTS[:1]), getattr(sparse, form)(abs(WEIGHTS[:1])))
        delays = 0.1 if weights is stored_zero else getattr(sparse, form)(abs(WEIGHTS))
        network = ssnn.SLIFNetwork(weights, 1.5, delays=delays, inputs=inputs)
        ssnn.save(tmp_path / "network", network)
        loaded = ssnn.load(tmp_path / "network")
        assert loaded == network
        assert type(loaded.weights) is type(network.weights)


def test_spike_trains_come_back_equal(tmp_path):
    for trains in (
        ssnn.SpikeTrains([[0.5, 1.0, np.inf]], [[0, 1, -1]], num_neurons=2, t0=-1.0, t1=2.0),
        ssnn.SpikeTrains(np.empty((2, 0)), np.empty((2, 0), dtype=int), num_neurons=3, t0=0.0, t1=1.0),
    ):
        ssnn.save(tmp_path / "trains", trains)
        assert ssnn.load(tmp_path / "trains.npz") == trains


@pytest.mark.parametrize(
    ("name", "max_spikes", "wrt"),
    [
        ("per neuron", None, ("sigma", "v0")),
        ("per neuron", 2, ("alpha",)),
        ("per neuron", 10_000, ("v_th",)),
        ("per neuron", 10**9, ("v_th",)),
        ("held current", None, ("input_current", "mu")),
        ("equations", 2, ("zone", "i0", "weights", "b")),
    ],
)
def test_a_loaded_solution_is_equal_and_has_the_same_gradients(name, max_spikes, wrt, engine, tmp_path):
    run = dict(t1=1.0, dt=0.02, num_samples=2, seed=2**64 - 1, saveat=[0.0, 0.3], first_sample=4)
    solution = ssnn.simulate(networks()[name], **run, max_spikes=max_spikes, engine=engine)
    assert solution.num_spikes.sum() > 0
    ssnn.save(tmp_path / "solution", solution)
    loaded = ssnn.load(tmp_path / "solution")
    assert loaded == solution
    assert loaded.spike_trains == solution.spike_trains
    bars = dict(spike_times_bar=np.ones(solution.spike_times.shape), v_bar=np.ones(solution.v.shape))
    gradients, again = solution.vjp(**bars, wrt=wrt), loaded.vjp(**bars, wrt=wrt)
    for name, gradient in gradients.items():
        assert np.any(gradient)
        assert np.array_equal(again[name], gradient), name


def test_a_solution_keeps_the_spikes_that_came_in(tmp_path):
    spikes = ssnn.SpikeTrains([[0.1, 0.2, np.inf]], [[2, 1, -1]], num_neurons=3, t0=0.0, t1=1.0)
    solution = ssnn.simulate(networks()["delays"], t1=1.0, dt=0.02, num_samples=2, input_spikes=spikes)
    ssnn.save(tmp_path / "solution", solution)
    loaded = ssnn.load(tmp_path / "solution")
    assert loaded == solution
    assert loaded.problem.input_spikes == spikes
    bars = np.ones(solution.spike_times.shape)
    assert np.array_equal(
        loaded.vjp(bars, "input_times")["input_times"], solution.vjp(bars, "input_times")["input_times"]
    )


def test_a_clamped_solution_comes_back_equal(tmp_path):
    trains = ssnn.SpikeTrains([[0.4, 0.7, np.inf]], [[0, 0, -1]], num_neurons=1, t0=0.0, t1=1.0)
    run = dict(t1=1.0, dt=0.02, num_samples=2, observed=trains, observed_neurons=[1])
    solution = ssnn.simulate(ssnn.SLIFNetwork(WEIGHTS, 1.5), **run)
    ssnn.save(tmp_path / "solution", solution)
    loaded = ssnn.load(tmp_path / "solution")
    assert loaded == solution
    bars = np.ones(solution.log_hazards.shape)
    gradients = [one.vjp(log_hazards_bar=bars, wrt="mu")["mu"] for one in (solution, loaded)]
    assert np.array_equal(*gradients)
    assert gradients[0].any()


def test_files_of_version_1_are_read(tmp_path):
    def older(value):
        """Without the fields that came later."""
        if isinstance(value, list):
            return [older(part) for part in value]
        if not isinstance(value, dict):
            return value
        added = saving.ADDED.get(value.get("is"), {})
        return {name: older(part) for name, part in value.items() if name not in added}

    for index, one in enumerate((one_neuron(), ssnn.Network(LEAKY, WEIGHTS), networks()["without synapses"])):
        solution = ssnn.simulate(one, t1=0.5, dt=0.02, engine="reference")
        path = tmp_path / f"{index}.npz"
        ssnn.save(path, solution)
        rewritten(path, lambda header: header.update(version=1, object=older(header["object"])))
        loaded = ssnn.load(path)
        assert loaded == dataclasses.replace(solution, raw=dataclasses.replace(solution.raw, last_state=None))
        with pytest.raises(ssnn.ValidationError, match="this run cannot go on, it has no last state"):
            loaded.continue_to(1.0)


@pytest.mark.parametrize(("solver", "noise_dt"), [("exact_ou", None), ("shark", 0.16)])
def test_solver_and_noise_of_a_solution_are_kept(solver, noise_dt, tmp_path):
    run = dict(t1=1.0, dt=0.02, max_spikes=3, engine="reference", solver=solver, noise_dt=noise_dt, threads=1)
    solution = ssnn.simulate(one_neuron(), **run)
    ssnn.save(tmp_path / "solution", solution)
    assert ssnn.load(tmp_path / "solution").problem == solution.problem


def test_a_training_comes_back_whole_without_its_network(tmp_path):
    truth = one_neuron()
    run = dict(t1=2.0, dt=0.02, max_spikes=2, engine="reference")
    data = ssnn.simulate(truth, num_samples=4, seed=1, **run).spike_trains
    result = ssnn.fit(
        truth.replace(input_current=1.0),
        data,
        ssnn.ExpectedSignatureLoss(depth=2),
        ("input_current", "v0"),
        steps=2,
        optimizer=ssnn.Adam(1e-2),
        bounds={"input_current": (None, 3.0)},
        **run,
    )
    ssnn.save(tmp_path / "fit", result)
    loaded = ssnn.load(tmp_path / "fit")
    assert loaded == result
    assert loaded.network.parameters["alpha"] == truth.parameters["alpha"]


def test_the_schema_has_every_field_of_the_records():
    for kind, fields in saving.RECORDS.items():
        assert fields == tuple(field.name for field in dataclasses.fields(kind) if field.compare), (
            f"{kind.__name__}: a new version?"
        )
    table = saving.__doc__.split("KIND                    fields\n")[1].split("\nThe fields")[0]
    rows = re.sub(r"\n +", " ", table).splitlines()
    described = {row.split()[0]: set(re.findall(r"\w+", row)) for row in rows if not row.startswith("=")}
    assert described.keys() == saving.SCHEMA.keys() == saving._MAKERS.keys()
    for kind, fields in saving.SCHEMA.items():
        assert set(fields) <= described[kind], kind


# --- what a file may do -----------------------------------------------------------------------------------------------


def test_code_of_a_file_must_be_allowed(tmp_path):
    network = one_neuron(input_current=ssnn.JuliaFunction("t -> 1.5", derivative="t -> 0.0"))
    ssnn.save(tmp_path / "network", network)
    with pytest.raises(ssnn.ValidationError, match="allow_code=True if you trust"):
        ssnn.load(tmp_path / "network")
    assert ssnn.load(tmp_path / "network", allow_code=True) == network


class Owned(ssnn.ExponentialIntensity):
    pass


def test_what_the_file_could_not_make_again_is_not_saved(tmp_path):
    with pytest.raises(ssnn.ValidationError, match="object/intensity cannot be saved: it is a Owned"):
        ssnn.save(tmp_path / "network", one_neuron(intensity=Owned()))
    with pytest.raises(ssnn.ValidationError, match="value must be a Network, SpikeTrains, Solution or FitResult"):
        ssnn.save(tmp_path / "number", 3)
    with pytest.raises(ssnn.ValidationError, match="existing folder"):
        ssnn.save(tmp_path / "nowhere" / "network", one_neuron())
    with pytest.raises(ssnn.ValidationError, match="path must be the path of a file"):
        ssnn.save(3, one_neuron())
    assert list(tmp_path.iterdir()) == []


class Trap:
    """What a pickle would execute."""

    def __reduce__(self):
        return exec, ("raise SystemExit('executed')",)


def test_pickles_are_not_executed(tmp_path):
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path / "object.npz", header=np.array([Trap()], dtype=object))
    header = json.dumps({"format": "ssnn", "version": 1, "object": {"array": "x"}})
    np.savez(tmp_path / "hidden.npz", header=np.array(header), x=np.array([Trap()], dtype=object))
    for name in ("pickle", "object", "hidden"):
        with pytest.raises(ssnn.ValidationError, match=r"not a file of ssnn_py|is damaged"):
            ssnn.load(tmp_path / name)


def rewritten(path, change, **arrays):
    """The file at `path` with its header changed by a function, and other arrays."""
    with np.load(path) as file:
        contents = {name: file[name] for name in file.files}
    header = json.loads(str(contents.pop("header")))
    change(header)
    np.savez(path, header=np.array(json.dumps(header)), **{**contents, **arrays})


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda header: header.update(version=6), "version 6 of the format, not 5: install a newer ssnn_py"),
        (lambda header: header.update(version=0), "version 0 of the format, not 5: this ssnn_py cannot read it"),
        (lambda header: header.update(format="other"), "is not a file of ssnn_py"),
        (lambda header: header.pop("object"), "is damaged: it has no 'object'"),
        (lambda header: header.update(object=3), "is damaged: it holds 3"),
        (lambda header: header["object"].pop("sigma"), "is damaged: SLIFNetwork has the fields"),
        (lambda header: header["object"].update(reset="never"), 'is damaged: reset must be "subtract" or "hard"'),
        (lambda header: header["object"].update(mu={"array": "none"}), "is damaged: it has no 'none'"),
        (lambda header: header["object"].update({"is": "os.system"}), "is damaged: it has an unknown kind"),
        (lambda header: header["object"]["intensity"].update({"is": "Network"}), "is damaged: Network has the fields"),
    ],
)
def test_a_header_that_is_not_right_gives_a_sentence(change, word, tmp_path):
    ssnn.save(tmp_path / "file", one_neuron())
    rewritten(tmp_path / "file.npz", change)
    with pytest.raises(ssnn.ValidationError, match=word):
        ssnn.load(tmp_path / "file")


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"object/raw/spike_times": np.zeros((1, 2))}, "its spikes have the shape"),
        ({"object/raw/spike_neurons": np.full((2, 3), 7)}, "neurons must be"),
        ({"object/raw/num_spikes": np.zeros(2, dtype=int)}, "numbers of spikes"),
        ({"object/raw/states/v": np.zeros((2, 1, 1))}, "its states have the shapes"),
        ({"object/problem/saveat": np.array([0.5, 0.2])}, "saveat must be"),
        ({"object/problem/initial/v0": np.zeros((5, 1))}, "does not fit 2 samples"),
        ({"object/problem/network/weights/targets": np.array([3])}, "do not fit each other"),
        ({"object/problem/network/weights/indptr": np.array([0, 0, 0])}, "do not fit each other"),
        ({"object/problem/network/mu": np.array([1.0, np.nan])}, "mu must be finite"),
    ],
)
def test_arrays_that_are_not_right_give_a_sentence(arrays, word, tmp_path):
    solution = ssnn.simulate(one_neuron(), t1=2.0, dt=0.02, num_samples=2, max_spikes=3, saveat=1.0, engine="reference")
    ssnn.save(tmp_path / "file", solution)
    with np.load(tmp_path / "file.npz") as file:
        assert set(arrays) <= set(file.files)
    if "object/raw/spike_times" in arrays:
        arrays = {**arrays, "object/raw/spike_neurons": np.zeros((1, 2), dtype=int)}
    rewritten(tmp_path / "file.npz", lambda header: None, **arrays)
    with pytest.raises(ssnn.ValidationError, match=f"is damaged: .*{word}"):
        ssnn.load(tmp_path / "file")


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_steps", 7), ("solver", "sciml:EM"), ("solver", "no"), ("seed", -1), ("threads", 0), ("noise_levels", 99)],
)
def test_a_problem_that_simulate_would_not_make_is_refused(field, value, tmp_path):
    ssnn.save(tmp_path / "file", ssnn.simulate(one_neuron(), t1=1.0, dt=0.02, max_spikes=3, engine="reference"))
    rewritten(tmp_path / "file.npz", lambda header: header["object"]["problem"].update({field: value}))
    with pytest.raises(ssnn.ValidationError, match="is damaged"):
        ssnn.load(tmp_path / "file")


def test_files_of_others_and_damaged_ones_give_a_sentence(tmp_path):
    ssnn.save(tmp_path / "file", one_neuron())
    whole = (tmp_path / "file.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "file.npz") as archive:
        at = archive.getinfo("object/mu.npy").header_offset
    flipped = bytearray(whole)
    place = whole.index(np.float64(15.0).tobytes(), at)
    flipped[place] ^= 1
    cases = {
        "text": (b"hello", "is not a file of ssnn_py"),
        "empty": (b"", "is damaged, or not a file of ssnn_py"),
        "half": (whole[: len(whole) // 2], "is damaged, or not a file of ssnn_py"),
        "flipped": (bytes(flipped), "is damaged: Bad CRC-32"),
    }
    for name, (content, word) in cases.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
        with pytest.raises(ssnn.ValidationError, match=word):
            ssnn.load(tmp_path / name)
    np.savez(tmp_path / "foreign", x=np.zeros(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    for name in ("foreign", "array"):
        with pytest.raises(ssnn.ValidationError, match="is not a file of ssnn_py"):
            ssnn.load(tmp_path / name)
    with pytest.raises(ssnn.ValidationError, match="there is no"):
        ssnn.load(tmp_path / "nothing")


def test_a_checkpoint_of_fit_is_told_from_a_saved_training(tmp_path):
    result = ssnn.FitResult(one_neuron(), {}, {"loss": np.zeros(2)})
    result.save(tmp_path / "checkpoint")
    with pytest.raises(ssnn.ValidationError, match=r"is a checkpoint of fit: read it with FitResult\.load"):
        ssnn.load(tmp_path / "checkpoint")


def test_names_with_slashes_do_not_meet(tmp_path):
    state = {"a/b": np.zeros(1), "a": np.ones(2), "a/b'": np.ones(3)}
    result = ssnn.FitResult(one_neuron(), {}, {"loss": np.zeros(2)}, state=state, settings={"x": np.inf, "y": None})
    nested = dataclasses.replace(copy.copy(result), settings={"a": {"b/c": np.ones(1)}, "a/b": {"c": np.zeros(1)}})
    for each in (result, nested):
        ssnn.save(tmp_path / "fit", each)
        assert ssnn.load(tmp_path / "fit") == each
