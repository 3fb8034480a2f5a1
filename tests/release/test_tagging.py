"""Does a client that asks by a tag get what people put behind it, by the commands that they have?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from factory_assets.declarations.catalogue import DeclaredLine, load
from factory_assets.release.jobs import chosen
from factory_resources.records.tags import Tagging
from tests.line.world import declare
from tests.release.test_rollback import factory
from tests.release.weekly import LINE, World
from tests.resources.test_ledger import a_version


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> DeclaredLine:
    catalogue = load(declare(tmp_path_factory.mktemp("declarations")))
    return catalogue.resolve(catalogue.lines[LINE])


@pytest.fixture
def world(tmp_path: Path, declared: DeclaredLine) -> World:
    """global-0 was champion before global-1; FR has none of its own."""
    world = World(tmp_path, declared)
    world.train("global", 0, 9.0)
    world.train("global", 1, 8.0)
    return world


def test_the_commands_put_move_list_and_take_off_a_tag(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert factory(world, "tag", LINE, "stable", "--version", "@champion", "--why", "first") == (
        f"{LINE}/global@stable is global-1, by ben: first\n"
    )
    assert "is global-1 already, put on global-1 by ben" in factory(world, "tag", LINE, "stable", "--why", "again")
    between = dt.datetime.now(dt.UTC).isoformat()
    told = factory(world, "tag", LINE, "stable", "--version", "global-0", "--why", "calmer", "--by", "ana")
    assert told == f"{LINE}/global@stable is global-0 instead of global-1, by ben (claims: ana): calmer\n"
    assert world.ledger.tags(LINE)[0].by == "ben (claims: ana)"
    version = world.ledger.version(LINE, "global-0")
    listed = factory(world, "tags", LINE)
    assert all(word in listed for word in ("stable", "global-0", version.uuid, "ana", "calmer"))
    assert "global-1" in factory(world, "tags", LINE, "global", "--at", between)
    assert f"UUID {world.ledger.version(LINE, 'global-1').uuid}, tags none" in factory(
        world, "champion", LINE, "global"
    )
    factory(world, "tag", LINE, "audit", "--version", version.uuid, "--why", "kept")
    told = factory(world, "tag", LINE, "stable", "--remove", "--why", "gone")
    assert told == f"{LINE}/global@stable is off global-0, by ben: gone\n"
    assert [(each.tag, each.version) for each in world.ledger.tags(LINE)] == [("audit", "global-0")]
    monkeypatch.setenv("DAGSTER_HOME", str(world.folder / "dagster"))
    with dg.DagsterInstance.get() as instance:
        observed = instance.fetch_observations(dg.AssetKey([LINE, "champion"]), limit=9).records
    seen = [record.asset_observation for record in observed if record.asset_observation]
    assert [(each.partition, each.description) for each in seen] == [
        ("global", why) for why in ("gone", "kept", "calmer", "first")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("champion",), "the tag 'champion' is always on the champion"),
        (("stable", "FR"), "'FR' has no champion of its own; global answers for it: tag that one"),
        (("stable", "--version", "global-"), "'global' has more than one version 'global-': global-1, global-0"),
        (("stable", "FR", "--version", "global@champion"), "is global-1 of 'global', and not a version of 'FR'"),
        (("stable", "--remove"), "no version of 'global' of line 'delivery_time' is tagged 'stable'; tags there: none"),
    ],
)
def test_a_tag_that_cannot_be_put_says_what_there_is(world: World, arguments: tuple[str, ...], message: str) -> None:
    told = factory(world, "tag", LINE, *arguments, "--why", "because")
    assert message in told and told.endswith("FAILED") and world.ledger.tags(LINE) == []


def test_who_rolls_back_may_name_a_tag_and_is_told_of_one_that_stays_on_what_was_taken_back(world: World) -> None:
    for tag, version in (("calm", "global-0"), ("stable", "global-1")):
        world.ledger.tag(Tagging(LINE, "global", tag, version, "works", "ana"))
    told = factory(world, "rollback", LINE, "global", "--why", "complaints", "--to", "@calm")
    assert (
        "global-0 answers instead of global-1" in told
        and "global-1 is still @stable of global: `factory tag` moves" in told
    )
    made = world.back(to=world.ledger.version(LINE, "global-1").uuid)
    assert made[-1].champion == "global-1"
    assert chosen(world.ledger, f"{LINE}@calm", "seed") == world.ledger.version(LINE, "global-0")


def test_the_page_of_the_champions_shows_uuid_and_tags(world: World) -> None:
    world.ledger.tag(Tagging(LINE, "global", "stable", "global-0", "works", "ana"))
    world.train("global", 2, 7.0)
    seen = world.instance.get_latest_materialization_event(dg.AssetKey([LINE, "champion"]))
    assert seen is not None and seen.asset_materialization is not None
    told = {name: value.value for name, value in seen.asset_materialization.metadata.items()}
    assert told["champion"] == "global-2" and told["tags"] == "stable on global-0"
    assert told["uuid"] == world.ledger.version(LINE, "global-2").uuid


def test_a_vacuum_keeps_the_table_versions_of_a_tagged_model_that_was_never_released(world: World) -> None:
    day = dt.date(2026, 3, 1)
    for value in range(3):
        world.lake.replace(f"{LINE}/seen", pa.table({"ds": [day], "value": [value]}), [day])
    world.ledger.register(a_version("spare", line=LINE, tables={f"{LINE}/seen": 0}))
    assert "kept" not in factory(world, "vacuum")
    factory(world, "tag", LINE, "audit-2026", "--version", "spare", "--why", "the regulator asked")
    assert f"{LINE}/seen, 1 version kept for models that were released or are tagged" in factory(world, "vacuum")
