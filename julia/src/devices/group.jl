# One sample, in one direction of a derivative or none, computed by the lanes of a group: what `Run` and its observers
# do on a processor, in memory that does not grow and without errors that are thrown. Lanes share the neurons of a whole
# step and the targets of a spike; between two meetings none touches what another does.

"""How far a sample has come, and how much has happened that a tape is for."""
struct GroupProgress
    num_spikes::Int
    next_save::Int
    stopped::Bool
    marks::Int
    places::Int
end

@inline stop(p::GroupProgress) = GroupProgress(p.num_spikes, p.next_save, true, p.marks, p.places)
@inline marked(p::GroupProgress, places) =
    GroupProgress(p.num_spikes, p.next_save, p.stopped, p.marks + 1, p.places + places)
@inline saved(p::GroupProgress) = GroupProgress(p.num_spikes, p.next_save + 1, p.stopped, p.marks, p.places)
@inline fired(p::GroupProgress, most) =
    GroupProgress(p.num_spikes + 1, p.next_save, p.num_spikes + 1 == most, p.marks, p.places)

"""What all groups of a call have in common, in plain numbers."""
struct GroupShape
    num_neurons::Int
    first_sample::Int
    seed::UInt64
    t0::Float64
    t1::Float64
    dt::Float64
    num_steps::Int
    last_length::Float64            # of the last step, which may be shorter than the others
    max_spikes::Int
    spike_limit::Int                # of all neurons within one step
    num_saves::Int
    keeps_areas::Bool
    wants_hazards::Bool             # at t1, of tangents
    wants_hazards_at_saves::Bool
end

"""
`NetworkState` and its tangent, and what belongs to a step. `expected` has each neuron's next spike, at Inf for none.
"""
struct GroupState{Y,Z,F,B,N,E,M}
    y::Y
    y_end::Y
    dy::Z                           # empty where nothing moves
    dy_end::Z
    start::F
    start_tangent::F
    moved::B
    spikes::N
    spikes_in_step::N
    expected::E
    increments::F                   # (neuron, component, even or odd step)
    areas::F
    memory::M
    times::F                        # of the first spike that each lane expects,
    neurons::N                      # and whose it is
    moved_by::F                     # ∂ of the time of the spike at hand
    status::N                       # what has gone wrong, where, in which step
end

"""
What is kept of a sample between the kernels of its steps, where each has its own (`steps.jl`): how far it had come at
the start of a step, (even or odd), and after what happened within it; how many steps it has begun; and in which step,
counted from 1, it was last that a neuron expected a spike as it began. Neurons that expect one are in lists, one per
lane of the group: its `first`, and which is `following` each of them; 0 is that of a neuron in no list.
"""
struct GroupSteps{P<:Block{GroupProgress,1},N<:Block{Int,1}}
    starts::P
    resolved::P
    begun::N
    expecting::N
    first::N
    following::N
end

"""Where a sample's results go; of arrays that nobody wants there is nothing."""
struct GroupRecords{F,N,B,R,L,D}
    spike_times::F
    spike_neurons::N
    spike_events::N
    num_spikes::N
    truncated::B
    recorded::R                     # (neuron, time) of each recorded variable
    last_state::L                   # a vector per variable, or none
    spike_times_tangent::F
    recorded_tangents::D
    hazards::F                      # tangents of those at t1, at saved times, and at the spike that is looked at
    hazards_at_saves::F
    hazard_at_spike::F
end

"""`Insertions` in arrays."""
struct GroupInsertions{N<:Block{Int64,1}}
    neurons::N
    spikes::N
    saves::N
end

@inline insertion_of(::Nothing) = Insertion(0, 0, 0)
@inline insertion_of(all::GroupInsertions) = Insertion(all.neurons[1] + 1, all.spikes[1] + 1, all.saves[1] + 1)

