"""Does a comparison of two versions say which is better, and by what: rows, features, configuration, or libraries?"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from typer.testing import CliRunner

from factory_assets import cli
from factory_assets.evaluation.differences import by_libraries_alone, differences
from factory_assets.models.libraries import libraries
from factory_assets.release.comparison import Comparison, NotComparable, compare
from factory_assets.release.pairs import before, pair
from factory_assets.release.rebuild import Origin
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import VersionRecord
from tests.training.segmented import LINE, Segmented, day, declare

pytestmark = pytest.mark.slow

ENGINE = Engine(threads=1, memory_limit="1GB")
#: As of which days the line was trained; the slope of the label changes in between.
FIRST, SECOND, TURN = 34, 69, 36
#: One split a tree for a label that needs many.
DULL = {"boosted": {"estimator": "lightgbm", "params": {"num_boost_round": 3, "num_leaves": 3}}}
KEEN = {"boosted": {"estimator": "lightgbm", "params": {"num_boost_round": 40, "num_leaves": 15}}}
COMMON: dict[str, Any] = {"segments": {"min_rows": 50}, "gate": {"certainty": 0.5}}


class World:
    """A line of one node in a folder: its label follows x0 with a slope that turns, and x1; x2 explains the rest."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance):
        self.folder, self._instance = folder, instance
        self.declared_as(DULL)

    def declared_as(self, candidates: dict[str, Any], features: tuple[str, ...] = ("x0", "x1"), **fields: Any) -> None:
        declare(self.folder / "defs", features, candidates=candidates, **COMMON | fields)
        self.line = Segmented(self.folder, self._instance, engine=ENGINE)

    def fill(self, first: int, last: int) -> None:
        rng = np.random.default_rng(first)
        days = [day(offset) for offset in range(first, last + 1) for _ in range(40)]
        x = rng.normal(size=(len(days), 3))
        slope = np.where([on < day(TURN) for on in days], 2.0, -2.0)
        y = slope * x[:, 0] + x[:, 1] + 2 * x[:, 2] + rng.normal(size=len(days))
        self.line.give(["global"] * len(days), days, x[:, : len(self.line.declared.features)], y)

    def train(self, as_of: int) -> VersionRecord:
        assert self.line.train(day(as_of), ["global"], ["model", "evaluation", "champion"]) == []
        return self.line.ledger.versions(LINE)[-1]

    @property
    def origin(self) -> Origin:
        return Origin(self.line.lake, ENGINE, self.line.ledger, self.line.archive)

    def compare(self, a: VersionRecord, b: VersionRecord, seeds: int = 0) -> Comparison:
        return compare(self.line.declared, a, b, self.origin, seeds)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("FACTORY_DEFS", str(folder / "defs"))
        patch.setenv("FACTORY_HOME", str(folder))
        yield World(folder, instance)


@pytest.fixture(scope="module")
def trained(world: World) -> list[VersionRecord]:
    """Of the first day with few rounds; of the second with few, and with many."""
    world.fill(0, SECOND)
    made = [world.train(FIRST), world.train(SECOND)]
    world.declared_as(KEEN)
    return [*made, world.train(SECOND)]


def sizes(found: Comparison) -> dict[str, float]:
    return {each.cause: each.size for each in found.shares}


def test_of_rows_and_configuration_each_gets_its_part_and_together_they_are_the_difference(
    world: World, trained: list[VersionRecord]
) -> None:
    first, _, last = trained
    found = world.compare(first, last)
    assert set(sizes(found)) == {"data", "configuration"}
    assert sum(sizes(found).values()) == pytest.approx(found.difference)
    assert sizes(found)["data"] < -0.5, "the slope has turned"
    back = world.compare(last, first)
    assert sizes(back) == pytest.approx({cause: -size for cause, size in sizes(found).items()})
    assert "better by" in found.sentence and "mostly by data" in found.sentence and "worse by" in back.sentence
    assert found.certainty == pytest.approx(1 - (back.certainty or 0)) and (found.certainty or 0) > 0.99
    assert not found.notes


def test_what_did_not_change_has_no_part(world: World, trained: list[VersionRecord]) -> None:
    first, second, last = trained
    assert set(sizes(world.compare(first, second))) == {"data"}
    found = world.compare(second, last)
    assert set(sizes(found)) == {"configuration"}
    assert {(each.kind, each.what, each.a, each.b) for each in found.differences} == {
        ("configuration", "candidates.boosted.params.num_boost_round", "3", "40"),
        ("configuration", "candidates.boosted.params.num_leaves", "3", "15"),
    }


