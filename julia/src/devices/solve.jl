# A problem brought to a device, computed there, and its results brought back.

"""
Something that computes groups of lanes, in memory of its own. Methods:

  * `to_device(device, array)`, `from_device(device, memory)`: a vector brought there and back;
  * `new_memory(device, value, count)`: so many numbers there, at first all that value;
  * `array_at(device, pointer, count)`: so many numbers that somebody else has in its memory;
  * `free_memory(device)`: how many bytes it has left, about; `let_go!(device, memory)`: of what is not needed again;
  * `lanes_per_group(device, neurons)`: how many lanes are to share a sample;
  * `is_interleaved(device)`: whether numbers that lanes of different groups read at once should lie side by side;
  * `launch!(run, device, work, num_samples, num_directions, lanes)`: `run(work, s, p, lane)` of every sample and
    direction, by every lane; `start!`, the same without waiting for what is started;
  * `large_from(device)`: from how many neurons on a network is one whose steps are kernels of their own, some of them
    by a grid of lanes for all neurons of all samples: `lanes_of_grid(device, neurons)` per sample;
  * `start_grid!(run, device, work, num_samples, num_directions, lanes)`: likewise, by every `GridLane`;
  * `wait_for(device)`: until it has done what was started, one after the other.
"""
abstract type Device end

is_interleaved(::Device) = true
large_from(::Device) = typemax(Int)

"""Numbers in a device's memory as others have them there: in double precision."""
as_others_have(::Device, memory) = memory

"""The caller's array of so many numbers: in the device's memory if it is `there`, else in the host's."""
array_of_caller(device::Device, pointer, count, there) =
    there ? array_at(device, pointer, count) : host_array(pointer, count)

# Those that the host may name; packages bring theirs by the hook: a function of a name and a backend.
const DEVICES = Dict{String,Device}()
const DEVICE_HOOK = Ref{Any}(nothing)

"""The device of that name, which computes in that precision, "float64" or "float32"."""
function device_named(name, precision = "float64")
    device = startswith(name, "emulation:") ? Emulation(parse(Int, name[length("emulation:")+1:end])) :
        lookup(DEVICES, "device", name)
    return precision == "float32" ? SinglePrecision(device) : device
end

"""From how many neurons on networks are large, whatever the device says; nothing, unless tests want to know."""
const LARGE_FROM = Ref{Union{Nothing,Int}}(nothing)

is_large(device::Device, neurons) = neurons >= (LARGE_FROM[] === nothing ? large_from(device) : LARGE_FROM[])

"""A part with its arrays in the device's memory."""
brought_to(device::Device, part) = with_arrays(array -> to_device(device, array), part)

# --- packing ----------------------------------------------------------------------------------------------------------

"""A coefficient of some samples, in `directions` where it is a tangent, for an array like `shape`."""
function packed(shape::AbstractVecOrMat, coefficient::Coefficient, samples::UnitRange, directions)
    coefficient.pointer == C_NULL && return Block([0.0], size(shape), 0, 0, 0, 0)
    own = coefficient.stride_sample == 0 ? (first(samples):first(samples)) : samples
    memory, one = zeros(length(shape) * length(own) * directions), zeros(size(shape))
    for p in 1:directions, (n, sample) in enumerate(own)
        load!(one, coefficient, sample, p)
        copyto!(memory, 1 + length(one) * (n - 1 + length(own) * (p - 1)), one, 1, length(one))
    end
    by_sample = length(own) > 1 ? length(shape) : 0
    by_direction = apart(length(one) * length(own), directions)
    return Block(memory, size(shape); by_sample = by_sample, by_direction = by_direction)
end

"""Numbers of `count` synapses, in `directions` where they are tangents."""
function packed(numbers::PerSynapse, count, directions)
    numbers.pointer == C_NULL && return everywhere([0.0], count)
    if numbers.stride == 0
        each = [unsafe_load(numbers.pointer, 1 + (p - 1) * numbers.stride_direction) for p in 1:directions]
        return everywhere(each, count; by_direction = apart(1, directions))
    end
    memory = host_array(numbers.pointer, count * directions)
    return Block(memory, (count,); by_sample = 0, by_direction = apart(count, directions))
end

# How far directions are apart; one of them is that of all.
apart(count, directions) = directions == 1 ? 0 : count

