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
What of the signals that reach neurons one may differentiate with respect to, besides weights: values, directions or
gradients. Knots count the elements of parameters, and the spikes of a sample in `input_times`; null where there is
nothing.
"""
struct SignalCoefficients
    delays::Coefficient
    input_weights::Coefficient
    input_delays::Coefficient
    input_times::Coefficient
end

const NOWHERE = Coefficient(C_NULL, 0, 0, 0, 0)
const NO_SIGNALS = SignalCoefficients(NOWHERE, NOWHERE, NOWHERE, NOWHERE)

"""
Spikes that come from outside, on channels: their synapses in compressed sparse rows, one row per channel; of each
channel the state variable to which its weights are added (from 1; 0: what the model's synapses do); and of each sample
the channels of its spikes, `num_spikes` of them in the order of time, −1 after the last. All indices from 0, as the
host has them.
"""
struct Inputs
    num_channels::Int64
    indptr::Ptr{Int64}
    targets::Ptr{Int64}
    positions::Ptr{Int64}
    variables::Ptr{Int64}
    channels::Ptr{Int64}
    num_spikes::Int64
    stride_sample::Int64            # of `channels`; 0 where samples share their spikes
end

const NO_INPUTS = Inputs(0, C_NULL, C_NULL, C_NULL, C_NULL, C_NULL, 0, 0)

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
    BOUNDARY_STRUCTS, Coefficient, Insertions, SignalCoefficients, Inputs, PathData, JumpData, Recording,
    AtRecordedSpikes, Start,
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
    weights::Coefficient            # its knot counts the parameter's elements
    settings::Ptr{Float64}
    num_settings::Int64
    knots::Ptr{Float64}
    num_knots::Int64
    indptr::Ptr{Int64}
    targets::Ptr{Int64}
    positions::Ptr{Int64}
    saveat::Ptr{Float64}
    num_saves::Int64
    insertions::Insertions          # spikes that happen besides those of the noise; for `ssnn_solve` alone, after t0
    inputs::Inputs
    signals::SignalCoefficients
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

"""
Synapses in compressed sparse rows, all indices from 1: row j holds the targets of neuron j, and the rows after the N
neurons those of the input channels.
"""
struct Synapses
    indptr::Vector{Int}
    targets::Vector{Int}
    positions::Vector{Int}          # of the weights in the host's parameter, that of neurons or that of inputs
    variables::Vector{Int}          # to which weights of inputs are added, one per synapse; 0: what the model's do
    num_between_neurons::Int        # the first ones are
    delayed::Bool                   # whether spikes of neurons take their time
end

function Synapses(problem::Problem)
    synapses, rows = num_synapses(problem), Int(problem.num_neurons + problem.inputs.num_channels)
    between = num_synapses_between_neurons(problem)
    return read!(Synapses(
        zeros(Int, rows + 1), zeros(Int, synapses), zeros(Int, synapses), zeros(Int, synapses - between), between,
        problem.signals.delays.pointer != C_NULL,
    ), problem)
end

num_synapses_between_neurons(problem::Problem) = Int(unsafe_load(problem.indptr, problem.num_neurons + 1))

num_input_synapses(inputs::Inputs) =
    inputs.num_channels == 0 ? 0 : Int(unsafe_load(inputs.indptr, inputs.num_channels + 1))

num_synapses(problem::Problem) = num_synapses_between_neurons(problem) + num_input_synapses(problem.inputs)

"""How many delays there are: one per synapse, or none."""
num_delays(problem::Problem) =
    problem.signals.delays.pointer == problem.signals.input_delays.pointer == C_NULL ? 0 : num_synapses(problem)

"""Those of a problem with as many of them."""
function read!(synapses::Synapses, problem::Problem)
    n, between, inputs = Int(problem.num_neurons), synapses.num_between_neurons, problem.inputs
    copy_indices!(synapses.indptr, 0, problem.indptr, n + 1)
    copy_indices!(synapses.targets, 0, problem.targets, between)
    copy_indices!(synapses.positions, 0, problem.positions, between)
    inputs.num_channels == 0 && return synapses
    coming = length(synapses.targets) - between
    copy_indices!(synapses.indptr, n, inputs.indptr, inputs.num_channels + 1)
    for channel in 1:inputs.num_channels+1
        synapses.indptr[n+channel] += between
    end
    copy_indices!(synapses.targets, between, inputs.targets, coming)
    copy_indices!(synapses.positions, between, inputs.positions, coming)
    for channel in 1:inputs.num_channels, e in row(synapses, n + channel)
        synapses.variables[e-between] = unsafe_load(inputs.variables, channel)
    end
    return synapses
end

"""`count` of the host's indices, which are from 0, after `place`."""
function copy_indices!(to::Vector{Int}, place, from::Ptr{Int64}, count)
    for n in 1:count
        to[place+n] = unsafe_load(from, n) + 1
    end
end

"""All synapses of a neuron or, after the neurons, a channel."""
@inline row(synapses::Synapses, source) = @inbounds synapses.indptr[source]:synapses.indptr[source+1]-1

"""Those that a spike of a neuron reaches at once."""
@inline synapses_of(synapses::Synapses, neuron) = synapses.delayed ? (1:0) : row(synapses, neuron)

"""The neuron that synapse e reaches."""
@inline target(synapses::Synapses, e) = @inbounds synapses.targets[e]

@inline is_input(synapses::Synapses, e) = e > synapses.num_between_neurons

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
it.
"""
function load!(
    p::Model, list::Vector{Coefficient}, weights::Coefficient, signals::SignalCoefficients, synapses::Synapses, sample,
    direction = 1,
)
    for (array, coefficient) in zip(coefficient_arrays(p), list)
        load!(array, coefficient, sample, direction)
    end
    load_synapses!(p.weights, weights, signals.input_weights, synapses, direction)
    isempty(p.delays) || load_synapses!(p.delays, signals.delays, signals.input_delays, synapses, direction)
    return p
end

"""One number per synapse: of those between neurons, and of those of inputs."""
function load_synapses!(array, between::Coefficient, coming::Coefficient, synapses::Synapses, direction)
    for (e, place) in enumerate(synapses.positions)
        from = is_input(synapses, e) ? coming : between
        array[e] = from.pointer == C_NULL ? 0.0 : unsafe_load(from.pointer, position(from, 1, 1, place, direction))
    end
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
Add gradients to the host's arrays and clear them here: those that each sample has of its own (`per_sample`), or those
that samples share.
"""
function scatter!(
    list::Vector{Coefficient}, weights::Coefficient, signals::SignalCoefficients, p::Model, synapses::Synapses, sample;
    per_sample::Bool,
)
    for (array, coefficient) in zip(coefficient_arrays(p), list)
        (coefficient.stride_sample != 0) == per_sample || continue
        coefficient.pointer == C_NULL || scatter!(coefficient, array, sample)
        fill!(array, 0.0)
    end
    per_sample && return
    scatter_synapses!(weights, signals.input_weights, p.weights, synapses)
    isempty(p.delays) || scatter_synapses!(signals.delays, signals.input_delays, p.delays, synapses)
end

function scatter_synapses!(between::Coefficient, coming::Coefficient, array, synapses::Synapses)
    for (e, place) in enumerate(synapses.positions)
        to = is_input(synapses, e) ? coming : between
        to.pointer == C_NULL || add_at!(to, position(to, 1, 1, place), array[e])
    end
    fill!(array, 0.0)
end

function scatter!(coefficient::Coefficient, array::AbstractVecOrMat{Float64}, sample)
    for neuron in 1:size(array, ndims(array)), knot in 1:(array isa Matrix ? size(array, 1) : 1)
        value = array isa Matrix ? array[knot, neuron] : array[neuron]
        add_at!(coefficient, position(coefficient, sample, neuron, knot), value)
    end
end

add_at!(c::Coefficient, place, value) = unsafe_store!(c.pointer, unsafe_load(c.pointer, place) + value, place)

add!(total::Model, part::Model) =
    foreach((a, b) -> a .+= b, all_arrays(total), all_arrays(part))

clear!(p::Model) = foreach(array -> fill!(array, 0.0), all_arrays(p))

all_arrays(p::Model) = (coefficient_arrays(p)..., p.weights, p.delays)

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
