# Reverse mode of the walk from event to event. A sample is walked once forwards, noting its spikes and the stretches
# between them, and then backwards: the rule of sciml.jl undoes a spike, and whoever can differentiate an ordinary
# differential equation in reverse undoes a stretch. An extension brings SciMLSensitivity.jl; nothing here needs it.

# --- a stretch between two events, as an ordinary differential equation -----------------------------------------------

"""
The equation between two events, where noise is additive: with u = z + σ·W(t) and W the Brownian path from the first of
`times` on, z′ = f(z + σ·W(t), t) is an ordinary differential equation that depends on σ as on the other parameters.
Within each step W is the parabola that has the step's increment and space-time area, which is all that schemes of order
3/2 see of the path.
"""
struct SmoothPiece{Θ<:Model}
    θ::Θ
    times::Vector{Float64}          # ends of the steps
    w::Matrix{Float64}              # the path there, (component of a neuron, time)
    h::Matrix{Float64}              # areas of the steps
    path::Vector{Float64}           # at the time that is looked at,
    u::Vector{Float64}              # and the state
end

function SmoothPiece(run::Run, times::Vector{Float64}, depth::Int)
    draws, steps = length(run.last_increments), length(times) - 1
    w, h = zeros(draws, steps + 1), zeros(draws, steps)
    for m in 1:steps
        brownian!(view(w, :, m + 1), view(h, :, m), run, times[m], times[m+1], depth)
        view(w, :, m + 1) .+= view(w, :, m)
    end
    return SmoothPiece(run.θ, times, w, h, zeros(draws), zeros(num_variables(typeof(run.θ)) * num_neurons(run.x)))
end

"""W(t), in the piece's own memory."""
function path_at!(piece::SmoothPiece, t)
    m = clamp(searchsortedlast(piece.times, t), 1, length(piece.times) - 1)
    r = (t - piece.times[m]) / (piece.times[m+1] - piece.times[m])
    for e in eachindex(piece.path)
        piece.path[e] = (1 - r) * piece.w[e, m] + r * piece.w[e, m+1] + 6r * (1 - r) * piece.h[e, m]
    end
    return piece.path
end

# The path of neuron k: one number per component.
function path_of(path, θ, k)
    n = number_of_neurons(θ)
    return length(path) == n ? (path[k],) : (path[k], path[n+k])
end

"""u + σ·W, in place."""
function add_noise!(u, θ, path)
    y = variables(u, θ)
    for k in 1:number_of_neurons(θ)
        add_state!(y, k, noise(θ, k, state_at(y, k), path_of(path, θ, k)))
    end
    return u
end

"""Adds to the gradients of σ in θ̄, from the cotangent of u + σ·W."""
function add_noise_adjoint!(θ̄::Model, bar, θ::Model, path)
    y_bar, wanted = variables(bar, θ), all_terms(θ)
    for k in 1:number_of_neurons(θ)
        bar_k = state_at(y_bar, k)
        noise_adjoint!(θ̄, θ, k, bar_k, path_of(path, θ, k), bar_k, wanted)      # additive: the state has no part in it
    end
end

"""u at time t from z, in the piece's own memory."""
state_at!(piece::SmoothPiece, z, t) = add_noise!(copyto!(piece.u, z), piece.θ, path_at!(piece, t))

"""z′."""
piece_drift!(dz, z, piece::SmoothPiece, t) = network_drift!(dz, state_at!(piece, z, t), piece.θ, t)

"""Its Jacobian in z."""
piece_jacobian!(J, z, piece::SmoothPiece, t) = network_jacobian!(J, state_at!(piece, z, t), piece.θ, t)

"""Cotangent of z from that of z′; adds to the gradients θ̄."""
function piece_drift_adjoint!(z_bar, θ̄::Model, z, piece::SmoothPiece, t, bar)
    network_drift_adjoint!(fill!(z_bar, 0.0), θ̄, state_at!(piece, z, t), piece.θ, t, bar)
    add_noise_adjoint!(θ̄, z_bar, piece.θ, piece.path)
    return z_bar
end

