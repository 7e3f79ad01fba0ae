# One sample through time: steps, events inside them, records of spikes and of values at given times. What else is to happen along the way
# (tangents, a tape for the adjoint) is the business of an observer.

"""
Follows a run. Methods, all optional: `begin_sample!`, `after_full_step!`, `before_spike!`, `before_move!`, `after_spike!`,
`at_save!`, `end_step!`, `end_sample!`; and `takes_quiet_steps` with `after_quiet_steps!` if it can follow several steps at once.
"""
abstract type Observer end

struct NoObserver <: Observer end

begin_sample!(::Observer, run) = nothing
after_full_step!(::Observer, run, step, n) = nothing
before_spike!(::Observer, run, step, spike, y, a) = nothing
before_move!(::Observer, run, step, k, y, a, τ) = nothing
after_spike!(::Observer, run, step, j) = nothing
takes_quiet_steps(::Observer) = false
after_quiet_steps!(::Observer, run, from, to) = nothing
at_save!(::Observer, run, step, index, t) = nothing
end_step!(::Observer, run, step) = nothing
end_sample!(::Observer, run) = nothing

takes_quiet_steps(::NoObserver) = true

# A neuron that fires more often than this within one step shows that the step is too large for the intensity.
const MAX_SPIKES_IN_STEP = 1000

# Neurons of a full step are looked at in blocks of this size, so that finding those that fire costs little where few do.
const BLOCK = 256

# How many steps of a network of one neuron are taken at once: no more than its noise window holds.
const TRAIL_STEPS = window_steps(NoiseWindow(1, 1))

"""A spike that neuron k is about to fire at `time`: its state there, and how fast that changes."""
struct Spike
    k::Int
    time::Float64
    y::NTuple{3,Float64}
    ẏ::NamedTuple{(:v, :i, :s),NTuple{3,Float64}}
end

"""Everything one thread needs to compute samples of a problem."""
mutable struct Run{S<:Solver,I<:Intensity,C<:InputCurrent,D<:Diffusion,B<:BrownianPath}
    problem::Problem
    solver::S
    synapses::Synapses
    places::Vector{Int}                 # of the coefficients, in the host's tables
    coefficients::Vector{Coefficient}
    saveat::Vector{Float64}
    θ::Parameters{I,C,D}
    x::State
    path::B
    last_increments::Vector{Float64}    # of a shortened last step
    last_areas::Vector{Float64}
    keeps_areas::Bool                   # steps come with their areas
    memory::WalkMemory
    key::NTuple{2,UInt64}
    firing::Vector{Spike}               # expected in this step
    spike_times::Ptr{Float64}           # where this sample's go: as many as the problem's `max_spikes`
    spike_neurons::Ptr{Int64}           # counted from 0
    num_spikes::Int
    next_save::Int
    v_saved::Matrix{Float64}            # (neuron, time) of this sample, no columns where nothing is recorded
    i_saved::Matrix{Float64}
    stopped::Bool                       # the room for spikes is used up
    insertion::Insertion
    trail::Trail
end

Run(problem::Problem) = Run(problem, lookup(SOLVERS, "solver", unsafe_string(problem.solver))(), Parameters(problem))

function Run(problem::Problem, solver::Solver, θ::Parameters)
    n, components, levels = Int(problem.num_neurons), Int(problem.num_components), Int(problem.noise_levels)
    path = levels == 0 ? BasePath(n, components, problem.dt) : DyadicPath(n, components, problem.dt, levels)
    places = coefficient_places(problem, θ)
    return Run(
        problem, solver, Synapses(problem), places, host_table(problem.coefficients, places),
        host_array(problem.saveat, problem.num_saves), θ, State(n), path, zeros(n * components), zeros(n * components),
        keeps_areas(solver, problem), WalkMemory(solver isa OneStepSolver ? n : 0),
        (UInt64(0), UInt64(0)), Spike[], Ptr{Float64}(C_NULL), Ptr{Int64}(C_NULL), 0, 1, zeros(n, 0), zeros(n, 0), false,
        Insertion(0, 0, 0), Trail(n == 1 ? TRAIL_STEPS : 0),
    )
end

"""Make a run of an earlier call one of `problem`, which has the same shape."""
function renew!(run::Run, problem::Problem)
    run.problem = problem
    read!(run.synapses, problem)
    read_table!(run.coefficients, problem.coefficients, run.places)
    run.saveat = host_array(problem.saveat, problem.num_saves)
    return run
end

