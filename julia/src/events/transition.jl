# What a spike does: the model's transition to the neuron itself, its arrival to each target. `y` is a tuple of vectors
# over neurons.

"""
The state of a team's neurons after an event of neuron j, in place; `log_u` is the logarithm of its next threshold.
"""
function apply_transition!(y, θ::Model, synapses::Synapses, team, j, event, log_u)
    is_mine(team, j) && set_state!(y, j, transition(θ, j, event, state_at(y, j), log_u))
    for e in mine(team, synapses, synapses_of(synapses, j))
        k = target(synapses, e)
        set_state!(y, k, arrival(θ, e, k, state_at(y, k)))
    end
end

"""Its tangent dy, in place, from the state y before it."""
function apply_transition_tangent!(dy, y, θ::DualModel, synapses::Synapses, team, j, event)
    after = duals(state_at(y, j), state_at(dy, j))
    if is_mine(team, j)
        after = transition(θ, j, event, after, 0.0)
        set_state!(dy, j, tangents_of(after))
    end
    for e in mine(team, synapses, synapses_of(synapses, j))
        k = target(synapses, e)
        # What comes back to the neuron itself finds it after its transition.
        state = k == j ? after : duals(state_at(y, k), state_at(dy, k))
        set_state!(dy, k, tangents_of(arrival(θ, e, k, state)))
    end
end

"""
Turns the cotangent of the state after it into that of the state before, where neuron j's was y; adds to the gradients
θ̄. `found(e)` is the state of its target that synapse e finds.
"""
function apply_transition_adjoint!(found, bar, θ̄::Model, y, θ::Model, synapses::Synapses, j, event)
    for e in synapses_of(synapses, j)
        k = target(synapses, e)
        set_state!(bar, k, arrival_adjoint!(θ̄, θ, e, k, found(e), state_at(bar, k)))
    end
    set_state!(bar, j, transition_adjoint!(θ̄, θ, j, event, y, state_at(bar, j)))
end
