"""Does a row of the ledger that its owner changed show, whatever the column, on either database?"""

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from factory_resources.ledger import Ledger
from factory_resources.records import chain, migrations
from factory_resources.records.certificates import Certificate, Certificates
from factory_resources.records.chain import CHAIN, ID, SUBJECTS, Chains
from factory_resources.records.issues import BrokenRule, Issues
from factory_resources.records.tables import DECISIONS, EVALUATIONS, METADATA, STANDING, VERSIONS, open_ledger
from factory_resources.records.tags import Tagging
from factory_resources.records.trials import Trial, Trials
from tests.resources.test_ledger import AWKWARD, DAY, LINE, a_decision, a_version, an_evaluation
from tests.resources.test_migrations import old_ledger

AT = dt.datetime(2018, 6, 2, 1, 2, 3, 456789, tzinfo=dt.timezone(dt.timedelta(hours=2)))


def fill(url: str) -> None:
    """At least two rows of each table, of one subject."""
    ledger, issues = Ledger(url=url), Issues(url=url)
    for number in range(3):
        day = DAY + number * dt.timedelta(days=1)
        version = a_version(f"v{number}", metrics={str(each): each for each in AWKWARD})
        ledger.register(version)
        ledger.record_evaluation(an_evaluation(f"v{number}", rows=number, naive={"x": 1 / 3}))
        ledger.decide(a_decision("promote", f"v{number}", f"v{number}", reason=f"ö \x07 {number}", as_of=day))
        ledger.tag(Tagging(LINE, "global", "audited", f"v{number}", "looked at", "ana"))
        Certificates(url=url).record(Certificate(LINE, f"v{number}", "equal", "", {"model": "equal"}, {}, "ana", AT))
        Trials(url=url).record(a_trial(number))
        issues.note("orders", "ana", [day], {day: [BrokenRule("r", "row", str(number))]})
    issues.decide("orders", "r", "accepted", "ana", "known")
    ledger.close()


def a_trial(number: int) -> Trial:
    place = (LINE, "global", "boosted", "lightgbm", DAY, "c0", "s0", number)
    return Trial(*place, {"a": 0.1}, "mae", 0.5, [{"mae": 1 / 3}], "complete", "ok", 1.5, "run", AT)


@pytest.fixture
def filled(url: str) -> Iterator[tuple[str, sa.Engine]]:
    fill(url)
    engine = open_ledger(url)
    unguard(engine)
    yield url, engine
    engine.dispose()


