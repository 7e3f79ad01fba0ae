"""
    ExponentialIntensity

λ(v) = exp(β·min(v − v_th, cap))/τ, Holberg and Salvi (NeurIPS 2024), section 2.
"""
struct ExponentialIntensity{V<:AbstractVector{Float64}} <: Intensity
    beta::V
    v_th::V
    tau::V
    cap::Float64
end

INTENSITIES["exponential"] = (n, settings) -> ExponentialIntensity(zeros(n), zeros(n), zeros(n), settings[1])

parameter_arrays(λ::ExponentialIntensity) = (beta = λ.beta, v_th = λ.v_th, tau = λ.tau)

# The potential above threshold, as far as it counts.
@inline function excess(λ::ExponentialIntensity, k, v)
    @inbounds x = v - λ.v_th[k]
    return ifelse(x < λ.cap, x, λ.cap)
end

@inline rate(λ::ExponentialIntensity, k, v) = @inbounds fast_exp(λ.beta[k] * excess(λ, k, v)) / λ.tau[k]

@inline slope(λ::ExponentialIntensity, k, v, rate) = @inbounds below_cap(λ, k, v, λ.beta[k] * rate)

"""x where the potential counts, 0 where the cap does."""
@inline below_cap(λ::ExponentialIntensity, k, v, x) = @inbounds ifelse(v - λ.v_th[k] < λ.cap, x, 0.0)

@inline rate_tangent(λ::ExponentialIntensity, dλ::ExponentialIntensity, k, v, rate) = @inbounds begin
    rate * (dλ.beta[k] * excess(λ, k, v) - dλ.tau[k] / λ.tau[k]) - slope(λ, k, v, rate) * dλ.v_th[k]
end

@inline function rate_adjoint!(λ̄::ExponentialIntensity, λ::ExponentialIntensity, k, v, rate, bar)
    @inbounds begin
        λ̄.beta[k] += bar * rate * excess(λ, k, v)
        λ̄.v_th[k] -= bar * slope(λ, k, v, rate)
        λ̄.tau[k] -= bar * rate / λ.tau[k]
    end
end

# Noise of variance V raises the mean of exp(β·v) as β·V/2 more on v would.
@inline mean_point(λ::ExponentialIntensity, k, v, variance) =
    v + 0.5 * (variance * @inbounds(below_cap(λ, k, v, λ.beta[k])))

@inline mean_rate(λ::ExponentialIntensity, k, v, variance) = rate(λ, k, mean_point(λ, k, v, variance))

@inline function mean_rate_with_tangent(
    λ::ExponentialIntensity, dλ::ExponentialIntensity, k, v, variance, dv, dvariance,
)
    point = mean_point(λ, k, v, variance)
    at = rate(λ, k, point)
    β, dβ = @inbounds below_cap(λ, k, v, λ.beta[k]), below_cap(λ, k, v, dλ.beta[k])
    dpoint = dv + 0.5 * (dvariance * β + variance * dβ)
    return at, slope(λ, k, point, at) * dpoint + rate_tangent(λ, dλ, k, point, at)
end

@inline function mean_rate_adjoint!(
    λ̄::ExponentialIntensity, λ::ExponentialIntensity, k, v, variance, bar, wanted::Bool,
)
    point = mean_point(λ, k, v, variance)
    at = rate(λ, k, point)
    point_bar = bar * slope(λ, k, point, at)
    if wanted
        rate_adjoint!(λ̄, λ, k, point, at, bar)
        @inbounds λ̄.beta[k] += below_cap(λ, k, v, 0.5 * (variance * point_bar))
    end
    return point_bar, @inbounds below_cap(λ, k, v, 0.5 * (λ.beta[k] * point_bar))
end
