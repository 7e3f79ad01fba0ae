"""
    FormulaIntensity{Key,P}

An intensity of the user's own: the host's code (`ssnn_define`) has its methods for this `Key`.
"""
struct FormulaIntensity{Key,P} <: Intensity
    values::NTuple{P,Vector{Float64}}
end

FormulaIntensity{Key}(n::Integer) where {Key} = (
    P = length(coefficient_names(FormulaIntensity{Key})); FormulaIntensity{Key,P}(ntuple(_ -> zeros(n), P))
)

parameter_arrays(λ::FormulaIntensity{Key}) where {Key} =
    NamedTuple{coefficient_names(FormulaIntensity{Key})}(λ.values)

@inline coefficients_at(λ::FormulaIntensity, k) = map(a -> (@inbounds a[k]), λ.values)
