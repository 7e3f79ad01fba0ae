# Paths that the host gives at knots and that are linear between them, alone or on top of a Brownian motion: exact on
# every interval, whatever the step.

"""
A path that is linear between knots, whose times all neurons and samples share, and constant beyond both ends; with a
Brownian motion added to some components, if `base` is one. Over an interval from a to b, increment and area of
component c of neuron k are

    W = X(b) − X(a)        H = 1/(b − a)·∫X dt − (X(a) + X(b))/2

both linear in the values at the knots: the weights of the knots are found once per interval, in `knots`, `in_w` and
`in_h`.
"""
mutable struct SampledPath{C,B<:Union{Nothing,BrownianMotion{C}}} <: Driver{C}
    base::B
    has_base::NTuple{C,Bool}        # which components have a Brownian motion added
    problem::Problem
    times::Vector{Float64}
    values::Array{Float64,3}        # (knot, neuron, component) of the sample
    gradients::Array{Float64,3}     # likewise; empty where nobody asks
    knots::Vector{Int}
    in_w::Vector{Float64}
    in_h::Vector{Float64}
    increments::Vector{Float64}     # (neuron, component, step) of the window
    areas::Vector{Float64}
    first_step::Int                 # of the window; −1 for none
end

# Steps of a window: as many as a small network's loop over them is worth.
path_window(num_neurons, C) = max(1, WINDOW_DRAWS ÷ max(1, num_neurons * C))

function SampledPath(problem::Problem, base, has_base::NTuple{C,Bool}) where {C}
    n, M = Int(problem.num_neurons), Int(problem.path.num_times)
    draws = n * C * path_window(n, C)
    return SampledPath{C,typeof(base)}(
        base, has_base, problem, copy(host_array(problem.path.times, M)), zeros(M, n, C), zeros(0, 0, 0),
        Int[], Float64[], Float64[], zeros(draws), zeros(draws), -1,
    )
end

DRIVERS["sampled"] =
    problem -> SampledPath(problem, nothing, ntuple(_ -> false, Val(Int(problem.num_components))))

DRIVERS["brownian+sampled"] = function (problem)
    C = Int(problem.num_components)
    has_base = ntuple(c -> unsafe_load(problem.path.brownian, c) == 1, Val(C))
    return SampledPath(problem, DRIVERS["brownian"](problem), has_base)
end

leaves_variance(path::SampledPath) = path.base !== nothing

function renew!(path::SampledPath, problem::Problem)
    path.problem = problem
    copyto!(path.times, host_array(problem.path.times, length(path.times)))
    return path
end

function reset!(path::SampledPath, key)
    path.base === nothing || reset!(path.base, key)
    sample = Int(key[2] - UInt64(path.problem.first_sample)) + 1
    load_path!(path.values, path.problem.path.values, sample)
    path.first_step = -1
    return path
end

"""Values at knots from the host's tables, one per component."""
function load_path!(values::Array{Float64,3}, tables::Ptr{Coefficient}, sample, direction = 1)
    tables == C_NULL && return fill!(values, 0.0)
    for c in axes(values, 3)
        from = unsafe_load(tables, c)
        for k in axes(values, 2), m in axes(values, 1)
            @inbounds values[m, k, c] = unsafe_load(from.pointer, position(from, sample, k, m, direction))
        end
    end
    return values
end

# --- weights of the knots ---------------------------------------------------------------------------------------------

"""The knot at which the piece around time t begins, and how far t is along it, from 0 to 1."""
@inline function place_of(times::Vector{Float64}, t)
    m = clamp(searchsortedlast(times, t), 1, length(times) - 1)
    return m, @inbounds clamp((t - times[m]) / (times[m+1] - times[m]), 0.0, 1.0)
end

function add_weight!(path::SampledPath, knot, w, h)
    push!(path.knots, knot)
    push!(path.in_w, w)
    push!(path.in_h, h)
end

