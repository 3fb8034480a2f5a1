"""Is the version that a node continues from the right one, none after drift, and the record enough to make the model again?"""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from factory_assets.declarations.days import DAY
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.evaluation.fresh_process import FreshProcess
from factory_assets.models.safety import Limits
from factory_assets.release.rebuild import compared
from factory_assets.release.refits import Stores, refits
from factory_assets.training.fit import warm
from factory_assets.training.fit.warm import Drifted
from factory_assets.training.remake import NotRebuildable, before_of, remake
from factory_assets.training.timeline import timeline
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.ledger import VersionRecord
from factory_resources.records.decisions import Decision
from tests.stations import Station, day
from tests.training.greetings import NODES, delivered, told, train

CANDIDATES = """
    constant: {estimator: constant}
    boosted:
      estimator: lightgbm
      params: {num_boost_round: 12, min_data_in_leaf: 5}
      warm_start: {tolerance: 0.5, max_chain: 1}
"""
FIRST, SECOND = day(11), day(15)


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Station:
    """Trained twice, four days apart; in between Paris drifted."""
    trained = delivered(tmp_path_factory.mktemp("warm") / "station", CANDIDATES, 16)
    train(trained, FIRST)
    verdicts: list[dict[str, Any]] = [
        {"node": node, "column": "amount", "verdict": verdict, "ds": day(13)}
        for node, verdict in (("global", "stable"), ("Lyon", "stable"), ("Paris", "drifted"))
    ]
    schema = pa.schema([("node", pa.string()), ("column", pa.string()), ("verdict", pa.string()), ("ds", pa.date32())])
    trained.lake.replace("greeted/drift", pa.Table.from_pylist(verdicts, schema=schema), [day(13)])
    train(trained, SECOND)
    return trained


def versions(station: Station, as_of: dt.date) -> dict[str, VersionRecord]:
    return {one.node: one for one in station.deployment.ledger.versions("greeted", as_of=as_of)}


def resolved(station: Station) -> DeclaredLine:
    return station.deployment.catalogue.resolve(station.deployment.catalogue.lines["greeted"])


def archive_of(station: Station) -> ArchiveFolder:
    return ArchiveFolder(str(station.folder / "archive"))


def lookup(station: Station, as_of: dt.date, **changed: Any) -> warm.Lookup:
    now = {name: versions(station, FIRST)["Lyon"].configuration[name] for name in ("id", "contract")}
    settings = {"configuration": now | changed.pop("configuration", {}), "drifted": Drifted()} | changed
    return warm.Lookup(
        timeline(resolved(station), as_of), ledger=station.deployment.ledger, archive=archive_of(station), **settings
    )


def test_a_training_continues_the_nodes_own_version_before_and_names_it(station: Station) -> None:
    before, after = versions(station, FIRST), versions(station, SECOND)
    assert set(before) == set(after) == set(NODES)
    assert all("warm_from" not in known.configuration for known in before.values())
    kept = after["Lyon"].configuration["warm_from"]
    assert (kept["version"], kept["chain"]) == (before["Lyon"].version, 1)
    assert archive_of(station).load("greeted", after["Lyon"].version).manifest["warm_from"] == before["Lyon"].version
    assert told(station, "Lyon")["start"].startswith(
        f"continues {before['Lyon'].version}, 1 in a row since a cold fit: "
    )


def test_after_drift_in_its_subtree_a_node_begins_anew(station: Station) -> None:
    for node in ("global", "Paris"):
        assert "warm_from" not in versions(station, SECOND)[node].configuration
        assert told(station, node)["start"].startswith(f"cold: 1 columns of Paris drifted on {day(13)}, after ")


def test_training_a_day_again_makes_nothing(station: Station) -> None:
    before = versions(station, SECOND)
    train(station, SECOND)
    assert {node: told(station, node)["version"] for node in NODES} == {
        node: known.version for node, known in before.items()
    }
    assert told(station, "Lyon")["status"].startswith("made before from the same")


@pytest.mark.parametrize(
    ("changed", "params", "said"),
    [
        ({"id": "other"}, {}, "was made with other declarations"),
        ({"contract": "other"}, {}, "was made with other contracts"),
        ({}, {"num_leaves": 4}, "was made with other parameters"),
    ],
)
def test_a_version_of_another_declaration_contract_or_parameters_is_not_continued(
    station: Station, changed: dict[str, str], params: dict[str, int], said: str
) -> None:
    line, first = resolved(station).line, versions(station, FIRST)["Lyon"]
    boosted = line.candidates["boosted"]
    other = boosted.model_copy(update={"params": params or boosted.params})
    assert lookup(station, SECOND).of("Lyon", line) == {"boosted": first}
    found = lookup(station, SECOND, configuration=changed).of(
        "Lyon", line.model_copy(update={"candidates": line.candidates | {"boosted": other}})
    )
    assert found == {"boosted": f"{first.version} of {FIRST} {said}"}


