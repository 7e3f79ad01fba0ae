# The least that a step of a stochastic neuron can cost: one normal and one exponential. Nanoseconds for both, with
# Julia's own generator and exp, and with the core's.

module BareDraws

using Random
import Main.SSNN

function base!(y, z, rng, steps)
    for _ in 1:steps
        randn!(rng, z)
        @inbounds @simd ivdep for k in eachindex(y, z)
            y[k] = exp(z[k])
        end
    end
end

function core!(y, window, steps)
    for step in 0:steps-1
        z, offset = SSNN.normals!(window, step)
        @inbounds @simd ivdep for k in eachindex(y)
            y[k] = SSNN.fast_exp(z[offset+k])
        end
    end
end

function measure(neurons::Int, steps::Int)
    y, z, rng = zeros(neurons), zeros(neurons), MersenneTwister(1)
    window = SSNN.reset!(SSNN.NoiseWindow(neurons, 1), (UInt64(1), UInt64(2)))
    base!(y, z, rng, 2)
    core!(y, window, 2)
    per_step(work) = 1e9 * minimum(@elapsed(work()) for _ in 1:3) / (neurons * steps)
    return per_step(() -> base!(y, z, rng, steps)), per_step(() -> core!(y, window, steps))
end

end
