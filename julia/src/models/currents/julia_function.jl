"""
A current that is the user's own Julia function of time, the same code for values as if it had been written here:
compiled once, called through its address, so that no call looks it up.
"""
struct JuliaFunctionCurrent <: InputCurrent
    value::Ptr{Cvoid}               # of (neuron from 0, time)
    derivative::Ptr{Cvoid}          # in time; null where the user gave none
end

parameter_arrays(::JuliaFunctionCurrent) = NamedTuple()

@inline current(c::JuliaFunctionCurrent, k, t) = ccall(c.value, Float64, (Int64, Float64), k - 1, t)

function current_rate(c::JuliaFunctionCurrent, k, t)
    c.derivative == C_NULL && throw(ErrorException(
        "gradients need the time derivative of the input current: ssnn.JuliaFunction(source, derivative=\"t -> ...\")",
    ))
    return ccall(c.derivative, Float64, (Int64, Float64), k - 1, t)
end

@inline current_tangent(c::JuliaFunctionCurrent, dc::JuliaFunctionCurrent, k, t) = 0.0
@inline current_adjoint!(c̄::JuliaFunctionCurrent, c::JuliaFunctionCurrent, k, t, bar) = nothing

# Modules with the functions that addresses stand for: what is compiled must live.
const JULIA_FUNCTIONS = Module[]

"""Address of the function that `source` evaluates to, `t -> …` or `(t, neuron) -> …`, compiled for doubles."""
function compile_julia_function(source::AbstractString)
    home = Module(:JuliaFunction)
    f = Base.eval(home, Meta.parse(source))
    Base.eval(home, :(const f = $f))
    f isa Function || throw(ArgumentError("\"$source\" is no function, but a $(typeof(f))"))
    call = if Base.invokelatest(hasmethod, f, Tuple{Float64})
        :(f(t))
    elseif Base.invokelatest(hasmethod, f, Tuple{Float64,Int64})
        :(f(t, neuron))
    else
        throw(ArgumentError("\"$source\" takes neither a time nor a time and the number of a neuron"))
    end
    Base.eval(home, :(at(neuron::Int64, t::Float64)::Float64 = $call))
    push!(JULIA_FUNCTIONS, home)
    return Base.eval(home, :(@cfunction(at, Float64, (Int64, Float64))))
end

@entry_point function ssnn_define_current(name::Ptr{UInt8}, source::Ptr{UInt8}, derivative::Ptr{UInt8})
    value = compile_julia_function(unsafe_string(source))
    rate = derivative == C_NULL ? C_NULL : compile_julia_function(unsafe_string(derivative))
    CURRENTS[unsafe_string(name)] = (n, knots) -> JuliaFunctionCurrent(value, rate)
end
