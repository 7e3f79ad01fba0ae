# Signature kernels of spike trains on a device: a lane has a pair of trains, and sweeps one along the other as the host
# does with four at once. Spikes meet spikes by the series of their cells.

# --- trains -----------------------------------------------------------------------------------------------------------

"""`Events` of a batch in arrays, of which a lane sees one."""
struct EventArrays{F<:Block{Float64,1},N<:Block{Int,1}} <: MadeOfArrays
    num_pieces::N
    pieces::F
    terms::N
    starts::N                       # how many spikes are before those of each event; one more at the end
    letters::N
    columns::N
    counts::N                       # spikes of each neuron
end

function EventArrays(batch::Vector{Events})
    most_pieces, most_spikes = maximum(num_pieces, batch), maximum(num_spikes, batch)
    n, num_neurons = length(batch), length(batch[1].of_neuron)
    pieces, terms, starts = zeros(most_pieces, n), zeros(Int, most_pieces, n), zeros(Int, most_pieces, n)
    letters, columns, counts = zeros(Int, most_spikes, n), zeros(Int, most_spikes, n), zeros(Int, num_neurons, n)
    for (s, x) in enumerate(batch)
        kept = 1:num_pieces(x)
        pieces[kept, s], terms[kept, s] = x.pieces, x.terms
        starts[kept, s] = [0; cumsum(length.(x.letters))]
        flat(parts) = reduce(vcat, parts; init = Int[])
        spikes = 1:num_spikes(x)
        letters[spikes, s], columns[spikes, s] = flat(x.letters), flat(x.spikes)
        counts[:, s] = length.(x.of_neuron)
    end
    of_each(array) = Block(vec(array), (size(array, 1),); by_direction = 0)
    return EventArrays(
        Block(num_pieces.(batch), (1,); by_direction = 0), of_each(pieces), of_each(terms), of_each(starts),
        of_each(letters), of_each(columns), of_each(counts),
    )
end

"""One train, forwards or backwards."""
struct EventTrain{E<:EventArrays}
    events::E
    backwards::Bool
end

num_pieces(x::EventTrain) = x.events.num_pieces[1]
num_events(x::EventTrain) = num_pieces(x) - 1
@inline from_ahead(x::EventTrain, i, count) = x.backwards ? count + 1 - i : i
@inline piece(x::EventTrain, i) = x.events.pieces[from_ahead(x, i, num_pieces(x))]
@inline terms_along(x::EventTrain, i) = x.events.terms[from_ahead(x, i, num_pieces(x))]

"""Where the spikes of event `i` are."""
@inline function spikes_at(x::EventTrain, i)
    event = from_ahead(x, i, num_events(x))
    return x.events.starts[event]+1:x.events.starts[event+1]
end

@inline letter(x::EventTrain, i, n) = x.events.letters[n]

"""How many spikes of neuron `a` event `i` has."""
@inline function spikes_of(x::EventTrain, i, a)
    total = 0
    for n in spikes_at(x, i)
        total += x.events.letters[n] == a
    end
    return total
end

"""The coefficient of two events."""
@inline function coefficient(x::EventTrain, i, y::EventTrain, j, squares)
    c = 0.0
    for n in spikes_at(y, j)
        a = y.events.letters[n]
        c += squares[a] * spikes_of(x, i, a)
    end
    return c
end

function share!(times_bar, x::EventTrain, event, amount)
    spikes = spikes_at(x, event)
    for n in spikes
        add_at!(times_bar, x.events.columns[n], amount / length(spikes))
    end
end

# --- one pair ---------------------------------------------------------------------------------------------------------

"""`CellWork` in arrays, with its tables."""
struct CellArrays{F<:Block{Float64,1},T<:Block{Float64,1}} <: MadeOfArrays
    e::F
    A::F
    B::F
    inverse_factorials::T
    reach::T
end

@inline inverse_factorial(work::CellArrays, n) = work.inverse_factorials[n+1]
@inline num_coefficient_terms(work::CellArrays, c) = num_terms(work.reach, c) + 1

