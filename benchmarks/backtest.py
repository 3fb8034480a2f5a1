"""Does a backtest say where retraining pays, and not where it does not?

    .venv/bin/python benchmarks/backtest.py [--quick]

- Bike rentals of 2012, retrained every 30 days, without last week's demand: it grows, and the first model is left behind. By calendar
  and weather the error has to come out about half as large.
- Card fraud, from the first day as of which it can be trained, retrained every 7 days: the fraudsters keep to their script.
- A simulated line whose world turns by a degree a day, or stands still: real trainings, of a linear model.
- Policies on simulated rows: no model is better than another but for its own luck and that of days and customers; or the first one
  loses by age.

Ends with exit code 1 where a verdict is another one, or "pays" is found more often than the stated certainty allows. --quick leaves
out the public data, which lie in ../shared/data, and tries fewer worlds.
"""

import datetime as dt
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
import numpy as np
import pyarrow as pa
import typer
import yaml
from bounds import conclude, figures
from raw_to_examples import console

from factory_assets.backtest.asked import Asked, asked
from factory_assets.backtest.measured import SHARE, SURE, Measured
from factory_assets.backtest.replay import Predicted, Replayed, replay
from factory_assets.declarations.catalogue import DeclaredLine, load
from factory_assets.governor.retraining import Training
from factory_assets.identity.nodes import ROOT
from factory_resources.engine import Engine
from factory_resources.lake import Lake

ROOT_FOLDER = Path(__file__).parents[1]
DATA = ROOT_FOLDER.parent / "shared" / "data"
START = dt.date(2026, 1, 1)
LINE = {
    "name": "turning",
    "owner": "team:bench",
    "description": "A number in a world that turns, or does not.",
    "task": "regression",
    "observe": {"stream": "events"},
    "label": {"expression": "y"},
    "features": ["x0", "x1"],
    "segments": {"min_rows": 100},
    "train": {"window": "28d", "holdout": "7d"},
    "candidates": {"linear": {"estimator": "ridge"}},
    "retrain": {"every": "7d"},
}
STREAM = {
    "name": "events",
    "owner": "team:bench",
    "description": "Events, one row each.",
    "source": {"kind": "parquet", "uri": "/nowhere/*.parquet"},
    "id": "event_id",
    "event_time": "at",
    "start": str(START),
}
DAYS, A_DAY = 112, 20
#: Of the drawn worlds in which the first model ages, in how many that has to be found.
FOUND = 0.6
#: Of those in which one day is as another and nothing ages, in how many it has to be found that retraining does not pay.
NOT_WORTH = 0.15


def main(quick: Annotated[bool, typer.Option(help="Simulated worlds alone, and few of them.")] = False) -> None:
    """Replay lines whose answer is known."""
    broken: list[str] = []
    if not quick:
        broken += _public()
    broken += _replayed(2 if quick else 20)
    broken += _simulated(60 if quick else 400)
    conclude(broken)


@dataclass(frozen=True)
class Case:
    """A replay of an example. replaced: text of its declarations -> what is declared instead. wanted: what the advice has to say;
    empty where nobody knows. halves: whether retraining has to make the error about half as large, as published.
    """

    name: str
    config: Mapping[str, str]
    wanted: str = ""
    replaced: Mapping[str, str] = field(default_factory=dict)
    halves: bool = False


@dataclass(frozen=True)
class Example:
    """Public data with their declarations. variable: of the environment, by which these find the folder. first, last: days of it."""

    line: str
    variable: str
    folder: Path
    stream: str
    first: dt.date
    last: dt.date
    cases: tuple[Case, ...]


