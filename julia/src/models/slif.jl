"""
    SLIF

The stochastic leaky integrate-and-fire neuron with a synaptic current (Holberg and Salvi, NeurIPS 2024, section 2),
tuned by hand. With y = (v, i, s), B the neuron's Brownian motions, I its input current and g(v) its diffusion,

    dv = μ1·(i + I(t) − v) dt + g(v)·(σ11 dB¹ + σ12 dB²)
    di = −μ2·i dt + σ21 dB¹ + σ22 dB²
    ds = λ(v) dt

It fires where the intensity's event says so, by default where s reaches 0: then v falls by v_reset, or is put there (a
hard reset); s is log U − α, and i of each target grows by the synapse's weight.
"""
struct SLIF{
    I<:Intensity,C<:InputCurrent,D<:Diffusion,K,V<:AbstractVector{Float64},W<:AbstractVector{Float64},
} <: Model
    mu1::V
    mu2::V
    sigma11::V
    sigma12::V
    sigma21::V
    sigma22::V
    v_reset::V
    alpha::V
    v0::V
    i0::V
    weights::W
    delays::W                       # or empty
    intensity::I
    current::C
    diffusion::D
    hard_reset::Bool
    stratonovich::Bool
    clamped::K                      # of each neuron whether it is, or nothing
end

MODELS["slif"] = function (problem)
    n = Int(problem.num_neurons)
    settings = host_array(problem.settings, problem.num_settings)
    knots = copy(host_array(problem.knots, problem.num_knots))
    intensity = lookup(INTENSITIES, "intensity", unsafe_string(problem.intensity))(n, settings)
    current = lookup(CURRENTS, "input current", unsafe_string(problem.current))(n, knots)
    diffusion = lookup(DIFFUSIONS, "diffusion", unsafe_string(problem.diffusion))(n)
    return SLIF(
        (zeros(n) for _ in 1:10)..., SynapseNumbers(length(problem.synapses)), SynapseNumbers(num_delays(problem)),
        intensity, current, diffusion, problem.hard_reset == 1, problem.stratonovich == 1,
        clamped_neurons(problem),
    )
end

# What its formulas are written for: with or without tangents.
const AnySLIF = Union{SLIF,DualModel{<:SLIF}}

num_variables(::Type{<:SLIF}) = 3
is_additive(::Type{<:SLIF{I,C,D}}) where {I,C,D} = is_additive(D)
is_stratonovich(θ::SLIF) = θ.stratonovich
@inline is_clamped(θ::SLIF, k) = is_clamped(θ.clamped, k)

"""All coefficients of neurons by the host's names; an array of a time-dependent current is (knot, neuron)."""
coefficient_arrays(θ::SLIF) = merge(
    (
        mu1 = θ.mu1, mu2 = θ.mu2, sigma11 = θ.sigma11, sigma12 = θ.sigma12, sigma21 = θ.sigma21, sigma22 = θ.sigma22,
        v_reset = θ.v_reset, alpha = θ.alpha, v0 = θ.v0, i0 = θ.i0,
    ),
    parameter_arrays(θ.intensity), parameter_arrays(θ.current), parameter_arrays(θ.diffusion),
)

time_scale_rates(θ::SLIF, k) = @inbounds θ.mu1[k], max(θ.mu1[k], θ.mu2[k])

"""Terms of the equation whose gradients are wanted: the others are skipped."""
struct SLIFTerms
    mu::Bool
    sigma::Bool                     # and the diffusion
    intensity::Bool
    current::Bool
end

all_terms(::SLIF) = SLIFTerms(true, true, true, true)

"""The terms of which the host has named a coefficient in this table: those with an array of their own."""
function wanted_terms(θ::SLIF, table::Vector{Coefficient})
    named = [name for (name, c) in zip(keys(coefficient_arrays(θ)), table) if c.pointer != C_NULL]
    names_any(coefficients) = any(name -> name in named, coefficients)
    return SLIFTerms(
        names_any((:mu1, :mu2)),
        names_any((:sigma11, :sigma12, :sigma21, :sigma22)) || names_any(keys(parameter_arrays(θ.diffusion))),
        names_any(keys(parameter_arrays(θ.intensity))), names_any(keys(parameter_arrays(θ.current))),
    )
