"""Does nobody take over on a holdout whose labels are not in, and is a line of which few rows ever get a label none the worse?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations.line import Gate
from factory_assets.evaluation.coverage import Counts, Coverage
from factory_assets.evaluation.gate import Contest, Look, rule
from factory_assets.evaluation.limits import LABELLED, USUALLY
from tests.training.segmented import LINE, Segmented, day, declare

ON = dt.date(2026, 3, 8)
EXAMPLES: Counts = [
    (ON + dt.timedelta(days=each), leaf, 10, 0) for each in range(7) for leaf in ("FR/Lyon", "FR/Paris", "DE/Bonn")
]


def usual(known: int) -> Counts:
    return [(ON - dt.timedelta(days=9), leaf, 10, known) for leaf in ("FR/Lyon", "FR/Paris", "DE/Bonn")]


def test_labels_are_missing_by_what_the_training_days_have_of_the_same_node() -> None:
    coverage = Coverage(0.8, lambda: EXAMPLES, lambda: usual(10))
    assert coverage.of("FR/Lyon", ON, 56) == {}, "80 %"
    assert coverage.of("FR/Lyon", ON, 55) == {LABELLED: pytest.approx(55 / 70), USUALLY: 1.0}
    assert coverage.of("FR", ON, 100) == {LABELLED: pytest.approx(100 / 140), USUALLY: 1.0}
    assert coverage.of("global", ON, 168) == {} and coverage.of("global", ON, 167)[LABELLED] < 0.8
    assert coverage.of("FR/Lyon", ON + dt.timedelta(days=6), 8) == {}, "of one day"
    assert coverage.of("IT", ON, 0) == {}, "it has no examples"
    seldom = Coverage(0.8, lambda: EXAMPLES, lambda: usual(3))
    assert seldom.of("FR/Lyon", ON, 17) == {} and seldom.of("FR/Lyon", ON, 16) == {
        LABELLED: pytest.approx(16 / 70), USUALLY: 0.3,
    }  # fmt: skip


def test_training_days_are_asked_only_where_labels_are_missing() -> None:
    def nobody() -> Counts:
        raise AssertionError("asked")

    assert Coverage(0.8, lambda: EXAMPLES, nobody).of("FR", ON, 130) == {}
    assert Coverage(0.0, lambda: EXAMPLES, nobody).of("FR", ON, 0) == {}


def test_a_challenger_is_looked_at_again_while_there_is_patience_and_the_reason_says_what_is_missing() -> None:
    sure = {"naive": 0.99, "challenger": 0.99, LABELLED: 0.41, USUALLY: 0.97}
    contest = Contest({"mae": 9.0}, None, {"mae": 5.0}, {"mae": 4.0}, sure, rows=500)
    reason = "41% of the holdout's observations have a label so far, of the training days' 97%"
    waits = rule("mae", Gate(patience="14d"), contest, None, Look(0.95, 7, 14))
    assert waits.verdict == "undecided" and waits.reason == f"{reason}; 14 more days may bring them"
    kept = rule("mae", Gate(), contest, None)
    assert kept.verdict == "keep" and kept.reason == reason


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Segmented]:
    declare(tmp_path / "defs", segments={"levels": ["country"], "min_rows": 50}, gate={"patience": "2d"})
    monkeypatch.setenv("FACTORY_DEFS", str(tmp_path / "defs"))
    with dg.DagsterInstance.ephemeral() as instance:
        yield Segmented(tmp_path, instance)


@pytest.mark.slow
def test_labels_of_one_node_that_come_late_leave_it_undecided_and_the_others_go_on(line: Segmented) -> None:
    """Two of three labels of the smaller country are three weeks late in the holdout: of all rows one in six."""
    rng = np.random.default_rng(1)
    days = [day(offset) for offset in range(56) for _ in range(60)]
    country = np.tile(["DE", "DE", "DE", "FR"], len(days) // 4)
    x = rng.normal(size=(len(days), 2))
    slope = np.where(country == "FR", 3.0, 1.0)
    y = slope * x[:, 0] + 0.3 * rng.normal(size=len(days))
    line.give(country.tolist(), days, x, y)
    late = line.lake.read(f"{LINE}/labels").to_pandas()
    leaf = line.lake.read(f"{LINE}/examples", columns=["example_id", "leaf", "ds"]).to_pandas()
    rows = late.merge(leaf, on=["example_id", "ds"])
    missing = (rows["leaf"] == "FR") & (rows["ds"] >= day(28)) & (rows["ds"] <= day(34)) & (rows["example_id"] % 3 > 0)
    rows.loc[missing, "known_at"] += dt.timedelta(days=21)
    kept = pa.Table.from_pandas(rows.drop(columns="leaf"), preserve_index=False)
    labels = kept.cast(line.lake.read(f"{LINE}/labels").schema)
    line.lake.replace(f"{LINE}/labels", labels, sorted(set(rows["ds"])))
    stations = ("model", "evaluation", "champion")
    assert line.train(day(34), ["global", "DE", "FR"], stations) == []
    assert {"global", "DE"} <= set(line.champions()) and "FR" not in line.champions()
    (last,) = line.ledger.decisions(LINE, "FR")
    assert last.verdict == "undecided" and last.evidence["certainty"]["labels_usually"] == 1
    missing = (
        "33% of the holdout's observations have a label so far, of the training days' 100%; 2 more days may bring them"
    )
    assert missing in last.reason
    assert line.train(day(41), ["global", "DE", "FR"], stations) == []
    assert "FR" in line.champions(), "the labels of the week after are in"
