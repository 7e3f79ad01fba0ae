# The package as Aqua.jl sees it, where it is; in a project of its own:
#
#     julia -e 'using Pkg; Pkg.activate(temp = true); Pkg.develop(path = "julia"); Pkg.add(["Aqua", "Test"])
#               include("julia/test/modern/quality.jl")'
#
# runtests.jl beside this file includes it, too.

using Test
import SSNN

const AQUA = Base.find_package("Aqua") === nothing ? nothing : Base.require(Main, :Aqua)

if AQUA === nothing
    println("Aqua is not in this project: ambiguous methods, unbound parameters, bounds of versions, piracy not tested")
else
    @testset "Aqua" begin
        AQUA.test_all(SSNN)
    end
end
