# Signatures to depth m of spike trains (through their Marcus lift) and of general piecewise-linear paths, with gradients.
#
# A signature is stored as its levels 1 … m one after the other, words in lexicographic order: d + d² + … + d^m numbers for d channels. Paths
# are walked from their last piece to the first: S(x * rest) = exp(x) ⊗ S(rest) puts letters in front, and the words that begin with a given
# letter are contiguous. For a piece along one axis that makes every update a multiple of one block added to another.

level_offset(d, level) = level == 1 ? 0 : (d^level - d) ÷ (d - 1 + (d == 1)) + (d == 1) * (level - 1)
signature_length(d, depth) = level_offset(d, depth + 1)

"""A signature under construction, or a cotangent of one; `offsets[l]` is where level l begins."""
struct Words
    values::Vector{Float64}
    offsets::Vector{Int}
    d::Int
    depth::Int
end

Words(d::Int, depth::Int) = Words(zeros(signature_length(d, depth)), [level_offset(d, l) for l in 1:depth+1], d, depth)

# Words of level l that begin with `power` letters a: where they start, and how many there are.
@inline function block(w::Words, level, a, power)
    size = w.d^(level - power)
    start, stride = w.offsets[level], w.d^(level - 1)
    for _ in 1:power
        start += (a - 1) * stride
        stride ÷= w.d
    end
    return start, size
end

"""S ← exp(x e_a) ⊗ S, up to level `top`."""
function prepend_letter!(S::Words, a::Int, x::Float64, top::Int = S.depth)
    values = S.values
    for level in top:-1:1
        factor = 1.0
        for power in 1:level
            factor *= x / power
            start, size = block(S, level, a, power)
            if power == level
                values[start+1] += factor
            else
                from = S.offsets[level-power]
                @inbounds @simd ivdep for j in 1:size
                    values[start+j] += factor * values[from+j]
                end
            end
        end
    end
end

"""
Cotangent of S from that of exp(x e_a) ⊗ S, in place; the highest level never changes, and is left alone.
"""
function prepend_letter_adjoint!(bar::Words, a::Int, x::Float64, top::Vector{Float64})
    values = bar.values
    for level in 1:bar.depth-1
        factor = 1.0
        for power in 1:bar.depth-level
            factor *= x / power
            start, size = block(bar, level + power, a, power)
            source = level + power == bar.depth ? top : values
            into = bar.offsets[level]
            @inbounds @simd ivdep for j in 1:size
                values[into+j] += factor * source[start+j]
            end
        end
    end
end

"""Derivative of ⟨bar, exp(x e_a) ⊗ S⟩ in x, where `S` already has the letter in front: ⟨bar, e_a ⊗ S⟩. Only levels below the top of S are read."""
function letter_derivative(bar::Words, S::Words, a::Int, top::Vector{Float64})
    total = bar.depth == 1 ? top[a] : bar.values[a]
    for level in 2:bar.depth
        start, size = block(bar, level, a, 1)
        from = S.offsets[level-1]
        source = level == bar.depth ? top : bar.values
        part = 0.0
        @inbounds @simd for j in 1:size
            part += source[start+j] * S.values[from+j]
        end
        total += part
    end
    return total
end

"""S ← exp(x) ⊗ S for an increment x in all channels."""
function prepend_segment!(S::Words, x::AbstractVector{Float64}, powers::Words)
    segment_powers!(powers, x)
    for level in S.depth:-1:1, power in 1:level
        add_product!(S.values, S.offsets[level], powers.values, powers.offsets[power], S, level - power, S.d^power, power == level)
    end
end

# target block += u ⊗ S_rest, u of `count` words.
function add_product!(target, into, u, from, S::Words, rest, count, whole)
    if whole
        @inbounds for j in 1:count
            target[into+j] += u[from+j]
        end
        return
    end
    size, source = S.d^rest, S.offsets[rest]
    for w in 1:count
        factor = u[from+w]
        factor == 0.0 && continue
        start = into + (w - 1) * size
        @inbounds @simd ivdep for j in 1:size
            target[start+j] += factor * S.values[source+j]
        end
    end
