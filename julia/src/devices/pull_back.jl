# Reverse mode of a problem on a device.

# Memory for the tape of a sample. Longer ones are cut into segments.
const TAPE_BYTES = Ref(2^25)

"""How much a sample may put on a tape at most, and how much there is memory for."""
struct TapeSizes
    steps::Int                      # of a segment
    marks::Int
    places::Int
    checkpoints::Int
end

function TapeSizes(problem::Problem, M, scale)
    n, steps, spikes = Int(problem.num_neurons), Int(problem.num_steps), Int(problem.max_spikes)
    synapses, inputs, saves = problem.synapses, Int(problem.inputs.num_spikes), Int(problem.num_saves)
    from_neurons, from_channels = longest_row(synapses, 1:n), longest_row(synapses, n+1:Int(synapses.num_sources))
    delivered = (synapses.delayed == 1 ? spikes * from_neurons : 0) + inputs * from_channels
    eventful = min(steps, spikes + delivered + saves)
    marks = spikes + delivered + saves + eventful
    places = 1 + spikes * (1 + (synapses.delayed == 1 ? 0 : from_neurons)) + delivered + n * (saves + eventful)
    bytes = (8 * M + 1) * n * steps + sizeof(Mark) * marks + (8 * M + 8) * places
    part = scale * TAPE_BYTES[] / bytes
    part >= 1 && return TapeSizes(steps, marks, places, 1)
    fewer(count, least) = min(count, max(ceil(Int, part * count), least))
    short = TapeSizes(
        fewer(steps, isqrt(steps) + 1), fewer(marks, 64), fewer(places, 4 * (n + from_neurons + from_channels + 1)), 0,
    )
    segments = cld(steps, short.steps) + 2 * cld(marks, short.marks) + 2 * cld(places, short.places) + 1
    return TapeSizes(short.steps, short.marks, short.places, min(segments, steps))
end

"""The most synapses that any of these neurons or channels has."""
longest_row(synapses::Synapses, sources) =
    mapreduce(source -> length(row(synapses, source)), max, sources; init = 0)

bytes(sizes::TapeSizes, n, M) =
    (8 * M + 1) * n * sizes.steps + sizeof(Mark) * sizes.marks + (8 * M + 8) * sizes.places +
    8 * (M + 1) * n * sizes.checkpoints

# Cotangents of spikes and of recorded values are `there`, in the device's memory, if that is not 0.
@entry_point function ssnn_device_adjoint(
    problem_pointer::Ptr{Problem}, data_pointer::Ptr{AdjointData}, there::Int64, precision::Ptr{UInt8},
    device::Ptr{UInt8},
)
    pull_back_on_device(
        unsafe_load(problem_pointer), unsafe_load(data_pointer),
        device_named(unsafe_string(device), unsafe_string(precision)), there != 0,
    )
end

"""Gradients on a device, added to the host's."""
function pull_back_on_device(problem::Problem, data::AdjointData, device::Device, there = false)
    θ = Model(problem)
    solver = lookup(SOLVERS, "solver", unsafe_string(problem.solver))()
    Base.invokelatest(
        pull_back_on_device, problem, data, device, there, θ, solver, Val(num_variables(typeof(θ))),
        Val(Int(problem.num_components)),
    )
end

function pull_back_on_device(
    problem, data, device::Device, there::Bool, θ::Model, solver, ::Val{M}, ::Val{C},
) where {M,C}
    places, num_samples = coefficient_places(problem, θ), Int(problem.num_samples)
    list, wanted = host_table(problem.coefficients, places), host_table(data.gradients, places)
    n, scale = Int(problem.num_neurons), 1
    start = 1
    while start <= num_samples
        check_cancelled()
        sizes = TapeSizes(problem, M, scale)
        each = bytes_per_sample(problem, M, C, DEEPEST, 1) + bytes(sizes, n, M) +
            8 * (length(coefficient_arrays(θ)) * n + length(problem.synapses)) +
            3 * 8 * M * n * Int(problem.num_saves) + PIECES_KEPT[] * most_lanes(device, n) * 8 * (5 + M + 2 * C)
        samples = start:min(start + clamp(free_memory(device) ÷ each, 1, num_samples) - 1, num_samples)
        packed_θ = packed(θ, list, problem.synapses.weights, problem.synapses.delays, samples, 1)
        if pull_back_batch(problem, data, device, there, θ, packed_θ, solver, wanted, sizes, samples, Val(M), Val(C))
            start = last(samples) + 1
        else
            scale *= 4
        end
    end
end

"""Gradients of some samples; returns whether their tapes have been long enough."""
function pull_back_batch(
    problem, data, device, there, θ, packed_θ, solver, wanted, sizes, samples, ::Val{M}, ::Val{C},
) where {M,C}
    make = BlockMaker(device, length(samples), 1)
    put(part) = brought_to(device, part)
    records = GroupRecords(
        make, problem, Outputs(C_NULL, C_NULL, C_NULL, C_NULL, C_NULL, C_NULL, 0), nothing, M,
    )
    backward = GroupBackward(make, problem, data, there, θ, wanted, sizes, samples, put, Val(M))
    work = group_work(
        problem, make, packed_θ, nothing, solver, samples, records, NOWHERE, data.insertions, backward, PIECES_KEPT[],
        Val(M), Val(C),
    )
    pull_back_samples!(device, work, work.steps, length(samples))
    raise_failures(device, work, problem, samples) == TAPE_IS_FULL && return false
    add_gradients!(device, backward, problem, data, θ, wanted, samples)
    let_go_of_all!(device, work)
    return true
