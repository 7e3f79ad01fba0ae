# Reverse mode: the adjoint of the discretised map. The solution is recomputed in segments between checkpoints, from the
# last to the first; each is recorded (states at the starts of its steps, and a tape of what its events did) and walked
# backwards.

"""
Cotangents of a solution, C-ordered like it (null where there are none), and where the host wants gradients. `entries`
are those of the integrated hazards, which count only where a spike could come: how a loss changes where neuron k fires
at t1 (S, N), at a saved time (S, T, N), or where the neuron of `insertions` fires at the spike named there (S,).
"""
struct AdjointData
    spike_times::Ptr{Float64}       # (S, K)
    recorded::Ptr{Ptr{Float64}}     # one array (S, T, N) per recorded variable, or null
    num_recorded::Int64
    gradients::Ptr{Coefficient}     # parallel to the problem's coefficients; null where no gradient is wanted
    weights::PerSynapse
    delays::PerSynapse
    input_times::Coefficient
    entries::Ptr{Float64}
    entries_at_saves::Ptr{Float64}
    entries_at_insertions::Ptr{Float64}
    insertions::Insertions
    path_values::Ptr{Coefficient}   # gradients by the values at the driver's knots, one per component, of each sample
                                    # its own; null likewise
    jump_sizes::Ptr{Float64}        # those by the sizes of its jumps, each sample's from the row on that `jump_rows`
    jump_times::Ptr{Float64}        # says (from 0), and those by their times; null likewise
    jump_rows::Ptr{Int64}
    chunk_stops::Ptr{Int64}         # the last samples of chunks whose sums the host wants apart, along the gradients'
    num_chunks::Int64               # directions; null where it wants those of all samples
    at_recorded_spikes::AtRecordedSpikes
    at_end::Ptr{Float64}            # the cotangent of the whole state at t1, laid out as the problem's `start`, or null
    at_start::Ptr{Float64}          # where that of `start` goes, laid out likewise, or null
end

push!(BOUNDARY_STRUCTS, AdjointData)

AdjointData(spike_times, recorded, num_recorded, gradients, weights) = AdjointData(
    spike_times, recorded, num_recorded, gradients, weights, NOT_GIVEN, NOWHERE, C_NULL, C_NULL, C_NULL,
    NO_INSERTIONS, C_NULL, C_NULL, C_NULL, C_NULL, C_NULL, 0, NOT_WANTED, C_NULL, C_NULL,
)

"""
What happened to a neuron within a step: it reached the threshold (`CROSSING`) and made its transition (`TRANSITION`),
was brought to the time of another's spike or of its own recorded one (`ADVANCE`) or to the end of the step (`FINISH`),
was found there by a synapse (`TARGET`) or by a spike that was under way (`DELIVERY`), was about to fire as a recording
says (`CLAMPED`), was looked at for what is recorded (`RECORD`) or for its hazard at another's spike (`HAZARD`), or
its driver jumped (`JUMP`). Where every piece is straight, to all targets of a spike at once: it came to them (`ROW`),
after which all that depends on its time is known (`SPIKE`); and to all neurons that something has happened to: they
came to the end of the step (`FINISH`).
"""
@enum Happening::UInt8 CROSSING TRANSITION ADVANCE FINISH RECORD HAZARD TARGET DELIVERY JUMP CLAMPED ROW SPIKE

"""
To neuron k, from local time a to b, in state y at a. `index` is that of the spike or of the saved time; `event` says
which of the model's events a spike is; of a delivery, `index` says which spike it was, `event` by which synapse it
came; of a jump, `index` says which of the sample's; of a recorded spike, which of the recording's it is; of a row,
k is the neuron that has fired, and `index` says which spike under way has reached it, or is 0.
"""
struct TapeEntry{M}     # as small as can be: what a network's gradient costs is reading them
    y::NTuple{M,Float64}
    a::Float64
    b::Float64
    index::Int
    k::Int32
    event::Int32
    what::Happening
end

TapeEntry(what::Happening, k, y, a, b, index, event = 0) = TapeEntry(y, a, b, index, Int32(k), Int32(event), what)

"""A neuron's state at a spike, a delivery or a jump, and its speed before a spike."""
struct Passage{M}
    y::NTuple{M,Float64}
    ẏ::NTuple{M,Float64}
end

"""Record of one segment, of a team's neurons: columns are steps."""
mutable struct Tape{M} <: Observer
    first_step::Int
    y::NTuple{M,Matrix{Float64}}
    increments::Vector{Float64}     # of all steps, one after the other
    areas::Vector{Float64}          # likewise; empty where steps come without
    length::Vector{Float64}
    scale::Vector{Float64}
    area_scale::Vector{Float64}
    entries::Vector{TapeEntry{M}}   # as many as `last_entry` says
    passages::Vector{Passage{M}}    # of those entries that have one, in their order
    rows::TapeRows{M}               # of those that are of many neurons, likewise
    last_entry::Vector{Int}         # of each step
    saved_at_end::Vector{Int}       # index of the time that is the end of the step, or 0
    may_fire::Matrix{Bool}          # whether a spike could come, (neuron, saved time); no columns where nobody asks
    insertion::Insertion            # of this sample, where the hazard of its neuron counts
    column::Int
