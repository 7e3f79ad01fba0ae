# Expected signatures of spike trains on a device, and gradients in their times: a group of lanes has a sample, and each
# of them words of its own.

"""A batch of trains, of which a group sees one, and what its channels are multiplied by."""
struct TrainArrays{F<:Block{Float64,1},N<:Block{Int,1}} <: MadeOfArrays
    times::F
    letters::N
    columns::N
    count::N
    scales::F
    t0::Float64
    t1::Float64
    any_joint::Bool                 # whether several spikes of one of them happen at one time
end

num_spikes(train::TrainArrays) = train.count[1]
scale(trains::TrainArrays, channel) = trains.scales[channel]

"""Some samples of a batch in arrays."""
function TrainArrays(trains::SpikeTrains, samples)
    most, train, any_joint = Int(trains.capacity), Train(), false
    times, count = zeros(most, length(samples)), zeros(Int, length(samples))
    letters, columns = zeros(Int, most, length(samples)), zeros(Int, most, length(samples))
    for (n, sample) in enumerate(samples)
        read_train!(train, trains, sample, Int[], Int[])
        any_joint |= has_joint_spikes(train)
        kept = 1:num_spikes(train)
        count[n] = length(kept)
        times[kept, n], letters[kept, n], columns[kept, n] = train.times, train.letters, train.columns
    end
    of_each(array, dims...) = Block(vec(array), dims; by_direction = 0)
    scales = [scale(trains, channel) for channel in 1:trains.num_neurons+1]
    return TrainArrays(
        of_each(times, most), of_each(letters, most), of_each(columns, most), of_each(count, 1), shared(scales),
        trains.t0, trains.t1, any_joint,
    )
end

"""`SignatureWork` of many samples; without a gradient only `S` and what simultaneous spikes take have words."""
struct SignatureArrays{W<:Words,F<:Block{Float64,1},T<:TrainArrays} <: MadeOfArrays
    S::W
    bar::W
    powers::W
    powers_bar::W
    jump::F
    jump_bar::F
    shares::F                       # of each lane in a sum
    cotangent::F
    times_bar::F
    trains::T
end

function total(work, share, lane::Lane)
    shares, index = work.shares, lane_index(lane)
    shares[index] = share
    meet(lane)
    in_halves(other -> shares[index] += shares[other], lane)
    return shares[1]
end

function clear!(words::Words, lane::Lane)
    for n in turns(lane, length(words.values))
        words.values[n] = 0.0
    end
    meet(lane)
end

function copy_words!(bar::Words, cotangent, count, lane::Lane)
    for n in turns(lane, count)
        bar.values[n] = cotangent[n]
    end
    meet(lane)
end

"""One lane of a sample's signature."""
function run_signature!(all::SignatureArrays, s, p, lane::Lane)
    w = of_group(all, s, p)
    train_signature!(w, w.trains, w.trains, w.S.depth, lane)
    return
end

"""One lane of its adjoint."""
function run_signature_adjoint!(all::SignatureArrays, s, p, lane::Lane)
    w = of_group(all, s, p)
    train_adjoint!(w.times_bar, w, w.trains, w.trains, w.cotangent, S -> nothing, lane)
    return
end

"""Signatures of a batch, and where the sums over so many of its samples go."""
struct WordSums{F<:Block{Float64,2}} <: MadeOfArrays
    of_samples::F                   # (word, sample)
    sums::F                         # (word, chunk)
end

# So that no sum depends on how many samples fit into memory.
const SAMPLES_PER_SUM = 64

"""Word `s` of the sum of chunk `p`."""
function run_word_sum!(w::WordSums, s, p, ::Lane)
    sum_of_all = 0.0
    for sample in SAMPLES_PER_SUM*(p-1)+1:min(SAMPLES_PER_SUM * p, size(w.of_samples, 2))
        sum_of_all += w.of_samples[s, sample]
    end
    w.sums[s, p] = sum_of_all
    return
end

