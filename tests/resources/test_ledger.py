"""Does the ledger tell who was champion when, on either database, whatever happens at the same time?"""

import datetime as dt
import multiprocessing
import random
import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from factory_resources.ledger import JUDGED, OPTIONAL, Decision, EvaluationRecord, Ledger, VersionRecord
from factory_resources.records.decisions import REFIT, ChampionChanged
from factory_resources.records.issues import Issues

LINE = "card_fraud"
DAY = dt.date(2018, 5, 31)
NEXT_DAY = DAY + dt.timedelta(days=1)
PROCESSES = 4
#: Where a worker process keeps the barrier that its pool gave it.
WORKER: dict[str, Any] = {}
#: Sums and quotients that no short decimal writes, the smallest and the largest float, and a negative zero.
AWKWARD = [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 1e22, 123456789.12345679]


def a_version(version: str = "v1", **changed: Any) -> VersionRecord:
    record = VersionRecord(
        version=version,
        line=LINE,
        node="global",
        task="binary",
        estimator="lightgbm",
        candidate="boosted",
        configuration={"params": {"num_leaves": 31, "learning_rate": 0.05}, "features": ["TX_AMOUNT"]},
        as_of=DAY,
        train_from=dt.date(2018, 4, 20),
        train_to=dt.date(2018, 5, 17),
        holdout_from=dt.date(2018, 5, 18),
        holdout_to=dt.date(2018, 5, 24),
        rows=268_000,
        positives=2_300,
        tables={"card_fraud/examples": 12, "card_fraud/labels": 9},
        validation={"boosted": {"average_precision": 0.61}, "logistic": {"average_precision": 0.48}},
        metrics={"average_precision": 0.66},
        importances={"TX_AMOUNT": 0.7},
        charts={"importances": "importances.svg"},
        owner="team:payments",
        archive_uri="file:///archive/v1",
        run_id="run-1",
        started_at=dt.datetime(2018, 6, 1, 0, 10, 0, 123456, tzinfo=dt.UTC),
        ended_at=dt.datetime(2018, 6, 1, 0, 12, tzinfo=dt.UTC),
    )
    return replace(record, **changed)


def an_evaluation(version: str = "v1", **changed: Any) -> EvaluationRecord:
    record = EvaluationRecord(
        line=LINE,
        node="global",
        version=version,
        as_of=DAY,
        holdout_from=dt.date(2018, 5, 18),
        holdout_to=dt.date(2018, 5, 24),
        rows=67_000,
        challenger={"average_precision": 0.61},
        incumbent={},
        incumbent_version=None,
        naive={"average_precision": 0.008},
    )
    return replace(record, **changed)


def a_decision(verdict: str, version: str | None, champion: str | None, **changed: Any) -> Decision:
    made = Decision(LINE, "global", DAY, verdict, version, champion, "gate", "gate", {"uplift": 0.1})  # type: ignore[arg-type]
    return replace(made, **changed)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = Ledger(url=url)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Processes that start a task at the same moment: each waits for all of them."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, context, initializer=_remember, initargs=(barrier,)) as pool:
        yield pool


def _remember(barrier: Any) -> None:
    WORKER["barrier"] = barrier


def _at_once(pool: ProcessPoolExecutor, task: Callable[[str, int], Any], url: str) -> list[Any]:
    return [future.result(timeout=120) for future in [pool.submit(task, url, number) for number in range(PROCESSES)]]


def _open_fresh(url: str, number: int) -> str:
    ledger = Ledger(url=url)
    WORKER["barrier"].wait(timeout=60)
    ledger.register(a_version(f"v{number}"))
    ledger.close()
    return f"v{number}"


def _decide_at_random(url: str, number: int) -> int:
    ledger, rng = Ledger(url=url), random.Random(number)
    WORKER["barrier"].wait(timeout=60)
    written = 0
    for _ in range(30):
        version = rng.choice(["v1", "v2"])
        verdict, champion = rng.choice([("promote", version), ("keep", "v1"), ("fallback", None)])
        node, as_of = rng.choice(["FR", "FR/Lyon"]), DAY + dt.timedelta(days=rng.randrange(2))
        written += ledger.decide(a_decision(verdict, version, champion, node=node, as_of=as_of))
    ledger.close()
    return written


