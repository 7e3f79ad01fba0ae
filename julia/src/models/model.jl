# What is simulated: the equations of one neuron, its event, and what a spike does.

"""A model, or a part of one."""
abstract type ModelPart end

"""
A model: an equation for the M variables of a neuron, the last of which is its integrated hazard; when the neuron fires,
and what a spike does to it and to its targets. A value of the type holds the coefficients of all neurons in one sample,
as one vector each; the same type holds their tangents in one direction, and their gradients.

A file in `models/` defines a subtype with the fields `weights` and `delays`, both [`SynapseNumbers`](@ref), and
registers in `MODELS` a constructor from a `Problem`. In the formulas θ is the model, or a [`DualModel`](@ref) and the
numbers accordingly `Float64` or `Dual`, so that each is written once; y is the state of neuron k, a tuple. It writes

  * `num_variables(typeof(θ))`: M; the first ones are recorded for the host, as many as it has arrays for;
  * `num_events(typeof(θ))`: how many kinds of events a neuron has, if it is not one;
  * `coefficient_arrays(θ)`: the vectors of coefficients by the host's names, a named tuple;
  * `initial_state(θ, k, log_u)`: y at the start, log_u the logarithm of the first threshold of each hazard, as
    `first_thresholds(θ, key, k)` gives it;
  * `drift(θ, k, y, t)`: ẏ without noise, hazard included;
  * `noise(θ, k, y, w)`: Σ g_c(y)·w_c over the driver's components;
  * `transition(θ, k, event, y, log_u)`: y after an event of the neuron; `arrival(θ, e, k, y)`: y of neuron k, the
    target of synapse e;
  * `event_value(θ, k, event, y)`: E, which reaches 0 from below where the event comes,
    `event_gradient(θ, k, event, y)`: ∇E, and `event_tangent(θ::DualModel, k, event, y)`: ∂E by the coefficients. Where
    E is not linear along straight lines, or there are several events, also `fires` and `first_event`.

For models whose noise depends on the state,

  * `is_additive(typeof(θ))` is false, and `is_stratonovich(θ)` says how the noise is meant;
  * `correction(θ, k, y)`: ½·Σ ∂g_c·g_c, by which the drift in Itô's sense exceeds that in Stratonovich's;
  * `iterated_noise(θ, k, y, w)`: ½·ΣΣ ∂g_c·g_d·w_c·w_d, for noise that commutes.

The adjoint of each stands beside it: from the cotangent `bar` of what it gives, that of y; it adds to the gradients θ̄
those of the terms that are `wanted` (`wanted_terms(θ, table)`, `all_terms(θ)`, or `NoTerms()`; a field per term):

  * `initial_state_adjoint!(θ̄, θ, k, bar)`, `drift_adjoint!(θ̄, θ, k, y, t, bar, wanted)`,
    `noise_adjoint!(θ̄, θ, k, y, w, bar, wanted)`, `transition_adjoint!(θ̄, θ, k, event, y, bar)`,
    `arrival_adjoint!(θ̄, θ, e, k, y, bar)`, `event_adjoint!(θ̄, θ, k, event, y, bar)`,
    `correction_adjoint!(θ̄, θ, k, y, bar)`, `iterated_noise_adjoint!(θ̄, θ, k, y, w, bar)`;
  * `drift_time_adjoint(θ, k, y, t, bar)`: that of the time t.

`time_scale_rates(θ, k)` are the membrane's rate and the fastest one, by which solvers choose how fine they refine.
A crossing of which the state stays beyond (`rearms(typeof(θ))`) does not come again before `rearmed(θ, k, y)`, which is
asked at the ends of steps, has seen the state below it.
"""
abstract type Model <: ModelPart end

num_events(::Type{<:Model}) = 1
rearms(::Type{<:Model}) = false
arrivals_add(::Type{<:Model}) = true    # whether what a synapse does is to add something, whatever the target's state

is_additive(θ::Model) = is_additive(typeof(θ))

# --- the same in other arrays -----------------------------------------------------------------------------------------

"""
A model or a part of one with other arrays: `change(array)` in the place of each. A type whose parameters do not all
follow from its fields says how it is `rebuilt(old, fields...)`.
"""
with_arrays(change, setting) = setting
with_arrays(change, array::AbstractArray) = change(array)
with_arrays(change, parts::Tuple) = map(part -> with_arrays(change, part), parts)
rebuilt(old, fields...) = Base.typename(typeof(old)).wrapper(fields...)

# --- terms ------------------------------------------------------------------------------------------------------------

"""None of the terms is wanted. The type says so, and loops over neurons have no branches then."""
struct NoTerms end

Base.getproperty(::NoTerms, ::Symbol) = false

"""The terms that are wanted, as loops over neurons take them."""
@inline known(wanted) = wants_any(wanted) ? wanted : NoTerms()
@inline wants_any(wanted::W) where {W} = |(ntuple(n -> getfield(wanted, n), Val(fieldcount(W)))...)

# --- states -----------------------------------------------------------------------------------------------------------
# A neuron's state is a tuple, that of the network a tuple of vectors.

"""Neuron k's state."""
@inline state_at(y, k) = map(a -> @inbounds(a[k]), y)

"""Put neuron k into a state."""
@inline function set_state!(y, k, state)
    map((a, x) -> (@inbounds a[k] = x; nothing), y, state)
    return nothing
end

