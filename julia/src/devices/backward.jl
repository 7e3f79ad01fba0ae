# Reverse mode by groups of lanes: the way of `adjoint.jl`, with a tape of a size that is known before. A sample is
# solved in segments between checkpoints, from the last of which each is solved again, on a tape, and walked backwards.

"""Where a neuron was when something happened: in state y at its local time a, NaN for a neuron to which nothing did."""
struct Place{M}
    y::NTuple{M,Float64}
    a::Float64
end

"""
What happened in a segment from `first_step` on: states at the starts of its steps, (neuron, step); which neurons went
through a step in pieces though nothing happened; and marks, how many up to the end of each step, with their places.
"""
struct GroupTape{Y,B,N,M,P}
    y::Y
    moved::B
    last_mark::N                    # of each step, from the second element on
    marks::M
    places::P
    may_fire::B                     # whether a spike could come, (neuron, saved time); empty where nobody asks
    first_step::Int
end

"""What reverse mode has of each sample besides what a forward run has."""
struct GroupBackward{T<:GroupTape,Y,N,K,F,Θ<:Model,W,D}
    tape::T
    at_once::Bool                   # whether the tape takes the whole sample
    steps::Int                      # of a segment, at most
    y::Y                            # of checkpoints, (neuron, checkpoint)
    spikes::N
    counts::K                       # step, spikes, next saved time and inputs sent, (4, checkpoint)
    bar::Y                          # cotangents of the state at the end, later the start, of the step at hand,
    moved_bar::Y                    # of that of neurons to which something happened within it,
    start_bar::F                    # and of their local times
    shares::F                       # of the targets of a spike in the cotangent of its time
    sent_bars::F                    # what the times of spikes owe to those that they reach later
    gradients::Θ                    # of this sample
    wanted::W
    spike_bars::F                   # the host's cotangents; empty where there are none
    recorded_bars::D
    hazard_bars::F
    hazard_bars_at_saves::F
    hazard_bar_at_spike::F
    input_bars::F                   # gradients by the times of inputs
end

# What is made of blocks, and of parts that are.
const OnDevice = Union{
    ModelPart,TabledOU,GroupMemory,SynapseArrays,InputArrays,GroupDeliveries,GroupState,GroupRecords,GroupWork,
    GroupInsertions,GroupTape,GroupBackward,GroupSteps,MadeOfArrays,
}

with_arrays(change, part::OnDevice) =
    rebuilt(part, (with_arrays(change, getfield(part, n)) for n in 1:nfields(part))...)

# --- on the tape ------------------------------------------------------------------------------------------------------

function note_start!(g::Group, tape::GroupTape, n)
    first_place = g.work.shape.num_neurons * (n - tape.first_step)
    for k in neurons(g)
        set_state!(tape.y, first_place + k, state_at(g.work.state.y, k))
    end
    leads(g.lane) && n == tape.first_step && (tape.last_mark[1] = 0)
    return
end

function note_end!(g::Group, tape::GroupTape, step::Step, progress::GroupProgress, eventful::Bool)
    x, count = g.work.state, g.work.shape.num_neurons
    column = step.index - tape.first_step
    eventful && note_mark!(g, tape, progress, Mark(FINISHED, progress.places, 0, step.stop, 0, 0, 0))
    for k in neurons(g)
        tape.moved[count*column+k] = x.moved[k] && !eventful
        eventful && note_place!(g, tape, progress.places + k, state_at(x.y, k), x.moved[k] ? x.start[k] : NaN)
    end
    eventful && (progress = marked(progress, count))
    leads(g.lane) && (tape.last_mark[column+2] = progress.marks)
    return progress
end

function note_stop!(g::Group, tape::GroupTape, step::Step, progress::GroupProgress)
    column = step.index - tape.first_step
    for k in neurons(g)
        tape.moved[g.work.shape.num_neurons*column+k] = false
    end
    leads(g.lane) && (tape.last_mark[column+2] = progress.marks)
    return progress
end

