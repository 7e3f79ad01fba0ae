# Large networks: each step is some kernels. Where no neuron depends on another, at the beginning and end of a step, all
# neurons of all samples have lanes of a grid. What happens in between, in the order of time, is resolved by a group of
# lanes per sample, which looks at no other neurons than those that expect a spike, and returns where nothing happens.

# --- neurons that expect a spike --------------------------------------------------------------------------------------

# What follows the last neuron of a list.
const NOBODY = -1

# In a grid each neuron that expects a spike is a list by itself.
@inline function list!(steps::GroupSteps, ::GridLane, n, k)
    steps.following[k] = NOBODY
    steps.expecting[1] = n + 1          # by whichever lane, it is the same number
    return
end

@inline function list!(steps::GroupSteps, lane::Lane, n, k)
    steps.following[k] == 0 && link!(steps, lane, k)
    return
end

@inline function link!(steps::GroupSteps, lane::Lane, k)
    steps.following[k] = steps.first[lane_index(lane)]
    steps.first[lane_index(lane)] = k
    return
end

@inline unlist!(steps::GroupSteps, k) = (steps.following[k] = 0; nothing)

"""Begin the lists of a group's lanes: those of its neurons that expect a spike."""
function gather!(g::Group, steps::GroupSteps, step::Step)
    steps.first[lane_index(g.lane)] = NOBODY
    steps.expecting[1] == step.index + 1 || return
    for k in neurons(g)
        steps.following[k] == 0 || link!(steps, g.lane, k)
    end
end

"""
Time and neuron of the next spike that any neuron on this lane's list is about to fire; those that do not expect one any
more are taken off it.
"""
@inline function next_of_lane(g::Group, steps::GroupSteps)
    x, lane, following = g.work.state, lane_index(g.lane), steps.following
    τ, j, before, k = Inf, 0, 0, steps.first[lane]
    while k != NOBODY
        time, next = x.expected[k].time, following[k]
        if time < Inf
            (time < τ || time == τ && k < j) && ((τ, j) = (time, k))
            before = k
        else
            before == 0 ? (steps.first[lane] = next) : (following[before] = next)
            unlist!(steps, k)
        end
        k = next
    end
    return τ, j
end

# --- kernels of a step ------------------------------------------------------------------------------------------------

"""What the lanes of a kernel do at step `n`: `run(g, n)`, on a tape of what happens from a step on, or without one."""
struct StepKernel{F,T} <: Function
    run::F
    n::Int
    tape_from::T                    # nothing without one
end

@inline (kernel::StepKernel)(work::GroupWork, s, p, lane::Lane) =
    (kernel.run(on_tape(Group(work, s, p, lane), kernel.tape_from), kernel.n); nothing)

@inline on_tape(g::Group, ::Nothing) = g
@inline on_tape(g::Group, from::Int) = with_tape(g, tape_from(g.work.backward.tape, from))

# Those of two steps: a kernel that writes the one reads the other.
@inline start_place(n) = isodd(n) ? 2 : 1

"""By a grid: begin each sample and its step n, the first."""
function begin_by_grid!(g::Group, n)
    progress = checkpoint_before!(g, g.work.backward, n, begin_group!(g))
    return begin_by_grid!(g, n, progress, true)
end

function begin_by_grid!(g::Group, n, progress::GroupProgress, is_first::Bool)
    begin_step!(g, n, is_first)
    leads(g.lane) && (g.work.steps.starts[start_place(n)] = progress)
    return
end

checkpoint_before!(g::Group, ::Nothing, n, progress) = progress

"""By groups: let happen what happens within step n."""
function resolve_by_groups!(g::Group, n)
    steps = g.work.steps
    progress = steps.starts[start_place(n)]
    if !progress.stopped
        step = step_at(g, n)
        if something_happens(g, step)
            meet(g.lane)                # all have seen that
            gather!(g, steps, step)
            progress = resolve_step!(g, step, progress, g.inserted.save > 0)
        end
        leads(g.lane) && (steps.begun[1] = max(steps.begun[1], n + 1))
    end
    leads(g.lane) && (steps.resolved[1] = progress)
    return
end

"""Whether a spike is expected in the step, arrives there, or may be inserted."""
something_happens(g::Group, step::Step) =
    g.work.steps.expecting[1] == step.index + 1 || g.inserted.save > 0 || arrives(g.work.deliveries, step.stop)

arrives(::Nothing, t) = false
arrives(d::GroupDeliveries, t) = d.coming[1].arrival <= t || next_input_time(d) <= t

"""By a grid: go on to the end of step n, and begin the one after it."""
function go_on_by_grid!(g::Group, n)
    progress = finish_by_grid!(g, n)
    if progress.stopped
        leads(g.lane) && (g.work.steps.starts[start_place(n + 1)] = progress)
        return
    end
    return begin_by_grid!(g, n + 1, checkpoint_before!(g, g.work.backward, n + 1, progress), false)
end

