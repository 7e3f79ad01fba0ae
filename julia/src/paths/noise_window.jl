# Standard normals in bulk.

"""
Standard normals of one sample for a window of consecutive steps, made in bulk: one block of the generator serves an
even step and the odd one after it. Moves along with the step that is asked for, in any direction.
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

NoiseWindow(num_neurons::Int, num_components::Int, purpose::Purpose = INCREMENT) =
    NoiseWindow(1:num_neurons, num_components, purpose)

function NoiseWindow(neurons::UnitRange{Int}, num_components::Int, purpose::Purpose)
    per_pair = length(neurons) * num_components
    held = max(1, WINDOW_DRAWS ÷ max(1, per_pair))
    components = 1:num_components
    words = [counter_word(purpose, c - 1, k - 1) for k in neurons, c in components, p in 1:held]
    pair = [UInt64(p - 1) for k in neurons, c in components, p in 1:held]
    even, odd = zeros(length(words)), zeros(length(words))
    return NoiseWindow((UInt64(0), UInt64(0)), -1, held, per_pair, vec(words), vec(pair), even, odd)
end

"""Start the noise of another sample."""
function reset!(window::NoiseWindow, key::NTuple{2,UInt64})
    window.key = key
    window.first_pair = -1
    return window
end

"""
    normals!(window, step) -> (array, offset)

The normals of `step` (from 0): component c of the window's k-th neuron is `array[offset + k + (c − 1)·N]`.
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
