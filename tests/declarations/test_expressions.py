"""Does an expression only compute? What is allowed means to the engine what was written; all else is refused in words."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from factory_assets.declarations import expressions
from factory_assets.declarations.expressions import AGGREGATES, FUNCTIONS, TYPES

ROOT = Path(__file__).parents[2]
COLUMNS = {"i": "BIGINT", "d": "DOUBLE", "s": "VARCHAR", "b": "BOOLEAN", "t": "TIMESTAMP", "order": "BIGINT"}
#: A call of every function that an expression may contain.
CALLS = {
    "abs": "abs(i)", "ceil": "ceil(d)", "floor": "floor(d)", "round": "round(d, 1)", "sign": "sign(i)",
    "sqrt": "sqrt(abs(d))", "ln": "ln(abs(d) + 1)", "log": "log(abs(d) + 1)", "log10": "log10(abs(d) + 1)",
    "log2": "log2(abs(d) + 1)", "exp": "exp(d)", "pow": "pow(d, 2)", "power": "power(d, 2)", "mod": "mod(i + 5, 3) * 2",
    "greatest": "greatest(i, 2)", "least": "least(i, d)", "coalesce": "coalesce(i, 9)", "nullif": "nullif(i, 3)",
    "ifnull": "ifnull(i, 9)", "if": "if(i > 1, 'x', 'y')", "year": "year(t)", "month": "month(t)", "day": "day(t)",
    "hour": "hour(t)", "minute": "minute(t)", "second": "second(t)", "dayofweek": "dayofweek(t)", "dow": "date_part('dow', t)",
    "isodow": "isodow(t)", "week": "week(t)", "quarter": "quarter(t)", "dayofyear": "dayofyear(t)",
    "date_part": "date_part('hour', t)", "extract": "extract(hour FROM t)", "date_trunc": "date_trunc('month', t)",
    "date_diff": "date_diff('day', t, TIMESTAMP '2025-01-01')", "datediff": "datediff('hour', t, TIMESTAMP '2025-01-01')",
    "date_sub": "date_sub('day', t, TIMESTAMP '2025-01-01')", "make_date": "make_date(2024, 2, 29)",
    "make_timestamp": "make_timestamp(2024, 2, 29, 1, 2, 3.5)", "to_minutes": "t + to_minutes(5)", "to_hours": "t + to_hours(5)",
    "to_days": "t + to_days(5)", "to_seconds": "t + to_seconds(5)", "epoch": "epoch(t)", "strftime": "strftime(t, '%Y-%m')",
    "try_strptime": "try_strptime(s, '%d/%m/%Y')", "strptime": "strptime('03/02/2024', '%d/%m/%Y')", "lower": "lower(s)",
    "upper": "upper(s)", "trim": "trim(s)", "ltrim": "ltrim(s)", "rtrim": "rtrim(s)", "length": "length(s)",
    "substring": "substring(s, 2, 2)", "substr": "substr(s, 2)", "replace": "replace(s, 'a', 'b')", "concat": "concat(s, i, NULL)",
    "concat_ws": "concat_ws('-', s, NULL, i)", "contains": "contains(s, 'a')", "starts_with": "starts_with(s, 'a')",
    "ends_with": "ends_with(s, 'b')", "prefix": "prefix(s, 'a')", "suffix": "suffix(s, 'b')", "left": "left(s, 1)",
    "right": "right(s, 1)", "lpad": "lpad(s, 5, '*')", "regexp_matches": "regexp_matches(s, '^a')", "isnan": "isnan(d)",
    "isinf": "isinf(d)", "cast": "CAST(i AS VARCHAR)", "try_cast": "TRY_CAST(s AS DOUBLE)",
    "case": "CASE i WHEN 3 THEN 'x' ELSE s END", "sin": "sin(d)", "cos": "cos(d)", "pi": "pi()", "radians": "radians(d)",
    "degrees": "degrees(d)", "atan2": "atan2(d, i)", "asin": "asin(d / 100)", "acos": "acos(d / 100)",
    "interval": "t - INTERVAL 3 DAY", "between": "i BETWEEN 1 AND 3", "in": "i IN (1, 3)",
}  # fmt: skip
MORE = [
    "i", "'it''s'", "'--'", "'*/'", "'; DROP TABLE r'", "NULL", "TRUE", "-1.5e3", "d / 2", "i // 2", "i % 3", "i ^ 2",
    "i ** 2", "i & 1", "i | 8", "abs(i) << 1", "s || 'x' = 'abx'", "s LIKE 'a%'", "s NOT LIKE 'a!%' ESCAPE '!'",
    "s ILIKE 'A%'", "s SIMILAR TO 'a.'", "s ~ 'a.*'", "i IS NULL", "i IS NOT NULL", "b IS TRUE",
    "i IS DISTINCT FROM order", "i IS NOT DISTINCT FROM 3", "NOT b AND i > 1 OR b", "i NOT IN (1, 2)",
    "i NOT BETWEEN 1 AND 2", "i::double / 2", "s::varchar", "d::decimal(10, 2)", "t::date", "DATE '2024-02-29'",
    "t AT TIME ZONE 'Europe/Paris'", "CASE WHEN b THEN 1 WHEN i > 2 THEN 2 END", '"order" + 1', "i /* note */ + 1",
    "i -- note", "hour(t) <= 6", "dayofweek(t) in (0, 6)", "extract('hour' from t)", "month(t) = 2 and day(t) = 29",
]  # fmt: skip


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
        connection.execute(f"CREATE TABLE r ({columns})")
        connection.execute(
            """INSERT INTO r VALUES (3, 2.5, 'ab', true, '2024-02-29 13:14:15.6', 1),
               (-4, -0.5, ' b''c ', false, '2023-12-31 23:59:59', 2),
               (0, 7.25, '', true, '2024-01-01', 3), (NULL, NULL, NULL, NULL, NULL, NULL)"""
        )
        yield connection


def values(con: duckdb.DuckDBPyConnection, text: str) -> str | None:
    """Values and type as text (of which NaN is equal to itself), or None where the engine refuses the text."""
    try:
        # On a line of its own: a text may end in a comment.
        return repr(con.execute(f"SELECT x, typeof(x) FROM (SELECT (\n{text}\n) AS x FROM r)").fetchall())
    except duckdb.Error:
        return None


def test_every_function_has_a_call_here() -> None:
    assert set(CALLS) == set(FUNCTIONS)


@pytest.mark.parametrize("text", [*CALLS.values(), *MORE])
def test_what_the_engine_is_given_means_what_was_written(con: duckdb.DuckDBPyConnection, text: str) -> None:
    quoted = text.replace("FROM order", 'FROM "order"')
    assert values(con, quoted) is not None, "the engine does not know this"
    assert values(con, expressions.sql(quoted, COLUMNS)) == values(con, quoted)


def a_number(rng: random.Random, depth: int) -> str:
    if depth == 0 or rng.random() < 0.3:
        leaves = ["i", "d", "2", "3", "0.5", "-1", "- i", "+i", "abs(d)", "mod(i, 3)", "if(b, i, 2)", "length(s)"]
        return rng.choice(leaves)
    one, other = a_number(rng, depth - 1), a_number(rng, depth - 1)
    operator = rng.choice(["+", "-", "*", "/", "//", "%", "^", "**", "|", "&", "<<"])
    return rng.choice([f"{one} {operator} {other}", f"{one} {operator} {other}", f"- {one}", f"({one})"])


def a_truth(rng: random.Random, depth: int) -> str:
    if depth == 0:
        return rng.choice(
            ["b", "b is null", "i is not null", "s like 'a%'", "i in (1, 3)", "i not in (1)", "s || s = 'abab'"]
        )
    one, other = a_truth(rng, depth - 1), a_truth(rng, depth - 1)
    left, right = a_number(rng, 1), a_number(rng, 1)
    comparison = rng.choice(["=", "<>", "!=", "<", "<=", ">", ">=", "==", "is distinct from"])
    return rng.choice(
        [
            f"{one} and {other}", f"{one} or {other}", f"not {one}", f"({one})", f"{one} is true", f"{one} is null",
            f"{left} {comparison} {right}", f"{left} between {right} and {left}",
        ]
    )  # fmt: skip


def test_operators_without_brackets_bind_as_the_engine_binds_them(con: duckdb.DuckDBPyConnection) -> None:
    rng, compared = random.Random(3), 0
    for _ in range(600):
        text = a_number(rng, 2) if rng.random() < 0.5 else a_truth(rng, 2)
        expected = values(con, text)
        if expected is not None:
            assert values(con, expressions.sql(text, COLUMNS)) == expected, text
            compared += 1
    assert compared > 400


@pytest.mark.parametrize("function", ["strptime", "try_strptime"])
def test_a_word_is_no_time_under_any_format(function: str) -> None:
    """DuckDB takes these for times: for 1900, or for years that no Python reader knows."""
    text, words = (
        f"{function}(day, '%d/%m/%Y')",
        ("infinity", "-Infinity", " EPOCH\t", "\x0binfinity\n", "\x0c-infinity\r"),
    )
    with duckdb.connect() as con:

        def read(sql: str, day: str) -> dt.datetime | None:
            try:
                return con.execute(f"SELECT {sql} FROM (SELECT $1 AS day)", [day]).fetchall()[0][0]
            except duckdb.InvalidInputException as error:
                assert "Could not parse" in str(error)
                return None

        for written in (
            expressions.sql(text),
            expressions.over(text, {"day": "day"}),
            expressions.over_features(f"if(true, {text}, null)"),
        ):
            assert [read(written, word) for word in words] == [None] * len(words)
            assert read(written, "02/01/2024") == dt.datetime(2024, 1, 2)
            assert read(written, " 02/01/2024 ") == read(text, " 02/01/2024 ")
        assert {read(text, word) is None for word in words} == {False}, "else it need not be kept from them"


#: What could ask for the machine's zone or language.
LOCAL = (
    "cast(cast('2024-03-10 02:30' as timestamptz) as varchar)", "strftime(cast(t as timestamptz), '%c %Z %z')",
    "hour(cast(t as timestamptz))",
    "epoch(cast('2024-03-10 02:30' as timestamptz))",
    "cast(cast(t as timestamptz) as date)", "upper('iı') || lower('Iİ')",
    "date_trunc('day', cast(t as timestamptz))", "try_strptime('10/03/2024 Asia/Kathmandu', '%d/%m/%Y %Z')",
    "strptime('10 March 2024', '%d %B %Y')", "strftime(t, '%A %B %p %x %X')", "cast(1.5 as text)", "s ilike 'AB'",
    "cast(t as timestamptz) = t", "date_diff('day', cast(t as timestamptz), TIMESTAMPTZ '2024-03-11 00:00:00+00')",
)  # fmt: skip
EVALUATED = r"""
import json, sys
from factory_assets.declarations import expressions
from factory_resources.duck import opened
con = opened()
con.execute("CREATE TABLE r AS SELECT 3::BIGINT i, 2.5::DOUBLE d, 'ab' s, true b,"
            " TIMESTAMP '2024-03-10 23:30:00' t, 1::BIGINT AS \"order\"")