"""All that the groups of a call compute with: numbers, and blocks for each sample and direction."""
struct GroupWork{
    G,S<:Solver,Θ<:Model,Z,D<:Driver,W<:SynapseList,T<:Block{Float64,1},X<:GroupState,E,R<:GroupRecords,I,L,B,Q,
} <: MadeOfArrays
    shape::GroupShape
    times::G                        # at which steps begin and end; nothing where they are computed
    solver::S
    θ::Θ
    dθ::Z                           # its tangent, or nothing
    driver::D
    synapses::W
    saveat::T
    state::X
    deliveries::E                   # nothing where no spike is ever under way
    records::R
    inserted::I                     # spikes that the noise does not make, or nothing
    looked_at::L                    # spikes at which the hazard of another neuron is differentiated, or nothing
    backward::B                     # what reverse mode needs besides; nothing in a forward run
    steps::Q                        # what is kept between the kernels of a step; nothing where a group does all
end

"""
A lane of the group for one sample and direction, and what it sees. Only the first direction `writes` the sample. What
happens goes on a `tape` where there is one.
"""
struct Group{W<:GroupWork,Θ,L<:Lane,T}
    work::W
    dual::Θ                         # nothing where nothing moves
    key::NTuple{2,UInt64}
    writes::Bool
    inserted::Insertion
    looked_at::Insertion
    lane::L
    tape::T
end

@inline function Group(work::GroupWork, s, p, lane::Lane)
    w = of_group(work, s, p)
    key = (w.shape.seed, UInt64(w.shape.first_sample + s - 1))
    return Group(w, dual_of(w.θ, w.dθ), key, p == 1, insertion_of(w.inserted), insertion_of(w.looked_at), lane, nothing)
end

"""The same group with a tape, or, with nothing, without one."""
@inline with_tape(g::Group, tape) =
    Group(g.work, g.dual, g.key, g.writes, g.inserted, g.looked_at, g.lane, tape)

@inline dual_of(θ, ::Nothing) = nothing
@inline dual_of(θ, dθ::Model) = PlainDual(θ, dθ, nothing)

"""Whether a tangent comes along."""
@inline moves(g::Group) = g.dual !== nothing

@inline neurons(g::Group) = turns(g.lane, g.work.shape.num_neurons)

# What may go wrong; the last, of a tape, is mended by another call.
const ALL_WELL, NOT_FINITE, FIRES_TOO_OFTEN, RUNS_AWAY, TAPE_IS_FULL = 0, 1, 2, 3, 4

# What a tape has marks of.
const FIRED, DELIVERED, SAVED, SAVED_AT_END, FINISHED = 1, 2, 3, 4, 5

"""
Something that happened at `time`, and the first of the places at which neurons were then. Of a spike `index` says which
of the sample's it is, or of its inputs'; it is that of neuron `source`, by which `event`, or came from there. Of a
delivery, `event` is the first place that it reached in the order of delays, and `count` how many; of a saved time,
`index` says which it is.
"""
struct Mark
    what::Int
    place::Int
    count::Int
    time::Float64
    index::Int
    source::Int
    event::Int
end

@inline function fail!(g::Group, status, k, n)
    g.work.state.status[2], g.work.state.status[3] = k, n
    g.work.state.status[1] = status
    return
end

"""Compute sample `s` of a batch in direction `p`: one of its lanes."""
function run_group!(work::GroupWork, s, p, lane::Lane)
    g = Group(work, s, p, lane)
    progress, n = begin_group!(g), 0
    while n < g.work.shape.num_steps && !progress.stopped
        progress = take_step!(g, n, progress, n == 0)
        n += 1
    end
    meet(g.lane)
    end_group!(g, progress, n)
    return
end

function begin_group!(g::Group)
    x, θ = g.work.state, g.work.θ
    for k in neurons(g)
        log_u = first_log_u(θ, g.key, k)
        set_state!(x.y, k, initial_state(θ, k, log_u))
        moves(g) && set_state!(x.dy, k, tangents_of(initial_state(g.dual, k, log_u)))
        x.start_tangent[k], x.moved[k], x.spikes[k], x.spikes_in_step[k] = 0.0, false, 0, 0
        expect_none!(x, k)
        unlist!(g.work.steps, k)
        forget!(x.memory, k)
    end
    if leads(g.lane)
        x.status[1] = ALL_WELL
        begin_sample!(g.work.deliveries)
    end
    saves_start = g.work.shape.num_saves > 0 && g.work.saveat[1] == g.work.shape.t0
    if saves_start
        for k in neurons(g)
            record!(g, 1, k, state_at(x.y, k), state_at(x.dy, k))
        end
    end
    return GroupProgress(0, saves_start ? 2 : 1, false, 0, 0)
