"""
g(v) = offset + slope·v: geometric noise (offset 0), or that of a fluctuating conductance (slope −1, offset its reversal
potential).
"""
struct AffineDiffusion{V<:AbstractVector{Float64}} <: Diffusion
    offset::V
    slope::V
end

DIFFUSIONS["affine"] = n -> AffineDiffusion(zeros(n), zeros(n))

parameter_arrays(d::AffineDiffusion) = (diffusion_offset = d.offset, diffusion_slope = d.slope)

@inline factor(d::AffineDiffusion, k, v) = @inbounds d.offset[k] + d.slope[k] * v
@inline factor_slope(d::AffineDiffusion, k, v) = @inbounds d.slope[k]
@inline factor_curvature(d::AffineDiffusion, k, v) = 0.0
@inline factor_tangent(d::AffineDiffusion, dd::AffineDiffusion, k, v) =
    @inbounds (dd.offset[k] + dd.slope[k] * v, dd.slope[k])

@inline function factor_adjoint!(d̄::AffineDiffusion, d::AffineDiffusion, k, v, bar, slope_bar)
    @inbounds d̄.offset[k] += bar
    @inbounds d̄.slope[k] += bar * v + slope_bar
end
