"""Models of Brian 2 as networks of this package: its equations, threshold, reset, refractoriness and synapses."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ValidationError
from .formulas.event_sde import Event, EventSDE
from .formulas.grammar import FUNCTIONS
from .network import Network
from .validation import describe

Array = NDArray[np.float64]

#: The state variable that counts the time since the last spike, where there is a refractory period.
SINCE_SPIKE = "since_spike"
#: What it starts with, in seconds: as if the last spike were so long ago.
LONG_AGO = 1e4

_OPERATORS: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_COMPARISONS: dict[type, str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
# Functions of Brian 2 that formulas have by another name.
_WRITTEN = {
    "exprel": "where(abs({0}) < 1e-6, 1 + {0}/2, (exp({0}) - 1)/({0}))",
    "expm1": "(exp({0}) - 1)",
    "log1p": "log(1 + {0})",
    "log10": "(log({0})/log(10))",
    "tan": "(sin({0})/cos({0}))",
    "sinh": "((exp({0}) - exp(-({0})))/2)",
    "cosh": "((exp({0}) + exp(-({0})))/2)",
}
_ORDINARY_RUNNERS = {"StateUpdater", "Thresholder", "Resetter", "SubexpressionUpdater"}


def from_brian2(
    group: Any, synapses: Any = None, *, namespace: Mapping[str, Any] | None = None, interpretation: str = "ito"
) -> Network:
    r"""A network with the equations and the present values of a NeuronGroup of Brian 2.

    Carried over are differential equations, subexpressions and parameters; white noise; a threshold ``a > b``, which
    becomes a crossing of a − b and is located within the step, where Brian 2 looks once a step; the reset; a refractory
    period; and synapses of the group with itself, whose `on_pre` changes variables of the target. All numbers become
    plain numbers in SI units. The state variables start with the values that the group has now.

    Names that mean something here get an underscore: a variable ``w`` is called ``w_``, and ``I`` ``I_``. A refractory
    period T adds a variable ``since_spike`` with d/dt = 1, which the reset puts to 0; equations that hold ``unless
    refractory`` stand still until it reaches T, and no event comes before.

    Parameters
    ----------
    group : brian2.NeuronGroup
    synapses : brian2.Synapses, optional
        Of the group with itself; its one parameter in `on_pre` becomes the weight w.
    namespace : mapping of str, optional
        Values of names that neither the group nor its own namespace has; default: the caller's variables.
    interpretation : {"ito", "stratonovich"}
        Of noise that depends on the state. Brian 2's "euler" means Itô, its "heun" and "milstein" Stratonovich.

    Returns
    -------
    Network
        Numbers that are the same for all neurons are parameters of shape (), others of shape (N,).

    Raises
    ------
    ValidationError
        With a list of all that cannot be carried over, and why; or if an argument is not what it should be.

    Examples
    --------
    >>> import brian2 as b                                                         # doctest: +SKIP
    >>> tau, v_th = 10 * b.ms, 1.0                                                  # doctest: +SKIP
    >>> group = b.NeuronGroup(3, "dv/dt = (1.5 - v)/tau : 1", threshold="v > v_th", reset="v = 0")  # doctest: +SKIP
    >>> from_brian2(group).parameters["tau"]                                       # doctest: +SKIP
    array(0.01)
    """
    try:
        import brian2
    except ImportError:
        raise ValidationError("from_brian2 needs Brian 2: pip install brian2") from None
    if not isinstance(group, brian2.NeuronGroup):
        raise ValidationError(f"group must be a NeuronGroup of Brian 2, got {describe(group)}")
    if synapses is not None and not isinstance(synapses, brian2.Synapses):
        raise ValidationError(f"synapses must be a Synapses object of Brian 2, got {describe(synapses)}")
    if namespace is None:
        namespace = brian2.core.namespace.get_local_namespace(level=1)
    reader = _Reader(brian2, group, namespace)
    equations, threshold, then = reader.equations(), reader.threshold(), reader.reset()
    arrival, weights = reader.synapses(synapses) if synapses is not None else ("", None)
    if reader.refused:
        listed = "\n".join(f"  - {what}" for what in dict.fromkeys(reader.refused))
        raise ValidationError(f"from_brian2 cannot carry over:\n{listed}")
    model = EventSDE(
        "\n".join(equations),
        Event(crossing=threshold, then=then) if threshold else (),
        synapse=arrival,
        parameters=reader.parameters,
        initial=reader.initial,
        interpretation=interpretation,
    )
    return Network(model, weights) if weights is not None else Network(model, n=int(group.N))


class _Reader:
    """Translates the parts of one group; `refused` is what it could not."""

    def __init__(self, brian2: Any, group: Any, namespace: Mapping[str, Any]) -> None:
        self.brian2, self.group, self.given = brian2, group, namespace
        self.refused: list[str] = []
        self.parameters: dict[str, Any] = {}
        self.initial: dict[str, Any] = {}
        self.lines = dict(group.user_equations.items())
        kinds: dict[str, list[str]] = {"differential equation": [], "subexpression": [], "parameter": []}
        for name, line in self.lines.items():
            kinds[line.type].append(name)
        self.states = kinds["differential equation"]
        self.own_parameters = kinds["parameter"]
        self.period = self.refractory_period()
        extra = [each for each in group.contained_objects if type(each).__name__ not in _ORDINARY_RUNNERS]
        self.refused += [f"{type(each).__name__} {each.name!r}: what runs besides the equations" for each in extra]
        self.refused += [f"event {name!r}: events other than spikes" for name in group.events if name != "spike"]

    def refuse(self, what: str, why: str) -> str:
        self.refused.append(f"{what}: {why}")
        return "0"

    # --- numbers ------------------------------------------------------------------------------------------------------

    def number(self, value: Any) -> float | Array | None:
        """A constant in SI units; None if it is no number."""
        if isinstance(value, bool | np.bool_) or callable(value):
            return None
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            return None
        return float(array) if array.ndim == 0 else None

    def held(self, owner: Any, name: str) -> Any:
        """The values of a variable of Brian 2's, one number where all are equal."""
        values = np.asarray(owner.variables[name].get_value(), dtype=np.float64).ravel()
        return float(values[0]) if values.size and (values == values[0]).all() else values

    def refractory_period(self) -> str:
        """The refractory period as a formula; empty where there is none."""
        period = self.group._refractory
        if period is False or period is None:
            return ""
        if isinstance(period, str):
            return self.formula(period, "refractory")
        number = self.number(period)
        return repr(number) if number else ""

    # --- names and formulas -------------------------------------------------------------------------------------------

    def own(self, name: str) -> str:
        """What a name of the group's is called here."""
        taken = name in ("t", "I", "w", "pi", "dt", SINCE_SPIKE) or name in FUNCTIONS or name == "xi"
        return f"{name}_" if taken else name

    def name(self, name: str, where: str) -> str:
        if name in self.lines:
            if name in self.own_parameters:
                self.parameters[self.own(name)] = self.held(self.group, name)
            return self.own(name)
        if name == "t" or name == "xi" or name.startswith("xi_"):
            return name
        if name in ("dt", "N", "i", "lastspike", "not_refractory", "t_in_timesteps"):
            return self.refuse(f"{name} in {where}", "a variable of Brian 2's own")
        for names in (self.group.namespace or {}, self.given):
            if name in names:
                number = self.number(names[name])
                if number is None:
                    kind = type(names[name]).__name__
                    return self.refuse(f"{name} in {where}", f"a {kind}, and not one number")
                self.parameters[self.own(name)] = number
                return self.own(name)
        defaults = {**self.brian2.core.namespace.DEFAULT_UNITS, **self.brian2.core.namespace.DEFAULT_CONSTANTS}
        if name in defaults:
            value = getattr(defaults[name], "value", defaults[name])
            return "pi" if name == "pi" else repr(float(np.asarray(value)))
        return self.refuse(f"{name} in {where}", "a name without a value")

    def formula(self, text: str, where: str, rename: Mapping[str, str] | None = None) -> str:
        """An expression of Brian 2's in the notation of formulas, with plain numbers in the place of units."""
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except SyntaxError:
            return self.refuse(f"{text!r} in {where}", "no expression")
        return self.text(tree, where, rename or {})

    def text(self, node: ast.expr, where: str, rename: Mapping[str, str]) -> str:
        def of(part: ast.expr) -> str:
            return self.text(part, where, rename)

        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return repr(node.value)
        if isinstance(node, ast.Name):
            return rename[node.id] if node.id in rename else self.name(node.id, where)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return f"({of(node.left)} {_OPERATORS[type(node.op)]} {of(node.right)})"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return f"(-{of(node.operand)})"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd):
            return of(node.operand)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return f"(not {of(node.operand)})"
        if isinstance(node, ast.BoolOp):
            word = " and " if isinstance(node.op, ast.And) else " or "
            return f"({word.join(of(value) for value in node.values)})"
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return f"({of(node.left)} {_COMPARISONS[type(node.ops[0])]} {of(node.comparators[0])})"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            name, arguments = node.func.id, [of(argument) for argument in node.args]
            if name == "int" and isinstance(node.args[0], ast.Compare | ast.BoolOp | ast.UnaryOp):
                return f"where({arguments[0]}, 1, 0)"
            if name in _WRITTEN and len(arguments) == 1:
                return _WRITTEN[name].format(arguments[0])
            if name in FUNCTIONS:
                return f"{name}({', '.join(arguments)})"
            return self.refuse(f"{name}() in {where}", "a function that formulas do not have")
        return self.refuse(f"{ast.unparse(node)!r} in {where}", "not in the notation of formulas")

    # --- parts of the group -------------------------------------------------------------------------------------------

    def equations(self) -> list[str]:
        lines = []
        for name, line in self.lines.items():
            flags = set(line.flags)
            for flag in flags - {"unless refractory", "constant", "shared"}:
                self.refuse(f"({flag}) of {name}", "a flag that has no counterpart")
            if line.type == "parameter":
                if line.var_type == "boolean":
                    self.refuse(f"parameter {name}", "a truth value")
                continue
            right = self.formula(line.expr.code, f"the equation of {name}")
            if line.type == "subexpression":
                lines.append(f"{self.own(name)} = {right}")
                continue
            if "unless refractory" in flags and self.period:
                if line.expr.stochastic_variables:
                    self.refuse(f"(unless refractory) of {name}", "its noise would have to stand still, too")
                right = f"where({SINCE_SPIKE} >= {self.period}, {right}, 0)"
            lines.append(f"d{self.own(name)}/dt = {right}")
            self.initial[self.own(name)] = self.held(self.group, name)
        if self.period and "spike" in self.group.events:
            lines.append(f"d{SINCE_SPIKE}/dt = 1")
            self.initial[SINCE_SPIKE] = LONG_AGO
        return lines

    def threshold(self) -> str:
        """The function that reaches 0 where the neuron fires."""
        text = self.group.events.get("spike")
        if text is None:
            return ""
        tree = ast.parse(text.strip(), mode="eval").body
        single = isinstance(tree, ast.Compare) and len(tree.ops) == 1
        if not single or not isinstance(tree.ops[0], ast.Gt | ast.GtE | ast.Lt | ast.LtE):  # type: ignore[attr-defined]
            return self.refuse(f"threshold {text!r}", "only one comparison a > b has a crossing")
        left, right = (self.text(part, "threshold", {}) for part in (tree.left, tree.comparators[0]))  # type: ignore[attr-defined]
        if isinstance(tree.ops[0], ast.Lt | ast.LtE):  # type: ignore[attr-defined]
            left, right = right, left
        crossing = f"{left} - {right}"
        return f"min({crossing}, {SINCE_SPIKE} - {self.period})" if self.period else crossing

    def reset(self) -> str:
        text = self.group.event_codes.get("spike") or ""
        statements = self.statements(text, "reset", {})
        if self.period and "spike" in self.group.events:
            statements.append(f"{SINCE_SPIKE} = 0")
        return "\n".join(statements)

    def statements(self, text: str, where: str, rename: Mapping[str, str]) -> list[str]:
        out: list[str] = []
        try:
            body = ast.parse("\n".join(line.strip() for line in text.replace(";", "\n").splitlines())).body
        except SyntaxError:
            self.refuse(f"{text!r} in {where}", "no statements")
            return out
        for statement in body:
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target, sign = statement.targets[0], "="
            elif isinstance(statement, ast.AugAssign) and type(statement.op) in _OPERATORS:
                target, sign = statement.target, f"{_OPERATORS[type(statement.op)]}="
            else:
                self.refuse(f"{ast.unparse(statement)!r} in {where}", "only assignments are carried over")
                continue
            name = ast.unparse(target)
            place = rename.get(name, self.own(name))
            if place not in {self.own(state) for state in self.states}:
                self.refuse(f"{name} in {where}", "only variables with a differential equation change")
            out.append(f"{place} {sign} {self.text(statement.value, where, rename)}")
        return out

    # --- synapses -----------------------------------------------------------------------------------------------------

    def synapses(self, synapses: Any) -> tuple[str, Any]:
        """The synapse statement, and the weights as a sparse matrix."""
        import scipy.sparse

        if synapses.source is not self.group or synapses.target is not self.group:
            self.refuse(f"synapses {synapses.name!r}", "they must go from the group to itself")
            return "", None
        for name, line in {**synapses.equations, **(synapses.event_driven or {})}.items():
            if line.type != "parameter" and name != "lastupdate":
                self.refuse(f"{name} of the synapses", f"a {line.type}")
        paths = list(synapses._synaptic_updaters)
        for other in paths:
            if other != "pre":
                self.refuse(f"pathway {other!r} of the synapses", "only on_pre is carried over")
        if "pre" not in paths:
            return "", None
        if np.any(np.asarray(synapses.pre.variables["delay"].get_value()) != 0):
            self.refuse("delay of the synapses", "spikes arrive at once")
        code = synapses.pre.code
        own = [name for name, line in synapses.equations.items() if line.type == "parameter"]
        tree = ast.parse("\n".join(line.strip() for line in code.replace(";", "\n").splitlines()))
        names = {part.id for part in ast.walk(tree) if isinstance(part, ast.Name)}
        used = [name for name in own if name in names]
        if len(used) > 1:
            self.refuse(f"{', '.join(used)} in on_pre", "a synapse has one number, its weight")
        rename = {f"{state}_post": self.own(state) for state in self.lines} | dict.fromkeys(used, "w")
        for name in sorted(names):
            if name.endswith("_pre"):
                self.refuse(f"{name} in on_pre", "a target does not see the neuron that fires")
        statements = self.statements(code, "on_pre", rename)
        for name in self.own_parameters:
            if f"{name}_post" in code:
                self.name(name, "on_pre")
        rows, columns = np.asarray(synapses.i[:]), np.asarray(synapses.j[:])
        values = np.ones(rows.size)
        if used:
            values = np.broadcast_to(np.asarray(synapses.variables[used[0]].get_value(), dtype=np.float64), rows.shape)
        else:
            statements = [self.weighted(statement) for statement in statements]
        pairs = np.unique(np.stack([rows, columns]), axis=1).shape[1]
        if pairs < rows.size and not all(" += " in statement for statement in statements):
            self.refuse("synapses", "several of them between two neurons add up only where on_pre adds")
        size = int(self.group.N)
        return "\n".join(statements), scipy.sparse.csr_matrix((values, (rows, columns)), shape=(size, size))

    def weighted(self, statement: str) -> str:
        """A statement without a weight, with one, which is 1."""
        target, sign, value = statement.split(" ", 2)
        if sign not in ("+=", "-="):
            self.refuse(f"{statement!r} in on_pre", "without a weight only += and -= are carried over")
        return f"{target} {sign} w*({value})"
