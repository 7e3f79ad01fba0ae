# Prepared plans: what the threads of a call compute with is kept for the next call of the same shape, so that a
# training step allocates nothing that the one before has allocated.

"""
What two calls must have in common to compute with the same workers: everything that decides on types, sizes and on what
a worker computes when it is made.
"""
struct PlanKey
    mode::Symbol
    names::Vector{String}
    numbers::Vector{Float64}
end

Base.:(==)(a::PlanKey, b::PlanKey) = a.mode == b.mode && a.numbers == b.numbers && a.names == b.names

function PlanKey(mode::Symbol, problem::Problem, more::Real...)
    p = problem
    texts = (p.solver, p.model, p.intensity, p.current, p.diffusion, p.coefficient_names, p.driver)
    names = String[unsafe_string(text) for text in texts]
    counts = (
        p.num_neurons, p.synapses.num_between_neurons, p.synapses.num_synapses, p.num_steps, p.num_components,
        p.noise_levels, p.hard_reset, p.stratonovich, p.num_saves, p.num_settings, p.num_knots,
        p.inputs.num_channels, num_delays(p), p.synapses.delayed, p.synapses.delays.stride, p.path.num_times,
        has_external_events(p), map(Int, more)...,
    )
    numbers = Float64[p.t0, p.t1, p.dt]
    foreach(x -> push!(numbers, x), counts)
    append!(numbers, host_array(p.settings, p.num_settings))
    append!(numbers, host_array(p.knots, p.num_knots))
    p.path.brownian == C_NULL || append!(numbers, host_array(p.path.brownian, p.num_components))
    clamped = clamped_neurons(p)
    clamped === nothing || append!(numbers, clamped)
    return PlanKey(mode, names, numbers)
end

"""Workers that no call computes with at present, and how much memory was taken to make them."""
struct Plan
    key::PlanKey
    workers::Vector
    bytes::Int
end

# From the least to the most recently used. The host makes one call at a time; a call takes its plan out, so that none
# is ever used twice.
const PLANS = Plan[]
const MAX_PLANS = 8
const MAX_PLAN_BYTES = 2^27             # of all of them together

# How many workers have been made since the start.
const WORKERS_MADE = Ref(0)

"""
    with_workers(work, make, renew!, key, needed)

Result of `work(workers)`, a vector of at least `needed` of what `make()` returns: new ones, or those of an earlier call
with the same key, each brought up to date by `renew!(worker)`.
"""
function with_workers(work, make, renew!, key::PlanKey, needed::Integer)
    place = findlast(plan -> plan.key == key, PLANS)
    if place === nothing
        bytes = @allocated workers = [make() for _ in 1:needed]
        WORKERS_MADE[] += needed
    else
        plan = PLANS[place]
        deleteat!(PLANS, place)
        workers, before = plan.workers, length(plan.workers)
        renew_workers!(make, renew!, workers, Int(needed))
        bytes = plan.bytes * length(workers) ÷ before
    end
    result = work(workers)
    # Not reached where the work fails: what it leaves behind then is in no known state.
    keep_plan!(Plan(key, workers, bytes))
    return result
end

"""Bring workers up to date, and make those that are missing."""
function renew_workers!(make, renew!, workers::Vector, needed::Int)
    foreach(renew!, workers)
    while length(workers) < needed
        push!(workers, make())
        WORKERS_MADE[] += 1
    end
end

"""Keep a plan for the next call; those used longest ago go where there are too many, or they are too large."""
function keep_plan!(plan::Plan)
    plan.bytes > MAX_PLAN_BYTES && return
    push!(PLANS, plan)
    while length(PLANS) > MAX_PLANS || sum(kept.bytes for kept in PLANS) > MAX_PLAN_BYTES
        popfirst!(PLANS)
    end
end

"""Let go of all plans."""
forget_plans!() = (empty!(PLANS); nothing)

# Up to so many steps of a neuron, a call takes hardly longer than it takes to wake other threads.
const SMALL_JOB = 2^13

"""
How many threads compute a problem of a native solver, whose steps cost `weight` times those of a forward run: one where
more would not pay.
"""
function num_threads(problem::Problem, weight = 1)
    steps = Float64(problem.num_samples) * problem.num_steps * problem.num_neurons * weight
    return steps < SMALL_JOB ? 1 : num_workers(problem)
end
