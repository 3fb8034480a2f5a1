"""How often is a champion called worse than at its release, than a naive guess, or than its parent, though nothing has changed?

    .venv/bin/python benchmarks/release.py [--quick] [--data FOLDER]     # --quick: the card transactions, and fewer worlds

A plain LightGBM is trained every four weeks, and held out from the week before its release, as in `estimates.py`. Each day from the
eighth on, its gain over a naive guess since is held against its gain on the holdout, by Student's t at a rate of 0.001, in two ways:

- by totals: the ledger keeps the holdout's gain alone, and the holdout's days are taken to vary as those since.
- by days: the gain of each day of the holdout is known as well (Welch 1947). Nothing keeps it.

Flights by origin and carrier, minutes late; card transactions by groups of customers, log loss. The monitor `release` shows both gains
without a verdict for what comes of it. If totals held the rate everywhere, it could have one.

Then the monitors `better_than_naive` and `better_than_parent`, which state 0.002 of a node's days: those on which a loss
begins, and all that are told.

- naive: the global model against the median, or the share, of the labels that it has learnt from.
- parent: a model of a node's own rows, whether or not a gate would let it pass, against the global one.
- the same by chance: on each day of a node the two trade places, or not. Then nothing is lost, and all that days of such losses
  are like stays as it is.
- simulated: two models that differ by chance alone, minutes late with the tails of Student's t with 2 degrees of freedom; and days
  that are like the day before.

Ends with exit code 1 if totals hold the rate, or where more is told by chance than stated.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from bounds import conclude, figures
from estimates import AGAIN, DELAY, EPOCH, SHARED, World, cards, flights
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


#: Share of a node's days on which a loss may begin where there is none: the stated rate of all ways. How seldom more of them than are
#: allowed come by chance.
TOLD, CHANCE = 2 * RATE, 0.001
#: Rows below which a node gets no model of its own.
FEWEST_ROWS = 1000


def rivals(world: World) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """A rivalry, the rows that were answered, and each one's loss by the model and by its rival. Trainings as in `gained`."""
    import lightgbm as lgb

    objective = {"regression": "regression_l1", "binary": "binary"}[world.task]
    settings = {
        "objective": objective,
        "num_leaves": 15,
        "learning_rate": 0.1,
        "verbose": -1,
        "num_threads": 1,
        "seed": 1,
    }
    parts = dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]()

    def fitted(rows: np.ndarray) -> Any:
        return lgb.train(settings | {"lambda_l2": 5}, lgb.Dataset(world.x[rows], world.y[rows]), 60)

    def loss(rows: np.ndarray, p: np.ndarray) -> np.ndarray:
        if world.task == "regression":
            return np.abs(world.y[rows] - p)
        p = np.clip(p, 1e-9, 1 - 1e-9)
        return -(world.y[rows] * np.log(p) + (1 - world.y[rows]) * np.log1p(-p))

    for begin in range(world.window + DELAY, int(world.day.max()) - AGAIN, AGAIN):
        fit = np.flatnonzero((world.day >= begin - DELAY - world.window) & (world.day < begin - DELAY))
        rows = np.flatnonzero((world.day >= begin) & (world.day < begin + AGAIN))
        of_all = fitted(fit).predict(world.x[rows], num_threads=1)
        guess = np.median(world.y[fit]) if world.task == "regression" else world.y[fit].mean()
        parts.setdefault("naive", []).append((rows, loss(rows, of_all), loss(rows, np.full(len(rows), guess))))
        for leaf in np.unique(world.leaf[fit]):
            own, mine = fit[world.leaf[fit] == leaf], world.leaf[rows] == leaf
            if len(own) >= FEWEST_ROWS and mine.any():
                answers = fitted(own).predict(world.x[rows[mine]], num_threads=1)
                parts.setdefault("parent", []).append(
                    (rows[mine], loss(rows[mine], answers), loss(rows[mine], of_all[mine]))
                )
    for name, found in parts.items():
        whole = [np.concatenate(each) for each in zip(*found, strict=True)]
        yield name, whole[0], whole[1], whole[2]


