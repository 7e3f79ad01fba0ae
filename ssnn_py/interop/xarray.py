"""Recorded states of solutions as xarray Datasets with named axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ValidationError
from . import library


def write(solution: Any) -> Any:
    """A Dataset of the recorded states; see :meth:`ssnn_py.Solution.to_xarray`."""
    xarray = library("xarray", "to_xarray")
    samples, saves, neurons = solution.recorded_shape
    if saves == 0:
        raise ValidationError("to_xarray needs recorded states, and there are none: give simulate a saveat")
    axes = ("sample", "time", "neuron")
    problem = solution.problem
    return xarray.Dataset(
        {name: (axes, np.array(values)) for name, values in solution.states.items()},
        {
            "sample": problem.first_sample + np.arange(samples),
            "time": np.array(solution.ts),
            "neuron": np.arange(neurons),
        },
        {"t0": problem.t0, "t1": problem.t1, "dt": problem.dt, "solver": problem.solver},
    )
