"""Is a damaged log told from one that is whole, and read as far as it goes once what stands in the way is moved aside?"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake.exceptions import DeltaError

from factory_resources.lake import Lake

FIRST = dt.date(2024, 1, 1)
#: A checkpoint is written with every tenth commit.
COMMITS = 24


def day(place: int) -> dt.date:
    return FIRST + dt.timedelta(days=place)


def row(place: int) -> pa.Table:
    return pa.table({"x": [place], "ds": pa.array([day(place)], pa.date32())})


@pytest.fixture(scope="module", params=[6, COMMITS], ids=["commits", "checkpoints and commits"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lake")
    for place in range(request.param):
        Lake(root=str(root)).replace("t", row(place), [day(place)])
    return root


@pytest.fixture
def lake(whole: Path, tmp_path: Path) -> Lake:
    shutil.copytree(whole, tmp_path / "lake")
    return Lake(root=str(tmp_path / "lake"))


def log(lake: Lake) -> Path:
    return Path(lake.root) / "t" / "_delta_log"


def commit(lake: Lake, back: int) -> Path:
    """The newest commit, or one of those before it."""
    return sorted(log(lake).glob("*.json"))[-1 - back]


def commits(lake: Lake) -> int:
    return len(list(log(lake).glob("*.json")))


#: What is done to the log -> how it is done, and how many of the newest commits are lost with it.
DAMAGES: dict[str, tuple[Callable[[Lake], Any], int]] = {
    "the newest is cut": (lambda lake: os.truncate(commit(lake, 0), 100), 1),
    "the newest is empty": (lambda lake: os.truncate(commit(lake, 0), 0), 1),
    "the newest is no JSON": (lambda lake: commit(lake, 0).write_text("what is this?"), 1),
    "one before the newest is gone": (lambda lake: commit(lake, 1).unlink(), 2),
    "one before the newest is cut": (lambda lake: os.truncate(commit(lake, 2), 100), 3),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_log_is_read_as_far_as_it_goes(lake: Lake, damage: str) -> None:
    do, lost = DAMAGES[damage]
    of = commits(lake)
    do(lake)
    held = lake.held("t")
    assert held.version is None and f"its commit {of - lost} " in held.unreadable
    assert len(lake.mend("t")) == lost - ("gone" in damage)
    assert lake.days("t") == [day(place) for place in range(of - lost)]
    assert lake.replace("t", row(300), [day(300)]).version == of - lost
    assert lake.held("t").unreadable == "" and lake.mend("t") == []


@pytest.mark.parametrize("whole", [COMMITS], indirect=True)
@pytest.mark.parametrize("damage", ["is gone", "cannot be read"])
def test_a_lost_checkpoint_costs_no_day(lake: Lake, damage: str) -> None:
    before, checkpoint = sorted(log(lake).glob("*.checkpoint.parquet"))
    assert before.name.startswith(f"{9:020}.")
    if damage == "is gone":
        checkpoint.unlink()
    else:
        os.truncate(checkpoint, 30)
    assert lake.held("t").unreadable == f"its checkpoint 19 {damage}"
    assert lake.mend("t")
    assert len(lake.days("t")) == COMMITS


def test_a_commit_of_many_days_is_summed_up_at_once(tmp_path: Path) -> None:
    lake, days = Lake(root=str(tmp_path)), [day(place) for place in range(100)]
    rows = pa.table({"x": range(100), "ds": pa.array(days, pa.date32())})
    for version in range(3):
        assert lake.replace("t", rows, days).version == version
        assert sorted(each.name[:20] for each in log(lake).glob("*.checkpoint.parquet"))[-1] == f"{version:020}"
    lake.replace("t", row(0), [day(0)])
    assert len(list(log(lake).glob("*.checkpoint.parquet"))) == 3
    assert [sum(lake.rows("t").values()), len(lake.days("t")), lake.read("t")["x"].to_pylist()] == [
        100,
        100,
        [*range(100)],
    ]


@pytest.mark.parametrize("whole", [6], indirect=True)
def test_without_its_first_commit_nothing_can_be_read_and_the_table_begins_anew(lake: Lake) -> None:
    commit(lake, 5).unlink()
    assert lake.held("t").unreadable == "its commit 0 is gone"
    assert lake.replace("t", row(1), [day(1)]).version == 0
    assert lake.days("t") == [day(1)]


def test_a_write_mends_what_it_writes_and_nothing_is_deleted(lake: Lake) -> None:
    newest, before = commit(lake, 0), commit(lake, 0).read_bytes()
    os.truncate(newest, 100)
    lake.replace("t", row(300), [day(300)])
    (aside,) = (Path(lake.root) / "t" / "_damaged").rglob("*.json")
    assert aside.name == newest.name and aside.read_bytes() == before[:100]
    lake.vacuum("t", dt.timedelta(0))
    assert aside.exists() and lake.tables() == [], "and it is no table"


def test_what_the_files_do_not_show_is_no_damage_and_nothing_is_moved(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a store does not answer."""

    def refused(*_: object, **__: object) -> None:
        raise DeltaError("Generic S3 error: connection refused")

    monkeypatch.setattr("factory_resources.lake.DeltaTable", refused)
    for ask in (lake.held, lake.mend):
        with pytest.raises(DeltaError, match="connection refused"):
            ask("t")
    assert not (Path(lake.root) / "t" / "_damaged").exists()


def test_files_that_are_gone_or_have_another_size_are_named_with_their_day(lake: Lake) -> None:
    held = lake.held("t")
    paths = {on: Path(lake.root) / "t" / next(iter(held.files[on])) for on in (day(1), day(2))}
    paths[day(1)].unlink()
    size = paths[day(2)].stat().st_size
    os.truncate(paths[day(2)], 10)
    assert lake.lacking("t", held) == {
        day(1): [f"t/ds={day(1)}/{paths[day(1)].name} is gone"],
        day(2): [f"t/ds={day(2)}/{paths[day(2)].name} has 10 bytes, written were {size}"],
    }
    found = lake.content("t", [day(0), day(1), day(2)])
    assert isinstance(found[day(0)], list) and isinstance(found[day(1)], str) and isinstance(found[day(2)], str)
    assert lake.drop_damaged("t") == [day(1), day(2)]
    assert day(0) in lake.days("t") and day(1) not in lake.days("t") and lake.drop_damaged("t") == []


def test_a_log_put_back_from_a_copy_has_another_mark(lake: Lake) -> None:
    before, content = lake.log_mark("t"), commit(lake, 0).read_bytes()
    commit(lake, 0).unlink()
    assert lake.log_mark("t") != before
    lake.replace("t", row(300), [day(300)])
    commit(lake, 0).write_bytes(content)
    assert lake.log_mark("t") != before
