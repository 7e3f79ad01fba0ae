# Reverse mode: the adjoint of the discretised map. The solution is recomputed in segments between checkpoints, from the last to the first;
# each is recorded (states at the starts of its steps, and a tape of what its events did) and walked backwards.

"""
Cotangents of a solution, C-ordered like it (null where there are none), and where the host wants gradients. `entries` are those of the integrated hazards, which count only where a spike
could come: how a loss changes where neuron k fires at t1 (S, N), at a saved time (S, T, N), or where the neuron of `insertions` fires at the spike named there (S,).
"""
struct AdjointData
    spike_times::Ptr{Float64}       # (S, K)
    v::Ptr{Float64}                 # (S, T, N)
    i::Ptr{Float64}
    gradients::Ptr{Coefficient}     # parallel to the problem's coefficients; null where no gradient is wanted
    weights::Coefficient
    entries::Ptr{Float64}
    entries_at_saves::Ptr{Float64}
    entries_at_insertions::Ptr{Float64}
    insertions::Insertions
end

push!(BOUNDARY_STRUCTS, AdjointData)

AdjointData(spike_times, v, i, gradients, weights) =
    AdjointData(spike_times, v, i, gradients, weights, C_NULL, C_NULL, C_NULL, NO_INSERTIONS)

@enum Deed::UInt8 CROSSED MOVED FIRED FINISHED SAVED SEEN

"""What happened to neuron k, from local time a to b, in state y at a. `index` is that of the spike or of the saved time; ẏ the speed at a spike."""
struct TapeEntry
    deed::Deed
    k::Int
    y::Local
    a::Float64
    b::Float64
    index::Int
    ẏ::NamedTuple{(:v, :i, :s),NTuple{3,Float64}}
end

TapeEntry(deed, k, y, a, b, index) = TapeEntry(deed, k, y, a, b, index, STANDING)

"""Record of one segment: columns are steps."""
mutable struct Tape <: Observer
    first_step::Int
    v::Matrix{Float64}
    i::Matrix{Float64}
    rate::Matrix{Float64}
    normals::Vector{Float64}        # of all steps, one after the other
    areas::Vector{Float64}          # likewise; empty where steps come without
    length::Vector{Float64}
    scale::Vector{Float64}
    area_scale::Vector{Float64}
    entries::Vector{TapeEntry}
    last_entry::Vector{Int}         # of each step
    saved_at_end::Vector{Int}       # index of the time that is the end of the step, or 0
    may_fire::Matrix{Bool}          # whether a spike could come, (neuron, saved time) of this sample; no columns where nobody asks
    insertion::Insertion            # of this sample, where the hazard of its neuron counts
    column::Int
end

Tape(n, components, steps, areas::Bool) = Tape(
    0, zeros(n, steps), zeros(n, steps), zeros(n, steps), zeros(n * components * steps), zeros(areas ? n * components * steps : 0),
    zeros(steps), zeros(steps), zeros(steps), TapeEntry[], zeros(Int, steps), zeros(Int, steps), zeros(Bool, n, 0),
    Insertion(0, 0, 0), 0,
)

const NOWHERE = Local(0.0, 0.0, 0.0, 0.0, 0.0)

function after_full_step!(tape::Tape, run::Run, step::Step, n)
    c = tape.column = n - tape.first_step + 1
    copyto!(tape.v, 1 + (c - 1) * size(tape.v, 1), run.x.v, 1, size(tape.v, 1))
    copyto!(tape.i, 1 + (c - 1) * size(tape.i, 1), run.x.i, 1, size(tape.i, 1))
    copyto!(tape.rate, 1 + (c - 1) * size(tape.rate, 1), run.x.rate, 1, size(tape.rate, 1))
    draws = step.num_neurons * step.num_components
    copyto!(tape.normals, 1 + (c - 1) * draws, step.normals, step.offset + 1, draws)
    isempty(tape.areas) || copyto!(tape.areas, 1 + (c - 1) * draws, step.areas, step.area_offset + 1, draws)
    tape.length[c] = step.length
    tape.scale[c] = step.scale
    tape.area_scale[c] = step.area_scale
    tape.saved_at_end[c] = 0
    tape.last_entry[c] = length(tape.entries)
