# The package as Aqua.jl and JET.jl see it, where they are; in a project of its own:
#
#     julia -e 'using Pkg; Pkg.activate(temp = true); Pkg.develop(path = "julia"); Pkg.add(["Aqua", "JET", "Test"])
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

const JET_PACKAGE = Base.find_package("JET") === nothing ? nothing : Base.require(Main, :JET)

if JET_PACKAGE === nothing
    println("JET is not in this project: names without a definition not looked for")
else
    @testset "JET" begin
        # Names that are never defined, in whatever method; types are another matter, as problems are told at run time.
        JET_PACKAGE.test_package(SSNN; target_modules = (SSNN,), mode = :typo)
    end
end
