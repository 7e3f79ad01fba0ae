"""A number with its derivative in one direction, so that a formula written once gives its tangent too."""
struct Dual
    value::Float64
    tangent::Float64
end

Base.:+(x::Dual, y::Dual) = Dual(x.value + y.value, x.tangent + y.tangent)
Base.:+(x::Dual, y::Float64) = Dual(x.value + y, x.tangent)
Base.:+(x::Float64, y::Dual) = y + x
Base.:-(x::Dual) = Dual(-x.value, -x.tangent)
Base.:-(x::Dual, y::Dual) = Dual(x.value - y.value, x.tangent - y.tangent)
Base.:-(x::Dual, y::Float64) = Dual(x.value - y, x.tangent)
Base.:-(x::Float64, y::Dual) = Dual(x - y.value, -y.tangent)
Base.:*(x::Dual, y::Dual) = Dual(x.value * y.value, x.tangent * y.value + x.value * y.tangent)
Base.:*(x::Dual, y::Float64) = Dual(x.value * y, x.tangent * y)
Base.:*(x::Float64, y::Dual) = y * x
Base.:/(x::Dual, y::Float64) = Dual(x.value / y, x.tangent / y)
Base.:/(x::Dual, y::Dual) = (ratio = x.value / y.value; Dual(ratio, (x.tangent - ratio * y.tangent) / y.value))

@inline fast_exp(x::Dual) = (power = fast_exp(x.value); Dual(power, power * x.tangent))

@inline value(x::Float64) = x
@inline value(x::Dual) = x.value

"""Parameters that move: what is computed from them comes with its tangent."""
mutable struct Moving{Θ<:Parameters}
    at::Θ
    change::Θ
end

"""Constants of one neuron."""
struct Constants{T}
    mu1::T
    mu2::T
    sigma11::T
    sigma12::T
    sigma21::T
    sigma22::T
end

@inline constants(θ::Parameters, k) =
    @inbounds Constants(θ.mu1[k], θ.mu2[k], θ.sigma11[k], θ.sigma12[k], θ.sigma21[k], θ.sigma22[k])

@inline function constants(θ::Moving, k)
    c, d = constants(θ.at, k), constants(θ.change, k)
    return Constants(
        Dual(c.mu1, d.mu1), Dual(c.mu2, d.mu2), Dual(c.sigma11, d.sigma11), Dual(c.sigma12, d.sigma12), Dual(c.sigma21, d.sigma21),
        Dual(c.sigma22, d.sigma22),
    )
end

"""λ(v) of neuron k."""
@inline firing_rate(θ::Parameters, k, v) = rate(θ.intensity, k, v)
@inline function firing_rate(θ::Moving, k, v::Dual)
    λ = θ.at.intensity
    at = rate(λ, k, v.value)
    return Dual(at, slope(λ, k, v.value, at) * v.tangent + rate_tangent(λ, θ.change.intensity, k, v.value, at))
end

"""Where the rate is what it is on average around v, given the variance there: exactly for an exponential λ, else to second order."""
@inline mean_point(θ::Parameters, k, v, variance) = v + 0.5 * (variance * sharpness(θ.intensity, k, v))
@inline function mean_point(θ::Moving, k, v::Dual, variance::Dual)
    λ = θ.at.intensity
    return v + 0.5 * (variance * Dual(sharpness(λ, k, v.value), sharpness_tangent(λ, θ.change.intensity, k, v.value, v.tangent)))
end

"""The rate's mean over noise of that variance around v."""
@inline mean_rate(θ, k, v, variance) = firing_rate(θ, k, mean_point(θ, k, v, variance))

"""I(t) of neuron k."""
@inline input_current(θ::Parameters, k, t) = current(θ.current, k, t)
@inline input_current(θ::Moving, k, t::Float64) = Dual(current(θ.at.current, k, t), current_tangent(θ.at.current, θ.change.current, k, t))
@inline input_current(θ::Moving, k, t::Dual) = Dual(0.0, current_rate(θ.at.current, k, t.value) * t.tangent) + input_current(θ, k, t.value)

"""(g(v), g′(v)) of neuron k."""
@inline noise_factor(θ::Parameters, k, v) = factor(θ.diffusion, k, v), factor_slope(θ.diffusion, k, v)
@inline function noise_factor(θ::Moving, k, v::Dual)
    d = θ.at.diffusion
    slope_at = factor_slope(d, k, v.value)
    change, slope_change = factor_tangent(d, θ.change.diffusion, k, v.value)
    return Dual(factor(d, k, v.value), slope_at * v.tangent + change), Dual(slope_at, factor_curvature(d, k, v.value) * v.tangent + slope_change)
end

@inline is_additive(::Parameters{I,C,D}) where {I,C,D} = is_additive(D)
@inline is_additive(θ::Moving) = is_additive(θ.at)
@inline is_stratonovich(θ::Parameters) = θ.stratonovich
@inline is_stratonovich(θ::Moving) = θ.at.stratonovich
