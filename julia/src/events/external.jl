# What happens in a run that no neuron's state decides: spikes arrive from outside or after a delay, the driver jumps,
# clamped neurons fire.

"""
The external events of one sample. A run without any has `NoExternalEvents`: what would ask for them compiles to
nothing.
"""
abstract type ExternalEvents end

struct NoExternalEvents <: ExternalEvents end

struct SomeExternalEvents{C} <: ExternalEvents
    deliveries::Deliveries
    jumps::Jumps{C}
    recorded::RecordedSpikes
end

"""Whether anything may happen that no neuron's state decides."""
has_external_events(p::Problem) = p.inputs.num_channels > 0 || p.synapses.delayed == 1 ||
    p.jumps.times != C_NULL || p.recording.clamped != C_NULL

ExternalEvents(problem::Problem, ::Val{C}) where {C} = has_external_events(problem) ?
    SomeExternalEvents(Deliveries(problem), Jumps{C}(problem), RecordedSpikes(problem.recording)) :
    NoExternalEvents()

renew!(::NoExternalEvents, problem::Problem) = nothing
function renew!(e::SomeExternalEvents, problem::Problem)
    renew!(e.deliveries, problem)
    e.jumps.data = problem.jumps
    e.recorded.recording = problem.recording
end

begin_sample!(::NoExternalEvents, θ::Model, synapses::Synapses, start::Start, sample) = nothing
function begin_sample!(e::SomeExternalEvents, θ::Model, synapses::Synapses, start::Start, sample)
    begin_sample!(e.deliveries, θ, synapses, start, sample)
    begin_sample!(e.jumps, sample, start.time)
    begin_sample!(e.recorded, sample)
end

"""Where the host wants what belongs to recorded spikes."""
want_at_recorded!(::NoExternalEvents, outputs::AtRecordedSpikes) = nothing
want_at_recorded!(e::SomeExternalEvents, outputs::AtRecordedSpikes) = (e.recorded.outputs = outputs; nothing)

"""When the next one happens, or is sent; Inf where there is none."""
next_coming(::NoExternalEvents) = Inf
next_coming(e::SomeExternalEvents) = min(
    next_jump_time(e.jumps), next_arrival(e.deliveries), next_input_time(e.deliveries), next_time(e.recorded),
)

"""Send the inputs up to time t."""
send_inputs!(::NoExternalEvents, θ::Model, synapses::Synapses, t) = nothing
send_inputs!(e::SomeExternalEvents, θ::Model, synapses::Synapses, t) = send_inputs!(e.deliveries, θ, synapses, t)

"""Let a spike of neuron j be under way from τ, to targets behind delays."""
send_spike!(::NoExternalEvents, θ::Model, synapses::Synapses, j, index, τ) = nothing
send_spike!(e::SomeExternalEvents, θ::Model, synapses::Synapses, j, index, τ) =
    send!(e.deliveries, θ, synapses, j, index, τ)

"""
Let the next external event happen if it comes within this step and no neuron fires before, as the first one would at
`fires_at`; returns whether it has, or what is recorded before it has inserted a spike.
"""
external_event!(run, ::NoExternalEvents, observer, step::Step, fires_at) = false
function external_event!(run, e::SomeExternalEvents, observer, step::Step, fires_at)
    jump, recorded = next_jump_time(e.jumps), next_time(e.recorded)
    τ = min(recorded, jump, next_arrival(e.deliveries))
    τ <= step.stop && τ <= fires_at || return false
    save_before!(run, observer, step, τ) && return true
    if τ == recorded
        fire_recorded!(run, observer, step)
    elseif τ == jump
        jump!(run, observer, step)
    else
        deliver!(run, observer, step)
    end
    return true
end

"""Let the driver's next jump, within this step, move its neuron."""
function jump!(run, observer, step::Step)
    x, θ, jumps = run.x, run.θ, run.external.jumps
    n, τ = jumps.next, next_jump_time(jumps)
    k = jump_neuron(jumps, n)
    y = advance(run.solver, θ, step, k, state_at(x.y, k), piece_start(x, step, k), τ)
    before_jump!(observer, run, step, n, k, τ, y)
    set_state!(x.y, k, after_jump(θ, k, y, jump_sizes(jumps, n)))
    mark_moved!(x, k, τ)
    restart!(run, step, k)
    jumps.next += 1
end

"""Bring the spike under way that arrives first, within this step, to those targets that it reaches then."""
function deliver!(run, observer, step::Step)
    θ, synapses, d = run.θ, run.synapses, run.external.deliveries
    spike = d.under_way[1]
    reached = reached_next(d, θ, synapses, spike)
    places = mine(run.team, synapses, reached)
    # Where all delays are equal a spike comes to its whole row at once, as one without delay does.
    if isempty(d.order) && takes_rows(observer, run.solver)
        before_row!(observer, run, step, places, spike)
        bring!(run, step, places, spike.arrival)
    else
        bring_one_by_one!(run, observer, step, places, spike)
    end
    go_on!(d, θ, synapses, last(reached))
end

"""Bring the targets at these places in the order of delays to the spike's arrival, one after the other."""
function bring_one_by_one!(run, observer, step::Step, places, spike::SpikeUnderWay)
    x, θ, synapses = run.x, run.θ, run.synapses
    for place in places
        e = synapse_at(run.external.deliveries, place)
        k = target(synapses, e)
        y = advance(run.solver, θ, step, k, state_at(x.y, k), piece_start(x, step, k), spike.arrival)
        before_delivery!(observer, run, step, spike, e, k, y)
        set_state!(x.y, k, delivery(θ, synapses, e, k, y))
        mark_moved!(x, k, spike.arrival)
        restart!(run, step, k)
    end
end

"""How far the external events of a sample have come, between two steps."""
progress(::NoExternalEvents) = nothing
progress(e::SomeExternalEvents) =
    (copy(e.deliveries.under_way), e.deliveries.next_input, e.jumps.next, e.recorded.next)

"""Put them back to there."""
restore!(::NoExternalEvents, ::Nothing) = nothing
function restore!(e::SomeExternalEvents, (under_way, next_input, next_jump, next_recorded))
    copyto!(resize!(e.deliveries.under_way, length(under_way)), under_way)
    e.deliveries.next_input, e.jumps.next, e.recorded.next = next_input, next_jump, next_recorded
end
