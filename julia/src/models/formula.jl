"""
    Formula{Key,M,Stratonovich}

A model from formulas: its equations are Julia code that the host has made of the user's text (`ssnn_define`), as
methods of the protocol for this `Key`; in whose sense its noise is taken is part of the type. Its state is (y₁, …,
armed₁, …, s₁, …): the user's variables, of each crossing whether it may come (1 or 0), and of each hazard what it has
collected since its last event, less its threshold.

The code defines, besides the protocol,

  * `coefficient_names(Formula{Key})`, `num_states`, `num_crossings`, `num_hazards`;
  * `crossing(θ, k, c, y)`: the function of crossing c, which comes where it reaches 0 from below, with
    `crossing_gradient`, and `crossing_parameters_adjoint!`;
  * `event_kind(Formula{Key}, event)`: (true, c) for crossing c, (false, h) for hazard h.
"""
struct Formula{Key,M,Stratonovich,C<:InputCurrent,K,T<:Tuple,W<:AbstractVector{Float64}} <: Model
    values::T                       # a vector per parameter
    weights::W
    delays::W
    current::C
    num_neurons::Int
    clamped::K                      # of each neuron whether it is, or nothing
end

function Formula{Key}(problem::Problem) where {Key}
    n = Int(problem.num_neurons)
    knots = copy(host_array(problem.knots, problem.num_knots))
    current = lookup(CURRENTS, "input current", unsafe_string(problem.current))(n, knots)
    values = ntuple(_ -> zeros(n), length(coefficient_names(Formula{Key})))
    weights, delays = SynapseNumbers(length(problem.synapses)), SynapseNumbers(num_delays(problem))
    return Formula{Key,num_variables(Formula{Key}),problem.stratonovich == 1}(
        values, weights, delays, current, n, clamped_neurons(problem),
    )
end

Formula{Key,M,Stratonovich}(values::T, weights::W, delays::W, current::C, n, clamped::K) where {
    Key,M,Stratonovich,T<:Tuple,W,C,K,
} = Formula{Key,M,Stratonovich,C,K,T,W}(values, weights, delays, current, n, clamped)

rebuilt(::Formula{Key,M,Stratonovich}, fields...) where {Key,M,Stratonovich} =
    Formula{Key,M,Stratonovich}(fields...)

# What the code of every model defines; that of an intensity or a current has `coefficient_names`, too.
function coefficient_names end
function num_states end
function num_crossings end
function num_hazards end
function event_kind end
function crossing end
function crossing_gradient end
function crossing_parameters_adjoint! end

@inline is_clamped(θ::Formula, k) = is_clamped(θ.clamped, k)

# What its formulas are written for: with or without tangents.
const AnyFormula{Key} = Union{Formula{Key},DualModel{<:Formula{Key}}}
const SomeFormula = Union{Formula,DualModel{<:Formula}}

"""`Formula{Key}`, with or without tangents."""
formula_type(θ::Formula{Key}) where {Key} = Formula{Key}
formula_type(θ::DualModel) = formula_type(θ.primal)

is_stratonovich(::Formula{Key,M,Stratonovich}) where {Key,M,Stratonovich} = Stratonovich

coefficient_arrays(θ::Formula) =
    merge(NamedTuple{coefficient_names(formula_type(θ))}(θ.values), parameter_arrays(θ.current))

"""All coefficients of neuron k, in the order of their names."""
@inline coefficients_at(θ::Formula, k) = map(a -> (@inbounds a[k]), θ.values)
@inline coefficients_at(θ::DualModel{<:Formula}, k) =
    map((a, da) -> (@inbounds Dual(a[k], da[k])), θ.primal.values, θ.tangent.values)

@inline synapse_weight(θ::Formula, e) = @inbounds θ.weights[e]
@inline synapse_weight(θ::DualModel{<:Formula}, e) = @inbounds Dual(θ.primal.weights[e], θ.tangent.weights[e])

@inline input_current(θ::Formula, k, t) = current(θ.current, k, t)
@inline input_current(θ::DualModel{<:Formula}, k, t::Float64) =
    Dual(current(θ.primal.current, k, t), current_tangent(θ.primal.current, θ.tangent.current, k, t))
@inline input_current(θ::DualModel{<:Formula}, k, t::Dual) =
    Dual(0.0, current_rate(θ.primal.current, k, t.value) * t.tangent) + input_current(θ, k, t.value)

"""Which parts of the equations have coefficients whose gradients are wanted."""
struct FormulaTerms
    drift::Bool
    noise::Bool
    current::Bool
end

all_terms(::Formula) = FormulaTerms(true, true, true)

