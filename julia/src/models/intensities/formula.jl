"""
    FormulaIntensity{Key,T}

An intensity of the user's own: the host's code (`ssnn_define`) has its methods for this `Key`.
"""
struct FormulaIntensity{Key,T<:Tuple} <: Intensity
    values::T                       # a vector per parameter
end

FormulaIntensity{Key}(values::T) where {Key,T<:Tuple} = FormulaIntensity{Key,T}(values)
FormulaIntensity{Key}(n::Integer) where {Key} =
    FormulaIntensity{Key}(ntuple(_ -> zeros(n), length(coefficient_names(FormulaIntensity{Key}))))

rebuilt(::FormulaIntensity{Key}, values) where {Key} = FormulaIntensity{Key}(values)

parameter_arrays(λ::FormulaIntensity{Key}) where {Key} =
    NamedTuple{coefficient_names(FormulaIntensity{Key})}(λ.values)

@inline coefficients_at(λ::FormulaIntensity, k) = map(a -> (@inbounds a[k]), λ.values)
