"""Is the habit of a label learned from what a verdict on labels would have seen: weeks as they were known when they were due?"""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from factory_assets.measures.habits import Stretches
from factory_assets.training.dataset import past_of_labels, training_rows
from factory_assets.training.timeline import Timeline
from factory_resources.engine import Engine
from factory_resources.lake import Lake

FIRST = dt.date(2026, 1, 1)
DAY = dt.timedelta(days=1)
DAYS, HORIZON, WEEK = 40, 2, 7
AS_OF = FIRST + 37 * DAY
SPAN = Timeline(AS_OF, FIRST + 14 * DAY, FIRST + 29 * DAY, FIRST + 32 * DAY, AS_OF - HORIZON * DAY)
KINDS = {"ds": pa.date32(), "example_id": pa.int64(), "label": pa.float64()}
LABELS = pa.schema(KINDS | dict.fromkeys(("known_at", "superseded_at"), pa.timestamp("us")))


def tables(rng: np.random.Generator) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Examples, and the labels that they ever had: some known late, some corrected once or twice."""
    days = [FIRST + DAY * int(at) for at in np.repeat(np.arange(DAYS), 12)]
    ids = np.arange(len(days))
    at = pa.array(days, pa.date32()).cast(pa.timestamp("us"))
    leaves = rng.choice(["FR/Lyon", "FR/Paris", "DE"], len(days))
    examples = pa.table({"ds": pa.array(days, pa.date32()), "example_id": ids, "observed_at": at, "leaf": leaves})
    labels = []
    for number, on in zip(ids.tolist(), days, strict=True):
        moment = dt.datetime.combine(on, dt.time()) + DAY * float(rng.choice([1.5, HORIZON, HORIZON + 1, 6, 12]))
        for step in range(int(rng.integers(0, 4))):
            later = moment + dt.timedelta(hours=int(rng.integers(5, 200)))
            own = {"ds": on, "example_id": number, "label": number + step / 10, "known_at": moment}
            labels.append(own | {"superseded_at": later if rng.random() < 0.7 else None})
            moment = later
            if labels[-1]["superseded_at"] is None:
                break
    return examples, labels


def seen_then(labels: list[dict[str, Any]]) -> set[tuple[int, float]]:
    """Walk back from the day on which the model is made, a week at a time, and look as drift would have looked on that day."""
    found, day = set(), AS_OF
    for _ in range(5):
        close = dt.datetime.combine(day + DAY, dt.time())
        for row in labels:
            due = row["ds"] + HORIZON * DAY
            known = row["known_at"] <= close and (row["superseded_at"] is None or row["superseded_at"] > close)
            if day - WEEK * DAY < due <= day and known:
                found.add((row["example_id"], row["label"]))
        day -= WEEK * DAY
    return found


def test_a_past_week_has_the_labels_that_were_known_when_its_last_ones_were_due(tmp_path: Path) -> None:
    examples, labels = tables(np.random.default_rng(1))
    lake = Lake(root=str(tmp_path))
    days = sorted(set(examples["ds"].to_pylist()))
    lake.replace("guess/examples", examples, days)
    lake.replace("guess/labels", pa.Table.from_pylist(labels, schema=LABELS), days)
    past = Stretches(FIRST, AS_OF, WEEK)
    with Engine(threads=2).connect() as con:
        rows, versions = training_rows(con, lake, "guess", SPAN, past)
        again, _ = training_rows(con, lake, "guess", SPAN, past, versions)
    assert (past_of_labels(past, SPAN).last, past_of_labels(past, SPAN).number) == (AS_OF - HORIZON * DAY, 5)
    found = rows.of("global").labels
    assert set(zip(found["example_id"].to_pylist(), found["label"].to_pylist(), strict=True)) == seen_then(labels)
    assert found.num_rows == len(seen_then(labels)) > 100
    assert rows.of("FR").labels.equals(again.of("FR").labels)
    assert set(rows.of("FR").labels["leaf"].to_pylist()) == {"FR/Lyon", "FR/Paris"}
