"""What is the value of an expression over one row, without asking the engine? Arithmetic only, to the engine's last bit.

A query costs hundreds of microseconds however little it computes; a request has few of them to spare. An expression that is
not compiled here, because of its functions or its types, is left to the engine.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp

Value = Callable[[Mapping[str, Any]], Any]
#: The largest whole number of 64 bits: beyond it the engine raises an error of its own.
LARGEST = 2**63
#: Types of columns: a double, and a whole number of 64 bits.
COLUMNS = {"DOUBLE": "double", "BIGINT": "whole"}


class Beyond(Exception):
    """This row is the engine's: a whole number grew too large."""


class _Unknown(Exception):
    """This expression is the engine's."""


@dataclass(frozen=True)
class _Term:
    """kind: double, whole, literal (a whole number as written) or decimal (one with a point, as written)."""

    kind: str
    value: Value


def compiled(text: str, kinds: Mapping[str, str]) -> Value | None:
    """A function of a row that gives a finite number or None, as `aggregates.finite` has it.

    The result is None for an expression that is not known here.
    text: SQL that `expressions` wrote. kinds: DuckDB's type of each column. The function raises Beyond.
    """
    try:
        term = _term(sqlglot.parse_one(text, dialect="duckdb"), kinds)
    except _Unknown:
        return None
    value = _double(term)

    def finite(row: Mapping[str, Any]) -> float | None:
        found = value(row)
        return found if found is not None and math.isfinite(found) else None

    return finite


def _term(node: exp.Expr, kinds: Mapping[str, str]) -> _Term:
    match node:
        case exp.Paren():
            return _term(node.this, kinds)
        case exp.Column() if kinds.get(node.name) in COLUMNS:
            name = node.name
            return _Term(COLUMNS[kinds[name]], lambda row: row[name])
        case exp.Literal() if not node.is_string:
            return _literal(node.name)
        case exp.Neg():
            return _negative(_term(node.this, kinds))
        case exp.Binary() if type(node) in OPERATIONS:
            return _operation(type(node), _term(node.left, kinds), _term(node.right, kinds))
        case exp.Nullif():
            return _nullif(_term(node.this, kinds), _term(node.expression, kinds))
        case exp.Coalesce():
            return _coalesce([_term(one, kinds) for one in (node.this, *node.expressions)])
    raise _Unknown


def _literal(text: str) -> _Term:
    if text.isdecimal() and int(text) < 2**31:
        return _Term("literal", lambda row, number=int(text): number)  # type: ignore[misc]
    # A decimal of so few digits is the quotient of two doubles, and both sides round it alike.
    if text.replace(".", "", 1).isdecimal() and len(text) <= 15 and "." in text:
        return _Term("decimal", lambda row, number=float(text): number)  # type: ignore[misc]
    raise _Unknown


def _double(term: _Term) -> Value:
    def value(row: Mapping[str, Any]) -> float | None:
        found = term.value(row)
        return None if found is None else float(found)

    return value


def _kind(*terms: _Term) -> str:
    """The type of an operation on these terms: a double makes it a double, a whole number makes literals whole numbers."""
    kinds = {term.kind for term in terms}
    if "double" in kinds:
        return "double"
    if "whole" in kinds and kinds <= {"whole", "literal"}:
        return "whole"
    raise _Unknown


def _negative(term: _Term) -> _Term:
    if term.kind == "decimal":
        raise _Unknown

    def value(row: Mapping[str, Any]) -> Any:
        found = term.value(row)
        return None if found is None else _in_range(-found, term.kind)

    return _Term(term.kind, value)


def _in_range(number: Any, kind: str) -> Any:
    if kind == "whole" and not -LARGEST <= number < LARGEST:
        raise Beyond
    return number


def _operation(node: type[exp.Binary], left: _Term, right: _Term) -> _Term:
    kind = "double" if node is exp.Div else _kind(left, right)
    one, other = (_double(left), _double(right)) if kind == "double" else (left.value, right.value)
    operate = OPERATIONS[node]

    def value(row: Mapping[str, Any]) -> Any:
        a, b = one(row), other(row)
        return None if a is None or b is None else _in_range(operate(a, b), kind)

    return _Term(kind, value)


def _divided(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if not a or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


OPERATIONS: dict[type[exp.Binary], Callable[[Any, Any], Any]] = {
    exp.Add: operator.add,
    exp.Sub: operator.sub,
    exp.Mul: operator.mul,
    exp.Div: _divided,
}


def _nullif(left: _Term, right: _Term) -> _Term:
    if left.kind not in ("double", "whole") or _kind(left, right) != left.kind:
        raise _Unknown
    one, other = (_double(left), _double(right)) if left.kind == "double" else (left.value, right.value)

    def value(row: Mapping[str, Any]) -> Any:
        a, b = one(row), other(row)
        # To the engine NaN is equal to itself.
        return None if a is None or a == b or (b is not None and a != a and b != b) else a

    return _Term(left.kind, value)


def _coalesce(terms: Sequence[_Term]) -> _Term:
    kind = _kind(*terms)
    values = [_double(term) if kind == "double" else term.value for term in terms]
    return _Term(kind, lambda row: next((found for value in values if (found := value(row)) is not None), None))
