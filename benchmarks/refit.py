"""What is it worth that the released model has learnt the newest days, and does everything else hold for it?

    .venv/bin/python benchmarks/refit.py [--data FOLDER] [--quick]     # --quick: fewer releases, under a minute

A line is trained, evaluated and released every four weeks, by its own assets. Wherever a challenger passes, the version that was
judged (what shipped without refits) and its refit (what ships) predict the rows of the four weeks after the release.

- **bikes**: rentals an hour in Washington, whose demand grows in 2012; labels a day later, and 30 days later, where the judged version
  is 88 days behind on the day of its release.
- **drifting**: a number whose level and slopes walk at random; labels at once, and 14 days later.
- **still**: the same without the walk. There is nothing new to learn, so a refit must not be worse by more than 1 %, and neither its
  rows nor its predictions may be called drifted more often than twice the rate that the line allows.

Verdicts on a refit are to be those on the judged version, one by one. Of a simulated world a change is put into the first feature of a
week after each release, and predictions must be found to have drifted.

Each refit is made again from its record, and must come out equal byte for byte. How far refits are from the judged versions is in
terms of how far these are from the labels; the default of `gate: {refit_apart}` must let them pass wherever nothing is spoilt, and
refuse those that learnt from a fortnight of spoilt labels between the window and the holdout.

Exits with 1 where a bound does not hold.
"""

import datetime as dt
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from bounds import conclude, figures
from raw_to_examples import console

sys.path.insert(0, str(Path(__file__).parents[1]))
SHARED = Path(__file__).parents[2] / "shared" / "data"

#: Error of refits in terms of that of judged versions, at most.
WORTH = {
    "bikes": 0.99, "bikes, labels after 30 days": 1.0, "drifting": 0.97, "drifting, labels after 14 days": 1.0, "still": 1.01,
}  # fmt: skip
#: False alarm rate that the lines declare, and the share of looks at a refit's columns that may be drifted where nothing is.
RATE, MOST = 0.01, 0.02
#: Days between releases; and a day's step of level and slopes, in deviations of the noise: in four weeks they move by .8.
EVERY, WALK = 28, 0.15
BOOSTED = {"num_leaves": 15, "learning_rate": 0.05, "num_boost_round": 120, "min_data_in_leaf": 10}


@dataclass(frozen=True)
class World:
    """Rows of a line by day. x: shape (n, features); delay: days until labels are known. spoilt: whether labels were."""

    name: str
    days: np.ndarray
    x: np.ndarray
    y: np.ndarray
    window: int
    holdout: int
    delay: int
    spoilt: bool = False

    @property
    def objective(self) -> str:
        """The median shrugs off a fortnight of spoilt labels, the mean does not."""
        return "regression" if self.spoilt else "regression_l1"


@dataclass
class Found:
    """Of the releases of a world: errors on the days after, disagreements, and looks at columns with those that are drifted.

    otherwise: verdicts on a refit that are none of the judged version. planted, noticed: changes of a feature, and those by which
    predictions were found to have drifted.
    """

    judged: list[float] = field(default_factory=list)
    refit: list[float] = field(default_factory=list)
    apart: list[float] = field(default_factory=list)
    refused: int = 0
    equal: int = 0
    looks: dict[str, int] = field(default_factory=lambda: {"judged": 0, "refit": 0})
    drifted: dict[str, int] = field(default_factory=lambda: {"judged": 0, "refit": 0})
    otherwise: int = 0
    planted: int = 0
    noticed: int = 0

    @property
    def releases(self) -> int:
        return len(self.apart)


def bikes(data: Path, delay: int, holdout: int) -> World:
    import duckdb

    past = " ".join(
        f""", avg(cnt) OVER (PARTITION BY workingday, hr ORDER BY dteday
              RANGE BETWEEN INTERVAL {back + 1} DAY PRECEDING AND INTERVAL 2 DAY PRECEDING) AS mean_{back}"""
        for back in (7, 28)
    )
    read = duckdb.sql(
        f"""SELECT dteday::DATE AS ds, hr, weekday, workingday, holiday, weathersit, temp, atemp, hum, windspeed {past}, cnt
            FROM read_parquet('{data}/bike_sharing/hour.parquet') ORDER BY dteday, hr"""
    )
    assert read is not None
    rows = read.fetchnumpy()
    columns: list[np.ndarray] = [
        np.ma.filled(np.ma.asarray(rows[name], dtype=float), np.nan) for name in list(rows)[1:-1]
    ]
    name = "bikes" if delay == 1 else f"bikes, labels after {delay} days"
    days = np.asarray(rows["ds"], dtype="datetime64[D]")
    return World(
        name,
        (days - days[0]).astype(int),
        np.column_stack(columns),
        np.asarray(rows["cnt"], float),
        224,
        holdout,
        delay,
    )


