"""Is a version, made again from its record, what was released, whatever has become of the tables since?"""

import datetime as dt
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from factory_assets.release.jobs import rebuild_a_release, release_definitions
from factory_assets.release.rebuild import Origin, compared, in_a_fresh_process, rebuild, tables_named
from factory_assets.training.remake import NotRebuildable, before_of, remake
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import VersionRecord
from factory_resources.records.certificates import Certificates
from tests.release.trained import DAYS, LINE, NODES, TRAINED, compute, order
from tests.stations import Station, day

pytestmark = pytest.mark.slow

NOW = dt.timedelta(0)
ENGINE = Engine(threads=1, memory_limit="1GB")


@pytest.fixture(scope="module")
def station(trained_line: Station) -> Station:
    """Twelve released versions; then late orders and corrections of every day, all tables written anew, and a vacuum."""
    station = trained_line
    rng, told = random.Random(5), dt.datetime.combine(day(DAYS + 1), dt.time(8))
    late = [order(rng, 5000 + 10 * offset + n, day(offset), told) for offset in range(DAYS) for n in range(5)]
    corrected = [
        order(rng, number, day(offset), told)
        for offset in range(DAYS)
        for number in range(100 * offset, 100 * offset + 60, 4)
    ]
    station.deliver(day(DAYS + 1), [*late, *corrected, *(order(rng, 9000 + n, day(DAYS + 1)) for n in range(40))])
    compute(station, day(DAYS + 1))
    assert station.lake.read("orders/superseded").num_rows == len(corrected)
    for table in station.lake.tables():
        if days := station.lake.days(table):
            station.lake.replace(table, station.lake.read(table), days)
    named = tables_named(station.deployment.ledger.released())
    assert {table for table in station.lake.tables() if named.get(table)} == {f"{LINE}/examples", f"{LINE}/labels"}
    removed = [
        name for table in station.lake.tables() for name in station.lake.vacuum(table, NOW, named.get(table, set()))
    ]
    assert len(removed) > DAYS
    return station


@pytest.fixture
def versions(station: Station) -> list[VersionRecord]:
    return station.deployment.ledger.released()


def archive_of(station: Station) -> ArchiveFolder:
    return ArchiveFolder(root=str(station.folder / "archive"))


