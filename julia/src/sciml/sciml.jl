# The network as one vector u = [v; i; s], for solvers that know nothing of spikes: its drift and diffusion, the
# Brownian path between any two times, the rule at an event, and the walk from event to event. An extension brings the
# solvers of DifferentialEquations.jl; nothing here needs them.

"""What a solver of DifferentialEquations.jl can do."""
struct SciMLSolver
    name::String
    order::Float64                  # strong, of potentials with additive noise
    noise::Symbol                   # :any, :diagonal or :additive
    adaptive::Bool
    implicit::Bool
end

const SCIML_TABLE = joinpath(@__DIR__, "..", "sciml_solvers.txt")
include_dependency(SCIML_TABLE)

const SCIML_SOLVERS = let lines = filter(line -> !isempty(line) && !startswith(line, '#'), readlines(SCIML_TABLE))
    solver(row) = SciMLSolver(row[1], parse(Float64, row[2]), Symbol(row[3]), row[4] == "yes", row[5] == "yes")
    Dict(row[1] => solver(row) for row in split.(lines[2:end]))
end

"""The solver that the host calls `sciml:NAME`."""
sciml_solver(name::AbstractString) =
    lookup(SCIML_SOLVERS, "solver of DifferentialEquations.jl", replace(name, r"^sciml:" => ""))

"""
Keyword arguments from the host's text: one `name=kind:value` a line, kind `b`, `i`, `f` or `s` for a truth value, an
integer, a float or a symbol.
"""
function parse_options(text::AbstractString)
    options = map(split(text, '\n'; keepempty = false)) do line
        parts = match(r"^([A-Za-z_]\w*)=([bifs]):(.*)$", line)
        parts === nothing && throw(ArgumentError("malformed option \"$line\""))
        name, kind, value = parts.captures
        typed = kind == "b" ? parse(Bool, value) :
            kind == "i" ? parse(Int, value) :
            kind == "f" ? parse(Float64, value) : Symbol(value)
        return Symbol(name) => typed
    end
    return (; options...)
end

# --- the network as a vector field ------------------------------------------------------------------------------------
# Its state is one vector u, all neurons' first variables, then all their second ones, and so on; for SLIF [v; i; s].

"""The variables of u, each as a view over neurons."""
function variables(u, θ)
    n = number_of_neurons(θ)
    return ntuple(variable -> view(u, (variable-1)*n+1:variable*n), Val(num_variables(model_type(θ))))
end

number_of_neurons(θ::Model) = last(size(first(coefficient_arrays(θ))))
number_of_neurons(θ::Formula) = θ.num_neurons
number_of_neurons(θ::DualModel) = number_of_neurons(θ.primal)
model_type(θ::Model) = typeof(θ)
model_type(θ::DualModel) = typeof(θ.primal)

"""Drift of u at time t, with θ a `Model`, or a `DualModel` and u of `Dual`. `stratonovich` says in whose sense."""
function network_drift!(du, u, θ, t::Float64, stratonovich::Bool = false)
    y, ẏ = variables(u, θ), variables(du, θ)
    for k in 1:number_of_neurons(θ)
        set_state!(ẏ, k, drift_in_sense(θ, k, state_at(y, k), t, stratonovich))
    end
    return du
end

"""Cotangent of u from that of its drift (additive noise); adds to the gradients θ̄."""
function network_drift_adjoint!(u_bar, θ̄::Model, u, θ::Model, t::Float64, bar)
    y, y_bar, ẏ_bar, wanted = variables(u, θ), variables(u_bar, θ), variables(bar, θ), all_terms(θ)
    for k in 1:number_of_neurons(θ)
        add_state!(y_bar, k, drift_adjoint!(θ̄, θ, k, state_at(y, k), t, state_at(ẏ_bar, k), wanted))
    end
    return u_bar
end

"""Jacobian of the drift at time t: neurons do not act on one another between spikes."""
function network_jacobian!(J, u, θ::Model, t::Float64, stratonovich::Bool = false)
    fill!(J, 0.0)
    n, y = number_of_neurons(θ), variables(u, θ)
    for k in 1:n, column in eachindex(y)
        unit = ntuple(variable -> variable == column ? 1.0 : 0.0, Val(num_variables(typeof(θ))))
        for (row, x) in enumerate(drift_in_sense(θ, k, duals(state_at(y, k), unit), t, stratonovich))
            J[(row-1)*n+k, (column-1)*n+k] = x.tangent
        end
    end
    return J
end