end

@inline expect_none!(x::GroupState, k) =
    (y = map(zero, state_at(x.y, k)); x.expected[k] = Spike(k, 0, Inf, y, y); nothing)

@inline function forget!(memory::GroupMemory, k)
    for depth in 1:size(memory.tag, 1)
        memory.tag[depth, k] = 0
    end
end

begin_sample!(::Nothing) = nothing
function begin_sample!(d::GroupDeliveries)
    empty!(d.under_way)
    d.sent[1] = 0
    d.coming[1] = NO_SPIKE_COMING
    return
end

function end_group!(g::Group, progress::GroupProgress, n)
    x, records = g.work.state, g.work.records
    x.status[1] == ALL_WELL || return
    for k in neurons(g)
        y = state_at(x.y, k)
        all(isfinite, y) || fail!(g, NOT_FINITE, k, n)
        progress.stopped && continue
        g.writes && set_first!(records.last_state, k, y)
        moves(g) && g.work.shape.wants_hazards && may_fire(g, k, y) && (records.hazards[k] = last(state_at(x.dy, k)))
    end
    if leads(g.lane) && g.writes
        records.num_spikes[1], records.truncated[1] = progress.num_spikes, progress.stopped
    end
    return
end

may_fire(g::Group, k, y) =
    last(y) > (is_clamped(g.work.θ, k) ? 0.0 : threshold(g.key, k - 1, g.work.state.spikes[k]))

# --- steps ------------------------------------------------------------------------------------------------------------

"""Step n, the first of a run of them or not."""
function take_step!(g::Group, n, progress::GroupProgress, is_first::Bool)
    step = begin_step!(g, n, is_first)
    before = progress.marks
    progress = resolve_step!(g, step, progress, true)
    progress.stopped && return progress
    return finish_step!(g, step, progress, before)
end

"""Take the whole step n, as if nothing were to happen in it. Here no neuron depends on another."""
function begin_step!(g::Group, n, is_first::Bool)
    draw_step!(g, n, is_first || iseven(n))
    step = step_at(g, n)
    note_start!(g, g.tape, n)
    full_step!(g, step)
    return step
end

"""
Let happen what happens within the step. Saved times behind the last event may be left, unless `saves`: nothing depends
on them there.
"""
function resolve_step!(g::Group, step::Step, progress::GroupProgress, saves::Bool)
    leads(g.lane) && send_inputs!(g, g.work.deliveries, step.stop)
    progress = resolve_events!(g, step, progress)
    progress.stopped && return note_stop!(g, g.tape, step, progress)
    saves || return progress
    progress, inserts = save_until!(g, step, progress, step.stop, true)
    while inserts && g.work.saveat[progress.next_save-1] < step.stop
        insert_spike!(g, step, g.work.saveat[progress.next_save-1])
        progress = resolve_events!(g, step, progress)
        progress.stopped && return note_stop!(g, g.tape, step, progress)
        progress, inserts = save_until!(g, step, progress, step.stop, true)
    end
    return progress
end

"""
Go on to the end of the step, before which there were so many marks. As in its beginning, no neuron depends on another.
"""
function finish_step!(g::Group, step::Step, progress::GroupProgress, marks_before)
    progress = note_end!(g, g.tape, step, progress, progress.marks > marks_before)
    end_step!(g, step)
    inserts_at_end(g, step, progress) && let_fire_next!(g, g.inserted.neuron)
    return progress
end

"""Whether a spike is inserted at the saved time that is the end of this step, and has been come to."""
inserts_at_end(g::Group, step::Step, progress::GroupProgress) = g.inserted.save > 0 &&
    g.inserted.save == progress.next_save - 1 && g.work.saveat[g.inserted.save] == step.stop

