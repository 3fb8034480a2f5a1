"""Does a line's page say at once what happened to the line, does it agree with `factory status`, and does it come to rest?"""

from __future__ import annotations

import shutil

import dagster as dg
import pytest

from factory_assets.commands.follow import written
from factory_assets.governor.plan import plan
from factory_assets.materialization import IN_SHORT
from factory_assets.pages.assets import READ
from factory_assets.pages.document import page_of
from factory_assets.pages.lines import called_by, stands_of
from factory_assets.pages.sensors import follow_sensor
from factory_resources.records.decisions import Decision
from factory_resources.reports import Reports
from tests.governor.world import World, by_command, by_daemon, day, orders_of
from tests.pages.lived import DAYS
from tests.pages.looked_at import Screen

pytestmark = pytest.mark.slow

LINE = "guess"
#: Columns of a table, and letters of an address, that an asset's page in Dagster has room for.
COLUMNS, ADDRESS = 5, 200


@pytest.fixture(autouse=True)
def kept_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands write where the runs do."""
    monkeypatch.setenv("FACTORY_REPORTS", str(world.folder / "reports"))


def page(world: World) -> Screen:
    return Screen((world.folder / "reports" / page_of(LINE)).read_text())


def agreed(world: World) -> str:
    """The state that status and the page both tell; the page counts nodes by their health as status does."""
    declared = [world.deployment.catalogue.resolve(each) for each in world.deployment.catalogue.lines.values()]
    called = called_by(plan(world.deployment.book()), declared)
    (line,), _ = stands_of(declared, called, world.lake, world.ledger, world.issues)
    seen = page(world)
    expected = [line.state, *(f"{number} {health}" for health, number in line.nodes.items() if number)]
    assert seen.badges[: len(expected)] == expected
    for notice in line.pressing:
        assert notice.asset in seen.cards["todo"] or notice.asset.partition("/")[0] in seen.cards["todo"]
    return line.state


def test_a_run_ends_with_the_page_and_nothing_is_left_to_do(world: World) -> None:
    assert agreed(world) == "current" and plan(world.deployment.book()).work == []
    event = world.instance.get_latest_materialization_event(asset_key(world))
    assert event and event.asset_materialization
    assert str(event.asset_materialization.metadata["page"].value).endswith("/guess/page.html")


def test_the_page_of_an_asset_begins_with_what_came_out_and_nothing_on_it_is_too_wide_to_read(world: World) -> None:
    # Dagster lays a page's metadata out as one table: the widest entry decides how wide all are.
    first, wide = dict[str, str](), list[str]()
    for key, spec in world.deployment.specs.items():
        event = world.instance.get_latest_materialization_event(key)
        shown = event.asset_materialization.metadata if event and event.asset_materialization else {}
        first |= {key.to_user_string(): next(iter(shown))} if shown else {}
        for name, value in (shown | spec.metadata).items():
            if isinstance(value, dg.TableMetadataValue) and len(value.schema.columns) > COLUMNS:
                wide.append(f"{key.to_user_string()}: {name} has {len(value.schema.columns)} columns")
            elif isinstance(value, dg.UrlMetadataValue) and len(str(value.value)) > ADDRESS:
                wide.append(f"{key.to_user_string()}: {name} is the address {value.value}")
    assert not wide, wide
    assert {first[f"{LINE}/{name}"] for name in READ} == {IN_SHORT}
    assert {name: begins for name, begins in first.items() if begins not in (IN_SHORT, "page")} == {}


def test_what_features_do_is_computed_once_a_version_and_again_where_that_is_lost(world: World) -> None:
    folder = world.folder / "reports" / LINE / "effects"
    champions = {each.champion for each in world.ledger.standing(LINE).values() if each.champion}
    kept = {file.stem: file.read_text() for file in folder.glob("*.json")}
    assert kept and kept.keys() <= champions and "Mean prediction for" in page(world).text
    (version, *_) = kept
    damaged, touched = folder / f"{version}.json", {file: file.stat().st_mtime_ns for file in folder.glob("*.json")}
    damaged.write_text(kept[version][:-9])
    # What is written without the archive does without.
    written(world.deployment, [LINE])
    assert damaged.read_text() == kept[version][:-9]
    of_page = world.deployment.job.get_subset(asset_selection={dg.AssetKey([LINE, "page"])})
    assert of_page.execute_in_process(instance=world.instance).success and damaged.read_text() == kept[version]
    assert all(file.stat().st_mtime_ns == at for file, at in touched.items() if file != damaged)


def asset_key(world: World) -> object:
    return next(key for key in world.deployment.specs if key.path == [LINE, "page"])


@pytest.mark.longest
def test_a_blocked_day_shows_with_what_lets_it_pass_until_it_does(world: World) -> None:
    world.deliver("orders", day(DAYS), [row | {"x": -5} for row in orders_of(day(DAYS))])
    world.at(day(DAYS + 1), 1)
    by_command(world)
    assert agreed(world) == "blocked"
    assert "factory issue accept orders 'x >= 0' --why REASON" in page(world).cards["todo"]
    world.issues.decide("orders", "x >= 0", "accepted", "ana", "a test")
    written(world.deployment, [LINE])
    assert agreed(world) == "due" and "issue accept" not in page(world).cards["todo"]
    by_command(world)
    assert agreed(world) == "current" and plan(world.deployment.book()).work == []


def test_a_rollback_shows_at_once_and_the_next_run_draws_the_page_once_more(world: World) -> None:
    node = min(world.ledger.champions(LINE))
    stands = world.ledger.standing(LINE)[node]
    on, champion = stands.decided_as_of, stands.champion
    # Nobody is left to answer: the rule of the command is not what is asked here.
    world.ledger.roll_back(Decision(LINE, node, on, "rollback", champion, None, "it was unfair", "ana", {}))
    written(world.deployment, [LINE])
    card = page(world).cards["who"]
    assert "was rolled back to an ancestor by ana" in card and "it was unfair" in card
    agreed(world)
    by_daemon(world)
    assert agreed(world) == "current" and plan(world.deployment.book()).work == []


def test_what_is_decided_by_a_job_shows_before_any_run(world: World) -> None:
    node, stands = next((node, each) for node, each in world.ledger.standing(LINE).items() if each.champion)
    champion = stands.champion
    job, reports = world.deployment.definitions.resolve_job_def("tag"), Reports(str(world.folder / "reports"))
    asked = {"line": LINE, "node": node, "tag": "stable", "version": champion, "why": "it is", "by": "ana"}
    (op,) = job.nodes
    done = job.execute_in_process(run_config={"ops": {op.name: {"config": asked}}}, instance=world.instance)
    assert done.success
    rollback = Decision(LINE, node, stands.decided_as_of, "rollback", champion, None, "too many complaints", "ana", {})
    world.ledger.roll_back(rollback)
    assert "too many complaints" not in page(world).text
    context = dg.build_run_status_sensor_context(
        sensor_name="follow_people", dagster_instance=world.instance, dagster_run=done.dagster_run,
        dagster_event=next(each for each in done.all_events if each.event_type_value == "PIPELINE_SUCCESS"),
    )  # fmt: skip
    follow_sensor([job], lambda _: world.deployment, reports)(context)
    assert "too many complaints" in page(world).text
    agreed(world)
    by_command(world)
    assert agreed(world) == "current" and plan(world.deployment.book()).work == []


@pytest.mark.parametrize("table", ["monitors", "performance", "evaluation"])
def test_a_lost_file_shows_and_what_is_left_is_shown(world: World, table: str) -> None:
    lost = world.folder / "lake" / LINE / table
    shutil.copytree(lost, lost.with_name("kept"))
    shutil.rmtree(next(lost.glob("ds=*")))
    try:
        written(world.deployment, [LINE])
        assert agreed(world) == "damaged" and f"lost or damaged: {LINE}/{table}" in page(world).cards["todo"]
    finally:
        shutil.rmtree(lost)
        shutil.move(lost.with_name("kept"), lost)
    written(world.deployment, [LINE])
    assert agreed(world) == "current"
