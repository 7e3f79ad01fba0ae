"""The training loop: what it does at each step, how it ends, and how it resumes."""

import numpy as np
import pytest
from helpers import one_neuron
from scipy import sparse

import ssnn_py as ssnn
from ssnn_py.training import batch_indices, step_seed

RUN = dict(t1=2.0, dt=0.02, max_spikes=2)


def data(engine, samples=24):
    return ssnn.simulate(one_neuron(), num_samples=samples, seed=11, engine=engine, **RUN).spike_trains


def train(engine, steps=6, **changes):
    arguments = dict(wrt="input_current", optimizer=ssnn.RMSProp(2e-2, 0.7, 0.3), seed=5, engine=engine, **RUN)
    start = changes.pop("start", one_neuron(input_current=1.1))
    loss = changes.pop("loss", ssnn.ExpectedSignatureLoss(depth=3))
    given = changes.pop("data", None)
    if not isinstance(loss, ssnn.Loss):  # a function of one's own knows nothing of spikes that come or go
        arguments["gradient"] = "pathwise"
    return ssnn.fit(start, data(engine) if given is None else given, loss, steps=steps, **{**arguments, **changes})


def test_training_recovers_the_current(engine):
    result = train(engine, steps=60, test_data=data(engine), test_loss=ssnn.FirstSpikeLoss(2, "mae"))
    assert abs(result.network.parameters["input_current"] - 1.5) < 0.15
    history = result.history
    assert history["test_loss"][-10:].mean() < history["test_loss"][:5].mean()
    assert history["input_current"].shape == history["loss"].shape == (60,)
    assert history["input_current"][0] == 1.1, "parameters are those before the step"


def test_several_parameters_bounds_and_batches(engine):
    seen = []
    result = train(
        engine,
        wrt=["input_current", "beta", "v0"],
        batch_size=7,
        bounds={"beta": (4.99, None), "v0": (None, 0.0)},
        callback=lambda step, record: seen.append((step, record)),
    )
    assert [step for step, _ in seen] == list(range(6))
    for name, values in result.history.items():
        assert np.array_equal([record[name] for _, record in seen], values)
    assert result.parameters["beta"] >= 4.99
    assert result.parameters["v0"] <= 0.0
    assert set(result.parameters) == {"input_current", "beta", "v0"}


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.coo_array])
def test_bounds_of_weights_make_no_synapses(form):
    net = ssnn.SLIFNetwork(form(np.array([[0.0, 0.5], [0.0, 0.0]])), input_current=1.5, sigma=0.2)
    recorded = ssnn.simulate(net, num_samples=8, seed=3, engine="reference", **RUN).spike_trains
    rule, limits = ssnn.SGD(1e9), {"weights": (0.4, 0.6)}
    result = train("reference", steps=2, start=net, data=recorded, wrt="weights", optimizer=rule, bounds=limits)
    weights = result.network.weights
    weights = weights.toarray() if sparse.issparse(weights) else weights
    assert weights[0, 1] in (0.4, 0.6)
    assert np.count_nonzero(weights) == result.network.synapses.targets.size == 1


def test_batches_keep_potentials(engine):
    recorded = ssnn.simulate(one_neuron(), num_samples=9, seed=2, engine=engine, t1=1.0, dt=0.02, saveat=0.25)
    same = dict(t1=1.0, saveat=0.25, max_spikes=None, batch_size=4, loss=ssnn.PotentialLoss("expected_signature", 2))
    whole = train(engine, steps=3, data=recorded, **same)
    assert np.array_equal(whole.history["loss"], train(engine, steps=3, data=recorded.v, **same).history["loss"])

    def by_hand(generated, data):
        seen.append(data)
        return 1.0, None

    seen = []
    train(engine, steps=1, data=recorded, **{**same, "loss": by_hand})
    rows = batch_indices(9, 4, seed=5, step=0)
    assert np.array_equal(seen[0].v, recorded.v[rows])
    assert np.array_equal(seen[0].spike_trains.times, recorded.spike_times[rows])


def test_large_histories_can_be_thinned(engine, tmp_path):
    whole = train(engine, steps=7)
    path = tmp_path / "thin.npz"
    train(engine, steps=4, record_every=3, checkpoint=path)
    thin = train(engine, steps=7, record_every=3, checkpoint=path)
    assert np.array_equal(thin.history["loss"], whole.history["loss"])
    assert np.array_equal(thin.history["input_current"], whole.history["input_current"][::3])