def _raw(url: str, statement: str) -> list[Any]:
    engine = sa.create_engine(url)
    try:
        with engine.begin() as connection:
            result = connection.execute(sa.text(statement))
            return list(result) if result.returns_rows else []
    finally:
        engine.dispose()


def test_a_version_comes_back_as_it_was_registered(ledger: Ledger) -> None:
    paris = dt.timezone(dt.timedelta(hours=2))
    ledger.register(a_version(started_at=dt.datetime(2018, 6, 1, 2, 10, 0, 123456, tzinfo=paris)))
    assert ledger.version(LINE, "v1") == a_version()
    assert ledger.version(LINE, "v1").started_at.tzinfo == dt.UTC


def test_a_version_registered_twice_stays_as_it_was_first(ledger: Ledger) -> None:
    ledger.register(a_version())
    ledger.register(a_version(owner="team:fraud"))
    assert ledger.versions(LINE) == [a_version()]


def test_two_lines_may_use_the_same_version_id(ledger: Ledger) -> None:
    ledger.register(a_version())
    ledger.register(a_version(line="card_churn"))
    assert [v.line for v in ledger.versions("card_churn")] == ["card_churn"]


def test_versions_are_registered_together_each_once_or_not_at_all(ledger: Ledger) -> None:
    ledger.register()
    ledger.register(a_version("v1"))
    first = [a_version("v3"), a_version("v2"), a_version("v1", line="card_churn")]
    ledger.register(*first, a_version("v1", owner="team:fraud"), a_version("v2", owner="team:fraud"))
    assert ledger.versions(LINE) == [a_version(version) for version in ("v1", "v3", "v2")]
    assert ledger.versions("card_churn") == [a_version("v1", line="card_churn")]
    with pytest.raises(ValueError, match=r"VersionRecord\.owner is"):
        ledger.register(a_version("v4"), a_version("v5", owner=" "))
    assert len(ledger.versions(LINE)) == 3


@pytest.mark.parametrize("name", sorted({f.name for f in fields(VersionRecord)} - OPTIONAL[VersionRecord]))
def test_a_version_without_one_of_its_fields_is_refused_by_that_name(ledger_file: Ledger, name: str) -> None:
    blank: dict[type, Any] = {dict: {}, str: " "}
    changed: dict[str, Any] = {name: blank.get(type(getattr(a_version(), name)))}
    with pytest.raises(ValueError, match=rf"VersionRecord\.{name} is"):
        ledger_file.register(replace(a_version(), **changed))
    assert ledger_file.versions(LINE) == []


@pytest.fixture
def ledger_file(tmp_path: Path) -> Iterator[Ledger]:
    """For refusals that no database has a part in."""
    opened = Ledger(url=f"sqlite:///{tmp_path}/ledger.db")
    yield opened
    opened.close()


def test_a_version_may_lack_positives_and_candidates_to_choose_from(ledger: Ledger) -> None:
    plain = a_version(validation={}, positives=None, task="regression")
    ledger.register(plain)
    assert ledger.version(LINE, "v1") == plain


def test_a_configuration_without_parameters_is_refused(ledger_file: Ledger) -> None:
    with pytest.raises(ValueError, match=r"configuration has no params"):
        ledger_file.register(a_version(configuration={"features": ["TX_AMOUNT"]}))
    ledger_file.register(a_version(configuration={"params": {}}))


def test_released_is_what_was_champion_once(ledger: Ledger) -> None:
    for version in ("v1", "v2", "v3"):
        ledger.register(a_version(version))
    ledger.decide(a_decision("promote", "v1", "v1"))
    ledger.decide(a_decision("keep", "v2", "v1", as_of=NEXT_DAY))
    ledger.decide(a_decision("promote", "v3", "v3", as_of=NEXT_DAY))
    assert [one.version for one in ledger.released()] == ["v1", "v3"] == [one.version for one in ledger.released(LINE)]
    assert ledger.released("another") == []


