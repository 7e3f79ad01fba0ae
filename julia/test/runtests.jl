# Tests of the core that need no host. On a modern Julia: `julia --project=julia -e 'using Pkg; Pkg.test()'`; on any:
# `include` this file.

using Test, Random

if !isdefined(@__MODULE__, :SSNN)
    include(joinpath(@__DIR__, "..", "src", "SSNN.jl"))
end

@testset "elementary functions" begin
    for x in range(-700.0, 700.0; length = 2001)
        @test abs(SSNN.fast_exp(x) / exp(big(x)) - 1) < 4eps()
    end
    @test SSNN.fast_exp(-1e6) < 1e-300
    @test isfinite(SSNN.fast_exp(1e6))
    for u in [rand(MersenneTwister(1), 2000); 0x1p-53; 1 - 0x1p-53; 0.5; sqrt(0.5)]
        @test abs(SSNN.fast_log(u) / log(big(u)) - 1) < 4eps()
        s, c = SSNN.fast_sincos_turn(u)
        @test abs(s - sin(2 * big(pi) * u)) < 4eps()
        @test abs(c - cos(2 * big(pi) * u)) < 4eps()
    end
end

@testset "generator" begin
    all_bits = typemax(UInt64)
    answers = [
        ((0x0, 0x0), (0x0, 0x0), (0xc2b6e3a8c2c69865, 0x6f81ed42f350084d)),
        ((all_bits, all_bits), (all_bits, all_bits), (0xe02cb7c4d95d277a, 0xd06633d0893b8b68)),
        (
            (0xa4093822299f31d0, 0x082efa98ec4e6c89), (0x243f6a8885a308d3, 0x13198a2e03707344),
            (0x263c7d30bb0f0af1, 0x56be8361d3311526),
        ),
    ]
    for (key, counter, answer) in answers
        @test SSNN.threefry(UInt64.(key), UInt64.(counter)) == answer
    end
    @test 0 < SSNN.uniform(UInt64(0)) < SSNN.uniform(typemax(UInt64)) < 1
end

@testset "noise window" begin
    for (neurons, components) in ((1, 1), (1, 2), (3, 2), (100, 1))
        window = SSNN.reset!(SSNN.NoiseWindow(neurons, components), (UInt64(4), UInt64(2)))
        seen = Dict{NTuple{3,Int},Float64}()
        for step in [0:150; 40; 3; 97], k in 1:neurons, c in 1:components
            normals, offset = SSNN.normals!(window, step)
            value = normals[offset+k+(c-1)*neurons]
            pair = SSNN.normal_pair(
                (UInt64(4), UInt64(2)), (UInt64(step >> 1), SSNN.counter_word(SSNN.INCREMENT, c - 1, k - 1)),
            )
            @test value == (iseven(step) ? pair[1] : pair[2])
            @test get!(seen, (step, k, c), value) == value
        end
        values_seen = collect(values(seen))
        @test length(unique(values_seen)) == length(values_seen)
    end
end

@testset "a second call of the same shape makes no worker and gives the same numbers" begin
    SSNN.forget_plans!()
    function all_of(host)
        SSNN.run_host(host)
        return copy(host.spike_times), SSNN.run_host_tangent(host, 14), SSNN.run_host_adjoint(host)
    end
    host(; settings...) = SSNN.RingHost(2; num_samples = 3, settings...)
    fresh = all_of(host())
    made = SSNN.WORKERS_MADE[]
    all_of(host(seed = 9))
    @test all_of(host()) == fresh
    @test SSNN.WORKERS_MADE[] == made
    for steps in 41:60
        SSNN.run_host(host(num_steps = steps))
    end
    @test length(SSNN.PLANS) <= SSNN.MAX_PLANS
    SSNN.forget_plans!()
    @test isempty(SSNN.PLANS)
end

@testset "chunks" begin
    for samples in (1, 2, 63, 64, 65, 1000)
        @test vcat(collect.(SSNN.chunk_ranges(samples))...) == 1:samples
    end
    for threads in (1, 4)
        done = zeros(Int, 100)
        SSNN.foreach_chunk((worker, chunk, samples) -> done[samples] .+= 1, 100, threads)
        @test all(done .== 1)
        @test_throws Exception SSNN.foreach_chunk((w, c, s) -> error("in a task"), 100, threads)
    end
