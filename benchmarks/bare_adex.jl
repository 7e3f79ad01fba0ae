# The yardstick of benchmarks/formula_models.py: a network of adaptive exponential neurons with escape noise as straight
# Julia, with everything fixed that the package keeps general. Euler-Maruyama; a neuron fires at the end of the step in
# which its integrated hazard reaches its threshold.

module BareAdEx

using Random

"""Seconds of `steps` steps of size dt, and the number of spikes; synapses in compressed sparse rows, from 1."""
function run(steps, dt, indptr, targets, weights, p, seed)
    n, rng = length(indptr) - 1, MersenneTwister(seed)
    v, a, i, s = zeros(n), zeros(n), zeros(n), [log(rand(rng)) - p.zone for _ in 1:n]
    noise, spikes, normals = p.sigma * sqrt(dt), 0, zeros(n)
    begin_time = time_ns()
    for _ in 1:steps
        randn!(rng, normals)
        @inbounds @simd for k in 1:n
            rise = p.Delta * exp((v[k] - p.v_T) / p.Delta)
            hazard = exp(p.beta * (v[k] - p.v_th))
            dv = (p.E_L - v[k] + rise - a[k] + i[k] + p.current) / p.tau_m
            da = (p.c * (v[k] - p.E_L) - a[k]) / p.tau_a
            v[k] += dt * dv + noise * normals[k]
            a[k] += dt * da
            i[k] -= dt * i[k] / p.tau_s
            s[k] += dt * hazard
        end
        @inbounds for j in 1:n
            while s[j] >= 0
                spikes += 1
                v[j] -= p.v_reset
                a[j] += p.b
                s[j] = log(rand(rng)) - p.zone
                for e in indptr[j]:indptr[j+1]-1
                    i[targets[e]] += weights[e]
                end
            end
        end
    end
    return (time_ns() - begin_time) / 1e9, spikes
end

end