"""Put the run at the start of `sample` (from 1); its spikes go to the given addresses."""
function begin_sample!(run::Run, observer::Observer, sample, spike_times, spike_neurons)
    problem, θ, x = run.problem, run.θ, run.x
    load!(θ, run.coefficients, problem.weights, run.synapses, sample)
    run.key = (problem.seed, UInt64(problem.first_sample + sample - 1))
    reset!(run.path, run.key)
    forget!(run.memory)
    prepare!(run.solver, θ, problem.dt)
    copyto!(x.v, θ.v0)
    copyto!(x.i, θ.i0)
    fill!(x.spikes, 0)
    settle!(x)                      # of a sample that stopped within a step
    for k in eachindex(x.s)
        x.s[k] = threshold(run.key, k - 1, 0) - θ.alpha[k]
        x.input[k] = current(θ.current, k, problem.t0)
    end
    run.spike_times, run.spike_neurons = spike_times, spike_neurons
    run.num_spikes, run.next_save, run.stopped = 0, 1, false
    run.insertion = Insertion(problem.insertions, sample)
    begin_sample!(observer, run)
    if !isempty(run.saveat) && run.saveat[1] == problem.t0
        step = step_at(run, 0)
        for k in eachindex(x.v)
            x.rate[k] = rate(θ.intensity, k, x.v[k])
        end
        save!(run, observer, step, problem.t0)
    end
    return run
end

"""Step `n` (from 0) of the base grid with its Brownian increments."""
function step_at(run::Run, n::Int)
    problem = run.problem
    start = problem.t0 + n * problem.dt
    last_one = n == problem.num_steps - 1
    stop = last_one ? problem.t1 : problem.t0 + (n + 1) * problem.dt
    path, neurons, components = run.path, Int(problem.num_neurons), Int(problem.num_components)
    increments, offset = increments!(path, n)
    scale = increment_scale(path)
    shortened = last_one && is_shortened(problem)
    if shortened || run.keeps_areas
        areas, area_offset = areas!(path, n)
    else
        areas, area_offset = NO_AREAS, 0
    end
    whole = Step(
        start, stop, problem.dt, scale, increments, offset, area_scale(path), areas, area_offset, neurons, components, run.key, level(path), n,
        run.memory,
    )
    shortened || return whole
    # The path at the beginning of the whole step, so that it does not depend on t1 before the last step.
    h = stop - start
    for c in 1:components, k in 1:neurons
        place = k + (c - 1) * neurons
        z = normal_pair(run.key, (UInt64(n), counter_word(LAST_STEP, c - 1, k - 1, level(path))))
        run.last_increments[place], run.last_areas[place] = beginning(increment(whole, k, c), area(whole, k, c), problem.dt, h / problem.dt, z)
    end
    return Step(start, stop, h, 1.0, run.last_increments, 0, 1.0, run.last_areas, 0, neurons, components, run.key, level(path), n, run.memory)
end

const NO_AREAS = Float64[]

"""Whether the last step is shorter than the others."""
function is_shortened(problem::Problem)
    steps = (problem.t1 - problem.t0) / problem.dt
    return problem.num_steps - steps > 1e-9 + 4 * eps() * steps
end

"""Whether steps come with areas: where the solver uses them, or where a walk inside a step could not draw them again."""
keeps_areas(solver::Solver, problem::Problem) = false
keeps_areas(solver::OneStepSolver, problem::Problem) = uses_area(solver) || problem.noise_levels > 0 || is_shortened(problem)

"""Run steps `from` to `to` (the last excluded); stops early where the room for spikes is used up. Returns the steps begun."""
function run_steps!(run::Run, observer::Observer, from::Int, to::Int)
    x, n_neurons = run.x, length(run.x.v)
    alone = n_neurons == 1 && takes_quiet_steps(observer)
    n = from
    while n < to
        alone && (n = skip_quiet_steps!(run, observer, n, to))
        step = step_at(run, n)
        refresh_input!(run, step)
        first = 1
        while first <= n_neurons
            range = first:min(first + BLOCK - 1, n_neurons)
            if full_step!(run.solver, x, run.θ, step, range) > 0
                for k in range
                    fires(run.θ.intensity, k, x.v_end[k], x.s_end[k]) && look_ahead!(run, step, k)
                end
            end
            first += BLOCK
        end
        after_full_step!(observer, run, step, n)
        isempty(run.firing) || resolve_events!(run, observer, step)
        run.stopped && return n + 1 - from
        fires_at_end = 0
        while run.next_save <= length(run.saveat) && run.saveat[run.next_save] <= step.stop
            k, t = save!(run, observer, step, run.saveat[run.next_save]), run.saveat[run.next_save-1]
            if k > 0 && t < step.stop
                insert_spike!(run, observer, step, k, t)
                resolve_events!(run, observer, step)
                run.stopped && return n + 1 - from
            else
                fires_at_end = k
            end
        end
        end_step!(observer, run, step)
        turn_over!(x)
        fires_at_end > 0 && (x.s[fires_at_end] = 0.0)       # so that it fires as the next step begins
        n += 1
        check_cancelled()
    end
    return to - from
