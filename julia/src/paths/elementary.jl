# exp, log and sin/cos without branches or tables, so that loops over neurons become vector instructions; Base's
# versions do not vectorise. All are Taylor polynomials on a reduced argument, long enough that rounding dominates
# (about one unit in the last place). What they know of the number format is in `double.jl`.

bits(x::Float64) = reinterpret(Word, x)
from_bits(x::Word) = reinterpret(Float64, x)

# n for 2^n ≤ x < 2^(n + 1); very low where x is 0.
@inline exponent_of(x::Float64) =
    Int((bits(x) >> MANTISSA_BITS) & (2 * EXPONENT_BIAS + Word(1))) - Int(EXPONENT_BIAS)

"""How often `whole` is to be halved to give `part`; none of the numbers from 0 where that is impossible."""
@inline function halvings(whole::Float64, part::Float64)
    difference = bits(whole) % Int - bits(part) % Int
    return difference & Int(MANTISSA_MASK) == 0 ? difference >> MANTISSA_BITS : -1     # only the exponents differ
end

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

exp(x) for x in `EXP_RANGE`, to which the argument is clamped.
"""
@inline function fast_exp(x::Float64)
    x = ifelse(x < EXP_RANGE[1], EXP_RANGE[1], ifelse(x > EXP_RANGE[2], EXP_RANGE[2], x))
    shifted = muladd(x, 1 / log(2.0), ROUNDING_SHIFT)
    n = shifted - ROUNDING_SHIFT
    r = muladd(n, -LN2_LOW, muladd(n, -LN2_HIGH, x))
    power = from_bits((bits(shifted) + EXPONENT_BIAS) << MANTISSA_BITS)
    return polynomial(r, EXP_TAYLOR) * power
end

"""
    fast_log(x)

log(x) for a positive, normal x.
"""
@inline function fast_log(x::Float64)
    mantissa = from_bits((bits(x) & MANTISSA_MASK) | BITS_OF_ONE)
    # An exponent e, put into the low bits of the first number whose last bit is 1, is that number plus e.
    power = from_bits((bits(x) >> MANTISSA_BITS) | bits(LAST_BIT_IS_ONE)) - (LAST_BIT_IS_ONE + Float64(EXPONENT_BIAS))
    large = mantissa > sqrt(2.0)
    mantissa = ifelse(large, 0.5 * mantissa, mantissa)
    power = ifelse(large, power + 1.0, power)
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    return muladd(power, LN2_HIGH, muladd(power, LN2_LOW, ratio * polynomial(ratio * ratio, ATANH_TAYLOR)))
end

"""
    fast_sincos(x)

(sin x, cos x); about one unit in the last place for |x| up to `SINCOS_MOST`.
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
@inline function sincos_in_quarter(x::Float64, quarter::Word)
    square = x * x
    s, c = x * polynomial(square, SIN_TAYLOR), polynomial(square, COS_TAYLOR)
    odd = quarter & 1 == 1
    sine, cosine = ifelse(odd, c, s), ifelse(odd, s, c)
    of_sine, of_cosine = (quarter & Word(2)) << TO_SIGN, ((quarter + Word(1)) & Word(2)) << TO_SIGN     # their signs
    return from_bits(bits(sine) ⊻ of_sine), from_bits(bits(cosine) ⊻ of_cosine)
end
