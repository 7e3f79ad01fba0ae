# Of an interval of one length, in the order of `responses`: how v depends on (v, i, constant and growing force on v, on
# i) at the three points of the hazard (1, 7, 13) and at the end (19), how i at the end depends on (i, the forces on i)
# (25), and the variances of v that increment and area leave at the three points (28).
const Responses = NTuple{30,Float64}

"""
    ExactOU

Between events (v, i) is an Ornstein–Uhlenbeck process, linear with additive noise: it is propagated exactly along the
parabola that has the step's increment W and space-time Lévy area H, by the exponentials of its rates, so that no step
is too large for them. The input current is linear through its values at Gauss's two points. The hazard is the mean of
its integral, given W and H, by Gauss's rule of three points u,

    s' = s + h·Σ weight·E[λ(v(u) + ξ)]

where v(u) is the mean given W and H, which is the value along the parabola, and Var ξ what the parabola leaves of the
variance (docs/numerics.md): the intensity's `mean_rate`. Strong order 3/2 for spike times, weak order 2. For SLIF only.
The parabola is that of Foster, Lyons and Oberhauser, "An optimal polynomial approximation of Brownian motion", SIAM
Journal on Numerical Analysis 58 (2020).
"""
mutable struct ExactOU <: Solver
    leaves_variance::Bool               # whether increment and area leave some of the driver's
    length::Float64                     # of the steps for which the tables below hold
    rates::Vector{NTuple{2,Float64}}    # the different (μ1, μ2) of the network
    kind::Vector{Int}                   # which of them each neuron has
    depths::Vector{Int}                 # how many depths of each kind the tables have
    responses::Matrix{Responses}        # (depth + 1, kind)
    in_mu1::Matrix{Responses}           # derivatives of the responses
    in_mu2::Matrix{Responses}
end

ExactOU() = ExactOU(
    true, 0.0, NTuple{2,Float64}[], Int[], Int[], (Matrix{Responses}(undef, 0, 0) for _ in 1:3)...,
)

SOLVERS["exact_ou"] = ExactOU

"""`ExactOU` with all of its tables made, for a device."""
struct TabledOU{K<:AbstractVector{Int},R<:AbstractMatrix{Responses}} <: Solver
    leaves_variance::Bool
    length::Float64
    kind::K
    depths::K
    responses::R
    in_mu1::R
    in_mu2::R
end

const AnyOU = Union{ExactOU,TabledOU}

uses_area(::AnyOU) = true

suit!(solver::ExactOU, driver::Driver) = (solver.leaves_variance = leaves_variance(driver); solver)

const CURRENT_POINTS = (0.5 - sqrt(1 / 12), 0.5 + sqrt(1 / 12))
const HAZARD_POINTS = (0.5 - sqrt(3 / 20), 0.5, 0.5 + sqrt(3 / 20))
const HAZARD_WEIGHTS = (5 / 18, 8 / 18, 5 / 18)

# --- responses of the linear equation ---------------------------------------------------------------------------------

"""
    exp_difference(y, m)
    exp_difference(x, y, m)

The divided differences exp[−y, 0, …, 0] and exp[−x, −y, 0, …, 0] at m points, for x, y ≥ 0: what repeated integrals of
exp(−μ1·u) and exp(−μ2·u) are made of. Taylor's series where the arguments are small, else the recursion that defines
them.
"""
function exp_difference(y, m::Int)
    value(y) <= 1 && return exp_difference_series(0.0 * y, y, m)
    difference = fast_exp(-y)
    for order in 2:m
        difference = (inverse_factorial(order - 2) - difference) / y
    end
    return difference
end

function exp_difference(x, y, m::Int)
    value(x) < value(y) && ((x, y) = (y, x))
    value(x) <= 1 && return exp_difference_series(x, y, m)
    difference = fast_exp(-y) * exp_difference(x - y, 2)
    for order in 3:m
        difference = (exp_difference(y, order - 1) - difference) / x
    end
    return difference
end

const INVERSE_FACTORIALS = ntuple(n -> 1 / factorial(n - 1), 4)

"""1/n! for n up to 3."""
@inline inverse_factorial(n) = @inbounds INVERSE_FACTORIALS[n+1]

