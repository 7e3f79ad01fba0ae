# One sample through time: steps, events inside them, records of spikes and of values at given times. What else is to
# happen along the way (tangents, a tape for the adjoint) is the business of an observer.

"""
Follows a run. Methods, all optional: `set_sample!`, `prepare!`, `begin_sample!`, `after_full_step!`, `before_spike!`,
`at_spike!`, `before_move!`, `before_transition!`, `before_delivery!`, `before_jump!`, `before_recorded!`,
`at_recorded!`, `at_save!`, `end_step!`, `end_sample!`; `takes_event_free_steps` with `after_event_free_steps!` if it
can follow several steps at once; and `takes_rows` with `before_firing!` and `before_row!` if it can follow all targets
of a spike at once.
"""
abstract type Observer end

struct NoObserver <: Observer end

set_sample!(::Observer, sample) = nothing
prepare!(::Observer, team) = nothing
begin_sample!(::Observer, run) = nothing
after_full_step!(::Observer, run, step, n) = nothing
before_spike!(::Observer, run, step, spike, y, a) = nothing
at_spike!(::Observer, run, step, j, τ) = nothing
before_move!(::Observer, run, step, k, y, a, τ) = nothing
before_transition!(::Observer, run, step, j, event) = nothing
before_delivery!(::Observer, run, step, spike, e, k, y) = nothing
before_jump!(::Observer, run, step, n, k, τ, y) = nothing
before_recorded!(::Observer, run, step, index) = nothing
at_recorded!(::Observer, run, step, index, k, y, τ) = nothing
takes_event_free_steps(::Observer) = false
after_event_free_steps!(::Observer, run, from, to) = nothing
takes_rows(::Observer, solver) = false
before_firing!(::Observer, run, step, j, event, τ) = nothing
before_row!(::Observer, run, step, places, spike) = nothing
at_save!(::Observer, run, step, index, t) = nothing
end_step!(::Observer, run, step) = nothing
end_sample!(::Observer, run) = nothing

takes_event_free_steps(::NoObserver) = true
takes_rows(::NoObserver, solver) = true

# A neuron that fires more often than this within one step shows that the step is too large for the intensity.
const MAX_SPIKES_IN_STEP = 1000

# Neurons that excite each other have more spikes in a step than these where excitation runs away: so many on average,
# or as many more as cost no more than this work, in neurons and targets looked at.
const MAX_MEAN_SPIKES_IN_STEP = 5
const RUNAWAY_WORK = 1_000_000

"""How many spikes all neurons of a sample together may have within one step."""
function spike_limit(synapses::Synapses, neurons)
    targets = length(synapses)
    targets == 0 && return typemax(Int)
    return max(MAX_MEAN_SPIKES_IN_STEP * neurons, RUNAWAY_WORK ÷ (neurons + cld(targets, neurons)))
end

# Neurons of a full step are looked at in blocks of this size, so that finding those that fire costs little where few
# do.
const BLOCK = 256

# How many steps of a network of one neuron are taken at once: no more than its noise window holds.
const TRAIL_STEPS = window_steps(NoiseWindow(1, 1))

"""Everything one thread needs to compute samples of a problem."""
mutable struct Run{M,C,S<:Solver,Θ<:Model,D<:Driver{C},E<:ExternalEvents,T<:Team}
    problem::Problem
    solver::S
    synapses::Synapses
    places::Vector{Int}                 # of the coefficients, in the host's tables
    coefficients::Vector{Coefficient}
    saveat::Vector{Float64}
    θ::Θ
    x::NetworkState{M}
    driver::D
    last_increments::Vector{Float64}    # of a shortened last step
    last_areas::Vector{Float64}
    keeps_areas::Bool                   # steps come with their areas
    memory::RefinementMemory{M,C}
    key::NTuple{2,UInt64}
    firing::ExpectedSpikes{M}           # in this step
    spike_times::Ptr{Float64}           # where this sample's go: as many as the problem's `max_spikes`
    spike_neurons::Ptr{Int64}           # counted from 0
    spike_events::Ptr{Int64}            # likewise; null where nobody asks
    num_spikes::Int
    next_save::Int
    saved::Vector{Matrix{Float64}}      # (neuron, time) of this sample, for each recorded variable; empty where none is
    stopped::Bool                       # as many spikes as the host has place for
    insertion::Insertion
    trail::Trail{M}
    external::E
    team::T
