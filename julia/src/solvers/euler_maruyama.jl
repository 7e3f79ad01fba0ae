"""
    EulerMaruyama

Over a piece from a to b, with ΔB the Brownian increment of the whole step of length h and g = 1 for additive noise,

    v(b) = v(a) + (b − a)·[μ1·(i(a) + I(a) − v(a)) + g(v(a))·(σ11·ΔB¹ + σ12·ΔB²)/h]
    i(b) = i(a) + (b − a)·[−μ2·i(a) + (σ21·ΔB¹ + σ22·ΔB²)/h]
    s(b) = s(a) + (b − a)·λ(v(a))

Strong order 1 for potentials and spike times with additive noise, 1/2 with multiplicative noise and for pathwise gradients. Kloeden and Platen,
"Numerical Solution of Stochastic Differential Equations", section 10.2.
"""
struct EulerMaruyama <: Solver end

SOLVERS["euler_maruyama"] = EulerMaruyama

# Slopes of the Brownian path, linear in the step.
@inline slopes(step::Step, k) =
    (increment(step, k, 1) / step.length, step.num_components == 2 ? increment(step, k, 2) / step.length : 0.0)

"""The state at b from that at a, along a piece on which the path is linear."""
@inline function linear_piece(θ, k, v, i, s, a, b, slopes)
    v̇, i̇ = velocity(θ, k, v, i, input_current(θ, k, a), slopes, true)
    return v + (b - a) * v̇, i + (b - a) * i̇, s + (b - a) * firing_rate(θ, k, v)
end

"""Given the cotangent `bar = (v, i, s)` of the state at b, returns that of the state at a, of a and of b, and adds to the gradients θ̄."""
function linear_piece_adjoint!(θ̄::Parameters, θ::Parameters, k, v, i, bar, a, b, slopes)
    length = b - a
    v̇, i̇ = velocity(θ, k, v, i, current(θ.current, k, a), slopes, true)
    v_bar, i_bar, a_bar = velocity_adjoint!(θ̄, θ, k, v, i, a, length * bar.v, length * bar.i, slopes, true)
    b_bar = bar.v * v̇ + bar.i * i̇ + bar.s * rate(θ.intensity, k, v)
    at_a = (v = bar.v + v_bar + firing_rate_adjoint!(θ̄, θ, k, v, length * bar.s, EVERYTHING), i = bar.i + i_bar, s = bar.s)
    return at_a, a_bar - b_bar, b_bar
end

@inline function speed(::EulerMaruyama, θ::Parameters, step::Step, k, y::Local)
    v̇, i̇ = velocity(θ, k, y.v, y.i, y.input, slopes(step, k), true)
    return (v = v̇, i = i̇, s = y.rate)
end

@inline function advance(solver::EulerMaruyama, θ::Parameters, step::Step, k, y::Local, a, b)
    ẏ = speed(solver, θ, step, k, y)
    return y.v + (b - a) * ẏ.v, y.i + (b - a) * ẏ.i, y.s + (b - a) * ẏ.s
end

@inline function reach(solver::EulerMaruyama, θ::Parameters, step::Step, k, y::Local, a, firing::Bool)
    ẏ = speed(solver, θ, step, k, y)
    y_end = advance(solver, θ, step, k, y, a, step.stop)
    fires(θ.intensity, k, y_end[1], y_end[3]) || return y_end, Inf, ẏ
    τ = clamp(crossing(θ.intensity, k, y, ẏ, a), a, step.stop)
    return advance(solver, θ, step, k, y, a, τ), τ, ẏ
end

function advance_tangent(::EulerMaruyama, θ::Moving, step::Step, k, y::Local, dy, a, b, da, db)
    v, i, s = Dual(y.v, dy.v), Dual(y.i, dy.i), Dual(y.s, dy.s)
    return map(x -> x.tangent, linear_piece(θ, k, v, i, s, Dual(a, da), Dual(b, db), slopes(step, k)))
