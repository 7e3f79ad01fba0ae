# Of an interval of one length, in the order of `responses`: how v depends on (v, i, constant and growing force on v, on i) at the three points of the hazard (1, 7, 13) and at the end (19), how i at the end
# depends on (i, the forces on i) (25), and the variances of v that increment and area leave at the three points (28).
const Responses = NTuple{30,Float64}

"""
    ExactOU

Between events (v, i) is an Ornstein–Uhlenbeck process, linear with additive noise: it is propagated exactly along the parabola that has the step's increment W and space-time Lévy area
H, by the exponentials of its rates, so that no step is too large for them. The input current is linear through its values at Gauss's two points. The hazard is the mean of its integral, given
W and H, by Gauss's rule of three points u,

    s' = s + h·Σ weight·E[λ(v(u)) | W, H]        E[λ(v + ξ)] = λ(v + ½·κ(v)·Var ξ)        κ = λ″/λ′

where v(u) is the mean given W and H, which is the value along the parabola, and Var ξ what the parabola leaves of the variance (docs/numerics.md); for an exponential λ the last
formula is exact. Strong order 3/2 for spike times, weak order 2. The parabola is that of Foster, Lyons and Oberhauser, "An optimal polynomial approximation of Brownian motion", SIAM Journal on
Numerical Analysis 58 (2020).
"""
mutable struct ExactOU <: OneStepSolver
    length::Float64                     # of the steps for which the tables below hold
    rates::Vector{NTuple{2,Float64}}    # the different (μ1, μ2) of the network
    kind::Vector{Int}                   # which of them each neuron has
    known::Matrix{Bool}                 # (depth + 1, kind)
    responses::Matrix{Responses}
    in_mu1::Matrix{Responses}           # derivatives of the responses
    in_mu2::Matrix{Responses}
end

ExactOU() = ExactOU(0.0, NTuple{2,Float64}[], Int[], zeros(Bool, 0, 0), (Matrix{Responses}(undef, 0, 0) for _ in 1:3)...)

SOLVERS["exact_ou"] = ExactOU

uses_area(::ExactOU) = true

const CURRENT_POINTS = (0.5 - sqrt(1 / 12), 0.5 + sqrt(1 / 12))
const HAZARD_POINTS = (0.5 - sqrt(3 / 20), 0.5, 0.5 + sqrt(3 / 20))
const HAZARD_WEIGHTS = (5 / 18, 8 / 18, 5 / 18)

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

"""What (W, H) leave of the variance of v at time u of an interval of length h, per unit of σ11² + σ12². What noise on i adds is of higher order, and left out."""
function residual_variance(mu1, u, h)
    x = mu1 * u
    constant, growing = u * exp_difference(x, 2), u^2 * exp_difference(x, 3)
    with_area = 0.5 * constant - growing / h
    return u * exp_difference(2.0 * x, 2) - constant * constant / h - with_area * with_area * (12 / h)
end

"""Of an interval of length h: responses of v at the hazard's points and at the end, six each, and the three of i at its end; variances of v at the hazard's points."""
responses(mu1, mu2, h) = (
    potential_responses(mu1, mu2, HAZARD_POINTS[1] * h)..., potential_responses(mu1, mu2, HAZARD_POINTS[2] * h)...,
    potential_responses(mu1, mu2, HAZARD_POINTS[3] * h)..., potential_responses(mu1, mu2, h)..., current_responses(mu2, h)...,
    residual_variance(mu1, HAZARD_POINTS[1] * h, h), residual_variance(mu1, HAZARD_POINTS[2] * h, h), residual_variance(mu1, HAZARD_POINTS[3] * h, h),
)

function responses_with_derivatives(mu1::Float64, mu2::Float64, h)
    in_mu1, in_mu2 = responses(Dual(mu1, 1.0), Dual(mu2, 0.0), h), responses(Dual(mu1, 0.0), Dual(mu2, 1.0), h)
    # `map` of long tuples is slow.
    return ntuple(n -> in_mu1[n].value, Val(30)), ntuple(n -> in_mu1[n].tangent, Val(30)), ntuple(n -> in_mu2[n].tangent, Val(30))
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
    size(solver.responses) == size(solver.known) ||
        ((solver.responses, solver.in_mu1, solver.in_mu2) = (Matrix{Responses}(undef, size(solver.known)) for _ in 1:3))
