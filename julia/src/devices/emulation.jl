# Lanes as tasks on the host, for tests: what they write is seen by the others whether they meet or not, but in another
# order than one lane alone would write it in.

"""Groups of so many lanes, computed here."""
struct Emulation <: Device
    lanes::Int
end

# How much memory it says that it has.
const EMULATED_MEMORY = Ref(2^30)

to_device(::Emulation, array) = array
from_device(::Emulation, memory) = memory
array_at(::Emulation, pointer, count) = host_array(pointer, count)
new_memory(::Emulation, value, count) = fill(value, count)
let_go!(::Emulation, memory) = nothing
free_memory(::Emulation) = EMULATED_MEMORY[]
lanes_per_group(device::Emulation, neurons) = device.lanes
lanes_of_grid(device::Emulation, neurons) = neurons

"""Where tasks meet."""
mutable struct TaskMeeting
    arrived::Int
    round::Int
    failed::Bool
end

struct TaskLane <: Lane
    index::Int
    count::Int
    meeting::TaskMeeting
end

lane_index(lane::TaskLane) = lane.index
num_lanes(lane::TaskLane) = lane.count

function meet(lane::TaskLane)
    meeting = lane.meeting
    round = meeting.round
    meeting.arrived += 1
    if meeting.arrived == lane.count
        meeting.arrived, meeting.round = 0, round + 1
        return
    end
    while meeting.round == round
        meeting.failed && error("another lane has failed")
        yield()
    end
end

function launch!(run, device::Emulation, work, num_samples, num_directions, lanes)
    for p in 1:num_directions, s in 1:num_samples
        check_cancelled()
        if lanes == 1
            run(work, s, p, OnlyLane())
            continue
        end
        meeting = TaskMeeting(0, 0, false)
        order = isodd(s) ? (1:lanes) : (lanes:-1:1)
        @sync for index in order
            @async try
                run(work, s, p, TaskLane(index, lanes, meeting))
            catch
                meeting.failed = true
                rethrow()
            end
        end
    end
end

start!(run, device::Emulation, arguments...) = launch!(run, device, arguments...)
wait_for(::Emulation) = nothing

# The first lane is the first of some samples, and of others the last.
function start_grid!(run, ::Emulation, work, num_samples, num_directions, lanes)
    for p in 1:num_directions, s in 1:num_samples, index in (isodd(s) ? (1:lanes) : (lanes:-1:1))
        run(work, s, p, GridLane(index, lanes))
    end
end
