"""Is what a person asks for in Dagster's UI the work that the plan would start, with the reason kept, and is a refusal no fault?"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from factory_assets.daily_checks import Finding
from factory_assets.definitions import loaded
from factory_assets.governor.by_hand import PERSON, Refused, retrain
from factory_assets.governor.jobs import release_job_of, retrain_job_of
from factory_assets.governor.runs import AS_OF, REASON, TRIGGER
from factory_assets.launching import to_retrain
from factory_assets.monitoring.checks import LINKED, _linked
from factory_resources.people import process_user
from factory_resources.processes import PROCESS, this_process
from tests import forked
from tests.release.trained import CONTRACT, LATE, LINE, MORE, NODES, compute, order, train
from tests.stations import Station, day, row

#: What somebody may write as a reason: Dagster's pages read descriptions as Markdown.
HOSTILE = "![x](http://evil.example/p.png) <script>alert(1)</script>"
LAST = day(12)


def launch(station: Station, job: dg.JobDefinition, op: str, **config: Any) -> dg.ExecuteInProcessResult:
    return job.execute_in_process(
        run_config={"ops": {op: {"config": config}}}, instance=station.instance, raise_on_error=False
    )


def refusal(result: dg.ExecuteInProcessResult) -> str:
    """What a run says that ended by a rule."""
    (failed,) = result.get_step_failure_events()
    told = failed.step_failure_data.user_failure_data
    assert told is not None, failed.step_failure_data.error
    return str(told.description)


def seen(station: Station, *key: str) -> tuple[str | None, str, dict[str, Any]]:
    """Partition, description and metadata of the newest observation of an asset."""
    (record,) = station.instance.fetch_observations(dg.AssetKey(key), limit=1).records
    made = record.asset_observation
    assert made is not None
    told = {
        name: value.records if isinstance(value, dg.TableMetadataValue) else value.value
        for name, value in made.metadata.items()
    }
    return made.partition, str(made.description), told


def runs(station: Station) -> list[dg.DagsterRun]:
    """Runs of assets, the newest first."""
    return [run for run in station.instance.get_runs() if run.asset_selection]


class TestRelease:
    @pytest.fixture
    def feed(self, tmp_path: Path) -> Station:
        """Three days of ten orders; two of the second day are of a city that the contract does not know."""
        station = Station(tmp_path)
        for place in range(3):
            rows = [row(100 * place + number, day(place)) for number in range(10)]
            rows[3]["city"] = rows[4]["city"] = "Rome" if place == 1 else "Lyon"
            station.deliver(day(place), rows)
        self.made(station)
        return station

    @staticmethod
    def made(station: Station) -> None:
        from factory_assets.governor.executor import catch_up_stream

        stream = station.catalogue.streams["orders"]
        days = [day(place) for place in range(3)]
        assert list(catch_up_stream(station.deployment, stream, days, lambda station, what: None))

    def launch(self, station: Station, **config: str) -> dg.ExecuteInProcessResult:
        job = release_job_of(["orders"], lambda instance: station.deployment)
        return launch(station, job, "release_rows", stream="orders", **config)

    def test_rows_come_back_when_the_contract_allows_them_and_not_before(self, feed: Station) -> None:
        before = len(runs(feed))
        assert self.launch(feed).success and len(runs(feed)) == before
        assert "nothing to release, the contract is the one" in seen(feed, "orders", "events")[1]
        feed.contract_file.write_text(feed.contract_file.read_text().replace("[Paris, Lyon]", "[Paris, Lyon, Rome]"))
        feed.load()
        assert self.launch(feed, first=str(day(2))).success
        assert seen(feed, "orders", "events")[1] == "orders: no rows are set aside", "none in these days"
        assert len(feed.ids(day(1))) == 8
        assert self.launch(feed, first=str(day(1)), last=str(day(1))).success
        assert len(feed.ids(day(1))) == 10 and feed.table("quarantine", day(1)) == []
        _, description, told = seen(feed, "orders", "events")
        assert description == "orders: 2 rows released, 0 still aside"
        assert (told["asked_by"], told["days"]) == (process_user(), str(day(1)))
        (record,) = told["rows"]
        assert (record.data["released"], record.data["still_aside"]) == (2, 0)
        assert self.launch(feed).success, "a second release finds nothing to do"

    def test_the_page_of_the_day_links_to_the_job(self, feed: Station) -> None:
        key = dg.AssetKey(["orders", "events"])
        links = {}
        for record in feed.instance.fetch_materializations(key, limit=9).records:
            made = record.asset_materialization
            assert made is not None
            links[made.partition] = made.metadata.get("to_release")
        assert [on for on, link in sorted(links.items()) if link] == [str(day(1))]
        assert "/jobs/quarantine_release/playground/setup?config=" in str(links[str(day(1))])

    @pytest.mark.parametrize(
        ("asked", "wanted"),
        [
            ({"first": "soon"}, "refused: first: 'soon' is no day; give one such as 2026-03-11"),
            ({"last": "2024-02-30"}, "refused: last: '2024-02-30' is no day"),
            ({"first": "2024-03-03", "last": "2024-03-01"}, "refused: the first day, 2024-03-03, is after the last"),
        ],
    )
    def test_bad_days_are_refused_before_anything_runs(self, feed: Station, asked: dict[str, str], wanted: str) -> None:
        before = len(runs(feed))
        assert refusal(self.launch(feed, **asked)).startswith(wanted)
        assert len(runs(feed)) == before

    def test_a_day_that_is_held_back_ends_the_run_by_what_holds_it(self, feed: Station) -> None:
        text = feed.contract_file.read_text().replace("tolerance: 0.3", "version: 2\ntolerance: 0.1")
        feed.contract_file.write_text(text)
        feed.load()
        assert "blocks the day" in refusal(self.launch(feed))

    def test_the_deployment_has_the_job_and_it_runs_on_its_stores(
        self, feed: Station, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The definitions as a code server loads them, in place of those that a test puts together."""
        feed.contract_file.write_text(feed.contract_file.read_text().replace("[Paris, Lyon]", "[Paris, Lyon, Rome]"))
        monkeypatch.setenv("FACTORY_DEFS", str(feed.folder / "defs"))
        monkeypatch.setenv("FACTORY_HOME", str(feed.folder))
        job = loaded(described=False).resolve_job_def("quarantine_release")
        assert launch(feed, job, "release_rows", stream="orders").success
        assert len(feed.ids(day(1))) == 10
        with pytest.raises(dg.DagsterInvalidConfigError, match="got order"):
            launch(feed, job, "release_rows", stream="order")


