# Solvers that are one formula per interval. An event, a restart after it or a recorded value inside a step is reached by walking along the step's binary tree of intervals:
# whole ones by the formula, down to leaves that are crossed by linear pieces (docs/numerics.md).

"""
A solver that a formula for one interval defines. Its file writes

  * `one_step(solver, θ, k, v, i, s, t, h, noise)`: (v, i, s) after an interval of length h from t, with θ `Parameters` or `Moving`, the state accordingly in `Float64` or `Dual`, and the interval's `Noise`;
  * `one_step_adjoint!(θ̄, solver, θ, k, v, i, bar, t, h, noise, wanted)`: from the cotangents `bar = (v, i, s)` after it those of v and i before it (that of s does not change); adds to the wanted gradients θ̄;

and states `uses_area(solver)`.
"""
abstract type OneStepSolver <: Solver end

# Σ σ·W and Σ σ·H of the rows of σ: what drives v and i.
@inline driving_increments(c::Constants, noise::Noise) =
    (c.sigma11 * noise.w1 + c.sigma12 * noise.w2, c.sigma21 * noise.w1 + c.sigma22 * noise.w2)
@inline driving_areas(c::Constants, noise::Noise) =
    (c.sigma11 * noise.h1 + c.sigma12 * noise.h2, c.sigma21 * noise.h1 + c.sigma22 * noise.h2)

@inline function driving_adjoint!(θ̄::Parameters, k, noise::Noise, n1_bar, n2_bar, a1_bar = 0.0, a2_bar = 0.0)
    @inbounds θ̄.sigma11[k] += n1_bar * noise.w1 + a1_bar * noise.h1
    @inbounds θ̄.sigma12[k] += n1_bar * noise.w2 + a1_bar * noise.h2
    @inbounds θ̄.sigma21[k] += n2_bar * noise.w1 + a2_bar * noise.h1
    @inbounds θ̄.sigma22[k] += n2_bar * noise.w2 + a2_bar * noise.h2
end

"""½·(σ11² + σ12²)·g·g′, the difference between Stratonovich's drift of v and Itô's."""
@inline correction(c::Constants, g, g′) = 0.5 * ((c.sigma11 * c.sigma11 + c.sigma12 * c.sigma12) * (g * g′))

"""Cotangents of (g, g′) from that of the correction; adds to the gradients of σ."""
@inline function correction_adjoint!(θ̄::Parameters, k, c::Constants, g, g′, bar)
    @inbounds θ̄.sigma11[k] += bar * g * g′ * c.sigma11
    @inbounds θ̄.sigma12[k] += bar * g * g′ * c.sigma12
    half = 0.5 * (c.sigma11^2 + c.sigma12^2) * bar
    return half * g′, half * g
end

"""Cotangent of v from those of (g(v), g′(v)); adds to the gradients of the diffusion."""
@inline function noise_factor_adjoint!(θ̄::Parameters, θ::Parameters, k, v, g_bar, g′_bar)
    factor_adjoint!(θ̄.diffusion, θ.diffusion, k, v, g_bar, g′_bar)
    return g_bar * factor_slope(θ.diffusion, k, v) + g′_bar * factor_curvature(θ.diffusion, k, v)
end

"""Cotangents of (v, i) from that of the drift μ1·(i + I(t) − v); adds to the wanted gradients."""
@inline function drift_adjoint!(θ̄::Parameters, θ::Parameters, k, v, i, t, bar, wanted::Groups)
    drive = @inbounds θ.mu1[k] * bar
    wanted.mu && @inbounds θ̄.mu1[k] += bar * (i + current(θ.current, k, t) - v)
    wanted.current && current_adjoint!(θ̄.current, θ.current, k, t, drive)
    return -drive, drive
end

"""Cotangent of v from that of λ(v); adds to the wanted gradients."""
@inline function firing_rate_adjoint!(θ̄::Parameters, θ::Parameters, k, v, bar, wanted::Groups)
    at = rate(θ.intensity, k, v)
    wanted.intensity && rate_adjoint!(θ̄.intensity, θ.intensity, k, v, at, bar)
    return bar * slope(θ.intensity, k, v, at)