end

"""Take as many steps at once as have no spike and nothing to record, up to the end of the noise window; returns the step reached, before `to`."""
function skip_quiet_steps!(run::Run, observer::Observer, from::Int, to::Int)
    problem, path = run.problem, run.path
    limit = min(to, Int(problem.num_steps)) - 1         # the last step may be shortened
    if run.next_save <= length(run.saveat)
        limit = min(limit, floor(Int, (run.saveat[run.next_save] - problem.t0) / problem.dt) - 1)
    end
    limit <= from && return from
    increments!(path, from)
    stop = min(limit, window_stop(path), from + length(run.trail.v))
    reached = quiet_steps!(run.solver, run.x, run.θ, run.trail, path, from, stop, problem.t0, problem.dt)
    after_quiet_steps!(observer, run, from, reached)
    return reached
end

function refresh_input!(run::Run{S,I,C}, step::Step) where {S,I,C}
    is_constant(C) && return
    for k in eachindex(run.x.input)
        run.x.input[k] = current(run.θ.current, k, step.start)
    end
end

"""Bring the end of neuron k's piece up to date, and expect its spike if it fires before that."""
function look_ahead!(run::Run, step::Step, k)
    x, a = run.x, piece_start(run.x, step, k)
    y, τ, ẏ = reach(run.solver, run.θ, step, k, local_state(x, k), a, !x.moved[k])
    if τ < Inf
        push!(run.firing, Spike(k, τ, y, ẏ))
    else
        x.v_end[k], x.i_end[k], x.s_end[k] = y
        mark_moved!(x, k, a)
    end
end

"""Say that neuron k is at time `a` within the step, apart from the others."""
function mark_moved!(x::State, k, a)
    x.start[k] = a
    x.moved[k] && return
    x.moved[k] = true
    push!(x.moved_neurons, k)
end

"""Let all neurons fire that fire in this step, in the order of time."""
function resolve_events!(run::Run, observer::Observer, step::Step)
    x, θ, synapses = run.x, run.θ, run.synapses
    while !isempty(run.firing)
        spike = next_spike(run)
        τ, j = spike.time, spike.k
        save_before!(run, observer, step, τ) && continue    # an inserted spike comes first
        before_spike!(observer, run, step, spike, local_state(x, j), piece_start(x, step, j))
        x.v[j], x.i[j], x.s[j] = spike.y
        mark_moved!(x, j, τ)
        outgoing = synapses_of(synapses, j)
        for e in outgoing
            k = synapses.targets[e]
            k == j || move_to!(run, observer, step, k, τ)
        end

        x.spikes[j] += 1
        x.v[j] = reset_potential(run.problem.hard_reset == 1, x.v[j], θ.v_reset[j])
        x.s[j] = threshold(run.key, j - 1, x.spikes[j]) - θ.alpha[j]
        for e in outgoing
            x.i[synapses.targets[e]] += θ.weights[e]
        end
        run.num_spikes += 1
        unsafe_store!(run.spike_times, τ, run.num_spikes)
        unsafe_store!(run.spike_neurons, j - 1, run.num_spikes)
        after_spike!(observer, run, step, j)

        restart!(run, step, j, τ)
        for e in outgoing
            k = synapses.targets[e]
            k == j || restart!(run, step, k, τ)
        end
        if run.num_spikes == run.problem.max_spikes
            run.stopped = true
            empty!(run.firing)
            if run.next_save <= length(run.saveat) && run.saveat[run.next_save] == τ
                save!(run, observer, step, τ)
            end
            return
        end
        run.insertion.spike == run.num_spikes && insert_spike!(run, observer, step, run.insertion.neuron, τ)
        x.spikes_in_step[j] += 1
        x.spikes_in_step[j] > MAX_SPIKES_IN_STEP && throw(ErrorException(
            "neuron $(j - 1) fires more than $MAX_SPIKES_IN_STEP times within the step from t = $(step.start): dt is too large for its intensity",
        ))
    end
