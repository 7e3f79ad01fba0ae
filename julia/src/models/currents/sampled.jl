"""
A current given by its values at knots: linear between them, or held from one to the next; constant beyond both ends.
"""
struct SampledCurrent{Linear,V<:AbstractVector{Float64},A<:AbstractMatrix{Float64}} <: InputCurrent
    knots::V
    values::A                       # (knot, neuron)
end

SampledCurrent{Linear}(knots::V, values::A) where {Linear,V,A} = SampledCurrent{Linear,V,A}(knots, values)

rebuilt(::SampledCurrent{Linear}, knots, values) where {Linear} = SampledCurrent{Linear}(knots, values)

CURRENTS["sampled_linear"] = (n, knots) -> SampledCurrent{true}(knots, zeros(length(knots), n))
CURRENTS["sampled_previous"] = (n, knots) -> SampledCurrent{false}(knots, zeros(length(knots), n))

parameter_arrays(c::SampledCurrent) = (input_current = c.values,)

# The knot at or before t, the next one, and how far t is between them (0 where the earlier value holds).
@inline function bracket(c::SampledCurrent{Linear}, t) where {Linear}
    last_knot = length(c.knots)
    left = searchsortedlast(c.knots, t)
    left == 0 && return 1, 1, 0.0
    (left == last_knot || !Linear) && return left, left, 0.0
    @inbounds return left, left + 1, (t - c.knots[left]) / (c.knots[left+1] - c.knots[left])
end

"""The value at t of neuron k's column of a table over knots."""
@inline function interpolate(c::SampledCurrent, table, k, t)
    left, right, weight = bracket(c, t)
    return @inbounds (1.0 - weight) * table[left, k] + weight * table[right, k]
end

@inline current(c::SampledCurrent, k, t) = interpolate(c, c.values, k, t)
@inline current_tangent(c::SampledCurrent, dc::SampledCurrent, k, t) = interpolate(c, dc.values, k, t)

@inline function current_rate(c::SampledCurrent, k, t)
    left, right, _ = bracket(c, t)
    left == right && return 0.0
    return @inbounds (c.values[right, k] - c.values[left, k]) / (c.knots[right] - c.knots[left])
end

@inline function current_adjoint!(c̄::SampledCurrent, c::SampledCurrent, k, t, bar)
    left, right, weight = bracket(c, t)
    @inbounds c̄.values[left, k] += (1.0 - weight) * bar
    @inbounds c̄.values[right, k] += weight * bar
end