PAYS, DOES_NOT = " pays: ", " does not pay: "
#: Published: 89 without retraining, 43 with it.
HALF = 0.55
#: In the bikes' declaration, the features that read the demand of the days before.
OF_DEMAND = ", demand.*, same_hour.*, same_kind.*, same_weekday.*]"
#: What the published models read; and who answers has learnt the newest days.
AS_PUBLISHED = {OF_DEMAND: ", season, mnth]", "holdout: 14d}": "holdout: 14d, refit: true}"}
#: The same days as those of the published figures.
IN_2012 = {"first": "2011-12-31", "last": "2012-12-29", "every": "30d"}
EXAMPLES = (
    Example(
        "bike_demand",
        "BIKE_SHARING",
        DATA / "bike_sharing",
        "rentals",
        dt.date(2011, 1, 1),
        dt.date(2012, 12, 31),
        (
            Case("bikes, as declared", IN_2012),
            Case("bikes, by hour and weather alone", IN_2012, PAYS, {OF_DEMAND: "]"}),
            Case("bikes, by calendar and weather", IN_2012, PAYS, AS_PUBLISHED, halves=True),
        ),
    ),
    Example(
        "card_fraud",
        "CARD_TRANSACTIONS",
        DATA / "card_transactions" / "raw",
        "card_transactions",
        dt.date(2018, 4, 1),
        dt.date(2018, 9, 30),
        (Case("card fraud", {"every": "7d"}, DOES_NOT),),
    ),
)


def _public() -> list[str]:
    """The examples, by their own declarations and otherwise."""
    broken, table = [], figures("examples", ["policy", "value", "trainings", "promotions", "CPU s"])
    for example in EXAMPLES:
        if not example.folder.exists():
            console.print(f"no data in {example.folder}: {example.line} is left out")
            continue
        with tempfile.TemporaryDirectory() as home:
            for case in example.cases:
                found = _replay_of(example, case, Path(home))
                for each in found["policies"]:
                    cells = (each["policy"], each["value"], each["trainings"], each["promotions"], each["cpu seconds"])
                    table.add_row(case.name, *map(str, cells))
                console.print(f"{case.name}, {found['replay']}: {found['advice']}", soft_wrap=True)
                if case.wanted not in found["advice"].partition(";")[0]:
                    broken.append(f"{case.name}:{case.wanted}is wanted: {found['advice']}")
                values = {each["policy"]: float(each["value"]) for each in found["policies"]}
                if case.halves and values["newest"] > HALF * values["never"]:
                    broken.append(f"{case.name}: {values['newest']} is not half of {values['never']}, nor nearly")
    console.print(table)
    return broken


