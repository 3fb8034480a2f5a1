"""Is every database, empty, old or new, brought to the tables that the code works with, once, and never back?"""

import datetime as dt
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from factory_resources.ledger import Ledger
from factory_resources.records import migrations
from factory_resources.records.issues import BrokenRule, Issues
from factory_resources.records.tables import METADATA, open_ledger
from tests.resources.test_ledger import DAY, LINE, a_decision, a_version

#: The statements by which the ledger's tables were made before there were revisions.
BEFORE = Path(__file__).parent / "before_migrations"
PROCESSES = 4


def old_ledger(url: str, without: str = "no such table") -> None:
    """A database as it was before there were revisions, with a version and its promotion in it."""
    engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite":
        Path(str(engine.url.database)).parent.mkdir()
    statements = (BEFORE / f"{engine.dialect.name}.sql").read_text().split(";\n\n")
    with engine.begin() as connection:
        for statement in statements:
            if without not in statement:
                connection.exec_driver_sql(statement)
        names = "line, version, segment, task, estimator, candidate, as_of, train_from, train_to, holdout_from, "
        names += "holdout_to, rows, configuration, tables, validation, importances, owner, archive_uri, run_id, "
        days, at = f"'{DAY}', " * 5, "'2018-06-01 00:00:00.000000'"
        texts = f"'{LINE}', 'v1', 'global', 'binary', 'lightgbm', 'boosted', {days} 7, '{{}}', '{{}}', '{{}}', '{{}}', "
        connection.exec_driver_sql(
            f"INSERT INTO ledger_versions ({names} started_at, ended_at) VALUES ({texts} 'ana', 'x', 'x', {at}, {at})"
        )
        names = "line, segment, sequence, as_of, verdict, version, champion, reason, decided_by, evidence, decided_at"
        values = f"'{LINE}', 'global', 1, '{DAY}', 'promote', 'v1', 'v1', 'better', 'gate', '{{}}', {at}"
        connection.exec_driver_sql(f"INSERT INTO ledger_decisions ({names}) VALUES ({values})")
    engine.dispose()


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    opened = open_ledger(url)
    yield opened
    opened.dispose()


def guards(engine: sa.Engine) -> set[str]:
    """Names of the triggers."""
    catalogue = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
        " WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace",
    }
    with engine.connect() as connection:
        return set(connection.exec_driver_sql(catalogue[engine.dialect.name]).scalars())


def differences(engine: sa.Engine) -> list[Any]:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    def ours(name: str | None, kind: str, _parents: Any) -> bool:
        return kind != "table" or str(name).startswith("ledger_")

    with engine.connect() as connection:
        options = {"version_table": migrations.TABLE.name, "compare_server_default": True, "include_name": ours}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))


def test_the_revisions_make_the_tables_that_the_code_declares_and_guard_those_that_are_only_appended_to(
    engine: sa.Engine,
) -> None:
    assert differences(engine) == []
    sqlite = engine.dialect.name == "sqlite"
    kinds = ("no_update", "no_delete", "no_replace") if sqlite else ("append_only",)
    appended = METADATA.tables.keys() - {"ledger_standing", "ledger_verdicts"}
    assert guards(engine) == {f"{table}_{kind}" for table in appended for kind in kinds}
    assert f"{len(list((migrations.HERE / 'versions').glob('r*.py'))):04}" == migrations.HEAD, "a number was left out"


@pytest.mark.parametrize("without", ["no such table", "ledger_issues"], ids=["all tables", "no issues yet"])
def test_a_ledger_older_than_revisions_is_adopted_with_what_is_in_it(url: str, without: str) -> None:
    old_ledger(url, without)
    ledger, issues = Ledger(url=url), Issues(url=url)
    held = ledger.champion(LINE, "global")
    assert held is not None and (held.champion, held.decided_at) == ("v1", dt.datetime(2018, 6, 1, tzinfo=dt.UTC))
    assert ledger.decide(a_decision("keep", "v1", "v1", as_of=DAY + dt.timedelta(days=1)))
    issues.note("orders", "ana", [DAY], {DAY: [BrokenRule("rule", "shift", "broken")]})
    assert differences(ledger._open()) == []
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), ledger._open().begin() as connection:
        connection.exec_driver_sql("DELETE FROM ledger_issues")
    ledger.close(), issues.close()


@pytest.mark.parametrize("age", [pytest.param("empty", marks=pytest.mark.slow), "old"])
@pytest.mark.slow
def test_of_processes_that_open_a_ledger_at_once_one_migrates_it_and_the_others_wait(url: str, age: str) -> None:
    if age == "old":
        old_ledger(url, without="ledger_issues")
    context = multiprocessing.get_context("spawn")
    barrier, told = context.Barrier(PROCESSES), context.SimpleQueue()
    started = [context.Process(target=_register, args=(url, f"p{n}", barrier, told)) for n in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0] * PROCESSES
    with closing(told):
        assert {told.get() for _ in started} == {migrations.HEAD}
    ledger = Ledger(url=url)
    assert {v.version for v in ledger.versions(LINE)} - {"v1"} == {f"p{n}" for n in range(PROCESSES)}
    ledger.close()


def _register(url: str, version: str, barrier: Any, told: Any) -> None:
    ledger = Ledger(url=url)
    barrier.wait(timeout=60)
    ledger.register(a_version(version))
    with ledger._open().connect() as connection:
        told.put(connection.execute(sa.select(migrations.TABLE.c.version_num)).scalar_one())
    ledger.close()


def test_a_migration_that_fails_leaves_the_database_as_it_was(url: str) -> None:
    old_ledger(url, without="ledger_issues")
    plain = sa.create_engine(url)
    with plain.begin() as connection:
        connection.exec_driver_sql("CREATE VIEW ledger_issues_of_stream AS SELECT 1 AS taken")
    before = sa.inspect(plain).get_table_names(), guards(plain)
    with pytest.raises(sa.exc.DBAPIError, match="ledger_issues_of_stream"):
        Ledger(url=url).versions(LINE)
    assert (sa.inspect(plain).get_table_names(), guards(plain)) == before
    plain.dispose()


def test_a_ledger_of_newer_code_is_refused_by_its_revision(url: str) -> None:
    open_ledger(url).dispose()
    plain = sa.create_engine(url)
    with plain.begin() as connection:
        connection.execute(sa.update(migrations.TABLE).values(version_num="9000"))
    with pytest.raises(migrations.LedgerTooNew, match=rf"revision 9000.* up to {migrations.HEAD}"):
        Ledger(url=url).versions(LINE)
    plain.dispose()


def test_opening_a_ledger_that_is_up_to_date_needs_no_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    code = f"from factory_resources.ledger import Ledger; import sys; Ledger(url='{url}').versions('x')"
    code += "; print('alembic' in sys.modules)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(2)]
    assert [ran.stdout.strip() for ran in runs] == ["True", "False"], runs