end

Tape{M}(n, components, steps, areas::Bool) where {M} = Tape{M}(
    0, ntuple(_ -> zeros(n, steps), Val(M)), zeros(n * components * steps), zeros(areas ? n * components * steps : 0),
    zeros(steps), zeros(steps), zeros(steps), TapeEntry{M}[], Passage{M}[], TapeRows{M}(), zeros(Int, steps),
    zeros(Int, steps), zeros(Bool, n, 0), Insertion(0, 0, 0), 0,
)

function after_full_step!(tape::Tape, run::Run, step::Step{M,C}, n) where {M,C}
    c = tape.column = n - tape.first_step + 1
    count, draws, from = step.num_neurons, step.num_neurons * C, first(neurons(run.team))
    foreach((matrix, a) -> copyto!(matrix, 1 + (c - 1) * count, a, from, count), tape.y, run.x.y)
    copyto!(tape.increments, 1 + (c - 1) * draws, step.increments, step.offset + from, draws)
    isempty(tape.areas) || copyto!(tape.areas, 1 + (c - 1) * draws, step.areas, step.area_offset + from, draws)
    begin_column!(tape, c, step.length, step.scale, step.area_scale)
end

"""A column for a step of that length, in which nothing has happened yet."""
@inline function begin_column!(tape::Tape, c, span, scale, area_scale)
    tape.length[c] = span
    tape.scale[c] = scale
    tape.area_scale[c] = area_scale
    tape.saved_at_end[c] = 0
    tape.last_entry[c] = c == 1 ? 0 : tape.last_entry[c-1]
end

takes_event_free_steps(::Tape) = true

function after_event_free_steps!(tape::Tape, run::Run{M,C}, from, to) where {M,C}
    for n in from:to-1
        c = n - tape.first_step + 1
        @inbounds set_state!(tape.y, c, state_at(run.trail, n - from + 1))
        w, offset = increments!(run.driver, n)
        @inbounds for component in 1:C
            tape.increments[C*(c-1)+component] = w[offset+component]
        end
        if !isempty(tape.areas)
            h, offset = areas!(run.driver, n)
            @inbounds for component in 1:C
                tape.areas[C*(c-1)+component] = h[offset+component]
            end
        end
        begin_column!(tape, c, run.problem.dt, increment_scale(run.driver), area_scale(run.driver))
    end
end

"""Put an entry on the tape, as one of the step at hand."""
@inline function record!(tape::Tape, entry::TapeEntry)
    n = tape.last_entry[tape.column] += 1
    n > length(tape.entries) && resize!(tape.entries, 2 * n)
    @inbounds tape.entries[n] = entry
end

"""The same of one that says of no neuron where it was."""
@inline record!(tape::Tape{M}, what::Happening, k, τ, index = 0) where {M} =
    record!(tape, TapeEntry(what, k, zero_state(Val(M)), 0.0, τ, index))

"""The same of one that has a passage."""
function record!(tape::Tape, entry::TapeEntry, passage::Passage)
    record!(tape, entry)
    push!(tape.passages, passage)
end

function before_spike!(tape::Tape, run::Run, step, spike, y, a)
    entry = TapeEntry(CROSSING, spike.k, y, a, spike.time, run.num_spikes + 1, spike.event)
    record!(tape, entry, Passage(spike.y, spike.ẏ))
end

function at_spike!(tape::Tape, run::Run, step::Step, j, τ)
    takes_rows(tape, run.solver) && record!(tape, SPIKE, j, τ)
    k = tape.insertion.neuron
    tape.insertion.spike == run.num_spikes + 1 && is_mine(run.team, k) || return
    may_fire(run, k, state_within(run, step, k, τ)) || return
    record!(tape, TapeEntry(HAZARD, k, state_at(run.x.y, k), piece_start(run.x, step, k), τ, 0))
end

before_move!(tape::Tape, run::Run, step, k, y, a, τ) = record!(tape, TapeEntry(ADVANCE, k, y, a, τ, 0))
function before_transition!(tape::Tape, run::Run, step, j, event)
    record!(tape, TapeEntry(TRANSITION, j, state_at(run.x.y, j), 0.0, 0.0, 0, event))
    arrivals_add(typeof(run.θ)) && return
    for e in synapses_of(run.synapses, j)
        k = target(run.synapses, e)
        # What comes back to the neuron itself finds it after its transition.
        y = state_at(run.x.y, k)
        record!(tape, TapeEntry(TARGET, k, k == j ? transition(run.θ, j, event, y, 0.0) : y, 0.0, 0.0, 0))
    end
end

takes_rows(::Tape, solver) = is_straight(solver)

function before_firing!(tape::Tape, run::Run, step::Step, j, event, τ)
    before, _, after = around(run.synapses, mine(run.team, run.synapses, synapses_of(run.synapses, j)), j)
    isempty(before) || record_row!(tape, run, step, before, j, τ)
    isempty(after) || record_row!(tape, run, step, after, j, τ)
    is_mine(run.team, j) && record!(tape, TapeEntry(TRANSITION, j, state_at(run.x.y, j), 0.0, 0.0, 0, event))
end

