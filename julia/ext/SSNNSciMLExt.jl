# Solvers of StochasticDiffEq.jl on the smooth pieces between spikes. The core walks from event to event and knows the
# rule there (src/sciml/); this file gives it the two methods of a `SmoothSolver`, and gives the solvers the core's
# Brownian path. It keeps to what StochasticDiffEq.jl 6 (mid-2025) and 7 have in common.
module SSNNSciMLExt

using SSNN: SSNN, Model, Run, SciMLSolver, SmoothSolver
using DiffEqNoiseProcess: DiffEqNoiseProcess
using ForwardDiff: ForwardDiff
using SciMLBase: SciMLBase
using StochasticDiffEq: StochasticDiffEq

# --- the Brownian path ------------------------------------------------------------------------------------------------

"""
The path of docs/numerics.md as a noise process. A step from t is given dW, the increment, and dZ = 2√3·H, from its
space-time Lévy area: the schemes of Rößler take I₍₁,₀₎ = h/2·(ΔW + ΔZ/√3) for the integral of the path, which is
h·(H + ΔW/2). H is that of the very interval that is asked for, also after a rejection; the areas of neighbouring
intervals do not add up, so that no grid of W and Z could say this.
"""
mutable struct PathNoise{R<:Run} <: SciMLBase.AbstractNoiseProcess{Float64,2,nothing,true}
    run::R
    depth::Int
    curt::Float64
    curW::Vector{Float64}
    curZ::Vector{Float64}
    dt::Float64
    dW::Vector{Float64}
    dZ::Vector{Float64}
    w::Vector{Float64}
    h::Vector{Float64}
    W::Vector{Vector{Float64}}      # `solve` learns from its first entry how many Brownian motions there are
    reset::Bool
end

function PathNoise(run::Run, depth, diagonal, t)
    n, components = Int(run.problem.num_neurons), Int(run.problem.num_components)
    entries = diagonal ? SSNN.num_variables(typeof(run.θ)) * n : components * n
    buffers = (zeros(components * n), zeros(components * n))
    return PathNoise(
        run, depth, t, zeros(entries), zeros(entries), 0.0, zeros(entries), zeros(entries), buffers...,
        [zeros(entries)], true,
    )
end

Base.copy(W::PathNoise) = PathNoise(
    W.run, W.depth, W.curt, copy(W.curW), copy(W.curZ), W.dt, copy(W.dW), copy(W.dZ), copy(W.w), copy(W.h), W.W,
    W.reset,
)
Base.copy!(W::T, ::T) where {T<:PathNoise} = W      # it holds no history that could be kept

function DiffEqNoiseProcess.calculate_step!(W::PathNoise, dt, u, p)
    SSNN.brownian!(W.w, W.h, W.run, W.curt, W.curt + dt, W.depth)
    copyto!(W.dW, W.w)
    W.dZ[1:length(W.h)] .= 2 * sqrt(3.0) .* W.h
    W.dt = dt
    return nothing
end

function DiffEqNoiseProcess.accept_step!(W::PathNoise, dt, u, p, setup_next = true)
    W.curW .+= W.dW
    W.curZ .+= W.dZ
    # The integrator's own time snaps to its stops, and rounding must not add up here.
    W.curt = SSNN.on_grid(W.run.problem, W.curt + W.dt)
    W.dt = dt
    setup_next && DiffEqNoiseProcess.calculate_step!(W, dt, u, p)
    return nothing
end

DiffEqNoiseProcess.reject_step!(W::PathNoise, dt, u, p) = DiffEqNoiseProcess.calculate_step!(W, dt, u, p)
DiffEqNoiseProcess.setup_next_step!(W::PathNoise, u, p) = DiffEqNoiseProcess.calculate_step!(W, W.dt, u, p)
DiffEqNoiseProcess.save_noise!(::PathNoise) = nothing

function SciMLBase.reinit!(W::PathNoise, dt; t0 = W.curt, kwargs...)
    W.curt, W.dt = t0, dt
    fill!(W.curW, 0.0)
    fill!(W.curZ, 0.0)
    return nothing