"""Let neuron j fire as the next step begins."""
function let_fire_next!(g::Group, j)
    for k in neurons(g)
        k == j && (last(g.work.state.y)[k] = 0.0)
    end
end

# Where there is no tape, nothing is noted but how much there would be.
note_start!(g::Group, ::Nothing, n) = nothing
note_stop!(g::Group, ::Nothing, step::Step, progress) = progress
note_end!(g::Group, ::Nothing, step::Step, progress, eventful) =
    eventful ? marked(progress, g.work.shape.num_neurons) : progress
note_mark!(g::Group, ::Nothing, progress, mark) = nothing
note_place!(g::Group, ::Nothing, place, y, a) = nothing
note_save!(g::Group, ::Nothing, k, index, y) = nothing
note_hazard!(g::Group, ::Nothing, step::Step, place, τ) = nothing

"""Step `n` (from 0) of the grid, whose noise has been drawn."""
@inline function step_at(g::Group, n)
    shape, x, path = g.work.shape, g.work.state, g.work.driver
    start, stop = step_times(g.work.times, shape, n)
    span = length_of(shape, n)
    drawn = path.levels == 0 && span == shape.dt
    offset = drawn ? pair_place(g, path, n) : 0
    # Noise steps are kept as normals.
    scale, area_scale = drawn ? (sqrt(shape.dt), sqrt(shape.dt / 12)) : (1.0, 1.0)
    return Step(
        start, stop, span, scale, x.increments, offset, area_scale, x.areas, offset,
        shape.num_neurons, g.key, n, path, of_lane(x.memory, g.lane),
    )
end

@inline length_of(shape::GroupShape, n) = n == shape.num_steps - 1 ? shape.last_length : shape.dt

@inline step_times(::Nothing, shape::GroupShape, n) = step_times(shape, n)
@inline step_times(times::Block, ::GroupShape, n) = times[n+1], times[n+2]

"""
Draw what this lane's neurons need of the driver in step n; where it is the half of a block of the generator that serves
the step before or, backwards, after this one, too, only if `anew`.
"""
@inline function draw_step!(g::Group, n, anew::Bool)
    shape, path = g.work.shape, g.work.driver
    span = length_of(shape, n)
    if path.levels == 0 && span == shape.dt
        anew && draw_pair!(g, path, n)
    else
        draw!(g, path, n, span < shape.dt, span)
    end
    return
end

# Where the normals of step n are, of those of it and its neighbour.
@inline pair_place(g::Group, ::DrawnSteps{C}, n) where {C} = isodd(n) ? C * g.work.shape.num_neurons : 0

"""Draw normals for the increments, and areas if they are kept, of step n and its neighbour."""
function draw_pair!(g::Group, path::DrawnSteps{C}, n) where {C}
    shape, x = g.work.shape, g.work.state
    N = shape.num_neurons
    for k in neurons(g), c in 1:C
        place = k + (c - 1) * N
        x.increments[place], x.increments[place+C*N] = both_normals(g, INCREMENT, n, k, c)
        shape.keeps_areas && ((x.areas[place], x.areas[place+C*N]) = both_normals(g, LEVY_AREA, n, k, c))
    end
    return
end

"""Draw increments, and areas if they are kept, of step n alone."""
function draw!(g::Group, path::DrawnSteps{C}, n, shortened, span) where {C}
    shape, x = g.work.shape, g.work.state
    for k in neurons(g)
        whole = grid_step(path, g.key, n, k)
        for c in 1:C
            place, w, h = k + (c - 1) * shape.num_neurons, whole.w[c], whole.h[c]
            shortened && ((w, h) = beginning(path, g.key, k, c, n, shape.dt, w, h, span / shape.dt))
            x.increments[place] = w
            shape.keeps_areas && (x.areas[place] = h)
        end
    end
    return
end

@inline both_normals(g::Group, purpose, n, k, c) =
    normal_pair(g.key, (UInt64(n >> 1), counter_word(purpose, c - 1, k - 1)))

