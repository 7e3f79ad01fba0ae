# Kernels in single precision: the numbers of their functions, and that none of double precision is left in them.

const Single = SSNN.single_module()

@testset "elementary functions of single precision" begin
    for x in range(-87.0f0, 88.0f0; length = 2001)
        @test abs(Single.fast_exp(x) / exp(big(x)) - 1) < 4eps(Float32)
    end
    @test 0 < Single.fast_exp(-1.0f6) < 1.0f-37
    @test isfinite(Single.fast_exp(1.0f6))
    for u in [rand(MersenneTwister(1), Float32, 2000); 2.0f0^-53; prevfloat(1.0f0); 0.5f0; sqrt(0.5f0)]
        u == 0 && continue
        @test abs(Single.fast_log(u) / log(big(u)) - 1) < 4eps(Float32)
        s, c = Single.fast_sincos_turn(u)
        @test abs(s - sin(2 * big(pi) * u)) < 4eps(Float32)
        @test abs(c - cos(2 * big(pi) * u)) < 4eps(Float32)
        s, c = Single.fast_sincos(2.0f3 * (u - 0.5f0))
        @test abs(s - sin(big(2.0f3 * (u - 0.5f0)))) < 4eps(Float32)
        @test abs(c - cos(big(2.0f3 * (u - 0.5f0)))) < 4eps(Float32)
    end
    for x in (1.0f0, 0.75f0, 3.0f-5, 2.0f10), n in 0:20
        @test Single.halvings(x, x / 2.0f0^n) == n
        @test Single.exponent_of(x) == SSNN.exponent_of(Float64(x)) == floor(Int, log2(x))
    end
    @test !(Single.halvings(1.0f0, 0.3f0) in 0:20)
end

@testset "draws of single precision are those of double, rounded" begin
    @test 0 < Single.uniform(UInt64(0)) < Single.uniform(typemax(UInt64)) < 1
    for word in rand(MersenneTwister(2), UInt64, 2000) .>> rand(MersenneTwister(3), 0:50, 2000)
        @test Single.uniform(word) ≈ SSNN.uniform(word) rtol = eps(Float32)
    end
    for n in 1:2000
        key, counter = (UInt64(7), UInt64(n)), (UInt64(n), UInt64(1))
        @test maximum(abs.(Single.normal_pair(key, counter) .- SSNN.normal_pair(key, counter))) < 4.0f-6
        @test Single.threshold(key, n, 0) ≈ SSNN.threshold(key, n, 0) rtol = 4.0f-7 atol = 4.0f-7
    end
end

@testset "groups of lanes of single precision fire when the native engine does" begin
    for (lanes, solver) in ((1, "euler_maruyama"), (3, "exact_ou"))
        native, group = (SSNN.RingHost(5; solver = solver, num_samples = 2, max_spikes = 30) for _ in 1:2)
        SSNN.run_host(native)
        device = SSNN.SinglePrecision(SSNN.Emulation(lanes))
        GC.@preserve group SSNN.solve_on_device(group.problem, group.outputs, nothing, device)
        there = isfinite.(native.spike_times)
        @test count(there) > 10
        @test isfinite.(group.spike_times) == there
        @test group.spike_times[there] ≈ native.spike_times[there] rtol = 1e-5
        @test group.spike_times[there] == Float32.(group.spike_times[there])
    end
end

# --- what kernels compile to ------------------------------------------------------------------------------------------

include("doubles.jl")

"""What a network is launched with: a forward run, one with a tangent, and reverse mode."""
function launched(solver, precision)
    host, slot = SSNN.RingHost(3; solver = solver, num_samples = 2), 14
    numbers, times = ones(host.num_slots), ones(host.problem.max_spikes * host.problem.num_samples)
    states = [zeros(host.problem.num_neurons * host.problem.num_saves * host.problem.num_samples) for _ in 1:2]
    recorded = map(pointer, states)
    one = [SSNN.Coefficient(s == slot ? pointer(numbers, s) : C_NULL, 0, 0, 0, 0) for s in 1:host.num_slots]
    all = [SSNN.Coefficient(pointer(numbers, s), 0, 0, 0, 0) for s in 1:host.num_slots]
    noting = Noting(false, [])
    device = precision(noting)
    GC.@preserve host numbers times states recorded one all begin
        tangents = SSNN.TangentOutputs(1, pointer(one), SSNN.NOT_GIVEN, pointer(times), pointer(recorded), 2)
        data = SSNN.AdjointData(pointer(times), C_NULL, 0, pointer(all), SSNN.NOT_GIVEN)
        SSNN.solve_on_device(host.problem, host.outputs, nothing, device)
        SSNN.solve_on_device(host.problem, host.outputs, tangents, device)
        SSNN.pull_back_on_device(host.problem, data, device)
    end
    return noting.calls
end

@testset "no number of double precision is left in kernels of single precision" begin
    @test length(doubles(launched("euler_maruyama", identity)...)) > 10
    for solver in ("euler_maruyama", "milstein", "shark", "exact_ou")
        calls = launched(solver, SSNN.SinglePrecision)
        @test length(calls) == 3
        @test doubles(calls...) == String[]
    end
end
