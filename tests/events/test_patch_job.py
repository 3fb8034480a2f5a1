"""Is the patch that a check names shown in Dagster's UI as the command makes it, and is nothing changed by it?"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from factory_assets.events.jobs import patch_job_of
from factory_resources.engine import Engine
from tests.stations import CONTRACT, Station, day, row

#: A contract in whose text somebody has written what would end a block of code.
FENCED = CONTRACT.replace("  amount:", "  # ```\n  # ![x](http://evil.example/p.png)\n  amount:")


@pytest.fixture
def feed(tmp_path: Path) -> Station:
    """Three days of ten orders; one of the second day is of a city that the contract does not know."""
    station = Station(tmp_path, contract=FENCED)
    for place in range(3):
        rows = [row(100 * place + number, day(place)) for number in range(10)]
        rows[3]["city"] = "Rome" if place == 1 else "Lyon"
        station.deliver(day(place), rows)
    assert station.run(day(0), day(2)).success
    return station


def launch(station: Station, **config: str) -> dg.ExecuteInProcessResult:
    job = patch_job_of(station.catalogue.streams, {"orders": station.contract_file})
    resources = {"lake": station.lake, "engine": Engine(threads=2), "issues": station.issues}
    return job.execute_in_process(
        run_config={"ops": {"suggest_patch": {"config": {"stream": "orders", **config}}}},
        resources=resources, instance=station.instance, raise_on_error=False,
    )  # fmt: skip


def shown(station: Station) -> tuple[str | None, str | None, dict[str, Any]]:
    """Partition, description and metadata of the newest observation of the raw rows."""
    (record,) = station.instance.fetch_observations(dg.AssetKey(["orders", "raw"]), limit=1).records
    seen = record.asset_observation
    assert seen is not None
    return (
        seen.partition,
        seen.description,
        {
            name: value.records if isinstance(value, dg.TableMetadataValue) else value.value
            for name, value in seen.metadata.items()
        },
    )


def test_what_is_shown_is_what_the_command_would_write_and_git_takes_it(feed: Station) -> None:
    before = feed.contract_file.read_text()
    assert launch(feed, day=str(day(1))).success
    assert feed.contract_file.read_text() == before
    partition, description, told = shown(feed)
    assert (partition, description) == (str(day(1)), "1 patch for 1 rule that 1 day breaks")
    assert told["command"] == f"factory contract patch orders --day {day(1)} --apply"
    fence, *lines, last = told["change"].splitlines()
    assert (fence, last) == ("````diff", "````"), "the fences of the contract end nothing"
    (feed.folder / "change.diff").write_text("\n".join(lines) + "\n")
    subprocess.run(["git", "apply", "../change.diff"], cwd=feed.contract_file.parent, check=True)
    after = feed.contract_file.read_text()
    assert after == "version: 2\n" + before[1:].replace("[Paris, Lyon]", "[Paris, Lyon, Rome]") or "version: 2" in after
    assert "[Paris, Lyon, Rome]" in after
    feed.load()
    assert launch(feed, day=str(day(1))).success and "change" not in shown(feed)[2]
    assert shown(feed)[1] == f"orders: nothing is wrong with {day(1)}"


def test_a_fault_gets_words_in_place_of_a_patch(feed: Station) -> None:
    rows = [row(300 + number, day(3)) for number in range(10)]
    rows[0]["amount"] = "-999"
    feed.deliver(day(3), rows)
    assert feed.run(day(3)).success
    assert launch(feed).success, "without a day or an open issue the newest is looked at"
    partition, description, told = shown(feed)
    assert partition == str(day(3)) and str(description).startswith("0 patches for ")
    why = {record.data["rule"]: record.data["why"] for record in told["suggestions"]}
    assert "empty value" in why["amount >= 0"]
    assert {record.data["patch"] for record in told["suggestions"]} == {"none"}
    assert "change" not in told and "command" not in told


@pytest.mark.parametrize("name", ["![x](http://evil.example/p.png)", "<script>alert(1)</script>", "a\x1b[31mb"])
def test_what_a_feed_calls_its_columns_stays_text(feed: Station, name: str) -> None:
    columns = [*row(0, day(3)), name]
    feed.deliver(
        day(3),
        "\n".join([",".join(columns), *(",".join([*map(str, row(n, day(3)).values()), "7"]) for n in range(300, 309))]),
    )
    assert feed.run(day(3)).success
    assert launch(feed, day=str(day(3))).success
    _, description, told = shown(feed)
    assert "evil" not in str(description) and "script" not in str(description)
    assert [type(record.data["rule"]) for record in told["suggestions"]] == [str]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (
            "2024-02-01",
            "refused: orders has no delivery of 2024-02-01; days with one: 2024-03-01 to 2024-03-03: materialise",
        ),
        ("yesterday", "refused: day: 'yesterday' is no day; give one such as 2026-03-11"),
        ("2024-13-01", "refused: day: '2024-13-01' is no day"),
    ],
)
def test_a_day_that_is_not_there_is_refused_without_a_traceback(feed: Station, asked: str, wanted: str) -> None:
    (failed,) = launch(feed, day=asked).get_step_failure_events()
    told = failed.step_failure_data.user_failure_data
    assert told is not None and wanted in str(told.description)
    assert not feed.instance.fetch_observations(dg.AssetKey(["orders", "raw"]), limit=1).records


def test_a_launch_is_offered_the_streams(feed: Station) -> None:
    job = patch_job_of(feed.catalogue.streams, {})
    with pytest.raises(dg.DagsterInvalidConfigError, match="got order"):
        dg.validate_run_config(job, {"ops": {"suggest_patch": {"config": {"stream": "order"}}}})


def test_a_contract_that_cannot_be_edited_in_place_is_told_and_its_patches_are_shown(feed: Station) -> None:
    shared = CONTRACT.replace("city: {", "city: &shared {")
    shared = shared.replace("channel: {type: string, required: false}", "channel: *shared")
    feed.contract_file.write_text(shared)
    feed.load()
    assert launch(feed, day=str(day(1))).success
    _, _, told = shown(feed)
    assert told["suggestions"][0].data["patch"].startswith("columns: {city")
    assert "change the file by hand" in told.get("no_change_shown", "")


def test_days_that_were_read_by_another_contract_are_not_judged_by_this_one(feed: Station) -> None:
    feed.contract_file.write_text(CONTRACT + "  town: {type: string, required: false}\n")
    feed.load()
    (failed,) = launch(feed, day=str(day(1))).get_step_failure_events()
    told = failed.step_failure_data.user_failure_data
    assert told is not None and "without town: materialise orders/raw" in str(told.description)


def test_the_check_that_names_a_patch_links_to_it(feed: Station) -> None:
    metadata = feed.check("ranges", day(1)).metadata
    assert str(metadata["to_patch"].value).startswith(
        "[fill in and launch: contract_patch](/locations/model_factory/jobs/contract_patch/playground/setup?config="
    )
    assert "to_patch" not in feed.check("ranges", day(0)).metadata