def test_a_time_without_zone_is_refused(ledger_file: Ledger) -> None:
    with pytest.raises(ValueError, match=r"VersionRecord\.ended_at .* time zone"):
        ledger_file.register(a_version(ended_at=dt.datetime(2018, 6, 1)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), DAY])
def test_what_is_no_json_is_refused_by_field(ledger_file: Ledger, value: object) -> None:
    with pytest.raises(ValueError, match=r"VersionRecord\.validation is no JSON"):
        ledger_file.register(a_version(validation={"boosted": {"average_precision": value}}))


def test_an_unknown_version_is_named(ledger: Ledger) -> None:
    with pytest.raises(LookupError, match=r"card_fraud.*v9"):
        ledger.version(LINE, "v9")


def test_floats_come_back_bit_for_bit(ledger: Ledger) -> None:
    metrics = {str(place): value for place, value in enumerate(AWKWARD)}
    ledger.register(a_version(importances=metrics))
    ledger.record_evaluation(an_evaluation(challenger=metrics))
    ledger.decide(a_decision("promote", "v1", "v1", evidence=metrics))
    expected = [value.hex() for value in AWKWARD]
    (evaluation,) = ledger.evaluations(LINE)
    for read in (ledger.version(LINE, "v1").importances, evaluation.challenger, ledger.decisions(LINE)[0].evidence):
        assert [float(value).hex() for value in read.values()] == expected
        assert {type(value) for value in read.values()} == {float}


def test_versions_of_a_node_or_of_exactly_one_day_come_in_the_order_of_registration(ledger: Ledger) -> None:
    for version in (a_version("v2"), a_version("v1"), a_version("v3", as_of=NEXT_DAY), a_version("v4", node="FR")):
        ledger.register(version)
    assert ledger.versions(LINE, "global", DAY) == [a_version("v2"), a_version("v1")]
    assert ledger.versions(LINE, as_of=NEXT_DAY + dt.timedelta(days=1)) == []
    assert [v.version for v in ledger.versions(LINE, "global")] == ["v2", "v1", "v3"]


def test_an_evaluation_is_recorded_once_and_its_correction_answers(ledger: Ledger) -> None:
    ledger.register(a_version("v0"))
    ledger.register(a_version())
    against_v0 = an_evaluation(incumbent={"average_precision": 0.5}, incumbent_version="v0")
    for evaluation in (an_evaluation(), an_evaluation(), against_v0, against_v0):
        ledger.record_evaluation(evaluation)
    assert ledger.evaluations(LINE) == [an_evaluation(), against_v0]
    assert ledger.evaluations(LINE, as_of=NEXT_DAY) == []


def test_only_registered_versions_are_evaluated_or_decided_on(ledger: Ledger) -> None:
    ledger.register(a_version(line="card_churn"))
    with pytest.raises(ValueError, match=r"card_fraud.*v1.*register"):
        ledger.record_evaluation(an_evaluation())
    with pytest.raises(ValueError, match=r"card_fraud.*v1.*register"):
        ledger.decide(a_decision("promote", "v1", "v1"))
    with pytest.raises(sa.exc.IntegrityError):
        _raw_insert_of_a_decision_on(ledger, "v1")


def _raw_insert_of_a_decision_on(ledger: Ledger, version: str) -> None:
    with ledger._open().begin() as connection:
        columns = "line, node, sequence, as_of, verdict, version, reason, decided_by, evidence, decided_at"
        values = f"'{LINE}', 'FR', 1, '{DAY}', 'keep', '{version}', 'x', 'x', '{{}}', '{DAY} 00:00:00.000000'"
        connection.exec_driver_sql(f"INSERT INTO ledger_decisions ({columns}) VALUES ({values})")


def test_a_champion_answers_from_the_day_after_its_as_of(ledger: Ledger) -> None:
    ledger.register(a_version())
    promotion = a_decision("promote", "v1", "v1")
    assert ledger.decide(promotion)
    assert ledger.champions(LINE, before=DAY) == {}
    assert ledger.champion(LINE, "global", before=DAY) is None
    assert ledger.champions(LINE, before=NEXT_DAY) == {"global": promotion}
    assert ledger.champion(LINE, "global", before=NEXT_DAY) == promotion


