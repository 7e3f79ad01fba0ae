# Refinement: an event, a restart after it or a recorded value inside a step is reached along the step's binary tree of
# intervals, whole ones by the solver's own formula, down to leaves that are crossed in straight lines
# (docs/numerics.md).

# --- leaves -----------------------------------------------------------------------------------------------------------
# A leaf that ends at `to` is crossed from a in a straight line, at the velocity of one step of stochastic Heun's scheme
# from a to `to`. This is right to the second order, as the solvers' own steps are: where a spike moves from one leaf to
# the next, it makes no jump that a derivative would miss.

@inline function leaf_velocity(::Solver, θ, k, y, a, to, slopes)
    early = velocity(θ, k, y, a, slopes, true)
    late = velocity(θ, k, plus_scaled(y, to - a, early), to, slopes, true)
    return scaled(0.5, plus(early, late))
end

"""Cotangents of y and of a from that of the leaf's velocity; adds to the wanted gradients θ̄."""
function leaf_velocity_adjoint!(θ̄, ::Solver, θ::Model, k, y, a, to, slopes, bar, wanted)
    early = velocity(θ, k, y, a, slopes, true)
    half = scaled(0.5, bar)
    y_to_bar, _ = velocity_adjoint!(θ̄, θ, k, plus_scaled(y, to - a, early), to, slopes, true, half, wanted)
    y_bar, a_bar = velocity_adjoint!(θ̄, θ, k, y, a, slopes, true, plus_scaled(half, to - a, y_to_bar), wanted)
    return plus(y_bar, y_to_bar), a_bar - along(y_to_bar, early)
end

"""The state at b from that at a."""
@inline leaf_piece(solver, θ, k, y, a, b, to, slopes) =
    plus_scaled(y, b - a, leaf_velocity(solver, θ, k, y, a, to, slopes))

"""
Given the cotangent of the state at b, returns that of the state at a and, if one of them `moves`, of a and of b; adds
to the wanted gradients θ̄.
"""
@inline function leaf_piece_adjoint!(θ̄, solver, θ::Model, k, y, bar, a, b, to, slopes, wanted, moves)
    ends_bar = moves ? along(bar, leaf_velocity(solver, θ, k, y, a, to, slopes)) : 0.0
    y_bar, a_bar = leaf_velocity_adjoint!(θ̄, solver, θ, k, y, a, to, slopes, scaled(b - a, bar), wanted)
    return plus(bar, y_bar), a_bar - ends_bar, ends_bar
end

"""
At which depth the leaves of neuron k are. A leaf of length δ leaves an error of order √δ in the gradient, by the path's
roughness at the spike. Solvers of order 3/2 make one of order h^(3/4) by themselves, so that δ is taken in proportion
to h^(3/2), in units of the membrane's time constant.
"""
@inline function leaf_depth(::Solver, θ::Model, k, h)
    membrane, fastest = time_scale_rates(θ, k)
    ratio = h * membrane
    # ⌈log4(1/ratio)⌉, from the exponent of a float
    steepness = ratio >= 1 ? 0 : (1 - exponent_of(ratio)) >> 1
    stable = exponent_of(h * fastest) + 2
    return min(max(SHALLOWEST, BASE_DEPTH + steepness, stable), DEEPEST)
end

"""How deep a solver's leaves can be."""
deepest_leaf(::Solver) = DEEPEST

const BASE_DEPTH = 4
const SHALLOWEST = 5        # so that leaves are as accurate as large steps, too

# --- the tree of intervals --------------------------------------------------------------------------------------------

const HALVINGS = ntuple(n -> 2.0^(1 - n), DEEPEST + 1)

"""Where interval `position` of `depth` below the step begins; the end of one is the beginning of the next."""
@inline edge(step::Step, depth, position) =
    position == 1 << depth ? step.stop : step.start + position * (@inbounds step.length * HALVINGS[depth+1])

"""The driver over the whole step, areas included."""
whole_increment(step::Step{M,C}, k) where {M,C} =
    Increment(ntuple(c -> increment(step, k, c), Val(C)), ntuple(c -> area(step, k, c), Val(C)))

"""The path on both halves of an interval of a step."""
function halves(step::Step, k, depth, position, x::Increment)
    memory, tag = step.memory, ((step.index << DEEPEST) | position) + 1
    @inbounds if memory.tag[depth+1, k] != tag
        memory.tag[depth+1, k] = tag
        index = (step.index << depth) + position
        memory.left[depth+1, k], memory.right[depth+1, k] = halves(
            step.driver, step.key, k, level(step.driver) + depth, index, step.length * HALVINGS[depth+1], x,
        )
    end
    return @inbounds memory.left[depth+1, k], memory.right[depth+1, k]
