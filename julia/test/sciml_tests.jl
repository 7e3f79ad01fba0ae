# What solvers of DifferentialEquations.jl are given, without any of them: vector field, Brownian path, event rule, and
# the walk from event to event with two solvers written here.

using LinearAlgebra

include("smooth_solvers.jl")

function solve_with(make, host)
    run = SSNN.SciMLRun(host.problem)
    GC.@preserve host SSNN.solve_from_event_to_event!(
        run, SSNN.NoObserver(), make(run, typeof(run.θ)[]), host.outputs, 1,
    )
    return host.spike_times[1:host.num_spikes[1]]
end

function tangent_with(make, host, slot)
    unit, times = [1.0], zeros(host.problem.max_spikes)
    table = [SSNN.Coefficient(s == slot ? pointer(unit) : C_NULL, 0, 0, 0, 0) for s in 1:host.num_slots]
    v, i = (zeros(host.problem.num_neurons * host.problem.num_saves) for _ in 1:2)
    recorded = [pointer(v), pointer(i)]
    outputs = SSNN.TangentOutputs(
        1, pointer(table), SSNN.NOT_GIVEN, pointer(times), pointer(recorded), 2,
    )
    run = SSNN.SciMLRun(host.problem)
    observer = SSNN.TangentObserver(run, outputs)
    GC.@preserve host unit table times v i recorded SSNN.solve_from_event_to_event!(
        run, observer, make(run, observer.directions), host.outputs, 1,
    )
    return times[1:host.num_spikes[1]], v
end

saved_v(host) = host.arrays[end-1][1]
NUMBERS = [5.0, 2.0, 0.25, 0.1, 0.2, 0.15, 1.4, 0.03, 0.0, 0.1, 5.0, 1.0, 1.0, 1.5]

@testset "table and options of DifferentialEquations.jl's solvers" begin
    @test SSNN.sciml_solver("sciml:SOSRA2").adaptive
    @test SSNN.sciml_solver("EM").noise == :any
    @test_throws ArgumentError SSNN.sciml_solver("sciml:unheard of")
    @test all(s -> s.noise in (:any, :diagonal, :additive) && s.order in (1.0, 1.5), values(SSNN.SCIML_SOLVERS))
    @test SSNN.parse_options("") == NamedTuple()
    @test SSNN.parse_options("abstol=f:1e-06\nadaptive=b:true\nmaxiters=i:100\nmode=s:fast") ==
          (abstol = 1e-6, adaptive = true, maxiters = 100, mode = :fast)
    @test_throws ArgumentError SSNN.parse_options("abstol")
    host = SSNN.RingHost(1; solver = "sciml:EM")
    if SSNN.SCIML_HOOK[] === nothing
        @test_throws ErrorException SSNN.sciml_solve(run -> SSNN.NoObserver(), host.problem, host.outputs, NamedTuple())
    end
end

@testset "Brownian path between any two times" begin
    # The last step is shortened; steps are halves of the noise steps.
    host = SSNN.RingHost(2; num_steps = 9, num_components = 2, dt = 0.1)
    problem = SSNN.Problem((
        name == :t1 ? 0.87 : name == :noise_levels ? 1 : getfield(host.problem, name)
        for name in fieldnames(SSNN.Problem)
    )...)
    run = SSNN.SciMLRun(problem)
    outputs = zeros(8), zeros(Int, 8)
    GC.@preserve host outputs begin
        SSNN.begin_sample!(run, SSNN.NoObserver(), 1, pointer(outputs[1]), pointer(outputs[2]))
        path(a, b, depth) = SSNN.brownian!(zeros(4), zeros(4), run, a, b, depth)
        for n in 0:8
            step = SSNN.step_at(run, n)
            w, h = path(step.start + 1e-14, step.stop, 5)
            @test w ≈ [SSNN.increment(step, k, c) for c in 1:2 for k in 1:2] rtol = 1e-12
            @test h ≈ [SSNN.area(step, k, c) for c in 1:2 for k in 1:2] rtol = 1e-10
        end
        for depth in (0, 3, 9), (a, m, b) in ((0.0, 0.325, 0.87), (0.123, 0.15, 0.171), (0.21, 0.4, 0.6001))
            (w1, h1), (w2, h2), (w, h) = path(a, m, depth), path(m, b, depth), path(a, b, depth)
            @test w ≈ w1 .+ w2
            depth == 0 && continue                          # m is inside an interval, whose area two linear parts lack
            integral = (m - a) .* (h1 .+ w1 ./ 2) .+ (b - m) .* (w1 .+ h2 .+ w2 ./ 2)
            @test (b - a) .* (h .+ w ./ 2) ≈ integral
        end
        w, h = path(0.02, 0.05, 0)
        @test maximum(abs, h) < 1e-15                       # linear below the steps
        @test all(path(0.025, 0.075, 2) .≈ path(0.025, 0.075, 9))   # dyadic nodes are exact
    end
end

