"""Does a plan know at once what is another than at the plan before, whoever changed it, and say what a new process would?"""

from __future__ import annotations

import datetime as dt
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
import sqlalchemy as sa

from factory_assets.governor import book as books
from factory_assets.governor import memo
from factory_assets.governor.book import Book
from factory_assets.governor.plan import plan, plan_of_line
from factory_assets.materialization import DATA_VERSION, INPUTS, newest_events
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.records.decisions import Decision
from factory_resources.records.issues import BrokenRule, Issues
from factory_resources.records.verdicts import Judged, Verdicts
from tests.governor.world import LINES, World, day
from tests.resources.test_asset_events import OUR_SQLITE
from tests.resources.test_ledger import a_version

DAYS = [day(offset) for offset in range(10)]
EVENTS = dg.AssetKey(["orders", "events"])


class Deployed:
    """The deployment in a folder, as another process opens it."""

    def __init__(self, folder: Path):
        self.instance = dg.DagsterInstance.from_config(str(folder))
        url = f"sqlite:///{folder / 'w' / 'ledger.db'}"
        self.ledger, self.issues, self.verdicts = Ledger(url=url), Issues(url=url), Verdicts(url=url)
        self.lake = Lake(root=str(folder / "w" / "lake"))


def event(at: Deployed, on: dt.date = DAYS[3], content: str = "other") -> None:
    made = dg.AssetMaterialization(EVENTS, partition=str(on), tags={DATA_VERSION: content, INPUTS: "of"})
    at.instance.report_runless_asset_event(made)


def deleted_event(at: Deployed) -> None:
    """As when somebody deletes the run that wrote it: not the newest of the asset."""
    number = newest_events(at.instance, EVENTS)[str(DAYS[1])]
    with at.instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        connection.execute(sa.text(f"DELETE FROM event_logs WHERE id = {number}"))


def wiped(at: Deployed) -> None:
    at.instance.wipe_assets([EVENTS])


def events_known_later(at: Deployed) -> None:
    table(at, "orders/events", DAYS[2], known=dt.datetime(2026, 2, 1))


def examples_of_another_segment(at: Deployed) -> None:
    table(at, "guess/examples", DAYS[2], leaf="ES")


def table(at: Deployed, name: str, on: dt.date, known: dt.datetime | None = None, leaf: str = "FR") -> None:
    known = known or dt.datetime.combine(on, dt.time(12))
    at.lake.replace(name, pa.table({"ds": [on], "known_at": [known], "leaf": [leaf]}), [on])


def decision(at: Deployed) -> None:
    version = a_version("v2", line="guess", node="FR", as_of=DAYS[5])
    at.ledger.register(version)
    at.ledger.decide(Decision("guess", "FR", DAYS[5], "promote", "v2", "v2", "better", "gate", {}))


def decision_as_of_an_earlier_day(at: Deployed) -> None:
    at.ledger.decide(Decision("guess", "FR", DAYS[0], "fallback", None, None, "no model", "gate", {}))


def acceptance(at: Deployed) -> None:
    at.issues.decide("orders", "x >= 0", "accepted", "ana", "a test of the gauge")


def verdict(at: Deployed) -> None:
    at.verdicts.note("orders/raw", "contract", {DAYS[3]: Judged("another")}, "run")


def node(at: Deployed) -> None:
    at.instance.add_dynamic_partitions("guess_segments", ["global/ES"])


