"""
A solver: how one neuron's state (v, i, s) moves along a piece of time without events, and the derivatives of that map. What the rest of the core asks of it:

  * `advance(solver, θ, step, k, y, a, b)`: the state at b from the state y at a, both within the step;
  * `reach(solver, θ, step, k, y, a, firing)`: its first spike before the end of the step, as (state there, time τ, speed ẏ there, noise included); or the state at the end, and τ = Inf;
    `firing` where a is the start of the step and `full_step!` has shown that it fires;
  * `advance_tangent(…)` and `advance_adjoint!(…)`: its tangent and its adjoint;
  * `full_step!`, `full_step_tangent!`, `full_step_adjoint!`: the same for all neurons over a whole step, as loops that vectorise;
  * optionally `quiet_steps!` and `quiet_steps_tangent!`: consecutive steps of a network of one neuron.

A file in `solvers/` defines a subtype and registers a constructor without arguments in `SOLVERS`. All of the above follows, in `walk.jl`, for a subtype of
`OneStepSolver`, which writes two functions. Events, checkpoints, recording and threads are not a solver's concern.
"""
abstract type Solver end

"""What a solver computes once for the parameters of a sample and the length of a step."""
prepare!(::Solver, θ::Parameters, length) = nothing

"""Whether steps need the space-time Lévy areas of the Brownian path."""
uses_area(::Solver) = false

"""The Brownian path of one neuron over an interval: increment and space-time Lévy area of both components."""
struct Noise
    w1::Float64
    h1::Float64
    w2::Float64
    h2::Float64
end

# No interval is split further than 2^-16 of a step; `leaf_depth` says where a neuron's leaves are.
const DEEPEST = 16

"""One piece of a walk: from `a` to `b`, from the state (v, i, s); in a leaf, or one step of the solver."""
struct Piece
    in_leaf::Bool
    a::Float64
    b::Float64
    to::Float64                     # end of the interval, of which a leaf may be crossed in part
    v::Float64
    i::Float64
    s::Float64
    noise::Noise
    length::Float64                 # of the interval to which the noise belongs
end

slopes(piece::Piece) = (piece.noise.w1 / piece.length, piece.noise.w2 / piece.length)

"""
What walks inside steps leave behind, as an event looks at the same part of the path again and again: of each neuron the halves of the intervals that were split last, one per depth,
and the pieces of its last walk.
"""
mutable struct WalkMemory
    tag::Matrix{Int}                # which interval it is; 0 for none
    left::Matrix{Noise}
    right::Matrix{Noise}
    pieces::Vector{Vector{Piece}}
    remembers_walks::Bool           # also those that ask for a spike: tangents follow them
end

WalkMemory(n::Integer) = WalkMemory(
    zeros(Int, DEEPEST, n), Matrix{Noise}(undef, DEEPEST, n), Matrix{Noise}(undef, DEEPEST, n), [Piece[] for _ in 1:n], false,
)

function forget!(memory::WalkMemory)
    fill!(memory.tag, 0)
    foreach(empty!, memory.pieces)
end

"""
One step of the grid: its times, and its Brownian path: the increment of component c of neuron k is `scale · normals[offset + k + (c − 1)·N]`, the area likewise. It is
interval `index` of the path's `level`. Solvers that do not use areas have none here; `area` draws it where one is needed after all.
`memory` remembers the parts of the path inside the step.
"""
struct Step
    start::Float64
    stop::Float64
    length::Float64
    scale::Float64
    normals::Vector{Float64}
    offset::Int
    area_scale::Float64
    areas::Vector{Float64}
    area_offset::Int
    num_neurons::Int
    num_components::Int
    key::NTuple{2,UInt64}
    level::Int
    index::Int
    memory::WalkMemory
end

@inline increment(step::Step, k, c) = @inbounds step.scale * step.normals[step.offset+k+(c-1)*step.num_neurons]

@inline function area(step::Step, k, c)
    isempty(step.areas) || return @inbounds step.area_scale * step.areas[step.area_offset+k+(c-1)*step.num_neurons]
    pair = normal_pair(step.key, (UInt64(step.index >> 1), counter_word(LEVY_AREA, c - 1, k - 1)))
    return sqrt(step.length / 12) * (iseven(step.index) ? pair[1] : pair[2])
