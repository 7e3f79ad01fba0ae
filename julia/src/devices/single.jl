# Devices that compute in single precision. What the host prepares is of double precision, as for any device; it is made
# single where it goes to the device's memory, and what comes back is made double again. The kernels are those of the
# module `Single`: the same source with other numbers.

"""A device that computes in single precision."""
struct SinglePrecision{D<:Device} <: Device
    device::D
end

"""
Memory of such a device, `count` elements: it is made when a kernel is launched. `values` is the host's array, or the
one value of all.
"""
mutable struct Planned{T} <: AbstractVector{T}
    values::Any
    count::Int
    memory::Any                     # nothing before
end

Base.size(planned::Planned) = (planned.count,)

to_device(::SinglePrecision, array) = Planned{eltype(array)}(array, length(array), nothing)
new_memory(::SinglePrecision, value, count) = Planned{typeof(value)}(value, count, nothing)
from_device(device::SinglePrecision, planned::Planned) = in_double(from_device(device.device, planned.memory))
as_others_have(device::SinglePrecision, planned::Planned) = in_double(planned.memory)
array_at(device::SinglePrecision, pointer, count) = array_at(device.device, pointer, count)
wait_for(device::SinglePrecision) = wait_for(device.device)
free_memory(device::SinglePrecision) = free_memory(device.device)
large_from(device::SinglePrecision) = large_from(device.device)
lanes_of_grid(device::SinglePrecision, neurons) = lanes_of_grid(device.device, neurons)
lanes_per_group(device::SinglePrecision, neurons) = lanes_per_group(device.device, neurons)

function let_go!(device::SinglePrecision, planned::Planned)
    planned.memory === nothing || let_go!(device.device, planned.memory)
    planned.memory = nothing
    return
end

# A part of a leaf is known to a spacing of the numbers at its time, and so is what noise does in it: finer leaves would
# have gradients with more noise of rounding in them than of the path.
deepest_leaf(::SinglePrecision, solver::Solver, θ::Model, num_samples, problem::Problem) =
    min(deepest_leaf(solver, θ, num_samples, problem), resolved_halvings(problem))

const LEAF_SPACINGS = 32

"""How often a step may be halved so that so many numbers of single precision are in it at the problem's latest time."""
function resolved_halvings(problem)
    spacing = Float64(eps(Float32(max(abs(problem.t0), abs(problem.t1)))))
    return max(exponent_of(problem.dt / (LEAF_SPACINGS * spacing)), 0)
end

# Rounded from those of double precision, so that what happens at the end of a step there does so here.
times_of_steps(::SinglePrecision, problem::Problem) =
    shared([problem.t0; [last(step_times(problem, n)) for n in 0:problem.num_steps-1]])

in_double(array::AbstractArray{Float32}) = Float64.(array)
in_double(array::AbstractArray) = array

# --- the module -------------------------------------------------------------------------------------------------------

# Loaded by the first call that asks for it: it takes about as long as all of the core's source.
const SINGLE = Ref{Any}(nothing)

# What the host has defined (`ssnn_define`), names and sources in their order, and how much of it `Single` knows.
const DEFINITIONS = Tuple{String,String}[]
const DEFINED_IN_SINGLE = Ref(0)

"""The module `Single`, with all that the host has defined."""
function single_module()
    SINGLE[] === nothing && (SINGLE[] = Base.include(@__MODULE__, joinpath(@__DIR__, "..", "single", "Single.jl")))
    while DEFINED_IN_SINGLE[] < length(DEFINITIONS)
        name, source = DEFINITIONS[DEFINED_IN_SINGLE[]+1]
        Base.invokelatest(SINGLE[].define, source, name)
        DEFINED_IN_SINGLE[] += 1
    end
    return SINGLE[]
end

launch!(run, device::SinglePrecision, work::GroupWork, num_samples, num_directions, lanes) =
    with_twins(device, work) do twins, single
        launch!(getfield(twins, nameof(run)), device.device, single, num_samples, num_directions, lanes)
    end

# Kernels of steps are started by the twins of those functions that start them.
run_samples!(device::SinglePrecision, work::GroupWork, ::GroupSteps, count, directions) =
    with_twins(device, work) do twins, single
        twins.run_samples!(device.device, single, single.steps, count, directions)
    end

pull_back_samples!(device::SinglePrecision, work::GroupWork, ::GroupSteps, count) =
    with_twins(device, work) do twins, single
        twins.pull_back_samples!(device.device, single, single.steps, count)
    end

"""Call `compute(twins, work)` with the module `Single` and what there corresponds to the work."""
function with_twins(compute, device::SinglePrecision, work::GroupWork)
    twins = single_module()
    Base.invokelatest(() -> compute(twins, in_single(twins, device.device, work)))
end

"""
What corresponds to `x` in the module `twins`: numbers of single precision, its type of the same name, with its blocks
in the device's memory.
"""
in_single(twins, device, x) = x
in_single(twins, device, x::Float64) = Float32(x)
in_single(twins, device, x::Tuple) = map(each -> in_single(twins, device, each), x)
in_single(twins, device, x::NTuple{N,Float64}) where {N} = ntuple(n -> Float32(x[n]), Val(N))
in_single(twins, device, block::Block) = Block(
    in_single(twins, device, block.memory), block.dims, block.by_sample, block.by_direction, block.spacing,
    block.offset,
)

# What has a twin of the same name.
const Twinned = Union{
    OnDevice,GroupShape,GroupProgress,Growing,Solver,Driver,Increment,Piece,Spike,SpikeUnderWay,Mark,Place,SLIFTerms,
    FormulaTerms,
}

function in_single(twins, device, part::Twinned)
    fields = map(n -> in_single(twins, device, getfield(part, n)), 1:nfields(part))
    twin = getfield(twins, nameof(typeof(part)))
    # Those of its parameters that do not follow from its fields come first.
    applicable(twin, fields...) && return twin(fields...)
    return twin{Iterators.takewhile(parameter -> !(parameter isa Type), typeof(part).parameters)...}(fields...)
end

function in_single(twins, device, planned::Planned{T}) where {T}
    planned.memory = planned.values isa AbstractArray ?
        to_device(device, single_array(twins, planned.values)) :
        new_memory(device, in_single(twins, device, planned.values), planned.count)
    return planned.memory
end

single_array(twins, array::AbstractArray{<:Integer}) = array
single_array(twins, array::AbstractArray{Float64}) = Float32.(array)
single_array(twins, array::AbstractArray) = map(each -> in_single(twins, nothing, each), array)
