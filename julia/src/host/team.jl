# One sample on several threads: each computes some of the neurons, and all go through the same events, one after the
# other. Which thread computes a neuron changes none of its numbers.

"""
Who computes a sample. Methods: `neurons(team)`, those of this thread; `leads(team)`, whether it is the thread that
writes what all of them know; `is_mine(team, k)`; `mine(team, synapses, range)`, those of a row's synapses, in the
order of their targets, that reach its neurons; `first_of_all(team, time, k, event)`: of the first spike that each
thread expects, Inf where it expects none, the one that comes before the others; and `meet!(team)`, which returns when
all threads have come there.
"""
abstract type Team end

"""One thread that computes all neurons."""
struct Alone <: Team
    neurons::UnitRange{Int}
end

neurons(alone::Alone) = alone.neurons
leads(::Alone) = true
@inline is_mine(::Alone, k) = true
@inline mine(::Alone, synapses::Synapses, range) = range
@inline first_of_all(::Alone, time, k, event) = time, k, event
meet!(::Alone) = nothing

# Numbers that different threads write stand so far apart that none waits for another's part of the memory.
const APART = 16

"""Where the threads of a team meet, and tell each other which spike they expect first."""
struct Meeting
    size::Int
    arrived::Threads.Atomic{Int}
    round::Threads.Atomic{Int}
    failed::Threads.Atomic{Bool}
    failure::Ref{Any}               # what the first of them failed with
    times::Matrix{Float64}          # (member, even or odd round)
    spikes::Matrix{NTuple{2,Int}}   # neuron and event, likewise
end

Meeting(size::Integer) = Meeting(
    size, Threads.Atomic{Int}(0), Threads.Atomic{Int}(0), Threads.Atomic{Bool}(false), Ref{Any}(nothing),
    fill(Inf, APART * size, 2), fill((0, 0), APART * size, 2),
)

"""Thrown in a thread whose team cannot go on, as another of its threads has failed."""
struct TeamFailed <: Exception end

"""One of several threads."""
struct Member <: Team
    index::Int
    neurons::UnitRange{Int}
    meeting::Meeting
end

neurons(member::Member) = member.neurons
leads(member::Member) = member.index == 1
@inline is_mine(member::Member, k) = k in member.neurons

@inline function mine(member::Member, synapses::Synapses, range)
    from = first_target(synapses, range, first(member.neurons))
    return from:first_target(synapses, from:last(range), last(member.neurons) + 1)-1
end

function first_of_all(member::Member, time, k, event)
    meeting = member.meeting
    round = meeting.round[]
    # Those of the round before may still be read.
    column, place = (round & 1) + 1, APART * (member.index - 1) + 1
    @inbounds meeting.times[place, column], meeting.spikes[place, column] = time, (k, event)
    meet!(meeting, round)
    for place in 1:APART:APART*meeting.size
        other = @inbounds meeting.times[place, column]
        other_k, other_event = @inbounds meeting.spikes[place, column]
        (other, other_k) < (time, k) && ((time, k, event) = (other, other_k, other_event))
    end
    return time, k, event
end

# So often a thread looks whether the others have come before it lets others have its processor: those that it waits for
# may be without one.
const LOOKS = 2000

"""Wait until all members have come."""
function meet!(meeting::Meeting, round)
    if Threads.atomic_add!(meeting.arrived, 1) == meeting.size - 1
        meeting.arrived[] = 0
        meeting.round[] = round + 1
        return
    end
    looks = 0
    while meeting.round[] == round
        meeting.failed[] && throw(TeamFailed())
        GC.safepoint()
        looks += 1
        looks % LOOKS == 0 && Sys.isunix() ? ccall(:sched_yield, Cint, ()) : ccall(:jl_cpu_pause, Cvoid, ())
    end
end

meet!(member::Member) = meet!(member.meeting, member.meeting.round[])

# Fewer neurons than these for each thread take no longer than it takes to meet.
const MEMBER_NEURONS = 512

"""
How many threads compute one sample of a problem together: one where samples keep all threads busy, where the network is
small, or where things happen to one neuron at a time and not to a row of synapses.
"""
function team_size(problem::Problem)
    # Each has a thread of its own: a task of an older Julia that waits for another does not let it have its thread.
    threads = min(problem.threads, Threads.nthreads())
    together = problem.num_samples < threads && unsafe_string(problem.driver) == "brownian" &&
        problem.insertions.neurons == C_NULL && problem.jumps.times == C_NULL &&
        problem.recording.clamped == C_NULL && problem.synapses.delays.stride == 0
    return together ? clamp(Int(problem.num_neurons) ÷ MEMBER_NEURONS, 1, Int(threads)) : 1
end

"""
    as_team(work, meeting)

Call `work(index)` for every member, each in a task of its own; where one fails the others stop, and so does this.
"""
function as_team(work, meeting::Meeting)
    meeting.arrived[], meeting.failed[], meeting.failure[] = 0, false, nothing
    foreach_chunk(meeting.size, meeting.size; limit = meeting.size) do _, index, _
        try
            work(index)
        catch err
            meeting.failed[] = true
            err isa TeamFailed || meeting.failure[] !== nothing || (meeting.failure[] = err)
        end
    end
    meeting.failed[] && throw(meeting.failure[])
end
