"""
    FormulaCurrent{Key,T}

An input current of the user's own: the host's code (`ssnn_define`) has its methods for this `Key`.
"""
struct FormulaCurrent{Key,T<:Tuple} <: InputCurrent
    values::T                       # a vector per parameter
end

FormulaCurrent{Key}(values::T) where {Key,T<:Tuple} = FormulaCurrent{Key,T}(values)
FormulaCurrent{Key}(n::Integer) where {Key} =
    FormulaCurrent{Key}(ntuple(_ -> zeros(n), length(coefficient_names(FormulaCurrent{Key}))))

rebuilt(::FormulaCurrent{Key}, values) where {Key} = FormulaCurrent{Key}(values)

parameter_arrays(c::FormulaCurrent{Key}) where {Key} = NamedTuple{coefficient_names(FormulaCurrent{Key})}(c.values)

@inline coefficients_at(c::FormulaCurrent, k) = map(a -> (@inbounds a[k]), c.values)
