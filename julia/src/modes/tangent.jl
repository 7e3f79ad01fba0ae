# Forward mode: tangents in P directions, carried along with the solution. Exact derivatives of the discretised map.

"""
Where the host wants tangents: C-ordered arrays (P, S, K) and (P, S, T, N), and the directions. Those of the integrated
hazards, 0 where no spike could come: at t1 (P, S, N), at saved times (P, S, T, N), and of the neurons of `insertions`
at the spikes named there (P, S); null where they are not wanted.
"""
struct TangentOutputs
    num_directions::Int64
    directions::Ptr{Coefficient}    # parallel to the problem's coefficients; null where a parameter does not move
    weights::PerSynapse
    delays::PerSynapse
    input_times::Coefficient
    spike_times::Ptr{Float64}
    recorded::Ptr{Ptr{Float64}}     # one array per recorded variable
    num_recorded::Int64
    s::Ptr{Float64}
    s_at_saves::Ptr{Float64}
    s_at_insertions::Ptr{Float64}
    insertions::Insertions
    path_values::Ptr{Coefficient}   # directions of the values at the driver's knots, one per component; null likewise
    jump_sizes::Ptr{Float64}        # directions of the sizes of its jumps, (P, J, C); null likewise
    jump_times::Ptr{Float64}        # and of their times, (P, J)
    at_recorded_spikes::AtRecordedSpikes
end

push!(BOUNDARY_STRUCTS, TangentOutputs)

TangentOutputs(number, directions, weights, spike_times, recorded, num_recorded) = TangentOutputs(
    number, directions, weights, NOT_GIVEN, NOWHERE, spike_times, recorded, num_recorded, C_NULL, C_NULL, C_NULL,
    NO_INSERTIONS, C_NULL, C_NULL, C_NULL, NOT_WANTED,
)

"""One thread's tangents of all directions, and where they go."""
mutable struct TangentObserver{M,Θ<:Model,P} <: Observer
    outputs::TangentOutputs
    list::Vector{Coefficient}
    directions::Vector{Θ}
    duals::Vector{HeldDual{Θ,P}}   # the run's coefficients with each direction
    states::Vector{StateTangent{M}}
    dτ::Vector{Float64}             # of the spike that is being handled; a team has one
    sample::Int
    insertion::Insertion
end

function TangentObserver(run::Run{M}, outputs::TangentOutputs) where {M}
    run.memory.remembers_passages = true
    number, n = outputs.num_directions, num_neurons(run.x)
    directions = [Model(run.problem)::typeof(run.θ) for _ in 1:number]
    return TangentObserver(
        outputs, host_table(outputs.directions, run.places), directions,
        [DualModel(run.θ, dθ, path_tangent(run.driver)) for dθ in directions],
        [StateTangent{M}(n) for _ in 1:number], zeros(number), 1, Insertion(0, 0, 0),
    )
end

"""One of a team's: as the first of them, whose arrays all share."""
TangentObserver(o::TangentObserver) = TangentObserver(
    o.outputs, o.list, o.directions, o.duals, [StateTangent(dx.y, dx.y_end, dx.start) for dx in o.states], o.dτ, 1,
    Insertion(0, 0, 0),
)

"""Make an observer of an earlier call one of this, which has as many directions."""
function renew!(o::TangentObserver, run::Run, outputs::TangentOutputs)
    o.outputs = outputs
    read_table!(o.list, outputs.directions, run.places)
    return o
end

function begin_sample!(o::TangentObserver, run::Run)
    o.insertion = Insertion(o.outputs.insertions, o.sample)
    prepare!(o, run.team)
    for (θ, dx) in zip(o.duals, o.states), k in neurons(run.team)
        dy = tangents_of(initial_state(θ, k, first_log_u(run.θ, run.key, k)))
        set_state!(dx.y, k, run.problem.start.variables == C_NULL ? dy : map(zero, dy))
        dx.start[k] = 0.0
    end
end

set_sample!(o::TangentObserver, sample) = (o.sample = sample; nothing)

