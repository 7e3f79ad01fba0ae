# Jumps of the driver, in Marcus's sense: a jump ΔX moves the state along ẏ = g(y)·ΔX for a unit of fictitious time.

# --- the flow of a jump -----------------------------------------------------------------------------------------------
# By Gragg's midpoint rule with 2, 4, …, 12 steps, extrapolated to step 0, in each of eight parts of the fictitious
# time: a formula of fixed steps, so that it has a derivative, exact to about rounding for jumps that change g a few
# times.

const JUMP_PARTS = 8
const MIDPOINT_STEPS = (2, 4, 6, 8, 10, 12)
midpoint_weights(steps) = map(n -> prod(n^2 / (n^2 - m^2) for m in steps if m != n), steps)
const MIDPOINT_WEIGHTS = midpoint_weights(MIDPOINT_STEPS)
const LATER_WEIGHTS = midpoint_weights(Base.tail(MIDPOINT_STEPS))
const JUMP_TOLERANCE = 1e-8

"""y after n steps of the midpoint rule, along g·w."""
@inline function midpoint_flow(θ, k, y, w, n)
    h = 1 / n
    before, at = y, plus_scaled(y, h, noise(θ, k, y, w))
    for _ in 2:n
        before, at = at, plus_scaled(before, 2 * h, noise(θ, k, at, w))
    end
    return scaled(0.5, plus(plus(before, at), scaled(h, noise(θ, k, at, w))))
end

"""The state of neuron k after its driver has jumped by `sizes`; y before."""
function after_jump(θ, k, y, sizes)
    is_additive(θ) && return plus(y, noise(θ, k, y, sizes))
    w = map(size -> size * (1 / JUMP_PARTS), sizes)
    for _ in 1:JUMP_PARTS
        ends = map(n -> midpoint_flow(θ, k, y, w, n), MIDPOINT_STEPS)
        before, y = y, weighted_sum(ends, MIDPOINT_WEIGHTS)
        check_jump(k, sizes, before, y, weighted_sum(Base.tail(ends), LATER_WEIGHTS))
    end
    return y
end

"""Throw an error where the flow is not resolved: where `other`, with one column less of the extrapolation, differs."""
function check_jump(k, sizes, before::NTuple{M,Float64}, y::NTuple{M,Float64}, other::NTuple{M,Float64}) where {M}
    scale = sum(map(abs, before)) + sum(map(abs, y))
    sum(map((a, b) -> abs(a - b), y, other)) > JUMP_TOLERANCE * scale && error(
        "a jump of the driver, by $(join(sizes, ", ")), moves neuron $(k - 1) so far that the flow of g(y) along it " *
        "is not resolved: give smaller jumps, one shortly after the other",
    )
    return nothing
end

check_jump(k, sizes, before, y, other) = nothing       # with tangents, of what has been checked

weighted_sum(states, weights) = reduce(plus, map((weight, state) -> scaled(weight, state), weights, states))

"""Cotangents of y and of the sizes from that of the state after it; adds to the gradients θ̄."""
function after_jump_adjoint!(θ̄, θ::Model, k, y, sizes, bar)
    if is_additive(θ)
        y_bar, w_bar = noise_adjoint_with_sizes!(θ̄, θ, k, y, sizes, bar)
        return plus(bar, y_bar), w_bar
    end
    w = map(size -> size * (1 / JUMP_PARTS), sizes)
    starts = [y]
    for _ in 2:JUMP_PARTS
        push!(starts, weighted_sum(map(n -> midpoint_flow(θ, k, starts[end], w, n), MIDPOINT_STEPS), MIDPOINT_WEIGHTS))
    end
    sizes_bar = map(zero, sizes)
    for start in Iterators.reverse(starts)
        y_bar = scaled(0.0, bar)
        for (n, weight) in zip(MIDPOINT_STEPS, MIDPOINT_WEIGHTS)
            of_y, of_w = midpoint_flow_adjoint!(θ̄, θ, k, start, w, n, scaled(weight, bar))
            y_bar, sizes_bar = plus(y_bar, of_y), plus_scaled(sizes_bar, 1 / JUMP_PARTS, of_w)
        end
        bar = y_bar
    end
    return bar, sizes_bar
