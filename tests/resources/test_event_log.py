"""Is Dagster's event log complete, in its own files, whoever writes it and however many runs there are?"""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from factory_assets.deployment import prepare_home
from factory_resources.dagster_private.sqlite import OPEN
from factory_resources.event_log import SqliteEventLog
from tests.resources.noted import PARTS, WHOLE_RANGE, noted

PLAIN = "telemetry: {enabled: false}\n"
KEY = dg.AssetKey("noted")
#: Notes so many materialisations in one run of the instance at DAGSTER_HOME, each of a partition of its own.
NOTE = """
import sys, dagster as dg
name, count = sys.argv[1], int(sys.argv[2])

@dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="parts"))
def noted(context):
    for number in range(count):
        context.log_event(dg.AssetMaterialization("noted", partition=f"{name}-{number}", metadata={"n": number}))
    if name == "killed":
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)

with dg.DagsterInstance.get() as instance:
    instance.add_dynamic_partitions("parts", [name])
    dg.materialize([noted], instance=instance, partition_key=name)
"""


EVENTS = "SELECT dagster_event_type, step_key, asset_key, partition FROM event_logs ORDER BY 1, 3, 4"
#: What stands in the tables of the file of all runs, but for ids, times and what follows from the run.
ACROSS_RUNS = (
    EVENTS,
    "SELECT asset_key, last_run_id, last_materialization_timestamp IS NULL FROM asset_keys ORDER BY 1",
    # The event that it refers to, by the id in front of the event itself.
    """SELECT asset_key, partition FROM event_logs WHERE id IN (
           SELECT json_extract(last_materialization, '$.storage_id') FROM asset_keys)""",
    "SELECT tags.asset_key, key, partition FROM asset_event_tags AS tags JOIN event_logs ON event_id = event_logs.id ORDER BY 1, 2, 3",
    "SELECT asset_key, check_name, partition, execution_status FROM asset_check_executions ORDER BY 1, 2, 3",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    folder = prepare_home()
    # Two processes that make the databases at once stumble over each other, whichever log is configured.
    with dg.DagsterInstance.get():
        return folder


def note(name: str, count: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", NOTE, name, str(count)], stderr=subprocess.DEVNULL)


def rows(file: Path, query: str, run_id: str) -> list[tuple[object, ...]]:
    with sa.create_engine(f"sqlite:///{file}").connect() as connection:
        found = connection.execute(sa.text(query)).tuples().all()
    return [tuple("this run" if value == run_id else value for value in row) for row in found]


def partitions(instance: dg.DagsterInstance) -> set[str]:
    return set(instance.get_materialized_partitions(KEY))


@pytest.mark.slow
def test_what_processes_write_at_once_is_all_there_and_dagster_s_own_log_reads_and_continues_it(home: Path) -> None:
    writers = [note(name, 40) for name in ("ana", "ben")]
    assert [writer.wait() for writer in writers] == [0, 0]
    expected = {f"{name}-{number}" for name in ("ana", "ben") for number in range(40)} | {"ana", "ben"}
    settings = (home / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(PLAIN)
    with dg.DagsterInstance.get() as plain:
        assert not isinstance(plain.event_log_storage, SqliteEventLog)
        assert partitions(plain) == expected
        plain.report_runless_asset_event(dg.AssetMaterialization(KEY, partition="later"))
    (home / "dagster.yaml").write_text(settings)
    with dg.DagsterInstance.get() as ours:
        assert isinstance(ours.event_log_storage, SqliteEventLog)
        assert partitions(ours) == expected | {"later"}


@pytest.mark.slow
def test_batches_leave_the_rows_that_dagster_s_own_log_leaves(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "7")
    found = []
    for name in ("ours", "plain"):
        if name == "plain":
            (home / "dagster.yaml").write_text(PLAIN)
            (home / "history").rename(home / "history-of-ours")
        with dg.DagsterInstance.get() as instance:
            run_id = dg.materialize([noted], instance=instance, tags=WHOLE_RANGE).run_id
        files = home / "history" / "runs"
        tables = [rows(files / "index.db", query, run_id) for query in ACROSS_RUNS]
        found.append([rows(files / f"{run_id}.db", EVENTS, run_id), *tables])
    assert found[0] == found[1]
    assert all(found[0])
    # Where a batch fails, Dagster says so and writes its events one by one.
    assert "storing event batch" not in capfd.readouterr().err
    assert sum(row[0] == "ASSET_MATERIALIZATION_PLANNED" for row in found[0][0]) == 3 * len(PARTS)


@pytest.mark.parametrize(("given", "size"), [({}, 100), ({"DAGSTER_EVENT_BATCH_SIZE": "7"}, 7)])
def test_events_are_written_in_batches_unless_told_otherwise(given: dict[str, str], size: int) -> None:
    ask = "import factory_assets, dagster as dg; print(dg.DagsterInstance.ephemeral()._get_event_batch_size())"
    kept = {name: value for name, value in os.environ.items() if name != "DAGSTER_EVENT_BATCH_SIZE"}
    told = subprocess.run([sys.executable, "-c", ask], env=kept | given, capture_output=True, text=True, check=True)
    assert int(told.stdout) == size


def test_what_was_written_before_a_kill_is_there_after_it(home: Path) -> None:
    assert note("killed", 25).wait() == -9
    with dg.DagsterInstance.get() as instance:
        assert partitions(instance) == {f"killed-{number}" for number in range(25)}


@pytest.mark.slow
def test_more_runs_than_files_are_kept_open_are_told_apart(home: Path) -> None:
    @dg.op
    def say(context: dg.OpExecutionContext) -> None:
        context.log.info(f"this is {context.run.tags['name']}")

    @dg.job
    def saying() -> None:
        say()

    with dg.DagsterInstance.get() as instance:
        # A process of a step gets its instance by reference.
        with dg.DagsterInstance.from_ref(instance.get_ref()) as again:
            runs = {
                name: saying.execute_in_process(instance=again, tags={"name": name}).run_id
                for name in map(str, range(OPEN + 3))
            }
            # The other instance has opened its own files by now: none.
            opened = {each.resolve() for each in Path("/proc/self/fd").iterdir()}
        assert (
            len({file for file in opened if file.suffix == ".db" and file.parent == home / "history" / "runs"}) == OPEN
        )
        for name, run_id in runs.items():
            said = [entry.user_message for entry in instance.all_logs(run_id)]
            assert f"this is {name}" in said and sum(each.startswith("this is") for each in said) == 1
