# Signature kernels k(X, Y) = ⟨S(X), S(Y)⟩ of spike trains (through their Marcus lift) and of piecewise-linear paths, with gradients.
#
# k solves the Goursat problem ∂²k/∂s∂t = c k with k = 1 where s or t starts, c = ⟨ΔX_i, ΔY_j⟩ on the cell of two straight pieces
# (Salvi et al., SIAM J. Math. Data Sci. 3, 2021). On a cell the solution is a power series: with k = Σ κ_mn s^m/m! t^n/n! the equation says
# κ_{m+1,n+1} = c κ_mn, so the edges s = 0 and t = 0 give the edges s = 1 and t = 1 in closed form. Nothing is discretised; series are cut
# where what is left out is below rounding.
#
# Of two spike trains, only cells of time with time (c = Δs Δt) and of two spikes of one neuron have c ≠ 0. A pair of spikes (i, j) of one
# neuron adds the double increment D_ij over its cell to everything that is later in both.

# --- four pairs at once ----------------------------------------------------------------------------------------------------------

const LaneTuple = NTuple{4,VecElement{Float64}}

"""Four numbers, one per pair of paths, in one vector register."""
struct Lanes
    v::LaneTuple
end

Lanes(x::Real) = Lanes(ntuple(_ -> VecElement(Float64(x)), Val(4)))
lanes(f) = Lanes(ntuple(l -> VecElement(Float64(f(l))), Val(4)))
Base.zero(::Type{Lanes}) = Lanes(0.0)
Base.getindex(x::Lanes, l::Int) = x.v[l].value
with_lane(x::Lanes, l, value) = lanes(m -> m == l ? value : x[m])

# "contract" lets a product and a sum become one instruction.
for (operator, instruction) in ((:+, "fadd"), (:-, "fsub"), (:*, "fmul"))
    code = "%3 = $instruction contract <4 x double> %0, %1\nret <4 x double> %3"
    @eval @inline Base.$operator(a::Lanes, b::Lanes) =
        Lanes(Base.llvmcall($code, LaneTuple, Tuple{LaneTuple,LaneTuple}, a.v, b.v))
    @eval @inline Base.$operator(a::Lanes, b::Float64) = $operator(a, Lanes(b))
    @eval @inline Base.$operator(a::Float64, b::Lanes) = $operator(Lanes(a), b)
end

# --- one cell --------------------------------------------------------------------------------------------------------------------

const MAX_TERMS = 80
const INVERSE_FACTORIAL = [Float64(1 / factorial(big(n))) for n in 0:2MAX_TERMS+2]
@inline inverse_factorial(n) = @inbounds INVERSE_FACTORIAL[n+1]

# Up to which z a series with terms z^m/(m! (m+1)!) may be cut after so many terms.
const REACH = [Float64((1e-17 * factorial(big(m + 1)) * factorial(big(m + 2)))^(1 / big(m + 1))) for m in 1:MAX_TERMS]

"""
How many terms the series of an edge needs. `z` bounds the sum of |c| over all cells along the edge: k grows along it like Σ z^m/m!².
"""
@inline function num_terms(z::Float64)
    m = 1
    @inbounds while z > REACH[m]
        m == MAX_TERMS && throw(ErrorException(
            "the paths are too long for a signature kernel: along one piece the inner products with the other path sum to " *
            "$(round(z; sigdigits = 3)), more than $(round(REACH[end]; sigdigits = 3)); give smaller scales",
        ))
        m += 1
    end
    return m
end

"""Terms in c itself, one more: they count for the corner too."""
@inline num_coefficient_terms(c::Float64) = num_terms(c) + 1

"""Room for the sums of one cell."""
struct CellWork{T}
    e::Vector{T}            # c^n/n!
    A::Vector{T}
    B::Vector{T}
end

CellWork{T}() where {T} = CellWork{T}((zeros(T, MAX_TERMS + 1) for _ in 1:3)...)

"""
Carry the edges of one cell to its far side: coefficients `p[1:N, i]` of s^m/m! on the edge t = 0 become those on t = 1, `q[1:N]` of t^n/n! on
s = 0 become those on s = 1. `k` is the value at s = t = 0; returns the double increment of k over the cell.

The series are those of g·p and h·q, and c = g·gain_p = h·gain_q: so a piece of length zero keeps its derivatives. `J` ≤ N terms in c.
"""
@inline function cell!(p::Matrix{T}, i, N, q, k::T, c::T, g, h, gain_p, gain_q, J, work::CellWork{T}) where {T}
    e, A, B = work.e, work.A, work.B
    total = zero(T)
    @inbounds begin
        power = c * 0.0 + 1.0           # c^(n-1)
        for n in 1:J
            a = b = zero(T)
            for m in 1:N
                a = a + q[m] * inverse_factorial(m + n)
                b = b + p[m, i] * inverse_factorial(m + n)
            end
            corner = k * inverse_factorial(n)
            A[n] = power * gain_p * (corner + h * a)
            B[n] = power * gain_q * (corner + g * b)
            power = power * c
            e[n] = power * inverse_factorial(n)
        end
        for n in N:-1:1
            to_p, to_q = n <= J ? (A[n], B[n]) : (zero(T), zero(T))
            for j in 1:min(J, n - 1)
                to_p = to_p + e[j] * p[n-j, i]
                to_q = to_q + e[j] * q[n-j]
            end
            p[n, i] = p[n, i] + to_p
            q[n] = q[n] + to_q
            total = total + to_p * inverse_factorial(n)
        end
    end
    return g * total
