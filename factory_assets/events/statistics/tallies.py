"""How are the rows of many days summed up column by column? The SQL behind `statistics.describe`, a table a question.

`Rows` names the tables that the functions read. Each function creates one table by (ds, part, c), where part 0 is the whole
day, and returns its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from factory_assets.events.statistics import sketches
from factory_assets.events.statistics.sketches import LISTED, LOG_GAMMA, OFFSET, RANK_BITS, REGISTERS

#: Columns of which each pair is correlated, the first of the stream: 66 pairs.
CORRELATED = 12
#: Types whose values are whole numbers of 64 bits, which arithmetic can hash.
COUNTED = ("BIGINT", "INTEGER", "SMALLINT", "TINYINT")
MASK = 2**32 - 1
#: Fine steps in a coarse one.
COARSE = 2**22
#: The one time whose hours are counted.
EVENT_TIME = "event_time"
#: Mixes 32 bits so that each depends on all (lowbias32: Wellons, Prospecting for hash functions, 2018): shift, factor.
#: Not DuckDB's `hash`, which may be another one in its next version, and registers are kept.
MIX = ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1))


@dataclass(frozen=True)
class Column:
    """A column that is described, the `at`-th, and the SQL of its values that are counted."""

    at: int
    name: str
    type: str

    @property
    def kind(self) -> sketches.Kind:
        return sketches.kind(self.type)

    @property
    def is_float(self) -> bool:
        return self.type in ("DOUBLE", "FLOAT")

    @property
    def finite(self) -> str:
        """The value, null where it is not finite."""
        value = f"c{self.at}"
        return f"CASE WHEN isfinite({value}) THEN {value} END" if self.is_float or self.kind == "time" else value

    @property
    def number(self) -> str:
        """The finite number; of a list how many values it has."""
        return f"len(c{self.at})::DOUBLE" if self.type.endswith("[]") else f"({self.finite})::DOUBLE"

    @property
    def bin(self) -> str:
        if self.kind == "time":
            return f"hour({self.finite})::INTEGER"
        x = self.number
        return f"CASE WHEN {x} = 0 THEN 0 ELSE sign({x}) * (ceil(ln(abs({x})) / {LOG_GAMMA!r}) + {OFFSET}) END::INTEGER"

    @property
    def has_bins(self) -> bool:
        return self.kind == "number" or (self.name == EVENT_TIME and self.type.startswith("TIMESTAMP"))


@dataclass(frozen=True)
class Rows:
    """Names of the relations with the rows that are summed up.

    values: a table of `ds`, a column `c<n>` for each column described, and a column `s<n>` for each sliced one, with the number
        of the row's slice. by: the columns `s<n>`.
    scales: a table of each day's minimum (`low<n>`) and scale (`scale<n>`) of each number.
    stepped: `values`, with each number in whole steps from the day's minimum, fine (`f<n>`) and coarse (`q<n>`).
    """

    values: str
    by: Sequence[str]
    scales: str = "scales"
    stepped: str = "stepped"


def create(con: duckdb.DuckDBPyConnection, name: str, query: str) -> str:
    con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}").fetchall()
    return name


def scaled(con: duckdb.DuckDBPyConnection, values: str, by: Sequence[str], columns: Sequence[Column]) -> Rows:
    """Create the scales of the values, and the view of the values in steps.

    Sums of steps are exact, so they do not depend on the order of rows. A step is a power of two, so that scaling is
    exact too. The day's range has at most 2^52 fine steps, which keep all digits of a mean, and at most 2^30 coarse ones,
    whose squares and products fit 64 bits.
    """
    rows = Rows(values, by)
    numbers = [column for column in columns if column.kind == "number"]
    extremes = "".join(f", min({c.number}) AS low{c.at}, max({c.number}) AS high{c.at}" for c in numbers)
    scales = "".join(
        f""", low{c.at}, CASE WHEN high{c.at} = low{c.at} THEN {COARSE} ELSE
            pow(2, least(1000, 51 - ceil(log2(greatest(high{c.at} / 2 - low{c.at} / 2, 1e-300))))) END AS scale{c.at}"""
        for c in numbers
    )
    create(con, rows.scales, f"SELECT ds{scales} FROM (SELECT ds{extremes} FROM {values} GROUP BY ds)")
    fine = "".join(f", round({c.number} * scale{c.at} - low{c.at} * scale{c.at})::BIGINT AS f{c.at}" for c in numbers)
    coarse = "".join(f", (f{c.at} + {COARSE // 2}) // {COARSE} AS q{c.at}" for c in numbers)
    con.execute(
        f"""CREATE OR REPLACE TEMP VIEW {rows.stepped} AS
            SELECT *{coarse} FROM (SELECT {values}.*{fine} FROM {values} JOIN {rows.scales} ON {values}.ds = {rows.scales}.ds)"""
    ).fetchall()
    return rows


def sums(con: duckdb.DuckDBPyConnection, rows: Rows, columns: Sequence[Column]) -> str:
    """Presence, moments and extremes, with a row for every column."""
    summed, added, of_columns = "summed", [], []
    for c in columns:
        added.append(f"count(c{c.at}) AS given{c.at}")
        chosen = {
            "nan": "0",
            "infinite": "0",
            "mean": "NULL",
            "deviation": "NULL",
            "minimum": "NULL",
            "maximum": "NULL",
        }
        chosen |= {"earliest": "NULL", "latest": "NULL"}
        if c.is_float or c.kind == "time":
            added.append(f"count(*) FILTER (isinf(c{c.at})) AS infinite{c.at}")
            chosen["infinite"] = f"infinite{c.at}"
        if c.is_float:
            added.append(f"count(*) FILTER (isnan(c{c.at})) AS nan{c.at}")
            chosen["nan"] = f"nan{c.at}"
        if c.kind == "time":
            added.append(f"min({c.finite})::TIMESTAMP AS min{c.at}, max({c.finite})::TIMESTAMP AS max{c.at}")
            chosen |= {"earliest": f"min{c.at}", "latest": f"max{c.at}"}
        if c.kind == "number":
            n, sum_, squares = f"n{c.at}", f"sum{c.at}", f"squares{c.at}"
            added.append(f"count(q{c.at}) AS {n}, sum(q{c.at}) AS {sum_}, sum(q{c.at} * q{c.at}) AS {squares}")
            added.append(f"sum(f{c.at}) AS fine{c.at}")
            added.append(f"min({c.number}) AS min{c.at}, max({c.number}) AS max{c.at}")
            chosen |= {"minimum": f"min{c.at}", "maximum": f"max{c.at}"}
            chosen["mean"] = f"(low{c.at} * scale{c.at} + fine{c.at}::DOUBLE / {n}) / scale{c.at}"
            chosen["deviation"] = f"sqrt(({n} * {squares} - {sum_} * {sum_})::DOUBLE) / {n} / (scale{c.at} / {COARSE})"
        of_columns.append(
            f"""SELECT ds, part, {c.at} AS c, '{c.name}' AS "column", '{c.type}' AS "type", "rows",
                "rows" - given{c.at} AS nulls, {", ".join(f"{value} AS {name}" for name, value in chosen.items())},
                {c.has_bins} AS has_bins, {c.kind == "text"} AS has_values,
                {c.kind == "text" or c.type in COUNTED} AS has_registers FROM {summed} JOIN {rows.scales} USING (ds)"""
        )
    counts = f'count(*) AS "rows", {", ".join(added)}'
    create(con, summed, f"SELECT ds, {_part(rows.by)}, {counts} FROM {rows.stepped} {_sets(rows.by)}")
    return create(con, "sums", " UNION ALL ".join(of_columns))


def bins(con: duckdb.DuckDBPyConnection, rows: Rows, columns: Sequence[Column]) -> str:
    """How many rows fall into each bin, ascending."""
    counted = ["SELECT NULL::DATE AS ds, 0 AS part, 0 AS c, 0 AS bin, 0 AS n WHERE false"]
    counted += [
        f"SELECT ds, {_part(rows.by)}, {c.at}, bin, count(*) FROM {_having(rows, c.bin, 'bin')} {_sets(rows.by, 'bin')}"
        for c in columns
        if c.has_bins
    ]
    return create(
        con,
        "bins",
        f"""SELECT ds, part, c, list(bin ORDER BY bin) AS bins, list(n ORDER BY bin) AS counts
            FROM ({" UNION ALL ".join(counted)}) GROUP BY ds, part, c""",
    )


def words(con: duckdb.DuckDBPyConnection, rows: Rows, columns: Sequence[Column]) -> str:
    """How many rows have each text."""
    counted = ["SELECT NULL::DATE AS ds, 0 AS part, 0 AS c, '' AS word, 0 AS n WHERE false"]
    counted += [
        f"SELECT ds, {_part(rows.by)}, {c.at}, word, count(*) FROM {_having(rows, f'c{c.at}', 'word')} {_sets(rows.by, 'word')}"
        for c in columns
        if c.kind == "text"
    ]
    return create(con, "words", " UNION ALL ".join(counted))


def texts(con: duckdb.DuckDBPyConnection, words: str) -> str:
    """The most frequent texts, from the table that `words` created."""
    listed = f"FILTER (place <= {LISTED})"
    return create(
        con,
        "texts",
        f"""SELECT ds, part, c, list(word ORDER BY place) {listed} AS "values",
                list(n ORDER BY place) {listed} AS value_counts, sum(n) FILTER (place > {LISTED}) AS other_values
            FROM (SELECT *, row_number() OVER (PARTITION BY ds, part, c ORDER BY n DESC, word) AS place FROM {words})
            GROUP BY ds, part, c""",
    )


def registers(con: duckdb.DuckDBPyConnection, rows: Rows, words: str, columns: Sequence[Column]) -> str:
    """HyperLogLog of texts and whole numbers, from the smallest hash of each register. words: the table with the texts."""
    low, rest = f"(h & {REGISTERS - 1})::INTEGER AS register", f"min(h >> {REGISTERS.bit_length() - 1}) AS smallest"
    hashed = [
        f"SELECT ds, part, c, {low}, {rest} FROM (SELECT *, md5_number_lower(word) & {MASK} AS h FROM {words}) GROUP BY ALL"
    ]
    hashed += [
        f"SELECT ds, {_part(rows.by)}, {c.at}, register, {rest} FROM (SELECT *, {low} FROM {_mixed(rows, c)}) "
        f"{_sets(rows.by, 'register')}"
        for c in columns
        if c.type in COUNTED
    ]
    rank = f"CASE WHEN smallest = 0 THEN {RANK_BITS + 1} ELSE {RANK_BITS} - floor(log2(smallest)) END"
    return create(
        con,
        "registers",
        f"""SELECT ds, part, c, list((32 * register + {rank})::SMALLINT ORDER BY register) AS registers
            FROM ({" UNION ALL ".join(hashed)}) GROUP BY ds, part, c""",
    )


def comoments(con: duckdb.DuckDBPyConnection, rows: Rows, columns: Sequence[Column]) -> str:
    """The moments that correlate each pair of the first numeric columns on whole days, in the row of the pair's first one."""
    pairs = "pairs"
    numbers = [column for column in columns if column.kind == "number"][:CORRELATED]
    gaps = _with_gaps(con, rows, numbers)
    added, lists = [], []
    for first, others in ((numbers[at], numbers[at + 1 :]) for at in range(len(numbers) - 1)):
        moments = []
        for other in others:
            a, b, pair = first.at, other.at, f"{first.at}_{other.at}"
            # Over the rows that have both; where there is always the other, the sums of all pairs are one and the same.
            x = f"CASE WHEN q{b} IS NOT NULL THEN q{a} END" if b in gaps else f"q{a}"
            y = f"CASE WHEN q{a} IS NOT NULL THEN q{b} END" if a in gaps else f"q{b}"
            both = f"count(q{a} + q{b})" if gaps & {a, b} else "count(*)"
            added.append(
                f"""{both} AS n{pair}, sum({x}) AS x{pair}, sum({y}) AS y{pair}, sum(({x}) * ({x})) AS xx{pair},
                    sum(({y}) * ({y})) AS yy{pair}, sum(q{a} * q{b}) AS xy{pair}"""
            )
            n, of = f"n{pair}", {"x": (f"x{pair}", a), "y": (f"y{pair}", b)}
            means = [
                f"(low{at} * (scale{at} / {COARSE}) + {total}::DOUBLE / {n}) / (scale{at} / {COARSE})"
                for total, at in of.values()
            ]
            products = [
                f"({n} * {u}{v}{pair} - {of[u][0]} * {of[v][0]})::DOUBLE / {n} "
                f"/ (scale{of[u][1]} / {COARSE}) / (scale{of[v][1]} / {COARSE})"
                for u, v in ("xx", "yy", "xy")
            ]
            moments += [f"{n}::DOUBLE", *(f"coalesce({value}, 0)" for value in (*means, *products))]
        partners = ", ".join(f"'{other.name}'" for other in others)
        lists.append(
            f"SELECT ds, 0 AS part, {first.at} AS c, [{partners}] AS partners, [{', '.join(moments)}] AS comoments FROM {pairs}"
        )
    if lists:
        create(
            con,
            pairs,
            f"SELECT * FROM (SELECT ds, {', '.join(added)} FROM {rows.stepped} GROUP BY ds) JOIN {rows.scales} USING (ds)",
        )
    empty = "SELECT NULL::DATE AS ds, 0 AS part, 0 AS c, NULL::VARCHAR[] AS partners, NULL::DOUBLE[] AS comoments WHERE false"
    return create(con, "comoments", " UNION ALL ".join([empty, *lists]))