function note_mark!(g::Group, tape::GroupTape, progress::GroupProgress, mark::Mark)
    leads(g.lane) || return
    progress.marks < length(tape.marks) || return fail!(g, TAPE_IS_FULL, 0, 0)
    tape.marks[progress.marks+1] = mark
    return
end

function note_place!(g::Group, tape::GroupTape, place, y, a)
    place <= length(tape.places) || return fail!(g, TAPE_IS_FULL, 0, 0)
    tape.places[place] = Place(y, a)
    return
end

function note_hazard!(g::Group, tape::GroupTape, step::Step, place, τ)
    x, k = g.work.state, g.looked_at.neuron
    there = may_fire(g, k, state_within(g, step, k, τ))
    note_place!(g, tape, place, state_at(x.y, k), there ? piece_start(x, step, k) : NaN)
end

function note_save!(g::Group, tape::GroupTape, k, index, y)
    isempty(tape.may_fire) || (tape.may_fire[k+g.work.shape.num_neurons*(index-1)] = may_fire(g, k, y))
    return
end

# --- there and back ---------------------------------------------------------------------------------------------------

"""Add the gradients of sample `s` of a batch to its own: one of its lanes."""
function pull_back_group!(work::GroupWork, s, p, lane::Lane)
    g = Group(work, s, p, lane)
    b, total = g.work.backward, g.work.shape.num_steps
    with_first_tape = with_tape(g, b.tape)
    progress = begin_group!(g)
    checkpoint!(g, 1, 0, progress)
    n, from, segment = 0, 0, 1
    while n < total && !progress.stopped
        if !b.at_once && n > from && is_full(b, n - from, progress)
            segment, from = segment + 1, n
            checkpoint!(g, segment, n, progress)
            progress = unmarked(progress)
        end
        progress = b.at_once ? take_step!(with_first_tape, n, progress, n == 0) : take_step!(g, n, progress, n == 0)
        n += 1
    end
    begin_back!(g, progress, n)
    meet(g.lane)
    g.work.state.status[1] == ALL_WELL || return
    reached = n
    while segment > 0
        from = b.counts[1, segment]
        on_tape = with_tape(g, tape_from(b.tape, from))
        if !b.at_once
            progress, n = restore!(g, segment), from
            while n < reached && !progress.stopped
                progress = take_step!(on_tape, n, progress, n == from)
                n += 1
            end
        end
        meet(g.lane)
        g.work.state.status[1] == ALL_WELL || return
        n = reached
        while n > from
            n -= 1
            step_back!(on_tape, n, n == reached - 1)
        end
        reached, segment = from, segment - 1
    end
    end_back!(g)
    return
end

"""The same tape for a segment from another step on."""
@inline tape_from(tape::GroupTape, first_step) =
    GroupTape(tape.y, tape.moved, tape.last_mark, tape.marks, tape.places, tape.may_fire, first_step)

@inline unmarked(p::GroupProgress) = GroupProgress(p.num_spikes, p.next_save, p.stopped, 0, 0)

"""Whether a segment of so many steps is to end where it has come to."""
is_full(b::GroupBackward, steps, p::GroupProgress) =
    steps == b.steps || 2 * p.marks > length(b.tape.marks) || 2 * p.places > length(b.tape.places)

function checkpoint!(g::Group, segment, n, progress::GroupProgress)
    x, b = g.work.state, g.work.backward
    segment <= size(b.counts, 2) || return fail!(g, TAPE_IS_FULL, 0, 0)
    first_place = g.work.shape.num_neurons * (segment - 1)
    for k in neurons(g)
        set_state!(b.y, first_place + k, state_at(x.y, k))
        b.spikes[first_place+k] = x.spikes[k]
    end
    if leads(g.lane)
        b.counts[1, segment], b.counts[2, segment] = n, progress.num_spikes
        b.counts[3, segment], b.counts[4, segment] = progress.next_save, inputs_sent(g.work.deliveries)
    end
    return
end

@inline inputs_sent(::Nothing) = 0
@inline inputs_sent(d::GroupDeliveries) = d.sent[1]

