"""Is this text an expression over these columns, and nothing more?

Declarations carry small SQL expressions (DuckDB's dialect). They are parsed, checked against the columns that exist
and a list of functions that only compute, and written out again from the tree: user text never reaches the engine.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

import sqlglot
from sqlglot import exp

AGGREGATES = ("count", "sum", "mean", "min", "max", "last", "distinct")
AGGREGATE_CALL = re.compile(r"\s*([a-z_]+)\s*\((.*)\)\s*", re.DOTALL)

#: Scalar functions an expression may call; none of them reads a file, a setting or the clock.
FUNCTIONS = frozenset(
    [
        "abs",
        "ceil",
        "floor",
        "round",
        "sign",
        "sqrt",
        "ln",
        "log",
        "log10",
        "log2",
        "exp",
        "pow",
        "power",
        "mod",
        "greatest",
        "least",
        "coalesce",
        "nullif",
        "ifnull",
        "if",
        "year",
        "month",
        "day",
        "hour",
        "minute",
        "second",
        "dayofweek",
        "dow",
        "isodow",
        "week",
        "quarter",
        "dayofyear",
        "date_part",
        "extract",
        "date_trunc",
        "date_diff",
        "datediff",
        "date_sub",
        "make_date",
        "make_timestamp",
        "to_minutes",
        "to_hours",
        "to_days",
        "to_seconds",
        "epoch",
        "strftime",
        "try_strptime",
        "strptime",
        "lower",
        "upper",
        "trim",
        "ltrim",
        "rtrim",
        "length",
        "substring",
        "substr",
        "replace",
        "concat",
        "concat_ws",
        "contains",
        "starts_with",
        "ends_with",
        "prefix",
        "suffix",
        "left",
        "right",
        "lpad",
        "regexp_matches",
        "isnan",
        "isinf",
        "cast",
        "try_cast",
        "case",
        "sin",
        "cos",
        "pi",
        "radians",
        "degrees",
        "atan2",
        "asin",
        "acos",
        "interval",
        "between",
        "in",
    ]
)
#: Tree nodes that are neither a value, a column, an operator nor a function call.
FORBIDDEN = (
    exp.Query,
    exp.DDL,
    exp.DML,
    exp.Command,
    exp.Window,
    exp.AggFunc,
    exp.Star,
    exp.Parameter,
    exp.Placeholder,
)


@dataclass(frozen=True)
class Aggregate:
    """`mean(amount)`: the function, and the SQL of its argument (None for count())."""

    function: str
    argument: str | None
    columns: frozenset[str]


def _names(node: exp.Func) -> set[str]:
    if isinstance(node, exp.Anonymous):
        return {str(node.this).lower()}
    # sqlglot has names of its own for some functions (strptime is StrToTime): the engine's name is the one written out.
    written = node.sql(dialect="duckdb").partition("(")[0]
    return {name.lower() for name in (*node.sql_names(), node.key, written)}


@cache
def _parse(text: str) -> exp.Expr:
    try:
        tree = sqlglot.parse_one(f"SELECT {text}", dialect="duckdb")
    except sqlglot.errors.ParseError as error:
        reason = error.errors[0]["description"] if error.errors else str(error)
        raise ValueError(f"{text!r} is not an expression: {reason}") from None
    parts = {name for name, value in tree.args.items() if value}
    if not isinstance(tree, exp.Select) or parts != {"expressions"} or len(tree.expressions) != 1:
        raise ValueError(f"{text!r} must be one expression, without commas, FROM or other clauses around it")
    node = tree.expressions[0]
    if isinstance(node, exp.Alias):
        raise ValueError(f"{text!r} must not name its result: the declaration's key is the name")
    for part in node.walk():
        if isinstance(part, FORBIDDEN):
            raise ValueError(f"{text!r} contains {part.key!r}, which an expression over one row may not")
        if isinstance(part, exp.Func) and not isinstance(part, exp.Connector) and not _names(part) & FUNCTIONS:
            allowed = ", ".join(sorted(FUNCTIONS))
            raise ValueError(f"{text!r} calls {sorted(_names(part))[0]}, which is not allowed; allowed: {allowed}")
        if isinstance(part, exp.Column) and part.table:
            raise ValueError(f"{text!r} names a table ({part.table}); write the column alone")
    return node


def columns(text: str) -> frozenset[str]:
    """The columns that an expression reads."""
    return frozenset(column.name for column in _parse(text).find_all(exp.Column))


def sql(text: str, allowed: Collection[str] | None = None) -> str:
    """The expression as SQL for the engine, every column quoted.

    Raises ValueError when it is no single expression, calls a function outside FUNCTIONS, or reads a column that is
    not in `allowed` (None: any).
    """
    node = _parse(text).copy()
    if allowed is not None:
        unknown = sorted(columns(text) - set(allowed))
        if unknown:
            raise ValueError(f"{text!r} reads {', '.join(unknown)}; columns here: {', '.join(sorted(allowed))}")
    for column in node.find_all(exp.Column):
        column.this.set("quoted", True)
    return f"({node.sql(dialect='duckdb')})"


def condition(where: str | None) -> str:
    """SQL of an optional row expression: true for every row if there is none."""
    return sql(where) if where else "true"


def aggregate(text: str, allowed: Collection[str] | None = None) -> Aggregate:
    """Read `count()`, `sum(x)`, `mean(x)`, `min(x)`, `max(x)`, `last(x)` or `distinct(x)`."""
    match = AGGREGATE_CALL.fullmatch(text)
    if not match or match[1] not in AGGREGATES:
        raise ValueError(f"{text!r} is not an aggregate; allowed: {', '.join(name + '(...)' for name in AGGREGATES)}")
    function, argument = match[1], match[2].strip()
    if not argument:
        if function != "count":
            raise ValueError(f"{text!r} needs an expression between its brackets")
        return Aggregate(function, None, frozenset())
    return Aggregate(function, sql(argument, allowed), columns(argument))


def identifier(name: str) -> str:
    """A name quoted for SQL. Canonical feature names (`view.feature_7d`) hold a dot; a quote is refused."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name):
        raise ValueError(f"{name!r} is not a name; allowed: letters, digits, _ and . after a first letter")
    return f'"{name}"'
