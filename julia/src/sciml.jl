# The network as one vector u = [v; i; s], for solvers that know nothing of spikes: its drift and diffusion, the Brownian path between any two times, the rule at an event, and the
# walk from event to event. An extension brings the solvers of DifferentialEquations.jl; nothing here needs them.

"""What a solver of DifferentialEquations.jl can do."""
struct SciMLSolver
    name::String
    order::Float64                  # strong, of potentials with additive noise
    noise::Symbol                   # :any, :diagonal or :additive
    adaptive::Bool
    implicit::Bool
end

const SCIML_TABLE = joinpath(@__DIR__, "sciml_solvers.txt")
include_dependency(SCIML_TABLE)

const SCIML_SOLVERS = let rows = [split(line) for line in eachline(SCIML_TABLE) if !isempty(line) && !startswith(line, '#')]
    Dict(row[1] => SciMLSolver(row[1], parse(Float64, row[2]), Symbol(row[3]), row[4] == "yes", row[5] == "yes") for row in rows[2:end])
end

"""The solver that the host calls `sciml:NAME`."""
sciml_solver(name::AbstractString) = lookup(SCIML_SOLVERS, "solver of DifferentialEquations.jl", replace(name, r"^sciml:" => ""))

"""
Keyword arguments from the host's text: one `name=kind:value` a line, kind `b`, `i`, `f` or `s` for a truth value, an integer, a float or a symbol.
"""
function parse_options(text::AbstractString)
    pairs = map(split(text, '\n'; keepempty = false)) do line
        parts = match(r"^([A-Za-z_]\w*)=([bifs]):(.*)$", line)
        parts === nothing && throw(ArgumentError("malformed option \"$line\""))
        name, kind, value = parts.captures
        typed = kind == "b" ? parse(Bool, value) : kind == "i" ? parse(Int, value) : kind == "f" ? parse(Float64, value) : Symbol(value)
        return Symbol(name) => typed
    end
    return (; pairs...)
end

# --- the network as a vector field -----------------------------------------------------------------------------------------------

"""
Drift of u = [v; i; s] at time t, with θ `Parameters`, or `Moving` and u of `Dual`. `stratonovich` says in whose sense, and thereby whether the correction of a state-dependent
diffusion is due.
"""
function network_drift!(du, u, θ, t::Float64, stratonovich::Bool = false)
    n = length(u) ÷ 3
    for k in 1:n
        v, i, c = u[k], u[n+k], constants(θ, k)
        v̇ = c.mu1 * (i + input_current(θ, k, t) - v)
        if !is_additive(θ) && stratonovich != is_stratonovich(θ)
            change = correction(c, noise_factor(θ, k, v)...)
            v̇ = stratonovich ? v̇ - change : v̇ + change
        end
        du[k], du[n+k], du[2n+k] = v̇, -(c.mu2 * i), firing_rate(θ, k, v)
    end
    return du
end

"""Cotangent of u from that of its drift (additive noise); adds to the gradients θ̄."""
function network_drift_adjoint!(u_bar, θ̄::Parameters, u, θ::Parameters, t::Float64, bar)
    n = length(u) ÷ 3
    for k in 1:n
        v_change, i_change = drift_adjoint!(θ̄, θ, k, u[k], u[n+k], t, bar[k], EVERYTHING)
        u_bar[k] += v_change + firing_rate_adjoint!(θ̄, θ, k, u[k], bar[2n+k], EVERYTHING)
        u_bar[n+k] += i_change - θ.mu2[k] * bar[n+k]
        θ̄.mu2[k] -= bar[n+k] * u[n+k]
    end
    return u_bar
end

"""Jacobian of the drift."""
function network_jacobian!(J, u, θ::Parameters, stratonovich::Bool = false)
    fill!(J, 0.0)
    n = length(u) ÷ 3
    for k in 1:n
        v, c = u[k], constants(θ, k)
        J[k, k], J[k, n+k], J[n+k, n+k] = -c.mu1, c.mu1, -c.mu2
        J[2n+k, k] = slope(θ.intensity, k, v, rate(θ.intensity, k, v))
        if !is_additive(θ) && stratonovich != is_stratonovich(θ)
            g, g′ = noise_factor(θ, k, v)
            change = 0.5 * (c.sigma11^2 + c.sigma12^2) * (g′^2 + g * factor_curvature(θ.diffusion, k, v))
            J[k, k] += stratonovich ? -change : change
        end
    end
    return J