# All threads of a team have an entry of it, whether it reaches neurons of theirs or not.
before_row!(tape::Tape, run::Run, step::Step, places, spike::SpikeUnderWay) =
    record_row!(tape, run, step, places, spike.source, spike.arrival, spike.index)

function record_row!(tape::Tape, run::Run, step::Step, reached, j, τ, index = 0)
    put_targets!(tape.rows, run.x, step, run.synapses, reached)
    record!(tape, ROW, j, τ, index)
end

function before_delivery!(tape::Tape, run::Run, step, spike, e, k, y)
    a = piece_start(run.x, step, k)
    entry = TapeEntry(DELIVERY, k, state_at(run.x.y, k), a, spike.arrival, spike.index, e)
    record!(tape, entry, Passage(y, scaled(0.0, y)))
end

function before_jump!(tape::Tape, run::Run, step, n, k, τ, y)
    entry = TapeEntry(JUMP, k, state_at(run.x.y, k), piece_start(run.x, step, k), τ, n)
    record!(tape, entry, Passage(y, scaled(0.0, y)))
end

at_recorded!(tape::Tape, run::Run, step, index, k, y, τ) = record!(tape, TapeEntry(CLAMPED, k, y, τ, τ, index))

function at_save!(tape::Tape, run::Run, step::Step, index, t)
    t == run.problem.t0 && return   # the initial value itself: see `adjoint_sample!`
    if !isempty(tape.may_fire)
        for k in neurons(run.team)
            tape.may_fire[k, index] = may_fire(run, k, state_within(run, step, k, t))
        end
    end
    if ends_step(run, step, t)
        tape.saved_at_end[tape.column] = index
    else
        for k in neurons(run.team)
            record!(tape, TapeEntry(RECORD, k, state_at(run.x.y, k), piece_start(run.x, step, k), t, index))
        end
    end
end

function end_step!(tape::Tape, run::Run, step::Step)
    if takes_rows(tape, run.solver)
        isempty(run.x.moved_neurons) && return
        put_moved!(tape.rows, run.x)
        record!(tape, FINISH, 0, step.stop)
        return
    end
    for k in run.x.moved_neurons
        record!(tape, TapeEntry(FINISH, k, state_at(run.x.y, k), piece_start(run.x, step, k), step.stop, 0))
    end
end

"""State of a run, of a team's neurons, between two steps."""
struct Checkpoint{M,P}
    y::NTuple{M,Vector{Float64}}
    spikes::Vector{Int}
    num_spikes::Int
    next_save::Int
    external::P
end

Checkpoint(run::Run) = Checkpoint(
    map(a -> a[neurons(run.team)], run.x.y), run.x.spikes[neurons(run.team)], run.num_spikes, run.next_save,
    progress(run.external),
)

"""Put the run back to where a checkpoint was made."""
function restore!(run::Run, c::Checkpoint)
    put_back!(a, kept) = copyto!(a, first(neurons(run.team)), kept, 1, length(kept))
    foreach(put_back!, run.x.y, c.y)
    put_back!(run.x.spikes, c.spikes)
    settle!(run.x)
    run.num_spikes, run.next_save, run.stopped = c.num_spikes, c.next_save, false
    restore!(run.external, c.external)
end

# Memory for the record of a segment, per thread. Longer solves are cut into segments, at least the square root of their
# steps long.
const SEGMENT_BYTES = Ref(32 * 2^20)

"""How many steps a segment between two checkpoints has at most."""
function segment_steps(run::Run{M,C}) where {M,C}
    steps = run.problem.num_steps
    per_step = 8 * run.problem.num_neurons * (M + C * (1 + run.keeps_areas))
    return Int(min(steps, max(SEGMENT_BYTES[] ÷ per_step, isqrt(steps) + 1)))
end

"""One thread's means of differentiating samples."""
mutable struct AdjointWorker{M,R<:Run{M},Θ<:Model,T,K<:Checkpoint{M}}
    run::R
    tape::Tape{M}
    bar::StateAdjoint{M}            # at the end, later the start, of the step at hand
    moved_bar::StateAdjoint{M}      # of neurons that an event has moved, or a save has looked at, within the step
    y::NTuple{M,Vector{Float64}}    # as recorded at the start of the step
    gradients::Θ                    # of the sample at hand
    checkpoints::Vector{K}
    spike_times::Vector{Float64}
    spike_neurons::Vector{Int}
    sent_bars::Vector{Float64}      # what the times of spikes owe to those that they reach later
    shares::Shares
    list::Vector{Coefficient}
    wanted::T                       # the terms of the equation whose gradients the host wants
end

AdjointWorker(problem::Problem, data::AdjointData) = AdjointWorker(Run(problem), data)

function AdjointWorker(run::Run{M,C}, data::AdjointData) where {M,C}
    n, capacity, table = num_neurons(run.x), Int(run.problem.max_spikes), host_table(data.gradients, run.places)
    tape = Tape{M}(length(neurons(run.team)), C, segment_steps(run), run.keeps_areas)
    data.entries_at_saves == C_NULL || (tape.may_fire = zeros(Bool, n, run.problem.num_saves))
    return AdjointWorker(
        run, tape, StateAdjoint{M}(n), StateAdjoint{M}(n), zero_vectors(Val(M), n), Model(run.problem)::typeof(run.θ),
        typeof(Checkpoint(run))[], zeros(capacity), zeros(Int, capacity),
        zeros(run.synapses.delayed == 1 ? capacity : 0), Shares(n), table, wanted_terms(run.θ, table),
    )
