"""Is Dagster's event log on PostgreSQL the one that Dagster's own would have written, over connections that may break?"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from factory_resources.dagster_private.postgres import PostgresEventLog
from tests.resources.noted import PARTS, WHOLE_RANGE, noted

PLAIN = "postgres: {{postgres_url: '{url}'}}"
OURS = "custom: {{module: factory_resources.postgres_event_log, class: PostgresStorage, config: {{postgres_url: '{url}'}}}}"
#: What stands in each table, but for ids, times and what follows from the run.
KEPT = (
    "SELECT dagster_event_type, step_key, asset_key, partition FROM event_logs ORDER BY 1, 3, 4",
    "SELECT asset_key, last_run_id, last_materialization IS NULL, last_materialization_timestamp IS NULL FROM asset_keys ORDER BY 1",
    "SELECT asset_key, key, count(*) FROM asset_event_tags GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT asset_key, check_name, partition, execution_status FROM asset_check_executions ORDER BY 1, 2, 3",
)


def fresh(postgres_url: str) -> str:
    """A schema of its own, by whose name its connections are known."""
    schema = f"events_{uuid.uuid4().hex}"
    with sa.create_engine(postgres_url).begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    query = {"options": f"-csearch_path={schema}", "application_name": schema}
    return sa.make_url(postgres_url).update_query_dict(query).render_as_string(hide_password=False)


@contextmanager
def instance_of(folder: Path, settings: str, url: str) -> Iterator[dg.DagsterInstance]:
    folder.mkdir(exist_ok=True)
    (folder / "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\nstorage: {{{settings.format(url=url)}}}\n")
    # A process of a run gets its instance by reference.
    with (
        dg.DagsterInstance.from_config(str(folder)) as made,
        dg.DagsterInstance.from_ref(made.get_ref()) as instance,
    ):
        yield instance


def run(instance: dg.DagsterInstance) -> str:
    return str(dg.materialize([noted], instance=instance, tags=WHOLE_RANGE).run_id)


def kept(url: str, run_id: str) -> list[list[tuple[object, ...]]]:
    with sa.create_engine(url).connect() as connection:
        found = [connection.execute(sa.text(query)).tuples().all() for query in KEPT]
    return [[tuple("this run" if value == run_id else value for value in row) for row in rows] for rows in found]


def test_a_run_leaves_the_rows_that_dagster_s_own_log_leaves(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "100")
    found = []
    for name, settings in (("plain", PLAIN), ("ours", OURS)):
        url = fresh(postgres_url)
        with instance_of(tmp_path / name, settings, url) as instance:
            assert isinstance(instance.event_log_storage, PostgresEventLog) == (name == "ours")
            found.append(kept(url, run(instance)))
    assert found[0] == found[1]
    assert sum(row[0] == "ASSET_MATERIALIZATION_PLANNED" for row in found[1][0]) == 3 * len(PARTS)
    assert all(found[1])


def test_connections_are_kept_and_replaced_when_the_server_has_ended_them(tmp_path: Path, postgres_url: str) -> None:
    url = fresh(postgres_url)
    with (
        sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT").connect() as server,
        instance_of(tmp_path / "ours", OURS, url) as instance,
    ):

        def materialise(part: str) -> int:
            """Id of the server's process that the log is served by afterwards."""
            instance.report_runless_asset_event(dg.AssetMaterialization("first", partition=part))
            # Not of all processes that the server has: those of other connections end when they have been closed, but later.
            with instance.event_log_storage.index_connection() as connection:
                return int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())

        kept = materialise("a")
        assert materialise("b") == kept
        # Waits until it has ended.
        assert server.execute(sa.text(f"SELECT pg_terminate_backend({kept}, 30000)")).scalar_one()
        replaced = materialise("c")
        assert replaced != kept
        assert materialise("d") == replaced
        assert set(instance.get_materialized_partitions(dg.AssetKey("first"))) == {"a", "b", "c", "d"}