end

function record!(tape::Tape, entry::TapeEntry)
    push!(tape.entries, entry)
    tape.last_entry[tape.column] = length(tape.entries)
end

function before_spike!(tape::Tape, run::Run, step, spike, y, a)
    record!(tape, TapeEntry(CROSSED, spike.k, y, a, spike.time, run.num_spikes + 1, spike.ẏ))
    tape.insertion.spike == run.num_spikes + 1 || return
    k, τ = tape.insertion.neuron, spike.time
    y, a = local_state(run.x, k), piece_start(run.x, step, k)
    may_fire(run, k, advance(run.solver, run.θ, step, k, y, a, τ)[3]) && record!(tape, TapeEntry(SEEN, k, y, a, τ, 0))
end
before_move!(tape::Tape, run::Run, step, k, y, a, τ) = record!(tape, TapeEntry(MOVED, k, y, a, τ, 0))
after_spike!(tape::Tape, run::Run, step, j) = record!(tape, TapeEntry(FIRED, j, NOWHERE, 0.0, 0.0, 0))

function at_save!(tape::Tape, run::Run, step::Step, index, t)
    t == run.problem.t0 && return   # the initial value itself: see `adjoint_sample!`
    if !isempty(tape.may_fire)
        for k in eachindex(run.x.v)
            tape.may_fire[k, index] = may_fire(run, k, hazard_at(run, step, k, t))
        end
    end
    if t == step.stop
        tape.saved_at_end[tape.column] = index
    else
        for k in eachindex(run.x.v)
            record!(tape, TapeEntry(SAVED, k, local_state(run.x, k), piece_start(run.x, step, k), t, index))
        end
    end
end

function end_step!(tape::Tape, run::Run, step::Step)
    for k in run.x.moved_neurons
        record!(tape, TapeEntry(FINISHED, k, local_state(run.x, k), piece_start(run.x, step, k), step.stop, 0))
    end
end

"""State of a run between two steps."""
struct Checkpoint
    v::Vector{Float64}
    i::Vector{Float64}
    s::Vector{Float64}
    spikes::Vector{Int}
    num_spikes::Int
    next_save::Int
end

Checkpoint(run::Run) =
    Checkpoint(copy(run.x.v), copy(run.x.i), copy(run.x.s), copy(run.x.spikes), run.num_spikes, run.next_save)

function restore!(run::Run, c::Checkpoint)
    x = run.x
    copyto!(x.v, c.v)
    copyto!(x.i, c.i)
    copyto!(x.s, c.s)
    copyto!(x.spikes, c.spikes)
    settle!(x)
    run.num_spikes, run.next_save, run.stopped = c.num_spikes, c.next_save, false
end

# Room for the record of a segment, per thread. Longer solves are cut into segments, at least the square root of their steps long.
const SEGMENT_BYTES = Ref(32 * 2^20)

function segment_steps(problem::Problem, areas::Bool)
    per_step = 8 * problem.num_neurons * (3 + problem.num_components * (1 + areas))
    return min(problem.num_steps, max(SEGMENT_BYTES[] ÷ per_step, isqrt(problem.num_steps) + 1))
end

"""One thread's means of differentiating samples."""
mutable struct AdjointWorker{R<:Run,Θ<:Parameters}
    run::R
    tape::Tape
    bar::StateAdjoint               # at the end, later the start, of the step at hand
    moved_bar::StateAdjoint         # of neurons that an event has moved, or a save has looked at, within the step
    x::State                        # as recorded at the start of the step
    gradients::Θ                    # of the sample at hand
    checkpoints::Vector{Checkpoint}
    spike_times::Vector{Float64}
    spike_neurons::Vector{Int}
    list::Vector{Coefficient}
    wanted::Groups
end

