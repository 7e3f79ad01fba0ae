# Reverse mode of the walk from event to event, with a solver and its adjoint written here: on a piece made smooth by
# parabolas both are Runge and Kutta's classical scheme, so that the reverse walk must equal the tangents to rounding,
# spikes included. Included after sciml_tests.jl.

"""Gradients of Σ bars·(spike times, v, i): (slot, neuron), and of the weight."""
function adjoint_with(
    make, host, times_bar, v_bar, i_bar; threads = 1, num_samples = 1, first_sample = 0, per_sample = false,
)
    n = Int(host.problem.num_neurons)
    problem = SSNN.Problem((
        name == :threads ? threads : name == :num_samples ? num_samples :
        name == :first_sample ? first_sample : getfield(host.problem, name)
        for name in fieldnames(SSNN.Problem)
    )...)
    gradients, weight_bar = zeros(n, host.num_slots, num_samples), [0.0]
    table = [
        SSNN.Coefficient(pointer(gradients, 1 + n * (s - 1)), 0, per_sample ? n * host.num_slots : 0, 1, 0)
        for s in 1:host.num_slots
    ]
    recorded = [pointer(v_bar), pointer(i_bar)]
    data = SSNN.AdjointData(
        pointer(times_bar), pointer(recorded), 2, pointer(table),
        SSNN.PerSynapse(pointer(weight_bar), 0, 0),
    )
    GC.@preserve host gradients weight_bar table times_bar v_bar i_bar recorded begin
        groups = map(1:SSNN.num_workers(problem)) do _
            run = SSNN.SciMLRun(problem)
            [SSNN.WalkAdjointWorker(run, make(run, typeof(run.θ)[]), RungeKuttaAdjoint(), 5, data)]
        end
        SSNN.adjoint(groups, problem, data)
    end
    return per_sample ? gradients : gradients[:, :, 1], weight_bar[1]
end

"""The same scalar's derivative in one coordinate (slot 0 is the weight), forwards."""
function forward_with(make, host, slot, neuron, times_bar, v_bar, i_bar)
    n, p = Int(host.problem.num_neurons), host.problem
    unit, one_weight, nowhere = [1.0 * (k == neuron) for k in 1:n], [1.0], SSNN.Coefficient(C_NULL, 0, 0, 0, 0)
    times, v, i = zeros(p.max_spikes), zeros(n * p.num_saves), zeros(n * p.num_saves)
    table = [s == slot ? SSNN.Coefficient(pointer(unit), 0, 0, 1, 0) : nowhere for s in 1:host.num_slots]
    weights = slot == 0 ? SSNN.PerSynapse(pointer(one_weight), 0, 0) : SSNN.NOT_GIVEN
    recorded = [pointer(v), pointer(i)]
    outputs = SSNN.TangentOutputs(1, pointer(table), weights, pointer(times), pointer(recorded), 2)
    run = SSNN.SciMLRun(p)
    GC.@preserve host unit one_weight table times v i recorded begin
        observer = SSNN.TangentObserver(run, outputs)
        SSNN.solve_from_event_to_event!(run, observer, make(run, observer.directions), host.outputs, 1)
    end
    return dot(times, times_bar) + dot(v, v_bar) + dot(i, i_bar)
end

@testset "reverse walk equals the tangents; (neurons, components, spikes) = $case" for case in
    ((1, 1, 8), (1, 2, 8), (3, 2, 64), (3, 1, 5))
    n, components, spikes = case
    rng = MersenneTwister(100n + components)
    # Times at the start, on the grid, off it, twice within a step, and at the end.
    saveat = [0.0, 0.35, 0.5, 0.513, 0.52, 1.07, 2.0]
    host() = SSNN.RingHost(
        n; numbers = NUMBERS, num_components = components, saveat = saveat, max_spikes = spikes, seed = 2,
    )
    make = ParabolaRungeKutta
    forward = host()
    fired = length(solve_with(make, forward))
    @test fired >= 3
    bars = randn(rng, spikes), randn(rng, n * length(saveat)), randn(rng, n * length(saveat))
    gradients, weight_bar = adjoint_with(make, host(), bars...)
    # Cotangents of what is not there do not count.
    reached = forward.arrays[end-2] == [0x01] ? count(t -> t <= forward.spike_times[fired], saveat) : length(saveat)
    keep(bar, kept) = [bar[1:kept]; zeros(length(bar) - kept)]
    masked = keep(bars[1], fired), keep(bars[2], n * reached), keep(bars[3], n * reached)
    for slot in 1:forward.num_slots, k in 1:n
        components == 1 && slot in (4, 6) && continue
        @test gradients[k, slot] ≈ forward_with(make, host(), slot, k, masked...) rtol = 1e-9 atol = 1e-9
    end
    n > 1 && @test weight_bar ≈ forward_with(make, host(), 0, 1, masked...) rtol = 1e-9 atol = 1e-9
    n > 1 && @test abs(weight_bar) > 1e-3