end

"""
Diffusion of u: a matrix (3N, components × N), or, where each Brownian motion drives one variable, the vector of its diagonal. Entries that are always zero are not written.
"""
function network_noise!(G::AbstractMatrix, u, θ)
    n = length(u) ÷ 3
    for k in 1:n
        c, (g, _) = constants(θ, k), noise_factor(θ, k, u[k])
        G[k, k], G[n+k, k] = g * c.sigma11, c.sigma21
        if size(G, 2) > n
            G[k, n+k], G[n+k, n+k] = g * c.sigma12, c.sigma22
        end
    end
    return G
end

function network_noise!(G::AbstractVector, u, θ)
    n = length(u) ÷ 3
    for k in 1:n
        c, (g, _) = constants(θ, k), noise_factor(θ, k, u[k])
        G[k], G[n+k] = g * c.sigma11, c.sigma22
    end
    return G
end

# --- the Brownian path between any two times -------------------------------------------------------------------------------------

"""
    brownian!(w, h, run, a, b, depth)

Increments and space-time Lévy areas of the path of docs/numerics.md from a to b, component c of neuron k at `k + (c − 1)·N`. Exact where a and b are dyadic nodes at most `depth` below the
steps; inside the intervals between those the path is taken as linear.
"""
function brownian!(w, h, run::Run, a::Float64, b::Float64, depth::Int)
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
                (w1, j1), (w2, j2) = path_within(step, k, from, stop, depth, 0, 0, step_noise(step, k))
                h[k] += (stop - from) * w[k] + j1
                w[k] += w1
                if problem.num_components == 2
                    h[n+k] += (stop - from) * w[n+k] + j2
                    w[n+k] += w2
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

function on_grid(problem::Problem, t)
    tolerance = GRID_TOLERANCE * problem.dt
    abs(t - problem.t1) <= tolerance && return problem.t1
    nearest = problem.t0 + round((t - problem.t0) / problem.dt) * problem.dt
    return abs(t - nearest) <= tolerance ? nearest : t
end

# (increment, integral of the path) of both components on the part of an interval that is within [a, b].
function path_within(step::Step, k, a, b, leaves::Int, depth::Int, position::Int, noise::Noise)
    from, to = edge(step, depth, position), edge(step, depth, position + 1)
    length, tolerance = to - from, GRID_TOLERANCE * step.length
    if a <= from + tolerance && to - tolerance <= b
        return (noise.w1, length * (noise.h1 + 0.5 * noise.w1)), (noise.w2, length * (noise.h2 + 0.5 * noise.w2))
    elseif depth == leaves
        part = min(b, to) - max(a, from)
        w1, w2 = part / length * noise.w1, part / length * noise.w2
        return (w1, 0.5 * part * w1), (w2, 0.5 * part * w2)
    end
    left, right = halves(step, k, depth, position, noise)
    middle = edge(step, depth + 1, 2position + 1)
    b <= middle && return path_within(step, k, a, b, leaves, depth + 1, 2position, left)
    a >= middle && return path_within(step, k, a, b, leaves, depth + 1, 2position + 1, right)
    (w1, j1), (w2, j2) = path_within(step, k, a, b, leaves, depth + 1, 2position, left)
    (w1′, j1′), (w2′, j2′) = path_within(step, k, a, b, leaves, depth + 1, 2position + 1, right)
    rest = min(b, to) - middle
    return (w1 + w1′, j1 + rest * w1 + j1′), (w2 + w2′, j2 + rest * w2 + j2′)
end

# --- the event rule for the whole vector -----------------------------------------------------------------------------------------
# ∂y+ = ∇T ∂y− + ∂_θT + [∇T f(y−) − f(y+)] ∂τ, tangents at the fixed time τ; f is the drift, since the noise cancels (docs/gradients.md).

"""Value of the event function E of neuron k: it fires where this reaches 0 from below."""
event_value(λ::Intensity, k, v, i, s) = s
event_value(λ::ThresholdIntensity, k, v, i, s) = v - λ.v_th[k]

of_neuron(u, k) = (n = length(u) ÷ 3; (v = u[k], i = u[n+k], s = u[2n+k]))
event_value(λ::Intensity, u, k) = event_value(λ, k, of_neuron(u, k)...)

