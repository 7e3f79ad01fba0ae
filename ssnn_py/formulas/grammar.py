"""The grammar of formulas: texts become trees of nodes, and what cannot be read is shown with its line.

Nothing of a text is ever evaluated by Python: it is cut into tokens, which a Pratt parser puts together.

From loosest to tightest: ``or``; ``and``; ``not``; comparisons; ``+ -``; ``* /``; a sign; ``**``, which goes from right
to left. So ``-x**2`` is −(x²).
"""

from __future__ import annotations

import dataclasses
import difflib
import keyword
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from ..errors import ValidationError
from ..validation import describe

#: How deep formulas may be nested, also where subexpressions are put in.
MAX_DEPTH = 100

#: How many letters around the place of an error are shown of its line.
_SHOWN = 80

#: The least and the largest number of arguments of every function; None where there is no limit.
FUNCTIONS: dict[str, tuple[int, int | None]] = {
    "exp": (1, 1),
    "log": (1, 1),
    "sqrt": (1, 1),
    "sin": (1, 1),
    "cos": (1, 1),
    "tanh": (1, 1),
    "abs": (1, 1),
    "min": (2, None),
    "max": (2, None),
    "clip": (3, 3),
    "where": (3, 3),
    "piecewise": (3, None),
}

_SIGNATURES = {
    "clip": "clip(x, lowest, highest)",
    "where": "where(condition, x, otherwise)",
    "piecewise": "piecewise(condition, x, condition, y, ..., otherwise)",
}

#: What functions of other houses are called here.
_SYNONYMS = {
    "ln": "log(x)",
    "fabs": "abs(x)",
    "pow": "x**y",
    "power": "x**y",
    "square": "x**2",
    "minimum": "min(x, y)",
    "maximum": "max(x, y)",
    "int": "where(condition, 1, 0)",
    "heaviside": "where(x >= 0, 1, 0)",
    "Heaviside": "where(x >= 0, 1, 0)",
    "sign": "where(x >= 0, 1, -1)",
    "tan": "sin(x)/cos(x)",
    "expm1": "exp(x) - 1",
    "log1p": "log(1 + x)",
    "exprel": "where(abs(x) < 1e-6, 1 + x/2, (exp(x) - 1)/x)",
}

_KEYWORDS = {
    "if": "there is no if: write where(condition, x, otherwise)",
    "else": "there is no else: write where(condition, x, otherwise)",
    "lambda": "there are no functions of one's own: name a formula with a line of its own, name = formula",
    "True": "there is no True: write a comparison, as in v > 0",
    "False": "there is no False: write a comparison, as in v > 0",
}

_CHARACTERS = {
    "^": "powers are written **, not ^",
    ":": "units do not belong here: leave out what follows the colon, and give all numbers in consistent units of your "
    "own",
    "[": "square brackets have no meaning here: a value per neuron is a parameter whose value is an array",
    "]": "square brackets have no meaning here: a value per neuron is a parameter whose value is an array",
    "{": "only round parentheses group",
    "}": "only round parentheses group",
    '"': "there are no strings in formulas",
    "'": "there are no quotes in formulas: a derivative is written dX/dt",
    ".": "a dot belongs to a number, as in 0.5: there are no attributes",
    "%": "there is no remainder %",
    "&": "conditions are joined with and, not &",
    "|": "conditions are joined with or, not |",
    "!": "the opposite of a condition is written not, and unequal !=",
    "~": "the opposite of a condition is written not, and ~ has no meaning here",
    "@": "there are no matrices in formulas: every neuron has its own numbers",
    "−": "minus is written -",
    "–": "minus is written -",
    "×": "products are written *",
    "·": "products are written *",
    "⋅": "products are written *",
    "÷": "quotients are written /",
    "²": "powers are written **, as in v**2",
    "³": "powers are written **, as in v**3",
    "√": "square roots are written sqrt(x)",
    "≤": "at most is written <=",
    "≥": "at least is written >=",
    "≠": "unequal is written !=",
    "∞": "formulas hold finite numbers only",
}

_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_OPERATOR = re.compile(r"\*\*=?|//|[-+*/=<>!]=|[-+*/=<>(),]")
_WORD = re.compile(r"\w+")


class FormulaError(ValidationError):
    """A text that is no formula; the message names the argument and the line, and marks the place with ``^``."""


