"""The same as train_by_mmd.py with PyTorch: its tensors, its optimizer, one's own training loop. Needs PyTorch. Ends in train_with_torch.png."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from train_by_mmd import RUN, SPIKES, WRT, draw, generate, model, recordings

import ssnn_py as ssnn
import ssnn_py.torch


def main(out: Path) -> None:
    data, held_out = recordings(128, seed=1), recordings(256, seed=2)
    mmd = ssnn.SignatureMMD(scales=ssnn.median_scales(data))
    net = model()
    parameters = {name: torch.tensor(net.parameters[name], requires_grad=True) for name in WRT}
    optimizer = torch.optim.Adam(parameters.values(), lr=0.01)
    history = []
    for step in range(160):
        optimizer.zero_grad()
        generated = ssnn_py.torch.simulate(net, parameters, num_samples=128, max_spikes=SPIKES, seed=step, **RUN)
        value, spike_times_bar, *_ = mmd(generated.solution, data)
        generated.spike_times.backward(torch.from_numpy(spike_times_bar))
        optimizer.step()
        history.append(value)
    trained = net.replace(**{name: value.detach().numpy() for name, value in parameters.items()})
    before, after = generate(net, 256, seed=3), generate(trained, 256, seed=3)
    draw(out / "train_with_torch.png", np.array(history), before, after, held_out)
    print(
        f"MMD² fell from {np.mean(history[:10]):.4f} to {np.mean(history[-10:]):.4f}; train_with_torch.png is in {out}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    main(parser.parse_args().out)
