"""From deliveries to a registered model: is the search made on what was known, recorded, shown, and listed by the command?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_resources.records.trials import Trial, Trials
from tests.stations import Station, day
from tests.training.greetings import delivered, told, train

CANDIDATES = """
    logistic: {estimator: logistic_regression}
    boosted:
      estimator: lightgbm
      params: {num_boost_round: 5}
      search: {space: {num_leaves: {int: [2, 30]}, learning_rate: {float: [0.01, 0.5], log: true}}, trials: 10, folds: 2}
"""
#: Of a holdout of days 9 and 10, whose last label is known at the close of day 11.
AS_OF, HOLDOUT = day(11), 9


def trained(folder: Path, scrambled_from: int = 1000) -> Station:
    """A station after a training as of day 11."""
    station = delivered(folder, CANDIDATES, 12, scrambled_from)
    train(station, AS_OF)
    return station


def book(station: Station) -> Trials:
    return Trials(url=station.deployment.ledger.url)


def timeless(trials: list[Trial]) -> list[Any]:
    return [(t.number, t.params, t.state, t.value, t.folds, t.search, t.configuration) for t in trials]


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Station:
    return trained(tmp_path_factory.mktemp("search") / "station")


def test_what_happens_in_the_holdout_changes_no_trial(station: Station, tmp_path: Path) -> None:
    other = trained(tmp_path / "scrambled", HOLDOUT)
    theirs, ours = (one.lake.read("greeted/labels", day(HOLDOUT)) for one in (other, station))
    assert not theirs.equals(ours)
    assert len(book(other).trials("greeted")) == 11
    assert timeless(book(other).trials("greeted")) == timeless(book(station).trials("greeted"))


def test_versions_have_the_parameters_found_and_say_from_which_search(station: Station) -> None:
    trials = book(station).trials("greeted")
    assert len(trials) == 11 and {trial.node for trial in trials} == {"global"}
    best = max((trial for trial in trials if trial.value), key=lambda trial: trial.value or 0.0)
    versions = {version.node: version for version in station.deployment.ledger.versions("greeted")}
    boosted = [version for version in versions.values() if version.candidate == "boosted"]
    assert boosted and set(versions) == {"global", "Paris", "Lyon"}
    for version in boosted:
        assert version.configuration["params"] == best.params
        source = version.configuration["search"]
        assert (source["node"], source["as_of"], source["trial"]) == ("global", str(AS_OF), best.number)
        assert source["average_precision"] == best.value


def test_the_page_of_a_node_says_why_this_one_won(station: Station) -> None:
    page = told(station, "global")
    assert "as declared" in page["search_boosted"] and "11 trials" in page["search_boosted"]
    assert len(page["trials_boosted"].records) > 1
    assert page["course_boosted"].startswith("![greeted: search for boosted")
    assert "trials_boosted" not in told(station, "Paris") and "at global" in told(station, "Paris")["search_boosted"]


def test_training_again_searches_no_more_and_gives_the_same_versions(station: Station) -> None:
    before = told(station, "Lyon")["version"]
    train(station, AS_OF, ["Lyon"])
    train(station, AS_OF)
    assert len(book(station).trials("greeted")) == 11
    assert told(station, "Lyon")["version"] == before


def test_the_command_lists_trials_and_compares_two(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_LEDGER", station.deployment.ledger.url)
    monkeypatch.setenv("FACTORY_DEFS", str(station.folder / "defs"))
    monkeypatch.setenv("COLUMNS", "220")
    trials = book(station).trials("greeted")
    complete = [trial for trial in trials if trial.state == "complete"]
    first = min(complete, key=lambda trial: trial.metrics["log_loss"])

    def run(*arguments: str, code: int = 0) -> list[str]:
        result = CliRunner().invoke(app, ["trials", *arguments])
        assert result.exit_code == code, result.output
        return [" ".join(line.replace("│", " ").split()) for line in result.output.splitlines()]

    listed = run("greeted", "--sort", "log_loss", "--limit", "2")
    assert listed[0] == "greeted: 2 of 11 trials"
    rows = [line for line in listed if f" {AS_OF} " in line]
    assert (
        len(rows) == 2
        and rows[0].split()[0] == str(first.id)
        and f"log_loss {first.metrics['log_loss']:.5g}" in rows[0]
    )
    compared = run("greeted", str(complete[0].id), str(complete[1].id))
    assert any(line.startswith("num_leaves ") for line in compared)
    assert not any(line.startswith("num_boost_round") for line in compared), "it is equal in both"
    assert any(line.startswith(f"average_precision, {complete[0].folds[0]['validate_from']}") for line in compared)
    assert "has no trial 999" in " ".join(run("greeted", "999", "998", code=1))
    assert "'greted' is not a line; lines here: greeted" in " ".join(run("greted", code=1))
    assert "no such trials" in " ".join(run("greeted", "--node", "Paris"))
