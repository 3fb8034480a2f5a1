"""Is it told before a challenger answers how many decisions it would take otherwise, where and for whom, and may that be too many?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations.candidates import check
from factory_assets.declarations.line import Gate
from factory_assets.evaluation.gate import Contest, rule
from factory_assets.evaluation.staging import Part, Staging, compared
from factory_assets.release.approval import waiting
from factory_assets.training.subtrees import Subtrees
from tests.features.lines import OF_EVENTS, declared_line
from tests.training.segmented import LINE, Segmented, by_node, day, declare

DAY = dt.date(2026, 3, 1)
CLASSES = "multiclass(red, green, blue)"


@pytest.mark.parametrize(
    ("task", "gate", "ours", "theirs", "differing", "when"),
    [
        ("binary", Gate(), [0.4, 0.5, 0.9], [0.1, 0.4, 0.6], [False, True, False], "the other side of 0.5"),
        ("binary", Gate(threshold=0.2), [0.4, 0.5, 0.1], [0.1, 0.4, 0.3], [True, False, True], "of 0.2"),
        ("regression", Gate(tolerance=1), [1.0, 5.0], [2.0, 2.0], [False, True], "more than 1 apart"),
        ("count", Gate(), [1.0, 5.0], [2.0, 1.0], [False, True], "more than 3 apart, by which the challenger is off"),
        (CLASSES, Gate(), [[0.5, 0.3, 0.2]] * 2, [[0.4, 0.3, 0.3], [0.3, 0.5, 0.2]], [False, True], "another class"),
    ],
)
def test_an_answer_is_another_one_where_the_decision_would_be(
    task: str, gate: Gate, ours: Any, theirs: Any, differing: list[bool], when: str
) -> None:
    found, change, words = compared(task, gate, np.array(ours), np.array(theirs), 3.0)
    assert found.tolist() == differing and when in words
    expected = np.abs(np.array(ours) - np.array(theirs))
    assert change == pytest.approx(expected.sum(axis=1) / 2 if expected.ndim == 2 else expected)


@pytest.mark.parametrize(
    ("task", "gate", "message"),
    [
        ("binary", {"tolerance": 2}, "2 is for numbers, and the task is binary; write threshold"),
        (CLASSES, {"tolerance": 2}, "another class is another answer"),
    ],
)
def test_a_bound_of_another_task_is_refused(task: str, gate: dict[str, Any], message: str) -> None:
    line = declared_line(**OF_EVENTS).line.model_copy(update={"task": task, "gate": Gate(**gate)})
    (found,) = [each for path, each in check(line) if path[0] == "gate"]
    assert message in found


def ruled(share: float | None, **gate: Any) -> Any:
    met = Contest({"mae": 9.0}, None, {"mae": 5.0}, {"mae": 4.0}, {"naive": 1.0, "challenger": 1.0}, disagreement=share)
    return rule("mae", Gate(**gate), met, None)


def test_more_other_answers_than_declared_wait_for_somebody_to_approve_them() -> None:
    ruling = ruled(0.31, disagreement=0.2)
    assert (ruling.verdict, ruling.waits) == ("keep", True)
    assert ruling.reason == (
        "mae 4, better than 5 of the champion with a certainty of 1.00, but 31.0% of the newest day would get another answer "
        "than now, 20.0% at most are declared; waits for approval"
    )
    for allowed in (ruled(0.2, disagreement=0.2), ruled(None, disagreement=0.2), ruled(0.99)):
        assert allowed.verdict == "promote" and "answer" not in allowed.reason
    assert "another answer" not in ruled(0.1, disagreement=0.2, approval=True).reason


def model(factor: float) -> Any:
    return SimpleNamespace(features=("x", "channel"), predict=lambda rows, task: factor * rows["x"].to_numpy())


MODELS = {"old": model(1.0), "new": model(1.0), "fr": model(1.0), "bent": model(3.0)}


def examples() -> pa.Table:
    """60 rows in three cities; x is 1 where the channel is phone, a third of all, and 0 elsewhere."""
    cities = ["FR/Lyon", "FR/Paris", "DE/Bonn"] * 20
    phone = [place // 3 % 3 == 0 for place in range(60)]
    return pa.table(
        {
            "leaf": cities,
            "country": [city[:2] for city in cities],
            "channel": ["phone" if each else "app" for each in phone],
            "x": [float(each) for each in phone],
            "customer": [place % 4 for place in range(60)],
            "example_id": list(range(60)),
            "observed_at": pa.array([dt.datetime(2026, 3, 1)] * 60, pa.timestamp("us")),
        }
    )


def staging(champions: dict[str, str], newest: Any = None, **gate: Any) -> Staging:
    fields = {"task": "regression", "gate": {"cluster": "customer"} | gate, "segments": {"levels": ["country", "city"]}}
    declared = declared_line(**OF_EVENTS | {"task": "regression"})
    line = declared.line.model_copy(update={"gate": Gate(**fields["gate"])})
    return Staging(
        SimpleNamespace(line=line),  # type: ignore[arg-type]
        champions,
        newest or (lambda: (DAY, by_node(examples()))),
        MODELS.__getitem__,
    )


def by_kind(parts: Any, kind: str) -> dict[str, Part]:
    return {part.name: part for part in parts if part.kind == kind}


def test_it_tells_how_many_where_and_for_whom() -> None:
    found = staging({"global": "old"}, tolerance=0.5).staged("global", "bent", 9.0)
    assert found is not None and found.day == DAY
    assert (found.all.rows, found.all.differing, found.all.share) == (60, 21, 0.35)
    assert str(found) == "21 of 60 rows of 2026-03-01 (35.0%) get another answer than now: more than 0.5 apart"
    values = by_kind(found.parts, "value")
    assert next(iter(values)) == "channel phone" and values["channel phone"].share == 1
    entities = by_kind(found.parts, "entity")
    assert {name.split()[0] for name in entities} == {"customer"} and len(entities) == 4
    assert [part.change for part in entities.values()] == sorted(
        (part.change for part in entities.values()), reverse=True
    )
    assert sum(part.rows for part in entities.values()) == 60


def test_only_rows_that_it_would_answer_count_each_beside_who_answers_it_now() -> None:
    """FR has a champion, DE is answered from above; Paris has one of its own, which a challenger of FR does not touch."""
    champions = {"global": "bent", "FR": "old", "FR/Paris": "fr"}
    of_fr = staging(champions, tolerance=0.5).staged("FR", "bent", 0.0)
    assert of_fr is not None and of_fr.all.rows == 20 and of_fr.all.differing == 7
    of_de = staging(champions, tolerance=0.5).staged("DE", "bent", 0.0)
    assert of_de is not None and (of_de.all.rows, of_de.all.differing) == (20, 0), "the champion of global is the same"
    assert staging({"FR": "old"}).staged("DE", "new", 0.0) is None, "nobody answers there now"
    assert staging(champions).staged("IT", "new", 0.0) is None, "no row is its own"
    assert staging(champions, lambda: None).staged("FR", "new", 0.0) is None, "no day has examples"


def test_the_newest_day_is_read_once_and_only_for_somebody() -> None:
    asked: list[int] = []

    def newest() -> tuple[dt.date, Subtrees]:
        asked.append(1)
        return DAY, by_node(examples())

    one = staging({"global": "old"}, newest)
    assert not asked
    one.staged("global", "new", 1.0)
    one.staged("FR", "new", 1.0)
    assert len(asked) == 1


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Segmented]:
    declare(
        tmp_path / "defs",
        segments={"min_rows": 50},
        gate={"certainty": 0.5, "disagreement": 0.3, "tolerance": 0.5},
    )
    monkeypatch.setenv("FACTORY_DEFS", str(tmp_path / "defs"))
    with dg.DagsterInstance.ephemeral() as instance:
        yield Segmented(tmp_path, instance)


@pytest.mark.slow
def test_a_training_stages_on_its_own_day_and_lets_nobody_answer_that_turns_too_much_over(
    line: Segmented, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("measuring", "weak"):
        monkeypatch.setattr(f"factory_assets.evaluation.{module}.LEAST_ROWS", 100)
    rng = np.random.default_rng(1)
    days = [day(offset) for offset in range(71) for _ in range(20)]
    x = rng.normal(size=(len(days), 2))
    turned = np.array([on >= day(35) for on in days])
    line.give(["global"] * len(days), days, x, np.where(turned, -2.0, 2.0) * x[:, 0] + 0.1 * rng.normal(size=len(days)))
    stations = ("model", "evaluation", "champion")
    assert line.train(day(34), ["global"], stations) == []
    first = line.champions()["global"]
    assert line.lake.version(f"{LINE}/staging") is None, "nobody answered before"
    (searched,) = line.lake.read(f"{LINE}/slices").to_pylist()
    assert (searched["kind"], searched["rows"], searched["version"], searched["ds"]) == ("all", 140, first, day(34))
    assert (searched["loss"], searched["metric"], searched["rival"]) == ("absolute error", "mae", "naive")
    assert line.train(day(69), ["global"], stations) == []
    assert line.champions() == {"global": first} and "waits for approval" in line.reason("global")
    (record,) = [each for each in line.ledger.evaluations(LINE, as_of=day(69)) if each.incumbent_version == first]
    assert record.disagreement is not None and record.disagreement > 0.3
    assert list(waiting(line.ledger, LINE)) == ["global"]
    kept = line.lake.read(f"{LINE}/staging").to_pylist()
    (every,) = [row for row in kept if row["kind"] == "all"]
    assert (every["rows"], every["day"], every["ds"]) == (20, day(69), day(69)), (
        "and not the day after, which is there too"
    )
    assert every["differing"] / every["rows"] == record.disagreement and every["version"] == record.version
    assert line.train(day(69), ["global"], stations) == []
    assert line.lake.read(f"{LINE}/staging").sort_by("name").to_pylist() == sorted(kept, key=lambda row: row["name"])
