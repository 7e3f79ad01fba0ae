"""
An input current I(t). Its fields hold parameters of all neurons, and the same type holds their tangents and gradients.
A file in `models/currents/` defines a subtype, registers a constructor `(num_neurons, knots) -> current` in `CURRENTS`,
and gives it, for neuron k at time t,

  * `parameter_arrays(c)`: its differentiable parameters by the host's names, a named tuple; a matrix is (knot, neuron);
  * `current(c, k, t)` and `current_rate(c, k, t)`: I and ∂I/∂t;
  * `current_tangent(c, dc, k, t)`: Σ ∂I/∂p · dp;
  * `current_adjoint!(c̄, c, k, t, bar)`: adds bar · ∂I/∂p to the gradients c̄.
"""
abstract type InputCurrent <: ModelPart end
