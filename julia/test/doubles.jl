# Whether kernels have numbers of double precision in them.

"""A device that notes what it is to launch: with what types a lane is called. It computes only if it is to."""
struct Noting <: SSNN.Device
    computes::Bool
    calls::Vector{Any}
end

SSNN.to_device(::Noting, array) = array
SSNN.from_device(::Noting, memory) = memory
SSNN.new_memory(::Noting, value, count) = fill(value, count)
SSNN.let_go!(::Noting, memory) = nothing
SSNN.free_memory(::Noting) = 2^30
SSNN.lanes_per_group(::Noting, neurons) = 1

function SSNN.launch!(run, device::Noting, work, num_samples, num_directions, lanes)
    push!(device.calls, Tuple{typeof(run),typeof(work),Int,Int,SSNN.OnlyLane})
    device.computes && SSNN.launch!(run, SSNN.Emulation(1), work, num_samples, num_directions, lanes)
    return
end

"""Whether a type is that of numbers of double precision, or has such a part."""
has_double(T) = false
has_double(T::Core.Compiler.Const) = T.val isa Float64
has_double(T::Union) = has_double(T.a) || has_double(T.b)
has_double(T::DataType) = T === Float64 ||
    (T <: Tuple || T <: AbstractArray) && any(has_double, T.parameters) ||
    isconcretetype(T) && isbitstype(T) && any(n -> has_double(fieldtype(T, n)), 1:fieldcount(T))

"""The code that a call compiles to, by each method that it may be."""
typed_code(signature) =
    isdefined(Base, :code_typed_by_type) ? first.(Base.code_typed_by_type(signature)) : [
        first(Core.Compiler.typeinf_code(method, types, parameters, true, Core.Compiler.Params(typemax(UInt)))) for
        (types, parameters, method) in Base._methods_by_ftype(signature, -1, typemax(UInt))
    ]

"""
What of the code that calls of these types compile to has numbers of double precision, statement by statement: at least
`most` of them, if there are so many.
"""
function doubles(signatures...; most = 10)
    seen, left, found = Set{Any}(), Any[signatures...], String[]
    while !isempty(left) && length(found) < most
        call = pop!(left)
        call in seen && continue
        push!(seen, call)
        for code in typed_code(call), (type, statement) in zip(code.ssavaluetypes, code.code)
            parts = statement isa Expr ? statement.args : Any[]
            if has_double(type) || any(part -> part isa Float64, parts)
                push!(found, "$statement::$type of $(first(string(call), 200))")
            end
            statement isa Expr && statement.head == :invoke || continue
            method = parts[1]
            push!(left, (method isa Core.MethodInstance ? method : method.def).specTypes)
        end
    end
    return found
end