function AdjointWorker(problem::Problem, data::AdjointData)
    run = Run(problem)
    n, capacity = length(run.x.v), Int(problem.max_spikes)
    list = host_table(data.gradients, run.places)
    tape = Tape(n, Int(problem.num_components), Int(segment_steps(problem, run.keeps_areas)), run.keeps_areas)
    data.entries_at_saves == C_NULL || (tape.may_fire = zeros(Bool, n, problem.num_saves))
    return AdjointWorker(
        run, tape, StateAdjoint(n), StateAdjoint(n), State(n),
        Parameters(problem)::typeof(run.θ), Checkpoint[], zeros(capacity), zeros(Int, capacity), list, Groups(list, run.θ),
    )
end

"""Make a worker of an earlier call one of this, which has the same shape."""
function renew!(w::AdjointWorker, problem::Problem, data::AdjointData)
    renew!(w.run, problem)
    resize!(w.spike_times, problem.max_spikes)
    resize!(w.spike_neurons, problem.max_spikes)
    read_table!(w.list, data.gradients, w.run.places)
    w.wanted = Groups(w.list, w.run.θ)
    return w
end

"""Adds the gradients of one sample to the worker's."""
function adjoint_sample!(w::AdjointWorker, data::AdjointData, sample)
    run, problem, tape = w.run, w.run.problem, w.tape
    n, total, length_of_segment = length(run.x.v), Int(problem.num_steps), size(tape.v, 2)
    spike_bar = data.spike_times == C_NULL ? data.spike_times : row(data.spike_times, problem.max_spikes, sample)
    v_bar = data.v == C_NULL ? run.v_saved : saved_values(problem, data.v, sample)
    i_bar = data.i == C_NULL ? run.i_saved : saved_values(problem, data.i, sample)
    s_bar = data.entries_at_saves == C_NULL ? run.v_saved : saved_values(problem, data.entries_at_saves, sample)
    entry = data.entries_at_insertions == C_NULL ? 0.0 : unsafe_load(data.entries_at_insertions, sample)
    tape.insertion = entry == 0.0 ? Insertion(0, 0, 0) : Insertion(data.insertions, sample)

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

    for part in (w.bar.v, w.bar.i, w.bar.s, w.moved_bar.v, w.moved_bar.i, w.moved_bar.s, w.moved_bar.start)
        fill!(part, 0.0)
    end
    for segment in last_segment:-1:1
        restore!(run, w.checkpoints[segment])
        tape.first_step = starts[segment]
        empty!(tape.entries)
        steps = run_steps!(run, tape, starts[segment], min(starts[segment] + length_of_segment, total))
        segment == last_segment && begin_adjoint!(w, data, sample)
        for column in steps:-1:1
            step_back!(w, column, spike_bar, v_bar, i_bar, s_bar, entry)
            column & 1023 == 0 && check_cancelled()
        end
    end
    at_start = !isempty(run.saveat) && run.saveat[1] == problem.t0
    for k in 1:n
        w.gradients.v0[k] += w.bar.v[k] + (at_start ? saved_bar(v_bar, k, 1) : 0.0)
        w.gradients.i0[k] += w.bar.i[k] + (at_start ? saved_bar(i_bar, k, 1) : 0.0)
        w.gradients.alpha[k] -= w.bar.s[k]
    end
    return w
end

"""At the end of a sample, before the way back: the cotangents of the integrated hazards at t1."""
function begin_adjoint!(w::AdjointWorker, data::AdjointData, sample)
    run, n = w.run, length(w.run.x.v)
    check_finite(run, sample)
    (run.stopped || data.entries == C_NULL) && return
    for k in 1:n
        entry = unsafe_load(data.entries, k + n * (sample - 1))
        entry != 0.0 && may_fire(run, k, run.x.s[k]) && (w.bar.s[k] = entry)
    end
end

# Cotangents of values that were not asked for, or not reached, are nothing.
@inline function saved_bar(bar::Matrix{Float64}, k, index)
    index <= size(bar, 2) || return 0.0
    return @inbounds isfinite(bar[k, index]) ? bar[k, index] : 0.0
end

"""The cotangent of neuron k's integrated hazard at a saved time; 0 where no spike could come."""
@inline hazard_bar(tape::Tape, s_bar, k, index) = index <= size(tape.may_fire, 2) && @inbounds(tape.may_fire[k, index]) ? saved_bar(s_bar, k, index) : 0.0