end

"""Cotangents of v and of the variance from that of the rate's mean there; adds to the wanted gradients."""
@inline function mean_rate_adjoint!(θ̄::Parameters, θ::Parameters, k, v, variance, bar, wanted::Groups)
    λ = θ.intensity
    point_bar = firing_rate_adjoint!(θ̄, θ, k, mean_point(θ, k, v, variance), bar, wanted)
    half = 0.5 * point_bar
    return point_bar + sharpness_adjoint!(θ̄.intensity, λ, k, v, half * variance), half * sharpness(λ, k, v)
end

# --- pieces on which the path is linear ------------------------------------------------------------------------------------------

"""Velocities of v and i where the Brownian path is linear, `slopes` its slopes, in the sense of Itô or of Stratonovich."""
@inline function velocity(θ, k, v, i, current_at, slopes, ito::Bool)
    c = constants(θ, k)
    g, g′ = noise_factor(θ, k, v)
    v̇ = c.mu1 * (i + current_at - v) + g * (c.sigma11 * slopes[1] + c.sigma12 * slopes[2])
    if !is_additive(θ) && is_stratonovich(θ) == ito
        change = correction(c, g, g′)
        v̇ = ito ? v̇ + change : v̇ - change
    end
    return v̇, c.sigma21 * slopes[1] + c.sigma22 * slopes[2] - c.mu2 * i
end

const EVERYTHING = Groups(true, true, true, true)

"""Cotangents of v, i and the time t from those of the velocities there; adds to the gradients θ̄."""
function velocity_adjoint!(θ̄::Parameters, θ::Parameters, k, v, i, t, v̇_bar, i̇_bar, slopes, ito::Bool)
    c = constants(θ, k)
    g, g′ = noise_factor(θ, k, v)
    v_bar, i_bar = drift_adjoint!(θ̄, θ, k, v, i, t, v̇_bar, EVERYTHING)
    @inbounds θ̄.mu2[k] -= i̇_bar * i
    driving_adjoint!(θ̄, k, Noise(slopes[1], 0.0, slopes[2], 0.0), g * v̇_bar, i̇_bar)
    if !is_additive(θ)
        g_bar, g′_bar = v̇_bar * (c.sigma11 * slopes[1] + c.sigma12 * slopes[2]), 0.0
        if is_stratonovich(θ) == ito
            more, g′_bar = correction_adjoint!(θ̄, k, c, g, g′, ito ? v̇_bar : -v̇_bar)
            g_bar += more
        end
        v_bar += noise_factor_adjoint!(θ̄, θ, k, v, g_bar, g′_bar)
    end
    return v_bar, i_bar - c.mu2 * i̇_bar, c.mu1 * v̇_bar * current_rate(θ.current, k, t)
end

# --- leaves ----------------------------------------------------------------------------------------------------------------------
# A leaf that ends at `to` is crossed from a in a straight line, at the velocity of one step of stochastic Heun's scheme from a to `to`. This is right to the second order, as the solvers' own
# steps are: where a spike moves from one leaf to the next, it makes no jump that a derivative would miss.

@inline function leaf_velocity(θ, k, v, i, a, to, slopes)
    v̇, i̇ = velocity(θ, k, v, i, input_current(θ, k, a), slopes, false)
    v_to, i_to = v + (to - a) * v̇, i + (to - a) * i̇
    v̇_to, i̇_to = velocity(θ, k, v_to, i_to, input_current(θ, k, to), slopes, false)
    return 0.5 * (v̇ + v̇_to), 0.5 * (i̇ + i̇_to), 0.5 * (firing_rate(θ, k, v) + firing_rate(θ, k, v_to))
end

"""The state at b from that at a."""
@inline function leaf_piece(θ, k, v, i, s, a, b, to, slopes)
    v̇, i̇, ṡ = leaf_velocity(θ, k, v, i, a, to, slopes)
    return v + (b - a) * v̇, i + (b - a) * i̇, s + (b - a) * ṡ
end

