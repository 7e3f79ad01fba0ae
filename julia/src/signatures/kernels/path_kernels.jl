# Kernels of batches of piecewise-linear paths, and their gradients in the points.

@entry_point function ssnn_path_kernels(
    x_points::Ptr{Float64}, y_points::Ptr{Float64}, x_length::Int64, y_length::Int64, channels::Int64, sigma::Float64,
    job_pointer::Ptr{KernelJob},
)
    job = unsafe_load(job_pointer)
    points(batch, s, L) = host_array(row(batch, channels * L, s), channels, L)
    xs = [points(x_points, s, x_length) for s in 1:job.num_x]
    ys = [points(y_points, s, y_length) for s in 1:job.num_y]
    path_kernels(xs, ys, StaticKernel(sigma), job)
end

"""Kernels of two batches, and where the job asks for it their gradients."""
function path_kernels(xs, ys, static::StaticKernel, job::KernelJob)
    gradient = job.weights != C_NULL
    run_job(CellWork{Lanes}, job, 1:job.num_x, 1:job.num_y) do work, a, bs, used, y_bar
        x, four = xs[a], map(b -> ys[b], bs)
        cells = PathCells(coefficients(static, x, four))
        weights(value) = lanes(l -> l > used ? 0.0 : weight(job, a, bs[l]) / (job.logarithmic == 1 ? value[l] : 1.0))
        value = path_kernel!(cells, weights, work, gradient)
        store_values!(job, a, bs, used, value, (0, 0, 0, 0))
        gradient || return
        x_bar = host_array(row(job.x_bar, job.x_size, a), size(x)...)
        for l in 1:used
            b_bar = y_bar === nothing ? nothing : reshape(view(y_bar, :, bs[l]), size(four[l]))
            pull_points!(x_bar, b_bar, static, cells.c_bar, l, x, four[l])
        end
    end
end