end

@testset "intensities and currents: derivatives" begin
    λ = SSNN.ExponentialIntensity([4.0], [0.9], [0.3], 2.0)
    rate(v, beta = 4.0, v_th = 0.9, tau = 0.3) = SSNN.rate(SSNN.ExponentialIntensity([beta], [v_th], [tau], 2.0), 1, v)
    h = 1e-6
    for v in (-1.0, 0.9, 2.5, 3.5)
        r = SSNN.rate(λ, 1, v)
        @test SSNN.slope(λ, 1, v, r) ≈ (rate(v + h) - rate(v - h)) / 2h rtol = 1e-7
        direction = SSNN.ExponentialIntensity([0.3], [-0.7], [0.2], 2.0)
        change = (rate(v, 4 + 0.3h, 0.9 - 0.7h, 0.3 + 0.2h) - rate(v, 4 - 0.3h, 0.9 + 0.7h, 0.3 - 0.2h)) / 2h
        @test SSNN.rate_tangent(λ, direction, 1, v, r) ≈ change rtol = 1e-6
        bar = SSNN.ExponentialIntensity([0.0], [0.0], [0.0], 2.0)
        SSNN.rate_adjoint!(bar, λ, 1, v, r, 1.0)
        @test 0.3bar.beta[1] - 0.7bar.v_th[1] + 0.2bar.tau[1] ≈ change rtol = 1e-6
    end
    linear = SSNN.SampledCurrent{true}([0.0, 1.0, 3.0], reshape([1.0, 2.0, 0.0], 3, 1))
    held = SSNN.SampledCurrent{false}([0.0, 1.0, 3.0], reshape([1.0, 2.0, 0.0], 3, 1))
    @test [SSNN.current(linear, 1, t) for t in (-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 9.0)] == [1, 1, 1.5, 2, 1, 0, 0]
    @test [SSNN.current(held, 1, t) for t in (-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 9.0)] == [1, 1, 1, 2, 2, 0, 0]
    @test [SSNN.current_rate(linear, 1, t) for t in (-1.0, 0.5, 2.0, 9.0)] == [0, 1, -1, 0]
end

# λ(v) = (a + v)⁴, a parameter of its own, and nothing said of its mean.
struct QuarticIntensity <: SSNN.Intensity
    a::Vector{Float64}
end
SSNN.rate(λ::QuarticIntensity, k, v) = (λ.a[k] + v)^4
SSNN.slope(λ::QuarticIntensity, k, v, rate) = 4 * (λ.a[k] + v)^3
SSNN.rate_tangent(λ::QuarticIntensity, dλ::QuarticIntensity, k, v, rate) = 4 * (λ.a[k] + v)^3 * dλ.a[k]
SSNN.rate_adjoint!(λ̄::QuarticIntensity, λ::QuarticIntensity, k, v, rate, bar) = λ̄.a[k] += bar * 4 * (λ.a[k] + v)^3