def test_progress_shows_the_loss(capsys):
    result = train("reference", steps=2, progress=True)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert f"loss {result.history['loss'][-1]:.3g}" in shown
    train("reference", steps=2)
    assert capsys.readouterr().err == ""


def test_every_sample_is_seen_once_per_epoch():
    order = np.concatenate([batch_indices(10, 4, seed=3, step=step) for step in range(5)])
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert not np.array_equal(order[:10], order[10:])


def test_noise_of_steps_never_repeats():
    seeds = {step_seed(7, step) for step in range(1000)} | {step_seed(8, step) for step in range(1000)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_a_resumed_training_gives_the_same_numbers(engine, tmp_path):
    same = dict(wrt=["input_current", "tau", "v0"], batch_size=7, test_data=data(engine)[:7])
    for rule in (
        ssnn.RMSProp(2e-2, 0.7, 0.3),
        ssnn.Adam(ssnn.piecewise_constant({0: 1e-2, 4: 1e-3})),
        ssnn.SGD(0.1, 0.5),
    ):
        whole = train(engine, steps=8, optimizer=rule, **same)
        path = tmp_path / f"{type(rule).__name__}.npz"
        train(engine, steps=5, optimizer=rule, checkpoint=path, checkpoint_every=2, **same)
        resumed = train(engine, steps=8, optimizer=rule, checkpoint=path, **same)
        for name in set(whole.history) - {"seconds"}:
            assert np.array_equal(whole.history[name], resumed.history[name])
        assert whole.parameters == resumed.parameters
        assert whole.state == resumed.state
        path.unlink()
        assert list(tmp_path.iterdir()) == [], "no scratch file is left"


def test_an_interrupted_training_resumes_where_it_was(tmp_path):
    def interrupt(step, record):
        if step == 4:
            raise KeyboardInterrupt

    whole = train("reference", steps=6)
    with pytest.raises(KeyboardInterrupt):
        train("reference", steps=6, callback=interrupt, checkpoint=tmp_path / "run", checkpoint_every=2)
    assert ssnn.FitResult.load(tmp_path / "run", one_neuron()).num_steps == 5
    resumed = train("reference", steps=6, checkpoint=tmp_path / "run")
    assert np.array_equal(whole.history["loss"], resumed.history["loss"])


def test_a_finished_training_is_not_continued(tmp_path):
    def flat(generated, data):
        return 1.0, None

    for _ in range(2):
        result = train("reference", steps=50, loss=flat, patience=4, checkpoint=tmp_path / "run")
        assert (result.stopped, result.num_steps) == ("patience", 5)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"seed": 6}, "seed"),
        ({"dt": 0.01}, "dt"),
        ({"batch_size": 7}, "num_samples"),
        ({"wrt": "tau"}, "parameters"),
        ({"optimizer": ssnn.Adam(0.1)}, "optimizer"),
        ({"test_data": ssnn.SpikeTrains(np.full((24, 1), np.inf), np.full((24, 1), -1), 1, 0.0, 2.0)}, "history"),
    ],
)
def test_another_trainings_checkpoint_is_refused(change, word, tmp_path):
    train("reference", steps=1, checkpoint=tmp_path / "run")
    before = (tmp_path / "run.npz").read_bytes()
    with pytest.raises(ssnn.ValidationError, match=f"checkpoint .*{word}"):
        train("reference", steps=2, checkpoint=tmp_path / "run", **change)
    assert (tmp_path / "run.npz").read_bytes() == before


def test_a_folder_of_the_same_name_is_not_the_checkpoint(tmp_path):
    (tmp_path / "run").mkdir()
    train("reference", steps=1, checkpoint=tmp_path / "run")
    assert train("reference", steps=2, checkpoint=tmp_path / "run").num_steps == 2


def test_results_are_saved_and_loaded_without_pickle(engine, tmp_path):
    result = train(engine, steps=3)
    result.save(tmp_path / "result")
    with np.load(tmp_path / "result.npz", allow_pickle=False) as file:
        assert "parameters/input_current" in file.files
    loaded = ssnn.FitResult.load(tmp_path / "result", one_neuron())
    assert loaded.network.parameters["input_current"] == result.parameters["input_current"]
    assert all(np.array_equal(loaded.history[name], values) for name, values in result.history.items())
    assert (loaded.parameters, loaded.state, loaded.settings) == (result.parameters, result.state, result.settings)
    (tmp_path / "other.npz").write_bytes(b"not an archive")
    for path in ("other.npz", "none.npz"):
        with pytest.raises(ssnn.ValidationError, match=path):
            ssnn.FitResult.load(tmp_path / path, one_neuron())


