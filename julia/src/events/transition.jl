# What a spike does: the model's transition to the neuron itself, its arrival to each target. `y` is a tuple of vectors
# over neurons.

"""The state of all neurons after a spike of neuron j, in place; `log_u` is the logarithm of its next threshold."""
function apply_transition!(y, θ::Model, synapses::Synapses, j, log_u)
    set_state!(y, j, transition(θ, j, state_at(y, j), log_u))
    for e in synapses_of(synapses, j)
        k = synapses.targets[e]
        set_state!(y, k, arrival(θ, e, state_at(y, k)))
    end
end

"""Its tangent dy, in place, from the state y before it."""
function apply_transition_tangent!(dy, y, θ::DualModel, synapses::Synapses, j)
    set_state!(dy, j, tangents_of(transition(θ, j, duals(state_at(y, j), state_at(dy, j)), 0.0)))
    for e in synapses_of(synapses, j)
        k = synapses.targets[e]
        set_state!(dy, k, tangents_of(arrival(θ, e, duals(state_at(y, k), state_at(dy, k)))))
    end
end

"""
Turns the cotangent of the state after it into that of the state before, where neuron j's was y; adds to the gradients
θ̄.
"""
function apply_transition_adjoint!(bar, θ̄::Model, y, θ::Model, synapses::Synapses, j)
    for e in synapses_of(synapses, j)
        k = synapses.targets[e]
        set_state!(bar, k, arrival_adjoint!(θ̄, θ, e, state_at(bar, k)))
    end
    set_state!(bar, j, transition_adjoint!(θ̄, θ, j, y, state_at(bar, j)))
end