"""
Diffusion of u: a matrix (M·N, components × N), or, where each Brownian motion drives one variable, the vector of its
diagonal.
"""
network_noise!(G::AbstractMatrix, u, θ) = network_noise!(G, u, θ, Val(size(G, 2) ÷ number_of_neurons(θ)))

function network_noise!(G::AbstractMatrix, u, θ, components::Val{C}) where {C}
    n, y = number_of_neurons(θ), variables(u, θ)
    for c in 1:C, k in 1:n
        for (variable, x) in enumerate(noise_of_component(θ, k, state_at(y, k), c, components))
            G[(variable-1)*n+k, (c-1)*n+k] = x
        end
    end
    return G
end

function network_noise!(G::AbstractVector, u, θ)
    n, y = number_of_neurons(θ), variables(u, θ)
    for c in 1:2, k in 1:n
        G[(c-1)*n+k] = noise_of_component(θ, k, state_at(y, k), c, Val(2))[c]
    end
    return G
end

"""What a unit of component c adds to neuron k's state."""
noise_of_component(θ, k, y, c, ::Val{C}) where {C} = noise(θ, k, y, ntuple(d -> d == c ? 1.0 : 0.0, Val(C)))

# --- the Brownian path between any two times --------------------------------------------------------------------------

"""
    brownian!(w, h, run, a, b, depth)

Increments and space-time Lévy areas of the path of docs/numerics.md from a to b, component c of neuron k at
`k + (c − 1)·N`. Exact where a and b are dyadic nodes at most `depth` below the steps; inside the intervals between
those the path is taken as linear.
"""
function brownian!(w, h, run::Run{M,C}, a::Float64, b::Float64, depth::Int) where {M,C}
    problem = run.problem
    n, last_step = Int(problem.num_neurons), Int(problem.num_steps) - 1
    from, to = on_grid(problem, a), on_grid(problem, b)
    fill!(w, 0.0)
    fill!(h, 0.0)                   # first the integral of the path
    index = clamp(floor(Int, (from - problem.t0) / problem.dt + GRID_TOLERANCE), 0, last_step)
    while from < to
        step = step_at(run, index)
        stop = index == last_step ? to : min(to, step.stop)
        if stop > from
            for k in 1:n
                dw, integral = path_within(step, k, from, stop, depth, 0, 0, whole_increment(step, k))
                for c in 1:C
                    place = k + (c - 1) * n
                    h[place] += (stop - from) * w[place] + integral[c]
                    w[place] += dw[c]
                end
            end
            from = stop
        end
        index += 1
    end
    start = on_grid(problem, a)     # an interval shorter than the grid's tolerance is none
    to > start && (h .= h ./ (to - start) .- 0.5 .* w)
    return w, h
end

# Times that a solver has added up are off the grid by rounding.
const GRID_TOLERANCE = 1e-9

"""The end of a step that t is but for rounding, or t."""
function on_grid(problem::Problem, t)
    tolerance = GRID_TOLERANCE * problem.dt
    abs(t - problem.t1) <= tolerance && return problem.t1
    nearest = problem.t0 + round((t - problem.t0) / problem.dt) * problem.dt
    return abs(t - nearest) <= tolerance ? nearest : t
end

# (increments, integrals of the path) on the part of an interval that is within [a, b].
function path_within(step::Step, k, a, b, leaves::Int, depth::Int, position::Int, x::Increment)
    from, to = edge(step, depth, position), edge(step, depth, position + 1)
    span, tolerance = to - from, GRID_TOLERANCE * step.length
    if a <= from + tolerance && to - tolerance <= b
        return x.w, scaled(span, plus_scaled(x.h, 0.5, x.w))
    elseif depth == leaves
        part = min(b, to) - max(a, from)
        w = scaled(part / span, x.w)
        return w, scaled(0.5 * part, w)
    end
    left, right = halves(step, k, depth, position, x)
    middle = edge(step, depth + 1, 2position + 1)
    b <= middle && return path_within(step, k, a, b, leaves, depth + 1, 2position, left)
    a >= middle && return path_within(step, k, a, b, leaves, depth + 1, 2position + 1, right)
    w, integral = path_within(step, k, a, b, leaves, depth + 1, 2position, left)
    w′, integral′ = path_within(step, k, a, b, leaves, depth + 1, 2position + 1, right)
    return plus(w, w′), plus(plus_scaled(integral, min(b, to) - middle, w), integral′)
end

# --- the event rule for the whole vector ------------------------------------------------------------------------------
# ∂y+ = ∇T ∂y− + ∂_θT + [∇T f(y−) − f(y+)] ∂τ, tangents at the fixed time τ; f is the drift, since the noise cancels
# (docs/gradients.md).

