"""
    ExactOU

Between events (v, i) is an Ornstein–Uhlenbeck process, linear with additive noise: it is propagated exactly along the parabola that has the step's increment and space-time Lévy area,
by the exponentials of its rates, so that no step is too large for them. The input current is linear through its values at Gauss's two points u₋, u₊; the hazard is
integrated by Gauss's rule,

    s' = s + h/2·(λ(v(u₋) − κ·η) + λ(v(u₊) + κ·η)),        κ = 1/√6 − 1/√12

where η is the noise's part in v', and κ·η supplies the h/12 of the second moment that the parabola lacks (docs/numerics.md). Strong order 3/2 for spike times, weak order 2. The
parabola is that of Foster, Lyons and Oberhauser, "An optimal polynomial approximation of Brownian motion", SIAM Journal on Numerical Analysis 58 (2020).
"""
mutable struct ExactOU <: OneStepSolver
    length::Float64                     # of the steps for which the table below holds
    rates::Vector{NTuple{2,Float64}}    # the different (μ1, μ2) of the network
    kind::Vector{Int}                   # which of them each neuron has
    known::Matrix{Bool}                 # (depth + 1, kind)
    table::Matrix{NTuple{3,NTuple{21,Float64}}}     # responses, and their derivatives in μ1 and μ2
end

ExactOU() = ExactOU(0.0, NTuple{2,Float64}[], Int[], zeros(Bool, 0, 0), Matrix{NTuple{3,NTuple{21,Float64}}}(undef, 0, 0))

SOLVERS["exact_ou"] = ExactOU

uses_area(::ExactOU) = true

const GAUSS_POINTS = (0.5 - sqrt(1 / 12), 0.5 + sqrt(1 / 12))
const OU_SPREAD = sqrt(1 / 6) - sqrt(1 / 12)

# --- responses of the linear equation --------------------------------------------------------------------------------------------

"""
    exp_difference(y, m)
    exp_difference(x, y, m)

The divided differences exp[−y, 0, …, 0] and exp[−x, −y, 0, …, 0] at m points, for x, y ≥ 0: what repeated integrals of exp(−μ1·u) and exp(−μ2·u) are made of. Taylor's series
where the arguments are small, else the recursion that defines them.
"""
function exp_difference(y, m::Int)
    value(y) <= 1 && return exp_difference_series(0.0 * y, y, m)
    m == 1 && return fast_exp(-y)
    return (1 / factorial(m - 2) - exp_difference(y, m - 1)) / y
end

function exp_difference(x, y, m::Int)
    value(x) < value(y) && return exp_difference(y, x, m)
    value(x) <= 1 && return exp_difference_series(x, y, m)
    m == 2 && return fast_exp(-y) * exp_difference(x - y, 2)
    return (exp_difference(y, m - 1) - exp_difference(x, y, m - 1)) / x
end

# Σ hₙ(−x, −y)/(n + m − 1)! with hₙ the complete homogeneous symmetric polynomials.
function exp_difference_series(x, y, m)
    power, symmetric, sum, weight = 1.0 + 0.0 * y, 1.0 + 0.0 * y, 0.0 * y, 1 / factorial(m - 1)
    for n in 1:24
        sum = sum + weight * symmetric
        power = power * (-y)
        symmetric = power - x * symmetric
        weight /= n + m - 1
    end
    return sum
end

# What v at time u owes to v(0), i(0), a constant and a growing force on v, and the same on i.
function potential_responses(mu1, mu2, u)
    x, y = mu1 * u, mu2 * u
    return exp_difference(x, 1), x * exp_difference(x, y, 2),
    u * exp_difference(x, 2), u^2 * exp_difference(x, 3),
    u * x * exp_difference(x, y, 3), u^2 * x * exp_difference(x, y, 4)
end

# Likewise i at time u, to i(0) and the forces on i.
current_responses(mu2, u) = exp_difference(mu2 * u, 1), u * exp_difference(mu2 * u, 2), u^2 * exp_difference(mu2 * u, 3)

"""Responses of v at Gauss's points and at the end of an interval of length h, six each, and the three of i at its end."""
responses(mu1, mu2, h) = (
    potential_responses(mu1, mu2, GAUSS_POINTS[1] * h)..., potential_responses(mu1, mu2, GAUSS_POINTS[2] * h)...,
    potential_responses(mu1, mu2, h)..., current_responses(mu2, h)...,
)

