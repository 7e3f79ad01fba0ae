"""
An intensity λ(v): the rate at which a neuron fires. Its fields are vectors over neurons, and the same type holds tangents and gradients
of its parameters. A file in `intensities/` defines a subtype, registers a constructor `(num_neurons, settings) -> intensity` in `INTENSITIES`, and
gives it, for neuron k at potential v,

  * `parameter_arrays(λ)`: its differentiable parameters, in the host's order;
  * `rate(λ, k, v)`: λ(v);
  * `slope(λ, k, v, rate)`: ∂λ/∂v, given the rate;
  * `rate_tangent(λ, dλ, k, v, rate)`: Σ ∂λ/∂p · dp over the parameters;
  * `rate_adjoint!(λ̄, λ, k, v, rate, bar)`: adds bar · ∂λ/∂p to the gradients λ̄.

All without branches, so that loops over neurons vectorise.
"""
abstract type Intensity end
