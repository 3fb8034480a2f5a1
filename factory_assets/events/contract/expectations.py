"""Which rules does a day of raw rows break by Great Expectations? The contract as one suite; verdicts per day.

One validation covers all days of a run, and every unexpected row is counted to its day: the cost depends on rows, not
on days times rules. Rows are set aside by validation.py under the same rules; a test holds the two equal.
"""

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from factory_assets.declarations import expressions
from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.expressions import identifier
from factory_assets.events.contract import day_rules
from factory_assets.events.contract.day_rules import Measured
from factory_assets.events.contract.rules import (
    Concern,
    Rule,
    allowed_values,
    delivery_rules,
    essential,
    id_rules,
    row_rules,
    undelivered,
)
from factory_assets.events.contract.validation import judged_rows, row_content
from factory_assets.events.landing import Arrival
from factory_assets.words import counted

if TYPE_CHECKING:
    import pandas as pd

#: Rows that one validation holds in memory; a longer range is validated in stretches of whole days.
STRETCH_ROWS = 400_000
#: Offending values shown of a broken rule, and kept of it.
SHOWN, KEPT = 5, 1000
#: Rows of a day from which the type of a new column is guessed.
SAMPLED = 200
#: Kinds of rules that rows break; the others are broken by deliveries and whole days.
ROW_KINDS = (
    "line",
    "type",
    "null",
    "min",
    "max",
    "allowed",
    "value_count",
    "computes",
    "rule",
    "day",
    "unique",
    "once",
)
#: What two rows share that are equal; no column of a contract has a blank in its name.
CONTENT = "content (of the row)"
DELIVERY = Rule("schema", "delivery", "", "the day is delivered and can be read", "")
OUTAGE = (
    "nothing was delivered: an outage, or an empty day? Where such days are normal, the contract says so by "
    "`quiet` or `volume: {min: 0}`"
)


@dataclass(frozen=True)
class Failure:
    """One rule that a day breaks: how many rows do, their share, some of the values.

    serious: whether the failure stops the day. accepted: whether somebody has given a reason why the day goes on all the same.
    values: different values that break it, at most KEPT; a rule on whole days has none, but what was `measured`.
    leader: the rule of whose issue it is part, as the very same rows break both. followers: the rules that are part of its own.
    """

    rule: Rule
    count: int
    share: float
    examples: str
    serious: bool = False
    accepted: bool = False
    values: tuple[Any, ...] = ()
    measured: Measured | None = None
    leader: str = ""
    followers: tuple[str, ...] = ()

    @property
    def blocking(self) -> bool:
        return self.serious and not self.accepted

    @property
    def message(self) -> str:
        if self.rule.kind in ("exists", *ROW_KINDS):
            column = f" (column {self.rule.column})" if self.rule.column not in self.rule.name else ""
            alike = f"; the same rows break: {', '.join(self.followers)}" if self.followers else ""
            return f"{self.rule.name}{column}: not so for {counted(self.count, 'row')}, {self.share:.1%}{alike}"
        return self.examples or self.rule.name


@dataclass(frozen=True)
class ConcernResult:
    """The verdict on one concern of one day: passed, or what failed.

    new_columns: columns of the feed that the contract does not know, and some of their values.
    """

    day: dt.date
    concern: Concern
    rows: int
    failures: tuple[Failure, ...] = ()
    notes: str = ""
    new_columns: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def blocking(self) -> bool:
        return any(failure.blocking for failure in self.failures)

    @property
    def message(self) -> str:
        """The verdict in a sentence."""
        return "; ".join(failure.message for failure in self.failures if not failure.leader) or "all rules hold"


class ExpectationsErrored(RuntimeError):
    """Great Expectations could not evaluate an expectation: that is no verdict on the data."""


