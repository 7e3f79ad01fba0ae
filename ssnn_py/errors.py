"""The exceptions of the package; everything it raises on purpose derives from :class:`SSNNError`."""


class SSNNError(Exception):
    """Root of all errors raised by ssnn_py."""


class ValidationError(SSNNError, ValueError):
    """An argument is not what the function can work with; the message names it, what was given and what is allowed."""


class JuliaError(SSNNError, RuntimeError):
    """Julia could not be started, or the Julia core reported a failure; carries Julia's own message."""


class NoGradientError(SSNNError):
    """The pathwise gradient does not exist for this model; the message names the condition that fails."""