def test_a_kept_champion_stays_and_the_past_keeps_its_own(ledger: Ledger) -> None:
    for version in ("v1", "v2", "v3"):
        ledger.register(a_version(version))
    days = [DAY + dt.timedelta(days=7 * week) for week in range(3)]
    ledger.decide(a_decision("promote", "v1", "v1", as_of=days[0]))
    ledger.decide(a_decision("keep", "v2", "v1", as_of=days[1]))
    ledger.decide(a_decision("promote", "v3", "v3", as_of=days[2]))
    after = [ledger.champions(LINE, before=day + dt.timedelta(days=1))["global"] for day in days]
    assert [(d.verdict, d.version, d.champion) for d in after] == [
        ("promote", "v1", "v1"),
        ("keep", "v2", "v1"),
        ("promote", "v3", "v3"),
    ]
    assert ledger.champions(LINE)["global"] == after[-1]
    assert ledger.trained_as_of(LINE) == days


def test_a_backfilled_decision_does_not_depose_a_later_days_champion(ledger: Ledger) -> None:
    ledger.register(a_version("v1"))
    ledger.register(a_version("v2", as_of=NEXT_DAY))
    newest = a_decision("promote", "v2", "v2", as_of=NEXT_DAY)
    backfilled = a_decision("promote", "v1", "v1")
    ledger.decide(newest)
    ledger.decide(backfilled)
    assert ledger.decisions(LINE) == [newest, backfilled]
    assert ledger.champion(LINE, "global") == newest
    assert ledger.champion(LINE, "global", before=NEXT_DAY) == backfilled
    assert ledger.trained_as_of(LINE) == [DAY, NEXT_DAY]


def test_a_rollback_on_the_same_day_replaces_the_promotion(ledger: Ledger) -> None:
    ledger.register(a_version("v1"))
    ledger.register(a_version("v2"))
    ledger.decide(a_decision("promote", "v2", "v2"))
    back = a_decision("promote", "v1", "v1", reason="complaints", decided_by="ana")
    assert ledger.decide(back)
    assert ledger.champion(LINE, "global", before=NEXT_DAY) == back


def test_a_fallback_removes_no_champion_unless_it_names_none(ledger: Ledger) -> None:
    ledger.register(a_version("g"))
    ledger.register(a_version("f", node="FR"))
    for node, version in (("global", "g"), ("FR", "f")):
        ledger.decide(a_decision("promote", version, version, node=node))
    ledger.decide(a_decision("fallback", None, "f", node="FR", as_of=NEXT_DAY, reason="too few rows"))
    assert {s: d.champion for s, d in ledger.champions(LINE).items()} == {"global": "g", "FR": "f"}
    retired = NEXT_DAY + dt.timedelta(days=1)
    ledger.decide(a_decision("fallback", None, None, node="FR", as_of=retired, reason="an ancestor answers"))
    assert {s: d.champion for s, d in ledger.champions(LINE).items()} == {"global": "g"}
    assert ledger.champion(LINE, "FR") is None
    assert ledger.champion(LINE, "FR", before=retired) is not None