"""Value of the event function of neuron k: it fires where this reaches 0 from below."""
event_value_in(θ::Model, u, k) = event_value(θ, k, 1, state_at(variables(u, θ), k))

"""y+ = T(y−) of a spike of neuron j, in place; `log_u` is the logarithm of its next threshold."""
function transition!(u, θ::Model, synapses::Synapses, j, log_u)
    y = variables(u, θ)
    apply_transition!(y, θ, synapses, Alone(eachindex(y[1])), j, 1, log_u)
    return u
end

"""
Takes the tangent du of u just before a spike of neuron j to that just after it, both at the fixed time τ, given u and
the drifts before and after; returns ∂τ.
"""
function spike_jump_tangent!(du, u, before, after, θ::DualModel, synapses::Synapses, j)
    y, dy = variables(u, θ), variables(du, θ)
    dτ = crossing_tangent(θ, j, 1, state_at(y, j), state_at(dy, j), state_at(variables(before, θ), j))
    du .+= dτ .* before
    apply_transition_tangent!(dy, y, θ, synapses, Alone(eachindex(dy[1])), j, 1)
    du .-= dτ .* after
    return dτ
end

"""
Takes the cotangent of u just after a spike to that just before it, where it was u, τ_bar being that of τ itself; adds
to the gradients θ̄.
"""
function spike_jump_adjoint!(bar, τ_bar, θ̄::Model, u, before, after, θ::Model, synapses::Synapses, j)
    τ_bar -= sum(bar .* after)
    y_bar = variables(bar, θ)
    y, states = state_at(variables(u, θ), j), variables(u, θ)
    found(e) = (k = target(synapses, e); k == j ? transition(θ, j, 1, y, 0.0) : state_at(states, k))
    apply_transition_adjoint!(found, y_bar, θ̄, y, θ, synapses, j, 1)
    ẏ = state_at(variables(before, θ), j)
    add_state!(y_bar, j, crossing_adjoint!(θ̄, θ, j, 1, y, ẏ, τ_bar + sum(bar .* before)))
    return bar
end

# --- from event to event ----------------------------------------------------------------------------------------------

"""
A solver of the smooth equation. It writes

  * `follow(smooth, u, a, b) -> (times, states, j)`: from u at a to b, or to the end of the step in which a neuron's
    event function becomes positive: j is that neuron, or 0, and the last time where it seems to vanish, the last state
    what it is there;
  * `replay(smooth, u, du, times) -> (states, tangents)`: the same steps again from u at `times[1]`, with its tangents,
    one vector per direction.

The solver never sees a spike; nor is it ever differentiated through one. The rule at a spike is that of the equation
itself, so that tangents are derivatives of the discretised map to the solver's order, and not to rounding as those of
the native solvers are.
"""
abstract type SmoothSolver end

function follow end
function replay end

# What they return, said where it is used: what a package's `solve` returns is not always inferred, and code that does
# not know its types is compiled anew in every process in which another package (PythonCall.jl, say) adds a method to
# ==, * or the like.
const Followed = Tuple{Vector{Float64},Vector{Vector{Float64}},Int}
const Replayed = Tuple{Vector{Vector{Float64}},Vector{Vector{Vector{Float64}}}}

# A smooth solver keeps every step that it takes, and is given all grid times on its way: after so many steps of the
# grid it begins anew, so that memory does not grow with the length of a run.
const STRETCH_STEPS = 4096

"""Where a stretch that begins at t ends at the latest."""
function stretch_end(problem::Problem, t)
    stretch = floor(Int, ((t - problem.t0) / problem.dt + GRID_TOLERANCE) / STRETCH_STEPS) + 1
    return stretch * STRETCH_STEPS >= problem.num_steps ? problem.t1 : problem.t0 + stretch * STRETCH_STEPS * problem.dt
end

# How often the end of a step is put where the neuron fires.
const EVENT_TRIALS = 3
const EVENT_TOLERANCE = 1e-13

"""Solve one sample from event to event into the host's arrays, with tangents where the observer carries them."""
solve_from_event_to_event!(run::Run, observer::Observer, smooth::SmoothSolver, outputs::Outputs, sample) =
    solve_sample!(run, observer, outputs, sample) do
        walk_from_event_to_event!(run, observer, smooth, sample)
    end

# What an observer of the walk may follow: a stretch without events, from u at the first of these times to the last; and
# a spike, with the state before it and the drifts before and after.
after_stretch!(::Observer, u, times) = nothing
after_firing!(::Observer, j, u, before, after) = nothing