def _replay_of(example: Example, case: Case, home: Path) -> dict[str, Any]:
    """What the backtest says. home: where the example's tables are made."""
    from factory_assets.commands.deployed import deployed
    from factory_assets.governor.executor import execute
    from factory_assets.governor.runs import RANGE_END, RANGE_START

    line, stream, defs = example.line, example.stream, home / f"defs {case.name}"
    shutil.copytree(ROOT_FOLDER / "examples" / line, defs)
    declared = (defs / "defs.yaml").read_text()
    for text, other in case.replaced.items():
        assert text in declared, text
        declared = declared.replace(text, other)
    (defs / "defs.yaml").write_text(declared)
    os.environ |= {"FACTORY_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "FACTORY_DEFS": str(defs)}
    os.environ |= {example.variable: str(example.folder)}
    with deployed() as deployment:
        days = {RANGE_START: str(example.first), RANGE_END: str(example.last)}
        made = deployment.lake.version(f"{stream}/events") is not None
        # What the declarations of a case before this one made may lack a feature.
        for names in (
            *(() if made else ([f"{stream}/raw", f"{stream}/events"],)),
            [f"{line}/examples", f"{line}/labels"],
        ):
            failures = execute(deployment, [dg.AssetKey(name.split("/")) for name in names], days)
            assert not failures, failures
        key = dg.AssetKey([line, "backtest"])
        failures = execute(deployment, [key], {}, {"ops": {f"{line}__backtest": {"config": dict(case.config)}}})
        assert not failures, failures
        event = deployment.instance.get_latest_materialization_event(key)
        assert event is not None and event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
    policies = [dict(record.data) for record in metadata["policies"].records]  # type: ignore[attr-defined]
    return {"replay": metadata["replay"].value, "advice": metadata["advice"].value, "policies": policies}


def _replayed(worlds: int) -> list[str]:
    """Trainings of a line whose world turns, or stands still."""
    broken = []
    table = figures(
        "a line that is trained weekly", ["worlds", "pays", "error of never", "of the gate", "seconds each"]
    )
    for degrees, name in ((0.0, "the world stands still"), (1.0, "it turns by a degree a day")):
        began, pays, errors = time.perf_counter(), 0, []
        for seed in range(worlds):
            found = _world(degrees, seed)
            (against,) = [each for each in found.comparisons if (each.policy, each.other) == ("gate", "never")]
            pays += against.verdict == "better"
            errors.append((against.other_value, against.value))
        never, gate = np.mean(errors, axis=0)
        seconds = (time.perf_counter() - began) / worlds
        table.add_row(name, str(worlds), f"{pays / worlds:.2f}", f"{never:.3f}", f"{gate:.3f}", f"{seconds:.1f}")
        if degrees and pays < worlds:
            broken.append(f"{name}: found to pay in {pays} of {worlds} worlds, all are wanted")
        if not degrees and pays > _most(worlds):
            broken.append(f"{name}: found to pay in {pays} of {worlds} worlds, at most {_most(worlds)} by chance")
    console.print(table)
    return broken


def _most(tries: int) -> int:
    """So many false verdicts, or fewer, come in 99 of 100 such benchmarks where each comes with the stated chance."""
    from scipy.stats import binom

    return int(binom.ppf(0.99, tries, 1 - SURE))


def _world(degrees: float, seed: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder, _declared(Path(folder)) as declared:
        lake, rng = Lake(root=f"{folder}/lake"), np.random.default_rng(seed)
        offsets = np.repeat(np.arange(DAYS), A_DAY)
        x, angle = rng.normal(size=(len(offsets), 2)), np.deg2rad(degrees) * offsets
        shared = rng.normal(0, 0.5, DAYS)[offsets]
        y = 2 * (np.cos(angle) * x[:, 0] + np.sin(angle) * x[:, 1]) + shared + rng.normal(size=len(offsets))
        days = [START + dt.timedelta(days=each) for each in range(DAYS)]
        _give(lake, [days[each] for each in offsets], x, y)
        wanted = asked(declared, days, [ROOT])
        (scratch := Path(folder) / "scratch").mkdir()
        return Measured(replay(wanted, days, lambda until: [ROOT], lake, Engine(threads=1), scratch))


@contextmanager
def _declared(folder: Path) -> Iterator[DeclaredLine]:
    kinds = {"EventStream": STREAM, "ModelLine": LINE}
    documents = [{"type": f"factory_assets.components.{kind}", "attributes": each} for kind, each in kinds.items()]
    columns: dict[str, Any] = {name: {"type": "double"} for name in ("x0", "x1", "y")}
    columns |= {"event_id": {"type": "integer"}, "at": {"type": "timestamp"}}
    (folder / "defs.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
    (folder / "contract.yaml").write_text(yaml.safe_dump({"version": 1, "columns": columns}))
    catalogue = load(folder)
    yield catalogue.resolve(catalogue.lines[LINE["name"]])  # type: ignore[index]


def _give(lake: Lake, days: list[dt.date], x: np.ndarray, y: np.ndarray) -> None:
    ids, ds = pa.array(range(len(days)), pa.int64()), pa.array(days, pa.date32())
    at = pa.array([dt.datetime.combine(day, dt.time(12)) for day in days], pa.timestamp("us"))
    columns = {"example_id": ids, "leaf": pa.array([ROOT] * len(days)), "observed_at": at}
    columns |= {f"x{place}": pa.array(x[:, place]) for place in range(x.shape[1])}
    lake.replace("turning/examples", pa.table(columns | {"ds": ds}), sorted(set(days)))
    labels = {
        "example_id": ids,
        "label": pa.array(y),
        "known_at": at,
        "superseded_at": pa.nulls(len(days), pa.timestamp("us")),
    }
    lake.replace("turning/labels", pa.table(labels | {"ds": ds}), sorted(set(days)))


def _simulated(tries: int) -> list[str]:
    """Verdicts on rows that are drawn. The numbers are shares of the spread of what a model can know."""
    broken = []
    table = figures(f"policies on drawn rows, {tries} tries", ["pays", "costs", "too little", "cannot tell"])
    worlds: dict[str, dict[str, Any]] = {
        "one day is as another": {},
        "days differ": {"days": 0.3},
        "60 customers every day": {"customers": 60, "own": 0.3},
        "versions differ": {"luck": 0.2},
        "versions and days differ, 60 customers": {"luck": 0.2, "days": 0.3, "customers": 60, "own": 0.3},
        "the first is worse by what is worth a training": {"first": _at_the_share()},
        "so it is, and days and versions differ": {"first": _at_the_share(), "luck": 0.1, "days": 0.3},
        "the first loses .003 a day": {"ages": 0.003},
        "the first loses .01 a day, days and versions differ": {"ages": 0.01, "days": 0.3, "luck": 0.2},
    }
    with tempfile.TemporaryDirectory() as folder, _declared(Path(folder)) as declared:
        for name, world in worlds.items():
            verdicts = [_verdict(declared, np.random.default_rng(seed), **world) for seed in range(tries)]
            share = {each: verdicts.count(each) / tries for each in ("better", "worse", "too little", "cannot tell")}
            table.add_row(name, *(f"{value:.3f}" for value in share.values()))
            found = verdicts.count("better")
            if "first" in world and verdicts.count("too little") > _most(tries):
                broken.append(
                    f"{name}: found not to pay in {verdicts.count('too little')} of {tries}, {_most(tries)} by chance"
                )
            if not world and verdicts.count("too little") < NOT_WORTH * tries:
                broken.append(
                    f"{name}: found not to pay in {verdicts.count('too little')} of {tries}, {NOT_WORTH:.0%} are wanted"
                )
            if not world.keys() & {"ages", "first"} and found > _most(tries):
                broken.append(f"{name}: found to pay in {found} of {tries}, at most {_most(tries)} by chance")
            if "ages" in world and found < FOUND * tries:
                broken.append(f"{name}: found to pay in {found} of {tries}, {FOUND:.0%} are wanted")
    console.print(table)
    return broken


#: How wrong a model is, its standard deviation, where that of what nobody can know is 1, and so is that of what a model can.
WRONG = 0.3


def _at_the_share() -> float:
    """How wrong the first model is where retraining gains what is worth a training: of normal errors the mean goes with the spread."""
    newest, naive = np.sqrt(1 + WRONG**2), np.sqrt(2)
    return float(np.sqrt((newest + SHARE * (naive - newest)) ** 2 - 1))


def _verdict(
    declared: DeclaredLine,
    rng: np.random.Generator,
    days: float = 0.0,
    customers: int = 0,
    own: float = 0.0,
    luck: float = 0.0,
    ages: float = 0.0,
    first: float = WRONG,
    length: int = 182,
    a_day: int = 40,
    every: int = 7,
) -> str:
    """The verdict on weekly retraining over half a year. days, own, luck: how much models differ by day, by customer and by version;
    ages: what the first model's error grows by in a day; first: how wrong it is."""
    day = np.repeat(np.arange(length), a_day)
    z = rng.normal(size=len(day))
    y = z + rng.normal(size=len(day))
    who = rng.integers(customers, size=len(day)) if customers else None

    shared = [rng.normal(0, days, length)[day] for _ in range(2)]
    wrong = WRONG * np.exp(rng.normal(0, luck, length // every + 1))

    def predictions(version: np.ndarray, which: int, more: float = 1.0) -> np.ndarray:
        """version: of each row the number of the one that answers, -1 for none. which: whose errors days and customers share."""
        errors = (more * wrong[version] + shared[which]) * rng.normal(size=len(day))
        of_whom = 0.0 if who is None else rng.normal(0, own, customers)[who]
        return np.where(version < 0, np.nan, z + errors + of_whom)

    number = day // every
    never = predictions(0 * number, 0, first / WRONG) + ages * day * rng.normal(size=len(day))
    newest, before = predictions(number, 1), predictions(number - 1, 1)
    rows = Predicted(
        np.datetime64(START) + 1 + day,
        np.zeros(len(day), np.intp),
        [ROOT],
        y,
        None if who is None else pa.chunked_array([pa.array(who)]),
        {"never": never, "newest": newest, "before": before, "naive": np.zeros(len(day))},
    )
    made = [
        Training("turning", START + dt.timedelta(days=each), (ROOT,), "new_data", "")
        for each in range(0, length, every)
    ]
    last = START + dt.timedelta(days=length)
    stretch = asked(declared, [last], [ROOT], policies=["never", "newest"])
    champions: Any = {
        "never": {each.as_of: {ROOT: "v0"} for each in made},
        "newest": {each.as_of: {ROOT: f"v{place}"} for place, each in enumerate(made)},
    }
    found = Measured(Replayed(Asked(declared, stretch.stretch, stretch.policies), "mae", made, [], champions, {}, rows))
    (against,) = found.comparisons
    return str(against.verdict)


if __name__ == "__main__":
    typer.run(main)
