# Signatures and signature kernels, against closed forms and 256-bit arithmetic.

const Signatures = SSNN.Signatures

"""Trains of one batch in the host's layout; keep the arrays alive while the struct is used."""
function host_trains(times::Matrix{Float64}, neurons::Matrix{Int}, num_neurons, t1)
    return Signatures.SpikeTrains(
        pointer(times), pointer(neurons), size(times, 2), size(times, 1), num_neurons, 0.0, t1, C_NULL,
    )
end

"""Kernel of two single trains in 256 bits: the power series on every cell of their lifts, 60 terms."""
function big_kernel(x_times, x_neurons, y_times, y_neurons, t1)
    # (channel, length): time, spike, time, spike, …, time
    gaps(times) = [(0, big(b) - big(a)) for (a, b) in zip([0.0; times], [times; t1])]
    spikes(neurons) = [(neuron + 1, big(1.0)) for neuron in neurons]
    segments(times, neurons) = [collect(Iterators.flatten(zip(gaps(times), spikes(neurons)))); gaps(times)[end]]
    terms = 60
    f = [1 / factorial(big(n)) for n in 0:2terms]
    bottoms = [[big(1.0); zeros(BigFloat, terms - 1)] for _ in segments(x_times, x_neurons)]
    local left
    for (b, y) in segments(y_times, y_neurons)
        left = [big(1.0); zeros(BigFloat, terms - 1)]
        for (i, (a, x)) in enumerate(segments(x_times, x_neurons))
            c, bottom = a == b ? x * y : big(0.0), bottoms[i]
            far(p, q) = [
                sum(c^n * p[m-n+1] * f[n+1] for n in 0:m) + c^m * sum(q[n+1] * f[m+n+1] for n in 1:terms-1)
                for m in 0:terms-1
            ]
            bottoms[i], left = far(bottom, left), far(left, bottom)
        end
    end
    return sum(left .* f[1:terms])
end

function train_kernel(times, neurons, other_times, other_neurons, num_neurons, t1)
    value, shift = zeros(1), zeros(Int, 1)
    GC.@preserve times neurons other_times other_neurons value shift begin
        X, Y = host_trains(times, neurons, num_neurons, t1), host_trains(other_times, other_neurons, num_neurons, t1)
        job = Signatures.KernelJob(
            1, 1, Signatures.PAIRS, 1, 0, pointer(value), pointer(shift), C_NULL, C_NULL, C_NULL, size(times, 1),
            size(other_times, 1),
        )
        Signatures.train_kernels(X, Y, job)
    end
    return ldexp(value[1], shift[1])
end

@testset "four numbers at once" begin
    a, b = Signatures.lanes(l -> l + 0.5), Signatures.lanes(l -> 10.0 / l)
    for l in 1:4
        @test ((a + b)[l], (a - b)[l], (a * b)[l], (2.0 * a)[l]) == (a[l] + b[l], a[l] - b[l], a[l] * b[l], 2a[l])
        @test [Signatures.with_lane(a, l, 7.0)[m] for m in 1:4] == [m == l ? 7.0 : a[m] for m in 1:4]
    end
end

@testset "one cell" begin
    for c in (1e-8, 1e-3, 0.05, 1.0, 20.0, 200.0)
        J = Signatures.num_coefficient_terms(c)
        p, q, work = zeros(J, 1), zeros(J), Signatures.CellWork{Float64}()
        k = 1 + Signatures.cell!(p, 1, J, q, 1.0, c, 1.0, 1.0, c, c, J, work)
        @test abs(k / sum(big(c)^n / factorial(big(n))^2 for n in 0:150) - 1) < 1e-14
    end
    # Few terms written out give what the loops give.
    for (N, J) in ((4, 3), (6, 4), (8, 5))
        z, c = Signatures.REACH[N], Signatures.REACH[J-1]
        start = [z^m / factorial(m) for m in 1:N]
        L = Signatures.Lanes
        written_out = (reshape(L.(start), N, 1), L.(start))
        looped = deepcopy(written_out)
        a = Signatures.small_cell!(
            written_out[1], 1, written_out[2], L(1.0), L(c), L(1.0), L(1.0), L(c), L(c), Val(N), Val(J),
        )
        b = Signatures.cell!(
            looped[1], 1, N, looped[2], L(1.0), L(c), L(1.0), L(1.0), L(c), L(c), J, Signatures.CellWork{L}(),
        )
        @test abs(a[1] - b[1]) < 1e-15c
        @test all(abs(written_out[1][m, 1][1] - looped[1][m, 1][1]) < 1e-15 for m in 1:N)
    end
end

@testset "kernels of trains" begin
    rng = MersenneTwister(5)
    for (spikes, neurons, t1) in ((0, 1, 5.0), (3, 1, 5.0), (3, 2, 1.0), (12, 4, 1.0))
        times, others = (sort!(t1 .* rand(rng, spikes, 1), dims = 1) for _ in 1:2)
        labels, other_labels = (rand(rng, 0:neurons-1, spikes, 1) for _ in 1:2)
        exact = big_kernel(vec(times), vec(labels), vec(others), vec(other_labels), t1)
        @test abs(train_kernel(times, labels, others, other_labels, neurons, t1) / exact - 1) < 1e-14
    end
end

@testset "signatures" begin
    # One straight piece is a tensor exponential, and undoing a piece gives back what was there.
    S, powers = Signatures.Words(2, 4), Signatures.Words(2, 4)
    Signatures.path_signature!(S, [0.0 0.3; 0.0 -0.7], powers)
    @test S.values[1:6] ≈ [0.3, -0.7, 0.045, -0.105, -0.105, 0.245]
    before = copy(S.values)
    Signatures.prepend_letter!(S, 2, 0.9)
    Signatures.prepend_letter!(S, 2, -0.9)
    @test S.values ≈ before
end
