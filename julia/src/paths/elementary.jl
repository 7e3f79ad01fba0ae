# exp, log and sin/cos without branches or tables, so that loops over neurons become vector instructions; Base's
# versions do not vectorise. All are Taylor polynomials on a reduced argument, long enough that rounding dominates
# (about one unit in the last place).

bits(x::Float64) = reinterpret(UInt64, x)
double(x::UInt64) = reinterpret(Float64, x)

# Adding and subtracting 1.5·2^52 rounds to the nearest integer; before the subtraction the low bits hold that integer.
const ROUNDING_SHIFT = 0x1.8p52

const EXP_TAYLOR = ntuple(n -> 1 / factorial(n - 1), 14)
const ATANH_TAYLOR = ntuple(n -> 2 / (2n - 1), 12)
const COS_TAYLOR = ntuple(n -> (-1)^(n - 1) / factorial(2n - 2), 10)
const SIN_TAYLOR = ntuple(n -> (-1)^(n - 1) / factorial(2n - 1), 10)
const LN2_HIGH = 0x1.62e42fefp-1              # leading bits of log 2, so that a multiple up to 2^20 is exact
const LN2_LOW = Float64(log(big(2)) - big(LN2_HIGH))

"""
    polynomial(x, coefficients)

Like `evalpoly`, in two interleaved Horner chains: half the latency, which is what a loop over steps with few neurons
waits for.
"""
@generated function polynomial(x, coefficients::NTuple{N,Float64}) where {N}
    link(n, tail) = tail === nothing ? :(coefficients[$n]) : :(muladd(square, $tail, coefficients[$n]))
    chain(start) = foldr(link, start:2:N; init = nothing)
    return :(square = x * x; muladd(x, $(chain(2)), $(chain(1))))
end

"""
    fast_exp(x)

exp(x) for −708 ≤ x ≤ 709; the argument is clamped to that range.
"""
@inline function fast_exp(x::Float64)
    x = ifelse(x < -708.0, -708.0, ifelse(x > 709.0, 709.0, x))
    shifted = muladd(x, 1 / log(2.0), ROUNDING_SHIFT)
    n = shifted - ROUNDING_SHIFT
    r = muladd(n, -LN2_LOW, muladd(n, -LN2_HIGH, x))
    power = double((bits(shifted) + UInt64(1023)) << 52)
    return polynomial(r, EXP_TAYLOR) * power
end

"""
    fast_log(x)

log(x) for a positive, normal x.
"""
@inline function fast_log(x::Float64)
    mantissa = double((bits(x) & 0x000fffffffffffff) | 0x3ff0000000000000)
    # An exponent e, put into the low bits of 2^52, is the number 2^52 + e.
    power = double((bits(x) >> 52) | 0x4330000000000000) - (0x1p52 + 1023.0)
    large = mantissa > sqrt(2.0)
    mantissa = ifelse(large, 0.5 * mantissa, mantissa)
    power = ifelse(large, power + 1.0, power)
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    return muladd(power, LN2_HIGH, muladd(power, LN2_LOW, ratio * polynomial(ratio * ratio, ATANH_TAYLOR)))
end

# π/2 in parts, so that multiples up to 2^20 of the first two are exact.
const HALF_PI = (0x1.921fb544p0, 0x1.0b4611a6p-34, Float64(big(π) / 2 - big(0x1.921fb544p0) - big(0x1.0b4611a6p-34)))

"""
    fast_sincos(x)

(sin x, cos x); about one unit in the last place for |x| up to 10⁶.
"""
@inline function fast_sincos(x::Float64)
    shifted = muladd(x, 2 / π, ROUNDING_SHIFT)
    quarters = shifted - ROUNDING_SHIFT
    r = muladd(quarters, -HALF_PI[3], muladd(quarters, -HALF_PI[2], muladd(quarters, -HALF_PI[1], x)))
    return sincos_in_quarter(r, bits(shifted))
end

"""
    fast_sincos_turn(u)

(sin 2πu, cos 2πu) for 0 ≤ u ≤ 1.
"""
@inline function fast_sincos_turn(u::Float64)
    shifted = muladd(4.0, u, ROUNDING_SHIFT)
    quarter = bits(shifted)
    return sincos_in_quarter(muladd(4.0, u, -(shifted - ROUNDING_SHIFT)) * (π / 2), quarter)
end

"""(sin, cos) of x, |x| ≤ π/4, after as many quarters of a turn as the lowest bits of `quarter` say."""
@inline function sincos_in_quarter(x::Float64, quarter::UInt64)
    square = x * x
    s, c = x * polynomial(square, SIN_TAYLOR), polynomial(square, COS_TAYLOR)
    odd = quarter & 1 == 1
    sine, cosine = ifelse(odd, c, s), ifelse(odd, s, c)
    return double(bits(sine) ⊻ ((quarter & 2) << 62)), double(bits(cosine) ⊻ (((quarter + 1) & 2) << 62))
end