def test_versions_that_met_are_measured_on_the_rows_of_their_meeting_as_the_ledger_has_it(
    world: World, trained: list[VersionRecord]
) -> None:
    _, second, last = trained
    found = world.compare(second, last)
    (record,) = [each for each in world.line.ledger.evaluations(LINE) if each.version == last.version]
    assert record.incumbent_version == second.version and "met as of" in found.where
    assert found.metrics[last.version] == record.challenger and found.metrics[second.version] == record.incumbent
    assert (found.first, found.last, found.rows) == (record.holdout_from, record.holdout_to, record.rows)


def test_those_that_never_met_are_measured_on_days_that_neither_has_learnt(
    world: World, trained: list[VersionRecord]
) -> None:
    first, _, last = trained
    found = world.compare(first, last)
    assert "as they are known now" in found.where
    assert (found.first, found.last) == (last.holdout_from, day(SECOND)) and first.holdout_from < found.first


def test_nothing_is_recorded(world: World, trained: list[VersionRecord]) -> None:
    ledger, before = world.line.ledger, world.line.ledger.mark(LINE)
    versions, tables = (
        ledger.identities(LINE),
        {name: world.line.lake.version(name) for name in world.line.lake.tables()},
    )
    files = sorted((world.folder / "archive").rglob("*"))
    world.compare(trained[0], trained[2], seeds=1)
    assert ledger.mark(LINE) == before and ledger.identities(LINE) == versions
    assert {name: world.line.lake.version(name) for name in world.line.lake.tables()} == tables
    assert sorted((world.folder / "archive").rglob("*")) == files


def test_a_difference_that_another_seed_makes_as_well_is_called_that(
    world: World, trained: list[VersionRecord]
) -> None:
    lucky = {
        "boosted": {
            "estimator": "lightgbm",
            "params": KEEN["boosted"]["params"] | {"bagging_fraction": 0.3, "bagging_freq": 1},
        }
    }
    world.declared_as(lucky)
    one = world.train(SECOND - 1)
    world.declared_as(lucky, seed=11)
    other = world.train(SECOND - 1)
    world.declared_as(KEEN)
    found = world.compare(one, other, seeds=4)
    assert [(each.kind, each.what) for each in found.differences] == [("configuration", "seed")]
    assert found.seeds and abs(sizes(found)["configuration"]) < 2 * found.seeds
    assert "no cause changes more than another seed does" in found.sentence
    assert world.compare(*trained[1:], seeds=2).seeds == 0, "nothing is drawn without bagging"


def test_a_version_whose_tables_are_gone_is_not_weighed_and_says_why(
    world: World, trained: list[VersionRecord], tmp_path: Path
) -> None:
    shutil.copytree(world.folder / "lake", tmp_path / "lake")
    shutil.rmtree(tmp_path / "lake" / LINE / "labels" / "_delta_log")
    origin = Origin(Lake(root=str(tmp_path / "lake")), ENGINE, world.line.ledger, world.line.archive)
    with pytest.raises(NotComparable, match=r"table score/labels does not exist"):
        compare(world.line.declared, trained[0], trained[2], origin, 0)
    first = trained[0]
    lost = VersionRecord(**vars(first) | {"tables": first.tables | {f"{LINE}/examples": 9999}})
    found = world.compare(lost, trained[2])
    assert not found.shares and found.difference is not None
    (note,) = found.notes
    assert f"{first.version} cannot be fitted again: {LINE}/examples at version 9999" in note
    assert "cannot be read any more" in note
    bare = VersionRecord(**vars(first) | {"configuration": {"params": {}}})
    (note,) = world.compare(bare, trained[2]).notes
    assert "was recorded before records held what a model is made from" in note


def test_a_version_that_does_not_score_here_has_its_predictions_of_the_meeting(
    world: World, trained: list[VersionRecord], tmp_path: Path
) -> None:
    first, second, last = trained
    shutil.copytree(world.folder / "archive", tmp_path / "archive")
    shutil.rmtree(tmp_path / "archive" / LINE / second.version)
    shutil.rmtree(tmp_path / "archive" / LINE / first.version)
    origin = Origin(world.line.lake, ENGINE, world.line.ledger, ArchiveFolder(str(tmp_path / "archive")))
    found = compare(world.line.declared, second, last, origin, 0)
    assert found.metrics == world.compare(second, last).metrics and sizes(found)
    assert any("these are its predictions of then" in note for note in found.notes)
    unmet = compare(world.line.declared, first, last, origin, 0)
    assert first.version not in unmet.metrics and unmet.difference is None
    assert any("cannot be scored on these rows" in note for note in unmet.notes)