@testset "vector field: tangents, adjoints, Jacobian" begin
    rng = MersenneTwister(3)
    n = 3
    function parameters()
        host = SSNN.RingHost(n)
        θ = SSNN.Model(host.problem)
        foreach(a -> a .= 0.5 .+ rand(rng, size(a)...), SSNN.coefficient_arrays(θ))
        return θ
    end
    θ, dθ, θ̄ = parameters(), parameters(), parameters()
    SSNN.clear!(θ̄)
    u, du, bar = randn(rng, 3n), randn(rng, 3n), randn(rng, 3n)
    f_dual = SSNN.network_drift!(Vector{SSNN.Dual}(undef, 3n), SSNN.Dual.(u, du), SSNN.DualModel(θ, dθ), 0.3)
    f_tangent = [y.tangent for y in f_dual]
    u_bar = SSNN.network_drift_adjoint!(zeros(3n), θ̄, u, θ, 0.3, bar)
    parts(p) = SSNN.coefficient_arrays(p)
    @test dot(bar, f_tangent) ≈ dot(u_bar, du) + sum(dot(a, b) for (a, b) in zip(parts(θ̄), parts(dθ)))
    J = SSNN.network_jacobian!(zeros(3n, 3n), u, θ, 0.3)
    for r in 1:3n
        e = [1e-6 * (k == r) for k in 1:3n]
        drift(u) = SSNN.network_drift!(zeros(3n), u, θ, 0.3)
        @test J[:, r] ≈ (drift(u + e) - drift(u - e)) / 2e-6 atol = 1e-7
    end
    G = zeros(3n, 2n)
    @test diag(SSNN.network_noise!(G, u, θ)[1:2n, 1:2n]) == SSNN.network_noise!(zeros(3n), u, θ)[1:2n]
end

@testset "event rule: tangent and adjoint" begin
    rng = MersenneTwister(5)
    n, j = 3, 2
    host = SSNN.RingHost(n)
    synapses = host.problem.synapses
    arrays(p) = (SSNN.coefficient_arrays(p)..., p.weights)
    for hard in (false, true)
        problem = SSNN.Problem((
            name == :hard_reset ? Int(hard) : getfield(host.problem, name) for name in fieldnames(SSNN.Problem)
        )...)
        θ, dθ, θ̄ = (SSNN.Model(problem) for _ in 1:3)
        foreach(p -> SSNN.keep_apart!(p.weights), (θ, dθ, θ̄))
        foreach(a -> a .= 0.5 .+ rand(rng, size(a)...), arrays(θ))
        foreach(a -> a .= randn(rng, size(a)...), arrays(dθ))
        u, du, bar, τ_bar = randn(rng, 3n), randn(rng, 3n), randn(rng, 3n), randn(rng)
        before = SSNN.network_drift!(zeros(3n), u, θ, 0.0)
        u_after = SSNN.transition!(copy(u), θ, synapses, j, -0.7)
        after = SSNN.network_drift!(zeros(3n), u_after, θ, 0.0)
        du_after = copy(du)
        dτ = SSNN.spike_jump_tangent!(du_after, u, before, after, SSNN.DualModel(θ, dθ), synapses, j)
        @test dτ ≈ -du[2n+j] / SSNN.rate(θ.intensity, j, u[j])
        bar_before = SSNN.spike_jump_adjoint!(copy(bar), τ_bar, θ̄, u, before, after, θ, synapses, j)
        moved = sum(dot(a, b) for (a, b) in zip(arrays(θ̄), arrays(dθ)))
        @test dot(bar, du_after) + τ_bar * dτ ≈ dot(bar_before, du) + moved
        # The rule that docs/gradients.md states for this network.
        hard && continue
        @test du_after[j] ≈ du[j] - dθ.v_reset[j] - θ.mu1[j] * θ.v_reset[j] * dτ
        k = SSNN.target(synapses, SSNN.synapses_of(synapses, j)[1])
        w, dw = θ.weights[SSNN.synapses_of(synapses, j)[1]], dθ.weights[SSNN.synapses_of(synapses, j)[1]]
        @test du_after[k] ≈ du[k] - θ.mu1[k] * w * dτ
        @test du_after[n+k] ≈ du[n+k] + dw + θ.mu2[k] * w * dτ
        @test du_after[2n+j] ≈ -dθ.alpha[j] - SSNN.rate(θ.intensity, j, u_after[j]) * dτ
    end
end

