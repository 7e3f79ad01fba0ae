"""An input current that is the user's own Julia function."""

import numpy as np
import pytest
from helpers import one_neuron

import ssnn_py as ssnn
from ssnn_py.currents import JuliaFunction

RUN = dict(t1=2.0, dt=0.01, num_samples=6, max_spikes=3, seed=1)


@pytest.mark.usefixtures("julia")
class TestInJulia:
    def test_agrees_with_a_current_that_the_core_knows(self):
        constant = ssnn.simulate(one_neuron(input_current=1.7), engine="julia", **RUN)
        function = ssnn.simulate(one_neuron(input_current=JuliaFunction("t -> 1.7")), engine="julia", **RUN)
        np.testing.assert_array_equal(constant.spike_times, function.spike_times)
        packaged = JuliaFunction("begin import LinearAlgebra; t -> LinearAlgebra.norm((1.7, 0.0)) end")
        loaded = ssnn.simulate(one_neuron(input_current=packaged), engine="julia", **RUN)
        np.testing.assert_array_equal(constant.spike_times, loaded.spike_times)
        ramp = ssnn.SampledCurrent([0.0, 2.0], [1.0, 3.0])
        line = JuliaFunction("t -> 1 + t", derivative="t -> 1")
        solutions = [
            ssnn.simulate(one_neuron(input_current=current), engine="julia", **RUN) for current in (ramp, line)
        ]
        np.testing.assert_allclose(solutions[0].spike_times, solutions[1].spike_times, rtol=1e-12)
        bar = np.ones_like(solutions[0].spike_times)
        for mode in ("alpha", "v_th", "mu"):
            sampled, own = (solution.vjp(bar, wrt=mode)[mode] for solution in solutions)
            np.testing.assert_allclose(sampled, own, rtol=1e-9)
        np.testing.assert_allclose(*(solution.jvp({"alpha": 1.0}) for solution in solutions), rtol=1e-9)

    def test_may_differ_between_neurons(self):
        net = ssnn.SLIFNetwork(np.zeros((2, 2)), JuliaFunction("(t, neuron) -> neuron == 0 ? 1.2 : 1.8"), sigma=0.2)
        same = ssnn.SLIFNetwork(np.zeros((2, 2)), [1.2, 1.8], sigma=0.2)
        np.testing.assert_array_equal(*(ssnn.simulate(n, engine="julia", **RUN).spike_times for n in (net, same)))

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("t -> ", "parse|incomplete|premature"),
            ("1.5", "is no function"),
            ("(a, b, c) -> 1.0", "takes neither"),
            ("t -> no_such_name(t)", "no_such_name"),
            ('t -> "text"', "convert"),
        ],
    )
    def test_mistakes_carry_julias_message(self, source, message):
        with pytest.raises(ssnn.JuliaError, match=message):
            ssnn.simulate(one_neuron(input_current=JuliaFunction(source)), engine="julia", **RUN)

    def test_a_gradient_needs_the_derivative(self):
        solution = ssnn.simulate(one_neuron(input_current=JuliaFunction("t -> 1.5")), engine="julia", **RUN)
        with pytest.raises(ssnn.JuliaError, match="derivative"):
            solution.vjp(np.ones_like(solution.spike_times), wrt="alpha")

    def test_threads_see_the_same_function(self):
        net = one_neuron(input_current=JuliaFunction("t -> 1.5 + 0.5sin(2pi * t)"))
        one, many = (ssnn.simulate(net, engine="julia", threads=threads, **RUN) for threads in (1, 2))
        np.testing.assert_array_equal(one.spike_times, many.spike_times)


def test_numpy_cannot_run_it():
    with pytest.raises(ssnn.ValidationError, match="Julia alone"):
        ssnn.simulate(one_neuron(input_current=JuliaFunction("t -> 1.5")), engine="reference", **RUN)


def test_what_is_no_text_is_refused():
    with pytest.raises(ssnn.ValidationError, match="source"):
        JuliaFunction(lambda t: t)
    with pytest.raises(ssnn.ValidationError, match="derivative"):
        JuliaFunction("t -> t", derivative=1.0)