end

"""Make a worker of an earlier call one of this, which has the same shape."""
function renew!(w::AdjointWorker, problem::Problem, data::AdjointData)
    renew!(w.run, problem)
    resize!(w.spike_times, problem.max_spikes)
    resize!(w.spike_neurons, problem.max_spikes)
    w.run.synapses.delayed == 1 && resize!(w.sent_bars, problem.max_spikes)
    read_table!(w.list, data.gradients, w.run.places)
    w.wanted = wanted_terms(w.run.θ, w.list)
    return w
end

"""Cotangents of one sample's solution; arrays have no columns where there are none."""
struct SampleCotangents
    spike_times::Ptr{Float64}
    recorded::Vector{Matrix{Float64}}       # of each recorded variable, (neuron, saved time)
    hazards::Matrix{Float64}
    hazard_at_insertion::Float64
    input_times::Coefficient                # where gradients by the times of inputs go,
    sample::Int                             # of this sample
    jump_sizes::Ptr{Float64}                # and those by the sizes of its jumps, (jump, component), and their times
    jump_times::Ptr{Float64}
    at_recorded_spikes::AtRecordedSpikes
end

function SampleCotangents(run::Run, data::AdjointData, sample)
    problem = run.problem
    saved(pointer) = pointer == C_NULL ? zeros(num_neurons(run.x), 0) : saved_values(problem, pointer, sample)
    return SampleCotangents(
        data.spike_times == C_NULL ? data.spike_times : row(data.spike_times, problem.max_spikes, sample),
        [saved(array) for array in recorded(data)], saved(data.entries_at_saves),
        data.entries_at_insertions == C_NULL ? 0.0 : unsafe_load(data.entries_at_insertions, sample),
        data.input_times, sample,
        jump_row(data, data.jump_sizes, problem.num_components, sample), jump_row(data, data.jump_times, 1, sample),
        data.at_recorded_spikes,
    )
end

"""Where a sample has its gradients by jumps, of which the host has an array of so many columns; null if it has none."""
jump_row(data::AdjointData, array, columns, sample) =
    array == C_NULL ? array : row(array, columns, 1 + unsafe_load(data.jump_rows, sample))

"""Adds the gradients of one sample to those of its workers."""
function adjoint_sample!(group::Vector, data::AdjointData, sample)
    length(group) == 1 && return adjoint_sample!(group[1], data, sample)
    run = group[1].run
    prepare!(run, Alone(1:num_neurons(run.x)), sample)
    as_team(index -> adjoint_sample!(group[index], data, sample), run.team.meeting)
end

"""Adds the gradients of one sample, by a team's neurons, to the worker's."""
function adjoint_sample!(w::AdjointWorker, data::AdjointData, sample)
    run, problem, tape = w.run, w.run.problem, w.tape
    total, length_of_segment = Int(problem.num_steps), length(tape.length)
    cotangents = SampleCotangents(run, data, sample)
    fill!(tape.may_fire, false)     # where nothing is asked, as at t0, no spike could come
    tape.insertion = cotangents.hazard_at_insertion == 0.0 ? Insertion(0, 0, 0) : Insertion(data.insertions, sample)

    begin_sample!(run, NoObserver(), sample, pointer(w.spike_times), pointer(w.spike_neurons))
    starts = 0:length_of_segment:total-1
    empty!(w.checkpoints)
    push!(w.checkpoints, Checkpoint(run))
    last_segment = 1
    for segment in 1:length(starts)-1
        run_steps!(run, NoObserver(), starts[segment], starts[segment+1])
        run.stopped && break
        push!(w.checkpoints, Checkpoint(run))
        last_segment = segment + 1
    end

    clear!(w.bar)
    clear!(w.moved_bar)
    fill!(w.sent_bars, 0.0)
    for segment in last_segment:-1:1
        restore!(run, w.checkpoints[segment])
        tape.first_step = starts[segment]
        empty!(tape.passages)
        empty!(tape.rows)
        steps = run_steps!(run, tape, starts[segment], min(starts[segment] + length_of_segment, total))
        segment == last_segment && begin_adjoint!(w, data, sample)
        segment_back!(w, steps, cotangents)
    end
    at_start = !isempty(run.saveat) && run.saveat[1] == problem.t0
    for k in neurons(run.team)
        at_start && add_state!(w.bar.y, k, saved_bar(w, cotangents, k, 1))
        problem.start.variables == C_NULL && initial_state_adjoint!(w.gradients, run.θ, k, state_at(w.bar.y, k))
    end
    if data.at_start != C_NULL
        for (variable, bars) in enumerate(w.bar.y), k in neurons(run.team)
            unsafe_store!(data.at_start, bars[k], start_place(problem, variable, sample, k))
        end
    end
    return w
end

