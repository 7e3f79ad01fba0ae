"""What crosses the boundary between Python and the core: layouts, names, plans that are kept."""

import ctypes
import gc
import threading
import weakref

import numpy as np
import pytest
from helpers import one_neuron, random_network, run_arguments

import ssnn_py as ssnn
from ssnn_py.engine import julia as julia_engine
from ssnn_py.engine import structs
from ssnn_py.errors import JuliaError


def test_structs_are_laid_out_as_in_the_core(julia):
    theirs = structs.core_layouts(julia.function("ssnn_layouts", *[ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]))
    ours = {struct.__name__: (structs.layout(struct), ctypes.sizeof(struct)) for struct in structs.STRUCTS}
    assert ours == theirs


class Renamed(ssnn.ExponentialIntensity):
    """The core's exponential intensity, from a host that calls a coefficient by another name."""

    def __init__(self):
        super().__init__()
        self.parameters = {"gain" if name == "beta" else name: value for name, value in self.parameters.items()}


class Shortened(ssnn.ExponentialIntensity):
    """Likewise, from a host that does not send a coefficient."""

    def __init__(self):
        super().__init__()
        self.parameters = {name: value for name, value in self.parameters.items() if name != "tau"}


class Reversed(ssnn.ExponentialIntensity):
    """Likewise, from a host that lists coefficients in another order."""

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self.parameters = dict(reversed(self.parameters.items()))


@pytest.mark.parametrize(("intensity", "named"), [(Renamed(), "gain"), (Shortened(), "tau")])
def test_a_coefficient_that_the_core_does_not_know_or_lacks_is_refused_by_name(julia, intensity, named):
    with pytest.raises(JuliaError, match=f'"{named}"'):
        ssnn.simulate(one_neuron(intensity=intensity), t1=1.0, dt=0.1, engine="julia")


def test_the_order_in_which_coefficients_are_listed_does_not_matter(julia):
    solutions = [
        ssnn.simulate(
            one_neuron(intensity=kind(beta=4.0, v_th=0.9, tau=0.7)), t1=3.0, dt=0.05, num_samples=4, engine="julia"
        )
        for kind in (ssnn.ExponentialIntensity, Reversed)
    ]
    ours, theirs = solutions
    assert np.array_equal(ours.spike_times, theirs.spike_times)
    gradients = [solution.vjp(np.ones(solution.spike_times.shape)) for solution in solutions]
    for name, value in gradients[0].items():
        assert np.array_equal(value, gradients[1][name])


def number_in_julia(julia, code):
    """An integer that Julia code evaluates to."""
    out = ctypes.c_int64()
    julia.eval(f"unsafe_store!(Ptr{{Int64}}({ctypes.addressof(out)}), Int64({code}))")
    return out.value


def everything_of(network, arguments, seed=1):
    """Solution, tangent and gradient of one run, as arrays."""
    solution = ssnn.simulate(network, **{**arguments, "seed": seed}, engine="julia")
    gradients = solution.vjp(np.ones(solution.spike_times.shape), v_bar=np.ones(solution.v.shape))
    return [solution.spike_times, solution.v, solution.jvp({"sigma": 1.0, "weights": 0.5}), *gradients.values()]


def same(ours, theirs):
    return len(ours) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def shifted(network, amount):
    return network.replace(
        sigma=network.parameters["sigma"] + amount, v_reset=network.parameters["v_reset"] * (1 + amount)
    )


def test_a_second_step_of_the_same_shape_makes_no_worker(julia):
    network, arguments = random_network(1), run_arguments(1)
    everything_of(network, arguments)
    before, plans = number_in_julia(julia, "SSNN.WORKERS_MADE[]"), set(map(id, julia_engine._PLANS.values()))
    everything_of(shifted(network, 0.01), arguments, seed=2)
    assert number_in_julia(julia, "SSNN.WORKERS_MADE[]") == before
    assert set(map(id, julia_engine._PLANS.values())) == plans


