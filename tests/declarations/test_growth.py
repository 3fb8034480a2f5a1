"""Does checking declarations take work in proportion to what they declare? Counted in calls, which no busy machine changes."""

import gc
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from factory_assets.declarations import on_demand, types
from factory_assets.declarations.catalogue import Catalogue
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.declared import DeclaredStream
from factory_assets.declarations.line import Line
from factory_assets.declarations.on_demand import OnDemandView
from factory_assets.declarations.stream import Stream
from factory_assets.declarations.view import View
from factory_resources.scratch import scratch

OWNED = {"owner": "team:a", "description": "x"}
COLUMNS = {"id": "string", "at": "timestamp", "customer": "string", "amount": "double", "paid": "boolean"}


def catalogue(derive: dict[str, str], of_view: dict[str, str], asked: dict[str, str]) -> Catalogue:
    stream = Stream.model_validate(
        {"name": "orders", "source": {"kind": "parquet", "uri": "x"}, "id": "id", "event_time": "at"}
        | {"start": "2026-01-01", "derive": derive}
        | OWNED
    )
    contract = Contract.model_validate({"columns": {name: {"type": kind} for name, kind in COLUMNS.items()}})
    view = View.model_validate(
        {"name": "habit", "stream": "orders", "entity": "customer", "windows": ["7d"]}
        | {"features": {"spent": "sum(amount)"}, "derive": of_view}
        | OWNED
    )
    computed = OnDemandView.model_validate({"name": "asked", "derive": asked} | OWNED)
    features = [*derive, *(f"habit.{name}" for name in of_view), *(f"asked.{name}" for name in asked)]
    line = Line.model_validate(
        {"name": "risky", "task": "binary", "observe": {"stream": "orders"}, "features": features}
        | {"label": {"expression": "paid", "delay": "1d"}, "train": {"window": "28d", "holdout": "7d"}}
        | {"candidates": {"c": {"estimator": "constant"}}, "gate": {"metric": "average_precision", "floor": 0.1}}
        | OWNED
    )
    return Catalogue(
        {"orders": DeclaredStream(stream, contract)}, {"habit": view}, {"risky": line}, {"asked": computed}
    )


def wide(n: int) -> Catalogue:
    # Texts of their own for each size: what was parsed once is parsed.
    ones = range(n)
    return catalogue(
        {f"d{i}": f"amount + {n}{i}" for i in ones},
        {f"d{i}": f"spent_7d + {n}{i}" for i in ones},
        {f"d{i}": f"habit.spent_7d + amount + {n}{i}" for i in ones},
    )


def chained(n: int) -> Catalogue:
    derive = {f"d{n}_{i}": f"d{n}_{i - 1} + 1" if i else "amount" for i in range(n)}
    return catalogue(derive, {f"d{n}": f"spent_7d + {n}"}, {"one": "habit.spent_7d + amount"})


def checked(declared: Catalogue) -> None:
    findings = declared.streams["orders"].check() + declared.check_view(declared.views["habit"])
    findings += declared.check_on_demand(declared.on_demand["asked"]) + declared.check_line(declared.lines["risky"])
    assert findings == []


def calls(work: Callable[[], None]) -> int:
    """How many functions are called for it, of Python's and of C's."""
    count = 0

    def note(_frame: object, event: str, _of: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    # What other tests left behind would be finalized in the midst of it, and counted.
    gc.collect()
    gc.disable()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


@pytest.mark.parametrize("declared", [wide, chained])
@pytest.mark.slow
def test_twice_as_many_derived_columns_take_twice_as_many_calls(declared: Callable[[int], Catalogue]) -> None:
    checked(declared(3))  # what is imported and made once is nobody's
    few, more, most = (calls(partial(checked, declared(n))) for n in (50, 100, 200))
    assert most - more < 2.02 * (more - few)


class Overheard:
    """A connection that notes how much it is asked."""

    def __init__(self, con: Any) -> None:
        self._con, self.letters = con, 0

    def execute(self, query: str) -> Any:
        self.letters += len(query)
        return self._con.execute(query)


def test_of_thousands_of_columns_duckdb_is_shown_those_that_an_expression_reads() -> None:
    columns = {f"column_{i}": "DOUBLE" for i in range(4000)} | {"Amount": "BIGINT"}
    with scratch() as con:
        heard = Overheard(con)
        assert types.Typed(columns).type_of(heard, "amount * 2") == "BIGINT"
        assert heard.letters < 120
        with pytest.raises(ValueError, match=r"'absent \+ 1' cannot be computed: .*absent"):
            types.Typed(columns).type_of(con, "absent + 1")


def test_features_of_which_each_stands_on_the_one_before_are_put_in_order_however_many() -> None:
    texts = {f"a.f{i}": f"a.f{i - 1} + 1" if i else "habit.spent_7d" for i in range(3000)}
    assert on_demand.in_order(["a.f2999"], texts) == list(texts) and not on_demand.unordered(texts)
    texts["a.f0"] = "a.f2 + 1"
    assert on_demand.unordered(texts) == set(texts)
    assert on_demand.circle("a.f2", texts) == ["a.f2", "a.f1", "a.f0", "a.f2"]
    assert on_demand.circle("a.f3", texts) == []
