# Kernels of batches of spike trains, and their gradients in the spike times.

@entry_point function ssnn_train_kernels(
    x_pointer::Ptr{SpikeTrains}, y_pointer::Ptr{SpikeTrains}, job_pointer::Ptr{KernelJob}, ends::Ptr{Float64},
)
    train_kernels(unsafe_load(x_pointer), unsafe_load(y_pointer), unsafe_load(job_pointer), ends)
end

"""Kernels of two batches, and where the job asks for it their gradients and what one more spike at the end changes."""
function train_kernels(X::SpikeTrains, Y::SpikeTrains, job::KernelJob, ends::Ptr{Float64} = Ptr{Float64}(C_NULL))
    duration(trains) = scale(trains, 1) * (trains.t1 - trains.t0)
    batch(trains, other) = [Events(trains, s, duration(other)) for s in 1:trains.num_samples]
    xs, ys = batch(X, Y), batch(Y, X)
    squares = squared_scales(X)
    at_end = ends != C_NULL
    tables = response_tables(squares, xs, ys, Int(at_end))
    gradient = job.weights != C_NULL
    xs_back, ys_back = gradient ? (reverse.(xs), reverse.(ys)) : (xs, ys)
    # Trains of similar length share a sweep. The order says which of two is swept along: a host that computes a
    # symmetric matrix in blocks keeps to it.
    by_length(batch) = sortperm(batch; by = num_spikes, alg = MergeSort)
    run_job(() -> (SweepWork(), SweepWork()), job, by_length(xs), by_length(ys)) do (ahead, back), a, bs, used, y_bar
        kernels, exponents = sweep!(ahead, xs[a], map(b -> ys[b], bs), used, squares, tables, gradient, at_end)
        store_values!(job, a, bs, used, kernels, exponents)
        at_end && store_ends!(ends, job, a, bs, used, ahead)
        gradient || return
        sweep!(back, xs_back[a], map(b -> ys_back[b], bs), used, squares, tables, true)
        x_bar = host_array(row(job.x_bar, job.x_size, a), job.x_size)
        for l in 1:used
            w = weight(job, a, bs[l])
            unit = job.logarithmic == 1 ? exponents[l] : 0
            job.logarithmic == 1 && (w /= kernels[l])
            b_bar = y_bar === nothing ? nothing : view(y_bar, :, bs[l])
            pull_times!(
                x_bar, b_bar, xs[a], ys[bs[l]], ahead.meetings[l], back.meetings[l], length(ahead.meetings[l]),
                w * scale(X, 1), unit,
            )
        end
    end
end

"""Of one sample with the first `used` of bs."""
function store_ends!(ends::Ptr{Float64}, job::KernelJob, a, bs, used, work::SweepWork)
    for l in 1:used
        gains = work.ends[l]
        store_ends!(ends, job, a, bs[l], gains.of_x, gains.of_y, gains.of_both)
    end
end

"""
What k(X_a, Y_b) gains where X_a has one more spike at its end, of each neuron, into `ends`, (S, R, N), in units of the
pair's exponent: `Ends`. Where both are the same sample of SYMMETRIC, it has the spike on both sides.
"""
function store_ends!(ends::Ptr{Float64}, job::KernelJob, a, b, of_x, of_y, of_both)
    n = length(of_x)
    into(x, y) = host_array(row(ends, n, place(job, x, y)), n)
    if job.layout == SYMMETRIC && a == b
        into(a, a) .= of_x .+ of_y .+ of_both
    else
        copyto!(into(a, b), of_x)
        job.layout == SYMMETRIC && copyto!(into(b, a), of_y)
    end
end

"""
Adds the gradient in spike times of `factor` times a kernel in units of 2^unit, from the `count` meetings of both
sweeps.

A spike's time moves the line along which k jumps. With J the jump of k there and J̃ that of the kernel k̃ of what
follows, ∂k/∂τ_i = ∫ (k J̃ − J k̃) dw. As J and J̃ change only at events of Y that share a neuron, by D_ij and D̃_ij,
and ∂²k/∂u∂w = k between events, the integral is a sum: Σ_j D̃_ij ∂k/∂u − D_ij ∂k̃/∂ũ, with ∂/∂ũ backwards in time.
"""
function pull_times!(x_bar, y_bar, x, y, ahead, back, count, factor, unit)
    for n in 1:count
        here, other = ahead[n], back[count+1-n]
        whole = here.exponent + other.exponent - unit
        half = whole ÷ 2                # each factor may be as large as HUGE, and all together need not be
        D, D_back, rest = in_units(here.D, half), in_units(other.D, half), whole - half
        slope = D_back * in_units(here.slope_x, rest) - D * in_units(other.slope_x, rest)
        share!(x_bar, x, here.x_event, factor * slope)
        (y_bar === nothing || isempty(y_bar)) && continue
        slope = D_back * in_units(here.slope_y, rest) - D * in_units(other.slope_y, rest)
        share!(y_bar, y, here.y_event, factor * slope)
    end
end

"""Simultaneous spikes share what moves their event."""
function share!(times_bar, x::Events, event, amount)
    columns = x.spikes[event]
    for column in columns
        times_bar[column] += amount / length(columns)
    end
end
