"""
A solver: one step of one neuron over any model and driver, and its adjoint. A file in `solvers/` defines a subtype,
registers a constructor without arguments in `SOLVERS`, and writes

  * `one_step(solver, θ, k, y, t, h, x)`: the state after an interval of length h from t, over which the driver is the
    `Increment` x, from the state y before it; θ is a `Model` or a `DualModel`, and y accordingly of `Float64` or
    `Dual`;
  * `one_step_adjoint!(θ̄, solver, θ, k, y, bar, t, h, x, wanted)`: the cotangent of y from that of the state after it;
    adds to the wanted gradients θ̄;
  * `uses_area(solver)`, if it needs the driver's space-time areas;
  * `prepare!(solver, θ, h)`, if it computes something once for the coefficients of a sample and the length of its
    steps, and `prepare_refinement!(solver, θ, k, leaves)`, if also for the parts of a step that refinement crosses: of
    neuron k's at depths 0 to `leaves` − 1 below it;
  * `suit!(solver, driver)`, if it depends on the kind of driver.

The increment may be one of `Dual`s (`DualIncrement`), and the state and θ then of `Float64`.

Events, restarts after them and recorded values inside a step are reached by refinement (`refinement.jl`), which a
solver may tune: `leaf_depth`, or `deepest_leaf` where the whole step is one, and `leaf_velocity` with its adjoint.
"""
abstract type Solver end

prepare!(::Solver, θ::Model, h) = nothing
prepare_refinement!(::Solver, θ::Model, k, leaves) = nothing
suit!(solver::Solver, driver::Driver) = solver
uses_area(::Solver) = false

# No interval is split further than 2^-16 of a step; `leaf_depth` says where a neuron's leaves are.
const DEEPEST = 16

"""
What refinement passed through: an interval that one step of the solver crossed, or a leaf, of which a part may be.
"""
struct Piece{M,C}
    in_leaf::Bool
    a::Float64
    b::Float64
    to::Float64                     # end of the interval
    y::NTuple{M,Float64}            # at a
    x::Increment{C}                 # over the interval,
    length::Float64                 # which is so long
end

"""The driver's slopes over the piece's interval."""
slopes(piece::Piece) = map(w -> w / piece.length, piece.x.w)

"""The halves of intervals that refinement has split: the fields `tag`, `left` and `right` of `RefinementMemory`."""
abstract type SplitMemory{M,C} end

"""
What refinement inside steps leaves behind, as an event looks at the same part of the path again and again: of each
neuron the halves of the intervals that were split last, one per depth, and the pieces of its last passage.
"""
mutable struct RefinementMemory{M,C} <: SplitMemory{M,C}
    tag::Matrix{Int}                # which interval it is; 0 for none
    left::Matrix{Increment{C}}
    right::Matrix{Increment{C}}
    pieces::Vector{Vector{Piece{M,C}}}
    remembers_passages::Bool        # also those that ask for a spike: tangents follow them
end

RefinementMemory{M,C}(n::Integer, depth::Integer) where {M,C} = RefinementMemory{M,C}(
    zeros(Int, depth, n), Matrix{Increment{C}}(undef, depth, n), Matrix{Increment{C}}(undef, depth, n),
    [Piece{M,C}[] for _ in 1:n], false,
)

remembers_passages(memory::RefinementMemory) = memory.remembers_passages
remembers_passages(::SplitMemory) = false

# How deep leaves may be at most: as deep as there is memory for.
most_leaves(::SplitMemory) = DEEPEST

"""Forget the path and the passages of another sample."""
function forget!(memory::RefinementMemory)
    fill!(memory.tag, 0)
    foreach(empty!, memory.pieces)
end

"""
One step of the grid: its times, and the driver's increments, of component c of neuron k `scale · increments[offset + k
+ (c − 1)·N]`, the areas likewise. It is interval `index` of the driver's own level. Solvers that do not use areas have
none here; `area` draws it where one is needed after all.
"""
struct Step{M,C,D<:Driver{C},V<:AbstractVector{Float64},R<:SplitMemory{M,C}}
    start::Float64
    stop::Float64
    length::Float64
    scale::Float64
    increments::V
    offset::Int
    area_scale::Float64
    areas::V
    area_offset::Int
    num_neurons::Int
    key::NTuple{2,UInt64}
    index::Int
    driver::D
    memory::R
end

