# Groups of lanes as kernels of KernelAbstractions.jl, on whatever backend it has. What they compute is the core's
# (src/devices); this brings memory there and back, and starts them.
module SSNNKernelAbstractionsExt

using Adapt: Adapt, adapt
using KernelAbstractions: KernelAbstractions, @groupsize, @index, @kernel, Backend, CPU
using SSNN: SSNN, Block, Device, GridLane, Lane, OnlyLane

"""
A backend, that for kernels by grids, how many bytes it has left, a function without arguments, and how memory of others
becomes an array of it, a function of the type of its numbers, their address and how many they are.
"""
struct KernelDevice{B<:Backend,G<:Backend,F,W} <: Device
    backend::B
    for_grids::G
    free::F
    wrap::W
end

# On the processor a sample is one lane's, and memory is the host's.
SSNN.to_device(::KernelDevice{CPU}, array) = array
SSNN.from_device(::KernelDevice{CPU}, memory) = memory
SSNN.lanes_per_group(::KernelDevice{CPU}, neurons) = 1
SSNN.is_interleaved(::KernelDevice{CPU}) = false

function SSNN.to_device(device::KernelDevice, array)
    memory = KernelAbstractions.allocate(device.backend, eltype(array), length(array))
    isempty(array) || copyto!(memory, array)
    return memory
end

SSNN.from_device(::KernelDevice, memory) = Array(memory)

SSNN.array_at(::KernelDevice{CPU}, pointer, count) = SSNN.host_array(pointer, count)
SSNN.array_at(device::KernelDevice, pointer, count) = device.wrap(eltype(pointer), UInt(pointer), Int(count))

function SSNN.new_memory(device::KernelDevice, value, count)
    memory = KernelAbstractions.allocate(device.backend, typeof(value), count)
    count == 0 || fill!(memory, value)
    return memory
end

SSNN.let_go!(::KernelDevice{CPU}, memory) = nothing
SSNN.let_go!(::KernelDevice, memory) = KernelAbstractions.unsafe_free!(memory)

SSNN.free_memory(device::KernelDevice) = Int(device.free())

# Lanes of a few neurons would wait for each other more than they compute: a lane takes a sample by itself there. More
# lanes than this have no more to do, as few neurons fire within a step.
const FEW_NEURONS = 8
const MOST_LANES = 256
const SAMPLES_PER_GROUP = 64
const NEURONS_PER_LANE = 64
const GRID_LANES_PER_GROUP = 128

SSNN.lanes_per_group(::KernelDevice, neurons) = neurons <= FEW_NEURONS ? 1 : min(nextpow(2, neurons), MOST_LANES)

# What is more than a group has lanes for. On the processor nothing is gained by kernels for each step; where tests want
# them, they have as few lanes as there is work for.
SSNN.large_from(device::KernelDevice) = device.backend isa CPU ? typemax(Int) : MOST_LANES + 1
SSNN.lanes_of_grid(::KernelDevice, neurons) = neurons
SSNN.lanes_of_grid(::KernelDevice{CPU}, neurons) = cld(neurons, NEURONS_PER_LANE)
SSNN.wait_for(device::KernelDevice) = KernelAbstractions.synchronize(device.backend)

"""One lane of a workgroup."""
struct WorkgroupLane <: Lane
    index::Int
    count::Int
end

@inline SSNN.lane_index(lane::WorkgroupLane) = lane.index
@inline SSNN.num_lanes(lane::WorkgroupLane) = lane.count
@inline SSNN.meet(::WorkgroupLane) = KernelAbstractions.__synchronize()

@kernel function sample_per_lane!(run, work, num_samples)
    index = @index(Global, Linear)
    run(work, mod1(index, num_samples), cld(index, num_samples), OnlyLane())
end

@kernel function sample_per_group!(run, work, num_samples)
    index, lane, lanes = @index(Group, Linear), @index(Local, Linear), prod(@groupsize())
    run(work, mod1(index, num_samples), cld(index, num_samples), WorkgroupLane(lane, lanes))
end

function SSNN.launch!(run, device::KernelDevice, work, num_samples, num_directions, lanes)
    SSNN.start!(run, device, work, num_samples, num_directions, lanes)
    SSNN.wait_for(device)
end

function SSNN.start!(run, device::KernelDevice, work, num_samples, num_directions, lanes)
    groups = num_samples * num_directions
    if lanes == 1
        together = device.backend isa CPU ? 1 : SAMPLES_PER_GROUP
        sample_per_lane!(device.backend, together)(run, work, num_samples; ndrange = groups)
    else
        sample_per_group!(device.backend, lanes)(run, work, num_samples; ndrange = groups * lanes)
    end
    return
end

@kernel function neuron_per_lane!(run, work, num_samples, lanes)
    index = @index(Global, Linear)
    group = cld(index, lanes)
    run(work, mod1(group, num_samples), cld(group, num_samples), GridLane(index - lanes * (group - 1), lanes))
end

function SSNN.start_grid!(run, device::KernelDevice, work, num_samples, num_directions, lanes)
    together = device.backend isa CPU ? 1 : GRID_LANES_PER_GROUP
    neuron_per_lane!(device.for_grids, together)(
        run, work, num_samples, lanes; ndrange = num_samples * num_directions * lanes,
    )
    return
end

# What a kernel is given has its blocks in the device's own kind of arrays.
Adapt.adapt_structure(to, block::Block) = SSNN.with_arrays(memory -> adapt(to, memory), block)
Adapt.adapt_structure(to, part::SSNN.OnDevice) = SSNN.with_arrays(memory -> adapt(to, memory), part)

"""Have the host name a backend, and another for grids, whose many lanes do little each."""
function add_device!(name, backend::Backend, free, for_grids::Backend = backend, wrap = nothing)
    SSNN.DEVICES[name] = KernelDevice(backend, for_grids, free, wrap)
    return
end

# Half of the memory that is free, where others may want some.
host_memory() = Sys.free_memory() ÷ 2

function __init__()
    SSNN.DEVICE_HOOK[] = add_device!
    add_device!("kernels", CPU(), host_memory)
end

end
