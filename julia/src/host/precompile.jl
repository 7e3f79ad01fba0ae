# What a first call would compile, done while Julia (1.9 or newer) precompiles the package: one small solve, tangent and
# adjoint of each kind of network, and what training asks for. An older one would keep inferred types only, and make
# code of them that takes event-free steps at half the speed.

using .Signatures: KernelJob, PAIRS, SpikeTrains, signature_length
using .Signatures: ssnn_expected_signature_loss, ssnn_train_kernels, ssnn_train_signatures

# The coefficients of a `RingHost`, and their values where no others are given.
const RING_COEFFICIENTS = (
    mu1 = 5.0, mu2 = 2.0, sigma11 = 0.25, sigma12 = 0.0, sigma21 = 0.0, sigma22 = 0.0, v_reset = 1.4, alpha = 0.03,
    v0 = 0.0, i0 = 0.1,
    beta = 5.0, v_th = 1.0, tau = 1.0, input_current = 1.5,
)

"""
A host of the core within Julia: a network of `n` neurons in a ring, and the arrays behind its `Problem`; as many
threads as samples.
"""
struct RingHost
    problem::Problem
    outputs::Outputs
    names::Tuple
    arrays::Tuple
    num_slots::Int
    spike_times::Vector{Float64}
    num_spikes::Vector{Int}
end

function RingHost(
    n; solver = "euler_maruyama", num_steps = 40, dt = 0.05, max_spikes = 8, saveat = [0.5], sigma22 = 0.0,
    numbers = nothing, num_components = 1, seed = 1, num_samples = 1,
)
    texts = (solver, "slif", "exponential", "constant", "constant", "brownian")
    coefficient_names = join(keys(RING_COEFFICIENTS), '\n')
    numbers = something(numbers, collect(Float64, values(merge(RING_COEFFICIENTS, (sigma22 = sigma22,)))))
    coefficients = [Coefficient(pointer(numbers, slot), 0, 0, 0, 0) for slot in eachindex(numbers)]
    weight, settings, knots = [0.2], [10.0], Float64[]
    indptr, targets = n == 1 ? (zeros(Int, 2), Int32[]) : (collect(0:n), Int32[mod(j, n) for j in 1:n])
    synapses = Synapses(
        pointer(indptr), pointer(targets), C_NULL, n, length(targets), length(targets), 0,
        PerSynapse(pointer(weight), 0, 0), NOT_GIVEN,
    )
    spike_times, spike_neurons = fill(Inf, max_spikes * num_samples), fill(-1, max_spikes * num_samples)
    num_spikes, truncated = zeros(Int, num_samples), zeros(UInt8, num_samples)
    states = [zeros(n * length(saveat) * num_samples) for _ in 1:2]
    recorded = map(pointer, states)
    problem = Problem(
        n, num_samples, 0, seed, 0.0, num_steps * dt, dt, num_steps, max_spikes, num_samples, num_components, 0, 0, 0,
        pointer.(texts[1:5])..., pointer(coefficients), pointer(coefficient_names),
        pointer(settings), 1, pointer(knots), 0, synapses, pointer(saveat), length(saveat), NO_INSERTIONS, NO_INPUTS,
        pointer(texts[6]), NO_PATH, NO_JUMPS, NO_RECORDING, AT_T0,
    )
    outputs =
        Outputs(pointer.((spike_times, spike_neurons, num_spikes, truncated))..., C_NULL, pointer(recorded), 2)
    keep = (
        numbers, coefficients, weight, settings, knots, indptr, targets, saveat, spike_neurons, truncated, states,
        recorded,
    )
    return RingHost(problem, outputs, (texts..., coefficient_names), keep, length(numbers), spike_times, num_spikes)
end

"""Where a value is that stands for the host's."""
address(reference::Ref{T}) where {T} = Base.unsafe_convert(Ptr{T}, reference)

"""Raise where an entry point has failed."""
function check_status(status)
    status == STATUS_OK || throw(ErrorException(LAST_ERROR[]))
end

"""Solve it."""
function run_host(host::RingHost)
    problem, outputs = Ref(host.problem), Ref(host.outputs)
    GC.@preserve host problem outputs check_status(ssnn_solve(address(problem), address(outputs)))
    return host
end

