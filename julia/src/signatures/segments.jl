# A straight piece in all channels put in front of a signature, and taken away again with its cotangent.

"""S ← exp(x) ⊗ S for an increment x in all channels."""
function prepend_segment!(S::Words, x::AbstractVector{Float64}, powers::Words)
    segment_powers!(powers, x)
    for level in S.depth:-1:1, power in 1:level
        add_product!(S, level, powers, power)
    end
end

"""Of exp(x) ⊗ S, to words of `level`, what those that begin with `power` letters of x add: powers_p ⊗ S_(level−p)."""
function add_product!(S::Words, level, powers::Words, power)
    into, from, num_powers = S.offsets[level], powers.offsets[power], num_words(S, power)
    target, u = S.values, powers.values
    if power == level
        @inbounds for j in 1:num_powers
            target[into+j] += u[from+j]
        end
        return
    end
    width, source = num_words(S, level - power), S.offsets[level-power]
    for w in 1:num_powers
        factor = u[from+w]
        factor == 0.0 && continue
        start = into + (w - 1) * width
        @inbounds @simd ivdep for j in 1:width
            target[start+j] += factor * target[source+j]
        end
    end
end

"""Tensor powers (sign x)^{⊗p}/p!."""
function segment_powers!(powers::Words, x, sign = 1.0)
    d, words = powers.d, powers.values
    for a in 1:d
        words[a] = sign * x[a]
    end
    for level in 2:powers.depth
        into, from = powers.offsets[level], powers.offsets[level-1]
        for w in 1:num_words(powers, level - 1), a in 1:d
            words[into+(w-1)*d+a] = words[from+w] * (sign * x[a]) / level
        end
    end
end

"""
Undo a prepended segment: on entry S = exp(x) ⊗ R and `bar` is its cotangent, on return S = R and `bar` that of R; adds
the cotangent of x to `x_bar`.
"""
function prepend_segment_adjoint!(x_bar, bar::Words, S::Words, x, powers::Words, powers_bar::Words)
    d = S.d
    segment_powers!(powers, x, -1.0)
    for level in S.depth:-1:1, power in 1:level
        add_product!(S, level, powers, power)
    end
    segment_powers!(powers, x)
    fill!(powers_bar.values, 0.0)
    for rest in 0:S.depth-1, power in 1:S.depth-rest
        level, width = rest + power, num_words(S, rest)
        for w in 1:num_words(S, power)
            start = bar.offsets[level] + (w - 1) * width
            place = powers.offsets[power] + w
            if rest == 0
                powers_bar.values[place] += bar.values[start+1]
                continue
            end
            source, factor, total = S.offsets[rest], powers.values[place], 0.0
            @inbounds @simd for j in 1:width
                total += bar.values[start+j] * S.values[source+j]
            end
            powers_bar.values[place] += total
            # Lower levels are turned first, so the higher ones are still those of exp(x) ⊗ R here.
            @inbounds @simd ivdep for j in 1:width
                bar.values[source+j] += factor * bar.values[start+j]
            end
        end
    end
    for level in S.depth:-1:2
        into, from = powers.offsets[level], powers.offsets[level-1]
        for w in 1:num_words(powers, level - 1), a in 1:d
            bar_w = powers_bar.values[into+(w-1)*d+a] / level
            powers_bar.values[from+w] += bar_w * x[a]
            x_bar[a] += bar_w * powers.values[from+w]
        end
    end
    for a in 1:d
        x_bar[a] += powers_bar.values[a]
    end
end
