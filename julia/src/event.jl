# The event rule: when a neuron fires, and how that time depends on everything before it. With E the event function and τ the time at which it vanishes along
# a piece, E(y(τ)) = 0 gives ∂τ = −(∇E · ∂y + ∂_θE)/(∇E · ẏ), where ∂y is the change of the state at the fixed time τ.

"""Time at which neuron k fires along its piece from `a`, if the piece goes on for long enough."""
spike_time(solver::Solver, θ::Parameters, step::Step, k, y::Local, a) =
    clamp(crossing(θ.intensity, k, y, speed(solver, θ, step, k, y), a), a, step.stop)

along(gradient, y) = gradient.v * y.v + gradient.i * y.i + gradient.s * y.s

function spike_time_tangent(solver::Solver, θ::Parameters, dθ::Parameters, step::Step, k, y::Local, dy, a, τ, da)
    v, i, s = advance_tangent(solver, θ, dθ, step, k, y, dy, a, τ, da, 0.0)
    gradient = event_gradient(θ.intensity, k)
    change = along(gradient, (v = v, i = i, s = s)) + event_tangent(θ.intensity, dθ.intensity, k)
    return -change / along(gradient, speed(solver, θ, step, k, y))
end

"""Cotangents of the state at `a` and of a from that of τ; adds to the gradients θ̄."""
function spike_time_adjoint!(θ̄::Parameters, solver::Solver, θ::Parameters, step::Step, k, y::Local, a, τ, τ_bar)
    gradient = event_gradient(θ.intensity, k)
    bar = -τ_bar / along(gradient, speed(solver, θ, step, k, y))
    event_adjoint!(θ̄.intensity, θ.intensity, k, bar)
    at_τ = (v = bar * gradient.v, i = bar * gradient.i, s = bar * gradient.s)
    at_a, a_bar, _ = advance_adjoint!(θ̄, solver, θ, step, k, y, at_τ, a, τ)
    return at_a, a_bar
end

# --- the transition --------------------------------------------------------------------------------------------------------------
# A spike lowers v by v_reset, or puts it there (a hard reset).

@inline reset_potential(hard::Bool, v, v_reset) = hard ? v_reset : v - v_reset
@inline reset_potential_tangent(hard::Bool, dv, dv_reset) = hard ? dv_reset : dv - dv_reset

# (v̄ before the spike, cotangent of v_reset)
@inline reset_potential_adjoint(hard::Bool, v_bar) = hard ? (0.0, v_bar) : (v_bar, -v_bar)
