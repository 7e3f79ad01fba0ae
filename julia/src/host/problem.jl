# What is solved, as the host describes it, and the coefficients of one sample laid out for the solvers.

"""
A scalar coefficient as the host stores it: its value for a direction, sample, neuron and knot stands at the sum of
index × stride. A stride of 0 is a coefficient that is shared. Counts in elements; indices from 1 here.
"""
struct Coefficient
    pointer::Ptr{Float64}
    stride_direction::Int64
    stride_sample::Int64
    stride_neuron::Int64
    stride_knot::Int64
end

@inline position(c::Coefficient, sample, neuron, knot = 1, direction = 1) =
    1 + (direction - 1) * c.stride_direction + (sample - 1) * c.stride_sample + (neuron - 1) * c.stride_neuron +
    (knot - 1) * c.stride_knot

"""
One spike per sample that the noise does not make: of neuron `neurons[s]`, right after the spike `spikes[s]` of the
sample or at the saved time `saves[s]`. All from 0, −1 for none; null pointers where no sample has one.
"""
struct Insertions
    neurons::Ptr{Int64}
    spikes::Ptr{Int64}
    saves::Ptr{Int64}
end

"""
The part of the driver that the host gives, as a path that is linear between knots: their times, a table of values per
component, and which components have a Brownian motion added to them (1, else 0).
"""
struct PathData
    times::Ptr{Float64}
    num_times::Int64
    values::Ptr{Coefficient}
    brownian::Ptr{Int64}
end

const NO_PATH = PathData(C_NULL, 0, C_NULL, C_NULL)

"""
The jumps of the driver in all samples, as the host gives them: times, neurons and the sizes of all components, those of
a sample from `first` on in the order of time. All indices from 0; null where there are none.
"""
struct JumpData
    times::Ptr{Float64}             # (J,)
    neurons::Ptr{Int64}
    sizes::Ptr{Float64}             # (J, C)
    first::Ptr{Int64}               # (S,)
    counts::Ptr{Int64}
    num_jumps::Int64                # J
end

const NO_JUMPS = JumpData(C_NULL, C_NULL, C_NULL, C_NULL, C_NULL, 0)

const NO_INSERTIONS = Insertions(C_NULL, C_NULL, C_NULL)

"""
Spikes that come from outside, on channels: of each sample their channels, from 0, `num_spikes` of them in the order of
time, −1 after the last, and their times, whose knots count spikes.
"""
struct Inputs
    num_channels::Int64
    channels::Ptr{Int64}
    num_spikes::Int64
    stride_sample::Int64            # of `channels`; 0 where samples share their spikes
    times::Coefficient
end

const NOWHERE = Coefficient(C_NULL, 0, 0, 0, 0)
const NO_INPUTS = Inputs(0, C_NULL, 0, 0, NOWHERE)

"""
A recording of some of the neurons, which fire when it says so, and only then: of each sample the times of its spikes,
`num_spikes` of them and not decreasing, and their neurons, −1 after the last; and which neurons are `clamped` to it.
Null pointers where there is none. Neurons count from 0, as the host has them.
"""
struct Recording
    times::Ptr{Float64}
    neurons::Ptr{Int64}
    clamped::Ptr{UInt8}             # one per neuron
    num_spikes::Int64
    stride_sample::Int64            # of times and neurons; 0 where samples share theirs
end

const NO_RECORDING = Recording(C_NULL, C_NULL, C_NULL, 0, 0)

"""
What belongs to the spikes of a recording, one number per sample and spike: log λ just before each, and what the hazard
has come to there since the neuron's last spike, less its dead zone. Values, tangents (direction first) or cotangents;
null where they are not wanted.
"""
struct AtRecordedSpikes
    log_hazards::Ptr{Float64}
    hazards::Ptr{Float64}
end

const NOT_WANTED = AtRecordedSpikes(C_NULL, C_NULL)