"""All coefficients as one vector."""
gather(θ::Model) = gather!(zeros(sum(length, coefficient_arrays(θ))), θ)

function gather!(p, θ::Model)
    place = 0
    for array in coefficient_arrays(θ), x in array
        p[place+=1] = x
    end
    return p
end

"""Adds such a vector to the arrays."""
function add_gathered!(θ̄::Model, p)
    place = 0
    for array in coefficient_arrays(θ̄), e in eachindex(array)
        array[e] += p[place+=1]
    end
end

"""
What can differentiate a piece in reverse. It writes

  * `pull_back!(θ̄, method, piece, z, marks, bars) -> z_bar`: the cotangent of z at the piece's start, from those of z
    at the `marks`, some of its `times` after the first, increasing, the last of them the end; adds to the gradients θ̄.
"""
abstract type PieceAdjoint end

function pull_back! end

# --- the walk, forwards and backwards ---------------------------------------------------------------------------------

"""A stretch without events: the state at its start, and the ends of its steps from there on."""
struct Stretch
    u::Vector{Float64}
    times::Vector{Float64}
end

"""A spike of neuron j: the state just before it, and the drifts just before and after."""
struct Firing
    j::Int
    u::Vector{Float64}
    before::Vector{Float64}
    after::Vector{Float64}
end

"""The stretches and spikes of a sample, in their order."""
struct EventTape <: Observer
    entries::Vector{Union{Stretch,Firing}}
end

begin_sample!(tape::EventTape, run::Run) = empty!(tape.entries)
after_stretch!(tape::EventTape, u, times) = push!(tape.entries, Stretch(copy(u), times))
after_firing!(tape::EventTape, j, u, before, after) = push!(tape.entries, Firing(j, u, before, after))

"""One thread's means of differentiating samples."""
struct WalkAdjointWorker{R<:Run,Θ<:Model,S<:SmoothSolver,A<:PieceAdjoint}
    run::R
    tape::EventTape
    smooth::S
    method::A
    depth::Int                      # of the dyadic nodes below the steps
    gradients::Θ                    # of the sample at hand
    list::Vector{Coefficient}
    spike_times::Vector{Float64}
    spike_neurons::Vector{Int}
end

function WalkAdjointWorker(run::Run, smooth::SmoothSolver, method::PieceAdjoint, depth, data::AdjointData)
    is_additive(run.θ) || throw(ArgumentError(
        "the adjoint of a stretch between spikes needs additive noise, and this diffusion depends on the potential"
    ))
    capacity = Int(run.problem.max_spikes)
    return WalkAdjointWorker(
        run, EventTape([]), smooth, method, depth, Model(run.problem)::typeof(run.θ),
        host_table(data.gradients, run.places), zeros(capacity),
        zeros(Int, capacity),
    )
end

# The solver and the method are younger than the entry point.
adjoint_sample!(w::WalkAdjointWorker, data::AdjointData, sample) = Base.invokelatest(walk_back!, w, data, sample)

"""Adds the gradients of one sample to the worker's."""
function walk_back!(w::WalkAdjointWorker, data::AdjointData, sample)
    run, problem, n = w.run, w.run.problem, num_neurons(w.run.x)
    cotangents = SampleCotangents(run, data, sample)
    spike_bar = cotangents.spike_times
    begin_sample!(run, w.tape, sample, pointer(w.spike_times), pointer(w.spike_neurons))
    run.next_save = length(run.saveat) + 1      # of what is recorded only the times matter here
    walk_from_event_to_event!(run, w.tape, w.smooth, sample)

    bar, spike = zeros(num_variables(typeof(run.θ)) * n), run.num_spikes
    last_stretch = w.tape.entries[findlast(entry -> entry isa Stretch, w.tape.entries)]
    for index in searchsorted(run.saveat, last_stretch.times[end])
        add_saved_bar!(bar, cotangents, n, index)
    end
    for entry in reverse(w.tape.entries)
        check_cancelled()
        if entry isa Firing
            τ_bar = spike_bar == C_NULL ? 0.0 : finite_or_zero(unsafe_load(spike_bar, spike))
            spike_jump_adjoint!(
                bar, τ_bar, w.gradients, entry.u, entry.before, entry.after, run.θ, run.synapses, entry.j,
            )
            spike -= 1
        else
            bar = undo_stretch!(w, entry, bar, cotangents)
        end
    end
    for k in 1:n
        initial_state_adjoint!(w.gradients, run.θ, k, state_at(variables(bar, run.θ), k))
    end
    return w
