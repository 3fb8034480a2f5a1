"""How often would a champion be called worse than at its release, though nothing has changed?

    .venv/bin/python benchmarks/release.py [--data FOLDER]

A plain LightGBM is trained every four weeks, and held out from the week before its release, as in `estimates.py`. Each day from the
eighth on, its gain over a naive guess since is held against its gain on the holdout, by Student's t at a rate of 0.001, in two ways:

- by totals: the ledger keeps the holdout's gain alone, and the holdout's days are taken to vary as those since.
- by days: the gain of each day of the holdout is known as well (Welch 1947). Nothing keeps it.

Flights by origin and carrier, minutes late; card transactions by groups of customers, log loss. The monitor `release` shows both gains
without a verdict for what comes of it. Ends with exit code 1 if totals hold the rate everywhere: then it could have one.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from estimates import AGAIN, DELAY, SHARED, World, cards, flights
from raw_to_examples import console
from rich.table import Table

RATE, HOLDOUT, FEWEST = 0.001, 7, 8
#: A node's gains by day of its holdout and since its release, and the holdout's gain over all rows.
Gains = tuple[np.ndarray, np.ndarray, float]


def gained(world: World) -> Iterator[tuple[str, Gains]]:
    """For each release and node the depth of the node, and its gains."""
    import lightgbm as lgb

    task = {"regression": "regression_l1", "binary": "binary"}[world.task]
    settings = {"objective": task, "num_leaves": 15, "learning_rate": 0.1, "verbose": -1, "num_threads": 1, "seed": 1}
    firsts = np.array([leaf.partition("/")[0] for leaf in world.leaf])
    levels = {"all": np.full(len(firsts), "global"), "part": firsts}
    levels |= {} if np.array_equal(firsts, world.leaf) else {"leaf": world.leaf}
    days = HOLDOUT + DELAY + AGAIN
    for begin in range(world.window + HOLDOUT + DELAY, int(world.day.max()) - AGAIN, AGAIN):
        held_out = begin - DELAY - HOLDOUT
        fit = (world.day >= held_out - world.window) & (world.day < held_out)
        rows = np.flatnonzero((world.day >= held_out) & (world.day < begin + AGAIN))
        model = lgb.train(settings | {"lambda_l2": 5}, lgb.Dataset(world.x[fit], world.y[fit]), 60)
        predicted = np.asarray(model.predict(world.x[rows], num_threads=1))
        gain = _gain(world.task, world.y[rows], predicted, world.y[fit])
        for depth, names in levels.items():
            nodes, codes = np.unique(names[rows], return_inverse=True)
            cell, shape = codes * days + world.day[rows] - held_out, (len(nodes), days)
            number = np.bincount(cell, minlength=len(nodes) * days).reshape(shape)
            total = np.bincount(cell, gain, len(nodes) * days).reshape(shape)
            for many, sums in zip(number, total, strict=True):
                then, since = slice(0, HOLDOUT), slice(HOLDOUT + DELAY, days)
                means = [sums[part][many[part] > 0] / many[part][many[part] > 0] for part in (then, since)]
                if len(means[0]) > 3 and len(means[1]) >= FEWEST:
                    yield depth, (means[0], means[1], float(sums[then].sum() / many[then].sum()))


def _gain(task: str, y: np.ndarray, p: np.ndarray, learnt: np.ndarray) -> np.ndarray:
    """By how much each row's loss is smaller than that of a naive guess. learnt: labels of the training."""
    if task == "regression":
        return np.abs(y - np.median(learnt)) - np.abs(y - p)
    both = (np.full(len(y), learnt.mean()), np.clip(p, 1e-9, 1 - 1e-9))
    naive, own = (-(y * np.log(q) + (1 - y) * np.log1p(-q)) for q in both)
    return naive - own


def looks(gains: Gains) -> Iterator[tuple[bool, bool]]:
    """On each day since, whether it is told by totals, and by days."""
    from scipy.special import stdtrit

    then, since, total = gains
    for number in range(FEWEST, len(since) + 1):
        now = since[:number]
        error = now.std(ddof=1) * np.sqrt(1 / number + 1 / len(then))
        first, second = then.var(ddof=1) / len(then), now.var(ddof=1) / number
        freedom = (first + second) ** 2 / (first**2 / (len(then) - 1) + second**2 / (number - 1))
        by_totals = now.mean() - total < -error * stdtrit(number - 1, 1 - RATE)
        yield by_totals, now.mean() - then.mean() < -np.sqrt(first + second) * stdtrit(freedom, 1 - RATE)


def run(data: Annotated[Path, typer.Option(help="Where the public data lie.")] = SHARED) -> None:
    """Measure how often a verdict on releases would be wrong."""
    table = Table(title=f"looks that are alarms at a rate of {RATE}", title_justify="left")
    for column in ("world", "nodes", "releases", "looks", "by totals", "by days"):
        table.add_column(column, justify="left" if column in ("world", "nodes") else "right", no_wrap=True)
    worst = 0.0
    for world in (flights(data, 1), cards(data, 4)):
        releases, number, told = Counter[str](), Counter[str](), {"totals": Counter[str](), "days": Counter[str]()}
        for depth, gains in gained(world):
            releases[depth] += 1
            for by_totals, by_days in looks(gains):
                number[depth] += 1
                told["totals"][depth] += by_totals
                told["days"][depth] += by_days
        for depth in releases:
            shares = [told[way][depth] / number[depth] for way in ("totals", "days")]
            worst = max(worst, shares[0])
            table.add_row(
                world.name, depth, str(releases[depth]), f"{number[depth]:,}", *(f"{share:.4f}" for share in shares)
            )
    console.print(table)
    sys.exit(bool(worst <= RATE))


if __name__ == "__main__":
    typer.run(run)
