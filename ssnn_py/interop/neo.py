"""Spike trains as objects of Neo, which elephant analyses: a block with one segment per sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ValidationError
from ..validation import describe
from . import Array, Recorded, Trains, common_window, library, lists, seconds

_WHAT = "a neo Block, a Segment, a list of Segments, or lists of SpikeTrains, one for each sample"


def write(trains: Trains, unit: object) -> Any:
    """A block of segments; see :meth:`ssnn_py.SpikeTrains.to_neo`."""
    neo = library("neo", "to_neo")
    name, scale = _quantity(unit)
    window = {"units": name, "t_start": trains.t0 * scale, "t_stop": trains.t1 * scale}
    block = neo.Block(name="spike trains")
    for index, sample in enumerate(lists(trains)):
        segment = neo.Segment(name=f"sample {index}", index=index)
        for k, times in enumerate(sample):
            segment.spiketrains.append(neo.SpikeTrain(times * scale, **window, name=f"neuron {k}", neuron=k))
        block.segments.append(segment)
    return block


def read(given: Any, unit: object, t0: float | None, t1: float | None) -> Recorded:
    """Their spikes in `unit`; see :meth:`ssnn_py.SpikeTrains.from_neo`."""
    neo = library("neo", "from_neo")
    name, scale = _quantity(unit)
    samples, windows = [], []
    for segment in _segments(neo, given):
        sample = []
        for train in segment:
            if not isinstance(train, neo.SpikeTrain):
                raise ValidationError(f"given must be {_WHAT}, got {describe(train)} among them")
            sample.append(_numbers(train, name) / scale)
            windows.append(tuple(float(_numbers(end, name)) / scale for end in (train.t_start, train.t_stop)))
        samples.append(sample)
    if not windows:
        raise ValidationError(f"given must be {_WHAT}, with at least one train, got {describe(given)}")
    start, stop = common_window([(first, last) for first, last in windows], t0, t1)
    inside = [[times[(times >= start) & (times <= stop)] for times in sample] for sample in samples]
    return Recorded(inside, start, stop)


def _quantity(unit: object) -> tuple[str, float]:
    """The name that `quantities` has for a unit, and how many of those one's own unit is."""
    scale = seconds(unit)
    if isinstance(unit, str):
        return ("us" if unit in ("µs", "μs") else unit), 1.0
    return "s", scale


def _numbers(quantity: Any, name: str) -> Array:
    try:
        return np.asarray(quantity.rescale(name).magnitude, dtype=np.float64)
    except ValueError:
        raise ValidationError(f"spikes must have units of time, got {quantity.dimensionality}") from None


def _segments(neo: Any, given: Any) -> list[Any]:
    """The trains of each sample."""
    if isinstance(given, neo.Block):
        given = given.segments
    elif isinstance(given, neo.Segment):
        given = [given]
    if isinstance(given, neo.SpikeTrain) or not hasattr(given, "__iter__"):
        raise ValidationError(f"given must be {_WHAT}, got {describe(given)}")
    found = [segment.spiketrains if isinstance(segment, neo.Segment) else segment for segment in given]
    if any(isinstance(segment, neo.SpikeTrain) or not hasattr(segment, "__iter__") for segment in found):
        raise ValidationError(f"given must be {_WHAT}; of one sample it is a list of one list")
    return found