function full_step!(g::Group, step::Step)
    x, solver, θ = g.work.state, g.work.solver, g.work.θ
    for k in neurons(g)
        y, along_step = state_at(x.y, k), step_increment(solver, step, k)
        after = one_step(solver, θ, k, y, step.start, step.length, along_step)
        set_state!(x.y_end, k, after)
        if moves(g)
            dual = one_step(solver, g.dual, k, duals(y, state_at(x.dy, k)), step.start, step.length, along_step)
            set_state!(x.dy_end, k, tangents_of(dual))
        end
        fires(θ, k, after) && look_ahead!(g, step, k)
    end
end

"""Bring the end of neuron k's piece up to date, and expect its spike if it fires before that."""
function look_ahead!(g::Group, step::Step, k)
    x, a = g.work.state, piece_start(g.work.state, step, k)
    arrival = reach(g.work.solver, g.work.θ, step, k, state_at(x.y, k), a, !x.moved[k])
    if arrival.τ < Inf
        expect!(g, step, k, Spike(k, arrival))
    else
        set_state!(x.y_end, k, arrival.y)
        mark_moved!(x, k, a)
    end
    return
end

@inline function expect!(g::Group, step::Step, k, spike::Spike)
    g.work.state.expected[k] = spike
    list!(g.work.steps, g.lane, step.index, k)
    return
end

@inline mark_moved!(x::GroupState, k, a) = (x.start[k] = a; x.moved[k] = true; nothing)

@inline restart!(g::Group, step::Step, k) = (expect_none!(g.work.state, k); look_ahead!(g, step, k))

function end_step!(g::Group, step::Step)
    x, θ = g.work.state, g.work.θ
    for k in neurons(g)
        if x.moved[k]
            if moves(g)
                set_state!(x.dy_end, k, tangent_within(g, step, k, step.stop, 0.0))
                x.start_tangent[k] = 0.0
            end
            x.moved[k], x.spikes_in_step[k] = false, 0
        end
        y = state_at(x.y_end, k)
        set_state!(x.y, k, rearms(typeof(θ)) ? rearmed(θ, k, y) : y)
        moves(g) && set_state!(x.dy, k, state_at(x.dy_end, k))
    end
end

"""Tangent of neuron k's state at `t` of this step, from where it is now; `dt` is that of t."""
@inline function tangent_within(g::Group, step::Step, k, t, dt)
    x, a = g.work.state, piece_start(g.work.state, step, k)
    da = x.moved[k] ? x.start_tangent[k] : 0.0
    return advance_tangent(g.work.solver, g.dual, step, k, state_at(x.y, k), state_at(x.dy, k), a, t, da, dt)
end

# --- records ----------------------------------------------------------------------------------------------------------

"""
Record all neurons at the saved times before `t`, or up to it where `included`, and no further than to one at which a
spike is inserted; returns whether it has come to that.
"""
function save_until!(g::Group, step::Step, progress::GroupProgress, t, included::Bool)
    first_save = progress.next_save
    progress, inserts = save_own_until!(g, step, progress, t, included)
    # What comes next may move neurons of another lane, which has to have recorded them.
    progress.next_save > first_save && meet(g.lane)
    return progress, inserts
end

"""The same where nothing comes next that moves neurons of another lane."""
function save_own_until!(g::Group, step::Step, progress::GroupProgress, t, included::Bool)
    inserts = false
    while progress.next_save <= g.work.shape.num_saves && !inserts
        at = g.work.saveat[progress.next_save]
        (at < t || included && at == t) || break
        progress = save!(g, step, progress, at)
        inserts = g.inserted.save > 0 && g.inserted.save == progress.next_save - 1
    end
    return progress, inserts
end