end

"""Record what is to be recorded before τ, up to the first time at which a spike is inserted; returns whether there is one."""
function save_before!(run::Run, observer::Observer, step::Step, τ)
    while run.next_save <= length(run.saveat) && run.saveat[run.next_save] < τ
        t = run.saveat[run.next_save]
        k = save!(run, observer, step, t)
        k > 0 && (insert_spike!(run, observer, step, k, t); return true)
    end
    return false
end

"""Let neuron k fire at τ in this step, whatever its threshold."""
function insert_spike!(run::Run, observer::Observer, step::Step, k, τ)
    x = run.x
    x.moved[k] && x.start[k] == τ || move_to!(run, observer, step, k, τ)
    expect!(run, Spike(k, τ, (x.v[k], x.i[k], x.s[k]), STANDING))
end

"""Expect this spike, instead of another one of the same neuron."""
function expect!(run::Run, spike::Spike)
    place = findfirst(other -> other.k == spike.k, run.firing)
    place === nothing || deleteat!(run.firing, place)
    push!(run.firing, spike)
end

"""
Whether a spike of neuron k could come where its integrated hazard is `s`: whether Λ > α, Λ the hazard since its last spike. Given all that happened and no spike yet, the next threshold has
density 1 at Λ there, and none in the dead zone.
"""
may_fire(run::Run, k, s) = s > threshold(run.key, k - 1, run.x.spikes[k])

"""The earliest of the expected spikes; of two at the same time, that of the lower index."""
function next_spike(run::Run)
    first = run.firing[1]
    for spike in run.firing
        if spike.time < first.time || (spike.time == first.time && spike.k < first.k)
            first = spike
        end
    end
    return first
end

"""Bring neuron `k` to time τ along its piece."""
function move_to!(run::Run, observer::Observer, step::Step, k, τ)
    x = run.x
    y, a = local_state(x, k), piece_start(x, step, k)
    before_move!(observer, run, step, k, y, a, τ)
    x.v[k], x.i[k], x.s[k] = advance(run.solver, run.θ, step, k, y, a, τ)
    mark_moved!(x, k, τ)
end

"""Begin a new piece of neuron `k` at τ, and ask again whether it fires before the step ends."""
function restart!(run::Run, step::Step, k, τ)
    x, θ = run.x, run.θ
    x.rate[k] = rate(θ.intensity, k, x.v[k])
    x.input[k] = current(θ.current, k, τ)
    place = findfirst(spike -> spike.k == k, run.firing)
    place === nothing || deleteat!(run.firing, place)
    look_ahead!(run, step, k)
end

"""Record all neurons at time `t` of this step; returns the neuron whose spike is inserted there, or 0."""
function save!(run::Run, observer::Observer, step::Step, t)
    x, index = run.x, run.next_save
    if size(run.v_saved, 2) > 0
        if t == step.stop
            copyto!(view(run.v_saved, :, index), x.v_end)
            copyto!(view(run.i_saved, :, index), x.i_end)
        else
            for k in eachindex(x.v)
                v, i, _ = advance(run.solver, run.θ, step, k, local_state(x, k), piece_start(x, step, k), t)
                run.v_saved[k, index], run.i_saved[k, index] = v, i
            end
        end
    end
    at_save!(observer, run, step, index, t)
    run.next_save += 1
    return run.insertion.save == index ? run.insertion.neuron : 0
end

"""Raise where the solution has blown up."""
function check_finite(run::Run, sample)
    all(isfinite, run.x.v) && all(isfinite, run.x.s) && return
    throw(ErrorException(
        "the solution of sample $(sample - 1) is no longer finite: dt = $(run.problem.dt) is too large for the rates mu, " *
        "or a parameter is too large",
    ))
end

"""
    foreach_chunk(work, num_samples, threads; limit = 64)

Calls `work(worker, chunk, samples)` for consecutive ranges of samples. There are at most `limit` ranges,
and they depend on the number of samples alone; which thread takes which does
not matter to callers that keep one result per chunk. `work` is called with a worker number up to `threads`.
"""
function foreach_chunk(work, num_samples::Integer, threads::Integer; limit = NUM_CHUNKS)
    chunks = chunk_ranges(num_samples, limit)
    workers = min(threads, length(chunks), available_threads())
    workers <= 1 && return foreach(chunk -> work(1, chunk, chunks[chunk]), eachindex(chunks))
    next = Threads.Atomic{Int}(1)
    # Atomic operations of older Julias keep the counter's address alone: without this it could be freed while it counts.
    GC.@preserve next share_chunks(work, chunks, workers, next)
