# Counter-based random numbers: every draw is a pure function of (seed, sample) and a counter, see docs/numerics.md.

const THREEFRY_ROTATIONS = (16, 42, 12, 31, 16, 32, 24, 21)
const THREEFRY_PARITY = 0x1bd11bdaa9fc1a22

@inline rotate_left(x::UInt64, n::Int) = (x << n) | (x >> (64 - n))

"""
    threefry(key, counter) -> (UInt64, UInt64)

Threefry-2x64 with 20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
"""
@inline function threefry(key::NTuple{2,UInt64}, counter::NTuple{2,UInt64})
    keys = (key[1], key[2], key[1] ⊻ key[2] ⊻ THREEFRY_PARITY)
    a, b = counter[1] + keys[1], counter[2] + keys[2]
    Base.Cartesian.@nexprs 5 group -> begin
        Base.Cartesian.@nexprs 4 round -> begin
            a += b
            b = rotate_left(b, THREEFRY_ROTATIONS[mod(4 * (group - 1) + round - 1, 8)+1]) ⊻ a
        end
        a += keys[mod(group, 3)+1]
        b += keys[mod(group + 1, 3)+1] + UInt64(group)
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

"""Uniform in the open interval (0, 1) on a grid of 2^-52, from the 52 leading bits of a word."""
@inline uniform(word::UInt64) = double((word >> 12) | 0x3ff0000000000000) - (1.0 - 0x1p-53)

"""Two independent standard normals from one block, by Box and Muller."""
@inline function normal_pair(key::NTuple{2,UInt64}, counter::NTuple{2,UInt64})
    word1, word2 = threefry(key, counter)
    radius = @fastmath sqrt(-2.0 * fast_log(uniform(word1)))    # sqrt's own check of the sign would stop vectorisation
    sine, cosine = fast_sincos_turn(uniform(word2))
    return radius * cosine, radius * sine
end

"""
    threshold(key, neuron, spikes)

log U for the threshold that `neuron` (from 0) has after its first `spikes` spikes.
"""
threshold(key::NTuple{2,UInt64}, neuron::Integer, spikes::Integer) =
    fast_log(uniform(first(threefry(key, (UInt64(spikes), counter_word(THRESHOLD, 0, neuron))))))

"""
Standard normals of one sample for a window of consecutive steps, made in bulk: one block of the generator serves an even step and the odd
one after it. Moves along with the step that is asked for, in any direction.
"""
mutable struct NoiseWindow
    key::NTuple{2,UInt64}
    first_pair::Int             # a pair is two steps; negative: nothing made yet
    pairs::Int                  # how many the window holds
    per_pair::Int               # neurons × components
    words::Vector{UInt64}       # of every draw in the window: second word of its counter …
    pair::Vector{UInt64}        # … and its pair, counted from the window's first
    even::Vector{Float64}
    odd::Vector{Float64}
end

# Long enough to fill vector registers, short enough that a sample that stops early wastes little.
const WINDOW_DRAWS = 32

function NoiseWindow(num_neurons::Int, num_components::Int, purpose::Purpose = INCREMENT)
    per_pair = num_neurons * num_components
    pairs = max(1, WINDOW_DRAWS ÷ max(1, per_pair))
    draws = [(counter_word(purpose, c - 1, k - 1), UInt64(p - 1)) for k in 1:num_neurons, c in 1:num_components, p in 1:pairs]
    count = length(draws)
    return NoiseWindow((UInt64(0), UInt64(0)), -1, pairs, per_pair, vec(first.(draws)), vec(last.(draws)), zeros(count), zeros(count))
end

"""Start the noise of another sample."""
function reset!(window::NoiseWindow, key::NTuple{2,UInt64})
    window.key = key
    window.first_pair = -1
    return window
end

"""
    normals!(window, step) -> (array, offset)

The normals of `step` (from 0): component c of neuron k is `array[offset + k + (c − 1)·N]`.
"""
@inline function normals!(window::NoiseWindow, step::Int)
    pair = step >> 1
    if window.first_pair < 0 || !(0 <= pair - window.first_pair < window.pairs)
        fill_window!(window, pair - mod(pair, window.pairs))
    end
    return (iseven(step) ? window.even : window.odd), (pair - window.first_pair) * window.per_pair
end

"""How many steps a window holds, and the first step after it."""
window_steps(window::NoiseWindow) = 2 * window.pairs
window_stop(window::NoiseWindow) = 2 * (window.first_pair + window.pairs)

function fill_window!(window::NoiseWindow, first_pair::Int)
    window.first_pair = first_pair
    words, pair, even, odd, key = window.words, window.pair, window.even, window.odd, window.key
    start = UInt64(first_pair)
    @inbounds @simd ivdep for j in eachindex(words, pair, even, odd)
        z_even, z_odd = normal_pair(key, (start + pair[j], words[j]))
        even[j] = z_even
        odd[j] = z_odd
    end
    return window
end