"""Record all neurons at `t`, the next saved time."""
function save!(g::Group, step::Step, progress::GroupProgress, t)
    x, shape, index = g.work.state, g.work.shape, progress.next_save
    ends_step = t == step.stop && !progress.stopped
    note_mark!(g, g.tape, progress, Mark(ends_step ? SAVED_AT_END : SAVED, progress.places, 0, t, index, 0, 0))
    for k in neurons(g)
        a = piece_start(x, step, k)
        y = ends_step ? state_at(x.y_end, k) : state_within(g, step, k, t)
        ends_step || note_place!(g, g.tape, progress.places + k, state_at(x.y, k), a)
        note_save!(g, g.tape, k, index, y)
        dy = !moves(g) || ends_step && !x.moved[k] ? state_at(x.dy_end, k) : tangent_within(g, step, k, t, 0.0)
        record!(g, index, k, y, dy)
        if moves(g) && shape.wants_hazards_at_saves && t > shape.t0 && may_fire(g, k, y)
            g.work.records.hazards_at_saves[k+shape.num_neurons*(index-1)] = last(dy)
        end
    end
    return saved(marked(progress, ends_step ? 0 : shape.num_neurons))
end

"""Put as many of a state's variables there as there are arrays."""
@inline set_first!(arrays::NTuple{R,Any}, place, y) where {R} =
    (ntuple(n -> (arrays[n][place] = y[n]; nothing), Val(R)); nothing)

@inline function record!(g::Group, index, k, y, dy)
    records, place = g.work.records, k + g.work.shape.num_neurons * (index - 1)
    g.writes && set_first!(records.recorded, place, y)
    moves(g) && set_first!(records.recorded_tangents, place, dy)
    return
end

# --- events -----------------------------------------------------------------------------------------------------------

"""Let all neurons fire that fire in this step, and spikes arrive that do so, in the order of time."""
function resolve_events!(g::Group, step::Step, progress::GroupProgress)
    before = progress.num_spikes
    while true
        τ, j, coming, well = next_event(g)
        well || return stop(progress)
        if coming.arrival <= step.stop && coming.arrival <= τ
            progress, inserts = save_until!(g, step, progress, coming.arrival, false)
            inserts && (insert_spike!(g, step, g.work.saveat[progress.next_save-1]); continue)
            progress = deliver!(g, g.work.deliveries, step, progress, coming)
            continue
        end
        τ < Inf || return progress
        progress, inserts = save_until!(g, step, progress, τ, false)
        inserts && (insert_spike!(g, step, g.work.saveat[progress.next_save-1]); continue)
        progress = fire!(g, step, progress, j, τ)
        progress.stopped && return progress
        if g.inserted.spike == progress.num_spikes
            meet(g.lane)
            insert_spike!(g, step, τ)
        end
        if progress.num_spikes - before > g.work.shape.spike_limit && leads(g.lane)
            fail!(g, RUNS_AWAY, j, step.index)
        end
    end
end

"""Let the neuron that has an inserted spike fire at τ in this step, whatever its threshold."""
function insert_spike!(g::Group, step::Step, τ)
    leads(g.lane) || return
    x, k = g.work.state, g.inserted.neuron
    if !(x.moved[k] && x.start[k] == τ)
        y = advance(g.work.solver, g.work.θ, step, k, state_at(x.y, k), piece_start(x, step, k), τ)
        set_state!(x.y, k, y)
        mark_moved!(x, k, τ)
    end
    y = state_at(x.y, k)
    expect!(g, step, k, Spike(k, 1, τ, y, scaled(0.0, y)))
    return
end

"""
Time and neuron of the next spike that any neuron is about to fire in this step, Inf where there is none; the spike that
arrives next; and whether all is well.
"""
function next_event(g::Group)
    x, lane = g.work.state, g.lane
    meet(lane)
    well, coming = x.status[1] == ALL_WELL, coming_spike(g.work.deliveries)
    τ, j = next_of_lane(g, g.work.steps)
    num_lanes(lane) == 1 && return τ, j, coming, well
    index = lane_index(lane)
    x.times[index], x.neurons[index] = τ, j
    meet(lane)
    in_halves(lane) do other
        time, k = x.times[other], x.neurons[other]
        if time < x.times[index] || time == x.times[index] && k < x.neurons[index]
            x.times[index], x.neurons[index] = time, k
        end
    end
    return x.times[1], x.neurons[1], coming, well
end

"""Time and neuron of the next spike that any neuron of this lane is about to fire: all of them are looked at."""
@inline function next_of_lane(g::Group, ::Nothing)
    x, τ, j = g.work.state, Inf, 0
    for k in neurons(g)
        time = x.expected[k].time
        time < τ && ((τ, j) = (time, k))
    end
    return τ, j
