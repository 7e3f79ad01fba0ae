"""The shelf: neurons of the literature, and two models from elsewhere, with their published parameters.

Each function returns an :class:`EventSDE` with default values, any of which can be given by name, initial values among
them; ``model.parameters`` lists them. A default that is a formula, such as ``v0=E_L``, follows the values given here;
``replace`` changes only what it names. Neurons count in ms, mV, pA, nS and pF, where nothing else is said, and begin at
or near rest. Their noise is off until `sigma` is given.

Noise of a potential that must itself reach a threshold leaves no pathwise gradient (docs/gradients.md). `lif` and
`eif`, which fire by escape unless told otherwise, have theirs on the potential; most others have it on the synaptic
current, which drives the potential as coloured noise, so that thresholds have gradients, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from numpy.typing import ArrayLike

from .components import PER_NEURON
from .errors import ValidationError
from .formulas.event_sde import Event, EventSDE
from .validation import as_real_array, describe

__all__ = [
    "adex",
    "bouncing_ball",
    "eif",
    "glif",
    "hodgkin_huxley",
    "izhikevich",
    "jump_diffusion",
    "lif",
    "qif",
    "theta",
]

Firing = Literal["escape", "threshold"]


def lif(
    synapse: Literal["current", "conductance"] = "current", firing: Firing = "escape", **parameters: ArrayLike
) -> EventSDE:
    r"""The leaky integrate-and-fire neuron.

    .. math::
        C\,dv &= (g_L (E_L - v) + i + I)\,dt + C\,σ\,dB, \qquad di = -i/τ_s\,dt
        \qquad\text{or, of conductances,} \\
        C\,dv &= (g_L (E_L - v) + g\,(E_s - v) + I)\,dt + C\,σ\,dB, \qquad dg = -g/τ_s\,dt.

    A spike comes by escape, at the rate :math:`λ(v) = ρ\,e^{β (v - v_{th})}`, and takes ``v_th - v_reset`` from v; or
    where v reaches ``v_th``, and sets v to ``v_reset``. At a target it adds the weight to i (pA) or to g (nS).

    Parameters
    ----------
    synapse : {"current", "conductance"}
    firing : {"escape", "threshold"}
        With a threshold there are gradients for ``sigma=0`` only.
    **parameters : array_like
        Other values than these: capacitance ``C=200`` pF, leak ``g_L=10`` nS and ``E_L=-70`` mV, threshold ``v_th=-50``
        mV, ``v_reset=-70`` mV, decay of synapses ``tau_s=5`` ms, noise ``sigma=0`` mV/√ms; ``E_s=0`` mV, the reversal
        potential of conductances; of escape, steepness ``beta=0.5`` per mV and ``rho=0.1`` per ms, the rate at the
        threshold; at the start ``v0=E_L``, ``i0=0`` or ``g0=0``.

    Returns
    -------
    EventSDE

    Raises
    ------
    ValidationError
        If a parameter is unknown or does not fit, or `synapse` or `firing` is neither of the two.

    References
    ----------
    W. Gerstner, W. M. Kistler, R. Naud and L. Paninski, *Neuronal Dynamics*, Cambridge University Press 2014, sections
    1.3, 3.1 and 9.1. Values are typical ones.

    Examples
    --------
    >>> lif(sigma=0.5, v_th=-52.0)
    EventSDE(
        dv/dt = (g_L*(E_L - v) + i + I)/C + sigma*xi
        di/dt = -i/tau_s
        event 1: hazard rho*exp(beta*(v - v_th)), then v -= v_th - v_reset
        synapse: i += w
        parameters: C, g_L, E_L, v_th, v_reset, tau_s, sigma, beta, rho, v0, i0
    )
    >>> lif("conductance", "threshold").states
    ('v', 'g')
    """
    conductance = _chosen("synapse", synapse, ("current", "conductance")) == "conductance"
    escape = _chosen("firing", firing, ("escape", "threshold")) == "escape"
    s, received = ("g", "g*(E_s - v)") if conductance else ("i", "i")
    return _model(
        f"""
        dv/dt = (g_L*(E_L - v) + {received} + I)/C + sigma*xi
        d{s}/dt = -{s}/tau_s
        """,
        Event(hazard="rho*exp(beta*(v - v_th))", then="v -= v_th - v_reset")
        if escape
        else Event(crossing="v - v_th", then="v = v_reset"),
        synapse=f"{s} += w",
        defaults={"C": 200.0, "g_L": 10.0, "E_L": -70.0, "v_th": -50.0, "v_reset": -70.0, "tau_s": 5.0, "sigma": 0.0}
        | ({"E_s": 0.0} if conductance else {})
        | ({"beta": 0.5, "rho": 0.1} if escape else {}),
        starts={"v": "E_L"},
        given=parameters,
    )


def qif(**parameters: ArrayLike) -> EventSDE:
    r"""The quadratic integrate-and-fire neuron.

    .. math::
        C\,dv = (k\,(v - v_r)(v - v_t) + i + I)\,dt, \qquad di = -i/τ_s\,dt + σ\,dB.

    A spike comes where v reaches ``v_peak``, sets v to ``v_reset``, and adds the weight (pA) to i of a target.

    Parameters
    ----------
    **parameters : array_like
        Other values than these: ``C=100`` pF, ``k=0.7`` nS/mV, resting potential ``v_r=-60`` mV, threshold ``v_t=-40``
        mV, ``v_peak=35`` mV, ``v_reset=-50`` mV, ``tau_s=5`` ms, noise ``sigma=0`` pA/√ms; at the start ``v0=v_r``,
        ``i0=0``.

    Returns
    -------
    EventSDE

    Raises
    ------
    ValidationError
        If a parameter is unknown or does not fit.

    References
    ----------
    E. M. Izhikevich, *Dynamical Systems in Neuroscience*, MIT Press 2007, sections 3.3.8 and 8.1.3; the values are
    those of its regularly spiking neuron, section 8.2.1, without recovery.

    Examples
    --------
    >>> qif(sigma=5.0).events
    (Event(crossing='v - v_peak', then='v = v_reset'),)
    """
    return _model(
        """
        dv/dt = (k*(v - v_r)*(v - v_t) + i + I)/C
        di/dt = -i/tau_s + sigma*xi
        """,
        Event(crossing="v - v_peak", then="v = v_reset"),
        synapse="i += w",
        defaults={"C": 100.0, "k": 0.7, "v_r": -60.0, "v_t": -40.0, "v_peak": 35.0, "v_reset": -50.0}
        | {"tau_s": 5.0, "sigma": 0.0},
        starts={"v": "v_r"},
        given=parameters,
    )


def theta(**parameters: ArrayLike) -> EventSDE:
    r"""The theta neuron: the quadratic integrate-and-fire neuron on a circle, with v = tan(θ/2).

    .. math::
        dθ = \big((1 - \cos θ) + (1 + \cos θ)(i + I)\big)/τ\,dt + σ\,(1 + \cos θ) ∘ dB, \qquad di = -i/τ_s\,dt.

    A spike comes where θ passes π, and turns it back by 2π; it adds the weight to i of a target. All but times are pure
    numbers; with a constant I > 0 the period is :math:`πτ/\sqrt{I}`. The noise is that of the current, in
    Stratonovich's sense; it vanishes where the neuron fires, so that there are gradients.

    Parameters
    ----------
    **parameters : array_like
        Other values than these: ``tau=10`` ms, ``tau_s=5`` ms, noise ``sigma=0`` per √ms; at the start ``theta0=0``,
        ``i0=0``.

    Returns
    -------
    EventSDE

    Raises
    ------
    ValidationError
        If a parameter is unknown or does not fit.

    References
    ----------
    G. B. Ermentrout and N. Kopell, "Parabolic bursting in an excitable system coupled with a slow oscillation", SIAM
    Journal on Applied Mathematics 46, 1986.

    Examples
    --------
    >>> theta().interpretation
    'stratonovich'
    """
    return _model(
        """
        dtheta/dt = ((1 - cos(theta)) + (1 + cos(theta))*(i + I))/tau + sigma*(1 + cos(theta))*xi
        di/dt = -i/tau_s
        """,
        Event(crossing="theta - pi", then="theta -= 2*pi"),
        synapse="i += w",
        defaults={"tau": 10.0, "tau_s": 5.0, "sigma": 0.0},
        given=parameters,
        interpretation="stratonovich",
    )


def eif(firing: Firing = "escape", **parameters: ArrayLike) -> EventSDE:
    r"""The exponential integrate-and-fire neuron.

    .. math::
        C\,dv = \big(g_L (E_L - v) + g_L Δ_T\,e^{(v - v_T)/Δ_T} + i + I\big)\,dt + C\,σ\,dB, \qquad di = -i/τ_s\,dt.

    A spike comes by escape, at the rate :math:`λ(v) = ρ\,e^{β (v - v_{th})}`, and takes ``v_th - v_reset`` from v; or
    where v reaches ``v_peak``, and sets v to ``v_reset``. At a target it adds the weight to i. Above ``v_peak`` neither
    exponential grows any further, so that no step overflows.

    Parameters
    ----------
    firing : {"escape", "threshold"}
        With a threshold there are gradients for ``sigma=0`` only.
    **parameters : array_like
        Other values than these: ``C=1`` µF/cm², ``g_L=0.1`` mS/cm², ``E_L=-65`` mV, ``v_T=-59.9`` mV, sharpness
        ``Delta_T=3.48`` mV, ``v_peak=v_T + 5*Delta_T``, ``v_reset=-68`` mV, ``tau_s=5`` ms, noise ``sigma=0`` mV/√ms;
        of escape, ``v_th=-50`` mV, ``beta=1`` per mV and ``rho=1`` per ms; at the start ``v0=E_L``, ``i0=0``. Currents
        are in µA/cm².

    Returns
    -------
    EventSDE

    Raises
    ------
    ValidationError
        If a parameter is unknown or does not fit, or `firing` is neither of the two.

    Notes
    -----
    From ``v_T + 5*Delta_T`` the upswing to infinity takes 0.07 ms more, less than most steps. A higher peak (the paper
    has −30 mV) hardly moves spikes, but a solver has its order only at steps that follow the upswing up to the peak.
    Escape needs β > 1/Δ_T: else v may rise past any bound without a spike.

    References
    ----------
    N. Fourcaud-Trocmé, D. Hansel, C. van Vreeswijk and N. Brunel, "How spike generation mechanisms determine the
    neuronal response to fluctuating inputs", Journal of Neuroscience 23, 2003; its refractory period is left out.

    Examples
    --------
    >>> sharp = eif("threshold", Delta_T=1.0)
    >>> sharp.events, float(sharp.parameters["v_peak"])
    ((Event(crossing='v - v_peak', then='v = v_reset'),), -54.9)
    """
    escape = _chosen("firing", firing, ("escape", "threshold")) == "escape"
    return _model(
        """
        dv/dt = (g_L*(E_L - v) + g_L*Delta_T*exp((min(v, v_peak) - v_T)/Delta_T) + i + I)/C + sigma*xi
        di/dt = -i/tau_s
        """,
        Event(hazard="rho*exp(beta*(min(v, v_peak) - v_th))", then="v -= v_th - v_reset")
        if escape
        else Event(crossing="v - v_peak", then="v = v_reset"),
        synapse="i += w",
        defaults={"C": 1.0, "g_L": 0.1, "E_L": -65.0, "v_T": -59.9, "Delta_T": 3.48, "v_peak": -42.5}
        | {"v_reset": -68.0, "tau_s": 5.0, "sigma": 0.0}
        | ({"v_th": -50.0, "beta": 1.0, "rho": 1.0} if escape else {}),
        starts={"v": "E_L"},
        given=_with_peak(parameters, -59.9, 3.48),
    )


def adex(firing: Firing = "threshold", **parameters: ArrayLike) -> EventSDE:
    r"""The adaptive exponential integrate-and-fire neuron.

    .. math::
        C\,dv &= \big(g_L (E_L - v) + g_L Δ_T\,e^{(v - v_T)/Δ_T} - w_{ad} + i + I\big)\,dt \\
        τ_w\,dw_{ad} &= (a\,(v - E_L) - w_{ad})\,dt, \qquad di = -i/τ_s\,dt + σ\,dB.

    A spike comes where v reaches ``v_peak``, and sets v to ``v_reset``; or by escape, at the rate
    :math:`λ(v) = ρ\,e^{β (v - v_{th})}`, and takes ``v_th - v_reset`` from v. It adds b to the adaptation ``w_ad``, and
    the weight (pA) to i of a target. Above ``v_peak`` no exponential grows any further, so that no step overflows.

    Parameters
    ----------
    firing : {"escape", "threshold"}
    **parameters : array_like
        Other values than these: ``C=281`` pF, ``g_L=30`` nS, ``E_L=-70.6`` mV, ``v_T=-50.4`` mV, ``Delta_T=2`` mV,
        adaptation ``tau_w=144`` ms, ``a=4`` nS and ``b=80.5`` pA, ``v_peak=v_T + 5*Delta_T``, ``v_reset=-70.6`` mV,
        ``tau_s=5`` ms, noise ``sigma=0`` pA/√ms; of escape, ``v_th=-46`` mV, ``beta=1`` per mV and ``rho=1`` per ms; at
        the start ``v0=E_L``, ``w_ad0=0``, ``i0=0``.

    Returns
    -------
    EventSDE

    Raises
    ------
    ValidationError
        If a parameter is unknown or does not fit, or `firing` is neither of the two.

    Notes
    -----
    From ``v_T + 5*Delta_T`` the upswing to infinity takes 0.06 ms more, less than most steps. A higher peak (the paper
    stops at 20 mV) hardly moves spikes, but a solver has its order only at steps that follow the upswing up to the
    peak. Escape needs β > 1/Δ_T: else v may rise past any bound without a spike.

    References
    ----------
    R. Brette and W. Gerstner, "Adaptive exponential integrate-and-fire model as an effective description of neuronal
    activity", Journal of Neurophysiology 94, 2005.

    Examples
    --------
    >>> bursting = adex(tau_w=40.0, v_reset=-46.4)
    >>> bursting.states
    ('v', 'w_ad', 'i')
    """
    escape = _chosen("firing", firing, ("escape", "threshold")) == "escape"
    return _model(
        """
        dv/dt = (g_L*(E_L - v) + g_L*Delta_T*exp((min(v, v_peak) - v_T)/Delta_T) - w_ad + i + I)/C
        dw_ad/dt = (a*(v - E_L) - w_ad)/tau_w
        di/dt = -i/tau_s + sigma*xi
        """,
        Event(hazard="rho*exp(beta*(min(v, v_peak) - v_th))", then="v -= v_th - v_reset; w_ad += b")
        if escape
        else Event(crossing="v - v_peak", then="v = v_reset; w_ad += b"),
        synapse="i += w",
        defaults={"C": 281.0, "g_L": 30.0, "E_L": -70.6, "v_T": -50.4, "Delta_T": 2.0, "tau_w": 144.0, "a": 4.0}
        | {"b": 80.5, "v_peak": -40.4, "v_reset": -70.6, "tau_s": 5.0, "sigma": 0.0}
        | ({"v_th": -46.0, "beta": 1.0, "rho": 1.0} if escape else {}),
        starts={"v": "E_L"},
        given=_with_peak(parameters, -50.4, 2.0),
    )


def izhikevich(**parameters: ArrayLike) -> EventSDE:
    r"""Izhikevich's simple model.

    .. math::
        dv = (0.04\,v^2 + 5\,v + 140 - u + i + I)\,dt, \qquad du = a\,(b v - u)\,dt, \qquad di = -i/τ_s\,dt + σ\,dB.

    A spike comes where v reaches 30 mV, sets v to c, and adds d to u; it adds the weight to i of a target. Currents are
    in mV/ms.

    Parameters
    ----------
    **parameters : array_like
        Other values than these, which are of regular spiking: ``a=0.02`` per ms, ``b=0.2`` per ms, ``c=-65`` mV,
        ``d=8`` mV/ms, ``tau_s=5`` ms, noise ``sigma=0`` mV/ms/√ms; at the start ``v0=-65``, ``u0=-13``, ``i0=0``.

    Returns
    -------
    EventSDE

    Raises
    ------
    ValidationError
        If a parameter is unknown or does not fit.

    References
    ----------
    E. M. Izhikevich, "Simple model of spiking neurons", IEEE Transactions on Neural Networks 14, 2003. Its figure 2
    has, as (a, b, c, d): intrinsically bursting (0.02, 0.2, −55, 4), chattering (0.02, 0.2, −50, 2), fast spiking (0.1,
    0.2, −65, 2), low-threshold spiking (0.02, 0.25, −65, 2).

    Examples
    --------
    >>> chattering = izhikevich(c=-50.0, d=2.0)
    >>> float(chattering.parameters["c"])
    -50.0
    """
    return _model(
        """
        dv/dt = 0.04*v**2 + 5*v + 140 - u + i + I
        du/dt = a*(b*v - u)
        di/dt = -i/tau_s + sigma*xi
        """,
        Event(crossing="v - 30", then="v = c; u += d"),
        synapse="i += w",
        defaults={"a": 0.02, "b": 0.2, "c": -65.0, "d": 8.0, "tau_s": 5.0, "sigma": 0.0},
        starts={"v": -65.0, "u": -13.0},
        given=parameters,
    )


def glif(**parameters: ArrayLike) -> EventSDE:
    r"""The generalized leaky integrate-and-fire neuron, with an adaptive threshold and after-spike currents.

    .. math::
        C\,dv &= (g_L (E_L - v) + i_1 + i_2 + i + I)\,dt, & di &= -i/τ_s\,dt + σ\,dB \\
        dθ_v &= (a_v (v - E_L) - b_v θ_v)\,dt, & dθ_s &= -b_s θ_s\,dt, \qquad di_j = -k_j i_j\,dt

    (GLIF₅). A spike comes where v reaches θ_∞ + θ_v + θ_s. It sets v to E_L + f_v (v − E_L) + δ_v, and adds δ_s to θ_s
    and A_j to i_j, and the weight (pA) to i of a target.

    Parameters
    ----------
    **parameters : array_like
        Other values than these: ``C=58.72`` pF, ``g_L=9.43`` nS, ``E_L=-78.85`` mV, threshold ``theta_inf=-51.68`` mV,
        ``a_v=0.005`` and ``b_v=0.09`` per ms, ``b_s=0.009`` per ms and ``delta_s=0.37`` mV; reset ``f_v=0.2`` and
        ``delta_v=18.51`` mV; after-spike currents ``k_1=0.003`` and ``k_2=0.1`` per ms, ``A_1=-9.18`` and
        ``A_2=-198.94`` pA; ``tau_s=2`` ms, noise ``sigma=0`` pA/√ms; at the start ``v0=E_L``, all else 0
        (``theta_v0``, ``theta_s0``, ``i_10``, ``i_20``, ``i0``).

    Returns
    -------
    EventSDE

    Raises
    ------
    ValidationError
        If a parameter is unknown or does not fit.

    References
    ----------
    .. [1] C. Teeter et al., "Generalized leaky integrate-and-fire models classify multiple neuron types", Nature
       Communications 9, 2018; its refractory period is left out. The values are those of a cell of the Allen Cell Types
       Database, the defaults of ``glif_psc`` in NEST.
    .. [2] S. Mihalas and E. Niebur, "A generalized linear integrate-and-fire neural model produces diverse spiking
       behaviors", Neural Computation 21, 2009.

    Examples
    --------
    >>> glif().states
    ('v', 'theta_v', 'theta_s', 'i_1', 'i_2', 'i')
    """
    return _model(
        """
        dv/dt = (g_L*(E_L - v) + i_1 + i_2 + i + I)/C
        dtheta_v/dt = a_v*(v - E_L) - b_v*theta_v
        dtheta_s/dt = -b_s*theta_s
        di_1/dt = -k_1*i_1
        di_2/dt = -k_2*i_2
        di/dt = -i/tau_s + sigma*xi
        """,
        Event(
            crossing="v - (theta_inf + theta_v + theta_s)",
            then="v = E_L + f_v*(v - E_L) + delta_v; theta_s += delta_s; i_1 += A_1; i_2 += A_2",
        ),
        synapse="i += w",
        defaults={"C": 58.72, "g_L": 9.43, "E_L": -78.85, "theta_inf": -51.68, "a_v": 0.005, "b_v": 0.09, "b_s": 0.009}
        | {"delta_s": 0.37, "f_v": 0.2, "delta_v": 18.51, "k_1": 0.003, "k_2": 0.1, "A_1": -9.18, "A_2": -198.94}
        | {"tau_s": 2.0, "sigma": 0.0},
        starts={"v": "E_L"},
        given=parameters,
    )


def hodgkin_huxley(**parameters: ArrayLike) -> EventSDE:
    r"""Hodgkin and Huxley's neuron.

    .. math::
        C\,dv &= \big(g_{Na} m^3 h\,(E_{Na} - v) + g_K n^4 (E_K - v) + g_L (E_L - v) + i + I\big)\,dt \\
        dx &= (α_x(v) (1 - x) - β_x(v)\,x)\,dt, \quad x = m, h, n, \qquad di = -i/τ_s\,dt + σ\,dB

    with, in mV and per ms,

    .. math::
        α_m &= \frac{(v + 40)/10}{1 - e^{-(v + 40)/10}}, & β_m &= 4\,e^{-(v + 65)/18} \\
        α_h &= 0.07\,e^{-(v + 65)/20}, & β_h &= \frac{1}{1 + e^{-(v + 35)/10}} \\
        α_n &= 0.1\,\frac{(v + 55)/10}{1 - e^{-(v + 55)/10}}, & β_n &= 0.125\,e^{-(v + 65)/80}.

    A spike comes where v passes ``v_spike`` from below; it changes nothing but i of a target, to which it adds the
    weight. Where the fractions become 0/0 their series stand in for them, to rounding.

    Parameters
    ----------
    **parameters : array_like
        Other values than these: ``C=1`` µF/cm², ``g_Na=120``, ``g_K=36`` and ``g_L=0.3`` mS/cm², ``E_Na=50``,
        ``E_K=-77`` and ``E_L=-54.4`` mV, ``v_spike=0`` mV, ``tau_s=5`` ms, noise ``sigma=0`` µA/cm²/√ms; at the start,
        which is rest, ``v0=-65``, ``m0=0.0529``, ``h0=0.5961``, ``n0=0.3177``, ``i0=0``. Currents are in µA/cm².

    Returns
    -------
    EventSDE

    Raises
    ------
    ValidationError
        If a parameter is unknown or does not fit.

    References
    ----------
    A. L. Hodgkin and A. F. Huxley, "A quantitative description of membrane current and its application to conduction
    and excitation in nerve", Journal of Physiology 117, 1952; potentials as today, rest at −65 mV.

    Examples
    --------
    >>> hodgkin_huxley().events
    (Event(crossing='v - v_spike'),)
    """
    return _model(
        """
        x_m = (v + 40)/10
        x_n = (v + 55)/10
        alpha_m = where(abs(x_m) < 0.02, 1 + x_m/2 + x_m**2/12 - x_m**4/720, x_m/(1 - exp(-x_m)))
        alpha_n = 0.1*where(abs(x_n) < 0.02, 1 + x_n/2 + x_n**2/12 - x_n**4/720, x_n/(1 - exp(-x_n)))
        alpha_h = 0.07*exp(-(v + 65)/20)
        beta_m = 4*exp(-(v + 65)/18)
        beta_n = 0.125*exp(-(v + 65)/80)
        beta_h = 1/(1 + exp(-(v + 35)/10))
        dv/dt = (g_Na*m**3*h*(E_Na - v) + g_K*n**4*(E_K - v) + g_L*(E_L - v) + i + I)/C
        dm/dt = alpha_m*(1 - m) - beta_m*m
        dh/dt = alpha_h*(1 - h) - beta_h*h
        dn/dt = alpha_n*(1 - n) - beta_n*n
        di/dt = -i/tau_s + sigma*xi
        """,
        Event(crossing="v - v_spike"),
        synapse="i += w",
        defaults={"C": 1.0, "g_Na": 120.0, "g_K": 36.0, "g_L": 0.3, "E_Na": 50.0, "E_K": -77.0, "E_L": -54.4}
        | {"v_spike": 0.0, "tau_s": 5.0, "sigma": 0.0},
        starts={"v": -65.0, "m": 0.0529, "h": 0.5961, "n": 0.3177},
        given=parameters,
    )


def bouncing_ball(**parameters: ArrayLike) -> EventSDE:
    r"""A ball that bounces, in gusty air.

    .. math::
        dh = u\,dt, \qquad du = -(g + k\,u|u|)\,dt + σ\,u\,dB.

    An event comes where the height h reaches 0, and turns the velocity u into −c·u. Noise in proportion to u commutes
    with that, so that there are gradients.

    Parameters
    ----------
    **parameters : array_like
        Other values than these: gravity ``g=9.81`` m/s², drag ``k=0`` per m, restitution ``c=0.8``, noise ``sigma=0``
        per √s; at the start ``h0=1`` m, ``u0=0`` m/s.

    Returns
    -------
    EventSDE

    Raises
    ------
    ValidationError
        If a parameter is unknown or does not fit.

    Notes
    -----
    With c < 1 infinitely many bounces come before the ball lies still, and in a step that holds two of them it falls
    through the ground; end the simulation before, at ``max_spikes``, say. The first bounce comes at
    :math:`τ_1 = \sqrt{2 h_0/g}` where there are neither drag nor noise, the next ones :math:`2 c^j τ_1` apart.

    References
    ----------
    R. T. Q. Chen, B. Amos and M. Nickel, "Learning neural event functions for ordinary differential equations", ICLR
    2021, which has it as its example.

    Examples
    --------
    >>> bouncing_ball(h0=2.0).states
    ('h', 'u')
    """
    return _model(
        """
        dh/dt = u
        du/dt = -g - k*u*abs(u) + sigma*u*xi
        """,
        Event(crossing="-h", then="u = -c*u"),
        defaults={"g": 9.81, "k": 0.0, "c": 0.8, "sigma": 0.0},
        starts={"h": 1.0},
        given=parameters,
    )


def jump_diffusion(**parameters: ArrayLike) -> EventSDE:
    r"""A price that diffuses and jumps.

    .. math::
        ds = μ s\,dt + σ s\,dB, \qquad λ(s) = ρ\,(s_{ref}/s)^p.

    An event comes at the rate λ, and multiplies the price by 1 + J. With p = 0 the jumps are a Poisson process
    (Merton, with jumps of one size): log s(t) then has the mean
    :math:`\log s_0 + (μ - σ^2/2)\,t + ρ t \log(1 + J)` and the variance :math:`(σ^2 + ρ \log^2(1 + J))\,t`. With p > 0
    a price that has fallen falls more often; if J < 0, infinitely many jumps may then come in a finite time, as to
    bankruptcy, which ends a simulation with the error that dt is too large, unless ``max_spikes`` does before.

    Parameters
    ----------
    **parameters : array_like
        Other values than these: drift ``mu=0.1`` and rate ``rho=1`` per year, volatility ``sigma=0.2`` per √year, jump
        ``J=-0.1``, above −1, ``p=0``, ``s_ref=1``; at the start ``s0=1``.

    Returns
    -------
    EventSDE

    Raises
    ------
    ValidationError
        If a parameter is unknown or does not fit.

    References
    ----------
    .. [1] R. C. Merton, "Option pricing when underlying stock returns are discontinuous", Journal of Financial
       Economics 3, 1976.
    .. [2] V. Linetsky, "Pricing equity derivatives subject to bankruptcy", Mathematical Finance 16, 2006, for rates
       that are powers of the price.

    Examples
    --------
    >>> jump_diffusion(J=-0.2).events
    (Event(hazard='rho*(s_ref/s)**p', then='s *= 1 + J'),)
    """
    return _model(
        "ds/dt = mu*s + sigma*s*xi",
        Event(hazard="rho*(s_ref/s)**p", then="s *= 1 + J"),
        defaults={"mu": 0.1, "sigma": 0.2, "rho": 1.0, "J": -0.1, "p": 0.0, "s_ref": 1.0},
        starts={"s": 1.0},
        given=parameters,
    )


def _with_peak(given: Mapping[str, ArrayLike], v_T: float, Delta_T: float) -> dict[str, ArrayLike]:
    """Given values with that of v_peak, v_T + 5*Delta_T, if it follows from them."""
    if "v_peak" in given or not {"v_T", "Delta_T"} & set(given):
        return dict(given)
    foot, width = (
        as_real_array(name, given.get(name, default), (0, 1, 2), PER_NEURON)
        for name, default in (("v_T", v_T), ("Delta_T", Delta_T))
    )
    try:
        return {**given, "v_peak": foot + 5 * width}
    except ValueError:
        raise ValidationError(
            f"v_T and Delta_T must have shapes that go together, got {foot.shape} and {width.shape}"
        ) from None


def _model(
    equations: str,
    event: Event,
    *,
    defaults: Mapping[str, float],
    given: Mapping[str, ArrayLike],
    synapse: str = "",
    starts: Mapping[str, float | str] | None = None,
    interpretation: str = "ito",
) -> EventSDE:
    """A model with given values in place of its defaults; a variable may start at the value of a parameter."""
    starts = {} if starts is None else starts
    initial = {x: defaults[at] if isinstance(at, str) else at for x, at in starts.items()}
    model = EventSDE(equations, event, synapse, defaults, initial, interpretation)
    following = {f"{x}0": given[at] for x, at in starts.items() if isinstance(at, str) and at in given}
    return model.replace(**given, **{name: value for name, value in following.items() if name not in given})


def _chosen(argument: str, value: str, allowed: tuple[str, str]) -> str:
    if value not in allowed:
        raise ValidationError(f'{argument} must be "{allowed[0]}" or "{allowed[1]}", got {describe(value)}')
    return value
