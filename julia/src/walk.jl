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

# --- linear pieces ---------------------------------------------------------------------------------------------------------------

"""Velocities of v and i along a piece on which the Brownian path is linear, `slopes` its slopes."""
@inline function velocity(θ, k, v, i, current_at, slopes)
    c = constants(θ, k)
    g, g′ = noise_factor(θ, k, v)
    v̇ = c.mu1 * (i + current_at - v) + g * (c.sigma11 * slopes[1] + c.sigma12 * slopes[2])
    if !is_additive(θ) && is_stratonovich(θ)
        v̇ += correction(c, g, g′)
    end
    return v̇, c.sigma21 * slopes[1] + c.sigma22 * slopes[2] - c.mu2 * i
end

"""The state at b from that at a, along a linear piece."""
@inline function linear_piece(θ, k, v, i, s, a, b, slopes)
    v̇, i̇ = velocity(θ, k, v, i, input_current(θ, k, a), slopes)
    return v + (b - a) * v̇, i + (b - a) * i̇, s + (b - a) * firing_rate(θ, k, v)
end

const EVERYTHING = Groups(true, true, true, true)

"""Given the cotangent `bar = (v, i, s)` of the state at b, returns that of the state at a, of a and of b, and adds to the gradients θ̄."""
function linear_piece_adjoint!(θ̄::Parameters, θ::Parameters, k, v, i, bar, a, b, slopes)
    c, length = constants(θ, k), b - a
    g, g′ = noise_factor(θ, k, v)
    v̇, i̇ = velocity(θ, k, v, i, current(θ.current, k, a), slopes)
    v̇_bar, i̇_bar = length * bar.v, length * bar.i
    v_change, i_change = drift_adjoint!(θ̄, θ, k, v, i, a, v̇_bar, EVERYTHING)
    @inbounds θ̄.mu2[k] -= i̇_bar * i
    driving_adjoint!(θ̄, k, Noise(slopes[1], 0.0, slopes[2], 0.0), g * v̇_bar, i̇_bar)
    if !is_additive(θ)
        g_bar, g′_bar = v̇_bar * (c.sigma11 * slopes[1] + c.sigma12 * slopes[2]), 0.0
        if is_stratonovich(θ)
            more, g′_bar = correction_adjoint!(θ̄, k, c, g, g′, v̇_bar)
            g_bar += more
        end
        v_change += noise_factor_adjoint!(θ̄, θ, k, v, g_bar, g′_bar)
    end
    time_bar = bar.v * v̇ + bar.i * i̇ + bar.s * rate(θ.intensity, k, v)
    at_a = (
        v = bar.v + v_change + firing_rate_adjoint!(θ̄, θ, k, v, length * bar.s, EVERYTHING),
        i = bar.i + i_change - c.mu2 * i̇_bar,
        s = bar.s,
    )
    return at_a, c.mu1 * v̇_bar * current_rate(θ.current, k, a) - time_bar, time_bar
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
@inline function leaf_depth(step::Step, mu1)
    ratio = step.length * mu1
    # ⌈log4(1/ratio)⌉, from the exponent of a float
    steepness = ratio >= 1 ? 0 : (1 - exponent_of(ratio)) >> 1
    return min(BASE_DEPTH + steepness, DEEPEST)
end

const BASE_DEPTH = 5

# n for 2^n ≤ x < 2^(n + 1); very low where x is 0.
@inline exponent_of(x::Float64) = Int((reinterpret(UInt64, x) >> 52) & 0x7ff) - 1023

step_noise(step::Step, k) = Noise(
    increment(step, k, 1), area(step, k, 1), step.num_components == 2 ? increment(step, k, 2) : 0.0, step.num_components == 2 ? area(step, k, 2) : 0.0,
)

"""The path on both halves of an interval of a step."""
function halves(step::Step, k, depth, position, noise::Noise)
    nodes, tag = step.nodes, ((step.index << DEEPEST) | position) + 1
    @inbounds if nodes.tag[depth+1, k] != tag
        nodes.tag[depth+1, k] = tag
        nodes.left[depth+1, k], nodes.right[depth+1, k] = split_noise(step, k, depth, position, noise)
    end
    return @inbounds nodes.left[depth+1, k], nodes.right[depth+1, k]
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

"""One piece of a walk: from `a` to `b`, from the state (v, i, s); linear, or one step of the solver."""
struct Piece
    linear::Bool
    a::Float64
    b::Float64
    v::Float64
    i::Float64
    s::Float64
    noise::Noise
    length::Float64                 # of the interval to which the noise belongs
end

slopes(piece::Piece) = (piece.noise.w1 / piece.length, piece.noise.w2 / piece.length)