def rows_to_validate(declared: DeclaredStream, raw: str) -> str:
    """Query for the raw rows that `validate` looks at, all but those left out on purpose. raw: name of their relation."""
    names = dict.fromkeys([*declared.contract.columns, *essential(declared.stream)])
    contract = declared.contract
    lists = [name for name, column in contract.columns.items() if column.value_count]
    parts = [*map(identifier, names), *(f'len({identifier(name)}) AS "{_length_of(name)}"' for name in lists)]
    parts += [_breach(declared, rule) for rule in row_rules(declared) if rule.kind == "rule"]
    return f"""SELECT {", ".join(parts)}, _unparsed, _undeclared, _line, _failed, _source, ds, CAST(event_time AS DATE) AS event_day,
                      {row_content(declared)} AS "{CONTENT}"
               FROM ({judged_rows(declared, raw)}) WHERE _excluded IS NULL"""


def concerns(declared: DeclaredStream) -> list[Concern]:
    """The concerns by which a day of the stream is judged; each is a check."""
    columns = declared.contract.columns.values()
    found: list[Concern] = ["schema", "completeness", "ranges", "uniqueness", "volume"]
    if declared.contract.rules:
        found.append("columns")
    if any(column.distinct or column.max_shift for column in columns):
        found.append("distribution")
    return found


def validate(
    declared: DeclaredStream,
    rows: pa.Table,
    arrived: Mapping[dt.date, Sequence[Arrival]],
    days: Sequence[dt.date],
    measured: Sequence[Measured] = (),
    accepted: Collection[str] = (),
    leaders: Callable[[Mapping[dt.date, Mapping[str, int]]], Mapping[dt.date, Mapping[str, str]]] = lambda broken: {},
) -> list[ConcernResult]:
    """Validate days of raw rows, concern by concern.

    rows: the result of `rows_to_validate`. arrived: the arrivals of each day; a day without any is absent.
    measured: the measurements of these days, from `day_rules.measure`. accepted: rules whose failures somebody has accepted.
    leaders: given how many rows of each day break each rule, `validation.led`.
    Raises ExpectationsErrored.
    """
    warned = declared.contract.warn
    totals = {row["values"]: row["counts"] for row in rows["ds"].value_counts().to_pylist()}
    failures: dict[tuple[dt.date, str], list[Failure]] = defaultdict(list)
    for day in days:
        for reason in undelivered(declared, day, arrived.get(day)):
            failures[day, "schema"].append(Failure(DELIVERY, totals.get(day, 0), 1.0, reason, serious=True))
        if arrived.get(day) is None and not failures[day, "schema"] and _is_outage(declared, day):
            failures[day, "volume"].append(Failure(day_rules.VOLUME, 0, 1.0, OUTAGE))
    broken = _broken(declared, rows, arrived, days)
    counts: dict[dt.date, dict[str, int]] = defaultdict(dict)
    for (day, rule), values in broken.items():
        counts[day][rule.name] = len(values)
    led = leaders(counts)
    for (day, rule), values in broken.items():
        leader = led.get(day, {}).get(rule.name, "")
        followers = tuple(name for name, first in led.get(day, {}).items() if first == rule.name)
        share = 1.0 if rule.kind == "exists" else len(values) / totals[day]
        different = tuple(islice(dict.fromkeys(value for value in values if value is not None), KEPT))
        shown = ", ".join(str(value) for value in different[:SHOWN])
        serious = share > declared.contract.tolerance and rule.kind != "once" and rule.name not in warned
        waived = (rule.name in accepted and rule.kind != "exists") or leader in accepted
        failure = Failure(
            rule, len(values), share, shown, serious, waived, different, leader=leader, followers=followers
        )
        failures[day, rule.concern].append(failure)
    for one in _out_of_bounds(measured):
        serious = one.rule.name not in warned
        waived = one.rule.name in accepted
        failures[one.day, one.rule.concern].append(
            Failure(one.rule, totals.get(one.day, 0), 1.0, one.message, serious, waived, measured=one)
        )
    new = _new_columns(declared, rows, arrived)
    return [
        ConcernResult(
            day,
            concern,
            totals.get(day, 0),
            tuple(failures[day, concern]),
            _notes(declared, arrived.get(day)) if concern == "schema" else "",
            new.get(day, {}) if concern == "schema" else {},
        )
        for day in days
        for concern in concerns(declared)
    ]