"""
Where a run goes on from another, all indices from 0. `time` is up to when everything has happened that does not come
from a neuron's own state. The last spikes are those of neurons with delays that may still be under way, in the order of
time, −1 after the last. Null pointers: variables as the model has them, no spikes.
"""
struct Start
    variables::Ptr{Float64}         # (variable, sample, neuron)
    step::Int64                     # how many steps of the grid have been taken
    time::Float64                   # −Inf at t0
    fired::Ptr{Int64}               # (sample, neuron): how often each neuron has
    spike_times::Ptr{Float64}       # (sample, spike)
    spike_neurons::Ptr{Int64}
    num_spikes::Int64
end

const AT_T0 = Start(C_NULL, 0, -Inf, C_NULL, C_NULL, C_NULL, 0)

push!(
    BOUNDARY_STRUCTS, Coefficient, Insertions, Inputs, PathData, JumpData, Recording, AtRecordedSpikes, Start,
)

"""Where one sample has its inserted spike: neuron, spike and saved time from 1; 0 for none."""
struct Insertion
    neuron::Int
    spike::Int
    save::Int
end

Insertion(all::Insertions, sample) = all.neurons == C_NULL ? Insertion(0, 0, 0) :
    Insertion((unsafe_load(part, sample) + 1 for part in (all.neurons, all.spikes, all.saves))...)

"""The host's description of a simulation: same fields, same order, eight bytes each."""
struct Problem
    num_neurons::Int64
    num_samples::Int64
    first_sample::Int64
    seed::UInt64
    t0::Float64
    t1::Float64
    dt::Float64
    num_steps::Int64
    max_spikes::Int64               # of one sample, which stops when it has so many
    threads::Int64
    num_components::Int64           # Brownian motions per neuron, at least 1
    noise_levels::Int64             # a step is this many halvings of a noise step
    hard_reset::Int64               # 1: a spike puts v to v_reset; 0: it lowers v by v_reset
    stratonovich::Int64             # how a state-dependent diffusion is meant; 0: Itô
    solver::Ptr{UInt8}
    model::Ptr{UInt8}
    intensity::Ptr{UInt8}
    current::Ptr{UInt8}
    diffusion::Ptr{UInt8}
    coefficients::Ptr{Coefficient}  # one per name
    coefficient_names::Ptr{UInt8}   # one a line, in any order; tables of tangents and gradients have the same
    settings::Ptr{Float64}
    num_settings::Int64
    knots::Ptr{Float64}
    num_knots::Int64
    synapses::Synapses
    saveat::Ptr{Float64}
    num_saves::Int64
    insertions::Insertions          # spikes that happen besides those of the noise; for `ssnn_solve` alone, after t0
    inputs::Inputs
    driver::Ptr{UInt8}
    path::PathData
    jumps::JumpData
    recording::Recording
    start::Start
end

push!(BOUNDARY_STRUCTS, Problem)

"""Which neurons are clamped to a recording; nothing where there is none."""
clamped_neurons(problem::Problem) = problem.recording.clamped == C_NULL ? nothing :
    Bool[unsafe_load(problem.recording.clamped, k) != 0 for k in 1:problem.num_neurons]

"""How many delays there are: one per synapse, or none."""
num_delays(problem::Problem) = problem.synapses.delays.pointer == C_NULL ? 0 : length(problem.synapses)

"""
Where each of `coefficient_arrays` stands in the host's tables, which list what `coefficient_names` of the problem says.
"""
function coefficient_places(problem::Problem, p::Model)
    given = String.(split(unsafe_string(problem.coefficient_names), '\n'; keepempty = false))
    known = String[string(name) for name in keys(coefficient_arrays(p))]
    for name in given
        name in known || throw(ArgumentError(
            "the host gives a coefficient \"$name\", which this network does not have; it has $(join(known, ", "))",
        ))
    end
    return Int[only_place(given, name) for name in known]
end

function only_place(given::Vector{String}, name::String)
    places = findall(other -> other == name, given)
    length(places) == 1 || throw(ArgumentError(
        "the host must give the coefficient \"$name\" once, and gives it $(length(places)) times"
    ))
    return places[1]