"""
    walk(solver, θ, step, k, y, a, b; pieces = nothing, to_spike = false) -> ((v, i, s), τ, ẏ)

Walk neuron k from its state y = (v, i, s) at time a to b; with `to_spike` no further than to its first spike, at τ (Inf where there is none) with speed ẏ. Notes the pieces where a
vector for them is given. With θ `Moving`, the state and both times are `Dual`.
"""
walk(solver::OneStepSolver, θ, step::Step, k, y, a, b; pieces = nothing, to_spike = false) =
    walk_interval(
        solver, θ, step, k, y, a, b, pieces, to_spike, leaf_depth(step, still(θ).mu1[k]), 0, 0, step.start, step.stop, step_noise(step, k),
    )

@inline still(θ::Parameters) = θ
@inline still(θ::Moving) = θ.at

function walk_interval(
    solver, θ, step::Step, k, y, a, b, pieces, to_spike::Bool, leaves::Int, depth::Int, position::Int, from::Float64, to::Float64, noise::Noise,
)
    length, λ = (@inbounds step.length * HALVINGS[depth+1]), still(θ).intensity
    v, i, s = y
    if depth == leaves
        start, stop = later(a, from), earlier(b, to)
        slopes = (noise.w1 / length, noise.w2 / length)
        pieces === nothing || push!(pieces, Piece(true, start, stop, v, i, s, noise, length))
        y_stop = linear_piece(θ, k, v, i, s, start, stop, slopes)
        (to_spike && fires(λ, k, value(y_stop[1]), value(y_stop[3]))) || return y_stop, Inf, STANDING
        v̇, i̇ = velocity(θ, k, v, i, input_current(θ, k, start), slopes)
        ẏ = (v = value(v̇), i = value(i̇), s = value(firing_rate(θ, k, v)))
        τ = clamp(crossing(λ, k, (v = value(v), i = value(i), s = value(s)), ẏ, value(start)), value(start), value(stop))
        return linear_piece(θ, k, v, i, s, start, earlier(stop, τ), slopes), τ, ẏ
    end
    # A spike is looked for in a whole step only where the whole step has shown one.
    if value(a) <= from && to <= value(b) && !(to_spike && depth == 0)
        y_to = one_step(solver, θ, k, v, i, s, from, length, noise)
        if !fires(λ, k, value(y_to[1]), value(y_to[3]))
            pieces === nothing || push!(pieces, Piece(false, from, to, v, i, s, noise, length))
            return y_to, Inf, STANDING
        end
    end
    middle = edge(step, depth + 1, 2 * position + 1)
    left, right = halves(step, k, depth, position, noise)
    if value(a) < middle
        y, τ, ẏ = walk_interval(solver, θ, step, k, y, a, b, pieces, to_spike, leaves, depth + 1, 2 * position, from, middle, left)
        τ < Inf && return y, τ, ẏ
    end
    if value(b) > middle
        return walk_interval(
            solver, θ, step, k, y, a, b, pieces, to_spike, leaves, depth + 1, 2 * position + 1, middle, to, right,
        )
    end
    return y, Inf, STANDING
end

const STANDING = (v = 0.0, i = 0.0, s = 0.0)

reach(solver::OneStepSolver, θ::Parameters, step::Step, k, y::Local, a) =
    walk(solver, θ, step, k, (y.v, y.i, y.s), a, step.stop; to_spike = true)

advance(solver::OneStepSolver, θ::Parameters, step::Step, k, y::Local, a, b) = first(walk(solver, θ, step, k, (y.v, y.i, y.s), a, b))

function advance_tangent(solver::OneStepSolver, θ::Moving, step::Step, k, y::Local, dy, a, b, da, db)
    state = (Dual(y.v, dy.v), Dual(y.i, dy.i), Dual(y.s, dy.s))
    moved, _, _ = walk(solver, θ, step, k, state, Dual(a, da), Dual(b, db))
    return map(x -> x.tangent, moved)
end

function pieces_of(solver::OneStepSolver, θ::Parameters, step::Step, k, y::Local, a, b)
    pieces = Piece[]
    walk(solver, θ, step, k, (y.v, y.i, y.s), a, b; pieces = pieces)
    return pieces
end

function advance_adjoint!(θ̄::Parameters, solver::OneStepSolver, θ::Parameters, step::Step, k, y::Local, bar, a, b)
    a_bar = b_bar = 0.0
    for piece in Iterators.reverse(pieces_of(solver, θ, step, k, y, a, b))
        if piece.linear
            bar, start_bar, stop_bar = linear_piece_adjoint!(θ̄, θ, k, piece.v, piece.i, bar, piece.a, piece.b, slopes(piece))
            # Inner ends of pieces are fixed edges of intervals.
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
