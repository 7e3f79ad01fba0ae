"""Networks as differentiable functions in PyTorch: tensors in, spike times and potentials out, backward through the exact adjoint.

Needs PyTorch, which is not installed with ssnn_py: ``pip install torch``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

try:
    import torch
except ImportError as error:  # pragma: no cover
    raise ImportError("ssnn_py.torch needs PyTorch: pip install torch") from error

from .errors import ValidationError
from .network import SLIFNetwork
from .simulation import Solution
from .simulation import simulate as _simulate
from .validation import describe


@dataclass(frozen=True)
class TorchSolution:
    """What :func:`simulate` returns.

    Attributes
    ----------
    spike_times : torch.Tensor, shape (S, K), float64
        Differentiable; inf where there is no spike (no gradient flows there).
    v, i : torch.Tensor, shape (S, T, N), float64
        Differentiable; recorded where ``saveat`` was given.
    solution : Solution
        The solution in NumPy, with everything else.
    """

    spike_times: torch.Tensor
    v: torch.Tensor
    i: torch.Tensor
    solution: Solution


class _Simulate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        solution = call.solve([tensor.detach().cpu().numpy().astype(np.float64) for tensor in tensors])
        ctx.call, ctx.solution = call, solution
        ctx.like = [(tensor.dtype, tensor.device) for tensor in tensors]
        return tuple(torch.from_numpy(np.array(part)) for part in (solution.spike_times, solution.v, solution.i))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *bars: torch.Tensor | None) -> tuple[Any, ...]:
        arrays = [None if bar is None else bar.cpu().numpy() for bar in bars]
        gradients = ctx.solution.vjp(arrays[0], ctx.call.names, v_bar=arrays[1], i_bar=arrays[2])
        out = []
        for name, (dtype, device), needed in zip(ctx.call.names, ctx.like, ctx.needs_input_grad[1:], strict=True):
            gradient = gradients[name]
            gradient = gradient.data if hasattr(gradient, "tocsr") else gradient
            out.append(torch.from_numpy(np.array(gradient)).to(dtype=dtype, device=device) if needed else None)
        return (None, *out)


class _Call:
    """A simulation that waits for the values of its parameters."""

    def __init__(self, network: SLIFNetwork, names: tuple[str, ...], arguments: dict[str, Any]) -> None:
        self.network, self.names, self.arguments = network, names, arguments
        self.solution: Solution | None = None

    def solve(self, arrays: list[Any]) -> Solution:
        values = dict(zip(self.names, arrays, strict=True))
        own = {name: value for name, value in values.items() if name in self.network.parameters}
        initial = {name: value for name, value in values.items() if name not in own}
        self.solution = _simulate(self.network.replace(**own), **{**self.arguments, **initial})
        return self.solution


def simulate(network: SLIFNetwork, parameters: Mapping[str, torch.Tensor], **simulate_arguments: Any) -> TorchSolution:
    """Simulate a network with some of its parameters given as tensors.

    Parameters
    ----------
    network : SLIFNetwork
    parameters : mapping of str to torch.Tensor
        Names of the network's parameters, ``"v0"`` or ``"i0"``; sparse weights by their stored values. Any dtype and device; computed in
        double precision on the CPU.
    **simulate_arguments
        As for :func:`ssnn_py.simulate`.

    Returns
    -------
    TorchSolution

    Raises
    ------
    ValidationError
        If a name is unknown or a value does not fit.
    NoGradientError
        If a gradient is asked for that does not exist.

    Examples
    --------
    Descent on one's own loss, ten steps with fresh noise::

        c = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([c], lr=0.02)
        for step in range(10):
            optimizer.zero_grad()
            out = ssnn_py.torch.simulate(net, {"input_current": c}, t1=5.0, dt=0.01, num_samples=64, max_spikes=3, seed=step)
            loss = (out.spike_times.clamp(max=5.0).mean(0) - target).square().mean()
            loss.backward()
            optimizer.step()
    """
    known = (*network.parameters, "v0", "i0")
    for name, value in parameters.items():
        if name not in known:
            raise ValidationError(f"parameters names an unknown parameter {name!r}; there are {', '.join(known)}")
        if not isinstance(value, torch.Tensor):
            raise ValidationError(f"parameters must hold tensors, got {describe(value)} for {name}")
    if any(value.requires_grad for value in parameters.values()) and torch.is_grad_enabled():
        network.check_gradients()
    call = _Call(network, tuple(parameters), dict(simulate_arguments))
    spike_times, v, i = _Simulate.apply(call, *parameters.values())  # type: ignore[no-untyped-call]
    assert call.solution is not None
    return TorchSolution(spike_times, v, i, call.solution)
