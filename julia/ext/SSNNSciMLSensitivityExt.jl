# Reverse mode of the stretches between spikes by SciMLSensitivity.jl. The core makes each an ordinary differential
# equation with its own vector–Jacobian products, walks from event to event and knows the rule there
# (src/sciml/adjoint.jl); no event, no noise process and no automatic differentiation is this package's concern.
module SSNNSciMLSensitivityExt

using SSNN: SSNN, Model, PieceAdjoint, Run, SmoothPiece
using OrdinaryDiffEqTsit5: Tsit5
using SciMLBase: SciMLBase
using SciMLSensitivity: SciMLSensitivity, ZygoteVJP, adjoint_sensitivities

"""An adjoint of that package, and one thread's memory."""
struct PackagedAdjoint{A,Θ<:Model} <: PieceAdjoint
    sensealg::A
    part::Θ                         # of the gradients, at one time
    z_bar::Vector{Float64}
end

# From this version on a function may bring its vector–Jacobian products, and the choice of a tool for them is never
# asked; before, it may bring its Jacobians, which `false` asks for.
const TAKES_PRODUCTS = something(pkgversion(SciMLSensitivity), v"0") >= v"7.97"
const VJP = (autojacvec = TAKES_PRODUCTS ? ZygoteVJP() : false,)

# Those of `SENSEALGS` in ssnn_py/engine/sciml.py.
const SENSEALGS = Dict(
    :InterpolatingAdjoint => () -> SciMLSensitivity.InterpolatingAdjoint(; VJP...),
    :GaussAdjoint => () -> SciMLSensitivity.GaussAdjoint(; VJP...),
    :QuadratureAdjoint => () -> SciMLSensitivity.QuadratureAdjoint(; VJP...),
    :BacksolveAdjoint => () -> SciMLSensitivity.BacksolveAdjoint(; VJP...),
)

"""The cotangent of the parameters, as one vector, from that of z′; that of z is then in `method.z_bar`."""
function parameters_bar!(p_bar, bar, method::PackagedAdjoint, z, piece, t)
    foreach(array -> fill!(array, 0.0), SSNN.coefficient_arrays(method.part))
    SSNN.piece_drift_adjoint!(method.z_bar, method.part, z, piece, t, bar)
    return SSNN.gather!(p_bar, method.part)
end

"""Of the drift of z: products with cotangents, or, for older packages, Jacobians."""
function derivatives(method::PackagedAdjoint, piece)
    if TAKES_PRODUCTS
        return (
            # What it adds to `part` is never read.
            vjp = (z_bar, bar, z, p, t) -> SSNN.piece_drift_adjoint!(z_bar, method.part, z, piece, t, bar),
            vjp_p = (p_bar, bar, z, p, t) -> parameters_bar!(p_bar, bar, method, z, piece, t),
        )
    end
    function paramjac(J, z, p, t)
        unit = zero(z)
        for r in eachindex(z)
            unit[r] = 1.0
            parameters_bar!(view(J, r, :), unit, method, z, piece, t)
            unit[r] = 0.0
        end
    end
    return (jac = (J, z, p, t) -> SSNN.piece_jacobian!(J, z, piece, t), paramjac = paramjac)
end

function SSNN.pull_back!(θ̄, method::PackagedAdjoint, piece::SmoothPiece, z, marks, bars)
    SSNN.check_cancelled()
    times, p = piece.times, SSNN.gather(piece.θ)
    # The parameters are in `piece`; p, the same numbers, says how many there are.
    drift!(dz, z, p, t) = SSNN.piece_drift!(dz, z, piece, t)
    f = SciMLBase.ODEFunction{true,SciMLBase.FullSpecialize}(drift!; derivatives(method, piece)...)
    # The path has a kink where a step ends: both solves end their steps there too.
    longest, steps = maximum(diff(times)), (adaptive = false, tstops = times[2:end-1])
    solution = SciMLBase.solve(SciMLBase.ODEProblem(f, z, (times[1], times[end]), p), Tsit5(); dt = longest, steps...)
    SciMLBase.successful_retcode(solution) || error(
        "the piece from t = $(times[1]) could not be solved again: return code $(solution.retcode)"
    )
    z_bar, p_bar = adjoint_sensitivities(
        solution, Tsit5(); sensealg = method.sensealg, t = marks, dt = -longest, steps...,
        dgdu_discrete = (out, z, p, t, m) -> copyto!(out, bars[m]),
    )
    SSNN.add_gathered!(θ̄, p_bar)
    return z_bar
end

"""The adjoint that the core asks for."""
function piece_adjoint(name::Symbol, run::Run)
    haskey(SENSEALGS, name) ||
        throw(ArgumentError("sensealg must be one of $(join(sort(string.(keys(SENSEALGS))), ", ")), got \"$name\""))
    return PackagedAdjoint(
        SENSEALGS[name](), Model(run.problem)::typeof(run.θ),
        zeros(SSNN.num_variables(typeof(run.θ)) * Int(run.problem.num_neurons)),
    )
end

__init__() = SSNN.PIECE_ADJOINT_HOOK[] = piece_adjoint

end