end

Run(problem::Problem) = Run(problem, lookup(SOLVERS, "solver", unsafe_string(problem.solver))(), Model(problem))

Run(problem::Problem, solver::Solver, θ::Model) =
    Run(problem, solver, θ, Driver(problem), Val(num_variables(typeof(θ))))

function Run(
    problem::Problem, solver::Solver, θ::Model, driver::Driver{C}, ::Val{M},
    team::Team = Alone(1:Int(problem.num_neurons)), x = NetworkState{M}(problem.num_neurons),
    memory = RefinementMemory{M,C}(problem.num_neurons, deepest_leaf(solver)),
) where {C,M}
    n, places, draws = Int(problem.num_neurons), coefficient_places(problem, θ), length(neurons(team)) * C
    suit!(solver, driver)
    return Run(
        problem, solver, problem.synapses, places, host_table(problem.coefficients, places),
        host_array(problem.saveat, problem.num_saves), θ, x, driver, zeros(draws), zeros(draws),
        keeps_areas(solver, problem), memory, (UInt64(0), UInt64(0)),
        ExpectedSpikes{M}(n), Ptr{Float64}(C_NULL), Ptr{Int64}(C_NULL), Ptr{Int64}(C_NULL), 0, 1, Matrix{Float64}[],
        false, Insertion(0, 0, 0), zero_vectors(Val(M), n == 1 ? TRAIL_STEPS : 0), ExternalEvents(problem, Val(C)),
        team,
    )
end

"""Make a run of an earlier call one of `problem`, which has the same shape."""
function renew!(run::Run, problem::Problem)
    run.problem = problem
    run.synapses = problem.synapses
    renew!(run.external, problem)
    read_table!(run.coefficients, problem.coefficients, run.places)
    run.saveat = host_array(problem.saveat, problem.num_saves)
    renew!(run.driver, problem)
    return run
end

"""Put the run at the start of `sample` (from 1); its spikes go to the given addresses."""
function begin_sample!(run::Run, observer::Observer, sample, spike_times, spike_neurons, spike_events = C_NULL)
    problem, θ, x = run.problem, run.θ, run.x
    prepare!(run, run.team, sample)
    begin_sample!(run.external, θ, run.synapses, problem.start, sample)
    run.key = (problem.seed, UInt64(problem.first_sample + sample - 1))
    reset!(run.driver, run.key)
    prepare!(run.solver, θ, problem.dt)
    settle!(x)                      # of a sample that stopped within a step
    for k in neurons(run.team)
        x.spikes[k] = 0
        set_state!(x.y, k, initial_state(θ, k, first_log_u(θ, run.key, k)))
    end
    start_as_given!(run, sample)
    run.spike_times, run.spike_neurons, run.spike_events = spike_times, spike_neurons, spike_events
    run.num_spikes, run.next_save, run.stopped = 0, 1, false
    run.insertion = Insertion(problem.insertions, sample)
    begin_sample!(observer, run)
    # No spike is inserted at t0 itself.
    !isempty(run.saveat) && run.saveat[1] == problem.t0 && save!(run, observer, step_at(run, 0), problem.t0)
    return run
end

"""Have what all neurons of a sample share."""
function prepare!(run::Run, ::Alone, sample)
    load!(run.θ, run.coefficients, run.synapses.weights, run.synapses.delays, sample)
    forget!(run.memory)
end