"""Put the group back to a checkpoint."""
function restore!(g::Group, segment)
    x, b = g.work.state, g.work.backward
    first_place = g.work.shape.num_neurons * (segment - 1)
    for k in neurons(g)
        set_state!(x.y, k, state_at(b.y, first_place + k))
        x.spikes[k], x.moved[k], x.spikes_in_step[k] = b.spikes[first_place+k], false, 0
        expect_none!(x, k)
        unlist!(g.work.steps, k)
    end
    progress = GroupProgress(b.counts[2, segment], b.counts[3, segment], false, 0, 0)
    t = step_times(g.work.times, g.work.shape, b.counts[1, segment])[1]
    leads(g.lane) && restore!(g, g.work.deliveries, progress.num_spikes, b.counts[4, segment], t)
    return progress
end

restore!(g::Group, ::Nothing, num_spikes, inputs, t) = nothing

# What is under way at t is what was sent before and reaches targets later.
function restore!(g::Group, d::GroupDeliveries, num_spikes, inputs, t)
    begin_sample!(d)
    records, θ, synapses = g.work.records, g.work.θ, g.work.synapses
    if synapses.delayed == 1
        for n in 1:num_spikes
            send!(d, θ, synapses, records.spike_neurons[n] + 1, n, records.spike_times[n], t)
        end
    end
    neurons = synapses.num_sources - d.inputs.num_channels
    for n in 1:inputs
        send!(d, θ, synapses, neurons + input_channel(d, n), n, input_time(d, n), t)
    end
    d.sent[1] = inputs
    look_up!(g, d)
    return
end

"""At the end of a sample, before the way back: the cotangents of the state at t1, and of the integrated hazards."""
function begin_back!(g::Group, progress::GroupProgress, n)
    x, b = g.work.state, g.work.backward
    for k in neurons(g)
        y = state_at(x.y, k)
        all(isfinite, y) || fail!(g, NOT_FINITE, k, n)
        none = map(zero, y)
        set_state!(b.moved_bar, k, none)
        b.start_bar[k] = 0.0
        asked = !progress.stopped && !isempty(b.hazard_bars) && may_fire(g, k, y)
        set_state!(b.bar, k, asked ? Base.setindex(none, b.hazard_bars[k], length(none)) : none)
    end
    return
end

function end_back!(g::Group)
    b, shape = g.work.backward, g.work.shape
    saves_start = shape.num_saves > 0 && g.work.saveat[1] == shape.t0
    for k in neurons(g)
        saves_start && add_state!(b.bar, k, saved_bar(g, k, 1))
        initial_state_adjoint!(b.gradients, g.work.θ, k, state_at(b.bar, k))
    end
    return
end

"""The cotangent of neuron k's state at a saved time; that of its hazard is 0 where no spike could come."""
@inline function saved_bar(g::Group, k, index)
    b, place = g.work.backward, k + g.work.shape.num_neurons * (index - 1)
    y = state_at(b.bar, k)
    bar = ntuple(Val(length(y))) do variable
        variable <= length(b.recorded_bars) || return 0.0
        from = b.recorded_bars[variable]
        return isempty(from) ? 0.0 : finite_or_zero(from[place])
    end
    (isempty(b.hazard_bars_at_saves) || !b.tape.may_fire[place]) && return bar
    return Base.setindex(bar, finite_or_zero(b.hazard_bars_at_saves[place]), length(bar))
end

"""Turn the cotangent at the end of step n into that at its start."""
function step_back!(g::Group, n, is_last::Bool)
    draw_step_back!(g, n, is_last)
    step = step_at(g, n)
    undo_events!(g, step)
    whole_step_back!(g, step)
    return
end

"""Draw step n after step n + 1, or as the last one."""
@inline draw_step_back!(g::Group, n, is_last::Bool) =
    # A shortened last step has been drawn where the one before it would be.
    draw_step!(g, n, is_last || isodd(n) || n == g.work.shape.num_steps - 2)

"""What happened in step n: the numbers of its marks."""
@inline marks_of(tape::GroupTape, n) =
    tape.last_mark[n-tape.first_step+1]+1:tape.last_mark[n-tape.first_step+2]

