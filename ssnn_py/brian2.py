"""Models of Brian 2 as networks of this package: its equations, threshold, reset, refractoriness and synapses."""

from __future__ import annotations

import ast
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import ValidationError
from .formulas.analysis import evaluated, meaning
from .formulas.event_sde import INTERPRETATIONS, OF_NETWORKS, Event, EventSDE
from .formulas.grammar import FUNCTIONS, FormulaError
from .network import Network
from .validation import describe

Array = NDArray[np.float64]

#: The state variable that counts the time since the last spike, where there is a refractory period.
SINCE_SPIKE = "since_spike"

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
    "sign": "piecewise({0} > 0, 1, {0} < 0, -1, 0)",
}
_OF_BRIAN = ("dt", "N", "i", "j", "lastspike", "lastupdate", "t_in_timesteps")
_OF_GROUPS = ("StateUpdater", "Thresholder", "Resetter", "SubexpressionUpdater")
_OF_SYNAPSES = ("StateUpdater", "SynapticPathway", "SubexpressionUpdater")


class _Statement(NamedTuple):
    """A statement of a reset or of on_pre, by the names of Brian 2; `sign` is "=" or one like "+="."""

    name: str
    sign: str
    value: ast.expr

    @property
    def adds(self) -> bool:
        return self.sign in ("+=", "-=")


#: What a name in an expression becomes.
_Names = Callable[[str, str], str]