"""y+ = T(y−) of a spike of neuron j, in place; `next` is its next threshold log U."""
function transition!(u, θ::Parameters, synapses::Synapses, hard::Bool, j, next)
    n = length(u) ÷ 3
    u[j] = reset_potential(hard, u[j], θ.v_reset[j])
    u[2n+j] = next - θ.alpha[j]
    for e in synapses_of(synapses, j)
        u[n+synapses.targets[e]] += θ.weights[e]
    end
    return u
end

"""∇T ∂y + ∂_θT, in place."""
function transition_tangent!(du, dθ::Parameters, synapses::Synapses, hard::Bool, j)
    n = length(du) ÷ 3
    du[j] = reset_potential_tangent(hard, du[j], dθ.v_reset[j])
    du[2n+j] = -dθ.alpha[j]
    for e in synapses_of(synapses, j)
        du[n+synapses.targets[e]] += dθ.weights[e]
    end
    return du
end

"""∇Tᵀ ȳ, in place; adds ∂_θTᵀ ȳ to the gradients θ̄."""
function transition_adjoint!(bar, θ̄::Parameters, synapses::Synapses, hard::Bool, j)
    n = length(bar) ÷ 3
    for e in synapses_of(synapses, j)
        θ̄.weights[e] += bar[n+synapses.targets[e]]
    end
    θ̄.alpha[j] -= bar[2n+j]
    bar[2n+j] = 0.0
    bar[j], v_reset_bar = reset_potential_adjoint(hard, bar[j])
    θ̄.v_reset[j] += v_reset_bar
    return bar
end

"""Takes the tangent du of u just before a spike of neuron j to that just after it, both at the fixed time τ, given the drifts there; returns ∂τ."""
function spike_jump_tangent!(du, before, after, θ::Parameters, dθ::Parameters, synapses::Synapses, hard::Bool, j)
    dτ = crossing_tangent(θ.intensity, dθ.intensity, j, of_neuron(du, j), of_neuron(before, j))
    du .+= dτ .* before
    transition_tangent!(du, dθ, synapses, hard, j)
    du .-= dτ .* after
    return dτ
end

"""Takes the cotangent of u just after a spike to that just before it, τ_bar being that of τ itself; adds to the gradients θ̄."""
function spike_jump_adjoint!(bar, τ_bar, θ̄::Parameters, before, after, θ::Parameters, synapses::Synapses, hard::Bool, j)
    τ_bar -= sum(bar .* after)
    transition_adjoint!(bar, θ̄, synapses, hard, j)
    crossing = crossing_adjoint!(θ̄.intensity, θ.intensity, j, of_neuron(before, j), τ_bar + sum(bar .* before))
    n = length(bar) ÷ 3
    bar[j] += crossing.v
    bar[n+j] += crossing.i
    bar[2n+j] += crossing.s
    return bar
end

# --- from event to event ---------------------------------------------------------------------------------------------------------

"""
A solver of the smooth equation. It writes

  * `follow(smooth, u, a, b) -> (times, states, j)`: from u at a to b, or to the end of the step in which a neuron's event function becomes positive: j is that neuron, or 0, and the last time where it
    seems to vanish, the last state what it is there;
  * `replay(smooth, u, du, times) -> (states, tangents)`: the same steps again from u at `times[1]`, with its tangents, one vector per direction.

The solver never sees a spike; nor is it ever differentiated through one. The rule at a spike is that of the equation itself, so that tangents are derivatives of the discretised map to the solver's
order, and not to rounding as those of the native solvers are.
"""
abstract type SmoothSolver end

function follow end
function replay end

# What they return, said where it is used: what a package's `solve` returns is not always inferred, and code that does not know its types is compiled
# anew in every process in which another package (PythonCall.jl, say) adds a method to ==, * or the like.
const Followed = Tuple{Vector{Float64},Vector{Vector{Float64}},Int}
const Replayed = Tuple{Vector{Vector{Float64}},Vector{Vector{Vector{Float64}}}}

# A smooth solver keeps every step that it takes, and is given all grid times on its way: after so many steps of the grid it
# begins anew, so that memory does not grow with the length of a run.
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
function solve_from_event_to_event!(run::Run, observer::Observer, smooth::SmoothSolver, outputs::Outputs, sample)
    problem = run.problem
    if problem.num_saves > 0
        run.v_saved, run.i_saved = saved_values(problem, outputs.v, sample), saved_values(problem, outputs.i, sample)
    end
    begin_sample!(
        run, observer, sample, row(outputs.spike_times, problem.max_spikes, sample), row(outputs.spike_neurons, problem.max_spikes, sample),
    )
    walk_from_event_to_event!(run, observer, smooth, sample)
    unsafe_store!(outputs.num_spikes, run.num_spikes, sample)
    unsafe_store!(outputs.truncated, run.stopped, sample)
    return run
