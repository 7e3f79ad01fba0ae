# Spikes meeting spikes in a sweep: a pair of spikes (i, j) of one neuron adds the double increment D_ij of k over its
# cell to everything that is later in both. Of two spike trains, only these cells and those of time with time have
# c ≠ 0.

"""Lay out lane `l`'s lattices of spikes; returns whether tables serve all of them."""
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
        # Events of X, and those at its end.
        longest = max(longest_event(x, y, squares, work.more), longest_event(y, x, squares, work.more))
        terms = num_coefficient_terms(longest)
        work.jump_series[l] = zeros(terms, num_events(x) + work.more * length(squares))
    end
    return by_table
end

"""Move X's events through event `y_event` of lane `l`'s train Y."""
function pass_event!(
    work::SweepWork, l, x::Events, y::Events, y_event, squares, tables, by_table, lane_exponent, slopes::Bool,
)
    neurons = y.letters[y_event]
    isempty(neurons) && return
    columns = event_increments!(work, l, x, neurons, squares, tables, by_table, work.ends[l].of_x)
    meetings = work.meetings[l]
    @inbounds for (n, i) in enumerate(columns)
        work.jump[i] = with_lane(work.jump[i], l, work.jump[i][l] + work.increments[n])
        slopes && push!(meetings, Meeting(i, y_event, work.increments[n], work.p[1, i+1][l], 0.0, lane_exponent))
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

"""Increments over the events `columns` of X, and where wanted at its end, by the series of every cell."""
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