end

@testset "reverse walk: samples, chunks and threads" begin
    host() = SSNN.RingHost(2; numbers = NUMBERS, num_components = 2, max_spikes = 6, saveat = [0.7])
    rng, S = MersenneTwister(9), 5
    bars = randn(rng, 6, S), randn(rng, 2, S), randn(rng, 2, S)
    one = adjoint_with(ParabolaRungeKutta, host(), bars...; num_samples = S)
    many = adjoint_with(ParabolaRungeKutta, host(), bars...; num_samples = S, threads = 2)
    @test one == many
    parts = [
        adjoint_with(ParabolaRungeKutta, host(), map(bar -> bar[:, s], bars)...; first_sample = s - 1) for s in 1:S
    ]
    @test one[1] ≈ sum(first, parts)
    @test one[2] ≈ sum(last, parts)
    each, _ = adjoint_with(ParabolaRungeKutta, host(), bars...; num_samples = S, per_sample = true)
    @test all(each[:, :, s] ≈ parts[s][1] for s in 1:S)
end

@testset "reverse walk after another solver: towards its tangents as the step shrinks" begin
    # Euler and Maruyama's scheme goes forwards, the smooth piece backwards.
    errors = map((20, 80, 320)) do refinement
        sum(1:20) do seed
            host() = SSNN.RingHost(1; num_steps = 2refinement, dt = 1 / refinement, seed = seed, max_spikes = 3)
            bars = [0.0, 0.0, 1.0], [0.0], [0.0]
            abs(adjoint_with(GridEuler, host(), bars...)[1][1, 14] - forward_with(GridEuler, host(), 14, 1, bars...))
        end / 20
    end
    @info "mean difference of the two modes as dt is divided by 4: $errors"
    @test errors[3] < errors[1] / 4
end

@testset "reverse walk: what it refuses" begin
    host = SSNN.RingHost(1; solver = "sciml:EM")
    table = fill(SSNN.Coefficient(C_NULL, 0, 0, 0, 0), host.num_slots)
    data = SSNN.AdjointData(C_NULL, C_NULL, 0, pointer(table), SSNN.NOT_GIVEN)
    GC.@preserve host table if SSNN.SCIML_HOOK[] === nothing
        @test_throws ErrorException SSNN.sciml_adjoint(host.problem, data, (sensealg = :InterpolatingAdjoint,))
    end
end

@testset "reverse walk over the border of two stretches without a spike" begin
    border = SSNN.STRETCH_STEPS * 4e-4
    settings = (
        numbers = NUMBERS, num_components = 2, num_steps = 4200, dt = 4e-4, saveat = [border, border + 3e-4],
        max_spikes = 20,
    )
    host() = SSNN.RingHost(1; settings...)
    bars = randn(MersenneTwister(9), 20), [0.7, -0.4], [0.1, 0.9]
    fired = length(solve_with(ParabolaRungeKutta, host()))
    bars[1][fired+1:end] .= 0.0
    gradients = adjoint_with(ParabolaRungeKutta, host(), bars...)[1]
    for slot in (1, 3, 7, 14)
        @test gradients[1, slot] ≈ forward_with(ParabolaRungeKutta, host(), slot, 1, bars...) rtol = 1e-9 atol = 1e-9
    end
end
