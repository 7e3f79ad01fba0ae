# The signal that drives the network, one neuron's components independent of another's.

"""The driver over an interval, for one neuron: increment and space-time Lévy area of each of its C components."""
struct Increment{C}
    w::NTuple{C,Float64}
    h::NTuple{C,Float64}
end

"""Where no one asks for areas."""
@inline Increment(w::NTuple{C,Float64}) where {C} = Increment(w, ntuple(_ -> 0.0, Val(C)))

"""
Numbers of one neuron from an array of all: that of the first component at `place`, the next ones `spacing` further.
"""
@inline components(array, place, spacing, scale, ::Val{C}) where {C} =
    ntuple(c -> (@inbounds scale * array[place+(c-1)*spacing]), Val(C))

"""
The path of one sample along the grid of steps, with C components per neuron. A file in `paths/` defines a subtype,
registers in `DRIVERS` a constructor of the driver from a `Problem`, which writes

  * `reset!(driver, key)`: begin the path of another sample, which `key` = (seed, sample) says;
  * `increments!(driver, step)` and `areas!(driver, step)`: an array and an offset for a step of the grid (from 0):
    component c of neuron k is `scale · array[offset + k + (c − 1)·N]`, with `increment_scale(driver)` or
    `area_scale(driver)` as the scale; the array may be overwritten by the next call;
  * `area(driver, key, k, c, step, span)`: the same area by itself, where steps come without;
  * `halves(driver, key, k, level, index, span, x)`: the path on both halves of interval `index` of `level`, of length
    `span`, from the `Increment` x over the whole of it; `level(driver)` is that of the steps;
  * `beginning(driver, key, k, c, step, span, w, h, r)`: increment and area over the first fraction r of a step;
  * `window_stop(driver)`: up to which step the next ones come cheaply;
  * `renew!(driver, problem)`, if it holds anything of the host's besides what a plan's key says.

Everything is a function of the key and the place in the path, never of the order in which it is asked for.

A driver with values that one may differentiate by says how they move (`path_tangent`, `with_tangent`) and collects
their gradients (`want_gradients!`, `wants_gradients`, `path_adjoint!`, `scatter_path!`).
"""
abstract type Driver{C} end

renew!(driver::Driver, problem) = driver

"""Whether increments and areas leave something of the path open, as those of a Brownian motion do."""
leaves_variance(::Driver) = true

# Where nothing of the driver moves.
path_tangent(::Driver) = nothing
load_path!(::Nothing, tables, sample, direction) = nothing
@inline with_tangent(::Nothing, x, k, a, b) = x
want_gradients!(driver::Driver, tables) = driver
wants_gradients(::Driver) = false
@inline path_adjoint!(result, ::Driver, k, bar, x, a, b, with_areas) = nothing
scatter_path!(::Driver, tables, sample) = nothing
