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

"""
A signature under construction, or a cotangent of one; `offsets[l]` is where level l begins, and the last of them where
the highest level ends.
"""
struct Words{V<:AbstractVector{Float64},O<:AbstractVector{Int}} <: MadeOfArrays
    values::V
    offsets::O
    d::Int
    depth::Int
end

"""Those in the host's memory."""
const HostWords = Words{Vector{Float64},Vector{Int}}

Words(d::Int, depth::Int) = Words(zeros(signature_length(d, depth)), level_offsets(d, depth), d, depth)

level_offsets(d, depth) = [level_offset(d, l) for l in 1:depth+1]

"""How many words of so many letters there are."""
@inline num_words(w::Words, level) = level == 0 ? 1 : w.offsets[level+1] - w.offsets[level]

"""Words of a level that begin with `power` letters a: where they start, and how many there are."""
@inline function block(w::Words, level, a, power)
    start = w.offsets[level]
    for first_letters in 1:power
        start += (a - 1) * num_words(w, level - first_letters)
    end
    return start, num_words(w, level - power)
end

# Lanes that share a signature each have words of their own, and go from one level to the next together: what a level
# takes from another is read before it changes.

"""S ← exp(x e_a) ⊗ S, up to level `top`."""
function prepend_letter!(S::Words, a::Int, x::Float64, top::Int = S.depth, lane::Lane = OnlyLane())
    words = S.values
    for level in top:-1:1
        factor = 1.0
        for power in 1:level
            factor *= x / power
            start, width = block(S, level, a, power)
            if power == level
                owns(lane, start + 1) && (words[start+1] += factor)
            else
                from = S.offsets[level-power]
                @inbounds @simd ivdep for j in owned(lane, start, width)
                    words[start+j] += factor * words[from+j]
                end
            end
        end
        meet(lane)
    end
end

"""Cotangent of S from that of exp(x e_a) ⊗ S, in place; of the highest level, `top`, it never changes."""
function prepend_letter_adjoint!(bar::Words, a::Int, x::Float64, top::AbstractVector{Float64}, lane::Lane = OnlyLane())
    below = bar.values
    for level in 1:bar.depth-1
        factor = 1.0
        for power in 1:bar.depth-level
            factor *= x / power
            start, width = block(bar, level + power, a, power)
            source = level + power == bar.depth ? top : below
            into = bar.offsets[level]
            @inbounds @simd ivdep for j in turns(lane, width)
                below[into+j] += factor * source[start+j]
            end
        end
        meet(lane)
    end
end

"""
Derivative of ⟨bar, exp(x e_a) ⊗ S⟩ in x, where `S` already has the letter in front: ⟨bar, e_a ⊗ S⟩, or a lane's share
of it. Only levels below the top of S are read.
"""
function letter_derivative(
    bar::Words, S::Words, a::Int, top::AbstractVector{Float64}, lane::Lane = OnlyLane(),
)
    total = !leads(lane) ? 0.0 : bar.depth == 1 ? top[a] : bar.values[a]
    for level in 2:bar.depth
        start, width = block(bar, level, a, 1)
        from = S.offsets[level-1]
        source = level == bar.depth ? top : bar.values
        part = 0.0
        @inbounds @simd for j in turns(lane, width)
            part += source[start+j] * S.values[from+j]
        end
        total += part
    end
    return total
end