end

# Where all are looked at there are no lists.
@inline list!(::Nothing, lane::Lane, n, k) = nothing
@inline unlist!(::Nothing, k) = nothing

"""Let neuron j, which is expected to, fire at τ: its targets are brought there, and all of them go on from there."""
function fire!(g::Group, step::Step, progress::GroupProgress, j, τ)
    x, θ, synapses, index = g.work.state, g.work.θ, g.work.synapses, progress.num_spikes + 1
    spike, place, reached = x.expected[j], progress.places + 1, synapses_of(synapses, j)
    looks = g.looked_at.spike == index
    if leads(g.lane)
        note_mark!(g, g.tape, progress, Mark(FIRED, place, 0, τ, index, j, spike.event))
        note_place!(g, g.tape, place, state_at(x.y, j), piece_start(x, step, j))
        looks && note_hazard!(g, g.tape, step, place + 1 + length(reached), τ)
        bring_to_spike!(g, step, j, spike, index)
    end
    meet(g.lane)
    dτ = moves(g) ? x.moved_by[1] : 0.0
    for e in turns(g.lane, reached)
        k = target(synapses, e)
        k == j || arrive!(g, step, e, k, τ, dτ, place + 1 + e - first(reached))
    end
    leads(g.lane) && make_transition!(g, step, j, spike.event, reached, index, τ)
    progress = fired(marked(progress, 1 + length(reached) + looks), g.work.shape.max_spikes)
    if progress.stopped
        meet(g.lane)
        next = progress.next_save
        if next <= g.work.shape.num_saves && g.work.saveat[next] == τ
            progress = save!(g, step, progress, τ)
        end
    end
    return progress
end

"""Bring neuron j to its spike, and put that down."""
function bring_to_spike!(g::Group, step::Step, j, spike::Spike, index)
    x, records, τ = g.work.state, g.work.records, spike.time
    if moves(g)
        y, a = state_at(x.y, j), piece_start(x, step, j)
        da = x.moved[j] ? x.start_tangent[j] : 0.0
        dτ, dy = spike_tangent(g.work.solver, g.dual, step, spike, y, state_at(x.dy, j), a, da)
        set_state!(x.dy, j, dy)
        x.start_tangent[j] = x.moved_by[1] = dτ
        records.spike_times_tangent[index] = dτ
        g.looked_at.spike == index && look_at_hazard!(g, step, τ, dτ)
    end
    set_state!(x.y, j, spike.y)
    mark_moved!(x, j, τ)
    if g.writes
        records.spike_times[index], records.spike_neurons[index] = τ, j - 1
        isempty(records.spike_events) || (records.spike_events[index] = spike.event - 1)
    end
    return
end

"""Put down ∂ of the integrated hazard of the neuron that is looked at, at the moving time τ of another's spike."""
function look_at_hazard!(g::Group, step::Step, τ, dτ)
    k = g.looked_at.neuron
    may_fire(g, k, state_within(g, step, k, τ)) || return
    g.work.records.hazard_at_spike[1] = last(tangent_within(g, step, k, τ, dτ))
    return
end

"""Neuron k's state at time `t` within this step, from where it is now."""
@inline state_within(g::Group, step::Step, k, t) = advance(
    g.work.solver, g.work.θ, step, k, state_at(g.work.state.y, k), piece_start(g.work.state, step, k), t,
)

"""
Bring neuron k, the target of synapse e, to τ, which moves by dτ, where a spike comes by it. Of a tape the neuron has
this place.
"""
function arrive!(g::Group, step::Step, e, k, τ, dτ, place)
    x, solver, θ = g.work.state, g.work.solver, g.work.θ
    note_place!(g, g.tape, place, state_at(x.y, k), piece_start(x, step, k))
    y = advance(solver, θ, step, k, state_at(x.y, k), piece_start(x, step, k), τ)
    if moves(g)
        dy = tangent_within(g, step, k, τ, dτ)
        set_state!(x.dy, k, tangents_of(delivery(g.dual, g.work.synapses, e, k, duals(y, dy))))
        x.start_tangent[k] = dτ
    end
    set_state!(x.y, k, delivery(θ, g.work.synapses, e, k, y))
    mark_moved!(x, k, τ)
    restart!(g, step, k)
