"""
    StochasticHeun

Heun's predictor and corrector, which converges to the equation in Stratonovich's sense; strong order 1. With f the drift, corrected by −½·(σ11² + σ12²)·g·g′ where the
equation is meant in Itô's sense, and n = σ·ΔB,

    v̂ = v + h·f(t, v, i) + g(v)·n1                      î = i − h·μ2·i + n2
    v' = v + h/2·(f(t, v, i) + f(t + h, v̂, î)) + ½·(g(v) + g(v̂))·n1
    i' = i − h/2·μ2·(i + î) + n2                        s' = s + h/2·(λ(v) + λ(v̂))

Rüemelin, "Numerical treatment of stochastic differential equations", SIAM Journal on Numerical Analysis 19 (1982).
"""
struct StochasticHeun <: OneStepSolver end

SOLVERS["stochastic_heun"] = StochasticHeun

# Drift of v in Stratonovich's sense, and the noise factor.
@inline function stratonovich_drift(θ, k, c::Constants, v, i, t)
    g, g′ = noise_factor(θ, k, v)
    f = c.mu1 * (i + input_current(θ, k, t) - v)
    (is_additive(θ) || is_stratonovich(θ)) || (f -= correction(c, g, g′))
    return f, g
end

"""Cotangents of (v, i) from those of the drift and the factor at (t, v, i); adds to the wanted gradients."""
@inline function stratonovich_drift_adjoint!(θ̄, θ, k, c::Constants, v, i, t, bar, g_bar, wanted)
    v_bar, i_bar = drift_adjoint!(θ̄, θ, k, v, i, t, bar, wanted)
    is_additive(θ) && return v_bar, i_bar
    g′_bar = 0.0
    if !is_stratonovich(θ)
        g, g′ = noise_factor(θ, k, v)
        more, g′_bar = correction_adjoint!(θ̄, k, c, g, g′, -bar)
        g_bar += more
    end
    return v_bar + noise_factor_adjoint!(θ̄, θ, k, v, g_bar, g′_bar), i_bar
end

@inline function one_step(::StochasticHeun, θ, k, v, i, s, t, h, noise::Noise)
    c = constants(θ, k)
    n1, n2 = driving_increments(c, noise)
    f, g = stratonovich_drift(θ, k, c, v, i, t)
    v̂, î = v + h * f + g * n1, i - h * (c.mu2 * i) + n2
    f̂, ĝ = stratonovich_drift(θ, k, c, v̂, î, t + h)
    return v + 0.5 * (h * (f + f̂)) + 0.5 * ((g + ĝ) * n1),
    i - (0.5 * h) * (c.mu2 * (i + î)) + n2,
    s + (0.5 * h) * (firing_rate(θ, k, v) + firing_rate(θ, k, v̂))
end

@inline function one_step_adjoint!(θ̄::Parameters, ::StochasticHeun, θ::Parameters, k, v, i, bar, t, h, noise::Noise, wanted::Groups)
    c = constants(θ, k)
    n1, n2 = driving_increments(c, noise)
    f, g = stratonovich_drift(θ, k, c, v, i, t)
    v̂, î = v + h * f + g * n1, i - h * (c.mu2 * i) + n2
    _, ĝ = stratonovich_drift(θ, k, c, v̂, î, t + h)
    half = 0.5 * h

    v̂_bar, î_bar = stratonovich_drift_adjoint!(θ̄, θ, k, c, v̂, î, t + h, half * bar.v, 0.5 * n1 * bar.v, wanted)
    v̂_bar += firing_rate_adjoint!(θ̄, θ, k, v̂, half * bar.s, wanted)
    î_bar -= half * c.mu2 * bar.i

    v_bar, i_bar = stratonovich_drift_adjoint!(θ̄, θ, k, c, v, i, t, half * bar.v + h * v̂_bar, n1 * (0.5 * bar.v + v̂_bar), wanted)
    v_bar += bar.v + v̂_bar + firing_rate_adjoint!(θ̄, θ, k, v, half * bar.s, wanted)
    i_bar += bar.i + î_bar - c.mu2 * (half * bar.i + h * î_bar)
    wanted.mu && @inbounds θ̄.mu2[k] -= half * (i + î) * bar.i + h * i * î_bar
    wanted.sigma && driving_adjoint!(θ̄, k, noise, 0.5 * (g + ĝ) * bar.v + g * v̂_bar, bar.i + î_bar)
    return v_bar, i_bar
end
