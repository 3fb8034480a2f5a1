"""Does the check on examples find every way in which the future gets in, and nothing else?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pytest

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.features.examples import leaks
from factory_assets.features.examples import rows as examples
from tests.features.lines import DAYS, OF_ENTITIES, OF_EVENTS, declared_line, worlds
from tests.features.test_examples import stored
from tests.oracles.point_in_time import Event
from tests.oracles.streams import loader

#: The orders' amounts are known with the order, although the label is read from them.
HONEST = OF_EVENTS | {"label": OF_EVENTS["label"] | {"known": ["amount"]}}


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def found_in(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, events: Mapping[str, Sequence[Event]], tamper: str = ""
) -> tuple[int, dict[str, leaks.Leak]]:
    """Size of the sample, and the leaks in examples built from these events. tamper: SQL run on them before."""
    tables = stored(con, declared, events)
    built = con.sql(examples.build(con, declared, DAYS, loader(con, tables))).to_arrow_table()
    con.register("built", built)
    con.execute("CREATE OR REPLACE TABLE lake_examples AS SELECT * FROM built")
    if tamper:
        con.execute(tamper)
    load = loader(con, tables | {f"{declared.line.name}/examples": "lake_examples"})
    size, found = leaks.leaks(con, declared, DAYS, load)
    return size, {leak.feature: leak for leak in found}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [HONEST, OF_ENTITIES], ids=["events", "entities"])
def test_examples_that_are_right_have_no_leak(con: duckdb.DuckDBPyConnection, kind: dict[str, Any], seed: int) -> None:
    size, found = found_in(con, declared_line(**kind), worlds(seed))
    assert size > 15
    assert found == {}


def test_a_window_that_reads_the_label_before_it_is_known_leaks(con: duckdb.DuckDBPyConnection) -> None:
    # `habit` sums amounts up to the observed order itself; whether one is above 0 is told a day later.
    _, found = found_in(con, declared_line(**OF_EVENTS), worlds(0))
    assert set(found) == {"amount", "habit.spent_1h", "habit.spent_3d", "ratio.spent", "ratio.most", "ratio.again"}
    assert found["amount"].count > 50
    assert "but what was known gives" in found["habit.spent_3d"].message


def test_an_outcome_that_is_told_before_every_label_is_in_may_be_read_from_then_on(
    con: duckdb.DuckDBPyConnection,
) -> None:
    # `risk` reads flags a day after the event.
    label = {"expression": "flag", "delay": "2d"}
    leaking = {"features": ["risk.*"], "label": label}
    assert set(found_in(con, declared_line(**OF_EVENTS | leaking), worlds(0))[1]) == {"risk.rate_1d", "risk.rate_2d"}
    in_time = {"features": ["risk.*"], "label": label | {"told": "1d"}}
    assert found_in(con, declared_line(**OF_EVENTS | in_time), worlds(0))[1] == {}


def test_a_label_of_a_derived_column_is_told_by_what_that_is_derived_from() -> None:
    declared = declared_line(**OF_EVENTS)
    stream = declared.observed.stream.model_copy(
        update={
            "derive": {"paid": "amount - items", "twice": "paid * 2", "hour": "hour(event_time)"},
            "rules": {"big": "amount > 9"},
        }
    )
    observed = type(declared.observed)(stream, declared.observed.contract)
    for expression, known, told in [
        ("twice > 1", [], {"amount", "items", "paid", "twice", "big"}),
        ("twice > 1", ["items", "big"], {"amount", "paid", "twice"}),
        ("hour > 1", [], set()),
    ]:
        label = declared.line.label.model_copy(update={"expression": expression, "known": known})
        line = declared.line.model_copy(update={"label": label})
        assert DeclaredLine(line, observed, {}, {}).revealing == told


@pytest.mark.parametrize(
    ("column", "places"),
    [
        ("items", {"observe.where"}),
        ("city", {"segments.levels, city"}),
        ("shop", {"the entity of risk", "the entity of pace"}),
    ],
)
def test_what_picks_rows_segments_or_entities_by_the_label_leaks_until_it_is_declared_as_known(
    con: duckdb.DuckDBPyConnection, column: str, places: set[str]
) -> None:
    label = {"expression": f"{column} is not null", "delay": "1d"}
    leaking, honest = (declared_line(**OF_EVENTS | {"label": label | {"known": known}}) for known in ([], [column]))
    size, found = found_in(con, leaking, worlds(0))
    assert {place: leak.message for place, leak in found.items() if leak.declared} == {
        place: f"{place}: {column} tells of the label before that is known" for place in places
    }
    assert {found[place].count for place in places} == {size}
    assert found_in(con, honest, worlds(0))[1] == {}
    assert leaks.version(leaking) != leaking.line.label.model_dump_json(exclude={"freshness"}), "days are judged anew"
    assert leaks.version(honest) == honest.line.label.model_dump_json(exclude={"freshness"})


@pytest.mark.parametrize(
    ("feature", "tamper"),
    [
        ("habit.n_3d", 'UPDATE lake_examples SET "habit.n_3d" = "habit.n_3d" + 1'),
        ("risk.rate_2d", 'UPDATE lake_examples SET "risk.rate_2d" = "risk.rate_2d" + 1e-12'),
        ("pace.mean_2d", 'UPDATE lake_examples SET "pace.mean_2d" = NULL'),
        ("ratio.spent", 'UPDATE lake_examples SET "ratio.spent" = coalesce("ratio.spent", 0) + 1e-12'),
        ("calm.load", 'UPDATE lake_examples SET "calm.load" = "calm.load" + 1'),
    ],
)
def test_a_value_that_is_not_what_was_known_is_found_to_the_last_bit(
    con: duckdb.DuckDBPyConnection, feature: str, tamper: str
) -> None:
    _, found = found_in(con, declared_line(**HONEST), worlds(1), tamper)
    assert set(found) == {feature}


def test_days_without_examples_have_no_leak(con: duckdb.DuckDBPyConnection) -> None:
    assert found_in(con, declared_line(**HONEST), {"orders": [], "visits": []}) == (0, {})