end

"""State of one neuron at its local time, with the firing rate and the input current there."""
struct Local
    v::Float64
    i::Float64
    s::Float64
    rate::Float64
    input::Float64
end

"""
State of the network during a step: what each neuron is at the start of its piece (`v`, `i`, `s`, with the `rate` and the `input` there), and at the
end of the step (`v_end` …) if no event comes between. The start is the step's own, or the neuron's last event in it.
"""
mutable struct State
    v::Vector{Float64}
    i::Vector{Float64}
    s::Vector{Float64}
    rate::Vector{Float64}
    input::Vector{Float64}
    v_end::Vector{Float64}
    i_end::Vector{Float64}
    s_end::Vector{Float64}
    start::Vector{Float64}          # of the piece; valid where `moved`
    moved::Vector{Bool}             # by an event within this step
    moved_neurons::Vector{Int}
    spikes::Vector{Int}             # how often each neuron has fired,
    spikes_in_step::Vector{Int}     # and within this step
end

State(n::Integer) = State((zeros(n) for _ in 1:9)..., zeros(Bool, n), Int[], zeros(Int, n), zeros(Int, n))

@inline local_state(x::State, k) = @inbounds Local(x.v[k], x.i[k], x.s[k], x.rate[k], x.input[k])

@inline piece_start(x::State, step::Step, k) = @inbounds x.moved[k] ? x.start[k] : step.start

"""Make the end of the step the start of the next one."""
function turn_over!(x::State)
    x.v, x.v_end = x.v_end, x.v
    x.i, x.i_end = x.i_end, x.i
    x.s, x.s_end = x.s_end, x.s
    isempty(x.moved_neurons) || settle!(x)
end

"""Forget which neurons events have moved."""
function settle!(x::State)
    for k in x.moved_neurons
        x.moved[k] = false
        x.spikes_in_step[k] = 0
    end
    empty!(x.moved_neurons)
end

"""Tangent of a `State` in one direction; `start` is that of the local time, zero where no event has moved the neuron."""
mutable struct StateTangent
    v::Vector{Float64}
    i::Vector{Float64}
    s::Vector{Float64}
    v_end::Vector{Float64}
    i_end::Vector{Float64}
    s_end::Vector{Float64}
    start::Vector{Float64}
end

StateTangent(n::Integer) = StateTangent((zeros(n) for _ in 1:7)...)

"""Cotangent of a `State` at one moment; `start` is that of the local time."""
struct StateAdjoint
    v::Vector{Float64}
    i::Vector{Float64}
    s::Vector{Float64}
    start::Vector{Float64}
end

StateAdjoint(n::Integer) = StateAdjoint((zeros(n) for _ in 1:4)...)

"""Which groups of parameters move in a tangent, or are wanted in a gradient: the others' terms are skipped in full steps."""
struct Groups
    mu::Bool
    sigma::Bool                     # and the diffusion
    intensity::Bool
    current::Bool
end

"""Which groups of coefficients the host has named: those with an array of their own."""
function Groups(list::Vector{Coefficient}, θ::Parameters)
    named = [name for (name, c) in zip(keys(coefficient_arrays(θ)), list) if c.pointer != C_NULL]
    names_any(names) = any(name -> name in named, names)
    return Groups(
        names_any((:mu1, :mu2)),
        names_any((:sigma11, :sigma12, :sigma21, :sigma22)) || names_any(keys(parameter_arrays(θ.diffusion))),
        names_any(keys(parameter_arrays(θ.intensity))), names_any(keys(parameter_arrays(θ.current))),
    )
end

"""What a network of one neuron was at the starts of consecutive steps without spikes."""
struct Trail
    v::Vector{Float64}
    i::Vector{Float64}
    rate::Vector{Float64}
end

Trail(steps::Integer) = Trail(zeros(steps), zeros(steps), zeros(steps))

# A solver without a version of its own for one neuron takes none of the steps at once.
quiet_steps!(::Solver, x::State, θ::Parameters, trail::Trail, path::BrownianPath, from, to, t0, dt) = from