end

# Where the tables have an interval of length h of neuron k, a part of a whole step; 0 for one that they do not have.
@inline function known_place(solver::ExactOU, k, h)
    depth = reinterpret(Int64, solver.length) - reinterpret(Int64, h)       # as a difference of exponents, if only they differ
    (depth & 0x000fffffffffffff == 0 && 0 <= depth >> 52 <= DEEPEST) || return 0
    place = (depth >> 52) + 1 + (DEEPEST + 1) * (@inbounds(solver.kind[k]) - 1)
    @inbounds solver.known[place] || remember!(solver, place, solver.kind[k], h)
    return place
end

@noinline function remember!(solver::ExactOU, place, kind, h)
    solver.responses[place], solver.in_mu1[place], solver.in_mu2[place] = responses_with_derivatives(solver.rates[kind]..., h)
    solver.known[place] = true
end

"""Responses of neuron k over an interval of length h, and their derivatives in μ1 and μ2."""
@inline function known_responses(solver::ExactOU, θ::Parameters, k, h)
    place = known_place(solver, k, h)
    return place == 0 ? responses(θ.mu1[k], θ.mu2[k], h) : @inbounds solver.responses[place]
end

@inline function known_derivatives(solver::ExactOU, θ::Parameters, k, h)
    place = known_place(solver, k, h)
    place == 0 && return responses_with_derivatives(θ.mu1[k], θ.mu2[k], h)[2:3]
    return @inbounds solver.in_mu1[place], solver.in_mu2[place]
end

# Responses that move with μ1 and μ2.
@inline moving_responses(at, (in_mu1, in_mu2), dmu1, dmu2) =
    ntuple(r -> Dual(at[r], in_mu1[r] * dmu1 + in_mu2[r] * dmu2), Val(30))

# --- the step --------------------------------------------------------------------------------------------------------------------

# The forces on v and i: constant and growing parts of the noise, and of the input current.
@inline function ou_forces(θ, k, c::Constants, t, h, noise::Noise)
    n1, n2 = driving_increments(c, noise)
    a1, a2 = driving_areas(c, noise)
    per_time = 1 / h
    p1, q1 = (n1 + 6.0 * a1) * per_time, a1 * (-12.0 * per_time^2)
    p2, q2 = (n2 + 6.0 * a2) * per_time, a2 * (-12.0 * per_time^2)
    early, late = input_current(θ, k, t + CURRENT_POINTS[1] * h), input_current(θ, k, t + CURRENT_POINTS[2] * h)
    growth = (late - early) * (sqrt(3.0) * per_time)
    start = 0.5 * (early + late) - (0.5 * h) * growth
    return p1, q1, p2, q2, start, growth
end

@inline respond(r, place, v, i, f0, f1, p2, q2) =
    r[place] * v + r[place+1] * i + r[place+2] * f0 + r[place+3] * f1 + r[place+4] * p2 + r[place+5] * q2

# Means of v at the hazard's points, v at the end, and the forces.
@inline function ou_path(θ, k, c::Constants, r, v, i, t, h, noise::Noise)
    p1, q1, p2, q2, start, growth = ou_forces(θ, k, c, t, h, noise)
    f0, f1 = c.mu1 * start + p1, c.mu1 * growth + q1
    means = (
        respond(r, 1, v, i, f0, f1, p2, q2), respond(r, 7, v, i, f0, f1, p2, q2), respond(r, 13, v, i, f0, f1, p2, q2),
    )
    return means, respond(r, 19, v, i, f0, f1, p2, q2), (p1, q1, p2, q2, start, growth, f0, f1)
end

@inline variance_factor(c::Constants) = c.sigma11 * c.sigma11 + c.sigma12 * c.sigma12