#: What happens, and which answers are others after it.
CHANGES: Mapping[Callable[[Deployed], None], set[str]] = {
    event: {"recorded", "expected"},
    deleted_event: {"recorded", "expected", "through"},
    wiped: {"recorded", "expected", "through"},
    events_known_later: {"through"},
    examples_of_another_segment: {"seen"},
    decision: {"standing", "champions"},
    decision_as_of_an_earlier_day: {"first trained"},
    acceptance: {"accepted"},
    verdict: {"judged"},
    node: {"nodes"},
}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    (tmp_path / "dagster.yaml").write_text(OUR_SQLITE % tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        made = World(tmp_path / "w", instance, monkeypatch)
        made.at(day(10), 6)
        at = Deployed(tmp_path)
        for on in DAYS:
            event(at, on, f"5-{on}")
            table(at, "orders/events", on)
            table(at, "guess/examples", on)
        at.ledger.register(a_version("v1", line="guess", node="FR", as_of=DAYS[2]))
        at.ledger.decide(Decision("guess", "FR", DAYS[2], "promote", "v1", "v1", "first", "gate", {}))
        broken = {DAYS[3]: [BrokenRule("x >= 0", "min", "5 rows")]}
        at.issues.note("orders", "team:growth", DAYS, broken)
        yield made


def answers(book: Book) -> dict[str, Any]:
    line = book.catalogue.resolve(book.catalogue.lines["guess"])
    return {
        "recorded": book.recorded("orders/events"),
        "expected": book.expected("features/habit", DAYS, None),
        "through": book.through(line),
        "seen": book._first_seen("guess"),
        "standing": {name: vars(each) for name, each in book.standing("guess").items()},
        "first trained": book.first_trained("guess"),
        "champions": book.champions("guess", DAYS),
        "accepted": book.accepted("orders"),
        "judged": book.judged("orders/raw"),
        "nodes": book.nodes("guess"),
    }


def of_a_new_process(world: World) -> dict[str, Any]:
    kept, days_recorded = dict(memo._kept), dict(books._days_recorded)
    memo._kept.clear()
    books._days_recorded.clear()
    try:
        return answers(world.deployment.book())
    finally:
        memo._kept.update(kept)
        books._days_recorded.update(days_recorded)


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    return {name for name, answer in after.items() if answer != before[name]}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_plan_sees_what_changed_since_the_plan_before(
    world: World, tmp_path: Path, change: Callable[[Deployed], None]
) -> None:
    before = answers(world.deployment.book())
    change(Deployed(tmp_path))
    after = answers(world.deployment.book())
    assert changed(before, after) == CHANGES[change]
    assert after == of_a_new_process(world)


def test_a_plan_sees_what_another_process_changed(world: World, tmp_path: Path) -> None:
    before = answers(world.deployment.book())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(all_changes, tmp_path).result()
    after = answers(world.deployment.book())
    assert changed(before, after) == set(after)
    assert after == of_a_new_process(world)


def all_changes(folder: Path) -> None:
    at = Deployed(folder)
    for change in CHANGES:
        if change is not wiped:
            change(at)


def test_what_did_not_change_is_not_worked_out_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = answers(world.deployment.book())

    def refused(*arguments: Any, **named: Any) -> None:
        raise AssertionError("asked again")

    for place, name in (
        (books, "newest_events"), (books, "recorded"), (books, "stamps"), (books, "keys_seen"),
        (books, "champions_of_days"), (Lake, "latest"), (Ledger, "standing"), (Ledger, "first_trained"),
        (Issues, "accepted"),
    ):  # fmt: skip
        monkeypatch.setattr(place, name, refused)
    assert answers(world.deployment.book()) == before


def test_declarations_that_are_another_are_seen(world: World) -> None:
    before = answers(world.deployment.book())
    world.replace("defs.yaml", "features: {n: count(), mean_x: mean(x)}", "features: {n: count(), mean_x: mean(y)}")
    after = answers(world.deployment.book())
    assert changed(before, after) == {"expected"}
    assert after == of_a_new_process(world)


@pytest.mark.parametrize("line", LINES)
def test_the_plan_of_a_line_says_of_it_what_the_whole_plan_says(world: World, line: str) -> None:
    whole, own = plan(world.deployment.book()), plan_of_line(world.deployment.book(), line)

    def of_line(found: Any) -> list[Any]:
        return [each for each in found.notices if each.asset.startswith(f"{line}/")], [
            work for work in found.work if work.training
        ]

    assert of_line(own)[0] == of_line(whole)[0]
    assert [work for work in of_line(own)[1] if work.training.line == line] == [
        work for work in of_line(whole)[1] if work.training.line == line
    ]
