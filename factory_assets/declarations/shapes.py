"""Are two expressions the same but for the way they are written?

Compared are their trees: blanks, brackets and the case of keywords are not in them. Operands of `and`, `or`, `+` and
`*` are put in one order, and a derived column is replaced by its expression. `a > b` and `b < a` remain two expressions:
this recognises copies, and does not prove anything of algebra.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import sqlglot
from sqlglot import exp

from factory_assets.declarations import expressions

COMMUTATIVE = (exp.And, exp.Or, exp.Add, exp.Mul)


def shape(text: str, derived: Mapping[str, str]) -> str:
    """A text that is equal for expressions of one meaning. derived: column -> the row expression that it stands for."""
    return _form(_tree(text), derived)


def _tree(text: str) -> exp.Expr:
    return sqlglot.parse_one(expressions.sql(text), dialect="duckdb")


def _form(part: Any, derived: Mapping[str, str]) -> str:
    """A part of a tree with the name of every node: `Mul(Column(amount), Literal(2))`."""
    if isinstance(part, list):
        return ", ".join(_form(one, derived) for one in part)
    if not isinstance(part, exp.Expr):
        return repr(part)
    node = _meant(part, derived)
    if isinstance(node, COMMUTATIVE):
        inner = sorted(_form(operand, derived) for operand in _operands(node, derived))
    else:
        inner = [f"{name}={_form(value, derived)}" for name, value in node.args.items() if value]
    return f"{type(node).__name__}({', '.join(inner)})"


def _meant(node: exp.Expr, derived: Mapping[str, str]) -> exp.Expr:
    """The node without brackets around it, and for a derived column what that is derived from."""
    node = node.unnest()
    while isinstance(node, exp.Column) and node.name in derived:
        node = _tree(derived[node.name]).unnest()
    return node


def _operands(node: exp.Binary, derived: Mapping[str, str]) -> Iterator[exp.Expr]:
    """All operands of a chain of one operator: a + (b + c) has three."""
    for side in (_meant(node.left, derived), _meant(node.right, derived)):
        if type(side) is type(node):
            yield from _operands(side, derived)
        else:
            yield side