end

# --- initial values ---------------------------------------------------------------------------------------------------

initial_state(θ::AnySLIF, k, log_u) =
    coefficient(θ, Val(:v0), k), coefficient(θ, Val(:i0), k), log_u - coefficient(θ, Val(:alpha), k)

function initial_state_adjoint!(θ̄::SLIF, ::SLIF, k, (v_bar, i_bar, s_bar))
    θ̄.v0[k] += v_bar
    θ̄.i0[k] += i_bar
    θ̄.alpha[k] -= s_bar
end

# --- drift ------------------------------------------------------------------------------------------------------------

@inline drift(θ::AnySLIF, k, (v, i, _), t) =
    coefficient(θ, Val(:mu1), k) * (i + input_current(θ, k, t) - v),
    -(coefficient(θ, Val(:mu2), k) * i),
    firing_rate(θ, k, v)

@inline function drift_adjoint!(θ̄::SLIF, θ::SLIF, k, (v, i, _), t, (v̇_bar, i̇_bar, ṡ_bar), wanted)
    drive = @inbounds θ.mu1[k] * v̇_bar
    v_bar = firing_rate_adjoint!(θ̄, θ, k, v, ṡ_bar, wanted) - drive
    if wanted.mu
        @inbounds θ̄.mu1[k] += v̇_bar * (i + current(θ.current, k, t) - v)
        @inbounds θ̄.mu2[k] -= i̇_bar * i
    end
    wanted.current && current_adjoint!(θ̄.current, θ.current, k, t, drive)
    return v_bar, drive - @inbounds(θ.mu2[k]) * i̇_bar, 0.0
end

@inline drift_time_adjoint(θ::SLIF, k, y, t, bar) = @inbounds(θ.mu1[k]) * bar[1] * current_rate(θ.current, k, t)

"""I(t) of neuron k."""
@inline input_current(θ::SLIF, k, t) = current(θ.current, k, t)
@inline input_current(θ::DualModel{<:SLIF}, k, t::Float64) =
    Dual(current(θ.primal.current, k, t), current_tangent(θ.primal.current, θ.tangent.current, k, t))
@inline input_current(θ::DualModel{<:SLIF}, k, t::Dual) =
    Dual(0.0, current_rate(θ.primal.current, k, t.value) * t.tangent) + input_current(θ, k, t.value)

"""λ(v) of neuron k."""
@inline firing_rate(θ::SLIF, k, v::Float64) = rate(θ.intensity, k, v)
@inline function firing_rate(θ::SLIF, k, v::Dual)
    at = rate(θ.intensity, k, v.value)
    return Dual(at, slope(θ.intensity, k, v.value, at) * v.tangent)
end
@inline function firing_rate(θ::DualModel{<:SLIF}, k, v::Dual)
    λ = θ.primal.intensity
    at = rate(λ, k, v.value)
    return Dual(at, slope(λ, k, v.value, at) * v.tangent + rate_tangent(λ, θ.tangent.intensity, k, v.value, at))
end

"""Mean of λ over noise of that variance around v."""
@inline mean_firing_rate(θ::SLIF, k, v, variance) = mean_rate(θ.intensity, k, v, variance)
@inline function mean_firing_rate(θ::SLIF, k, v::Dual, variance::Float64)
    λ = θ.intensity
    slope_at, _ = mean_rate_adjoint!(λ, λ, k, v.value, variance, 1.0, false)
    return Dual(mean_rate(λ, k, v.value, variance), slope_at * v.tangent)
end
@inline mean_firing_rate(θ::DualModel{<:SLIF}, k, v::Dual, variance::Dual) = Dual(mean_rate_with_tangent(
    θ.primal.intensity, θ.tangent.intensity, k, v.value, variance.value, v.tangent, variance.tangent,
)...)