end

advance_adjoint!(θ̄::Parameters, ::EulerMaruyama, θ::Parameters, step::Step, k, y::Local, bar, a, b) =
    linear_piece_adjoint!(θ̄, θ, k, y.v, y.i, bar, a, b, slopes(step, k))

"""
Advance neurons `range` over the whole step; returns how many of them fire in it.
"""
function full_step!(::EulerMaruyama, x::State, θ::Parameters, step::Step, range::UnitRange{Int})
    is_additive(θ) || return full_step_by_pieces!(x, θ, step, range)
    h, scale, z, first, second = step.length, step.scale, step.normals, step.offset, step.offset + step.num_neurons
    v, i, s, rates, input, v_end, i_end, s_end = x.v, x.i, x.s, x.rate, x.input, x.v_end, x.i_end, x.s_end
    mu1, mu2, sigma11, sigma12, sigma21, sigma22 = θ.mu1, θ.mu2, θ.sigma11, θ.sigma12, θ.sigma21, θ.sigma22
    intensity = θ.intensity
    firing = 0
    @inbounds if step.num_components == 1
        @simd ivdep for k in range
            rate_k = rate(intensity, k, v[k])
            rates[k] = rate_k
            noise = scale * z[first+k]
            v_end[k] = v[k] + h * (mu1[k] * (i[k] + input[k] - v[k])) + sigma11[k] * noise
            i_end[k] = i[k] - h * (mu2[k] * i[k]) + sigma21[k] * noise
            s_end[k] = s[k] + h * rate_k
            firing += fires(intensity, k, v_end[k], s_end[k])
        end
    else
        @simd ivdep for k in range
            rate_k = rate(intensity, k, v[k])
            rates[k] = rate_k
            noise1, noise2 = scale * z[first+k], scale * z[second+k]
            v_end[k] = v[k] + h * (mu1[k] * (i[k] + input[k] - v[k])) + sigma11[k] * noise1 + sigma12[k] * noise2
            i_end[k] = i[k] - h * (mu2[k] * i[k]) + sigma21[k] * noise1 + sigma22[k] * noise2
            s_end[k] = s[k] + h * rate_k
            firing += fires(intensity, k, v_end[k], s_end[k])
        end
    end
    return firing
end

# With state-dependent noise a step is one linear piece per neuron.
function full_step_by_pieces!(x::State, θ::Parameters, step::Step, range)
    firing = 0
    @inbounds @simd ivdep for k in range
        x.rate[k] = rate(θ.intensity, k, x.v[k])
        v̇, i̇ = velocity(θ, k, x.v[k], x.i[k], x.input[k], slopes(step, k), true)
        x.v_end[k], x.i_end[k], x.s_end[k] = x.v[k] + step.length * v̇, x.i[k] + step.length * i̇, x.s[k] + step.length * x.rate[k]
        firing += fires(θ.intensity, k, x.v_end[k], x.s_end[k])
    end
    return firing
end

function full_step_by_pieces_tangent!(dx::StateTangent, x::State, θ::Moving, step::Step)
    start, stop = Dual(step.start, 0.0), Dual(step.start + step.length, 0.0)
    for k in eachindex(x.v)
        v, i, s = linear_piece(θ, k, Dual(x.v[k], dx.v[k]), Dual(x.i[k], dx.i[k]), Dual(x.s[k], dx.s[k]), start, stop, slopes(step, k))
        dx.v_end[k], dx.i_end[k], dx.s_end[k] = v.tangent, i.tangent, s.tangent
    end
end

function full_step_by_pieces_adjoint!(bar::StateAdjoint, θ̄::Parameters, x::State, θ::Parameters, step::Step)
    for k in eachindex(x.v)
        at_end = (v = bar.v[k], i = bar.i[k], s = bar.s[k])
        at_start, _, _ = linear_piece_adjoint!(θ̄, θ, k, x.v[k], x.i[k], at_end, step.start, step.start + step.length, slopes(step, k))
        bar.v[k], bar.i[k] = at_start.v, at_start.i
    end