"""Given the cotangent `bar = (v, i, s)` of the state at b, returns that of the state at a, of a and of b, and adds to the gradients θ̄."""
function leaf_piece_adjoint!(θ̄::Parameters, θ::Parameters, k, v, i, bar, a, b, to, slopes)
    half, length = 0.5 * (b - a), to - a
    v̇, i̇ = velocity(θ, k, v, i, current(θ.current, k, a), slopes, false)
    v_to, i_to = v + length * v̇, i + length * i̇
    v_to_bar, i_to_bar, _ = velocity_adjoint!(θ̄, θ, k, v_to, i_to, to, half * bar.v, half * bar.i, slopes, false)
    v_to_bar += firing_rate_adjoint!(θ̄, θ, k, v_to, half * bar.s, EVERYTHING)
    v_bar, i_bar, a_bar =
        velocity_adjoint!(θ̄, θ, k, v, i, a, half * bar.v + length * v_to_bar, half * bar.i + length * i_to_bar, slopes, false)
    v_bar += firing_rate_adjoint!(θ̄, θ, k, v, half * bar.s, EVERYTHING)
    v̇_mean, i̇_mean, ṡ_mean = leaf_velocity(θ, k, v, i, a, to, slopes)
    b_bar = bar.v * v̇_mean + bar.i * i̇_mean + bar.s * ṡ_mean
    at_a = (v = bar.v + v_to_bar + v_bar, i = bar.i + i_to_bar + i_bar, s = bar.s)
    return at_a, a_bar - v_to_bar * v̇ - i_to_bar * i̇ - b_bar, b_bar
end

# --- walking ---------------------------------------------------------------------------------------------------------------------

const HALVINGS = ntuple(n -> 2.0^(1 - n), DEEPEST + 1)

"""Where interval `position` of `depth` below the step begins; the end of one is the beginning of the next."""
@inline edge(step::Step, depth, position) =
    position == 1 << depth ? step.stop : step.start + position * (@inbounds step.length * HALVINGS[depth+1])

"""
At which depth the leaves of neuron k are. A leaf of length δ leaves an error of order √δ in the gradient, by the path's roughness at the spike. Solvers of order 3/2 make one of order h^(3/4) by
themselves, so that δ is taken in proportion to h^(3/2), in units of the membrane's time constant.
"""
@inline function leaf_depth(step::Step, mu1, mu2)
    ratio = step.length * mu1
    # ⌈log4(1/ratio)⌉, from the exponent of a float
    steepness = ratio >= 1 ? 0 : (1 - exponent_of(ratio)) >> 1
    stable = exponent_of(step.length * max(mu1, mu2)) + 2
    return min(max(SHALLOWEST, BASE_DEPTH + steepness, stable), DEEPEST)
end

const BASE_DEPTH = 4
const SHALLOWEST = 5        # so that leaves are as accurate as large steps, too

# n for 2^n ≤ x < 2^(n + 1); very low where x is 0.
@inline exponent_of(x::Float64) = Int((reinterpret(UInt64, x) >> 52) & 0x7ff) - 1023

step_noise(step::Step, k) = Noise(
    increment(step, k, 1), area(step, k, 1), step.num_components == 2 ? increment(step, k, 2) : 0.0, step.num_components == 2 ? area(step, k, 2) : 0.0,
)

"""The path on both halves of an interval of a step."""
function halves(step::Step, k, depth, position, noise::Noise)
    memory, tag = step.memory, ((step.index << DEEPEST) | position) + 1
    @inbounds if memory.tag[depth+1, k] != tag
        memory.tag[depth+1, k] = tag
        memory.left[depth+1, k], memory.right[depth+1, k] = split_noise(step, k, depth, position, noise)
    end
    return @inbounds memory.left[depth+1, k], memory.right[depth+1, k]
end

function split_noise(step::Step, k, depth, position, noise::Noise)
    length, level, index = step.length * HALVINGS[depth+1], step.level + depth, (step.index << depth) + position
    pair = normal_pair(step.key, node_counter(counter_word(DYADIC_NODE, 0, k - 1), level, index))
    (w1, h1), (w1′, h1′) = halves(noise.w1, noise.h1, length, pair)
    step.num_components == 1 && return Noise(w1, h1, 0.0, 0.0), Noise(w1′, h1′, 0.0, 0.0)
    pair = normal_pair(step.key, node_counter(counter_word(DYADIC_NODE, 1, k - 1), level, index))
    (w2, h2), (w2′, h2′) = halves(noise.w2, noise.h2, length, pair)
    return Noise(w1, h1, w2, h2), Noise(w1′, h1′, w2′, h2′)
