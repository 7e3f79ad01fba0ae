"""The shelf of models, a panel each: what it does, and its noise. Ends in models.png."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import ssnn_py as ssnn
from ssnn_py import models, plotting

# Title, model, input current, variable to draw, t1 and dt, samples, and units of time and variable.
PANELS = [
    ("LIF, escape: three samples", models.lif(sigma=0.5), 230.0, "v", 200.0, 0.1, 3, "ms", "v (mV)"),
    ("Quadratic", models.qif(sigma=20.0), 90.0, "v", 200.0, 0.05, 1, "ms", "v (mV)"),
    ("Theta: three samples", models.theta(sigma=0.1), 0.1, "theta", 400.0, 0.1, 3, "ms", "θ"),
    ("Exponential, escape", models.eif(sigma=0.6), 0.75, "v", 200.0, 0.02, 1, "ms", "v (mV)"),
    (
        "Adaptive exponential, bursting",
        models.adex(tau_w=40.0, v_reset=-46.4),
        *(800.0, "v", 300.0, 0.01, 1, "ms", "v (mV)"),
    ),
    ("Izhikevich, chattering", models.izhikevich(c=-50.0, d=2.0), 10.0, "v", 200.0, 0.02, 1, "ms", "v (mV)"),
    ("GLIF₅: v and its threshold (red)", models.glif(), 350.0, "v", 200.0, 0.05, 1, "ms", "mV"),
    ("Hodgkin–Huxley, near its rheobase", models.hodgkin_huxley(sigma=1.0), 6.0, "v", 200.0, 0.01, 1, "ms", "v (mV)"),
    ("Ball in gusty air: five samples", models.bouncing_ball(sigma=0.3), None, "h", 3.0, 1e-3, 5, "s", "h (m)"),
    ("Jump diffusion: five samples", models.jump_diffusion(J=-0.25, mu=0.2), None, "s", 3.0, 1e-3, 5, "years", "price"),
]


def main(out: Path) -> None:
    fig, axes = plotting.figure(5, 2, width=5.0, height=2.0)
    for ax, (title, model, current, variable, t1, dt, samples, unit, label) in zip(axes.flat, PANELS, strict=True):
        net = ssnn.Network(model, input_current=current)
        solution = ssnn.simulate(
            net, t1=t1, dt=dt, num_samples=samples, seed=2, saveat=t1 / 2000, solver="stochastic_heun"
        )
        paths = solution.states[variable][:, :, 0]
        colors = ["tab:blue", "tab:red", "0.3", "tab:orange", "tab:green"]
        for s in range(samples):
            spikes = solution.spike_times[s][np.isfinite(solution.spike_times[s])]
            ax.plot(solution.ts, paths[s], color=colors[s], linewidth=0.8)
            # Events of a sample in its colour, in a strip below the axes' upper end.
            ax.plot(spikes, np.full(spikes.size, 0.96 - 0.055 * s), "|", color=colors[s], markersize=4.5,
                    transform=ax.get_xaxis_transform())  # fmt: skip
        if "theta_v" in solution.states:
            threshold = model.parameters["theta_inf"] + solution.states["theta_v"] + solution.states["theta_s"]
            ax.plot(solution.ts, threshold[0, :, 0], color="tab:red", linewidth=0.8)
        low, high = ax.dataLim.intervaly
        top = low + (high - low) / (0.9 - 0.055 * samples)
        ax.set(title=title, ylim=(low - 0.05 * (high - low), top))
        ax.set(xlabel=f"t ({unit})", ylabel=label, xlim=(0.0, t1))
    fig.supxlabel("ticks at the upper end of a panel: events, in the colour of their sample", fontsize="medium")
    out.mkdir(parents=True, exist_ok=True)
    plotting.save(fig, [out / "models.png"])
    print(f"models.png is in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    main(parser.parse_args().out)
