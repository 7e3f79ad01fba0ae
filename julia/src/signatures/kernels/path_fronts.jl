# One path against four: the state along X moves through the pieces of Y, and its cotangent back.

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
    k, unit = Lanes(1.0), Lanes(1.0)
    for i in eachindex(front.increment)
        if qs !== nothing
            copyto!(view(qs, :, i), 1, q, 1, size(qs, 1))
            ks[i] = k
        end
        below = k + front.increment[i]
        c = coefficient(cells, i - 1, j - 1)
        if magnitude(c) > 0.0       # else k is the sum of its edges, and nothing changes along them
            J = num_coefficient_terms(magnitude(c))
            change = best_cell!(front.p, i, max(P[i], Q), q, k, c, unit, unit, c, c, J, work)
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

"""Carry the cotangent of the kernel back through the fronts, to `cells.c_bar`."""
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
