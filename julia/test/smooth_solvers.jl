# Solvers of the smooth equation between spikes that stand in for those of DifferentialEquations.jl, and an adjoint that
# stands in for SciMLSensitivity.jl's: what the core does with them is tested with these, in Julia and from Python.

"""Euler–Maruyama on the grid, as a solver that knows nothing of spikes."""
struct GridEuler{R<:SSNN.Run,Θ} <: SSNN.SmoothSolver
    run::R
    directions::Vector{Θ}
end

"""Runge and Kutta's classical scheme on the grid; ignores noise."""
struct GridRungeKutta{R<:SSNN.Run,Θ} <: SSNN.SmoothSolver
    run::R
    directions::Vector{Θ}
end

scale_add(u, h, k) = [a + h * b for (a, b) in zip(u, k)]

function step_vector(s::GridEuler, u, θ, a, b)
    n = length(u) ÷ 3
    components = Int(s.run.problem.num_components)
    w, h = zeros(n * components), zeros(n * components)
    SSNN.brownian!(w, h, s.run, a, b, 0)
    G = fill(0.0 * u[1], 3n, n * components)
    SSNN.network_noise!(G, u, θ)
    drift = SSNN.network_drift!(similar(u), u, θ, a)
    return [u[r] + (b - a) * drift[r] + sum([G[r, c] * w[c] for c in eachindex(w)]) for r in eachindex(u)]
end

function step_vector(s::GridRungeKutta, u, θ, a, b)
    h = b - a
    f(u, t) = SSNN.network_drift!(similar(u), u, θ, t)
    k1 = f(u, a)
    k2 = f(scale_add(u, h / 2, k1), a + h / 2)
    k3 = f(scale_add(u, h / 2, k2), a + h / 2)
    k4 = f(scale_add(u, h, k3), b)
    return [u[r] + h / 6 * (k1[r] + 2.0 * k2[r] + 2.0 * k3[r] + k4[r]) for r in eachindex(u)]
end

function next_stop(s::Union{GridEuler,GridRungeKutta}, t, b)
    problem = s.run.problem
    next = min(b, problem.t0 + (floor((t - problem.t0) / problem.dt + 1e-9) + 1) * problem.dt)
    return b - next < 1e-9 * problem.dt ? b : next
end

"""
Runge and Kutta's classical scheme for z′ = f(z + σ·W(t), t), W the parabola of each step; steps end at recorded times
too.
"""
struct ParabolaRungeKutta{R<:SSNN.Run,Θ} <: SSNN.SmoothSolver
    run::R
    directions::Vector{Θ}
    depth::Int
end

ParabolaRungeKutta(run, directions) = ParabolaRungeKutta(run, directions, 5)

# The piece's own functions take a `Model`; here θ may be a `DualModel`.
function step_vector(s::ParabolaRungeKutta, u, θ, a, b)
    h, piece = b - a, SSNN.SmoothPiece(s.run, [a, b], s.depth)
    f(z, t) = SSNN.network_drift!(similar(z), SSNN.add_noise!(copy(z), θ, SSNN.path_at!(piece, t)), θ, t)
    k1 = f(u, a)
    k2 = f(scale_add(u, h / 2, k1), a + h / 2)
    k3 = f(scale_add(u, h / 2, k2), a + h / 2)
    k4 = f(scale_add(u, h, k3), b)
    z = [u[r] + h / 6 * (k1[r] + 2.0 * k2[r] + 2.0 * k3[r] + k4[r]) for r in eachindex(u)]
    return SSNN.add_noise!(z, θ, SSNN.path_at!(piece, b))
end

function next_stop(s::ParabolaRungeKutta, t, b)
    problem = s.run.problem
    return minimum(filter(s -> s > t + 1e-9 * problem.dt, [problem.dt * (1:problem.num_steps-1); s.run.saveat; b]))
end

# Each of them has a step, and says where the next one ends.
const OwnSolver = Union{GridEuler,GridRungeKutta,ParabolaRungeKutta}

function SSNN.follow(s::OwnSolver, u, a, b)
    θ, n = s.run.θ, length(u) ÷ 3
    times, states = [a], [copy(u)]
    while times[end] < b
        t = times[end]
        next = next_stop(s, t, b)
        u_next = step_vector(s, states[end], s.run.θ, t, next)
        fractions = map(1:n) do k
            E, E_next = SSNN.event_value_in(θ, states[end], k), SSNN.event_value_in(θ, u_next, k)
            E_next >= 0 ? -E / (E_next - E) : Inf
        end
        fraction, j = findmin(fractions)
        push!(times, fraction <= 1 ? t + fraction * (next - t) : next)
        push!(states, fraction <= 1 ? (1 - fraction) * states[end] + fraction * u_next : u_next)
        fraction <= 1 && return times, states, j
    end
    return times, states, 0
end

function SSNN.replay(s::OwnSolver, u, du, times)
    states, tangents = [copy(u)], [map(copy, du)]
    for (a, b) in zip(times, times[2:end])
        push!(tangents, [
            [y.tangent for y in step_vector(s, SSNN.Dual.(states[end], d), SSNN.DualModel(s.run.θ, dθ), a, b)]
            for (d, dθ) in zip(tangents[end], s.directions)
        ])
        push!(states, step_vector(s, states[end], s.run.θ, a, b))
    end
    return states, tangents
end

"""The adjoint of that scheme, step by step."""
struct RungeKuttaAdjoint <: SSNN.PieceAdjoint end

function rk_stages(piece, z, a, b)
    h = b - a
    f(z, t) = SSNN.piece_drift!(similar(z), z, piece, t)
    k1 = f(z, a)
    k2 = f(z + h / 2 * k1, a + h / 2)
    k3 = f(z + h / 2 * k2, a + h / 2)
    k4 = f(z + h * k3, b)
    return (z, z + h / 2 * k1, z + h / 2 * k2, z + h * k3), z + h / 6 * (k1 + 2k2 + 2k3 + k4)
end

function rk_back!(θ̄, piece, z, a, b, bar)
    h, (z1, z2, z3, z4) = b - a, rk_stages(piece, z, a, b)[1]
    pull(z, t, k_bar) = SSNN.piece_drift_adjoint!(similar(z), θ̄, z, piece, t, k_bar)
    z4_bar = pull(z4, b, h / 6 * bar)
    z3_bar = pull(z3, a + h / 2, h / 3 * bar + h * z4_bar)
    z2_bar = pull(z2, a + h / 2, h / 3 * bar + h / 2 * z3_bar)
    z1_bar = pull(z1, a, h / 6 * bar + h / 2 * z2_bar)
    return bar + z1_bar + z2_bar + z3_bar + z4_bar
end

function SSNN.pull_back!(θ̄, ::RungeKuttaAdjoint, piece::SSNN.SmoothPiece, z, marks, bars)
    states = [z]
    for (a, b) in zip(piece.times, piece.times[2:end])
        push!(states, rk_stages(piece, states[end], a, b)[2])
    end
    bar = zero(z)
    for m in length(piece.times)-1:-1:1
        a, b = piece.times[m], piece.times[m+1]
        mark = findfirst(==(b), marks)
        mark === nothing || (bar += bars[mark])
        bar = rk_back!(θ̄, piece, states[m], a, b, bar)
    end
    return bar
end