def test_what_is_made_again_otherwise_is_of_the_libraries_where_those_differ(
    world: World, trained: list[VersionRecord]
) -> None:
    """The archive has a model of 40 rounds, its record says 3: what another library would do, and it says which differ."""
    _, second, last = trained
    then = libraries() | {"lightgbm": "3.3.2"}
    made = second.configuration | {"libraries": then}
    upgraded = VersionRecord(**vars(second) | {"version": last.version, "configuration": made})
    found = world.compare(second, upgraded)
    assert sizes(found) == pytest.approx({"libraries": found.difference})
    (note,) = found.notes
    assert f"lightgbm 3.3.2 then, {libraries()['lightgbm']} here" in note
    assert [(each.kind, each.what) for each in by_libraries_alone(second, upgraded)] == [("libraries", "lightgbm")]
    assert by_libraries_alone(second, last) == []


def test_features_are_told_apart_from_rows_where_the_old_rows_have_them(
    world: World, trained: list[VersionRecord]
) -> None:
    first = trained[0]
    world.declared_as(KEEN, ("x0", "x1", "x2"))
    try:
        world.fill(40, SECOND + 1)
        last = world.train(SECOND + 1)
        found = world.compare(first, last)
        assert any("has no value in the rows" in note for note in found.notes), found.notes
        assert set(sizes(found)) == {"data", "features", "configuration"}
        assert sum(sizes(found).values()) == pytest.approx(found.difference)
        world.fill(0, 39)
        found = world.compare(first, world.train(SECOND + 1))
        assert not found.notes and sizes(found)["features"] < -0.2
    finally:
        world.declared_as(KEEN)
    assert ("features", "features added", "-", "x2") in {
        (each.kind, each.what, each.a, each.b) for each in differences(first, last)
    }


def test_without_names_it_is_the_champion_beside_the_one_trained_since_or_before(
    world: World, trained: list[VersionRecord]
) -> None:
    ledger = world.line.ledger
    champion, ids = world.line.champions()["global"], [version for _, _, version in ledger.identities(LINE)]
    a, b = pair(ledger, LINE, None, None, "global")
    assert (a.version == champion and b.version == ids[-1]) or b.version == champion
    assert [each.version for each in pair(ledger, LINE, trained[0].version[:6], trained[2].version[:6], "global")] == [
        trained[0].version,
        trained[2].version,
    ]
    with pytest.raises(LookupError, match="FR of score has no two versions to compare: it has no version"):
        pair(ledger, LINE, None, None, "FR")


