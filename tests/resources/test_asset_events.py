"""Does the event log tell by index what each day was made from, whoever wrote it; and does it tell whether there is more?"""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from factory_assets import materialization
from factory_assets.identity.inputs import Recorded
from factory_assets.materialization import DATA_VERSION, fetched, newest_events, recorded
from factory_resources.dagster_private.indexed import IndexedInputs
from factory_resources.dagster_private.reading import INPUTS, marks
from tests.resources import test_postgres_event_log as postgres

KEY = dg.AssetKey(["orders", "events"])
DAYS = [dt.date(2026, 1, 1) + dt.timedelta(days=offset) for offset in range(6)]
OUR_SQLITE = "event_log_storage: {module: factory_resources.event_log, class: SqliteEventLog, config: {base_dir: %s}}"
#: One event log, opened by our storage (True) or by Dagster's own.
Opened = Callable[[bool], dg.DagsterInstance]


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    with ExitStack() as stack:
        url = postgres.fresh(request.getfixturevalue("postgres_url")) if request.param == "postgresql" else None

        def opened(ours: bool) -> dg.DagsterInstance:
            if url:
                settings = postgres.OURS if ours else postgres.PLAIN
                return stack.enter_context(postgres.instance_of(tmp_path / str(ours), settings, url))
            (tmp_path / "dagster.yaml").write_text(OUR_SQLITE % tmp_path if ours else "telemetry: {enabled: false}")
            return stack.enter_context(dg.DagsterInstance.from_config(str(tmp_path)))

        yield opened


def made(instance: dg.DagsterInstance, day: dt.date, content: str, stamp: str | None) -> None:
    tags = {DATA_VERSION: content} | ({} if stamp is None else {INPUTS: stamp})
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition=str(day), tags=tags))


def read(instance: dg.DagsterInstance) -> dict[dt.date, Recorded]:
    return recorded(instance, KEY, newest_events(instance, KEY))


def indexed(instance: dg.DagsterInstance) -> set[str]:
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        return set(connection.scalars(sa.text("SELECT DISTINCT key FROM asset_event_tags")))


def test_days_written_by_us_are_told_without_reading_their_events(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = opened(True)
    assert isinstance(instance.event_log_storage, IndexedInputs)
    for day in DAYS:
        made(instance, day, "old", "then")
        made(instance, day, f"5-{day}", f"of-{day}")
    assert indexed(instance) == {DATA_VERSION, INPUTS}
    by_events = fetched(instance, KEY, list(newest_events(instance, KEY).values()))
    monkeypatch.setattr(materialization, "fetched", lambda instance, key, numbers: dict.fromkeys(numbers))
    assert read(instance) == by_events
    assert {day: (each.data, each.stamp) for day, each in by_events.items()} == {
        day: (f"5-{day}", f"of-{day}") for day in DAYS
    }


def test_days_written_by_dagster_s_own_log_are_told_by_both_logs(opened: Opened) -> None:
    plain = opened(False)
    for day in DAYS:
        made(plain, day, "old", f"of-{day}")
    assert indexed(plain) == {DATA_VERSION}
    ours = opened(True)
    made(ours, DAYS[1], "new", "now")
    made(ours, DAYS[2], "new", "")
    made(ours, DAYS[3], "new", None)
    made(opened(False), DAYS[4], "newest", "later")
    expected = [
        ("old", f"of-{DAYS[0]}"),
        ("new", "now"),
        ("new", ""),
        ("new", ""),
        ("newest", "later"),
        ("old", f"of-{DAYS[5]}"),
    ]
    for instance in (ours, plain):
        found = read(instance)
        assert [(found[day].data, found[day].stamp) for day in DAYS] == expected
        assert found == fetched(instance, KEY, list(newest_events(instance, KEY).values()))


def test_an_instance_in_memory_tells_the_same() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        made(instance, DAYS[0], "new", "now")
        assert [(each.data, each.stamp) for each in read(instance).values()] == [("new", "now")]


def mark(instance: dg.DagsterInstance) -> object:
    """Of the asset, asked for alone, and beside others as well."""
    others = [dg.AssetKey(["other", str(number)]) for number in range(3)]
    beside = marks(instance, [*others, KEY])
    assert marks(instance, [KEY]) == {KEY: beside[KEY]} and set(beside) == {KEY, *others}
    return beside[KEY]


def test_the_mark_is_another_after_every_event_however_it_comes_or_goes(opened: Opened) -> None:
    instance, other = opened(True), opened(True)
    seen = [mark(instance)]
    for day in (DAYS[0], DAYS[1], DAYS[0]):
        made(other, day, "same", "same")
        seen.append(mark(instance))
    # Whoever deletes the run of an old event takes the event with it.
    oldest = min(newest_events(instance, KEY).values())
    with other.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        connection.execute(sa.text(f"DELETE FROM event_logs WHERE id = {oldest}"))
    seen.append(mark(instance))
    other.wipe_assets([KEY])
    seen.append(mark(instance))
    assert newest_events(instance, KEY) == {}
    assert len(set(map(repr, seen))) == len(seen)
    assert mark(instance) == seen[-1]
    made(other, DAYS[0], "same", "same")
    assert mark(instance) != seen[-1]
