# Spike trains as kernels see them: time in pieces, and events between.

"""
One sample as the kernel sees it: pieces of time 1 … n, and between piece i and i + 1 an event, the spikes at that time.
Long pieces are divided by events without spikes. Mutable only so that four of them are passed as four references.
"""
mutable struct Events
    pieces::Vector{Float64}             # scaled lengths
    terms::Vector{Int}                  # that the series along each piece need
    letters::Vector{Vector{Int}}        # neurons of an event's spikes, counted from 1
    spikes::Vector{Vector{Int}}         # their columns in the host's array
    of_neuron::Vector{Vector{Int}}      # the events of each neuron, once per spike
    joint::Bool                         # some event has several spikes
end

"""Sample of a batch; `other_length` is the scaled length of the time that the kernel pairs it with."""
function Events(trains::SpikeTrains, sample, other_length::Float64)
    train = read_train!(Train(), trains, sample, Int[], Int[])
    pieces, letters, spikes = Float64[], Vector{Int}[], Vector{Int}[]
    function pass!(duration)
        parts = max(1, ceil(Int, 2 * duration * other_length / REACH[end]))
        for part in 1:parts
            push!(pieces, duration / parts)
            part < parts && (push!(letters, Int[]); push!(spikes, Int[]))
        end
    end
    factor, now = scale(trains, 1), trains.t0
    for n in eachindex(train.times)
        if n == 1 || train.times[n] > train.times[n-1]
            pass!(factor * (train.times[n] - now))
            push!(letters, Int[])
            push!(spikes, Int[])
            now = train.times[n]
        end
        push!(letters[end], train.letters[n] - 1)
        push!(spikes[end], train.columns[n])
    end
    pass!(factor * (trains.t1 - now))
    return Events(pieces, num_terms.(pieces .* other_length), letters, spikes, Int(trains.num_neurons))
end

function Events(pieces, terms, letters, spikes, num_neurons::Int)
    of_neuron = [Int[] for _ in 1:num_neurons]
    for (event, neurons) in enumerate(letters), neuron in neurons
        push!(of_neuron[neuron], event)
    end
    return Events(pieces, terms, letters, spikes, of_neuron, any(neurons -> length(neurons) > 1, letters))
end

Base.reverse(x::Events) =
    Events(reverse(x.pieces), reverse(x.terms), reverse(x.letters), reverse(x.spikes), length(x.of_neuron))
num_pieces(x::Events) = length(x.pieces)
num_events(x::Events) = length(x.letters)
@inline piece(x::Events, i) = @inbounds x.pieces[i]
@inline terms_along(x::Events, i) = @inbounds x.terms[i]
num_spikes(x::Events) = mapreduce(length, +, x.spikes; init = 0)

@inline spikes_at(x::Events, i) = eachindex(x.letters[i])
@inline letter(x::Events, i, n) = x.letters[i][n]

"""
What the coefficients along an event of `x` sum to at most, where the other train has `count_of(a)` spikes of neuron a,
and `more` at its end; with these, also along an event at the end of `x`.
"""
function longest_event(count_of::F, x, squares, more) where {F}
    longest = 0.0
    for i in 1:num_events(x)
        along = 0.0
        for n in spikes_at(x, i)
            a = letter(x, i, n)
            along += squares[a] * (count_of(a) + more)
        end
        longest = max(longest, along)
    end
    more == 0 && return longest
    for a in eachindex(squares)
        longest = max(longest, squares[a] * (count_of(a) + more))
    end
    return longest
end

# Where the other train is that one.
longest_event(x::Events, y::Events, squares, more) = longest_event(a -> length(y.of_neuron[a]), x, squares, more)

"""Squares of the neurons' scales: the coefficient of two spikes of one neuron."""
squared_scales(trains::SpikeTrains) = [scale(trains, neuron + 1)^2 for neuron in 1:trains.num_neurons]
