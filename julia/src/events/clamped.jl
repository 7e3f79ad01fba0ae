# Clamped neurons: they fire when a recording says so, and only then; their hazards are collected along the way. What a
# recorded spike has to say of the parameters is log λ just before it, and the hazard since the one before.

"""The recorded spikes of one sample, those that have come and those that have not."""
mutable struct RecordedSpikes
    recording::Recording
    outputs::AtRecordedSpikes       # where the host wants what belongs to them
    sample::Int
    next::Int
end

RecordedSpikes(recording::Recording) = RecordedSpikes(recording, NOT_WANTED, 1, 1)

function begin_sample!(r::RecordedSpikes, sample)
    r.outputs = NOT_WANTED
    r.sample, r.next = sample, 1
end

recorded_time(r::RecordedSpikes, index) =
    unsafe_load(r.recording.times, index + (r.sample - 1) * r.recording.stride_sample)
recorded_neuron(r::RecordedSpikes, index) =
    unsafe_load(r.recording.neurons, index + (r.sample - 1) * r.recording.stride_sample) + 1

"""When the next one comes; Inf where there is none."""
next_time(r::RecordedSpikes) = r.next > r.recording.num_spikes ? Inf : recorded_time(r, r.next)

"""Where the number of spike `index` of this sample stands in arrays (direction, sample, spike)."""
place(r::RecordedSpikes, index, num_samples = 0, direction = 1) =
    index + Int(r.recording.num_spikes) * (r.sample - 1 + num_samples * (direction - 1))

"""
Let those recorded spikes come that are next, all at one time: each finds its neuron as it is before any of them.
"""
function fire_recorded!(run, observer, step::Step)
    r = run.external.recorded
    τ = next_time(r)
    first, stop = r.next, r.next
    while stop <= r.recording.num_spikes && recorded_time(r, stop) == τ
        stop += 1
    end
    for index in first:stop-1
        k = recorded_neuron(r, index)
        before_recorded!(observer, run, step, index)
        move_to!(run, observer, step, k, τ)
        y = state_at(run.x.y, k)
        store_if_wanted!(r.outputs.log_hazards, log(hazard_rate(run.θ, k, y, τ)), place(r, index))
        store_if_wanted!(r.outputs.hazards, last(y), place(r, index))
        at_recorded!(observer, run, step, index, k, y, τ)
    end
    for index in first:stop-1
        fire!(run, observer, step, recorded_neuron(r, index), 1, τ)
        run.stopped && return
    end
    r.next = stop
end

store_if_wanted!(pointer::Ptr{Float64}, value, place) = pointer == C_NULL || unsafe_store!(pointer, value, place)

"""λ of neuron k in state y."""
@inline hazard_rate(θ, k, y, t) = last(drift(θ, k, y, t))

"""∂ log λ."""
function log_hazard_tangent(θ::DualModel, k, y, dy, t)
    rate = hazard_rate(θ, k, duals(y, dy), t)
    return tangent(rate) / value(rate)
end

"""Cotangent of y from that of log λ there; adds to the gradients θ̄."""
function log_hazard_adjoint!(θ̄::Model, θ::Model, k, y::NTuple{M,Float64}, t, bar) where {M}
    rate_bar = bar / hazard_rate(θ, k, y, t)
    return drift_adjoint!(θ̄, θ, k, y, t, ntuple(n -> n == M ? rate_bar : 0.0, Val(M)), all_terms(θ))
end