"""Cotangents of v and of the variance from that of the mean rate; adds to the gradients of a wanted intensity."""
@inline mean_firing_rate_adjoint!(θ̄::SLIF, θ::SLIF, k, v, variance, bar, wanted) =
    mean_rate_adjoint!(θ̄.intensity, θ.intensity, k, v, variance, bar, wanted.intensity)

"""Cotangent of v from that of λ(v); adds to the gradients of a wanted intensity."""
@inline function firing_rate_adjoint!(θ̄::SLIF, θ::SLIF, k, v, bar, wanted)
    at = rate(θ.intensity, k, v)
    wanted.intensity && rate_adjoint!(θ̄.intensity, θ.intensity, k, v, at, bar)
    return bar * slope(θ.intensity, k, v, at)
end

# --- noise ------------------------------------------------------------------------------------------------------------

"""Both rows of σ times the driver's components."""
@inline sigma_times(θ::AnySLIF, k, w::NTuple{1,Any}) =
    coefficient(θ, Val(:sigma11), k) * w[1], coefficient(θ, Val(:sigma21), k) * w[1]
@inline sigma_times(θ::AnySLIF, k, w::NTuple{2,Any}) =
    coefficient(θ, Val(:sigma11), k) * w[1] + coefficient(θ, Val(:sigma12), k) * w[2],
    coefficient(θ, Val(:sigma21), k) * w[1] + coefficient(θ, Val(:sigma22), k) * w[2]

"""Adds to the gradients of σ, from the cotangents of both rows of σ·w."""
@inline function sigma_adjoint!(θ̄::SLIF, k, w::NTuple{C,Float64}, v_bar, i_bar) where {C}
    @inbounds θ̄.sigma11[k] += v_bar * w[1]
    @inbounds θ̄.sigma21[k] += i_bar * w[1]
    if C == 2
        @inbounds θ̄.sigma12[k] += v_bar * w[2]
        @inbounds θ̄.sigma22[k] += i_bar * w[2]
    end
end

@inline function noise(θ::AnySLIF, k, (v, _, _), w)
    n1, n2 = sigma_times(θ, k, w)
    return is_additive(θ) ? n1 : noise_factor(θ, k, v)[1] * n1, n2, 0.0
end

@inline function noise_adjoint!(θ̄::SLIF, θ::SLIF, k, (v, _, _), w, (v_bar, i_bar, _), wanted)
    if is_additive(θ)
        wanted.sigma && sigma_adjoint!(θ̄, k, w, v_bar, i_bar)
        return 0.0, 0.0, 0.0
    end
    wanted.sigma && sigma_adjoint!(θ̄, k, w, factor(θ.diffusion, k, v) * v_bar, i_bar)
    return noise_factor_adjoint!(θ̄, θ, k, v, v_bar * sigma_times(θ, k, w)[1], 0.0), 0.0, 0.0
end

"""(g(v), g′(v)) of neuron k."""
@inline noise_factor(θ::SLIF, k, v::Float64) = factor(θ.diffusion, k, v), factor_slope(θ.diffusion, k, v)
@inline function noise_factor(θ::SLIF, k, v::Dual)
    d, slope_at = θ.diffusion, factor_slope(θ.diffusion, k, v.value)
    return Dual(factor(d, k, v.value), slope_at * v.tangent),
    Dual(slope_at, factor_curvature(d, k, v.value) * v.tangent)
end
@inline function noise_factor(θ::DualModel{<:SLIF}, k, v::Dual)
    g, g′ = noise_factor(θ.primal, k, v)
    change, slope_change = factor_tangent(θ.primal.diffusion, θ.tangent.diffusion, k, v.value)
    return Dual(g.value, g.tangent + change), Dual(g′.value, g′.tangent + slope_change)
end

"""Cotangent of v from those of (g(v), g′(v)); adds to the gradients of the diffusion."""
@inline function noise_factor_adjoint!(θ̄::SLIF, θ::SLIF, k, v, g_bar, g′_bar)
    factor_adjoint!(θ̄.diffusion, θ.diffusion, k, v, g_bar, g′_bar)
    return g_bar * factor_slope(θ.diffusion, k, v) + g′_bar * factor_curvature(θ.diffusion, k, v)
