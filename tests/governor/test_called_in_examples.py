"""Do drift and lost performance train the demo and the bike example alike, whoever keeps the line and however late?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from factory_assets.governor.plan import plan
from factory_assets.governor.runs import LINE, REASON, TRIGGER
from factory_assets.training.run_config import AS_OF
from tests.governor.world import World, by_command, by_daemon, worlds

pytestmark = pytest.mark.longest
REPOSITORY = Path(__file__).parents[2]
BIKES = REPOSITORY.parent / "shared" / "data" / "bike_sharing"
CALLED = "on: [new_data, schema, drift, performance], cooldown: "


@dataclass(frozen=True)
class Example:
    """Declarations with texts replaced, and the days that are lived.

    first: nothing is trained before. seldom: days at whose close the sensors are ticked. called: how reasons of trainings begin that
    an episode has to start. grows: a file of the feed that has no rows of days to come -> where all of its rows are.
    """

    folder: Path
    replaced: dict[str, str]
    first: dt.date
    last: dt.date
    needs: Path = REPOSITORY
    seldom: Sequence[int] = field(default=(5, 11, 30))
    called: Sequence[str] = ()
    grows: Mapping[str, Path] = field(default_factory=dict)

    def declarations(self) -> dict[str, str]:
        texts = {file.name: file.read_text() for file in self.folder.glob("*.yaml")}
        for found, replacement in self.replaced.items():
            assert any(found in text for text in texts.values()), found
            texts = {name: text.replace(found, replacement) for name, text in texts.items()}
        return texts


EXAMPLES = {
    "demo": Example(
        REPOSITORY / "factory_assets" / "defs" / "marketplace",
        {"retrain: {every: 14d}": f"retrain: {{every: 14d, {CALLED}3d}}"},
        dt.date(2026, 3, 9),
        dt.date(2026, 4, 12),
        called=("performance of FR/Lyon since 2026-03-31, known on 2026-04-01: mae ",),
    ),
    "bikes": Example(
        REPOSITORY / "examples" / "bike_demand",
        {
            "{{ env.BIKE_SHARING }}": "FEED",
            "end: 2013-01-01 ": "end: 2012-03-31 ",
            "retrain: {every: 28d}": f"retrain: {{every: 28d, {CALLED}7d}}",
        },
        dt.date(2011, 12, 15),
        dt.date(2012, 3, 31),
        BIKES,
        (9, 40, 41, 80),
        grows={"hour.parquet": BIKES / "hour.parquet"},
    ),
}
Training = tuple[str, str, str, str]


@dataclass
class Lived:
    """An example, kept in several ways: by name."""

    example: Example
    worlds: dict[str, World]


@pytest.fixture(scope="module", params=list(EXAMPLES))
def lived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    example = EXAMPLES[request.param]
    if not example.needs.exists():
        pytest.skip("the bike rentals are not beside the repository (../shared/data/bike_sharing)")
    days = (example.last - example.first).days + 1
    kept: dict[str, tuple[Sequence[int], Callable[[World], None]]] = {
        "each day": (range(days), by_command),
        "at the end": ([days - 1], by_command),
        "ticks, seldom": ([*example.seldom, days - 1], by_daemon),
    }
    with worlds(tmp_path_factory.mktemp(request.param), list(kept), example.declarations()) as made:
        for name, (looks, keep) in kept.items():
            made[name].load()
            for offset in looks:
                today = example.first + dt.timedelta(days=offset + 1)
                deliver(example, made[name], today)
                made[name].at(today, 1)
                keep(made[name])
        yield Lived(example, made)


def deliver(example: Example, world: World, today: dt.date) -> None:
    """Write the files that grow, with the rows of all local days that are over."""
    for name, whole in example.grows.items():
        with duckdb.connect() as con:
            rows = f"SELECT * FROM read_parquet('{whole}') WHERE dteday < '{today}' ORDER BY instant"
            con.execute(f"COPY ({rows}) TO '{world.feed / name}'").fetchall()


def trainings(world: World) -> list[Training]:
    """Line, day, trigger and reason of each run that trained."""
    runs = [run for run in world.instance.get_runs() if AS_OF in run.tags]
    assert all(run.status is dg.DagsterRunStatus.SUCCESS for run in runs)
    return sorted((run.tags[LINE], run.tags[AS_OF], run.tags[TRIGGER], run.tags[REASON]) for run in runs)


@pytest.mark.parametrize("other", ["at the end", "ticks, seldom"])
def test_whoever_keeps_the_line_and_however_late_the_same_is_trained_for_the_same_reasons(
    lived: Lived, other: str
) -> None:
    one, two = lived.worlds["each day"], lived.worlds[other]
    assert trainings(one) == trainings(two) != []
    assert one.decisions() == two.decisions()
    assert one.archived() == two.archived()
    assert one.contents() == two.contents()
    assert not plan(two.deployment.book()).work


def test_an_episode_trains_once_and_its_run_says_which_it_is(lived: Lived) -> None:
    called = [
        reason for _, _, trigger, reason in trainings(lived.worlds["each day"]) if trigger in ("drift", "performance")
    ]
    assert len({*called}) == len(called)
    for beginning in lived.example.called:
        assert sum(reason.startswith(beginning) for reason in called) == 1, called