class Source(NamedTuple):
    """A text, and the name of the argument that it was given as."""

    argument: str
    text: str

    def error(self, place: Node | Token | tuple[int, int], sentence: str) -> FormulaError:
        """An error that shows the line of `place`, or its first line.

        Examples
        --------
        >>> print(Source("synapse", "v += 2^w").error((6, 7), "powers are written **, not ^"))
        synapse, line 1: powers are written **, not ^
            v += 2^w
                  ^
        """
        start, end = (place.start, place.end) if isinstance(place, Node | Token) else place
        before = self.text[:start]
        first = before.rfind("\n") + 1
        line = self.text[first:].split("\n", 1)[0].rstrip()
        end = max(start + 1, min(end, first + len(line)))
        # Of a long line the surroundings of the place are shown.
        cut = max(len(line) - len(line.lstrip()), start - first - _SHOWN)
        shown = line[cut : end - first + _SHOWN] if end - start <= _SHOWN else line[cut : start - first + _SHOWN]
        lead = "".join(letter if letter == "\t" else " " for letter in before[first + cut :])
        marks = "^" * min(end - start, _SHOWN)
        number = before.count("\n") + 1
        return FormulaError(f"{self.argument}, line {number}: {sentence}\n    {shown}\n    {lead}{marks}")


def closest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean X?"`` for the closest of the known names, if one is close."""
    similar = difflib.get_close_matches(name, list(known), 1)
    if not similar:
        similar = [other for other in known if other.lower() == name.lower()][:1]
    return f"; did you mean {similar[0]}?" if similar else ""


