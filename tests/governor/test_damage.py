"""Is what is lost or damaged noticed by the next run, named, and made again, by every executor alike?"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from factory_assets.governor import verified
from factory_assets.governor.executor import catch_up, execute
from factory_assets.governor.forgotten import forgotten
from factory_assets.governor.plan import plan
from factory_assets.governor.runs import training_tags
from factory_assets.governor.work import Plan
from factory_assets.release.jobs import tag_observation
from factory_resources.records.chain import Chains
from factory_resources.records.tables import open_ledger
from factory_resources.records.tags import Tagging
from tests.governor.world import SMALL, World, by_ci, by_command, by_daemon, day, orders_of
from tests.resources.test_chain import unguard

pytestmark = pytest.mark.slow

DAYS, LOST = 13, 8
ON = day(LOST)
EXECUTORS: dict[str, Callable[[World], None]] = {"command": by_command, "daemon": by_daemon, "ci": by_ci}


@contextmanager
def opened(home: Path) -> Iterator[World]:
    """The world in a folder, as a new process opens it."""
    (home / "dagster").mkdir(parents=True, exist_ok=True)
    (home / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        world = World(home / "world", instance, patch, SMALL)
        world.at(day(DAYS), 1)
        yield world
        world.ledger.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line that was trained and scores, in tables of several commits; beside it, in `copy`, as it was made."""
    home = tmp_path_factory.mktemp("damage")
    with opened(home / "live") as world:
        for first, last in ((0, 10), (10, 11), (11, 12), (12, DAYS)):
            for offset in range(first, last):
                world.deliver("orders", day(offset))
            world.at(day(last), 1)
            by_command(world)
    shutil.copytree(home / "live", home / "copy")
    return home


@pytest.fixture
def world(made: Path) -> Iterator[World]:
    """The line, whole."""
    shutil.rmtree(made / "live", ignore_errors=True)
    shutil.copytree(made / "copy", made / "live")
    with opened(made / "live") as world:
        yield world


@pytest.fixture(scope="module")
def clean(made: Path) -> dict[str, Any]:
    with opened(made / "live") as world:
        return state(world)


def folder(world: World, table: str) -> Path:
    return world.folder / "lake" / table


def files(world: World, table: str, on: dt.date = ON) -> list[Path]:
    """The files that hold the day's rows now."""
    held = world.lake.held(table)
    return [folder(world, table) / path for path in held.files[on]]


def commits(world: World, table: str) -> list[Path]:
    return sorted((folder(world, table) / "_delta_log").glob("*.json"))


def archived(world: World) -> Path:
    champion = next(each.champion for each in world.ledger.standing("guess").values() if each.champion)
    return world.folder / "archive" / "guess" / str(champion)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