end

"""Let neuron j, which is at its spike, make its transition, and its spike be under way to targets behind delays."""
function make_transition!(g::Group, step::Step, j, event, reached, index, τ)
    x, θ, synapses = g.work.state, g.work.θ, g.work.synapses
    y = state_at(x.y, j)
    all(isfinite, y) || fail!(g, NOT_FINITE, j, step.index)
    x.spikes[j] += 1
    after = transition(θ, j, event, y, next_log_u(θ, g.key, j, event, x.spikes[j]))
    own = first_target(synapses, reached, j)
    to_itself = own <= last(reached) && target(synapses, own) == j
    if moves(g)
        dual = transition(g.dual, j, event, duals(y, state_at(x.dy, j)), 0.0)
        set_state!(x.dy, j, tangents_of(to_itself ? arrival(g.dual, own, j, dual) : dual))
    end
    set_state!(x.y, j, to_itself ? arrival(θ, own, j, after) : after)
    restart!(g, step, j)
    x.spikes_in_step[j] += 1
    x.spikes_in_step[j] > MAX_SPIKES_IN_STEP && fail!(g, FIRES_TOO_OFTEN, j, step.index)
    synapses.delayed == 1 && send_spike!(g, g.work.deliveries, j, index, τ)
    return
end

# --- spikes under way -------------------------------------------------------------------------------------------------

@inline coming_spike(::Nothing) = NO_SPIKE_COMING
@inline coming_spike(d::GroupDeliveries) = d.coming[1]

send_inputs!(g::Group, ::Nothing, t) = nothing
function send_inputs!(g::Group, d::GroupDeliveries, t)
    send_inputs!(d, g.work.θ, g.work.synapses, t)
    look_up!(g, d)
end

send_spike!(g::Group, ::Nothing, j, index, τ) = nothing
function send_spike!(g::Group, d::GroupDeliveries, j, index, τ)
    send!(d, g.work.θ, g.work.synapses, j, index, τ)
    look_up!(g, d)
end

"""Let all lanes know which spike arrives next, and where."""
function look_up!(g::Group, d::GroupDeliveries)
    d.coming[1] = isempty(d.under_way) ? NO_SPIKE_COMING : d.under_way[1]
    isempty(d.under_way) && return
    reached = reached_next(d, g.work.θ, g.work.synapses, d.under_way[1])
    d.places[1], d.places[2] = first(reached), last(reached)
    return
end

deliver!(g::Group, ::Nothing, step::Step, progress, spike::SpikeUnderWay) = progress
function deliver!(g::Group, d::GroupDeliveries, step::Step, progress::GroupProgress, spike::SpikeUnderWay)
    reached, noted = d.places[1]:d.places[2], progress.places + 1
    if leads(g.lane)
        note_mark!(g, g.tape, progress, Mark(
            DELIVERED, noted, length(reached), spike.arrival, spike.index, spike.source, first(reached),
        ))
    end
    for place in turns(g.lane, reached)
        e = synapse_at(d, place)
        dT = moves(g) ? sent_tangent(g, d, spike, e) + delay_tangent(g.dual, e) : 0.0
        arrive!(g, step, e, target(g.work.synapses, e), spike.arrival, dT, noted + place - first(reached))
    end
    meet(g.lane)
    if leads(g.lane)
        go_on!(d, g.work.θ, g.work.synapses, last(reached))
        look_up!(g, d)
    end
    return marked(progress, length(reached))
end

"""∂ of the time at which a spike was sent: of an input it is the host's, of a neuron it is known."""
@inline function sent_tangent(g::Group, d::GroupDeliveries, spike::SpikeUnderWay, e)
    is_input(g.work.synapses, e) || return g.work.records.spike_times_tangent[spike.index]
    return isempty(d.inputs.time_tangents) ? 0.0 : d.inputs.time_tangents[spike.index]
end