"""`SweepWork` of many pairs, and what they leave."""
struct PairArrays{
    F<:Block{Float64,1},G<:Block{Float64,2},C<:CellArrays,N<:Block{Int,1},M<:Block{Meeting,1},
} <: MadeOfArrays
    p::G
    q::F
    increment::F
    jump::F
    corner::F
    slope::F
    jump_series::G                  # of each event of X, and of each neuron at its end
    jump_edge::F
    kept::F                         # of one column and of the edge, while these try something out
    cell::C
    value::F
    exponent::N
    longest::F                      # what the coefficients along an event sum to at most
    ahead::M
    back::M
    x_bar::F
    y_bar::F
    of_x::F                         # `Ends`; empty where they are not wanted
    of_y::F
    of_both::F
end

"""
Sweep train `x` along train `y`, with `terms` in the series of events; returns the kernel, the exponent of its unit, and
how many meetings it has left in `meetings`, where these are wanted.
"""
function sweep!(work, x, y, squares, terms, meetings, slopes::Bool, ends::Bool)
    reset_pair!(work, x, terms, ends)
    start, value, exponent, count, rows = 1.0, 1.0, 0, 0, num_pieces(y)
    for j in 1:rows
        value = pass_time!(work, x, piece(y, j), terms_along(y, j), start)
        if slopes
            slope = work.slope
            finish_slopes!(i -> slope[i], meetings, count, j - 1, exponent)
        end
        j < rows && (count = pass_event!(work, x, y, j, squares, terms, meetings, count, exponent, slopes, ends))
        ends && j == rows && end_y!(work, x, squares, terms)
        if value > HUGE
            factor = 2.0^-UNIT
            rescale_pair!(work, x, terms, ends, factor)
            start, value, exponent = rescaled(start, factor), rescaled(value, factor), exponent + UNIT
        end
    end
    return value, exponent, count
end

function reset_pair!(work, x, terms, ends)
    for i in 1:num_pieces(x)
        work.increment[i] = work.jump[i] = work.corner[i] = work.slope[i] = 0.0
        for m in 1:size(work.p, 1)
            work.p[m, i] = 0.0
        end
    end
    for i in 1:num_events(x)+length(work.of_x), m in 1:terms
        work.jump_series[m, i] = 0.0
    end
    if ends
        for a in eachindex(work.of_x)
            work.of_x[a] = work.of_y[a] = work.of_both[a] = 0.0
        end
    end
end

function rescale_pair!(work, x, terms, ends, factor)
    for i in 1:num_pieces(x)
        work.increment[i], work.jump[i] = rescaled(work.increment[i], factor), rescaled(work.jump[i], factor)
        for m in 1:size(work.p, 1)
            work.p[m, i] = rescaled(work.p[m, i], factor)
        end
    end
    for i in 1:num_events(x)+length(work.of_x), m in 1:terms
        work.jump_series[m, i] = rescaled(work.jump_series[m, i], factor)
    end
    if ends
        for a in eachindex(work.of_x)
            work.of_x[a] = rescaled(work.of_x[a], factor)
            work.of_y[a], work.of_both[a] = rescaled(work.of_y[a], factor), rescaled(work.of_both[a], factor)
        end
    end
end

"""One cell of the lattice of events: column `i` of the series."""
@inline function jump_cell!(work, i, terms, corner, c)
    J = num_coefficient_terms(work.cell, c)
    return cell!(work.jump_series, i, terms, work.jump_edge, corner, c, 1.0, 1.0, c, c, J, work.cell)
end

"""Move X's events through event `j` of Y; returns how many meetings there have been."""
function pass_event!(work, x, y, j, squares, terms, meetings, count, exponent, slopes::Bool, ends::Bool)
    isempty(spikes_at(y, j)) && return count
    restart_edge!(work, terms)
    for i in 1:num_events(x)
        c = coefficient(x, i, y, j, squares)
        c == 0.0 && continue
        D = jump_cell!(work, i, terms, work.corner[i], c)
        work.jump[i] += D
        if slopes
            count += 1
            meetings[count] = Meeting(i, j, D, work.p[1, i+1], 0.0, exponent)
        end
    end
    if ends
        for a in eachindex(squares)
            spikes = spikes_of(y, j, a)
            spikes == 0 && continue
            keep_edge!(work, terms)
            column = num_events(x) + a
            work.of_x[a] += jump_cell!(work, column, terms, work.corner[num_pieces(x)], squares[a] * spikes)
            restore_edge!(work, terms)
        end
    end
    return count
