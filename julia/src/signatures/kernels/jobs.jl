# Batches of kernels as the host asks for them: which pairs, in which order, and where results go.

"""
What the host asks for: kernels of X and Y and, where `weights` are given, the gradient of Σ weights · k in X and, where
`y_bar` is given, in Y. Of SYMMETRIC, `y_bar` takes what a pair's later sample has of it, where it is to be kept apart
from what the earlier one has. C-ordered arrays.
"""
struct KernelJob
    num_x::Int64
    num_y::Int64
    layout::Int64                   # see below
    threads::Int64
    logarithmic::Int64              # 1: the gradient of Σ weights · log k instead
    values::Ptr{Float64}            # k = values · 2^exponents
    exponents::Ptr{Int64}
    weights::Ptr{Float64}           # or null
    x_bar::Ptr{Float64}
    y_bar::Ptr{Float64}             # or null
    x_size::Int64                   # numbers per sample in the gradients
    y_size::Int64
    first_row::Int64                # which samples of X, in the order in which they are taken, from 0 …
    stop_row::Int64                 # … up to this one,
    row_step::Int64                 # and every how many-eth of them
end

push!(BOUNDARY_STRUCTS, KernelJob)

"""Of all samples of X."""
KernelJob(num_x, others::Vararg{Any,11}) = KernelJob(num_x, others..., 0, num_x, 1)

const PAIRS, GRAM, SYMMETRIC = 0, 1, 2      # k(X_s, Y_s); k(X_s, Y_r); k(X_s, X_r), each computed once

"""Where the pair of samples a and b is in the host's arrays."""
place(job::KernelJob, a, b) = job.layout == PAIRS ? a : (a - 1) * job.num_y + b

"""Weight of a pair in the gradient; a pair that is computed once for two carries both of theirs."""
function weight(job::KernelJob, a, b)
    w = unsafe_load(job.weights, place(job, a, b))
    return job.layout == SYMMETRIC && a != b ? w + unsafe_load(job.weights, place(job, b, a)) : w
end

# A fixed number of groups of rows, so that sums over rows do not depend on threads. A host that has others compute
# groups of rows, and adds their sums up, takes the same ones.
const NUM_GROUPS = 16

"""
    run_job(pack!, make_work, job, x_order, y_order)

Calls `pack!(work, a, bs, used, y_bar)` for every sample a of X and samples bs of Y, four at a time of which the first
`used` matter; gradients in Y go to `y_bar`, a row per sample, or to nothing.
"""
function run_job(pack!, make_work, job::KernelJob, x_order, y_order)
    groups = min(NUM_GROUPS, Int(job.num_x))
    gradient = job.weights != C_NULL
    both = gradient && (job.layout == SYMMETRIC || job.y_bar != C_NULL)
    partial = [both ? zeros(job.y_size, job.num_y) : nothing for _ in 1:groups]
    works = [make_work() for _ in 1:max(1, min(job.threads, groups, available_threads()))]
    wanted = job.first_row+1:job.row_step:job.stop_row
    function visit(worker, group, _)
        for turn in group:groups:job.num_x
            turn in wanted || continue
            a = x_order[turn]
            others = job.layout == PAIRS ? [a] : job.layout == SYMMETRIC ? view(y_order, turn:length(y_order)) : y_order
            for start in 1:4:length(others)
                check_cancelled()
                used = min(4, length(others) - start + 1)
                bs = ntuple(l -> Int(others[min(start + l - 1, length(others))]), Val(4))
                pack!(works[worker], a, bs, used, partial[group])
            end
        end
    end
    if length(works) == 1
        foreach(group -> visit(1, group, nothing), 1:groups)
    else
        foreach_chunk(visit, groups, length(works))
    end
    both || return
    target = host_array(job.y_bar == C_NULL ? job.x_bar : job.y_bar, job.y_size, job.num_y)
    foreach(part -> target .+= part, partial)
end

"""Kernels of sample a with the first `used` of bs, to where the host wants them: kernels · 2^exponents."""
function store_values!(job::KernelJob, a, bs, used, kernels, exponents)
    for l in 1:used
        unsafe_store!(job.values, kernels[l], place(job, a, bs[l]))
        unsafe_store!(job.exponents, exponents[l], place(job, a, bs[l]))
        job.layout == SYMMETRIC || continue
        unsafe_store!(job.values, kernels[l], place(job, bs[l], a))
        unsafe_store!(job.exponents, exponents[l], place(job, bs[l], a))
    end
end
