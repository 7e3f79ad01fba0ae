"""
An intensity λ(v): the rate at which a neuron fires. Its fields are vectors over neurons, and the same type holds tangents and gradients
of its parameters. A file in `intensities/` defines a subtype, registers a constructor `(num_neurons, settings) -> intensity` in `INTENSITIES`, and
gives it, for neuron k at potential v,

  * `parameter_arrays(λ)`: its differentiable parameters by the host's names, a named tuple;
  * `rate(λ, k, v)`: λ(v);
  * `slope(λ, k, v, rate)`: ∂λ/∂v, given the rate;
  * `rate_tangent(λ, dλ, k, v, rate)`: Σ ∂λ/∂p · dp over the parameters;
  * `rate_adjoint!(λ̄, λ, k, v, rate, bar)`: adds bar · ∂λ/∂p to the gradients λ̄;
  * `sharpness(λ, k, v)`: λ″/λ′, or 0 where λ′ = 0; with `sharpness_tangent(λ, dλ, k, v, dv)`, and `sharpness_adjoint!(λ̄, λ, k, v, bar)`, which returns the cotangent of v and adds
    to the gradients λ̄.

All without branches, so that loops over neurons vectorise.

The event it stands for is, unless the file says otherwise, that the integrated hazard s reaches 0 from below. Another event function E is
stated by

  * `fires(λ, k, v, s)`: whether E ≥ 0;
  * `crossing(λ, k, y, speed, a)`: when E = 0 along a straight piece from `y` at time a with the given speeds of (v, i, s);
  * `event_gradient(λ, k)`: ∇E in (v, i, s);
  * `event_tangent(λ, dλ, k)` and `event_adjoint!(λ̄, λ, k, bar)`: derivatives of E in the parameters.
"""
abstract type Intensity end

@inline fires(λ::Intensity, k, v, s) = s >= 0.0
@inline crossing(λ::Intensity, k, y, speed, a) = y.s >= 0.0 ? a : a - y.s / speed.s
@inline event_gradient(λ::Intensity, k) = (v = 0.0, i = 0.0, s = 1.0)
@inline event_tangent(λ::Intensity, dλ::Intensity, k) = 0.0
@inline event_adjoint!(λ̄::Intensity, λ::Intensity, k, bar) = nothing