def test_deciding_the_same_again_writes_nothing(ledger: Ledger) -> None:
    ledger.register(a_version("v1"))
    ledger.register(a_version("v2"))
    first = a_decision("promote", "v1", "v1")
    assert ledger.decide(first) is True
    assert ledger.decide(a_decision("promote", "v1", "v1", reason="again", evidence={"uplift": 0.2})) is False
    assert ledger.decisions(LINE) == [first]
    assert ledger.decide(a_decision("keep", "v2", "v1")) is True
    assert ledger.decide(first) is True, "only the last decision is a repetition, not an older one"
    assert ledger.decide(replace(first, as_of=NEXT_DAY)) is True
    assert len(ledger.decisions(LINE, "global")) == 4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"verdict": "win"}, "verdict.*'win'.*promote, keep, fallback"),
        ({"champion": "v2"}, "promote 'v1' but names 'v2'"),
        ({"version": None, "champion": None}, "promote None"),
        ({"reason": ""}, r"Decision\.reason"),
        ({"decided_by": ""}, r"Decision\.decided_by"),
    ],
)
def test_a_decision_that_says_too_little_is_refused(ledger_file: Ledger, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ledger_file.decide(replace(a_decision("promote", "v1", "v1"), **changed))
    assert ledger_file.decisions(LINE) == []


def test_a_moment_is_not_taken_for_a_day(ledger: Ledger) -> None:
    ledger.register(a_version())
    ledger.decide(a_decision("promote", "v1", "v1"))
    with pytest.raises(sa.exc.StatementError, match="give a date"):
        ledger.champions(LINE, before=dt.datetime(2018, 5, 31, 12, tzinfo=dt.UTC))


def test_raw_sql_cannot_rewrite_history(ledger: Ledger) -> None:
    ledger.register(a_version())
    ledger.record_evaluation(an_evaluation())
    ledger.decide(a_decision("promote", "v1", "v1"))
    is_sqlite = ledger.url.startswith("sqlite")
    overwrite = "INSERT OR REPLACE INTO {0} SELECT * FROM {0}" if is_sqlite else "TRUNCATE {} CASCADE"
    for table in ("ledger_versions", "ledger_evaluations", "ledger_decisions"):
        before = _raw(ledger.url, f"SELECT * FROM {table}")
        assert len(before) == 1
        for statement in ("UPDATE {} SET line = 'x'", "DELETE FROM {}", overwrite):
            with pytest.raises(sa.exc.DBAPIError, match="append-only"):
                _raw(ledger.url, statement.format(table))
        assert _raw(ledger.url, f"SELECT * FROM {table}") == before


@pytest.mark.parametrize("attempt", range(4))
def test_processes_may_open_a_fresh_ledger_at_once(url: str, processes: ProcessPoolExecutor, attempt: int) -> None:
    registered = _at_once(processes, _open_fresh, url)
    ledger = Ledger(url=url)
    assert {v.version for v in ledger.versions(LINE)} == set(registered)
    ledger.close()
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        _raw(url, "DELETE FROM ledger_versions")
    if url.startswith("sqlite"):
        assert _raw(url, "PRAGMA journal_mode") == [("wal",)]


def test_a_file_that_another_process_keeps_from_its_journal_mode_can_still_be_read(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = Ledger(url=url)
    ledger.register(a_version())
    ledger.close()
    _raw(url, "PRAGMA journal_mode = DELETE")
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert ledger.versions(LINE) == [a_version()]
    ledger.close()


def test_processes_deciding_on_the_same_nodes_leave_one_sequence(
    url: str, ledger: Ledger, processes: ProcessPoolExecutor
) -> None:
    ledger.register(a_version("v1"))
    ledger.register(a_version("v2"))
    written = sum(_at_once(processes, _decide_at_random, url))
    rows = _raw(url, "SELECT node, sequence, as_of, verdict, version, champion FROM ledger_decisions ORDER BY id")
    assert len(rows) == written
    sequences: dict[str, list[int]] = defaultdict(list)
    last: dict[Any, list[Any]] = {}
    for node, sequence, as_of, *decided in rows:
        sequences[node].append(sequence)
        assert last.get((node, as_of)) != decided, "a repetition was written: the loser did not read again"
        last[node, as_of] = decided
    assert sequences == {node: list(range(1, len(found) + 1)) for node, found in sequences.items()}


def test_threads_share_one_ledger(url: str) -> None:
    ledger = Ledger(url=url)

    def decide(day: int) -> bool:
        return ledger.decide(a_decision("promote", "v1", "v1", as_of=DAY + dt.timedelta(days=day % 8)))

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: ledger._open(), range(64)))) == 1, "one engine a ledger"
        ledger.register(a_version())
        news = list(pool.map(decide, range(64)))
    assert sum(news) == 8
    assert len(ledger.trained_as_of(LINE)) == 8
    ledger.close()


def test_an_asset_reaches_the_ledger_through_dagster(url: str) -> None:
    @dg.asset
    def model(ledger: dg.ResourceParam[Ledger]) -> None:
        ledger.register(a_version())

    assert dg.materialize([model], resources={"ledger": Ledger(url=url)}).success
    assert Ledger(url=url).version(LINE, "v1") == a_version()


