"""
A state-dependent diffusion: the noise on the potential of neuron k is g(v)·(σ11·dB¹ + σ12·dB²). Fields are vectors over
neurons, and the same type holds tangents and gradients of its parameters. A file in `models/diffusions/` defines a
subtype, registers a constructor `num_neurons -> diffusion` in `DIFFUSIONS`, and gives it, for neuron k at potential v,

  * `parameter_arrays(d)`: its differentiable parameters by the host's names, a named tuple;
  * `is_additive(typeof(d))`: whether g is 1 everywhere;
  * `factor(d, k, v)`, `factor_slope(d, k, v)`, `factor_curvature(d, k, v)`: g, g′ and g″;
  * `factor_tangent(d, dd, k, v)`: (Σ ∂g/∂p · dp, Σ ∂g′/∂p · dp);
  * `factor_adjoint!(d̄, d, k, v, bar, slope_bar)`: adds bar · ∂g/∂p + slope_bar · ∂g′/∂p to the gradients d̄.
"""
abstract type Diffusion <: ModelPart end

is_additive(::Type{<:Diffusion}) = false
