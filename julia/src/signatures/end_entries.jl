# What the loss on expected signatures gains where a sample fires once more at its end.

"""
What one thread needs for the entries: a change of a signature and, with matched spikes, the partner's before and after.
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
            width = end_change!(change, S, a, scale(trains, a), level)
            slope = slopes[level]
            @inbounds @simd for j in 1:width
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
    read_partner!() = read_train!(partner.train, Y, sample, caps, partner.seen)
    signature_of_partner!() = train_signature!(partner, Y, read_partner!()).values
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
        unsafe_store!(entries, change_of_square(cotangent, share, difference), a - 1)
    end
end

"""By how much the loss changes with a change of one sample's signature: ⟨cotangent, change⟩ + share·|change|²."""
function change_of_square(cotangent, share, change)
    total = 0.0
    @inbounds @simd for j in eachindex(change)
        total += (cotangent[j] + share * change[j]) * change[j]
    end
    return total
end

"""
S ⊗ exp(x e_a) − S on the words of a level that end in a (on others it is 0), into `change` by what stands before that
a; returns how many there are. A word that ends in r letters a gets x^r/r! times S of what is left without them, for
each r.
"""
function end_change!(change::Vector{Float64}, S::Words, a::Int, x::Float64, level::Int)
    width, d = S.d^(level - 1), S.d
    level == 1 && (change[1] = x; return 1)
    from = S.offsets[level-1]
    @inbounds @simd ivdep for j in 1:width
        change[j] = x * S.values[from+j]
    end
    factor, span, tail = x, 1, 0
    for power in 2:level
        factor *= x / power
        tail += (a - 1) * span
        span *= d
        if power == level
            change[tail+1] += factor
        else
            from = S.offsets[level-power]
            @inbounds for j in 1:d^(level-power)
                change[(j-1)*span+tail+1] += factor * S.values[from+j]
            end
        end
    end
    return width
end
