# Signatures of spike trains through their Marcus lift, and their gradients in the spike times.

"""What one thread needs for the signature of one sample after the other."""
struct SignatureWork
    S::HostWords
    bar::HostWords                  # its cotangent
    powers::HostWords
    powers_bar::HostWords
    jump::Vector{Float64}
    jump_bar::Vector{Float64}
    train::Train
    mine::Vector{Int}               # spikes of each neuron, of a sample and its partner
    theirs::Vector{Int}
    seen::Vector{Int}               # and those read so far
end

function SignatureWork(num_neurons, depth)
    d = Int(num_neurons) + 1
    return SignatureWork(
        (Words(d, Int(depth)) for _ in 1:4)..., zeros(d), zeros(d), Train(), (zeros(Int, d - 1) for _ in 1:3)...,
    )
end

# Lanes share a work: each has a share of a sum, of words that are cleared, and of words that are copied.
total(work, share, ::OnlyLane) = share
clear!(words::HostWords, ::OnlyLane) = fill!(words.values, 0.0)
copy_words!(bar::HostWords, cotangent, count, ::OnlyLane) = copyto!(bar.values, 1, cotangent, 1, count)

"""Signature of the Marcus lift of `train` in `work.S`, up to level `top`."""
function train_signature!(work, trains, train, top::Int = work.S.depth, lane::Lane = OnlyLane())
    S = work.S
    clear!(S, lane)
    k, later = num_spikes(train), trains.t1
    while true
        earlier = k == 0 ? trains.t0 : train.times[k]
        prepend_letter!(S, 1, scale(trains, 1) * (later - earlier), top, lane)
        k == 0 && return S
        start = group_start(train, k)
        prepend_jump!(work, trains, train, start:k, top, lane)
        k, later = start - 1, earlier
    end
end

"""Put the jump of simultaneous spikes in front."""
function prepend_jump!(work, trains, train, group, top, lane::Lane)
    if length(group) == 1
        letter = train.letters[first(group)]
        prepend_letter!(work.S, letter, scale(trains, letter), top, lane)
    else
        leads(lane) && prepend_segment!(work.S, joint_jump!(work.jump, trains, train, group), work.powers)
        meet(lane)
    end
end

"""Take the jump of simultaneous spikes away again, with its cotangent."""
function drop_jump!(work, trains, train, group, cotangent, below, lane::Lane)
    if length(group) == 1
        letter = train.letters[first(group)]
        height = scale(trains, letter)
        prepend_letter!(work.S, letter, -height, below, lane)
        prepend_letter_adjoint!(work.bar, letter, height, cotangent, lane)
    else
        if leads(lane)
            jump = joint_jump!(work.jump, trains, train, group)
            prepend_segment_adjoint!(work.jump_bar, work.bar, work.S, jump, work.powers, work.powers_bar)
        end
        meet(lane)
    end
end

"""Height of the jump of simultaneous spikes, by channel."""
function joint_jump!(jump, trains, train, group)
    for channel in eachindex(jump)
        jump[channel] = 0.0
    end
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
    times_bar, work, trains, train, cotangent, look = S -> nothing, lane::Lane = OnlyLane(),
)
    S, bar = work.S, work.bar
    # Of a signature only the levels below the top are read here, except around simultaneous spikes.
    joint = has_joint_spikes(train)
    below = joint ? S.depth : S.depth - 1
    train_signature!(work, trains, train, below, lane)
    look(S)
    copy_words!(bar, cotangent, joint ? length(cotangent) : bar.offsets[bar.depth], lane)
    earlier, k = trains.t0, 0
    while true
        later = k == num_spikes(train) ? trains.t1 : train.times[k+1]
        x = scale(trains, 1) * (later - earlier)
        x_bar = scale(trains, 1) * total(work, letter_derivative(bar, S, 1, cotangent, lane), lane)
        k > 0 && leads(lane) && shift!(times_bar, train, group_start(train, k):k, -x_bar)
        k == num_spikes(train) && return
        stop = group_stop(train, k + 1)
        leads(lane) && shift!(times_bar, train, k+1:stop, x_bar)
        prepend_letter!(S, 1, -x, below, lane)
        prepend_letter_adjoint!(bar, 1, x, cotangent, lane)
        drop_jump!(work, trains, train, k+1:stop, cotangent, below, lane)
        k, earlier = stop, later
    end
end

"""Whether several spikes happen at one time."""
function has_joint_spikes(train)
    for k in 2:num_spikes(train)
        train.times[k] == train.times[k-1] && return true
    end
    return false
end

"""Spikes at one time move together: each carries an equal share."""
function shift!(times_bar, train, group, amount)
    for k in group
        add_at!(times_bar, train.columns[k], amount / length(group))
    end
end

add_at!(numbers::Ptr{Float64}, place, amount) =
    unsafe_store!(numbers, unsafe_load(numbers, place) + amount, place)
add_at!(numbers::AbstractVector{Float64}, place, amount) = (numbers[place] += amount; nothing)

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
    works = [SignatureWork(trains.num_neurons, depth) for _ in 1:max(1, threads)]
    foreach_chunk(trains.num_samples, threads) do worker, chunk, samples
        work = works[worker]
        for sample in samples
            bar = host_array(row(cotangent, num_words * per_sample, sample), num_words)
            train = read_train!(work.train, trains, sample, Int[], work.seen)
            train_adjoint!(row(times_bar, trains.capacity, sample), work, trains, train, bar)
        end
    end
end
