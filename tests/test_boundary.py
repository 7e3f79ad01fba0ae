"""What crosses the boundary between Python and the core: layouts, names, plans that are kept."""

import ctypes

import numpy as np
import pytest
from helpers import one_neuron

import ssnn_py as ssnn
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
        del self.parameters["tau"]


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