end

function full_step_tangent!(::EulerMaruyama, dx::StateTangent, x::State, motion::Moving, step::Step, moving::Groups)
    is_additive(motion) || return full_step_by_pieces_tangent!(dx, x, motion, step)
    θ, dθ = motion.at, motion.change
    h = step.length
    v, i, rates, input = x.v, x.i, x.rate, x.input
    dv, di, ds, dv_end, di_end, ds_end = dx.v, dx.i, dx.s, dx.v_end, dx.i_end, dx.s_end
    mu1, mu2, intensity = θ.mu1, θ.mu2, θ.intensity
    @inbounds @simd ivdep for k in eachindex(v, i, rates, dv, di, ds, dv_end, di_end, ds_end)
        dv_end[k] = dv[k] + h * (mu1[k] * (di[k] - dv[k]))
        di_end[k] = di[k] - h * (mu2[k] * di[k])
        ds_end[k] = ds[k] + h * (slope(intensity, k, v[k], rates[k]) * dv[k])
    end
    if moving.current
        @inbounds @simd ivdep for k in eachindex(dv_end)
            dv_end[k] += h * mu1[k] * current_tangent(θ.current, dθ.current, k, step.start)
        end
    end
    if moving.mu
        @inbounds @simd ivdep for k in eachindex(dv_end)
            dv_end[k] += h * (dθ.mu1[k] * (i[k] + input[k] - v[k]))
            di_end[k] -= h * (dθ.mu2[k] * i[k])
        end
    end
    if moving.sigma
        @inbounds for k in eachindex(dv_end)
            dv_end[k] += dθ.sigma11[k] * increment(step, k, 1)
            di_end[k] += dθ.sigma21[k] * increment(step, k, 1)
            if step.num_components == 2
                dv_end[k] += dθ.sigma12[k] * increment(step, k, 2)
                di_end[k] += dθ.sigma22[k] * increment(step, k, 2)
            end
        end
    end
    if moving.intensity
        @inbounds @simd ivdep for k in eachindex(ds_end)
            ds_end[k] += h * rate_tangent(intensity, dθ.intensity, k, v[k], rates[k])
        end
    end
end

"""Turns the cotangent `bar` of the state at the end of the step into that at its start, and adds to the wanted gradients."""
function full_step_adjoint!(bar::StateAdjoint, θ̄::Parameters, ::EulerMaruyama, x::State, θ::Parameters, step::Step, wanted::Groups)
    is_additive(θ) || return full_step_by_pieces_adjoint!(bar, θ̄, x, θ, step)
    h = step.length
    v, i, rates, input = x.v, x.i, x.rate, x.input
    v̄, ī, s̄ = bar.v, bar.i, bar.s
    mu1, mu2, intensity = θ.mu1, θ.mu2, θ.intensity
    if wanted.current
        @inbounds @simd ivdep for k in eachindex(v̄)
            current_adjoint!(θ̄.current, θ.current, k, step.start, h * mu1[k] * v̄[k])
        end
    end
    if wanted.mu
        mu1_bar, mu2_bar = θ̄.mu1, θ̄.mu2
        @inbounds @simd ivdep for k in eachindex(v̄, ī)
            mu1_bar[k] += h * (v̄[k] * (i[k] + input[k] - v[k]))
            mu2_bar[k] -= h * (ī[k] * i[k])
        end
    end
    if wanted.sigma
        @inbounds for k in eachindex(v̄, ī)
            θ̄.sigma11[k] += v̄[k] * increment(step, k, 1)
            θ̄.sigma21[k] += ī[k] * increment(step, k, 1)
            if step.num_components == 2
                θ̄.sigma12[k] += v̄[k] * increment(step, k, 2)
                θ̄.sigma22[k] += ī[k] * increment(step, k, 2)
            end
        end
    end
    if wanted.intensity
        @inbounds @simd ivdep for k in eachindex(v̄, s̄)
            rate_adjoint!(θ̄.intensity, intensity, k, v[k], rates[k], h * s̄[k])
        end
    end
    @inbounds @simd ivdep for k in eachindex(v̄, ī, s̄, v, i, rates)
        drive = h * mu1[k] * v̄[k]
        v̄[k] += h * slope(intensity, k, v[k], rates[k]) * s̄[k] - drive
        ī[k] += drive - h * (mu2[k] * ī[k])
    end
