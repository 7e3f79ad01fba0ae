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

# --- the Brownian path -----------------------------------------------------------------------------------------------------------
# An interval of one path is known by its increment W and its space-time Lévy area H; halves of it by one normal pair more.

"""
    halves(w, h, length, z) -> (w, h) of the left half, (w, h) of the right half

The conditional law of the halves of an interval given the whole, from two standard normals `z`: Foster, Lyons and Oberhauser, "An optimal
polynomial approximation of Brownian motion", SIAM Journal on Numerical Analysis 58 (2020), theorem 5.3 onwards.
"""
@inline function halves(w, h, length, z)
    middle, difference = sqrt(length / 16) * z[1], sqrt(length / 48) * z[2]
    w_left = 0.5 * w + 1.5 * h + middle
    h_mean = 0.25 * h - 0.5 * middle
    return (w_left, h_mean + difference), (w - w_left, h_mean - difference)
end

"""Counter of the dyadic node that splits interval `position` of `level`; `word` is that of its neuron and component."""
@inline node_counter(word::UInt64, level, position) = (UInt64(position), word | (UInt64(level) << 40))

"""
    beginning(w, h, length, r, z) -> (w, h)

The conditional law of the first fraction r of an interval given the whole.
"""
function beginning(w, h, length, r, z)
    r = clamp(r, 0.0, 1.0)
    q, root = 1 - 3r * (1 - r), sqrt(length * r * (1 - r))
    a, b, c = root * sqrt(q), -0.5 * r^2 * root / sqrt(q), (1 - r) * root / sqrt(12 * q)
    return r * w + 6r * (1 - r) * h + a * z[1], r^2 * h + b * z[1] + c * z[2]
end

"""
The Brownian path of one sample, one step after the other. Methods: `reset!(path, key)`; `increments!(path, step)` and `areas!(path, step)`, the
arrays of one step with their offset, to be multiplied by `increment_scale(path)` and `area_scale(path)`; `window_stop(path)`, up to where the next steps come cheaply.
"""
abstract type BrownianPath end

"""Steps that are the noise steps themselves."""
mutable struct BasePath <: BrownianPath
    increments::NoiseWindow
    areas::NoiseWindow
    dt::Float64
    increment_scale::Float64
    area_scale::Float64
end

BasePath(num_neurons, num_components, dt) = BasePath(
    NoiseWindow(num_neurons, num_components, INCREMENT), NoiseWindow(num_neurons, num_components, LEVY_AREA), dt, sqrt(dt), sqrt(dt / 12),
)

function reset!(path::BasePath, key)
    reset!(path.increments, key)
    reset!(path.areas, key)
    return path
end

level(path::BasePath) = 0
num_draws(path::BasePath) = path.increments.per_pair    # of a step
increment_scale(path::BasePath) = path.increment_scale
area_scale(path::BasePath) = path.area_scale
@inline increments!(path::BasePath, step) = normals!(path.increments, step)
@inline areas!(path::BasePath, step) = normals!(path.areas, step)
window_stop(path::BasePath) = window_stop(path.increments)

"""Steps that are 2^levels parts of the noise steps: of every level the node around the present step is kept split, so that a step costs one node."""
mutable struct DyadicPath <: BrownianPath
    base::BasePath
    levels::Int
    words::Vector{UInt64}           # of every neuron and component
    position::Vector{Int}           # of the interval that is split at each level, −1 for none
    increments::Vector{Float64}     # (neuron, component, half, level)
    areas::Vector{Float64}
    stop::Int
end

function DyadicPath(num_neurons, num_components, dt, levels)
    base = BasePath(num_neurons, num_components, dt * 2.0^levels)
    words = vec([counter_word(DYADIC_NODE, c - 1, k - 1) for k in 1:num_neurons, c in 1:num_components])
    count = 2 * length(words) * levels
    return DyadicPath(base, levels, words, fill(-1, levels), zeros(count), zeros(count), 0)
end

function reset!(path::DyadicPath, key)
    reset!(path.base, key)
    fill!(path.position, -1)
    return path
end

level(path::DyadicPath) = path.levels
num_draws(path::DyadicPath) = length(path.words)
increment_scale(path::DyadicPath) = 1.0
area_scale(path::DyadicPath) = 1.0
window_stop(path::DyadicPath) = path.stop

# Where the half of `level` that holds `step` stands in the arrays.
half_offset(path::DyadicPath, level, step) = length(path.words) * (((step >> (path.levels - 1 - level)) & 1) + 2 * level)

function bring!(path::DyadicPath, step)
    for level in 0:path.levels-1
        position = step >> (path.levels - level)
        path.position[level+1] == position && continue
        path.position[level+1] = position
        if level == 0
            w, w_offset = increments!(path.base, position)
            h, h_offset = areas!(path.base, position)
            split_interval!(path, level, position, w, w_offset, increment_scale(path.base), h, h_offset, area_scale(path.base))
        else
            offset = half_offset(path, level - 1, step)
            split_interval!(path, level, position, path.increments, offset, 1.0, path.areas, offset, 1.0)
        end
    end
    path.stop = step + 32
    return half_offset(path, path.levels - 1, step)
end

function split_interval!(path::DyadicPath, level, position, w, w_offset, w_scale, h, h_offset, h_scale)
    key, words, count, length_ = path.base.increments.key, path.words, length(path.words), path.base.dt / 2.0^level
    left, right = 2 * level * count, (2 * level + 1) * count
    increments, areas = path.increments, path.areas
    @inbounds @simd ivdep for j in eachindex(words)
        z = normal_pair(key, node_counter(words[j], level, position))
        (w_left, h_left), (w_right, h_right) = halves(w_scale * w[w_offset+j], h_scale * h[h_offset+j], length_, z)
        increments[left+j], areas[left+j] = w_left, h_left
        increments[right+j], areas[right+j] = w_right, h_right
    end
end

increments!(path::DyadicPath, step) = (path.increments, bring!(path, step))
areas!(path::DyadicPath, step) = (path.areas, bring!(path, step))
