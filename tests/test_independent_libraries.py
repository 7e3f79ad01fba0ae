"""Signatures and kernels against other people's libraries."""

import numpy as np
import pytest
from helpers import random_trains

import ssnn_py as ssnn


def test_signatures_and_their_gradients_against_sig_light(engine):
    sig_light = pytest.importorskip("sig_light", reason="sig-light is not installed")
    rng = np.random.default_rng(0)
    trains = random_trains(rng, 5, 5, 2)
    for path in (*trains.marcus_lift(), rng.normal(size=(6, 3))):
        mine = ssnn.signature(path, 4, engine=engine)
        np.testing.assert_allclose(mine, sig_light.sig(path, 4), rtol=1e-10, atol=1e-12)
        bar = rng.normal(size=mine.shape)
        gradient = sig_light.sigbackprop(bar, path, 4)
        np.testing.assert_allclose(ssnn.signature_backprop(path, bar, 4, engine=engine), gradient, rtol=1e-9, atol=1e-9)
    direct = ssnn.signature(trains, 4, engine=engine)
    lifted = np.array([sig_light.sig(path, 4) for path in trains.marcus_lift()])
    np.testing.assert_allclose(direct, lifted, rtol=1e-10, atol=1e-12)


def test_kernels_and_their_gradients_against_pysiglib(engine):
    pysiglib = pytest.importorskip("pysiglib", reason="pySigLib is not installed")
    rng = np.random.default_rng(1)
    X, Y = random_trains(rng, 4, 5, 2), random_trains(rng, 3, 5, 2)
    scales = np.array([0.8, 1.1, 0.9])
    lifts = X.marcus_lift() * scales, Y.marcus_lift() * scales
    options = {"method": "polynomial", "order": 24}
    gram = ssnn.signature_kernel_gram(X, Y, scales=scales, engine=engine)
    np.testing.assert_allclose(gram, pysiglib.sig_kernel_gram(*lifts, **options), rtol=1e-11)
    bar = rng.normal(size=gram.shape)
    wanted = pysiglib.sig_kernel_gram_backprop(bar, *lifts, left_deriv=True, right_deriv=False, **options)
    wanted = wanted[0] if isinstance(wanted, tuple) else wanted
    mine, _ = ssnn.signature_kernel_gram_backprop(*lifts, bar, engine=engine)
    np.testing.assert_allclose(mine, wanted, rtol=1e-8, atol=1e-10)
