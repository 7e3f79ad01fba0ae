"""A number with its derivative in one direction, so that a formula written once gives its tangent too."""
struct Dual
    value::Float64
    tangent::Float64
end

Base.convert(::Type{Dual}, x::Float64) = Dual(x, 0.0)

Base.:+(x::Dual, y::Dual) = Dual(x.value + y.value, x.tangent + y.tangent)
Base.:+(x::Dual, y::Float64) = Dual(x.value + y, x.tangent)
Base.:+(x::Float64, y::Dual) = y + x
Base.:-(x::Dual) = Dual(-x.value, -x.tangent)
Base.:-(x::Dual, y::Dual) = Dual(x.value - y.value, x.tangent - y.tangent)
Base.:-(x::Dual, y::Float64) = Dual(x.value - y, x.tangent)
Base.:-(x::Float64, y::Dual) = Dual(x - y.value, -y.tangent)
Base.:*(x::Dual, y::Dual) = Dual(x.value * y.value, x.tangent * y.value + x.value * y.tangent)
Base.:*(x::Dual, y::Float64) = Dual(x.value * y, x.tangent * y)
Base.:*(x::Float64, y::Dual) = y * x
Base.:/(x::Dual, y::Float64) = Dual(x.value / y, x.tangent / y)
Base.:/(x::Float64, y::Dual) = (ratio = x / y.value; Dual(ratio, -(ratio * y.tangent) / y.value))
Base.:/(x::Dual, y::Dual) = (ratio = x.value / y.value; Dual(ratio, (x.tangent - ratio * y.tangent) / y.value))

@inline fast_exp(x::Dual) = (power = fast_exp(x.value); Dual(power, power * x.tangent))

"""A number without its tangent."""
@inline value(x::Float64) = x
@inline value(x::Dual) = x.value
"""The tangent of a number, 0 of a constant."""
@inline tangent(x::Float64) = 0.0
@inline tangent(x::Dual) = x.tangent