def test_training_stops_where_the_callback_or_patience_says_so(engine):
    assert train(engine, steps=50, callback=lambda step, record: step == 2).num_steps == 3
    flat = train(engine, steps=50, loss=lambda a, b: (1.0, np.zeros(a.spike_times.shape)), patience=4)
    assert (flat.stopped, flat.num_steps) == ("patience", 5)


def test_divergence_keeps_the_last_good_state(engine):
    calls = []

    def loss(generated, data):
        calls.append(1)
        return (np.nan if len(calls) == 3 else 1.0), np.ones(generated.spike_times.shape)

    with pytest.raises(ssnn.DivergedError, match="step 2") as caught:
        train(engine, loss=loss)
    assert caught.value.result.num_steps == 2
    assert np.isfinite(caught.value.result.network.parameters["input_current"])


def test_a_parameter_that_leaves_its_range_keeps_the_history():
    def later(generated, data):
        return 1.0, np.ones(generated.spike_times.shape)

    # ∂loss/∂tau is positive, so that every step takes tau nearer to zero.
    with pytest.raises(ssnn.DivergedError, match=r"tau must be positive.*bounds") as caught:
        train("reference", steps=100, wrt="tau", loss=later, optimizer=ssnn.SGD(0.01))
    result = caught.value.result
    assert result.num_steps > 1
    assert result.network.parameters["tau"] == result.parameters["tau"] > 0
    bounded = train("reference", steps=3, wrt="tau", loss=later, optimizer=ssnn.SGD(1.0), bounds={"tau": (0.2, None)})
    assert bounded.parameters["tau"] == 0.2


def test_a_mistake_in_the_loss_is_not_a_divergence():
    with pytest.raises(ssnn.ValidationError, match="the loss must return"):
        train("reference", loss=lambda generated, data: 1.0)


def test_a_test_loss_may_be_a_number(engine):
    def first(generated, data):
        return abs(generated.spike_times.min() - data.times.min())

    result = train(engine, steps=2, test_data=data(engine)[:5], test_loss=first)
    assert result.history["test_loss"].shape == (2,)


def test_data_and_test_data_share_a_loss(engine):
    loss = ssnn.ExpectedSignatureLoss(depth=2, match_spikes=False)
    shared = train(engine, steps=3, loss=loss, test_data=data(engine)[:9])
    apart = train(
        engine, steps=3, loss=ssnn.ExpectedSignatureLoss(2, False), test_data=data(engine)[:9], test_loss=loss
    )
    assert np.array_equal(shared.history["test_loss"], apart.history["test_loss"])
    assert np.array_equal(shared.history["loss"], apart.history["loss"])


def test_gradients_are_clipped():
    def loss(generated, data):
        return 1.0, np.full(generated.spike_times.shape, 1e6)

    result = train("reference", steps=1, loss=loss, optimizer=ssnn.SGD(1.0), clip_norm=0.25)
    assert abs(result.parameters["input_current"] - 1.1) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"steps": -1}, "steps"),
        ({"wrt": "gamma"}, "gamma"),
        ({"batch_size": 25}, "batch_size"),
        ({"num_samples": 0}, "num_samples"),
        ({"bounds": {"alpha": (0, 1)}}, "bounds"),
        ({"bounds": {"input_current": (2, 1)}}, "bounds"),
        ({"bounds": {"input_current": 3}}, "bounds"),
        ({"bounds": {"input_current": (2, None)}}, "start"),
        ({"bounds": [("input_current", (0, 1))]}, "bounds"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"patience": 0}, "patience"),
        ({"optimizer": "adam"}, "optimizer"),
        ({"loss": 3}, "loss"),
        ({"loss": None}, "loss"),
        ({"callback": 3}, "callback"),
        ({"test_data": [1, 2]}, "test_data"),
        ({"test_data": ssnn.SpikeTrains([[0.5]], [[0]], 1, 0.0, 2.0), "test_loss": lambda x, y: "low"}, "test_loss"),
        ({"record_every": 0}, "record_every"),
        ({"checkpoint": 3}, "checkpoint"),
        ({"checkpoint": "no such folder/run"}, "no such folder"),
        ({"t2": 1.0}, "t2"),
        ({"steps": 0, "dt": -1.0}, "dt"),
        ({"data": [1, 2]}, "data"),
        ({"test_loss": ssnn.FirstSpikeLoss()}, "test_data"),
        ({"start": "net"}, "network"),
        ({"seed": -1}, "seed"),
        ({"dt": -1.0}, "dt"),
    ],
)
def test_fit_names_the_argument_it_refuses(change, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        train("reference", **change)