end

"""
The same for few terms, written out: most cells of trains with many spikes. Products of orders m and n with m + n > N + 1 are below rounding.
"""
@generated function small_cell!(p::Matrix{T}, i, q, k::T, c::T, g, h, gain_p, gain_q, ::Val{N}, ::Val{J}) where {T,N,J}
    name(letter) = n -> Symbol(letter, n)
    P, Q, A, B, e = name.((:p, :q, :A, :B, :e))
    code = Expr(:block, (:($(P(m)) = p[$m, i]; $(Q(m)) = q[$m]) for m in 1:N)...)
    for n in 1:J
        push!(code.args, :(a = b = zero(T)))
        for m in 1:N+1-n
            push!(code.args, :(a = a + $(Q(m)) * $(inverse_factorial(m + n)); b = b + $(P(m)) * $(inverse_factorial(m + n))))
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
        push!(code.args, :(p[$n, i] = $(P(n)) + to_p; q[$n] = $(Q(n)) + to_q; total = total + to_p * $(inverse_factorial(n))))
    end
    return quote
        $(Expr(:meta, :inline))
        power, total = c * 0.0 + 1.0, zero(T)
        @inbounds $code
        g * total
    end
end

# As many rows as `best_cell!` may write for N terms.
padded_terms(N) = max(N, 8)

@inline function best_cell!(p::Matrix{Lanes}, i, N, q, k, c, g, h, gain_p, gain_q, J, work)
    N <= 4 && J <= 3 && return small_cell!(p, i, q, k, c, g, h, gain_p, gain_q, Val(4), Val(3))
    N <= 6 && J <= 4 && return small_cell!(p, i, q, k, c, g, h, gain_p, gain_q, Val(6), Val(4))
    N <= 8 && J <= 5 && return small_cell!(p, i, q, k, c, g, h, gain_p, gain_q, Val(8), Val(5))
    return cell!(p, i, max(N, J), q, k, c, g, h, gain_p, gain_q, J, work)
end

# --- spike trains ----------------------------------------------------------------------------------------------------------------

"""
One sample as the kernel sees it: pieces of time 1 … n, and between piece i and i + 1 an event, the spikes at that time. Long pieces are
divided by events without spikes. Mutable only so that four of them are passed as four references.
"""
mutable struct Events
    pieces::Vector{Float64}             # scaled lengths
    terms::Vector{Int}                  # that the series along each piece need
    letters::Vector{Vector{Int}}        # neurons of an event's spikes, counted from 1
    spikes::Vector{Vector{Int}}         # their columns in the host's array
    of_neuron::Vector{Vector{Int}}      # the events of each neuron, once per spike
    joint::Bool                         # some event has several spikes
end

"""Sample of a batch; `other_length` is the scaled length of the time that the kernel pairs it with."""
function Events(trains::SpikeTrains, sample, other_length::Float64)
    train = read!(Train(), trains, sample, Int[], Int[])
    pieces, letters, spikes = Float64[], Vector{Int}[], Vector{Int}[]
    function pass!(duration)
        parts = max(1, ceil(Int, 2 * duration * other_length / REACH[end]))
        for part in 1:parts
            push!(pieces, duration / parts)
            part < parts && (push!(letters, Int[]); push!(spikes, Int[]))
        end
    end
    factor, now = scale(trains, 1), trains.t0
    for n in eachindex(train.times)
        if n == 1 || train.times[n] > train.times[n-1]
            pass!(factor * (train.times[n] - now))
            push!(letters, Int[])
            push!(spikes, Int[])
            now = train.times[n]
        end
        push!(letters[end], train.letters[n] - 1)
        push!(spikes[end], train.columns[n])
    end
    pass!(factor * (trains.t1 - now))
    return Events(pieces, num_terms.(pieces .* other_length), letters, spikes, Int(trains.num_neurons))
end

function Events(pieces, terms, letters, spikes, num_neurons::Int)
    of_neuron = [Int[] for _ in 1:num_neurons]
    for (event, neurons) in enumerate(letters), neuron in neurons
        push!(of_neuron[neuron], event)
    end
    return Events(pieces, terms, letters, spikes, of_neuron, any(neurons -> length(neurons) > 1, letters))
end

Base.reverse(x::Events) = Events(reverse(x.pieces), reverse(x.terms), reverse(x.letters), reverse(x.spikes), length(x.of_neuron))
num_events(x::Events) = length(x.letters)

"""Squares of the neurons' scales: the coefficient of two spikes of one neuron."""
squared_scales(trains::SpikeTrains) = [scale(trains, neuron + 1)^2 for neuron in 1:trains.num_neurons]

# Lattices of up to so many spikes of one neuron on each side go through a table: faster than a series per cell, and quadratic in their size.
const TABLE_SIDE = 96

"""
Response of a lattice of cells with one coefficient c: if k takes the values V at the lower corners of the cells, their double increments
are D_ij = Σ_{i' ≤ i, j' ≤ j} table[i−i'+1, j−j'+1] V_i'j'.
"""
function response_table(c::Float64, n::Int, m::Int)
    J = num_coefficient_terms(c)
    N = max(num_terms(c * max(n, m)), J)
    p, work, table = zeros(N, n), CellWork{Float64}(), zeros(n, m)
    for j in 1:m
        q = zeros(N)
        for i in 1:n
            table[i, j] = cell!(p, i, N, q, Float64(i == j == 1), c, 1.0, 1.0, c, c, J, work)
        end
    end
    return table