"""At the end of a sample, before the way back: the cotangents of the state at t1, and of the integrated hazards."""
function begin_adjoint!(w::AdjointWorker, data::AdjointData, sample)
    run, n = w.run, num_neurons(w.run.x)
    check_finite(run)
    run.stopped && return
    if data.at_end != C_NULL
        for (variable, bars) in enumerate(w.bar.y), k in neurons(run.team)
            bars[k] = unsafe_load(data.at_end, start_place(run.problem, variable, sample, k))
        end
    end
    data.entries == C_NULL && return
    for k in neurons(run.team)
        entry = unsafe_load(data.entries, k + n * (sample - 1))
        entry != 0.0 && may_fire(run, k, state_at(run.x.y, k)) && (last(w.bar.y)[k] += entry)
    end
end

# Cotangents of values that were not asked for, or not reached, are nothing.
@inline function saved_bar(bar::Matrix{Float64}, k, index)
    index <= size(bar, 2) || return 0.0
    return @inbounds isfinite(bar[k, index]) ? bar[k, index] : 0.0
end

"""The cotangent of neuron k's state at a saved time; that of its hazard is 0 where no spike could come."""
function saved_bar(w::AdjointWorker{M}, cotangents::SampleCotangents, k, index) where {M}
    may_fire = index <= size(w.tape.may_fire, 2) && @inbounds w.tape.may_fire[k, index]
    return ntuple(Val(M)) do variable
        variable <= length(cotangents.recorded) && return saved_bar(cotangents.recorded[variable], k, index)
        return variable == M && may_fire ? saved_bar(cotangents.hazards, k, index) : 0.0
    end
end

"""Places of a step's entries on the tape; their passages are its last ones, once later steps are undone."""
tape_entries(tape::Tape, column) = (column == 1 ? 1 : tape.last_entry[column-1] + 1):tape.last_entry[column]

"""Turn the cotangent at the end of a recorded segment into that at its start."""
function segment_back!(w::AdjointWorker, steps, cotangents::SampleCotangents)
    alone, column = num_neurons(w.run.x) == 1, steps
    while column > 0
        alone && check_cancelled()
        alone && (column = event_free_steps_back!(w, column))
        column > 0 && step_back!(w, column, cotangents)
        column -= 1
        column & 1023 == 0 && check_cancelled()
    end
end

"""
The same for consecutive steps of a network of one neuron in which nothing happened; returns the last column that is
left.
"""
function event_free_steps_back!(w::AdjointWorker{M,<:Run{M,C}}, column) where {M,C}
    run, tape, θ̄, wanted = w.run, w.tape, w.gradients, w.wanted
    solver, θ, t0, dt = run.solver, run.θ, run.problem.t0, run.problem.dt
    bar = state_at(w.bar.y, 1)
    @inbounds while column > 0 && tape.saved_at_end[column] == 0 && isempty(tape_entries(tape, column))
        t, x = t0 + (tape.first_step + column - 1) * dt, recorded_increment(solver, tape, column, Val(C))
        y, h = state_at(tape.y, column), tape.length[column]
        one_step_path_adjoint!(run.driver, solver, θ, 1, y, bar, t, t0 + (tape.first_step + column) * dt, h, x)
        bar = one_step_adjoint!(θ̄, solver, θ, 1, y, bar, t, h, x, wanted)
        column -= 1
    end
    set_state!(w.bar.y, 1, bar)
    return column
end

"""The driver over a recorded step of a network of one neuron."""
@inline function recorded_increment(solver, tape::Tape, column, ::Val{C}) where {C}
    place = C * (column - 1) + 1
    w = components(tape.increments, place, 1, (@inbounds tape.scale[column]), Val(C))
    uses_area(solver) || return Increment(w)
    return Increment(w, components(tape.areas, place, 1, (@inbounds tape.area_scale[column]), Val(C)))
end

"""The same for one step."""
function step_back!(w::AdjointWorker{M,<:Run{M,C}}, column, cotangents::SampleCotangents) where {M,C}
    run, tape, bar, moved = w.run, w.tape, w.bar, w.moved_bar
    problem, mine = run.problem, neurons(run.team)
    n, before = length(mine), first(mine) - 1
    index = tape.first_step + column - 1
    start, stop = step_times(problem, index)
    offset = (column - 1) * n * C - before
    step = Step(
        start, stop, tape.length[column], tape.scale[column], tape.increments, offset, tape.area_scale[column],
        tape.areas, offset, n, run.key, index, run.driver, run.memory,
    )
    if tape.saved_at_end[column] > 0
        for k in mine
            add_state!(bar.y, k, saved_bar(w, cotangents, k, tape.saved_at_end[column]))
        end
    end
    entries = tape_entries(tape, column)
    undo_events!(w, step, entries, cotangents)
    foreach((a, matrix) -> copyto!(a, before + 1, matrix, 1 + (column - 1) * n, n), w.y, tape.y)
    full_step_adjoint!(bar, w.gradients, run.solver, w.y, run.θ, step, w.wanted, mine)
    isempty(entries) && return
    takes_rows(tape, run.solver) && return join_bars!(bar, moved, mine)
    for e in entries
        k = @inbounds Int(tape.entries[e].k)
        add_state!(bar.y, k, take_state!(moved, k)[1])      # the first piece starts at a fixed time
    end
