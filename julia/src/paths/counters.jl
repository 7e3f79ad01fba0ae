# Counter-based random numbers: every draw is a pure function of (seed, sample) and a counter, see docs/numerics.md.

const THREEFRY_ROTATIONS = (16, 42, 12, 31, 16, 32, 24, 21)
const THREEFRY_PARITY = 0x1bd11bdaa9fc1a22

@inline rotate_left(x::UInt64, n::Int) = (x << n) | (x >> (64 - n))

"""
    threefry(key, counter) -> (UInt64, UInt64)

Threefry-2x64 with 20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
"""
@inline function threefry(key::NTuple{2,UInt64}, counter::NTuple{2,UInt64})
    round_keys = (key[1], key[2], key[1] ⊻ key[2] ⊻ THREEFRY_PARITY)
    a, b = counter[1] + round_keys[1], counter[2] + round_keys[2]
    Base.Cartesian.@nexprs 5 group -> begin
        Base.Cartesian.@nexprs 4 turn -> begin
            a += b
            b = rotate_left(b, THREEFRY_ROTATIONS[mod(4 * (group - 1) + turn - 1, 8)+1]) ⊻ a
        end
        a += round_keys[mod(group, 3)+1]
        b += round_keys[mod(group + 1, 3)+1] + UInt64(group)
    end
    return a, b
end

"""What a draw is for; part of the counter, so that no two uses share numbers."""
@enum Purpose::UInt64 INCREMENT = 0 THRESHOLD = 1 DYADIC_NODE = 2 LAST_STEP = 3 LEVY_AREA = 4

"""
    counter_word(purpose, component, neuron, node = 0)

Second word of the counter: which draw of one neuron this is. `component` and `neuron` count from 0.
"""
@inline counter_word(purpose::Purpose, component::Integer, neuron::Integer, node::Integer = 0) =
    UInt64(neuron) | (UInt64(component) << 32) | (UInt64(purpose) << 36) | (UInt64(node) << 40)

"""Two independent standard normals from one block, by Box and Muller."""
@inline function normal_pair(key::NTuple{2,UInt64}, counter::NTuple{2,UInt64})
    word1, word2 = threefry(key, counter)
    radius = @fastmath sqrt(-2.0 * fast_log(uniform(word1)))    # sqrt's own check of the sign would stop vectorisation
    sine, cosine = fast_sincos_turn(uniform(word2))
    return radius * cosine, radius * sine
end

"""
    threshold(key, neuron, spikes, hazard = 0)

log U for the threshold that a hazard of `neuron` (both from 0) has after its first `spikes` spikes.
"""
threshold(key::NTuple{2,UInt64}, neuron::Integer, spikes::Integer, hazard::Integer = 0) =
    fast_log(uniform(first(threefry(key, (UInt64(spikes), counter_word(THRESHOLD, hazard, neuron))))))