end

"""
Tables for all neurons, as large as any pair of samples needs, with `more` spikes at the end of each; one per different
coefficient.
"""
function response_tables(squares::Vector{Float64}, X::Vector{Events}, Y::Vector{Events}, more::Int)
    made = Dict{Float64,Matrix{Float64}}()
    most(batch, a) = min(maximum(x -> length(x.of_neuron[a]), batch), TABLE_SIDE) + more
    sizes = [(most(X, a), most(Y, a)) for a in eachindex(squares)]
    return map(squares) do c
        get!(made, c) do
            same = sizes[squares .== c]
            response_table(c, maximum(first, same), maximum(last, same))
        end
    end
end

"""A pair of events that share a neuron, as a sweep meets it."""
struct Meeting
    x_event::Int
    y_event::Int
    D::Float64                  # double increment of k over the cell
    slope_x::Float64            # ∂k/∂u just after the event of X at the time of the event of Y, and the other way round
    slope_y::Float64
    exponent::Int               # all in units of 2^exponent
end

with_slope_y(m::Meeting, slope) = Meeting(m.x_event, m.y_event, m.D, m.slope_x, slope, m.exponent)

"""What k gains where a train has one more spike at its end, per neuron of it: X, Y, or, beyond these two, both."""
struct Ends
    of_x::Vector{Float64}
    of_y::Vector{Float64}
    of_both::Vector{Float64}
end

Ends() = Ends(Float64[], Float64[], Float64[])

function reset!(ends::Ends, num_neurons)
    foreach(part -> fill!(resize!(part, num_neurons), 0.0), (ends.of_x, ends.of_y, ends.of_both))
end

"""What one thread needs to sweep one train against four."""
mutable struct SweepWork
    p::Matrix{Lanes}                # per piece of X: series of k along it, at the current time of Y
    increment::Vector{Lanes}        # per piece of X: increment of k along it
    jump::Vector{Lanes}             # per event of X: increment of k over it
    corner::Vector{Lanes}           # k just before each event of X, at the current time of Y
    slope::Vector{Lanes}            # ∂k/∂w at each event of X, at the start of the current piece of Y
    q::Vector{Lanes}
    cell::CellWork{Lanes}
    scalar_cell::CellWork{Float64}
    history::Vector{Vector{Float64}}        # per lane: corners of all neurons' lattices so far
    places::Vector{Vector{Int}}             # per lane and neuron: where the next spike of Y puts its row of corners
    starts::Vector{Vector{Int}}             # and where the lattice begins
    jump_series::Vector{Matrix{Float64}}    # per lane, where no table serves
    meetings::Vector{Vector{Meeting}}       # per lane, where the gradient is wanted
    increments::Vector{Float64}
    weight::Vector{Float64}
    touched::Vector{Int}
    ends::Vector{Ends}                      # per lane, where they are wanted
    more::Int                               # 1 where they are, else 0
end

SweepWork() = SweepWork(
    zeros(Lanes, 0, 0), Lanes[], Lanes[], Lanes[], Lanes[], zeros(Lanes, MAX_TERMS + 1), CellWork{Lanes}(), CellWork{Float64}(),
    [Float64[] for _ in 1:4], [Int[] for _ in 1:4], [Int[] for _ in 1:4], [zeros(0, 0) for _ in 1:4], [Meeting[] for _ in 1:4],
    Float64[], Float64[], Int[], [Ends() for _ in 1:4], 0,
)

function reset!(work::SweepWork, n, terms)
    if size(work.p, 1) != terms || size(work.p, 2) < n
        work.p = zeros(Lanes, terms, n)
    end
    @inbounds for i in 1:n, m in 1:terms
        work.p[m, i] = zero(Lanes)
    end
    for array in (work.increment, work.jump, work.corner, work.slope)
        resize!(array, n)
        fill!(array, zero(Lanes))
    end
    resize!(work.weight, n)
    fill!(work.weight, 0.0)
    resize!(work.increments, n)
    foreach(empty!, work.meetings)
end

# Where k has grown beyond HUGE, a lane is taken in units larger by 2^UNIT. One row of cells adds less than the rest of the range of floats. What is
# then below TINY counts for nothing, but would slow down arithmetic as it fades away.
const HUGE, UNIT, TINY = 2.0^900, 512, 2.0^-700

shrink_factor(value::Lanes) = lanes(l -> value[l] > HUGE ? 2.0^-UNIT : 1.0)
shrink_exponents(factor::Lanes) = ntuple(l -> factor[l] == 1.0 ? 0 : UNIT, Val(4))
longest_lane(x::Lanes) = max(max(x[1], x[2]), max(x[3], x[4]))
lane_pieces(ys::NTuple{4,Events}, row) = lanes(l -> row <= length(ys[l].pieces) ? ys[l].pieces[row] : 0.0)
lane_terms(ys::NTuple{4,Events}, row) = maximum(map(y -> row <= length(y.terms) ? y.terms[row] : 1, ys))

