"""
A solver: how one neuron's state (v, i, s) moves along a piece of time without events, and the derivatives of that map. A file in `solvers/`
defines a subtype, registers it in `SOLVERS`, and writes side by side

  * `advance(solver, θ, step, k, y, a, b)`: the state at b from the state y at a;
  * `speed(solver, θ, step, k, y)`: its derivative in b, noise included;
  * `advance_tangent(…)` and `advance_adjoint!(…)`: its tangent and its adjoint;
  * `full_step!`, `full_step_tangent!`, `full_step_adjoint!`: the same for all neurons over a whole step, as loops that vectorise;
  * optionally `quiet_steps!` and `quiet_steps_tangent!`: consecutive steps of a network of one neuron.

Events, checkpoints, recording and threads are not its concern.
"""
abstract type Solver end

"""One step of the base grid: its times, and its Brownian increments, `scale · normals[offset + k + (c − 1)·N]` for component c of neuron k."""
struct Step
    start::Float64
    stop::Float64
    length::Float64
    scale::Float64
    normals::Vector{Float64}
    offset::Int
    num_neurons::Int
    num_components::Int
end

@inline increment(step::Step, k, c) = @inbounds step.scale * step.normals[step.offset+k+(c-1)*step.num_neurons]

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
    sigma::Bool
    intensity::Bool
    current::Bool
end

"""Which groups of coefficients the host has named: those with an array of their own."""
function Groups(list::Vector{Coefficient}, θ::Parameters)
    named = [c.pointer != C_NULL for c in list]
    num_intensity = length(parameter_arrays(θ.intensity))
    return Groups(any(named[1:2]), any(named[3:6]), any(named[11:10+num_intensity]), any(named[11+num_intensity:end]))
end

"""What a network of one neuron was at the starts of consecutive steps without spikes."""
struct Trail
    v::Vector{Float64}
    i::Vector{Float64}
    rate::Vector{Float64}
end

Trail(steps::Integer) = Trail(zeros(steps), zeros(steps), zeros(steps))

# A solver without a version of its own for one neuron takes none of the steps at once.
quiet_steps!(::Solver, x::State, θ::Parameters, trail::Trail, window::NoiseWindow, from, to, t0, dt, scale) = from