def test_all_that_records_at_one_url_shares_connections_and_survives_that_one_gives_them_back(
    url: str, tmp_path: Path
) -> None:
    ledger, issues, other = Ledger(url=url), Issues(url=url), Ledger(url=f"sqlite:///{tmp_path}/other.db")
    assert ledger._open() is issues._open() is not other._open()
    ledger.close()
    assert issues.issues() == [] and ledger.versions(LINE) == []
    assert ledger._open() is issues._open()


def test_a_ledger_does_not_tell_its_password() -> None:
    assert (
        repr(Ledger(url="postgresql+psycopg2://me:secret@host/base"))
        == "Ledger(postgresql+psycopg2://me:***@host/base)"
    )


def test_a_ledger_that_is_gone_holds_no_connection(tmp_path: Path) -> None:
    ledger = Ledger(url=f"sqlite:///{tmp_path}/ledger.db")
    ledger.register(a_version())
    assert {path.name for path in tmp_path.iterdir()} > {"ledger.db", "ledger.db-wal"}
    del ledger
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.db"], (
        "SQLite removes its log with the last connection"
    )


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql+pymysql://host/base"], ids=str)
def test_a_ledger_that_would_not_last_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="neither a SQLite file nor a PostgreSQL database"):
        Ledger(url=url).versions(LINE)


def reigning(ledger: Ledger) -> str | None:
    held = ledger.champion(LINE, "global")
    return held.champion if held else None


def a_rollback(version: str | None, to: str | None, scored: dt.date = DAY, **changed: Any) -> Decision:
    return replace(a_decision("rollback", version, to, as_of=scored, reason="complaints", decided_by="ana"), **changed)


@pytest.fixture
def weekly(ledger: Ledger) -> list[dt.date]:
    """Four weekly trainings: v0 is promoted, v1 takes its place, v2 and v3 do no better; the days as of which."""
    days = [DAY + dt.timedelta(days=7 * week) for week in range(4)]
    for week, day in enumerate(days):
        ledger.register(a_version(f"v{week}", as_of=day))
    ledger.decide(a_decision("promote", "v0", "v0", as_of=days[0]))
    ledger.decide(a_decision("promote", "v1", "v1", as_of=days[1]))
    ledger.decide(a_decision("keep", "v2", "v1", as_of=days[2]))
    return days


def test_of_those_that_answer_it_is_known_when_they_were_trained_and_how_good_they_were_at_their_release(
    ledger: Ledger, weekly: list[dt.date]
) -> None:
    ledger.register(a_version("other", line="another", as_of=weekly[0]))
    for day, mae in ((weekly[1], 2.0), (weekly[2], 3.0)):
        ledger.record_evaluation(an_evaluation("v1", as_of=day, challenger={"mae": mae}))
    found = ledger.answering(LINE)
    assert {version: (each.node, each.as_of, each.holdout) for version, each in found.items()} == {
        "v1": ("global", weekly[1], {"mae": 2.0})
    }
    assert ledger.answering("another") == {}


def test_a_refit_was_as_good_at_its_release_as_the_version_that_was_judged(ledger: Ledger) -> None:
    ledger.register(a_version("v"), a_version("again", configuration={"params": {}, JUDGED: "v"}))
    ledger.record_evaluation(an_evaluation("v", challenger={"mae": 2.0}))
    ledger.decide(a_decision("promote", "v", "again", evidence={REFIT: {"version": "again"}}))
    assert {version: each.holdout for version, each in ledger.answering(LINE).items()} == {"again": {"mae": 2.0}}


def answering(ledger: Ledger, first: dt.date, days: int) -> list[str | None]:
    held = [ledger.champion(LINE, "global", before=first + dt.timedelta(days=place)) for place in range(days)]
    return [decision.champion if decision else None for decision in held]


