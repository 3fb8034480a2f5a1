"""Is this text an expression over these columns, and nothing more?

Declarations carry small SQL expressions (DuckDB's dialect). They are parsed, checked against the columns that exist
and a list of functions that only compute, and written out again from the tree: user text never reaches the engine.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

import sqlglot
from sqlglot import exp

AGGREGATES = (
    *("count", "sum", "mean", "deviation", "min", "max", "first", "last", "nth_last"),
    *("distinct", "approx_distinct", "top", "time_since_last"),
)
#: Aggregates that need no argument: they ask for events as such.
BARE = ("count", "time_since_last")
#: How far back nth_last may ask.
FURTHEST = 100

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
#: Tree nodes of which an expression consists beside function calls. What is not listed here is refused.
VALUES = (exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Interval, exp.Var)
OPERATORS = (
    *(exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Pow, exp.Neg, exp.DPipe),
    *(exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Is, exp.Between, exp.In),
    *(exp.And, exp.Or, exp.Not, exp.Like, exp.ILike, exp.SimilarTo, exp.Escape, exp.AtTimeZone),
    *(exp.BitwiseAnd, exp.BitwiseOr, exp.BitwiseXor, exp.BitwiseLeftShift, exp.BitwiseRightShift),
)
#: Types that a value may be cast to, as DuckDB's dialect writes them.
TYPES = frozenset(
    [
        "BIGINT",
        "INT",
        "SMALLINT",
        "TINYINT",
        "DOUBLE",
        "REAL",
        "DECIMAL",
        "BOOLEAN",
        "TEXT",
        "DATE",
        "TIMESTAMP",
        "TIMESTAMPTZ",
    ]
)


#: What DuckDB takes for a time under any format.
WORD_OF_TIME = r"^[\s\v]*(-?infinity|epoch)[\s\v]*$"

#: Parts that a query of a source may not have: they write, lock, or give another result another time.
UNFIT = (
    *(exp.Into, exp.Lock, exp.DML, exp.DDL, exp.Command, exp.Placeholder, exp.Parameter),
    *(exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.Localtime, exp.Localtimestamp),
    *(exp.Rand, exp.TableSample),
)
UNFIT_FUNCTIONS = frozenset(
    ["clock_timestamp", "statement_timestamp", "transaction_timestamp", "timeofday", "random", "gen_random_uuid"]
)


@dataclass(frozen=True)
class Aggregate:
    """`mean(amount) where paid`: the function, the SQL of its argument (None for count()) and of its condition.

    place: which of the newest values nth_last asks for, 1 for others. text, condition: both as they were written.
    """

    function: str
    argument: str | None
    columns: frozenset[str]
    where: str | None = None
    place: int = 1
    text: str | None = None
    condition: str | None = None


def _names(node: exp.Func) -> set[str]:
    if isinstance(node, exp.Anonymous):
        return {str(node.this).lower()}
    # sqlglot has names of its own for some functions (strptime is StrToTime): the engine's name is the one written out.
    written = node.sql(dialect="duckdb").partition("(")[0]
    return {name.lower() for name in (*node.sql_names(), node.key, written)}


@cache
def _parse(text: str, canonical: bool = False) -> exp.Expr:
    try:
        statements = sqlglot.parse(f"SELECT {text}", dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        found = getattr(error, "errors", None)
        raise ValueError(f"{text!r} is not an expression: {found[0]['description'] if found else error}") from None
    except RecursionError:
        raise ValueError(f"{_shortened(text)} is nested too deeply for an expression") from None
    tree = statements[0] if len(statements) == 1 else None
    parts = {name for name, value in tree.args.items() if value} if isinstance(tree, exp.Select) else set()
    if not isinstance(tree, exp.Select) or parts != {"expressions"} or len(tree.expressions) != 1:
        raise ValueError(f"{text!r} must be one expression, without commas, FROM or other clauses around it")
    node = tree.expressions[0]
    if isinstance(node, exp.Alias):
        raise ValueError(f"{text!r} must not name its result: the declaration's key is the name")
    for part in node.walk():
        _check(text, part, canonical)
    return node


def _check(text: str, part: exp.Expr, canonical: bool) -> None:
    """Raise ValueError unless this node of the tree is one that only computes."""
    if isinstance(part, exp.Column) and canonical:
        if len(part.parts) > 2:
            raise ValueError(
                f"{text!r} reads {_name(part)}; write features by canonical name, such as habit.spent_7d, and columns of the "
                "observed event alone"
            )
    elif isinstance(part, exp.Column) and part.table:
        raise ValueError(f"{text!r} names a table ({part.table}); write the column alone")
    if isinstance(part, exp.In) and not part.expressions:
        raise ValueError(
            f"{text!r} asks for a place in {part.args.get('field') or 'a query'}; write a list in brackets"
        )
    if isinstance(part, exp.DataType):
        if part.sql(dialect="duckdb").partition("(")[0] not in TYPES:
            raise ValueError(f"{text!r} casts to {part.sql(dialect='duckdb')}; allowed: {', '.join(sorted(TYPES))}")
    elif isinstance(part, exp.Func) and not isinstance(part, OPERATORS):
        if not _names(part) & FUNCTIONS:
            allowed = ", ".join(sorted(FUNCTIONS))
            raise ValueError(f"{text!r} calls {sorted(_names(part))[0]}, which is not allowed; allowed: {allowed}")
    elif not isinstance(part, (*VALUES, *OPERATORS, exp.DataTypeParam)):
        raise ValueError(
            f"{text!r} contains {part.sql(dialect='duckdb')!r} ({part.key}); an expression over one row may hold columns, "
            f"values, operators and the functions {', '.join(sorted(FUNCTIONS))}"
        )


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}...")


def _name(column: exp.Column) -> str:
    return ".".join(part.name for part in column.parts)


@cache
def columns(text: str) -> frozenset[str]:
    """The columns that an expression reads.

    >>> sorted(columns("price * (1 - coalesce(discount, 0))"))
    ['discount', 'price']
    """
    return frozenset(column.name for column in _parse(text).find_all(exp.Column))


def literals(text: str) -> frozenset[str]:
    """Texts and numbers that an expression gives as they stand: itself, or branches of its case."""
    found, todo = set(), [_parse(text)]
    while todo:
        node = todo.pop()
        if isinstance(node, exp.Literal):
            found.add(str(node.this))
        elif isinstance(node, exp.Paren):
            todo.append(node.this)
        elif isinstance(node, (exp.Case, exp.If)):
            todo += [branch.args["true"] for branch in node.args.get("ifs") or [node]]
            todo += [node.args[name] for name in ("default", "false") if node.args.get(name)]
    return frozenset(found)


def features(text: str) -> list[str]:
    """The features that an expression over canonical names reads, in order, each once. Raises ValueError as `sql` does."""
    return [name for name in _canonical(text) if "." in name]


def observed(text: str) -> list[str]:
    """The columns of the observed event that an expression over canonical names reads beside features, likewise."""
    return [name for name in _canonical(text) if "." not in name]


@cache
def _canonical(text: str) -> tuple[str, ...]:
    names = (_name(column) for column in _parse(text, canonical=True).find_all(exp.Column, bfs=False))
    return tuple(dict.fromkeys(names))


def read_by(text: str, canonical: bool = False) -> Collection[str]:
    """The columns that an expression reads, or, of one over canonical names, the features and columns."""
    return _canonical(text) if canonical else columns(text)


def over_features(text: str) -> str:
    """The expression over canonical names as SQL, over columns that are called `view.feature_7d`, or as in the event."""
    node = _parse(text, canonical=True).copy()
    for column in node.find_all(exp.Column):
        identifier(_name(column))
        column.set("this", exp.to_identifier(_name(column), quoted=True))
        column.set("table", None)
    return _written(node)


def sql(text: str, allowed: Collection[str] | None = None) -> str:
    """The expression as SQL for the engine, every column quoted.

    Raises ValueError when it is no single expression, calls a function outside FUNCTIONS, or reads a column that is
    not in `allowed` (None: any).

    >>> sql("amount > 100 and not paid")
    '("amount" > 100 AND NOT "paid")'
    >>> sql("amount + tip", allowed=["amount"])
    Traceback (most recent call last):
    ValueError: 'amount + tip' reads tip; columns here: amount
    """
    if allowed is not None:
        unknown = sorted(name for name in columns(text) if name not in allowed)
        if unknown:
            raise ValueError(f"{text!r} reads {', '.join(unknown)}; columns here: {', '.join(sorted(allowed))}")
    return _quoted(text)


@cache
def _quoted(text: str) -> str:
    node = _parse(text).copy()
    for column in node.find_all(exp.Column):
        column.this.set("quoted", True)
    return _written(node)


def _written(node: exp.Expr) -> str:
    """A tree as SQL for the engine; the tree is no longer what was written.

    DuckDB's strptime takes a few words for times, whatever the format says: 1900, or a year of which no Python reader knows.
    """
    for call in list(node.find_all(exp.StrToTime, exp.Anonymous)):
        if isinstance(call, exp.StrToTime):
            call.set("this", _no_word_of_time(call.this))
        elif str(call.this).lower() == "try_strptime" and call.expressions:
            call.set("expressions", [_no_word_of_time(call.expressions[0]), *call.expressions[1:]])
    return f"({node.sql(dialect='duckdb', comments=False)})"


def _no_word_of_time(text: exp.Expr) -> exp.Expr:
    """The text; one of the words so that no format fits it."""
    arguments = [exp.Literal.string(part) for part in (WORD_OF_TIME, r"\1?", "i")]
    return exp.Anonymous(this="regexp_replace", expressions=[text, *arguments])


def condition(where: str | None) -> str:
    """SQL of an optional row expression: true for every row if there is none."""
    return sql(where) if where else "true"


def aggregate(text: str, allowed: Collection[str] | None = None) -> Aggregate:
    """Read an aggregate such as `count()`, `mean(amount)`, `nth_last(city, 2)` or `sum(amount) where paid`.

    >>> read = aggregate("sum(amount) where paid")
    >>> read.function, sorted(read.columns), read.where
    ('sum', ['amount', 'paid'], '("paid")')
    """
    name, argument, condition = _call(text)
    if name not in AGGREGATES:
        raise ValueError(f"{text!r} is not an aggregate; allowed: {', '.join(name + '(...)' for name in AGGREGATES)}")
    place = 1
    if name == "nth_last":
        argument, _, number = argument.rpartition(",")
        if not number.strip().isdecimal() or not 1 <= int(number) <= FURTHEST:
            raise ValueError(f"{text!r} needs a whole number from 1 to {FURTHEST} after the comma: nth_last(amount, 2)")
        place = int(number)
    if not argument and name not in BARE:
        raise ValueError(f"{text!r} needs an expression between its brackets")
    return Aggregate(
        name,
        sql(argument, allowed) if argument else None,
        frozenset().union(*(columns(part) for part in (argument, condition) if part)),
        sql(condition, allowed) if condition else None,
        place,
        argument or None,
        condition or None,
    )


@cache
def _call(text: str) -> tuple[str, str, str]:
    """Name, argument and condition of `name(argument) where condition`; without such a form, no name."""
    try:
        tokens = sqlglot.tokenize(text, dialect="duckdb")
    except sqlglot.errors.SqlglotError:
        return "", "", ""
    depth = 0
    for token in tokens[1:]:
        depth += {"L_PAREN": 1, "R_PAREN": -1}.get(token.token_type.name, 0)
        if not depth:
            break
    else:
        return "", "", ""
    named = text[: tokens[1].start].strip()
    rest = text[token.end + 1 :].strip()
    condition = re.fullmatch(r"where\b(.+)", rest, re.DOTALL | re.IGNORECASE)
    if tokens[1].token_type.name != "L_PAREN" or (rest and not condition):
        return "", "", ""
    return named, text[tokens[1].end + 1 : token.start].strip(), condition[1].strip() if condition else ""


def over(text: str, values: Mapping[str, str]) -> str:
    """The expression as SQL with the SQL of a value in place of each name."""
    node = _parse(text).copy()
    for column in list(node.find_all(exp.Column)):
        value = exp.Paren(this=sqlglot.parse_one(values[column.name], dialect="duckdb"))
        if column is node:
            node = value
        else:
            column.replace(value)
    return _written(node)


@cache
def select(text: str) -> str:
    """One SELECT in PostgreSQL's dialect, written out again from its tree. Raises ValueError if it is anything else."""
    try:
        statements = sqlglot.parse(text, dialect="postgres")
    except sqlglot.errors.SqlglotError as error:
        found = getattr(error, "errors", None)
        raise ValueError(f"{_shortened(text)} is not SQL: {found[0]['description'] if found else error}") from None
    tree = statements[0] if len(statements) == 1 else None
    if not isinstance(tree, (exp.Select, exp.SetOperation)):
        raise ValueError(f"{_shortened(text)} must be one SELECT")
    for part in tree.walk():
        unfit = isinstance(part, exp.Func) and _names(part) & UNFIT_FUNCTIONS
        if unfit or isinstance(part, UNFIT):
            found = part.sql(dialect="postgres").strip()
            raise ValueError(
                f"{_shortened(text)} holds {found!r}: it may only read, and give the same rows at any time"
            )
    return tree.sql(dialect="postgres", comments=False)


def identifier(name: str) -> str:
    """A name quoted for SQL. Canonical feature names (`view.feature_7d`) hold a dot; a quote is refused."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name):
        raise ValueError(f"{name!r} is not a name; allowed: letters, digits, _ and . after a first letter")
    return f'"{name}"'
