# Tests of the extension, with the SciML packages and Julia 1.11 or newer:
#
#     julia --project=julia/test/modern -e 'using Pkg; Pkg.instantiate(); include("julia/test/modern/runtests.jl")'
#
# or `include` this file in any project that has SSNN and StochasticDiffEq. Testsets stand alone, and what they measure
# is printed where they pass too: one run shall tell all it can.

using Test
import SSNN, StochasticDiffEq

println("Julia $VERSION, $(Threads.nthreads()) threads")
const TOLD = (
    r"^(SSNN|SciMLBase|SciMLOperators|RecursiveArrayTools|ForwardDiff|LinearSolve|NonlinearSolve)$",
    r"^(StochasticDiffEq|DiffEq|OrdinaryDiffEq)",
)
for (id, package) in sort(collect(Base.loaded_modules); by = pair -> first(pair).name)
    any(pattern -> occursin(pattern, id.name), TOLD) &&
        println("    ", rpad(id.name, 32), something(pkgversion(package), "?"))
end

# Where Julia has not loaded the extension it has said so in passing; including it says why.
const BY_ITSELF = Base.get_extension(SSNN, :SSNNSciMLExt)
const EXTENSION = BY_ITSELF === nothing ? include(joinpath(@__DIR__, "..", "..", "ext", "SSNNSciMLExt.jl")) : BY_ITSELF
const SciMLBase, ForwardDiff = EXTENSION.SciMLBase, EXTENSION.ForwardDiff
const VERNER = Base.find_package("OrdinaryDiffEqVerner") === nothing ? nothing :
    Base.require(Main, :OrdinaryDiffEqVerner)
const SENSITIVITY = all(name -> Base.find_package(name) !== nothing, ("OrdinaryDiffEqTsit5", "SciMLSensitivity"))
SENSITIVITY && foreach(
    name -> println("    ", rpad(name, 32), pkgversion(Base.require(Main, name))),
    (:OrdinaryDiffEqTsit5, :SciMLSensitivity),
)
const SOLVERS = sort(collect(values(SSNN.SCIML_SOLVERS)); by = solver -> solver.name)

solve_host(host, options = NamedTuple()) =
    (SSNN.sciml_solve(run -> SSNN.NoObserver(), host.problem, host.outputs, options); host)
spikes(host) = host.spike_times[1:host.num_spikes[1]]
host_for(solver, n = 1; settings...) = SSNN.RingHost(n; solver = "sciml:$(solver.name)", settings...)

"""Tangents of the spike times in the directions of some coefficients: a column each."""
function tangents(host, slots::AbstractVector, options = NamedTuple())
    count = length(slots)
    units = Float64[slot == s for s in 1:host.num_slots, slot in slots]
    times = zeros(host.problem.max_spikes, count)
    v, i = (zeros(host.problem.num_neurons * host.problem.num_saves * count) for _ in 1:2)
    recorded = [pointer(v), pointer(i)]
    table = [SSNN.Coefficient(pointer(units, s), host.num_slots, 0, 0, 0) for s in 1:host.num_slots]
    outputs = SSNN.TangentOutputs(
        count, pointer(table), SSNN.NOT_GIVEN, pointer(times), pointer(recorded), 2,
    )
    GC.@preserve host units times v i recorded table SSNN.sciml_solve(
        run -> SSNN.TangentObserver(run, outputs), host.problem, host.outputs, options,
    )
    return times[1:host.num_spikes[1], :]
end

tangents(host, slot::Int, options = NamedTuple()) = vec(tangents(host, [slot], options))

"""Tangents of the spike times, and central differences with the noise frozen."""
function tangents_and_differences(host, slot, options, h = 1e-5)
    up, down = spikes(solve_host(host(h), options)), spikes(solve_host(host(-h), options))
    return tangents(host(0.0), slot, options), (up - down) / 2h
end

# Solvers whose central differences, of h = 1e-5, show the pieces of the path between its nodes.
const FELT_PIECES = ("EulerHeun", "LambaEulerHeun", "WangLi3SMil_B", "WangLi3SMil_E", "WangLi3SMil_F")