"""Find the weights of the knots in increment and area over the interval from a to b."""
function weigh!(path::SampledPath, a, b)
    times = path.times
    (from, r_a), (to, r_b) = place_of(times, a), place_of(times, b)
    foreach(empty!, (path.knots, path.in_w, path.in_h))
    first, last = searchsortedlast(times, a) + 1, searchsortedfirst(times, b) - 1       # knots within
    per_span = b > a ? 0.5 / (b - a) : 0.0
    next(m) = m > last ? b : times[m]
    h_a, before = (next(first) - a) * per_span - 0.5, a
    for m in first:last
        add_weight!(path, m, 0.0, (next(m + 1) - before) * per_span)
        before = times[m]
    end
    h_b = (b - before) * per_span - 0.5
    add_weight!(path, from, r_a - 1.0, (1.0 - r_a) * h_a)
    add_weight!(path, from + 1, -r_a, r_a * h_a)
    add_weight!(path, to, 1.0 - r_b, (1.0 - r_b) * h_b)
    add_weight!(path, to + 1, r_b, r_b * h_b)
    return path
end

"""Increment and area of component c of neuron k over the interval that was weighed."""
@inline function weighed(path::SampledPath, values, k, c)
    w = h = 0.0
    @inbounds for (n, m) in enumerate(path.knots)
        x = values[m, k, c]
        w += path.in_w[n] * x
        h += path.in_h[n] * x
    end
    return w, h
end

"""The same of all components, as an `Increment`."""
function weighed_increment(path::SampledPath{C}, k, values = path.values) where {C}
    parts = ntuple(c -> weighed(path, values, k, c), Val(C))
    return Increment(map(first, parts), map(last, parts))
end

# --- steps ------------------------------------------------------------------------------------------------------------

# Steps of a path without a Brownian motion are intervals of level 0.
level(path::SampledPath) = path.base === nothing ? 0 : level(path.base)
increment_scale(::SampledPath) = 1.0
area_scale(::SampledPath) = 1.0

"""The steps' part of the window that holds `step`: where it begins in the arrays."""
function bring!(path::SampledPath{C}, step) where {C}
    n = size(path.values, 2)
    draws, steps = n * C, path_window(n, C)
    if path.first_step < 0 || !(0 <= step - path.first_step < steps)
        path.first_step = step - mod(step, steps)
        for s in 0:steps-1
            fill_step!(path, path.first_step + s, s * draws)
        end
    end
    return (step - path.first_step) * draws
end

function fill_step!(path::SampledPath{C}, step, offset) where {C}
    problem, n = path.problem, size(path.values, 2)
    weigh!(path, problem.t0 + step * problem.dt, problem.t0 + (step + 1) * problem.dt)
    for c in 1:C, k in 1:n
        place = offset + k + (c - 1) * n
        @inbounds path.increments[place], path.areas[place] = weighed(path, path.values, k, c)
    end
    path.base === nothing && return
    w, w_offset = increments!(path.base, step)
    h, h_offset = areas!(path.base, step)
    w_scale, h_scale = increment_scale(path.base), area_scale(path.base)
    for c in 1:C, k in 1:n
        path.has_base[c] || continue
        place = k + (c - 1) * n
        @inbounds path.increments[offset+place] += w_scale * w[w_offset+place]
        @inbounds path.areas[offset+place] += h_scale * h[h_offset+place]
    end
end

increments!(path::SampledPath, step) = (path.increments, bring!(path, step))
areas!(path::SampledPath, step) = (path.areas, bring!(path, step))
window_stop(path::SampledPath{C}) where {C} = path.first_step + path_window(size(path.values, 2), C)

function area(path::SampledPath, key, k, c, step, span)
    n = size(path.values, 2)
    array, offset = areas!(path, step)
    return array[offset+k+(c-1)*n]
end

# --- refinement -------------------------------------------------------------------------------------------------------

"""Where interval `index` of `level` begins and ends, its length `span`; a shortened last step has its own parts."""
@inline function interval_times(path::SampledPath, level_here, index, span)
    problem, depth = path.problem, level_here - level(path)
    step = index >> depth
    start, stop = step_times(problem, step)
    position = index - (step << depth)
    return start + position * span, position + 1 == 1 << depth ? stop : start + (position + 1) * span
end

minus(x::Increment, y::Increment) = Increment(x.w .- y.w, x.h .- y.h)
Base.:+(x::Increment, y::Increment) = Increment(x.w .+ y.w, x.h .+ y.h)