# Σ hₙ(−x, −y)/(n + m − 1)! with hₙ the complete homogeneous symmetric polynomials.
function exp_difference_series(x, y, m)
    power, symmetric, total, weight = 1.0 + 0.0 * y, 1.0 + 0.0 * y, 0.0 * y, inverse_factorial(m - 1)
    for n in 1:24
        total = total + weight * symmetric
        power = power * (-y)
        symmetric = power - x * symmetric
        weight /= n + m - 1
    end
    return total
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

"""
What (W, H) leave of the variance of v at time u of an interval of length h, per unit of σ11² + σ12². What noise on i
adds is of higher order, and left out.
"""
function residual_variance(mu1, u, h)
    x = mu1 * u
    constant, growing = u * exp_difference(x, 2), u^2 * exp_difference(x, 3)
    with_area = 0.5 * constant - growing / h
    return u * exp_difference(2.0 * x, 2) - constant * constant / h - with_area * with_area * (12 / h)
end

"""
Of an interval of length h: responses of v at the hazard's points and at the end, six each, and the three of i at its
end; variances of v at the hazard's points.
"""
responses(mu1, mu2, h) = (
    potential_responses(mu1, mu2, HAZARD_POINTS[1] * h)..., potential_responses(mu1, mu2, HAZARD_POINTS[2] * h)...,
    potential_responses(mu1, mu2, HAZARD_POINTS[3] * h)..., potential_responses(mu1, mu2, h)...,
    current_responses(mu2, h)...,
    residual_variance(mu1, HAZARD_POINTS[1] * h, h), residual_variance(mu1, HAZARD_POINTS[2] * h, h),
    residual_variance(mu1, HAZARD_POINTS[3] * h, h),
)

"""The same without the variances, where the driver has none that they would be of."""
@noinline function responses(solver::AnyOU, mu1, mu2, h)
    r = responses(mu1, mu2, h)
    return solver.leaves_variance ? r : without_variances(r)
end

without_variances(r::NTuple{30,T}) where {T} = ntuple(n -> n < 28 ? r[n] : convert(T, 0.0), Val(30))

"""`responses`, and their derivatives in μ1 and in μ2."""
function responses_with_derivatives(solver::AnyOU, mu1::Float64, mu2::Float64, h)
    in_mu1 = responses(solver, Dual(mu1, 1.0), Dual(mu2, 0.0), h)
    in_mu2 = responses(solver, Dual(mu1, 0.0), Dual(mu2, 1.0), h)
    # `map` of long tuples is slow.
    return ntuple(n -> in_mu1[n].value, Val(30)), ntuple(n -> in_mu1[n].tangent, Val(30)),
    ntuple(n -> in_mu2[n].tangent, Val(30))
end

prepare!(::ExactOU, θ::Model, h) =
    throw(ArgumentError("exact_ou solves the SLIF neuron's linear equation, and no other"))
prepare!(solver::ExactOU, θ::SLIF, h) = prepare!(solver, θ.mu1, θ.mu2, h)

"""Prepare for steps of length h of neurons with these rates."""
function prepare!(solver::ExactOU, mu1::AbstractVector, mu2::AbstractVector, h)
    same = solver.length == h && size(solver.kind) == size(mu1) &&
        all(k -> solver.rates[solver.kind[k]] == (mu1[k], mu2[k]), eachindex(mu1))
    same && return
    solver.length = h
    solver.rates = unique(zip(mu1, mu2))
    place = Dict(rates => r for (r, rates) in enumerate(solver.rates))
    solver.kind = [place[rates] for rates in zip(mu1, mu2)]
    solver.depths = zeros(Int, length(solver.rates))
    tables = (DEEPEST, length(solver.rates))
    size(solver.responses) == tables ||
        ((solver.responses, solver.in_mu1, solver.in_mu2) = (Matrix{Responses}(undef, tables) for _ in 1:3))
    foreach(kind -> fill_tables!(solver, kind, 1), eachindex(solver.rates))
end

prepare_refinement!(solver::ExactOU, θ::SLIF, k, leaves) = fill_tables!(solver, @inbounds(solver.kind[k]), leaves)

"""Have the tables of that kind of neurons for intervals at depths 0 to `depths` − 1 below the steps."""
@inline function fill_tables!(solver::ExactOU, kind, depths)
    for depth in @inbounds(solver.depths[kind]):depths-1
        solver.responses[depth+1, kind], solver.in_mu1[depth+1, kind], solver.in_mu2[depth+1, kind] =
            responses_with_derivatives(solver, solver.rates[kind]..., solver.length * HALVINGS[depth+1])
        solver.depths[kind] = depth + 1
    end
