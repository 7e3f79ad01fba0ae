# Spikes under way: those that come from outside, and those of neurons whose synapses have delays. A spike reaches its
# targets in the order of their delays; it is on its way until it has reached the last.

"""
A spike that will be at its next targets at the time `arrival`. Its source is a neuron or, after the neurons, a channel;
`index` says which spike of the sample it is, or which of those that come from outside.
"""
struct SpikeUnderWay
    arrival::Float64
    source::Int
    index::Int
    sent::Float64
    place::Int                      # of its next synapse in the order of delays
end

"""Which of two comes first: of those at the same time the one of the lower source, and of these the older."""
@inline comes_before(a::SpikeUnderWay, b::SpikeUnderWay) =
    (a.arrival, a.source, a.index) < (b.arrival, b.source, b.index)

"""
The spikes under way in one sample, and those of its inputs that have not been sent: the fields `order`, `under_way` and
`inputs` of `Deliveries`; `next_input`, `input_sent!`, `input_time` and `input_channel`.
"""
abstract type SomeDeliveries end

mutable struct Deliveries <: SomeDeliveries
    order::Vector{Int32}                # synapses, those of each source by increasing delay; empty where all have
                                        # the same, or none
    under_way::Vector{SpikeUnderWay}    # a binary heap: the first one comes before all others
    inputs::Inputs
    sample::Int
    next_input::Int                     # of this sample
end

Deliveries(problem::Problem) = Deliveries(
    collect(Int32, 1:(problem.synapses.delays.stride == 0 ? 0 : num_delays(problem))), SpikeUnderWay[], problem.inputs,
    1, 1,
)

function renew!(d::Deliveries, problem::Problem)
    d.inputs = problem.inputs
    return d
end

"""The synapse at a place in the order of delays."""
@inline synapse_at(d::SomeDeliveries, place) = isempty(d.order) ? place : Int(@inbounds d.order[place])

"""Nothing is under way at the start of a sample but what an earlier run has sent."""
function begin_sample!(d::Deliveries, θ::Model, synapses::Synapses, start::Start, sample)
    empty!(d.under_way)
    d.sample, d.next_input = sample, 1
    isempty(d.order) || sort_by_delay!(d.order, θ.delays, synapses)
    for n in 1:start.num_spikes
        place = n + (sample - 1) * start.num_spikes
        neuron, sent = unsafe_load(start.spike_neurons, place) + 1, unsafe_load(start.spike_times, place)
        neuron > 0 && send!(d, θ, synapses, neuron, n - start.num_spikes, sent, start.time)
    end
    send_inputs!(d, θ, synapses, start.time, start.time)
end

function sort_by_delay!(order, delays, synapses::Synapses)
    for source in 1:synapses.num_sources
        mine, sooner = view(order, row(synapses, source)), e -> (delays[e], e)
        issorted(mine; by = sooner) || sort!(mine; by = sooner)
    end
end

"""Which of the spikes from outside is to be sent next, and that it has been."""
next_input(d::Deliveries) = d.next_input
input_sent!(d::Deliveries) = d.next_input += 1

"""When spike `index` of this sample is sent from outside."""
input_time(d::Deliveries, index) = unsafe_load(d.inputs.times.pointer, position(d.inputs.times, d.sample, 1, index))

"""On which channel it comes, from 1."""
input_channel(d::Deliveries, index) =
    unsafe_load(d.inputs.channels, index + (d.sample - 1) * d.inputs.stride_sample) + 1

"""When the next spike is sent from outside; Inf where there is none."""
next_input_time(d::SomeDeliveries) = next_input(d) > d.inputs.num_spikes ? Inf : input_time(d, next_input(d))

"""When a spike reaches its targets next; Inf where none is under way."""
next_arrival(d::SomeDeliveries) = isempty(d.under_way) ? Inf : @inbounds d.under_way[1].arrival

"""The delay of synapse e."""
@inline delay(θ::Model, e) = isempty(θ.delays) ? 0.0 : @inbounds θ.delays[e]

"""Tangent of the delay of synapse e."""
@inline delay_tangent(θ::DualModel, e) = isempty(θ.tangent.delays) ? 0.0 : θ.tangent.delays[e]