end

# --- the equation -----------------------------------------------------------------------------------------------------

"""Everything one thread needs of the equation: the sample's parameters are those of the run."""
struct Equation{R<:Run,Θ<:Model}
    run::R
    directions::Vector{Θ}
    stratonovich::Bool              # in whose sense the solver takes it
    diagonal::Bool
end

# A package may copy the functions that it is given; the run is one and the same.
Base.deepcopy_internal(equation::Equation, ::IdDict) = equation

"""The drift, as the package calls it."""
struct Drift{E<:Equation}
    equation::E
    directions::UnitRange{Int}      # those that a Dual's partials stand for
end

"""The diffusion."""
struct Diffusion{E<:Equation}
    equation::E
    directions::UnitRange{Int}
end

"""The drift's Jacobian."""
struct Jacobian{E<:Equation}
    equation::E
end

(f::Drift)(du::AbstractVector{Float64}, u, p, t) =
    SSNN.network_drift!(du, u, f.equation.run.θ, t, f.equation.stratonovich)
(g::Diffusion)(G::AbstractArray{Float64}, u, p, t) = SSNN.network_noise!(fill!(G, 0.0), u, g.equation.run.θ)
(J::Jacobian)(out, u, p, t) = SSNN.network_jacobian!(out, u, J.equation.run.θ, t, J.equation.stratonovich)

# The core's formulas carry a tangent in one direction at a time.
(f::Drift)(du::AbstractVector{<:ForwardDiff.Dual}, u, p, t) = in_all_directions!(du, u, f) do out, x, θ
    SSNN.network_drift!(out, x, θ, t, f.equation.stratonovich)
end

(g::Diffusion)(G::AbstractArray{<:ForwardDiff.Dual}, u, p, t) = in_all_directions!(SSNN.network_noise!, G, u, g)

"""What `formula!` gives at u for all the directions of a package's `Dual`, one after the other."""
function in_all_directions!(formula!, out::AbstractArray{D}, u, f) where {T,P,D<:ForwardDiff.Dual{T,Float64,P}}
    equation = f.equation
    parts = map(1:P) do q
        x = SSNN.Dual.(ForwardDiff.value.(u), ForwardDiff.partials.(u, q))
        y = fill(SSNN.Dual(0.0, 0.0), size(out))
        formula!(y, x, SSNN.DualModel(equation.run.θ, equation.directions[f.directions[q]]))
        y
    end
    for place in eachindex(out)
        out[place] = D(parts[1][place].value, ForwardDiff.Partials(ntuple(q -> parts[q][place].tangent, Val(P))))
    end
    return out
end

# --- the two methods of a smooth solver -------------------------------------------------------------------------------

"""An algorithm of StochasticDiffEq.jl, with what it is to be called with."""
struct StochasticDiffEqSolver{A,E<:Equation,O<:NamedTuple} <: SmoothSolver
    algorithm::A
    equation::E
    options::O                      # for `solve`
    adaptive::Bool
    implicit::Bool
    depth::Int                      # of the dyadic nodes below the steps
end

"""The equation from u at a to b, with the path of that interval."""
function problem(smooth::StochasticDiffEqSolver, u::Vector, a::Float64, b::Float64, directions::UnitRange{Int} = 1:0)
    equation = smooth.equation
    n, components = Int(equation.run.problem.num_neurons), Int(equation.run.problem.num_components)
    jacobian = smooth.implicit ? Jacobian(equation) : nothing
    f = SciMLBase.SDEFunction{true,SciMLBase.FullSpecialize}(
        Drift(equation, directions), Diffusion(equation, directions); jac = jacobian
    )
    return SciMLBase.SDEProblem(
        f, u, (a, b); noise = PathNoise(equation.run, smooth.depth, equation.diagonal, a),
        noise_rate_prototype = equation.diagonal ? nothing : zeros(eltype(u), length(u), components * n),
    )
end

"""Which neuron fires first, when, and the state there."""
mutable struct Crossing
    neuron::Int
    t::Float64
    u::Vector{Float64}
end

