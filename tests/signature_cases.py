"""Spike trains whose signatures and kernels devices must compute to the processor's numbers, and the comparison."""

import numpy as np

import ssnn_py as ssnn

SCALES = (0.5, 1.0, 2.0, 1.3)
NEURONS = 3

#: Samples, most spikes each, whether some come at the same time, and the options of kernels.
CASES = {
    "one at a time": (70, 8, False, {}),
    "at once": (6, 10, True, {"scales": SCALES}),
    "normalised": (6, 9, True, {"normalize": True}),
}


def trains(samples, most, joint, seed):
    """Some have no spikes, and one has as many as any."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0.0, 2.0, (samples, most)), axis=1)
    neurons = rng.integers(0, NEURONS, (samples, most))
    if joint:
        times = np.sort(np.round(4 * times) / 4, axis=1)
    counts = rng.integers(0, most + 1, samples)
    counts[1:2] = 0
    counts[0] = most
    gone = np.arange(most) >= counts[:, None]
    return ssnn.SpikeTrains(np.where(gone, np.inf, times), np.where(gone, -1, neurons), NEURONS, 0.0, 2.0)


def batches(name):
    samples, most, joint, options = CASES[name]
    return trains(samples, most, joint, 1), trains(4, max(most // 2, 1), joint, 2), options


def kernels(name, device):
    """All that kernels of a case give: of pairs, Gram matrices with gradients, and one more spike at the end."""
    X, Y, options = batches(name)
    X = X[:20]
    kernel, rng = ssnn.SignatureKernel(**options, device=device), np.random.default_rng(3)
    own, cross, along = (rng.normal(size=shape) for shape in ((len(X), len(X)), (len(X), len(Y)), 3))
    weights = ssnn.signature_kernels.mmd_weights(len(X), len(Y), True)
    return {
        "pairs": kernel.pairs(X[:3], Y[:3]),
        "gradients of pairs": ssnn.signature_kernel_backprop(X[:3], Y[:3], along, **options, device=device),
        "X": kernel.gram(X),
        "X and Y": kernel.gram(X, Y),
        "gradient in X": ssnn.signature_kernel_gram_backprop(X, None, own, **options, device=device)[0],
        "gradients": ssnn.signature_kernel_gram_backprop(X, Y, cross, **options, device=device),
        "one more spike": kernel.mmd_with_entries(X, Y, weights),
    }


def long_kernel(device):
    """The gradient of log k of two trains whose k is beyond 2^900, for which there are units, and whose pieces of time
    are divided.
    """
    X, Y = trains(1, 30, False, 1), trains(1, 15, False, 2)
    kernel = ssnn.SignatureKernel(scales=(170.0, 1.0, 1.0, 1.0), device=device)
    result = kernel._run(X, Y, ssnn.signature_kernels.PAIRS, np.ones(1), logarithmic=True)
    assert result.exponents[0] >= 512
    return {"mantissa": result.mantissas, "gradients": (result.x_bar, result.y_bar)}


def signatures(name, device, depth):
    X = batches(name)[0]
    mean = ssnn.expected_signature(X, depth, scales=SCALES, device=device)
    cotangent = np.random.default_rng(4).normal(size=mean.size)
    return {
        "mean": mean,
        "gradient": ssnn.expected_signature_backprop(X, cotangent, depth, scales=SCALES, device=device),
    }


def assert_agree(one, other, tolerance):
    """Arrays, or tuples of them, by name: within `tolerance` of the largest of each."""
    for what in one:
        mine, theirs = (part[what] if isinstance(part[what], tuple) else (part[what],) for part in (one, other))
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=0.0, atol=tolerance * np.abs(a).max(), err_msg=what)
