"""
Signatures to depth m of spike trains (through their Marcus lift) and of piecewise-linear paths, the loss made of
expected signatures, and signature kernels k(X, Y) = ⟨S(X), S(Y)⟩ without truncation; all with gradients.
"""
module Signatures

using ..SSNN: @entry_point, BOUNDARY_STRUCTS, ENTRY_POINTS, PlanKey, SMALL_JOB, STATUS_OK
using ..SSNN: available_threads, check_cancelled, chunk_limit, chunk_ranges, foreach_chunk, host_array
using ..SSNN: report_failure, row, with_workers
using ..SSNN: Block, BlockMaker, Device, Lane, MadeOfArrays, OnlyLane
using ..SSNN: brought_to, device_named, free_memory, from_device, in_halves, is_interleaved, lane_index
using ..SSNN: lanes_per_group, launch!, leads, let_go!, let_go_of_all!, meet, new_memory, of_group, owned, owns
using ..SSNN: per_sample, shared, turns, with_arrays

include("words.jl")
include("segments.jl")
include("trains.jl")
include("train_signatures.jl")
include("expected_signatures.jl")
include("end_entries.jl")
include("expected_signature_loss.jl")
include("path_signatures.jl")
include("devices/train_signatures.jl")

include("kernels/lanes.jl")
include("kernels/cells.jl")
include("kernels/jobs.jl")
include("kernels/events.jl")
include("kernels/response_tables.jl")
include("kernels/sweep_work.jl")
include("kernels/spike_lattices.jl")
include("kernels/sweep.jl")
include("kernels/train_kernels.jl")
include("devices/train_kernels.jl")
include("kernels/path_cells.jl")
include("kernels/path_fronts.jl")
include("kernels/path_kernels.jl")

end