function wanted_terms(θ::Formula, table::Vector{Coefficient})
    own = table[1:length(θ.values)]
    named = any(c -> c.pointer != C_NULL, own)
    return FormulaTerms(named, named, any(c -> c.pointer != C_NULL, table[length(own)+1:end]))
end

# --- events -----------------------------------------------------------------------------------------------------------

"""Where in the state it is said whether crossing c may come."""
@inline armed_place(Θ, c) = num_states(Θ) + c
"""Where in the state what hazard h has collected is."""
@inline hazard_place(Θ, h) = num_states(Θ) + num_crossings(Θ) + h

@inline function fires(θ::Formula, k, y)
    Θ, any_event = formula_type(θ), false
    for h in 1:num_hazards(Θ)
        any_event |= y[hazard_place(Θ, h)] >= 0.0
    end
    for c in 1:num_crossings(Θ)
        any_event |= (y[armed_place(Θ, c)] > 0.0) & (crossing(θ, k, c, y) >= 0.0)
    end
    return any_event & !is_clamped(θ, k)
end

@inline function event_value(θ::Formula, k, event, y)
    Θ = formula_type(θ)
    is_crossing, place = event_kind(Θ, event)
    is_crossing || return y[hazard_place(Θ, place)]
    return y[armed_place(Θ, place)] > 0.0 ? crossing(θ, k, place, y) : -1.0
end

function event_gradient(θ::Formula{Key,M}, k, event, y) where {Key,M}
    Θ = formula_type(θ)
    is_crossing, place = event_kind(Θ, event)
    is_crossing && return crossing_gradient(θ, k, place, y)
    return ntuple(variable -> variable == hazard_place(Θ, place) ? 1.0 : 0.0, Val(M))
end

function event_tangent(θ::DualModel{<:Formula}, k, event, y)
    is_crossing, place = event_kind(formula_type(θ), event)
    return is_crossing ? tangent(crossing(θ, k, place, y)) : 0.0
end

function event_adjoint!(θ̄::Formula, θ::Formula, k, event, y, bar)
    is_crossing, place = event_kind(formula_type(θ), event)
    is_crossing && crossing_parameters_adjoint!(θ̄, θ, k, place, y, bar)
    return nothing
end

function first_event(θ::Formula, k, y, ẏ, a, stop)
    y_stop, τ, earliest = plus_scaled(y, stop - a, ẏ), Inf, 1
    for event in 1:num_events(typeof(θ))
        event_value(θ, k, event, y_stop) >= 0.0 || continue
        τ_event = event_time(θ, k, event, y, ẏ, a, stop)
        τ_event < τ && ((τ, earliest) = (τ_event, event))
    end
    return min(τ, stop), earliest
end

"""When an event that comes before `stop` does so along a straight piece from y at time a, at the speed ẏ."""
function event_time(θ::Formula, k, event, y, ẏ, a, stop)
    value = event_value(θ, k, event, y)
    value >= 0.0 && return a
    is_crossing, place = event_kind(formula_type(θ), event)
    is_crossing || return clamp(a - value / ẏ[hazard_place(formula_type(θ), place)], a, stop)
    # Newton's steps between a bracket's ends, else its middle.
    low, high, τ = a, stop, stop
    for _ in 1:100
        y_τ = plus_scaled(y, τ - a, ẏ)
        value = crossing(θ, k, place, y_τ)
        value >= 0.0 ? (high = τ) : (low = τ)
        next = τ - value / along(crossing_gradient(θ, k, place, y_τ), ẏ)
        next = low < next < high ? next : low + 0.5 * (high - low)
        τ, converged = next, abs(next - τ) <= 2 * eps(τ)
        converged && break
    end
    # Rounding may leave it just short of the crossing.
    for _ in 1:8
        crossing(θ, k, place, plus_scaled(y, τ - a, ẏ)) >= 0.0 && break
        τ = nextfloat(τ)
    end
    return min(τ, high)
end

first_thresholds(θ::Formula, key, k) = ntuple(h -> threshold(key, k - 1, 0, h - 1), num_hazards(formula_type(θ)))

function next_threshold(θ::Formula, key, k, event, spikes)
    is_crossing, place = event_kind(formula_type(θ), event)
    return is_crossing ? 0.0 : threshold(key, k - 1, spikes, place - 1)
end

rearms(::Type{<:Formula{Key}}) where {Key} = num_crossings(Formula{Key}) > 0

function rearmed(θ::Formula, k, y)
    Θ = formula_type(θ)
    for c in 1:num_crossings(Θ)
        crossing(θ, k, c, y) < 0.0 && (y = Base.setindex(y, 1.0, armed_place(Θ, c)))
    end
    return y
end