"""The state at the start where the host has one of its own: where a run goes on from another."""
function start_as_given!(run::Run, sample)
    x, problem, start = run.x, run.problem, run.problem.start
    for k in neurons(run.team)
        for variable in 1:(start.variables == C_NULL ? 0 : length(x.y))
            x.y[variable][k] = unsafe_load(start.variables, start_place(problem, variable, sample, k))
        end
        start.fired == C_NULL || (x.spikes[k] = unsafe_load(start.fired, k + num_neurons(x) * (sample - 1)))
    end
end

"""Where a variable of neuron k stands in arrays like those of the problem's `start`: (variable, sample, neuron)."""
start_place(problem, variable, sample, k) =
    k + Int(problem.num_neurons) * (sample - 1 + Int(problem.num_samples) * (variable - 1))

"""Step `n` (from 0) of the grid with the driver's increments."""
function step_at(run::Run{M,C}, n::Int) where {M,C}
    problem, driver = run.problem, run.driver
    start, stop = step_times(problem, n)
    mine = neurons(run.team)
    count, before = length(mine), first(mine) - 1       # arrays begin with the first of these neurons
    increments, offset = increments!(driver, n)
    shortened = n == problem.num_steps - 1 && is_shortened(problem)
    areas, area_offset = shortened || run.keeps_areas ? areas!(driver, n) : (NO_AREAS, before)
    whole = Step(
        start, stop, problem.dt, increment_scale(driver), increments, offset - before, area_scale(driver), areas,
        area_offset - before, count, run.key, n, driver, run.memory,
    )
    shortened || return whole
    # The path at the beginning of the whole step, so that it does not depend on t1 before the last step.
    h = stop - start
    for c in 1:C, k in mine
        place = k - before + (c - 1) * count
        run.last_increments[place], run.last_areas[place] = beginning(
            driver, run.key, k, c, n, problem.dt, increment(whole, k, c), area(whole, k, c), h / problem.dt,
        )
    end
    return Step(
        start, stop, h, 1.0, run.last_increments, -before, 1.0, run.last_areas, -before, count, run.key, n, driver,
        run.memory,
    )
end

const NO_AREAS = Float64[]

"""Whether the last step is shorter than the others."""
function is_shortened(problem)
    steps = (problem.t1 - problem.t0) / problem.dt
    return problem.num_steps - steps > 1e-9 + 4 * eps() * steps
end

"""Whether steps come with areas: where the solver uses them, or where refinement could not draw them again."""
keeps_areas(solver::Solver, problem::Problem) =
    uses_area(solver) || deepest_leaf(solver) > 0 && (problem.noise_levels > 0 || is_shortened(problem))

"""
Run steps `from` to `to` (the last excluded); stops early where there are as many spikes as the host has place for.
Returns how many steps were begun.
"""
function run_steps!(run::Run, observer::Observer, from::Int, to::Int)
    x, mine = run.x, neurons(run.team)
    alone = num_neurons(x) == 1 && takes_event_free_steps(observer)
    n, coming = from, next_coming(run.external)
    while n < to
        alone && (n = take_event_free_steps!(run, observer, n, to))
        step = step_at(run, n)
        for start in first(mine):BLOCK:last(mine)
            block = start:min(start + BLOCK - 1, last(mine))
            if full_step!(run.solver, x, run.θ, step, block) > 0
                for k in block
                    fires(run.θ, k, state_at(x.y_end, k)) && look_ahead!(run, step, k)
                end
            end
        end
        after_full_step!(observer, run, step, n)
        if coming <= step.stop || next_spike(run)[1] < Inf
            send_inputs!(run.external, run.θ, run.synapses, step.stop)
            resolve_events!(run, observer, step)
            run.stopped && return n + 1 - from
            coming = next_coming(run.external)
        end
        fires_at_end = 0
        while run.next_save <= length(run.saveat) && run.saveat[run.next_save] <= step.stop
            k, t = save!(run, observer, step, run.saveat[run.next_save]), run.saveat[run.next_save-1]
            if k > 0 && t < step.stop
                insert_spike!(run, observer, step, k, t)
                resolve_events!(run, observer, step)
                run.stopped && return n + 1 - from
                coming = next_coming(run.external)
            else
                fires_at_end = k
            end
        end
        end_step!(observer, run, step)
        turn_over!(x, run.θ)
        fires_at_end > 0 && (last(x.y)[fires_at_end] = 0.0)         # so that it fires as the next step begins
        n += 1
        check_cancelled()
    end
    return to - from