@pytest.mark.parametrize("scored", [0, 3, 7, 11, 14, 20, 30])
def test_a_rollback_is_for_all_days_still_to_be_scored_and_for_no_other(
    ledger: Ledger, weekly: list[dt.date], scored: int
) -> None:
    last_scored, first = DAY + dt.timedelta(days=scored), DAY + dt.timedelta(days=1)
    before = answering(ledger, first, 40)
    made = ledger.roll_back(a_rollback("v1", "v0", last_scored))
    assert answering(ledger, first, 40) == before[:scored] + ["v0"] * (40 - scored)
    assert {(d.version, d.champion, d.reason, d.decided_by) for d in made} == {("v1", "v0", "complaints", "ana")}
    assert ledger.trained_as_of(LINE) == weekly[:3], "a rollback is no training"
    assert set(ledger.decided_as_of(LINE)) == {*weekly[:3], *(d.as_of for d in made)}


def test_a_rollback_never_lets_a_version_score_the_days_it_has_seen(ledger: Ledger, weekly: list[dt.date]) -> None:
    ledger.roll_back(a_rollback("v1", "v2", scored=DAY))
    assert answering(ledger, weekly[2], 2) == ["v1", "v2"]


def test_an_ancestor_can_be_made_to_answer(ledger: Ledger, weekly: list[dt.date]) -> None:
    ledger.roll_back(a_rollback("v1", None, scored=weekly[2]))
    assert reigning(ledger) is None
    assert answering(ledger, weekly[2], 2) == ["v1", None]


def test_the_next_training_takes_a_rollback_as_the_state_that_it_finds(ledger: Ledger, weekly: list[dt.date]) -> None:
    ledger.roll_back(a_rollback("v1", "v0", scored=weekly[3]))
    assert ledger.incumbents(LINE, weekly[3])["global"].champion == "v0", "also if it is as of the same day"
    assert ledger.decide(a_decision("promote", "v3", "v3", as_of=weekly[3]), against="v0")
    assert reigning(ledger) == "v3"


def test_a_challenger_taken_back_is_judged_again_against_who_was_made_to_answer_instead(
    ledger: Ledger, weekly: list[dt.date]
) -> None:
    ledger.decide(a_decision("promote", "v3", "v3", as_of=weekly[3]), against="v1")
    ledger.roll_back(a_rollback("v3", "v0", scored=weekly[3]))
    assert ledger.incumbents(LINE, weekly[3])["global"].champion == "v0"
    with pytest.raises(ChampionChanged, match=r"against v1, but v0 is champion now"):
        ledger.decide(a_decision("keep", "v3", "v1", as_of=weekly[3]), against="v1")


def test_a_version_taken_back_is_not_promoted_again_by_running_its_day_again(
    ledger: Ledger, weekly: list[dt.date]
) -> None:
    ledger.decide(a_decision("promote", "v3", "v3", as_of=weekly[3]), against="v1")
    ledger.roll_back(a_rollback("v3", "v1", scored=weekly[3]))
    assert set(ledger.withdrawn(LINE, weekly[3])) == {("global", "v3")}
    assert ledger.withdrawn(LINE, weekly[2]) == {}
    with pytest.raises(ChampionChanged, match=r"v3 cannot be promoted: .*rolled back to v1 by ana.*: complaints"):
        ledger.decide(a_decision("promote", "v3", "v3", as_of=weekly[3]), against="v1")
    ledger.roll_back(a_rollback("v1", "v3", scored=weekly[3]))
    assert ledger.withdrawn(LINE, weekly[3]) == {("global", "v1"): ledger.decisions(LINE)[-1]}
    assert reigning(ledger) == "v3"


def test_running_a_day_again_before_a_rollback_leaves_the_rollback_and_the_days_between(
    ledger: Ledger, weekly: list[dt.date]
) -> None:
    ledger.roll_back(a_rollback("v1", "v0", scored=weekly[3]))
    found = answering(ledger, DAY, 40)
    assert ledger.incumbents(LINE, weekly[1])["global"].champion == "v0"
    assert ledger.decide(a_decision("promote", "v1", "v1", as_of=weekly[1]), against="v0") is False
    assert answering(ledger, DAY, 40) == found


