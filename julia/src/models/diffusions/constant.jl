"""Additive noise: g(v) = 1."""
struct ConstantDiffusion <: Diffusion end

DIFFUSIONS["constant"] = n -> ConstantDiffusion()

is_additive(::Type{ConstantDiffusion}) = true
parameter_arrays(::ConstantDiffusion) = NamedTuple()

@inline factor(::ConstantDiffusion, k, v) = 1.0
@inline factor_slope(::ConstantDiffusion, k, v) = 0.0
@inline factor_curvature(::ConstantDiffusion, k, v) = 0.0
@inline factor_tangent(::ConstantDiffusion, ::ConstantDiffusion, k, v) = (0.0, 0.0)
@inline factor_adjoint!(::ConstantDiffusion, ::ConstantDiffusion, k, v, bar, slope_bar) = nothing