"""Go back through what happened within the step."""
function undo_events!(g::Group, step::Step)
    b, tape = g.work.backward, g.tape
    marks = marks_of(tape, step.index)
    isempty(marks) && return
    for k in neurons(g), m in marks
        mark = tape.marks[m]
        mark.what == SAVED_AT_END && add_state!(b.bar, k, saved_bar(g, k, mark.index))
    end
    for m in reverse(marks)
        meet(g.lane)
        undo!(g, step, tape.marks[m])
    end
    meet(g.lane)
    return
end

"""Go back through the rest of the step, in which no neuron depends on another."""
function whole_step_back!(g::Group, step::Step)
    b, tape, solver, θ = g.work.backward, g.tape, g.work.solver, g.work.θ
    first_place = g.work.shape.num_neurons * (step.index - tape.first_step)
    for k in neurons(g)
        y, bar = state_at(tape.y, first_place + k), state_at(b.bar, k)
        if tape.moved[first_place+k]
            before, _, _ =
                advance_adjoint!(b.gradients, solver, θ, step, k, y, bar, step.start, step.stop, b.wanted, false)
        else
            x = step_increment(solver, step, k)
            before = one_step_adjoint!(b.gradients, solver, θ, k, y, bar, step.start, step.length, x, b.wanted)
        end
        moved, _ = take_bar!(b, k)          # the first piece starts at a fixed time
        set_state!(b.bar, k, plus(before, moved))
    end
    return
end

"""The cotangents of neuron k's state and of its local time within the step, which are 0 from then on."""
@inline function take_bar!(b::GroupBackward, k)
    bar, start_bar = state_at(b.moved_bar, k), b.start_bar[k]
    set_state!(b.moved_bar, k, map(zero, bar))
    b.start_bar[k] = 0.0
    return bar, start_bar
end

"""Cotangents before what a mark tells of from those after it."""
function undo!(g::Group, step::Step, mark::Mark)
    mark.what == FIRED && return undo_spike!(g, step, mark)
    mark.what == DELIVERED && return undo_delivery!(g, g.work.deliveries, step, mark)
    mark.what == SAVED_AT_END && return
    b, tape = g.work.backward, g.tape
    for k in neurons(g)
        place = tape.places[mark.place+k]
        isnan(place.a) && continue
        if mark.what == FINISHED
            at_b = state_at(b.bar, k)
            set_state!(b.bar, k, map(zero, at_b))
        else
            at_b = saved_bar(g, k, mark.index)
        end
        at_a, a_bar, _ = advance_adjoint!(
            b.gradients, g.work.solver, g.work.θ, step, k, place.y, at_b, place.a, mark.time, b.wanted, false,
        )
        add_state!(b.moved_bar, k, at_a)
        b.start_bar[k] += a_bar
    end
    return
end

"""
Given the cotangent `bar` of neuron k's state where a spike found it at `time`, go back to its place before; returns the
cotangent of that time.
"""
@inline function go_back!(g::Group, step::Step, k, place::Place, bar, start_bar, time)
    b = g.work.backward
    at_a, a_bar, b_bar = advance_adjoint!(
        b.gradients, g.work.solver, g.work.θ, step, k, place.y, bar, place.a, time, b.wanted,
    )
    set_state!(b.moved_bar, k, at_a)
    b.start_bar[k] = a_bar
    return start_bar + b_bar
end

function undo_spike!(g::Group, step::Step, mark::Mark)
    b, tape, θ, synapses = g.work.backward, g.tape, g.work.θ, g.work.synapses
    j, τ, reached = mark.source, mark.time, synapses_of(synapses, mark.source)
    for e in turns(g.lane, reached)
        k, n = target(synapses, e), 1 + e - first(reached)
        b.shares[n] = 0.0
        k == j && continue
        place = tape.places[mark.place+n]
        after, start_bar = take_bar!(b, k)
        # What an arrival that adds finds does not matter.
        found = arrivals_add(typeof(θ)) ? place.y : advance(g.work.solver, θ, step, k, place.y, place.a, τ)
        bar = arrival_adjoint!(b.gradients, θ, e, k, found, after)
        b.shares[n] = go_back!(g, step, k, place, bar, start_bar, τ)
    end
    meet(g.lane)
    leads(g.lane) && undo_transition!(g, step, mark, reached)
    return