end

# Where the tables have an interval of length h of neuron k, a part of a whole step; 0 for one that they do not have.
@inline function known_place(solver::AnyOU, k, h)
    depth, kind = halvings(solver.length, h), @inbounds solver.kind[k]
    0 <= depth < @inbounds(solver.depths[kind]) || return 0
    return depth + 1 + DEEPEST * (kind - 1)
end

"""Responses of neuron k over an interval of length h, and their derivatives in μ1 and μ2."""
@inline function known_responses(solver::AnyOU, θ::SLIF, k, h)
    place = known_place(solver, k, h)
    return place == 0 ? responses(solver, θ.mu1[k], θ.mu2[k], h) : @inbounds solver.responses[place]
end

"""Derivatives of neuron k's responses in μ1 and μ2."""
@inline function known_derivatives(solver::AnyOU, θ::SLIF, k, h)
    place = known_place(solver, k, h)
    place == 0 || return @inbounds solver.in_mu1[place], solver.in_mu2[place]
    _, in_mu1, in_mu2 = responses_with_derivatives(solver, θ.mu1[k], θ.mu2[k], h)
    return in_mu1, in_mu2
end

# Responses that depend on μ1 and μ2.
@inline dual_responses(at, (in_mu1, in_mu2), dmu1, dmu2) =
    ntuple(r -> Dual(at[r], in_mu1[r] * dmu1 + in_mu2[r] * dmu2), Val(30))

# --- the step ---------------------------------------------------------------------------------------------------------

# The forces on v and i: constant and growing parts of the noise, and of the input current.
@inline function ou_forces(θ, k, t, h, x)
    n1, n2 = sigma_times(θ, k, x.w)
    a1, a2 = sigma_times(θ, k, x.h)
    per_time = 1 / h
    p1, q1 = (n1 + 6.0 * a1) * per_time, a1 * (-12.0 * per_time^2)
    p2, q2 = (n2 + 6.0 * a2) * per_time, a2 * (-12.0 * per_time^2)
    early, late = input_current(θ, k, t + CURRENT_POINTS[1] * h), input_current(θ, k, t + CURRENT_POINTS[2] * h)
    growth = (late - early) * (sqrt(3.0) * per_time)
    start = 0.5 * (early + late) - (0.5 * h) * growth
    return p1, q1, p2, q2, start, growth
end

"""What v owes to the six causes, by the responses that begin at `place`."""
@inline respond(r, place, v, i, f0, f1, p2, q2) =
    r[place] * v + r[place+1] * i + r[place+2] * f0 + r[place+3] * f1 + r[place+4] * p2 + r[place+5] * q2

# Means of v at the hazard's points, v at the end, and the forces.
@inline function ou_path(θ, k, r, v, i, t, h, x)
    p1, q1, p2, q2, start, growth = ou_forces(θ, k, t, h, x)
    mu1 = coefficient(θ, Val(:mu1), k)
    f0, f1 = mu1 * start + p1, mu1 * growth + q1
    means = (
        respond(r, 1, v, i, f0, f1, p2, q2), respond(r, 7, v, i, f0, f1, p2, q2), respond(r, 13, v, i, f0, f1, p2, q2),
    )
    return means, respond(r, 19, v, i, f0, f1, p2, q2), (p2, q2, start, growth, f0, f1)
end

"""The step, given its responses r."""
@inline function ou_step(θ, k, r, (v, i, s), t, h, x)
    (v1, v2, v3), v_end, (p2, q2) = ou_path(θ, k, r, v, i, t, h, x)
    variance = variance_rate(θ, k)
    rate1, rate2, rate3 = mean_firing_rate(θ, k, v1, variance * r[28]), mean_firing_rate(θ, k, v2, variance * r[29]),
    mean_firing_rate(θ, k, v3, variance * r[30])
    hazard = HAZARD_WEIGHTS[1] * (rate1 + rate3) + HAZARD_WEIGHTS[2] * rate2
    return v_end, r[25] * i + r[26] * p2 + r[27] * q2, s + h * hazard
end

@inline one_step(solver::AnyOU, θ::SLIF, k, y, t, h, x) = ou_step(θ, k, known_responses(solver, θ, k, h), y, t, h, x)

