"""Is a version found by every name that it has, and does the ledger tell what a tag named at any moment, on either database?"""

import datetime as dt
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from factory_assets.models.names import find
from factory_resources.ledger import Ledger
from factory_resources.records.tags import Tagging, TagMoved
from tests.resources.test_ledger import DAY, LINE, NEXT_DAY, a_decision, a_version

NOON = dt.datetime(2018, 6, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
#: Of v1 at the root of the line. Once told, a UUID stays: a client may have written it down.
UUID = "e367edac-65ff-567d-811c-16fafffb4096"


def a_tagging(version: str | None, **changed: Any) -> Tagging:
    return replace(Tagging(LINE, "global", "stable", version, "works", "ana", NOON), **changed)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """v1, v2 and v3 at the root, f1 at FR."""
    opened = Ledger(url=url)
    for version, node in (("v1", "global"), ("v2", "global"), ("v3", "global"), ("f1", "FR")):
        opened.register(a_version(version, node=node))
    yield opened
    opened.close()


def named(ledger: Ledger, at: dt.datetime | None = None) -> dict[tuple[str, str], str | None]:
    return {(each.node, each.tag): each.version for each in ledger.tags(LINE, at=at)}


def test_a_tag_is_moved_and_taken_off_and_the_ledger_tells_what_it_named_at_any_moment(ledger: Ledger) -> None:
    first, moved, off = a_tagging("v1"), a_tagging("v2", at=NOON + HOUR), a_tagging(None, at=NOON + 2 * HOUR)
    audit, french = a_tagging("v1", tag="audit-2026"), a_tagging("f1", node="FR", at=NOON + HOUR)
    for tagging in (first, audit, moved, french, off):
        assert ledger.tag(tagging) is True
    root = ("global", "audit-2026"), ("global", "stable")
    assert named(ledger, NOON - HOUR) == {}
    assert named(ledger, NOON) == dict.fromkeys(root, "v1")
    assert named(ledger, NOON + HOUR) == {("FR", "stable"): "f1", root[0]: "v1", root[1]: "v2"}
    assert ledger.tags(LINE) == [french, audit] and ledger.tags(LINE, "FR") == [french]
    assert ledger.last_taggings(LINE, "global") == [audit, off]
    with pytest.raises(ValueError, match="time zone"):
        ledger.tags(LINE, at=dt.datetime(2018, 6, 1))


def test_putting_a_tag_where_it_is_writes_nothing(ledger: Ledger) -> None:
    assert ledger.tag(a_tagging("v1")) is True
    assert ledger.tag(a_tagging("v1", why="again", at=NOON + HOUR), against=None) is False
    assert ledger.tags(LINE) == [a_tagging("v1")]


def test_of_many_who_move_a_tag_at_once_one_wins_and_the_others_are_told_who(ledger: Ledger) -> None:
    ledger.tag(a_tagging("v3"))
    start = threading.Barrier(8)

    def move(number: int) -> str:
        start.wait(timeout=60)
        tagging = a_tagging(f"v{number % 2 + 1}", by=f"worker {number}", at=NOON + HOUR)
        try:
            return "moved" if ledger.tag(tagging, against="v3") else "there already"
        except TagMoved as told:
            return str(told)

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(move, range(8)), key=len)
    assert [outcome[:5] for outcome in outcomes] == ["moved"] + ["there"] * 3 + ["@stab"] * 4
    (won,) = ledger.tags(LINE)
    told = f"@stable of {LINE}/global is not on v3 any more: it was put on {won.version} by {won.by} at 2018-06-01 13:00:00 UTC: works"
    assert set(outcomes[4:]) == {told}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"tag": "champion"}, ValueError, "'champion' is always on the champion"),
        ({"tag": "v7"}, ValueError, "'v7' would mean something else in MLflow"),
        ({"tag": "Stable!"}, ValueError, "'Stable!' is no name of a tag: a lower-case letter, .* such as 'stable'"),
        ({"tag": "a@b"}, ValueError, "'a@b' is no name"),
        ({"version": "f1"}, ValueError, "node 'global' of line 'card_fraud' has no version 'f1'"),
        ({"version": None}, LookupError, "no version of 'global' of line 'card_fraud' is tagged 'stable'; tags there: audit"),
        ({"why": " "}, ValueError, "a reason"),
        ({"by": ""}, ValueError, "somebody"),
    ],
)  # fmt: skip
def test_a_tag_that_cannot_be_is_refused(
    ledger: Ledger, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    ledger.tag(a_tagging("v1", tag="audit"))
    with pytest.raises(error, match=message):
        ledger.tag(replace(a_tagging("v1"), **changed))
    assert named(ledger) == {("global", "audit"): "v1"}


def test_raw_sql_cannot_rewrite_what_a_tag_named(ledger: Ledger) -> None:
    ledger.tag(a_tagging("v1"))
    is_sqlite = ledger.url.startswith("sqlite")
    overwrite = "INSERT OR REPLACE INTO ledger_tags SELECT * FROM ledger_tags" if is_sqlite else "TRUNCATE ledger_tags"
    for statement in ("UPDATE ledger_tags SET version = 'v2'", "DELETE FROM ledger_tags", overwrite):
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), ledger._open().begin() as connection:
            connection.exec_driver_sql(statement)
    assert named(ledger) == {("global", "stable"): "v1"}