function responses_with_derivatives(mu1::Float64, mu2::Float64, h)
    in_mu1, in_mu2 = responses(Dual(mu1, 1.0), Dual(mu2, 0.0), h), responses(Dual(mu1, 0.0), Dual(mu2, 1.0), h)
    # `map` of long tuples is slow.
    return ntuple(n -> in_mu1[n].value, Val(21)), ntuple(n -> in_mu1[n].tangent, Val(21)), ntuple(n -> in_mu2[n].tangent, Val(21))
end

function prepare!(solver::ExactOU, θ::Parameters, length)
    same = solver.length == length && size(solver.kind) == size(θ.mu1) &&
        all(k -> solver.rates[solver.kind[k]] == (θ.mu1[k], θ.mu2[k]), eachindex(θ.mu1))
    same && return
    solver.length = length
    solver.rates = unique(zip(θ.mu1, θ.mu2))
    place = Dict(rates => r for (r, rates) in enumerate(solver.rates))
    solver.kind = [place[rates] for rates in zip(θ.mu1, θ.mu2)]
    solver.known = zeros(Bool, DEEPEST + 1, Base.length(solver.rates))
    solver.table = Matrix{NTuple{3,NTuple{21,Float64}}}(undef, DEEPEST + 1, Base.length(solver.rates))
end

"""Responses of neuron k over an interval of length h, with their derivatives in μ1 and μ2; remembered for the intervals of a step."""
@inline function known_responses(solver::ExactOU, θ::Parameters, k, h)
    depth = reinterpret(Int64, solver.length) - reinterpret(Int64, h)       # as a difference of exponents, if only they differ
    depth & 0x000fffffffffffff == 0 || return responses_with_derivatives(θ.mu1[k], θ.mu2[k], h)
    row, kind = (depth >> 52) + 1, solver.kind[k]
    solver.known[row, kind] || remember!(solver, row, kind, h)
    return @inbounds solver.table[row, kind]
end

@noinline function remember!(solver::ExactOU, row, kind, h)
    solver.table[row, kind] = responses_with_derivatives(solver.rates[kind]..., h)
    solver.known[row, kind] = true
end

# Responses that move with μ1 and μ2.
@inline function moving_responses((at, in_mu1, in_mu2), dmu1, dmu2)
    return ntuple(r -> Dual(at[r], in_mu1[r] * dmu1 + in_mu2[r] * dmu2), Val(21))
end

# --- the step --------------------------------------------------------------------------------------------------------------------

# The forces on v and i: constant and growing parts of the noise, and of the input current.
@inline function ou_forces(θ, k, c::Constants, t, h, noise::Noise)
    n1, n2 = driving_increments(c, noise)
    a1, a2 = driving_areas(c, noise)
    per_time = 1 / h
    p1, q1 = (n1 + 6.0 * a1) * per_time, a1 * (-12.0 * per_time^2)
    p2, q2 = (n2 + 6.0 * a2) * per_time, a2 * (-12.0 * per_time^2)
    early, late = input_current(θ, k, t + GAUSS_POINTS[1] * h), input_current(θ, k, t + GAUSS_POINTS[2] * h)
    growth = (late - early) * (sqrt(3.0) * per_time)
    start = 0.5 * (early + late) - (0.5 * h) * growth
    return p1, q1, p2, q2, start, growth
end

@inline respond(r, place, v, i, f0, f1, p2, q2) =
    r[place] * v + r[place+1] * i + r[place+2] * f0 + r[place+3] * f1 + r[place+4] * p2 + r[place+5] * q2

# v at Gauss's points (spread apart) and at the end, the forces, and η.
@inline function ou_path(θ, k, c::Constants, r, v, i, t, h, noise::Noise)
    p1, q1, p2, q2, start, growth = ou_forces(θ, k, c, t, h, noise)
    f0, f1 = c.mu1 * start + p1, c.mu1 * growth + q1
    η = r[15] * p1 + r[16] * q1 + r[17] * p2 + r[18] * q2
    v_early = respond(r, 1, v, i, f0, f1, p2, q2) - OU_SPREAD * η
    v_late = respond(r, 7, v, i, f0, f1, p2, q2) + OU_SPREAD * η
    return v_early, v_late, respond(r, 13, v, i, f0, f1, p2, q2), (p1, q1, p2, q2, start, growth, f0, f1, η)