end

"""What an event of each neuron in turn that came last in train Y would add: the series stay what they are."""
function end_y!(work, x, squares, terms)
    for a in eachindex(squares)
        restart_edge!(work, terms)
        for i in 1:num_events(x)
            spikes = spikes_of(x, i, a)
            spikes == 0 && continue
            keep_column!(work, i, terms)
            work.of_y[a] += jump_cell!(work, i, terms, work.corner[i], squares[a] * spikes)
            restore_column!(work, i, terms)
        end
        column = num_events(x) + a
        keep_column!(work, column, terms)
        work.of_both[a] += jump_cell!(work, column, terms, work.corner[num_pieces(x)], squares[a])
        restore_column!(work, column, terms)
    end
end

restart_edge!(work, terms) = (for m in 1:terms; work.jump_edge[m] = 0.0; end)
keep_edge!(work, terms) = (for m in 1:terms; work.kept[m] = work.jump_edge[m]; end)
restore_edge!(work, terms) = (for m in 1:terms; work.jump_edge[m] = work.kept[m]; end)
keep_column!(work, i, terms) = (for m in 1:terms; work.kept[m] = work.jump_series[m, i]; end)
restore_column!(work, i, terms) = (for m in 1:terms; work.jump_series[m, i] = work.kept[m]; end)

# --- all pairs --------------------------------------------------------------------------------------------------------

"""What all lanes compute with; `rows` of X are those at hand, and `starts` says how many pairs are before each."""
struct PairWork{E<:EventArrays,P<:PairArrays,F<:Block{Float64,1},N<:Block{Int,1},S<:Block{Float64,2}} <: MadeOfArrays
    xs::E
    ys::E
    pairs::P
    squares::F
    weights::F                      # of each pair; empty where no gradient is wanted
    of_x::N                         # the pair's samples
    of_y::N
    starts::N
    first_row::Int
    num_rows::Int
    num_y::Int
    layout::Int
    logarithmic::Bool
    ends::Bool
    time_scale::Float64
    x_sums::S                       # (column, row)
    y_sums::S                       # (column, sample of Y), of all rows so far
end

# Which samples of Y row `a` has.
first_of_row(layout, a) = layout == GRAM ? 1 : a
last_of_row(layout, a, num_y) = layout == PAIRS ? a : num_y

"""The pair `s`: its kernel, and its share in the gradients."""
function run_pair!(all::PairWork, s, p, ::Lane)
    a, b = all.of_x[s], all.of_y[s]
    xs, ys, work, squares = of_group(all.xs, a, 1), of_group(all.ys, b, 1), of_group(all.pairs, s, 1), all.squares
    x, y, gradient, more = EventTrain(xs, false), EventTrain(ys, false), !isempty(all.weights), Int(all.ends)
    longest = max(
        longest_event(a -> ys.counts[a], x, squares, more), longest_event(a -> xs.counts[a], y, squares, more),
    )
    work.longest[1] = longest
    terms = num_coefficient_terms(work.cell, longest)
    value, exponent, count = sweep!(work, x, y, squares, terms, work.ahead, gradient, all.ends)
    work.value[1], work.exponent[1] = value, exponent
    gradient || return
    sweep!(work, EventTrain(xs, true), EventTrain(ys, true), squares, terms, work.back, true, false)
    w, unit = all.weights[s], all.logarithmic ? exponent : 0
    all.logarithmic && (w /= value)
    for bar in (work.x_bar, work.y_bar), n in eachindex(bar)
        bar[n] = 0.0
    end
    pull_times!(work.x_bar, work.y_bar, x, y, work.ahead, work.back, count, w * all.time_scale, unit)
    return
end

"""Sum the gradients of row `s` of those at hand."""
function run_x_sum!(all::PairWork, s, p, lane::Lane)
    for column in turns(lane, size(all.x_sums, 1))
        total = 0.0
        for pair in all.starts[s]+1:all.starts[s+1]
            total += of_group(all.pairs.x_bar, pair, 1)[column]
        end
        all.x_sums[column, s] = total
    end
    return
end

