# The event rule: when a neuron fires, and how that time depends on everything before it. With E the event function and τ the time at which it vanishes along
# a piece, E(y(τ)) = 0 gives ∂τ = −(∇E · ∂y + ∂_θE)/(∇E · ẏ), where ∂y is the change of the state at the fixed time τ.

along(gradient, y) = gradient.v * y.v + gradient.i * y.i + gradient.s * y.s

"""∂τ, from the change `dy` = (v, i, s) of neuron k's state at the fixed time τ, and from its speed ẏ there."""
function crossing_tangent(λ::Intensity, dλ::Intensity, k, dy, ẏ)
    gradient = event_gradient(λ, k)
    return -(along(gradient, dy) + event_tangent(λ, dλ, k)) / along(gradient, ẏ)
end

"""Cotangent (v, i, s) of neuron k's state at the fixed time τ, from that of τ; adds to the gradients λ̄."""
function crossing_adjoint!(λ̄::Intensity, λ::Intensity, k, ẏ, τ_bar)
    gradient = event_gradient(λ, k)
    bar = -τ_bar / along(gradient, ẏ)
    event_adjoint!(λ̄, λ, k, bar)
    return (v = bar * gradient.v, i = bar * gradient.i, s = bar * gradient.s)
end

# A finer walk to an event of another neuron may show that k was due already: its spike is then at that event, and moves with it.
fires_at_start(λ::Intensity, k, y::Local, a, τ) = τ == a && fires(λ, k, y.v, y.s)

"""∂τ of neuron k's spike at τ, where its speed is ẏ, and the tangent of its state there, at the moving time τ."""
function spike_tangent(solver::Solver, θ::Moving, step::Step, k, y::Local, dy, a, da, τ, ẏ)
    fires_at_start(θ.at.intensity, k, y, a, τ) && return da, dy
    v, i, s = advance_tangent(solver, θ, step, k, y, dy, a, τ, da, 0.0)
    dτ = crossing_tangent(θ.at.intensity, θ.change.intensity, k, (v = v, i = i, s = s), ẏ)
    return dτ, (v = v + ẏ.v * dτ, i = i + ẏ.i * dτ, s = s + ẏ.s * dτ)
end

"""
Given the cotangents of neuron k's state just before its spike, and of τ by itself, those of the state at `a` and of a; adds to the gradients θ̄.
"""
function spike_adjoint!(θ̄::Parameters, solver::Solver, θ::Parameters, step::Step, k, y::Local, bar, a, τ, ẏ, τ_bar)
    fires_at_start(θ.intensity, k, y, a, τ) && return bar, τ_bar
    crossing = crossing_adjoint!(θ̄.intensity, θ.intensity, k, ẏ, τ_bar + along(ẏ, bar))
    at_τ = (v = bar.v + crossing.v, i = bar.i + crossing.i, s = bar.s + crossing.s)
    at_a, a_bar, _ = advance_adjoint!(θ̄, solver, θ, step, k, y, at_τ, a, τ)
    return at_a, a_bar
end

# --- the transition --------------------------------------------------------------------------------------------------------------
# A spike lowers v by v_reset, or puts it there (a hard reset).

@inline reset_potential(hard::Bool, v, v_reset) = hard ? v_reset : v - v_reset
@inline reset_potential_tangent(hard::Bool, dv, dv_reset) = hard ? dv_reset : dv - dv_reset

# (v̄ before the spike, cotangent of v_reset)
@inline reset_potential_adjoint(hard::Bool, v_bar) = hard ? (0.0, v_bar) : (v_bar, -v_bar)