end

"""Tensor powers x^{⊗p}/p!."""
function segment_powers!(powers::Words, x)
    d, values = powers.d, powers.values
    for a in 1:d
        values[a] = x[a]
    end
    for level in 2:powers.depth
        into, from = powers.offsets[level], powers.offsets[level-1]
        for w in 1:d^(level-1), a in 1:d
            values[into+(w-1)*d+a] = values[from+w] * x[a] / level
        end
    end
end

"""
Undo a prepended segment: on entry S = exp(x) ⊗ R and `bar` is its cotangent, on return S = R and `bar` that of R; adds the cotangent of x to
`x_bar`.
"""
function prepend_segment_adjoint!(x_bar, bar::Words, S::Words, x, powers::Words, powers_bar::Words)
    d = S.d
    segment_powers!(powers, -x)
    for level in S.depth:-1:1, power in 1:level
        add_product!(S.values, S.offsets[level], powers.values, powers.offsets[power], S, level - power, d^power, power == level)
    end
    segment_powers!(powers, x)
    fill!(powers_bar.values, 0.0)
    for rest in 0:S.depth-1, power in 1:S.depth-rest
        level, size = rest + power, d^rest
        for w in 1:d^power
            start = bar.offsets[level] + (w - 1) * size
            place = powers.offsets[power] + w
            if rest == 0
                powers_bar.values[place] += bar.values[start+1]
                continue
            end
            source, factor, total = S.offsets[rest], powers.values[place], 0.0
            @inbounds @simd for j in 1:size
                total += bar.values[start+j] * S.values[source+j]
            end
            powers_bar.values[place] += total
            # Lower levels are turned first, so the higher ones are still those of exp(x) ⊗ R here.
            @inbounds @simd ivdep for j in 1:size
                bar.values[source+j] += factor * bar.values[start+j]
            end
        end
    end
    for level in S.depth:-1:2
        into, from = powers.offsets[level], powers.offsets[level-1]
        for w in 1:d^(level-1), a in 1:d
            bar_w = powers_bar.values[into+(w-1)*d+a] / level
            powers_bar.values[from+w] += bar_w * x[a]
            x_bar[a] += bar_w * powers.values[from+w]
        end
    end
    for a in 1:d
        x_bar[a] += powers_bar.values[a]
    end
end

# --- spike trains ----------------------------------------------------------------------------------------------------------------

"""Spike trains of a batch as the host stores them: C-ordered (S, K), inf and −1 where there is no spike. Channel 1 is time."""
struct SpikeTrains
    times::Ptr{Float64}
    neurons::Ptr{Int64}
    num_samples::Int64
    capacity::Int64
    num_neurons::Int64
    t0::Float64
    t1::Float64
    scales::Ptr{Float64}            # one per channel, or null
end

push!(BOUNDARY_STRUCTS, SpikeTrains)

"""One sample's spikes as they count: `keep` of them, by column."""
struct Train
    times::Vector{Float64}
    letters::Vector{Int}            # channel of each spike: neuron + 2
    columns::Vector{Int}            # in the host's array
end

Train() = Train(Float64[], Int[], Int[])

"""Read a sample, keeping at most `caps[j]` spikes of each neuron (all where `caps` is empty)."""
function read!(train::Train, trains::SpikeTrains, sample, caps::Vector{Int}, seen::Vector{Int})
    empty!(train.times)
    empty!(train.letters)
    empty!(train.columns)
    isempty(caps) || fill!(seen, 0)
    start = (sample - 1) * trains.capacity
    for column in 1:trains.capacity
        neuron = unsafe_load(trains.neurons, start + column)
        neuron < 0 && continue
        if !isempty(caps)
            seen[neuron+1] += 1
            seen[neuron+1] > caps[neuron+1] && continue
        end
        push!(train.times, unsafe_load(trains.times, start + column))
        push!(train.letters, neuron + 2)
        push!(train.columns, column)
    end
    return train
end

