"""Does a suggested patch, applied to the file, let the anomaly pass, and are faults left to people in plain words?"""

from __future__ import annotations

import datetime as dt
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml

from factory_assets.declarations.contract import Contract
from factory_assets.declarations.declared import DeclaredStream
from factory_assets.declarations.periods import Period
from factory_assets.declarations.stream import Stream
from factory_assets.events import landing
from factory_assets.events.contract import validation
from factory_assets.events.contract.patches import SUGGESTIONS, Anomaly, Patch, Refusal, apply, suggest
from factory_assets.events.sources import Delivery

DAY = dt.date(2024, 3, 15)
TEXT = """\
version: 7        # raised with every change
tolerance: 0.2
volume: {min: 80, max_change: 0.5}
columns:
  id: {type: integer}
  at: {type: timestamp}
  city: {type: string, allowed: [Paris, Lyon], distinct: {max: 2}, description: City of the shop.}  # two shops
  amount: {type: double, min: 0, max: 100, max_shift: 0.1}
  # Counted at the till.
  items:
    type: integer
    min: 1
  born: {type: date}
  code: {type: integer, allowed: [1, 2, 3]}
  note: {type: string, nullable: true, presence: {min_fraction: 0.9}}
  fraud: {type: integer, allowed: [0, 1], max_shift: 0.1, not_in: [serving]}
  tags: {type: strings, value_count: {min: 1, max: 3}, required: false, nullable: true}
"""
STREAM = Stream.model_validate(
    {
        "name": "orders", "owner": "team:x", "description": "Orders.", "source": {"kind": "csv", "uri": "o-{day}.csv"},
        "id": "id", "event_time": "at", "start": DAY, "end": DAY,
    }
)  # fmt: skip
GOOD = {"at": f"{DAY} 10:00:00", "city": "Paris", "amount": "12.5", "items": "3", "born": "2001-02-03", "code": "1"}


def declared(text: str = TEXT) -> DeclaredStream:
    return DeclaredStream(STREAM, Contract.model_validate(yaml.safe_load(text)))


def rows(**bad: Any) -> list[dict[str, Any]]:
    """Ten rows, the last of which has other values."""
    made = [GOOD | {"id": str(number), "note": "hi", "fraud": "0"} for number in range(10)]
    return [*made[:-1], made[-1] | bad]