def test_the_newest_version_is_continued_that_has_not_seen_the_days_of_comparison(station: Station) -> None:
    line, first = resolved(station).line, versions(station, FIRST)["Lyon"]
    # Training ends four days before a day's close, and the two newest of its days are those of comparison.
    assert lookup(station, SECOND + 2 * DAY).of("Lyon", line) == {"boosted": first}
    none = f"no version leaves days before {FIRST - 3 * DAY}, from which on models are judged, to learn from"
    assert lookup(station, FIRST + 2 * DAY).of("Lyon", line) == {"boosted": none}
    # Of a calibrated one the newest day before those is no day to learn from either.
    calibrated = line.candidates["boosted"].model_copy(update={"calibrate": "sigmoid"})
    found = lookup(station, FIRST + 3 * DAY).of("Lyon", line.model_copy(update={"candidates": {"boosted": calibrated}}))
    assert "no version leaves days before" in str(found["boosted"])


def test_a_long_chain_a_version_taken_back_and_one_without_archive_are_not_continued(station: Station) -> None:
    line, first, second = resolved(station).line, versions(station, FIRST)["Lyon"], versions(station, SECOND)["Lyon"]
    third = SECOND + 4 * DAY
    assert lookup(station, third).of("Lyon", line) == {
        "boosted": f"{second.version} of {SECOND} has been continued 1 times, max_chain is 1"
    }
    back = Decision("greeted", "Lyon", SECOND, "rollback", second.version, first.version, "worse", "ana", {})
    taken = {("Lyon", second.version): back}
    assert lookup(station, third, withdrawn=taken).of("Lyon", line) == {"boosted": first}
    lost = lookup(station, SECOND, withdrawn=taken)
    lost = dataclasses.replace(lost, archive=ArchiveFolder(str(station.folder / "none")))
    assert lost.of("Lyon", line) == {"boosted": f"{first.version} of {FIRST} is not in the archive any more"}


def test_a_continued_version_is_made_again_from_its_record_and_its_parents_archive(
    station: Station, tmp_path: Path
) -> None:
    ledger, record, first = (
        station.deployment.ledger,
        versions(station, SECOND)["Lyon"],
        versions(station, FIRST)["Lyon"],
    )
    archive, scratch, engine = archive_of(station), ArchiveFolder(str(tmp_path)), Engine(threads=1, memory_limit="1GB")
    made = remake(record, station.lake, engine, scratch, before_of(record, ledger, archive))
    certificate = compared(record, made, archive, scratch, "test")
    assert certificate.verdict == "equal" and all(then == now for then, now in certificate.parts.values())
    with pytest.raises(NotRebuildable, match=f"it continues {first.version}; restore that first: there is no archived"):
        before_of(record, ledger, ArchiveFolder(str(tmp_path / "none")))
    # Vacuum keeps what the parent was made from, too.
    assert {known.version for known in warm.continued_by(ledger, [record])} == {record.version, first.version}


def test_a_verdict_that_comes_in_later_makes_another_model_of_the_same_day(station: Station) -> None:
    before = versions(station, SECOND)["Lyon"]
    rows = [{"node": "Lyon", "column": "amount", "verdict": "drifted", "ds": day(14)}]
    schema = station.lake.read("greeted/drift", day(13)).schema
    station.lake.replace("greeted/drift", pa.Table.from_pylist(rows, schema=schema), [day(14)])
    train(station, SECOND, ["Lyon"])
    page = told(station, "Lyon")
    assert (page["status"], page["version"] != before.version) == ("trained", True)
    assert page["start"].startswith(f"cold: 1 columns of Lyon drifted on {day(14)}")


def test_a_verdict_counts_from_the_day_after_the_version_on_and_an_ancestors_where_there_is_none_of_its_own() -> None:
    found = Drifted({day(3): {"FR": 2, "FR/Lyon": 0, "global": 1}, day(4): {"FR/Lyon": 0, "global": 0}})
    assert found.since("FR/Lyon", day(2)) == ""
    assert found.since("FR", day(2)) == f"2 columns of FR drifted on {day(3)}"
    assert found.since("FR", day(3)) == ""
    assert found.since("FR/Paris", day(2)) == f"2 columns of FR drifted on {day(3)}"
    assert found.since("global", day(2)) == f"2 columns of FR drifted on {day(3)}"
    assert found.since("DE", day(2)) == f"1 columns of global drifted on {day(3)}"


def test_the_refit_of_a_version_that_continues_another_one_continues_it_too(station: Station, tmp_path: Path) -> None:
    ledger, archive, engine = station.deployment.ledger, archive_of(station), Engine(threads=1, memory_limit="1GB")
    # Other tests may have trained the day anew since.
    of_day = ledger.versions("greeted", as_of=SECOND)
    passed = {each.node: each for each in of_day if "warm_from" in each.configuration}
    declared = resolved(station)
    with engine.connect() as con, FreshProcess(archive, "greeted", Limits()) as apart:
        stores = Stores(con, station.lake, ledger, archive, apart.unsafe)
        made = dict(refits(declared, timeline(declared, SECOND), passed, stores, "a test"))
    assert made.keys() == passed.keys() and made
    for node, refit in made.items():
        assert isinstance(refit, VersionRecord) and refit.judged == passed[node].version
        before, own = passed[node].configuration["warm_from"], refit.configuration["warm_from"]
        assert own["version"] == before["version"] and own["rows"] > before["rows"]
        again = remake(refit, station.lake, engine, ArchiveFolder(str(tmp_path)), before_of(refit, ledger, archive))
        assert again.version == refit.version
        assert [each.version for each in warm.continued_by(ledger, [refit])] == [
            refit.version, refit.judged, before["version"],
        ]  # fmt: skip
