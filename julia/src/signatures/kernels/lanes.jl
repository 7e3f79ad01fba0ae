# Four pairs of paths at once: one number of each in one vector register.

const LaneTuple = NTuple{4,VecElement{Float64}}

"""Four numbers, one per pair of paths, in one vector register."""
struct Lanes
    v::LaneTuple
end

Lanes(x::Real) = Lanes(ntuple(_ -> VecElement(Float64(x)), Val(4)))

"""Lane by lane what `f` gives for its number."""
lanes(f) = Lanes(ntuple(l -> VecElement(Float64(f(l))), Val(4)))

Base.zero(::Type{Lanes}) = Lanes(0.0)
Base.getindex(x::Lanes, l::Int) = x.v[l].value

"""x with another number in lane l."""
with_lane(x::Lanes, l, value) = lanes(m -> m == l ? value : x[m])

# "contract" lets a product and a sum become one instruction.
for (operator, instruction) in ((:+, "fadd"), (:-, "fsub"), (:*, "fmul"))
    code = "%3 = $instruction contract <4 x double> %0, %1\nret <4 x double> %3"
    @eval @inline Base.$operator(a::Lanes, b::Lanes) =
        Lanes(Base.llvmcall($code, LaneTuple, Tuple{LaneTuple,LaneTuple}, a.v, b.v))
    @eval @inline Base.$operator(a::Lanes, b::Float64) = $operator(a, Lanes(b))
    @eval @inline Base.$operator(a::Float64, b::Lanes) = $operator(Lanes(a), b)
end

"""The largest of the four numbers."""
longest_lane(x::Lanes) = max(max(x[1], x[2]), max(x[3], x[4]))
"""The largest of their absolute values."""
magnitude(c::Lanes) = max(abs(c[1]), abs(c[2]), abs(c[3]), abs(c[4]))

# A number alone is its only lane.
@inline longest_lane(x::Float64) = x