end

"""A table of the host's in the order of `coefficient_arrays`."""
host_table(pointer::Ptr{Coefficient}, places::Vector{Int}) =
    Coefficient[unsafe_load(pointer, place) for place in places]

function read_table!(table::Vector{Coefficient}, pointer::Ptr{Coefficient}, places::Vector{Int})
    for (slot, place) in enumerate(places)
        table[slot] = unsafe_load(pointer, place)
    end
    return table
end

"""
Copy the coefficients of one sample (in one direction, for tangents) from the host's arrays; `list` as `host_table` has
it. Those of synapses stay there.
"""
function load!(
    p::Model, list::Vector{Coefficient}, weights::PerSynapse, delays::PerSynapse, sample, direction = 1,
)
    for (array, coefficient) in zip(coefficient_arrays(p), list)
        load!(array, coefficient, sample, direction)
    end
    look_at!(p.weights, weights, direction)
    isempty(p.delays) || look_at!(p.delays, delays, direction)
    return p
end

function load!(array::AbstractVecOrMat{Float64}, coefficient::Coefficient, sample, direction)
    coefficient.pointer == C_NULL && return fill!(array, 0.0)
    for neuron in 1:size(array, ndims(array)), knot in 1:(array isa Matrix ? size(array, 1) : 1)
        value = unsafe_load(coefficient.pointer, position(coefficient, sample, neuron, knot, direction))
        array isa Matrix ? (array[knot, neuron] = value) : (array[neuron] = value)
    end
    return array
end

"""
Add gradients by coefficients of neurons to the host's arrays and clear them here: those that each sample has of its own
(`per_sample`), or those that samples share, in an array that may have a leading axis of directions.
"""
function scatter!(list::Vector{Coefficient}, p::Model, sample, direction = 1; per_sample::Bool)
    for (array, coefficient) in zip(coefficient_arrays(p), list)
        (coefficient.stride_sample != 0) == per_sample || continue
        coefficient.pointer == C_NULL || scatter!(coefficient, array, sample, direction)
        fill!(array, 0.0)
    end
end

function scatter!(coefficient::Coefficient, array::AbstractVecOrMat{Float64}, sample, direction = 1)
    for neuron in 1:size(array, ndims(array)), knot in 1:(array isa Matrix ? size(array, 1) : 1)
        value = array isa Matrix ? array[knot, neuron] : array[neuron]
        add_at!(coefficient, position(coefficient, sample, neuron, knot, direction), value)
    end
end

add_at!(c::Coefficient, place, value) = unsafe_store!(c.pointer, unsafe_load(c.pointer, place) + value, place)

"""Add up coefficients of neurons, or clear them."""
add!(total::Model, part::Model) =
    foreach((a, b) -> a .+= b, values(coefficient_arrays(total)), values(coefficient_arrays(part)))
clear!(p::Model) = foreach(array -> fill!(array, 0.0), coefficient_arrays(p))

"""
Registries of what a host may name. A file that defines a model or a part of one, a driver or a solver adds itself.
"""
const MODELS = Dict{String,Any}()
const DRIVERS = Dict{String,Any}()
const SOLVERS = Dict{String,Any}()
const INTENSITIES = Dict{String,Any}()
const CURRENTS = Dict{String,Any}()
const DIFFUSIONS = Dict{String,Any}()

function lookup(registry, kind, name)
    haskey(registry, name) && return registry[name]
    throw(ArgumentError("unknown $kind \"$name\"; the core knows $(join(sort(collect(keys(registry))), ", "))"))
end

"""The model of a problem's network, all of its coefficients zero."""
Model(problem::Problem) = lookup(MODELS, "model", unsafe_string(problem.model))(problem)

"""The driver of a problem, before its first sample."""
Driver(problem::Problem) = lookup(DRIVERS, "driver", unsafe_string(problem.driver))(problem)