@inline function one_step(solver::AnyOU, θ::DualModel{<:SLIF}, k, y, t, h, x)
    r = known_responses(solver, θ.primal, k, h)
    dmu1, dmu2 = @inbounds θ.tangent.mu1[k], θ.tangent.mu2[k]
    dmu1 == 0 && dmu2 == 0 && return ou_step(θ, k, r, y, t, h, x)
    return ou_step(θ, k, dual_responses(r, known_derivatives(solver, θ.primal, k, h), dmu1, dmu2), y, t, h, x)
end

"""Σ bars · derivatives."""
@inline function contract(bars::NTuple{N,Float64}, derivatives::NTuple{N,Float64}) where {N}
    total = 0.0
    for n in 1:N
        total += bars[n] * derivatives[n]
    end
    return total
end

"""What cause n owes to the cotangents of v at the four times."""
@inline pulled(r, n, bars) = r[n] * bars[1] + r[n+6] * bars[2] + r[n+12] * bars[3] + r[n+18] * bars[4]

@inline function one_step_adjoint!(
    θ̄::SLIF, solver::AnyOU, θ::SLIF, k, (v, i, _), (v_bar, i_bar, s_bar), t, h, x, wanted,
)
    r = known_responses(solver, θ, k, h)
    means, _, (p2, q2, start, growth, f0, f1) = ou_path(θ, k, r, v, i, t, h, x)
    variance, variances, mu1 = variance_rate(θ, k), (r[28], r[29], r[30]), @inbounds θ.mu1[k]
    outer, inner = h * HAZARD_WEIGHTS[1] * s_bar, h * HAZARD_WEIGHTS[2] * s_bar
    bar1, variance_bar1 = mean_firing_rate_adjoint!(θ̄, θ, k, means[1], variance * r[28], outer, wanted)
    bar2, variance_bar2 = mean_firing_rate_adjoint!(θ̄, θ, k, means[2], variance * r[29], inner, wanted)
    bar3, variance_bar3 = mean_firing_rate_adjoint!(θ̄, θ, k, means[3], variance * r[30], outer, wanted)
    v_bars, variance_bars = (bar1, bar2, bar3, v_bar), (variance_bar1, variance_bar2, variance_bar3)
    f0_bar, f1_bar = pulled(r, 3, v_bars), pulled(r, 4, v_bars)
    p2_bar, q2_bar = pulled(r, 5, v_bars) + r[26] * i_bar, pulled(r, 6, v_bars) + r[27] * i_bar
    per_time = 1 / h
    if wanted.sigma
        sigma_adjoint!(θ̄, k, x.w, f0_bar * per_time, p2_bar * per_time)
        sigma_adjoint!(
            θ̄, k, x.h, 6 * f0_bar * per_time - 12 * f1_bar * per_time^2,
            6 * p2_bar * per_time - 12 * q2_bar * per_time^2,
        )
        variance_rate_adjoint!(θ̄, θ, k, contract(variance_bars, variances))
    end
    if wanted.current
        start_bar = mu1 * f0_bar
        growth_bar = (mu1 * f1_bar - 0.5 * h * start_bar) * (sqrt(3.0) * per_time)
        current_adjoint!(θ̄.current, θ.current, k, t + CURRENT_POINTS[1] * h, 0.5 * start_bar - growth_bar)
        current_adjoint!(θ̄.current, θ.current, k, t + CURRENT_POINTS[2] * h, 0.5 * start_bar + growth_bar)
    end
    if wanted.mu
        in_mu1, in_mu2 = known_derivatives(solver, θ, k, h)
        causes = (v, i, f0, f1, p2, q2)
        response_bars = (
            scaled(v_bars[1], causes)..., scaled(v_bars[2], causes)..., scaled(v_bars[3], causes)...,
            scaled(v_bar, causes)...,
            i_bar * i, i_bar * p2, i_bar * q2,
            variance * variance_bars[1], variance * variance_bars[2], variance * variance_bars[3],
        )
        @inbounds θ̄.mu1[k] += f0_bar * start + f1_bar * growth + contract(response_bars, in_mu1)
        @inbounds θ̄.mu2[k] += contract(response_bars, in_mu2)
    end
    return pulled(r, 1, v_bars), pulled(r, 2, v_bars) + r[25] * i_bar, s_bar
end
