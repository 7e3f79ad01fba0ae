# The spikes that neurons are about to fire within a step.

"""A spike that neuron k is about to fire at `time`, by which event: its state there, and how fast that changes."""
struct Spike{M}
    k::Int
    event::Int
    time::Float64
    y::NTuple{M,Float64}
    ẏ::NTuple{M,Float64}
end

"""The spike to which a passage of neuron k has led."""
Spike(k, arrival::Arrival) = Spike(k, arrival.event, arrival.τ, arrival.y, arrival.ẏ)

"""Which of two comes first: of those at the same time, that of the lower index."""
@inline comes_before(a::Spike, b::Spike) = a.time < b.time || (a.time == b.time && a.k < b.k)

"""At most one spike of each neuron, the first of all at hand: a binary heap that knows where each neuron's is."""
struct ExpectedSpikes{M}
    heap::Vector{Spike{M}}
    place::Vector{Int}              # of each neuron's, 0 where none is expected
end

ExpectedSpikes{M}(n::Integer) where {M} = ExpectedSpikes{M}(Spike{M}[], zeros(Int, n))

Base.length(expected::ExpectedSpikes) = length(expected.heap)
Base.isempty(expected::ExpectedSpikes) = isempty(expected.heap)
Base.first(expected::ExpectedSpikes) = @inbounds expected.heap[1]

function Base.empty!(expected::ExpectedSpikes)
    foreach(spike -> expected.place[spike.k] = 0, expected.heap)
    empty!(expected.heap)
    return expected
end

"""Expect this spike of its neuron, and no other."""
function expect!(expected::ExpectedSpikes, spike::Spike)
    forget!(expected, spike.k)
    push!(expected.heap, spike)
    rise!(expected, spike, length(expected.heap))
end

"""Expect no spike of neuron k any more."""
function forget!(expected::ExpectedSpikes, k)
    place = @inbounds expected.place[k]
    place == 0 && return
    expected.place[k] = 0
    spike = pop!(expected.heap)
    spike.k == k && return
    # The last one takes the place that is free, from where it may have to go either way.
    sink!(expected, spike, place)
    rise!(expected, spike, expected.place[spike.k])
end

"""Put a spike at a place of the heap, or before those of its parents that come later."""
function rise!(expected::ExpectedSpikes, spike::Spike, place)
    while place > 1 && comes_before(spike, expected.heap[place>>1])
        put!(expected, expected.heap[place>>1], place)
        place >>= 1
    end
    put!(expected, spike, place)
end

"""Put a spike at a place of the heap, or after those of its children that come earlier."""
function sink!(expected::ExpectedSpikes, spike::Spike, place)
    heap, used = expected.heap, length(expected.heap)
    while 2 * place <= used
        child = 2 * place
        child < used && comes_before(heap[child+1], heap[child]) && (child += 1)
        comes_before(heap[child], spike) || break
        put!(expected, heap[child], place)
        place = child
    end
    put!(expected, spike, place)
end

@inline function put!(expected::ExpectedSpikes, spike::Spike, place)
    expected.heap[place] = spike
    expected.place[spike.k] = place
    return
end
