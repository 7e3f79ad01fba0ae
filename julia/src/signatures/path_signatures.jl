# Signatures of piecewise-linear paths given by points, and their gradients in the points.

# Points are C-ordered (S, L, d).
@entry_point function ssnn_path_signatures(
    points::Ptr{Float64}, num_samples::Int64, num_points::Int64, channels::Int64, depth::Int64, threads::Int64,
    out::Ptr{Float64},
)
    d, num_words = Int(channels), signature_length(Int(channels), depth)
    foreach_chunk(num_samples, threads) do worker, chunk, samples
        S, powers = Words(d, Int(depth)), Words(d, Int(depth))
        for sample in samples
            path = host_array(row(points, d * num_points, sample), d, num_points)
            path_signature!(S, path, powers)
            unsafe_copyto!(row(out, num_words, sample), pointer(S.values), num_words)
        end
    end
end

"""Signature of the path through the columns of `path`, in `S`."""
function path_signature!(S::Words, path, powers::Words)
    fill!(S.values, 0.0)
    for k in size(path, 2)-1:-1:1
        prepend_segment!(S, path[:, k+1] - path[:, k], powers)
    end
end

@entry_point function ssnn_path_signatures_backprop(
    points::Ptr{Float64}, num_samples::Int64, num_points::Int64, channels::Int64, depth::Int64, threads::Int64,
    cotangents::Ptr{Float64}, points_bar::Ptr{Float64},
)
    d, num_words = Int(channels), signature_length(Int(channels), depth)
    foreach_chunk(num_samples, threads) do worker, chunk, samples
        S, bar, powers, powers_bar = (Words(d, Int(depth)) for _ in 1:4)
        for sample in samples
            path = host_array(row(points, d * num_points, sample), d, num_points)
            path_bar = host_array(row(points_bar, d * num_points, sample), d, num_points)
            path_signature!(S, path, powers)
            unsafe_copyto!(pointer(bar.values), row(cotangents, num_words, sample), num_words)
            for k in 1:num_points-1
                x_bar = zeros(d)
                prepend_segment_adjoint!(x_bar, bar, S, path[:, k+1] - path[:, k], powers, powers_bar)
                path_bar[:, k+1] .+= x_bar
                path_bar[:, k] .-= x_bar
            end
        end
    end
end