end

"""
Take as many steps at once as have no spike, nothing that arrives and nothing to record, up to the end of the noise
window; returns the step reached, before `to`.
"""
function take_event_free_steps!(run::Run, observer::Observer, from::Int, to::Int)
    problem, driver = run.problem, run.driver
    limit = min(to, Int(problem.num_steps)) - 1         # the last step may be shortened
    expected = next_coming(run.external)
    run.next_save <= length(run.saveat) && (expected = min(expected, run.saveat[run.next_save]))
    if expected < Inf
        limit = min(limit, floor(Int, (expected - problem.t0) / problem.dt) - 1)
    end
    limit <= from && return from
    increments!(driver, from)
    stop = min(limit, window_stop(driver), from + TRAIL_STEPS)
    reached = event_free_steps!(run.solver, run.x, run.θ, run.trail, driver, from, stop, problem.t0, problem.dt)
    after_event_free_steps!(observer, run, from, reached)
    return reached
end

"""Bring the end of neuron k's piece up to date, and expect its spike if it fires before that."""
function look_ahead!(run::Run, step::Step, k)
    x, a = run.x, piece_start(run.x, step, k)
    arrival = reach(run.solver, run.θ, step, k, state_at(x.y, k), a, !x.moved[k])
    if arrival.τ < Inf
        expect!(run.firing, Spike(k, arrival))
    else
        set_state!(x.y_end, k, arrival.y)
        mark_moved!(x, k, a)
    end
end

"""Say that neuron k is at time `a` within the step, apart from the others."""
@inline function mark_moved!(x::NetworkState, k, a)
    @inbounds x.start[k] = a
    @inbounds x.moved[k] && return
    @inbounds x.moved[k] = true
    push!(x.moved_neurons, k)
    return
end

"""Let all neurons fire that fire in this step, and spikes arrive that do so, in the order of time."""
function resolve_events!(run::Run, observer::Observer, step::Step)
    x, θ, synapses = run.x, run.θ, run.synapses
    limit, before = spike_limit(synapses, num_neurons(x)), run.num_spikes
    while true
        τ, j, event = next_spike(run)
        if external_event!(run, run.external, observer, step, τ)
            run.stopped && return
            continue
        end
        τ == Inf && return
        save_before!(run, observer, step, τ) && continue    # an inserted spike comes first
        if is_mine(run.team, j)
            spike = first(run.firing)
            before_spike!(observer, run, step, spike, state_at(x.y, j), piece_start(x, step, j))
            set_state!(x.y, j, spike.y)
            mark_moved!(x, j, τ)
        end
        at_spike!(observer, run, step, j, τ)
        fire!(run, observer, step, j, event, τ)
        run.stopped && return
        run.insertion.spike == run.num_spikes && insert_spike!(run, observer, step, run.insertion.neuron, τ)
        is_mine(run.team, j) && count_in_step!(x, step, j)
        run.num_spikes - before > limit && throw_runs_away(sample_of(run), num_neurons(x), limit, step.start)
    end
end

"""Time, neuron and event of the next spike that any neuron is about to fire in this step; Inf where there is none."""
function next_spike(run::Run)
    isempty(run.firing) && return first_of_all(run.team, Inf, 0, 0)
    spike = first(run.firing)
    return first_of_all(run.team, spike.time, spike.k, spike.event)
end