"""Add those of the rows at hand to the sum of sample `s` of Y."""
function run_y_sum!(all::PairWork, s, p, lane::Lane)
    for column in turns(lane, size(all.y_sums, 1))
        total = all.y_sums[column, s]
        for row in 1:all.num_rows
            a = all.first_row + row - 1
            first_of_row(all.layout, a) <= s <= last_of_row(all.layout, a, all.num_y) || continue
            pair = all.starts[row] + 1 + s - first_of_row(all.layout, a)
            total += of_group(all.pairs.y_bar, pair, 1)[column]
        end
        all.y_sums[column, s] = total
    end
    return
end

# --- a call -----------------------------------------------------------------------------------------------------------

@entry_point function ssnn_device_train_kernels(
    x_pointer::Ptr{SpikeTrains}, y_pointer::Ptr{SpikeTrains}, job_pointer::Ptr{KernelJob}, ends::Ptr{Float64},
    device::Ptr{UInt8},
)
    # Julia looks into it when it is called, and not whenever a first solution is compiled.
    Base.invokelatest(
        train_kernels, device_named(unsafe_string(device)), unsafe_load(x_pointer), unsafe_load(y_pointer),
        unsafe_load(job_pointer), ends,
    )
end

"""How large the arrays of a pair are: those that all pairs of a call share."""
struct PairSizes
    pieces::Int                     # of X
    terms::Int                      # along pieces
    jump_terms::Int                 # and along events
    meetings::Int
    neurons::Int
    x_columns::Int                  # 0 where no gradient is wanted
    y_columns::Int
    ends::Bool
end

function PairSizes(xs, ys, squares, job::KernelJob, ends::Bool)
    gradient = job.weights != C_NULL
    both = gradient && (job.layout == SYMMETRIC || job.y_bar != C_NULL)
    most_x, most_y = (map(a -> maximum(x -> length(x.of_neuron[a]), batch), eachindex(squares)) for batch in (xs, ys))
    longest(batch, most) = maximum(x -> longest_event(a -> most[a], x, squares, Int(ends)), batch)
    most_terms(batch) = maximum(x -> maximum(x.terms), batch)
    return PairSizes(
        maximum(num_pieces, xs), padded_terms(max(most_terms(xs), most_terms(ys)) + 1),
        num_terms(REACH, max(longest(xs, most_y), longest(ys, most_x))) + 1,
        gradient ? sum(most_x .* most_y) : 0, length(squares), gradient ? job.x_size : 0, both ? job.y_size : 0, ends,
    )
end

num_jump_columns(z::PairSizes) = z.pieces - 1 + z.ends * z.neurons
bytes_per_pair(z::PairSizes) =
    8 * (z.pieces * (z.terms + 4) + z.terms + z.jump_terms * (num_jump_columns(z) + 2) + 3 * (MAX_TERMS + 1) + 8) +
    2 * sizeof(Meeting) * z.meetings + 8 * (z.x_columns + z.y_columns + 3 * z.ends * z.neurons)

"""Arrays for so many pairs."""
function PairArrays(device::Device, z::PairSizes, count)
    of_each(value, dims...) = of_pairs(device, new_memory(device, value, prod(dims) * count), dims, count)
    numbers(dims...) = of_each(0.0, dims...)
    pieces() = numbers(z.pieces)
    meetings() = of_each(Meeting(0, 0, 0.0, 0.0, 0.0, 0), z.meetings)
    at_ends() = numbers(z.ends ? z.neurons : 0)
    sums() = numbers(MAX_TERMS + 1)
    tables = brought_to(device, (shared(INVERSE_FACTORIAL), shared(REACH)))
    cell = CellArrays(sums(), sums(), sums(), tables...)
    return PairArrays(
        numbers(z.terms, z.pieces), numbers(z.terms), pieces(), pieces(), pieces(), pieces(),
        numbers(z.jump_terms, num_jump_columns(z)), numbers(z.jump_terms), numbers(z.jump_terms), cell, numbers(1),
        of_each(0, 1), numbers(1), meetings(), meetings(), numbers(z.x_columns), numbers(z.y_columns),
        at_ends(), at_ends(), at_ends(),
    )
end