def _is_outage(declared: DeclaredStream, day: dt.date) -> bool:
    """Whether a day without a delivery is suspicious, though no bound says so."""
    return declared.contract.volume is None and not declared.contract.is_quiet(day)


def _out_of_bounds(measured: Sequence[Measured]) -> list[Measured]:
    """Measurements that Great Expectations finds out of their bounds: one row each, two expectations for all of them."""
    import great_expectations.expectations as gxe
    import pandas as pd

    if not measured:
        return []
    frame = pd.DataFrame(
        {
            "place": range(len(measured)),
            "observed": [float(one.observed) for one in measured],
            "low": pd.array([one.low for one in measured], dtype="Float64").to_numpy(float, na_value=float("nan")),
            "high": pd.array([one.high for one in measured], dtype="Float64").to_numpy(float, na_value=float("nan")),
        }
    )
    bounds = [("observed", "low"), ("high", "observed")]
    expectations = [
        gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A=larger, column_B=smaller, or_equal=True, ignore_row_if="either_value_is_missing"
        )
        for larger, smaller in bounds
    ]
    places: set[int] = set()
    for result in evaluate(frame, expectations, ["place"]):
        if not result.success:
            places |= {entry["place"] for entry in result.result["unexpected_index_list"]}
    return [measured[place] for place in sorted(places)]


def _broken(
    declared: DeclaredStream, rows: pa.Table, arrived: Mapping[dt.date, Sequence[Arrival]], days: Sequence[dt.date]
) -> dict[tuple[dt.date, Rule], list[Any]]:
    """The values that break each rule on each day. Sources with the same columns are validated together."""
    broken: dict[tuple[dt.date, Rule], list[Any]] = defaultdict(list)
    frame = _frame(declared, rows)
    lacking = {
        arrival.source: tuple(name for name in declared.contract.columns if name not in arrival.columns)
        for day in days
        for arrival in arrived.get(day, ())
        if not arrival.problem
    }
    for absent in sorted(set(lacking.values())):
        sources = {source for source, names in lacking.items() if names == absent}
        part = frame[frame["_source"].isin(sources)] if len(set(lacking.values())) > 1 else frame
        rules = [rule for rule in row_rules(declared) if rule.column not in absent]
        for rule, unexpected in _run(declared, part.drop(columns=list(absent)), [*delivery_rules(declared), *rules]):
            if rule.kind == "exists":
                for day in days:
                    if any(arrival.source in sources for arrival in arrived.get(day, ())):
                        broken[day, rule] += [None] * int((part["ds"] == day).sum())
            for day, value in unexpected:
                broken[day, rule].append(value)
    for rule, unexpected in _repeated(declared, rows):
        for day, value in unexpected:
            broken[day, rule].append(value)
    return broken


def _frame(declared: DeclaredStream, rows: pa.Table) -> "pd.DataFrame":
    """Rows as the feed delivered them, and for each column the text that did not parse."""
    import pandas as pd

    frame = rows.drop_columns([CONTENT]).to_pandas(date_as_object=True)
    # Nearly all rows parse: only those that did not are looked into.
    unparsed = frame["_unparsed"].dropna().map(json.loads)
    for name, column in declared.contract.columns.items():
        if column.type != "string":
            texts = pd.Series(None, index=frame.index, dtype=object)
            texts[unparsed.index] = unparsed.map(lambda kept, name=name: kept.get(name))
            frame[_text_of(name)] = texts
    return frame


def _length_of(name: str) -> str:
    return f"{name} (number of values)"


def _breach_of(name: str) -> str:
    return f"{name} (values that break it)"


def _breach(declared: DeclaredStream, rule: Rule) -> str:
    """SQL of a column that shows the values that break a rule over columns, null where it holds."""
    shown = [f"'{name} ' || coalesce({identifier(name)}::VARCHAR, 'null')" for name in columns_of(declared, rule.name)]
    return f"CASE WHEN {rule.broken} THEN concat_ws(', ', {', '.join(shown)}) END AS \"{_breach_of(rule.name)}\""


