"""Data sets for learning tasks, and how numbers become spikes."""

from .digits import digits
from .encoding import latency_spikes
from .yin_yang import yin_yang, yin_yang_class

__all__ = ["digits", "latency_spikes", "yin_yang", "yin_yang_class"]
