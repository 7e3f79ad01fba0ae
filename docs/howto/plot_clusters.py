r"""
Run on a cluster
================

This page was run on one machine, in parts that would be a cluster's jobs; on a cluster it was not run yet.

Set up once on a login node with ``ssnn setup``, and set ``PYTHON_JULIAPKG_OFFLINE=yes`` on nodes without internet:
:doc:`/engines` has all variables. Samples can be divided among jobs: what job number j computes does not depend on how
many others there are.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import ssnn_py as ssnn

net = ssnn.SLIFNetwork([[0.0]], 1.5, mu=(15.0, 0.0), sigma=0.3, v_reset=1.4)
run = dict(t1=2.0, dt=0.02, max_spikes=3, seed=0)
parts = [ssnn.simulate(net, num_samples=25, first_sample=25 * job, **run) for job in range(4)]
whole = ssnn.simulate(net, num_samples=100, **run)
print(np.array_equal(np.concatenate([part.spike_times for part in parts]), whole.spike_times))

# %%
# Or the workers of an *executor* compute the samples of every call: processes of this machine, or other machines.
# Anything with the method ``submit`` of ``concurrent.futures`` will do. Parameters and results travel, the loss and its
# data stay here, and the numbers are the same to the last bit, of simulations, gradients and trainings.
#
# Processes of this machine (no gain over threads, which are the default)::
#
#     from concurrent.futures import ProcessPoolExecutor
#     from multiprocessing import get_context
#
#     if __name__ == "__main__":
#         with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:  # Julia does not survive a fork
#             solution = ssnn.simulate(net, executor=pool, num_samples=10_000, **run)
#
# Dask (``pip install ssnn_py[dask]``), here through a batch queue; a worker that dies is replaced, and its samples are
# computed again::
#
#     from dask.distributed import Client
#     from dask_jobqueue import SLURMCluster
#
#     cluster = SLURMCluster(cores=8, processes=8, memory="16GB", walltime="02:00:00")
#     cluster.scale(jobs=10)
#     with Client(cluster) as client:
#         fit = ssnn.fit(net, data, loss, "weights", steps=1000, executor=client, **run)
#
# mpi4py, started with ``mpiexec -n 41 python -m mpi4py.futures train.py``::
#
#     from mpi4py.futures import MPIPoolExecutor
#
#     if __name__ == "__main__":
#         with MPIPoolExecutor() as pool:
#             fit = ssnn.fit(net, data, loss, "weights", steps=1000, executor=pool, **run)
#
# Each worker starts its own Julia once, and uses one thread unless ``threads`` says otherwise. Workers need the same
# ssnn_py; one that has no Julia is named in the error. Worth it where a call takes longer than its parameters travel:
# tens of milliseconds.

with ThreadPoolExecutor(2) as pool:
    shared = ssnn.simulate(net, num_samples=100, executor=pool, **run)
print(np.array_equal(shared.spike_times, whole.spike_times))

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