"""
    sweep!(work, x, ys, count, squares, tables, slopes) -> (values, exponents)

Kernels of train `x` with four trains, of which the first `count` matter: values · 2^exponents. With `slopes`, `work.meetings` holds what the
gradient needs; with `ends`, `work.ends` what one more spike at the end would change, in the same units as the values.
"""
function sweep!(
    work::SweepWork, x::Events, ys::NTuple{4,Events}, count, squares, tables, slopes::Bool, ends::Bool = false,
)
    n = length(x.pieces)
    work.more = Int(ends)
    ends && foreach(part -> reset!(part, length(squares)), work.ends)
    reset!(work, n, padded_terms(max(maximum(x.terms), maximum(map(y -> maximum(y.terms), ys))) + 1))
    by_table = ntuple(l -> prepare_spikes!(work, l, x, ys[l], squares), Val(4))
    start, value, exponents = Lanes(1.0), Lanes(1.0), (0, 0, 0, 0)
    rows = maximum(map(y -> length(y.pieces), ys))
    for row in 1:rows
        value = pass_time!(work, x, lane_pieces(ys, row), lane_terms(ys, row), start)
        slopes && finish_slopes!(work, row - 1, exponents)
        for l in 1:count
            row <= num_events(ys[l]) && pass_event!(work, l, x, ys[l], row, squares, tables, by_table[l], exponents[l], slopes)
        end
        # Corners are in the units of the last row only until these change.
        ends && row == rows && foreach(l -> end_y!(work, l, x, squares, tables, by_table[l]), 1:count)
        if longest_lane(value) > HUGE
            factor = shrink_factor(value)
            rescale!(work, factor)
            start, value = rescaled(start, factor), rescaled(value, factor)
            exponents = exponents .+ shrink_exponents(factor)
        end
    end
    return value, exponents
end

"""Move all of X's pieces through one piece of Y's time, of lengths `h`; returns k at the end of X."""
function pass_time!(work::SweepWork, x::Events, h::Lanes, terms::Int, start::Lanes)
    longest = longest_lane(h)
    p, q, k, rise = work.p, work.q, start, zero(Lanes)
    fill!(q, zero(Lanes))
    @inbounds for i in eachindex(x.pieces)
        g = x.pieces[i]
        wide = Lanes(g)
        below = k + work.increment[i]
        N, J = max(x.terms[i], terms), num_coefficient_terms(g * longest)
        change = best_cell!(p, i, N, q, k, h * wide, wide, h, h, wide, J, work.cell)
        work.increment[i] = work.increment[i] + change
        rise = rise + change
        work.corner[i] = below + rise
        work.slope[i] = q[1]
        k = below + work.jump[i]
    end
    return work.corner[length(x.pieces)]
end

# Slopes along Y are those at the start of the piece after the event.
function finish_slopes!(work::SweepWork, row, exponents)
    for l in 1:4
        meetings = work.meetings[l]
        n = length(meetings)
        @inbounds while n > 0 && meetings[n].y_event == row
            slope = work.slope[meetings[n].x_event][l]
            meetings[n] = with_slope_y(meetings[n], in_units(slope, exponents[l] - meetings[n].exponent))
            n -= 1
        end
    end
end

in_units(x, exponent) = exponent == 0 ? x : ldexp(x, exponent)

"""Make room for lane `l`'s lattices of spikes; returns whether tables serve all of them."""
function prepare_spikes!(work::SweepWork, l, x::Events, y::Events, squares)
    places, starts, stop = resize!(work.places[l], length(squares)), resize!(work.starts[l], length(squares)), 0
    by_table = !x.joint && !y.joint
    for a in eachindex(squares)
        n, m = length(x.of_neuron[a]), length(y.of_neuron[a])
        by_table &= max(n, m) <= TABLE_SIDE
        places[a] = starts[a] = stop
        stop += (n + work.more) * (m + work.more)
    end
    if by_table
        length(work.history[l]) < stop && resize!(work.history[l], stop)
    else
        # The coefficients along an event sum to less than this.
        with(other, a) = squares[a] * (length(other.of_neuron[a]) + work.more)
        along(neurons, other) = mapreduce(a -> with(other, a), +, neurons; init = 0.0)
        at_end(other) = work.more == 0 ? 0.0 : maximum(a -> with(other, a), eachindex(squares))
        most(one, other) = mapreduce(neurons -> along(neurons, other), max, one.letters; init = at_end(other))
        # Events of X, and those at its end.
        terms = num_coefficient_terms(max(most(x, y), most(y, x)))
        work.jump_series[l] = zeros(terms, num_events(x) + work.more * length(squares))
    end
    return by_table
end

"""Move X's events through event `row` of lane `l`'s train Y."""
function pass_event!(work::SweepWork, l, x::Events, y::Events, row, squares, tables, by_table, exponent, slopes)
    neurons = y.letters[row]
    isempty(neurons) && return
    columns = event_increments!(work, l, x, neurons, squares, tables, by_table, work.ends[l].of_x)
    meetings = work.meetings[l]
    @inbounds for (n, i) in enumerate(columns)
        work.jump[i] = with_lane(work.jump[i], l, work.jump[i][l] + work.increments[n])
        slopes && push!(meetings, Meeting(i, row, work.increments[n], work.p[1, i+1][l], 0.0, exponent))
    end
end

