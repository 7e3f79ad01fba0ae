# Expected signatures of batches: sums over samples that do not depend on how many threads share them.

"""
Sum over samples of what `add_term!(total, work, sample)` adds to `width` numbers, each thread with one of `works`:
chunk by chunk in a fixed order.
"""
function chunked_sum(add_term!, works, width, num_samples, threads)
    limit = chunk_limit(width)
    partial = [zeros(width) for _ in chunk_ranges(num_samples, limit)]
    foreach_chunk(num_samples, threads; limit = limit) do worker, chunk, samples
        for sample in samples
            add_term!(partial[chunk], works[worker], sample)
        end
    end
    total = zeros(width)
    foreach(part -> total .+= part, partial)
    return total
end

"""How many threads compute signatures of `trains`: one where more would not pay."""
function num_threads(trains::SpikeTrains, depth, threads)
    numbers = Float64(trains.num_samples) * (trains.capacity + 1) * signature_length(trains, depth)
    return numbers < SMALL_JOB / 4 ? 1 : max(1, min(threads, available_threads()))
end

"""Expected signature of a batch: the mean over samples."""
function expected_signature(trains::SpikeTrains, depth, threads)
    threads = num_threads(trains, depth, threads)
    return expected_signature([SignatureWork(trains.num_neurons, depth) for _ in 1:threads], trains, depth, threads)
end

"""The same with the works of an earlier call, one per thread."""
function expected_signature(works::Vector{SignatureWork}, trains::SpikeTrains, depth, threads)
    sums = chunked_sum(works, signature_length(trains, depth), trains.num_samples, threads) do total, work, sample
        total .+= train_signature!(work, trains, read_train!(work.train, trains, sample, Int[], work.seen)).values
    end
    return sums ./ trains.num_samples
end

@entry_point function ssnn_expected_signature(
    trains_pointer::Ptr{SpikeTrains}, depth::Int64, threads::Int64, out::Ptr{Float64},
)
    mean = expected_signature(unsafe_load(trains_pointer), depth, threads)
    GC.@preserve mean unsafe_copyto!(out, pointer(mean), length(mean))
end