def columns_of(declared: DeclaredStream, rule: str) -> list[str]:
    """Columns that a rule of the contract reads."""
    return sorted(expressions.columns(declared.contract.rules[rule]))


def _text_of(name: str) -> str:
    return f"{name} (text that did not parse)"


def _filled(declared: DeclaredStream, frame: "pd.DataFrame", name: str) -> str:
    """The column in which to look for empty values, with the text that stands in a value's place where there is one."""
    reasons = ["_line", _text_of(name) if name in declared.contract.columns else "_failed"]
    stand_ins = [reason for reason in reasons if reason in frame and frame[reason].notna().any()]
    if not stand_ins:
        return name
    filled = frame[name].astype(object)
    for reason in stand_ins:
        filled = filled.where(filled.notna(), frame[reason])
    frame[f"{name} (as delivered)"] = filled
    return f"{name} (as delivered)"


def _expectation(declared: DeclaredStream, rule: Rule, frame: "pd.DataFrame") -> Any:
    """A rule in the words of Great Expectations."""
    import great_expectations.expectations as gxe

    name, column = rule.column, declared.contract.columns.get(rule.column)
    if rule.kind == "exists":
        return gxe.ExpectColumnToExist(column=name)
    if rule.kind == "line":
        return gxe.ExpectColumnValuesToBeNull(column=name)
    if rule.kind == "computes":
        return gxe.ExpectColumnValuesToNotBeInSet(column="_failed", value_set=[name])
    if rule.kind == "day":
        return gxe.ExpectColumnPairValuesToBeEqual(
            column_A="ds", column_B="event_day", ignore_row_if="either_value_is_missing"
        )
    if rule.kind == "rule":
        return gxe.ExpectColumnValuesToBeNull(column=_breach_of(name))
    if rule.kind == "null":
        return gxe.ExpectColumnValuesToNotBeNull(column=_filled(declared, frame, name))
    assert column is not None
    if rule.kind == "type":
        return gxe.ExpectColumnValuesToBeNull(column=_text_of(name))
    if rule.kind == "value_count":
        assert column.value_count is not None
        bounds = column.value_count
        return gxe.ExpectColumnValuesToBeBetween(column=_length_of(name), min_value=bounds.min, max_value=bounds.max)
    if rule.kind == "allowed":
        return gxe.ExpectColumnValuesToBeInSet(column=name, value_set=allowed_values(column))
    if rule.kind == "min":
        return gxe.ExpectColumnValuesToBeBetween(column=name, min_value=column.min)
    return gxe.ExpectColumnValuesToBeBetween(column=name, max_value=column.max)


def _run(
    declared: DeclaredStream, frame: "pd.DataFrame", rules: Sequence[Rule]
) -> Iterator[tuple[Rule, list[tuple[dt.date, Any]]]]:
    """The rules that do not hold, with day and value of every row that breaks them."""
    if frame.empty:
        rules = [rule for rule in rules if rule.kind == "exists"]
    expectations = [_expectation(declared, rule, frame) for rule in rules]
    for rule, result in zip(rules, evaluate(frame, expectations, ["ds"]), strict=True):
        if not result.success:
            kwargs, entries = result.expectation_config.kwargs, result.result.get("unexpected_index_list") or []
            column = kwargs.get("column") or kwargs["column_B"]
            yield rule, [(entry["ds"], entry.get(column)) for entry in entries]


