# Signatures of spike trains through their Marcus lift, and their gradients in the spike times.

"""What one thread needs for the signature of one sample after the other."""
struct SignatureWork
    S::Words
    bar::Words                      # its cotangent
    powers::Words
    jump::Vector{Float64}
    train::Train
    mine::Vector{Int}               # spikes of each neuron, of a sample and its partner
    theirs::Vector{Int}
    seen::Vector{Int}               # and those read so far
end

function SignatureWork(num_neurons, depth)
    d = Int(num_neurons) + 1
    return SignatureWork(
        Words(d, depth), Words(d, depth), Words(d, depth), zeros(d), Train(), (zeros(Int, d - 1) for _ in 1:3)...,
    )
end

"""Signature of the Marcus lift of `train` in `work.S`, up to level `top`."""
function train_signature!(work::SignatureWork, trains::SpikeTrains, train::Train, top::Int = work.S.depth)
    S = work.S
    fill!(S.values, 0.0)
    k, later = length(train.times), trains.t1
    while true
        earlier = k == 0 ? trains.t0 : train.times[k]
        prepend_letter!(S, 1, scale(trains, 1) * (later - earlier), top)
        k == 0 && return S
        start = group_start(train, k)
        prepend_jump!(work, trains, train, start:k, top)
        k, later = start - 1, earlier
    end
end

"""Put the jump of simultaneous spikes in front."""
function prepend_jump!(work::SignatureWork, trains, train::Train, group, top)
    if length(group) == 1
        letter = train.letters[first(group)]
        prepend_letter!(work.S, letter, scale(trains, letter), top)
    else
        prepend_segment!(work.S, joint_jump!(work.jump, trains, train, group), work.powers)
    end
end

"""Height of the jump of simultaneous spikes, by channel."""
function joint_jump!(jump, trains, train::Train, group)
    fill!(jump, 0.0)
    for k in group
        jump[train.letters[k]] += scale(trains, train.letters[k])
    end
    return jump
end

"""
Adds ∂⟨cotangent, S(train)⟩/∂τ to `times_bar` (by the train's columns), undoing the path piece by piece from the front.
Before that, `look` is shown the signature; of its highest level it may see nothing.
"""
function train_adjoint!(
    times_bar::Ptr{Float64}, work::SignatureWork, trains::SpikeTrains, train::Train, cotangent::Vector{Float64},
    powers_bar::Words, look = S -> nothing,
)
    S, bar = work.S, work.bar
    # Of a signature only the levels below the top are read here, except around simultaneous spikes.
    joint = any(k -> train.times[k] == train.times[k-1], 2:length(train.times))
    below = joint ? S.depth : S.depth - 1
    train_signature!(work, trains, train, below)
    look(S)
    copyto!(bar.values, 1, cotangent, 1, joint ? length(cotangent) : bar.offsets[bar.depth])
    earlier, k = trains.t0, 0
    while true
        later = k == length(train.times) ? trains.t1 : train.times[k+1]
        x = scale(trains, 1) * (later - earlier)
        x_bar = scale(trains, 1) * letter_derivative(bar, S, 1, cotangent)
        k > 0 && shift!(times_bar, train, group_start(train, k):k, -x_bar)
        k == length(train.times) && return
        stop = group_stop(train, k + 1)
        shift!(times_bar, train, k+1:stop, x_bar)
        prepend_letter!(S, 1, -x, below)
        prepend_letter_adjoint!(bar, 1, x, cotangent)
        if stop == k + 1
            letter = train.letters[stop]
            height = scale(trains, letter)
            prepend_letter!(S, letter, -height, below)
            prepend_letter_adjoint!(bar, letter, height, cotangent)
        else
            jump = copy(joint_jump!(work.jump, trains, train, k+1:stop))
            prepend_segment_adjoint!(zeros(S.d), bar, S, jump, work.powers, powers_bar)
        end
        k, earlier = stop, later
    end
end

"""Spikes at one time move together: each carries an equal share."""
function shift!(times_bar, train::Train, group, amount)
    for k in group
        place = train.columns[k]
        unsafe_store!(times_bar, unsafe_load(times_bar, place) + amount / length(group), place)
    end
end

@entry_point function ssnn_train_signatures(
    trains_pointer::Ptr{SpikeTrains}, depth::Int64, threads::Int64, out::Ptr{Float64},
)
    trains = unsafe_load(trains_pointer)
    num_words = signature_length(trains, depth)
    works = [SignatureWork(trains.num_neurons, depth) for _ in 1:max(1, threads)]
    foreach_chunk(trains.num_samples, threads) do worker, chunk, samples
        work = works[worker]
        for sample in samples
            S = train_signature!(work, trains, read_train!(work.train, trains, sample, Int[], work.seen))
            unsafe_copyto!(row(out, num_words, sample), pointer(S.values), num_words)
        end
    end
end

# Gradient in the spike times; the cotangent is one for all samples (`per_sample` 0) or one each.
@entry_point function ssnn_train_signatures_backprop(
    trains_pointer::Ptr{SpikeTrains}, depth::Int64, threads::Int64, cotangent::Ptr{Float64}, per_sample::Int64,
    times_bar::Ptr{Float64},
)
    trains = unsafe_load(trains_pointer)
    d = Int(trains.num_neurons) + 1
    num_words = signature_length(d, depth)
    works = [(SignatureWork(trains.num_neurons, depth), Words(d, Int(depth))) for _ in 1:max(1, threads)]
    foreach_chunk(trains.num_samples, threads) do worker, chunk, samples
        work, powers_bar = works[worker]
        for sample in samples
            bar = host_array(row(cotangent, num_words * per_sample, sample), num_words)
            train = read_train!(work.train, trains, sample, Int[], work.seen)
            train_adjoint!(row(times_bar, trains.capacity, sample), work, trains, train, bar, powers_bar)
        end
    end
end