end

"""
Steps `from` to `to` (the last excluded, at most as many as the trail holds) of a network of one neuron, in registers, up to the first in which it fires;
returns that step, or `to`. Records on the `trail` what the tangents need.
"""
function quiet_steps!(::EulerMaruyama, x::State, θ::Parameters, trail::Trail, path::BrownianPath, from, to, t0, dt)
    is_additive(θ) || return from
    components, scale = num_draws(path), increment_scale(path)
    mu1, mu2, intensity = θ.mu1[1], θ.mu2[1], θ.intensity
    sigma11, sigma12, sigma21, sigma22 = θ.sigma11[1], θ.sigma12[1], θ.sigma21[1], θ.sigma22[1]
    v, i, s = x.v[1], x.i[1], x.s[1]
    n = from
    @inbounds while n < to
        normals, offset = increments!(path, n)
        input = current(θ.current, 1, t0 + n * dt)
        rate_n = rate(intensity, 1, v)
        s_end = s + dt * rate_n
        noise = scale * normals[offset+1]
        v_end = v + dt * (mu1 * (i + input - v)) + sigma11 * noise
        i_end = i - dt * (mu2 * i) + sigma21 * noise
        if components == 2
            noise = scale * normals[offset+2]
            v_end += sigma12 * noise
            i_end += sigma22 * noise
        end
        fires(intensity, 1, v_end, s_end) && break
        trail.v[n-from+1], trail.i[n-from+1], trail.rate[n-from+1] = v, i, rate_n
        v, i, s = v_end, i_end, s_end
        n += 1
    end
    x.v[1], x.i[1], x.s[1] = v, i, s
    return n
end

function quiet_steps_tangent!(
    ::EulerMaruyama, dx::StateTangent, motion::Moving, trail::Trail, path::BrownianPath, from, to, t0, dt, moving::Groups,
)
    θ, dθ = motion.at, motion.change
    components, scale = num_draws(path), increment_scale(path)
    mu1, mu2, intensity = θ.mu1[1], θ.mu2[1], θ.intensity
    dv, di, ds = dx.v[1], dx.i[1], dx.s[1]
    @inbounds for n in from:to-1
        v, i, rate_n = trail.v[n-from+1], trail.i[n-from+1], trail.rate[n-from+1]
        drive = di - dv
        moving.current && (drive += current_tangent(θ.current, dθ.current, 1, t0 + n * dt))
        dv_end = dv + dt * (mu1 * drive)
        di_end = di - dt * (mu2 * di)
        ds += dt * (slope(intensity, 1, v, rate_n) * dv)
        if moving.mu
            dv_end += dt * (dθ.mu1[1] * (i + current(θ.current, 1, t0 + n * dt) - v))
            di_end -= dt * (dθ.mu2[1] * i)
        end
        if moving.sigma
            normals, offset = increments!(path, n)
            dv_end += dθ.sigma11[1] * scale * normals[offset+1]
            di_end += dθ.sigma21[1] * scale * normals[offset+1]
            if components == 2
                dv_end += dθ.sigma12[1] * scale * normals[offset+2]
                di_end += dθ.sigma22[1] * scale * normals[offset+2]
            end
        end
        moving.intensity && (ds += dt * rate_tangent(intensity, dθ.intensity, 1, v, rate_n))
        dv, di = dv_end, di_end
    end
    dx.v[1], dx.i[1], dx.s[1] = dv, di, ds
end