def factory(station: Station, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FACTORY_", "DAGSTER_"))}
    environment = kept | {
        "FACTORY_HOME": str(station.folder),
        "FACTORY_DEFS": str(station.folder / "defs"),
        "COLUMNS": "160",
    }
    command = [sys.executable, "-m", "factory_assets.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_every_released_version_comes_out_equal_after_late_rows_corrections_rewrites_and_a_vacuum(
    station: Station, versions: list[VersionRecord], tmp_path: Path
) -> None:
    assert len(versions) >= len(TRAINED) * len(NODES) == 12
    assert {version.candidate for version in versions} == {"boosted", "logistic"}
    scratch, archive = ArchiveFolder(str(tmp_path)), archive_of(station)
    for version in versions:
        made = remake(version, station.lake, ENGINE, scratch, before_of(version, station.deployment.ledger, archive))
        assert made.version == version.version, (version.node, version.as_of)
        assert made.data == version.configuration["data"]
        assert scratch.listing(LINE, made.version) == archive.listing(LINE, version.version)


def test_the_command_makes_it_in_a_fresh_process_under_the_recorded_configuration_and_certifies(
    station: Station, versions: list[VersionRecord]
) -> None:
    """Today's declaration names other candidates and fewer features than the record does."""
    file = station.folder / "defs" / "defs.yaml"
    declared = file.read_text()
    file.write_text(declared.replace("num_boost_round: 8", "num_boost_round: 9").replace("channel, ref_number, ", ""))
    try:
        done = factory(station, "rebuild", versions[4].version[:10])
    finally:
        file.write_text(declared)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal: every part is equal" in done.stdout and "definitions.json" in done.stdout
    certificates = Certificates(url=station.deployment.ledger.url)
    (certificate,) = certificates.certificates(LINE, versions[4].version)
    certificates.close()
    assert certificate.verdict == "equal" and not certificate.made_from
    assert set(certificate.parts) >= {"manifest", "definitions.json", "reference.parquet"}
    assert all(then == now for then, now in certificate.parts.values())


def test_what_no_version_protects_is_gone_and_the_rebuild_says_so(
    station: Station, versions: list[VersionRecord], tmp_path: Path
) -> None:
    shutil.copytree(station.folder / "lake", tmp_path / "lake")
    lake, named, ledger = Lake(root=str(tmp_path / "lake")), tables_named(versions), station.deployment.ledger
    assert lake.vacuum(f"{LINE}/examples", NOW, named[f"{LINE}/examples"]) == []
    assert lake.vacuum(f"{LINE}/examples", NOW)
    origin = Origin(lake, ENGINE, ledger, archive_of(station))
    with pytest.raises(NotRebuildable, match=r"greeted/labels at version \d+ cannot be read any more: IO Error"):
        in_a_fresh_process(versions[0], origin, ArchiveFolder(str(tmp_path / "into")))
    with pytest.raises(LookupError, match="no version 9999; its newest is"):
        lake.vacuum(f"{LINE}/labels", NOW, [9999])


def test_a_record_that_does_not_tell_the_truth_is_found_out_part_by_part(
    station: Station, versions: list[VersionRecord], tmp_path: Path
) -> None:
    scratch, archive = ArchiveFolder(str(tmp_path)), archive_of(station)
    boosted = next(one for one in versions if one.candidate == "boosted")
    told = boosted.configuration
    told["recipe"]["candidates"]["boosted"]["params"]["num_boost_round"] += 1
    made = remake(boosted, station.lake, ENGINE, scratch)
    certificate = compared(boosted, made, archive, scratch, "test")
    assert certificate.verdict == "different" and "model.txt" in certificate.message
    differing = {name for name, (then, now) in certificate.parts.items() if then != now}
    assert "model.txt" in differing and "definitions.json" not in differing
    told["libraries"]["lightgbm"] = "4.6.0"
    certificate = compared(boosted, made, archive, scratch, "test")
    assert certificate.verdict == "not comparable" and "lightgbm 4.6.0 then" in certificate.message


def test_a_lost_archive_is_put_back_from_the_record(
    station: Station, versions: list[VersionRecord], tmp_path: Path
) -> None:
    version, archive, scratch = (
        versions[1],
        ArchiveFolder(root=str(tmp_path / "lost")),
        ArchiveFolder(str(tmp_path / "made")),
    )
    lost = compared(version, remake(version, station.lake, ENGINE, scratch), archive, scratch, "test")
    assert lost.verdict == "different" and "restore" in lost.message and not archive.exists(LINE, version.version)
    origin = Origin(station.lake, ENGINE, station.deployment.ledger, archive)
    found = rebuild(version, origin, "test", restore=True)
    assert found.verdict == "equal"
    assert archive.load(LINE, version.version).parts == archive_of(station).load(LINE, version.version).parts


def test_the_weekly_job_certifies_a_random_release_where_people_look(station: Station) -> None:
    ledger = station.deployment.ledger
    certificates = Certificates(url=ledger.url)
    before = len(certificates.certificates())
    resources = {
        "lake": station.lake, "engine": ENGINE, "archive": archive_of(station), "ledger": ledger, "certificates": certificates,
    }  # fmt: skip
    result = rebuild_a_release.execute_in_process(instance=station.instance, resources=resources)
    assert result.success
    (certificate,) = certificates.certificates()[before:]
    assert certificate.verdict == "equal" and certificate.by == f"run {result.run_id}"
    observed = (
        station.instance.fetch_observations(dg.AssetKey([LINE, "champion"]), limit=1).records[0].asset_observation
    )
    assert observed is not None and observed.metadata["version"].value == certificate.version
    assert observed.partition in NODES
    certificates.close()
    schedules = {schedule.name: schedule for schedule in release_definitions().schedules or ()}
    assert schedules["rebuild_weekly"].default_status == dg.DefaultScheduleStatus.STOPPED  # type: ignore[union-attr]


@pytest.mark.longest
def test_ten_random_versions_come_out_equal_each_in_a_process_of_its_own(
    station: Station, versions: list[VersionRecord]
) -> None:
    for version in random.Random(1).sample(versions, 10):
        origin = Origin(station.lake, ENGINE, station.deployment.ledger, archive_of(station))
        assert rebuild(version, origin, "test").verdict == "equal"