"""Time, state and tangents at one of the times of a stretch, as a function of its place."""
place_on(times, states, tangents) = m -> (times[m], states[m], tangents[m])

"""The first neuron that fires at once in state u; 0 where none does."""
fires_at_once(θ::Model, u, n) = something(findfirst(k -> event_value_in(θ, u, k) >= 0, 1:n), 0)

"""From the start of a sample, where the run is, to its end."""
function walk_from_event_to_event!(run::Run, observer::Observer, smooth::SmoothSolver, sample)
    problem, θ, n = run.problem, run.θ, num_neurons(run.x)
    # No closure here has u or du, which change: they would lose their types.
    u, du, t = vcat(run.x.y...), tangent_vectors(observer), problem.t0
    while t < problem.t1
        stop = stretch_end(problem, t)
        times, states, j = follow(smooth, u, t, stop)::Followed
        from = j == 0 ? length(times) : length(times) - 1
        tangents = isempty(du) ? fill(du, from) : (replay(smooth, u, du, times[1:from])::Replayed)[2]
        at = place_on(times, states, tangents)
        t_next = j == 0 ? stop : times[end]
        start, u_first = at(from), u
        u, du = start[2], start[3]
        j == 0 || ((t_next, u, du) = to_event(smooth, θ, start, t_next, problem.t1, j))
        after_stretch!(observer, u_first, t_next > times[from] ? [times[1:from]; t_next] : times[1:from])
        at_end = j == 0 && stop == problem.t1
        while run.next_save <= length(run.saveat) && (run.saveat[run.next_save] < t_next || at_end)
            save_vector!(
                run, observer, smooth, at(clamp(searchsortedlast(times, run.saveat[run.next_save]), 1, from)), sample,
            )
        end
        t = t_next
        fired = 0
        while j != 0
            fire!(run, observer, u, du, t, j, sample)
            fired += 1
            if run.num_spikes == problem.max_spikes
                run.stopped = true
                break
            end
            fired > MAX_SPIKES_IN_STEP && throw(ErrorException(
                "more than $MAX_SPIKES_IN_STEP spikes at t = $t: a spike lets others follow at once, without end"
            ))
            j = fires_at_once(θ, u, n)
        end
        if run.stopped || t >= problem.t1
            while run.next_save <= length(run.saveat) && run.saveat[run.next_save] == t
                save_vector!(run, observer, smooth, (t, u, du), sample)
            end
            break
        end
    end
    all(isfinite, u) || throw(ErrorException(
        "the solution of sample $(sample - 1) is no longer finite: dt = $(problem.dt) is too large for the rates mu, " *
        "or a parameter is too large"
    ))
    return run
end

"""The state at the spike of neuron j: a solver's own step ends there, so that no interpolation spoils it."""
function to_event(smooth::SmoothSolver, θ::Model, (a, u_a, du_a), τ, t1, j)
    limit, drift = min(t1, 2τ - a), similar(u_a)
    for trial in 1:EVENT_TRIALS
        τ > a || return a, copy(u_a), map(copy, du_a)
        states, tangents = replay(smooth, u_a, du_a, [a, τ])::Replayed
        value = event_value_in(θ, states[end], j)
        (abs(value) <= EVENT_TOLERANCE || trial == EVENT_TRIALS) && return τ, states[end], tangents[end]
        network_drift!(drift, states[end], θ, τ)
        y_j = state_at(variables(states[end], θ), j)
        τ = clamp(τ - value / along(event_gradient(θ, j, 1, y_j), state_at(variables(drift, θ), j)), a, limit)
    end
end

"""Tangents of u in each direction that the observer carries, at the start of a sample."""
tangent_vectors(::Observer) = Vector{Float64}[]
tangent_vectors(o::TangentObserver) = [vcat(dx.y...) for dx in o.states]

"""A spike of neuron j at τ: records it, and takes u and its tangents to just after it, in place."""
function fire!(run::Run, observer::Observer, u, du, τ, j, sample)
    problem, θ, synapses = run.problem, run.θ, run.synapses
    u_before, before = copy(u), network_drift!(similar(u), u, θ, τ)
    run.x.spikes[j] += 1
    transition!(u, θ, synapses, j, next_threshold(θ, run.key, j, 1, run.x.spikes[j]))
    run.num_spikes += 1
    unsafe_store!(run.spike_times, τ, run.num_spikes)
    unsafe_store!(run.spike_neurons, j - 1, run.num_spikes)
    after = network_drift!(similar(u), u, θ, τ)
    after_firing!(observer, j, u_before, before, after)
    for p in eachindex(du)
        dτ = spike_jump_tangent!(du[p], u_before, before, after, observer.duals[p], synapses, j)
        place = run.num_spikes + problem.max_spikes * (sample - 1 + problem.num_samples * (p - 1))
        unsafe_store!(observer.outputs.spike_times, dτ, place)
    end
