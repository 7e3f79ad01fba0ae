# The loss on expected signatures, and its gradient in the spike times.

"""What one thread needs for the loss and its gradient."""
struct LossWork
    forward::SignatureWork
    at_end::EndWork
end

LossWork(num_neurons::Integer, depth::Integer) =
    LossWork(SignatureWork(num_neurons, depth), EndWork(num_neurons, depth))

# Mean over words of (E S(X) − E S(Y))², and its gradient in the times of X. Y is a batch, or null with its expected
# signature given. With `matched` sample p of X is paired with sample p of Y, and both keep of each neuron only as many
# spikes as the other has. Where `entries`, (S, N), is not null, it gets what one more spike at t1 changes.
@entry_point function ssnn_expected_signature_loss(
    x_pointer::Ptr{SpikeTrains}, y_pointer::Ptr{SpikeTrains}, y_mean::Ptr{Float64}, depth::Int64, matched::Int64,
    threads::Int64, value::Ptr{Float64}, times_bar::Ptr{Float64}, entries::Ptr{Float64},
)
    X = unsafe_load(x_pointer)
    Y = matched == 1 ? unsafe_load(y_pointer) : X
    used = num_threads(X, depth, threads)
    with_loss_works(X, depth, used) do works
        forward = [work.forward for work in works]
        difference = matched == 1 ? matched_difference(forward, X, Y, depth, used) :
            expected_signature(forward, X, depth, used) .- host_array(y_mean, signature_length(X, depth))
        unsafe_store!(value, sum(abs2, difference) / length(difference))
        cotangent = difference .* (2 / (length(difference) * X.num_samples))
        loss_adjoint!(works, times_bar, entries, X, Y, matched == 1, cotangent, depth, used)
    end
end

# By how much the loss of X changes where sample s is replaced by that of Z, for each s by itself, given the difference
# of expected signatures.
@entry_point function ssnn_expected_signature_exchange(
    x_pointer::Ptr{SpikeTrains}, z_pointer::Ptr{SpikeTrains}, difference::Ptr{Float64}, depth::Int64, threads::Int64,
    changes::Ptr{Float64},
)
    X, Z = unsafe_load(x_pointer), unsafe_load(z_pointer)
    used = num_threads(X, depth, threads)
    with_loss_works(X, depth, used) do works
        num_words = signature_length(X, depth)
        cotangent = host_array(difference, num_words) .* (2 / (num_words * X.num_samples))
        share = 1 / (num_words * X.num_samples^2)
        foreach_chunk(X.num_samples, used) do worker, chunk, samples
            before, after = works[worker].forward, works[worker].at_end.partner
            for sample in samples
                S = train_signature!(before, X, read_train!(before.train, X, sample, Int[], before.seen))
                change = train_signature!(after, Z, read_train!(after.train, Z, sample, Int[], after.seen)).values
                change .-= S.values
                unsafe_store!(changes, change_of_square(cotangent, share, change), sample)
            end
        end
    end
end

"""`work(works)` with what so many threads need."""
function with_loss_works(work, X::SpikeTrains, depth, threads)
    key = PlanKey(:signature_loss, String[], [X.num_neurons, depth])
    with_workers(work, () -> LossWork(X.num_neurons, depth), identity, key, threads)
end

"""E S(X) − E S(Y) over matched pairs."""
function matched_difference(works::Vector{SignatureWork}, X::SpikeTrains, Y::SpikeTrains, depth, threads)
    sums = chunked_sum(works, signature_length(X, depth), X.num_samples, threads) do total, work, sample
        caps = matched_caps!(work, X, Y, sample)
        total .+= train_signature!(work, X, read_train!(work.train, X, sample, caps, work.seen)).values
        total .-= train_signature!(work, Y, read_train!(work.train, Y, sample, caps, work.seen)).values
    end
    return sums ./ X.num_samples
end

"""Adds the gradient of ⟨cotangent, sum of signatures⟩ to `times_bar`, and stores the entries where they are wanted."""
function loss_adjoint!(
    works::Vector, times_bar, entries, X::SpikeTrains, Y::SpikeTrains, matched::Bool, cotangent, depth, threads,
)
    d = Int(X.num_neurons) + 1
    slopes = matched || entries == C_NULL ? Matrix{Float64}[] : by_last_letter(cotangent, d, depth)
    foreach_chunk(X.num_samples, threads) do worker, chunk, samples
        work, at_end = works[worker].forward, works[worker].at_end
        for sample in samples
            caps = matched ? matched_caps!(work, X, Y, sample) : Int[]
            train = read_train!(work.train, X, sample, caps, work.seen)
            function look(S)
                entries == C_NULL && return
                into = row(entries, X.num_neurons, sample)
                matched ? matched_end_entries!(into, S, X, Y, sample, caps, work.theirs, cotangent, at_end) :
                    end_entries!(into, S, X, slopes, at_end.change)
            end
            train_adjoint!(row(times_bar, X.capacity, sample), work, X, train, cotangent, look)
        end
    end
end

"""How many spikes of each neuron sample and partner both have."""
function matched_caps!(work::SignatureWork, X::SpikeTrains, Y::SpikeTrains, sample)
    count_spikes!(work.mine, X, sample)
    count_spikes!(work.theirs, Y, sample)
    work.mine .= min.(work.mine, work.theirs)
    return work.mine
end