def test_the_command_tells_it_to_people_and_to_programs(
    world: World, trained: list[VersionRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORY_LEDGER", world.line.ledger.url)
    ids = [trained[0].version, trained[2].version]
    done = CliRunner().invoke(cli.app, ["compare", LINE, *ids, "--seeds", "0", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert sum(each["size"] for each in told["shares"]) == pytest.approx(told["difference"])
    done = CliRunner().invoke(cli.app, ["compare", LINE, *ids, "--seeds", "0"])
    assert done.exit_code == 0 and "mostly by data" in done.stdout and "training days" in done.stdout
    earlier, now = before(world.line.ledger, LINE, "global"), world.line.champions()["global"]
    assert earlier not in (None, now)
    answers = CliRunner().invoke(cli.app, ["champion", LINE, "global"])
    assert f"what changed since {earlier}: factory compare {LINE} {earlier} {now}" in answers.stdout
    refused = CliRunner().invoke(cli.app, ["compare", LINE, ids[0], ids[0]])
    assert refused.exit_code == 1 and "is compared with itself" in refused.output


def test_the_limits_of_a_difference_hold_it_and_are_narrower_than_those_of_either_alone(
    world: World, trained: list[VersionRecord]
) -> None:
    found = world.compare(*trained[1:])
    assert found.between and found.between[0] < (found.difference or 0) < found.between[1]
    for version, (low, high) in found.limits.items():
        assert low < found.metrics[version][found.metric] < high
        assert high - low > found.between[1] - found.between[0], "both were measured on the same rows"
    assert set(found.limits) == {each.version for each in trained[1:]}


def test_the_command_writes_a_page_of_the_comparison_and_says_where(
    world: World, trained: list[VersionRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORY_LEDGER", world.line.ledger.url)
    a, b = trained[0].version, trained[2].version
    asked = ["compare", LINE, a, b, "--seeds", "0"]
    reports = world.folder / "reports"
    assert CliRunner().invoke(cli.app, asked).exit_code == 0 and not reports.exists()
    done = CliRunner().invoke(cli.app, [*asked, "--page", "--json"])
    assert done.exit_code == 0, done.output
    written = Path(json.loads(done.stdout)["page"])
    assert written == reports / LINE / "compare" / f"{a}-{b}.html"
    html = written.read_text()
    assert "B is better by" in html and "factory compare score" in html
    # Both have the features x0 and x1, and models in the archive.
    assert all(f"mean prediction of A and B by {name}" in html for name in ("x0", "x1"))
    assert f"{LINE}/page.html" not in html, "the line has no page yet"
    again = CliRunner().invoke(cli.app, [*asked, "--page"])
    assert "mostly by data" in again.stdout and str(written) in again.stdout.replace("\n", "")


#: A library of two releases, and an estimator that is made with it.
LIBRARY = "def kept(slope):\n    return slope * {kept}\n"
PLUG_IN = """
import json
import numpy as np
from factory_assets.models.estimators import Estimator

class Sloped(Estimator):
    tasks, files = ("regression",), ("slopes.json",)

    def __init__(self, parts):
        super().__init__(parts)
        self.slopes = np.array(json.loads(parts["slopes.json"]))
        self.width = len(self.slopes)

    @classmethod
    def train(cls, examples, params, seed):
        import slopes
        found = np.linalg.lstsq(examples.x, examples.y, rcond=None)[0]
        return {"slopes.json": json.dumps([slopes.kept(float(each)) for each in found]).encode()}

    def _predict(self, x):
        known = np.clip(np.where(np.isfinite(x), x, 0), -1e9, 1e9)
        return sum(known[:, place] * slope for place, slope in enumerate(self.slopes))

    def importances(self):
        return np.full(self.width, 1 / self.width)
"""


def release_of_library(folder: Path, version: str, kept: float) -> Path:
    for name, number, files in (
        ("slopes", version, {"slopes.py": LIBRARY.format(kept=kept)}),
        ("sloped", "1.0", {"sloped.py": PLUG_IN}),
    ):
        about = folder / f"{name}-{number}.dist-info"
        about.mkdir(parents=True)
        needs = "Requires-Dist: slopes\n" if name == "sloped" else ""
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n{needs}")
        for file, text in files.items():
            (folder / file).write_text(text)
    (folder / "sloped-1.0.dist-info" / "entry_points.txt").write_text(
        "[model_factory.estimators]\nsloped = sloped:Sloped\n"
    )
    return folder


@contextmanager
def with_library(folder: Path) -> Iterator[None]:
    """As long as this release of the library is the one that is installed."""
    libraries.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for name in ("slopes", "sloped"):
            patch.delitem(sys.modules, name, raising=False)
        yield
    for name in ("slopes", "sloped"):
        sys.modules.pop(name, None)
    libraries.cache_clear()


def test_the_same_training_with_another_release_of_a_library_is_kept_away_and_the_library_named(tmp_path: Path) -> None:
    old, new = (release_of_library(tmp_path / each, each, kept) for each, kept in (("1.0", 1.0), ("2.0", 0.5)))
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("FACTORY_DEFS", str(tmp_path / "defs"))
        with with_library(old):
            world = World(tmp_path, instance)
            world.declared_as({"sloped": {"estimator": "sloped"}})
            world.fill(0, FIRST)
            first = world.train(FIRST)
        with with_library(new):
            second = world.train(FIRST)
            found = world.compare(first, second)
            still = world.compare(first, second, seeds=1)
        assert world.line.champions() == {"global": first.version}, world.line.reason("global")
        assert first.version != second.version
        assert world.line.ledger.decisions(LINE)[-1].verdict == "keep"
        assert [(each.what, each.a, each.b) for each in found.differences] == [("slopes", "1.0", "2.0")]
        assert sizes(found) == {"libraries": found.difference} and (found.difference or 0) > 0
        assert found.sentence.endswith("by libraries alone") and still.seeds == 0
        (note,) = found.notes
        assert note.startswith(first.version) and note.endswith("slopes 1.0 then, 2.0 here")
        shown = instance.get_latest_materialization_event(dg.AssetKey([LINE, "evaluation"]))
        assert shown is not None and shown.asset_materialization is not None
        metadata = {name: value.value for name, value in shown.asset_materialization.metadata.items()}
        assert metadata["by_libraries_alone"] == "slopes 1.0 -> 2.0"
        assert metadata["what_changed"] == f"factory compare {LINE} {first.version} {second.version}"
