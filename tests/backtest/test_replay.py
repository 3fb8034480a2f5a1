"""Does a replay know no more at each training than was known, is each model fitted once, and is the verdict what the rows say?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from factory_assets.backtest.asked import Asked, BacktestRefused, Stretch, as_replayed, asked
from factory_assets.backtest.measured import NAIVE, SHARE, Against, Measured, luck
from factory_assets.backtest.replay import BEFORE, Predicted, Replayed, replay, trainings
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.governor.retraining import Training
from factory_assets.identity.nodes import tree
from factory_resources.engine import Engine
from tests.training.segmented import LINE, Segmented, day, declare

LAST = 63
LEAVES = ("FR/Lyon", "FR/Paris", "DE/Bonn")
A_DAY = 5


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmented]:
    folder = tmp_path_factory.mktemp("replayed")
    declare(
        folder / "defs",
        label={"expression": "y", "delay": "2d"},
        train={"window": "14d", "holdout": "7d"},
        retrain={"every": "14d"},
    )
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("FACTORY_DEFS", str(folder / "defs"))
        made = Segmented(folder, instance)
        give(made, *rows_of())
        yield made


@pytest.fixture(scope="module")
def once(line: Segmented, tmp_path_factory: pytest.TempPathFactory) -> tuple[Replayed, Path]:
    """The replay of all policies, and its folder."""
    folder = tmp_path_factory.mktemp("once") / "one"
    return replayed(line, folder), folder


def rows_of() -> tuple[np.ndarray, np.ndarray]:
    """Features and labels: of each leaf another slope, which turns in the middle of the past."""
    rng = np.random.default_rng(3)
    number = len(LEAVES) * A_DAY * (LAST + 1)
    x = rng.normal(size=(number, 2))
    leaf, offset = np.arange(number) % len(LEAVES), np.arange(number) // (len(LEAVES) * A_DAY)
    return x, (1 + leaf) * x[:, 0] + np.where(offset < 40, 2, -2) * x[:, 1] + rng.normal(0, 0.3, number)


def give(line: Segmented, x: np.ndarray, y: np.ndarray) -> None:
    offsets = np.arange(len(y)) // (len(LEAVES) * A_DAY)
    days = [day(int(offset)) for offset in offsets]
    line.give([LEAVES[place % len(LEAVES)] for place in range(len(y))], days, x, y)
    # Labels are known two days later.
    labels = line.lake.read(f"{LINE}/labels").sort_by("example_id")
    known = pa.array([dt.datetime.combine(on + dt.timedelta(days=2), dt.time(1)) for on in days], pa.timestamp("us"))
    labels = labels.set_column(labels.schema.get_field_index("known_at"), "known_at", known)
    line.lake.replace(f"{LINE}/labels", labels, sorted(set(days)))


LABELLED = [day(offset) for offset in range(LAST - 1)]


def seen(until: dt.date) -> list[str]:
    return tree(LEAVES)


def replayed(line: Segmented, folder: Path, **config: Any) -> Replayed:
    wanted = asked(line.declared, LABELLED, tree(LEAVES), **config)
    folder.mkdir()
    return replay(wanted, LABELLED, seen, line.lake, Engine(threads=1), folder)


def test_no_row_and_no_label_of_the_future_reaches_a_training(
    line: Segmented, once: tuple[Replayed, Path], tmp_path: Path
) -> None:
    """Whatever comes after a training, and labels that are not known by then: its models, and its rulings, are the same."""
    before, _ = once
    middle = before.trainings[1].as_of
    x, y = rows_of()
    offsets = np.arange(len(y)) // (len(LEAVES) * A_DAY)
    # Known at the close of a day are the labels of two days before; and features of the day itself.
    leaking = offsets > (middle - day(0)).days - 2
    give(line, x, np.where(leaking, 1000.0, y))
    after = replayed(line, tmp_path / "two", last=str(before.trainings[-1].as_of + dt.timedelta(days=1)))
    give(line, x, y)
    assert [each.as_of for each in before.trainings] == [each.as_of for each in after.trainings]

    def until_then(found: Replayed) -> list[tuple[Any, ...]]:
        return [
            (each.policy, each.as_of, each.node, each.event, each.version, each.champion, each.reason)
            for each in found.events
            if each.as_of <= middle
        ]

    assert len(until_then(before)) > 20 and until_then(before) == until_then(after)
    later = [{each.version for each in found.events if each.as_of > middle} for found in (before, after)]
    assert later[0] != later[1]


def test_a_day_is_answered_by_models_that_were_made_before_it(once: tuple[Replayed, Path]) -> None:
    found, _ = once
    rows = Measured(found).table().to_pylist()
    answered = [each for each in rows if each["period"] == "day"]
    assert answered and all(each["as_of"] < each["day"] for each in answered if each["version"])
    assert {each["day"] for each in answered} == set(LABELLED) - {
        on for on in LABELLED if on <= found.trainings[0].as_of
    }
    newest = {each["as_of"] for each in answered if each["policy"] == "newest"}
    assert newest == {each.as_of for each in found.trainings}
    assert {each["as_of"] for each in answered if each["policy"] == "never"} == {found.trainings[0].as_of}


def test_a_model_is_fitted_once_for_all_policies_and_paid_by_each_that_trains_it(once: tuple[Replayed, Path]) -> None:
    found, folder = Measured(once[0]), once[1]
    never, gate, newest = found.totals
    assert never.trainings == 1 < gate.trainings == newest.trainings == len(found.replayed.trainings)
    assert gate.models == newest.models == len(tree(LEAVES)) * newest.trainings
    assert never.models == len(tree(LEAVES)) and 0 < never.seconds < newest.seconds == pytest.approx(gate.seconds)
    archived = list((folder / "archive" / LINE).iterdir())
    assert len(archived) == 2 * newest.models, "each is fitted again on all labelled days"
    # The world turned: who retrains is better, and a node's own rows say so too.
    assert never.value is not None and newest.value is not None and newest.value < never.value
    of_bonn = [each for each in found.table().to_pylist() if each["period"] == "stretch" and each["node"] == "DE/Bonn"]
    assert [each["policy"] for each in of_bonn] == ["never", "gate", "newest"]
    assert of_bonn[2]["value"] < of_bonn[0]["value"]


def test_nodes_that_are_not_asked_for_are_answered_from_above(line: Segmented, tmp_path: Path) -> None:
    found = replayed(line, tmp_path / "one", nodes=["FR/Lyon"], policies=["newest"], last=str(day(36)))
    assert {each.node for each in found.events} == {"global", "FR", "FR/Lyon"}
    rows = {each["node"]: each for each in Measured(found).table().to_pylist() if each["period"] == "stretch"}
    assert set(rows) == set(tree(LEAVES)) and rows["DE/Bonn"]["version"] == rows["global"]["version"]
    assert rows["FR/Paris"]["version"] == rows["FR"]["version"] != rows["FR/Lyon"]["version"]


def test_trainings_come_as_often_as_asked_and_only_where_days_are_labelled(line: Segmented) -> None:
    def days(labelled: list[dt.date], **config: Any) -> list[dt.date]:
        wanted = asked(line.declared, labelled, tree(LEAVES), **config)
        return [each.as_of for each in trainings(wanted, labelled, seen)]

    first = days(LABELLED)[0]
    week = dt.timedelta(days=7)
    assert days(LABELLED) == [first, first + 2 * week, first + 4 * week]
    assert days(LABELLED, every="7d") == [first + each * week for each in range(6)]
    assert days(LABELLED, every="7d", first=str(first + week), last=str(first + 3 * week)) == [
        first + week,
        first + 2 * week,
    ]
    # A day without labels is no new labelled day: the training after it comes a day later.
    lacking = [on for on in LABELLED if on != first + dt.timedelta(days=3)]
    assert days(lacking, every="7d")[:2] == [first, first + week + dt.timedelta(days=1)]
    with pytest.raises(BacktestRefused, match="there is nothing to replay: a training is possible from"):
        asked(line.declared, LABELLED[:10], tree(LEAVES))


def test_who_never_answered_is_said_instead_of_a_verdict(line: Segmented, tmp_path: Path) -> None:
    gate = line.declared.line.gate.model_copy(update={"floor": 0.0})
    strict = replace(line.declared, line=line.declared.line.model_copy(update={"gate": gate}))
    wanted = asked(strict, LABELLED, tree(LEAVES), nodes=["global"], last=str(day(40)))
    (tmp_path / "one").mkdir()
    found = Measured(replay(wanted, LABELLED, seen, line.lake, Engine(threads=1), tmp_path / "one"))
    rows = len(found.rows.y)
    assert (
        found.advice() == f"nothing can be compared: retraining with the gate had no champion for {rows} of {rows} rows"
    )
    assert found.comparisons == [] and {each["value"] for each in found.table().to_pylist()} == {None}


def test_models_that_cannot_be_made_are_said_with_the_reason(line: Segmented, tmp_path: Path) -> None:
    """Here a feature of which the examples have no column."""
    lacking = replace(
        line.declared, line=line.declared.line.model_copy(update={"features": [*line.declared.line.features, "absent"]})
    )
    wanted = asked(lacking, LABELLED, tree(LEAVES), nodes=["global"], last=str(day(40)))
    (tmp_path / "one").mkdir()
    found = Measured(replay(wanted, LABELLED, seen, line.lake, Engine(threads=1), tmp_path / "one"))
    number = len(found.replayed.trainings)
    assert f"; {number} of {number} models could not be made, that of global as of " in found.advice()
    assert found.advice().startswith("nothing can be compared: ") and "no column for absent" in found.advice()


def test_a_lucky_first_version_is_no_reason_to_retrain_and_one_that_ages_is(line: Segmented) -> None:
    """Half a year on drawn rows: of 30 worlds in which versions differ and nothing ages, at most 4 come to "better" by chance."""
    verdicts = [_drawn(line.declared, seed, 0.0).verdict for seed in range(30)]
    assert verdicts.count("better") <= 4 and verdicts.count("worse") <= 4
    assert [_drawn(line.declared, seed, 0.01).verdict for seed in range(5)] == ["better"] * 5


def test_that_retraining_does_not_pay_is_sure_or_not_said(line: Segmented) -> None:
    """Versions that are alike: retraining gains less than the share, for sure. Some that differ: it may gain more."""
    alike = [_drawn(line.declared, seed, 0.0, differ=0.02) for seed in range(10)]
    verdicts = [each.verdict for each in alike]
    assert verdicts.count("too little") >= 7 and set(verdicts) <= {"too little", "cannot tell"}
    for each in alike:
        assert each.limits and each.limits[0] < each.gain < each.limits[1]
        assert (each.limits[1] <= each.worth) == (each.verdict == "too little")
    differ = [_drawn(line.declared, seed, 0.0, differ=0.6).verdict for seed in range(10)]
    assert differ.count("cannot tell") >= 5
    # Not even what is surely a gain pays where less than so much is not worth a training.
    strict = _drawn(line.declared, 0, 0.002, differ=0.02, share=0.5)
    assert strict.limits and strict.limits[0] > 0 and strict.verdict == "too little"


def test_of_too_few_trainings_the_advice_says_how_many_there_must_be(line: Segmented) -> None:
    found = _measured(line.declared, 0, 0.0, weeks=3)
    (against,) = found.comparisons
    assert against.verdict == "unknown" and against.limits is None
    assert "cannot be judged" in found.advice() and "trainings are the fewest" in found.advice()


def test_luck_is_what_a_version_has_on_all_its_days() -> None:
    """Days make versions differ as well, but not the same versions on other days."""
    rng, weeks = np.random.default_rng(1), 4000
    of_version, of_days = rng.normal(0, 0.5, weeks), rng.normal(0, 1, weeks - 1)
    assert luck(np.diff(of_version) + of_days) == pytest.approx(0.25, abs=0.06)
    assert luck(of_days) < 0.06
    assert luck(np.diff(of_version)) == pytest.approx(0.25, abs=0.03)


def test_two_policies_share_the_luck_of_the_versions_that_both_answer_by(line: Segmented) -> None:
    """A gate that changes its mind halfway is half the first version: a quarter of the luck of each is in the difference."""

    def lasting(gate: list[str]) -> float:
        made = [Training(LINE, day(7 * each), ("global",), "new_data", "") for each in range(4)]
        versions = {"never": ["v0"] * 4, "gate": gate, "newest": ["v0", "v1", "v2", "v3"]}
        champions: Any = {
            who: {training.as_of: {"global": version} for training, version in zip(made, answering, strict=True)}
            for who, answering in versions.items()
        }
        days = np.datetime64(day(1)) + np.arange(28)
        rows = Predicted(days, np.zeros(28, int), ["global"], np.zeros(28), None, dict.fromkeys(versions, np.zeros(28)))
        wanted = Asked(as_replayed(line.declared, dt.timedelta(days=7)), Stretch(day(0), day(28)), ("never", "gate"))
        return Measured(Replayed(wanted, "mae", made, [], champions, {}, rows)).lasting("gate", "never")

    assert lasting(["v0"] * 4) == 0
    assert lasting(["v0", "v0", "v1", "v1"]) == pytest.approx(0.5)
    assert lasting(["v1"] * 4) == pytest.approx(2)
    assert lasting(["v0", "v1", "v2", "v3"]) == pytest.approx(0.75**2 + 3 * 0.25**2)


def _drawn(declared: DeclaredLine, seed: int, ages: float, differ: float = 0.3, share: float = SHARE) -> Against:
    """The newest models against never retraining."""
    (against,) = _measured(declared, seed, ages, differ, share).comparisons
    return against


def _measured(
    declared: DeclaredLine, seed: int, ages: float, differ: float = 0.3, share: float = SHARE, weeks: int = 26
) -> Measured:
    """ages: what the first version's error grows by in a day. differ: by how much versions do."""
    rng = np.random.default_rng(seed)
    days = np.repeat(np.arange(7 * weeks), 20)
    y, wrong = rng.normal(size=len(days)), 0.3 * np.exp(rng.normal(0, differ, weeks + 1))

    def predicted(version: np.ndarray, older: float = 0.0) -> np.ndarray:
        noise = (wrong[version] + older * days) * rng.normal(size=len(days))
        return np.where(version < 0, np.nan, y + noise)

    week = days // 7
    predictions = {
        "never": predicted(0 * week, ages),
        "newest": predicted(week),
        BEFORE: predicted(week - 1),
        NAIVE: 0.0 * y,
    }
    made = [Training(LINE, day(7 * each), ("global",), "new_data", "") for each in range(weeks)]
    rows = Predicted(np.datetime64(day(1)) + days, 0 * days, ["global"], y, None, predictions)
    stretch = Stretch(day(0), day(7 * weeks))
    wanted = Asked(as_replayed(declared, dt.timedelta(days=7)), stretch, ("never", "newest"))
    champions: Any = {
        "never": {each.as_of: {"global": "v0"} for each in made},
        "newest": {each.as_of: {"global": f"v{number}"} for number, each in enumerate(made)},
    }
    return Measured(Replayed(wanted, "mae", made, [], champions, {}, rows), share)


def test_the_name_of_a_replay_tells_it_from_others(line: Segmented) -> None:
    one = asked(line.declared, LABELLED, tree(LEAVES))
    others = [
        asked(line.declared, LABELLED, tree(LEAVES), **config)
        for config in ({"every": "7d"}, {"seed": 8}, {"nodes": ["FR"]}, {"last": str(day(50))})
    ]
    names = {each.name for each in (one, *others)}
    assert len(names) == 5
    assert isinstance(one, Asked) and one.declared.line.retrain.on == ["new_data"]