def test_a_tagged_version_is_relied_on_like_a_released_one_until_the_tag_moves(ledger: Ledger) -> None:
    ledger.register(a_version("v2", line="another"))
    ledger.decide(a_decision("promote", "v1", "v1"))
    assert [each.version for each in ledger.relied_on()] == ["v1"]
    ledger.tag(a_tagging("v2"))
    assert [(each.line, each.version) for each in ledger.relied_on()] == [(LINE, "v1"), (LINE, "v2")]
    ledger.tag(a_tagging("v3"))
    assert [each.version for each in ledger.relied_on()] == ["v1", "v3"] and len(ledger.released()) == 1


def test_a_version_has_one_uuid_on_any_database_and_is_found_by_it(ledger: Ledger) -> None:
    ledger.register(a_version("v1", line="another"))
    assert ledger.version(LINE, "v1").uuid == UUID
    assert find(ledger, UUID) == find(ledger, UUID.upper(), LINE, "global") == a_version("v1")
    with pytest.raises(LookupError, match=f"'FR' has no version '{UUID}'; its newest: f1"):
        find(ledger, UUID, LINE, "FR")


def test_a_version_is_found_by_the_beginning_of_its_id_whatever_its_line(ledger: Ledger) -> None:
    for version, line in (("abc1", LINE), ("abd2", "another"), ("abd3", LINE)):
        ledger.register(a_version(version, line=line))
    assert find(ledger, "abc").line == LINE and find(ledger, "abd2").line == "another"
    assert find(ledger, "abd", LINE).version == "abd3"
    for unclear, told in (("abd", "more than one version 'abd': abd3, abd2"), ("ab%", "no version"), ("", "more than")):
        with pytest.raises(LookupError, match=f"the ledger has {told}"):
            find(ledger, unclear)


def test_a_reference_follows_its_tag_and_champion_whoever_answers(ledger: Ledger) -> None:
    ledger.tag(a_tagging("v1"))
    assert find(ledger, f"{LINE}@stable") == find(ledger, "@stable", LINE) == find(ledger, "global@stable", LINE)
    ledger.tag(a_tagging("v2"))
    assert find(ledger, f"{LINE}/global@stable").version == "v2"
    with pytest.raises(LookupError, match="nobody answers for 'FR'"):
        find(ledger, f"{LINE}/FR@champion")
    ledger.decide(a_decision("promote", "v1", "v1"))
    assert find(ledger, f"{LINE}/FR/Lyon@champion").version == "v1"
    ledger.decide(a_decision("promote", "f1", "f1", node="FR", as_of=NEXT_DAY))
    assert find(ledger, "FR/Lyon@champion", LINE).version == "f1"
    ledger.decide(a_decision("fallback", None, None, node="FR", as_of=NEXT_DAY + (NEXT_DAY - DAY)))
    assert find(ledger, "FR/Lyon@champion", LINE).version == "v1"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((f"{LINE}@lost",), "no version of 'global' of line 'card_fraud' is tagged 'lost'; tags there: champion, stable"),
        ((f"{LINE}/FR@stable",), "no version of 'FR' .* is tagged 'stable'; tags there: champion"),
        (("@stable",), "'@stable' names no line; write LINE@TAG"),
        (("global@stable", LINE, "FR"), "'global@stable' is v1 of 'global', and not a version of 'FR'"),
    ],
)  # fmt: skip
def test_a_reference_to_nothing_tells_what_there_is(ledger: Ledger, asked: tuple[str, ...], message: str) -> None:
    ledger.tag(a_tagging("v1"))
    with pytest.raises(LookupError, match=message):
        find(ledger, *asked)
