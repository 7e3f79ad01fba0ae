"""
    ThresholdIntensity

Deterministic firing: the event is that the potential itself reaches v_th from below; there is no hazard. Gradients
exist only where no noise drives v.
"""
struct ThresholdIntensity{V<:AbstractVector{Float64}} <: Intensity
    v_th::V
end

INTENSITIES["threshold"] = (n, settings) -> ThresholdIntensity(zeros(n))

parameter_arrays(λ::ThresholdIntensity) = (v_th = λ.v_th,)

@inline rate(λ::ThresholdIntensity, k, v) = 0.0
@inline slope(λ::ThresholdIntensity, k, v, rate) = 0.0
@inline rate_tangent(λ::ThresholdIntensity, dλ::ThresholdIntensity, k, v, rate) = 0.0
@inline rate_adjoint!(λ̄::ThresholdIntensity, λ::ThresholdIntensity, k, v, rate, bar) = nothing

@inline event_value(λ::ThresholdIntensity, k, y) = @inbounds first(y) - λ.v_th[k]
@inline event_gradient(λ::ThresholdIntensity, k) = (1.0, 0.0, 0.0)
@inline event_tangent(λ::ThresholdIntensity, dλ::ThresholdIntensity, k) = @inbounds -dλ.v_th[k]
@inline event_adjoint!(λ̄::ThresholdIntensity, λ::ThresholdIntensity, k, bar) = @inbounds λ̄.v_th[k] -= bar
