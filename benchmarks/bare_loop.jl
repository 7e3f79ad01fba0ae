# The yardstick of benchmarks/training_step.py: one training step of figure 1 as straight Julia, with everything fixed
# that the package keeps general: one neuron, one parameter, no checks. Same arithmetic: Euler-Maruyama with the spike
# located inside the step, the tangent in c, the depth-3 expected-signature loss of matched pairs with its gradient, and
# RMSProp.

module BareLoop

using Random

const T, DT, SPIKES, DEPTH_SIZE = 5.0, 0.01, 3, 14

function solve!(times, tangents, c, rng, sigma, samples)
    noise = sigma * sqrt(DT)
    for sample in 1:samples
        v = dv = ds = 0.0
        s = log(rand(rng)) - 0.03
        spikes = 0
        for k in 1:SPIKES
            times[k, sample] = T
            tangents[k, sample] = 0.0
        end
        for n in 0:round(Int, T / DT)-1
            rate = exp(5.0 * min(v - 1.0, 10.0))
            slope = 5.0 * rate
            dB = noise * randn(rng)
            s_end = s + DT * rate
            if s_end < 0.0
                v_end = v + DT * 15.0 * (c - v) + dB
                dv_end = dv + DT * 15.0 * (1.0 - dv)
                s, ds = s_end, ds + DT * slope * dv
                v, dv = v_end, dv_end
            else
                a = 0.0
                da = 0.0
                while s + (DT - a) * rate >= 0.0
                    step = -s / rate
                    dstep = -ds / rate + s * slope * dv / rate^2
                    speed = 15.0 * (c - v) + dB / DT
                    dv += step * 15.0 * (1.0 - dv) + dstep * speed
                    v += step * speed - 1.4
                    a += step
                    da += dstep
                    s = log(rand(rng)) - 0.03
                    ds = 0.0
                    spikes += 1
                    times[spikes, sample] = n * DT + a
                    tangents[spikes, sample] = da
                    spikes == SPIKES && break
                    rate = exp(5.0 * min(v - 1.0, 10.0))
                    slope = 5.0 * rate
                end
                spikes == SPIKES && break
                speed = 15.0 * (c - v) + dB / DT
                s += (DT - a) * rate
                ds += (DT - a) * slope * dv - da * rate
                dv_end = dv + (DT - a) * 15.0 * (1.0 - dv) - da * speed
                v += (DT - a) * speed
                dv = dv_end
            end
        end
    end
end

# Depth-3 signature of a path of axis-aligned pieces in the plane, times increasing, unit jumps between them;
# lexicographic words. With the tangent of all terms along the tangents of the times.
function add_signature!(total, dtotal, times, tangents, count, sign)
    S = zeros(14)
    D = zeros(14)
    last, dlast = 0.0, 0.0
    for k in 1:count+1
        x = (k <= count ? times[k] : T) - last
        dx = (k <= count ? tangents[k] : 0.0) - dlast
        last, dlast = last + x, dlast + dx
        multiply!(S, D, 1, x, dx)
        k <= count && multiply!(S, D, 2, 1.0, 0.0)
    end
    for j in 1:14
        total[j] += sign * S[j]
        dtotal[j] += sign * D[j]
    end
end

# Append a straight piece of length x along axis `a` (Chen's identity with exp(x e_a)).
@inline function multiply!(S, D, a, x, dx)
    @inbounds begin
        for i in 1:2, j in 1:2
            w = 6 + 4 * (i - 1) + 2 * (j - 1) + a
            D[w] += D[2+2*(i-1)+j] * x + S[2+2*(i-1)+j] * dx
            S[w] += S[2+2*(i-1)+j] * x
        end
        for i in 1:2
            w = 6 + 4 * (i - 1) + 2 * (a - 1) + a
            D[w] += D[i] * x^2 / 2 + S[i] * x * dx
            S[w] += S[i] * x^2 / 2
            w = 2 + 2 * (i - 1) + a
            D[w] += D[i] * x + S[i] * dx
            S[w] += S[i] * x
        end
        w = 6 + 4 * (a - 1) + 2 * (a - 1) + a
        D[w] += x^2 / 2 * dx
        S[w] += x^3 / 6
        w = 2 + 2 * (a - 1) + a
        D[w] += x * dx
        S[w] += x^2 / 2
        D[a] += dx
        S[a] += x
    end
end

mutable struct State
    c::Float64
    square::Float64
    trace::Float64
end

function training_step!(state, times, tangents, data, zeros_like, rng, samples)
    solve!(times, tangents, state.c, rng, 0.25, samples)
    total, dtotal = zeros(14), zeros(14)
    for p in 1:samples
        mine = count(<(T), view(times, :, p))
        theirs = count(<(T), view(data, :, p))
        matched = min(mine, theirs)
        add_signature!(total, dtotal, view(times, :, p), view(tangents, :, p), matched, 1.0)
        add_signature!(total, zeros(14), view(data, :, p), view(zeros_like, :, p), matched, -1.0)
    end
    gradient = 2 * sum(total .* dtotal) / samples^2 / 14
    state.square = 0.7 * state.square + 0.3 * gradient^2
    state.trace = 0.3 * state.trace - 1e-3 * gradient / sqrt(state.square + 1e-8)
    state.c += state.trace
    return sum(abs2, total) / samples^2 / 14
end

"""Median and smallest time of a training step, in milliseconds."""
function measure(samples::Int, repeats::Int)
    rng = MersenneTwister(1)
    data, tangents, times, none = (zeros(SPIKES, samples) for _ in 1:4)
    solve!(data, tangents, 1.5, rng, 0.25, samples)
    state = State(1.0, 0.0, 0.0)
    seconds = [@elapsed(training_step!(state, times, tangents, data, none, rng, samples)) for _ in 1:repeats]
    sort!(seconds)
    return 1e3 * seconds[cld(end, 2)], 1e3 * seconds[1]
end

end