"""
Double increments of k over an event of Y with `neurons` and each event of X that shares one of them: returns these
events, and leaves the increments in `work.increments`. Those over the events at the end of X are added to `at_end`,
where they are wanted.
"""
function event_increments!(work::SweepWork, l, x::Events, neurons, squares, tables, by_table, at_end)
    if by_table
        columns = x.of_neuron[neurons[1]]
        table_increments!(work, l, columns, neurons[1], tables[neurons[1]], length(x.pieces))
        work.more == 1 && (at_end[neurons[1]] += work.increments[length(columns)+1])
    else
        columns = gather_coefficients!(work, x, neurons, squares)
        series_increments!(work, l, x, columns, neurons, squares, at_end)
    end
    return columns
end

"""Increments over an event that comes last in lane `l`'s train Y, of each neuron in turn."""
function end_y!(work::SweepWork, l, x::Events, squares, tables, by_table)
    ends, series = work.ends[l], work.jump_series[l]
    for a in eachindex(squares)
        by_table || (work.jump_series[l] = copy(series))
        columns = event_increments!(work, l, x, [a], squares, tables, by_table, ends.of_both)
        @inbounds for n in eachindex(columns)
            ends.of_y[a] += work.increments[n]
        end
    end
end

"""Increments over the events `columns` of X; where wanted, also over one at the end of X, after its last piece."""
function table_increments!(work::SweepWork, l, columns, a, table, last_piece)
    history, increments, n = work.history[l], work.increments, length(columns) + work.more
    n == 0 && return
    start, stop = work.starts[l][a], work.places[l][a]
    work.places[l][a] = stop + n
    @inbounds begin
        for i in 1:n
            piece = i > length(columns) ? last_piece : columns[i]
            history[stop+i] = work.corner[piece][l]
            increments[i] = 0.0
        end
        for from in start:n:stop, i in 1:n
            V, column = history[from+i], (stop - from) ÷ n + 1
            @simd ivdep for d in 0:n-i
                increments[i+d] += V * table[d+1, column]
            end
        end
    end
end

"""Events of X that share a neuron with an event of Y, in order; their coefficients are left in `work.weight`."""
function gather_coefficients!(work::SweepWork, x::Events, neurons, squares)
    empty!(work.touched)
    for a in neurons, i in x.of_neuron[a]
        work.weight[i] == 0.0 && push!(work.touched, i)
        work.weight[i] += squares[a]
    end
    return sort!(work.touched)
end

function series_increments!(work::SweepWork, l, x::Events, columns, neurons, squares, at_end)
    r = work.jump_series[l]
    q = zeros(size(r, 1))
    for (n, i) in enumerate(columns)
        c = work.weight[i]
        work.weight[i] = 0.0
        J = num_coefficient_terms(c)
        work.increments[n] = cell!(r, i, size(r, 1), q, work.corner[i][l], c, 1.0, 1.0, c, c, J, work.scalar_cell)
    end
    work.more == 0 && return
    corner = work.corner[length(x.pieces)][l]
    for (n, a) in enumerate(neurons)
        a in view(neurons, 1:n-1) && continue
        c = squares[a] * count(isequal(a), neurons)
        J = num_coefficient_terms(c)
        at_end[a] += cell!(r, num_events(x) + a, size(r, 1), copy(q), corner, c, 1.0, 1.0, c, c, J, work.scalar_cell)
    end
end

rescaled(x::Float64, factor::Float64) = ifelse(abs(x * factor) < TINY, 0.0, x * factor)
rescaled(x::Lanes, factor::Lanes) = lanes(l -> rescaled(x[l], factor[l]))

"""Take the lanes in other units."""
function rescale!(work::SweepWork, factor::Lanes)
    for array in (work.p, work.increment, work.jump), n in eachindex(array)
        array[n] = rescaled(array[n], factor)
    end
    all_ends(ends) = ends.of_x, ends.of_y, ends.of_both
    for l in 1:4, array in (work.history[l], work.jump_series[l], all_ends(work.ends[l])...)
        array .= rescaled.(array, factor[l])
    end
end

# --- piecewise-linear paths ------------------------------------------------------------------------------------------------------

"""Inner products of the pieces of one path with those of four others: `c[i, j]`, before any division of pieces."""
struct PathCells
    c::Matrix{Lanes}
    c_bar::Matrix{Lanes}
    halvings::Int                   # every piece is divided into 2^halvings, so that no |c| is large
end

# Beyond this, alternating terms of a series cancel noticeably.
const LARGEST_COEFFICIENT = 4.0

magnitude(c::Lanes) = max(abs(c[1]), abs(c[2]), abs(c[3]), abs(c[4]))

function PathCells(c::Matrix{Lanes})
    isempty(c) && return PathCells(c, copy(c), 0)
    size_of = magnitude.(c)
    longest = max(maximum(sum(size_of, dims = 1)), maximum(sum(size_of, dims = 2)))
    halvings = 0
    while maximum(size_of) / 4.0^halvings > LARGEST_COEFFICIENT || longest / 2.0^halvings > REACH[end] / 2
        halvings += 1
        halvings > 20 && throw(ErrorException("the paths are too long for a signature kernel: give smaller scales"))
    end
    return PathCells(c, fill(zero(Lanes), size(c)), halvings)
end

coefficient(cells::PathCells, i, j) = cells.c[i>>cells.halvings+1, j>>cells.halvings+1] * 0.25^cells.halvings
num_pieces(cells::PathCells) = size(cells.c) .<< cells.halvings