"""Count one more spike of neuron j in this step, and raise where there are too many."""
function count_in_step!(x::NetworkState, step::Step, j)
    x.spikes_in_step[j] += 1
    x.spikes_in_step[j] > MAX_SPIKES_IN_STEP && throw_fires_too_often(j, step.start)
end

# What goes wrong in a run on any device: of neuron j, in a sample that counts from 0 here, in the step from `start`.

@noinline throw_fires_too_often(j, start) = throw(ErrorException(
    "neuron $(j - 1) fires more than $MAX_SPIKES_IN_STEP times within the step from t = $start: dt is too large for " *
    "its intensity",
))

@noinline throw_runs_away(sample, neurons, limit, start) = throw(ErrorException(
    "excitation runs away in sample $sample: $neurons neurons fire more than $limit times within the step from " *
    "t = $start",
))

@noinline throw_not_finite(sample, dt) = throw(ErrorException(
    "the solution of sample $sample is no longer finite: dt = $dt is too large for the rates of the equations, a " *
    "parameter is too large, or a formula has no value at a state that was reached (the root or logarithm of a " *
    "negative number)",
))

"""Let neuron j, which is at τ, fire there: its targets are brought to τ, and all of them go on from there."""
function fire!(run::Run, observer::Observer, step::Step, j, event, τ)
    if takes_rows(observer, run.solver)
        fire_at_once!(run, observer, step, j, event, τ)
    else
        fire_one_by_one!(run, observer, step, j, event, τ)
    end
    put_down!(run, observer, step, j, event, τ)
end

function fire_one_by_one!(run::Run, observer::Observer, step::Step, j, event, τ)
    x, θ, synapses = run.x, run.θ, run.synapses
    outgoing = mine(run.team, synapses, synapses_of(synapses, j))
    for e in outgoing
        k = target(synapses, e)
        k == j || move_to!(run, observer, step, k, τ)
    end

    before_transition!(observer, run, step, j, event)
    log_u = is_mine(run.team, j) ? count_spike!(run, j, event) : 0.0
    apply_transition!(x.y, θ, synapses, run.team, j, event, log_u)
    is_mine(run.team, j) && restart!(run, step, j)
    for e in outgoing
        k = target(synapses, e)
        k == j || restart!(run, step, k)
    end
end

# All that happens to a target happens at once: it is fetched from memory once.
function fire_at_once!(run::Run, observer::Observer, step::Step, j, event, τ)
    x = run.x
    before_firing!(observer, run, step, j, event, τ)
    if is_mine(run.team, j)
        set_state!(x.y, j, transition(run.θ, j, event, state_at(x.y, j), count_spike!(run, j, event)))
    end
    arrive!(run, step, j, τ)
    is_mine(run.team, j) && restart!(run, step, j)
end

"""Count one more spike of neuron j; returns the logarithm of its next threshold."""
function count_spike!(run::Run, j, event)
    x = run.x
    all(isfinite, state_at(x.y, j)) || throw_not_finite(run)    # what the transition resets would not show it
    x.spikes[j] += 1
    return next_log_u(run.θ, run.key, j, event, x.spikes[j])
end

"""Put a spike that has happened where the host wants it, and send it to targets behind delays."""
function put_down!(run::Run, observer::Observer, step::Step, j, event, τ)
    run.num_spikes += 1
    if leads(run.team)
        unsafe_store!(run.spike_times, τ, run.num_spikes)
        unsafe_store!(run.spike_neurons, j - 1, run.num_spikes)
        run.spike_events == C_NULL || unsafe_store!(run.spike_events, event - 1, run.num_spikes)
    end
    run.synapses.delayed == 1 && send_spike!(run.external, run.θ, run.synapses, j, run.num_spikes, τ)
    run.num_spikes == run.problem.max_spikes || return
    run.stopped = true
    empty!(run.firing)
    if run.next_save <= length(run.saveat) && run.saveat[run.next_save] == τ
        save!(run, observer, step, τ)
    end