@testset "from event to event" begin
    # One neuron: the native solver and this walk are the same map, across events too.
    for (seed, components, saveat) in ((1, 1, [0.5]), (2, 2, [0.0, 0.313, 1.0, 2.0]))
        settings = (numbers = NUMBERS, seed = seed, num_components = components, saveat = saveat)
        native = SSNN.run_host(SSNN.RingHost(1; settings...))
        host = SSNN.RingHost(1; settings...)
        @test native.num_spikes[1] > 2
        @test solve_with(GridEuler, host) ≈ native.spike_times[1:native.num_spikes[1]] rtol = 1e-11
        @test saved_v(host) ≈ saved_v(native) rtol = 1e-9
    end
    # A capacity of three spikes: the walk stops there.
    truncated = SSNN.RingHost(1; max_spikes = 3, saveat = [0.1, 1.9])
    @test length(solve_with(GridEuler, truncated)) == 3
    @test truncated.arrays[end-2] == [0x01]

    # Without noise, tangents are derivatives of the exact solution: compare with finite differences of an accurate one,
    # N = 1 and 2.
    quiet = copy(NUMBERS)
    quiet[3:6] .= 0
    for n in (1, 2), slot in (1, 2, 7, 8, 9, 10, 11, 12, 13, 14)
        accurate(numbers) = SSNN.RingHost(n; numbers = numbers, num_steps = 400, dt = 0.005, saveat = [1.1])
        shifted(h) = (x = copy(quiet); x[slot] += h; x)
        times_dot, v_dot = tangent_with(GridRungeKutta, accurate(quiet), slot)
        up, down = accurate(shifted(1e-5)), accurate(shifted(-1e-5))
        numeric = (solve_with(GridRungeKutta, up) - solve_with(GridRungeKutta, down)) / 2e-5
        @test length(numeric) >= 3
        @test times_dot ≈ numeric rtol = 1e-5 atol = 1e-7
        @test v_dot ≈ (saved_v(up) - saved_v(down)) / 2e-5 rtol = 1e-5 atol = 1e-7
    end

    # With noise, this rule and that of the native engine approach one derivative as the step shrinks.
    differences = map((20, 80, 320, 1280)) do refinement
        errors = map(1:40) do seed
            host() = SSNN.RingHost(1; num_steps = 2 * refinement, dt = 1.0 / refinement, seed = seed, max_spikes = 2)
            abs(tangent_with(GridEuler, host(), 14)[1][1] - SSNN.run_host_tangent(host(), 14)[1])
        end
        sum(errors) / 40
    end
    @test all(differences[2:end] .< 0.7 .* differences[1:end-1])
end

"""What another solver is asked for: the longest stretch, in steps of the grid."""
struct Watched{S<:SSNN.SmoothSolver} <: SSNN.SmoothSolver
    solver::S
    longest::Base.RefValue{Float64}
end

function SSNN.follow(s::Watched, u, a, b)
    s.longest[] = max(s.longest[], (b - a) / s.solver.run.problem.dt)
    return SSNN.follow(s.solver, u, a, b)
end

SSNN.replay(s::Watched, u, du, times) = SSNN.replay(s.solver, u, du, times)

@testset "a long run is walked in stretches of bounded length" begin
    # The second stretch begins at a time of the grid without a spike, where a value is recorded too.
    border = SSNN.STRETCH_STEPS * 4e-4
    settings = (
        numbers = NUMBERS, num_steps = 5000, dt = 4e-4, saveat = [0.5, border, border + 1e-4, 2.0], max_spikes = 20
    )
    @test SSNN.stretch_end(SSNN.RingHost(1; settings...).problem, 0.0) == border
    @test SSNN.stretch_end(SSNN.RingHost(1; settings...).problem, border - 1e-14) == 2.0
    native, host, longest = SSNN.run_host(SSNN.RingHost(1; settings...)), SSNN.RingHost(1; settings...), Ref(0.0)
    @test solve_with((run, directions) -> Watched(GridEuler(run, directions), longest), host) ≈
          native.spike_times[1:native.num_spikes[1]] rtol = 1e-9
    @test saved_v(host) ≈ saved_v(native) rtol = 1e-8
    @test longest[] <= SSNN.STRETCH_STEPS + 1e-6
    # Tangents cross the border, too.
    quiet = [3 <= slot <= 6 ? 0.0 : x for (slot, x) in enumerate(NUMBERS)]
    quiet_host(h) = SSNN.RingHost(1; settings..., numbers = (x = copy(quiet); x[14] += h; x))
    v_dot = tangent_with(GridRungeKutta, quiet_host(0.0), 14)[2]
    up, down = quiet_host(1e-5), quiet_host(-1e-5)
    solve_with(GridRungeKutta, up), solve_with(GridRungeKutta, down)
    @test v_dot ≈ (saved_v(up) - saved_v(down)) / 2e-5 rtol = 1e-5 atol = 1e-7
    # So many grid times that they would fill the memory of any machine: it is the walk that ends here, at the first
    # spike.
    endless = SSNN.RingHost(1; numbers = NUMBERS, num_steps = 10^13, dt = 4e-4, saveat = Float64[], max_spikes = 1)
    @test solve_with(GridEuler, endless) ≈ native.spike_times[1:1] rtol = 1e-9
end

@testset "work for precompilation" begin
    SSNN.precompile_workload()
    @test all(isfinite, SSNN.run_host_adjoint(SSNN.RingHost(2)))
    host = SSNN.run_host(SSNN.RingHost(1))
    @test SSNN.run_host_adjoint(host)[14] ≈ SSNN.run_host_tangent(host, 14)[1]
end