end

"""The sum of the first shares."""
@inline function sum_of_shares(b::GroupBackward, count)
    total = 0.0
    for n in 1:count
        total += b.shares[n]
    end
    return total
end

"""The same of the neuron that has fired itself."""
function undo_transition!(g::Group, step::Step, mark::Mark, reached)
    b, θ, synapses, solver = g.work.backward, g.work.θ, g.work.synapses, g.work.solver
    j, τ, event, place = mark.source, mark.time, mark.event, g.tape.places[mark.place]
    spike = reach(solver, θ, step, j, place.y, place.a, false)
    bar, τ_bar = take_bar!(b, j)
    own = first_target(synapses, reached, j)
    if own <= last(reached) && target(synapses, own) == j
        bar = arrival_adjoint!(b.gradients, θ, own, j, transition(θ, j, event, spike.y, 0.0), bar)
    end
    bar = transition_adjoint!(b.gradients, θ, j, event, spike.y, bar)
    τ_bar += sum_of_shares(b, length(reached))
    isempty(b.spike_bars) || (τ_bar += finite_or_zero(b.spike_bars[mark.index]))
    isempty(b.sent_bars) || (τ_bar += b.sent_bars[mark.index])
    if g.looked_at.spike == mark.index
        set_state!(b.moved_bar, j, bar)
        τ_bar += undo_hazard!(g, step, g.tape.places[mark.place+1+length(reached)], τ)
        bar, start_bar = take_bar!(b, j)
        τ_bar += start_bar
    end
    at_a, a_bar =
        spike_adjoint!(b.gradients, solver, θ, step, j, event, place.y, bar, place.a, τ, spike, τ_bar, b.wanted)
    set_state!(b.moved_bar, j, at_a)
    b.start_bar[j] = a_bar
    return
end

"""
Cotangents of the neuron that is looked at from that of its hazard at τ; returns what the time τ owes to it.
"""
function undo_hazard!(g::Group, step::Step, place::Place, τ)
    b, k = g.work.backward, g.looked_at.neuron
    (isnan(place.a) || isempty(b.hazard_bar_at_spike)) && return 0.0
    none = map(zero, place.y)
    bar = Base.setindex(none, b.hazard_bar_at_spike[1], length(none))
    at_a, a_bar, b_bar =
        advance_adjoint!(b.gradients, g.work.solver, g.work.θ, step, k, place.y, bar, place.a, τ, b.wanted)
    add_state!(b.moved_bar, k, at_a)
    b.start_bar[k] += a_bar
    return b_bar
end

undo_delivery!(g::Group, ::Nothing, step::Step, mark::Mark) = nothing
function undo_delivery!(g::Group, d::GroupDeliveries, step::Step, mark::Mark)
    b, θ, synapses = g.work.backward, g.work.θ, g.work.synapses
    delays = b.gradients.delays
    for n in turns(g.lane, mark.count)
        e = synapse_at(d, mark.event + n - 1)
        k, place = target(synapses, e), g.tape.places[mark.place+n-1]
        after, start_bar = take_bar!(b, k)
        found = advance(g.work.solver, θ, step, k, place.y, place.a, mark.time)
        bar = delivery_adjoint!(b.gradients, θ, synapses, e, k, found, after)
        b.shares[n] = go_back!(g, step, k, place, bar, start_bar, mark.time)
        isempty(delays) || (delays[e] += b.shares[n])
    end
    meet(g.lane)
    leads(g.lane) || return
    bar = sum_of_shares(b, mark.count)
    if is_input(synapses, synapse_at(d, mark.event))
        isempty(b.input_bars) || (b.input_bars[mark.index] += bar)
    else
        b.sent_bars[mark.index] += bar
    end
    return
end