# Of a Brownian motion that not all components have.
masked(path::SampledPath, x::Increment) =
    Increment(map((a, has) -> has ? a : 0.0, x.w, path.has_base), map((a, has) -> has ? a : 0.0, x.h, path.has_base))

function halves(path::SampledPath, key, k, level_here, index, span, x)
    a, b = interval_times(path, level_here, index, span)
    middle = a + 0.5 * span
    left = weighed_increment(weigh!(path, a, middle), k)
    right = weighed_increment(weigh!(path, middle, b), k)
    path.base === nothing && return left, right
    brownian = minus(x, weighed_increment(weigh!(path, a, b), k))
    of_left, of_right = halves(path.base, key, k, level_here, index, span, brownian)
    return left + masked(path, of_left), right + masked(path, of_right)
end

function beginning(path::SampledPath, key, k, c, step, span, w, h, r)
    problem = path.problem
    start = problem.t0 + step * problem.dt
    path_w, path_h = weighed(weigh!(path, start, problem.t1), path.values, k, c)
    (path.base !== nothing && path.has_base[c]) || return path_w, path_h
    whole_w, whole_h = weighed(weigh!(path, start, start + problem.dt), path.values, k, c)
    brownian_w, brownian_h = beginning(path.base, key, k, c, step, span, w - whole_w, h - whole_h, r)
    return path_w + brownian_w, path_h + brownian_h
end

# --- derivatives by the values at the knots ---------------------------------------------------------------------------
# An increment that moves is one of `Dual`s: what a solver makes of it has its tangent. In reverse mode the same gives
# the cotangent of an increment, one component after the other.

"""Like `Increment`, with tangents."""
struct DualIncrement{C}
    w::NTuple{C,Dual}
    h::NTuple{C,Dual}
end

"""How the values at the knots move in one direction."""
struct PathTangent{P<:SampledPath}
    path::P
    values::Array{Float64,3}
end

path_tangent(path::SampledPath) = PathTangent(path, zero(path.values))
load_path!(tangent::PathTangent, tables, sample, direction) = load_path!(tangent.values, tables, sample, direction)

function with_tangent(moved::PathTangent, x::Increment, k, a, b)
    dx = weighed_increment(weigh!(moved.path, a, b), k, moved.values)
    return DualIncrement(map(Dual, x.w, dx.w), map(Dual, x.h, dx.h))
end

"""Keep gradients by the values at the knots from now on, if there is somewhere to put them."""
function want_gradients!(path::SampledPath, tables::Ptr{Coefficient})
    path.gradients = tables == C_NULL ? zeros(0, 0, 0) : zero(path.values)
    return path
end

wants_gradients(path::SampledPath) = !isempty(path.gradients)

"""Add those of one sample to the host's arrays, and clear them here."""
function scatter_path!(path::SampledPath, tables::Ptr{Coefficient}, sample)
    tables == C_NULL && return
    for c in axes(path.gradients, 3)
        to = unsafe_load(tables, c)
        for k in axes(path.gradients, 2), m in axes(path.gradients, 1)
            add_at!(to, position(to, sample, k, m), path.gradients[m, k, c])
        end
    end
    fill!(path.gradients, 0.0)
end

@inline unit(::Val{C}, c) where {C} = ntuple(n -> n == c ? 1.0 : 0.0, Val(C))

"""
Add to the gradients what the cotangent `bar` of `result(x)`, a state, says of increment and area x over the interval
from a to b of neuron k. Areas count only if `with_areas`.
"""
function path_adjoint!(result, path::SampledPath{C}, k, bar, x::Increment{C}, a, b, with_areas) where {C}
    weigh!(path, a, b)
    rest = ntuple(_ -> 0.0, Val(C))
    for c in 1:C
        moved = DualIncrement{C}(map(Dual, x.w, unit(Val(C), c)), map(Dual, x.h, rest))
        w_bar, h_bar = along(bar, tangents_of(result(moved))), 0.0
        if with_areas
            moved = DualIncrement{C}(map(Dual, x.w, rest), map(Dual, x.h, unit(Val(C), c)))
            h_bar = along(bar, tangents_of(result(moved)))
        end
        for (n, m) in enumerate(path.knots)
            @inbounds path.gradients[m, k, c] += w_bar * path.in_w[n] + h_bar * path.in_h[n]
        end
    end
end