@inline function ou_step(θ, k, r, v, i, s, t, h, noise::Noise)
    c = constants(θ, k)
    (v1, v2, v3), v_end, (_, _, p2, q2) = ou_path(θ, k, c, r, v, i, t, h, noise)
    factor = variance_factor(c)
    rate1, rate2, rate3 = mean_rate(θ, k, v1, factor * r[28]), mean_rate(θ, k, v2, factor * r[29]), mean_rate(θ, k, v3, factor * r[30])
    hazard = HAZARD_WEIGHTS[1] * (rate1 + rate3) + HAZARD_WEIGHTS[2] * rate2
    return v_end, r[25] * i + r[26] * p2 + r[27] * q2, s + h * hazard
end

@inline one_step(solver::ExactOU, θ::Parameters, k, v, i, s, t, h, noise::Noise) =
    ou_step(θ, k, known_responses(solver, θ, k, h), v, i, s, t, h, noise)

@inline function one_step(solver::ExactOU, θ::Moving, k, v, i, s, t, h, noise::Noise)
    r = known_responses(solver, θ.at, k, h)
    dmu1, dmu2 = @inbounds θ.change.mu1[k], θ.change.mu2[k]
    dmu1 == 0 && dmu2 == 0 && return ou_step(θ, k, r, v, i, s, t, h, noise)
    return ou_step(θ, k, moving_responses(r, known_derivatives(solver, θ.at, k, h), dmu1, dmu2), v, i, s, t, h, noise)
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
    r = known_responses(solver, θ, k, h)
    means, _, (p1, q1, p2, q2, start, growth, f0, f1) = ou_path(θ, k, c, r, v, i, t, h, noise)
    factor, variances = variance_factor(c), (r[28], r[29], r[30])
    bars = ntuple(Val(3)) do n
        mean_rate_adjoint!(θ̄, θ, k, means[n], factor * variances[n], h * HAZARD_WEIGHTS[n] * bar.s, wanted)
    end
    v_bars, variance_bars = map(first, bars), map(last, bars)
    # What each response at the four times owes to the cotangents of v there.
    pulled(n) = r[n] * v_bars[1] + r[n+6] * v_bars[2] + r[n+12] * v_bars[3] + r[n+18] * bar.v
    f0_bar, f1_bar = pulled(3), pulled(4)
    p2_bar, q2_bar = pulled(5) + r[26] * bar.i, pulled(6) + r[27] * bar.i
    per_time = 1 / h
    if wanted.sigma
        driving_adjoint!(
            θ̄, k, noise, f0_bar * per_time, p2_bar * per_time, 6 * f0_bar * per_time - 12 * f1_bar * per_time^2,
            6 * p2_bar * per_time - 12 * q2_bar * per_time^2,
        )
        factor_bar = 2 * contract(variance_bars, variances)
        @inbounds θ̄.sigma11[k] += factor_bar * c.sigma11
        @inbounds θ̄.sigma12[k] += factor_bar * c.sigma12
    end
    if wanted.current
        start_bar = c.mu1 * f0_bar
        growth_bar = (c.mu1 * f1_bar - 0.5 * h * start_bar) * (sqrt(3.0) * per_time)
        current_adjoint!(θ̄.current, θ.current, k, t + CURRENT_POINTS[1] * h, 0.5 * start_bar - growth_bar)
        current_adjoint!(θ̄.current, θ.current, k, t + CURRENT_POINTS[2] * h, 0.5 * start_bar + growth_bar)
    end
    if wanted.mu
        in_mu1, in_mu2 = known_derivatives(solver, θ, k, h)
        causes = (v, i, f0, f1, p2, q2)
        scaled(x) = map(cause -> x * cause, causes)
        response_bars = (
            scaled(v_bars[1])..., scaled(v_bars[2])..., scaled(v_bars[3])..., scaled(bar.v)..., bar.i * i, bar.i * p2, bar.i * q2,
            factor * variance_bars[1], factor * variance_bars[2], factor * variance_bars[3],
        )
        @inbounds θ̄.mu1[k] += f0_bar * start + f1_bar * growth + contract(response_bars, in_mu1)
        @inbounds θ̄.mu2[k] += contract(response_bars, in_mu2)
    end
    return pulled(1), pulled(2) + r[25] * bar.i
end
