# Spike trains as the host stores them, and one sample's spikes as they count.

"""
Spike trains of a batch as the host stores them: C-ordered (S, K), inf and −1 where there is no spike. Channel 1 is
time.
"""
struct SpikeTrains
    times::Ptr{Float64}
    neurons::Ptr{Int64}
    num_samples::Int64
    capacity::Int64                 # K
    num_neurons::Int64
    t0::Float64
    t1::Float64
    scales::Ptr{Float64}            # one per channel, or null
end

push!(BOUNDARY_STRUCTS, SpikeTrains)

"""One sample's spikes as they count: `keep` of them, by column."""
struct Train
    times::Vector{Float64}
    letters::Vector{Int}            # channel of each spike: neuron + 2
    columns::Vector{Int}            # in the host's array
end

Train() = Train(Float64[], Int[], Int[])

num_spikes(train::Train) = length(train.times)

"""Read a sample, keeping at most `caps[j]` spikes of each neuron (all where `caps` is empty)."""
function read_train!(train::Train, trains::SpikeTrains, sample, caps::Vector{Int}, seen::Vector{Int})
    empty!(train.times)
    empty!(train.letters)
    empty!(train.columns)
    isempty(caps) || fill!(seen, 0)
    start = (sample - 1) * trains.capacity
    for column in 1:trains.capacity
        neuron = unsafe_load(trains.neurons, start + column)
        neuron < 0 && continue
        if !isempty(caps)
            seen[neuron+1] += 1
            seen[neuron+1] > caps[neuron+1] && continue
        end
        push!(train.times, unsafe_load(trains.times, start + column))
        push!(train.letters, neuron + 2)
        push!(train.columns, column)
    end
    return train
end

"""How many spikes each neuron of a sample has."""
function count_spikes!(counts::Vector{Int}, trains::SpikeTrains, sample)
    fill!(counts, 0)
    start = (sample - 1) * trains.capacity
    for column in 1:trains.capacity
        neuron = unsafe_load(trains.neurons, start + column)
        neuron >= 0 && (counts[neuron+1] += 1)
    end
    return counts
end

"""What a channel is multiplied by."""
scale(trains::SpikeTrains, channel) = trains.scales == C_NULL ? 1.0 : unsafe_load(trains.scales, channel)

"""The spikes that happen at the same time as spike k share one straight line: the first of them."""
function group_start(train, k)
    while k > 1 && train.times[k-1] == train.times[k]
        k -= 1
    end
    return k
end

"""And the last of them."""
function group_stop(train, k)
    while k < num_spikes(train) && train.times[k+1] == train.times[k]
        k += 1
    end
    return k
end

"""How many numbers the signature of one sample has."""
signature_length(trains::SpikeTrains, depth) = signature_length(Int(trains.num_neurons) + 1, depth)
