"""
    ShARK

Shifted additive-noise Runge–Kutta: strong order 3/2 for additive noise, from two evaluations and the space-time Lévy area. With f and n, a = σ·(ΔB, H),

    y₁ = y + a        y₂ = y₁ + 5/6·(h·f(t, y₁) + n)        y' = y + h·(2/5·f(t, y₁) + 3/5·f(t + 5/6·h, y₂)) + n

for y = (v, i), and the hazard likewise by its rates at y₁ and y₂. Foster, dos Reis and Strange, "High order splitting methods for SDEs satisfying a commutativity
condition", SIAM Journal on Numerical Analysis 62 (2024).
"""
struct ShARK <: OneStepSolver end

SOLVERS["shark"] = ShARK

uses_area(::ShARK) = true

const SHARK_POINT = 5 / 6               # of the second stage
const SHARK_WEIGHTS = (2 / 5, 3 / 5)

@inline function shark_stages(θ, k, c::Constants, v, i, t, h, noise::Noise)
    n1, n2 = driving_increments(c, noise)
    a1, a2 = driving_areas(c, noise)
    v1, i1 = v + a1, i + a2
    f1, g1 = c.mu1 * (i1 + input_current(θ, k, t) - v1), -(c.mu2 * i1)
    v2, i2 = v1 + SHARK_POINT * (h * f1 + n1), i1 + SHARK_POINT * (h * g1 + n2)
    f2, g2 = c.mu1 * (i2 + input_current(θ, k, t + SHARK_POINT * h) - v2), -(c.mu2 * i2)
    return (v1, i1, f1, g1), (v2, i2, f2, g2), (n1, n2)
end

@inline function one_step(::ShARK, θ, k, v, i, s, t, h, noise::Noise)
    (v1, _, f1, g1), (v2, _, f2, g2), (n1, n2) = shark_stages(θ, k, constants(θ, k), v, i, t, h, noise)
    first, second = h * SHARK_WEIGHTS[1], h * SHARK_WEIGHTS[2]
    return v + (first * f1 + second * f2) + n1,
    i + (first * g1 + second * g2) + n2,
    s + (first * firing_rate(θ, k, v1) + second * firing_rate(θ, k, v2))
end

@inline function one_step_adjoint!(θ̄::Parameters, ::ShARK, θ::Parameters, k, v, i, bar, t, h, noise::Noise, wanted::Groups)
    c = constants(θ, k)
    (v1, i1, _, _), (v2, i2, _, _), _ = shark_stages(θ, k, c, v, i, t, h, noise)
    first, second = h * SHARK_WEIGHTS[1], h * SHARK_WEIGHTS[2]

    g2_bar = second * bar.i
    v2_bar, i2_bar = drift_adjoint!(θ̄, θ, k, v2, i2, t + SHARK_POINT * h, second * bar.v, wanted)
    v2_bar += firing_rate_adjoint!(θ̄, θ, k, v2, second * bar.s, wanted)
    i2_bar -= c.mu2 * g2_bar

    g1_bar = first * bar.i + SHARK_POINT * h * i2_bar
    v1_bar, i1_bar = drift_adjoint!(θ̄, θ, k, v1, i1, t, first * bar.v + SHARK_POINT * h * v2_bar, wanted)
    v1_bar += v2_bar + firing_rate_adjoint!(θ̄, θ, k, v1, first * bar.s, wanted)
    i1_bar += i2_bar - c.mu2 * g1_bar

    wanted.mu && @inbounds θ̄.mu2[k] -= g1_bar * i1 + g2_bar * i2
    wanted.sigma && driving_adjoint!(θ̄, k, noise, bar.v + SHARK_POINT * v2_bar, bar.i + SHARK_POINT * i2_bar, v1_bar, i1_bar)
    return bar.v + v1_bar, bar.i + i1_bar
end
