# The functions of formulas (`Formula`, `FormulaIntensity`, `FormulaCurrent`), for numbers with tangents and without.
# None throws, so that loops over neurons become vector instructions: outside its domain a function is NaN, which the
# run reports.

@inline exp_of(x) = fast_exp(x)
@inline log_of(x::Float64) =
    ifelse(x >= LOG_LEAST, fast_log(x), ifelse(x < 0.0, NaN, ifelse(x >= 0.0, -Inf, x)))
@inline sqrt_of(x::Float64) = Core.Intrinsics.sqrt_llvm(x)   # `@fastmath sqrt` promises that there is no NaN
@inline tanh_of(x::Float64) = (e = fast_exp(2.0 * min_of(max_of(x, -20.0), 20.0)); (e - 1.0) / (e + 1.0))
@inline sin_of(x::Float64) = fast_sincos(x)[1]
@inline cos_of(x::Float64) = fast_sincos(x)[2]
@inline abs_of(x::Float64) = abs(x)
@inline min_of(x::Float64, y::Float64) = ifelse((y < x) | isnan(y), y, x)
@inline max_of(x::Float64, y::Float64) = ifelse((y > x) | isnan(y), y, x)
@inline sign_of(x) = ifelse(value(x) > 0.0, 1.0, ifelse(value(x) < 0.0, -1.0, 0.0))
@inline step_of(x) = ifelse(value(x) > 0.0, 1.0, ifelse(value(x) < 0.0, 0.0, 0.5))

"""A product that is 0 where one of the two is, also where the other is infinite or undefined."""
@inline guarded(x::Float64, y::Float64) = ifelse((x == 0.0) | (y == 0.0), 0.0, x * y)

"""x where the condition holds, else y."""
@inline choose(condition::Bool, x::Float64, y::Float64) = ifelse(condition, x, y)
@inline choose(condition::Bool, x, y) = Dual(
    ifelse(condition, value(x), value(y)), ifelse(condition, tangent(x), tangent(y)),
)

@inline log_of(x::Dual) = Dual(log_of(x.value), x.tangent / x.value)
@inline sqrt_of(x::Dual) = (root = sqrt_of(x.value); Dual(root, guarded(0.5 / root, x.tangent)))
@inline tanh_of(x::Dual) = (at = tanh_of(x.value); Dual(at, (1.0 - at * at) * x.tangent))
@inline sin_of(x::Dual) = ((s, c) = fast_sincos(x.value); Dual(s, c * x.tangent))
@inline cos_of(x::Dual) = ((s, c) = fast_sincos(x.value); Dual(c, -(s * x.tangent)))

# At a kink the slope is the mean of those on both sides.
@inline abs_of(x::Dual) = Dual(abs_of(x.value), sign_of(x) * x.tangent)
@inline min_of(x, y) = Dual(min_of(value(x), value(y)), of_smaller(value(x), tangent(x), value(y), tangent(y)))
@inline max_of(x, y) = Dual(max_of(value(x), value(y)), of_smaller(value(y), tangent(x), value(x), tangent(y)))

"""a where x < y, b where x > y, and their mean where these are equal."""
@inline of_smaller(x, a, y, b) = ifelse(x < y, a, ifelse(x > y, b, 0.5 * (a + b)))

"""x^n for a whole number n."""
@inline integer_power(x, ::Val{1}) = x
@inline integer_power(x, ::Val{N}) where {N} =
    N < 0 ? 1.0 / integer_power(x, Val(-N)) :
    iseven(N) ? (half = integer_power(x, Val(N ÷ 2)); half * half) : x * integer_power(x, Val(N - 1))

"""x^y; NaN for a negative x unless y is whole."""
@inline function power_of(x::Float64, y::Float64)
    magnitude, half = fast_exp(y * log_of(abs(x))), 0.5 * y
    of_negative = ifelse(floor(y) != y, NaN, ifelse(floor(half) == half, magnitude, -magnitude))
    at_zero = ifelse(y > 0.0, 0.0, Inf)
    return ifelse(y == 0.0, 1.0, ifelse(x == 0.0, at_zero, ifelse(x > 0.0, magnitude, of_negative)))
end

"""x^y·log(x), the derivative of x^y by y; 0 for x = 0 and y > 0."""
@inline power_log(x::Float64, y::Float64) = ifelse((x == 0.0) & (y > 0.0), 0.0, power_of(x, y) * log_of(x))

@inline function power_of(x, y)
    a, b = value(x), value(y)
    by_base = guarded(guarded(b, power_of(a, b - 1.0)), tangent(x))
    return Dual(power_of(a, b), by_base + guarded(power_log(a, b), tangent(y)))
end

# --- code of the host's -----------------------------------------------------------------------------------------------

@entry_point function ssnn_define(name::Ptr{UInt8}, source::Ptr{UInt8})
    definition = unsafe_string(name), unsafe_string(source)
    include_string(@__MODULE__, definition[2], definition[1])
    push!(DEFINITIONS, definition)
end
