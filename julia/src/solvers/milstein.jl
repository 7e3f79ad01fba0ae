"""
    Milstein

Strong order 1 for multiplicative noise of one neuron, which is commutative here: both Brownian motions act on v through the same factor g. In Itô's sense, with
n = σ·ΔB and M = ½·(n1² − (σ11² + σ12²)·h),

    v' = v + h·μ1·(i + I − v) + g·n1 + g·g′·M        i' = i − h·μ2·i + n2        s' = s + h·λ(v)

For additive noise it is Euler–Maruyama. Kloeden and Platen, "Numerical Solution of Stochastic Differential Equations", section 10.3.
"""
struct Milstein <: OneStepSolver end

SOLVERS["milstein"] = Milstein

# What multiplies g·g′: with the Stratonovich correction, if that is how the noise is meant, half of it goes.
@inline double_integral(θ, c::Constants, n1, h) =
    is_stratonovich(θ) ? 0.5 * (n1 * n1) : 0.5 * (n1 * n1 - (c.sigma11 * c.sigma11 + c.sigma12 * c.sigma12) * h)

@inline function one_step(::Milstein, θ, k, v, i, s, t, h, noise::Noise)
    c = constants(θ, k)
    n1, n2 = driving_increments(c, noise)
    g, g′ = noise_factor(θ, k, v)
    v_end = v + h * (c.mu1 * (i + input_current(θ, k, t) - v)) + g * n1
    is_additive(θ) || (v_end += (g * g′) * double_integral(θ, c, n1, h))
    return v_end, i - h * (c.mu2 * i) + n2, s + h * firing_rate(θ, k, v)
end

@inline function one_step_adjoint!(θ̄::Parameters, ::Milstein, θ::Parameters, k, v, i, bar, t, h, noise::Noise, wanted::Groups)
    c = constants(θ, k)
    n1, _ = driving_increments(c, noise)
    g, g′ = noise_factor(θ, k, v)
    n1_bar = bar.v * g
    v_change, i_change = drift_adjoint!(θ̄, θ, k, v, i, t, h * bar.v, wanted)
    if !is_additive(θ)
        M = double_integral(θ, c, n1, h)
        v_change += noise_factor_adjoint!(θ̄, θ, k, v, bar.v * (n1 + g′ * M), bar.v * g * M)
        M_bar = bar.v * g * g′
        n1_bar += M_bar * n1
        if !is_stratonovich(θ)
            @inbounds θ̄.sigma11[k] -= M_bar * h * c.sigma11
            @inbounds θ̄.sigma12[k] -= M_bar * h * c.sigma12
        end
    end
    wanted.sigma && driving_adjoint!(θ̄, k, noise, n1_bar, bar.i)
    wanted.mu && @inbounds θ̄.mu2[k] -= h * bar.i * i
    return bar.v + v_change + firing_rate_adjoint!(θ̄, θ, k, v, h * bar.s, wanted), bar.i + i_change - h * c.mu2 * bar.i
end
