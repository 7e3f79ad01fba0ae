# Forward mode: tangents in P directions, carried along with the solution. Exact derivatives of the discretised map.

"""
Where the host wants tangents: C-ordered arrays (P, S, K) and (P, S, T, N), and the directions. Those of the integrated hazards, 0 where no spike could come: at t1 (P, S, N), at saved times
(P, S, T, N), and of the neurons of `insertions` at the spikes named there (P, S); null where they are not wanted.
"""
struct TangentOutputs
    num_directions::Int64
    directions::Ptr{Coefficient}    # parallel to the problem's coefficients; null where a parameter does not move
    weights::Coefficient
    spike_times::Ptr{Float64}
    v::Ptr{Float64}
    i::Ptr{Float64}
    s::Ptr{Float64}
    s_at_saves::Ptr{Float64}
    s_at_insertions::Ptr{Float64}
    insertions::Insertions
end

push!(BOUNDARY_STRUCTS, TangentOutputs)

TangentOutputs(count, directions, weights, spike_times, v, i) =
    TangentOutputs(count, directions, weights, spike_times, v, i, C_NULL, C_NULL, C_NULL, NO_INSERTIONS)

mutable struct TangentObserver{Θ<:Parameters} <: Observer
    outputs::TangentOutputs
    list::Vector{Coefficient}
    directions::Vector{Θ}
    motions::Vector{Moving{Θ}}      # the run's parameters with each direction
    states::Vector{StateTangent}
    dτ::Vector{Float64}             # of the spike that is being handled
    moving::Groups
    sample::Int
    insertion::Insertion
end

function TangentObserver(run::Run, outputs::TangentOutputs)
    run.memory.remembers_walks = true
    count, n = outputs.num_directions, length(run.x.v)
    list = host_table(outputs.directions, run.places)
    directions = [Parameters(run.problem)::typeof(run.θ) for _ in 1:count]
    return TangentObserver(outputs, list, directions, [Moving(run.θ, dθ) for dθ in directions], [StateTangent(n) for _ in 1:count], zeros(count), Groups(list, run.θ), 1,
        Insertion(0, 0, 0))
end

"""Make an observer of an earlier call one of this, which has as many directions."""
function renew!(o::TangentObserver, run::Run, outputs::TangentOutputs)
    o.outputs = outputs
    read_table!(o.list, outputs.directions, run.places)
    o.moving = Groups(o.list, run.θ)
    return o
end

function begin_sample!(o::TangentObserver, run::Run)
    o.insertion = Insertion(o.outputs.insertions, o.sample)
    for (p, (dθ, dx)) in enumerate(zip(o.directions, o.states))
        load!(dθ, o.list, o.outputs.weights, run.synapses, o.sample, p)
        copyto!(dx.v, dθ.v0)
        copyto!(dx.i, dθ.i0)
        dx.s .= .-dθ.alpha
        fill!(dx.start, 0.0)
    end
end

function after_full_step!(o::TangentObserver, run::Run, step::Step, n)
    length(run.firing) == length(run.x.v) && return     # none of them takes the whole step
    for (motion, dx) in zip(o.motions, o.states)
        full_step_tangent!(run.solver, dx, run.x, motion, step, o.moving)
    end
end

takes_quiet_steps(::TangentObserver) = true

function after_quiet_steps!(o::TangentObserver, run::Run, from, to)
    for (motion, dx) in zip(o.motions, o.states)
        quiet_steps_tangent!(
            run.solver, dx, motion, run.trail, run.path, from, to, run.problem.t0, run.problem.dt, o.moving,
        )
    end
end

local_tangent(dx::StateTangent, k) = @inbounds (v = dx.v[k], i = dx.i[k], s = dx.s[k])
start_tangent(dx::StateTangent, x::State, k) = @inbounds x.moved[k] ? dx.start[k] : 0.0

function before_spike!(o::TangentObserver, run::Run, step::Step, spike::Spike, y::Local, a)
    j, index = spike.k, run.num_spikes + 1
    samples, capacity = run.problem.num_samples, run.problem.max_spikes
    for (p, (motion, dx)) in enumerate(zip(o.motions, o.states))
        da = start_tangent(dx, run.x, j)
        o.dτ[p], dy = spike_tangent(run.solver, motion, step, j, y, local_tangent(dx, j), a, da, spike.time, spike.ẏ)
        dx.v[j], dx.i[j], dx.s[j], dx.start[j] = dy.v, dy.i, dy.s, o.dτ[p]
        unsafe_store!(o.outputs.spike_times, o.dτ[p], index + capacity * (o.sample - 1 + samples * (p - 1)))
    end
    o.insertion.spike == index && hazard_at_spike!(o, run, step, o.insertion.neuron, spike.time)
end

