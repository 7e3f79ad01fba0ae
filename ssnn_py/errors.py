"""The exceptions of the package; everything it raises on purpose derives from :class:`SSNNError`. And how it warns."""

from __future__ import annotations

import sys
import warnings


class SSNNError(Exception):
    """Root of all errors raised by ssnn_py."""


class ValidationError(SSNNError, ValueError):
    """An argument is not what the function can work with; the message names it, what was given and what is allowed."""


class UnknownNameError(ValidationError, KeyError):
    """A mapping has nothing of that name; the message lists the names that it has."""

    __str__ = Exception.__str__  # and not that of KeyError, which quotes the message


class JuliaError(SSNNError, RuntimeError):
    """Julia could not be started, or the Julia core reported a failure; carries Julia's own message."""


class NoGradientError(SSNNError):
    """The pathwise gradient does not exist for this model; the message names the condition that fails."""


class LikelyMistakeWarning(UserWarning):
    """What is asked for can be computed and is hardly what is meant; the message names the remedy."""


class WorkerLostWarning(UserWarning):
    """An executor has lost its workers; this process computes what they had not."""


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn of the line that has called this package, however deep within it the reason was found."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == __name__.split(".")[0]:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