"""By a grid: go on to the end of step n; returns how far each sample has come."""
function finish_by_grid!(g::Group, n)
    progress = g.work.steps.resolved[1]
    progress.stopped && return progress
    step = step_at(g, n)
    progress, _ = save_own_until!(g, step, progress, step.stop, true)
    return finish_step!(g, step, progress, g.work.steps.starts[start_place(n)].marks)
end

"""By a grid: go on to the end of step n, the last, and that of each sample."""
end_by_grid!(g::Group, n) = end_group!(g, finish_by_grid!(g, n), n + 1)

"""Samples step by step, each of so many directions."""
function run_samples!(device::Device, work::GroupWork, ::GroupSteps, count, directions)
    launches = StepLaunches(device, work, count, directions)
    forwards!(launches, begin_by_grid!, 0, work.shape.num_steps, nothing)
    by_grid!(launches, end_by_grid!, work.shape.num_steps - 1, nothing)
    wait_for(device)
    return
end

"""Starts the kernels of steps."""
struct StepLaunches{D<:Device,W<:GroupWork}
    device::D
    work::W
    samples::Int
    directions::Int
end

function by_grid!(l::StepLaunches, run, n, tape_from)
    lanes = lanes_of_grid(l.device, l.work.shape.num_neurons)
    start_grid!(StepKernel(run, n, tape_from), l.device, l.work, l.samples, l.directions, lanes)
end

function by_groups!(l::StepLaunches, run, n, tape_from)
    lanes = lanes_per_group(l.device, l.work.shape.num_neurons)
    start!(StepKernel(run, n, tape_from), l.device, l.work, l.samples, l.directions, lanes)
end

"""Steps `from` up to `to`, without what ends the last of them."""
function forwards!(l::StepLaunches, begin!, from, to, tape_from)
    by_grid!(l, begin!, from, tape_from)
    for n in from:to-1
        check_cancelled()
        by_groups!(l, resolve_by_groups!, n, tape_from)
        n < to - 1 && by_grid!(l, go_on_by_grid!, n, tape_from)
    end
end

# --- backwards --------------------------------------------------------------------------------------------------------

# The kernels of all samples are at the same step: segments are as long as the tape has steps.
function checkpoint_before!(g::Group, b::GroupBackward, n, progress::GroupProgress)
    (b.at_once || n % b.steps != 0) && return progress
    checkpoint!(g, n ÷ b.steps + 1, n, progress)
    return unmarked(progress)
end

"""By a grid: put samples back to their checkpoint before step n, and begin it; those that did not come so far wait."""
function restore_by_grid!(g::Group, n)
    if n < g.work.steps.begun[1]
        return begin_by_grid!(g, n, restore!(g, n ÷ g.work.backward.steps + 1), true)
    end
    leads(g.lane) && (g.work.steps.starts[start_place(n)] = GroupProgress(0, 0, true, 0, 0))
    return
end

"""By a grid: go on to the end of step n, the last, from where all is to go backwards."""
turn_by_grid!(g::Group, n) = begin_back!(g, finish_by_grid!(g, n), n + 1)

# Whether a sample has come to step n, and all is well.
has_been_at(g::Group, n) = n < g.work.steps.begun[1] && g.work.state.status[1] == ALL_WELL

"""By groups: go back through what happened within step n."""
function undo_by_groups!(g::Group, n)
    has_been_at(g, n) && undo_events!(g, step_at(g, n))
    return
end

"""By a grid: go back through the whole step n, and draw the one before it. It is in place where it was drawn last."""
function go_back_by_grid!(g::Group, n)
    has_been_at(g, n) && whole_step_back!(g, step_at(g, n))
    n > g.tape.first_step && has_been_at(g, n - 1) && draw_step_back!(g, n - 1, false)
    n == 0 && has_been_at(g, 0) && end_back!(g)
    return
end

"""Add the gradients of samples to their own, step by step."""
pull_back_samples!(device::Device, work::GroupWork, ::GroupSteps, count) =
    # As a type, so that the kernels of the other way are not compiled.
    pull_back_steps!(StepLaunches(device, work, count, 1), Val(work.backward.at_once))

function pull_back_steps!(launches::StepLaunches, ::Val{at_once}) where {at_once}
    total, tape_from = launches.work.shape.num_steps, at_once ? 0 : nothing
    each = at_once ? total : launches.work.backward.steps
    forwards!(launches, begin_by_grid!, 0, total, tape_from)
    by_grid!(launches, turn_by_grid!, total - 1, tape_from)
    for from in each*((total-1)÷each):-each:0
        to = min(from + each, total)
        if !at_once
            forwards!(launches, restore_by_grid!, from, to, from)
            by_grid!(launches, finish_by_grid!, to - 1, from)
        end
        for n in to-1:-1:from
            check_cancelled()
            by_groups!(launches, undo_by_groups!, n, from)
            by_grid!(launches, go_back_by_grid!, n, from)
        end
    end
    wait_for(launches.device)
    return
end
