"""Does a row of the ledger that its owner changed, removed or slipped in show, and no other?"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from factory_resources.certificates import Certificate, Certificates
from factory_resources.chain import SUBJECTS, Chains
from factory_resources.decisions import Decision
from factory_resources.issues import BrokenRule, Issues
from factory_resources.ledger import EvaluationRecord, Ledger
from factory_resources.ledger_tables import METADATA
from factory_resources.tags import Tagging
from factory_resources.trials import Trial, Trials
from tests.resources.test_ledger import a_version

DAY = dt.date(2026, 1, 31)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """A ledger with some rows in each table, of numbers that a database may give back in another form."""
    ledger = Ledger(url=url)
    for number in range(4):
        as_of = DAY + dt.timedelta(days=number)
        record = a_version(f"v{number}", line="eta", node="global", as_of=as_of, metrics={"mae": 0.1 + 0.2, "rows": 3})
        ledger.register(record)
        evidence = {"value": 1e-17, "of": [1, 2.0, None], "text": "\u00fc"}
        ledger.decide(
            Decision("eta", "global", as_of, "promote", f"v{number}", f"v{number}", "better", "gate", evidence)
        )
        ledger.decide(Decision("eta", "FR", as_of, "fallback", None, None, "too few rows", "gate", {}))
        met = EvaluationRecord(
            "eta", "global", f"v{number}", as_of, DAY, DAY, 7, {"mae": 1 / 3}, {}, None, {"mae": 2.0}
        )
        ledger.record_evaluation(met)
        ledger.tag(Tagging("eta", "global", "stable", f"v{number}", "because", "ana"))
        Certificates(url=url).record(
            Certificate("eta", f"v{number}", "equal", "all is equal", {"a": ("1", None)}, {}, "ana")
        )
        Issues(url=url).note("orders", "ana", [as_of], {as_of: [BrokenRule("rule", "shift", "broken")]})
        Trials(url=url).record(a_trial(number))
    yield ledger
    ledger.close()


def a_trial(number: int) -> Trial:
    """value: a whole number, which a column of floating ones gives back as one of those."""
    at = dt.datetime(2026, 1, 31, 12, 30, 1, 250, dt.timezone(dt.timedelta(hours=2)))
    given = {
        "line": "eta", "node": "global", "candidate": "boosted", "estimator": "lightgbm", "as_of": DAY, "configuration": "c",
        "search": "s", "number": number, "params": {"rate": 0.1, "leaves": 7}, "metric": "mae", "value": 3, "folds": [{"mae": 0.1}],
        "state": "complete", "message": "", "run_id": "r", "seconds": 1, "ended_at": at,
    }  # fmt: skip
    return Trial(**{each.name: given[each.name] for each in dataclasses.fields(Trial) if each.name in given})


def broken(ledger: Ledger) -> list[str]:
    return list(Chains(url=ledger.url).broken())


def as_owner(ledger: Ledger, *statements: str) -> None:
    """What somebody does who may drop the triggers."""
    with ledger._open().begin() as connection:
        if connection.dialect.name == "sqlite":
            for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").all():
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            for table in SUBJECTS:
                connection.exec_driver_sql(f"DROP TRIGGER {table.name}_append_only ON {table.name}")
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_every_table_that_is_only_appended_to_has_chains_and_untouched_ones_hold(ledger: Ledger) -> None:
    assert {table.name for table in SUBJECTS} == METADATA.tables.keys() - {"ledger_standing", "ledger_verdicts"}
    with ledger._open().connect() as connection:
        for table in SUBJECTS:
            assert connection.scalar(sa.select(sa.func.count()).where(table.c.chain.is_(None)).select_from(table)) == 0
    assert broken(ledger) == []


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE ledger_decisions SET reason = 'much better' WHERE id = 3", "ledger_decisions, row 3"),
        ("UPDATE ledger_versions SET metrics = '{}' WHERE id = 2", "ledger_versions, row 2"),
        ("UPDATE ledger_evaluations SET rows = 8 WHERE id = 1", "ledger_evaluations, row 1"),
        ("UPDATE ledger_tags SET at = '2026-01-01 00:00:00.000000' WHERE id = 4", "ledger_tags, row 4"),
        ("UPDATE ledger_issues SET who = 'eve' WHERE id = 2", "ledger_issues, row 2"),
        ("UPDATE ledger_certificates SET verdict = 'different' WHERE id = 1", "ledger_certificates, row 1"),
        ("UPDATE ledger_trials SET value = 2 WHERE id = 2", "ledger_trials, row 2"),
        ("DELETE FROM ledger_tags WHERE id = 2", "ledger_tags, row 3"),
        ("DELETE FROM ledger_decisions WHERE id = 1", "ledger_decisions, row 3"),
    ],
)
def test_a_row_that_was_changed_or_removed_shows_and_alone(ledger: Ledger, change: str, table: str) -> None:
    as_owner(ledger, change)
    (found,) = broken(ledger)
    assert found.startswith(table) and "not what was written" in found


def test_a_row_that_was_slipped_in_shows(ledger: Ledger) -> None:
    columns = "line, node, tag, version, why, by, at"
    as_owner(
        ledger,
        f"INSERT INTO ledger_tags (id, sequence, {columns}) SELECT 99, 9, {columns} FROM ledger_tags WHERE id = 1",
    )
    assert broken(ledger) == ["ledger_tags, row 99 of eta/global: it was not written by the factory"]


def test_rows_from_before_there_were_chains_are_held_by_the_first_row_after_them(ledger: Ledger) -> None:
    as_owner(ledger, "UPDATE ledger_tags SET chain = NULL")
    assert broken(ledger) == []
    ledger.tag(Tagging("eta", "global", "stable", "v0", "back", "ana"))
    assert broken(ledger) == []
    with ledger._open().begin() as connection:
        connection.exec_driver_sql("UPDATE ledger_tags SET why = 'other' WHERE id = 1")
    (found,) = broken(ledger)
    assert found.startswith("ledger_tags, row 5 of eta/global")