def _repeated(declared: DeclaredStream, rows: pa.Table) -> Iterator[tuple[Rule, list[tuple[dt.date, Any]]]]:
    """Ids that occur more than once in a day: with different rows, or with the same row again.

    Rows with one id that are known at different times are corrections, and in order.
    """
    import great_expectations.expectations as gxe
    import pyarrow.compute as pc

    key, known_at = declared.stream.id, declared.stream.known_at
    names = list(dict.fromkeys(["ds", key, CONTENT, *([known_at] if known_at else [])]))
    # Rows without an id are another rule's; left in, they would make floating-point numbers of large ids.
    frame = rows.select(names).filter(pc.is_valid(rows[key])).to_pandas(date_as_object=True)
    if frame.empty:
        return
    # Ids need to be unique within a day; the day is part of the key because a validation covers many.
    index = ["ds", CONTENT, *([known_at] if known_at else [])]
    (result,) = evaluate(frame, [gxe.ExpectCompoundColumnsToBeUnique(column_list=["ds", key])], index)
    if result.success:
        return
    versions: dict[tuple[dt.date, Any, Any], list[Any]] = defaultdict(list)
    for entry in result.result["unexpected_index_list"]:
        versions[entry["ds"], entry[key], str(entry[known_at]) if known_at else None].append(entry[CONTENT])
    different = [(day, value, len(set(those)) - 1) for (day, value, _), those in versions.items()]
    again = [(day, value, len(those) - len(set(those))) for (day, value, _), those in versions.items()]
    for rule, places in zip(id_rules(declared.stream), (different, again), strict=True):
        yield rule, [(day, value) for day, value, times in places for _ in range(times)]


def evaluate(frame: "pd.DataFrame", expectations: Sequence[Any], index: Sequence[str]) -> list[Any]:
    """Results in the order of the expectations; unexpected rows come with these columns. Raises ExpectationsErrored."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    if not expectations:
        return []
    # Left to itself, GX makes a temporary folder for documents with every context, and leaves it behind.
    settings = DataContextConfig(store_backend_defaults=InMemoryStoreBackendDefaults())
    context = gx.get_context(mode="ephemeral", project_config=settings)
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    definition = (
        context.data_sources.add_pandas("raw").add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    )
    for place, expectation in enumerate(expectations):
        expectation.meta = {"place": place}
    suite = gx.ExpectationSuite(name="contract", expectations=list(expectations))
    validated = definition.get_batch({"dataframe": frame}).validate(
        suite, result_format={"result_format": "COMPLETE", "unexpected_index_column_names": list(index)}
    )
    for result in validated.results:
        info = result.exception_info or {}
        if info.get("raised_exception", any(isinstance(value, dict) for value in info.values())):
            config: Any = result.expectation_config
            raise ExpectationsErrored(f"{config.type} of {config.kwargs.get('column')} was not evaluated: {info}")
    results: list[Any] = list(validated.results)
    return sorted(results, key=lambda result: result.expectation_config.meta["place"])


def _notes(declared: DeclaredStream, arrivals: Sequence[Arrival] | None) -> str:
    if arrivals is None:
        return "nothing was delivered"
    extra = _unknown(declared, arrivals)
    notes = [f"columns that the contract does not know: {', '.join(extra)}"] if extra else []
    notes += [each.note for each in arrivals if each.note]
    notes += [
        f"{counted(each.outside, 'row')} of {each.source} {'lie' if each.outside > 1 else 'lies'} outside of the stream's days, "
        f"{declared.stream.start} to {declared.stream.end or 'now'}"
        for each in arrivals
        if each.outside
    ]
    return "; ".join(notes)


def _unknown(declared: DeclaredStream, arrivals: Sequence[Arrival]) -> list[str]:
    return sorted({name for arrival in arrivals for name in arrival.columns} - set(declared.contract.columns))


def _new_columns(
    declared: DeclaredStream, rows: pa.Table, arrived: Mapping[dt.date, Sequence[Arrival]]
) -> dict[dt.date, dict[str, list[str]]]:
    """Day -> columns that the contract does not know -> their values in the first rows of the day."""
    unknown = {day: _unknown(declared, arrivals) for day, arrivals in arrived.items()}
    found: dict[dt.date, dict[str, list[str]]] = {day: {name: [] for name in names} for day, names in unknown.items()}
    if any(unknown.values()):
        frame = rows.select(["ds", "_undeclared"]).to_pandas(date_as_object=True).dropna()
        for day, text in frame.groupby("ds").head(SAMPLED).itertuples(index=False):
            for name, value in json.loads(text).items():
                if value is not None and name in found[day]:
                    found[day][name].append(value)
    return found
