"""
    ShARK

Shifted additive-noise Runge–Kutta: strong order 3/2 for additive noise, from two evaluations and the space-time Lévy
area. With f the drift, n = g·ΔB and a = g·H,

    y₁ = y + a        y₂ = y₁ + 5/6·(h·f(t, y₁) + n)        y' = y + h·(2/5·f(t, y₁) + 3/5·f(t + 5/6·h, y₂)) + n

Foster, dos Reis and Strange, "High order splitting methods for SDEs satisfying a commutativity condition", SIAM Journal
on Numerical Analysis 62 (2024).
"""
struct ShARK <: Solver end

SOLVERS["shark"] = ShARK

uses_area(::ShARK) = true

const SHARK_POINT = 5 / 6               # of the second stage
const SHARK_WEIGHTS = (2 / 5, 3 / 5)

"""(y₁, f(t, y₁), y₂, n)."""
@inline function shark_stages(θ, k, y, t, h, x)
    n = noise(θ, k, y, x.w)
    y1 = plus(y, noise(θ, k, y, x.h))
    f1 = drift(θ, k, y1, t)
    y2 = plus_scaled(y1, SHARK_POINT, plus(scaled(h, f1), n))
    return y1, f1, y2, n
end

@inline function one_step(::ShARK, θ, k, y, t, h, x)
    _, f1, y2, n = shark_stages(θ, k, y, t, h, x)
    f2 = drift(θ, k, y2, t + SHARK_POINT * h)
    return plus(plus(y, plus(scaled(h * SHARK_WEIGHTS[1], f1), scaled(h * SHARK_WEIGHTS[2], f2))), n)
end

@inline function one_step_adjoint!(θ̄, ::ShARK, θ::Model, k, y, bar, t, h, x, wanted)
    y1, f1, y2, _ = shark_stages(θ, k, y, t, h, x)
    y2_bar = drift_adjoint!(θ̄, θ, k, y2, t + SHARK_POINT * h, scaled(h * SHARK_WEIGHTS[2], bar), wanted)
    f1_bar = plus(scaled(h * SHARK_WEIGHTS[1], bar), scaled(SHARK_POINT * h, y2_bar))
    y1_bar = plus(y2_bar, drift_adjoint!(θ̄, θ, k, y1, t, f1_bar, wanted))
    noise_adjoint!(θ̄, θ, k, y, x.w, plus_scaled(bar, SHARK_POINT, y2_bar), wanted)     # additive: y has no part in it
    noise_adjoint!(θ̄, θ, k, y, x.h, y1_bar, wanted)
    return plus(bar, y1_bar)
end