end

"""
Let a spike of neuron j arrive at τ: its targets are brought there, and go on from there; j itself, which has just made
its transition, is left there.
"""
function arrive!(run::Run, step::Step, j, τ)
    before, own, after = around(run.synapses, mine(run.team, run.synapses, synapses_of(run.synapses, j)), j)
    bring!(run, step, before, τ)
    foreach(e -> set_state!(run.x.y, j, arrival(run.θ, e, j, state_at(run.x.y, j))), own)
    bring!(run, step, after, τ)
end

"""
Bring the targets of these synapses, which are of one row, to τ, where a spike comes by them, and let them go on from
there.
"""
function bring!(run::Run, step::Step, reached, τ)
    x, θ, synapses = run.x, run.θ, run.synapses
    if is_straight(run.solver)
        bring_straight!(run, step, reached, τ)
        return
    end
    for e in reached
        k = target(synapses, e)
        y = advance(run.solver, θ, step, k, state_at(x.y, k), piece_start(x, step, k), τ)
        set_state!(x.y, k, delivery(θ, synapses, e, k, y))
        mark_moved!(x, k, τ)
        restart!(run, step, k)
    end
end

# Nothing depends on the order in which the targets of a row are brought to τ, as no two are the same neuron: most of
# the work is a loop without branches.
function bring_straight!(run::Run, step::Step, reached, τ)
    x, θ, synapses, expected = run.x, run.θ, run.synapses, run.firing.place
    for e in reached
        k = target(synapses, e)
        @inbounds x.moved[k] || mark_moved!(x, k, step.start)
    end
    bring_straight!(run.solver, x, θ, step, synapses, reached, τ, expected) == 0 && return
    for e in reached
        k = target(synapses, e)
        expected[k] > 0 || fires(θ, k, state_at(x.y_end, k)) || continue
        restart!(run, step, k)
    end
end

"""The same of states alone; returns how many of them fire in what is left of the step, or were about to."""
function bring_straight!(solver, x, θ, step, synapses, reached, τ, expected)
    y, y_end, start, stop, firing, variable = x.y, x.y_end, x.start, step.stop, 0, row_variable(synapses, reached)
    @inbounds @simd ivdep for e in reached
        k = target(synapses, e)
        slopes = step_slopes(step, k)
        there = delivery(θ, variable, e, k, leaf_piece(solver, θ, k, state_at(y, k), start[k], τ, stop, slopes))
        after = leaf_piece(solver, θ, k, there, τ, stop, stop, slopes)
        set_state!(y, k, there)
        set_state!(y_end, k, after)
        start[k] = τ
        firing += (expected[k] > 0) | fires(θ, k, after)
    end
    return firing
end

"""
Record what is to be recorded before τ, up to the first time at which a spike is inserted; returns whether there is one.
"""
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
    y = state_at(x.y, k)
    expect!(run.firing, Spike(k, 1, τ, y, scaled(0.0, y)))
end

"""
Whether a spike of neuron k could come in state y: whether Λ > α, Λ the hazard since its last spike. Given all that
happened and no spike yet, the next threshold has density 1 at Λ there, and none in the dead zone.
"""
may_fire(run::Run, k, y) = last(y) > (is_clamped(run.θ, k) ? 0.0 : threshold(run.key, k - 1, run.x.spikes[k]))

"""Bring neuron `k` to time τ along its piece."""
function move_to!(run::Run, observer::Observer, step::Step, k, τ)
    x = run.x
    y, a = state_at(x.y, k), piece_start(x, step, k)
    before_move!(observer, run, step, k, y, a, τ)
    set_state!(x.y, k, advance(run.solver, run.θ, step, k, y, a, τ))
    mark_moved!(x, k, τ)
end

"""Ask again whether neuron `k` fires before the step ends, from where it is now."""
function restart!(run::Run, step::Step, k)
    forget!(run.firing, k)
    look_ahead!(run, step, k)