"""
Call `compute!(arrays, samples, lanes)` with the memory for some samples after the other, as many at once as fit: whole
chunks.
"""
function signatures_on_device(compute!, device::Device, trains::SpikeTrains, depth, cotangent)
    d, num_words, all = Int(trains.num_neurons) + 1, signature_length(trains, depth), Int(trains.num_samples)
    gradient = cotangent !== nothing
    bytes = 8 * (4 * num_words + 4 * Int(trains.capacity) + 4 * d)
    size = max(free_memory(device) ÷ bytes ÷ SAMPLES_PER_SUM, 1) * SAMPLES_PER_SUM
    lanes = lanes_per_group(device, num_words)
    for start in 1:size:all
        check_cancelled()
        samples = start:min(start + size - 1, all)
        make, host = BlockMaker(device, length(samples), 1), TrainArrays(trains, samples)
        offsets = brought_to(device, shared(level_offsets(d, depth)))
        words(wanted) = Words(per_sample(make, 0.0, wanted ? num_words : 0), offsets, d, Int(depth))
        joint = host.any_joint
        numbers(count) = per_sample(make, 0.0, count)
        arrays = SignatureArrays(
            words(true), words(gradient), words(joint), words(joint && gradient), numbers(joint ? d : 0),
            numbers(joint && gradient ? d : 0), numbers(lanes),
            brought_to(device, shared(gradient ? cotangent : Float64[])), numbers(gradient ? Int(trains.capacity) : 0),
            brought_to(device, host),
        )
        compute!(arrays, samples, lanes)
        let_go_of_all!(device, arrays)
    end
end

@entry_point function ssnn_device_expected_signature(
    trains_pointer::Ptr{SpikeTrains}, depth::Int64, out::Ptr{Float64}, device::Ptr{UInt8},
)
    trains = unsafe_load(trains_pointer)
    # Julia looks into it when it is called, and not whenever a first solution is compiled.
    mean = Base.invokelatest(expected_signature, device_named(unsafe_string(device)), trains, depth)
    GC.@preserve mean unsafe_copyto!(out, pointer(mean), length(mean))
end

"""Expected signature of a batch, on a device."""
function expected_signature(device::Device, trains::SpikeTrains, depth)
    num_words = signature_length(trains, depth)
    total = zeros(num_words)
    signatures_on_device(device, trains, depth, nothing) do arrays, samples, lanes
        count, chunks = length(samples), cld(length(samples), SAMPLES_PER_SUM)
        launch!(run_signature!, device, arrays, count, 1, lanes)
        sums = Block(new_memory(device, 0.0, num_words * chunks), (num_words, chunks); by_direction = 0)
        of_samples = Block(arrays.S.values.memory, (num_words, count); by_direction = 0)
        launch!(run_word_sum!, device, WordSums(of_samples, sums), num_words, chunks, 1)
        for part in eachcol(reshape(from_device(device, sums.memory), num_words, chunks))
            total .+= part
        end
        let_go!(device, sums.memory)
    end
    return total ./ trains.num_samples
end

# Gradient in the spike times of ⟨cotangent, sum of signatures⟩.
@entry_point function ssnn_device_signatures_backprop(
    trains_pointer::Ptr{SpikeTrains}, depth::Int64, cotangent::Ptr{Float64}, times_bar::Ptr{Float64},
    device::Ptr{UInt8},
)
    trains = unsafe_load(trains_pointer)
    bar = host_array(cotangent, signature_length(trains, depth))
    Base.invokelatest(signature_backprop, device_named(unsafe_string(device)), trains, depth, bar, times_bar)
end

"""The gradient in the spike times, on a device."""
function signature_backprop(device::Device, trains::SpikeTrains, depth, cotangent, times_bar::Ptr{Float64})
    capacity = Int(trains.capacity)
    signatures_on_device(device, trains, depth, cotangent) do arrays, samples, lanes
        launch!(run_signature_adjoint!, device, arrays, length(samples), 1, lanes)
        of_samples = from_device(device, arrays.times_bar.memory)
        GC.@preserve of_samples unsafe_copyto!(
            row(times_bar, capacity, first(samples)), pointer(of_samples), capacity * length(samples),
        )
    end
end
