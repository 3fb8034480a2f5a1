"""How are doubles of any size summed up without an error? As whole numbers of one small unit, rounded once at the end.

A double is a whole number of 53 bits times a power of two. On a grid, a unit fine enough for all values at hand, a double is a
whole number of the unit; sums of these are exact, whatever their order, and so is the sum of their squares, kept as two numbers
of `LIMB` * 2 bits. Two such sums differ by another. Values beside the grid, as of another order of magnitude, are summed up apart,
in bins of `WIDTH` powers of two: usual data have none. A column of integers is summed up as it is, and no integer rounded first.

The results are functions of exact numbers, and of nothing else: not of the grid, nor of whether the engine computes them
(the methods of `Grid`) or Python does (`sum_of`, `mean_of`, `deviation_of`). A sum is rounded once, to the nearest double. A mean
is the rounded sum by the count; a deviation is the root of the rounded n * sum(x**2) - sum(x)**2, by the count: both are within
two units in the last place of the exact ones.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import duckdb
from duckdb.func import FunctionNullHandling

#: The engine's whole numbers have 127 bits and a sign, and the largest decimal of a table not quite as many.
LARGEST = 125
#: Bits of a whole number on the grid, of which 2**32 can be summed up.
BITS = 93
#: Half of the bits of the lower number of a square: twice as many hold half of a square of `BITS`.
LIMB = 47
MASK = 2**LIMB - 1
#: A whole number of up to so many bits is two doubles: the nearest, and what it is off by.
TWO_DOUBLES = 104
#: A sum of squares with a higher number of up to so many bits is told from the mean's within `LARGEST`, for 2**32 values.
HIGHER = 92
#: Powers of two in a bin. With 54 more bits for the last place, and one for a logarithm that is rounded, these are `BITS`.
WIDTH, LAST = 38, 54
#: Furthest power of two of a grid's unit: no sum, mean or deviation on it is beyond a double, or has fewer bits.
FURTHEST = 850
#: Name of the function by which the engine asks Python.
FUNCTION = "exact_result"
BIN = "STRUCT(unit INTEGER, total HUGEINT, high HUGEINT, low HUGEINT)"


def whole(number: float) -> tuple[int, int]:
    """A finite double as (m, places): it is m / 2**places."""
    m, power = number.as_integer_ratio()
    return m, power.bit_length() - 1


def sum_of(total: int, places: int) -> float | None:
    """The double next to total / 2**places; None beyond the largest."""
    try:
        return total / (1 << places) if places >= 0 else float(total << -places)
    except OverflowError:
        return None


def mean_of(n: int, total: int, places: int) -> float:
    """The mean of n > 0 numbers with the sum total / 2**places."""
    number, power = _nearest(abs(total))
    return math.ldexp((-number if total < 0 else number) / n, power - places)


def deviation_of(n: int, total: int, squares: int, places: int) -> float:
    """The root of the mean square distance from the mean, of n > 0 numbers.

    total, squares: the numbers' sum in units of 2**-places, and the sum of their squares in units of 4**-places.
    """
    number, power = _nearest(n * squares - total * total)
    return math.ldexp(math.sqrt(number) / n, power // 2 - places)


def _nearest(number: int) -> tuple[float, int]:
    """The number to 53 bits, rounded half to even, as a double times an even power of two."""
    power = max(0, number.bit_length() - 62)
    power += power % 2
    cut = number >> power
    # What is cut off decides only between halves: one bit says whether there is any.
    return float(cut | (cut << power != number)), power


def _result(function: str, n: int, places: int, total: int, high: int, low: int, bins: Any) -> float | None:
    """`FUNCTION`: the sum, mean or deviation of numbers, some on a grid and others in bins."""
    parts = [(-places, total or 0, high or 0, low or 0)]
    parts += [(_unit(one["unit"]), one["total"], one["high"], one["low"]) for one in bins or ()]
    least = min(unit for unit, *_ in parts)
    total = sum(number << unit - least for unit, number, _, _ in parts)
    if function == "sum":
        return sum_of(total, -least)
    if function == "mean":
        return mean_of(n, total, -least)
    squares = sum((upper << 2 * LIMB) + lower << 2 * (unit - least) for unit, _, upper, lower in parts)
    return deviation_of(n, total, squares, -least)


def register(con: duckdb.DuckDBPyConnection) -> None:
    """Let the connection's queries ask `FUNCTION`, for numbers that the engine's whole numbers do not hold."""
    if con.execute("SELECT 1 FROM duckdb_functions() WHERE function_name = $1", [FUNCTION]).fetchall():
        return
    takes = ["VARCHAR", "BIGINT", "INTEGER", "HUGEINT", "HUGEINT", "HUGEINT", f"{BIN}[]"]
    con.create_function(
        FUNCTION,
        _result,
        [duckdb.sqltype(kind) for kind in takes],
        duckdb.sqltype("DOUBLE"),
        null_handling=FunctionNullHandling.SPECIAL,
    )


def _unit(bin: int) -> int:
    """The power of two that is the unit of a bin."""
    return WIDTH * bin - LAST


@dataclass(frozen=True)
class Grid:
    """Whole numbers of a unit of 2**-places, and what the engine makes of them. Its methods give SQL.

    bits: each is below 2**bits. events: there are fewer than 2**events. finite: all values are. certain: all are on the grid.
    bins: those of the values beside the grid, where these have been looked up. integer: the values are whole numbers of the
    engine's, of up to 64 bits, of which a double may hold 53; then places is 0, and all are on the grid.
    """

    places: int
    bits: int = BITS
    events: int = 32
    finite: bool = False
    certain: bool = False
    bins: tuple[int, ...] = ()
    integer: bool = False

    @property
    def asks(self) -> bool:
        """Whether a deviation, or anything at all, may have to ask `FUNCTION`."""
        return not self.certain or 2 * self.bits + self.events - 2 * LIMB > HIGHER

    @property
    def packs(self) -> bool:
        """Whether a sum and a count are one number, see `packed`."""
        return self.certain and self.bits + 2 * self.events <= LARGEST

    @property
    def halved(self) -> bool:
        """Whether squares have a higher number."""
        return 2 * self.bits > 2 * LIMB

    def number(self, value: str) -> str:
        """A value as a finite double, or as a whole number, or null."""
        if self.integer:
            return f"CAST({value} AS HUGEINT)"
        number = f"CAST({value} AS DOUBLE)"
        return number if self.finite else f"CASE WHEN isfinite({number}) THEN {number} END"

    def total(self, number: str) -> str:
        """The whole number to sum up; null beside the grid."""
        if self.integer:
            return number
        scaled = f"{number} * {_power(self.places)}"
        if self.certain:
            return f"CAST({scaled} AS HUGEINT)"
        return f"CASE WHEN {self._holds(number)} THEN TRY_CAST({scaled} AS HUGEINT) END"

    def _holds(self, number: str) -> str:
        return f"abs({number}) < {_power(self.bits - self.places)} AND {_whole(number, self.places)}"

    def high(self, number: str) -> str:
        """The higher number of the square to sum up."""
        return _high(self.total(number))

    def low(self, number: str) -> str:
        """The lower number of the square to sum up."""
        total = self.total(number)
        return _low(total) if self.halved else f"{total} * {total}"

    def beside(self, number: str) -> str:
        """What is summed up of a number beside the grid, as `BIN`; null on it."""
        bin = f"CAST(floor(log2(abs({number})) / {WIDTH}) AS INTEGER)"
        power = f"({LAST} - {WIDTH} * v.unit)"
        # One power of two may be beyond a double where two are not.
        scaled = f"v.number * pow(2.0, {power} // 2) * pow(2.0, {power} - {power} // 2)"
        placed = _let(
            f"{{'unit': {bin}, 'number': {number}}}", f"{{'unit': v.unit, 'total': CAST({scaled} AS HUGEINT)}}"
        )
        squared = f"{{'unit': v.unit, 'total': v.total, 'high': {_high('v.total')}, 'low': {_low('v.total')}}}"
        return f"CASE WHEN NOT ({self._holds(number)}) THEN {_let(placed, squared)} END"

    def packed(self, number: str) -> str:
        """The aggregate of which `unpacked` and `counted` are made: a window is found once for both."""
        return f"sum({self.total(number)} * {2**self.events} + 1)"

    def unpacked(self, column: str) -> str:
        """The sum of whole numbers."""
        return f"({column} >> {self.events})"

    def counted(self, column: str) -> str:
        """The count."""
        return f"coalesce(CAST({column} & {2**self.events - 1} AS BIGINT), 0)"

    def sum_of(self, total: str, bins: str) -> str:
        """The sum as a double. total, bins: SQL of the sums on the grid and beside it."""
        inside = f"{self._rounded(total)} * {_power(-self.places)}"
        return self._either("sum", "1", total, "0", "0", bins, inside)

    def mean_of(self, n: str, total: str, bins: str) -> str:
        """The mean as a double, null of nothing. n: SQL of the count."""
        inside = f"{self._rounded(total)} / nullif({n}, 0) * {_power(-self.places)}"
        return self._either("mean", n, total, "0", "0", bins, inside)

    def deviation_of(self, n: str, total: str, high: str, low: str, bins: str) -> str:
        """The deviation as a double, null of nothing. high, low: SQL of the sums of squares."""
        # n * squares - total**2, in three numbers of the base 2**LIMB; then carried, so that the lower two are less than it.
        upper, lower = f"({total} >> {LIMB})", f"({total} & {MASK})"
        many, higher = f"CAST({n} AS HUGEINT)", high if self.halved else "0::HUGEINT"
        three = f"""{{'a': {many} * {higher} - {upper} * {upper},
                     'b': {many} * ({low} >> {LIMB}) - 2 * {upper} * {lower},
                     'c': {many} * ({low} & {MASK}) - {lower} * {lower}}}"""
        carried = "(v.b + (v.c >> {LIMB}))".replace("{LIMB}", str(LIMB))
        two = _let(
            three, f"{{'a': v.a + ({carried} >> {LIMB}), 'b': (({carried} & {MASK}) << {LIMB}) + (v.c & {MASK})}}"
        )
        # An even number of bits is cut off, so that some 80 are left, and noted in the last if any of them was set.
        about = f"greatest(CAST(v.a AS DOUBLE) * {_power(2 * LIMB)} + CAST(v.b AS DOUBLE), 1)"
        cut = f"greatest(2 * CAST(floor((log2({about}) - 80) / 2) AS INTEGER), 0)"
        three = _let(two, f"{{'a': v.a, 'b': v.b, 'cut': {cut}}}")
        up, down, off = f"greatest({2 * LIMB} - v.cut, 0)", f"greatest(v.cut - {2 * LIMB}, 0)", "least(v.cut, 120)"
        kept = f"((v.a << {up}) >> {down}) + (v.b >> {off})"
        lost = f"CAST((v.a >> {down}) << {down} <> v.a OR (v.b >> {off}) << {off} <> v.b AS HUGEINT)"
        one = _let(three, f"{{'a': ({kept}) | {lost}, 'cut': v.cut}}")
        root = _let(one, f"sqrt({_nearest_of('v.a')} * pow(2.0, v.cut))")
        inside = f"{root} / nullif({n}, 0) * {_power(-self.places)}"
        fits = f"{high} < {2**HIGHER}" if self.asks and self.halved else ""
        return self._either("deviation", n, total, high if self.halved else "0", low, bins, inside, fits)

    def _either(
        self, function: str, n: str, total: str, high: str, low: str, bins: str, inside: str, fits: str = ""
    ) -> str:
        """The result from the sums on the grid if that is all, else by `FUNCTION`."""
        conditions = [*([] if self.certain else [f"{bins} IS NULL"]), *([fits] if fits else [])]
        if not conditions:
            return f"({inside})"
        sums = ", ".join(f"CAST({one} AS HUGEINT)" for one in (total, high, low))
        given = f"'{function}', {n}, {self.places}, {sums}, CAST({bins} AS {BIN}[])"
        return f"CASE WHEN coalesce({n}, 0) = 0 THEN NULL WHEN {' AND '.join(conditions)} THEN {inside} ELSE {FUNCTION}({given}) END"

    def _rounded(self, total: str) -> str:
        """The double next to a sum."""
        if self.bits + self.events <= TWO_DOUBLES:
            return _nearest_of(total)
        # The bits that are too many only decide between halves: one says whether there are any.
        cut = LARGEST - TWO_DOUBLES
        jammed = f"(({total} >> {cut}) | CAST({total} & {2**cut - 1} <> 0 AS HUGEINT))"
        return f"""CASE WHEN abs({total}) < {2**TWO_DOUBLES} THEN {_nearest_of(total)}
                   ELSE {_nearest_of(jammed)} * {_power(cut)} END"""


def _nearest_of(total: str) -> str:
    """SQL of the double next to a whole number of `TWO_DOUBLES` bits: the engine's cast may be the one but next.

    What the cast is off by has no more than 53 bits, so that it is a double too, and the sum of the two is rounded once.
    """
    near = f"CAST({total} AS DOUBLE)"
    return f"({near} + CAST({total} - CAST({near} AS HUGEINT) AS DOUBLE))"


def _whole(number: str, places: int) -> str:
    """SQL of whether a double is a whole number of 2**-places."""
    scaled = f"{number} * {_power(places)}"
    # What is too small for a double becomes 0.
    return f"{scaled} = trunc({scaled}) AND ({scaled} <> 0 OR {number} = 0)"


def _let(value: str, then: str) -> str:
    """SQL of `then`, in which `v` is the value: computed once, however often it is read."""
    return f"list_transform([{value}], lambda v: {then})[1]"


def _high(total: str) -> str:
    """SQL of a square's bits above the lower 2 * LIMB."""
    upper, middle = f"(abs({total}) >> {LIMB})", _middle(total)
    return f"{upper} * {upper} + ({middle} >> {LIMB})"


