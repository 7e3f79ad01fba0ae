"""
    EulerMaruyama

Over an interval of length h from t, with f the drift in Itô's sense and ΔB the driver's increment,

    y' = y + h·f(y, t) + g(y)·ΔB

An event inside a step is looked for along the straight line from the step's start, or from the neuron's last event in
it, at the velocity f + g·ΔB/h there, with ΔB the increment of the whole step. Strong order 1 for potentials and spike
times with additive noise, 1/2 with multiplicative noise and for pathwise gradients. Kloeden and Platen, "Numerical
Solution of Stochastic Differential Equations", section 10.2.
"""
struct EulerMaruyama <: Solver end

SOLVERS["euler_maruyama"] = EulerMaruyama

@inline one_step(::EulerMaruyama, θ, k, y, t, h, x) =
    plus(plus_scaled(y, h, drift_in_sense(θ, k, y, t, false)), noise(θ, k, y, x.w))

@inline function one_step_adjoint!(θ̄, ::EulerMaruyama, θ::Model, k, y, bar, t, h, x, wanted)
    by_drift = drift_in_sense_adjoint!(θ̄, θ, k, y, t, false, scaled(h, bar), wanted)
    return plus(plus(bar, by_drift), noise_adjoint!(θ̄, θ, k, y, x.w, bar, wanted))
end

# The whole step is a leaf.
deepest_leaf(::EulerMaruyama) = 0

@inline leaf_velocity(::EulerMaruyama, θ, k, y, a, to, slopes) = velocity(θ, k, y, a, slopes, false)
@inline leaf_velocity_adjoint!(θ̄, ::EulerMaruyama, θ::Model, k, y, a, to, slopes, bar, wanted) =
    velocity_adjoint!(θ̄, θ, k, y, a, slopes, false, bar, wanted)