end

"""
    walk(solver, θ, step, k, y, a, b, pieces, to_spike, firing) -> ((v, i, s), τ, ẏ)

Walk neuron k from its state y at time a to b; with `to_spike` no further than to its first spike, at τ (Inf where there is none) with speed ẏ. Its pieces go into the vector
`pieces`, unless that is nothing. `firing` says that the whole step is known to make it fire.
"""
function walk(solver::OneStepSolver, θ::Parameters, step::Step, k, y::Local, a, b, pieces, to_spike::Bool, firing::Bool)
    pieces === nothing || empty!(pieces)
    whole, leaves = step_noise(step, k), leaf_depth(step, (@inbounds θ.mu1[k]), (@inbounds θ.mu2[k]))
    arrival = walk_interval(solver, θ, step, k, (y.v, y.i, y.s), a, b, pieces, to_spike, leaves, 0, 0, step.start, step.stop, whole, firing)
    return arrival.y, arrival.τ, arrival.ẏ
end

"""Where a walk through an interval leads; `direct` if one step of the solver did."""
struct Arrival
    y::NTuple{3,Float64}
    τ::Float64
    ẏ::NamedTuple{(:v, :i, :s),NTuple{3,Float64}}
    direct::Bool
end

const STANDING = (v = 0.0, i = 0.0, s = 0.0)

# `firing`: one step is known to fire in this interval, so that it need not be tried.
function walk_interval(
    solver, θ, step::Step, k, y, a, b, pieces, to_spike::Bool, leaves::Int, depth::Int, position::Int, from::Float64, to::Float64, noise::Noise, firing::Bool,
)
    depth == leaves && return cross_leaf(θ, step, k, y, max(a, from), min(b, to), to, pieces, to_spike, depth, noise)
    v, i, s = y
    if !firing && a <= from && to <= b
        length = @inbounds step.length * HALVINGS[depth+1]
        y_to = one_step(solver, θ, k, v, i, s, from, length, noise)
        if !fires(θ.intensity, k, y_to[1], y_to[3])
            pieces === nothing || push!(pieces, Piece(false, from, to, to, v, i, s, noise, length))
            return Arrival(y_to, Inf, STANDING, true)
        end
        firing = true
    end
    middle = edge(step, depth + 1, 2 * position + 1)
    left, right = halves(step, k, depth, position, noise)
    if a < middle
        arrival = walk_interval(solver, θ, step, k, y, a, b, pieces, to_spike, leaves, depth + 1, 2 * position, from, middle, left, false)
        (arrival.τ < Inf || b <= middle) && return Arrival(arrival.y, arrival.τ, arrival.ẏ, false)
        # What fires in the whole and not in its first half fires in the second.
        y, firing = arrival.y, firing && arrival.direct
    else
        firing = false
    end
    arrival = walk_interval(solver, θ, step, k, y, a, b, pieces, to_spike, leaves, depth + 1, 2 * position + 1, middle, to, right, firing)
    return Arrival(arrival.y, arrival.τ, arrival.ẏ, false)
end

function cross_leaf(θ, step::Step, k, y, start, stop, to, pieces, to_spike::Bool, depth, noise::Noise)
    (v, i, s), λ, length = y, θ.intensity, (@inbounds step.length * HALVINGS[depth+1])
    slopes = (noise.w1 / length, noise.w2 / length)
    y_stop, τ, ẏ = leaf_piece(θ, k, v, i, s, start, stop, to, slopes), Inf, STANDING
    if to_spike && fires(λ, k, y_stop[1], y_stop[3])
        v̇, i̇, ṡ = leaf_velocity(θ, k, v, i, start, to, slopes)
        ẏ = (v = v̇, i = i̇, s = ṡ)
        stop = τ = clamp(crossing(λ, k, (v = v, i = i, s = s), ẏ, start), start, stop)
        y_stop = leaf_piece(θ, k, v, i, s, start, τ, to, slopes)
    end
    pieces === nothing || push!(pieces, Piece(true, start, stop, to, v, i, s, noise, length))
    return Arrival(y_stop, τ, ẏ, false)