function count!(counts::Vector{Int}, trains::SpikeTrains, sample)
    fill!(counts, 0)
    start = (sample - 1) * trains.capacity
    for column in 1:trains.capacity
        neuron = unsafe_load(trains.neurons, start + column)
        neuron >= 0 && (counts[neuron+1] += 1)
    end
    return counts
end

scale(trains::SpikeTrains, channel) = trains.scales == C_NULL ? 1.0 : unsafe_load(trains.scales, channel)

"""First of the spikes that happen at the same time as spike k: they share one straight line."""
function first_of_group(train::Train, k)
    while k > 1 && train.times[k-1] == train.times[k]
        k -= 1
    end
    return k
end

struct SignatureWork
    S::Words
    bar::Words
    powers::Words
    jump::Vector{Float64}
    train::Train
    mine::Vector{Int}
    theirs::Vector{Int}
    seen::Vector{Int}
end

function SignatureWork(num_neurons, depth)
    d = Int(num_neurons) + 1
    return SignatureWork(
        Words(d, depth), Words(d, depth), Words(d, depth), zeros(d), Train(), zeros(Int, d - 1), zeros(Int, d - 1), zeros(Int, d - 1),
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
        first = first_of_group(train, k)
        prepend_jump!(work, trains, train, first:k, 1.0, top)
        k, later = first - 1, earlier
    end
end

function prepend_jump!(work::SignatureWork, trains, train::Train, group, sign, top)
    if length(group) == 1
        letter = train.letters[first(group)]
        prepend_letter!(work.S, letter, sign * scale(trains, letter), top)
    else
        prepend_segment!(work.S, sign * joint_jump!(work.jump, trains, train, group), work.powers)
    end
end

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
        k > 0 && shift!(times_bar, train, first_of_group(train, k):k, -x_bar)
        k == length(train.times) && return
        last = k + 1
        while last < length(train.times) && train.times[last+1] == later
            last += 1
        end
        shift!(times_bar, train, k+1:last, x_bar)
        prepend_letter!(S, 1, -x, below)
        prepend_letter_adjoint!(bar, 1, x, cotangent)
        if last == k + 1
            letter = train.letters[last]
            height = scale(trains, letter)
            prepend_letter!(S, letter, -height, below)
            prepend_letter_adjoint!(bar, letter, height, cotangent)
        else
            jump = copy(joint_jump!(work.jump, trains, train, k+1:last))
            prepend_segment_adjoint!(zeros(S.d), bar, S, jump, work.powers, powers_bar)
        end
        k, earlier = last, later
    end
end

# Spikes at one time move together: each carries an equal share.
function shift!(times_bar, train::Train, group, amount)
    for k in group
        place = train.columns[k]
        unsafe_store!(times_bar, unsafe_load(times_bar, place) + amount / length(group), place)
    end
end

"""
Sum over samples of what `add_term!(sum, work, sample)` adds, each thread with one of `works`: chunk by chunk in a fixed order.
"""
function chunked_sum(add_term!, works, size, num_samples, threads)
    limit = chunk_limit(size)
    partial = [zeros(size) for _ in chunk_ranges(num_samples, limit)]
    foreach_chunk(num_samples, threads; limit = limit) do worker, chunk, samples
        for sample in samples
            add_term!(partial[chunk], works[worker], sample)
        end
    end
    total = zeros(size)
    foreach(part -> total .+= part, partial)
    return total
end

"""How many threads compute signatures of `trains`: one where more would not pay."""
function num_threads(trains::SpikeTrains, depth, threads)
    numbers = Float64(trains.num_samples) * (trains.capacity + 1) * signature_length(Int(trains.num_neurons) + 1, depth)
    return numbers < SMALL_JOB / 4 ? 1 : max(1, min(threads, available_threads()))
end

"""Expected signature of a batch: the mean over samples."""
function expected_signature(trains::SpikeTrains, depth, threads)
    threads = num_threads(trains, depth, threads)
    return expected_signature([SignatureWork(trains.num_neurons, depth) for _ in 1:threads], trains, depth, threads)
end

function expected_signature(works::Vector{SignatureWork}, trains::SpikeTrains, depth, threads)
    length_of_words = signature_length(Int(trains.num_neurons) + 1, depth)
    total = chunked_sum(works, length_of_words, trains.num_samples, threads) do sum, work, sample
        sum .+= train_signature!(work, trains, read!(work.train, trains, sample, Int[], work.seen)).values
    end
    return total ./ trains.num_samples
end

@entry_point function ssnn_train_signatures(pointer::Ptr{SpikeTrains}, depth::Int64, threads::Int64, out::Ptr{Float64})
    trains = unsafe_load(pointer)
    size = signature_length(Int(trains.num_neurons) + 1, depth)
    works = [SignatureWork(trains.num_neurons, depth) for _ in 1:max(1, threads)]
    foreach_chunk(trains.num_samples, threads) do worker, chunk, samples
        work = works[worker]
        for sample in samples
            S = train_signature!(work, trains, read!(work.train, trains, sample, Int[], work.seen))
            unsafe_copyto!(out + 8 * size * (sample - 1), Base.pointer(S.values), size)
        end
    end
end

@entry_point function ssnn_expected_signature(pointer::Ptr{SpikeTrains}, depth::Int64, threads::Int64, out::Ptr{Float64})
    trains = unsafe_load(pointer)
    mean = expected_signature(trains, depth, threads)
    GC.@preserve mean unsafe_copyto!(out, Base.pointer(mean), length(mean))
end

# Gradient in the spike times; the cotangent is one for all samples (`per_sample` 0) or one each.
@entry_point function ssnn_train_signatures_backprop(
    pointer::Ptr{SpikeTrains}, depth::Int64, threads::Int64, cotangent::Ptr{Float64}, per_sample::Int64, times_bar::Ptr{Float64},
)
    trains = unsafe_load(pointer)
    d = Int(trains.num_neurons) + 1
    size = signature_length(d, depth)
    works = [(SignatureWork(trains.num_neurons, depth), Words(d, Int(depth))) for _ in 1:max(1, threads)]
    foreach_chunk(trains.num_samples, threads) do worker, chunk, samples
        work, powers_bar = works[worker]
        for sample in samples
            bar = host_array(cotangent + 8 * size * (sample - 1) * per_sample, size)
            train = read!(work.train, trains, sample, Int[], work.seen)
            train_adjoint!(row(times_bar, trains.capacity, sample), work, trains, train, bar, powers_bar)
        end
    end
end

# Mean over words of (E S(X) − E S(Y))², and its gradient in the times of X. Y is a batch, or null with its expected signature given. With
# `matched` sample p of X is paired with sample p of Y, and both keep of each neuron only as many spikes as the other
# has. Where `entries`, (S, N), is not null, it gets what one more spike at t1 changes.
@entry_point function ssnn_expected_signature_loss(
    x_pointer::Ptr{SpikeTrains}, y_pointer::Ptr{SpikeTrains}, y_mean::Ptr{Float64}, depth::Int64, matched::Int64, threads::Int64,
    value::Ptr{Float64}, times_bar::Ptr{Float64}, entries::Ptr{Float64},
)
    X = unsafe_load(x_pointer)
    Y = matched == 1 ? unsafe_load(y_pointer) : X
    used = num_threads(X, depth, threads)
    key = PlanKey(:signature_loss, String[], [X.num_neurons, depth])
    with_workers(() -> LossWork(X.num_neurons, depth), identity, key, used) do works
        forward = [work.forward for work in works]
        difference = matched == 1 ? matched_difference(forward, X, Y, depth, used) :
            expected_signature(forward, X, depth, used) .- host_array(y_mean, signature_length(Int(X.num_neurons) + 1, depth))
        unsafe_store!(value, sum(abs2, difference) / length(difference))
        cotangent = difference .* (2 / (length(difference) * X.num_samples))
        matched_adjoint!(works, times_bar, entries, X, Y, matched == 1, cotangent, depth, used)
    end
end

"""E S(X) − E S(Y) over matched pairs."""
function matched_difference(works::Vector{SignatureWork}, X::SpikeTrains, Y::SpikeTrains, depth, threads)
    size = signature_length(Int(X.num_neurons) + 1, depth)
    total = chunked_sum(works, size, X.num_samples, threads) do sum, work, sample
        caps = matched_caps!(work, X, Y, sample)
        sum .+= train_signature!(work, X, read!(work.train, X, sample, caps, work.seen)).values
        sum .-= train_signature!(work, Y, read!(work.train, Y, sample, caps, work.seen)).values
    end
    return total ./ X.num_samples
end

function matched_adjoint!(
    works::Vector, times_bar, entries, X::SpikeTrains, Y::SpikeTrains, matched::Bool, cotangent, depth, threads,
)
    d = Int(X.num_neurons) + 1
    slopes = matched || entries == C_NULL ? Matrix{Float64}[] : by_last_letter(cotangent, d, depth)
    foreach_chunk(X.num_samples, threads) do worker, chunk, samples
        work, powers_bar, at_end = works[worker].forward, works[worker].powers_bar, works[worker].at_end
        for sample in samples
            caps = matched ? matched_caps!(work, X, Y, sample) : Int[]
            train = read!(work.train, X, sample, caps, work.seen)
            function look(S)
                entries == C_NULL && return
                into = row(entries, X.num_neurons, sample)
                matched ? matched_end_entries!(into, S, X, Y, sample, caps, work.theirs, cotangent, at_end) :
                    end_entries!(into, S, X, slopes, at_end.change)
            end
            train_adjoint!(row(times_bar, X.capacity, sample), work, X, train, cotangent, powers_bar, look)
        end
    end
end

"""
What one thread needs for the entries: room for a change of a signature and, with matched spikes, for the partner's
before and after.
"""
struct EndWork
    change::Vector{Float64}
    before::Vector{Float64}
    partner::SignatureWork
end

function EndWork(num_neurons, depth)
    d = Int(num_neurons) + 1
    return EndWork(zeros(d^(depth - 1)), zeros(signature_length(d, depth)), SignatureWork(num_neurons, depth))
end

"""What one thread needs for the loss and its gradient."""
struct LossWork
    forward::SignatureWork
    powers_bar::Words
    at_end::EndWork
end

LossWork(num_neurons, depth) =
    LossWork(SignatureWork(num_neurons, depth), Words(Int(num_neurons) + 1, Int(depth)), EndWork(num_neurons, depth))

"""Of each level a matrix: a column per last letter, a row per what stands before it."""
by_last_letter(words, d, depth) =
    [permutedims(reshape(words[level_offset(d, l)+1:level_offset(d, l + 1)], d, d^(l - 1))) for l in 1:depth]

"""
By how much the loss changes where the sample with signature `S` fires once more at t1, for each neuron: with ΔS the
change of S, ⟨cotangent, ΔS⟩ and, as the loss is the square of a mean, |ΔS|²/(number of words · number of samples²).
Levels of `S` below the top are read.
"""
function end_entries!(entries::Ptr{Float64}, S::Words, trains::SpikeTrains, slopes, change::Vector{Float64})
    share = 1 / (length(S.values) * trains.num_samples^2)
    for a in 2:S.d
        first_order = square = 0.0
        for level in 1:S.depth
            size = end_change!(change, S, a, scale(trains, a), level)
            slope = slopes[level]
            @inbounds @simd for j in 1:size
                first_order += slope[j, a] * change[j]
                square += change[j]^2
            end
        end
        unsafe_store!(entries, first_order + share * square, a - 1)
    end
end

"""
The same with matched spikes: one more spike of a neuron lets its partner keep one more as well, if it has one to spare.
Else nothing changes.
"""
function matched_end_entries!(
    entries::Ptr{Float64}, S::Words, X::SpikeTrains, Y::SpikeTrains, sample, caps::Vector{Int}, theirs::Vector{Int},
    cotangent, at_end::EndWork,
)
    share = 1 / (length(S.values) * X.num_samples^2)
    partner, before = at_end.partner, at_end.before
    signature_of_partner!() = train_signature!(partner, Y, read!(partner.train, Y, sample, caps, partner.seen)).values
    copyto!(before, signature_of_partner!())
    for a in 2:S.d
        theirs[a-1] > caps[a-1] || continue
        caps[a-1] += 1
        difference = signature_of_partner!()
        caps[a-1] -= 1
        difference .= before .- difference
        for level in 1:S.depth, j in 1:end_change!(at_end.change, S, a, scale(X, a), level)
            difference[S.offsets[level]+(j-1)*S.d+a] += at_end.change[j]
        end
        total = 0.0
        @inbounds @simd for j in eachindex(difference)
            total += (cotangent[j] + share * difference[j]) * difference[j]
        end
        unsafe_store!(entries, total, a - 1)
    end
end

"""
S ⊗ exp(x e_a) − S on the words of a level that end in a (on others it is 0), into `change` by what stands before that
a; returns how many there are. A word that ends in r letters a gets x^r/r! times S of what is left without them, for
each r.
"""
function end_change!(change::Vector{Float64}, S::Words, a::Int, x::Float64, level::Int)
    size, d = S.d^(level - 1), S.d
    level == 1 && (change[1] = x; return 1)
    from = S.offsets[level-1]
    @inbounds @simd ivdep for j in 1:size
        change[j] = x * S.values[from+j]
    end
    factor, stride, tail = x, 1, 0
    for power in 2:level
        factor *= x / power
        tail += (a - 1) * stride
        stride *= d
        if power == level
            change[tail+1] += factor
        else
            from = S.offsets[level-power]
            @inbounds for j in 1:d^(level-power)
                change[(j-1)*stride+tail+1] += factor * S.values[from+j]
            end
        end
    end
    return size
end

function matched_caps!(work::SignatureWork, X::SpikeTrains, Y::SpikeTrains, sample)
    count!(work.mine, X, sample)
    count!(work.theirs, Y, sample)
    work.mine .= min.(work.mine, work.theirs)
    return work.mine
end

# --- general piecewise-linear paths ----------------------------------------------------------------------------------------------

# Signatures of paths given by points, C-ordered (S, L, d).
@entry_point function ssnn_path_signatures(
    points::Ptr{Float64}, num_samples::Int64, num_points::Int64, channels::Int64, depth::Int64, threads::Int64, out::Ptr{Float64},
)
    d, size = Int(channels), signature_length(Int(channels), depth)
    foreach_chunk(num_samples, threads) do worker, chunk, samples
        S, powers = Words(d, Int(depth)), Words(d, Int(depth))
        for sample in samples
            path = host_array(row(points, d * num_points, sample), d, num_points)
            path_signature!(S, path, powers)
            unsafe_copyto!(out + 8 * size * (sample - 1), pointer(S.values), size)
        end
    end
end

function path_signature!(S::Words, path, powers::Words)
    fill!(S.values, 0.0)
    for k in size(path, 2)-1:-1:1
        prepend_segment!(S, path[:, k+1] - path[:, k], powers)
    end
end

@entry_point function ssnn_path_signatures_backprop(
    points::Ptr{Float64}, num_samples::Int64, num_points::Int64, channels::Int64, depth::Int64, threads::Int64, cotangents::Ptr{Float64},
    points_bar::Ptr{Float64},
)
    d, size = Int(channels), signature_length(Int(channels), depth)
    foreach_chunk(num_samples, threads) do worker, chunk, samples
        S, bar, powers, powers_bar = (Words(d, Int(depth)) for _ in 1:4)
        for sample in samples
            path = host_array(row(points, d * num_points, sample), d, num_points)
            path_bar = host_array(row(points_bar, d * num_points, sample), d, num_points)
            path_signature!(S, path, powers)
            unsafe_copyto!(pointer(bar.values), cotangents + 8 * size * (sample - 1), size)
            for k in 1:num_points-1
                x_bar = zeros(d)
                prepend_segment_adjoint!(x_bar, bar, S, path[:, k+1] - path[:, k], powers, powers_bar)
                path_bar[:, k+1] .+= x_bar
                path_bar[:, k] .-= x_bar
            end
        end
    end
end
