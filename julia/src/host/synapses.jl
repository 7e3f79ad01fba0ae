# Synapses as the host has them, in its own arrays: of large networks a copy would be most of the memory.

"""
A number per synapse as the host stores it: that of synapse e in direction p stands at (e − 1)·stride +
(p − 1)·stride_direction. A stride of 0 is one for all of them. Null where there is none.
"""
struct PerSynapse
    pointer::Ptr{Float64}
    stride_direction::Int64
    stride::Int64
end

const NOT_GIVEN = PerSynapse(C_NULL, 0, 0)

"""Which synapses there are: `row`, `synapses_of`, `target`, `is_input`, `input_variable`."""
abstract type SynapseList end

"""
Synapses in compressed sparse rows: row j holds the targets of neuron j, and the rows after the N neurons those of the
input channels. Indices in the arrays count from 0, those of the functions below from 1.
"""
struct Synapses <: SynapseList
    indptr::Ptr{Int64}              # (N + channels + 1,)
    targets::Ptr{Int32}
    variables::Ptr{Int8}            # of each synapse of inputs, to which its weight is added, from 1; 0: what the
                                    # model's synapses do
    num_sources::Int64              # N + channels
    num_between_neurons::Int64      # the first synapses are
    num_synapses::Int64
    delayed::Int64                  # 1: spikes of neurons take their time
    weights::PerSynapse
    delays::PerSynapse
end

push!(BOUNDARY_STRUCTS, PerSynapse, Synapses)

"""How many synapses there are."""
Base.length(synapses::Synapses) = Int(synapses.num_synapses)

"""All synapses of a neuron or, after the neurons, a channel."""
@inline row(synapses::Synapses, source) =
    Int(unsafe_load(synapses.indptr, source))+1:Int(unsafe_load(synapses.indptr, source + 1))

"""Those that a spike of a neuron reaches at once."""
@inline synapses_of(synapses::SynapseList, neuron) = synapses.delayed == 1 ? (1:0) : row(synapses, neuron)

"""The neuron that synapse e reaches."""
@inline target(synapses::Synapses, e) = Int(unsafe_load(synapses.targets, e)) + 1

"""The first of these synapses of a row that reaches neuron k or a later one; the one after the last if none does."""
@inline function first_target(synapses::SynapseList, range, k)
    low, high = first(range), last(range) + 1
    while low < high
        middle = (low + high) >> 1
        target(synapses, middle) < k ? (low = middle + 1) : (high = middle)
    end
    return low
end

"""Those of a row that reach neurons before j, the one that reaches j itself, if there is one, and those after it."""
function around(synapses::SynapseList, range, j)
    own = first_target(synapses, range, j)
    after = own + (own <= last(range) && target(synapses, own) == j)
    return first(range):own-1, own:after-1, after:last(range)
end

@inline is_input(synapses::SynapseList, e) = e > synapses.num_between_neurons

"""The variable to which the weight of an input's synapse e is added; 0 where it does what the model's synapses do."""
@inline input_variable(synapses::Synapses, e) =
    Int(unsafe_load(synapses.variables, e - synapses.num_between_neurons))

"""
A number per synapse where the core reads it or adds to it: in the host's memory, or in its own. Of tangents that do
not move, and gradients that nobody wants, it is one number for all synapses. No index is checked.
"""
mutable struct SynapseNumbers <: AbstractVector{Float64}
    pointer::Ptr{Float64}
    stride::Int
    count::Int
    memory::Vector{Float64}
end

"""`count` numbers that are all 0, and one in memory."""
function SynapseNumbers(count::Integer)
    memory = zeros(1)
    return SynapseNumbers(pointer(memory), 0, count, memory)
end

Base.size(numbers::SynapseNumbers) = (numbers.count,)
@inline Base.getindex(numbers::SynapseNumbers, e::Int) = unsafe_load(numbers.pointer, 1 + (e - 1) * numbers.stride)
@inline Base.setindex!(numbers::SynapseNumbers, x, e::Int) =
    unsafe_store!(numbers.pointer, x, 1 + (e - 1) * numbers.stride)

"""Whether there are synapses, and each has a number of its own."""
are_apart(numbers::SynapseNumbers) = !isempty(numbers) && numbers.stride != 0

"""Have the numbers be the host's in one direction; all 0 where it has none."""
function look_at!(numbers::SynapseNumbers, given::PerSynapse, direction = 1)
    if given.pointer == C_NULL
        numbers.memory[1] = 0.0
        numbers.pointer, numbers.stride = pointer(numbers.memory), 0
    else
        numbers.pointer = given.pointer + sizeof(Float64) * (direction - 1) * given.stride_direction
        numbers.stride = given.stride
    end
    return numbers
end

"""Have the numbers be those of another."""
function look_at!(numbers::SynapseNumbers, other::SynapseNumbers)
    numbers.pointer, numbers.stride, numbers.memory = other.pointer, other.stride, other.memory
    return numbers
end

"""Have each synapse have a number of its own here, 0 at first."""
function keep_apart!(numbers::SynapseNumbers)
    fill!(resize!(numbers.memory, numbers.count), 0.0)
    numbers.pointer, numbers.stride = pointer(numbers.memory), 1
    return numbers
end