def test_a_fit_makes_workers_in_its_first_step_alone(julia):
    run = dict(t1=2.0, dt=0.05, max_spikes=3)
    data = ssnn.simulate(one_neuron(), num_samples=8, seed=1, **run).spike_trains
    made = []
    ssnn.fit(
        one_neuron(input_current=1.2),
        data,
        ssnn.ExpectedSignatureLoss(depth=3),
        ["input_current", "v_reset", "mu"],
        steps=5,
        callback=lambda step, record: made.append(number_in_julia(julia, "SSNN.WORKERS_MADE[]")) and False,
        **run,
    )
    assert made[1:] == made[:1] * 4


def test_plans_that_are_kept_change_no_number(julia):
    runs = [(random_network(seed, sampled=seed % 2 == 0), run_arguments(seed)) for seed in range(3)]
    fresh = []
    for network, arguments in runs:
        julia.eval("SSNN.forget_plans!()")
        julia_engine._PLANS.clear()
        fresh.append(everything_of(network, arguments))
    for _ in range(2):
        for (network, arguments), expected in zip(runs, fresh, strict=True):
            everything_of(shifted(network, 0.02), arguments, seed=5)
            assert same(everything_of(network, arguments), expected)


def test_networks_of_one_shape_with_other_synapses_or_knots_do_not_share_them(julia):
    arguments = dict(t1=2.0, dt=0.05, num_samples=3, engine="julia")
    current = lambda times: ssnn.SampledCurrent(times, [1.0, 2.5])  # noqa: E731
    networks = [
        ssnn.SLIFNetwork([[0.0, 0.5], [0.0, 0.0]], input_current=current([0.0, 2.0])),
        ssnn.SLIFNetwork([[0.0, 0.0], [0.5, 0.0]], input_current=current([0.0, 1.0])),
    ]
    for network in networks * 2:
        ours = ssnn.simulate(network, **arguments)
        theirs = ssnn.simulate(network, **{**arguments, "engine": "reference"})
        np.testing.assert_allclose(ours.spike_times, theirs.spike_times, rtol=1e-9)


def test_a_call_that_fails_gives_no_plan_back(julia):
    arguments = dict(dt=1.0, t1=2000.0, num_samples=2, max_spikes=5)
    silent = ssnn.ExponentialIntensity(beta=0.0, tau=1e9)
    calm, wild = (one_neuron(intensity=silent, mu=(rate, 0.0)) for rate in (0.5, 15.0))
    expected = everything_of(calm, arguments)
    with pytest.raises(JuliaError, match="no longer finite"):
        ssnn.simulate(wild, engine="julia", **arguments)
    assert number_in_julia(julia, "count(p -> p.key.mode == :solve && 2000.0 in p.key.numbers, SSNN.PLANS)") == 0
    assert same(everything_of(calm, arguments), expected)


def test_two_threads_with_one_network_get_the_same_numbers_as_one(julia):
    network, arguments = random_network(3), run_arguments(3)
    expected = {seed: everything_of(network, arguments, seed) for seed in range(4)}
    wrong = []

    def work(seed):
        for _ in range(5):
            if not same(everything_of(network, arguments, seed), expected[seed]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_plans_are_few_and_keep_no_network_alive(julia):
    for samples in range(1, 2 * julia_engine.MAX_PLANS):
        ssnn.simulate(one_neuron(), t1=1.0, dt=0.1, num_samples=samples, engine="julia")
    assert len(julia_engine._PLANS) <= julia_engine.MAX_PLANS
    assert number_in_julia(julia, "length(SSNN.PLANS)") <= number_in_julia(julia, "SSNN.MAX_PLANS")
    network = one_neuron()
    array, held = weakref.ref(network.parameters["weights"]), weakref.ref(network)
    ssnn.simulate(network, t1=1.0, dt=0.1, engine="julia")
    del network
    gc.collect()
    assert held() is None
    assert array() is None