end

reach(solver::OneStepSolver, θ::Parameters, step::Step, k, y::Local, a, firing::Bool) =
    walk(solver, θ, step, k, y, a, step.stop, step.memory.remembers_walks ? step.memory.pieces[k] : nothing, true, firing)

advance(solver::OneStepSolver, θ::Parameters, step::Step, k, y::Local, a, b) = first(walk(solver, θ, step, k, y, a, b, nothing, false, false))

"""The pieces of neuron k's walk from its state y at a to b; of its last walk, if that is the one."""
function pieces_of(solver::OneStepSolver, θ::Parameters, step::Step, k, y::Local, a, b)
    pieces = step.memory.pieces[k]
    if !isempty(pieces)
        first, last = pieces[1], pieces[end]
        first.a == a && last.b == b && (first.v, first.i, first.s) == (y.v, y.i, y.s) && return pieces
    end
    walk(solver, θ, step, k, y, a, b, pieces, false, false)
    return pieces
end

function advance_tangent(solver::OneStepSolver, θ::Moving, step::Step, k, y::Local, dy, a, b, da, db)
    v, i, s = Dual(y.v, dy.v), Dual(y.i, dy.i), Dual(y.s, dy.s)
    for piece in pieces_of(solver, θ.at, step, k, y, a, b)
        if piece.in_leaf
            # Inner ends of pieces are fixed edges of intervals.
            start, stop = Dual(piece.a, piece.a == a ? da : 0.0), Dual(piece.b, piece.b == b ? db : 0.0)
            v, i, s = leaf_piece(θ, k, v, i, s, start, stop, piece.to, slopes(piece))
        else
            v, i, s = one_step(solver, θ, k, v, i, s, piece.a, piece.length, piece.noise)
        end
    end
    return v.tangent, i.tangent, s.tangent
end

function advance_adjoint!(θ̄::Parameters, solver::OneStepSolver, θ::Parameters, step::Step, k, y::Local, bar, a, b)
    a_bar = b_bar = 0.0
    for piece in Iterators.reverse(pieces_of(solver, θ, step, k, y, a, b))
        if piece.in_leaf
            bar, start_bar, stop_bar = leaf_piece_adjoint!(θ̄, θ, k, piece.v, piece.i, bar, piece.a, piece.b, piece.to, slopes(piece))
            piece.a == a && (a_bar = start_bar)
            piece.b == b && (b_bar = stop_bar)
        else
            v̄, ī = one_step_adjoint!(θ̄, solver, θ, k, piece.v, piece.i, bar, piece.a, piece.length, piece.noise, EVERYTHING)
            bar = (v = v̄, i = ī, s = bar.s)
        end
    end
    return bar, a_bar, b_bar
end

# --- whole steps -----------------------------------------------------------------------------------------------------------------

@inline function whole_noise(solver, step::Step, k, ::Val{C}) where {C}
    n = step.num_neurons
    @inbounds begin
        w1 = step.scale * step.normals[step.offset+k]
        h1 = uses_area(solver) ? step.area_scale * step.areas[step.area_offset+k] : 0.0
        C == 1 && return Noise(w1, h1, 0.0, 0.0)
        w2 = step.scale * step.normals[step.offset+k+n]
        h2 = uses_area(solver) ? step.area_scale * step.areas[step.area_offset+k+n] : 0.0
    end
    return Noise(w1, h1, w2, h2)
end

full_step!(solver::OneStepSolver, x::State, θ::Parameters, step::Step, range::UnitRange{Int}) =
    step.num_components == 1 ? full_steps!(solver, x, θ, step, range, Val(1)) : full_steps!(solver, x, θ, step, range, Val(2))