end

"""Add the gradients of samples to their own, each by a group of lanes."""
pull_back_samples!(device::Device, work::GroupWork, ::Nothing, count) =
    launch!(pull_back_group!, device, work, count, 1, lanes_per_group(device, work.shape.num_neurons))

# How many pieces of a passage are kept at once.
const PIECES_KEPT = Ref(24)

function GroupBackward(
    make::BlockMaker, problem::Problem, data::AdjointData, there::Bool, θ::Model, wanted, sizes::TapeSizes, samples,
    put, ::Val{M},
) where {M}
    n, saves = Int(problem.num_neurons), Int(problem.num_saves)
    numbers(count) = per_sample(make, 0.0, count)
    states(count) = ntuple(_ -> numbers(count), Val(M))
    # Of samples in the caller's array (samples, …); nothing where that is null.
    given(pointer, count, there = false) = pointer == C_NULL || count == 0 ? numbers(0) : put(Block(
        array_of_caller(
            make.device, pointer + sizeof(Float64) * count * (first(samples) - 1), count * length(samples), there,
        ), (count,); by_direction = 0,
    ))
    at_saves = given(data.entries_at_saves, n * saves)
    tape = GroupTape(
        states(n * sizes.steps), per_sample(make, false, n * sizes.steps), per_sample(make, 0, sizes.steps + 1),
        per_sample(make, Mark(0, 0, 0, 0.0, 0, 0, 0), sizes.marks),
        per_sample(make, Place(zero_state(Val(M)), NaN), sizes.places),
        per_sample(make, false, isempty(at_saves) ? 0 : n * saves), 0,
    )
    synapses = problem.synapses
    most_reached = longest_row(synapses, 1:Int(synapses.num_sources))
    return GroupBackward(
        tape, sizes.checkpoints == 1, sizes.steps, states(n * sizes.checkpoints),
        per_sample(make, 0, n * sizes.checkpoints), per_sample(make, 0, 4, sizes.checkpoints),
        states(n), states(n), numbers(n), numbers(most_reached),
        numbers(synapses.delayed == 1 ? Int(problem.max_spikes) : 0),
        empty_gradients(make, θ, wanted, data), wanted_terms(θ, wanted),
        given(data.spike_times, Int(problem.max_spikes), there),
        Tuple(given(pointer, n * saves, there) for pointer in recorded(data)), given(data.entries, n), at_saves,
        given(data.entries_at_insertions, 1),
        numbers(data.input_times.pointer == C_NULL ? 0 : Int(problem.inputs.num_spikes)),
    )
end

"""A model for the gradients of each sample, all 0. Of those that nobody wants it has one number for all neurons."""
function empty_gradients(make::BlockMaker, θ::Model, wanted::Vector{Coefficient}, data::AdjointData)
    sink(dims) = Block(new_memory(make.device, 0.0, make.samples), dims, 1, 0, 0, 0)
    blocks = IdDict{Any,Any}(
        array => each.pointer == C_NULL ? sink(size(array)) : per_sample(make, 0.0, size(array)...) for
        (array, each) in zip(coefficient_arrays(θ), wanted)
    )
    for (numbers, into) in ((θ.weights, data.weights), (θ.delays, data.delays))
        blocks[numbers] = into.pointer == C_NULL ? sink(size(numbers)) : per_sample(make, 0.0, length(numbers))
    end
    constant(array) = brought_to(make.device, shared(array))
    return with_arrays(array -> get(() -> constant(array), blocks, array), θ)
end

"""Add the gradients of some samples to the host's, sample by sample."""
function add_gradients!(
    device::Device, b::GroupBackward, problem::Problem, data::AdjointData, θ::Model, wanted, samples,
)
    for (array, block, into) in zip(coefficient_arrays(θ), coefficient_arrays(b.gradients), wanted)
        into.pointer == C_NULL && continue
        each, from = zeros(size(array)), from_device(device, block.memory)
        for (n, sample) in enumerate(samples)
            copyto!(each, 1, from, 1 + length(each) * (n - 1), length(each))
            scatter!(into, each, sample)
        end
    end
    for (block, into) in ((b.gradients.weights, data.weights), (b.gradients.delays, data.delays))
        into.pointer == C_NULL && continue
        from = reshape(from_device(device, block.memory), length(block), length(samples))
        for n in eachindex(samples), e in 1:length(block)
            place = 1 + (e - 1) * into.stride
            unsafe_store!(into.pointer, unsafe_load(into.pointer, place) + from[e, n], place)
        end
    end
    isempty(b.input_bars) && return
    from = reshape(from_device(device, b.input_bars.memory), :, length(samples))
    for (n, sample) in enumerate(samples), index in axes(from, 1)
        add_at!(data.input_times, position(data.input_times, sample, 1, index), from[index, n])
    end
end