end

@inline function ou_step(θ, k, r, v, i, s, t, h, noise::Noise)
    v_early, v_late, v_end, (_, _, p2, q2) = ou_path(θ, k, constants(θ, k), r, v, i, t, h, noise)
    return v_end, r[19] * i + r[20] * p2 + r[21] * q2, s + (0.5 * h) * (firing_rate(θ, k, v_early) + firing_rate(θ, k, v_late))
end

@inline one_step(solver::ExactOU, θ::Parameters, k, v, i, s, t, h, noise::Noise) =
    ou_step(θ, k, first(known_responses(solver, θ, k, h)), v, i, s, t, h, noise)

@inline function one_step(solver::ExactOU, θ::Moving, k, v, i, s, t, h, noise::Noise)
    known = known_responses(solver, θ.at, k, h)
    dmu1, dmu2 = @inbounds θ.change.mu1[k], θ.change.mu2[k]
    dmu1 == 0 && dmu2 == 0 && return ou_step(θ, k, known[1], v, i, s, t, h, noise)
    return ou_step(θ, k, moving_responses(known, dmu1, dmu2), v, i, s, t, h, noise)
end

@inline function contract(bars::NTuple{N,Float64}, derivatives::NTuple{N,Float64}) where {N}
    total = 0.0
    for n in 1:N
        total += bars[n] * derivatives[n]
    end
    return total
end

@inline function one_step_adjoint!(θ̄::Parameters, solver::ExactOU, θ::Parameters, k, v, i, bar, t, h, noise::Noise, wanted::Groups)
    c = constants(θ, k)
    r, in_mu1, in_mu2 = known_responses(solver, θ, k, h)
    v_early, v_late, _, (p1, q1, p2, q2, start, growth, f0, f1, _) = ou_path(θ, k, c, r, v, i, t, h, noise)
    early_bar = firing_rate_adjoint!(θ̄, θ, k, v_early, 0.5 * h * bar.s, wanted)
    late_bar = firing_rate_adjoint!(θ̄, θ, k, v_late, 0.5 * h * bar.s, wanted)
    η_bar = OU_SPREAD * (late_bar - early_bar)
    # What each response at the three times owes to the cotangents of v there.
    pulled(n) = r[n] * early_bar + r[n+6] * late_bar + r[n+12] * bar.v
    f0_bar, f1_bar = pulled(3), pulled(4)
    p1_bar, q1_bar = f0_bar + r[15] * η_bar, f1_bar + r[16] * η_bar
    p2_bar, q2_bar = pulled(5) + r[17] * η_bar + r[20] * bar.i, pulled(6) + r[18] * η_bar + r[21] * bar.i
    per_time = 1 / h
    if wanted.sigma
        driving_adjoint!(
            θ̄, k, noise, p1_bar * per_time, p2_bar * per_time, 6 * p1_bar * per_time - 12 * q1_bar * per_time^2,
            6 * p2_bar * per_time - 12 * q2_bar * per_time^2,
        )
    end
    if wanted.current
        start_bar = c.mu1 * f0_bar
        growth_bar = (c.mu1 * f1_bar - 0.5 * h * start_bar) * (sqrt(3.0) * per_time)
        current_adjoint!(θ̄.current, θ.current, k, t + GAUSS_POINTS[1] * h, 0.5 * start_bar - growth_bar)
        current_adjoint!(θ̄.current, θ.current, k, t + GAUSS_POINTS[2] * h, 0.5 * start_bar + growth_bar)
    end
    if wanted.mu
        causes, noise_causes = (v, i, f0, f1, p2, q2), (0.0, 0.0, p1, q1, p2, q2)
        response_bars = (
            map(cause -> early_bar * cause, causes)..., map(cause -> late_bar * cause, causes)...,
            map((cause, of_noise) -> bar.v * cause + η_bar * of_noise, causes, noise_causes)..., bar.i * i, bar.i * p2, bar.i * q2,
        )
        @inbounds θ̄.mu1[k] += f0_bar * start + f1_bar * growth + contract(response_bars, in_mu1)
        @inbounds θ̄.mu2[k] += contract(response_bars, in_mu2)
    end
    return pulled(1), pulled(2) + r[19] * bar.i
end
