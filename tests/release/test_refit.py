"""Has what is released learnt the newest days, and is everything else still said of the version that was judged?"""

import datetime as dt
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from factory_assets.evaluation.decay import comparable
from factory_assets.evaluation.incumbents import as_judged, champions_before
from factory_assets.governor.forgotten import forgotten
from factory_assets.models.archived import load
from factory_assets.monitoring.drift.days import DriftDays, watching
from factory_assets.monitoring.drift.verdicts import Drift, drift
from factory_assets.release.approval import approve, waiting
from factory_assets.release.jobs import observation
from factory_assets.release.request import Request
from factory_assets.release.rollback import roll_back
from factory_assets.training.fit.again import Disagreement
from factory_assets.training.fit.warm import continued_by
from factory_assets.training.remake import NotRebuildable, before_of, remake
from factory_assets.training.restoring import restore
from factory_assets.training.timeline import timeline
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.ledger import VersionRecord
from tests.training.segmented import LINE, Segmented, day, declare

ENGINE = Engine(threads=1, memory_limit="1GB")
FIRST, SECOND = day(41), day(48)
Deploy = Callable[..., Segmented]


@pytest.fixture(scope="module")
def deploy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deploy]:
    """Deploy the line with these fields, with so many days of rows whose level rises by so much a day."""
    with pytest.MonkeyPatch.context() as patch:

        def deployed(rises: float = 0.05, days: int = 49, a_day: int = 20, **fields: object) -> Segmented:
            folder = tmp_path_factory.mktemp("refit")
            patch.setenv("FACTORY_DEFS", str(folder / "defs"))
            (folder / "dagster").mkdir()
            fields = {"train": {"window": "28d", "holdout": "7d", "refit": True}} | fields
            declare(folder / "defs", segments={"levels": ["country"], "min_rows": 50}, **fields)
            line = Segmented(folder, dg.DagsterInstance.local_temp(str(folder / "dagster")))
            rng, on = np.random.default_rng(2), np.repeat(np.arange(days), a_day)
            x = rng.normal(size=(len(on), 2))
            y = 2 * x[:, 0] + rises * on + rng.normal(size=len(on))
            line.give(["FR", "DE"] * (len(on) // 2), [day(int(offset)) for offset in on], x, y)
            return line

        yield deployed


@pytest.fixture(scope="module")
def line(deploy: Deploy) -> Segmented:
    made = deploy(gate={"certainty": 0.5})
    assert made.train(FIRST) == []
    return made


def refit_of(line: Segmented, node: str = "global") -> VersionRecord:
    return line.ledger.version(LINE, line.champions()[node])


def test_who_passes_answers_as_a_version_that_has_learnt_the_holdout_and_names_the_judged_one(line: Segmented) -> None:
    made, (decision,), span = refit_of(line), line.ledger.decisions(LINE, "global"), timeline(line.declared, FIRST)
    (judged,) = line.ledger.versions(LINE, "global", as_of=FIRST)
    assert (decision.version, decision.champion) == (judged.version, made.version) != (made.version, made.version)
    assert made.judged == judged.version and judged.judged is None
    assert (made.train_from, made.train_to, made.as_of) == (judged.train_from, span.holdout_to, FIRST)
    assert made.rows == 20 * ((made.train_to - made.train_from).days + 1) > judged.rows
    assert f"up to {made.train_to} it answers as {made.version}" in decision.reason
    same = ("candidate", "estimator", "node", "task", "owner")
    assert all(getattr(made, name) == getattr(judged, name) for name in same)
    # The level rises: what has learnt the newest days is nearer to it.
    rows = line.lake.read(f"{LINE}/examples", SECOND, SECOND)
    truth = np.mean(line.lake.read(f"{LINE}/labels", SECOND, SECOND)["label"].to_numpy())
    off = [abs(load(line.archive, LINE, each).predict(rows).mean() - truth) for each in (made.version, judged.version)]
    assert off[0] < off[1]


def test_later_rows_are_compared_with_what_the_judged_version_has(line: Segmented) -> None:
    made = refit_of(line)
    refit, judged = (load(line.archive, LINE, str(version)) for version in (made.version, made.judged))
    assert refit.manifest["profiles"] == judged.manifest["profiles"]
    # Of predictions nothing says how far they differ from week to week on days that the refit has not learnt from.
    assert refit.habits == judged.habits | {"prediction": replace(judged.habits["prediction"], outside=0)}
    for one, verdict in ((refit, "no verdict"), (judged, "drifted")):
        found = drift(one.profiles["prediction"], one.habits["prediction"], pa.array(np.full(1000, 99.0)))
        assert found.verdict == verdict, found.reason
    assert refit.manifest["judged"] == judged.version and "judged" not in judged.manifest
    assert all(habit.outside for name, habit in refit.habits.items() if name in refit.features)
    np.testing.assert_array_equal(refit.predict(refit.sample), refit.sample["prediction"].to_numpy())


def verdicts(line: Segmented, version: str, days: range, shift: float = 0.0) -> list[dict[str, Drift]]:
    """Column -> verdict on each day, where the version answers. shift: what is added to x0 in all rows."""

    def read(first: dt.date, last: dt.date) -> pa.Table:
        rows = line.lake.read(f"{LINE}/examples", first, last, empty_if_absent=True)
        return rows.set_column(rows.schema.get_field_index("x0"), "x0", pc.add(rows["x0"], shift))

    watched = DriftDays(read, watching(line.archive, LINE), line.declared.line.monitor)
    found = [watched.judge(day(offset), {"global": version}) for offset in days]
    assert {each for of_day in found for _, each, _ in of_day} == {version}
    return [{verdict.column: verdict for _, _, verdict in of_day} for of_day in found]


def test_predictions_of_a_refit_are_watched_by_those_of_the_version_that_was_judged(line: Segmented) -> None:
    made, days = refit_of(line), range(42, 49)
    found = verdicts(line, made.version, days)
    assert found == verdicts(line, str(made.judged), days)
    assert {of_day["prediction"].verdict for of_day in found} == {"stable"}
    # Two deviations more of a feature that counts double.
    moved = verdicts(line, made.version, range(48, 49), shift=2.0)[0]["prediction"]
    assert moved.verdict == "drifted" and "moved by x0" in moved.reason, moved.reason


@pytest.mark.slow
def test_where_nothing_changes_a_refit_that_has_learnt_rows_by_heart_is_quiet_for_120_days(deploy: Deploy) -> None:
    leaves = {"num_leaves": 31, "learning_rate": 0.3, "num_boost_round": 200, "min_data_in_leaf": 2}
    line = deploy(
        rises=0.0, days=170, a_day=60, gate={"certainty": 0.5},
        candidates={"boosted": {"estimator": "lightgbm", "params": leaves}},
    )  # fmt: skip
    assert line.train(day(48)) == []
    made, days = refit_of(line), range(49, 169)
    assert made.judged
    found = verdicts(line, made.version, days)
    assert {of_day["prediction"].verdict for of_day in found} == {"stable"}
    assert verdicts(line, made.version, range(168, 169), shift=1.0)[0]["prediction"].verdict == "drifted"


def test_a_refit_is_up_for_no_node_and_its_evaluations_are_those_of_the_judged_version(line: Segmented) -> None:
    made, ledger = refit_of(line), line.ledger
    trained = {version.version for version in ledger.versions(LINE)}
    assert made.version not in trained and made.judged in trained
    assert made.version in {version.version for version in ledger.versions(LINE, refits=True)}
    assert ledger.evaluations(LINE, versions={made.version}) == []
    assert ledger.evaluated(LINE, {made.version})[made.version] == ledger.evaluations(LINE, versions={str(made.judged)})
    assert ledger.evaluated(LINE)[made.version] == ledger.evaluated(LINE)[str(made.judged)]
    examples = line.lake.read(f"{LINE}/examples", SECOND, SECOND)
    past = comparable(
        ledger.versions(LINE, "global"), SECOND, lambda version: load(line.archive, LINE, version), examples
    )
    assert {model.version for model in past.models.values()} == {made.judged}
    assert [each.version for each in continued_by(ledger, [made])] == [made.version, made.judged]


def test_it_is_rebuilt_equal_and_put_back_when_the_archive_has_lost_both(line: Segmented, tmp_path: Path) -> None:
    made, scratch = refit_of(line), ArchiveFolder(str(tmp_path))
    again = remake(made, line.lake, ENGINE, scratch, before_of(made, line.ledger, line.archive))
    assert again.version == made.version and again.data == made.configuration["data"]
    assert scratch.listing(LINE, made.version) == line.archive.listing(LINE, made.version)
    root = Path(line.archive.root) / LINE
    for version in (made.version, str(made.judged)):
        (found,) = [each for each in root.iterdir() if each.name.startswith(version)]
        shutil.rmtree(found)
    with pytest.raises(NotRebuildable, match=f"a refit of {made.judged}; restore that first"):
        before_of(made, line.ledger, line.archive)
    records = [each for each in line.ledger.versions(LINE, as_of=FIRST, refits=True) if each.node == "global"]
    assert restore(records, line.lake, ENGINE, line.ledger, line.archive) == {}
    assert load(line.archive, LINE, made.version).version == made.version


@pytest.mark.slow
def test_a_training_that_was_killed_before_its_decisions_fits_nothing_twice(deploy: Deploy) -> None:
    line = deploy(gate={"certainty": 0.5})
    assert line.train(FIRST, stations=("model", "evaluation", "refit")) == []
    assert line.champions() == {}
    there = line.ledger.versions(LINE, refits=True)
    assert "global" in {version.node for version in there if version.judged}
    assert line.train(FIRST) == []
    assert [version.version for version in line.ledger.versions(LINE, refits=True)] == [each.version for each in there]
    before = line.champions()
    assert line.train(FIRST) == [] and line.champions() == before, "a day that is run again decides alike"
    assert {version.judged is not None for version in line.ledger.versions(LINE, ids=set(before.values()))} == {True}


@pytest.mark.slow
def test_the_judged_version_meets_the_next_challenger_on_all_of_its_holdout(deploy: Deploy) -> None:
    line = deploy(rises=0.0, gate={"certainty": 0.95})
    assert line.train(FIRST) == []
    champion = refit_of(line)
    assert line.train(SECOND) == []
    (met,) = [
        each for each in line.ledger.evaluations(LINE, as_of=SECOND)
        if each.node == "global" and each.version != champion.judged
    ]  # fmt: skip
    span = timeline(line.declared, SECOND)
    assert met.incumbent_version == champion.judged
    assert (met.holdout_from, met.holdout_to, met.rows) == (span.holdout_from, span.holdout_to, 140)
    decision = line.ledger.decisions(LINE, "global")[-1]
    assert (decision.verdict, decision.champion) == ("keep", champion.version), decision.reason
    champions = champions_before(line.ledger, LINE, SECOND, ["global"])
    assert as_judged(line.ledger, LINE, champions)["global"] == champion.judged


@pytest.mark.slow
def test_without_refit_the_judged_version_answers_and_has_the_same_id(deploy: Deploy, line: Segmented) -> None:
    other = deploy(gate={"certainty": 0.5}, train={"window": "28d", "holdout": "7d", "refit": False})
    assert other.train(FIRST) == []
    assert other.champions()["global"] == refit_of(line).judged
    assert len(other.ledger.versions(LINE, refits=True)) == len(other.nodes)
    assert "answers as" not in other.ledger.decisions(LINE, "global")[-1].reason


@pytest.mark.slow
def test_a_refit_that_says_other_things_does_not_answer_and_the_reason_says_how_far_it_is(deploy: Deploy) -> None:
    line = deploy(gate={"certainty": 0.5, "refit_apart": 0.0001})
    assert line.train(FIRST) == []
    decision = line.ledger.decisions(LINE, "global")[-1]
    assert decision.verdict == "promote" and decision.champion == decision.version
    assert "it answers as it was judged, and not its refit" in decision.reason
    assert "times as far from the judged version as that is from the labels, 0.0001 at most" in decision.reason


def test_a_disagreement_is_told_in_terms_of_how_far_the_judged_version_is_off() -> None:
    assert Disagreement(0.5, 1.0, 10).within(0.5) and not Disagreement(0.6, 1.0, 10).within(0.5)
    assert Disagreement(0.0, 0.0, 10).within(1.0) and not Disagreement(0.1, 0.0, 10).within(1.0)


@pytest.mark.longest
def test_a_refit_that_is_taken_back_takes_the_judged_version_with_it(deploy: Deploy) -> None:
    line = deploy(gate={"certainty": 0.5})
    assert line.train(FIRST) == [] and line.train(SECOND) == []
    newest = refit_of(line)
    assert newest.as_of == SECOND
    (made,) = roll_back(line.ledger, line.lake, Request(LINE, "global", "complaints", "ana"))
    assert made.version == newest.version and refit_of(line).as_of == FIRST
    assert gone(line, observation([made])) == []
    assert {version for _, version in line.ledger.withdrawn(LINE, SECOND)} == {newest.version, newest.judged}
    assert line.train(SECOND) == []
    assert refit_of(line).as_of == FIRST, "judging the day again lets neither of the two answer"
    roll_back(line.ledger, line.lake, Request(LINE, "global", "it was not that", "ana"), str(newest.judged))
    assert line.champions()["global"] == newest.judged
    assert line.ledger.withdrawn(LINE, SECOND).keys() & {("global", str(newest.judged))} == set()


@pytest.mark.slow
def test_what_is_approved_is_the_refit(deploy: Deploy) -> None:
    line = deploy(gate={"certainty": 0.5, "approval": True})
    assert line.train(FIRST) == [] and line.champions() == {}
    (decision,) = line.ledger.decisions(LINE, "global")
    refit = line.ledger.version(LINE, decision.evidence["refit"]["version"])
    assert refit.judged == decision.version == waiting(line.ledger, LINE)["global"].version
    made = approve(line.ledger, line.lake, Request(LINE, "global", "looks right", "ana", refit.version[:8]))
    assert (made.version, made.champion) == (refit.judged, refit.version)
    assert line.champions() == {"global": refit.version}
    assert gone(line, observation([made])) == []
    assert "its decision is gone" in gone(line, observation([replace(made, reason="another")]))[0]


def gone(line: Segmented, shown: dg.AssetObservation) -> list[str]:
    """What `factory verify` says is gone from the ledger, where the event log has this of a person's decision."""
    metadata = {name: str(value.value) for name, value in shown.metadata.items()}
    noted = SimpleNamespace(partition=shown.partition, at=dt.datetime.now(dt.UTC), shown=metadata)
    events = SimpleNamespace(noted=lambda name, since: [noted] if name == f"{LINE}/champion" else [])
    return list(map(str, forgotten(events, line.ledger, [LINE])))