end

# What an observer of the walk may follow: a stretch without events, from u at the first of these times to the last; and a spike, with the drifts before and after it.
after_stretch!(::Observer, u, times) = nothing
after_firing!(::Observer, j, before, after) = nothing

"""From the start of a sample, where the run is, to its end."""
function walk_from_event_to_event!(run::Run, observer::Observer, smooth::SmoothSolver, sample)
    problem, θ, n = run.problem, run.θ, length(run.x.v)
    u, du, t = [run.x.v; run.x.i; run.x.s], tangent_vectors(observer), problem.t0
    while t < problem.t1
        stop = stretch_end(problem, t)
        times, states, j = follow(smooth, u, t, stop)::Followed
        from = j == 0 ? length(times) : length(times) - 1
        tangents = isempty(du) ? nothing : (replay(smooth, u, du, times[1:from])::Replayed)[2]
        at(m) = (times[m], states[m], tangents === nothing ? du : tangents[m])
        t_next = j == 0 ? stop : times[end]
        start, u_first = at(from), u
        u, du = start[2], start[3]
        j == 0 || ((t_next, u, du) = to_event(smooth, θ, start, t_next, problem.t1, j))
        after_stretch!(observer, u_first, t_next > times[from] ? [times[1:from]; t_next] : times[1:from])
        last = j == 0 && stop == problem.t1
        while run.next_save <= length(run.saveat) && (run.saveat[run.next_save] < t_next || last)
            save_vector!(run, observer, smooth, at(clamp(searchsortedlast(times, run.saveat[run.next_save]), 1, from)), sample)
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
            fired > MAX_SPIKES_IN_STEP && throw(ErrorException("more than $MAX_SPIKES_IN_STEP spikes at t = $t: a spike lets others follow at once, without end"))
            j = something(findfirst(k -> event_value(θ.intensity, u, k) >= 0, 1:n), 0)
        end
        if run.stopped || t >= problem.t1
            while run.next_save <= length(run.saveat) && run.saveat[run.next_save] == t
                save_vector!(run, observer, smooth, (t, u, du), sample)
            end
            break
        end
    end
    all(isfinite, u) || throw(ErrorException("the solution of sample $(sample - 1) is no longer finite: dt = $(problem.dt) is too large for the rates mu, or a parameter is too large"))
    return run
end

"""The state at the spike of neuron j: a solver's own step ends there, so that no interpolation spoils it."""
function to_event(smooth::SmoothSolver, θ::Parameters, (a, u_a, du_a), τ, t1, j)
    limit, drift = min(t1, 2τ - a), similar(u_a)
    for trial in 1:EVENT_TRIALS
        τ > a || return a, copy(u_a), map(copy, du_a)
        states, tangents = replay(smooth, u_a, du_a, [a, τ])::Replayed
        value = event_value(θ.intensity, states[end], j)
        (abs(value) <= EVENT_TOLERANCE || trial == EVENT_TRIALS) && return τ, states[end], tangents[end]
        network_drift!(drift, states[end], θ, τ)
        gradient = event_gradient(θ.intensity, j)
        τ = clamp(τ - value / along(gradient, of_neuron(drift, j)), a, limit)
    end
end

tangent_vectors(::Observer) = Vector{Float64}[]
tangent_vectors(o::TangentObserver) = [[dx.v; dx.i; dx.s] for dx in o.states]

function fire!(run::Run, observer::Observer, u, du, τ, j, sample)
    problem, θ, synapses, hard = run.problem, run.θ, run.synapses, run.problem.hard_reset == 1
    before = network_drift!(similar(u), u, θ, τ)
    run.x.spikes[j] += 1
    transition!(u, θ, synapses, hard, j, threshold(run.key, j - 1, run.x.spikes[j]))
    run.num_spikes += 1
    unsafe_store!(run.spike_times, τ, run.num_spikes)
    unsafe_store!(run.spike_neurons, j - 1, run.num_spikes)
    after = network_drift!(similar(u), u, θ, τ)
    after_firing!(observer, j, before, after)
    for p in eachindex(du)
        dτ = spike_jump_tangent!(du[p], before, after, θ, observer.directions[p], synapses, hard, j)
        place = run.num_spikes + problem.max_spikes * (sample - 1 + problem.num_samples * (p - 1))
        unsafe_store!(observer.outputs.spike_times, dτ, place)
    end