"""The model's coefficients of some samples, in `directions` where they are tangents."""
function packed(θ::Model, list::Vector{Coefficient}, weights::PerSynapse, delays::PerSynapse, samples, directions)
    blocks = IdDict{Any,Any}(
        array => packed(array, each, samples, directions) for (array, each) in zip(coefficient_arrays(θ), list)
    )
    blocks[θ.weights] = packed(weights, length(θ.weights), directions)
    blocks[θ.delays] = packed(delays, length(θ.delays), directions)
    return with_arrays(array -> get(() -> shared(array), blocks, array), θ)
end

"""What all samples and directions share."""
shared(array::AbstractArray) = Block(vec(array), size(array); by_sample = 0, by_direction = 0)
shared(pointer::Ptr{T}, count::Integer) where {T} =
    shared(pointer == C_NULL || count == 0 ? T[] : host_array(pointer, count))

"""The solver with what it prepares for the coefficients θ of so many samples."""
for_groups(solver::Solver, θ::Model, num_samples, problem::Problem) = solver

for_groups(::ExactOU, θ::Model, num_samples, problem::Problem) = prepare!(ExactOU(), θ, problem.dt)

function for_groups(solver::ExactOU, θ::SLIF, num_samples, problem::Problem)
    of_all = [of_group(θ, s, 1) for s in 1:num_samples]
    prepare!(solver, vcat((of.mu1 for of in of_all)...), vcat((of.mu2 for of in of_all)...), problem.dt)
    n = length(θ.mu1)
    for (s, of) in enumerate(of_all), k in 1:n
        fill_tables!(solver, solver.kind[k+n*(s-1)], leaf_depth(solver, of, k, problem.dt))
    end
    tables = map(table -> shared(table), (solver.responses, solver.in_mu1, solver.in_mu2))
    kind = Block(solver.kind, (n,); by_direction = 0)
    return TabledOU(solver.leaves_variance, solver.length, kind, shared(solver.depths), tables...)
end

"""How deep leaves are at most, in any step."""
function deepest_leaf(solver::Solver, θ::Model, num_samples, problem::Problem)
    is_straight(solver) && return 0
    start, stop = step_times(problem, problem.num_steps - 1)
    return maximum(
        leaf_depth(solver, of_group(θ, s, 1), k, h) for s in 1:num_samples, k in 1:problem.num_neurons,
        h in (problem.dt, stop - start)
    )
end

deepest_leaf(::Device, solver::Solver, θ::Model, num_samples, problem::Problem) =
    deepest_leaf(solver, θ, num_samples, problem)

function packed(synapses::Synapses)
    sources, inputs = Int(synapses.num_sources), length(synapses) - Int(synapses.num_between_neurons)
    return SynapseArrays(
        shared(synapses.indptr, sources + 1), shared(synapses.targets, length(synapses)),
        shared(synapses.variables, synapses.variables == C_NULL ? 0 : inputs),
        sources, Int(synapses.num_between_neurons), length(synapses), Int(synapses.delayed),
    )
end

"""Times of the spikes from outside, of some samples and in `directions` where they are tangents; or none."""
function packed_times(times::Coefficient, count, samples, directions)
    (times.pointer == C_NULL || count == 0) && return Block(Float64[], (0,); by_direction = 0)
    own = times.stride_sample == 0 ? (first(samples):first(samples)) : samples
    memory = [
        unsafe_load(times.pointer, position(times, sample, 1, knot, p)) for knot in 1:count, sample in own,
        p in 1:directions
    ]
    by_sample = length(own) > 1 ? count : 0
    return Block(vec(memory), (count,); by_sample = by_sample, by_direction = apart(count * length(own), directions))
end

function packed(inputs::Inputs, moving::Coefficient, samples, directions)
    count, own = Int(inputs.num_spikes), inputs.stride_sample != 0
    from = inputs.channels + sizeof(Int64) * (own ? first(samples) - 1 : 0) * inputs.stride_sample
    channels = shared(from, count * (own ? length(samples) : 1))
    return InputArrays(
        Int(inputs.num_channels), count,
        Block(channels.memory, (count,); by_sample = own ? count : 0, by_direction = 0),
        packed_times(inputs.times, count, samples, 1), packed_times(moving, count, samples, directions),
    )
end

"""The insertions of some samples, or nothing."""
function packed(insertions::Insertions, samples, put)
    insertions.neurons == C_NULL && return nothing
    of(pointer) = put(Block(
        host_array(pointer + sizeof(Int64) * (first(samples) - 1), length(samples)), (1,); by_direction = 0,
    ))
    return GroupInsertions(of(insertions.neurons), of(insertions.spikes), of(insertions.saves))
end

# --- memory of a call -------------------------------------------------------------------------------------------------

"""Makes blocks on the device: of each sample and direction one, or of each sample alone."""
struct BlockMaker{D<:Device}
    device::D
    samples::Int
    directions::Int