@testset "mean rates" begin
    λ(a) = QuarticIntensity([a])
    # Gauss and Hermite's rule of three points is exact up to the fifth power: E(x + ξ)⁴ = x⁴ + 6x²V + 3V².
    @test SSNN.mean_rate(λ(0.3), 1, 0.5, 0.2) ≈ 0.8^4 + 6 * 0.8^2 * 0.2 + 3 * 0.2^2
    exponential(beta = 4.0) = SSNN.ExponentialIntensity([beta], [0.9], [0.3], 10.0)
    @test SSNN.mean_rate(exponential(), 1, 0.5, 0.2) ≈ exp(4.0 * (0.5 - 0.9) + 4.0^2 * 0.2 / 2) / 0.3
    h = 1e-6
    for (at, v, variance) in ((λ, 0.5, 0.2), (λ, -1.0, 0.01), (exponential, 0.5, 0.2), (exponential, 1.2, 0.01))
        p, (dp, dv, dvariance) = at === λ ? 0.3 : 4.0, (0.7, -0.4, 0.3)
        moved(s) = SSNN.mean_rate(at(p + s * h * dp), 1, v + s * h * dv, variance + s * h * dvariance)
        direction = at === λ ? λ(dp) : SSNN.ExponentialIntensity([dp], [0.0], [0.0], 10.0)
        value, tangent = SSNN.mean_rate_with_tangent(at(p), direction, 1, v, variance, dv, dvariance)
        @test value ≈ moved(0)
        @test tangent ≈ (moved(1) - moved(-1)) / 2h rtol = 1e-7
        bar = at === λ ? λ(0.0) : SSNN.ExponentialIntensity([0.0], [0.0], [0.0], 10.0)
        v_bar, variance_bar = SSNN.mean_rate_adjoint!(bar, at(p), 1, v, variance, 1.0, true)
        p_bar = at === λ ? bar.a[1] : bar.beta[1]
        @test p_bar * dp + v_bar * dv + variance_bar * dvariance ≈ tangent
    end
    @test all(isfinite, SSNN.mean_rate_with_tangent(λ(0.3), λ(1.0), 1, 0.5, 0.0, 1.0, 0.0))
end

@testset "a solver's step is a function of its arguments: what it has prepared changes no number, and no step it" begin
    h, x = 0.1, SSNN.Increment((0.2,), (-0.03,))
    θ = SSNN.Run(SSNN.RingHost(2).problem).θ
    foreach((array, value) -> fill!(array, value), SSNN.coefficient_arrays(θ), SSNN.RING_COEFFICIENTS)
    held(solver) = deepcopy([getfield(solver, name) for name in fieldnames(typeof(solver))])
    for (name, make) in SSNN.SOLVERS
        solver = make()
        SSNN.prepare!(solver, θ, h)
        step(length) = SSNN.one_step(solver, θ, 1, (0.4, 0.1, -1.0), 0.3, length, x)
        lengths = h ./ 2.0 .^ (0:6)
        kept = held(solver)
        before = map(step, lengths)
        unchanged = isequal(held(solver), kept)
        @test unchanged
        SSNN.prepare_refinement!(solver, θ, 1, 5)
        kept = held(solver)
        @test all(map((a, b) -> all(a .≈ b), map(step, lengths), before))
        unchanged = isequal(held(solver), kept)
        @test unchanged
        name == "exact_ou" && @test solver.depths == [5]
    end
end

@testset "groups of lanes fire when the native engine does" begin
    # With 1 as the size from which networks are large, their steps are kernels of their own.
    for (lanes, solver, large) in
        ((1, "euler_maruyama", nothing), (3, "stochastic_heun", nothing), (3, "stochastic_heun", 1))
        native, group = (SSNN.RingHost(5; solver = solver, num_samples = 2, max_spikes = 30) for _ in 1:2)
        SSNN.run_host(native)
        SSNN.LARGE_FROM[] = large
        GC.@preserve group SSNN.solve_on_device(group.problem, group.outputs, nothing, SSNN.Emulation(lanes))
        SSNN.LARGE_FROM[] = nothing
        there = isfinite.(native.spike_times)
        @test count(there) > 10
        @test isfinite.(group.spike_times) == there
        @test group.spike_times[there] ≈ native.spike_times[there] rtol = 1e-12
    end
end

@testset "failures become statuses" begin
    @test SSNN.report_failure(SSNN.Interrupted()) == SSNN.STATUS_INTERRUPTED
    @test SSNN.report_failure(ErrorException("plain words")) == SSNN.STATUS_ERROR
    @test SSNN.LAST_ERROR[] == "plain words"
    task = Threads.@spawn error("from a task")
    try
        wait(task)
    catch err
        SSNN.report_failure(err)
    end
    @test SSNN.LAST_ERROR[] == "from a task"
    @test_throws ArgumentError SSNN.lookup(SSNN.SOLVERS, "solver", "unheard of")
end

include("single_tests.jl")
include("signature_tests.jl")
include("sciml_tests.jl")
include("sciml_adjoint_tests.jl")