end

"""The second half of an interval, the one before this depth, that has been split."""
@inline right_half(step::Step, k, depth) = @inbounds step.memory.right[depth, k]

"""Where a passage leads: to its end, or to the first spike on it."""
struct Arrival{M}
    y::NTuple{M,Float64}
    τ::Float64                      # of the first spike, or Inf,
    event::Int                      # and which of the model's events it is
    ẏ::NTuple{M,Float64}            # the speed there, noise included, if it ends in a leaf
end

"""
    refine(follow, start, solver, θ, step, k, y, a, b, to_spike, firing) -> (Arrival, followed)

Bring neuron k from its state y at time a to b; with `to_spike` no further than to its first spike. `firing` says that
the whole step is known to make it fire. `follow(followed, piece)` is called with each piece crossed, and what it
returns is `followed` the next time, `start` the first.

Intervals are crossed whole, by one step of the solver, where that shows no spike; else the halves of them, the left one
first, down to the leaves.
"""
function refine(
    follow::F, start, solver, θ::Model, step::Step{M}, k, y, a, b, to_spike::Bool, firing::Bool,
) where {F,M}
    leaves = min(leaf_depth(solver, θ, k, step.length), most_leaves(step.memory))
    prepare_refinement!(solver, θ, k, leaves)
    followed = start
    depth, position, from, to = 0, 0, step.start, step.stop
    x = whole_increment(step, k)
    half_fires = false              # whether the interval whose left half this is, or was, is known to have a spike
    while true
        h = @inbounds step.length * HALVINGS[depth+1]
        crossed = depth == leaves
        direct = false
        arrival = Arrival(y, Inf, 0, zero_state(Val(M)))
        if crossed
            at, stop = max(a, from), min(b, to)
            arrival = cross_straight(solver, θ, k, y, at, stop, to, map(w -> w / h, x.w), to_spike)
            end_ = to_spike ? min(stop, arrival.τ) : stop
            followed = follow(followed, Piece(true, at, end_, to, y, x, h))
        elseif !firing && a <= from && to <= b
            y_to = one_step(solver, θ, k, y, from, h, x)
            firing = fires(θ, k, y_to)
            if !firing
                crossed = direct = true
                arrival = Arrival(y_to, Inf, 0, zero_state(Val(M)))
                followed = follow(followed, Piece(false, from, to, to, y, x, h))
            end
        end
        if crossed
            y = arrival.y
            # From a right half back to the interval that it is half of, until there is another half to go on to.
            while isodd(position)
                depth, position, direct = depth - 1, position >> 1, false
            end
            (depth == 0 || arrival.τ < Inf || b <= edge(step, depth, position + 1)) && return arrival, followed
            position += 1
            x = right_half(step, k, depth)
            firing = half_fires && direct       # what fires in the whole and not in its first half fires in the second
        else
            left, right = halves(step, k, depth, position, x)
            depth, position = depth + 1, 2 * position
            if a < edge(step, depth, position + 1)
                x, half_fires, firing = left, firing, false
            else
                position, x, firing = position + 1, right, false
            end
        end
        from, to = edge(step, depth, position), edge(step, depth, position + 1)
    end
end

# What becomes of the pieces: nothing, or they are kept in a vector.
@inline pass_piece(::Nothing, piece) = nothing
@inline keep_piece(pieces, piece) = push!(pieces, piece)

"""From a to b without an event between them."""
passage(solver, θ::Model, step::Step, k, y, a, b) =
    first(refine(pass_piece, nothing, solver, θ, step, k, y, a, b, false, false))

"""From y at `start` in a straight line to `stop`, or to the first spike before it, within a leaf that ends at `to`."""
@inline function cross_straight(solver, θ, k, y, start, stop, to, slopes, to_spike::Bool)
    ẏ = leaf_velocity(solver, θ, k, y, start, to, slopes)
    y_stop = plus_scaled(y, stop - start, ẏ)
    to_spike && fires(θ, k, y_stop) || return Arrival(y_stop, Inf, 0, ẏ)
    τ, event = first_event(θ, k, y, ẏ, start, stop)
    return Arrival(plus_scaled(y, τ - start, ẏ), τ, event, ẏ)
end

# --- what the rest of the core asks for -------------------------------------------------------------------------------

"""Whether the whole step is a leaf, for every neuron: nothing is refined then."""
@inline is_straight(solver::Solver) = deepest_leaf(solver) == 0