end

"""Adds to the cotangent of the whole vector that of what is recorded at the saved time `index`."""
function add_saved_bar!(bar, cotangents::SampleCotangents, n, index)
    for (variable, saved) in enumerate(cotangents.recorded), k in 1:n
        bar[(variable-1)*n+k] += saved_bar(saved, k, index)
    end
    return bar
end

"""
Turn the cotangent at the end of a stretch into that at its start, with those of values recorded from its start on.
"""
function undo_stretch!(w::WalkAdjointWorker, stretch::Stretch, bar, cotangents)
    run, n, a, b = w.run, num_neurons(w.run.x), stretch.times[1], stretch.times[end]
    tolerance = GRID_TOLERANCE * run.problem.dt
    at_start, marks, bars = zero(bar), Float64[], Vector{Float64}[]
    # Times that differ by rounding are one.
    for index in searchsortedfirst(run.saveat, a):searchsortedfirst(run.saveat, b)-1
        t = run.saveat[index]
        m = searchsortedfirst(stretch.times, t - tolerance)
        abs(stretch.times[m] - t) <= tolerance && (t = stretch.times[m])
        target = t == a ? at_start : t == b ? bar : !isempty(marks) && t == marks[end] ? bars[end] :
            (push!(marks, t); push!(bars, zero(bar)); bars[end])
        add_saved_bar!(target, cotangents, n, index)
    end
    b - a > tolerance || return bar .+ at_start
    push!(marks, b)
    push!(bars, bar)
    all(part -> all(iszero, part), bars) && return at_start
    inside = filter(t -> a + tolerance < t < b - tolerance, union(stretch.times, marks))
    piece = SmoothPiece(run, [a; sort!(inside); b], w.depth)
    for (t, part) in zip(marks, bars)
        add_noise_adjoint!(w.gradients, part, run.θ, path_at!(piece, t))
    end
    return at_start .+ pull_back!(w.gradients, w.method, piece, stretch.u, marks, bars)
end

# --- entry points -----------------------------------------------------------------------------------------------------

"""Set by the extension: `(name, run) -> PieceAdjoint` for one thread's run."""
const PIECE_ADJOINT_HOOK = Ref{Any}(nothing)

"""The method of that name; an error where the packages that bring it are not loaded."""
function piece_adjoint(name::Symbol, run::Run)
    PIECE_ADJOINT_HOOK[] === nothing && throw(ErrorException(
        "sensealg=\"$name\" needs SciMLSensitivity.jl and OrdinaryDiffEqTsit5.jl, which are not loaded; " *
        "run `ssnn setup --sensitivity`"
    ))
    return Base.invokelatest(PIECE_ADJOINT_HOOK[], name, run)::PieceAdjoint
end

@entry_point function ssnn_sciml_adjoint(
    problem_pointer::Ptr{Problem}, data_pointer::Ptr{AdjointData}, options::Ptr{UInt8},
)
    sciml_adjoint(unsafe_load(problem_pointer), unsafe_load(data_pointer), parse_options(unsafe_string(options)))
end

function sciml_adjoint(problem::Problem, data::AdjointData, options::NamedTuple)
    rest = NamedTuple{filter(!=(:sensealg), keys(options))}(options)
    depth = noise_depth(sciml_solver(unsafe_string(problem.solver)), rest)
    groups = map(1:num_workers(problem)) do _
        run = SciMLRun(problem)
        smooth, method = sciml_smooth_solver(problem, rest, run, Model[]), piece_adjoint(options.sensealg, run)
        [WalkAdjointWorker(run, smooth, method, depth, data)]
    end
    adjoint(groups, problem, data)
end
