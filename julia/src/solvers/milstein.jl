"""
    Milstein

For noise that commutes, as that of one neuron does where all its Brownian motions act through one factor g. With f the
drift in Itô's sense,

    y' = y + h·f(y, t) + g(y)·ΔB + ½·ΣΣ ∂g_c·g_d·(ΔB_c·ΔB_d − δ_cd·h)

where in Stratonovich's sense δ·h is missing and f is the drift in that sense. Strong order 1 also for multiplicative
noise; for additive noise it is Euler–Maruyama. Kloeden and Platen, "Numerical Solution of Stochastic Differential
Equations", section 10.3.
"""
struct Milstein <: Solver end

SOLVERS["milstein"] = Milstein

# The double integrals' h takes from the drift what it has more in Itô's sense than in Stratonovich's.
@inline function one_step(::Milstein, θ, k, y, t, h, x)
    y_end = plus(plus_scaled(y, h, drift_in_sense(θ, k, y, t, true)), noise(θ, k, y, x.w))
    return is_additive(θ) ? y_end : plus(y_end, iterated_noise(θ, k, y, x.w))
end

@inline function one_step_adjoint!(θ̄, ::Milstein, θ::Model, k, y, bar, t, h, x, wanted)
    by_drift = drift_in_sense_adjoint!(θ̄, θ, k, y, t, true, scaled(h, bar), wanted)
    y_bar = plus(plus(bar, by_drift), noise_adjoint!(θ̄, θ, k, y, x.w, bar, wanted))
    return is_additive(θ) ? y_bar : plus(y_bar, iterated_noise_adjoint!(θ̄, θ, k, y, x.w, bar))
end