const VALUES = [5.0, 2.0, 0.25, 0.0, 0.0, 0.0, 1.4, 0.03, 0.0, 0.1, 5.0, 1.0, 1.0, 1.5]
const QUIET = [slot == 3 ? 0.0 : x for (slot, x) in enumerate(VALUES)]
const DIAGONAL = [slot == 6 ? 0.15 : x for (slot, x) in enumerate(VALUES)]
const FULL = [get(Dict(4 => 0.1, 5 => 0.2, 6 => 0.15), slot, x) for (slot, x) in enumerate(VALUES)]
shifted(values, slot, h) = (x = copy(values); x[slot] += h; x)

"""A run at the start of its first sample, and a solver for it."""
function prepared(host, options = NamedTuple())
    run = SSNN.SciMLRun(host.problem)
    SSNN.begin_sample!(run, SSNN.NoObserver(), 1, host.outputs.spike_times, host.outputs.spike_neurons)
    return run, SSNN.sciml_smooth_solver(host.problem, options, run, SSNN.Model[])
end

mean(f, values) = sum(f, values) / length(values)
sizes(errors) = join((string(round(e; sigdigits = 2)) for e in errors), "  ")

@testset "the SciML engine" begin

@testset "the extension loads by itself" begin
    @test BY_ITSELF !== nothing
end

@testset "the path as a noise process" begin
    noise = EXTENSION.DiffEqNoiseProcess
    for diagonal in (true, false)
        host = SSNN.RingHost(2; solver = "sciml:EM", num_components = 2, num_steps = 20, dt = 0.1)
        GC.@preserve host begin
            run, _ = prepared(host)
            function walk(ends...; rejected = 1.0)
                W, lengths = EXTENSION.PathNoise(run, 6, diagonal, 0.0), diff([0.0, ends...])
                W.dt = lengths[1]
                noise.setup_next_step!(W, nothing, nothing)
                for (m, h) in enumerate(lengths)
                    noise.reject_step!(W, rejected * h, nothing, nothing)
                    noise.reject_step!(W, h, nothing, nothing)
                    more = m < length(lengths)
                    noise.accept_step!(W, more ? lengths[m+1] : h, nothing, nothing, more)
                end
                return W
            end
            whole, parts = walk(0.7), walk(0.1, 0.23, 0.3, 0.6, 0.7)
            @test whole.curW ≈ parts.curW
            @test parts.curt ≈ 0.7
            @test length(whole.W[1]) == length(whole.dW) == (diagonal ? 6 : 4)
            @test walk(0.1, 0.23, 0.7; rejected = 0.3).curW ≈ whole.curW
            other = copy(whole)
            other.dW .= 0.0
            @test !iszero(whole.dW)
            @test copy!(other, whole) === other
        end
    end
end

