# The C-callable boundary. Every function that a host language may call is declared with `@entry_point`; it takes plain
# numbers and pointers to memory that the host owns, and returns a status. No exception crosses the boundary.

"""
Version of the C interface. Raise it with every change to a signature or a struct that crosses the boundary; the host
checks it at start.
"""
const INTERFACE_VERSION = 17

const STATUS_OK = Int32(0)
const STATUS_ERROR = Int32(1)
const STATUS_INTERRUPTED = Int32(2)

"""Thrown where a long computation sees that the host has asked it to stop."""
struct Interrupted <: Exception end

const LAST_ERROR = Ref("")

"""The status that stands for an exception; its message is kept for the host."""
function report_failure(err)
    cause = root_cause(err)
    (cause isa Interrupted || cause isa InterruptException) && return STATUS_INTERRUPTED
    LAST_ERROR[] = sprint(showerror, cause)
    return STATUS_ERROR
end

# A failure inside a threaded region arrives wrapped: once per task, sometimes more than once.
root_cause(err) = err
root_cause(err::TaskFailedException) =
    root_cause(isdefined(err.task, :exception) ? err.task.exception : err.task.result)
root_cause(err::CompositeException) = isempty(err.exceptions) ? err : root_cause(first(err.exceptions))
root_cause(err::CapturedException) = root_cause(err.ex)
root_cause(err::LoadError) = root_cause(err.error)

const ENTRY_POINTS = Dict{String,Function}()

"""
    @entry_point function name(argument::Type, ...) ... end

Defines a function that the host may call through a C pointer: same arguments, result `Int32` status (0 done, 1 error
with its message in `ssnn_last_error`, 2 interrupted). Register it by being loaded; the host asks for it by name.
"""
macro entry_point(definition)
    call, body = definition.args
    name, arguments = call.args[1], call.args[2:end]
    types = Expr(:tuple, (argument.args[2] for argument in arguments)...)
    return esc(quote
        function $name($(arguments...))::Int32
            try
                $body
                return STATUS_OK
            catch err
                return report_failure(err)
            end
        end
        ENTRY_POINTS[$(string(name))] = () -> @cfunction($name, Int32, $types)
    end)
end

"""Address of the entry point `name`, as an integer."""
entry_point(name::AbstractString) = UInt(ENTRY_POINTS[name]())

@entry_point function ssnn_interface_version(out::Ptr{Int64})
    unsafe_store!(out, INTERFACE_VERSION)
end

# For a host to which calls through its own bridge are dear: Julia code, in Main, and addresses by name.
@entry_point function ssnn_evaluate(code::Ptr{UInt8})
    include_string(Main, unsafe_string(code))
end

@entry_point function ssnn_entry_point(name::Ptr{UInt8}, out::Ptr{UInt64})
    unsafe_store!(out, UInt64(entry_point(unsafe_string(name))))
end

"""
What juliacall's host asks for at its start, a line each: threads, processor, the address of the function by which a
thread leaves Julia, and those of the two entry points by which it asks for more.
"""
function start_facts()
    # No part of Julia's documented interface: where a version lacks it, threads stay as they are.
    leave = try
        UInt(cglobal(:jl_gc_safe_enter))
    catch
        UInt(0)
    end
    facts = (Threads.nthreads(), Sys.CPU_NAME, leave, entry_point("ssnn_evaluate"), entry_point("ssnn_entry_point"))
    return join(map(string, facts), '\n')
end

# Writes at most `capacity` bytes of the last error's message and the number of bytes written.
@entry_point function ssnn_last_error(buffer::Ptr{UInt8}, capacity::Int64, written::Ptr{Int64})
    unsafe_store!(written, write_text(buffer, capacity, LAST_ERROR[]))
end

"""Write at most `capacity` bytes of a text; returns how many."""
function write_text(buffer::Ptr{UInt8}, capacity, text::AbstractString)
    bytes = codeunits(text)
    written = min(length(bytes), capacity)
    GC.@preserve bytes unsafe_copyto!(buffer, pointer(bytes), written)
    return written
end

# Structs that cross the boundary; each adds itself where it is defined.
const BOUNDARY_STRUCTS = DataType[]

"""
A line `struct field offset size` for every field of every struct that crosses the boundary, in bytes, and `struct - -
size` for its whole.
"""
function boundary_layouts()
    lines = String[]
    for type in BOUNDARY_STRUCTS
        for (place, field) in enumerate(fieldnames(type))
            push!(lines, "$(nameof(type)) $field $(fieldoffset(type, place)) $(sizeof(fieldtype(type, place)))")
        end
        push!(lines, "$(nameof(type)) - - $(sizeof(type))")
    end
    return join(lines, '\n')
end

# The same for the host, which compares it with its own: at most `capacity` bytes, and how many there are.
@entry_point function ssnn_layouts(buffer::Ptr{UInt8}, capacity::Int64, needed::Ptr{Int64})
    text = boundary_layouts()
    write_text(buffer, capacity, text)
    unsafe_store!(needed, sizeof(text))
end

"""The host's array behind a pointer, row-major `(…, b, a)` in NumPy being `(a, b, …)` here. No copy."""
host_array(pointer::Ptr{T}, dims::Integer...) where {T} = unsafe_wrap(Array, pointer, Int.(dims))

# The host's flag: it sets this number to stop a computation that is under way.
const CANCEL_FLAG = Ref{Ptr{Int32}}(C_NULL)

@entry_point function ssnn_set_cancel_flag(flag::Ptr{Int32})
    CANCEL_FLAG[] = flag
end

"""Whether the host has asked to stop."""
cancelled() = CANCEL_FLAG[] != C_NULL && unsafe_load(CANCEL_FLAG[]) != 0

"""
Stop here if the host has asked for it, or while Julia collects garbage. To be called now and then in whatever may take
long.
"""
function check_cancelled()
    GC.safepoint()
    cancelled() && throw(Interrupted())
end

"""
Where a modern Julia handles Ctrl-C itself, it throws into its first thread only: this stops the other tasks too, by the
host's own flag, which the host lowers before its next call. Returns `err`.
"""
function interrupt_all(err)
    err isa InterruptException && CANCEL_FLAG[] != C_NULL && unsafe_store!(CANCEL_FLAG[], Int32(1))
    return err
end