def judged(text: str, delivered: list[dict[str, Any]]) -> validation.DayVerdict:
    """The verdict on a day of rows delivered as text, under the contract of this text."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        names = list(dict.fromkeys(name for row in delivered for name in row))
        schema = pa.schema([(name, pa.string()) for name in [*names, "_line", "_source"]])
        con.register("given", pa.Table.from_pylist([{"_source": "f"} | row for row in delivered], schema=schema))
        delivery = Delivery("SELECT * FROM given", dict.fromkeys(names, "VARCHAR"), ("f",), Period(DAY, DAY))
        landed = landing.land(con, declared(text), [delivery], [DAY], DAY)
        con.execute(f"CREATE VIEW past AS SELECT *, ds AS event_time FROM {landed.rows} WHERE false")
        inputs = validation.Inputs(landed.rows, landed.deliveries, "past")
        whole = declared(text)
        rows_alone = whole.contract.model_copy(update={"volume": None})
        return validation.judge(con, DeclaredStream(STREAM, rows_alone), inputs, [DAY]).verdicts[0]


@pytest.mark.parametrize(
    ("column", "bad", "kind", "rule", "observed", "fragment"),
    [
        ("city", "Nice", "allowed", "city is one of the allowed", None, "{city: {allowed: [Paris, Lyon, Nice]}}"),
        ("amount", "512.3", "max", "amount <= 100", None, "{amount: {max: 520}}"),
        ("amount", "-5.21", "min", "amount >= 0", None, "{amount: {min: -5.3}}"),
        ("items", "0", "min", "items >= 1", None, "{items: {min: 0}}"),
        ("items", "1.5", "type", "items is integer", None, "{items: {type: double}}"),
        ("items", "A17", "type", "items is integer", None, "{items: {type: string, min: null}}"),
        ("code", "x1", "type", "code is integer", None, "{code: {type: string, allowed: ['1', '2', '3', x1]}}"),
        ("code", "4", "allowed", "code is one of the allowed", None, "{code: {allowed: [1, 2, 3, 4]}}"),
        ("city", None, "null", "city is not null", 0.1, "{city: {nullable: true, presence: {min_fraction: 0.8}}}"),
        ("items", None, "null", "items is not null", None, "{items: {nullable: true}}"),
    ],
)
def test_a_row_passes_under_the_patched_contract_and_no_other_row_is_touched(
    column: str, bad: str | None, kind: str, rule: str, observed: float | None, fragment: str
) -> None:
    delivered = rows(**{column: bad})
    assert judged(TEXT, delivered).broken == {rule: 1}
    values = () if bad is None else (bad if kind in ("type", "allowed") and column != "code" else _typed(kind, bad),)
    patch = suggest(declared(), Anomaly(kind, column, rule, values, observed))
    assert isinstance(patch, Patch), patch.message
    assert patch.text == f"columns: {fragment}"
    patched = apply(TEXT, patch)
    assert judged(patched, delivered).broken == {}
    assert judged(patched, rows()).broken == {}
    told = [line for line in TEXT.splitlines() if line not in patched.splitlines()]
    assert len(told) <= 3, "the version, and the lines of the column"
    assert "version: 8        # raised with every change" in patched


def _typed(kind: str, text: str) -> Any:
    return text if kind == "type" else float(text) if kind in ("min", "max") else int(text)


def test_a_feed_that_changes_its_date_format_is_followed_only_when_the_format_is_plain() -> None:
    delivered = [row | {"born": f"{number + 11}/02/2001"} for number, row in enumerate(rows())]
    assert judged(TEXT, delivered).broken == {"born is date": 10}
    texts = tuple(row["born"] for row in delivered)
    patch = suggest(declared(), Anomaly("type", "born", "born is date", texts))
    assert isinstance(patch, Patch) and patch.text == "columns: {born: {format: '%d/%m/%Y'}}"
    patched = apply(TEXT, patch)
    assert judged(patched, delivered).broken == {}
    back = suggest(declared(patched), Anomaly("type", "born", "born is date", ("2001-02-03",)))
    assert isinstance(back, Patch) and judged(apply(patched, back), rows()).broken == {}
    open_order = suggest(declared(), Anomaly("type", "born", "born is date", ("11/02/2001",)))
    assert isinstance(open_order, Refusal) and "'%d/%m/%Y' or '%m/%d/%Y'" in open_order.reason


def test_a_column_that_no_longer_comes_may_be_absent_after_its_patch() -> None:
    delivered = [{name: value for name, value in row.items() if name != "born"} for row in rows()]
    assert judged(TEXT, delivered).blocked == ("column born is missing",)
    patch = suggest(declared(), Anomaly("exists", "born", "column born is delivered", ("birthday",)))
    assert isinstance(patch, Patch) and "Is it one of birthday now?" in patch.reason
    assert judged(apply(TEXT, patch), delivered).blocked == ()


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        (("1", "2"), "{type: integer, required: false, nullable: true}"),
        (("1.5", None), "{type: double, required: false, nullable: true}"),
        (("31.01.2024",), "{type: date, format: '%d.%m.%Y', required: false, nullable: true}"),
        ((), "{type: string, required: false, nullable: true}"),
    ],
)
def test_a_new_column_of_the_feed_is_added_so_that_old_and_new_days_pass(values: tuple[str, ...], fields: str) -> None:
    patch = suggest(declared(), Anomaly("undeclared", "tip", "columns", values))
    assert isinstance(patch, Patch) and patch.text == f"columns: {{tip: {fields}}}"
    patched = apply(TEXT, patch)
    assert patched.splitlines()[-1] == f"  tip: {fields}"
    for delivered in (rows(), [row | {"tip": values[0] if values else None} for row in rows()]):
        verdict = judged(patched, delivered)
        assert not verdict.broken and not verdict.blocked


@pytest.mark.parametrize(
    ("anomaly", "text"),
    [
        (Anomaly("volume", "", "volume", observed=70, past=100), "volume: {min: 70}"),
        (Anomaly("volume", "", "volume", observed=190, past=100), "volume: {max_change: 0.9}"),
        (Anomaly("presence", "note", "note", observed=0.717), "columns: {note: {presence: {min_fraction: 0.71}}}"),
        (Anomaly("distinct", "city", "city", observed=3), "columns: {city: {distinct: {max: 3}}}"),
        (Anomaly("shift", "amount", "amount", observed=0.231), "columns: {amount: {max_shift: 0.24}}"),
        (Anomaly("value_count", "tags", "tags", (5, 4)), "columns: {tags: {value_count: {min: 1, max: 5}}}"),
    ],
)
def test_a_plausible_day_gets_bounds_that_hold_it(anomaly: Anomaly, text: str) -> None:
    patch = suggest(declared(), anomaly)
    assert isinstance(patch, Patch) and patch.text == text
    assert "\n" not in patch.message and patch.message.startswith(text)
    contract = Contract.model_validate(yaml.safe_load(apply(TEXT, patch)))
    assert contract.version == 8
    (key, value), *_ = _leaves(patch.change)
    assert _at(contract.model_dump(), key) == value


def _leaves(change: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if not isinstance(change, dict):
        return [(path, change)]
    return [leaf for key, inner in change.items() for leaf in _leaves(inner, (*path, key))]


def _at(value: Any, path: tuple[str, ...]) -> Any:
    return _at(value[path[0]], path[1:]) if path else value


@pytest.mark.parametrize(
    ("kind", "column", "values", "observed", "said"),
    [
        ("day", "at", ("2031-01-01",), None, "in the future"),
        ("line", "_line", ("1,2",), None, "no row"),
        ("unique", "id", (7,), None, "one id"),
        ("once", "id", (7,), None, "kept once"),
        ("computes", "share", (), None, "expression"),
        ("rule", "", (), None, "true of every row"),
        ("exists", "id", (), None, "no event"),
        ("null", "at", (), 0.01, "no event"),
        ("null", "city", (), 0.93, "outage"),
        ("type", "items", ("\x1160",), None, "control characters"),
        ("type", "items", ("NA", "-"), None, "no integer"),
        ("type", "items", ("NA", "n/a"), None, "empty value"),
        ("type", "amount", ("inf",), None, "no double"),
        ("type", "amount", ("12,5",), None, "no double"),
        ("type", "born", ("soon",), None, "no date"),
        ("type", "items", (), None, "not known"),
        ("max", "amount", (), 429_490, "more than 10 times"),
        ("max", "amount", (999,), None, "empty value"),
        ("min", "amount", (-1.0, -999), None, "empty value"),
        ("allowed", "city", ("paris ", "Nice"), None, "'paris ' is 'Paris' but for case or blanks"),
        ("allowed", "city", ("NA",), None, "no value"),
        ("allowed", "code", (0,), None, "numbered anew"),
        ("allowed", "city", tuple(f"c{n}" for n in range(30)), None, "no growth"),
        ("presence", "note", (), 0.0, "outage"),
        ("distinct", "city", (), 300, "10 times"),
        ("shift", "fraud", (), 0.2, "turned over"),
        ("shift", "amount", (), 0.9, "little in common"),
        ("volume", "", (), 0, "quiet"),
        ("undeclared", "City", ("x",), None, "in case alone"),
        ("undeclared", "my tip", ("x",), None, "name that tables cannot hold"),
    ],
)
def test_a_fault_gets_no_patch_but_words_what_to_do(
    kind: str, column: str, values: tuple[Any, ...], observed: float | None, said: str
) -> None:
    refusal = suggest(declared(), Anomaly(kind, column, "rule", values, observed))
    assert isinstance(refusal, Refusal), refusal.message
    assert said in refusal.message and refusal.instead


def test_three_hundred_new_terminals_are_growth_and_ten_times_the_ids_are_not() -> None:
    text = TEXT.replace("distinct: {max: 2}", "distinct: {max_change: 0.02}")
    grown, exploded = (
        suggest(declared(text), Anomaly("distinct", "city", "city", observed=number, past=10_000))
        for number in (10_300, 100_000)
    )
    assert isinstance(grown, Patch) and grown.text == "columns: {city: {distinct: {max_change: 0.1}}}"
    assert isinstance(exploded, Refusal)


def test_every_kind_of_row_rule_has_an_answer_and_another_is_refused() -> None:
    kinds = {rule.kind for rule in validation.row_rules(declared())} | {"exists", "unique", "once", "computes"}
    assert kinds <= set(SUGGESTIONS)
    with pytest.raises(ValueError, match="'colour' is no kind of anomaly; allowed: exists"):
        suggest(declared(), Anomaly("colour", "city", "rule"))
