# Neurons to which the same happens at once, on the tape of reverse mode, where every piece is straight: the targets of
# a spike, and those that come to the end of a step in pieces. Nothing depends on their order, as no two are the same
# neuron: most of the work is loops without branches, there and back.

"""
States and local times of neurons before they were moved, row after row. Rows are undone from the last to the first:
each goes to where those that are left end.
"""
mutable struct TapeRows{M}
    firsts::Vector{Int}             # how many neurons are before each row,
    synapses::Vector{Int}           # and by which synapse its first one was reached; 0 of an end of a step
    y::NTuple{M,Vector{Float64}}
    start::Vector{Float64}
    neurons::Vector{Int}            # of ends of steps: which they are
    count::Int
end

TapeRows{M}() where {M} = TapeRows{M}(Int[], Int[], ntuple(_ -> Float64[], Val(M)), Float64[], Int[], 0)

function Base.empty!(rows::TapeRows)
    empty!(rows.firsts)
    empty!(rows.synapses)
    rows.count = 0
    return rows
end

"""Begin a row of so many neurons; returns how many are before it."""
function begin_row!(rows::TapeRows, count, synapse)
    before, rows.count = rows.count, rows.count + count
    push!(rows.firsts, before)
    push!(rows.synapses, synapse)
    if rows.count > length(rows.start)
        room = 2 * rows.count
        foreach(array -> resize!(array, room), (rows.y..., rows.start, rows.neurons))
    end
    return before
end

"""Take the last row off: how many neurons are before it, how many it has, and its first synapse."""
function take_row!(rows::TapeRows)
    before, synapse = pop!(rows.firsts), pop!(rows.synapses)
    count, rows.count = rows.count - before, before
    return before, count, synapse
end

"""Put down the targets of these synapses, which are of one row, as they are in this step."""
function put_targets!(rows::TapeRows, x::NetworkState, step::Step, synapses::Synapses, reached)
    before = begin_row!(rows, length(reached), first(reached))
    y, start, from = rows.y, rows.start, x.y
    @inbounds @simd ivdep for n in eachindex(reached)
        k = target(synapses, reached[n])
        set_state!(y, before + n, state_at(from, k))
        start[before+n] = piece_start(x, step, k)
    end
end

"""Put down the neurons that have been moved in this step."""
function put_moved!(rows::TapeRows, x::NetworkState)
    moved = x.moved_neurons
    before = begin_row!(rows, length(moved), 0)
    y, start, neurons, from, from_start = rows.y, rows.start, rows.neurons, x.y, x.start
    @inbounds @simd ivdep for n in eachindex(moved)
        k = moved[n]
        set_state!(y, before + n, state_at(from, k))
        start[before+n], neurons[before+n] = from_start[k], k
    end
end

"""
Undo that a spike came to the targets of the last row at τ: turns the cotangents of their states and local times into
those before, and adds to the gradients θ̄. What each says of τ goes into `shares`, in the order of the synapses from
`first_synapse` on.
"""
function targets_back!(
    shares, first_synapse, rows::TapeRows, bar::StateAdjoint, θ̄::Model, solver, θ::Model, step::Step, synapses, τ,
    wanted,
)
    before, count, synapse = take_row!(rows)
    offset = synapse - first_synapse
    y, start, bars, start_bars = rows.y, rows.start, bar.y, bar.start
    variable = count == 0 ? 0 : target_variable(synapses, synapse)
    if wants_gradients(step.driver)     # neurons may have one path, to whose gradient they add in turn
        for n in 1:count
            e = synapse + n - 1
            k, y_k, a, at = target(synapses, e), state_at(y, before + n), start[before+n], offset + n
            shares[at] = target_back!(bars, start_bars, θ̄, solver, θ, step, e, k, y_k, a, τ, variable, wanted)
        end
        return
    end
    @inbounds @simd ivdep for n in 1:count
        e = synapse + n - 1
        k, y_k, a, at = target(synapses, e), state_at(y, before + n), start[before+n], offset + n
        shares[at] = target_back!(bars, start_bars, θ̄, solver, θ, step, e, k, y_k, a, τ, variable, wanted)
    end
