# The functions of formulas (`Formula`, `FormulaIntensity`, `FormulaCurrent`), for numbers and for numbers with tangents.
# None throws, so that loops over neurons become vector instructions: outside its domain a function is NaN, which the
# run reports.

@inline exp_of(x) = fast_exp(x)
@inline log_of(x::Float64) =
    ifelse(x >= 2.3e-308, fast_log(x), ifelse(x < 0.0, NaN, ifelse(x >= 0.0, -Inf, x)))
@inline sqrt_of(x::Float64) = @fastmath sqrt(x)
@inline tanh_of(x::Float64) = (e = fast_exp(2.0 * min_of(max_of(x, -20.0), 20.0)); (e - 1.0) / (e + 1.0))
@inline sin_of(x::Float64) = fast_sincos(x)[1]
@inline cos_of(x::Float64) = fast_sincos(x)[2]
@inline abs_of(x) = choose(value(x) < 0.0, -x, x)
@inline min_of(x, y) = choose(value(y) < value(x), y, x)
@inline max_of(x, y) = choose(value(y) > value(x), y, x)
@inline sign_of(x) = ifelse(value(x) > 0.0, 1.0, ifelse(value(x) < 0.0, -1.0, 0.0))
@inline step_of(x) = ifelse(value(x) > 0.0, 1.0, ifelse(value(x) < 0.0, 0.0, 0.5))

@inline choose(condition::Bool, x::Float64, y::Float64) = ifelse(condition, x, y)
@inline choose(condition::Bool, x, y) = Dual(
    ifelse(condition, value(x), value(y)), ifelse(condition, tangent(x), tangent(y)),
)

@inline log_of(x::Dual) = Dual(log_of(x.value), x.tangent / x.value)
@inline sqrt_of(x::Dual) = (root = sqrt_of(x.value); Dual(root, 0.5 * x.tangent / root))
@inline tanh_of(x::Dual) = (at = tanh_of(x.value); Dual(at, (1.0 - at * at) * x.tangent))
@inline sin_of(x::Dual) = ((s, c) = fast_sincos(x.value); Dual(s, c * x.tangent))
@inline cos_of(x::Dual) = ((s, c) = fast_sincos(x.value); Dual(c, -(s * x.tangent)))

"""x^n for a whole number n."""
@inline integer_power(x, ::Val{1}) = x
@inline integer_power(x, ::Val{N}) where {N} =
    N < 0 ? 1.0 / integer_power(x, Val(-N)) :
    iseven(N) ? (half = integer_power(x, Val(N ÷ 2)); half * half) : x * integer_power(x, Val(N - 1))

"""x^y for x > 0, and 0 for x = 0 and y > 0; NaN for a negative x."""
@inline power_of(x::Float64, y::Float64) = ifelse((x == 0.0) & (y > 0.0), 0.0, fast_exp(y * log_of(x)))
@inline function power_of(x, y)
    at = power_of(value(x), value(y))
    change = value(y) * power_of(value(x), value(y) - 1.0) * tangent(x)
    tangent(y) == 0.0 && return Dual(at, change)
    return Dual(at, change + at * log_of(value(x)) * tangent(y))
end

# --- code of the host's -----------------------------------------------------------------------------------------------

@entry_point function ssnn_define(name::Ptr{UInt8}, source::Ptr{UInt8})
    include_string(@__MODULE__, unsafe_string(source), unsafe_string(name))
end
