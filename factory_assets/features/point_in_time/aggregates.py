"""What are a view's features of an entity, in SQL? Its aggregates over events, whichever way these are brought together."""

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from factory_assets.declarations import expressions
from factory_assets.declarations.base import format_duration
from factory_assets.declarations.expressions import Aggregate, identifier
from factory_assets.declarations.view import View
from factory_assets.features.point_in_time.exact import Grid
from factory_assets.features.point_in_time.parts import Plain

#: SQL of a column as it is.
COLUMN = re.compile(r'\(?("[^"]*"|event_time)\)?')


@dataclass(frozen=True)
class Feature:
    """One column of a view over a window. `column` is the column of the placed events that is aggregated."""

    name: str
    aggregate: Aggregate
    column: str
    window: dt.timedelta

    @property
    def sums(self) -> bool:
        """Whether it is made of sums of numbers."""
        return self.aggregate.function in ("sum", "mean", "deviation")

    @property
    def counts(self) -> bool:
        """Whether no event makes it 0."""
        return self.aggregate.function in ("count", "distinct", "approx_distinct")


def entity_of(keys: Sequence[str], relation: str = "") -> str:
    """SQL of an entity: its column, or a struct of its columns; null where one of them is."""
    named = {key: f"{relation}{identifier(key)}" for key in keys}
    if len(keys) == 1:
        return named[keys[0]]
    given = " AND ".join(f"{value} IS NOT NULL" for value in named.values())
    packed = ", ".join(f"{identifier(key)} := {value}" for key, value in named.items())
    return f"CASE WHEN {given} THEN struct_pack({packed}) END"


def keys_of(keys: Sequence[str]) -> str:
    """The columns of `entity`, as a list to select."""
    if len(keys) == 1:
        return f"entity AS {identifier(keys[0])}"
    return ", ".join(f"entity.{identifier(key)} AS {identifier(key)}" for key in keys)


def value_of(view: View, aggregate: Aggregate) -> str:
    """SQL of the value that an aggregate reads in one event, null where the event does not count."""
    conditions = [part for part in (expressions.sql(view.where) if view.where else None, aggregate.where) if part]
    value = _usable(aggregate.argument) if aggregate.argument else "1"
    if aggregate.function == "time_since_last":
        conditions += [f"{aggregate.argument} IS NOT NULL"] if aggregate.argument else []
        value = "event_time"
    return f"CASE WHEN {' AND '.join(conditions)} THEN {value} END" if conditions else value


def _usable(value: str) -> str:
    """SQL of a value, null where it is a number that is not finite. A column as admitted has no such number."""
    if COLUMN.fullmatch(value):
        return value
    # Of any type but these no value is compared.
    strange = f"typeof({value}) IN ('DOUBLE', 'FLOAT') AND CAST({value} AS VARCHAR) IN ('inf', '-inf', 'nan', '-nan')"
    return f"CASE WHEN NOT coalesce({strange}, false) THEN {value} END"


def value_columns(view: View) -> dict[str, str]:
    """The distinct values that the view's aggregates look at, and a column name for each."""
    values = [value_of(view, expressions.aggregate(text)) for text in view.features.values()]
    values += [value_of(view, SEEN)] if view.flag else []
    return {value: f"a{index}" for index, value in enumerate(dict.fromkeys(values))}


#: What a view's flag asks: is there any event?
SEEN = Aggregate("count", None, frozenset())


def features(view: View) -> list[Feature]:
    """Every feature over a window, in the order of `view.aggregated`."""
    columns, found = value_columns(view), []
    for feature, text in view.features.items():
        aggregate = expressions.aggregate(text)
        for window in view.windows:
            name = f"{feature}_{format_duration(window)}"
            found.append(Feature(name, aggregate, columns[value_of(view, aggregate)], window))
    return found


def _needed(view: View) -> list[Feature]:
    """Features over a window, and the count of events that the flag stands on."""
    flag = [Feature(view.flag, SEEN, value_columns(view)[value_of(view, SEEN)], max(view.windows))] if view.flag else []
    return [*features(view), *flag]


def columns_read(view: View) -> set[str]:
    """Columns of the stream that the view is computed from, beside the times."""
    read = {name for text in view.features.values() for name in expressions.aggregate(text).columns}
    return {*view.entity, *read, *(expressions.columns(view.where) if view.where else ())}