"""Where step `n` (from 0) of the grid begins and ends."""
step_times(problem, n) =
    problem.t0 + n * problem.dt, n == problem.num_steps - 1 ? problem.t1 : problem.t0 + (n + 1) * problem.dt

"""The driver's increment of component c of neuron k over the step."""
@inline increment(step::Step, k, c) = @inbounds step.scale * step.increments[step.offset+k+(c-1)*step.num_neurons]

"""Its space-time Lévy area."""
@inline function area(step::Step, k, c)
    isempty(step.areas) && return area(step.driver, step.key, k, c, step.index, step.length)
    return @inbounds step.area_scale * step.areas[step.area_offset+k+(c-1)*step.num_neurons]
end

"""The driver over the whole step for neuron k, with areas only if the solver uses them."""
@inline function step_increment(solver::Solver, step::Step{M,C}, k) where {M,C}
    n = step.num_neurons
    w = components(step.increments, step.offset + k, n, step.scale, Val(C))
    uses_area(solver) || return Increment(w)
    return Increment(w, components(step.areas, step.area_offset + k, n, step.area_scale, Val(C)))
end

"""
State of the network during a step: what each neuron is at the start of its piece (`y`), and at the end of the step
(`y_end`) if no event comes between. The start is the step's own, or the neuron's last event in it.
"""
mutable struct NetworkState{M}
    y::NTuple{M,Vector{Float64}}
    y_end::NTuple{M,Vector{Float64}}
    start::Vector{Float64}          # of the piece; valid where `moved`
    moved::Vector{Bool}             # by an event within this step
    moved_neurons::Vector{Int}
    spikes::Vector{Int}             # how often each neuron has fired,
    spikes_in_step::Vector{Int}     # and within this step
end

NetworkState{M}(n::Integer) where {M} = NetworkState{M}(
    zero_vectors(Val(M), n), zero_vectors(Val(M), n), zeros(n), zeros(Bool, n), Int[], zeros(Int, n), zeros(Int, n),
)

num_neurons(x::NetworkState) = length(x.start)

"""Neuron k's local time: that of its last event in the step, or the step's start."""
@inline piece_start(x, step::Step, k) = @inbounds ifelse(x.moved[k], x.start[k], step.start)

"""Make the end of the step the start of the next one."""
function turn_over!(x::NetworkState, θ::Model)
    x.y, x.y_end = x.y_end, x.y
    isempty(x.moved_neurons) || settle!(x)
    rearms(typeof(θ)) && foreach(k -> set_state!(x.y, k, rearmed(θ, k, state_at(x.y, k))), 1:num_neurons(x))
end

"""Forget which neurons events have moved."""
function settle!(x::NetworkState)
    for k in x.moved_neurons
        x.moved[k] = false
        x.spikes_in_step[k] = 0
    end
    empty!(x.moved_neurons)
end

"""
Tangent of a `NetworkState` in one direction; `start` is that of the local time, zero where no event has moved the
neuron.
"""
mutable struct StateTangent{M}
    y::NTuple{M,Vector{Float64}}
    y_end::NTuple{M,Vector{Float64}}
    start::Vector{Float64}
end

StateTangent{M}(n::Integer) where {M} = StateTangent{M}(zero_vectors(Val(M), n), zero_vectors(Val(M), n), zeros(n))

"""Cotangent of a `NetworkState` at one moment; `start` is that of the local time."""
struct StateAdjoint{M}
    y::NTuple{M,Vector{Float64}}
    start::Vector{Float64}
end

StateAdjoint{M}(n::Integer) where {M} = StateAdjoint{M}(zero_vectors(Val(M), n), zeros(n))

function clear!(bar::StateAdjoint)
    foreach(a -> fill!(a, 0.0), bar.y)
    fill!(bar.start, 0.0)
end

# --- whole steps of all neurons ---------------------------------------------------------------------------------------

"""Advance the `neurons` over the whole step; returns how many of them fire in it."""
function full_step!(solver::Solver, x::NetworkState, θ::Model, step::Step, neurons::UnitRange{Int})
    firing, y, y_end = 0, x.y, x.y_end
    @inbounds @simd ivdep for k in neurons
        after = one_step(solver, θ, k, state_at(y, k), step.start, step.length, step_increment(solver, step, k))
        set_state!(y_end, k, after)
        firing += fires(θ, k, after)
    end
    return firing
end

