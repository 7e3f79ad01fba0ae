"""Networks in PyTorch."""

import numpy as np
import pytest
from helpers import one_neuron, random_network, run_arguments

import ssnn_py as ssnn

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
layer = pytest.importorskip("ssnn_py.torch")


def tensors(network, names):
    return {name: torch.tensor(network.parameters[name], requires_grad=True) for name in names}


def test_gradcheck(engine):
    network = random_network(0, 3, 2)
    arguments = run_arguments(0, 3, 2) | {"engine": engine, "max_spikes": 5}
    names = ("input_current", "mu", "sigma", "beta", "weights")
    there = network.parameters["weights"] != 0
    mask = torch.from_numpy(there * 1.0)

    def outputs(*values):
        parameters = dict(zip(names, values, strict=True))
        parameters["weights"] = parameters["weights"] * mask
        out = layer.simulate(network, parameters, **arguments)
        spike_times = torch.where(torch.isfinite(out.spike_times), out.spike_times, 0.0)
        return spike_times, torch.nan_to_num(out.v), torch.nan_to_num(out.i)

    inputs = tuple(tensors(network, names).values())
    assert torch.autograd.gradcheck(outputs, inputs, eps=1e-7, atol=1e-4, rtol=1e-5)


def test_equals_numpy_in_any_dtype(engine):
    network = one_neuron()
    run = {"t1": 2.0, "dt": 0.01, "num_samples": 4, "max_spikes": 2, "seed": 3, "engine": engine}
    solution = ssnn.simulate(network, **run)
    wanted = solution.vjp(1.0, "input_current")["input_current"]
    for dtype in (torch.float64, torch.float32):
        c = torch.tensor(1.5, dtype=dtype, requires_grad=True)
        out = layer.simulate(network, {"input_current": c}, **run)
        np.testing.assert_allclose(out.spike_times.detach().numpy(), solution.spike_times)
        out.spike_times.sum().backward()
        assert c.grad.dtype == dtype
        assert float(c.grad) == pytest.approx(float(wanted), rel=1e-6)


def test_training_with_torch_optim(engine):
    run = {"t1": 2.0, "dt": 0.02, "num_samples": 24, "max_spikes": 2, "engine": engine}
    target = torch.from_numpy(ssnn.simulate(one_neuron(), seed=99, **run).spike_times.mean(axis=0))
    c = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([c], lr=0.03)
    for step in range(60):
        optimizer.zero_grad()
        out = layer.simulate(one_neuron(), {"input_current": c}, seed=step, **run)
        loss = (out.spike_times.clamp(max=2.0).mean(0) - target).square().mean()
        loss.backward()
        optimizer.step()
    assert abs(float(c.detach()) - 1.5) < 0.25


def test_bad_input():
    with pytest.raises(ssnn.ValidationError, match="gamma"):
        layer.simulate(one_neuron(), {"gamma": torch.tensor(1.0)}, t1=1.0, dt=0.1, engine="reference")
    with pytest.raises(ssnn.ValidationError, match="tensors"):
        layer.simulate(one_neuron(), {"alpha": 1.0}, t1=1.0, dt=0.1, engine="reference")
    hard = one_neuron(reset="hard")
    with pytest.raises(ssnn.NoGradientError):
        layer.simulate(hard, {"alpha": torch.tensor(0.1, requires_grad=True)}, t1=1.0, dt=0.1, engine="reference")
    out = layer.simulate(hard, {"alpha": torch.tensor(0.1)}, t1=1.0, dt=0.1, engine="reference")
    assert not out.spike_times.requires_grad
