"""Does an explanation say what a prediction was made of, by the version that made it, and leave everything as it was?"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy.special import expit
from typer.testing import CliRunner, Result

from factory_assets import cli
from factory_assets.release.rebuild import Origin
from factory_assets.scoring.explained import Explained, NotThere, explain
from factory_resources.engine import Engine
from tests.release.trained import LINE
from tests.scoring.scored import AS_OF, LAST, a_scored_line
from tests.stations import Station, day

#: An order of the day after the training, one of the last day, and one that is in no table.
KNOWN, NEWEST, UNKNOWN = 100 * (AS_OF + 1) + 7, 100 * LAST + 7, 99_999

# The line whose predictions it explains takes half a minute to be made.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Station:
    return a_scored_line(tmp_path_factory.mktemp("explained"))


def origin(station: Station) -> Origin:
    deployment = station.deployment
    return Origin(station.lake, Engine(threads=2, memory_limit="1GB"), deployment.ledger, deployment.archive)


def explained(station: Station, example: int, day: dt.date | None = None, events: int = 20) -> Explained:
    declared = station.catalogue.resolve(station.catalogue.lines[LINE])
    return explain(declared, str(example), day, origin(station), events)


def of(station: Station, leaf: str, offset: int = AS_OF + 1) -> int:
    """A prediction for an order of a city."""
    rows = station.lake.read(f"{LINE}/predictions", day(offset), day(offset)).to_pylist()
    return int(next(row["example_id"] for row in rows if row["leaf"] == leaf))


def test_it_is_the_stored_prediction_and_the_stored_features(station: Station) -> None:
    for leaf in ("Paris", "Lyon"):
        found = explained(station, of(station, leaf))
        (stored,) = [
            row
            for row in station.lake.read(f"{LINE}/predictions", found.day, found.day).to_pylist()
            if row["example_id"] == found.example_id
        ]
        assert found.prediction == {"prediction": stored["prediction"]} and found.repeated
        assert (found.leaf, found.node, found.version) == (leaf, stored["node"], stored["version"])
        rows = station.lake.read(f"{LINE}/examples", found.day, found.day).to_pylist()
        (example,) = [row for row in rows if row["example_id"] == found.example_id]
        assert {each.name: each.used for each in found.features} == {
            each.name: example[each.name] for each in found.features
        }
        assert {each.verdict for each in found.features} == {"equal"}


def test_what_features_add_sums_to_the_score_of_the_prediction(station: Station) -> None:
    found = explained(station, of(station, "Paris"))
    assert found.score is not None
    total = found.score.base[0] + sum(each.adds[0] for each in found.features)
    assert total == pytest.approx(found.score.total[0], rel=1e-12)
    assert (found.score.link, found.score.then) == ("logistic", "")
    assert expit(total) == pytest.approx(found.prediction["prediction"], rel=1e-9)


def test_the_events_are_those_of_its_entity_before_it_the_newest_first(station: Station) -> None:
    found = explained(station, of(station, "Lyon"), events=3)
    (behind,) = found.behind
    rows = station.lake.read("orders/events").to_pylist()
    t = found.observed_at
    wanted = [
        row
        for row in rows
        if row["city"] == "Lyon" and t - dt.timedelta(days=2) < row["event_time"] < t >= row["known_at"]
    ]
    newest = sorted(wanted, key=lambda row: (row["event_time"], row["order_id"]), reverse=True)[:3]
    assert behind.entity == {"city": "Lyon"} and behind.events == len(wanted) > 50
    assert [row["order_id"] for row in behind.newest] == [row["order_id"] for row in newest]


def test_it_says_why_its_node_answered(station: Station) -> None:
    paris, lyon = (explained(station, of(station, leaf)) for leaf in ("Paris", "Lyon"))
    assert (paris.node, lyon.node) == ("Paris", "global")
    assert paris.why.startswith(f"champion of Paris itself: {paris.version} was promoted by ")
    assert lyon.why.startswith("Lyon has no champion of its own (an ancestor was left to answer by ana at ")
    assert f"too few); global is the nearest node above it that has one: {lyon.version} was promoted by " in lyon.why


def test_the_outcome_is_what_is_known_of_it(station: Station) -> None:
    known, newest = explained(station, KNOWN).outcome, explained(station, NEWEST).outcome
    (note,) = [row["note"] for row in station.lake.read("orders/events").to_pylist() if row["order_id"] == KNOWN]
    assert (
        known.label == float(note == "hi") and known.known_at is not None and known.state.startswith("known at 2024-")
    )
    assert (newest.label, newest.known_at) == (None, None)
    assert newest.state == f"not known yet; due at the close of {day(LAST + 1)}"


def test_a_change_of_events_shows_in_the_features_that_it_changes_and_in_no_other(station: Station) -> None:
    """An order of the city that is taken out of the events; the examples are those of before."""
    asked = of(station, "Lyon")
    before = explained(station, asked)
    events = station.lake.read("orders/events", day(AS_OF), day(AS_OF))
    within = pc.greater(events["event_time"], pa.scalar(before.observed_at - dt.timedelta(days=1)))
    gone = events.filter(pc.and_(pc.equal(events["city"], "Lyon"), within))["order_id"][0].as_py()
    station.lake.replace("orders/events", events.filter(pc.not_equal(events["order_id"], gone)), [day(AS_OF)])
    try:
        after = explained(station, asked)
    finally:
        station.lake.replace("orders/events", events, [day(AS_OF)])
    differ = {each.name for each in after.features if each.verdict == "differs"}
    assert {"habit.n_1d", "habit.n_2d", "habit.spent_1d", "habit.spent_2d"} <= differ
    assert not differ & {"amount", "channel", "ref_number"}
    n = {each.name: each for each in after.features}["habit.n_1d"]
    assert n.now == n.used - 1
    assert after.prediction == before.prediction and after.repeated


def test_examples_that_were_made_anew_do_not_repeat_the_prediction(station: Station) -> None:
    asked, on = of(station, "Paris"), day(AS_OF + 1)
    rows = station.lake.read(f"{LINE}/examples", on, on)
    dearer = rows.set_column(rows.schema.get_field_index("amount"), "amount", pc.add(rows["amount"], 20.0))
    station.lake.replace(f"{LINE}/examples", dearer, [on])
    try:
        found = explained(station, asked)
    finally:
        station.lake.replace(f"{LINE}/examples", rows, [on])
    assert not found.repeated and found.again != found.prediction
    assert {each.name: each.verdict for each in found.features}["amount"] == "differs"


def test_an_example_that_is_gone_is_told(station: Station) -> None:
    asked, on = of(station, "Paris"), day(AS_OF + 1)
    rows = station.lake.read(f"{LINE}/examples", on, on)
    station.lake.replace(f"{LINE}/examples", rows.filter(pc.not_equal(rows["example_id"], asked)), [on])
    try:
        with pytest.raises(NotThere, match="but no such example any more"):
            explained(station, asked)
    finally:
        station.lake.replace(f"{LINE}/examples", rows, [on])


def test_a_version_that_would_not_answer_any_more_is_told(station: Station) -> None:
    asked, on = of(station, "Paris"), day(AS_OF + 1)
    rows = station.lake.read(f"{LINE}/predictions", on, on)
    other = rows.set_column(rows.schema.get_field_index("node"), "node", pa.array(["global"] * len(rows)))
    station.lake.replace(f"{LINE}/predictions", other, [on])
    try:
        found = explained(station, asked)
    finally:
        station.lake.replace(f"{LINE}/predictions", rows, [on])
    assert found.why.startswith("it answered when the day was scored; by the decisions as they are now")


@pytest.fixture
def factory(station: Station, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("FACTORY_DEFS", str(station.folder / "defs"))
    monkeypatch.setenv("FACTORY_LAKE", station.lake.root)
    monkeypatch.setenv("FACTORY_LEDGER", station.deployment.ledger.url)
    monkeypatch.setenv("FACTORY_ARCHIVE", str(station.folder / "archive"))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli.app, ["explain", *arguments])

    yield run


def test_the_command_shows_it_and_writes_nothing(station: Station, factory: Any) -> None:
    before = {table: station.lake.version(table) for table in station.lake.tables()}
    told = factory(LINE, str(KNOWN), "--events", "2")
    assert told.exit_code == 0, told.output
    for text in ("answered", "why", "scored again the same", "habit.spent_2d", "base", "score", "logistic", "more"):
        assert text in told.output
    assert {table: station.lake.version(table) for table in station.lake.tables()} == before


def test_as_json_it_is_one_object_with_all_of_it(station: Station, factory: Any) -> None:
    found = explained(station, KNOWN)
    told = json.loads(factory(LINE, str(KNOWN), "--json").stdout)
    assert set(told) == set(vars(found))
    assert told["day"] == str(found.day) and told["prediction"] == dict(found.prediction)
    assert [each["adds"] for each in told["features"]] == [list(each.adds) for each in found.features]
    assert len(told["behind"][0]["newest"]) == 20


def test_an_unknown_id_ends_with_the_days_that_there_are(factory: Any) -> None:
    told = factory(LINE, str(UNKNOWN))
    assert told.exit_code == 1
    assert f"no prediction of '{UNKNOWN}'; it has predictions of {day(AS_OF + 1)} .. {day(LAST)}" in told.output
    told = factory(LINE, str(KNOWN), "--day", str(day(LAST)))
    assert told.exit_code == 1 and f"no prediction of '{KNOWN}' of {day(LAST)}" in told.output
    assert factory(LINE, "no number").exit_code == 1
    told = factory("greted", "1")
    assert told.exit_code == 1 and "lines here: greeted" in told.output


def test_a_version_that_the_archive_lacks_is_told(
    factory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORY_ARCHIVE", str(tmp_path))
    told = factory(LINE, str(KNOWN))
    assert told.exit_code == 1 and str(tmp_path) in told.output.replace("\n", "")


def test_an_id_of_several_days_asks_for_the_day(station: Station, factory: Any) -> None:
    last, first = day(LAST), day(AS_OF + 1)
    rows = station.lake.read(f"{LINE}/predictions", last, last)
    again = station.lake.read(f"{LINE}/predictions", first, first)
    again = again.filter(pc.equal(again["example_id"], KNOWN))
    moved = again.set_column(again.schema.get_field_index("ds"), "ds", pa.array([last] * len(again), pa.date32()))
    station.lake.replace(f"{LINE}/predictions", pa.concat_tables([rows, moved]), [last])
    try:
        told = factory(LINE, str(KNOWN))
        assert told.exit_code == 1 and f"of 2 days: {first}, {last}; say which by --day" in told.output
        assert factory(LINE, str(KNOWN), "--day", str(first)).exit_code == 0
    finally:
        station.lake.replace(f"{LINE}/predictions", rows, [last])
