"""Does a challenger that the days leave open stay one, on more days at each training, until they tell or the gate's patience ends?"""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path

import pyarrow.compute as pc
import pytest

from factory_assets.declarations.days import DAY
from factory_assets.governor.executor import execute
from factory_assets.governor.runs import training_assets, training_config, training_tags
from factory_resources.records.decisions import Decision
from tests.stations import Station, day
from tests.training.greetings import NODES, delivered, told

pytestmark = pytest.mark.slow

LINE = "greeted"
CANDIDATES = """
    additive: {estimator: linear}
    boosted: {estimator: lightgbm, params: {num_boost_round: 6, min_data_in_leaf: 20}}
  gate: {metric: log_loss, certainty: 0.7, patience: 6d}
  retrain: {every: 2d}
"""
#: Holdouts have 2 days, of which the last is a day before; looks are taken until they have 8.
DAYS, TRAINED = 30, [day(offset) for offset in range(12, 30, 2)]
WHOLE = 8


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Station:
    made = delivered(tmp_path_factory.mktemp("undecided") / "station", CANDIDATES, DAYS, dearer_from=12)
    for as_of in TRAINED:
        train(made, as_of)
    return made


def train(station: Station, as_of: dt.date, anew: bool = False) -> None:
    tags = training_tags(LINE, list(NODES), str(as_of), "test", "a test")
    config = training_config(LINE, NODES, as_of)
    config["ops"][f"{LINE}__model"]["config"]["anew"] = anew
    station.deployment.failures += execute(station.deployment, training_assets(LINE), tags, config=config)
    assert station.deployment.failures == []


def decisions(station: Station, node: str) -> dict[dt.date, Decision]:
    return {made.as_of: made for made in station.deployment.ledger.decisions(LINE, node)}


@pytest.mark.parametrize("node", NODES)
def test_an_undecided_challenger_is_the_next_training_s_and_any_other_is_not(station: Station, node: str) -> None:
    made = decisions(station, node)
    assert list(made) == TRAINED
    trained = {version.as_of: version for version in station.deployment.ledger.versions(LINE, node)}
    for before, after in itertools.pairwise(TRAINED):
        left = made[before].verdict == "undecided"
        assert (made[after].version == made[before].version) == left == (after not in trained)


def test_the_world_has_what_the_tests_are_about(station: Station) -> None:
    found = [made.verdict for node in NODES for made in decisions(station, node).values()]
    assert found.count("undecided") >= 4 and "promote" in found and "keep" in found
    again = [made for node in NODES for made in decisions(station, node).values() if _age(station, made)]
    assert {"undecided", "promote", "keep"} <= {made.verdict for made in again}


def _age(station: Station, made: Decision) -> int:
    """Days from the training of the challenger that was decided on to the decision."""
    return (made.as_of - station.deployment.ledger.version(LINE, str(made.version)).as_of).days


def test_each_look_is_at_all_days_that_nobody_of_those_who_meet_has_learnt_from(station: Station) -> None:
    ledger = station.deployment.ledger
    versions = {version.version: version for version in ledger.versions(LINE)}
    rows = station.lake.read(f"{LINE}/labels")
    several = 0
    for record in ledger.evaluations(LINE):
        met = [each for each in (record.version, record.incumbent_version) if each]
        other = decisions(station, record.node)[record.as_of]
        met += [version for version in (other.version, (other.evidence.get("above") or {}).get("version")) if version]
        assert record.holdout_from == max(versions[each].holdout_from for each in met)
        assert record.holdout_to == record.as_of - DAY
        days = pc.and_(pc.greater_equal(rows["ds"], record.holdout_from), pc.less_equal(rows["ds"], record.holdout_to))
        if record.node == "global":
            assert record.rows == pc.sum(days).as_py()
        several += (record.holdout_to - record.holdout_from).days + 1 > 2
    assert several >= 4


def test_patience_ends(station: Station) -> None:
    """The last look is at the whole holdout that patience allows, and decides."""
    looked = [(made.verdict, 2 + _age(station, made)) for node in NODES for made in decisions(station, node).values()]
    assert max(days for _, days in looked) <= WHOLE
    assert all(days < WHOLE for verdict, days in looked if verdict == "undecided")


def test_it_is_told(station: Station) -> None:
    """By the gate, with what is lacking, and by the training that made no new one."""
    made = next(each for node in NODES for each in decisions(station, node).values() if each.verdict == "undecided")
    assert "looked at again for up to" in made.reason and made.evidence["holdout"].endswith(str(made.as_of - DAY))
    last = {node: list(decisions(station, node).values())[-2:] for node in NODES}
    for node, (before, _) in last.items():
        status = told(station, node)["status"]
        left = before.verdict == "undecided"
        assert (status == f"undecided as of {before.as_of}, looked at again") == left, status


def test_an_undecided_challenger_that_the_archive_lacks_is_made_again_before_it_is_looked_at(station: Station) -> None:
    node, made = next(
        (node, last) for node in NODES if (last := list(decisions(station, node).values())[-1]).verdict == "undecided"
    )
    version = station.deployment.ledger.version(LINE, str(made.version))
    place = Path(version.archive_uri) / "manifest.json"
    whole = place.read_bytes()
    assert not station.deployment.book().lost_models(LINE)
    place.unlink()
    assert node in station.deployment.book().lost_models(LINE)[version.as_of]
    place.write_bytes(whole)


def test_the_same_training_once_more_decides_alike_and_what_changes_ends_the_contest(
    station: Station, tmp_path: Path
) -> None:
    """Run again: nothing new. Asked to train anew, or by another declaration: another challenger."""
    ledger = station.deployment.ledger
    kept = {node: decisions(station, node) for node in NODES}
    for as_of in (TRAINED[-1], TRAINED[3]):
        train(station, as_of)
    assert {node: decisions(station, node) for node in NODES} == kept
    as_of, node = next((day, node) for day in TRAINED[1:] for node in NODES if _age(station, kept[node][day]))
    train(station, as_of, anew=True)
    assert node in {version.node for version in ledger.versions(LINE, as_of=as_of)}
    # One of its own day goes first from then on.
    train(station, as_of)
    assert decisions(station, node)[as_of].version == ledger.versions(LINE, node, as_of)[-1].version