def unguard(engine: sa.Engine) -> None:
    """As the owner of a database can: no trigger is left."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars().all()
            for name in names:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            for table in SUBJECTS:
                connection.exec_driver_sql(f"ALTER TABLE {table.name} DISABLE TRIGGER USER")


def broken(url: str) -> list[str]:
    return list(Chains(url=url).broken())


def other(column: sa.Column[Any], value: Any) -> Any:
    """Another value than this one, of a column."""
    if isinstance(value, str):
        return f"{value} "
    if isinstance(value, dt.date):
        return value + dt.timedelta(days=1)
    if isinstance(column.type, sa.JSON):
        return {"other": value}
    return None if value is None else value + 1


def test_rows_as_they_were_written_show_nothing(filled: tuple[str, sa.Engine]) -> None:
    url, engine = filled
    assert broken(url) == []
    with engine.connect() as connection:
        for table in SUBJECTS:
            chained = connection.execute(sa.select(table.c[CHAIN])).scalars().all()
            assert len(set(chained)) == len(chained) >= 3 and None not in chained, table.name


def test_every_table_that_is_only_appended_to_is_chained() -> None:
    assert {table.name for table in METADATA.sorted_tables} - {table.name for table in SUBJECTS} == {
        "ledger_standing", "ledger_verdicts",
    }  # fmt: skip


def test_a_change_of_any_column_shows_with_its_row(filled: tuple[str, sa.Engine]) -> None:
    url, engine = filled
    for table, subject in SUBJECTS.items():
        for column in table.c:
            if column.name in (ID, CHAIN, *subject):
                continue
            with engine.begin() as connection:
                rows = connection.execute(sa.select(table).order_by(table.c.id)).mappings().all()
                row = next((each for each in rows if each[column.name] is not None), None)
                if row is None:
                    continue
                before, own = row[column.name], table.c.id == row[ID]
                try:
                    with connection.begin_nested():
                        connection.execute(sa.update(table).where(own).values({column: other(column, before)}))
                except sa.exc.IntegrityError:
                    continue  # The database itself refuses it.
            (found,) = broken(url)
            assert f"{table.name}, row {row[ID]}" in found and "it is not what was written" in found, column.name
            with engine.begin() as connection:
                connection.execute(sa.update(table).where(own).values({column: before}))
            assert broken(url) == []


def test_a_row_that_is_gone_shows_at_the_next_and_one_that_was_slipped_in_itself(filled: tuple[str, sa.Engine]) -> None:
    url, engine = filled
    with engine.begin() as connection:
        rows = connection.execute(sa.select(DECISIONS).order_by(DECISIONS.c.id)).mappings().all()
        connection.execute(sa.delete(DECISIONS).where(DECISIONS.c.id == rows[1][ID]))
        connection.execute(
            sa.insert(EVALUATIONS).values(
                {c.name: rows[0].get(c.name) for c in EVALUATIONS.c if c.name not in (ID, CHAIN)}
                | {"holdout_from": DAY, "holdout_to": DAY, "rows": 5}
                | {"challenger": {}, "incumbent": {}, "naive": {}}
            )
        )
    gone, slipped = sorted(broken(url))
    assert f"ledger_decisions, row {rows[2][ID]} of {LINE}/global" in gone and "a row before it is gone" in gone
    assert "ledger_evaluations" in slipped and "it was not written by the factory" in slipped


def test_a_node_that_was_moved_to_an_older_decision_shows_and_so_does_one_without_a_place(
    filled: tuple[str, sa.Engine],
) -> None:
    """Who answers is looked up by where a node stands, which no chain holds."""
    url, engine = filled
    ledger = Ledger(url=url)
    assert ledger.misplaced(LINE) == {}
    with engine.begin() as connection:
        connection.execute(sa.update(STANDING).values(sequence=1))
    assert ledger.champions(LINE)["global"].champion == "v0"
    assert list(ledger.misplaced(LINE)) == ["global"]
    with engine.begin() as connection:
        connection.execute(sa.delete(STANDING))
    (found,) = ledger.misplaced(LINE).values()
    assert found == "it stands at no decision; the decisions on it leave it at decision 3, as of 2018-06-02, with v2"


def test_rows_from_before_there_were_chains_are_held_by_the_first_one_after_them(url: str) -> None:
    old_ledger(url)
    assert broken(url) == []
    ledger = Ledger(url=url)
    ledger.register(a_version("v2"))
    ledger.decide(a_decision("promote", "v2", "v2", as_of=DAY + dt.timedelta(days=1)))
    assert broken(url) == []
    engine = open_ledger(url)
    unguard(engine)
    with engine.begin() as connection:
        connection.execute(sa.update(DECISIONS).where(DECISIONS.c.sequence == 1).values(reason="worse"))
    (found,) = broken(url)
    assert "a row before it is gone or is not" in found
    engine.dispose()


def test_writers_at_once_make_one_chain(url: str) -> None:
    ledger = Ledger(url=url)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ledger.register(a_version(f"v{number}")), range(40)))
    assert broken(url) == []
    assert migrations.HEAD >= "0011"


def test_a_column_that_is_added_later_changes_no_hash() -> None:
    later = sa.Table(
        "ledger_versions", sa.MetaData(), *(column._copy() for column in VERSIONS.c), sa.Column("later", sa.Text)
    )
    row = vars(a_version("v9"))
    assert chain._link("", later, row) == chain._link("", VERSIONS, row)
