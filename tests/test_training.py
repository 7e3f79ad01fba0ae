"""Optimizers by hand, and the training loop."""

import numpy as np
import pytest
from helpers import one_neuron

import ssnn_py as ssnn
from ssnn_py.training import batch_indices, step_seed

RUN = dict(t1=2.0, dt=0.02, max_spikes=2)


def three_steps(rule, gradients=(2.0, -1.0, 0.5)):
    parameters = {"c": np.array(1.0)}
    state, path = rule.init(parameters), []
    for step, g in enumerate(gradients):
        changes, state = rule.update({"c": np.array(g)}, state, step)
        parameters = {"c": parameters["c"] + changes["c"]}
        path.append(float(parameters["c"]))
    return path


def test_rmsprop_by_hand():
    path = three_steps(ssnn.RMSProp(0.1, decay=0.7, momentum=0.3, eps=0.0))
    nu, m, c, wanted = 0.0, 0.0, 1.0, []
    for g in (2.0, -1.0, 0.5):
        nu = 0.7 * nu + 0.3 * g * g
        m = 0.3 * m - 0.1 * g / nu**0.5
        c += m
        wanted.append(c)
    assert path == pytest.approx(wanted, rel=1e-14)


def test_adam_and_sgd_by_hand():
    first = three_steps(ssnn.Adam(0.1, eps=0.0))[0]
    assert first == pytest.approx(0.9, rel=1e-12), "Adam's first step is the rate, whatever the gradient"
    m, v, c = 0.0, 0.0, 1.0
    for t, g in enumerate((2.0, -1.0, 0.5), 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        c -= 0.1 * (m / (1 - 0.9**t)) / (v / (1 - 0.999**t)) ** 0.5
    assert three_steps(ssnn.Adam(0.1, eps=0.0))[-1] == pytest.approx(c, rel=1e-12)
    assert three_steps(ssnn.SGD(0.1, momentum=0.5)) == pytest.approx([0.8, 0.8, 0.75])
    scheduled = ssnn.SGD(ssnn.piecewise_constant({0: 0.1, 2: 0.0001}))
    assert three_steps(scheduled)[-1] == pytest.approx(1 - 0.1 * 1.0 - 0.00005)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ssnn.RMSProp(0.0),
        lambda: ssnn.RMSProp(0.1, decay=1.0),
        lambda: ssnn.Adam(0.1, b1=-0.1),
        lambda: ssnn.SGD(np.nan),
        lambda: ssnn.piecewise_constant({5: 0.1}),
        lambda: ssnn.Adam(0.1, eps=-1.0),
    ],
)
def test_bad_optimizers(make):
    with pytest.raises(ssnn.ValidationError):
        make()


def data(engine, samples=24):
    return ssnn.simulate(one_neuron(), num_samples=samples, seed=11, engine=engine, **RUN).spike_trains


def train(engine, steps=6, **changes):
    arguments = dict(wrt="input_current", optimizer=ssnn.RMSProp(2e-2, 0.7, 0.3), seed=5, engine=engine, **RUN)
    start = changes.pop("start", one_neuron(input_current=1.1))
    loss = changes.pop("loss", ssnn.ExpectedSignatureLoss(depth=3))
    given = changes.pop("data", None)
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
        callback=lambda step, record: seen.append((step, record["loss"])),
    )
    assert [step for step, _ in seen] == list(range(6))
    assert result.parameters["beta"] >= 4.99
    assert result.parameters["v0"] <= 0.0
    assert set(result.parameters) == {"input_current", "beta", "v0"}


def test_every_sample_is_seen_once_per_epoch():
    order = np.concatenate([batch_indices(10, 4, seed=3, step=step) for step in range(5)])
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert not np.array_equal(order[:10], order[10:])


def test_noise_of_steps_never_repeats():
    seeds = {step_seed(7, step) for step in range(1000)} | {step_seed(8, step) for step in range(1000)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_a_resumed_training_gives_the_same_numbers(engine, tmp_path):
    whole = train(engine, steps=8, batch_size=7)
    path = tmp_path / "run.npz"
    train(engine, steps=5, batch_size=7, checkpoint=path, checkpoint_every=2)
    resumed = train(engine, steps=8, batch_size=7, checkpoint=path)
    for name in ("loss", "input_current"):
        assert np.array_equal(whole.history[name], resumed.history[name])
    assert whole.parameters["input_current"] == resumed.parameters["input_current"]
    assert list(tmp_path.iterdir()) == [path]


def test_results_are_saved_and_loaded_without_pickle(engine, tmp_path):
    result = train(engine, steps=3)
    result.save(tmp_path / "result")
    with np.load(tmp_path / "result.npz", allow_pickle=False) as file:
        assert "parameters/input_current" in file.files
    loaded = ssnn.FitResult.load(tmp_path / "result", one_neuron())
    assert loaded.network.parameters["input_current"] == result.parameters["input_current"]
    assert all(np.array_equal(loaded.history[name], values) for name, values in result.history.items())
    (tmp_path / "other.npz").write_bytes(b"not an archive")
    for path in ("other.npz", "none.npz"):
        with pytest.raises(ssnn.ValidationError, match=path):
            ssnn.FitResult.load(tmp_path / path, one_neuron())


def test_stops_early(engine):
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
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"patience": 0}, "patience"),
        ({"optimizer": "adam"}, "optimizer"),
        ({"loss": 3}, "loss"),
        ({"data": [1, 2]}, "data"),
        ({"test_loss": ssnn.FirstSpikeLoss()}, "test_data"),
        ({"start": "net"}, "network"),
        ({"seed": -1}, "seed"),
        ({"dt": -1.0}, "dt"),
    ],
)
def test_bad_arguments(change, word):
    with pytest.raises(ssnn.ValidationError, match=word):
        train("reference", **change)
