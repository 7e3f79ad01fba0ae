r"""
Run on a cluster
================

Many samples on many cores and machines. A longer time, or what will not fit into memory: :doc:`/large_runs`. The files
below for batch queues and Kubernetes were not run on a cluster yet; pools of processes and Dask's clusters of one
machine are what the tests use.

What computes
-------------

**Jobs that know nothing of each other.** What job number j computes does not depend on how many others there are:
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
# **The workers of an executor**, processes of this machine or of others, compute the samples of every call. Anything
# with the method ``submit`` of ``concurrent.futures`` will do. ``executor=`` is an argument of ``simulate``,
# ``value_and_grad``, ``fit``, ``log_likelihood``, ``multilevel``, ``record``, ``signature_kernel_gram`` and
# ``signature_mmd``, with their gradients, and ``two_sample_test``; ``ssnn reproduce`` and ``ssnn bench`` have
# ``--workers N`` and ``--dask ADDRESS``. The numbers are the same to the last bit, for any number of workers.

with ThreadPoolExecutor(2) as pool:
    shared = ssnn.simulate(net, num_samples=100, executor=pool, **run)
print(np.array_equal(shared.spike_times, whole.spike_times))

# %%
# What travels: parameters and results. What is large and does not change, as the synapses of a network and recorded
# spikes, travels to a worker once; the loss and its data stay here, but for the kernels of ``SignatureMMD`` where there
# are many, which workers compute in 16 groups. Each worker starts its own Julia once (2 to 10 seconds), keeps what it
# has prepared, and uses one thread unless ``threads`` says otherwise. Worth it where a call takes longer than its
# parameters travel: by two of Dask's workers the loss of a training by signature kernels, of 256 samples of figure 2,
# took 14.5 s of processor time, one process 24.4 s, and the ideal is half of it. A training step of figure 2 with a
# batch of 1024, whose loss is not shared, is short: 220 ms in one process and 179 to 187 ms by two workers, 21 to 24 %
# more than the ideal (``benchmarks/executors.py overhead``). Dask samples what its workers do every 10 ms and wakes
# every 20; for steps of less than a second it need not, and then they are 180 ms, 19 to 22 % more, which is what tasks
# that do nothing cost::
#
#     # ~/.config/dask/ssnn.yaml, on all machines, or dask.config.set before a LocalCluster starts
#     distributed:
#       worker: {profile: {enabled: false}, memory: {monitor-interval: 1s}}
#       admin: {tick: {interval: 1s}, system-monitor: {interval: 10s}}
#
# A worker that dies: Dask starts another and computes its samples again; a pool of processes is broken then, and this
# process computes what is missing, with a ``WorkerLostWarning``. One that cannot start Julia is named in the error.
# Ctrl-C cancels what has not begun; a task that runs ends by itself, after a second or two. ``progress=True`` shows a
# bar of the whole.
#
# A workstation
# -------------
#
# Processes of this machine, which gain nothing over threads, the default, where Python does little between calls::
#
#     # train.py
#     from concurrent.futures import ProcessPoolExecutor
#     from multiprocessing import get_context
#
#     import ssnn_py as ssnn
#
#     def main(executor):
#         net = ssnn.SLIFNetwork([[0.0]], 1.0, sigma=0.3)
#         data = ssnn.load("data.npz")
#         loss = ssnn.ExpectedSignatureLoss(depth=3)
#         fit = ssnn.fit(net, data, loss, "input_current", 1000, t1=2.0, dt=0.01, batch_size=1024, executor=executor,
#                        checkpoint="fit.npz", progress=True)
#         ssnn.save("trained", fit)
#
#     if __name__ == "__main__":  # workers read this file, too
#         with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:  # Julia does not survive a fork
#             main(pool)
#
# Or Dask (``pip install ssnn_py[dask]``), which shows on a page what workers do::
#
#     if __name__ == "__main__":
#         from dask.distributed import Client, LocalCluster
#
#         with LocalCluster(n_workers=4, threads_per_worker=1) as cluster, Client(cluster) as client:
#             main(client)
#
# A batch queue: SLURM through dask-jobqueue
# ------------------------------------------
#
# On a login node, once, in the environment that the nodes will see (``pip install ssnn_py[dask] dask-jobqueue``)::
#
#     export JULIA_DEPOT_PATH=$HOME/ssnn/depot                  # packages and compiled code
#     export JULIA_CPU_TARGET="generic;haswell,clone_all;skylake-avx512,clone_all"    # all nodes' processors
#     export SSNN_CACHE_DIR=$HOME/ssnn/cache                    # where Julia comes from Debian
#     ssnn setup && ssnn doctor
#
# The program, which starts on the login node or in a job of its own, and submits the others::
#
#     # cluster.py
#     import os
#
#     from dask.distributed import Client
#     from dask_jobqueue import SLURMCluster
#     from train import main
#
#     if __name__ == "__main__":
#         there = {name: os.environ[name] for name in ("JULIA_DEPOT_PATH", "SSNN_CACHE_DIR") if name in os.environ}
#         cluster = SLURMCluster(
#             queue="compute", account="project", walltime="02:00:00",
#             cores=8, processes=8, memory="32GB",          # a job: 8 workers of one thread
#             local_directory="$TMPDIR", interface="ib0",
#             job_script_prologue=[
#                 *(f"export {name}={value}" for name, value in there.items()),
#                 "export PYTHON_JULIAPKG_OFFLINE=yes",     # nodes have no internet
#                 "export SSNN_NUM_THREADS=1",
#             ],
#             worker_extra_args=["--lifetime", "110m", "--lifetime-stagger", "5m"],   # leave before the queue kills
#         )
#         cluster.adapt(minimum_jobs=1, maximum_jobs=40)
#         with Client(cluster) as client:
#             client.wait_for_workers(8)
#             main(client)
#
# Kubernetes
# ----------
#
# An image with Julia set up, so that no pod downloads anything::
#
#     # Dockerfile
#     FROM python:3.12-slim
#     ENV JULIA_DEPOT_PATH=/opt/julia PYTHON_JULIAPKG_PROJECT=/opt/ssnn JULIA_CPU_TARGET="generic;haswell,clone_all"
#     RUN pip install --no-cache-dir "ssnn_py[dask]" dask-kubernetes && ssnn setup && chmod -R a+rX /opt
#     # Compiled code is in the first depot; pods write, where they must, into one of their own.
#     ENV PYTHON_JULIAPKG_OFFLINE=yes JULIA_DEPOT_PATH=/tmp/julia:/opt/julia
#
# The operator of dask-kubernetes makes the cluster; the program runs in a pod of the same image, or beside it with the
# same versions of Python and packages::
#
#     # kubernetes.py
#     from dask.distributed import Client
#     from dask_kubernetes.operator import KubeCluster, make_cluster_spec
#     from train import main
#
#     if __name__ == "__main__":
#         one = {"cpu": "1", "memory": "4Gi"}
#         spec = make_cluster_spec(
#             name="ssnn", image="registry.example.org/ssnn:1", n_workers=32,
#             resources={"requests": one, "limits": one},
#             env={"SSNN_NUM_THREADS": "1"}, worker_command=["dask", "worker", "--nthreads", "1"],
#         )
#         with KubeCluster(custom_cluster_spec=spec) as cluster, Client(cluster) as client:
#             main(client)
#
# MPI
# ---
#
# mpi4py's pool, where the queue starts all processes at once; the first one runs the program::
#
#     # mpi.py
#     from mpi4py.futures import MPIPoolExecutor
#     from train import main
#
#     if __name__ == "__main__":
#         with MPIPoolExecutor() as pool:
#             main(pool)
#
# ::
#
#     #!/bin/bash
#     #SBATCH --ntasks=41 --cpus-per-task=1 --time=02:00:00
#     export PYTHON_JULIAPKG_OFFLINE=yes SSNN_NUM_THREADS=1
#     srun python -m mpi4py.futures mpi.py
#
# A process of MPI that dies ends all of them: give ``fit`` a checkpoint.
#
# Julia on the nodes
# ------------------
#
# * *Shared depot*: everything is set up once, on a disk that all nodes see. Compiled code must fit all processors
#   (``JULIA_CPU_TARGET``, when it is compiled), or each kind of node compiles for itself and the last one wins.
# * *Per node*: many workers that start at once from a slow shared disk wait for it. Copy the depot once per node, in
#   the prologue of the job: ``rsync -a $HOME/ssnn/depot/ $TMPDIR/depot/; export JULIA_DEPOT_PATH=$TMPDIR/depot``.
# * *Locks*: juliapkg takes a file lock on its project whenever juliacall starts, and on network disks that do not keep
#   locks all workers hang (pyjuliapkg #46). Name Julia and project, and juliapkg is not asked:
#   ``export PYTHON_JULIACALL_EXE=/path/to/julia PYTHON_JULIACALL_PROJECT=/path/to/environment/julia_env``; or put
#   ``PYTHON_JULIAPKG_PROJECT`` on the node's disk.
# * *Offline*: ``PYTHON_JULIAPKG_OFFLINE=yes`` on nodes, after ``ssnn setup`` where there is internet. With Debian's
#   Julia (``SSNN_CACHE_DIR``) nothing is asked of the net anyway; ``ssnn setup --debs DIR`` installs it from files.
# * *Look first*: ``srun ssnn doctor`` on a node; after ``import ssnn_py.doctor`` what each worker has is said by
#   ``client.run(ssnn_py.doctor.examine)``.
#
# All variables: :doc:`/engines`.
#
# Jobs that end
# -------------
#
# A job that may be killed writes a checkpoint; the same call resumes from it, to the same numbers. ``threads`` or
# ``SSNN_NUM_THREADS`` says how many cores a job has. A simulation goes on from its last state (:doc:`/large_runs`).

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
