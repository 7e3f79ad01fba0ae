r"""
Run on a cluster
================

This page was run on one machine, in parts that would be a cluster's jobs; on a cluster it was not run yet.

Set up once on a login node with ``ssnn setup``, and set ``PYTHON_JULIAPKG_OFFLINE=yes`` on nodes without internet:
:doc:`/engines` has all variables. Samples can be divided among jobs: what job number j computes does not depend on how
many others there are.
"""

import tempfile
from pathlib import Path

import numpy as np

import ssnn_py as ssnn

net = ssnn.SLIFNetwork([[0.0]], 1.5, mu=(15.0, 0.0), sigma=0.3, v_reset=1.4)
run = dict(t1=2.0, dt=0.02, max_spikes=3, seed=0)
parts = [ssnn.simulate(net, num_samples=25, first_sample=25 * job, **run) for job in range(4)]
whole = ssnn.simulate(net, num_samples=100, **run)
print(np.array_equal(np.concatenate([part.spike_times for part in parts]), whole.spike_times))

# %%
# A job that may be killed writes a checkpoint; the same call resumes from it, to the same numbers. ``threads`` or
# ``SSNN_NUM_THREADS`` says how many cores a job has.

with tempfile.TemporaryDirectory() as folder:
    arguments = dict(
        data=whole.spike_trains,
        loss=ssnn.ExpectedSignatureLoss(depth=2),
        wrt="input_current",
        checkpoint=Path(folder) / "fit.npz",
        t1=2.0,
        dt=0.02,
        max_spikes=3,
        threads=1,
    )
    killed = ssnn.fit(net.replace(input_current=1.0), steps=20, **arguments)
    resumed = ssnn.fit(net.replace(input_current=1.0), steps=40, **arguments)
print(killed.num_steps, resumed.num_steps)