"""Terms that the series need on each divided piece of both paths."""
function path_terms(cells::PathCells)
    size_of = magnitude.(cells.c)
    each(sums) = [num_terms(sums[i>>cells.halvings+1] / 2.0^cells.halvings) for i in 0:(length(sums)<<cells.halvings)-1]
    return each(vec(sum(size_of, dims = 2))), each(vec(sum(size_of, dims = 1)))
end

"""State along X at one vertex of Y: series of k along each piece, and its increment."""
struct Front
    p::Matrix{Lanes}
    increment::Vector{Lanes}
end

Front(n::Integer, P::Integer) = Front(fill(zero(Lanes), P, n), fill(zero(Lanes), n))
Base.copy(front::Front) = Front(copy(front.p), copy(front.increment))

"""Move the front through piece `j` of Y; where given, `qs` and `ks` keep each cell's edge s = 0."""
function pass_row!(front::Front, cells::PathCells, j, P, Q, work::CellWork{Lanes}, q, qs = nothing, ks = nothing)
    fill!(q, zero(Lanes))
    k, one = Lanes(1.0), Lanes(1.0)
    for i in eachindex(front.increment)
        if qs !== nothing
            copyto!(view(qs, :, i), 1, q, 1, size(qs, 1))
            ks[i] = k
        end
        below = k + front.increment[i]
        c = coefficient(cells, i - 1, j - 1)
        if magnitude(c) > 0.0       # else k is the sum of its edges, and nothing changes along them
            J = num_coefficient_terms(magnitude(c))
            change = best_cell!(front.p, i, max(P[i], Q), q, k, c, one, one, c, c, J, work)
            front.increment[i] = front.increment[i] + change
        end
        k = below
    end
end

"""Kernel of one path with four; with `gradient`, also its derivative in every coefficient, added to `cells.c_bar`."""
function path_kernel!(cells::PathCells, weights, work::CellWork{Lanes}, gradient::Bool)
    isempty(cells.c) && return Lanes(1.0)
    n, rows = num_pieces(cells)
    P, Q = path_terms(cells)
    front, q = Front(n, padded_terms(max(maximum(P), maximum(Q)) + 1)), fill(zero(Lanes), MAX_TERMS + 1)
    fronts = Front[]
    for j in 1:rows
        gradient && push!(fronts, copy(front))
        pass_row!(front, cells, j, P, Q[j], work, q)
    end
    value = Lanes(1.0)
    for change in front.increment
        value = value + change
    end
    gradient && path_adjoint!(cells, weights(value), fronts, P, Q, work)
    return value
end

function path_adjoint!(cells::PathCells, value_bar::Lanes, fronts, P, Q, work::CellWork{Lanes})
    n = num_pieces(cells)[1]
    bar = Front(n, size(fronts[1].p, 1))
    fill!(bar.increment, value_bar)
    qs, ks = fill(zero(Lanes), size(bar.p)), fill(zero(Lanes), n)
    q, q_bar, u = (fill(zero(Lanes), MAX_TERMS + 1) for _ in 1:3)
    for j in length(fronts):-1:1
        before = fronts[j]
        pass_row!(copy(before), cells, j, P, Q[j], work, q, qs, ks)
        fill!(q_bar, zero(Lanes))
        k_bar = zero(Lanes)
        for i in n:-1:1
            c = coefficient(cells, i - 1, j - 1)
            J = num_coefficient_terms(magnitude(c))
            N = max(P[i], Q[j], J)
            k_more, c_bar = cell_adjoint!(bar.p, q_bar, bar.increment[i], before.p, qs, i, N, ks[i], c, J, u)
            bar.increment[i] = bar.increment[i] + k_bar
            k_bar = k_bar + k_more
            place = ((i - 1)>>cells.halvings + 1, (j - 1)>>cells.halvings + 1)
            cells.c_bar[place...] = cells.c_bar[place...] + c_bar * 0.25^cells.halvings
        end
    end
end