end

"""σ11² + σ12²."""
@inline function variance_rate(θ::AnySLIF, k)
    σ11, σ12 = coefficient(θ, Val(:sigma11), k), coefficient(θ, Val(:sigma12), k)
    return σ11 * σ11 + σ12 * σ12
end

"""Adds to the gradients of σ, from the cotangent of `variance_rate`."""
@inline function variance_rate_adjoint!(θ̄::SLIF, θ::SLIF, k, bar)
    @inbounds θ̄.sigma11[k] += 2 * bar * θ.sigma11[k]
    @inbounds θ̄.sigma12[k] += 2 * bar * θ.sigma12[k]
end

@inline function correction(θ::AnySLIF, k, (v, _, _))
    g, g′ = noise_factor(θ, k, v)
    return 0.5 * (variance_rate(θ, k) * (g * g′)), 0.0, 0.0
end

@inline function correction_adjoint!(θ̄::SLIF, θ::SLIF, k, (v, _, _), bar)
    g, g′ = noise_factor(θ, k, v)
    half = 0.5 * bar[1]
    variance_rate_adjoint!(θ̄, θ, k, half * g * g′)
    half *= variance_rate(θ, k)
    return noise_factor_adjoint!(θ̄, θ, k, v, half * g′, half * g), 0.0, 0.0
end

@inline function iterated_noise(θ::AnySLIF, k, (v, _, _), w)
    n1, _ = sigma_times(θ, k, w)
    g, g′ = noise_factor(θ, k, v)
    return 0.5 * ((g * g′) * (n1 * n1)), 0.0, 0.0
end

@inline function iterated_noise_adjoint!(θ̄::SLIF, θ::SLIF, k, (v, _, _), w, bar)
    n1, _ = sigma_times(θ, k, w)
    g, g′ = noise_factor(θ, k, v)
    sigma_adjoint!(θ̄, k, w, bar[1] * g * g′ * n1, 0.0)
    half = 0.5 * bar[1] * n1 * n1
    return noise_factor_adjoint!(θ̄, θ, k, v, half * g′, half * g), 0.0, 0.0
end

# --- events -----------------------------------------------------------------------------------------------------------

@inline event_value(θ::SLIF, k, event, y) = event_value(θ.intensity, k, y)
@inline event_gradient(θ::SLIF, k, event, y) = event_gradient(θ.intensity, k)
@inline event_tangent(θ::DualModel{<:SLIF}, k, event, y) = event_tangent(θ.primal.intensity, θ.tangent.intensity, k)
@inline event_adjoint!(θ̄::SLIF, θ::SLIF, k, event, y, bar) = event_adjoint!(θ̄.intensity, θ.intensity, k, bar)

"""Whether a spike puts v to v_reset, instead of lowering it."""
is_hard(θ::SLIF) = θ.hard_reset
is_hard(θ::DualModel{<:SLIF}) = is_hard(θ.primal)

@inline function transition(θ::AnySLIF, k, event, (v, i, _), log_u)
    v_reset = coefficient(θ, Val(:v_reset), k)
    return is_hard(θ) ? v_reset : v - v_reset, i, log_u - coefficient(θ, Val(:alpha), k)
end

@inline function transition_adjoint!(θ̄::SLIF, θ::SLIF, k, event, y, (v_bar, i_bar, s_bar))
    θ̄.v_reset[k] += is_hard(θ) ? v_bar : -v_bar
    θ̄.alpha[k] -= s_bar
    return is_hard(θ) ? 0.0 : v_bar, i_bar, 0.0
end

@inline arrival(θ::AnySLIF, e, k, (v, i, s)) = v, i + coefficient(θ, Val(:weights), e), s

@inline function arrival_adjoint!(θ̄::SLIF, ::SLIF, e, k, y, bar)
    @inbounds θ̄.weights[e] += bar[2]
    return bar
end