end

# Tasks that are made beyond those that there are threads for.
const SPARE_THREADS = Ref(0)

available_threads() = Threads.nthreads() + SPARE_THREADS[]

function share_chunks(work, chunks, workers, next)
    function take_chunks(worker)
        try
            while (chunk = Threads.atomic_add!(next, 1)) <= length(chunks)
                work(worker, chunk, chunks[chunk])
            end
        catch
            Threads.atomic_xchg!(next, length(chunks) + 1)      # the others need not begin another one
            rethrow()
        end
    end
    tasks = [Threads.@spawn(take_chunks(worker)) for worker in 2:workers]
    failure = nothing
    try
        take_chunks(1)
    catch err
        failure = interrupt_all(err)
    end
    for task in tasks       # no task may outlive the host's arrays
        failed = finish(task)
        failure === nothing && (failure = failed)
    end
    failure === nothing || throw(failure)
    return nothing
end

"""Wait until `task` has ended, whatever interrupts the waiting; returns what made it fail, or the interrupt, or nothing."""
function finish(task)
    failure = nothing
    while !istaskdone(task)
        try
            wait(task)
        catch err
            istaskdone(task) || (failure = interrupt_all(err))
        end
    end
    return istaskfailed(task) ? TaskFailedException(task) : failure
end

const NUM_CHUNKS = 64

function chunk_ranges(num_samples, limit = NUM_CHUNKS)
    count = min(limit, num_samples)
    return [(1+div((c - 1) * num_samples, count)):div(c * num_samples, count) for c in 1:count]
end

"""How many chunks to sum over when each keeps a partial sum of `size` numbers: fewer where that would fill the memory."""
chunk_limit(size) = clamp(2^18 ÷ (size + 1), 16, NUM_CHUNKS)

"""Where the host wants a solution: C-ordered arrays (S, K), (S,) and (S, T, N)."""
struct Outputs
    spike_times::Ptr{Float64}
    spike_neurons::Ptr{Int64}
    num_spikes::Ptr{Int64}
    truncated::Ptr{UInt8}
    v::Ptr{Float64}
    i::Ptr{Float64}
end

push!(BOUNDARY_STRUCTS, Outputs)

"""Row `index` of a C-ordered matrix: its address."""
row(pointer::Ptr{T}, length, index) where {T} = pointer + sizeof(T) * length * (index - 1)

"""Recorded values of one sample in the host's array, (neuron, time)."""
saved_values(problem::Problem, pointer, sample) = unsafe_wrap(
    Array, row(pointer, problem.num_neurons * problem.num_saves, sample), (Int(problem.num_neurons), Int(problem.num_saves)),
)

"""Solve one sample into the host's arrays."""
function solve_sample!(run::Run, observer::Observer, outputs::Outputs, sample)
    problem = run.problem
    if problem.num_saves > 0
        run.v_saved, run.i_saved = saved_values(problem, outputs.v, sample), saved_values(problem, outputs.i, sample)
    end
    begin_sample!(
        run, observer, sample, row(outputs.spike_times, problem.max_spikes, sample),
        row(outputs.spike_neurons, problem.max_spikes, sample),
    )
    run_steps!(run, observer, 0, Int(problem.num_steps))
    check_finite(run, sample)
    end_sample!(observer, run)
    unsafe_store!(outputs.num_spikes, run.num_spikes, sample)
    unsafe_store!(outputs.truncated, run.stopped, sample)
    return run
end

@entry_point function ssnn_solve(problem_pointer::Ptr{Problem}, outputs_pointer::Ptr{Outputs})
    solve(unsafe_load(problem_pointer), unsafe_load(outputs_pointer))
end

function solve(problem::Problem, outputs::Outputs)
    threads = num_threads(problem)
    with_workers(() -> Run(problem), run -> renew!(run, problem), PlanKey(:solve, problem), threads) do runs
        solve_samples!(runs, outputs, Int(problem.num_samples), threads)
    end
end

function solve_samples!(runs::Vector, outputs::Outputs, num_samples, threads)
    foreach_chunk(num_samples, threads) do worker, chunk, samples
        for sample in samples
            check_cancelled()
            solve_sample!(runs[worker], NoObserver(), outputs, sample)
        end
    end
end

num_workers(problem::Problem) = max(1, min(problem.threads, problem.num_samples, available_threads()))