# Lanes side by side read numbers side by side.
of_pairs(device::Device, memory, dims, count) = is_interleaved(device) ?
    Block(memory, dims, 1, 0, count, 0) : Block(memory, dims; by_direction = 0)

sums_of(device::Device, columns, samples) =
    Block(new_memory(device, 0.0, columns * samples), (columns, samples); by_direction = 0)

"""Kernels of two batches, on a device, and what else the job asks for."""
function train_kernels(device::Device, X::SpikeTrains, Y::SpikeTrains, job::KernelJob, ends::Ptr{Float64})
    duration(trains) = scale(trains, 1) * (trains.t1 - trains.t0)
    batch(trains, other) = [Events(trains, s, duration(other)) for s in 1:trains.num_samples]
    xs, ys, squares = batch(X, Y), batch(Y, X), squared_scales(X)
    sizes, num_y = PairSizes(xs, ys, squares, job, ends != C_NULL), Int(job.num_y)
    events = brought_to(device, (EventArrays(xs), EventArrays(ys), shared(squares)))
    y_sums = sums_of(device, sizes.y_columns, num_y)
    fit = free_memory(device) ÷ bytes_per_pair(sizes)
    of_row(a) = first_of_row(job.layout, a):last_of_row(job.layout, a, num_y)
    a = job.first_row + 1
    while a <= job.stop_row
        check_cancelled()
        last_row, count = a, length(of_row(a))
        while last_row < job.stop_row && count + length(of_row(last_row + 1)) <= fit
            last_row += 1
            count += length(of_row(last_row))
        end
        kernels_of_rows(device, events, sizes, job, ends, a:last_row, of_row, y_sums, scale(X, 1))
        a = last_row + 1
    end
    if sizes.y_columns > 0
        total = from_device(device, y_sums.memory)
        host_array(job.layout == SYMMETRIC ? job.x_bar : job.y_bar, length(total)) .+= total
    end
    foreach(part -> let_go_of_all!(device, part), (events, y_sums))
end

"""Those of some rows, into the host's arrays; gradients in Y are added to `y_sums`."""
function kernels_of_rows(
    device::Device, (xs, ys, squares), sizes, job::KernelJob, ends, rows, of_row, y_sums, time_scale,
)
    pairs = [(a, b) for a in rows for b in of_row(a)]
    count, gradient = length(pairs), job.weights != C_NULL
    starts = [0; cumsum([length(of_row(a)) for a in rows])]
    weights = gradient ? [weight(job, a, b) for (a, b) in pairs] : Float64[]
    arrays = PairArrays(device, sizes, count)
    x_sums = sums_of(device, sizes.x_columns, length(rows))
    listed = brought_to(device, map(shared, (weights, first.(pairs), last.(pairs), starts)))
    work = PairWork(
        xs, ys, arrays, squares, listed..., first(rows), length(rows), Int(job.num_y), Int(job.layout),
        job.logarithmic == 1, ends != C_NULL, time_scale, x_sums, y_sums,
    )
    launch!(run_pair!, device, work, count, 1, 1)
    host(block) = from_device(device, block.memory)
    longest = maximum(host(arrays.longest))
    longest > REACH[end] && throw_too_long(longest)
    values, exponents = host(arrays.value), host(arrays.exponent)
    for (s, (a, b)) in enumerate(pairs)
        store_values!(job, a, (b,), 1, (values[s],), (exponents[s],))
    end
    if ends != C_NULL
        gains = map((arrays.of_x, arrays.of_y, arrays.of_both)) do block
            with_arrays(memory -> from_device(device, memory), block)
        end
        foreach(((s, (a, b)),) -> store_ends!(ends, job, a, b, of_group(gains, s, 1)...), enumerate(pairs))
    end
    if gradient
        launch!(run_x_sum!, device, work, length(rows), 1, lanes_per_group(device, sizes.x_columns))
        host_array(row(job.x_bar, job.x_size, first(rows)), job.x_size * length(rows)) .+= host(x_sums)
        if sizes.y_columns > 0
            launch!(run_y_sum!, device, work, work.num_y, 1, lanes_per_group(device, sizes.y_columns))
        end
    end
    foreach(part -> let_go_of_all!(device, part), (arrays, listed, x_sums))
end
