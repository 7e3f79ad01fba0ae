# What the core knows of the format of its numbers, which are of double precision; `single/format.jl` says the same of
# single precision.

"""As many bits as a number has."""
const Word = UInt64

const MANTISSA_BITS = 52
const MANTISSA_MASK = 0x000fffffffffffff
const EXPONENT_BIAS = Word(1023)
const BITS_OF_ONE = 0x3ff0000000000000
const LAST_BIT_IS_ONE = 0x1p52          # the first number whose last bit is 1
const TO_SIGN = 62                      # as far is the second bit from that of the sign

# Adding and subtracting 1.5·2^52 rounds to the nearest integer; before the subtraction the low bits hold that integer.
const ROUNDING_SHIFT = 0x1.8p52

const EXP_RANGE = (-708.0, 709.0)       # of arguments
const LOG_LEAST = 2.3e-308              # what is less is taken for 0
const SINCOS_MOST = 1e6

const EXP_TAYLOR = ntuple(n -> 1 / factorial(n - 1), 14)
const ATANH_TAYLOR = ntuple(n -> 2 / (2n - 1), 12)
const COS_TAYLOR = ntuple(n -> (-1)^(n - 1) / factorial(2n - 2), 10)
const SIN_TAYLOR = ntuple(n -> (-1)^(n - 1) / factorial(2n - 1), 10)
const LN2_HIGH = 0x1.62e42fefp-1        # leading bits of log 2, so that a multiple up to 2^20 is exact
const LN2_LOW = Float64(log(big(2)) - big(LN2_HIGH))
# π/2 in parts, so that multiples up to 2^20 of the first two are exact.
const HALF_PI = (0x1.921fb544p0, 0x1.0b4611a6p-34, Float64(big(π) / 2 - big(0x1.921fb544p0) - big(0x1.0b4611a6p-34)))

"""Uniform in the open interval (0, 1) on a grid of 2^-52, from the 52 leading bits of a word."""
@inline uniform(word::UInt64) = from_bits((word >> 12) | BITS_OF_ONE) - (1.0 - 0x1p-53)