"""
Adjoint of `cell!` with g = h = 1 and gains c: cotangents of the far edges, `p_bar[:, i]`, `q_bar` and `total_bar`, become those of the near edges;
returns those of the corner and of the coefficient.
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

"""How points become coefficients: `sigma` 0 is the inner product of increments, else that of increments lifted by exp(−|x−y|²/2σ²)."""
struct StaticKernel
    sigma::Float64
end

function coefficients(static::StaticKernel, x::Matrix{Float64}, ys::NTuple{4,Matrix{Float64}})
    n, m = size(x, 2), size(ys[1], 2)
    if static.sigma == 0
        dx = diff(x, dims = 2)
        products = map(y -> dx' * diff(y, dims = 2), ys)
        return [lanes(l -> products[l][i, j]) for i in 1:n-1, j in 1:m-1]
    end
    G = [lanes(l -> static_value(static, x, i, ys[l], j)) for i in 1:n, j in 1:m]
    return [(G[i+1, j+1] - G[i+1, j]) - (G[i, j+1] - G[i, j]) for i in 1:n-1, j in 1:m-1]
end

static_value(static::StaticKernel, x, i, y, j) = exp(-sum(a -> abs2(x[a, i] - y[a, j]), axes(x, 1)) / (2 * static.sigma^2))

"""Adds the gradient in the points of lane `l` to `x_bar` and, where given, `y_bar`."""
function pull_points!(x_bar, y_bar, static::StaticKernel, c_bar::Matrix{Lanes}, l, x, y)
    n, m = size(x, 2), size(y, 2)
    if static.sigma == 0
        bar = [c_bar[i, j][l] for i in 1:n-1, j in 1:m-1]
        add_increments!(x_bar, diff(y, dims = 2) * bar')
        y_bar === nothing || add_increments!(y_bar, diff(x, dims = 2) * bar)
        return
    end
    at(i, j) = 1 <= i < n && 1 <= j < m ? c_bar[i, j][l] : 0.0
    for j in 1:m, i in 1:n
        G_bar = at(i - 1, j - 1) - at(i - 1, j) - at(i, j - 1) + at(i, j)
        slope = -G_bar * static_value(static, x, i, y, j) / static.sigma^2
        for a in axes(x, 1)
            pull = slope * (x[a, i] - y[a, j])
            x_bar[a, i] += pull
            y_bar === nothing || (y_bar[a, j] -= pull)
        end
    end
end

function add_increments!(points_bar, increments_bar)
    points_bar[:, 2:end] .+= increments_bar
    points_bar[:, 1:end-1] .-= increments_bar
end

# --- batches ---------------------------------------------------------------------------------------------------------------------

"""
What the host asks for: kernels of X and Y and, where `weights` are given, the gradient of Σ weights · k in X and, where `y_bar` is
given, in Y. C-ordered arrays.
"""
struct KernelJob
    num_x::Int64
    num_y::Int64
    layout::Int64                   # see below
    threads::Int64
    logarithmic::Int64              # 1: the gradient of Σ weights · log k instead
    values::Ptr{Float64}            # k = values · 2^exponents
    exponents::Ptr{Int64}
    weights::Ptr{Float64}           # or null
    x_bar::Ptr{Float64}
    y_bar::Ptr{Float64}             # or null
    x_size::Int64                   # numbers per sample in the gradients
    y_size::Int64
end

push!(BOUNDARY_STRUCTS, KernelJob)

const PAIRS, GRAM, SYMMETRIC = 0, 1, 2      # k(X_s, Y_s); k(X_s, Y_r); k(X_s, X_r), each computed once

place(job::KernelJob, a, b) = job.layout == PAIRS ? a : (a - 1) * job.num_y + b
function weight(job::KernelJob, a, b)
    w = unsafe_load(job.weights, place(job, a, b))
    return job.layout == SYMMETRIC && a != b ? w + unsafe_load(job.weights, place(job, b, a)) : w
end

# A fixed number of groups of rows, so that sums over rows do not depend on threads.
const NUM_GROUPS = 16

"""
    run_job(pack!, make_work, job, x_order, y_order)