"""The driver's slopes over the whole step."""
@inline step_slopes(step::Step{M,C}, k) where {M,C} = ntuple(c -> increment(step, k, c) / step.length, Val(C))

"""The driver over a piece's interval with its tangent, if it has one; likewise the slopes of a leaf, or of a step."""
@inline moved_increment(θ::DualModel, piece::Piece, k) =
    with_tangent(θ.path, piece.x, k, piece.to - piece.length, piece.to)

@inline moved_slopes(θ::DualModel, piece::Piece, k) = map(w -> w / piece.length, moved_increment(θ, piece, k).w)

@inline function moved_slopes(θ::DualModel, step::Step{M,C}, k) where {M,C}
    x = with_tangent(θ.path, Increment(ntuple(c -> increment(step, k, c), Val(C))), k, step.start, step.stop)
    return map(w -> w / step.length, x.w)
end

"""Adds to the driver's gradients what a part, from a to b, of a leaf that ends at `to` says of its increment."""
@inline leaf_path_adjoint!(driver::Driver, solver, θ, k, y, bar, a, b, to, x, span) =
    wants_gradients(driver) && path_adjoint!(
        x -> leaf_piece(solver, θ, k, y, a, b, to, map(w -> w / span, x.w)), driver, k, bar, x, to - span, to, false,
    )

"""The same of a passage from a to b in a step that is a leaf."""
@inline function straight_path_adjoint!(solver, θ, step::Step, k, y, bar, a, b)
    wants_gradients(step.driver) || return
    x = Increment(map(slope -> slope * step.length, step_slopes(step, k)))
    leaf_path_adjoint!(step.driver, solver, θ, k, y, bar, a, b, step.stop, x, step.length)
end

"""
The neuron's first spike before the end of the step, from its state y at a, or the state at the end. `firing` where a is
the start of the step and `full_step!` has shown that it fires.
"""
@inline function reach(solver::Solver, θ::Model, step::Step, k, y, a, firing::Bool)
    is_straight(solver) && return cross_straight(solver, θ, k, y, a, step.stop, step.stop, step_slopes(step, k), true)
    return first(if remembers_passages(step.memory)
        refine(keep_piece, empty!(step.memory.pieces[k]), solver, θ, step, k, y, a, step.stop, true, firing)
    else
        refine(pass_piece, nothing, solver, θ, step, k, y, a, step.stop, true, firing)
    end)
end

"""The state at b from the state y at a, both within the step and without an event between them."""
@inline function advance(solver::Solver, θ::Model, step::Step, k, y, a, b)
    is_straight(solver) && return leaf_piece(solver, θ, k, y, a, b, step.stop, step_slopes(step, k))
    return passage(solver, θ, step, k, y, a, b).y
end

"""The pieces of neuron k's passage from its state y at a to b; of its last one, if it is that."""
function pieces_of(solver::Solver, θ::Model, step::Step, k, y, a, b)
    pieces = step.memory.pieces[k]
    isempty(pieces) || (pieces[1].a == a && pieces[end].b == b && pieces[1].y == y && return pieces)
    return last(refine(keep_piece, empty!(pieces), solver, θ, step, k, y, a, b, false, false))
end

"""
What `follow(followed, piece)` makes, one after the other, of the pieces of neuron k's passage from its state y at a to
b, and of none `start`.
"""
@inline follow_pieces(follow, start, solver, θ::Model, step::Step, k, y, a, b) =
    follow_pieces(follow, step.memory, start, solver, θ, step, k, y, a, b)
@inline function follow_pieces(follow, ::RefinementMemory, start, solver, θ::Model, step::Step, k, y, a, b)
    followed = start
    for piece in pieces_of(solver, θ, step, k, y, a, b)
        followed = follow(followed, piece)
    end
    return followed
end

"""The same from the last piece to the first."""
@inline follow_pieces_back(follow, start, solver, θ::Model, step::Step, k, y, a, b) =
    follow_pieces_back(follow, step.memory, start, solver, θ, step, k, y, a, b)
@inline function follow_pieces_back(follow, ::RefinementMemory, start, solver, θ::Model, step::Step, k, y, a, b)
    followed = start
    for piece in Iterators.reverse(pieces_of(solver, θ, step, k, y, a, b))
        followed = follow(followed, piece)
    end
    return followed
end