"""Have what all neurons of a sample share; of a team it is made ready before its threads begin."""
function prepare!(o::TangentObserver, ::Alone)
    for (p, θ) in enumerate(o.duals)
        load!(θ.tangent, o.list, o.outputs.weights, o.outputs.delays, o.sample, p)
        load_path!(θ.path, o.outputs.path_values, o.sample, p)
    end
end

function after_full_step!(o::TangentObserver, run::Run, step::Step, n)
    mine = neurons(run.team)
    length(run.firing) == length(mine) && return            # none of them takes the whole step
    for (θ, dx) in zip(o.duals, o.states)
        full_step_tangent!(run.solver, dx, run.x, θ, step, mine)
    end
end

takes_event_free_steps(::TangentObserver) = true

function after_event_free_steps!(o::TangentObserver, run::Run, from, to)
    for (θ, dx) in zip(o.duals, o.states)
        event_free_steps_tangent!(run.solver, dx, θ, run.trail, run.driver, from, to, run.problem.t0, run.problem.dt)
    end
end

"""Tangent of neuron k's local time."""
@inline start_tangent(dx::StateTangent, k) = @inbounds dx.start[k]

"""Tangent of neuron k's state at `t` of this step, from where it is now; `dt` is that of t."""
tangent_within(run::Run, step::Step, θ::DualModel, dx::StateTangent, k, t, dt) = advance_tangent(
    run.solver, θ, step, k, state_at(run.x.y, k), state_at(dx.y, k), piece_start(run.x, step, k), t,
    start_tangent(dx, k), dt,
)

function before_spike!(o::TangentObserver, run::Run, step::Step, spike::Spike, y, a)
    j, index = spike.k, run.num_spikes + 1
    samples, capacity = run.problem.num_samples, run.problem.max_spikes
    for (p, (θ, dx)) in enumerate(zip(o.duals, o.states))
        da = start_tangent(dx, j)
        o.dτ[p], dy = spike_tangent(run.solver, θ, step, spike, y, state_at(dx.y, j), a, da)
        set_state!(dx.y, j, dy)
        dx.start[j] = o.dτ[p]
        unsafe_store!(o.outputs.spike_times, o.dτ[p], index + capacity * (o.sample - 1 + samples * (p - 1)))
    end
end

function at_spike!(o::TangentObserver, run::Run, step::Step, j, τ)
    meet!(run.team)                 # all know now how the spike moves
    inserted = o.insertion.spike == run.num_spikes + 1 && is_mine(run.team, o.insertion.neuron)
    inserted && hazard_at_spike!(o, run, step, o.insertion.neuron, τ)
end

"""∂ of neuron k's integrated hazard at the moving time τ of another neuron's spike."""
function hazard_at_spike!(o::TangentObserver, run::Run, step::Step, k, τ)
    may_fire(run, k, state_within(run, step, k, τ)) || return
    for (p, (θ, dx)) in enumerate(zip(o.duals, o.states))
        dy = tangent_within(run, step, θ, dx, k, τ, o.dτ[p])
        unsafe_store!(o.outputs.s_at_insertions, last(dy), o.sample + run.problem.num_samples * (p - 1))
    end
end

function before_move!(o::TangentObserver, run::Run, step::Step, k, y, a, τ)
    for (p, (θ, dx)) in enumerate(zip(o.duals, o.states))
        set_state!(dx.y, k, tangent_within(run, step, θ, dx, k, τ, o.dτ[p]))
        dx.start[k] = o.dτ[p]
    end
end

function before_delivery!(o::TangentObserver, run::Run, step::Step, spike::SpikeUnderWay, e, k, y)
    for (p, (θ, dx)) in enumerate(zip(o.duals, o.states))
        dT = sent_tangent(o, run, spike, e, p) + delay_tangent(θ, e)
        dy = tangent_within(run, step, θ, dx, k, spike.arrival, dT)
        set_state!(dx.y, k, tangents_of(delivery(θ, run.synapses, e, k, duals(y, dy))))
        dx.start[k] = dT
    end
end

# Where every piece is straight, the targets of a spike have their tangents in a loop without branches of its own.
takes_rows(::TangentObserver, solver) = is_straight(solver)

