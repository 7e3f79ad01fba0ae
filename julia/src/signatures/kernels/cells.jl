# One cell of two straight pieces, whose increments have the inner product c: the signature kernel as a power series.
#
# k(X, Y) = ⟨S(X), S(Y)⟩ solves the Goursat problem ∂²k/∂s∂t = c k with k = 1 where s or t starts (Salvi et al., SIAM
# J. Math. Data Sci. 3, 2021). On a cell the solution is a power series: with k = Σ κ_mn s^m/m! t^n/n! the equation says
# κ_{m+1,n+1} = c κ_mn, so the edges s = 0 and t = 0 give the edges s = 1 and t = 1 in closed form. Nothing is
# discretised; series are cut where what is left out is below rounding.

const MAX_TERMS = 80
const INVERSE_FACTORIAL = [Float64(1 / factorial(big(n))) for n in 0:2MAX_TERMS+2]
"""1/n!."""
@inline inverse_factorial(n) = @inbounds INVERSE_FACTORIAL[n+1]

# Up to which z a series with terms z^m/(m! (m+1)!) may be cut after so many terms.
const REACH = [Float64((1e-17 * factorial(big(m + 1)) * factorial(big(m + 2)))^(1 / big(m + 1))) for m in 1:MAX_TERMS]

"""
How many terms the series of an edge needs. `z` bounds the sum of |c| over all cells along the edge: k grows along it
like Σ z^m/m!².
"""
@inline function num_terms(z::Float64)
    z > REACH[end] && throw_too_long(z)
    return num_terms(REACH, z)
end

@inline function num_terms(reach, z::Float64)
    m = 1
    @inbounds while m < MAX_TERMS && z > reach[m]
        m += 1
    end
    return m
end

@noinline throw_too_long(z) = throw(ErrorException(
    "the paths are too long for a signature kernel: along one piece the inner products with the other path " *
    "sum to $(round(z; sigdigits = 3)), more than $(round(REACH[end]; sigdigits = 3)); give smaller scales",
))

"""Terms in c itself, one more: they count for the corner too."""
@inline num_coefficient_terms(c::Float64) = num_terms(c) + 1

"""Sums of one cell."""
struct CellWork{T}
    e::Vector{T}            # c^n/n!
    A::Vector{T}
    B::Vector{T}
end

CellWork{T}() where {T} = CellWork{T}((zeros(T, MAX_TERMS + 1) for _ in 1:3)...)

# Where a work has its tables.
@inline inverse_factorial(::CellWork, n) = inverse_factorial(n)
@inline num_coefficient_terms(::CellWork, c) = num_coefficient_terms(c)

"""
Carry the edges of one cell to its far side: coefficients `p[1:N, i]` of s^m/m! on the edge t = 0 become those on t = 1,
`q[1:N]` of t^n/n! on s = 0 become those on s = 1. `k` is the value at s = t = 0; returns the double increment of k over
the cell.

The series are those of g·p and h·q, and c = g·gain_p = h·gain_q: so a piece of length zero keeps its derivatives.
`J` ≤ N terms in c.
"""
@inline function cell!(p::AbstractMatrix{T}, i, N, q, k::T, c::T, g, h, gain_p, gain_q, J, work) where {T}
    e, A, B = work.e, work.A, work.B
    total = zero(T)
    @inbounds begin
        power = c * 0.0 + 1.0           # c^(n-1)
        for n in 1:J
            a = b = zero(T)
            for m in 1:N
                a = a + q[m] * inverse_factorial(work, m + n)
                b = b + p[m, i] * inverse_factorial(work, m + n)
            end
            corner = k * inverse_factorial(work, n)
            A[n] = power * gain_p * (corner + h * a)
            B[n] = power * gain_q * (corner + g * b)
            power = power * c
            e[n] = power * inverse_factorial(work, n)
        end
        for n in N:-1:1
            to_p, to_q = n <= J ? (A[n], B[n]) : (zero(T), zero(T))
            for j in 1:min(J, n - 1)
                to_p = to_p + e[j] * p[n-j, i]
                to_q = to_q + e[j] * q[n-j]
            end
            p[n, i] = p[n, i] + to_p
            q[n] = q[n] + to_q
            total = total + to_p * inverse_factorial(work, n)
        end
    end
    return g * total
end

