# One train against four: the state along X moves through the pieces and events of Y.

"""
    sweep!(work, x, ys, used, squares, tables, slopes, ends = false) -> (kernels, exponents)

Kernels of train `x` with four trains, of which the first `used` matter: kernels · 2^exponents. With `slopes`,
`work.meetings` holds what the gradient needs; with `ends`, `work.ends` what one more spike at the end would change, in
the same units as the kernels.
"""
function sweep!(
    work::SweepWork, x::Events, ys::NTuple{4,Events}, used, squares, tables, slopes::Bool, ends::Bool = false,
)
    n = length(x.pieces)
    work.more = Int(ends)
    ends && foreach(part -> reset!(part, length(squares)), work.ends)
    reset!(work, n, padded_terms(max(maximum(x.terms), maximum(map(y -> maximum(y.terms), ys))) + 1))
    by_table = ntuple(l -> prepare_spikes!(work, l, x, ys[l], squares), Val(4))
    start, value, exponents = Lanes(1.0), Lanes(1.0), (0, 0, 0, 0)
    rows = maximum(map(y -> length(y.pieces), ys))
    for j in 1:rows
        value = pass_time!(work, x, lane_pieces(ys, j), lane_terms(ys, j), start)
        slopes && finish_slopes!(work, j - 1, exponents)
        for l in 1:used
            j <= num_events(ys[l]) || continue
            pass_event!(work, l, x, ys[l], j, squares, tables, by_table[l], exponents[l], slopes)
        end
        # Corners are in the units of the last row only until these change.
        ends && j == rows && foreach(l -> end_y!(work, l, x, squares, tables, by_table[l]), 1:used)
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
function pass_time!(work, x, h::T, terms::Int, start::T) where {T}
    longest = longest_lane(h)
    p, q, k, rise = work.p, work.q, start, zero(T)
    fill!(q, zero(T))
    @inbounds for i in 1:num_pieces(x)
        g = piece(x, i)
        wide = T(g)
        below = k + work.increment[i]
        N, J = max(terms_along(x, i), terms), num_coefficient_terms(work.cell, g * longest)
        change = best_cell!(p, i, N, q, k, h * wide, wide, h, h, wide, J, work.cell)
        work.increment[i] = work.increment[i] + change
        rise = rise + change
        work.corner[i] = below + rise
        work.slope[i] = q[1]
        k = below + work.jump[i]
    end
    return work.corner[num_pieces(x)]
end

"""Slopes along Y are those at the start of the piece after the event."""
function finish_slopes!(work::SweepWork, y_event, exponents)
    for l in 1:4
        meetings = work.meetings[l]
        finish_slopes!(i -> work.slope[i][l], meetings, length(meetings), y_event, exponents[l])
    end
end

"""Of the last of so many meetings, with the slopes `slope_at` events of X."""
function finish_slopes!(slope_at::F, meetings, count, y_event, exponent) where {F}
    n = count
    @inbounds while n > 0 && meetings[n].y_event == y_event
        slope = slope_at(meetings[n].x_event)
        meetings[n] = with_slope_y(meetings[n], in_units(slope, exponent - meetings[n].exponent))
        n -= 1
    end
end

# Where k has grown beyond HUGE, a lane is taken in units larger by 2^UNIT. One row of cells adds less than the rest of
# the range of floats. What is then below TINY counts for nothing, but would slow down arithmetic as it fades away.
const HUGE, UNIT, TINY = 2.0^900, 512, 2.0^-700

"""What takes each lane to the units that its value needs next."""
shrink_factor(value::Lanes) = lanes(l -> value[l] > HUGE ? 2.0^-UNIT : 1.0)

"""And by how much that raises its exponent."""
shrink_exponents(factor::Lanes) = ntuple(l -> factor[l] == 1.0 ? 0 : UNIT, Val(4))

"""Lengths of piece `j` of four trains; 0 where a train has ended."""
lane_pieces(ys::NTuple{4,Events}, j) = lanes(l -> j <= length(ys[l].pieces) ? ys[l].pieces[j] : 0.0)

"""Terms that serve all four."""
lane_terms(ys::NTuple{4,Events}, j) = maximum(map(y -> j <= length(y.terms) ? y.terms[j] : 1, ys))

"""x · 2^shift."""
in_units(x, shift) = shift == 0 ? x : ldexp(x, shift)

"""`x` in other units, or 0 where it has faded away."""
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