end

per_group(make::BlockMaker, value, dims::Integer...) = Block(
    new_memory(make.device, value, prod(dims) * make.samples * make.directions), dims; samples = make.samples,
)
per_sample(make::BlockMaker, value, dims::Integer...) =
    Block(new_memory(make.device, value, prod(dims) * make.samples), dims; by_direction = 0)

function GroupState(
    make::BlockMaker, ::Val{M}, ::Val{C}, n, depth, lanes, areas::Bool, moves::Bool, pieces, passages,
) where {M,C}
    numbers(dims...) = per_group(make, 0.0, dims...)
    variables(there) = there ? ntuple(_ -> numbers(n), Val(M)) : ()
    whole(count) = per_group(make, 0, count)
    zero_y, none = zero_state(Val(M)), ntuple(_ -> 0.0, Val(C))
    split = Increment(none, none)
    memory = GroupMemory(
        per_group(make, 0, depth, n), per_group(make, split, depth, n), per_group(make, split, depth, n),
        per_group(make, Piece(false, 0.0, 0.0, 0.0, zero_y, split, 0.0), pieces, passages), 1,
    )
    return GroupState(
        variables(true), variables(true), variables(moves), variables(moves), numbers(n), numbers(n),
        per_group(make, false, n), whole(n), whole(n), per_group(make, Spike(0, 0, Inf, zero_y, zero_y), n),
        numbers(2 * C * n), numbers(areas ? 2 * C * n : 0), memory, numbers(lanes), whole(lanes), numbers(1), whole(3),
    )
end

"""How many lanes may follow a passage of a sample's neurons at a time."""
most_lanes(device::Device, n) =
    is_large(device, n) ? max(lanes_per_group(device, n), lanes_of_grid(device, n)) : lanes_per_group(device, n)

"""What is kept between the kernels of a step; nothing where a group computes a whole sample."""
function GroupSteps(make::BlockMaker, n)
    is_large(make.device, n) || return nothing
    progress(count) = per_group(make, GroupProgress(0, 0, false, 0, 0), count)
    return GroupSteps(
        progress(2), progress(1), per_group(make, 0, 1), per_group(make, 0, 1),
        per_group(make, 0, lanes_per_group(make.device, n)), per_group(make, 0, n),
    )
end

"""About how many bytes a sample takes with so many directions."""
function bytes_per_sample(problem::Problem, M, C, depth, directions)
    n, spikes, saves = Int(problem.num_neurons), Int(problem.max_spikes), Int(problem.num_saves)
    # States and their tangents, spikes that are expected, coefficients; and the halves of intervals.
    per_neuron = 8 * (4 * M + 2 * M + 40 + 4 * C) + depth * (8 + 32 * C)
    return max(directions, 1) * (n * per_neuron + 8 * (spikes + (M + 1) * n * saves)) +
        24 * spikes + 8 * M * n * saves + (has_external_events(problem) ? 40 * (spikes + problem.inputs.num_spikes) : 0)
end

function GroupRecords(make::BlockMaker, problem::Problem, outputs::Outputs, tangents, M)
    n, saves, spikes = Int(problem.num_neurons), Int(problem.num_saves), Int(problem.max_spikes)
    moves = tangents !== nothing
    wants(pointer) = moves && pointer != C_NULL
    hazards, at_saves = moves && wants(tangents.s), moves && wants(tangents.s_at_saves)
    return GroupRecords(
        per_sample(make, Inf, spikes), per_sample(make, -1, spikes),
        per_sample(make, -1, outputs.spike_events == C_NULL ? 0 : spikes), per_sample(make, 0, 1),
        per_sample(make, false, 1), ntuple(_ -> per_sample(make, NaN, n * saves), Int(outputs.num_recorded)),
        outputs.last_state == C_NULL ? () : ntuple(_ -> per_sample(make, NaN, n), M),
        per_group(make, 0.0, moves ? spikes : 0),
        moves ? ntuple(_ -> per_group(make, 0.0, n * saves), Int(tangents.num_recorded)) : (),
        per_group(make, 0.0, hazards ? n : 0), per_group(make, 0.0, at_saves ? n * saves : 0),
        per_group(make, 0.0, moves && wants(tangents.s_at_insertions) ? 1 : 0),
    )
end

# --- a call -----------------------------------------------------------------------------------------------------------

