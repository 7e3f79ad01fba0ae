"""
    FormulaCurrent{Key,P}

An input current of the user's own: the host's code (`ssnn_define`) has its methods for this `Key`.
"""
struct FormulaCurrent{Key,P} <: InputCurrent
    values::NTuple{P,Vector{Float64}}
end

FormulaCurrent{Key}(n::Integer) where {Key} = (
    P = length(coefficient_names(FormulaCurrent{Key})); FormulaCurrent{Key,P}(ntuple(_ -> zeros(n), P))
)

parameter_arrays(c::FormulaCurrent{Key}) where {Key} = NamedTuple{coefficient_names(FormulaCurrent{Key})}(c.values)

@inline coefficients_at(c::FormulaCurrent, k) = map(a -> (@inbounds a[k]), c.values)