end

"""The same of one target, k, which was in state y_k at a; returns what it says of τ."""
@inline function target_back!(bars, start_bars, θ̄, solver, θ, step, e, k, y_k, a, τ, variable, wanted)
    slopes = step_slopes(step, k)
    found = leaf_piece(solver, θ, k, y_k, a, τ, step.stop, slopes)
    at_τ = delivery_adjoint!(θ̄, θ, variable, e, k, found, state_at(bars, k))
    straight_path_adjoint!(solver, θ, step, k, y_k, at_τ, a, τ)
    at_a, a_bar, τ_bar = leaf_piece_adjoint!(θ̄, solver, θ, k, y_k, at_τ, a, τ, step.stop, slopes, wanted, true)
    share = @inbounds start_bars[k] + τ_bar
    set_state!(bars, k, at_a)
    @inbounds start_bars[k] = a_bar
    return share
end

"""
Undo that the neurons of the last row came to the end of the step: from the cotangents of the state there, which are 0
from then on, to those of the states and local times before; adds to the gradients θ̄.
"""
function moved_back!(
    rows::TapeRows, bar::StateAdjoint, end_bar::StateAdjoint, θ̄::Model, solver, θ::Model, step::Step, wanted,
)
    before, count, _ = take_row!(rows)
    y, start, neurons, stop = rows.y, rows.start, rows.neurons, step.stop
    bars, start_bars, end_bars = bar.y, bar.start, end_bar.y
    if wants_gradients(step.driver)
        for n in before+1:before+count
            k = neurons[n]
            straight_path_adjoint!(solver, θ, step, k, state_at(y, n), state_at(end_bars, k), start[n], stop)
        end
    end
    @inbounds @simd ivdep for n in 1:count
        k, y_k, a = neurons[before+n], state_at(y, before + n), start[before+n]
        at_end = state_at(end_bars, k)
        set_state!(end_bars, k, map(zero, at_end))
        at_a, a_bar, _ = leaf_piece_adjoint!(
            θ̄, solver, θ, k, y_k, at_end, a, stop, stop, step_slopes(step, k), wanted, true,
        )
        add_state!(bars, k, at_a)
        start_bars[k] += a_bar
    end
end

"""Add the cotangents of the neurons' states to those of the whole step, and have none of them and of local times."""
function join_bars!(end_bar::StateAdjoint, bar::StateAdjoint, neurons::UnitRange{Int})
    end_bars, bars, start_bars = end_bar.y, bar.y, bar.start
    @inbounds @simd ivdep for k in neurons
        of_k = state_at(bars, k)
        add_state!(end_bars, k, of_k)
        set_state!(bars, k, map(zero, of_k))
        start_bars[k] = 0.0             # the first piece starts at a fixed time
    end
end

"""
What the targets of a spike owe to its time, in the order of its synapses, and what the neuron does whose hazard counts
there. Each thread of a team puts down what it knows, and sees that of all after they have met: spikes take turns with
two sets, so that nobody writes where others still read.
"""
mutable struct Shares
    of_targets::NTuple{2,Vector{Float64}}
    of_hazard::Vector{Float64}
    turn::Int
end

Shares(most_targets::Integer) = Shares((zeros(most_targets), zeros(most_targets)), zeros(2), 1)

"""Those of another of a team."""
Shares(shares::Shares) = Shares(shares.of_targets, shares.of_hazard, 1)

"""Where those of the spike at hand go."""
of_targets(shares::Shares) = @inbounds shares.of_targets[shares.turn]

"""Leave the spike at hand, when all have put down theirs; returns where they stand, and in which turn."""
function turn_over!(shares::Shares, team::Team)
    turn = shares.turn
    meet!(team)
    shares.turn = 3 - turn
    return shares.of_targets[turn], turn
end

"""The sum of the first `count` numbers, one after the other, so that no number of threads matters."""
function sum_in_order(numbers, count)
    total = 0.0
    for n in 1:count
        total += @inbounds numbers[n]
    end
    return total
end