# Spikes and recorded values go into arrays of the caller that are `there`, in the device's memory, if that is not 0.
@entry_point function ssnn_device_solve(
    problem_pointer::Ptr{Problem}, outputs_pointer::Ptr{Outputs}, there::Int64, precision::Ptr{UInt8},
    device::Ptr{UInt8},
)
    solve_on_device(
        unsafe_load(problem_pointer), unsafe_load(outputs_pointer), nothing,
        device_named(unsafe_string(device), unsafe_string(precision)), there != 0,
    )
end

@entry_point function ssnn_device_tangent(
    problem_pointer::Ptr{Problem}, outputs_pointer::Ptr{Outputs}, tangents_pointer::Ptr{TangentOutputs},
    precision::Ptr{UInt8}, device::Ptr{UInt8},
)
    solve_on_device(
        unsafe_load(problem_pointer), unsafe_load(outputs_pointer), unsafe_load(tangents_pointer),
        device_named(unsafe_string(device), unsafe_string(precision)),
    )
end

"""Solve on a device, with tangents unless these are nothing, into the caller's arrays."""
function solve_on_device(problem::Problem, outputs::Outputs, tangents, device::Device, there = false)
    θ = Model(problem)
    solver = lookup(SOLVERS, "solver", unsafe_string(problem.solver))()
    # Julia looks into it when it is called, and not whenever a first solution is compiled.
    Base.invokelatest(
        solve_on_device, problem, outputs, tangents, device, there, θ, solver, Val(num_variables(typeof(θ))),
        Val(Int(problem.num_components)),
    )
end

function solve_on_device(problem, outputs, tangents, device::Device, there::Bool, θ::Model, solver, M::Val, C::Val)
    directions = tangents === nothing ? 0 : Int(tangents.num_directions)
    places, num_samples = coefficient_places(problem, θ), Int(problem.num_samples)
    list = host_table(problem.coefficients, places)
    moving = directions == 0 ? list : host_table(tangents.directions, places)
    pack(samples) = (
        packed(θ, list, problem.synapses.weights, problem.synapses.delays, samples, 1),
        directions == 0 ? nothing : packed(θ, moving, tangents.weights, tangents.delays, samples, directions),
    )
    bytes = bytes_per_sample(problem, num_variables(typeof(θ)), Int(problem.num_components), DEEPEST, directions)
    size = clamp(free_memory(device) ÷ bytes, 1, num_samples)
    for start in 1:size:num_samples
        check_cancelled()
        samples = start:min(start + size - 1, num_samples)
        solve_batch(problem, outputs, tangents, device, there, pack(samples), solver, samples, directions, M, C)
    end
end

function solve_batch(
    problem, outputs, tangents, device, there, (θ, dθ), solver, samples, directions, ::Val{M}, ::Val{C},
) where {M,C}
    n, count = Int(problem.num_neurons), length(samples)
    make = BlockMaker(device, count, max(directions, 1))
    records = GroupRecords(make, problem, outputs, tangents, M)
    moving_inputs, looked_at =
        tangents === nothing ? (NOWHERE, NO_INSERTIONS) : (tangents.input_times, tangents.insertions)
    work = group_work(
        problem, make, θ, dθ, solver, samples, records, moving_inputs, looked_at, nothing, 0, Val(M), Val(C),
    )
    run_samples!(device, work, work.steps, count, max(directions, 1))
    raise_failures(device, work, problem, samples)
    bring_back(device, records, problem, outputs, tangents, samples, there)
    let_go_of_all!(device, work)
end

"""Compute the samples, each by a group of lanes."""
run_samples!(device::Device, work::GroupWork, ::Nothing, count, directions) =
    launch!(run_group!, device, work, count, directions, lanes_per_group(device, work.shape.num_neurons))

"""Let go of all that was made for some samples."""
function let_go_of_all!(device::Device, work)
    with_arrays(work) do memory
        let_go!(device, memory)
        memory
    end
    return
end

"""All that the groups for some samples compute with; `pieces` are those of a passage that are kept at once."""
function group_work(
    problem, make::BlockMaker, θ, dθ, solver, samples, records, moving_inputs, looked_at, backward, pieces, ::Val{M},
    ::Val{C},
) where {M,C}
    n, count, device = Int(problem.num_neurons), length(samples), make.device
    depth, keeps = deepest_leaf(device, solver, θ, count, problem), keeps_areas(solver, problem)
    state = GroupState(
        make, Val(M), Val(C), n, depth, lanes_per_group(device, n), keeps, dθ !== nothing, pieces,
        most_lanes(device, n),
    )
    shape = GroupShape(
        n, problem.first_sample + first(samples) - 1, problem.seed, problem.t0, problem.t1, problem.dt,
        problem.num_steps, last_length(problem), problem.max_spikes, spike_limit(problem.synapses, n),
        problem.num_saves, keeps, !isempty(records.hazards), !isempty(records.hazards_at_saves),
    )
    put(part) = brought_to(device, part)
    return GroupWork(
        shape, put(times_of_steps(device, problem)), put(for_groups(solver, θ, count, problem)), put(θ),
        dθ === nothing ? nothing : put(dθ),
        DrawnSteps{C}(problem.dt, problem.noise_levels), put(packed(problem.synapses)),
        put(shared(problem.saveat, problem.num_saves)), state,
        has_external_events(problem) ? group_deliveries(make, problem, θ, moving_inputs, samples, put) : nothing,
        records, packed(problem.insertions, samples, put), packed(looked_at, samples, put), backward,
        GroupSteps(make, n),
    )