Calls `pack!(work, a, bs, count, y_bar)` for every sample a of X and samples bs of Y, four at a time of which `count` matter; gradients in
Y go to `y_bar`, a row per sample, or to nothing.
"""
function run_job(pack!, make_work, job::KernelJob, x_order, y_order)
    groups = min(NUM_GROUPS, Int(job.num_x))
    gradient = job.weights != C_NULL
    both = gradient && (job.layout == SYMMETRIC || job.y_bar != C_NULL)
    partial = [both ? zeros(job.y_size, job.num_y) : nothing for _ in 1:groups]
    works = [make_work() for _ in 1:max(1, min(job.threads, groups, available_threads()))]
    function visit(worker, group, _)
        for row in group:groups:job.num_x
            a = x_order[row]
            others = job.layout == PAIRS ? [a] : job.layout == SYMMETRIC ? view(y_order, row:length(y_order)) : y_order
            for first in 1:4:length(others)
                check_cancelled()
                count = min(4, length(others) - first + 1)
                pack!(works[worker], a, ntuple(l -> Int(others[min(first + l - 1, length(others))]), Val(4)), count, partial[group])
            end
        end
    end
    length(works) == 1 ? foreach(group -> visit(1, group, nothing), 1:groups) : foreach_chunk(visit, groups, length(works))
    both || return
    target = host_array(job.layout == SYMMETRIC ? job.x_bar : job.y_bar, job.y_size, job.num_y)
    foreach(part -> target .+= part, partial)
end

function store_values!(job::KernelJob, a, bs, count, values, exponents)
    for l in 1:count
        unsafe_store!(job.values, values[l], place(job, a, bs[l]))
        unsafe_store!(job.exponents, exponents[l], place(job, a, bs[l]))
        job.layout == SYMMETRIC || continue
        unsafe_store!(job.values, values[l], place(job, bs[l], a))
        unsafe_store!(job.exponents, exponents[l], place(job, bs[l], a))
    end
end

"""
What k(X_a, Y_b) gains where X_a has one more spike at its end, of each neuron, into `ends`, (S, R, N), in units of the
pair's exponent. Where both are the same sample of SYMMETRIC, it has the spike on both sides.
"""
function store_ends!(ends::Ptr{Float64}, job::KernelJob, a, bs, count, work::SweepWork)
    for l in 1:count
        one, n = work.ends[l], length(work.ends[l].of_x)
        into(x, y) = host_array(row(ends, n, place(job, x, y)), n)
        if job.layout == SYMMETRIC && a == bs[l]
            into(a, a) .= one.of_x .+ one.of_y .+ one.of_both
        else
            copyto!(into(a, bs[l]), one.of_x)
            job.layout == SYMMETRIC && copyto!(into(bs[l], a), one.of_y)
        end
    end
end

@entry_point function ssnn_train_kernels(
    x_pointer::Ptr{SpikeTrains}, y_pointer::Ptr{SpikeTrains}, job_pointer::Ptr{KernelJob}, ends::Ptr{Float64},
)
    train_kernels(unsafe_load(x_pointer), unsafe_load(y_pointer), unsafe_load(job_pointer), ends)
end

function train_kernels(X::SpikeTrains, Y::SpikeTrains, job::KernelJob, ends::Ptr{Float64} = Ptr{Float64}(C_NULL))
    duration(trains) = scale(trains, 1) * (trains.t1 - trains.t0)
    batch(trains, other) = [Events(trains, s, duration(other)) for s in 1:trains.num_samples]
    xs, ys = batch(X, Y), batch(Y, X)
    squares = squared_scales(X)
    at_end = ends != C_NULL
    tables = response_tables(squares, xs, ys, Int(at_end))
    gradient = job.weights != C_NULL
    xs_back, ys_back = gradient ? (reverse.(xs), reverse.(ys)) : (xs, ys)
    # Trains of similar length share a sweep.
    by_length(batch) = sortperm(batch; by = x -> length(x.pieces), alg = MergeSort)
    run_job(() -> (SweepWork(), SweepWork()), job, by_length(xs), by_length(ys)) do (ahead, back), a, bs, count, y_bar
        values, exponents = sweep!(ahead, xs[a], map(b -> ys[b], bs), count, squares, tables, gradient, at_end)
        store_values!(job, a, bs, count, values, exponents)
        at_end && store_ends!(ends, job, a, bs, count, ahead)
        gradient || return
        sweep!(back, xs_back[a], map(b -> ys_back[b], bs), count, squares, tables, true)
        x_bar = host_array(row(job.x_bar, job.x_size, a), job.x_size)
        for l in 1:count
            w = weight(job, a, bs[l])
            unit = job.logarithmic == 1 ? exponents[l] : 0
            job.logarithmic == 1 && (w /= values[l])
            b_bar = y_bar === nothing ? nothing : view(y_bar, :, bs[l])
            pull_times!(x_bar, b_bar, xs[a], ys[bs[l]], ahead.meetings[l], back.meetings[l], w * scale(X, 1), unit)
        end
    end
end

# A spike's time moves the line along which k jumps. With J the jump of k there and J̃ that of the kernel k̃ of what follows,
# ∂k/∂τ_i = ∫ (k J̃ − J k̃) dw. As J and J̃ change only at events of Y that share a neuron, by D_ij and D̃_ij, and ∂²k/∂u∂w = k
# between events, the integral is a sum: Σ_j D̃_ij ∂k/∂u − D_ij ∂k̃/∂ũ, with ∂/∂ũ backwards in time.
function pull_times!(x_bar, y_bar, x::Events, y::Events, ahead::Vector{Meeting}, back::Vector{Meeting}, factor, unit)
    for (n, one) in enumerate(ahead)
        other = back[length(ahead)+1-n]
        exponent = one.exponent + other.exponent - unit
        half = exponent ÷ 2             # each factor may be as large as HUGE, and all together need not be
        D, D_back, rest = in_units(one.D, half), in_units(other.D, half), exponent - half
        slope = D_back * in_units(one.slope_x, rest) - D * in_units(other.slope_x, rest)
        share!(x_bar, x.spikes[one.x_event], factor * slope)
        y_bar === nothing && continue
        slope = D_back * in_units(one.slope_y, rest) - D * in_units(other.slope_y, rest)
        share!(y_bar, y.spikes[one.y_event], factor * slope)
    end
end

function share!(times_bar, columns, amount)
    for column in columns
        times_bar[column] += amount / length(columns)
    end
end

@entry_point function ssnn_path_kernels(
    x_points::Ptr{Float64}, y_points::Ptr{Float64}, x_length::Int64, y_length::Int64, channels::Int64, sigma::Float64,
    job_pointer::Ptr{KernelJob},
)
    job = unsafe_load(job_pointer)
    points(pointer, s, length) = host_array(row(pointer, channels * length, s), channels, length)
    path_kernels(
        [points(x_points, s, x_length) for s in 1:job.num_x], [points(y_points, s, y_length) for s in 1:job.num_y], StaticKernel(sigma), job,
    )
end

function path_kernels(xs, ys, static::StaticKernel, job::KernelJob)
    gradient = job.weights != C_NULL
    run_job(CellWork{Lanes}, job, 1:job.num_x, 1:job.num_y) do work, a, bs, count, y_bar
        x, four = xs[a], map(b -> ys[b], bs)
        cells = PathCells(coefficients(static, x, four))
        weights(value) = lanes(l -> l > count ? 0.0 : weight(job, a, bs[l]) / (job.logarithmic == 1 ? value[l] : 1.0))
        value = path_kernel!(cells, weights, work, gradient)
        store_values!(job, a, bs, count, value, (0, 0, 0, 0))
        gradient || return
        x_bar = host_array(row(job.x_bar, job.x_size, a), size(x)...)
        for l in 1:count
            b_bar = y_bar === nothing ? nothing : reshape(view(y_bar, :, bs[l]), size(four[l]))
            pull_points!(x_bar, b_bar, static, cells.c_bar, l, x, four[l])
        end
    end
end