def simulated(name: str, walk: float, delay: int, days: int, spoilt: bool = False) -> World:
    """A number of a level and three slopes that walk, 60 rows a day. walk: a day\'s step, in deviations of the noise."""
    rng, a_day, holdout = np.random.default_rng(11), 60, 14
    on = np.repeat(np.arange(days), a_day)
    walked = np.array([0.0, 2.0, -1.0, 0.5])[None, :] + np.cumsum(rng.normal(size=(days, 4)) * walk, axis=0)
    x = rng.normal(size=(len(on), 3))
    y = walked[on, 0] + (walked[on, 1:] * x).sum(axis=1) + 0.5 * np.sin(3 * x[:, 0]) + rng.normal(size=len(on))
    return World(name, on, x, y, 56, holdout, delay, spoilt)


@contextmanager
def deployed(world: World) -> Iterator[Any]:
    import dagster as dg

    from tests.training import segmented

    # Every day of the releases has to be over.
    segmented.START = dt.date(2020, 1, 1)
    segmented.STREAM["start"] = str(segmented.START)
    names = [f"x{place}" for place in range(world.x.shape[1])]
    with tempfile.TemporaryDirectory(prefix="refit-") as folder:
        segmented.declare(
            Path(folder) / "defs", names, segments={"min_rows": 50},
            train={"window": f"{world.window}d", "holdout": f"{world.holdout}d", "refit": True},
            label={"expression": "y", "delay": f"{world.delay}d"},
            candidates={"boosted": {"estimator": "lightgbm", "params": {"objective": world.objective} | BOOSTED}},
            gate={"certainty": 0.5}, retrain={"every": f"{EVERY}d"}, monitor={"false_alarm_rate": RATE},
        )  # fmt: skip
        os.environ["FACTORY_DEFS"] = str(Path(folder) / "defs")
        (Path(folder) / "dagster").mkdir()
        with dg.DagsterInstance.local_temp(str(Path(folder) / "dagster")) as instance:
            yield segmented.Segmented(Path(folder), instance)


def followed(world: World, releases: int) -> Found:
    """Train, release and look at the days after, so many times."""
    from factory_assets.release.shipped import checks_of, refused

    found = Found()
    with deployed(world) as line:
        first = world.window + world.holdout + 2 * world.delay + EVERY
        last = min(first + releases * EVERY, int(world.days.max()))
        day, days = _calendar(), world.days
        for as_of in range(first, last, EVERY):
            y = world.y.copy()
            if world.spoilt:
                # Ten times too high, on the days between the window and the holdout: the judged version has not learnt them.
                holdout_from = as_of - world.delay - world.holdout + 1
                y[(days >= holdout_from - world.delay) & (days < holdout_from)] *= 10
            line.give(["global"] * len(days), [day(int(on)) for on in days], world.x, y)
            if failed := line.train(day(as_of), stations=("model", "evaluation", "refit", "champion")):
                raise RuntimeError("; ".join(failed))
            made = [each for each in line.ledger.versions("score", as_of=day(as_of), refits=True) if each.judged]
            if not made:
                continue
            disagreement, unsafe = checks_of(made[-1])
            found.apart.append(disagreement.times or 0.0)
            found.refused += bool(refused(disagreement, unsafe, line.declared.line.gate.refit_apart))
            found.equal += _equal(line, made[-1])
            _after(world, line, made[-1], as_of, found)
    return found


def _calendar() -> Any:
    from tests.training.segmented import day

    return day


def _equal(line: Any, record: Any) -> bool:
    """Whether it comes out equal when it is made again from its record."""
    from factory_assets.training.remake import before_of, remake
    from factory_resources.archive_folder import ArchiveFolder
    from factory_resources.engine import Engine

    with tempfile.TemporaryDirectory(prefix="refit-again-") as folder:
        scratch, engine = ArchiveFolder(folder), Engine(threads=1, memory_limit="1GB")
        again = remake(record, line.lake, engine, scratch, before_of(record, line.ledger, line.archive))
        return again.version == record.version and scratch.listing("score", again.version) == line.archive.listing(
            "score", record.version
        )


def _after(world: World, line: Any, record: Any, as_of: int, found: Found) -> None:
    """Errors, and verdicts on drift, of the weeks after a release."""
    from factory_assets.models.archived import load

    day = _calendar()
    sides = {"judged": str(record.judged), "refit": record.version}
    of_days = (world.days > as_of) & (world.days <= as_of + EVERY)
    rows = line.lake.read("score/examples", day(as_of + 1), day(as_of + EVERY)).sort_by("example_id")
    last, verdicts = min(as_of + EVERY, int(world.days.max())), dict[str, list[Any]]()
    for side, version in sides.items():
        predictions = load(line.archive, "score", version).predict(rows)
        getattr(found, side).append(float(np.abs(predictions - world.y[of_days]).mean()))
        verdicts[side] = _verdicts(line, version, range(as_of + 7, last + 1, 7))
        found.looks[side] += sum(each.verdict in ("stable", "drifted") for each in verdicts[side])
        found.drifted[side] += sum(each.verdict == "drifted" for each in verdicts[side])
    found.otherwise += sum(one != other for one, other in zip(verdicts["judged"], verdicts["refit"], strict=True))
    if not world.name.startswith("bikes"):
        found.planted += 1
        moved = _verdicts(line, record.version, range(as_of + 7, as_of + 8), shift=1.0)
        found.noticed += any(each.verdict == "drifted" for each in moved if each.column == "prediction")