"""Add to neuron k's state, or its cotangent."""
@inline function add_state!(y, k, state)
    map((a, x) -> (@inbounds a[k] += x; nothing), y, state)
    return nothing
end

@inline plus(a, b) = map(+, a, b)
@inline scaled(c, a) = map(x -> c * x, a)
@inline plus_scaled(a, c, b) = map((x, z) -> x + c * z, a, b)
"""a · b."""
@inline along(a, b) = +(map(*, a, b)...)

zero_state(::Val{M}) where {M} = ntuple(_ -> 0.0, Val(M))
zero_vectors(::Val{M}, n) where {M} = ntuple(_ -> zeros(n), Val(M))

finite_or_zero(x) = isfinite(x) ? x : 0.0

"""A state with its tangent, and back to the tangent."""
@inline duals(y, dy) = map(Dual, y, dy)
@inline tangents_of(y) = map(tangent, y)

"""
Coefficients that move, `primal` with their `tangent`, and how the driver moves, `path`, nothing where it does not: what
is computed from them comes with its tangent.
"""
abstract type DualModel{Θ<:Model,P} end

mutable struct HeldDual{Θ,P} <: DualModel{Θ,P}      # mutable, so that it is passed by reference
    primal::Θ
    tangent::Θ
    path::P
end

"""The same by value: for a device, where nothing is mutable, and for loops that keep the arrays in registers."""
struct PlainDual{Θ,P} <: DualModel{Θ,P}
    primal::Θ
    tangent::Θ
    path::P
end

DualModel(primal::Θ, tangent::Θ, path = nothing) where {Θ<:Model} = HeldDual(primal, tangent, path)

is_additive(θ::DualModel) = is_additive(θ.primal)
is_stratonovich(θ::DualModel) = is_stratonovich(θ.primal)

"""Coefficient of neuron (or synapse) k, by its name."""
@inline coefficient(θ::Model, ::Val{Name}, k) where {Name} = @inbounds getfield(θ, Name)[k]
@inline coefficient(θ::DualModel, name::Val, k) = Dual(coefficient(θ.primal, name, k), coefficient(θ.tangent, name, k))

# --- what follows from a model's equations ----------------------------------------------------------------------------

"""Whether neuron k fires when a recording says so, and not by its hazard."""
@inline is_clamped(::Model, k) = false
@inline is_clamped(::Nothing, k) = false
@inline is_clamped(clamped::Vector{Bool}, k) = @inbounds clamped[k]

@inline fires(θ::Model, k, y) = (event_value(θ, k, 1, y) >= 0.0) & !is_clamped(θ, k)

"""
When a neuron that fires before `stop` does so along a straight piece from y at time a, at the speed ẏ, and by which
event.
"""
@inline function first_event(θ::Model, k, y, ẏ, a, stop)
    value = event_value(θ, k, 1, y)
    τ = value >= 0.0 ? a : a - value / along(event_gradient(θ, k, 1, y), ẏ)
    return clamp(τ, a, stop), 1
end

"""Logarithms of the thresholds that neuron k has at the start, and after `spikes` spikes, the last of them `event`."""
@inline first_thresholds(::Model, key, k) = threshold(key, k - 1, 0)
@inline next_threshold(::Model, key, k, event, spikes) = threshold(key, k - 1, spikes)

"""Likewise; 0 of a clamped neuron, whose hazard then counts from the end of its dead zone."""
@inline first_log_u(θ::Model, key, k) =
    is_clamped(θ, k) ? map(zero, first_thresholds(θ, key, k)) : first_thresholds(θ, key, k)
@inline next_log_u(θ::Model, key, k, event, spikes) =
    is_clamped(θ, k) ? 0.0 : next_threshold(θ, key, k, event, spikes)

"""The drift in Itô's sense or in Stratonovich's, whichever way the model's noise is meant."""
@inline function drift_in_sense(θ, k, y, t, stratonovich::Bool)
    f = drift(θ, k, y, t)
    (is_additive(θ) || is_stratonovich(θ) == stratonovich) && return f
    return plus_scaled(f, stratonovich ? -1.0 : 1.0, correction(θ, k, y))
end

"""Cotangent of y from that of `drift_in_sense`; adds to the wanted gradients θ̄."""
@inline function drift_in_sense_adjoint!(θ̄, θ::Model, k, y, t, stratonovich::Bool, bar, wanted)
    y_bar = drift_adjoint!(θ̄, θ, k, y, t, bar, wanted)
    (is_additive(θ) || is_stratonovich(θ) == stratonovich) && return y_bar
    return plus(y_bar, correction_adjoint!(θ̄, θ, k, y, scaled(stratonovich ? -1.0 : 1.0, bar)))
end

"""ẏ where the driver is linear, `slopes` its slopes."""
@inline velocity(θ, k, y, t, slopes, stratonovich::Bool) =
    plus(drift_in_sense(θ, k, y, t, stratonovich), noise(θ, k, y, slopes))

"""Cotangents of y and of t from that of the velocity there; adds to the wanted gradients θ̄."""
@inline function velocity_adjoint!(θ̄, θ::Model, k, y, t, slopes, stratonovich::Bool, bar, wanted)
    y_bar = drift_in_sense_adjoint!(θ̄, θ, k, y, t, stratonovich, bar, wanted)
    return plus(y_bar, noise_adjoint!(θ̄, θ, k, y, slopes, bar, wanted)), drift_time_adjoint(θ, k, y, t, bar)
end
