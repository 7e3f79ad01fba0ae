r"""
Inside a PyTorch model
======================

``ssnn_py.torch.simulate`` takes tensors for parameters and returns differentiable spike times; ``expectation`` has the
unbiased gradient of any loss of a sample that is written in PyTorch. Needs ``pip install torch``.
"""

import torch

import ssnn_py as ssnn
import ssnn_py.torch as st

net = ssnn.SLIFNetwork([[0.0]], 1.5, mu=(15.0, 0.0), sigma=0.25, v_reset=1.4)
current = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.Adam([current], lr=0.05)
for step in range(40):
    sol = st.simulate(net, {"input_current": current}, t1=5.0, dt=0.02, num_samples=32, max_spikes=3, seed=step)
    loss = (sol.spike_times.clamp(max=5.0).mean(dim=0)[0] - 0.4) ** 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(float(current), float(loss))
