# Cells of one path with four others: from points to coefficients, and back to gradients in the points.

"""Inner products of the pieces of one path with those of four others: `c[i, j]`, before any division of pieces."""
struct PathCells
    c::Matrix{Lanes}
    c_bar::Matrix{Lanes}
    halvings::Int                   # every piece is divided into 2^halvings, so that no |c| is large
end

# Beyond this, alternating terms of a series cancel noticeably.
const LARGEST_COEFFICIENT = 4.0

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

"""Coefficient of a cell of divided pieces, which are counted from 0."""
coefficient(cells::PathCells, i, j) = cells.c[i>>cells.halvings+1, j>>cells.halvings+1] * 0.25^cells.halvings

"""How many divided pieces both paths have."""
num_pieces(cells::PathCells) = size(cells.c) .<< cells.halvings

"""Terms that the series need on each divided piece of both paths."""
function path_terms(cells::PathCells)
    size_of = magnitude.(cells.c)
    each(sums) = [num_terms(sums[i>>cells.halvings+1] / 2.0^cells.halvings) for i in 0:(length(sums)<<cells.halvings)-1]
    return each(vec(sum(size_of, dims = 2))), each(vec(sum(size_of, dims = 1)))
end

"""
How points become coefficients: `sigma` 0 is the inner product of increments, else that of increments lifted by
exp(−|x−y|²/2σ²).
"""
struct StaticKernel
    sigma::Float64
end

"""Of one path's pieces with those of four others."""
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

"""Gaussian kernel of two points."""
static_value(static::StaticKernel, x, i, y, j) =
    exp(-sum(a -> abs2(x[a, i] - y[a, j]), axes(x, 1)) / (2 * static.sigma^2))

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

"""Of cotangents of increments, those of points."""
function add_increments!(points_bar, increments_bar)
    points_bar[:, 2:end] .+= increments_bar
    points_bar[:, 1:end-1] .-= increments_bar
end