function before_row!(o::TangentObserver, run::Run, step::Step, places, spike::SpikeUnderWay)
    isempty(places) && return
    in_pairs(o) do ps, dx, θ
        sent = map(p -> sent_tangent(o, run, spike, first(places), p), ps)
        bring_tangents!(run.solver, dx, run.x, θ, step, run.synapses, places, spike.arrival, sent)
    end
end

function before_firing!(o::TangentObserver, run::Run, step::Step, j, event, τ)
    x, synapses = run.x, run.synapses
    before, own, behind = around(synapses, mine(run.team, synapses, synapses_of(synapses, j)), j)
    if is_mine(run.team, j)
        for (θ, dx) in zip(o.duals, o.states)
            after = transition(θ, j, event, duals(state_at(x.y, j), state_at(dx.y, j)), 0.0)
            for e in own
                after = arrival(θ, e, j, after)
            end
            set_state!(dx.y, j, tangents_of(after))
        end
    end
    for side in (before, behind)
        in_pairs(o) do ps, dx, θ
            bring_tangents!(run.solver, dx, x, θ, step, synapses, side, τ, map(p -> o.dτ[p], ps))
        end
    end
end

"""
Call `f(ps, dx, θ)` with two directions at a time, or with the last one alone: tuples of their indices, of the states'
tangents and of the models.
"""
@inline function in_pairs(f::F, o::TangentObserver) where {F}
    number = length(o.states)
    for p in 1:2:number-1
        f((p, p + 1), (o.states[p], o.states[p+1]), (o.duals[p], o.duals[p+1]))
    end
    isodd(number) && f((number,), (o.states[number],), (o.duals[number],))
    return
end

# In a loop over neurons that has two directions, what follows from the states alone, exponentials above all, is
# computed once. The compiler sees that it is the same where both models have one `primal` in registers, and where no
# branch comes between the one direction and the other.

@inline plain(θ::DualModel, primal = θ.primal) = PlainDual(primal, θ.tangent, θ.path)

"""
Bring the tangents of the targets of these synapses, which are of one row, to τ, where a spike comes by them that was
sent at a time with the tangents `sent`; the states are still those before.
"""
function bring_tangents!(
    solver, (dx,)::Tuple{StateTangent}, x::NetworkState, (θ,)::Tuple{DualModel}, step::Step, synapses, reached, τ,
    (sent,),
)
    θ, variable = plain(θ), row_variable(synapses, reached)
    @inbounds @simd ivdep for e in reached
        k, dτ = target(synapses, e), sent + delay_tangent(θ, e)
        there = straight_passage(solver, dx, x, θ, step, k, Dual(τ, dτ))
        set_state!(dx.y, k, tangents_of(delivery(θ, variable, e, k, there)))
        dx.start[k] = dτ
    end
end

function bring_tangents!(
    solver, (dx1, dx2)::NTuple{2,StateTangent}, x::NetworkState, (θ1, θ2)::NTuple{2,DualModel}, step::Step, synapses,
    reached, τ, (sent1, sent2),
)
    primal, variable = θ1.primal, row_variable(synapses, reached)
    θ1, θ2 = plain(θ1, primal), plain(θ2, primal)
    @inbounds @simd ivdep for e in reached
        k, dτ1, dτ2 = target(synapses, e), sent1 + delay_tangent(θ1, e), sent2 + delay_tangent(θ2, e)
        there1 = straight_passage(solver, dx1, x, θ1, step, k, Dual(τ, dτ1))
        there2 = straight_passage(solver, dx2, x, θ2, step, k, Dual(τ, dτ2))
        set_state!(dx1.y, k, tangents_of(delivery(θ1, variable, e, k, there1)))
        set_state!(dx2.y, k, tangents_of(delivery(θ2, variable, e, k, there2)))
        dx1.start[k], dx2.start[k] = dτ1, dτ2
    end
end

"""The state of neuron k with its tangent at the time `to` of this step, from where it is, where pieces are straight."""
@inline function straight_passage(solver, dx::StateTangent, x::NetworkState, θ::DualModel, step::Step, k, to::Dual)
    here, a = duals(state_at(x.y, k), state_at(dx.y, k)), Dual(piece_start(x, step, k), start_tangent(dx, k))
    return leaf_piece(solver, θ, k, here, a, to, step.stop, moved_slopes(θ, step, k))
end

