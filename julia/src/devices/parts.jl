# What a group has instead of those parts of a run that grow, or live in the host's memory.

# --- the driver -------------------------------------------------------------------------------------------------------

"""A Brownian motion of which every step is drawn where it is needed; a step is `levels` halvings of a noise step."""
struct DrawnSteps{C} <: BrownianMotion{C}
    dt::Float64
    levels::Int
end

level(path::DrawnSteps) = path.levels

"""The increment over noise step n of neuron k, with its area."""
function noise_step(path::DrawnSteps{C}, key, n, k) where {C}
    span = path.dt * (1 << path.levels)
    draw(purpose, c) = (pair = normal_pair(key, (UInt64(n >> 1), counter_word(purpose, c - 1, k - 1)));
    iseven(n) ? pair[1] : pair[2])
    return Increment(
        ntuple(c -> sqrt(span) * draw(INCREMENT, c), Val(C)), ntuple(c -> sqrt(span / 12) * draw(LEVY_AREA, c), Val(C)),
    )
end

"""Likewise over step n of the grid."""
function grid_step(path::DrawnSteps, key, n, k)
    x = noise_step(path, key, n >> path.levels, k)
    for level in 0:path.levels-1
        span = path.dt * (1 << (path.levels - level))
        left, right = halves(path, key, k, level, n >> (path.levels - level), span, x)
        x = iseven(n >> (path.levels - 1 - level)) ? left : right
    end
    return x
end

# --- refinement -------------------------------------------------------------------------------------------------------

"""
The halves of split intervals, (depth, neuron), and the pieces of the passage that a lane is to follow backwards,
(piece, lane); none where it never is.
"""
struct GroupMemory{M,C,T<:Block{Int,2},X<:Block{Increment{C},2},P<:Block{Piece{M,C},2}} <: SplitMemory{M,C}
    tag::T
    left::X
    right::X
    pieces::P
    lane::Int
end

@inline of_lane(memory::GroupMemory, lane::Lane) =
    GroupMemory(memory.tag, memory.left, memory.right, memory.pieces, lane_index(lane))

most_leaves(memory::GroupMemory) = size(memory.tag, 1)

# Nothing of a passage is kept: it is refined again wherever it is followed.
follow_pieces(follow::F, ::GroupMemory, start, solver, θ::Model, step::Step, k, y, a, b) where {F} =
    last(refine(follow, start, solver, θ, step, k, y, a, b, false, false))

# There is memory for a few pieces, as most passages have. Of one that has more, the last ones are kept first, and then
# those before.
function follow_pieces_back(
    follow::F, memory::GroupMemory, start, solver, θ::Model, step::Step, k, y, a, b,
) where {F}
    pieces, lane = memory.pieces, memory.lane
    most = size(pieces, 1)
    count = keep_pieces!(memory, 0, typemax(Int), solver, θ, step, k, y, a, b)
    followed, left = start, count
    while left > 0
        kept = max(left - most, 0)
        left < count && keep_pieces!(memory, kept, left, solver, θ, step, k, y, a, b)
        for n in left-1:-1:kept
            followed = follow(followed, pieces[n%most+1, lane])
        end
        left = kept
    end
    return followed
end

"""Keep the pieces of a passage from the number `from` on, counted from 0, up to `to`; returns how many it has."""
function keep_pieces!(memory::GroupMemory, from, to, solver, θ::Model, step::Step, k, y, a, b)
    pieces, lane = memory.pieces, memory.lane
    most = size(pieces, 1)
    return last(refine(0, solver, θ, step, k, y, a, b, false, false) do n, piece
        from <= n < to && (pieces[n%most+1, lane] = piece)
        n + 1
    end)
end

# --- synapses ---------------------------------------------------------------------------------------------------------

"""`Synapses` in arrays."""
struct SynapseArrays{I<:Block{Int64,1},T<:Block{Int32,1},V<:Block{Int8,1}} <: SynapseList
    indptr::I
    targets::T
    variables::V
    num_sources::Int
    num_between_neurons::Int
    num_synapses::Int
    delayed::Int
end

@inline row(synapses::SynapseArrays, source) = Int(synapses.indptr[source])+1:Int(synapses.indptr[source+1])
@inline target(synapses::SynapseArrays, e) = Int(synapses.targets[e]) + 1
@inline input_variable(synapses::SynapseArrays, e) = Int(synapses.variables[e-synapses.num_between_neurons])

# --- deliveries -------------------------------------------------------------------------------------------------------

"""A vector that grows within memory for as many elements as it will ever have; how many it has is `count[1]`."""
struct Growing{T,A<:Block{T,1},N<:Block{Int,1}} <: AbstractVector{T}
    elements::A
    count::N
end

with_arrays(change, v::Growing) = Growing(with_arrays(change, v.elements), with_arrays(change, v.count))

Base.size(v::Growing) = (v.count[1],)
@inline Base.getindex(v::Growing, i::Int) = v.elements[i]
@inline Base.setindex!(v::Growing, x, i::Int) = v.elements[i] = x
@inline function Base.push!(v::Growing, x)
    v.count[1] += 1
    v.elements[v.count[1]] = x
    return v
end
@inline Base.pop!(v::Growing) = (v.count[1] -= 1; v.elements[v.count[1]+1])
@inline Base.empty!(v::Growing) = (v.count[1] = 0; v)

"""`Inputs` in arrays."""
struct InputArrays{N<:Block{Int64,1},T<:Block{Float64,1}}
    num_channels::Int
    num_spikes::Int
    channels::N
    times::T
    time_tangents::T                # in the direction at hand; empty where they do not move
end

"""`Deliveries` of which one lane has the care; the others read what it has put into `coming` and `places`."""
struct GroupDeliveries{O<:Block{Int32,1},H<:Growing{SpikeUnderWay},I<:InputArrays,N<:Block{Int,1},S} <: SomeDeliveries
    order::O
    under_way::H
    inputs::I
    sent::N                         # how many of the inputs have been
    coming::S                       # the spike that arrives first,
    places::N                       # and the first and last of the places that it reaches then
end

next_input(d::GroupDeliveries) = d.sent[1] + 1
input_sent!(d::GroupDeliveries) = d.sent[1] += 1
input_time(d::GroupDeliveries, index) = d.inputs.times[index]
input_channel(d::GroupDeliveries, index) = Int(d.inputs.channels[index]) + 1

const NO_SPIKE_COMING = SpikeUnderWay(Inf, 0, 0, 0.0, 0)