end

"""Record all neurons at time `t` of this step; returns the neuron whose spike is inserted there, or 0."""
function save!(run::Run, observer::Observer, step::Step, t)
    index = run.next_save
    if !isempty(run.saved)
        for k in neurons(run.team)
            y = state_within(run, step, k, t)
            for (variable, values) in enumerate(run.saved)
                values[k, index] = y[variable]
            end
        end
    end
    at_save!(observer, run, step, index, t)
    run.next_save += 1
    return run.insertion.save == index ? run.insertion.neuron : 0
end

"""Whether `t` is the end of a step to which all neurons come: a sample that stops there leaves them on their way."""
ends_step(run::Run, step::Step, t) = t == step.stop && !run.stopped

"""Neuron k's state at time `t` of this step, before any spike that is expected later."""
state_within(run::Run, step::Step, k, t) = ends_step(run, step, t) ? state_at(run.x.y_end, k) :
    advance(run.solver, run.θ, step, k, state_at(run.x.y, k), piece_start(run.x, step, k), t)

"""Raise where the solution has blown up."""
check_finite(run::Run) =
    all(k -> all(isfinite, state_at(run.x.y, k)), neurons(run.team)) || throw_not_finite(run)

throw_not_finite(run::Run) = throw_not_finite(sample_of(run), run.problem.dt)

"""Which sample the run is at, from 0."""
sample_of(run::Run) = Int(run.key[2] - run.problem.first_sample)

"""Where the host wants a solution: C-ordered arrays (S, K), (S,) and (S, T, N)."""
struct Outputs
    spike_times::Ptr{Float64}
    spike_neurons::Ptr{Int64}
    num_spikes::Ptr{Int64}
    truncated::Ptr{UInt8}
    spike_events::Ptr{Int64}        # which event each spike is, from 0; null where nobody asks
    recorded::Ptr{Ptr{Float64}}     # one array per recorded variable
    num_recorded::Int64
    at_recorded_spikes::AtRecordedSpikes
    last_state::Ptr{Float64}        # at t1, (variable, sample, neuron), hazards last; null where nobody asks
end

push!(BOUNDARY_STRUCTS, Outputs)

Outputs(times, neurons, num_spikes, truncated, events, recorded, num_recorded) =
    Outputs(times, neurons, num_spikes, truncated, events, recorded, num_recorded, NOT_WANTED, C_NULL)

"""Row `index` of a C-ordered matrix: its address."""
row(pointer::Ptr{T}, columns, index) where {T} = pointer + sizeof(T) * columns * (index - 1)

"""The host's arrays of the recorded variables."""
recorded(outputs) = [unsafe_load(outputs.recorded, variable) for variable in 1:outputs.num_recorded]

"""Recorded values of one sample in the host's array, (neuron, time)."""
function saved_values(problem::Problem, pointer, sample)
    n, times = Int(problem.num_neurons), Int(problem.num_saves)
    return unsafe_wrap(Array, row(pointer, n * times, sample), (n, times))
end

"""
Solve one sample into the host's arrays: between its start and its end, where the run is at its start, `follow!()`.
"""
function solve_sample!(follow!, run::Run, observer::Observer, outputs::Outputs, sample)
    problem = run.problem
    if problem.num_saves > 0
        run.saved = [saved_values(problem, array, sample) for array in recorded(outputs)]
    end
    begin_sample!(
        run, observer, sample, row(outputs.spike_times, problem.max_spikes, sample),
        row(outputs.spike_neurons, problem.max_spikes, sample),
        outputs.spike_events == C_NULL ? outputs.spike_events : row(outputs.spike_events, problem.max_spikes, sample),
    )
    want_at_recorded!(run.external, outputs.at_recorded_spikes)
    follow!()
    if leads(run.team)
        unsafe_store!(outputs.num_spikes, run.num_spikes, sample)
        unsafe_store!(outputs.truncated, run.stopped, sample)
    end
    outputs.last_state == C_NULL || run.stopped || store_last_state!(outputs.last_state, run, sample)
    return run