"""Turn the cotangent at the end of a recorded step into that at its start."""
function step_back!(w::AdjointWorker, column, spike_bar, v_bar, i_bar, s_bar, entry)
    run, tape, x, bar = w.run, w.tape, w.x, w.bar
    problem, θ, n = run.problem, run.θ, length(w.run.x.v)
    index = tape.first_step + column - 1
    start = problem.t0 + index * problem.dt
    stop = index == problem.num_steps - 1 ? problem.t1 : problem.t0 + (index + 1) * problem.dt
    components = Int(problem.num_components)
    offset = (column - 1) * n * components
    step = Step(
        start, stop, tape.length[column], tape.scale[column], tape.normals, offset, tape.area_scale[column], tape.areas, offset, n, components,
        run.key, level(run.path), index, run.memory,
    )
    if tape.saved_at_end[column] > 0
        for k in 1:n
            bar.v[k] += saved_bar(v_bar, k, tape.saved_at_end[column])
            bar.i[k] += saved_bar(i_bar, k, tape.saved_at_end[column])
            bar.s[k] += hazard_bar(tape, s_bar, k, tape.saved_at_end[column])
        end
    end
    first_entry = column == 1 ? 1 : tape.last_entry[column-1] + 1
    entries = first_entry:tape.last_entry[column]
    undo_events!(w, step, entries, spike_bar, v_bar, i_bar, s_bar, entry)

    copyto!(x.v, 1, tape.v, 1 + (column - 1) * n, n)
    copyto!(x.i, 1, tape.i, 1 + (column - 1) * n, n)
    copyto!(x.rate, 1, tape.rate, 1 + (column - 1) * n, n)
    for k in 1:n
        x.input[k] = current(θ.current, k, start)
    end
    full_step_adjoint!(bar, w.gradients, run.solver, x, θ, step, w.wanted)

    moved = w.moved_bar
    for e in entries
        k = tape.entries[e].k
        bar.v[k] += moved.v[k]
        bar.i[k] += moved.i[k]
        bar.s[k] += moved.s[k]
        moved.v[k] = moved.i[k] = moved.s[k] = moved.start[k] = 0.0     # the first piece starts at a fixed time
    end
end

"""Walk the tape of one step backwards: from cotangents at its end to cotangents of the moved neurons at its start."""
function undo_events!(w::AdjointWorker, step::Step, entries, spike_bar, v_bar, i_bar, s_bar, entry_bar)
    run, bar, moved, gradients = w.run, w.bar, w.moved_bar, w.gradients
    solver, θ, synapses = run.solver, run.θ, run.synapses
    τ_bar = 0.0
    for e in reverse(entries)
        entry = w.tape.entries[e]
        deed, k, y = entry.deed, entry.k, entry.y
        if deed == FINISHED
            at_end = (v = bar.v[k], i = bar.i[k], s = bar.s[k])
            bar.v[k] = bar.i[k] = bar.s[k] = 0.0
            at_start, a_bar, _ = advance_adjoint!(gradients, solver, θ, step, k, y, at_end, entry.a, entry.b)
            add_local!(moved, k, at_start, a_bar)
        elseif deed == FIRED
            τ_bar = 0.0
            moved.v[k], v_reset_bar = reset_potential_adjoint(run.problem.hard_reset == 1, moved.v[k])
            gradients.v_reset[k] += v_reset_bar
            gradients.alpha[k] -= moved.s[k]
            moved.s[k] = 0.0
            for synapse in synapses_of(synapses, k)
                gradients.weights[synapse] += moved.i[synapses.targets[synapse]]
            end
        elseif deed == MOVED
            at_end = (v = moved.v[k], i = moved.i[k], s = moved.s[k])
            τ_bar += moved.start[k]
            moved.v[k] = moved.i[k] = moved.s[k] = moved.start[k] = 0.0
            at_start, a_bar, b_bar = advance_adjoint!(gradients, solver, θ, step, k, y, at_end, entry.a, entry.b)
            τ_bar += b_bar
            add_local!(moved, k, at_start, a_bar)
        elseif deed == CROSSED
            spike_bar == C_NULL || (τ_bar += finite_or_zero(unsafe_load(spike_bar, entry.index)))
            at_τ = (v = moved.v[k], i = moved.i[k], s = moved.s[k])
            τ_bar += moved.start[k]
            moved.v[k] = moved.i[k] = moved.s[k] = moved.start[k] = 0.0
            at_start, a_bar = spike_adjoint!(gradients, solver, θ, step, k, y, at_τ, entry.a, entry.b, entry.ẏ, τ_bar)
            add_local!(moved, k, at_start, a_bar)
        elseif deed == SEEN
            at_start, a_bar, b_bar = advance_adjoint!(gradients, solver, θ, step, k, y, (v = 0.0, i = 0.0, s = entry_bar), entry.a, entry.b)
            τ_bar += b_bar
            add_local!(moved, k, at_start, a_bar)
        else
            hazard = hazard_bar(w.tape, s_bar, k, entry.index)
            at_end = (v = saved_bar(v_bar, k, entry.index), i = saved_bar(i_bar, k, entry.index), s = hazard)
            at_start, a_bar, _ = advance_adjoint!(gradients, solver, θ, step, k, y, at_end, entry.a, entry.b)
            add_local!(moved, k, at_start, a_bar)
        end
    end