function before_jump!(o::TangentObserver, run::Run, step::Step, n, k, τ, y)
    sizes = jump_sizes(run.external.jumps, n)
    for (p, (θ, dx)) in enumerate(zip(o.duals, o.states))
        dT = jump_time_tangent(run.external.jumps, o.outputs.jump_times, n, p)
        dy = tangent_within(run, step, θ, dx, k, τ, dT)
        moved = duals(sizes, jump_tangents(run.external.jumps, o.outputs.jump_sizes, n, p))
        set_state!(dx.y, k, tangents_of(after_jump(θ, k, duals(y, dy), moved)))
        dx.start[k] = dT
    end
end

function before_recorded!(o::TangentObserver, run::Run, step::Step, index)
    fill!(o.dτ, 0.0)                # the recording does not move
    samples, capacity = run.problem.num_samples, run.problem.max_spikes
    spike = run.num_spikes + 1 + index - run.external.recorded.next
    for p in eachindex(o.dτ)
        unsafe_store!(o.outputs.spike_times, 0.0, spike + capacity * (o.sample - 1 + samples * (p - 1)))
    end
end

function at_recorded!(o::TangentObserver, run::Run, step::Step, index, k, y, τ)
    to = o.outputs.at_recorded_spikes
    for (p, (θ, dx)) in enumerate(zip(o.duals, o.states))
        at = place(run.external.recorded, index, Int(run.problem.num_samples), p)
        dy = state_at(dx.y, k)
        store_if_wanted!(to.log_hazards, log_hazard_tangent(θ, k, y, dy, τ), at)
        store_if_wanted!(to.hazards, last(dy), at)
    end
end

"""∂ of the time at which a spike was sent, in direction p: of an input it is the host's, of a neuron it is known."""
function sent_tangent(o::TangentObserver, run::Run, spike::SpikeUnderWay, e, p)
    if is_input(run.synapses, e)
        moved = o.outputs.input_times
        moved.pointer == C_NULL && return 0.0
        return unsafe_load(moved.pointer, position(moved, o.sample, 1, spike.index, p))
    end
    samples, capacity = run.problem.num_samples, run.problem.max_spikes
    return unsafe_load(o.outputs.spike_times, spike.index + capacity * (o.sample - 1 + samples * (p - 1)))
end

function before_transition!(o::TangentObserver, run::Run, step::Step, j, event)
    for (θ, dx) in zip(o.duals, o.states)
        apply_transition_tangent!(dx.y, run.x.y, θ, run.synapses, run.team, j, event)
    end
end

function at_save!(o::TangentObserver, run::Run, step::Step, index, t)
    n, times, samples = num_neurons(run.x), length(run.saveat), run.problem.num_samples
    wants_hazards = o.outputs.s_at_saves != C_NULL && t > run.problem.t0
    for k in neurons(run.team)
        may = wants_hazards && may_fire(run, k, state_within(run, step, k, t))
        takes_whole_step = ends_step(run, step, t) && !run.x.moved[k]
        for (p, (θ, dx)) in enumerate(zip(o.duals, o.states))
            dy = takes_whole_step ? state_at(dx.y_end, k) : tangent_within(run, step, θ, dx, k, t, 0.0)
            place = k + n * (index - 1 + times * (o.sample - 1 + samples * (p - 1)))
            for variable in 1:o.outputs.num_recorded
                unsafe_store!(unsafe_load(o.outputs.recorded, variable), dy[variable], place)
            end
            may && unsafe_store!(o.outputs.s_at_saves, last(dy), place)
        end
    end
end

function end_sample!(o::TangentObserver, run::Run)
    (run.stopped || o.outputs.s == C_NULL) && return
    n, samples = num_neurons(run.x), run.problem.num_samples
    for k in neurons(run.team)
        may_fire(run, k, state_at(run.x.y, k)) || continue
        for (p, dx) in enumerate(o.states)
            unsafe_store!(o.outputs.s, last(dx.y)[k], k + n * (o.sample - 1 + samples * (p - 1)))
        end
    end
end