def simulated(worlds: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Name, node and day of each row, and its loss by the model and by its rival, which err as much as each other."""
    for rows_a_day, alike in ((3, 0.0), (15, 0.0), (200, 0.0), (15, 0.2)):
        rng, days = np.random.default_rng(rows_a_day), 300
        node, day = (np.repeat(each.ravel(), rows_a_day) for each in np.mgrid[0:worlds, 0:days])
        late = 20 * rng.standard_t(2, len(day))
        if alike:
            # What a day is like for one of them and not for the other follows from the day before.
            off = rng.normal(0, 1, (2, worlds, days))
            for at in range(1, days):
                off[..., at] = alike * off[..., at - 1] + np.sqrt(1 - alike**2) * off[..., at]
            sides = [100 + 3 * each[node, day] for each in off]
        else:
            sides = [np.abs(late - rng.normal(0, 5, len(day))) for _ in "ab"]
        yield f"simulated, {rows_a_day} rows a day{f', days {alike} alike' if alike else ''}", node, day, *sides


def told(nodes: np.ndarray, days: np.ndarray, own: np.ndarray, other: np.ndarray) -> tuple[int, int, int]:
    """Days of nodes that were measured, those on which a loss begins, and all that are told. own, other: losses of rows."""
    import datetime as dt

    from factory_assets.monitoring.performance.losses import losses

    names, codes = np.unique(nodes, return_inverse=True)
    cells, place = np.unique(codes * 10_000 + days, return_inverse=True)
    number = np.bincount(place)
    means = [np.bincount(place, each) / number for each in (own, other)]
    rows: list[dict[str, Any]] = [
        {
            "node": str(names[cell // 10_000]), "ds": EPOCH + dt.timedelta(days=int(cell % 10_000)), "labelled": n,
            "mae": a, "naive_mae": b,
        }
        for cell, n, a, b in zip(cells.tolist(), number.tolist(), means[0].tolist(), means[1].tolist(), strict=True)
    ]  # fmt: skip
    found = losses("mae", rows, sorted({row["ds"] for row in rows}))
    return len(rows), len({(one.node, one.since) for one in found}), len(found)


def monitors(data: Path, quick: bool) -> list[str]:
    """Print how often losses are told, and return the bounds that do not hold."""
    from scipy.special import pdtrik

    table, broken = (
        figures(f"losses, stated {TOLD} of all ways", ["days of nodes", "begun", "told", "mean gain"]),
        list[str](),
    )

    def add(name: str, found: tuple[int, int, int], gain: float, is_bound: bool) -> None:
        number, begun, all_days = found
        table.add_row(name, f"{number:,}", f"{begun / number:.4f}", f"{all_days / number:.4f}", f"{gain:.3g}")
        allowed = float(pdtrik(1 - CHANCE, TOLD * number))
        if is_bound and begun > allowed:
            broken.append(f"{name}: losses begin on {begun} of the {number} days, {allowed:.0f} allowed")

    rng = np.random.default_rng(7)
    for world in [cards(data, 4)] if quick else [flights(data, 1), cards(data, 4)]:
        firsts = np.array([leaf.partition("/")[0] for leaf in world.leaf])
        for name, rows, own, other in rivals(world):
            levels = {"leaf": world.leaf[rows]}
            levels |= {"part": firsts[rows]} if name != "parent" and not np.array_equal(firsts, world.leaf) else {}
            levels |= {"all": np.full(len(rows), "global")} if name != "parent" else {}
            for depth, nodes in levels.items():
                title, days, gain = f"{world.name}, {name}, {depth}", world.day[rows], float(np.mean(other - own))
                add(title, told(nodes, days, own, other), gain, False)
                # The same for all rows of a day and node.
                swapped = rng.random((len(np.unique(nodes)), days.max() + 1)) < 0.5
                swap = swapped[np.unique(nodes, return_inverse=True)[1], days]
                chance = np.where(swap, other, own), np.where(swap, own, other)
                add(f"{title}, by chance", told(nodes, days, *chance), float(np.mean(chance[1] - chance[0])), True)
    for name, node, day, own, other in simulated(8 if quick else 40):
        add(name, told(node, day, own, other), float(np.mean(other - own)), True)
    console.print(table)
    return broken


def run(
    quick: Annotated[bool, typer.Option("--quick", help="The card transactions alone, and fewer worlds.")] = False,
    data: Annotated[Path, typer.Option(help="Where the public data lie.")] = SHARED,
) -> None:
    """Measure how often a verdict on releases would be wrong, and how often losses are."""
    table = Table(title=f"looks that are alarms at a rate of {RATE}", title_justify="left")
    for column in ("world", "nodes", "releases", "looks", "by totals", "by days"):
        table.add_column(column, justify="left" if column in ("world", "nodes") else "right", no_wrap=True)
    worst = 0.0
    for world in [cards(data, 4)] if quick else [flights(data, 1), cards(data, 4)]:
        releases, number, told_of = Counter[str](), Counter[str](), {"totals": Counter[str](), "days": Counter[str]()}
        for depth, gains in gained(world):
            releases[depth] += 1
            for by_totals, by_days in looks(gains):
                number[depth] += 1
                told_of["totals"][depth] += by_totals
                told_of["days"][depth] += by_days
        for depth in releases:
            shares = [told_of[way][depth] / number[depth] for way in ("totals", "days")]
            worst = max(worst, shares[0])
            table.add_row(
                world.name, depth, str(releases[depth]), f"{number[depth]:,}", *(f"{share:.4f}" for share in shares)
            )
    console.print(table)
    broken = (
        ["totals hold the rate everywhere: the monitor could have a verdict"] if worst <= RATE and not quick else []
    )
    conclude(broken + monitors(data, quick))


if __name__ == "__main__":
    typer.run(run)