def _verdicts(line: Any, version: str, days: range, shift: float = 0.0) -> list[Any]:
    """Verdicts on the columns of a version that answers on these days. shift: of the first feature, in all rows."""
    import pyarrow.compute as pc

    from factory_assets.monitoring.drift.days import DriftDays, watching

    day, name = _calendar(), line.declared.features[0]

    def read(first: dt.date, last: dt.date) -> Any:
        rows = line.lake.read("score/examples", first, last, empty_if_absent=True)
        return rows.set_column(rows.schema.get_field_index(name), name, pc.add(rows[name], shift))

    watched = DriftDays(read, watching(line.archive, "score"), line.declared.line.monitor)
    return [each for end in days for *_, each in watched.judge(day(end), {"global": version})]


def run(
    data: Annotated[Path, typer.Option(help="Where the public data lie.")] = SHARED,
    quick: Annotated[bool, typer.Option(help="Fewer releases, under a minute.")] = False,
    only: Annotated[str, typer.Option(help="The worlds whose names begin with this.")] = "",
) -> None:
    """Measure what refits are worth, and what must not change by them."""
    releases = 3 if quick else 8
    days = 240 if quick else 520
    worlds = [
        simulated("drifting", WALK, 0, days),
        simulated("still", 0.0, 14, days),
        simulated("still, spoilt labels", 0.0, 14, days, spoilt=True),
    ]
    if not quick:
        worlds.insert(1, simulated("drifting, labels after 14 days", WALK, 14, days))
    if (data / "bike_sharing").exists():
        worlds = [bikes(data, 1, 14), *([] if quick else [bikes(data, 30, 28)]), *worlds]
    shown = [
        "releases",
        "error, judged",
        "error, refit",
        "refit/judged",
        "times apart, median",
        "most",
        "refused",
        "equal",
    ]
    shown += ["drifted, judged", "drifted, refit", "changes found"]
    table, broken = figures("the four weeks after each release", shown), list[str]()
    for world in [each for each in worlds if each.name.startswith(only)]:
        found = followed(world, releases)
        broken += check(world, found, quick)
        if not found.releases:
            continue
        judged, refit = np.mean(found.judged), np.mean(found.refit)
        table.add_row(
            world.name, str(found.releases), f"{judged:.4g}", f"{refit:.4g}", f"{refit / judged:.3f}",
            f"{np.median(found.apart):.2f}", f"{max(found.apart):.2f}", str(found.refused), str(found.equal),
            *(f"{found.drifted[side]} of {found.looks[side]}" for side in ("judged", "refit")),
            f"{found.noticed} of {found.planted}",
        )  # fmt: skip
    console.print(table)
    conclude(broken)


def check(world: World, found: Found, quick: bool) -> list[str]:
    """The bounds that a world breaks, in words."""
    broken = []
    if not found.releases:
        return [f"{world.name}: nothing was released"]
    if found.equal < found.releases:
        broken.append(
            f"{world.name}: {found.releases - found.equal} refits do not come out equal when they are made again"
        )
    if found.otherwise:
        broken.append(f"{world.name}: {found.otherwise} verdicts on refits are none of the judged versions")
    if found.noticed < found.planted:
        broken.append(f"{world.name}: {found.planted - found.noticed} changes of a feature did not show in predictions")
    if world.spoilt:
        if found.refused < found.releases:
            broken.append(
                f"{world.name}: {found.releases - found.refused} refits that learnt spoilt labels were let pass"
            )
        return broken
    if found.refused:
        broken.append(f"{world.name}: {found.refused} refits were refused, though nothing is spoilt")
    ratio, most = float(np.mean(found.refit) / np.mean(found.judged)), WORTH[world.name]
    if ratio > most:
        broken.append(f"{world.name}: error of refits {ratio:.3f} of that of the judged versions, {most:g} at most")
    share = found.drifted["refit"] / max(found.looks["refit"], 1)
    if world.name == "still" and not quick and share > MOST:
        broken.append(f"{world.name}: {share:.1%} of looks are drifted, {MOST:.0%} at most")
    if world.name == "still" and not found.looks["refit"]:
        broken.append(f"{world.name}: there is no verdict on drift of a refit")
    return broken


if __name__ == "__main__":
    typer.run(run)
