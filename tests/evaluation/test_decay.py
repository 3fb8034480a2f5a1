"""Is what age does to a model seen where it is true, not seen where it is not, and measured on no day that a version has seen?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.evaluation.decay import FEWEST, Curve, Pair, Past, advice, age_of, comparable, curve, replay
from factory_assets.governor.executor import execute
from factory_assets.models.archived import load
from factory_assets.training.archiving import release
from factory_assets.training.dataset import past_stretches, training_rows
from factory_assets.training.fit.fitting import Fitted, fit_node
from factory_assets.training.run_config import AS_OF
from factory_assets.training.timeline import timeline
from factory_resources.engine import Engine
from tests.resources.test_ledger import a_version
from tests.training.segmented import LINE, Segmented, day, declare

WEEKS = 14
LAST = 35 + 7 * WEEKS
#: Days as of which versions are made: from the first one on whose window and holdout are full, every week.
MADE = [day(offset) for offset in range(35, LAST - 6, 7)]
ROWS_A_DAY = 12


@contextmanager
def world(folder: Path, turn: float) -> Iterator[Segmented]:
    """A line that is trained every week, in a world whose relation turns by so many degrees a day."""
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        patch.setenv("FACTORY_DEFS", str(folder / "defs"))
        declare(folder / "defs", segments={"min_rows": 50})
        line, rng = Segmented(folder, instance), np.random.default_rng(5)
        offsets = np.repeat(np.arange(LAST + 1), ROWS_A_DAY)
        x, angle = rng.normal(size=(len(offsets), 2)), np.deg2rad(turn) * offsets
        # A hard day is one for every model: what it costs must not be taken for age.
        hard = np.where(offsets % 5 == 0, 3.0, 1.0)
        y = 3 * (np.cos(angle) * x[:, 0] + np.sin(angle) * x[:, 1]) + hard * rng.normal(size=len(offsets))
        line.give(["global"] * len(offsets), [day(int(offset)) for offset in offsets], x, y)
        for as_of in MADE:
            make(line, as_of)
        yield line


def make(line: Segmented, as_of: dt.date, declaration: str = "as it is") -> str:
    """A version as a training makes it, without the run around it."""
    declared, span = line.declared, timeline(line.declared, as_of)
    with Engine(threads=1).connect() as con:
        past = past_stretches(declared, span)
        rows, tables = training_rows(con, line.lake, LINE, span, past)
    of_node = rows.of("global")
    fitted = fit_node(declared.line, of_node.train, declared.features, "global", "mae")
    assert isinstance(fitted, Fitted)
    version = release(line.archive, declared, span, past, fitted, of_node, {}).version
    days = dict(vars(span))
    configuration = {"id": declaration, "params": dict(fitted.params)}
    line.ledger.register(
        a_version(version, line=LINE, task="regression", tables=tables, configuration=configuration, **days)
    )
    return version


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmented]:
    with world(tmp_path_factory.mktemp("turning"), turn=0.5) as line:
        yield line


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmented]:
    with world(tmp_path_factory.mktemp("still"), turn=0.0) as line:
        yield line


def past_of(line: Segmented, until: dt.date) -> Past:
    records, columns = line.ledger.versions(LINE, "global"), line.lake.read(f"{LINE}/examples", day(0), day(0))
    return comparable(records, until, lambda version: load(line.archive, LINE, version), columns)


def pairs_of(line: Segmented, past: Past, until: dt.date) -> list[Pair]:
    with Engine(threads=1).connect() as con:
        return replay(con, line.lake, line.declared, "mae", {"global": past}, until)["global"]


def curve_of(line: Segmented) -> Curve:
    past = past_of(line, day(LAST))
    return curve(pairs_of(line, past, day(LAST)), past.step, "mae")


@pytest.mark.slow
def test_where_the_world_turns_a_model_loses_more_the_older_it_is(turning: Segmented) -> None:
    found = curve_of(turning)
    judged = [age for age in found.ages if age.verdict != "too few"]
    assert [age.verdict for age in judged] == ["worse"] * len(judged) and len(judged) >= 4
    losses = [age.loss for age in judged]
    assert losses == sorted(losses) and losses[-1] > 3 * losses[0]
    assert found.cadence == found.step == 7
    assert "at 8 to 14 days it loses" in found.reason and "nothing shorter can be judged" in found.reason


@pytest.mark.slow
def test_where_the_world_stands_still_no_age_loses_and_the_cadence_is_as_long_as_was_seen(still: Segmented) -> None:
    found = curve_of(still)
    judged = [age for age in found.ages if age.verdict != "too few"]
    assert len(judged) >= 4 and "worse" not in {age.verdict for age in judged}
    assert found.cadence == judged[-1].last > 50 and found.reason.endswith("no version was judged at a greater age")
    assert advice(found, 7).startswith(f"train every {found.cadence}d, where retrain.every is 7d: ")


@pytest.mark.slow
def test_no_version_meets_a_day_that_it_learnt_from_or_was_judged_on_and_none_whose_labels_are_not_in(
    turning: Segmented,
) -> None:
    until = MADE[8]
    past = past_of(turning, until)
    assert list(past.models) == MADE[:9]
    spans = {model.version: timeline(turning.declared, as_of) for as_of, model in past.models.items()}
    pairs = pairs_of(turning, past, until)
    assert {pair.version for pair in pairs} == {model.version for model in list(past.models.values())[:-2]}
    for pair in pairs:
        for span in (spans[pair.version], spans[pair.beside]):
            assert span.train_to < span.holdout_from <= span.holdout_to <= span.as_of < pair.day <= until
        assert pair.age == (pair.day - spans[pair.version].as_of).days > 7 >= (pair.day - spans[pair.beside].as_of).days
    assert max(pair.day for pair in pairs) == until - turning.declared.line.label.horizon


def test_a_day_that_is_hard_for_all_is_no_loss_and_a_few_days_are_no_verdict() -> None:
    start = dt.date(2026, 1, 1)
    hard = [pair(start, place, 10, 9.0, 9.0) for place in range(7 * FEWEST)]
    easy = [pair(start, place, 20, 1.1, 1.0) for place in range(7 * FEWEST - 7)]
    found = curve([*hard, *easy], 7, "mae")
    assert [(age.first, age.last, age.loss, age.verdict) for age in found.ages] == [
        (8, 14, 0.0, "as good"),
        (15, 21, pytest.approx(0.1), "too few"),
    ]
    assert found.cadence == 14
    unknown = curve(easy, 7, "mae")
    assert unknown.cadence is None
    assert "from 4 stretches of 7 days and 4 versions on, and there are 3 and 3" in advice(unknown, 7)


def pair(start: dt.date, place: int, age: int, old: float, fresh: float, version: str = "") -> Pair:
    """version: of each week its own if absent."""
    return Pair(start + dt.timedelta(days=place), age, version or f"v{place // 7}", "new", old, fresh, 10.0)


def test_a_version_that_is_lucky_on_all_days_is_one_witness() -> None:
    """Versions whose own quality varies, and nothing that age takes from them: the limits hold for them too."""
    start, told, missed = dt.date(2026, 1, 1), [], 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        luck, noise = rng.normal(0, 0.5, 5), rng.normal(0, 0.3, 140)
        # 5 versions of an age meet 20 weeks, each of them four on end.
        pairs = [pair(start, at, 30, 5 + luck[at // 28] + noise[at], 5.0, f"v{at // 28}") for at in range(140)]
        (age,) = curve(pairs, 7, "mae").ages
        assert age.lower is not None and age.upper is not None
        told.append(age.verdict)
        missed += not age.lower <= 0 <= age.upper
    # Stated are .05 for each side; of 300 tries 28 come once in 1,000.
    assert told.count("worse") <= 28 and missed <= 50
    alone = curve([pair(start, at, 30, 5.5, 5.0, "v0") for at in range(140)], 7, "mae")
    assert [age.verdict for age in alone.ages] == ["too few"]
    assert "there are 20 and 1" in alone.reason


@pytest.mark.slow
def test_versions_of_an_age_take_turns(still: Segmented) -> None:
    of_age: dict[tuple[int, int], set[str]] = {}
    for each in pairs_of(still, past_of(still, day(LAST)), day(LAST)):
        of_age.setdefault(age_of(each.age, 7), set()).add(each.version)
    # The oldest version of an age alone would leave three of 57 to 84 days in this history, too few for a verdict.
    assert len(of_age[57, 84]) >= FEWEST


@pytest.mark.slow
def test_a_version_of_another_declaration_or_without_its_archive_is_left_out_and_told(still: Segmented) -> None:
    first = past_of(still, MADE[2]).models[MADE[1]].version
    folder = Path(still.archive.uri(LINE, first))
    aside = folder.rename(folder.with_name("aside"))
    try:
        past = past_of(still, MADE[2])
    finally:
        aside.rename(folder)
    assert list(past.models) == [MADE[0], MADE[2]] and list(past.left_out) == [first]
    edited = make(still, day(30), "edited since")
    assert past_of(still, MADE[2]).left_out == {edited: "made from another declaration than the newest"}


@pytest.mark.slow
def test_the_command_and_the_asset_say_what_was_found(turning: Segmented, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(turning.lake.root).parent
    monkeypatch.setenv("FACTORY_HOME", str(folder))
    monkeypatch.setenv("FACTORY_DEFS", str(folder / "defs"))
    monkeypatch.setenv("COLUMNS", "200")
    told = CliRunner().invoke(app, ["decay", LINE])
    assert told.exit_code == 0 and "train every 7d, as declared" in told.output and "worse" in told.output
    nowhere = CliRunner().invoke(app, ["decay", LINE, "FR"])
    assert nowhere.exit_code == 1 and "nodes with versions here: global" in nowhere.output

    turning.deployment.failures += execute(turning.deployment, [dg.AssetKey([LINE, "decay"])], {AS_OF: str(day(LAST))})
    assert turning.deployment.failures == []
    (record,) = turning.instance.fetch_materializations(dg.AssetKey([LINE, "decay"]), limit=5).records
    shown = record.asset_materialization.metadata  # type: ignore[union-attr]
    assert str(shown["advice"].value) in told.output.replace("\n", " ")
    assert "data:image/png" in str(shown["curve"].value)
    rows = turning.lake.read(f"{LINE}/decay").to_pylist()
    assert [row["loss"] for row in rows] == [age.loss for age in curve_of(turning).ages]
