# Arrays of many samples in a device's memory, and what one group of lanes, which computes one sample in one direction,
# sees of them.

"""
An array of which every sample, and every direction of a derivative, may have its own: theirs begins `by_sample` and
`by_direction` numbers after that of the one before, 0 where they share it. Elements are `spacing` apart; 0 is one
number for all. No index is checked.
"""
struct Block{T,N,A<:AbstractVector{T}} <: AbstractArray{T,N}
    memory::A
    dims::NTuple{N,Int}
    by_sample::Int
    by_direction::Int
    spacing::Int
    offset::Int                     # of the sample and direction at hand
end

"""
    Block(memory, dims; by_sample, by_direction)

One array of these dimensions per sample and direction, by default one behind the other: as many samples as `samples`
says, and then those of the next direction.
"""
Block(memory::AbstractVector, dims; samples = 1, by_sample = prod(dims), by_direction = samples * prod(dims)) =
    Block(memory, dims, by_sample, by_direction, 1, 0)

"""One number for all elements."""
everywhere(memory::AbstractVector, count; by_direction = 0) = Block(memory, (count,), 0, by_direction, 0, 0)

Base.size(block::Block) = block.dims
Base.IndexStyle(::Type{<:Block}) = IndexLinear()
@inline Base.getindex(block::Block, i::Int) = @inbounds block.memory[block.offset+1+(i-1)*block.spacing]
@inline Base.setindex!(block::Block, x, i::Int) = @inbounds block.memory[block.offset+1+(i-1)*block.spacing] = x

# With its bounds unchecked: the default does so by `@boundscheck`, of which code for a device keeps the error's text.
@inline Base.getindex(block::Block{T,2}, i::Int, j::Int) where {T} = block[i+(j-1)*block.dims[1]]
@inline Base.setindex!(block::Block{T,2}, x, i::Int, j::Int) where {T} = block[i+(j-1)*block.dims[1]] = x

with_arrays(change, block::Block) =
    Block(change(block.memory), block.dims, block.by_sample, block.by_direction, block.spacing, block.offset)

"""
What sample `s` in direction `p` sees: the same with all blocks in it, however deep, put there.
"""
@inline of_group(block::Block, s, p) = Block(
    block.memory, block.dims, block.by_sample, block.by_direction, block.spacing,
    block.offset + (s - 1) * block.by_sample + (p - 1) * block.by_direction,
)

@generated function of_group(x, s, p)
    fieldcount(x) == 0 && return :x
    parts = [:(of_group(getfield(x, $n), s, p)) for n in 1:fieldcount(x)]
    return x <: Tuple ? Expr(:tuple, parts...) : Expr(:new, x, parts...)
end

"""What is made of arrays, and of parts that are, where `OnDevice` does not name it."""
abstract type MadeOfArrays end

# --- lanes ------------------------------------------------------------------------------------------------------------

"""
One of the lanes of a group, which go through a sample side by side: `lane_index(lane)` from 1, `num_lanes(lane)`, and
`meet(lane)`, where each waits until all of them have come, and from where on each sees what the others have written.
"""
abstract type Lane end

"""The only lane of its group."""
struct OnlyLane <: Lane end

@inline lane_index(::OnlyLane) = 1
@inline num_lanes(::OnlyLane) = 1
@inline meet(::OnlyLane) = nothing

"""
One of the lanes that a grid has for the neurons of each sample. They do not meet: what they do is over when all of them
have done it.
"""
struct GridLane <: Lane
    index::Int
    count::Int
end

@inline lane_index(lane::GridLane) = lane.index
@inline num_lanes(lane::GridLane) = lane.count

"""What a lane takes of the numbers `from` to `to`."""
struct Turns
    from::Int
    by::Int
    to::Int
end

@inline turns(lane::Lane, range::UnitRange{Int}) =
    Turns(first(range) + lane_index(lane) - 1, num_lanes(lane), last(range))
@inline turns(::OnlyLane, range::UnitRange{Int}) = range
@inline turns(lane::Lane, count::Int) = turns(lane, 1:count)

@inline Base.iterate(t::Turns, n = t.from) = n > t.to ? nothing : (n, n + t.by)

# As `@simd` goes through them.
@inline Base.length(t::Turns) = t.from > t.to ? 0 : (t.to - t.from) ÷ t.by + 1
@inline Base.firstindex(::Turns) = 1
@inline Base.getindex(t::Turns, i::Int) = t.from + (i - 1) * t.by

@inline leads(lane::Lane) = lane_index(lane) == 1

"""
Have lanes take over what others have, pairwise, in halves, so that the first has that of all in the end: each calls
`take!(other)` with the index of a lane, and they meet. What a lane has must be seen by the others before.
"""
@inline function in_halves(take!::F, lane::Lane) where {F}
    index, count = lane_index(lane), num_lanes(lane)
    while count > 1
        half = (count + 1) >> 1
        index + half <= count && take!(index + half)
        count = half
        meet(lane)
    end
end

"""Whether a lane has the care of the place `n`, and of which of the `count` places after `start` it has, from 1."""
@inline owns(lane::Lane, n) = n % num_lanes(lane) == lane_index(lane) - 1
@inline owned(lane::Lane, start, count) =
    Turns(1 + mod(lane_index(lane) - 2 - start, num_lanes(lane)), num_lanes(lane), count)
@inline owned(::OnlyLane, start, count) = 1:count