#: What happens -> how, and what the plan then says of what.
DAMAGES: dict[str, tuple[Callable[[World], Any], str]] = {
    "a table is gone": (
        lambda w: shutil.rmtree(folder(w, "features/habit")), "features/habit 2026-01-01 to 2026-01-13: its table is gone",
    ),
    "all tables are gone": (
        lambda w: shutil.rmtree(w.folder / "lake"), "guess/examples 2026-01-01 to 2026-01-13: its table is gone",
    ),
    "the log of a table is gone": (
        lambda w: shutil.rmtree(folder(w, "guess/drift") / "_delta_log"), "guess/drift 2026-01-01 to 2026-01-13: its table is gone",
    ),
    "the newest commit is gone": (
        lambda w: commits(w, "guess/examples")[-1].unlink(),
        "guess/examples 2026-01-13: its table has 0 rows of it, recorded were 120",
    ),
    "the newest commit is cut": (
        lambda w: cut(commits(w, "orders/events")[-1]), "the log of its table is damaged: its commit 3 cannot be read",
    ),
    "the newest commit is empty": (
        lambda w: os.truncate(commits(w, "guess/labels")[-1], 0), "the log of its table is damaged: its commit",
    ),
    "a commit before the newest is gone": (
        lambda w: commits(w, "orders/raw")[-2].unlink(), "the log of its table is damaged: its commit 2 is gone",
    ),
    "the first commit is gone": (
        lambda w: commits(w, "guess/predictions")[0].unlink(), "the log of its table is damaged: its commit 0 is gone",
    ),
    "a Parquet file is gone": (lambda w: files(w, "orders/raw")[0].unlink(), f"orders/raw {ON}: orders/raw/ds={ON}/part-"),
    "a Parquet file is cut": (lambda w: cut(files(w, "guess/labels")[0]), f"guess/labels {ON}: guess/labels/ds={ON}/part-"),
    "a day's folder is gone": (
        lambda w: shutil.rmtree(folder(w, "guess/examples") / f"ds={ON}"), f"guess/examples {ON}: guess/examples/ds={ON}/part-",
    ),
    "a file is longer": (
        lambda w: files(w, "orders/statistics")[0].open("ab").write(b"more"),
        f"orders/statistics {ON}: orders/statistics/ds={ON}/part-",
    ),
    "what is written with an asset is gone": (
        lambda w: shutil.rmtree(folder(w, "orders/quarantine")), "orders/events 2026-01-01 to 2026-01-13: orders/quarantine is gone",
    ),
    "a file of what is written with an asset is cut": (
        lambda w: cut(files(w, "orders/deliveries")[0]), f"orders/raw {ON}: orders/deliveries/ds={ON}/part-",
    ),
    "a model is gone": (lambda w: shutil.rmtree(archived(w)), "as of 2026-01-10: there is no archived version"),
    "a part of a model is gone": (lambda w: (archived(w) / "definitions.json").unlink(), "definitions.json of"),
    "a part of a model is cut": (lambda w: cut(archived(w) / "reference.parquet"), "reference.parquet of"),
    "tables and models are gone": (
        lambda w: [shutil.rmtree(w.folder / store) for store in ("lake", "archive")], "as of 2026-01-10: there is no archived version",
    ),
    "the manifest of a model is gone": (lambda w: (archived(w) / "manifest.json").unlink(), "there is no archived version"),
    "leaderboards are gone": (
        lambda w: shutil.rmtree(folder(w, "guess/leaderboard")), "guess/leaderboard 2026-01-10: its table is lost or damaged",
    ),
    "rows of evaluations are gone": (
        lambda w: shutil.rmtree(folder(w, "guess/evaluation")), "guess/evaluation 2026-01-10: its rows are lost or damaged",
    ),
    "a file of rows of evaluations is cut": (
        lambda w: cut(files(w, "guess/evaluation", day(9))[0]), "guess/evaluation 2026-01-10: its rows are lost or damaged",
    ),
    "outcomes of trainings are gone": (
        lambda w: shutil.rmtree(folder(w, "guess/model")), "guess/model 2026-01-10: its outcomes are lost or damaged in the lake",
    ),
}  # fmt: skip


#: Damages that are tried by the command whatever the time, and by every executor where minutes count.
FEW = ("a Parquet file is gone", "the newest commit is gone", "a model is gone")
#: One that another does more than.
LESS = "all tables are gone"


def marks(executor: str, damage: str) -> list[pytest.MarkDecorator]:
    """All executors make good what the plan says of it: one damage shows that each does."""
    if damage == FEW[0] or (executor == "command" and damage in FEW):
        return []
    return [pytest.mark.slow if damage in FEW or (executor == "command" and damage != LESS) else pytest.mark.longest]


def planned(world: World) -> Plan:
    return plan(world.deployment.book())


