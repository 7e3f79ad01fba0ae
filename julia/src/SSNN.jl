"""
Stochastic spiking neural networks: event-driven simulation, exact pathwise gradients, signatures of spike trains.
Julia 1.5 or newer, standard library only.
"""
module SSNN

"""Include every file of a folder but those named: a component is found by being there."""
function include_folder(folder; except = ())
    # A modern Julia keeps what it has compiled until something changes that it knows of, and so must know of the
    # folder.
    VERSION >= v"1.10" && include_dependency(joinpath(@__DIR__, folder))
    for file in sort(readdir(joinpath(@__DIR__, folder)))
        endswith(file, ".jl") && !(file in except) && include(joinpath(folder, file))
    end
end

include("host/boundary.jl")
foreach(file -> include("paths/$file.jl"), ("elementary", "counters", "noise_window", "driver"))
foreach(file -> include("models/$file.jl"), ("dual", "formula_functions", "model", "intensity", "current", "diffusion"))
include("host/synapses.jl")
include("host/problem.jl")
include_folder("paths"; except = ("elementary.jl", "counters.jl", "noise_window.jl", "driver.jl"))
include("host/threads.jl")
include("host/team.jl")
include("host/plans.jl")
foreach(include_folder, ("models/intensities", "models/currents", "models/diffusions"))
include_folder(
    "models";
    except = ("dual.jl", "formula_functions.jl", "model.jl", "intensity.jl", "current.jl", "diffusion.jl"),
)
include("solvers/solver.jl")
include("solvers/refinement.jl")
include_folder("solvers"; except = ("solver.jl", "refinement.jl"))
foreach(
    file -> include("events/$file.jl"),
    ("crossing", "expected", "transition", "deliveries", "jumps", "clamped", "external"),
)
foreach(file -> include("modes/$file.jl"), ("run", "tangent", "adjoint"))
include("signatures/Signatures.jl")
foreach(file -> include("sciml/$file.jl"), ("sciml", "adjoint"))
include("host/precompile.jl")

end