def _with_gaps(con: duckdb.DuckDBPyConnection, rows: Rows, numbers: Sequence[Column]) -> set[int]:
    """Places of the columns that have no number in some row."""
    if not numbers:
        return set()
    tests = ", ".join(f"count({column.number}) < count(*)" for column in numbers)
    (gaps,) = con.execute(f"SELECT {tests} FROM {rows.values}").fetchall()
    return {column.at for column, gap in zip(numbers, gaps, strict=True) if gap}


def _mixed(rows: Rows, column: Column) -> str:
    """The rows with a whole number, and its hash of 32 bits as `h`."""
    kept, value = ", ".join(["ds", *rows.by]), f"c{column.at}::BIGINT"
    # The halves of a number; a factor that is odd loses nothing of the upper one.
    halves = f"xor(({value} & {MASK})::UBIGINT, (({value} >> 32) & {MASK})::UBIGINT * 2654435769 & {MASK})"
    query = f"(SELECT {kept}, {halves} AS h FROM {rows.values} WHERE c{column.at} IS NOT NULL)"
    for shift, factor in MIX:
        query = f"(SELECT {kept}, (xor(h, h >> {shift}) * {factor}) & {MASK} AS h FROM {query})"
    return query


def _part(by: Sequence[str]) -> str:
    return f"coalesce({', '.join([*by, '0'])}) AS part"


def _sets(by: Sequence[str], *keys: str) -> str:
    """GROUP BY the keys, for the whole day and for the slices of each column."""
    sets = (", ".join(["ds", *one, *keys]) for one in ([], *([name] for name in by)))
    return f"GROUP BY GROUPING SETS ({', '.join(f'({one})' for one in sets)})"


def _having(rows: Rows, value: str, name: str) -> str:
    """The rows that have a value."""
    return f"(SELECT {', '.join(['ds', *rows.by])}, {value} AS {name} FROM {rows.values} WHERE {name} IS NOT NULL)"