asked = [f"SELECT ({expressions.sql(text)})::VARCHAR FROM r" for text in json.loads(sys.argv[1])]
print(json.dumps([repr(con.execute(query).fetchall()) for query in asked]))
"""


def test_an_expression_means_the_same_in_any_zone_and_language_of_the_machine() -> None:
    texts = json.dumps([*(text for text in CALLS.values() if "TRY_CAST" not in text), *LOCAL])
    found = {
        subprocess.run(
            [sys.executable, "-c", EVALUATED, texts], env=os.environ | {"TZ": zone, "LC_ALL": language, "LANG": language},
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout
        for zone, language in (("UTC", "C.UTF-8"), ("Asia/Kathmandu", "tr_TR.UTF-8"), ("America/New_York", "de_DE.UTF-8"))
    }  # fmt: skip
    (values,) = map(json.loads, found)
    assert len(values) == len(json.loads(texts))


#: Texts that do more than compute from the row, and a part of the answer.
REFUSED = {
    # other statements, clauses and rows
    "1; DROP TABLE r": "must be one expression", "i; SELECT 1": "must be one expression", "i FROM r": "must be one expression",
    "i FROM r WHERE b": "must be one expression", "i, d": "must be one expression", "i WHERE b": "must be one expression",
    "i UNION SELECT 1": "must be one expression", "i LIMIT 1": "must be one expression", "DISTINCT i": "must be one expression",
    "": "must be one expression", "   ": "must be one expression", "-- only a note": "must be one expression",
    "i) FROM r; DROP TABLE r; --": "is not an expression", "i)) UNION SELECT ((1": "is not an expression",
    "(SELECT 1)": "SELECT 1", "(SELECT max(i) FROM r) > 1": "SELECT MAX(i) FROM r", "i IN (SELECT 1)": "a query",
    "EXISTS (SELECT 1)": "exists", "i = ANY (SELECT 1)": "SELECT 1", "i IN order": "list in brackets", "i IN s": "list in brackets",
    "*": "*", "r.*": "*", "r.i": "names a table (r)", "main.r.i": "names a table", "i AS x": "must not name its result",
    "i x": "must not name its result", "#1": "#1", "COLUMNS('i')": "columns", "unnest([1])": "explode",
    # files, settings, the clock, chance, the session
    "read_csv('/etc/passwd')": "read_csv", "read_text('/etc/passwd')": "read_text", "glob('*')": "glob", "getenv('HOME')": "getenv",
    "current_setting('threads')": "current_setting", "getvariable('x')": "getvariable", "now()": "now", "current_date": "current_date",
    "current_timestamp": "current_timestamp", "today()": "today", "random()": "rand", "uuid()": "uuid", "nextval('s')": "nextval",
    "version()": "version", "sleep(1)": "sleep", "query('SELECT 1')": "query", "pragma_version()": "pragma_version",
    '"read_csv"(\'x\')': "read_csv", "main.upper(s)": "main", "s.upper()": "upper", "(s).upper()": "upper", "system.main.now()": "now",
    # more than one row, and parts that belong elsewhere
    "count(*)": "count", "sum(i)": "sum", "max(i) > 1": "max", "row_number() OVER ()": "row_number", "lag(i) OVER (ORDER BY t)": "lag",
    "$1": "$1", "?": "?", "x -> x + 1": "x", "i := 1": ":=", "[1, 2]": "[1, 2]", "{'x': 1}": "struct", "s[1]": "s[1]",
    "i::my_type": "my_type", "i::STRUCT(x INT)": "STRUCT", "i::INT[]": "INT[]", "s COLLATE nocase": "nocase",
    # no SQL at all
    "i +": "is not an expression", "'open": "is not an expression", '"open': "is not an expression", "i ++": "is not an expression",
    "(" * 5000 + "i" + ")" * 5000: "nested too deeply",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_what_does_more_than_compute_is_refused_with_what_was_found_and_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        expressions.sql(text, COLUMNS)
    message = str(refused.value)
    assert type(refused.value) is ValueError
    assert REFUSED[text].lower() in message.lower()
    assert message.startswith(repr(text)[:40].rstrip("'\""))
    if "which is not allowed" in message or "may hold" in message:
        assert all(name in message for name in FUNCTIONS)
    if "casts to" in message:
        assert all(name in message for name in TYPES)


@pytest.mark.parametrize(
    "text", ["1 /* */ ; DROP TABLE r */", "i -- */ ; DROP TABLE r", "i /* -- */ + 1 /* ' */", "'*/' || s -- '"]
)
def test_a_note_never_reaches_the_engine(text: str) -> None:
    try:
        written = expressions.sql(text, COLUMNS)
    except ValueError:
        return
    assert "DROP" not in written
    assert "--" not in written
    assert "/*" not in written


def test_a_text_stays_a_text_however_it_is_quoted(con: duckdb.DuckDBPyConnection) -> None:
    for text in ("x' OR '1'='1", "'; DROP TABLE r; --", "\\'; SELECT 1", '"', "a\nb"):
        literal = "'" + text.replace("'", "''") + "'"
        assert con.execute(f"SELECT {expressions.sql(literal)}").fetchall() == [(text,)]


def test_columns_that_do_not_exist_are_named_beside_those_that_do() -> None:
    with pytest.raises(
        ValueError, match=r"'amuont \* 2 \+ tax \+ i' reads amuont, tax; columns here: b, d, i, order, s, t"
    ):
        expressions.sql("amuont * 2 + tax + i", COLUMNS)
    with pytest.raises(ValueError, match="'amuont' reads amuont; columns here: b, d"):
        expressions.aggregate("sum(amuont)", COLUMNS)
    with pytest.raises(ValueError, match="'user' reads user"):
        expressions.sql("user", COLUMNS)


def test_the_columns_that_an_expression_reads_are_found_everywhere_in_it() -> None:
    assert expressions.columns("CASE WHEN hour(t) > 3 THEN i ELSE coalesce(d, \"order\") END || 's'") == {
        "t",
        "i",
        "d",
        "order",
    }
    assert expressions.columns("1 + 2") == frozenset()
    assert expressions.aggregate("mean(i - d)").columns == {"i", "d"}


def test_every_column_is_quoted_so_that_none_is_taken_for_a_keyword() -> None:
    assert expressions.sql('"order" + i') == '("order" + "i")'


@pytest.mark.parametrize("function", [name for name in AGGREGATES if name != "nth_last"])
def test_an_aggregate_is_a_function_of_one_expression(function: str) -> None:
    found = expressions.aggregate(f" {function} ( i + 1 ) ", COLUMNS)
    assert (found.function, found.argument, found.columns) == (function, '("i" + 1)', {"i"})


def test_an_aggregate_may_look_at_the_events_of_a_condition() -> None:
    found = expressions.aggregate("sum(i) where s = ') where (' and (d > 0 or i > 1)", COLUMNS)
    assert (found.argument, found.where) == ('("i")', """("s" = ') where (' AND ("d" > 0 OR "i" > 1))""")
    assert found.columns == {"i", "s", "d"}
    assert (found.text, found.condition) == ("i", "s = ') where (' and (d > 0 or i > 1)")
    assert expressions.aggregate("count() WHERE d > 0").where == '("d" > 0)'
    with pytest.raises(ValueError, match="'amuont > 0' reads amuont; columns here"):
        expressions.aggregate("count() where amuont > 0", COLUMNS)


def test_the_nth_last_is_counted_from_the_newest() -> None:
    found = expressions.aggregate("nth_last(if(i > 0, s, 'x'), 3)", COLUMNS)
    assert (found.argument, found.place, found.columns) == (
        """(CASE WHEN "i" > 0 THEN "s" ELSE 'x' END)""",
        3,
        {"i", "s"},
    )
    for text in ("nth_last(i)", "nth_last(i, 0)", "nth_last(i, 101)", "nth_last(i, d)", "nth_last(i, -1)"):
        with pytest.raises(ValueError, match="needs a whole number from 1 to 100 after the comma"):
            expressions.aggregate(text, COLUMNS)


def test_values_take_the_place_of_names() -> None:
    values = {"i": "coalesce(a, 0)", "d": "CASE WHEN b THEN 1 END"}
    assert expressions.over("i / nullif(d, 0)", values) == "((COALESCE(a, 0)) / NULLIF((CASE WHEN b THEN 1 END), 0))"
    assert expressions.over("i", {"i": "1 + 2"}) == "((1 + 2))"


def test_only_count_and_the_time_since_need_no_argument() -> None:
    assert expressions.aggregate("count()") == expressions.Aggregate("count", None, frozenset())
    assert expressions.aggregate("time_since_last()").argument is None
    with pytest.raises(ValueError, match=r"'sum\( \)' needs an expression between its brackets"):
        expressions.aggregate("sum( )")


@pytest.mark.parametrize(
    "text",
    [
        "median(i)",
        "sum",
        "sum(i",
        "SUM(i)",
        "sum(i) + 1",
        "1 + sum(i)",
        "i",
        "",
        "sum(i) FROM r",
        "sum(i), (d)",
        "sum(i) + sum(d)",
        "count() OVER ()",
        "sum(i) where",
        "sum(i) if d > 0",
    ],
)
def test_what_is_no_aggregate_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"is not an aggregate; allowed: count\(\.\.\.\), sum\(\.\.\.\), mean.*distinct"
    ) as refused:
        expressions.aggregate(text, COLUMNS)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "sum(sum(i))",
        "count(*)",
        "count() where d > 0 where i > 0",
        "count() where sum(i) > 0",
        "count(DISTINCT i)",
        "sum((SELECT 1))",
    ],
)
def test_the_argument_of_an_aggregate_is_an_expression_over_one_row(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an expression|not allowed|may hold|must be one"):
        expressions.aggregate(text, COLUMNS)


@pytest.mark.parametrize("name", ['a"b', "a;b", "a b", "1a", "", "a'b", ".a", "é", "a\nb", "a\n"])
def test_a_name_that_needs_more_than_quotes_is_no_identifier(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name; allowed: letters, digits"):
        expressions.identifier(name)


def test_canonical_names_of_features_are_identifiers() -> None:
    assert expressions.identifier("view.feature_7d") == '"view.feature_7d"'


def test_no_condition_is_true_for_every_row() -> None:
    assert expressions.condition(None) == "true"
    assert expressions.condition("i > 1") == '("i" > 1)'
