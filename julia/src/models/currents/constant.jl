"""A current that does not change in time."""
struct ConstantCurrent{V<:AbstractVector{Float64}} <: InputCurrent
    input_current::V
end

CURRENTS["constant"] = (n, knots) -> ConstantCurrent(zeros(n))

parameter_arrays(c::ConstantCurrent) = (input_current = c.input_current,)

@inline current(c::ConstantCurrent, k, t) = @inbounds c.input_current[k]
@inline current_rate(c::ConstantCurrent, k, t) = 0.0
@inline current_tangent(c::ConstantCurrent, dc::ConstantCurrent, k, t) = @inbounds dc.input_current[k]
@inline current_adjoint!(c̄::ConstantCurrent, c::ConstantCurrent, k, t, bar) = @inbounds c̄.input_current[k] += bar
