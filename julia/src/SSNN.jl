"""
Stochastic spiking neural networks: event-driven simulation, exact pathwise gradients, signatures of spike trains.
Julia 1.5 or newer, standard library only.
"""
module SSNN

"""
    @include_named folder name...

Include these files of a folder, in this order.
"""
macro include_named(folder, names...)
    return includes(folder, string.(names, ".jl"))
end

"""
    @include_others folder name...

Include every file of a folder but those named: a component is found by being there.
"""
macro include_others(folder, names...)
    files = filter(file -> endswith(file, ".jl"), readdir(joinpath(@__DIR__, folder)))
    return includes(folder, setdiff(sort(files), string.(names, ".jl")))
end

# One statement each, which tools that read a package without running it follow. A modern Julia keeps what it has
# compiled until something changes that it knows of, and so must know of the folder.
includes(folder, files) = esc(Expr(
    :toplevel, :(VERSION >= v"1.10" && include_dependency(joinpath(@__DIR__, $folder))),
    (:(include($(joinpath(folder, file)))) for file in files)...,
))

include("host/boundary.jl")
@include_named "paths" "double" "elementary" "counters" "noise_window" "driver"
@include_named "models" "dual" "formula_functions" "model" "intensity" "current" "diffusion"
@include_named "host" "synapses" "problem"
@include_others "paths" "double" "elementary" "counters" "noise_window" "driver"
@include_named "host" "threads" "team" "plans"
@include_others "models/intensities"
@include_others "models/currents"
@include_others "models/diffusions"
@include_others "models" "dual" "formula_functions" "model" "intensity" "current" "diffusion"
@include_named "solvers" "solver" "refinement"
@include_others "solvers" "solver" "refinement"
@include_named "events" "crossing" "expected" "transition" "deliveries" "jumps" "clamped" "external"
@include_named "modes" "run" "tangent" "tape_rows" "adjoint"
@include_named "devices" "blocks" "parts" "group" "backward" "solve" "pull_back" "steps" "single" "emulation"
include("signatures/Signatures.jl")
@include_named "sciml" "sciml" "adjoint"
include("host/precompile.jl")

end