@testset "$(solver.name)" for solver in SOLVERS
    diagonal = (diagonal_noise = true,)

    @testset "what the table says of it" begin
        algorithm = getproperty(StochasticDiffEq, Symbol(solver.name))()
        # Not every one that the library lets adapt its step does so rightly: see the table.
        refused = solver.name in ("ISSEM", "ISSEulerHeun", "SKenCarp") && !solver.adaptive
        @test StochasticDiffEq.isadaptive(algorithm) == solver.adaptive || refused
        _, smooth = prepared(host_for(solver), diagonal)
        @test smooth.equation.stratonovich == occursin("EulerHeun", solver.name)
    end

    @testset "on one path" begin
        errors = map((40, 160)) do steps
            mean(1:6) do seed
                settings = (num_steps = steps, dt = 2.0 / steps, seed = seed, max_spikes = 2)
                host = solve_host(host_for(solver; settings...), diagonal)
                @test all(diff(spikes(host)) .> 0)
                @test spikes(host) == spikes(solve_host(host_for(solver; settings...), diagonal))
                abs(spikes(host)[1] - spikes(SSNN.run_host(SSNN.RingHost(1; solver = "shark", settings...)))[1])
            end
        end
        println(rpad(solver.name, 20), "first spike against shark's, dt = 0.05 and 0.0125:  ", sizes(errors))
        @test errors[2] < 0.7 * errors[1] || errors[1] < 1e-5
    end

    # Two Brownian motions per neuron: as the diagonal that they are, and as a matrix; then a matrix that is full.
    solver.noise == :diagonal || @testset "noise as a matrix" begin
        settings = (num_components = 2, num_steps = 200, dt = 0.01, max_spikes = 2)
        as_diagonal, as_matrix = (
            spikes(solve_host(host_for(solver; numbers = DIAGONAL, settings...), (diagonal_noise = d,)))
            for d in (true, false)
        )
        @test as_diagonal ≈ as_matrix rtol = solver.implicit ? 1e-2 : 1e-9
        full = spikes(solve_host(host_for(solver; numbers = FULL, settings...)))
        native = spikes(SSNN.run_host(SSNN.RingHost(1; solver = "shark", numbers = FULL, settings...)))
        @test full[1] ≈ native[1] atol = 0.02
    end

    solver.adaptive && @testset "adaptive steps" begin
        settings = (num_steps = 40, dt = 0.05, max_spikes = 2)
        fine = spikes(SSNN.run_host(SSNN.RingHost(1; solver = "shark", settings...)))
        errors = map((1e-2, 1e-5)) do tolerance
            host = solve_host(
                host_for(solver; settings...),
                (adaptive = true, abstol = tolerance, reltol = tolerance, diagonal_noise = true),
            )
            @test all(diff(spikes(host)) .> 0)
            abs(spikes(host)[1] - fine[1])
        end
        println(rpad(solver.name, 20), "adaptive, tolerances 1e-2 and 1e-5:                 ", sizes(errors))
        @test errors[2] < 0.02
    end

    solver.implicit || @testset "a replay takes the steps that were taken" begin
        for options in (
            diagonal, solver.noise == :diagonal ? diagonal : NamedTuple(),
            solver.adaptive ? (adaptive = true, diagonal_noise = true) : diagonal,
        )
            host = host_for(solver)
            GC.@preserve host begin
                run, smooth = prepared(host, options)
                u = vcat(run.x.y...)
                times, states, j = SSNN.follow(smooth, u, 0.0, 2.0)
                @test j == 1
                @test times[1] == 0.0
                @test all(diff(times) .> 0)
                @test length(times) == length(states)
                @test abs(SSNN.event_value_in(run.θ, states[end], 1)) < 1e-12
                @test SSNN.replay(smooth, u, Vector{Float64}[], times[1:end-1])[1] ≈ states[1:end-1] rtol = 1e-12
                @test SSNN.follow(smooth, [u[1:2]; 0.1], 0.5, 2.0) == ([0.5, 0.5], [[u[1:2]; 0.1], [u[1:2]; 0.1]], 1)
            end
        end
    end

    solver.implicit || @testset "gradients" begin
        for (values, slot, rtol) in ((QUIET, 1, 0.03), (QUIET, 14, 0.03), (VALUES, 3, 0.15), (VALUES, 14, 0.15))
            host(h) = host_for(solver; num_steps = 1000, dt = 0.002, max_spikes = 3, numbers = shifted(values, slot, h))
            # Differences must not be finer than the pieces of the path, which at the usual depth are shorter than h.
            felt = solver.name in FELT_PIECES && values === VALUES
            options = felt ? (diagonal_noise = true, noise_depth = 0) : diagonal
            exact, numeric = tangents_and_differences(host, slot, options)
            values === VALUES && slot == 14 && println(
                rpad(solver.name, 20), "∂τ/∂I  ", sizes(exact), "   by differences  ", sizes(numeric),
            )
            @test exact ≈ numeric rtol = rtol
        end
    end
end

@testset "Euler–Maruyama is the native one" begin
    for seed in 1:5, options in (NamedTuple(), (diagonal_noise = true,))
        native = SSNN.run_host(SSNN.RingHost(1; seed = seed, saveat = [0.5, 1.234]))
        host = solve_host(SSNN.RingHost(1; seed = seed, solver = "sciml:EM", saveat = [0.5, 1.234]), options)
        @test spikes(host) ≈ spikes(native) rtol = 1e-9
        @test host.arrays[end-1][1] ≈ native.arrays[end-1][1] rtol = 1e-8
    end
    # A network: to its first spike.
    for n in (2, 5)
        native, host = SSNN.run_host(SSNN.RingHost(n)), solve_host(SSNN.RingHost(n; solver = "sciml:EM"))
        @test spikes(host)[1] ≈ spikes(native)[1] rtol = 1e-9
        @test length(spikes(host)) == length(spikes(native))
    end
end

