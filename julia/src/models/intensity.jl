"""
An intensity λ(v): the rate at which a neuron fires. Its fields are vectors over neurons, and the same type holds
tangents and gradients of its parameters. A file in `models/intensities/` defines a subtype, registers a constructor
`(num_neurons, settings) -> intensity` in `INTENSITIES`, and gives it, for neuron k at potential v,

  * `parameter_arrays(λ)`: its differentiable parameters by the host's names, a named tuple;
  * `rate(λ, k, v)`: λ(v);
  * `slope(λ, k, v, rate)`: ∂λ/∂v, given the rate;
  * `rate_tangent(λ, dλ, k, v, rate)`: Σ ∂λ/∂p · dp over the parameters;
  * `rate_adjoint!(λ̄, λ, k, v, rate, bar)`: adds bar · ∂λ/∂p to the gradients λ̄;

all without branches, so that loops over neurons vectorise.

The event is, unless the file says otherwise, that the integrated hazard, the last variable of the state y, reaches 0
from below. Another event function E is stated by `event_value(λ, k, y)`, its gradient `event_gradient(λ, k)`, constant
in y, and its derivatives in the parameters, `event_tangent(λ, dλ, k)` and `event_adjoint!(λ̄, λ, k, bar)`.

The mean of the rate over normal noise, of which `exact_ou` makes use, is that of Gauss and Hermite's rule of three
points; a file may have a better one: `mean_rate`, `mean_rate_with_tangent` and `mean_rate_adjoint!`.
"""
abstract type Intensity <: ModelPart end

@inline event_value(λ::Intensity, k, y) = last(y)
@inline event_gradient(λ::Intensity, k) = (0.0, 0.0, 1.0)
@inline event_tangent(λ::Intensity, dλ::Intensity, k) = 0.0
@inline event_adjoint!(λ̄::Intensity, λ::Intensity, k, bar) = nothing

# --- the mean rate ----------------------------------------------------------------------------------------------------

"""E[λ(v + ξ)] for ξ normal with that variance."""
@inline function mean_rate(λ::Intensity, k, v, variance)
    d = sqrt(3 * max(variance, 0.0))
    return (4 * rate(λ, k, v) + rate(λ, k, v - d) + rate(λ, k, v + d)) / 6
end

# ∂d/∂variance of the points v ± d; where there is no noise nothing depends on it.
@inline spread_slope(d) = d > 0 ? 1.5 / d : 0.0

"""The mean rate, and its tangent."""
function mean_rate_with_tangent(λ::Intensity, dλ::Intensity, k, v, variance, dv, dvariance)
    d = sqrt(3 * max(variance, 0.0))
    dd = spread_slope(d) * dvariance
    value = tangent = 0.0
    for (weight, x, dx) in ((1 / 6, v - d, dv - dd), (4 / 6, v, dv), (1 / 6, v + d, dv + dd))
        at = rate(λ, k, x)
        value += weight * at
        tangent += weight * (slope(λ, k, x, at) * dx + rate_tangent(λ, dλ, k, x, at))
    end
    return value, tangent
end

"""Cotangents of v and of the variance from that of the mean rate; adds to the gradients λ̄ where they are `wanted`."""
function mean_rate_adjoint!(λ̄::Intensity, λ::Intensity, k, v, variance, bar, wanted::Bool)
    d = sqrt(3 * max(variance, 0.0))
    v_bar = d_bar = 0.0
    for (weight, x, side) in ((1 / 6, v - d, -1.0), (4 / 6, v, 0.0), (1 / 6, v + d, 1.0))
        at = rate(λ, k, x)
        wanted && rate_adjoint!(λ̄, λ, k, x, at, weight * bar)
        x_bar = weight * bar * slope(λ, k, x, at)
        v_bar += x_bar
        d_bar += side * x_bar
    end
    return v_bar, d_bar * spread_slope(d)
end