end

"""The cotangents of neuron k's state and of its local time, which are 0 from then on."""
function take_state!(bar::StateAdjoint, k)
    y_bar, start_bar = state_at(bar.y, k), bar.start[k]
    set_state!(bar.y, k, scaled(0.0, y_bar))
    bar.start[k] = 0.0
    return y_bar, start_bar
end

"""Follow the tape of one step backwards: from cotangents at its end to cotangents of the moved neurons at its start."""
function undo_events!(w::AdjointWorker{M}, step::Step, entries, cotangents::SampleCotangents) where {M}
    run, bar, moved, gradients = w.run, w.bar, w.moved_bar, w.gradients
    solver, θ, wanted = run.solver, run.θ, w.wanted
    τ_bar = 0.0
    for e in reverse(entries)
        entry = @inbounds w.tape.entries[e]
        what, k, y, a, b = entry.what, Int(entry.k), entry.y, entry.a, entry.b
        if what == ROW
            row_back!(w, step, entry, cotangents)
            continue
        elseif what == SPIKE
            τ_bar = spike_time_bar!(w, k)
            continue
        elseif what == FINISH && takes_rows(w.tape, solver)
            moved_back!(w.tape.rows, moved, bar, gradients, solver, θ, step, known(wanted))
            continue
        elseif what == TRANSITION && takes_rows(w.tape, solver)
            transition_back!(w, k, Int(entry.event), y)
            continue
        elseif what == TRANSITION
            τ_bar = 0.0
            # With the states that synapses found, if it matters; they follow on the tape.
            found(synapse) = arrivals_add(typeof(θ)) ? y : w.tape.entries[e+1+synapse-synapses_of(run.synapses, k)[1]].y
            apply_transition_adjoint!(found, moved.y, gradients, y, θ, run.synapses, k, Int(entry.event))
            continue
        elseif what == TARGET
            continue
        elseif what == CROSSING
            if cotangents.spike_times != C_NULL
                τ_bar += finite_or_zero(unsafe_load(cotangents.spike_times, entry.index))
            end
            isempty(w.sent_bars) || (τ_bar += w.sent_bars[entry.index])
            at_τ, start_bar = take_state!(moved, k)
            τ_bar += start_bar
            at, event = pop!(w.tape.passages), Int(entry.event)
            at_a, a_bar = spike_adjoint!(gradients, solver, θ, step, k, event, y, at_τ, a, b, at, τ_bar, wanted)
        elseif what == ADVANCE
            at_b, start_bar = take_state!(moved, k)
            at_a, a_bar, b_bar = advance_adjoint!(gradients, solver, θ, step, k, y, at_b, a, b, wanted)
            τ_bar += start_bar + b_bar
        elseif what in (DELIVERY, JUMP, CLAMPED)
            at_a, a_bar = external_adjoint!(w, run.external, step, entry, cotangents)
        elseif what == HAZARD
            at_b = ntuple(variable -> variable == M ? cotangents.hazard_at_insertion : 0.0, Val(M))
            at_a, a_bar, b_bar = advance_adjoint!(gradients, solver, θ, step, k, y, at_b, a, b, wanted)
            takes_rows(w.tape, solver) ? w.shares.of_hazard[w.shares.turn] = b_bar : τ_bar += b_bar
        else
            at_b = what == FINISH ? state_at(bar.y, k) : saved_bar(w, cotangents, k, entry.index)
            what == FINISH && set_state!(bar.y, k, zero_state(Val(M)))
            at_a, a_bar, _ = advance_adjoint!(gradients, solver, θ, step, k, y, at_b, a, b, wanted, false)
        end
        add_state!(moved.y, k, at_a)
        moved.start[k] += a_bar
    end
end

"""Undo the transition of neuron k, from state y, and what came back to itself from it."""
function transition_back!(w::AdjointWorker, k, event, y)
    run, θ, bars, reached = w.run, w.run.θ, w.moved_bar.y, synapses_of(w.run.synapses, k)
    for own in around(run.synapses, reached, k)[2]
        after = transition(θ, k, event, y, 0.0)
        set_state!(bars, k, arrival_adjoint!(w.gradients, θ, own, k, after, state_at(bars, k)))
        of_targets(w.shares)[own-first(reached)+1] = 0.0        # the spike's own time is that of the crossing
    end
    set_state!(bars, k, transition_adjoint!(w.gradients, θ, k, event, y, state_at(bars, k)))
end

"""Undo that a spike came to the targets of a row."""
function row_back!(w::AdjointWorker, step::Step, entry::TapeEntry, cotangents::SampleCotangents)
    run, reached = w.run, row(w.run.synapses, Int(entry.k))
    targets_back!(
        of_targets(w.shares), first(reached), w.tape.rows, w.moved_bar, w.gradients, run.solver, run.θ, step,
        run.synapses, entry.b, known(w.wanted),
    )
    entry.index == 0 && return
    shares, _ = turn_over!(w.shares, run.team)
    leads(run.team) && are_apart(w.gradients.delays) && for (n, e) in enumerate(reached)
        w.gradients.delays[e] += shares[n]
    end
    # Of a neuron's spike every thread of a team keeps it, as each may have its crossing.
    from_outside = entry.k > num_neurons(run.x)
    leads(run.team) || !from_outside || return
    sent_bar!(w, cotangents, from_outside, entry.index, sum_in_order(shares, length(reached)))