def from_brian2(
    group: Any, synapses: Any = None, *, namespace: Mapping[str, Any] | None = None, interpretation: str = "ito"
) -> Network:
    r"""A network with the equations and the present values of a NeuronGroup of Brian 2.

    Carried over are differential equations, subexpressions and parameters; white noise; a threshold ``a > b``, which
    becomes a crossing of a − b and is located within the step, where Brian 2 looks once a step; the reset; a refractory
    period; and synapses of the group with itself, whose `on_pre` changes variables of the target. All numbers become
    plain numbers in SI units. The state variables start with the values that the group has now.

    Names that mean something here get an underscore: a variable ``w`` is called ``w_``, ``I`` is ``I_``, and a
    parameter ``v0`` beside a variable ``v``, whose initial value has that name, ``v0_``. Parameters that a reset or
    `on_pre` changes become variables. A refractory period T adds a variable ``since_spike`` with d/dt = 1, which the
    reset puts to 0; what holds ``unless refractory`` stands still until it reaches T, also when a spike arrives, and no
    event comes before. A refractory condition that is the threshold's is what a crossing means.

    Parameters
    ----------
    group : brian2.NeuronGroup
    synapses : brian2.Synapses, optional
        Of the group with itself. The parameter in `on_pre` whose values differ between synapses becomes the weight w.
    namespace : mapping of str, optional
        Values of names that neither the group nor its own namespace has; default: the caller's variables.
    interpretation : {"ito", "stratonovich"}, optional
        In which sense noise that depends on the state is meant. Brian 2's "euler" means Itô, its "heun" and "milstein"
        Stratonovich. Default "ito".

    Returns
    -------
    Network
        Numbers that are the same for all neurons are parameters of shape (), others of shape (N,). Weights are a
        sparse matrix.

    Raises
    ------
    ValidationError
        With a list of all that cannot be carried over, and why; or if an argument is not what it should be, or Brian 2
        is not installed.

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
    if interpretation not in INTERPRETATIONS:
        raise ValidationError(f'interpretation must be "ito" or "stratonovich", got {describe(interpretation)}')
    if namespace is None:
        namespace = brian2.core.namespace.get_local_namespace(level=1)
    reader = _Reader(brian2, group, synapses, namespace)
    equations, threshold, then = reader.equations(), reader.threshold(), reader.reset()
    arrival, weights = reader.arrival()
    reader.raise_refused()
    try:
        model = EventSDE(
            "\n".join(equations),
            Event(crossing=threshold, then=then) if threshold else (),
            synapse=arrival,
            parameters=reader.parameters,
            initial=reader.initial,
            interpretation=interpretation,
        )
    except FormulaError as error:
        reader.refused.append(str(error))
        reader.raise_refused()
        raise
    reader.check_start(model)
    reader.raise_refused()
    return Network(model, weights) if weights is not None else Network(model, n=int(group.N))


class _Reader:
    """Translates the parts of one group and its synapses; `refused` is what it could not."""

    def __init__(self, brian2: Any, group: Any, synapses: Any, namespace: Mapping[str, Any]) -> None:
        self.group, self.given = group, namespace
        self.constants = {**brian2.core.namespace.DEFAULT_UNITS, **brian2.core.namespace.DEFAULT_CONSTANTS}
        self.functions = brian2.core.functions.DEFAULT_FUNCTIONS
        self.refused: list[str] = []
        self.parameters: dict[str, Any] = {}
        self.initial: dict[str, Any] = {}
        self.lines = dict(group.user_equations.items())
        self.fires = "spike" in group.events
        self.synapses, self.path = synapses, self.pathway(synapses)
        self.resets = self.statements(group.event_codes.get("spike") or "", "reset")
        self.arrivals = [] if self.path is None else self.statements(self.path.code, "on_pre")
        self.checked_targets()
        self.called: dict[Any, str] = {}
        for name in sorted(self.lines, key=lambda name: name not in self.states):
            self.called[name] = self.free(name, name in self.states)
        self.period = ""
        self.period, self.until_below = self.refractory()
        for each in group.contained_objects:
            if type(each).__name__ not in _OF_GROUPS:
                self.refuse(f"{type(each).__name__} {each.name!r}", "what runs besides the equations")
        for name in group.events:
            if name != "spike":
                self.refuse(f"event {name!r}", "events other than spikes")

    def refuse(self, what: str, why: str) -> str:
        self.refused.append(f"{what}: {why}")
        return "0"

    def raise_refused(self) -> None:
        if self.refused:
            listed = "\n".join(f"  - {what}" for what in dict.fromkeys(self.refused))
            raise ValidationError(f"from_brian2 cannot carry over:\n{listed}")

    # --- what there is ------------------------------------------------------------------------------------------------

    def pathway(self, synapses: Any) -> Any:
        """What runs when a spike arrives, or None."""
        if synapses is None:
            return None
        if synapses.source is not self.group or synapses.target is not self.group:
            self.refuse(f"synapses {synapses.name!r}", "they must go from the group to itself")
            return None
        for name, line in {**synapses.equations, **(synapses.event_driven or {})}.items():
            if line.type != "parameter":
                self.refuse(f"{name} of the synapses", f"a {line.type}")
        for each in synapses.contained_objects:
            if type(each).__name__ == "SummedVariableUpdater":
                self.refuse(f"{each.target_varname} of the synapses", "a summed variable")
            elif type(each).__name__ not in _OF_SYNAPSES:
                self.refuse(f"{type(each).__name__} {each.name!r}", "what runs besides on_pre")
        paths = [path for path in synapses._pathways if path.prepost == "pre"]
        for other in [path for path in synapses._pathways if path.prepost == "post"] + paths[1:]:
            self.refuse(f"pathway {other.objname!r} of the synapses", "only one on_pre is carried over")
        if not paths:
            return None
        if paths[0].event != "spike":
            self.refuse(f"on_event {paths[0].event!r} of the synapses", "events other than spikes")
        if np.any(np.asarray(paths[0].variables["delay"].get_value()) != 0):
            self.refuse("delay of the synapses", "spikes arrive at once")
        return paths[0]

    def statements(self, text: str, where: str) -> list[_Statement]:
        try:
            body = ast.parse("\n".join(line.strip() for line in text.splitlines())).body
        except SyntaxError:
            self.refuse(f"{text!r} in {where}", "no statements")
            return []
        out = []
        for statement in body:
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target, sign = statement.targets[0], "="
            elif isinstance(statement, ast.AugAssign) and type(statement.op) in _OPERATORS:
                target, sign = statement.target, f"{_OPERATORS[type(statement.op)]}="
            else:
                self.refuse(f"{ast.unparse(statement)!r} in {where}", "only assignments are carried over")
                continue
            out.append(_Statement(ast.unparse(target), sign, statement.value))
        return out

    def checked_targets(self) -> None:
        """Find the state variables, parameters that statements change among them."""
        self.states = [name for name, line in self.lines.items() if line.type == "differential equation"]
        changed = [(each.name, each.name, "reset") for each in self.resets]
        changed += [(each.name, self.of_target(each.name) or "", "on_pre") for each in self.arrivals]
        for name, own, where in changed:
            line = self.lines.get(own)
            if line is None or line.type == "subexpression":
                self.refuse(f"{name} in {where}", "only variables and parameters of the neuron itself can change")
            elif line.type == "parameter" and (line.var_type != "float" or "shared" in line.flags):
                kind = "shared" if "shared" in line.flags else line.var_type
                self.refuse(f"{name} in {where}", f"a parameter that changes must be a float per neuron, not {kind}")
            elif own not in self.states:
                self.states.append(own)

    def of_target(self, name: str) -> str | None:
        """The variable of a target that a name in on_pre is, or None."""
        if name in self.synapses.equations:
            return None
        own = name.removesuffix("_post")
        return own if own in self.lines else None

    def needs(self, node: ast.expr) -> set[str]:
        """All names that an expression depends on, those within subexpressions, too."""
        found: set[str] = set()
        stack: list[ast.AST] = [node]
        while stack:
            for part in ast.walk(stack.pop()):
                if isinstance(part, ast.Name) and part.id not in found:
                    found.add(part.id)
                    line = self.lines.get(part.id.removesuffix("_post"))
                    if line is not None:
                        found.add(part.id.removesuffix("_post"))
                        stack += [_tree(line.expr.code)] if line.type == "subexpression" else []
        return found

    def refractory(self) -> tuple[str, bool]:
        """The refractory period as a formula, empty where there is none; and whether it lasts until the neuron is below
        its threshold.
        """
        period = self.group._refractory
        if not self.fires or period is False:
            return "", False
        if isinstance(period, str):
            tree = _tree(period)
            if self.is_condition(tree):
                frozen = [name for name, line in self.lines.items() if "unless refractory" in line.flags]
                if frozen or ast.dump(tree) != ast.dump(_tree(self.group.events["spike"])):
                    self.refuse(
                        f"refractory {period!r}",
                        "a condition is carried over only if it is the threshold's and nothing holds unless refractory",
                    )
                return "", True
            self.refuse_time(tree, "refractory")
            return self.text(tree, "refractory", self.name), False
        number = self.number(period)
        if number is None:
            self.refuse(f"refractory {period!r}", "neither a time nor an expression")
        return (repr(number) if number else ""), False

    # --- numbers ------------------------------------------------------------------------------------------------------

    def number(self, value: Any) -> float | None:
        """A constant in SI units; None if it is no number."""
        if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Number | np.ndarray):
            return None
        array = np.asarray(value)
        return float(array) if array.ndim == 0 and array.dtype.kind in "iuf" else None

    def held(self, owner: Any, name: str) -> Any:
        """The values of a variable of Brian 2's, one number where all are equal."""
        values = np.asarray(owner.variables[name].get_value(), dtype=np.float64).ravel()
        if not np.isfinite(values).all():
            self.refuse(f"values of {name}", "they must be finite")
        return float(values[0]) if values.size and (values == values[0]).all() else values

    # --- names and formulas -------------------------------------------------------------------------------------------

    def free(self, name: str, is_state: bool = False) -> str:
        """What something new is called here."""
        taken = {*(() if is_state else OF_NETWORKS), SINCE_SPIKE, *self.called.values(), *self.parameters}
        taken |= {f"{self.called[state]}0" for state in self.states if state in self.called}
        while name in taken or meaning(name):
            name += "_"
        return name

    def name(self, name: str, where: str) -> str:
        if name == "not_refractory":
            if self.period:
                return f"({SINCE_SPIKE} >= {self.period})"
            return self.refuse(f"{name} in {where}", "there is no refractory period")
        line = self.lines.get(name)
        if line is None:
            if name == "t" or name == "xi" or name.startswith("xi_"):
                return name
            return self.outer(self.group, name, where)
        if line.type == "subexpression" and line.var_type == "boolean":
            return f"({self.text(_tree(line.expr.code), f'the equation of {name}', self.name)})"
        own = self.called[name]
        if line.type == "parameter" and name not in self.states:
            self.parameters[own] = self.held(self.group, name)
        return f"({own} > 0.5)" if line.var_type == "boolean" else own

    def outer(self, owner: Any, name: str, where: str) -> str:
        """A name that is none of the group's, as Brian 2 would resolve it."""
        if name in _OF_BRIAN:
            return self.refuse(f"{name} in {where}", "a variable of Brian 2's own")
        if name in self.constants:
            number = float(np.asarray(getattr(self.constants[name], "value", self.constants[name])))
            if not np.isfinite(number):
                return self.refuse(f"{name} in {where}", "numbers must be finite")
            return "pi" if name == "pi" else repr(number)
        for names in (owner.namespace or {}, self.given):
            if name in names:
                value = self.number(names[name])
                if value is None:
                    kind = type(names[name]).__name__
                    return self.refuse(f"{name} in {where}", f"its value is of type {kind}, and not one number")
                if not np.isfinite(value):
                    return self.refuse(f"{name} in {where}", "numbers must be finite")
                return self.constant(name, value)
        return self.refuse(f"{name} in {where}", "a name without a value")

    def constant(self, name: str, value: float) -> str:
        """A number with a name, as a parameter; the same name with another value is another one."""
        if (name, value) not in self.called:
            self.called[name, value] = self.free(name)
            self.parameters[self.called[name, value]] = value
        return self.called[name, value]

    def is_condition(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name):
            line = self.lines.get(node.id)
            return node.id == "not_refractory" or (line is not None and line.var_type == "boolean")
        return isinstance(node, ast.Compare | ast.BoolOp) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        )

    def refuse_time(self, node: ast.expr, where: str) -> None:
        if "t" in self.needs(node):
            self.refuse(f"t in {where}", "the time stands in equations only; a variable with dx/dt = 1 counts it")

    def text(self, node: ast.expr, where: str, names: _Names) -> str:
        """An expression of Brian 2's in the notation of formulas, with plain numbers in the place of units."""

        def of(part: ast.expr) -> str:
            return self.text(part, where, names)

        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return repr(node.value)
        if isinstance(node, ast.Name):
            return names(node.id, where)
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
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
            return f"({of(node.left)} {_COMPARISONS[type(node.ops[0])]} {of(node.comparators[0])})"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return self.call(node.func.id, node.args, where, names)
        return self.refuse(f"{ast.unparse(node)!r} in {where}", "not in the notation of formulas")

    def call(self, name: str, arguments: Iterable[ast.expr], where: str, names: _Names) -> str:
        conditions = [self.is_condition(argument) for argument in arguments]
        texts = [self.text(argument, where, names) for argument in arguments]
        if name == "int" and conditions == [True]:
            return f"where({texts[0]}, 1, 0)"
        if name in self.functions:
            if name in _WRITTEN and len(texts) == 1:
                return _WRITTEN[name].format(texts[0])
            if name in FUNCTIONS:
                return f"{name}({', '.join(texts)})"
            return self.refuse(f"{name}() in {where}", "a function that formulas do not have")
        value = {**self.given, **(self.group.namespace or {})}.get(name)
        kind = "a TimedArray" if type(value).__name__ == "TimedArray" else "a function of one's own"
        return self.refuse(f"{name}() in {where}", f"{kind}, which formulas do not have")

    # --- parts of the group -------------------------------------------------------------------------------------------

    def equations(self) -> list[str]:
        lines = []
        for name, line in self.lines.items():
            own = self.called[name]
            for flag in line.flags:
                if flag not in ("unless refractory", "constant", "shared"):
                    self.refuse(f"({flag}) of {name}", "a flag that has no counterpart")
            if line.type == "parameter":
                lines += [f"d{own}/dt = 0"] if name in self.states else []
            elif line.type == "subexpression" and line.var_type == "boolean":
                self.name(name, name)  # stands where it is used
            else:
                right = self.text(_tree(line.expr.code), f"the equation of {name}", self.name)
                if "unless refractory" in line.flags and self.period:
                    live = f"{SINCE_SPIKE} >= {self.period}"
                    noisy = bool(line.expr.stochastic_variables)
                    right = f"where({live}, 1, 0)*({right})" if noisy else f"where({live}, {right}, 0)"
                lines.append(f"{own} = {right}" if line.type == "subexpression" else f"d{own}/dt = {right}")
            if name in self.states:
                self.initial[own] = self.held(self.group, name)
        if self.period:
            lines.append(f"d{SINCE_SPIKE}/dt = 1")
            now, last = (self.group.variables[each].get_value() for each in ("t", "lastspike"))
            since = np.asarray(now, dtype=np.float64) - np.asarray(last, dtype=np.float64)
            self.initial[SINCE_SPIKE] = float(since[0]) if (since == since[0]).all() else since
        return lines

    def threshold(self) -> str:
        """The function that reaches 0 where the neuron fires."""
        if not self.fires:
            return ""
        text = self.group.events["spike"]
        tree = _tree(text)
        if (
            not isinstance(tree, ast.Compare)
            or len(tree.ops) > 1
            or not isinstance(tree.ops[0], ast.Gt | ast.GtE | ast.Lt | ast.LtE)
        ):
            return self.refuse(f"threshold {text!r}", "only one comparison a > b has a crossing")
        self.refuse_time(tree, "threshold")
        before = len(self.refused)
        left, right = (self.text(part, "threshold", self.name) for part in (tree.left, tree.comparators[0]))
        changed = self.needs(tree) & {each.name for each in self.resets}
        if not (self.period or self.until_below or changed or len(self.refused) > before):
            self.refuse(
                f"threshold {text!r}",
                "without a refractory period, and a reset of what it compares, Brian 2 fires at every step",
            )
        if isinstance(tree.ops[0], ast.Lt | ast.LtE):
            left, right = right, left
        crossing = f"{left} - {right}"
        return f"min({crossing}, {SINCE_SPIKE} - {self.period})" if self.period else crossing

    def reset(self) -> str:
        out = []
        for each in self.resets:
            self.refuse_time(each.value, "reset")
            place = self.called.get(each.name, "0")
            out.append(_written(place, each.sign, self.text(each.value, "reset", self.name)))
        return "\n".join([*out, *([f"{SINCE_SPIKE} = 0"] if self.period else [])])

    def check_start(self, model: EventSDE) -> None:
        """Refuse neurons that are not below their threshold now: a crossing comes from below."""
        for event in model.parsed_events:
            values = {name: np.asarray(value) for name, value in model.parameters.items()}
            values |= {state: values[f"{state}0"] for state in model.states}
            above = np.atleast_1d(evaluated(event.function, values) >= 0)
            if above.any():
                which = f"neuron {np.flatnonzero(above)[0]} is" if above.size > 1 else "a neuron is"
                self.refuse(
                    f"threshold {self.group.events['spike']!r}",
                    f"{which} at or above it now, and would fire at once; here it must be reached from below",
                )

    # --- synapses -----------------------------------------------------------------------------------------------------

    def arrival(self) -> tuple[str, Any]:
        """The synapse statement, and the weights as a sparse matrix."""
        if self.path is None:
            return "", None
        import scipy.sparse

        if not self.synapses._connect_called:
            self.refuse(f"synapses {self.synapses.name!r}", "they are not connected yet")
            return "", None
        rows, columns = np.asarray(self.synapses.i[:]), np.asarray(self.synapses.j[:])
        weight, values = self.weight(rows.size)
        frozen = {name for name, line in self.lines.items() if self.period and "unless refractory" in line.flags}
        out = []
        for each in self.arrivals:
            self.refuse_time(each.value, "on_pre")
            own = self.of_target(each.name) or ""
            place, value = self.called.get(own, "0"), self.text(each.value, "on_pre", self.arriving)
            if weight is None and each.adds:
                value = f"w*({value})"
            if own in frozen:  # what is written to such a variable while it stands still is lost
                moved = value if each.sign == "=" else f"{place} {each.sign[:-1]} ({value})"
                out.append(f"{place} = where({SINCE_SPIKE} >= {self.period}, {moved}, {place})")
            else:
                out.append(_written(place, each.sign, value))
        changed = {self.of_target(each.name) for each in self.arrivals}
        period = self.group._refractory
        if frozen & changed and isinstance(period, str) and changed & self.needs(_tree(period)):
            self.refuse("on_pre", "it changes what the refractory period depends on")
        if np.unique(np.stack([rows, columns]), axis=1).shape[1] < rows.size and not all(
            each.adds and not changed & self.needs(each.value) and (weight is None or _is_linear(each.value, weight))
            for each in self.arrivals
        ):
            self.refuse("synapses", "several of them between two neurons add up only where on_pre adds")
        if (rows == columns).any() and not self.commute(frozen):
            self.refuse(
                "synapses of neurons with themselves", "on_pre comes before the reset in Brian 2, here after it"
            )
        size = int(self.group.N)
        return "\n".join(out), scipy.sparse.csr_matrix((values, (rows, columns)), shape=(size, size))

    def weight(self, size: int) -> tuple[str | None, Array]:
        """The synapses' parameter that is the weight, if there is one, and its values."""
        self.weighing, values = None, np.ones(size)
        named = {part.id for each in self.arrivals for part in ast.walk(each.value) if isinstance(part, ast.Name)}
        used = [name for name, line in self.synapses.equations.items() if line.type == "parameter" and name in named]
        held = {name: self.held(self.synapses, name) for name in used}
        differ = [name for name in used if np.ndim(held[name])]
        if len(differ) > 1:
            self.refuse(f"{', '.join(differ)} in on_pre", "a synapse has one number, its weight")
        if used:
            self.weighing = (differ or used)[0]
            values = np.broadcast_to(np.asarray(held[self.weighing], dtype=np.float64), (size,))
        return self.weighing, values

    def arriving(self, name: str, where: str) -> str:
        """A name in on_pre."""
        if name == self.weighing:
            return "w"
        if name in self.synapses.equations:
            value = self.held(self.synapses, name)
            return "0" if np.ndim(value) else self.constant(name, value)
        own = self.of_target(name)
        if own is not None:
            return self.name(own, where)
        if name in ("t", "not_refractory_post"):
            return self.name(name.removesuffix("_post"), where)
        if name.endswith("_pre"):
            return self.refuse(f"{name} in {where}", "a target does not see the neuron that fires")
        return self.outer(self.synapses, name, where)

    def commute(self, frozen: set[str]) -> bool:
        """Whether a reset and what a spike does to a target can come in either order."""
        writes = [(self.of_target(each.name), each) for each in self.arrivals]
        writes = [(name, each) for name, each in writes if name not in frozen]
        for name, each in writes:
            for reset in self.resets:
                both_add = each.adds and reset.adds
                if (name == reset.name and not both_add) or name in self.needs(reset.value):
                    return False
                if reset.name in self.needs(each.value):
                    return False
        return not (self.period and any("not_refractory" in str(self.needs(each.value)) for _, each in writes))


def _tree(text: str) -> ast.expr:
    """An expression of Brian 2's, which has parsed it before."""
    return ast.parse(f"({text.strip()}\n)", mode="eval").body


def _written(place: str, sign: str, value: str) -> str:
    return f"{place} = {place}**({value})" if sign == "**=" else f"{place} {sign} {value}"


def _is_linear(node: ast.expr, name: str) -> bool:
    """Whether an expression is a number times what the name stands for."""
    if isinstance(node, ast.Name):
        return node.id == name
    if isinstance(node, ast.UnaryOp):
        return _is_linear(node.operand, name)
    if not isinstance(node, ast.BinOp):
        return False
    has_left, has_right = (
        any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(side))
        for side in (node.left, node.right)
    )
    left, right = (_is_linear(side, name) for side in (node.left, node.right))
    if isinstance(node.op, ast.Mult):
        return (left and not has_right) or (right and not has_left)
    if isinstance(node.op, ast.Div):
        return left and not has_right
    return isinstance(node.op, ast.Add | ast.Sub) and left and right