@testset "gradients: $name, slot $slot" for name in ("EulerHeun", "SOSRA2"), slot in (1, 2, 7, 8, 9, 10, 11, 12, 13, 14)
    for n in (1, 2)                 # noiseless: the exact solution's derivative
        host(h) = SSNN.RingHost(
            n; solver = "sciml:$name", num_steps = 1000, dt = 0.002, max_spikes = 4, numbers = shifted(QUIET, slot, h),
        )
        exact, numeric = tangents_and_differences(host, slot, (diagonal_noise = true,))
        @test exact ≈ numeric rtol = 1e-2 atol = 1e-4
    end
end

@testset "gradients towards the native engine's, as the step shrinks" begin
    errors = map((20, 320)) do refinement
        mean(1:20) do seed
            settings = (num_steps = 2refinement, dt = 1 / refinement, seed = seed)
            abs(
                tangents(SSNN.RingHost(1; solver = "sciml:EM", settings...), 14)[1] -
                SSNN.run_host_tangent(SSNN.RingHost(1; settings...), 14)[1]
            )
        end
    end
    println("EM's gradient against the native one's, dt = 0.05 and 0.003:            ", sizes(errors))
    @test errors[2] < errors[1] / 2
end

@testset "more directions than one chunk holds" begin
    host() = SSNN.RingHost(1; solver = "sciml:SRA1", max_spikes = 2)
    slots = collect(1:host().num_slots)
    @test length(slots) > EXTENSION.CHUNK
    @test tangents(host(), slots) ≈ reduce(hcat, [tangents(host(), slot) for slot in slots]) rtol = 1e-12
end

"""Gradient of Σ bars·(spike times) in all coefficients, by SciMLSensitivity.jl between spikes."""
function adjoint(host, times_bar, options = NamedTuple(), sensealg = :InterpolatingAdjoint)
    gradients = zeros(host.num_slots)
    table = [SSNN.Coefficient(pointer(gradients, s), 0, 0, 0, 0) for s in 1:host.num_slots]
    data = SSNN.AdjointData(pointer(times_bar), C_NULL, 0, pointer(table), SSNN.NOT_GIVEN)
    GC.@preserve host times_bar gradients table SSNN.sciml_adjoint(
        host.problem, data, merge((sensealg = sensealg,), options),
    )
    return gradients
end

if SENSITIVITY
    @testset "SciMLSensitivity between spikes" begin
        @testset "its extension loads by itself" begin
            @test Base.get_extension(SSNN, :SSNNSciMLSensitivityExt) !== nothing
        end
        SSNN.PIECE_ADJOINT_HOOK[] === nothing && include(
            joinpath(@__DIR__, "..", "..", "ext", "SSNNSciMLSensitivityExt.jl")
        )
        bars = [0.3, -0.7, 1.1]
        slots = [1, 2, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14]           # one Brownian motion: no second column of σ
        sensealgs = sort(collect(keys(parentmodule(SSNN.PIECE_ADJOINT_HOOK[]).SENSEALGS)))
        cases = [(sensealg, name, n) for sensealg in sensealgs for name in ("EM", "SRA1", "SOSRA2") for n in (1, 2)]
        @testset "$sensealg, $name, $n neurons: reverse against forward, smaller dt" for (sensealg, name, n) in cases
            # Of one seed the error may be small by chance.
            errors = map((100, 800)) do steps
                mean(0:3) do seed
                    settings = (num_steps = steps, dt = 2.0 / steps, max_spikes = 3, saveat = Float64[], seed = seed)
                    host() = SSNN.RingHost(n; solver = "sciml:$name", settings...)
                    options = (diagonal_noise = false,)
                    forward = [sum(bars .* tangents(host(), slot, options)) for slot in slots]
                    maximum(abs.(adjoint(host(), bars, options, sensealg)[slots] - forward) ./ (1 .+ abs.(forward)))
                end
            end
            println(
                rpad("$sensealg, $name, $n neurons", 40), "reverse against forward, dt = 0.02 and 0.0025:  ",
                sizes(errors),
            )
            @test errors[2] < errors[1] / 2 || errors[1] < 1e-6
            @test errors[2] < 0.05
        end
        @testset "without noise both modes and differences agree: $sensealg" for sensealg in sensealgs
            host(h, slot) = SSNN.RingHost(
                1; solver = "sciml:SOSRA2", num_steps = 1000, dt = 0.002, max_spikes = 3,
                numbers = shifted(QUIET, slot, h), saveat = Float64[],
            )
            reverse_mode = adjoint(host(0.0, 1), bars, (diagonal_noise = true,), sensealg)
            for slot in (1, 2, 7, 8, 9, 11, 12, 13, 14)
                exact, numeric = tangents_and_differences(h -> host(h, slot), slot, (diagonal_noise = true,))
                @test reverse_mode[slot] ≈ sum(bars .* exact) rtol = 1e-3 atol = 1e-5
                @test reverse_mode[slot] ≈ sum(bars .* numeric) rtol = 1e-2 atol = 1e-4
            end
        end
        @test_throws ArgumentError adjoint(
            SSNN.RingHost(1; solver = "sciml:EM", saveat = Float64[]), bars, (sensealg = :NoSuchAdjoint,),
        )
    end