end

"""The cotangent of the time of a spike of neuron j from those of its targets and of the hazard that counts there."""
function spike_time_bar!(w::AdjointWorker, j)
    run = w.run
    shares, turn = turn_over!(w.shares, run.team)
    is_mine(run.team, j) || return 0.0
    hazard = w.shares.of_hazard[turn]
    w.shares.of_hazard[turn] = 0.0
    return sum_in_order(shares, length(synapses_of(run.synapses, j))) + hazard
end

"""Cotangents of the state and the local time before an external event from those after it; adds to the gradients."""
function external_adjoint!(w::AdjointWorker, e::SomeExternalEvents, step::Step, entry::TapeEntry, cotangents)
    what, k, y, a, b = entry.what, Int(entry.k), entry.y, entry.a, entry.b
    run, moved, gradients = w.run, w.moved_bar, w.gradients
    solver, θ, wanted = run.solver, run.θ, w.wanted
    what == CLAMPED && return recorded_bar!(w, e.recorded, cotangents, k, y, a, entry.index), 0.0
    y_b = pop!(w.tape.passages).y
    if what == DELIVERY
        synapse = Int(entry.event)
        found = delivery_adjoint!(gradients, θ, run.synapses, synapse, k, y_b, state_at(moved.y, k))
        set_state!(moved.y, k, found)
        at_b, start_bar = take_state!(moved, k)
        at_a, a_bar, b_bar = advance_adjoint!(gradients, solver, θ, step, k, y, at_b, a, b, wanted)
        delivered_adjoint!(w, cotangents, synapse, entry.index, start_bar + b_bar)
        return at_a, a_bar
    end
    sizes = jump_sizes(e.jumps, entry.index)
    after, start_bar = take_state!(moved, k)
    at_b, sizes_bar = after_jump_adjoint!(gradients, θ, k, y_b, sizes, after)
    moves = cotangents.jump_times != C_NULL
    at_a, a_bar, b_bar = advance_adjoint!(gradients, solver, θ, step, k, y, at_b, a, b, wanted, moves)
    moves && unsafe_store!(cotangents.jump_times, start_bar + b_bar, entry.index)
    for c in eachindex(sizes_bar)
        place = c + length(sizes) * (entry.index - 1)
        cotangents.jump_sizes == C_NULL || unsafe_store!(cotangents.jump_sizes, sizes_bar[c], place)
    end
    return at_a, a_bar
end

"""The cotangent that neuron k's state has from its recorded spike `index` at τ; adds to the gradients."""
function recorded_bar!(w::AdjointWorker{M}, recorded::RecordedSpikes, cotangents, k, y, τ, index) where {M}
    from, at = cotangents.at_recorded_spikes, place(recorded, index)
    bar = zero_state(Val(M))
    if from.log_hazards != C_NULL
        bar = log_hazard_adjoint!(w.gradients, w.run.θ, k, y, τ, unsafe_load(from.log_hazards, at))
    end
    from.hazards == C_NULL && return bar
    return plus(bar, ntuple(n -> n == M ? unsafe_load(from.hazards, at) : 0.0, Val(M)))
end

"""From the cotangent of the time at which spike `index` came by that synapse to those of the delay and of the spike."""
function delivered_adjoint!(w::AdjointWorker, cotangents::SampleCotangents, synapse, index, bar)
    delays = w.gradients.delays
    isempty(delays) || (delays[synapse] += bar)
    sent_bar!(w, cotangents, is_input(w.run.synapses, synapse), index, bar)
end

"""Adds to the cotangent of the time at which spike `index` was sent."""
function sent_bar!(w::AdjointWorker, cotangents::SampleCotangents, from_outside::Bool, index, bar)
    if from_outside
        to = cotangents.input_times
        to.pointer == C_NULL || add_at!(to, position(to, cotangents.sample, 1, index), bar)
    else
        w.sent_bars[index] += bar
    end
end

@entry_point function ssnn_adjoint(problem_pointer::Ptr{Problem}, data_pointer::Ptr{AdjointData})
    adjoint(unsafe_load(problem_pointer), unsafe_load(data_pointer))
end

"""
What a call of reverse mode computes with: workers, in groups of those that compute a sample together, and a sum per
chunk of samples.
"""
struct AdjointPlan{W<:AdjointWorker,Θ<:Model}
    groups::Vector{Vector{W}}
    partial::Vector{Θ}
end

AdjointPlan(problem::Problem, data::AdjointData, groups) = AdjointPlan(groups, chunk_sums(problem, data, groups[1][1]))

function adjoint(problem::Problem, data::AdjointData)
    size = team_size(problem, data)
    # Julia looks into it when it is called, and not whenever a first gradient is compiled.
    size > 1 && return Base.invokelatest(adjoint_as_team, problem, data, size)
    threads = num_threads(problem, 8)
    make() = AdjointPlan(problem, data, [[AdjointWorker(problem, data)] for _ in 1:threads])
    adjoint(make, plan_key(:adjoint, problem, data, threads), problem, data)