end

function midpoint_flow_adjoint!(θ̄, θ::Model, k, y, w, n, bar)
    h = 1 / n
    states = [y, plus_scaled(y, h, noise(θ, k, y, w))]
    for _ in 2:n
        push!(states, plus_scaled(states[end-1], 2 * h, noise(θ, k, states[end], w)))
    end
    half = scaled(0.5, bar)
    of_y, w_bar = noise_adjoint_with_sizes!(θ̄, θ, k, states[n+1], w, scaled(h, half))
    at_bar, before_bar = plus(half, of_y), half
    for m in n:-1:2             # states[m+1] = states[m−1] + 2h·g(states[m])·w
        of_y, of_w = noise_adjoint_with_sizes!(θ̄, θ, k, states[m], w, scaled(2 * h, at_bar))
        at_bar, before_bar, w_bar = plus(before_bar, of_y), at_bar, plus(w_bar, of_w)
    end
    of_y, of_w = noise_adjoint_with_sizes!(θ̄, θ, k, y, w, scaled(h, at_bar))
    return plus(plus(before_bar, at_bar), of_y), plus(w_bar, of_w)
end

"""Cotangents of y and of w from that of g(y)·w; adds to the gradients θ̄."""
@inline function noise_adjoint_with_sizes!(θ̄, θ::Model, k, y, w::NTuple{C,Float64}, bar) where {C}
    w_bar = ntuple(c -> along(bar, noise(θ, k, y, unit(Val(C), c))), Val(C))
    return noise_adjoint!(θ̄, θ, k, y, w, bar, all_terms(θ)), w_bar
end

# --- the jumps of a sample --------------------------------------------------------------------------------------------

"""Those of the sample at hand, and which comes next."""
mutable struct Jumps{C}
    data::JumpData
    first::Int
    count::Int
    next::Int                       # from 1; all have come where it is beyond the count
end

Jumps{C}(problem::Problem) where {C} = Jumps{C}(problem.jumps, 0, 0, 1)

"""The next jump is the first one later than `after`."""
function begin_sample!(jumps::Jumps, sample, after)
    data, jumps.next = jumps.data, 1
    # A process may draw no jump where it drew some before.
    none = data.times == C_NULL
    jumps.first, jumps.count = none ? (0, 0) : (unsafe_load(data.first, sample), unsafe_load(data.counts, sample))
    while next_jump_time(jumps) <= after
        jumps.next += 1
    end
end

"""When the next one comes; Inf where there is none."""
@inline next_jump_time(jumps::Jumps) =
    jumps.next > jumps.count ? Inf : unsafe_load(jumps.data.times, jumps.first + jumps.next)

jump_neuron(jumps::Jumps, n) = Int(unsafe_load(jumps.data.neurons, jumps.first + n)) + 1

"""Numbers of all components of jump n of the sample, from an array (J, C)."""
jump_row(jumps::Jumps{C}, array, n) where {C} =
    ntuple(c -> unsafe_load(array, c + C * (jumps.first + n - 1)), Val(C))

jump_sizes(jumps::Jumps, n) = jump_row(jumps, jumps.data.sizes, n)

"""How those of jump n move in direction p, from the host's array (P, J, C)."""
function jump_tangents(jumps::Jumps{C}, array, n, p) where {C}
    array == C_NULL && return ntuple(_ -> 0.0, Val(C))
    return jump_row(jumps, array + sizeof(Float64) * C * jumps.data.num_jumps * (p - 1), n)
end

"""Likewise of its time, from (P, J)."""
jump_time_tangent(jumps::Jumps, array, n, p) =
    array == C_NULL ? 0.0 : unsafe_load(array, jumps.first + n + jumps.data.num_jumps * (p - 1))