def delivered(folder: Path) -> Station:
    """Thirteen days of orders, of which nothing is made yet."""
    rng = random.Random(4)
    contract = CONTRACT.replace("columns:\n", "columns:\n  told_at: {type: timestamp}\n")
    made = Station(folder, LATE, MORE, contract)
    for offset in range(13):
        orders = [order(rng, number, day(offset)) for number in range(100 * offset, 100 * offset + 60)]
        made.deliver(day(offset), orders)
    return made


@pytest.mark.slow
class TestRetrain:
    @pytest.fixture(scope="class")
    @classmethod
    def station(cls, tmp_path_factory: pytest.TempPathFactory) -> Station:
        """Thirteen days of orders, and a line that was trained as of the tenth."""
        made = delivered(tmp_path_factory.mktemp("retrain"))
        compute(made, LAST)
        train(made, day(9))
        return made

    def launch(self, station: Station, **config: Any) -> dg.ExecuteInProcessResult:
        job = retrain_job_of([LINE], lambda instance: station.deployment)
        return launch(station, job, "train_nodes", **{"line": LINE, "why": "a new menu", "by": "ana"} | config)

    @pytest.mark.parametrize(
        ("asked", "wanted"),
        [
            ({"nodes": ["Lyo"]}, f"refused: 'Lyo' is not a node of {LINE}; nodes here: Lyon, Paris, global; did you mean 'Lyon'?"),
            ({"nodes": ["Lyon", HOSTILE]}, f"refused: '{HOSTILE}' is not a node of {LINE}"),
            ({"why": "  "}, "refused: a training by hand needs somebody who asks for it and a reason"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_trained_is_refused_with_what_can(
        self, station: Station, asked: dict[str, Any], wanted: str
    ) -> None:
        before = len(runs(station))
        assert refusal(self.launch(station, **asked)).startswith(wanted)
        assert len(runs(station)) == before

    def test_a_line_that_there_is_not_is_refused_by_the_launchpad(self, station: Station) -> None:
        with pytest.raises(dg.DagsterInvalidConfigError, match="got greetd"):
            self.launch(station, line="greetd")
        with pytest.raises(Refused, match="'greetd' is not a line; lines here: greeted; did you mean 'greeted'"):
            retrain(station.deployment, "greetd", [], "so", "ana")

    def test_two_trainings_of_a_line_at_once_are_refused(self, station: Station) -> None:
        keys = frozenset([dg.AssetKey([LINE, "model"])])
        subset = station.deployment.job.get_subset(asset_selection=keys)
        other = station.instance.create_run_for_job(
            subset, status=dg.DagsterRunStatus.STARTED, asset_selection=keys, tags={PROCESS: this_process()}
        )
        assert refusal(self.launch(station)).startswith(f"refused: {LINE} is being trained by run {other.run_id}: wait")
        station.instance.delete_run(other.run_id)

    def test_a_node_is_trained_now_as_by_hand_and_the_run_keeps_who_and_why(self, station: Station) -> None:
        ledger = station.deployment.ledger
        others = ledger.versions(LINE, "Paris")
        assert self.launch(station, nodes=["Lyon"], why=HOSTILE).success
        run, launched = runs(station)[0], next(run for run in station.instance.get_runs() if run.job_name == "retrain")
        assert {run.tags[TRIGGER], run.tags[AS_OF]} == {PERSON, str(LAST)}
        assert run.tags[REASON] == f"{HOSTILE} ({process_user()} (claims: ana))"
        assert launched.tags[REASON] == HOSTILE
        (made,) = ledger.versions(LINE, "Lyon", as_of=LAST)
        assert made.run_id == run.run_id and ledger.versions(LINE, "Paris") == others
        assert ledger.standing(LINE)["Lyon"].trained_as_of == LAST

        partition, description, told = seen(station, LINE, "champion")
        assert partition == "Lyon" and description.startswith(f"{LINE} as of {LAST}: 1 node, 1 new version; 1 ")
        assert "![x](" not in description and "<script" not in description.replace("\\<", "")
        (record,) = told["nodes"]
        assert (told["reason"], record.data["new_version"]) == (HOSTILE, made.version)

        decided = ledger.decisions(LINE, "Lyon")
        train(station, LAST, ["Lyon"])
        assert ledger.versions(LINE, "Lyon", as_of=LAST) == [made], "materialising it by hand gives the same version"
        assert ledger.decisions(LINE, "Lyon") == decided
        assert self.launch(station, nodes=["Lyon"]).success
        assert seen(station, LINE, "champion")[1].endswith(
            "what was learnt from is the same as in the training before. Asked for: a new menu"
        )

    def test_without_nodes_all_are_trained(self, station: Station) -> None:
        assert self.launch(station).success
        assert {each.node for each in station.deployment.ledger.versions(LINE, as_of=LAST)} == {*NODES}
        assert str(LAST) in {str(on) for on in station.lake.days(f"{LINE}/leaderboard")}
        assert seen(station, LINE, "champion")[0] is None

    def test_a_training_that_fails_ends_the_run_by_what_it_says(self, station: Station) -> None:
        lake = Path(station.lake.root) / LINE / "labels"
        damaged = next(lake.rglob(f"ds={day(9)}/*.parquet"))
        whole = damaged.read_bytes()
        damaged.unlink()
        try:
            assert "not trained as of" in refusal(self.launch(station))
        finally:
            damaged.write_bytes(whole)

    def test_the_page_of_a_champion_links_to_the_job(self, station: Station) -> None:
        key = dg.AssetKey([LINE, "champion"])
        record = station.instance.fetch_materializations(dg.AssetRecordsFilter(key, asset_partitions=["Lyon"]), limit=1)
        made = record.records[0].asset_materialization
        assert made is not None and made.metadata["to_retrain"] == to_retrain(LINE, ["Lyon"])


@pytest.mark.slow
def test_the_command_trains_and_refuses_as_the_job_does(tmp_path: Path) -> None:
    station = delivered(tmp_path)
    environment = {
        **os.environ, "FACTORY_DEFS": str(tmp_path / "defs"), "FACTORY_HOME": str(tmp_path),
        "DAGSTER_HOME": str(tmp_path / "dagster"), "COLUMNS": "200",
    }  # fmt: skip

    def factory(*arguments: str) -> str:
        ran = forked.factory(*arguments, env=environment, timeout=300)
        assert "Traceback" not in ran.stdout + ran.stderr, ran.stderr
        return ran.stdout + ran.stderr + f"[{ran.returncode}]"

    assert "no examples yet" in factory("retrain", LINE, "--why", "so")
    factory("run", "--until", str(LAST))
    ledger = station.deployment.ledger
    first = ledger.versions(LINE, "Lyon")
    told = factory("retrain", LINE, "Lyo", "--why", "so")
    assert f"'Lyo' is not a node of {LINE}; nodes here: Lyon, Paris, global; did you mean 'Lyon'?" in told
    assert told.endswith("[1]") and "needs somebody who asks for it and a reason" in factory("retrain", LINE)
    told = factory("retrain", LINE, "Lyon", "--why", "a new [bold]menu", "--by", "ana")
    assert f"{LINE} as of {LAST}: 1 node" in told and told.endswith("[0]"), told
    assert [each.as_of for each in ledger.versions(LINE, "Lyon")] == [*(each.as_of for each in first), LAST]
    decided = ledger.decisions(LINE)
    factory("run", "--until", str(LAST))
    assert ledger.decisions(LINE) == decided, "the plan has nothing to add to it"
    assert ledger.standing(LINE)["Lyon"].trained_as_of == LAST


def test_a_check_that_speaks_for_a_training_links_to_it_and_names_its_nodes() -> None:
    assert _linked(Finding(LAST, True), LINE).metadata == {}
    failed = Finding(LAST, False, metadata={"worse": dg.MetadataValue.int(1)})
    assert _linked(failed, LINE, ["Lyon", "Lyon"]).metadata == failed.metadata | {
        "to_retrain": to_retrain(LINE, ["Lyon"])
    }
    many = [f"city {number}" for number in range(LINKED + 1)]
    assert _linked(failed, LINE, many).metadata["to_retrain"] == to_retrain(LINE, []), "all of the line"