else
    println(
        "SciMLSensitivity and OrdinaryDiffEqTsit5 are not both in this project: reverse mode between spikes not tested"
    )
end

@testset "errors" begin
    @test_throws ArgumentError solve_host(SSNN.RingHost(1; solver = "sciml:EM"), (adaptive = true,))
    @test_throws ArgumentError solve_host(SSNN.RingHost(1; solver = "sciml:SRIW1"), (diagonal_noise = false,))
    @test_throws ArgumentError solve_host(SSNN.RingHost(1; solver = "sciml:EM"), (noise_depth = 99,))
    @test_throws ArgumentError tangents(SSNN.RingHost(1; solver = "sciml:ImplicitEM"), 14)
    for options in ((adaptive = true, maxiters = 3), (no_such_keyword = 1,), (maxiters = 3,))
        message = try
            solve_host(SSNN.RingHost(1; solver = "sciml:SOSRA2"), options)
            ""
        catch error
            sprint(showerror, error)
        end
        @test occursin(haskey(options, :maxiters) ? "return code" : "no_such_keyword", message)
    end
end

@testset "functions that a package copies keep their run" begin
    host = SSNN.RingHost(2)
    run = GC.@preserve host SSNN.Run(host.problem)
    drift = EXTENSION.Drift(EXTENSION.Equation(run, typeof(run.θ)[], false, true), 1:0)
    @test deepcopy(drift).equation.run === run
end

@testset "the event rule on the minimal examples of public issues" begin
    # OrdinaryDiffEq.jl #4388: u′ = 1 from 0 stops where u = q, at τ = q; hence ∂τ/∂q = 1. Differentiating through the
    # terminating callback gives that only up to its root finding.
    threshold_at(v_th) = SSNN.SLIF(
        (zeros(1) for _ in 1:10)..., SSNN.SynapseNumbers(0), SSNN.SynapseNumbers(0), SSNN.ThresholdIntensity([v_th]),
        SSNN.ConstantCurrent(zeros(1)), SSNN.ConstantDiffusion(), false, false, nothing,
    )
    θ = SSNN.DualModel(threshold_at(1.0), threshold_at(1.0))
    @test SSNN.crossing_tangent(θ, 1, 1, (1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)) == 1.0
    if VERNER === nothing
        println("OrdinaryDiffEqVerner is not in this project: OrdinaryDiffEq.jl #4388 not measured")
    else
        function stopping_time(q)
            callback = SciMLBase.ContinuousCallback((u, t, integrator) -> u[1] - q, SciMLBase.terminate!)
            problem = SciMLBase.ODEProblem((du, u, p, t) -> (du[1] = one(q)), [zero(q)], (0.0, 10.0))
            return SciMLBase.solve(problem, VERNER.Vern9(); callback = callback, abstol = 1e-12, reltol = 1e-12).t[end]
        end
        worst = maximum(abs(ForwardDiff.derivative(stopping_time, q) - 1) for q in range(0.3, 3.7; length = 41))
        println("∂τ through the terminating callback of an ODE is off by up to $worst; by the event rule, by nothing")
    end

    # SciMLSensitivity.jl #720: a stochastic equation with a terminating callback. Where the noise does not drive the
    # event, the rule gives the derivative that frozen noise shows: s′ = exp(x), x′ = −x + p, dx with noise 0.2; stops
    # where s = 1. This is the neuron itself, with one spike.
    host(h) = SSNN.RingHost(
        1; solver = "sciml:EM", num_steps = 4000, dt = 0.0005, max_spikes = 1, numbers = shifted(VALUES, 14, h),
    )
    exact, numeric = tangents_and_differences(host, 14, NamedTuple())
    @test exact ≈ numeric rtol = 0.05
end

end

include("quality.jl")
