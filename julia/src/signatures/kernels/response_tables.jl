# Lattices of spikes of one neuron, in closed form: how what k is at one corner spreads over all cells that follow.

# Lattices of up to so many spikes of one neuron on each side go through a table: faster than a series per cell, and
# quadratic in their size.
const TABLE_SIDE = 96

"""
Response of a lattice of cells with one coefficient c: if k takes the values V at the lower corners of the cells, their
double increments are D_ij = Σ_{i' ≤ i, j' ≤ j} table[i−i'+1, j−j'+1] V_i'j'.
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
