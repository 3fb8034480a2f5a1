"""Does a segment's model ship only where it beats whoever answers above it by then, and does everyone learn why?"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from factory_assets.governor.retraining import NotDue, Training, due
from factory_assets.identity.versions import contract_hash
from factory_assets.models import estimators
from tests.training.segmented import LINE, Segmented, day, declare

pytestmark = pytest.mark.slow

#: Slope of the label by city, beside one that all share; where a city has that of its country, a model of its own has nothing to add.
SLOPES = {"FR/Paris": 2.0, "FR/Lyon": 2.0, "DE/Berlin": -2.0, "DE/Bonn": -2.0}
FIRST = day(34)
ROWS = {"FR/Paris": 12, "FR/Lyon": 4, "DE/Berlin": 12, "DE/Bonn": 4}


Deploy = Callable[..., Segmented]


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    """Deploy the line with these fields, in one folder and one instance."""
    monkeypatch.setenv("FACTORY_DEFS", str(tmp_path / "defs"))
    with dg.DagsterInstance.ephemeral() as instance:

        def deployed(**fields: object) -> Segmented:
            declare(tmp_path / "defs", **fields)
            return Segmented(tmp_path, instance)

        yield deployed


@pytest.fixture
def line(deploy: Deploy) -> Segmented:
    return deploy()


def fill(
    line: Segmented, first: int, last: int, slopes: Mapping[str, float] = SLOPES, rows: Mapping[str, int] = ROWS
) -> None:
    """Days first..last (offsets): so many rows a day of each city, on its slope."""
    rng = np.random.default_rng(first)
    cities = [city for city, count in rows.items() for _ in range(count)]
    days = [day(offset) for offset in range(first, last + 1) for _ in cities]
    cities = cities * (last - first + 1)
    x = rng.normal(size=(len(days), 2))
    y = np.array([slopes[city] for city in cities]) * x[:, 0] + 2 * x[:, 1] + rng.normal(size=len(days))
    line.give(cities, days, x, y)


def test_in_the_first_training_a_child_meets_its_parent_of_the_same_run(line: Segmented) -> None:
    fill(line, 0, 34)
    assert line.train(FIRST) == []
    champions = line.champions()
    assert {"global", "FR", "DE"} <= set(champions), "a country beats a world in which slopes cancel out"
    assert "FR/Lyon" not in champions and "DE/Bonn" not in champions, (
        "four rows a day find nothing that the country has not"
    )
    assert "of the champion of FR" in line.reason("FR/Lyon")
    assert "of the champion of global with a certainty of" in line.reason("FR")


def test_a_champion_steps_down_where_its_parent_has_become_better(line: Segmented) -> None:
    apart = SLOPES | {"FR/Lyon": -2.0}
    fill(line, 0, 34, apart)
    assert line.train(FIRST) == [] and "FR/Lyon" in line.champions()
    fill(line, 35, 76, rows=ROWS | {"FR/Lyon": 1})
    assert line.train(day(76)) == []
    assert "FR/Lyon" not in line.champions()
    assert "the champion steps down" in line.reason("FR/Lyon")
    assert line.reason("FR/Lyon").endswith("no challenger: 28 training rows, 50 needed")
    board = line.leaderboard(day(76))["FR/Lyon"]
    assert board["answers"] == "FR" and board["version"] == line.champions()["FR"] and board["since"] == day(77)
    assert board["gain"] < 0


def test_a_champion_that_still_beats_its_parent_stays_when_its_challenger_does_not_beat_it(line: Segmented) -> None:
    apart = SLOPES | {"FR/Lyon": -2.0}
    fill(line, 0, 34, apart)
    line.train(FIRST)
    held = line.champions()["FR/Lyon"]
    # The next window was fed with nonsense, its holdout was not.
    fill(line, 35, 69, SLOPES | {"FR/Lyon": 9.0})
    fill(line, 70, 76, apart)
    assert line.train(day(76)) == []
    assert line.champions()["FR/Lyon"] == held
    assert line.ledger.decisions(LINE, "FR/Lyon")[-1].verdict == "keep"
    board = line.leaderboard(day(76))["FR/Lyon"]
    assert board["since"] == FIRST + dt.timedelta(days=1) and board["gain"] > 0, "the gain of the one that answers"


def test_one_run_trains_a_scattered_subset_and_tells_of_nothing_else(line: Segmented) -> None:
    fill(line, 0, 34)
    chosen = ["DE", "FR/Lyon"]
    nodes = line.nodes
    assert nodes.index("FR/Lyon") - nodes.index("DE") > 1, "others lie between them"
    assert line.train(FIRST, ["global", "FR"]) == [] and line.train(FIRST, chosen) == []
    assert {decision.node for decision in line.ledger.decisions(LINE)} == {"global", "FR", *chosen}
    for station in ("model", "evaluation", "refit", "champion"):
        events = line.instance.fetch_materializations(dg.AssetKey([LINE, station]), limit=100).records
        assert sorted(str(event.partition_key) for event in events) == sorted(["global", "FR", *chosen]), station
    assert "of the champion of FR" in line.reason("FR/Lyon"), "FR was decided in the run before"


def test_the_pages_of_a_training_open_with_all_nodes_and_not_with_a_leaf(line: Segmented) -> None:
    fill(line, 0, 34)
    line.train(FIRST)
    for name in ("model", "evaluation", "champion"):
        (newest,) = line.instance.fetch_materializations(dg.AssetKey([LINE, name]), limit=1).records
        made = newest.asset_materialization
        assert made is not None and made.partition == "global", name
        assert list(made.metadata)[:2] == ["in_short", "all_nodes"], name
        shown = made.metadata["all_nodes"]
        assert isinstance(shown, dg.TableMetadataValue) and len(shown.records[0].data) <= 5
        nodes = [record.data["node"] for record in shown.records]
        assert nodes[0] == "global" and set(nodes) <= set(line.nodes), name
        assert name == "evaluation" or set(nodes) == set(line.nodes), name


def test_the_page_of_models_shows_all_nodes_after_a_training_of_one(line: Segmented) -> None:
    fill(line, 0, 34)
    line.train(FIRST)
    fill(line, 35, 36)
    line.train(day(36), ["FR"])
    (newest,) = line.instance.fetch_materializations(dg.AssetKey([LINE, "model"]), limit=1).records
    made = newest.asset_materialization
    assert made is not None and made.partition == "FR"
    assert f"1 node of {len(line.nodes)}, 1 trained" in str(made.metadata["in_short"].value)
    shown = {str(each.data["node"]): each.data for each in made.metadata["all_nodes"].records}  # type: ignore[union-attr]
    assert shown.keys() == set(line.nodes)
    assert shown["FR"]["as of"] == str(day(36)) and shown["global"]["as of"] == str(FIRST)


def test_who_answers_since_when_and_why_is_one_table(line: Segmented) -> None:
    fill(line, 0, 34)
    line.train(FIRST)
    board, champions = line.leaderboard(FIRST), line.champions()
    assert set(board) == set(line.nodes)
    for node, row in board.items():
        assert row["answers"] == (node if node in champions else node.split("/")[0])
        assert row["version"] == champions[row["answers"]] and row["candidate"] == "linear"
        assert row["since"] == FIRST + dt.timedelta(days=1) and row["reason"] and row["stale"] is None
        if node != "global":
            lucky = "but with a certainty of" in row["reason"]
            assert (row["gain"] > 0) == (row["answers"] == node or lucky)
    (record,) = line.instance.fetch_materializations(dg.AssetKey([LINE, "leaderboard"]), limit=10).records
    shown = record.asset_materialization.metadata  # type: ignore[union-attr]
    assert len(shown["resolver"].records) == len(shown["league"].records) == len(board)  # type: ignore[union-attr]
    assert "data:image/png" in str(shown["gains"].value)
    assert record.partition_key is None


def test_a_segment_that_vanishes_keeps_its_model_marked_stale_and_is_not_new_when_it_returns(line: Segmented) -> None:
    apart = SLOPES | {"FR/Lyon": -2.0}
    fill(line, 0, 34, apart)
    line.train(FIRST)
    held, nodes = line.champions()["FR/Lyon"], line.nodes
    fill(line, 35, 218, apart, {city: count for city, count in ROWS.items() if city != "FR/Lyon"})
    line.train(day(218))
    board = line.leaderboard(day(218))["FR/Lyon"]
    assert (board["answers"], board["version"], board["stale"]) == ("FR/Lyon", held, f"last seen {day(34)}")
    assert board["since"] == FIRST + dt.timedelta(days=1)
    fill(line, 219, 253, apart)
    line.train(day(253))
    assert line.nodes == nodes, "no new partition"
    assert line.leaderboard(day(253))["FR/Lyon"]["stale"] is None
    assert [decision.verdict for decision in line.ledger.decisions(LINE, "FR/Lyon")][:2] == ["promote", "keep"]


def test_a_node_whose_training_fails_falls_back_and_many_of_them_fail_the_run(
    line: Segmented, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, broken = estimators.train, set[int]()

    def train_or_fail(estimator: str, x: np.ndarray, y: np.ndarray, **settings: object) -> object:
        if len(y) in broken:
            raise FloatingPointError("no convergence")
        return train(estimator, x, y, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(estimators, "train", train_or_fail)
    fill(line, 0, 34, SLOPES, ROWS | {"FR/Lyon": 5})
    broken.add(5 * 28)
    (told,) = line.train(FIRST)
    assert "1 of 7 nodes failed, segments.max_failed allows 5%. FR/Lyon: FloatingPointError: no convergence" in told
    status = {row["node"]: row["status"] for row in line.lake.read(f"{LINE}/model").to_pylist()}
    assert status.pop("FR/Lyon") == "failed" and set(status.values()) == {"trained"}, (
        "everything was recorded all the same"
    )
    line = deploy(segments={"levels": ["country", "city"], "min_rows": 50, "max_failed": 0.2})
    assert line.train(FIRST) == []
    assert "training failed, FloatingPointError: no convergence" in line.reason("FR/Lyon")
    assert line.leaderboard(FIRST)["FR/Lyon"]["answers"] == "FR"


def test_nodes_that_a_training_left_out_are_caught_up_alone_and_those_that_came_later_wait_for_the_next(
    line: Segmented,
) -> None:
    fill(line, 0, 34)
    line.train(FIRST, nodes=["global", "DE", "FR", "DE/Berlin", "DE/Bonn", "FR/Lyon"])
    fill(line, 35, 36, SLOPES | {"IT/Rome": 1.0}, ROWS | {"IT/Rome": 9})
    left = [node for node in line.nodes if node not in line.ledger.standing(LINE)]
    assert left == ["FR/Paris", "IT", "IT/Rome"]
    book = line.deployment.book()
    days = [day(offset) for offset in range(37)]
    found = due(
        line.declared, days, line.ledger.standing(LINE), lambda until: book.seen(LINE, until), line.nodes,
        contract_hash(line.declared),
    )  # fmt: skip
    assert isinstance(found, Training)
    assert (found.as_of, found.nodes) == (FIRST, ("FR/Paris",)) and "1 node without a decision" in found.reason
    assert line.train(found.as_of, nodes=list(found.nodes)) == []
    later = due(
        line.declared, days, line.ledger.standing(LINE), lambda until: book.seen(LINE, until), line.nodes,
        contract_hash(line.declared),
    )  # fmt: skip
    assert isinstance(later, NotDue) and "2 new labelled days" in later.reason
    assert set(line.leaderboard(FIRST)) == {"global", "DE", "FR", "DE/Berlin", "DE/Bonn", "FR/Lyon", "FR/Paris"}


def test_the_order_in_which_files_hold_the_rows_changes_no_version(deploy: Deploy, tmp_path: Path) -> None:
    params = {"num_boost_round": 10, "bagging_fraction": 0.5, "bagging_freq": 1}
    boosted = {"candidates": {"boosted": {"estimator": "lightgbm", "params": params}}}
    line = deploy(**boosted)
    fill(line, 0, 34)
    line.train(FIRST, stations=["model"])
    made = {version.node: version.version for version in line.ledger.versions(LINE)}
    for table in ("examples", "labels"):
        rows = line.lake.read(f"{LINE}/{table}")
        shuffled = rows.take(np.random.default_rng(7).permutation(rows.num_rows))
        line.lake.replace(f"{LINE}/{table}", shuffled, line.lake.days(f"{LINE}/{table}"))
    # What is archived is not made again from the same rows, in whatever order.
    shutil.rmtree(line.archive.root)
    assert line.train(FIRST, stations=["model"]) == []
    runs = line.instance.get_run_records(limit=1)
    logged = [entry.user_message for entry in line.instance.all_logs(runs[0].dagster_run.run_id)]
    assert any("7 nodes to train, 0 trained before" in message for message in logged)
    assert {version.node: version.version for version in line.ledger.versions(LINE)} == made
