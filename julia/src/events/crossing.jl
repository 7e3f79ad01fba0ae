# The event rule: when a neuron fires, and how that time depends on everything before it. With E the event function and
# τ the time at which it vanishes along a piece, E(y(τ)) = 0 gives ∂τ = −(∇E · ∂y + ∂_θE)/(∇E · ẏ), where ∂y is the
# change of the state at the fixed time τ.

"""∂τ, from the change dy of neuron k's state at the fixed time τ, where it is y_τ and changes at the speed ẏ."""
function crossing_tangent(θ::DualModel, k, event, y_τ, dy, ẏ)
    gradient = event_gradient(θ.primal, k, event, y_τ)
    return -(along(gradient, dy) + event_tangent(θ, k, event, y_τ)) / along(gradient, ẏ)
end

"""Cotangent of neuron k's state at the fixed time τ, from that of τ; adds to the gradients θ̄."""
function crossing_adjoint!(θ̄::Model, θ::Model, k, event, y_τ, ẏ, τ_bar)
    gradient = event_gradient(θ, k, event, y_τ)
    bar = -τ_bar / along(gradient, ẏ)
    event_adjoint!(θ̄, θ, k, event, y_τ, bar)
    return scaled(bar, gradient)
end

# A finer passage to an event of another neuron may show that k was due already: its spike is then at that event, and
# moves with it.
fires_at_start(θ::Model, k, y, a, τ) = τ == a && fires(θ, k, y)

"""∂τ of a neuron's spike from its state y at a, and the tangent of its state there, at the moving time τ."""
function spike_tangent(solver::Solver, θ::DualModel, step::Step, spike, y, dy, a, da)
    k, τ, ẏ = spike.k, spike.time, spike.ẏ
    fires_at_start(θ.primal, k, y, a, τ) && return da, dy
    dy = advance_tangent(solver, θ, step, k, y, dy, a, τ, da, 0.0)
    dτ = crossing_tangent(θ, k, spike.event, spike.y, dy, ẏ)
    return dτ, plus_scaled(dy, dτ, ẏ)
end

"""
Given the cotangents of neuron k's state just before its spike, which is `passage`, and of τ by itself, those of the
state at `a` and of a; adds to the wanted gradients θ̄.
"""
function spike_adjoint!(θ̄::Model, solver::Solver, θ::Model, step::Step, k, event, y, bar, a, τ, passage, τ_bar, wanted)
    fires_at_start(θ, k, y, a, τ) && return bar, τ_bar
    ẏ = passage.ẏ
    bar = plus(bar, crossing_adjoint!(θ̄, θ, k, event, passage.y, ẏ, τ_bar + along(ẏ, bar)))
    at_a, a_bar, _ = advance_adjoint!(θ̄, solver, θ, step, k, y, bar, a, τ, wanted, false)
    return at_a, a_bar
end