"""∂ of neuron k's integrated hazard at the moving time τ of another neuron's spike."""
function hazard_at_spike!(o::TangentObserver, run::Run, step::Step, k, τ)
    y, a = local_state(run.x, k), piece_start(run.x, step, k)
    may_fire(run, k, advance(run.solver, run.θ, step, k, y, a, τ)[3]) || return
    for (p, (motion, dx)) in enumerate(zip(o.motions, o.states))
        da = start_tangent(dx, run.x, k)
        _, _, ds = advance_tangent(run.solver, motion, step, k, y, local_tangent(dx, k), a, τ, da, o.dτ[p])
        unsafe_store!(o.outputs.s_at_insertions, ds, o.sample + run.problem.num_samples * (p - 1))
    end
end

function before_move!(o::TangentObserver, run::Run, step::Step, k, y::Local, a, τ)
    for (p, (motion, dx)) in enumerate(zip(o.motions, o.states))
        da = start_tangent(dx, run.x, k)
        dx.v[k], dx.i[k], dx.s[k] =
            advance_tangent(run.solver, motion, step, k, y, local_tangent(dx, k), a, τ, da, o.dτ[p])
        dx.start[k] = o.dτ[p]
    end
end

function after_spike!(o::TangentObserver, run::Run, step::Step, j)
    for (dθ, dx) in zip(o.directions, o.states)
        dx.v[j] = reset_potential_tangent(run.problem.hard_reset == 1, dx.v[j], dθ.v_reset[j])
        dx.s[j] = -dθ.alpha[j]
        for e in synapses_of(run.synapses, j)
            dx.i[run.synapses.targets[e]] += dθ.weights[e]
        end
    end
end

function at_save!(o::TangentObserver, run::Run, step::Step, index, t)
    n, times, samples = length(run.x.v), length(run.saveat), run.problem.num_samples
    wants_hazards = o.outputs.s_at_saves != C_NULL && t > run.problem.t0
    for k in 1:n
        may = wants_hazards && may_fire(run, k, hazard_at(run, step, k, t))
        for (p, (motion, dx)) in enumerate(zip(o.motions, o.states))
            da = start_tangent(dx, run.x, k)
            dv, di, ds = t == step.stop && !run.x.moved[k] ? (dx.v_end[k], dx.i_end[k], dx.s_end[k]) :
                advance_tangent(
                    run.solver, motion, step, k, local_state(run.x, k), local_tangent(dx, k), piece_start(run.x, step, k), t, da, 0.0,
                )
            place = k + n * (index - 1 + times * (o.sample - 1 + samples * (p - 1)))
            unsafe_store!(o.outputs.v, dv, place)
            unsafe_store!(o.outputs.i, di, place)
            may && unsafe_store!(o.outputs.s_at_saves, ds, place)
        end
    end
end

"""Neuron k's integrated hazard at time `t` of this step, before any spike that is expected later."""
hazard_at(run::Run, step::Step, k, t) = t == step.stop ? run.x.s_end[k] :
    advance(run.solver, run.θ, step, k, local_state(run.x, k), piece_start(run.x, step, k), t)[3]

function end_sample!(o::TangentObserver, run::Run)
    (run.stopped || o.outputs.s == C_NULL) && return
    n, samples = length(run.x.v), run.problem.num_samples
    for k in 1:n
        may_fire(run, k, run.x.s[k]) || continue
        for (p, dx) in enumerate(o.states)
            unsafe_store!(o.outputs.s, dx.s[k], k + n * (o.sample - 1 + samples * (p - 1)))
        end
    end
end

function end_step!(o::TangentObserver, run::Run, step::Step)
    for (motion, dx) in zip(o.motions, o.states)
        for k in run.x.moved_neurons
            y, a = local_state(run.x, k), piece_start(run.x, step, k)
            dx.v_end[k], dx.i_end[k], dx.s_end[k] =
                advance_tangent(run.solver, motion, step, k, y, local_tangent(dx, k), a, step.stop, dx.start[k], 0.0)
            dx.start[k] = 0.0
        end
        dx.v, dx.v_end = dx.v_end, dx.v
        dx.i, dx.i_end = dx.i_end, dx.i
        dx.s, dx.s_end = dx.s_end, dx.s
    end
end

@entry_point function ssnn_solve_tangent(
    problem_pointer::Ptr{Problem}, outputs_pointer::Ptr{Outputs}, tangents_pointer::Ptr{TangentOutputs},
)
    solve_tangent(unsafe_load(problem_pointer), unsafe_load(outputs_pointer), unsafe_load(tangents_pointer))
end

function solve_tangent(problem::Problem, outputs::Outputs, tangents::TangentOutputs)
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
            observer.sample = sample
            solve_sample!(run, observer, outputs, sample)
        end
    end
end
