"""What does Great Expectations say of a day of raw rows? The contract as suites, one a concern; verdicts per day.

One validation covers all days of a run, and every unexpected row is counted to its day: the cost depends on rows, not
on days times rules. Rows are set aside by validation.py from the same contract; a test holds the two equal.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredStream

if TYPE_CHECKING:
    import pandas as pd

CONCERNS = ("schema", "completeness", "ranges", "uniqueness")
#: Rows that one validation holds in memory; a longer range is validated in stretches of whole days.
STRETCH_ROWS = 400_000
#: Offending values shown of a failed expectation.
SHOWN = 5


@dataclass(frozen=True)
class Failure:
    """One expectation that a day does not meet."""

    column: str
    expectation: str
    count: int
    share: float
    examples: str


@dataclass(frozen=True)
class Outcome:
    """The verdict on one concern of one day: passed, or what failed; `blocking` when more than tolerated."""

    day: dt.date
    concern: str
    rows: int
    failures: tuple[Failure, ...] = ()
    blocking: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        return not self.failures


class ExpectationsErrored(RuntimeError):
    """Great Expectations could not evaluate an expectation: that is no verdict on the data."""


def validate(
    declared: DeclaredStream,
    raw: pa.Table,
    delivered: Mapping[dt.date, Sequence[Sequence[str]]],
    days: Sequence[dt.date],
) -> list[Outcome]:
    """Validate days of raw rows, concern by concern.

    raw: the contract's columns with `_unparsed` and `ds`.
    delivered: for each day the column names of every delivery of it; a day without delivery is absent.
    Raises ExpectationsErrored.
    """
    outcomes = []
    absent = {day: _absent(declared, delivered.get(day)) for day in days}
    for missing in sorted(set(absent.values())):
        alike = [day for day in days if absent[day] == missing]
        frame = _frame(declared, raw, alike, missing)
        for concern in CONCERNS:
            outcomes += _validate(declared, frame, alike, concern, missing, delivered)
    return sorted(outcomes, key=lambda outcome: (outcome.day, CONCERNS.index(outcome.concern)))


def _absent(declared: DeclaredStream, deliveries: Sequence[Sequence[str]] | None) -> tuple[str, ...]:
    if deliveries is None:
        return ()
    return tuple(name for name in declared.contract.columns if any(name not in columns for columns in deliveries))


def _frame(declared: DeclaredStream, raw: pa.Table, days: Sequence[dt.date], missing: Sequence[str]) -> "pd.DataFrame":
    """Rows of the days as the feed delivered them, and for each column the text that did not parse."""
    import pandas as pd
    import pyarrow.compute as pc

    rows = raw.filter(pc.is_in(raw["ds"], pa.array(list(days), pa.date32())))
    frame = rows.drop_columns([name for name in missing if name in rows.column_names]).to_pandas(date_as_object=True)
    unparsed = frame["_unparsed"].map(lambda text: json.loads(text) if isinstance(text, str) else {})
    for name, column in declared.contract.columns.items():
        if column.type != "string" and name not in missing:
            frame[_text_of(name)] = unparsed.map(lambda kept, name=name: kept.get(name)).astype(object)
    assert isinstance(frame, pd.DataFrame)
    return frame


def _text_of(name: str) -> str:
    return f"{name} (text that did not parse)"


def _suite(declared: DeclaredStream, concern: str, missing: Sequence[str]) -> list[Any]:
    import great_expectations.expectations as gxe

    expectations: list[Any] = []
    for name, column in declared.contract.columns.items():
        if concern == "schema" and column.required:
            expectations.append(gxe.ExpectColumnToExist(column=name))
        if name in missing:
            continue
        if concern == "schema" and column.type != "string":
            expectations.append(gxe.ExpectColumnValuesToBeNull(column=_text_of(name)))
        if concern == "completeness" and (not column.nullable or name == declared.stream.id):
            expectations.append(gxe.ExpectColumnValuesToNotBeNull(column=name))
        if concern == "ranges" and (column.min is not None or column.max is not None):
            expectations.append(
                gxe.ExpectColumnValuesToBeBetween(column=name, min_value=column.min, max_value=column.max)
            )
        if concern == "ranges" and column.allowed is not None:
            expectations.append(gxe.ExpectColumnValuesToBeInSet(column=name, value_set=column.allowed))
        if concern == "uniqueness" and name == declared.stream.id:
            # Ids need to be unique within a day; the day is part of the key because a validation covers many.
            expectations.append(gxe.ExpectCompoundColumnsToBeUnique(column_list=["ds", name]))
    return expectations


def _validate(
    declared: DeclaredStream,
    frame: "pd.DataFrame",
    days: Sequence[dt.date],
    concern: str,
    missing: Sequence[str],
    delivered: Mapping[dt.date, Sequence[Sequence[str]]],
) -> list[Outcome]:
    rows = frame["ds"].value_counts().to_dict()
    failures: dict[dt.date, list[Failure]] = {day: [] for day in days}
    blocking: set[dt.date] = set()
    for result in _run(frame, _suite(declared, concern, missing)):
        kwargs, expectation = result.expectation_config.kwargs, result.expectation_config.type
        column = kwargs.get("column") or kwargs["column_list"][-1]
        if result.success:
            continue
        if expectation == "expect_column_to_exist":
            for day in days:
                failures[day].append(Failure(column, "the column is delivered", rows.get(day, 0), 1.0, "missing"))
                blocking.add(day)
            continue
        for day, values in _by_day(result).items():
            share = len(values) / rows[day]
            examples = ", ".join(dict.fromkeys(map(str, values[:SHOWN])))
            failures[day].append(Failure(column, _words(expectation, kwargs), len(values), share, examples))
            if share > declared.contract.tolerance and concern != "uniqueness":
                blocking.add(day)
    return [
        Outcome(
            day,
            concern,
            rows.get(day, 0),
            tuple(failures[day]),
            day in blocking,
            _notes(declared, concern, delivered.get(day)),
        )
        for day in days
    ]


def _run(frame: "pd.DataFrame", expectations: list[Any]) -> list[Any]:
    if frame.empty:
        expectations = [item for item in expectations if type(item).__name__ == "ExpectColumnToExist"]
    if not expectations:
        return []
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    definition = (
        context.data_sources.add_pandas("raw").add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    )
    suite = gx.ExpectationSuite(name="contract", expectations=expectations)
    found = definition.get_batch({"dataframe": frame}).validate(
        suite, result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["ds"]}
    )
    for result in found.results:
        info = result.exception_info or {}
        raised = info.get("raised_exception", any(isinstance(value, dict) for value in info.values()))
        if raised:
            kwargs = result.expectation_config.kwargs
            raise ExpectationsErrored(
                f"{result.expectation_config.type} of {kwargs.get('column')} was not evaluated: {info}"
            )
    return list(found.results)


def _by_day(result: Any) -> dict[dt.date, list[Any]]:
    """Unexpected values of each day."""
    column = result.expectation_config.kwargs.get("column") or result.expectation_config.kwargs["column_list"][-1]
    by_day: dict[dt.date, list[Any]] = {}
    for entry in result.result["unexpected_index_list"]:
        by_day.setdefault(entry["ds"], []).append(entry.get(column))
    return by_day


def _words(expectation: str, kwargs: Mapping[str, Any]) -> str:
    if expectation == "expect_column_values_to_be_between":
        return f"between {kwargs.get('min_value')} and {kwargs.get('max_value')}"
    if expectation == "expect_column_values_to_be_in_set":
        return f"one of {', '.join(map(str, kwargs['value_set']))}"
    if expectation == "expect_compound_columns_to_be_unique":
        return "unique within the day"
    return {"expect_column_values_to_be_null": "parses as its type", "expect_column_values_to_not_be_null": "not null"}[
        expectation
    ]


def _notes(declared: DeclaredStream, concern: str, deliveries: Sequence[Sequence[str]] | None) -> tuple[str, ...]:
    if concern != "schema":
        return ()
    if deliveries is None:
        return ("nothing was delivered",)
    extra = sorted({name for columns in deliveries for name in columns} - set(declared.contract.columns))
    return (f"columns that the contract does not know: {', '.join(extra)}",) if extra else ()