end

finite_or_zero(x) = isfinite(x) ? x : 0.0

@inline function add_local!(bar::StateAdjoint, k, part, start)
    bar.v[k] += part.v
    bar.i[k] += part.i
    bar.s[k] += part.s
    bar.start[k] += start
end

@entry_point function ssnn_adjoint(problem_pointer::Ptr{Problem}, data_pointer::Ptr{AdjointData})
    adjoint(unsafe_load(problem_pointer), unsafe_load(data_pointer))
end

"""What a call of reverse mode computes with: a worker per thread, and a sum per chunk of samples."""
struct AdjointPlan{W<:AdjointWorker,Θ<:Parameters}
    workers::Vector{W}
    partial::Vector{Θ}
end

function adjoint(problem::Problem, data::AdjointData)
    threads = num_threads(problem, 8)
    function make()
        workers = [AdjointWorker(problem, data) for _ in 1:threads]
        return AdjointPlan(workers, typeof(workers[1].gradients)[])
    end
    function renew_plan!(plan)
        foreach(w -> renew!(w, problem, data), plan.workers)
        foreach(clear!, plan.partial)
        foreach(w -> clear!(w.gradients), plan.workers)
    end
    key = PlanKey(:adjoint, problem, problem.num_samples, threads, SEGMENT_BYTES[], data.entries_at_saves != C_NULL)
    with_workers(make, renew_plan!, key, 1) do plans
        adjoint(plans[1].workers, problem, data, threads, plans[1].partial)
    end
end

"""
Gradients of all samples. Each chunk sums its own; the chunks are summed in their order, so that threads do not matter. `partial` are the sums of earlier calls, all zero.
"""
function adjoint(
    workers::Vector, problem::Problem, data::AdjointData, threads = problem.threads, partial = typeof(workers[1].gradients)[],
)
    limit = chunk_limit(length(workers[1].gradients.weights))
    num_chunks = length(chunk_ranges(problem.num_samples, limit))
    while length(partial) < num_chunks
        push!(partial, Parameters(problem))
    end
    foreach_chunk(problem.num_samples, threads; limit = limit) do worker, chunk, samples
        w = workers[worker]
        for sample in samples
            check_cancelled()
            adjoint_sample!(w, data, sample)
            scatter!(w.list, data.weights, w.gradients, w.run.synapses, sample; per_sample = true)
            add!(partial[chunk], w.gradients)
            clear!(w.gradients)
        end
    end
    total = workers[1].gradients
    foreach(chunk -> add!(total, partial[chunk]), 1:num_chunks)
    scatter!(workers[1].list, data.weights, total, workers[1].run.synapses, 1; per_sample = false)
end