function SSNN.follow(smooth::StochasticDiffEqSolver, u::Vector{Float64}, a::Float64, b::Float64)
    run = smooth.equation.run
    θ, n, crossing = run.θ, Int(run.problem.num_neurons), Crossing(0, b, u)
    # A callback sees changes of sign only, not a potential that starts above its threshold.
    at_once = SSNN.fires_at_once(θ, u, n)
    at_once == 0 || return [a, a], [u, u], at_once
    function condition(out, u, t, integrator)
        SSNN.check_cancelled()
        for k in 1:n
            out[k] = SSNN.event_value_in(θ, u, k)
        end
    end
    # The solvers' interpolants are linear and so are the event functions: the first root is known without a search,
    # which would cut the step and its noise. What the second argument says of the events differs between versions.
    function affect!(integrator, _)
        before, after = integrator.uprev, integrator.u
        fraction, crossing.neuron = findmin(1:n) do k
            from, to = SSNN.event_value_in(θ, before, k), SSNN.event_value_in(θ, after, k)
            to > from ? -from / (to - from) : Inf
        end
        # More by rounding only: some neuron's event function did change its sign.
        fraction = min(fraction, 1.0)
        crossing.t = integrator.tprev + fraction * (integrator.t - integrator.tprev)
        crossing.u = before .+ fraction .* (after .- before)
        SciMLBase.terminate!(integrator)
    end
    callback = SciMLBase.VectorContinuousCallback(
        condition, affect!, n; rootfind = SciMLBase.NoRootFind, interp_points = 0, save_positions = (false, false),
    )
    solution = SciMLBase.solve(
        problem(smooth, u, a, b), smooth.algorithm; dt = run.problem.dt, adaptive = smooth.adaptive,
        tstops = stops(smooth, a, b), callback = callback,
        save_everystep = true, smooth.options...,
    )
    check_success(solution)
    times, states = solution.t::Vector{Float64}, solution.u::Vector{Vector{Float64}}
    crossing.neuron == 0 && return times, states, 0
    whole = searchsortedlast(times, crossing.t)             # the end of the step in which the neuron fires is saved too
    return [times[1:whole]; crossing.t], [states[1:whole]; [crossing.u]], crossing.neuron
end

"""Times at which a step must end: those of the grid, or, where steps adapt, the knots of the input current."""
function stops(smooth::StochasticDiffEqSolver, a, b)
    problem, current = smooth.equation.run.problem, smooth.equation.run.θ.current
    if smooth.adaptive
        return current isa SSNN.SampledCurrent ? filter(t -> a < t < b, current.knots) : Float64[]
    end
    from, to = floor(Int, (a - problem.t0) / problem.dt), ceil(Int, (b - problem.t0) / problem.dt)
    grid = (problem.t0 + n * problem.dt for n in from:min(to, Int(problem.num_steps) - 1))
    margin = SSNN.GRID_TOLERANCE * problem.dt
    return [t for t in grid if a + margin < t < b - margin]
end

# Directions at a time: more make the compiled code long.
const CHUNK = 8

"""Of the numbers with tangents that are this package's own."""
struct Tag end

function SSNN.replay(
    smooth::StochasticDiffEqSolver, u::Vector{Float64}, du::Vector{Vector{Float64}}, times::Vector{Float64},
)
    length(times) == 1 && return [copy(u)], [map(copy, du)]
    isempty(du) && return replay_chunk(smooth, u, times, 1:0), [Vector{Float64}[] for _ in times]
    tangents, states = [Vector{Float64}[] for _ in times], Vector{Float64}[]
    for start in 1:CHUNK:length(du)
        chunk = start:min(start + CHUNK - 1, length(du))
        solution = replay_chunk(smooth, duals(u, du[chunk], Val(length(chunk))), times, chunk)
        states = [ForwardDiff.value.(y) for y in solution]
        for (m, y) in enumerate(solution), q in eachindex(chunk)
            push!(tangents[m], ForwardDiff.partials.(y, q))
        end
    end
    return states, tangents
end