end

function store_last_state!(to::Ptr{Float64}, run::Run, sample)
    n, samples = num_neurons(run.x), Int(run.problem.num_samples)
    for (variable, values) in enumerate(run.x.y), k in neurons(run.team)
        unsafe_store!(to, values[k], k + n * (sample - 1 + samples * (variable - 1)))
    end
end

"""The same, step by step."""
solve_sample!(run::Run, observer::Observer, outputs::Outputs, sample) = solve_sample!(run, observer, outputs, sample) do
    run_steps!(run, observer, Int(run.problem.start.step), Int(run.problem.num_steps))
    check_finite(run)
    end_sample!(observer, run)
end

@entry_point function ssnn_solve(problem_pointer::Ptr{Problem}, outputs_pointer::Ptr{Outputs})
    solve(unsafe_load(problem_pointer), unsafe_load(outputs_pointer))
end

function solve(problem::Problem, outputs::Outputs)
    size = team_size(problem)
    # Julia looks into it when it is called, and not whenever a first solution is compiled.
    size > 1 && return Base.invokelatest(solve_as_team, problem, outputs, size)
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

# --- one sample on several threads ------------------------------------------------------------------------------------

"""Runs of one sample that share a network's state and coefficients, each of some of the neurons."""
struct TeamRuns{R<:Run}
    runs::Vector{R}
    meeting::Meeting
end

function TeamRuns(problem::Problem, size::Int)
    n, θ = Int(problem.num_neurons), Model(problem)
    return TeamRuns(problem, size, θ, NetworkState{num_variables(typeof(θ))}(n), Val(Int(problem.num_components)))
end

function TeamRuns(problem::Problem, size::Int, θ::Model, x::NetworkState{M}, ::Val{C}) where {M,C}
    meeting, n = Meeting(size), num_neurons(x)
    solvers = [lookup(SOLVERS, "solver", unsafe_string(problem.solver))() for _ in 1:size]
    memory = RefinementMemory{M,C}(n, deepest_leaf(solvers[1]))
    # Whole blocks, so that no two threads write to the same part of the memory.
    edges = [BLOCK * div(index * cld(n, BLOCK), size) for index in 0:size]
    runs = map(1:size) do index
        range = edges[index]+1:min(edges[index+1], n)
        own = NetworkState{M}(x.y, x.y_end, x.start, x.moved, Int[], x.spikes, x.spikes_in_step)
        driver = BrownianMotion(problem, range)
        Run(problem, solvers[index], θ, driver, Val(M), Member(index, range, meeting), own, memory)
    end
    return TeamRuns(runs, meeting)
end

renew!(team::TeamRuns, problem::Problem) = (foreach(run -> renew!(run, problem), team.runs); team)

# What the threads share has been made ready before they begin.
prepare!(run::Run, ::Member, sample) = nothing

function solve_as_team(problem::Problem, outputs::Outputs, size)
    key = PlanKey(:solve_as_team, problem, size)
    with_workers(() -> TeamRuns(problem, size), team -> renew!(team, problem), key, 1) do teams
        solve_samples_as_team!(teams[1], fill(NoObserver(), size), outputs, Int(problem.num_samples))
    end
end

"""Solve samples one after the other, each on all threads of a team, whose runs have an observer each."""
function solve_samples_as_team!(team::TeamRuns, observers::Vector, outputs::Outputs, num_samples)
    runs, everyone = team.runs, Alone(1:num_neurons(team.runs[1].x))
    for sample in 1:num_samples
        check_cancelled()
        foreach(o -> set_sample!(o, sample), observers)
        prepare!(runs[1], everyone, sample)
        prepare!(observers[1], everyone)
        as_team(index -> solve_sample!(runs[index], observers[index], outputs, sample), team.meeting)
    end
end