end

"""Record the time that is due, from the state (t, u, du) at the step's start."""
function save_vector!(run::Run, observer::Observer, smooth::SmoothSolver, (t, u, du), sample)
    index, n = run.next_save, num_neurons(run.x)
    if run.saveat[index] > t
        states, tangents = replay(smooth, u, du, [t, run.saveat[index]])::Replayed
        u, du = states[end], tangents[end]
    end
    for (saved, x) in zip(run.saved, variables(u, run.θ))
        copyto!(view(saved, :, index), x)
    end
    for p in eachindex(du), (array, dx) in zip(recorded(observer.outputs), variables(du[p], run.θ)), k in 1:n
        unsafe_store!(
            array, dx[k], k + n * (index - 1 + length(run.saveat) * (sample - 1 + run.problem.num_samples * (p - 1))),
        )
    end
    run.next_save += 1
end

"""How deep below the steps a solver looks at the path's dyadic nodes."""
function noise_depth(solver::SciMLSolver, options::NamedTuple)
    depth = get(options, :noise_depth, solver.name == "EM" && !get(options, :adaptive, false) ? 0 : 8)
    0 <= depth <= DEEPEST || throw(ArgumentError("noise_depth must be an integer from 0 to $DEEPEST, got $depth"))
    return depth
end

# --- entry points -----------------------------------------------------------------------------------------------------

"""
Set by the extension: `(solver::SciMLSolver, options, run, directions) -> SmoothSolver` for one thread's run.
"""
const SCIML_HOOK = Ref{Any}(nothing)

"""
The solver of DifferentialEquations.jl that the problem names; an error where it, or what is asked of it, is not to be
had.
"""
function sciml_smooth_solver(problem::Problem, options::NamedTuple, run::Run, directions)
    SCIML_HOOK[] === nothing && throw(ErrorException(
        "$(unsafe_string(problem.solver)) is a solver of DifferentialEquations.jl, which is not loaded; " *
        "run `ssnn setup --sciml` (Julia 1.10 or newer; this is $VERSION)",
    ))
    solver = sciml_solver(unsafe_string(problem.solver))
    get(options, :adaptive, false) && !solver.adaptive && throw(ArgumentError(
        "solver $(solver.name) takes fixed steps only: adaptive must be false"
    ))
    isempty(directions) || !solver.implicit || throw(ArgumentError(
        "solver $(solver.name) is implicit, which gradients do not support; take an explicit one"
    ))
    # The extension is younger than this function.
    return Base.invokelatest(SCIML_HOOK[], solver, options, run, directions)::SmoothSolver
end

@entry_point function ssnn_sciml_solve(
    problem_pointer::Ptr{Problem}, outputs_pointer::Ptr{Outputs}, options::Ptr{UInt8},
)
    sciml_solve(
        run -> NoObserver(), unsafe_load(problem_pointer), unsafe_load(outputs_pointer),
        parse_options(unsafe_string(options)),
    )
end

@entry_point function ssnn_sciml_tangent(
    problem_pointer::Ptr{Problem}, outputs_pointer::Ptr{Outputs}, tangents_pointer::Ptr{TangentOutputs},
    options::Ptr{UInt8},
)
    tangents = unsafe_load(tangents_pointer)
    sciml_solve(
        run -> TangentObserver(run, tangents), unsafe_load(problem_pointer), unsafe_load(outputs_pointer),
        parse_options(unsafe_string(options)),
    )
end

directions(::Observer) = Model[]
directions(o::TangentObserver) = o.directions

# A run whose Brownian path comes with its areas.
SciMLRun(problem::Problem) = Run(problem, ShARK(), Model(problem))

function sciml_solve(make_observer, problem::Problem, outputs::Outputs, options::NamedTuple)
    runs = [SciMLRun(problem) for _ in 1:num_workers(problem)]
    observers = [make_observer(run) for run in runs]
    smooth = [
        sciml_smooth_solver(problem, options, run, directions(observer)) for (run, observer) in zip(runs, observers)
    ]
    foreach_chunk(problem.num_samples, problem.threads) do worker, chunk, samples
        for sample in samples
            check_cancelled()
            set_sample!(observers[worker], sample)
            Base.invokelatest(
                solve_from_event_to_event!, runs[worker], observers[worker], smooth[worker], outputs, sample,
            )
        end
    end
end