end

"""How many threads compute one sample together."""
team_size(problem::Problem, data::AdjointData) =
    is_straight(lookup(SOLVERS, "solver", unsafe_string(problem.solver))()) ? team_size(problem) : 1

function adjoint_as_team(problem::Problem, data::AdjointData, size)
    function make()
        workers = [AdjointWorker(run, data) for run in TeamRuns(problem, size).runs]
        foreach(w -> w.shares = Shares(workers[1].shares), workers)
        return AdjointPlan(problem, data, [workers])
    end
    adjoint(make, plan_key(:adjoint_as_team, problem, data, size), problem, data)
end

plan_key(mode::Symbol, problem::Problem, data::AdjointData, threads) = PlanKey(
    mode, problem, problem.num_samples, threads, SEGMENT_BYTES[], data.entries_at_saves != C_NULL,
    data.chunk_stops != C_NULL, data.num_chunks, data.weights.pointer != C_NULL, data.delays.pointer != C_NULL,
)

function adjoint(make, key::PlanKey, problem::Problem, data::AdjointData)
    function renew_plan!(plan::AdjointPlan)
        foreach(clear!, plan.partial)
        for group in plan.groups, w in group
            renew!(w, problem, data)
            clear!(w.gradients)
        end
    end
    with_workers(make, renew_plan!, key, 1) do plans
        groups = plans[1].groups
        for group in groups, w in group
            want_gradients!(w.run.driver, data.path_values)
        end
        adjoint(groups, problem, data, plans[1].partial)
    end
end

"""The chunks over which gradients are summed."""
function summed_chunks(problem::Problem, data::AdjointData)
    data.chunk_stops == C_NULL && return chunk_ranges(problem.num_samples, chunk_limit(length(problem.synapses)))
    stops = host_array(data.chunk_stops, data.num_chunks)
    return [(c == 1 ? 1 : stops[c-1] + 1):stops[c] for c in eachindex(stops)]
end

"""Whether the host has an array for the sum over each of so many chunks."""
host_has_sums(data::AdjointData, num_chunks) = data.chunk_stops != C_NULL || num_chunks == 1

"""
Sums over chunks of samples, all zero: as many as there are chunks. Those by numbers of synapses are kept here unless
the host has arrays for them.
"""
function chunk_sums(problem::Problem, data::AdjointData, worker)
    Θ = typeof(worker.gradients)
    partial = Θ[Model(problem) for _ in summed_chunks(problem, data)]
    host_has_sums(data, length(partial)) && return partial
    for part in partial, (numbers, into) in of_synapses(part, data)
        into.pointer == C_NULL || keep_apart!(numbers)
    end
    return partial
end

"""Gradients by numbers of synapses, each with where the host wants it."""
of_synapses(p::Model, data::AdjointData) = ((p.weights, data.weights), (p.delays, data.delays))

"""
Gradients of all samples, each computed by a group of workers. Each chunk sums its own; the chunks are summed in their
order, so that threads do not matter, unless the host wants them apart. `partial` are the sums over chunks; those by
coefficients of neurons are zero.
"""
function adjoint(
    groups::Vector{<:Vector}, problem::Problem, data::AdjointData, partial = chunk_sums(problem, data, groups[1][1]),
)
    in_place = host_has_sums(data, length(partial))
    for (chunk, part) in enumerate(partial), (numbers, into) in of_synapses(part, data)
        in_place ? look_at!(numbers, into, chunk) : fill!(numbers.memory, 0.0)
    end
    foreach_chunk(summed_chunks(problem, data), length(groups)) do index, chunk, samples
        group, sums = groups[index], partial[chunk]
        for w in group
            data.weights.pointer == C_NULL || look_at!(w.gradients.weights, sums.weights)
            data.delays.pointer == C_NULL || look_at!(w.gradients.delays, sums.delays)
        end
        for sample in samples
            check_cancelled()
            adjoint_sample!(group, data, sample)
            foreach(w -> add_sample!(sums, w, data, sample), group)
        end
    end
    apart = data.chunk_stops != C_NULL
    apart || foreach(part -> add!(partial[1], part), partial[2:end])
    for chunk in (apart ? eachindex(partial) : 1:1)
        scatter!(groups[1][1].list, partial[chunk], 1, chunk; per_sample = false)
    end
    in_place && return
    for part in partial, (numbers, into) in of_synapses(part, data)
        into.pointer == C_NULL || add_to_host!(into, numbers)
    end
end

"""Add the gradients of a sample, as one of its workers has found them, and have none of them left."""
function add_sample!(sums::Model, w, data::AdjointData, sample)
    scatter_path!(w.run.driver, data.path_values, sample)
    scatter!(w.list, w.gradients, sample; per_sample = true)
    add!(sums, w.gradients)
    clear!(w.gradients)
end

"""Add a number per synapse to the host's."""
function add_to_host!(into::PerSynapse, numbers::SynapseNumbers)
    for e in 1:length(numbers)
        place = 1 + (e - 1) * into.stride
        unsafe_store!(into.pointer, unsafe_load(into.pointer, place) + numbers[e], place)
    end
end