end

# Kernels compute them as the native engine does.
times_of_steps(::Device, problem::Problem) = nothing

"""How long the last step is."""
function last_length(problem)
    start, stop = step_times(problem, problem.num_steps - 1)
    return is_shortened(problem) ? stop - start : problem.dt
end

function group_deliveries(make::BlockMaker, problem::Problem, θ::Model, moving::Coefficient, samples, put)
    order = Deliveries(problem).order
    of_any = of_group(θ, 1, 1)
    isempty(order) || sort_by_delay!(order, of_any.delays, problem.synapses)
    most = Int(problem.max_spikes + problem.inputs.num_spikes)
    under_way = Growing(per_group(make, NO_SPIKE_COMING, most), per_group(make, 0, 1))
    return GroupDeliveries(
        put(shared(order)), under_way, put(packed(problem.inputs, moving, samples, make.directions)),
        per_group(make, 0, 1), per_group(make, NO_SPIKE_COMING, 1), per_group(make, 0, 2),
    )
end

"""Raise for the first sample in which something went wrong, unless it is that its tape is full; returns what was."""
function raise_failures(device::Device, work::GroupWork, problem::Problem, samples)
    status = reshape(from_device(device, work.state.status.memory), 3, length(samples), :)
    failed = findfirst(code -> code != ALL_WELL, status[1, :, :])
    failed === nothing && return ALL_WELL
    code, j, n = status[:, failed]
    code == TAPE_IS_FULL && return code
    sample, start = samples[failed[1]] - 1, step_times(problem, n)[1]
    code == FIRES_TOO_OFTEN && throw_fires_too_often(j, start)
    code == RUNS_AWAY && throw_runs_away(sample, problem.num_neurons, work.shape.spike_limit, start)
    throw_not_finite(sample, problem.dt)
end

"""Bring the results of some samples into the caller's arrays, of which the largest may be `there`."""
function bring_back(
    device::Device, records::GroupRecords, problem::Problem, outputs::Outputs, tangents, samples, there::Bool,
)
    bring(block, pointer, there = false) = bring_back(device, block, pointer, problem, samples, there)
    bring(records.spike_times, outputs.spike_times, there)
    bring(records.spike_neurons, outputs.spike_neurons, there)
    bring(records.spike_events, outputs.spike_events)
    bring(records.num_spikes, outputs.num_spikes)
    bring(records.truncated, Ptr{Bool}(outputs.truncated))
    foreach((block, pointer) -> bring(block, pointer, there), records.recorded, recorded(outputs))
    n, total = Int(problem.num_neurons), Int(problem.num_samples)
    for (variable, values) in enumerate(records.last_state)
        bring(values, outputs.last_state + sizeof(Float64) * n * total * (variable - 1))
    end
    there && wait_for(device)
    tangents === nothing && return
    bring(records.spike_times_tangent, tangents.spike_times)
    foreach(bring, records.recorded_tangents, recorded(tangents))
    bring(records.hazards, tangents.s)
    bring(records.hazards_at_saves, tangents.s_at_saves)
    bring(records.hazard_at_spike, tangents.s_at_insertions)
    return
end

"""A block, of some samples and all directions, into the caller's array (directions, samples, …)."""
function bring_back(device::Device, block::Block, pointer::Ptr, problem::Problem, samples, there::Bool)
    each, total = length(block), Int(problem.num_samples)
    each == 0 && return
    part = each * length(samples)
    directions = length(block.memory) ÷ part
    from = there ? as_others_have(device, block.memory) : from_device(device, block.memory)
    to = array_of_caller(device, pointer, each * total * directions, there)
    for p in 1:directions
        copyto!(to, 1 + each * (first(samples) - 1 + total * (p - 1)), from, 1 + part * (p - 1), part)
    end
end
