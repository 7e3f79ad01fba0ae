"""
The kernels of devices in single precision: the same source files as those of `SSNN`, read with `Float32` in the place
of `Float64`. What belongs to the host, which keeps double precision, is not among them, nor is what has no numbers.
Loaded when it is first asked for (`devices/single.jl`).
"""
module Single

import ..SSNN
import ..SSNN: Coefficient, Inputs, Insertion, Insertions, PerSynapse, Problem, Start
import ..SSNN: SynapseList, SynapseNumbers, Synapses
import ..SSNN: first_target, input_variable, is_input, row, synapses_of, target
import ..SSNN: Block, Lane, MadeOfArrays, OnlyLane, in_halves, lane_index, leads, meet, num_lanes, of_group, turns
import ..SSNN: Device, GridLane, check_cancelled, lanes_of_grid, lanes_per_group, start!, start_grid!, wait_for
import ..SSNN: MAX_SPIKES_IN_STEP

# --- how the files are read -------------------------------------------------------------------------------------------

"""What numbers and names in the source stand for here."""
in_single(x) = x
in_single(x::Float64) = Float32(x)
in_single(name::Symbol) = get(NAMES, name, name)
const NAMES = Dict{Symbol,Any}(
    :Float64 => :Float32, :Inf => Inf32, :NaN => NaN32, :π => Float32(pi),
)

# What registers a part with the host, or is called by it, is the business of double precision alone.
function in_single(e::Expr)
    is_docs(e) && return in_single(e.args[end])
    is_hosts(e) && return nothing
    return Expr(e.head, map(in_single, e.args)...)
end

is_docs(e::Expr) = e.head == :macrocall && e.args[1] == GlobalRef(Core, Symbol("@doc"))
is_hosts(e::Expr) =
    e.head == :macrocall && e.args[1] == Symbol("@entry_point") ||
    e.head == :(=) && e.args[1] isa Expr && e.args[1].head == :ref && e.args[1].args[1] in REGISTRIES
const REGISTRIES = (:MODELS, :DRIVERS, :SOLVERS, :INTENSITIES, :CURRENTS, :DIFFUSIONS)

"""Where a folder of the core is."""
path_of(folder) = joinpath(@__DIR__, "..", folder)

"""Read these files of a folder of the core."""
include_named(folder, names...) = foreach(name -> include(in_single, joinpath(path_of(folder), name * ".jl")), names)

"""Read all files of a folder but these."""
function include_others(folder, names...)
    files = filter(file -> endswith(file, ".jl"), readdir(path_of(folder)))
    include_named(folder, setdiff(first.(splitext.(sort(files))), names)...)
end

# Where whole numbers are divided the result is one of single precision, too.
@inline /(x, y) = Base.:/(x, y)
@inline /(x::Integer, y::Integer) = Float32(x) / Float32(y)

# --- the files --------------------------------------------------------------------------------------------------------

include("format.jl")
include_named("paths", "elementary", "counters", "noise_window", "driver", "brownian")
include_named("models", "dual", "formula_functions", "model", "intensity", "current", "diffusion")
include_others("models/intensities")
include_others("models/currents", "julia_function")
include_others("models/diffusions")
include_others("models", "dual", "formula_functions", "model", "intensity", "current", "diffusion")
include_named("solvers", "solver", "refinement")
include_others("solvers", "solver", "refinement")
include_named("events", "crossing", "expected", "deliveries")
include_named("devices", "parts", "group", "backward", "steps")

# Blocks are those of both precisions.
with_arrays(change, block::Block) = SSNN.with_arrays(change, block)
SSNN.with_arrays(change, work::GroupWork) = with_arrays(change, work)

"""Read a definition of the host's."""
define(source, name) = include_string(in_single, @__MODULE__, source, name)

end