"""Let a spike of `source` be under way from the time `sent`, to those targets that it reaches later than `after`."""
function send!(d::SomeDeliveries, θ::Model, synapses::SynapseList, source, index, sent, after = -Inf)
    targets = row(synapses, source)
    place = first(targets)
    while place <= last(targets) && sent + delay(θ, synapse_at(d, place)) <= after
        place += 1
    end
    place > last(targets) && return
    push_up!(d.under_way, SpikeUnderWay(sent + delay(θ, synapse_at(d, place)), source, index, sent, place))
end

"""Send the inputs up to time t, as `send!` does."""
function send_inputs!(d::SomeDeliveries, θ::Model, synapses::SynapseList, t, after = -Inf)
    neurons = Int(synapses.num_sources - d.inputs.num_channels)
    while next_input_time(d) <= t
        index = next_input(d)
        send!(d, θ, synapses, neurons + input_channel(d, index), index, input_time(d, index), after)
        input_sent!(d)
    end
end

"""The places of the synapses that a spike reaches next, all at the same time."""
function reached_next(d::SomeDeliveries, θ::Model, synapses::SynapseList, spike::SpikeUnderWay)
    targets = row(synapses, spike.source)
    isempty(d.order) && return targets
    stop, same = spike.place, delay(θ, synapse_at(d, spike.place))
    while stop < last(targets) && delay(θ, synapse_at(d, stop + 1)) == same
        stop += 1
    end
    return spike.place:stop
end

"""Let the spike that comes first go on to the targets after the place `reached`, if there are any."""
function go_on!(d::SomeDeliveries, θ::Model, synapses::SynapseList, reached)
    heap, spike = d.under_way, d.under_way[1]
    if reached < last(row(synapses, spike.source))
        arrival = spike.sent + delay(θ, synapse_at(d, reached + 1))
        heap[1] = SpikeUnderWay(arrival, spike.source, spike.index, spike.sent, reached + 1)
    else
        last_one = pop!(heap)
        isempty(heap) && return
        heap[1] = last_one
    end
    push_down!(heap)
end

"""Add a spike to the heap."""
function push_up!(heap::AbstractVector{SpikeUnderWay}, spike::SpikeUnderWay)
    push!(heap, spike)
    place = length(heap)
    while place > 1 && comes_before(spike, heap[place>>1])
        heap[place] = heap[place>>1]
        place >>= 1
    end
    heap[place] = spike
end

"""Bring the heap's first spike, which has changed, to its place."""
function push_down!(heap::AbstractVector{SpikeUnderWay})
    spike, place, used = heap[1], 1, length(heap)
    while 2 * place <= used
        child = 2 * place
        child < used && comes_before(heap[child+1], heap[child]) && (child += 1)
        comes_before(heap[child], spike) || break
        heap[place] = heap[child]
        place = child
    end
    heap[place] = spike
end

# --- what arrives -----------------------------------------------------------------------------------------------------

"""The variable to which synapse e adds its weight; 0 where it does what the model's synapses do."""
@inline target_variable(synapses::SynapseList, e) = is_input(synapses, e) ? input_variable(synapses, e) : 0

"""That of all synapses of a row."""
@inline row_variable(synapses::SynapseList, reached) = isempty(reached) ? 0 : target_variable(synapses, first(reached))

"""The state of neuron k after a spike has come to it by synapse e; y before."""
@inline delivery(θ, synapses::SynapseList, e, k, y) = delivery(θ, target_variable(synapses, e), e, k, y)
@inline function delivery(θ, variable::Int, e, k, y)
    variable == 0 && return arrival(θ, e, k, y)
    w = coefficient(θ, Val(:weights), e)
    return ntuple(n -> n == variable ? y[n] + w : y[n], Val(length(y)))
end

"""Cotangent of the state before from that of the state after it; adds to the gradients θ̄."""
@inline delivery_adjoint!(θ̄::Model, θ::Model, synapses::SynapseList, e, k, y, bar) =
    delivery_adjoint!(θ̄, θ, target_variable(synapses, e), e, k, y, bar)
@inline function delivery_adjoint!(θ̄::Model, θ::Model, variable::Int, e, k, y, bar)
    variable == 0 && return arrival_adjoint!(θ̄, θ, e, k, y, bar)
    @inbounds θ̄.weights[e] += bar[variable]
    return bar
end