def test_judging_a_day_again_is_against_the_same_champion_another_challenger_meets_the_new_one(
    ledger: Ledger, weekly: list[dt.date]
) -> None:
    assert ledger.incumbents(LINE, weekly[1])["global"].champion == "v0", "v1 was the challenger of that day"
    ledger.register(a_version("v1b", as_of=weekly[1]))
    assert ledger.incumbents(LINE, weekly[1])["global"].champion == "v1"


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told_who(ledger: Ledger, weekly: list[dt.date]) -> None:
    ledger.register(a_version("v3b", as_of=weekly[3]))
    won = a_decision("promote", "v3", "v3", as_of=weekly[3], reason="better by 0.1")
    assert ledger.decide(won, against="v1")
    count = len(ledger.decisions(LINE))
    with pytest.raises(ChampionChanged, match=r"v3b .*against v1, but v3 is champion now: .*by gate.*better by 0\.1"):
        ledger.decide(a_decision("promote", "v3b", "v3b", as_of=weekly[3]), against="v1")
    assert len(ledger.decisions(LINE)) == count
    assert ledger.decide(won, against="v1") is False, "the winner may repeat itself"
    assert ledger.decide(a_decision("promote", "v3b", "v3b", as_of=weekly[3]), against="v3")


def test_a_rollback_of_who_is_champion_no_more_is_refused(ledger: Ledger, weekly: list[dt.date]) -> None:
    ledger.roll_back(a_rollback("v1", "v0"))
    with pytest.raises(ChampionChanged, match=r"rollback of v1 .* v0 is champion now: v1 was rolled back .* by ana"):
        ledger.roll_back(a_rollback("v1", "v0"))


@pytest.mark.parametrize(
    ("rollback", "message"),
    [
        (a_rollback("v1", "v1"), "v1 answers for 'global' already"),
        (a_rollback("v1", "v9"), "no version 'v9'"),
        (a_rollback("v1", "v0", reason=" "), r"Decision\.reason"),
        (a_rollback("v1", "v0", decided_by=""), r"Decision\.decided_by"),
    ],
)
def test_a_rollback_that_cannot_be_is_refused(
    ledger: Ledger, weekly: list[dt.date], rollback: Decision, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ledger.roll_back(rollback)
    assert reigning(ledger) == "v1"


def test_the_ledger_tells_who_was_champion_at_any_moment(ledger: Ledger, weekly: list[dt.date]) -> None:
    made = ledger.decisions(LINE)
    (back,) = ledger.roll_back(replace(a_rollback("v1", "v0", scored=weekly[2]), decided_at=dt.datetime.now(dt.UTC)))
    just_before = made[0].decided_at - dt.timedelta(microseconds=1)
    moments = [just_before, *(decision.decided_at for decision in [*made, back])]
    held = [ledger.champion(LINE, "global", at=moment) for moment in moments]
    assert [decision and decision.champion for decision in held] == [None, "v0", "v1", "v1", "v0"]
    assert ledger.champion(LINE, "global", before=weekly[1], at=back.decided_at) == made[0], "both times together"
    with pytest.raises(ValueError, match="time zone"):
        ledger.champions(LINE, at=dt.datetime(2026, 1, 1))


def test_the_query_that_the_documentation_gives_answers_like_the_ledger(ledger: Ledger, weekly: list[dt.date]) -> None:
    query = (Path(__file__).parents[2] / "docs" / "models.md").read_text().split("```sql\n")[1].split("```")[0]
    made = ledger.decisions(LINE)
    ledger.roll_back(a_rollback("v1", "v0", scored=weekly[2], decided_at=dt.datetime.now(dt.UTC)))
    for moment in [made[0].decided_at, made[2].decided_at, dt.datetime.now(dt.UTC)]:
        asked, moments = re.subn(r"[\d-]+ [\d:]+(?=\+00')", f"{moment:%Y-%m-%d %H:%M:%S.%f}", query)
        assert moments == 1
        asked = asked.replace("delivery_time", LINE)
        assert [tuple(row[:4]) for row in _raw(ledger.url, asked)] == [
            (held.node, held.champion, held.verdict, held.decided_by)
            for held in ledger.champions(LINE, at=moment).values()
        ]