"""Tangent of `advance`, from those of y, a and b."""
function advance_tangent(solver::Solver, θ::DualModel, step::Step, k, y, dy, a, b, da, db)
    state = duals(y, dy)
    if is_straight(solver)
        slopes = moved_slopes(θ, step, k)
        return tangents_of(leaf_piece(solver, θ, k, state, Dual(a, da), Dual(b, db), step.stop, slopes))
    end
    return tangents_of(follow_pieces(state, solver, θ.primal, step, k, y, a, b) do state, piece
        # Inner ends of pieces are fixed edges of intervals.
        piece_tangent(solver, θ, step, k, state, piece, piece.a == a ? da : 0.0, piece.b == b ? db : 0.0)
    end)
end

"""The state after a piece with its tangent, from those before it; da and db are the tangents of the piece's ends."""
@inline function piece_tangent(solver, θ::DualModel, step::Step, k, state, piece::Piece, da, db)
    if piece.in_leaf
        start, stop = Dual(piece.a, da), Dual(piece.b, db)
        return leaf_piece(solver, θ, k, state, start, stop, piece.to, moved_slopes(θ, piece, k))
    end
    state = moved_at_edge(solver, θ, step, k, state, piece.a, -da)
    state = one_step(solver, θ, k, state, piece.a, piece.length, moved_increment(θ, piece, k))
    return moved_at_edge(solver, θ, step, k, state, piece.b, db)
end

# Where a moving time is at an edge from or to which one step leads, it moves along the leaf there.

"""The speed of neuron k's state y in the leaf that begins at the edge t, or ends there with the step."""
edge_velocity(solver, θ::Model, step::Step, k, y, t) = passage(solver, θ, step, k, y, t, t).ẏ

"""`state`, which comes with its tangent, where the time of it, the edge t, moves by dt."""
function moved_at_edge(solver, θ::DualModel, step::Step, k, state, t, dt)
    dt == 0.0 && return state
    y = map(x -> x.value, state)
    return duals(y, plus_scaled(tangents_of(state), dt, edge_velocity(solver, θ.primal, step, k, y, t)))
end

"""
Given the cotangent of the state at b, that of the state at a, of a if that is within the step, and, if it `moves`, of
b; adds to the wanted gradients θ̄.
"""
function advance_adjoint!(θ̄, solver::Solver, θ::Model, step::Step, k, y, bar, a, b, wanted, moves = true)
    starts_late = step.start < a || step.index == 0     # the start of a step is fixed; but a spike may arrive at t0
    if is_straight(solver)
        straight_path_adjoint!(solver, θ, step, k, y, bar, a, b)
        return leaf_piece_adjoint!(
            θ̄, solver, θ, k, y, bar, a, b, step.stop, step_slopes(step, k), wanted, moves || starts_late,
        )
    end
    return follow_pieces_back((bar, 0.0, 0.0), solver, θ, step, k, y, a, b) do bars, piece
        at_end, at_start = moves && piece.b == b, starts_late && piece.a == a
        return piece_adjoint!(θ̄, solver, θ, step, k, bars, piece, wanted, at_end, at_start, piece.a == a, piece.b == b)
    end
end

"""
From the cotangents of the state after a piece, and of the passage's ends a and b as far as they are known, those before
it. `at_end` says that b ends the piece and moves, `at_start` that a begins it and may.
"""
function piece_adjoint!(
    θ̄, solver, θ::Model, step::Step, k, (bar, a_bar, b_bar), piece::Piece, wanted, at_end, at_start, is_first, is_last,
)
    if piece.in_leaf
        leaf_path_adjoint!(
            step.driver, solver, θ, k, piece.y, bar, piece.a, piece.b, piece.to, piece.x, piece.length,
        )
        before, start_bar, stop_bar = leaf_piece_adjoint!(
            θ̄, solver, θ, k, piece.y, bar, piece.a, piece.b, piece.to, slopes(piece), wanted, at_end || at_start,
        )
        return before, is_first ? start_bar : a_bar, is_last ? stop_bar : b_bar
    end
    if at_end
        y_b = one_step(solver, θ, k, piece.y, piece.a, piece.length, piece.x)
        b_bar = along(bar, edge_velocity(solver, θ, step, k, y_b, piece.b))
    end
    one_step_path_adjoint!(step.driver, solver, θ, k, piece.y, bar, piece.a, piece.b, piece.length, piece.x)
    before = one_step_adjoint!(θ̄, solver, θ, k, piece.y, bar, piece.a, piece.length, piece.x, wanted)
    at_start && (a_bar = -along(before, edge_velocity(solver, θ, step, k, piece.y, piece.a)))
    return before, a_bar, b_bar
end