"""
The same for few terms, written out: most cells of trains with many spikes. Products of orders m and n with
m + n > N + 1 are below rounding.
"""
@generated function small_cell!(
    p::AbstractMatrix{T}, i, q, k::T, c::T, g, h, gain_p, gain_q, ::Val{N}, ::Val{J},
) where {T,N,J}
    name(letter) = n -> Symbol(letter, n)
    P, Q, A, B, e = name.((:p, :q, :A, :B, :e))
    code = Expr(:block, (:($(P(m)) = p[$m, i]; $(Q(m)) = q[$m]) for m in 1:N)...)
    for n in 1:J
        push!(code.args, :(a = b = zero(T)))
        for m in 1:N+1-n
            f = inverse_factorial(m + n)
            push!(code.args, :(a = a + $(Q(m)) * $f; b = b + $(P(m)) * $f))
        end
        push!(code.args, :(corner = k * $(inverse_factorial(n))))
        push!(code.args, :($(A(n)) = power * gain_p * (corner + h * a); $(B(n)) = power * gain_q * (corner + g * b)))
        push!(code.args, :(power = power * c; $(e(n)) = power * $(inverse_factorial(n))))
    end
    for n in 1:N
        push!(code.args, n <= J ? :(to_p = $(A(n)); to_q = $(B(n))) : :(to_p = to_q = zero(T)))
        for j in 1:min(J, n - 1)
            push!(code.args, :(to_p = to_p + $(e(j)) * $(P(n - j)); to_q = to_q + $(e(j)) * $(Q(n - j))))
        end
        push!(code.args, :(p[$n, i] = $(P(n)) + to_p; q[$n] = $(Q(n)) + to_q))
        push!(code.args, :(total = total + to_p * $(inverse_factorial(n))))
    end
    return quote
        $(Expr(:meta, :inline))
        power, total = c * 0.0 + 1.0, zero(T)
        @inbounds $code
        g * total
    end
end

"""As many rows as `best_cell!` may write for N terms."""
padded_terms(N) = max(N, 8)

"""`small_cell!` where it serves, else `cell!`."""
@inline function best_cell!(p, i, N, q, k, c, g, h, gain_p, gain_q, J, work)
    N <= 4 && J <= 3 && return small_cell!(p, i, q, k, c, g, h, gain_p, gain_q, Val(4), Val(3))
    N <= 6 && J <= 4 && return small_cell!(p, i, q, k, c, g, h, gain_p, gain_q, Val(6), Val(4))
    N <= 8 && J <= 5 && return small_cell!(p, i, q, k, c, g, h, gain_p, gain_q, Val(8), Val(5))
    return cell!(p, i, max(N, J), q, k, c, g, h, gain_p, gain_q, J, work)
end

"""
Adjoint of `cell!` with g = h = 1 and gains c: cotangents of the far edges, `p_bar[:, i]`, `q_bar` and `total_bar`,
become those of the near edges; returns those of the corner and of the coefficient.
"""
function cell_adjoint!(p_bar, q_bar, total_bar, p, q, i, N, k, c, J, u)
    k_bar = c_bar = zero(Lanes)
    @inbounds begin
        for n in 1:N
            u[n] = p_bar[n, i] + total_bar * inverse_factorial(n)
        end
        power = Lanes(1.0)              # c^(n-1)
        for n in 1:J
            a = b = k * inverse_factorial(n)
            for m in 1:N
                a = a + q[m, i] * inverse_factorial(m + n)
                b = b + p[m, i] * inverse_factorial(m + n)
            end
            c_bar = c_bar + power * Float64(n) * (a * u[n] + b * q_bar[n])
            e = power * inverse_factorial(n - 1)
            for m in 1:N-n
                c_bar = c_bar + e * (u[m+n] * p[m, i] + q_bar[m+n] * q[m, i])
            end
            power = power * c
            k_bar = k_bar + power * (u[n] + q_bar[n]) * inverse_factorial(n)
        end
        # Orders add only to lower ones, and p_bar is done before q_bar changes.
        for m in 1:N
            total, power = p_bar[m, i], Lanes(1.0)
            for n in 1:J
                power = power * c
                total = total + power * q_bar[n] * inverse_factorial(m + n)
                m + n <= N && (total = total + power * u[m+n] * inverse_factorial(n))
            end
            p_bar[m, i] = total
        end
        for m in 1:N
            total, power = q_bar[m], Lanes(1.0)
            for n in 1:J
                power = power * c
                total = total + power * u[n] * inverse_factorial(m + n)
                m + n <= N && (total = total + power * q_bar[m+n] * inverse_factorial(n))
            end
            q_bar[m] = total
        end
    end
    return k_bar, c_bar
end
