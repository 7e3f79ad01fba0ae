# Brownian motion by Lévy's construction: an interval is known by its increment W and its space-time Lévy area H, halves
# of it by one normal pair more (docs/numerics.md).

"""
    brownian_halves(w, h, span, z) -> (w, h) of the left half, (w, h) of the right half

The conditional law of the halves of an interval given the whole, from two standard normals `z`: Foster, Lyons and
Oberhauser, "An optimal polynomial approximation of Brownian motion", SIAM Journal on Numerical Analysis 58 (2020),
theorem 5.3 onwards.
"""
@inline function brownian_halves(w, h, span, z)
    middle, difference = sqrt(span / 16) * z[1], sqrt(span / 48) * z[2]
    w_left = 0.5 * w + 1.5 * h + middle
    h_mean = 0.25 * h - 0.5 * middle
    return (w_left, h_mean + difference), (w - w_left, h_mean - difference)
end

"""Counter of the dyadic node that splits interval `position` of `level`; `word` is that of its neuron and component."""
@inline node_counter(word::UInt64, level, position) = (UInt64(position), word | (UInt64(level) << 40))

"""
    brownian_beginning(w, h, span, r, z) -> (w, h)

The conditional law of the first fraction r of an interval given the whole.
"""
function brownian_beginning(w, h, span, r, z)
    r = clamp(r, 0.0, 1.0)
    q, root = 1 - 3r * (1 - r), sqrt(span * r * (1 - r))
    a, b, c = root * sqrt(q), -0.5 * r^2 * root / sqrt(q), (1 - r) * root / sqrt(12 * q)
    return r * w + 6r * (1 - r) * h + a * z[1], r^2 * h + b * z[1] + c * z[2]
end

abstract type BrownianMotion{C} <: Driver{C} end

"""
The Brownian driver of some neurons of a problem: steps are the noise steps themselves, or `noise_levels` halvings of
them.
"""
function BrownianMotion(problem, neurons::UnitRange{Int})
    C, dt, levels = Int(problem.num_components), problem.dt, Int(problem.noise_levels)
    return levels == 0 ? NoiseSteps{C}(neurons, dt) : DyadicSteps{C}(neurons, dt, levels)
end

DRIVERS["brownian"] = problem -> BrownianMotion(problem, 1:Int(problem.num_neurons))

function halves(::BrownianMotion{C}, key, k, level, index, span, x::Increment{C}) where {C}
    parts = ntuple(Val(C)) do c
        z = normal_pair(key, node_counter(counter_word(DYADIC_NODE, c - 1, k - 1), level, index))
        brownian_halves(x.w[c], x.h[c], span, z)
    end
    left, right = map(first, parts), map(last, parts)
    return Increment(map(first, left), map(last, left)), Increment(map(first, right), map(last, right))
end

function beginning(driver::BrownianMotion, key, k, c, step, span, w, h, r)
    z = normal_pair(key, (UInt64(step), counter_word(LAST_STEP, c - 1, k - 1, level(driver))))
    return brownian_beginning(w, h, span, r, z)
end

function area(::BrownianMotion, key, k, c, step, span)
    pair = normal_pair(key, (UInt64(step >> 1), counter_word(LEVY_AREA, c - 1, k - 1)))
    return sqrt(span / 12) * (iseven(step) ? pair[1] : pair[2])
end

"""Steps that are the noise steps themselves."""
struct NoiseSteps{C} <: BrownianMotion{C}
    increments::NoiseWindow
    areas::NoiseWindow
    dt::Float64
    increment_scale::Float64
    area_scale::Float64
end

NoiseSteps{C}(neurons::UnitRange{Int}, dt) where {C} = NoiseSteps{C}(
    NoiseWindow(neurons, C, INCREMENT), NoiseWindow(neurons, C, LEVY_AREA), dt, sqrt(dt), sqrt(dt / 12),
)

function reset!(path::NoiseSteps, key)
    reset!(path.increments, key)
    reset!(path.areas, key)
    return path
end

level(::NoiseSteps) = 0
increment_scale(path::NoiseSteps) = path.increment_scale
area_scale(path::NoiseSteps) = path.area_scale
@inline increments!(path::NoiseSteps, step) = normals!(path.increments, step)
@inline areas!(path::NoiseSteps, step) = normals!(path.areas, step)
window_stop(path::NoiseSteps) = window_stop(path.increments)

"""
Steps that are 2^levels parts of the noise steps: of every level the node around the present step is kept split, so that
a step costs one node.
"""
mutable struct DyadicSteps{C} <: BrownianMotion{C}
    base::NoiseSteps{C}
    levels::Int
    words::Vector{UInt64}           # of every neuron and component
    position::Vector{Int}           # of the interval that is split at each level, −1 for none
    increments::Vector{Float64}     # (neuron, component, half, level)
    areas::Vector{Float64}
    stop::Int
end

function DyadicSteps{C}(neurons::UnitRange{Int}, dt, levels) where {C}
    base = NoiseSteps{C}(neurons, dt * 2.0^levels)
    words = vec([counter_word(DYADIC_NODE, c - 1, k - 1) for k in neurons, c in 1:C])
    draws = 2 * length(words) * levels
    return DyadicSteps{C}(base, levels, words, fill(-1, levels), zeros(draws), zeros(draws), 0)
end

function reset!(path::DyadicSteps, key)
    reset!(path.base, key)
    fill!(path.position, -1)
    return path
end

level(path::DyadicSteps) = path.levels
increment_scale(path::DyadicSteps) = 1.0
area_scale(path::DyadicSteps) = 1.0
window_stop(path::DyadicSteps) = path.stop

# Where the half of `level` that holds `step` stands in the arrays.
half_offset(path::DyadicSteps, level, step) =
    length(path.words) * (((step >> (path.levels - 1 - level)) & 1) + 2 * level)

function bring!(path::DyadicSteps, step)
    for level in 0:path.levels-1
        position = step >> (path.levels - level)
        path.position[level+1] == position && continue
        path.position[level+1] = position
        if level == 0
            w, w_offset = increments!(path.base, position)
            h, h_offset = areas!(path.base, position)
            w_scale, h_scale = increment_scale(path.base), area_scale(path.base)
            split_interval!(path, level, position, w, w_offset, w_scale, h, h_offset, h_scale)
        else
            offset = half_offset(path, level - 1, step)
            split_interval!(path, level, position, path.increments, offset, 1.0, path.areas, offset, 1.0)
        end
    end
    path.stop = step + 32
    return half_offset(path, path.levels - 1, step)
end

function split_interval!(path::DyadicSteps, level, position, w, w_offset, w_scale, h, h_offset, h_scale)
    key, words, draws, span = path.base.increments.key, path.words, length(path.words), path.base.dt / 2.0^level
    left, right = 2 * level * draws, (2 * level + 1) * draws
    increments, areas = path.increments, path.areas
    @inbounds @simd ivdep for j in eachindex(words)
        z = normal_pair(key, node_counter(words[j], level, position))
        (w_left, h_left), (w_right, h_right) =
            brownian_halves(w_scale * w[w_offset+j], h_scale * h[h_offset+j], span, z)
        increments[left+j], areas[left+j] = w_left, h_left
        increments[right+j], areas[right+j] = w_right, h_right
    end
end

increments!(path::DyadicSteps, step) = (path.increments, bring!(path, step))
areas!(path::DyadicSteps, step) = (path.areas, bring!(path, step))