end

"""Record the time that is due, from the state (t, u, du) at the step's start."""
function save_vector!(run::Run, observer::Observer, smooth::SmoothSolver, (t, u, du), sample)
    index, n = run.next_save, length(u) ÷ 3
    if run.saveat[index] > t
        states, tangents = replay(smooth, u, du, [t, run.saveat[index]])::Replayed
        u, du = states[end], tangents[end]
    end
    copyto!(view(run.v_saved, :, index), view(u, 1:n))
    copyto!(view(run.i_saved, :, index), view(u, n+1:2n))
    for p in eachindex(du), k in 1:n
        place = k + n * (index - 1 + length(run.saveat) * (sample - 1 + run.problem.num_samples * (p - 1)))
        unsafe_store!(observer.outputs.v, du[p][k], place)
        unsafe_store!(observer.outputs.i, du[p][n+k], place)
    end
    run.next_save += 1
end

"""How deep below the steps a solver looks at the path's dyadic nodes."""
function noise_depth(solver::SciMLSolver, options::NamedTuple)
    depth = get(options, :noise_depth, solver.name == "EM" && !get(options, :adaptive, false) ? 0 : 8)
    0 <= depth <= DEEPEST || throw(ArgumentError("noise_depth must be an integer from 0 to $DEEPEST, got $depth"))
    return depth
end

# --- entry points ----------------------------------------------------------------------------------------------------------------

"""
Set by the extension: `(solver::SciMLSolver, options, run, directions) -> SmoothSolver` for one thread's run.
"""
const SCIML_HOOK = Ref{Any}(nothing)

function sciml_smooth_solver(problem::Problem, options::NamedTuple, run::Run, directions)
    SCIML_HOOK[] === nothing && throw(ErrorException(
        "$(unsafe_string(problem.solver)) is a solver of DifferentialEquations.jl, which is not loaded; run `ssnn setup --sciml` (Julia 1.10 or newer; this is $VERSION)",
    ))
    solver = sciml_solver(unsafe_string(problem.solver))
    get(options, :adaptive, false) && !solver.adaptive && throw(ArgumentError("solver $(solver.name) takes fixed steps only: adaptive must be false"))
    isempty(directions) || !solver.implicit || throw(ArgumentError("solver $(solver.name) is implicit, which gradients do not support; take an explicit one"))
    # The extension is younger than this function.
    return Base.invokelatest(SCIML_HOOK[], solver, options, run, directions)::SmoothSolver
end

@entry_point function ssnn_sciml_solve(problem_pointer::Ptr{Problem}, outputs_pointer::Ptr{Outputs}, options::Ptr{UInt8})
    sciml_solve(run -> NoObserver(), unsafe_load(problem_pointer), unsafe_load(outputs_pointer), parse_options(unsafe_string(options)))
end

@entry_point function ssnn_sciml_tangent(
    problem_pointer::Ptr{Problem}, outputs_pointer::Ptr{Outputs}, tangents_pointer::Ptr{TangentOutputs}, options::Ptr{UInt8},
)
    tangents = unsafe_load(tangents_pointer)
    sciml_solve(run -> TangentObserver(run, tangents), unsafe_load(problem_pointer), unsafe_load(outputs_pointer), parse_options(unsafe_string(options)))
end

directions(::Observer) = Parameters[]
directions(o::TangentObserver) = o.directions
set_sample!(::Observer, sample) = nothing
set_sample!(o::TangentObserver, sample) = (o.sample = sample; nothing)

# A run whose Brownian path comes with its areas.
SciMLRun(problem::Problem) = Run(problem, ShARK(), Parameters(problem))

function sciml_solve(make_observer, problem::Problem, outputs::Outputs, options::NamedTuple)
    runs = [SciMLRun(problem) for _ in 1:num_workers(problem)]
    observers = [make_observer(run) for run in runs]
    smooth = [sciml_smooth_solver(problem, options, run, directions(observer)) for (run, observer) in zip(runs, observers)]
    foreach_chunk(problem.num_samples, problem.threads) do worker, chunk, samples
        for sample in samples
            check_cancelled()
            set_sample!(observers[worker], sample)
            Base.invokelatest(solve_from_event_to_event!, runs[worker], observers[worker], smooth[worker], outputs, sample)
        end
    end
end