def results(
    view: View,
    value: Callable[[Feature], str],
    moment: str,
    now: str,
    ask: Callable[[Plain, dt.timedelta], str],
    grid: Callable[[str], Grid],
) -> dict[str, str]:
    """Feature -> SQL of the result of its aggregate, and flag -> SQL of the number of events.

    value: gives the SQL of the value that a feature aggregates. moment: SQL of the time of an event, now: of the observation.
    ask: takes a plain aggregate and its window, and gives the column that will hold the result. Some are asked for more than
        once: a mean is made from a count that may be a feature itself.
    grid: gives the grid on which a column of numbers is summed up.
    """

    def over(window: dt.timedelta) -> Callable[[Plain], str]:
        return lambda plain: ask(plain, window)

    return {
        feature.name: _summed(feature.aggregate.function, value(feature), over(feature.window), grid(feature.column))
        if feature.sums
        else _result(feature.aggregate, value(feature), moment, now, over(feature.window))
        for feature in _needed(view)
    }


def _result(aggregate: Aggregate, value: str, moment: str, now: str, ask: Callable[[Plain], str]) -> str:
    """SQL of an aggregate.

    Where several values are equally late or frequent, the larger or the smaller is taken: an order that does not depend on
    the order of rows.
    """
    placed, given = f"{{'u': {moment}, 'v': {value}}}", f"{value} IS NOT NULL"
    match aggregate.function:
        case "count" | "distinct" | "approx_distinct":
            return ask(Plain(aggregate.function, value))
        case "min" | "max":
            return ask(Plain(aggregate.function, finite(value)))
        case "first":
            return f"{ask(Plain('min', placed, given))}.v"
        case "last":
            return f"{ask(Plain('max', placed, given))}.v"
        case "nth_last":
            return f"{ask(Plain('latest', placed, given, aggregate.place))}[{aggregate.place}].v"
        case "top":
            counted = f"map_entries({ask(Plain('histogram', value))})"
            return f"list_min(list_transform({counted}, lambda e: {{'n': -e.value::BIGINT, 'v': e.key}})).v"
        case "time_since_last":
            return f"(epoch_us({now}) - epoch_us({ask(Plain('max', value))})) / 1e6"
    raise ValueError(f"no aggregate {aggregate.function!r}")


def _summed(function: str, value: str, ask: Callable[[Plain], str], grid: Grid) -> str:
    """SQL of a sum, mean or deviation. Of a yes or no, 1 or 0, the mean is a rate.

    A sum of doubles would depend on the order of addition, and so on how many days a run covers and on how many threads.
    """
    number = grid.number(value)
    total = ask(Plain("sum", grid.total(number)))
    bins = "NULL" if grid.certain else ask(Plain("bins", grid.beside(number)))
    if function == "sum":
        return grid.sum_of(total, bins)
    n = ask(Plain("count", number))
    if function == "mean":
        return grid.mean_of(n, total, bins)
    high = ask(Plain("sum", grid.high(number))) if grid.halved else "0"
    return grid.deviation_of(n, total, high, ask(Plain("sum", grid.low(number))), bins)


def filled(view: View, columns: Mapping[str, str]) -> dict[str, str]:
    """Feature -> its SQL, from the SQL of the aggregates' results, which may be null.

    columns: feature -> SQL of its result, and flag -> SQL of the number of events. Counts of nothing are 0, other aggregates
    of nothing the view's default, a number. A derived feature is a finite number or null.
    """
    found = {}
    for feature in features(view):
        value = columns[feature.name]
        if feature.counts:
            value = f"coalesce({value}, 0)"
        elif view.default is not None:
            value = f"coalesce(CAST({value} AS DOUBLE), CAST({view.default!r} AS DOUBLE))"
        found[feature.name] = value
    for name, text in view.derive.items():
        found[name] = finite(expressions.over(text, found))
    if view.flag:
        found[view.flag] = f"CAST(coalesce({columns[view.flag]}, 0) = 0 AS INTEGER)"
    return found


def finite(value: str) -> str:
    """SQL of a value as a finite number, or null."""
    number = f"TRY_CAST({value} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def named(values: Mapping[str, str]) -> str:
    """SQL of values by name, as a list to select."""
    return ", ".join(f"{value} AS {identifier(name)}" for name, value in values.items())
