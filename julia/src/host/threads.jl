# Samples are shared among threads in chunks.

"""
    foreach_chunk(work, num_samples, threads; limit = NUM_CHUNKS)
    foreach_chunk(work, chunks, threads)

Calls `work(worker, chunk, samples)` for consecutive ranges of samples: for at most `limit` ranges, which depend on the
number of samples alone, or for the given ones. Which thread takes which does not matter to callers that keep one result
per chunk. `work` is called with a worker number up to `threads`.
"""
foreach_chunk(@nospecialize(work), num_samples::Integer, threads::Integer; limit = NUM_CHUNKS) =
    foreach_chunk(work, chunk_ranges(num_samples, limit), threads)

# Compiled once: of sharing, what takes chunk after chunk is compiled for each work, and nothing else.
function foreach_chunk(@nospecialize(work), chunks::Vector{UnitRange{Int}}, threads::Integer)
    workers = min(threads, length(chunks), available_threads())
    workers <= 1 && return foreach(chunk -> work(1, chunk, chunks[chunk]), eachindex(chunks))
    next = Threads.Atomic{Int}(1)
    # Atomic operations of older Julias keep the counter's address alone: without this it could be freed while it
    # counts.
    GC.@preserve next share_chunks(work, chunks, workers, next)
end

# Tasks that are made beyond those that there are threads for.
const SPARE_THREADS = Ref(0)

"""How many tasks compute at the same time."""
available_threads() = Threads.nthreads() + SPARE_THREADS[]

"""Have tasks take chunk after chunk, until all are done or one has failed."""
function share_chunks(@nospecialize(work), chunks, workers, next)
    function take_chunks(worker)
        try
            while (chunk = Threads.atomic_add!(next, 1)) <= length(chunks)
                work(worker, chunk, chunks[chunk])
            end
        catch
            Threads.atomic_xchg!(next, length(chunks) + 1)      # the others need not begin another one
            rethrow()
        end
    end
    tasks = [Threads.@spawn(take_chunks(worker)) for worker in 2:workers]
    failure = nothing
    try
        take_chunks(1)
    catch err
        failure = interrupt_all(err)
    end
    for task in tasks       # no task may outlive the host's arrays
        failed = finish(task)
        failure === nothing && (failure = failed)
    end
    failure === nothing || throw(failure)
    return nothing
end

"""
Wait until `task` has ended, whatever interrupts the waiting; returns what made it fail, or the interrupt, or nothing.
"""
function finish(task)
    failure = nothing
    while !istaskdone(task)
        try
            wait(task)
        catch err
            istaskdone(task) || (failure = interrupt_all(err))
        end
    end
    return istaskfailed(task) ? TaskFailedException(task) : failure
end

const NUM_CHUNKS = 64

"""The ranges of samples that are chunks."""
function chunk_ranges(num_samples, limit = NUM_CHUNKS)
    chunks = min(limit, num_samples)
    return [(1+div((c - 1) * num_samples, chunks)):div(c * num_samples, chunks) for c in 1:chunks]
end

"""
How many chunks to sum over when each keeps a partial sum of so many `numbers`: fewer where that would fill the memory.
"""
chunk_limit(numbers) = clamp(2^18 ÷ (numbers + 1), 16, NUM_CHUNKS)

"""How many threads compute a problem at most."""
num_workers(problem::Problem) = max(1, min(problem.threads, problem.num_samples, available_threads()))