# --- nodes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """A formula, and from where to where in its text it goes; nodes are equal wherever they stand."""

    start: int = dataclasses.field(default=0, compare=False, repr=False, kw_only=True)
    end: int = dataclasses.field(default=0, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class Number(Node):
    """A number, and how it was written."""

    value: float
    text: str = dataclasses.field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class Name(Node):
    """Something that has a name: a variable, a parameter, a noise, t, I, w or pi."""

    name: str


@dataclass(frozen=True)
class Call(Node):
    """One of :data:`FUNCTIONS`, of its arguments."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Operation(Node):
    """A sum, difference, product, quotient or power: `operator` is ``+ - * /`` or ``**``."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Negative(Node):
    """The negative of a formula."""

    operand: Node


@dataclass(frozen=True)
class Comparison(Node):
    """A condition: `operator` is ``< <= > >= ==`` or ``!=``."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Logic(Node):
    """A condition made of conditions: `operator` is ``and``, ``or``, or ``not``, which has one operand."""

    operator: str
    operands: tuple[Node, ...]


class Equation(NamedTuple):
    """A line ``dNAME/dt = value`` or ``NAME = value``, and where its name stands."""

    name: str
    is_derivative: bool
    value: Node
    place: tuple[int, int]


class Statement(NamedTuple):
    """A statement ``NAME = value`` or with ``+= -= *= /=``, and where its name stands."""

    name: str
    operator: str
    value: Node
    place: tuple[int, int]


def children(node: Node) -> tuple[Node, ...]:
    """The formulas that a formula is made of.

    Examples
    --------
    >>> children(parse_expression("exp(v) + 2"))
    (Call(function='exp', arguments=(Name(name='v'),)), Number(value=2.0))
    """
    if isinstance(node, Operation | Comparison):
        return node.left, node.right
    if isinstance(node, Call):
        return node.arguments
    if isinstance(node, Logic):
        return node.operands
    return (node.operand,) if isinstance(node, Negative) else ()


def parts(node: Node) -> list[Node]:
    """All formulas within a formula and itself, each after those within it, and once where several share it.

    Examples
    --------
    >>> [type(part).__name__ for part in parts(parse_expression("-v + 2"))]
    ['Name', 'Negative', 'Number', 'Operation']
    """
    found: dict[int, Node] = {}
    stack = [node]
    while stack:
        missing = [child for child in children(stack[-1]) if id(child) not in found]
        if missing:
            stack += reversed(missing)
        else:
            top = stack.pop()
            found[id(top)] = top
    return list(found.values())


def measure(node: Node) -> tuple[int, int]:
    """How deep a formula is, and how many nodes it has, those that it shares counted wherever they stand."""
    known: dict[int, tuple[int, int]] = {}
    for part in parts(node):
        inner = [known[id(child)] for child in children(part)]
        known[id(part)] = (1 + max((depth for depth, _ in inner), default=0), 1 + sum(size for _, size in inner))
    return known[id(node)]


def is_condition(node: Node) -> bool:
    """Whether a formula is true or false, rather than a number."""
    return isinstance(node, Comparison | Logic)


# --- tokens -----------------------------------------------------------------------------------------------------------


class Token(NamedTuple):
    """A piece of text: `kind` is "number", "name", "sign" (operators, parentheses, commas) or "line" (its end)."""

    kind: str
    text: str
    start: int
    end: int

    def is_sign(self, *texts: str) -> bool:
        """Whether it is one of these signs, or words that join conditions."""
        return self.kind == "sign" and self.text in texts


def tokens(source: Source) -> list[Token]:
    """All tokens of a text; a "line" token ends every line, one that goes on in parentheses or after a backslash only
    at its end, and stands for a semicolon, too.
    """
    text, place = source.text, 0
    found: list[Token] = []
    opened: list[Token] = []
    while place < len(text):
        letter = text[place]
        if letter == "\n" or (letter == ";" and not opened):
            if not opened:
                found.append(Token("line", letter, place, place + 1))
            place += 1
        elif letter.isspace():
            place += 1
        elif letter == "#":
            place = text.find("\n", place) if "\n" in text[place:] else len(text)
        elif letter == "\\":
            place = _continuation(source, place)
        else:
            token = _token(source, place)
            if token.is_sign("("):
                opened.append(token)
            elif token.is_sign(")") and not opened:
                raise source.error(token, "this parenthesis closes none that is open")
            elif token.is_sign(")"):
                opened.pop()
            found.append(token)
            place = token.end
    if opened:
        raise source.error(opened[-1], "this parenthesis is never closed")
    return [*found, Token("line", "", len(text.rstrip()), len(text.rstrip()))]


def _continuation(source: Source, place: int) -> int:
    """Where the text goes on after a backslash."""
    rest = source.text[place + 1 :]
    end = rest.find("\n")
    if end < 0 or rest[:end].strip():
        raise source.error((place, place + 1), "a backslash belongs at the end of a line that goes on in the next")
    return place + 1 + end + 1


def _token(source: Source, place: int) -> Token:
    text = source.text
    if number := _NUMBER.match(text, place):
        end = number.end()
        if end < len(text) and (text[end] == "." or text[end].isalnum() or text[end] == "_"):
            _refuse_number(source, place)
        if not math.isfinite(float(number[0])):
            raise source.error((place, end), f"{number[0]} is too large for a number")
        return Token("number", number[0], place, end)
    if text[place].isidentifier():
        word = _WORD.match(text, place)
        end = word.end() if word else place + 1
        while not text[place:end].isidentifier():
            end -= 1
        name = unicodedata.normalize("NFKC", text[place:end])
        if name in ("and", "or", "not"):
            return Token("sign", name, place, end)
        if keyword.iskeyword(name):
            raise source.error((place, end), _KEYWORDS.get(name, f"{name} is a word of Python's, not of formulas"))
        return Token("name", name, place, end)
    if text[place] in "<>" and text[place : place + 2] in ("<<", ">>", "<>"):
        raise source.error((place, place + 2), f"comparisons are < <= > >= == !=, not {text[place : place + 2]}")
    if sign := _OPERATOR.match(text, place):
        if sign[0] == "//":
            raise source.error(sign.span(), "quotients are written /: there are no integers here")
        if sign[0] == "**=":
            raise source.error(sign.span(), "statements assign with = += -= *= or /=")
        return Token("sign", sign[0], *sign.span())
    name = unicodedata.name(text[place], "a character without a name")
    raise source.error((place, place + 1), _CHARACTERS.get(text[place], f"{name} has no meaning in formulas"))


def _refuse_number(source: Source, place: int) -> NoReturn:
    whole = re.compile(r"[\w.]+").match(source.text, place)
    assert whole is not None
    product = re.fullmatch(r"(\d+\.?\d*)(?![eE]\d)([^\W\d]\w*)", whole[0])
    hint = f": write {product[1]}*{product[2]}, if a product is meant" if product else ""
    raise source.error(whole.span(), f"{whole[0]} is neither a number nor a name{hint}")


# --- parser -----------------------------------------------------------------------------------------------------------

_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_NOT, _SIGN = 3, 7
_BINDING = {"or": 1, "and": 2} | dict.fromkeys(_COMPARISONS, 4) | {"+": 5, "-": 5, "*": 6, "/": 6, "**": 8}
#: Sums of more terms than these become balanced trees, so that long ones are not deep.
_LONG_SUM = 32


class _Parser:
    def __init__(self, source: Source) -> None:
        self.source, self.tokens, self.place, self.depth = source, tokens(source), 0, 0

    @property
    def token(self) -> Token:
        return self.tokens[self.place]

    def next(self) -> Token:
        token = self.token
        self.place += 1
        return token

    def lines(self) -> Iterator[Token]:
        """The first token of every line that is not empty; each must have been read when the next is asked for."""
        while self.place < len(self.tokens):
            if self.token.kind == "line":
                self.place += 1
            else:
                yield self.token
                if self.token.kind != "line":
                    self.refuse_rest()

    # --- formulas -----------------------------------------------------------------------------------------------------

    def formula(self) -> Node:
        """A number, up to where the formula ends."""
        node = self.number(self.expression(0))
        depth, _ = measure(node)
        if depth > MAX_DEPTH:
            raise self.too_deep(node)
        return node

    def too_deep(self, place: Node | Token) -> FormulaError:
        return self.source.error(place, f"this formula is nested more than {MAX_DEPTH} deep")

    def expression(self, binding: int) -> Node:
        """The formula that begins here, up to an operator that does not bind tighter."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.too_deep(self.token)
        left = self.prefix()
        while (token := self.token).kind == "sign" and _BINDING.get(token.text, 0) > binding:
            if token.text in "+-":
                left = self.sum(left)
                continue
            self.place += 1
            # What stands to the right of ** may be a power again, or have a sign.
            right = self.expression(_SIGN - 1 if token.text == "**" else _BINDING[token.text])
            left = self.joined(token, left, right)
        self.depth -= 1
        return left

    def prefix(self) -> Node:
        token = self.next()
        if token.kind == "number":
            return Number(float(token.text), token.text, start=token.start, end=token.end)
        if token.kind == "name":
            return self.named(token)
        if token.is_sign("("):
            if self.token.is_sign(")"):
                raise self.source.error((token.start, self.token.end), "a formula is missing between the parentheses")
            inner = self.expression(0)
            if not self.token.is_sign(")"):
                self.refuse_rest()
            return dataclasses.replace(inner, start=token.start, end=self.next().end)
        if token.is_sign("-", "+"):
            operand = self.number(self.expression(_SIGN))
            if token.text == "+":
                return operand
            return Negative(operand, start=token.start, end=operand.end)
        if token.is_sign("not"):
            condition = self.condition(self.expression(_NOT))
            return Logic("not", (condition,), start=token.start, end=condition.end)
        before = self.tokens[self.place - 2] if self.place > 1 else None
        after = f" after {before.text}" if before is not None and before.kind == "sign" else ""
        if token.kind == "line":
            end = before.end if before is not None else token.start
            raise self.source.error((end, end + 1), f"a formula is missing{after}")
        raise self.source.error(token, f"a formula is missing{after}: {token.text} cannot stand here")

    def named(self, token: Token) -> Node:
        """A name, or a call of a function."""
        called = self.token.is_sign("(")
        if token.text not in FUNCTIONS:
            if called:
                raise self.source.error(token, self.unknown_function(token.text))
            return Name(token.text, start=token.start, end=token.end)
        if not called:
            raise self.source.error(token, f"{token.text} is a function: write {_signature(token.text)}")
        self.place += 1
        arguments = []
        while not self.token.is_sign(")"):
            arguments.append(self.expression(0))
            if not self.token.is_sign(",", ")"):
                self.refuse_rest()
            if self.token.is_sign(","):
                self.place += 1
                if self.token.is_sign(")"):
                    raise self.source.error(self.token, "an argument is missing after the comma")
        return self.call(token, arguments, self.next().end)

    def call(self, token: Token, arguments: list[Node], end: int) -> Call:
        function, count = token.text, len(arguments)
        least, most = FUNCTIONS[function]
        if count < least or (most is not None and count > most) or (function == "piecewise" and count % 2 == 0):
            number = (
                f"{least}" if most == least else "an odd number, 3 or more" if function == "piecewise" else "2 or more"
            )
            plural = "argument" if number == "1" else "arguments"
            raise self.source.error(
                (token.start, end), f"{function} takes {number} {plural}, got {count}: write {_signature(function)}"
            )
        conditional = function in ("where", "piecewise")
        for place, argument in enumerate(arguments):
            if conditional and place % 2 == 0 and place < count - 1:
                self.condition(argument)
            else:
                self.number(argument)
        return Call(function, tuple(arguments), start=token.start, end=end)

    def unknown_function(self, name: str) -> str:
        if name in _SYNONYMS:
            return f"unknown function {name}; write {_SYNONYMS[name]}"
        similar = closest(name, FUNCTIONS)
        return f"unknown function {name}{similar or '; functions are ' + ', '.join(FUNCTIONS)}"

    def sum(self, first: Node) -> Node:
        """The sum that begins with `first`."""
        terms = [("+", self.number(first))]
        while self.token.is_sign("+", "-"):
            sign = self.next().text
            terms.append((sign, self.number(self.expression(_BINDING["+"]))))
        if len(terms) > _LONG_SUM:
            return _balanced(terms)
        total = first
        for sign, term in terms[1:]:
            total = Operation(sign, total, term, start=total.start, end=term.end)
        return total

    def joined(self, token: Token, left: Node, right: Node) -> Node:
        """Two formulas and the operator between them."""
        place = {"start": left.start, "end": right.end}
        if token.text in ("and", "or"):
            operands = (self.condition(left), self.condition(right))
            return Logic(token.text, operands, **place)
        if token.text not in _COMPARISONS:
            return Operation(token.text, self.number(left), self.number(right), **place)
        if isinstance(left, Comparison) or self.token.is_sign(*_COMPARISONS):
            chain = token if isinstance(left, Comparison) else self.token
            raise self.source.error(chain, "comparisons are not chained: join two with and, as in a < b and b < c")
        return Comparison(token.text, self.number(left), self.number(right), **place)

    def number(self, node: Node) -> Node:
        if is_condition(node):
            raise self.source.error(
                node, "a condition cannot stand where a number must: write where(condition, x, otherwise)"
            )
        return node

    def condition(self, node: Node) -> Node:
        if not is_condition(node):
            raise self.source.error(node, "a condition must stand here: compare numbers, as in v > 0")
        return node

    def refuse_rest(self) -> NoReturn:
        """An error for a token that does not go on with what stands before it."""
        token, before = self.token, self.tokens[self.place - 1]
        if token.is_sign("="):
            sentence = "= cannot stand within a formula: equality is written =="
        elif token.is_sign("+=", "-=", "*=", "/="):
            sentence = f"{token.text} cannot stand within a formula"
        elif token.is_sign(","):
            sentence = "a comma belongs between the arguments of a function; decimals have a dot"
        elif token.kind == "line":
            sentence = "this line ends too early"
        else:
            sentence = f"an operator is missing between {before.text} and {token.text}"
        raise self.source.error(token, sentence)

    # --- equations and statements -------------------------------------------------------------------------------------

    def equation(self) -> Equation:
        allowed = "an equation is written dX/dt = formula, or name = formula for a subexpression"
        first = self.token
        left = self.left_side()
        if not left:
            raise self.source.error(first, allowed)
        sign = left.pop()
        if sign.is_sign("+=", "-=", "*=", "/="):
            raise self.source.error(sign, f"{allowed}; {sign.text} belongs to events and synapses")
        texts = [token.text for token in left]
        whole = (left[0].start, left[-1].end) if left else (first.start, first.end)
        if len(texts) == 1 and left[0].kind == "name":
            return Equation(texts[0], False, self.right_side(sign), whole)
        if texts[-2:] == ["/", "dt"] and all(token.kind == "name" for token in left[:-2]):
            if len(left) == 3 and texts[0].startswith("d") and len(texts[0]) > 1:
                return Equation(texts[0][1:], True, self.right_side(sign), (left[0].start, left[0].end))
            if len(left) == 4 and texts[0] == "d":
                return Equation(texts[1], True, self.right_side(sign), (left[1].start, left[1].end))
        if "dt" in texts:
            raise self.source.error(
                whole, f"only dX/dt may stand on the left: divide the right side instead; {allowed}"
            )
        raise self.source.error(whole, f"the left side must be dX/dt or a name: {allowed}")

    def left_side(self) -> list[Token]:
        """All tokens up to the sign that assigns and with it, or none if the line has no such sign."""
        left: list[Token] = []
        while self.token.kind != "line":
            left.append(self.next())
            if left[-1].is_sign("=", "+=", "-=", "*=", "/="):
                return left
        return []

    def right_side(self, sign: Token) -> Node:
        if self.token.kind == "line":
            raise self.source.error(sign, f"a formula is missing after {sign.text}")
        return self.formula()

    def statement(self) -> Statement:
        allowed = "a statement is written name = formula, or with += -= *= /="
        first = self.token
        left = self.left_side()
        if not left:
            raise self.source.error(first, f"nothing is assigned here: {allowed}")
        sign = left.pop()
        if len(left) != 1 or left[0].kind != "name":
            place = (left[0].start, left[-1].end) if left else (sign.start, sign.end)
            raise self.source.error(place, f"one name must stand before {sign.text}: {allowed}")
        return Statement(left[0].text, sign.text, self.right_side(sign), (left[0].start, left[0].end))


def _signature(function: str) -> str:
    least, _ = FUNCTIONS[function]
    return _SIGNATURES.get(function, f"{function}(x)" if least == 1 else f"{function}(x, y)")


def _balanced(terms: list[tuple[str, Node]]) -> Node:
    """A sum of terms with signs, of which the first is +, as a tree whose depth is the logarithm of their number."""
    if len(terms) == 1:
        return terms[0][1]
    middle = len(terms) // 2
    sign = terms[middle][0]
    rest = [("+" if sign == each else "-", term) for each, term in terms[middle:]]
    left, right = _balanced(terms[:middle]), _balanced(rest)
    return Operation(sign, left, right, start=left.start, end=right.end)


def _source(text: str, argument: str) -> Source:
    if not isinstance(text, str):
        raise ValidationError(f"{argument} must be a text, got {describe(text)}")
    return Source(argument, text)


def parse_expression(text: str, argument: str = "formula") -> Node:
    """The formula that a text is; a number, not a condition.

    Parameters
    ----------
    text : str
        It may go over several lines only within parentheses, or where they end with a backslash.
    argument : str
        As what the text was given, for messages.

    Returns
    -------
    Node

    Raises
    ------
    FormulaError
        If it is no formula, with the line and a mark under the place.

    Examples
    --------
    >>> parse_expression("-v**2")
    Negative(operand=Operation(operator='**', left=Name(name='v'), right=Number(value=2.0)))
    >>> parse_expression("0.3e-2*u") == parse_expression("0.003 * u")
    True
    """
    source = _source(text, argument)
    parser = _Parser(source)
    node = None
    for first in parser.lines():
        if node is not None:
            raise source.error(first, "one formula must stand here, without a line or semicolon after it")
        node = parser.formula()
    if node is None:
        raise source.error((0, 1), "a formula is missing: the text is empty")
    return node


def parse_equations(text: str, argument: str = "equations") -> tuple[Equation, ...]:
    """The lines ``dX/dt = formula`` and ``name = formula`` of a text, in their order.

    Parameters
    ----------
    text : str
        One equation a line; comments begin with ``#``.
    argument : str
        As what the text was given, for messages.

    Returns
    -------
    tuple of Equation

    Raises
    ------
    FormulaError
        If a line is no equation.

    Examples
    --------
    >>> [(line.name, line.is_derivative) for line in parse_equations("dv/dt = -v/tau  # leak \\n tau = a + 1")]
    [('v', True), ('tau', False)]
    """
    parser = _Parser(_source(text, argument))
    return tuple(parser.equation() for _ in parser.lines())


def parse_statements(text: str, argument: str = "then") -> tuple[Statement, ...]:
    """The statements of a text, which stand on lines of their own or have semicolons between them.

    Parameters
    ----------
    text : str
        May be empty.
    argument : str
        As what the text was given, for messages.

    Returns
    -------
    tuple of Statement

    Raises
    ------
    FormulaError
        If something is no statement.

    Examples
    --------
    >>> [(each.name, each.operator) for each in parse_statements("v -= 1; a = 2*a")]
    [('v', '-='), ('a', '=')]
    """
    parser = _Parser(_source(text, argument))
    return tuple(parser.statement() for _ in parser.lines())