def state(world: World) -> dict[str, Any]:
    archive = world.folder / "archive"
    return {
        "tables": world.contents(), "decisions": world.decisions(), "issues": world.told_issues(),
        "archive": {
            str(path.relative_to(archive)): path.read_bytes() for path in archive.rglob("*") if path.is_file()
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("executor", "damage"),
    [pytest.param(executor, damage, marks=marks(executor, damage)) for executor in EXECUTORS for damage in DAMAGES],
)
def test_damage_is_noticed_named_and_made_good(clean: dict[str, Any], world: World, executor: str, damage: str) -> None:
    do, said = DAMAGES[damage]
    assert planned(world).work == []
    do(world)
    found = planned(world)
    assert found.work, "noticed"
    if said:
        assert any(said in str(notice) for notice in found.notices_of("damaged")), list(map(str, found.notices))
    assert not [work for work in found.work if "guess/champion" in work.assets], "nothing is decided meanwhile"
    EXECUTORS[executor](world)
    after = planned(world)
    assert after.work == [] and after.notices_of("damaged", "failed", "blocked") == []
    assert state(world) == clean


def test_the_command_names_damage_and_what_it_made_again(world: World) -> None:
    files(world, "guess/labels")[0].unlink()
    told = [
        f"{step.asset} {step.days} {step.detail}"
        for step in catch_up(world.deployment, None, lambda station, what: None)
    ]
    assert f"guess/labels 0 damaged: {ON}: guess/labels/ds={ON}/part-" in told[0] and told[0].endswith("is gone")
    assert told[1] == "guess/labels 1 "


def test_tiles_that_cannot_be_read_are_made_again_where_a_snapshot_needs_them(
    clean: dict[str, Any], world: World
) -> None:
    tiles = [path for on in world.lake.held("tiles/habit").files for path in files(world, "tiles/habit", on)]
    assert tiles
    for path in tiles:
        cut(path)
    files(world, "features/habit", day(DAYS - 1))[0].unlink()
    by_command(world)
    assert planned(world).work == [] and state(world) == clean


def test_a_lake_put_back_from_an_older_copy_is_noticed_by_the_versions_of_its_tables(world: World, made: Path) -> None:
    """Not by how many rows a day has: those that came anew are as many, with other values."""
    old = made / "old"
    shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(world.folder / "lake", old)
    rows = [row | {"y": row["y"] + 1} for row in orders_of(ON)]
    world.deliver("orders", ON, rows)
    by_command(world)
    told = state(world)
    shutil.rmtree(world.folder / "lake")
    shutil.copytree(old, world.folder / "lake")
    assert f"orders/raw {ON}: it was written in version 4 of its table, which is back at 3" in map(
        str, planned(world).notices
    )
    by_command(world)
    assert planned(world).work == [] and state(world) == told


def test_nothing_is_made_beside_a_ledger_that_is_new_until_somebody_says_so(
    clean: dict[str, Any], world: World
) -> None:
    named = next(each.champion for each in world.ledger.standing("guess").values() if each.champion)
    world.ledger.close()
    for path in world.folder.glob("ledger.db*"):
        path.unlink()
    found = planned(world)
    assert found.work == []
    (notice,) = found.notices_of("blocked")
    assert "the ledger has no training of guess, and the lake has predictions of its version" in str(notice)
    assert named and "factory run --new-ledger" in str(notice)
    world.ticker.until_quiet()
    assert world.ticker.requested == [] and "the ledger has no training of guess" in world.ticker.skipped["upkeep"]
    by_command(world)
    assert world.ledger.decisions("guess") == [] and world.deployment.failures == [str(notice)]
    for _ in catch_up(world.deployment, None, lambda station, what: None, new_ledger=True):
        pass
    assert planned(world).work == [] and state(world) == clean
    assert findings(world) == [], "events of the ledger that is lost are none of this one's"


def test_a_training_by_hand_refuses_rows_that_are_lost(world: World) -> None:
    commits(world, "guess/labels")[-1].unlink()
    for path in files(world, "guess/examples", day(3)):
        path.unlink()
    tags = training_tags("guess", ["DE"], str(day(9)), "new_data", "by hand")
    failed = execute(world.deployment, [dg.AssetKey(["guess", "model"])], tags)
    assert len(failed) == 1
    assert "not trained as of 2026-01-10, on rows that are lost or damaged: guess/examples 2026-01-04" in failed[0]


def test_damage_that_cannot_be_made_good_is_told_by_each_run_and_nothing_is_trained_on_it(world: World) -> None:
    (world.feed / f"orders-{ON}.csv").unlink()
    files(world, "orders/events")[0].unlink()
    files(world, "orders/raw")[0].unlink()
    for _ in range(2):
        by_command(world)
        assert any(f"{ON}" in each for each in world.deployment.failures)
    found = planned(world)
    assert str(found.notices_of("damaged")[0]).startswith(f"orders/events {ON}: orders/events/ds={ON}")


def test_a_file_in_place_of_a_table_is_told_until_it_is_moved_away(clean: dict[str, Any], world: World) -> None:
    place = folder(world, "guess/labels")
    shutil.rmtree(place)
    place.write_text("mine")
    about = f"{place} is a file, where a folder should be: move it away"
    assert any(f"the log of its table is damaged: {about}" in str(notice) for notice in planned(world).notices)
    assert f"guess/labels {ON}: the log of its table is damaged: {about}" in findings(world)
    by_command(world)
    assert [each for each in world.deployment.failures if about in each], world.deployment.failures
    place.unlink()
    by_command(world)
    assert planned(world).work == [] and state(world) == clean


def findings(world: World) -> list[str]:
    """All that `factory verify` finds."""
    deployment, book = world.deployment, world.deployment.book()
    assets = deployment.daily_assets
    found = [*verified.days_of_assets(book, world.lake, assets), *verified.other_tables(world.lake, assets)]
    found += verified.in_the_way(book, world.lake, assets, deployment.other_tables)
    found += [*verified.scores(world.lake, world.ledger, ["guess"]), *verified.models(world.ledger, deployment.archive)]
    found += verified.rows_of_ledger(Chains(url=world.ledger.url))
    found += [*verified.standing(world.ledger, ["guess"]), *forgotten(book, world.ledger, ["guess"])]
    return list(map(str, [*found, *verified.unknown_versions(world.lake, world.ledger, ["guess"])]))


def test_other_rows_in_a_file_of_the_same_size_are_found_by_reading_them(clean: dict[str, Any], world: World) -> None:
    assert findings(world) == []
    assert not list(verified.holes(world.deployment.book(), world.lake, world.ledger, ["guess"]))
    (file,) = files(world, "guess/examples")
    content = bytearray(file.read_bytes())
    content[40] ^= 0xFF
    file.write_bytes(content)
    model = archived(world) / "model.skops"
    model.write_bytes(bytes(len(model.read_bytes())))
    assert planned(world).work == [], "names and sizes are as they were"
    about_rows, about_model = findings(world)
    assert about_rows.startswith(f"guess/examples {ON}: its rows are not those that were recorded: content 120-")
    assert "model.skops" in about_model and "does not have the hash with which it was stored" in about_model
    assert world.lake.set_aside("guess/examples", ON) == [f"ds={ON}/{file.name}"]
    model.unlink()
    by_command(world)
    assert planned(world).work == [] and findings(world) == [] and state(world) == clean


def test_predictions_of_versions_that_the_ledger_does_not_know_are_found(world: World) -> None:
    rows = world.lake.read("guess/predictions", ON, day(DAYS), empty_if_absent=True)
    other = rows.set_column(rows.schema.get_field_index("version"), "version", pa.array(["0" * 16] * len(rows)))
    world.lake.replace("guess/predictions", other, sorted(set(rows["ds"].to_pylist())))
    assert [each for each in findings(world) if each.endswith(f"the ledger has no version {'0' * 16}")]


def test_a_version_that_was_trained_on_a_hole_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an older release trained it, which did not look."""
    hole = day(3)
    rows = world.lake.read("guess/examples", hole, hole)
    world.lake.replace("guess/examples", rows.slice(0, 20), [hole])
    monkeypatch.setattr("factory_assets.training.assets._refuse_holes", lambda *asked: None)
    tags = training_tags("guess", ["DE"], str(day(9)), "new_data", "by hand")
    assert execute(world.deployment, [dg.AssetKey(["guess", "model"])], tags) == []
    (found,) = verified.holes(world.deployment.book(), world.lake, world.ledger, ["guess"])
    assert [each.node for each in found.versions] == ["DE"] and found.as_of == day(9)
    assert "guess/examples at version 4, 2026-01-04: it read 20 rows a day, recorded were 120" in found.message


def test_rows_from_which_other_metrics_come_out_than_were_recorded_are_found_and_made_again(
    clean: dict[str, Any], world: World
) -> None:
    """A value that was changed, in a file that can be read and has as many rows: nothing but the metrics tells it."""
    on, table = day(9), "guess/evaluation"
    rows = world.lake.read(table, on, on)
    place = rows.schema.get_field_index("challenger_prediction")
    said = rows["challenger_prediction"].to_numpy().copy()
    said[0] += 1e-9
    world.lake.replace(table, rows.set_column(place, "challenger_prediction", pa.array(said)), [on])
    assert planned(world).work == []
    (found,) = verified.scores(world.lake, world.ledger, ["guess"])
    node = rows["node"][0].as_py()
    assert str(found).startswith(f"{table} {on}: its rows are not those that were measured: {node}: ")
    assert "of the challenger is" in str(found) and findings(world) == [str(found)]
    world.lake.set_aside(table, on)
    by_command(world)
    assert planned(world).work == [] and findings(world) == [] and state(world) == clean


@pytest.mark.parametrize(
    "place", ["orders", "orders/moved", "orders/deliveries", "guess/leaderboard", "features/habit", "tiles"]
)
def test_a_file_where_a_table_will_be_is_found_before_anything_is_made(tmp_path: Path, place: str) -> None:
    with opened(tmp_path) as world:
        assert findings(world) == []
        path = world.folder / "lake" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        (found,) = findings(world)
        assert found.endswith(f"{path} is a file, where a folder should be: move it away")


#: The newest rows of which tables are taken out of the ledger -> what is found, in part.
NEWEST = {
    "decision": (["ledger_decisions"], "its decision is gone: 2026-01-10, promote, "),
    "decision, with where it leaves its node": (
        ["ledger_decisions", "ledger_standing"],
        "its decision is gone: 2026-01-10, promote, ",
    ),
    "training": (
        ["ledger_standing", "ledger_decisions", "ledger_evaluations", "ledger_tags", "ledger_versions"],
        "its version is gone: ",
    ),
    "evaluation": (["ledger_evaluations"], "its evaluation is gone: 2026-01-10, "),
    "tag": (["ledger_tags"], "its tag is gone: stable, "),
}


@pytest.mark.parametrize("which", NEWEST)
def test_newest_rows_that_are_gone_from_the_ledger_are_found_by_what_the_event_log_has_of_them(
    world: World, which: str
) -> None:
    tables, told = NEWEST[which]
    node, version = next(
        (node, each.champion) for node, each in world.ledger.standing("guess").items() if node != "global"
    )
    tagging = Tagging("guess", node, "stable", version, "looked at", "ana")
    world.ledger.tag(tagging)
    world.instance.report_runless_asset_event(tag_observation(tagging, None))
    assert findings(world) == []
    engine = open_ledger(world.ledger.url)
    unguard(engine)
    engine.dispose()
    # Of the driver itself: no key is looked at.
    with closing(sqlite3.connect(world.folder / "ledger.db")) as connection, connection:
        for table in tables:
            connection.execute(f"DELETE FROM {table} WHERE node = ?", [node])
    found = findings(world)
    assert any(told in each and node in each for each in found), found


#: Asset, partition and tags of events that nobody's run writes, and that anybody may report at Dagster's UI.
REPORTED = [
    ("orders/raw", "x", {}),
    ("orders/raw", "20260104", {}),
    ("orders/raw", "2020-01-01", {}),
    ("orders/events", str(day(3)), {}),
    ("guess/examples", "2026-13-45", {"dagster/data_version": "1-0123456789abcdef", "factory/inputs": "x"}),
    ("guess/monitors", "[/red]", {}),
    ("guess/model", "nobody/[red]", {}),
    ("guess/evaluation", "global", {}),
    ("guess/champion", "global", {}),
    ("guess/labels", None, {}),
]


def test_events_that_somebody_reports_stop_no_plan_and_change_no_table(clean: dict[str, Any], world: World) -> None:
    """Dagster asks neither whether a partition is one of the asset, nor who it is that reports."""
    for asset, partition, tags in REPORTED:
        key = dg.AssetKey(asset.split("/"))
        world.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition, tags=tags))
    assert {"orders/events, 1 day"} <= {work.what for work in planned(world).work}
    by_command(world)
    assert world.deployment.failures == [] and planned(world).work == []
    assert findings(world) == [] and state(world) == clean
