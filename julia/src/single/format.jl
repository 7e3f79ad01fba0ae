# What the core knows of the format of its numbers: `paths/double.jl` for single precision.

"""As many bits as a number has."""
const Word = UInt32

const MANTISSA_BITS = 23
const MANTISSA_MASK = 0x007fffff
const EXPONENT_BIAS = Word(127)
const BITS_OF_ONE = 0x3f800000
const LAST_BIT_IS_ONE = 2.0f0^23
const TO_SIGN = 30

const ROUNDING_SHIFT = 1.5f0 * 2.0f0^23

const EXP_RANGE = (-87.0f0, 88.0f0)
const LOG_LEAST = floatmin(Float32)
const SINCOS_MOST = 1.0f4

const EXP_TAYLOR = ntuple(n -> Float32(1 / factorial(n - 1)), 8)
const ATANH_TAYLOR = ntuple(n -> Float32(2 / (2n - 1)), 6)
const COS_TAYLOR = ntuple(n -> Float32((-1)^(n - 1) / factorial(2n - 2)), 6)
const SIN_TAYLOR = ntuple(n -> Float32((-1)^(n - 1) / factorial(2n - 1)), 6)
const LN2_HIGH = 0.693359375f0          # of 9 bits, so that any exponent's multiple is exact
const LN2_LOW = Float32(log(big(2)) - big(LN2_HIGH))
# Parts of 8 and 11 bits: multiples up to 2^13 of the first two are exact.
const HALF_PI = (1.5703125f0, 4.837513f-4, Float32(big(pi) / 2 - big(1.5703125f0) - big(4.837513f-4)))

"""
The number in double precision, rounded to a number in the open interval (0, 1): near 0 it has all of its leading bits.
"""
@inline uniform(word::UInt64) =
    min(muladd(Float32(reinterpret(Int64, word >> 12)), 2.0f0^-52, 2.0f0^-53), prevfloat(1.0f0))
