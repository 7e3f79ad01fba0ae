"""What a likelihood costs: one hour of one neuron at 0.1 ms, value and gradient; and particles of a filter.

Seconds are of processor time, of all threads together: what an idle core would take.

    python benchmarks/likelihood.py
"""

import time

import ssnn_py as ssnn

HOUR, DT = 3600.0, 1e-4


def neuron(sigma=0.0):
    intensity = ssnn.ExponentialIntensity(beta=5.0, tau=0.1)
    return ssnn.SLIFNetwork([[0.0]], input_current=1.2, mu=(20.0, 0.0), sigma=sigma, v_reset=1.0, intensity=intensity)


def least(work, repeats=3):
    """The least seconds of processor time that the work takes, and its result."""
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        result = work()
        seconds.append(time.process_time() - begin)
    return min(seconds), result


def main():
    net, names = neuron(), ["input_current", "mu", "beta", "v_th"]
    trains = ssnn.simulate(net, t1=HOUR, dt=DT, seed=1).spike_trains
    run = dict(data=trains, t1=HOUR, dt=DT, num_samples=1)
    alone, found = least(lambda: ssnn.log_likelihood(net, trains, DT))
    both, _ = least(lambda: ssnn.value_and_grad(ssnn.NegativeLogLikelihood(), net, names, **run))
    print(f"{found}")
    print(f"one hour at 0.1 ms, 36,000,000 steps: likelihood {alone:.2f} s; likelihood and gradient {both:.2f} s")
    noisy = neuron(sigma=0.5)
    short = ssnn.simulate(noisy, t1=2.0, dt=1e-3, seed=1).spike_trains
    for particles in (250, 500, 1000, 2000, 4000):
        seconds, found = least(lambda p=particles: ssnn.log_likelihood(noisy, short, 1e-3, particles=p, filters=4))
        error = found.standard_error
        print(f"4 filters of {particles:5d} particles, 2000 steps: {seconds:.3f} s, standard error {error:.3f}")


if __name__ == "__main__":
    main()