"""Tangents of the `neurons` at the end of the whole step."""
function full_step_tangent!(
    solver::Solver, dx::StateTangent, x::NetworkState, θ::DualModel, step::Step, neurons::UnitRange{Int},
)
    y, dy, dy_end = x.y, dx.y, dx.y_end
    @inbounds @simd ivdep for k in neurons
        before = duals(state_at(y, k), state_at(dy, k))
        x_k = with_tangent(θ.path, step_increment(solver, step, k), k, step.start, step.stop)
        after = one_step(solver, θ, k, before, step.start, step.length, x_k)
        set_state!(dy_end, k, tangents_of(after))
    end
end

"""
Turns the cotangent `bar` of the `neurons` at the end of the step into that at its start, and adds to the wanted
gradients θ̄.
"""
function full_step_adjoint!(
    bar::StateAdjoint, θ̄::Model, solver::Solver, y, θ::Model, step::Step, wanted, neurons::UnitRange{Int},
)
    at_end = bar.y
    if wants_gradients(step.driver)
        for k in neurons
            y_k, bar_k, x_k = state_at(y, k), state_at(at_end, k), step_increment(solver, step, k)
            one_step_path_adjoint!(step.driver, solver, θ, k, y_k, bar_k, step.start, step.stop, step.length, x_k)
        end
    end
    whole_step_back!(at_end, θ̄, solver, y, θ, step, known(wanted), neurons)
end

"""The same but for the driver's gradients, from cotangents in vectors over neurons."""
function whole_step_back!(at_end, θ̄, solver, y, θ, step, wanted, neurons)
    @inbounds @simd ivdep for k in neurons
        y_k, bar_k, x_k = state_at(y, k), state_at(at_end, k), step_increment(solver, step, k)
        before = one_step_adjoint!(θ̄, solver, θ, k, y_k, bar_k, step.start, step.length, x_k, wanted)
        set_state!(at_end, k, before)
    end
end

"""Adds to the driver's gradients what one step from t to `stop` says of its increment x."""
@inline one_step_path_adjoint!(driver::Driver, solver, θ, k, y, bar, t, stop, h, x) =
    wants_gradients(driver) &&
    path_adjoint!(x -> one_step(solver, θ, k, y, t, h, x), driver, k, bar, x, t, stop, uses_area(solver))

# --- steps without events ---------------------------------------------------------------------------------------------
# A network of one neuron takes as many of them as come before its next event with its state in registers.

"""What a network of one neuron was at the starts of consecutive steps without events."""
const Trail{M} = NTuple{M,Vector{Float64}}

"""The driver over step `n` of the grid for a network of one neuron, with areas only if the solver uses them."""
@inline function grid_increment(solver, driver::Driver{C}, n) where {C}
    array, offset = increments!(driver, n)
    w = components(array, offset + 1, 1, increment_scale(driver), Val(C))
    uses_area(solver) || return Increment(w)
    array, offset = areas!(driver, n)
    return Increment(w, components(array, offset + 1, 1, area_scale(driver), Val(C)))
end

"""
Steps `from` to `to` (the last excluded, at most as many as the trail holds) of a network of one neuron, up to the first
in which it fires; returns that step, or `to`.
"""
function event_free_steps!(solver::Solver, x::NetworkState, θ::Model, trail, driver::Driver, from, to, t0, dt)
    y, n = state_at(x.y, 1), from
    @inbounds while n < to
        after = one_step(solver, θ, 1, y, t0 + n * dt, dt, grid_increment(solver, driver, n))
        fires(θ, 1, after) && break
        set_state!(trail, n - from + 1, y)
        y = rearms(typeof(θ)) ? rearmed(θ, 1, after) : after
        n += 1
    end
    set_state!(x.y, 1, y)
    return n
end

"""The tangent after such steps, the state having been what the trail says."""
function event_free_steps_tangent!(
    solver::Solver, dx::StateTangent, θ::DualModel, trail, driver::Driver, from, to, t0, dt,
)
    dy = state_at(dx.y, 1)
    @inbounds for n in from:to-1
        before = duals(state_at(trail, n - from + 1), dy)
        x = with_tangent(θ.path, grid_increment(solver, driver, n), 1, t0 + n * dt, t0 + (n + 1) * dt)
        dy = tangents_of(one_step(solver, θ, 1, before, t0 + n * dt, dt, x))
    end
    set_state!(dx.y, 1, dy)
end
