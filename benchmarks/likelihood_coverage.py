"""Are the standard errors of maximum likelihood right? Coverage of 95 % intervals over repeated experiments.

Each repeat simulates trials of one neuron without noise on its potential, and finds (c, μ1, β, v_th) from a wrong
start. Prints for each parameter the coverage, the scatter of the estimates in standard errors, and their mean.

Of 200 repeats of 200 trials (four calls of 50, seeds from 1000 on), 95 % intervals covered the truth in 94.5 % (c),
92.5 % (μ1), 94.0 % (β) and 92.0 % (v_th) of the cases. With euler_maruyama at dt = 0.01 it was 86.5 % of β, whose
estimates were 0.9 standard errors too large on average: the step, not the theory.

    python benchmarks/likelihood_coverage.py [repeats] [trials] [first seed]
"""

import sys
import time

import numpy as np

import ssnn_py as ssnn

TRUTH = np.array([1.5, 15.0, 5.0, 1.0])
WRT = ["input_current", "mu", "beta", "v_th"]
RUN = dict(dt=0.02, solver="exact_ou")


def neuron(c=1.5, mu=15.0, beta=5.0, v_th=1.0):
    intensity = ssnn.ExponentialIntensity(beta=beta, v_th=v_th)
    return ssnn.SLIFNetwork([[0.0]], input_current=c, mu=(mu, 0.0), alpha=0.0, intensity=intensity)


def main(repeats=200, trials=200, first_seed=1000):
    start, begin = neuron(1.3, 12.0, 4.0, 0.9), time.perf_counter()
    values, errors = np.empty((2, repeats, 4))
    for repeat in range(repeats):
        trains = ssnn.simulate(neuron(), num_samples=trials, t1=2.0, seed=first_seed + repeat, **RUN).spike_trains
        found = ssnn.maximum_likelihood(start, trains, WRT, **RUN)
        known = [found.labels.index(label) for label in ("input_current", "mu[0]", "beta", "v_th")]
        values[repeat], errors[repeat] = found.values[known], found.standard_errors[known]
        assert found.converged
    z = (values - TRUTH) / errors
    print(f"{repeats} repeats of {trials} trials, {time.perf_counter() - begin:.0f} s")
    print("parameter      truth   mean      coverage of 95 %   mean of z        standard deviation of z")
    for k, name in enumerate(("input_current", "mu[0]", "beta", "v_th")):
        covered = np.mean(np.abs(z[:, k]) < 1.959964)
        print(
            f"{name:13s}  {TRUTH[k]:5.4g}   {values[:, k].mean():7.4f}   {100 * covered:5.1f} %"
            f"            {z[:, k].mean():+.2f} ± {1 / np.sqrt(repeats):.2f}     {z[:, k].std():.2f}"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