def _low(total: str) -> str:
    """SQL of a square's lower 2 * LIMB bits."""
    lower = f"(abs({total}) & {MASK})"
    return f"(({_middle(total)} & {MASK}) << {LIMB}) + (({lower} * {lower}) & {MASK})"


def _middle(total: str) -> str:
    upper, lower = f"(abs({total}) >> {LIMB})", f"(abs({total}) & {MASK})"
    return f"(2 * {upper} * {lower} + (({lower} * {lower}) >> {LIMB}))"


def _power(exponent: int) -> str:
    """SQL of a power of two as a double."""
    return f"CAST({2.0**exponent!r} AS DOUBLE)"


#: Where the values to come are not known: the numbers from 2**-12 to 2**29, and smaller ones with few digits.
ANY = Grid(places=64)
#: The same of a column of integers: all that there are.
ANY_INTEGER = Grid(places=0, bits=64, finite=True, certain=True, integer=True)
#: The engine's types of integers. (A larger one, of 128 bits, is read as a double: no column and no expression has it.)
INTEGERS = frozenset(f"{sign}{size}" for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT"))


def any_of(type: str) -> Grid:
    """The grid for values of a type of the engine of which no more is known."""
    return ANY_INTEGER if type in INTEGERS else ANY


def grids(con: duckdb.DuckDBPyConnection, relation: str, values: Mapping[str, str]) -> dict[str, Grid]:
    """A grid for each of these values of a relation, by name. values: name -> SQL."""
    if not values:
        return {}
    types = con.sql(f"SELECT {', '.join(values.values())} FROM {relation}").types
    integers = {name for name, type in zip(values, types, strict=True) if str(type) in INTEGERS}
    numbers = {name: f"CAST({value} AS DOUBLE)" for name, value in values.items()}
    looked = ", ".join(
        f"min(abs(nullif({number}, 0))), max(abs({number})), bool_and({number} = trunc({number}))"
        for number in numbers.values()
    )
    rows, *found = con.execute(f"SELECT count(*), {looked} FROM {relation}").fetchall()[0]
    events = max(rows.bit_length(), 1)
    return {
        name: _of_integers(events, found[3 * at + 1])
        if name in integers
        else _grid(con, relation, number, events, *found[3 * at : 3 * at + 3])
        for at, (name, number) in enumerate(numbers.items())
    }


def _of_integers(events: int, most: float | None) -> Grid:
    """most: of their absolute values, as a double; it may have been rounded up to one bit more."""
    return replace(ANY_INTEGER, bits=math.frexp(most or 1.0)[1], events=events)


def _grid(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    number: str,
    events: int,
    least: float | None,
    most: float | None,
    integers: bool | None,
) -> Grid:
    """The coarsest grid that needs no more than a look at the extent of the numbers; else one that holds most of them.

    least, most: of the absolute values that are not 0; most may be infinite, or not a number.
    """
    limit = min(BITS, LARGEST - events)
    if most is not None and not math.isfinite(most):
        return _wide(con, relation, number, Grid(0, limit, events))
    (_, lowest), (_, highest) = math.frexp(least or 1.0), math.frexp(most or 1.0)
    finest = 0 if integers else 53 - lowest
    packing = LARGEST - 2 * events
    # Numbers of few digits need no unit as fine as their smallest may have.
    coarser = [bits - highest for bits in (packing, limit) if bits - highest < finest]
    if coarser:
        tests = ", ".join(f"bool_and({_whole(number, places)})" for places in coarser if abs(places) <= FURTHEST)
        fits = con.execute(f"SELECT {tests} FROM {relation}").fetchall()[0] if tests else ()
        places = next((one for one, fit in zip(coarser, fits, strict=False) if fit), finest)
    else:
        places = finest
    grid = Grid(places, highest + places, events, finite=True, certain=True)
    return (
        grid
        if grid.bits <= limit and abs(places) <= FURTHEST
        else _wide(con, relation, number, Grid(0, limit, events, True))
    )


def _wide(con: duckdb.DuckDBPyConnection, relation: str, number: str, grid: Grid) -> Grid:
    """The grid with the places at which it holds most of the numbers, and the bins of the others."""
    magnitude = f"CAST(floor(log2(abs({number}))) AS INTEGER)"
    given = f"FROM {relation} WHERE isfinite({number}) AND {number} <> 0"
    counts = dict(con.execute(f"SELECT CASE WHEN true THEN {magnitude} END, count(*) {given} GROUP BY 1").fetchall())
    span = grid.bits - LAST
    held = {low: sum(n for one, n in counts.items() if low <= one < low + span) for low in sorted(counts)}
    best = max(held, key=lambda low: held[low], default=0)
    placed = replace(grid, places=min(max(LAST - 1 - best, -FURTHEST), FURTHEST))
    units = con.execute(f"SELECT DISTINCT ({placed.beside(number)}).unit AS unit {given} ORDER BY unit").fetchall()
    return replace(placed, bins=tuple(unit for (unit,) in units if unit is not None))
