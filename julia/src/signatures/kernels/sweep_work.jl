# What one thread needs to sweep one spike train against four, and what a sweep leaves behind.

"""A pair of events that share a neuron, as a sweep meets it."""
struct Meeting
    x_event::Int
    y_event::Int
    D::Float64                  # double increment of k over the cell
    slope_x::Float64            # ∂k/∂u just after the event of X at the time of the event of Y, and the other way round
    slope_y::Float64
    exponent::Int               # all in units of 2^exponent
end

"""The same meeting with another slope along y."""
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
    zeros(Lanes, 0, 0), Lanes[], Lanes[], Lanes[], Lanes[], zeros(Lanes, MAX_TERMS + 1), CellWork{Lanes}(),
    CellWork{Float64}(), [Float64[] for _ in 1:4], [Int[] for _ in 1:4], [Int[] for _ in 1:4],
    [zeros(0, 0) for _ in 1:4], [Meeting[] for _ in 1:4], Float64[], Float64[], Int[], [Ends() for _ in 1:4], 0,
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
