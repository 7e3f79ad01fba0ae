# Truncated signatures as arrays of words, and one letter put in front of them: a piece of a path along one axis.
#
# A signature is stored as its levels 1 … m one after the other, words in lexicographic order: d + d² + … + d^m numbers
# for d channels. Paths are walked from their last piece to the first: S(x * rest) = exp(x) ⊗ S(rest) puts letters in
# front, and the words that begin with a given letter are contiguous. For a piece along one axis that makes every update
# a multiple of one block added to another.

"""How many words of `d` letters are shorter than `level`, the empty one left out."""
level_offset(d, level) = level == 1 ? 0 : (d^level - d) ÷ (d - 1 + (d == 1)) + (d == 1) * (level - 1)

"""How many words of `d` letters have 1 to `depth` of them."""
signature_length(d, depth) = level_offset(d, depth + 1)

"""A signature under construction, or a cotangent of one; `offsets[l]` is where level l begins."""
struct Words
    values::Vector{Float64}
    offsets::Vector{Int}
    d::Int
    depth::Int
end

Words(d::Int, depth::Int) = Words(zeros(signature_length(d, depth)), [level_offset(d, l) for l in 1:depth+1], d, depth)

"""Words of a level that begin with `power` letters a: where they start, and how many there are."""
@inline function block(w::Words, level, a, power)
    start, span = w.offsets[level], w.d^(level - 1)
    for _ in 1:power
        start += (a - 1) * span
        span ÷= w.d
    end
    return start, w.d^(level - power)
end

"""S ← exp(x e_a) ⊗ S, up to level `top`."""
function prepend_letter!(S::Words, a::Int, x::Float64, top::Int = S.depth)
    words = S.values
    for level in top:-1:1
        factor = 1.0
        for power in 1:level
            factor *= x / power
            start, width = block(S, level, a, power)
            if power == level
                words[start+1] += factor
            else
                from = S.offsets[level-power]
                @inbounds @simd ivdep for j in 1:width
                    words[start+j] += factor * words[from+j]
                end
            end
        end
    end
end

"""Cotangent of S from that of exp(x e_a) ⊗ S, in place; of the highest level, `top`, it never changes."""
function prepend_letter_adjoint!(bar::Words, a::Int, x::Float64, top::Vector{Float64})
    below = bar.values
    for level in 1:bar.depth-1
        factor = 1.0
        for power in 1:bar.depth-level
            factor *= x / power
            start, width = block(bar, level + power, a, power)
            source = level + power == bar.depth ? top : below
            into = bar.offsets[level]
            @inbounds @simd ivdep for j in 1:width
                below[into+j] += factor * source[start+j]
            end
        end
    end
end

"""
Derivative of ⟨bar, exp(x e_a) ⊗ S⟩ in x, where `S` already has the letter in front: ⟨bar, e_a ⊗ S⟩. Only levels below
the top of S are read.
"""
function letter_derivative(bar::Words, S::Words, a::Int, top::Vector{Float64})
    total = bar.depth == 1 ? top[a] : bar.values[a]
    for level in 2:bar.depth
        start, width = block(bar, level, a, 1)
        from = S.offsets[level-1]
        source = level == bar.depth ? top : bar.values
        part = 0.0
        @inbounds @simd for j in 1:width
            part += source[start+j] * S.values[from+j]
        end
        total += part
    end
    return total
end
