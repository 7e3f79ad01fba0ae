"""
Stochastic spiking neural networks: event-driven simulation, exact pathwise gradients, signatures of spike trains.
Julia 1.5 or newer, standard library only.
"""
module SSNN

include("interface.jl")
include("elementary.jl")
include("noise.jl")
include("intensity.jl")
include("current.jl")
include("diffusion.jl")
include("network.jl")
include("plans.jl")
include("dual.jl")
include("solver.jl")
include("walk.jl")

# One file per intensity, current, diffusion and solver; a new one is found by being there.
for folder in ("intensities", "currents", "diffusions", "solvers")
    # A modern Julia keeps what it has compiled until something changes that it knows of, and so must know of the folder.
    VERSION >= v"1.10" && include_dependency(joinpath(@__DIR__, folder))
    for file in sort(readdir(joinpath(@__DIR__, folder)))
        endswith(file, ".jl") && include(joinpath(folder, file))
    end
end

include("event.jl")
include("simulate.jl")
include("tangent.jl")
include("adjoint.jl")
include("signature.jl")
include("signature_kernel.jl")
include("sciml.jl")
include("sciml_adjoint.jl")
include("precompile.jl")

end