function end_step!(o::TangentObserver, run::Run, step::Step)
    if is_straight(run.solver)
        in_pairs((ps, dx, θ) -> bring_tangents_to_end!(run.solver, dx, run.x, θ, step), o)
    else
        for (θ, dx) in zip(o.duals, o.states), k in run.x.moved_neurons
            set_state!(dx.y_end, k, tangent_within(run, step, θ, dx, k, step.stop, 0.0))
            dx.start[k] = 0.0
        end
    end
    for dx in o.states
        dx.y, dx.y_end = dx.y_end, dx.y
    end
end

"""Bring the tangents of those neurons that are apart from the others to the end of the step."""
function bring_tangents_to_end!(
    solver, (dx,)::Tuple{StateTangent}, x::NetworkState, (θ,)::Tuple{DualModel}, step::Step,
)
    θ, moved = plain(θ), x.moved_neurons
    @inbounds @simd ivdep for n in eachindex(moved)
        k = moved[n]
        put_at_end!(dx, k, straight_passage(solver, dx, x, θ, step, k, Dual(step.stop, 0.0)))
    end
end

function bring_tangents_to_end!(
    solver, (dx1, dx2)::NTuple{2,StateTangent}, x::NetworkState, (θ1, θ2)::NTuple{2,DualModel}, step::Step,
)
    primal, moved = θ1.primal, x.moved_neurons
    θ1, θ2 = plain(θ1, primal), plain(θ2, primal)
    @inbounds @simd ivdep for n in eachindex(moved)
        k = moved[n]
        y1 = straight_passage(solver, dx1, x, θ1, step, k, Dual(step.stop, 0.0))
        y2 = straight_passage(solver, dx2, x, θ2, step, k, Dual(step.stop, 0.0))
        put_at_end!(dx1, k, y1)
        put_at_end!(dx2, k, y2)
    end
end

@inline function put_at_end!(dx::StateTangent, k, y)
    set_state!(dx.y_end, k, tangents_of(y))
    @inbounds dx.start[k] = 0.0
    return
end

@entry_point function ssnn_solve_tangent(
    problem_pointer::Ptr{Problem}, outputs_pointer::Ptr{Outputs}, tangents_pointer::Ptr{TangentOutputs},
)
    solve_tangent(unsafe_load(problem_pointer), unsafe_load(outputs_pointer), unsafe_load(tangents_pointer))
end

"""Solve with tangents into the host's arrays."""
function solve_tangent(problem::Problem, outputs::Outputs, tangents::TangentOutputs)
    size = team_size(problem)
    size > 1 && return Base.invokelatest(solve_tangent_as_team, problem, outputs, tangents, size)
    threads = num_threads(problem, 1 + tangents.num_directions)
    make() = (run = Run(problem); (run, TangentObserver(run, tangents)))
    renew_worker!(worker) = (renew!(worker[1], problem); renew!(worker[2], worker[1], tangents))
    with_workers(make, renew_worker!, PlanKey(:tangent, problem, tangents.num_directions), threads) do workers
        solve_tangent_samples!(workers, outputs, Int(problem.num_samples), threads)
    end
end

function solve_tangent_samples!(workers::Vector, outputs::Outputs, num_samples, threads)
    foreach_chunk(num_samples, threads) do worker, chunk, samples
        run, observer = workers[worker]
        for sample in samples
            check_cancelled()
            set_sample!(observer, sample)
            solve_sample!(run, observer, outputs, sample)
        end
    end
end

"""The observers of a team's runs."""
function TangentObservers(team::TeamRuns, outputs::TangentOutputs)
    first_one = TangentObserver(team.runs[1], outputs)
    return [index == 1 ? first_one : TangentObserver(first_one) for index in eachindex(team.runs)]
end

function solve_tangent_as_team(problem::Problem, outputs::Outputs, tangents::TangentOutputs, size)
    make() = (team = TeamRuns(problem, size); (team, TangentObservers(team, tangents)))
    function renew_team!((team, observers))
        renew!(team, problem)
        foreach((o, run) -> renew!(o, run, tangents), observers, team.runs)
    end
    key = PlanKey(:tangent_as_team, problem, tangents.num_directions, size)
    with_workers(make, renew_team!, key, 1) do teams
        team, observers = teams[1]
        solve_samples_as_team!(team, observers, outputs, Int(problem.num_samples))
    end
end