function full_steps!(solver, x::State, θ::Parameters, step::Step, range, components)
    firing = 0
    @inbounds @simd ivdep for k in range
        noise = whole_noise(solver, step, k, components)
        x.v_end[k], x.i_end[k], x.s_end[k] = one_step(solver, θ, k, x.v[k], x.i[k], x.s[k], step.start, step.length, noise)
        firing += fires(θ.intensity, k, x.v_end[k], x.s_end[k])
    end
    return firing
end

function full_step_tangent!(solver::OneStepSolver, dx::StateTangent, x::State, θ::Moving, step::Step, ::Groups)
    step.num_components == 1 ? full_steps_tangent!(solver, dx, x, θ, step, Val(1)) : full_steps_tangent!(solver, dx, x, θ, step, Val(2))
end

function full_steps_tangent!(solver, dx, x, θ, step, components)
    @inbounds @simd ivdep for k in eachindex(x.v)
        noise = whole_noise(solver, step, k, components)
        v, i, s = one_step(
            solver, θ, k, Dual(x.v[k], dx.v[k]), Dual(x.i[k], dx.i[k]), Dual(x.s[k], dx.s[k]), step.start, step.length, noise,
        )
        dx.v_end[k], dx.i_end[k], dx.s_end[k] = v.tangent, i.tangent, s.tangent
    end
end

function full_step_adjoint!(bar::StateAdjoint, θ̄::Parameters, solver::OneStepSolver, x::State, θ::Parameters, step::Step, wanted::Groups)
    if step.num_components == 1
        full_steps_adjoint!(bar, θ̄, solver, x, θ, step, wanted, Val(1))
    else
        full_steps_adjoint!(bar, θ̄, solver, x, θ, step, wanted, Val(2))
    end
end

function full_steps_adjoint!(bar, θ̄, solver, x, θ, step, wanted, components)
    @inbounds for k in eachindex(x.v)
        noise = whole_noise(solver, step, k, components)
        at_end = (v = bar.v[k], i = bar.i[k], s = bar.s[k])
        bar.v[k], bar.i[k] = one_step_adjoint!(θ̄, solver, θ, k, x.v[k], x.i[k], at_end, step.start, step.length, noise, wanted)
    end
end

"""Consecutive steps of a network of one neuron; see `quiet_steps!` of Euler–Maruyama."""
function quiet_steps!(solver::OneStepSolver, x::State, θ::Parameters, trail::Trail, path::BrownianPath, from, to, t0, dt)
    v, i, s = x.v[1], x.i[1], x.s[1]
    n = from
    @inbounds while n < to
        v_end, i_end, s_end = one_step(solver, θ, 1, v, i, s, t0 + n * dt, dt, quiet_noise(solver, path, n))
        fires(θ.intensity, 1, v_end, s_end) && break
        trail.v[n-from+1], trail.i[n-from+1] = v, i
        v, i, s = v_end, i_end, s_end
        n += 1
    end
    x.v[1], x.i[1], x.s[1] = v, i, s
    return n
end

@inline function quiet_noise(solver, path::BrownianPath, n)
    w, w_offset = increments!(path, n)
    scale, both = increment_scale(path), num_draws(path) == 2
    w1, w2 = @inbounds scale * w[w_offset+1], both ? scale * w[w_offset+2] : 0.0
    uses_area(solver) || return Noise(w1, 0.0, w2, 0.0)
    h, h_offset = areas!(path, n)
    scale = area_scale(path)
    return @inbounds Noise(w1, scale * h[h_offset+1], w2, both ? scale * h[h_offset+2] : 0.0)
end

function quiet_steps_tangent!(
    solver::OneStepSolver, dx::StateTangent, θ::Moving, trail::Trail, path::BrownianPath, from, to, t0, dt, ::Groups,
)
    dv, di, ds = dx.v[1], dx.i[1], dx.s[1]
    @inbounds for n in from:to-1
        noise = quiet_noise(solver, path, n)
        v, i = trail.v[n-from+1], trail.i[n-from+1]
        v_end, i_end, s_end = one_step(solver, θ, 1, Dual(v, dv), Dual(i, di), Dual(0.0, ds), t0 + n * dt, dt, noise)
        dv, di, ds = v_end.tangent, i_end.tangent, s_end.tangent
    end
    dx.v[1], dx.i[1], dx.s[1] = dv, di, ds
end
