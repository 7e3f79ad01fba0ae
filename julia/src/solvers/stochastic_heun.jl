"""
    StochasticHeun

Heun's predictor and corrector, which converges to the equation in Stratonovich's sense; strong order 1. With f the
drift in that sense and n(y) = g(y)·ΔB,

    ŷ = y + h·f(t, y) + n(y)        y' = y + h/2·(f(t, y) + f(t + h, ŷ)) + ½·(n(y) + n(ŷ))

Rüemelin, "Numerical treatment of stochastic differential equations", SIAM Journal on Numerical Analysis 19 (1982).
"""
struct StochasticHeun <: Solver end

SOLVERS["stochastic_heun"] = StochasticHeun

# h·f + g·ΔB, what a step of Euler's adds in Stratonovich's sense.
@inline heun_slope(θ, k, y, t, h, x) = plus(scaled(h, drift_in_sense(θ, k, y, t, true)), noise(θ, k, y, x.w))

"""Cotangent of y from that of `heun_slope`; adds to the wanted gradients θ̄."""
@inline heun_slope_adjoint!(θ̄, θ::Model, k, y, t, h, x, bar, wanted) = plus(
    drift_in_sense_adjoint!(θ̄, θ, k, y, t, true, scaled(h, bar), wanted),
    noise_adjoint!(θ̄, θ, k, y, x.w, bar, wanted),
)

@inline function one_step(::StochasticHeun, θ, k, y, t, h, x)
    early = heun_slope(θ, k, y, t, h, x)
    late = heun_slope(θ, k, plus(y, early), t + h, h, x)
    return plus_scaled(y, 0.5, plus(early, late))
end

@inline function one_step_adjoint!(θ̄, ::StochasticHeun, θ::Model, k, y, bar, t, h, x, wanted)
    half = scaled(0.5, bar)
    predicted = plus(y, heun_slope(θ, k, y, t, h, x))
    predicted_bar = heun_slope_adjoint!(θ̄, θ, k, predicted, t + h, h, x, half, wanted)
    y_bar = heun_slope_adjoint!(θ̄, θ, k, y, t, h, x, plus(half, predicted_bar), wanted)
    return plus(plus(bar, predicted_bar), y_bar)
end
