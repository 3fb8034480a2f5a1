"""Does a level that turns out to hold ids trip a check that names it, and train nothing, while examples stay scored?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from tests.training.segmented import LINE, Segmented, day, declare


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Segmented]:
    segments = {"levels": ["country", "city"], "min_rows": 50, "max_nodes": 12}
    monkeypatch.setenv("FACTORY_DEFS", str(declare(tmp_path / "defs", segments=segments)))
    with dg.DagsterInstance.ephemeral() as instance:
        yield Segmented(tmp_path, instance)


def give(line: Segmented, first: int, last: int, cities: list[str]) -> list[str]:
    rows = [(city, day(offset)) for offset in range(first, last + 1) for city in cities]
    x = np.random.default_rng(first).normal(size=(len(rows), 2))
    return line.give([city for city, _ in rows], [on for _, on in rows], x, x.sum(axis=1))


def check(line: Segmented) -> dg.AssetCheckEvaluation:
    job = dg.define_asset_job(
        "judge", dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey([LINE, "examples"]), "segments_fit"))
    )
    definitions = dg.Definitions.merge(line.deployment.definitions, dg.Definitions(jobs=[job]))
    result = definitions.resolve_job_def("judge").execute_in_process(instance=line.instance)
    (found,) = result.get_asset_check_evaluations()
    return found


def test_keys_without_room_are_no_partitions_trip_the_check_and_stop_training(line: Segmented) -> None:
    usual = ["FR/Paris", "FR/Lyon", "DE/Berlin"]
    assert give(line, 0, 30, usual) == [] and check(line).passed
    refused = give(line, 31, 34, [*usual, *(f"FR/order {number}" for number in range(9))])
    assert len(refused) == 9 and line.nodes == ["global", "DE", "FR", "DE/Berlin", "FR/Lyon", "FR/Paris"]
    found = check(line)
    assert not found.passed and found.severity == dg.AssetCheckSeverity.ERROR and not found.blocking
    assert "9 new keys of city do not fit into segments.max_nodes 12" in str(found.description)
    shown = found.metadata["newest_keys"].value.records  # type: ignore[union-attr]
    assert {str(record.data["key"]) for record in shown} == set(refused)
    give(line, 35, 45, usual)
    (told,) = line.train(day(45))
    assert "9 new keys of city" in told and "raise segments.max_nodes" in told
    assert line.ledger.versions(LINE) == []