duals(u, du, ::Val{P}) where {P} =
    [ForwardDiff.Dual{Tag}(u[r], ForwardDiff.Partials(ntuple(q -> du[q][r], Val(P)))) for r in eachindex(u)]

# With every time a stop, and dt as long as the longest step, the steps are those from one time to the next. No
# callback: there is no event, and none is differentiated.
function replay_chunk(smooth::StochasticDiffEqSolver, u::Vector, times::Vector{Float64}, directions::UnitRange{Int})
    solution = SciMLBase.solve(
        problem(smooth, u, times[1], times[end], directions), smooth.algorithm; dt = maximum(diff(times)),
        adaptive = false, tstops = times[2:end-1],
        save_everystep = true,
    )
    check_success(solution)
    steps = length(solution.t::Vector{Float64}) - 1
    steps == length(times) - 1 || error(
        "$(nameof(typeof(smooth.algorithm))) took $steps steps where it was given $(length(times) - 1)"
    )
    return solution.u::Vector{typeof(u)}
end

"""Raise where the package's solver has given up."""
check_success(solution) = SciMLBase.successful_retcode(solution) ||
    error("the solver stopped at t = $(solution.t[end]) with the return code $(solution.retcode)")

# --- what the core asks for -------------------------------------------------------------------------------------------

"""The solver that the core asks for; an error where it cannot do what is asked of it."""
function smooth_solver(solver::SciMLSolver, options::NamedTuple, run::Run, directions)
    adaptive = get(options, :adaptive, false)
    depth = SSNN.noise_depth(solver, options)
    additive, diagonal = SSNN.is_additive(run.θ), get(options, :diagonal_noise, false)
    solver.noise == :additive && !additive && throw(ArgumentError(
        "solver $(solver.name) takes additive noise only, and this diffusion depends on the potential"
    ))
    solver.noise == :diagonal && !diagonal && throw(ArgumentError(
        "solver $(solver.name) takes diagonal noise only: sigma12 and sigma21 must be zero, and stay zero in a tangent"
    ))
    constructor = getproperty(StochasticDiffEq, Symbol(solver.name))
    # These two by default look at the diffusion after the drift; the scheme of that name looks at both at once.
    algorithm = solver.name in ("EM", "LambaEM") ? constructor(false) : constructor()
    # The library itself takes ISSEulerHeun, and version 6 ImplicitEulerHeun too, for Itô's.
    stratonovich = endswith(solver.name, "EulerHeun") ||
        SciMLBase.alg_interpretation(algorithm) == SciMLBase.AlgorithmInterpretation.Stratonovich
    rest = NamedTuple{filter(name -> !(name in (:adaptive, :noise_depth, :diagonal_noise)), keys(options))}(options)
    equation = Equation(run, convert(Vector{typeof(run.θ)}, directions), stratonovich, diagonal)
    return StochasticDiffEqSolver(algorithm, equation, rest, adaptive, solver.implicit, depth)
end

__init__() = SSNN.SCIML_HOOK[] = smooth_solver

# --- what a first solution would compile ------------------------------------------------------------------------------

# Solvers whose compiled code the extension keeps; all others are compiled when they are first used.
const KEPT = ("EM", "SOSRA2", "SOSRI")

"""Call one of the core's entry points, as the host does."""
function call_entry_point(entry, options, pieces...)
    references, text = map(Ref, pieces), options * "\0"
    GC.@preserve references text SSNN.check_status(entry(map(SSNN.address, references)..., pointer(text)))
end

function precompile_workload()
    __init__()
    SSNN.with_spare_thread() do
        for name in KEPT, adaptive in (false, true)
            adaptive && name == "EM" && continue
            host = SSNN.RingHost(1; solver = "sciml:$name", num_samples = 2)
            options = (adaptive ? "adaptive=b:true\nabstol=f:0.01\nreltol=f:0.01\n" : "") * "diagonal_noise=b:true"
            GC.@preserve host call_entry_point(SSNN.ssnn_sciml_solve, options, host.problem, host.outputs)
        end
    end
end

SSNN.do_while_precompiling(precompile_workload)

end