"""Tangents of its spike times in the direction of one coefficient."""
function run_host_tangent(host::RingHost, slot)
    unit, times = [1.0], zeros(host.problem.max_spikes * host.problem.num_samples)
    states = [zeros(host.problem.num_neurons * host.problem.num_saves * host.problem.num_samples) for _ in 1:2]
    recorded = map(pointer, states)
    table = [Coefficient(s == slot ? pointer(unit) : C_NULL, 0, 0, 0, 0) for s in 1:host.num_slots]
    problem, outputs = Ref(host.problem), Ref(host.outputs)
    tangents = Ref(TangentOutputs(1, pointer(table), NOT_GIVEN, pointer(times), pointer(recorded), 2))
    GC.@preserve host unit times states recorded table problem outputs tangents begin
        check_status(ssnn_solve_tangent(address(problem), address(outputs), address(tangents)))
    end
    return times
end

"""Gradient of its first spike's time in all coefficients."""
function run_host_adjoint(host::RingHost)
    times_bar, gradients = [1.0; zeros(host.problem.max_spikes * host.problem.num_samples - 1)], zeros(host.num_slots)
    table = [Coefficient(pointer(gradients, s), 0, 0, 0, 0) for s in 1:host.num_slots]
    problem = Ref(host.problem)
    data = Ref(AdjointData(pointer(times_bar), C_NULL, 0, pointer(table), NOT_GIVEN))
    GC.@preserve host times_bar gradients table problem data check_status(ssnn_adjoint(address(problem), address(data)))
    return gradients
end

"""Signatures of two trains of one spike each, the loss made of them, and the kernel of one with the other."""
function run_signatures(depth = 3)
    times, neurons, value, times_bar = [0.2, 0.5], zeros(Int, 2), [0.0], zeros(2)
    out = zeros(2 * signature_length(2, depth))
    exponents, weights = [0], [1.0]
    trains(s) = Ref(SpikeTrains(pointer(times, s), pointer(neurons, s), 3 - s, 1, 1, 0.0, 1.0, C_NULL))
    both, second, null = trains(1), trains(2), Ptr{Float64}(C_NULL)
    arrays = pointer(value), pointer(exponents), pointer(weights), pointer(times_bar)
    job = Ref(KernelJob(1, 1, PAIRS, 1, 0, arrays..., null, 1, 1))
    GC.@preserve times neurons out value times_bar exponents weights both second job begin
        check_status(ssnn_train_signatures(address(both), depth, 2, pointer(out)))
        check_status(ssnn_expected_signature_loss(
            address(both), address(both), null, depth, 1, 2, pointer(value), pointer(times_bar), null,
        ))
        check_status(ssnn_train_kernels(address(second), address(both), address(job), null))
    end
    return value[1]
end

"""Do `work` as on several threads: Julia precompiles on one, and would keep nothing of what several need."""
function with_spare_thread(work)
    SPARE_THREADS[] = 1
    try
        work()
    finally
        SPARE_THREADS[] = 0
    end
end

# What a host calls first; others are compiled when they are called.
const FIRST_ENTRY_POINTS = (
    "ssnn_last_error", "ssnn_interface_version", "ssnn_set_cancel_flag", "ssnn_solve", "ssnn_solve_tangent",
    "ssnn_adjoint", "ssnn_train_signatures", "ssnn_expected_signature_loss", "ssnn_train_kernels", "ssnn_sciml_solve",
)

"""The work whose compiled code the package keeps."""
function precompile_workload()
    try
        with_spare_thread() do
            for solver in sort(collect(keys(SOLVERS))), n in (1, 2)
                host = RingHost(n; solver = solver, num_samples = 2)
                for _ in ("with new workers", "with those that were kept")
                    run_host(host)
                    run_host_tangent(host, 14)
                    run_host_adjoint(host)
                end
            end
            run_signatures()
        end
        start_facts()
        foreach(entry_point, FIRST_ENTRY_POINTS)
    finally
        forget_plans!()             # they hold addresses of this process
        WORKERS_MADE[] = 0
    end
end

"""Do a package's work for precompilation where Julia (1.9 or newer) precompiles it."""
function do_while_precompiling(work)
    VERSION >= v"1.9" && ccall(:jl_generating_output, Cint, ()) == 1 || return
    try
        work()
    catch err               # costs time later, and not the package
        @warn "work for precompilation failed" exception = (err, catch_backtrace())
    end
end

do_while_precompiling(precompile_workload)
