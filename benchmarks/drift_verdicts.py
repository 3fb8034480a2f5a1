"""How often does a drift verdict cry for nothing, and what does it find? On real data that stay as they are, and with changes put in.

    .venv/bin/python benchmarks/drift_verdicts.py [--quick] [--data FOLDER]

A champion's profile and habits are made as a training makes them: of 28 days, with the weeks up to three weeks after these as its
past. Then every seventh day is judged on the seven days up to it.

- False alarms: seven columns of card transactions of groups of customers, who do not change; and simulated means over 1, 7 and 30
  days of customers who never do. What a verdict states is .001 a look at a part of a column, and there are three of these.
- Power: changes put into the amount, into its mean over 7 days, and into a text of 12 levels.
- Worth: the change that a stable verdict says it would have found is put in; it has to be found nine times in ten.
- Nulls, put into bike rentals and flights, whose seasons sway.
- Seasons: champions of the second year of a simulated column with a yearly course, and of bike rentals, judged weekly for a quarter,
  with the year before as a season and without; and of predictions of bike rentals.

Beside ours: PSI over the larger of .1 and chi-square's .999 (what the factory had before), PSI over .2, Kolmogorov-Smirnov at .05,
and Evidently's default for so many rows. Ends with exit code 1 where a bound does not hold.
"""

import datetime as dt
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import duckdb
import numpy as np
import pyarrow as pa
import typer
from bounds import conclude, figures
from raw_to_examples import console
from rich.table import Table

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
WEEK, RATE, PARTS = 7, 0.001, 3
EPOCH = dt.date(2000, 1, 1)
#: Share of looks at a column that may be alarms on unchanged data: the stated rate of its parts, and as much again for chance.
FALSE = 2 * RATE * PARTS
#: Of simulated worlds with few looks, a few more come by chance.
FALSE_SIMULATED = 0.01
#: The share of stated changes that has to be found, and how far below a finite number of tries may fall; and the few tries of --quick.
FOUND, SLACK, SLACK_OF_FEW = 0.9, 0.08, 0.15
#: (column, change, rows) -> the least share that has to be found; a tenth less in the few tries of --quick.
LEAST = {
    ("amount", "x1.3", 1000): 1.0, ("amount", "x1.1", 10000): 1.0, ("amount", "1 % nulls", 10000): 1.0,
    ("amount", "5 % nulls", 1000): 1.0, ("amount", "10 % nulls", 200): 0.91, ("amount", "x3 in a tenth", 10000): 1.0,
    ("kind", "a level gone", 1000): 1.0, ("kind", "5 % of a new level", 1000): 1.0, ("amount_7d", "x1.3", 10000): 1.0,
}  # fmt: skip
#: Line -> share of weeks with so many nulls that have to be found.
NULLS = {"bikes": {0.1: 0.99, 0.5: 1.0, 1.0: 1.0}, "flights": {0.1: 0.7, 0.5: 0.97, 1.0: 1.0}}
#: Looks at a second year that really is another -> shares of alarms between which they have to be.
SEASONS = {
    "a yearly course, x1.5": (1.0, 0.15), "a yearly course, x2.0": (1.0, 0.6), "bikes, cnt, 28 days learnt": (1.0, 0.01),
    "bikes, cnt, 112 days learnt": (1.0, 0.01), "bikes, cnt, learnt in 2011, spring of 2012": (1.0, 0.2),
    "bikes, predictions, 28 days learnt": (0.1, 0.0), "bikes, predictions, learnt in 2011, spring of 2012": (1.0, 0.2),
}  # fmt: skip
FIRST, TRAIN_FROM, TRAIN_TO, AS_OF, LAST = 37, 60, 87, 108, 182


@dataclass
class Champion:
    """What a release keeps of one column."""

    reference: Any
    habit: Any
    learnt: Any


def champion(days: np.ndarray, values: Any, train: tuple[int, int], first: int, as_of: int) -> Champion:
    """days: shape (n,), numbers of days; values: an Arrow array of as many."""
    from factory_assets.measures.habits import Stretches, habit, season
    from factory_assets.measures.profiles import profile

    inside = (days >= train[0]) & (days <= train[1])
    learnt = values.filter(pa.array(inside))
    reference = profile(learnt, name="column")
    past = Stretches(EPOCH + dt.timedelta(days=first), EPOCH + dt.timedelta(days=as_of), WEEK)
    places = past.places(np.datetime64(EPOCH) + days)
    own = past.counts(reference, values, np.where(inside, places, -1))
    of_year = season(past, reference, values, np.datetime64(EPOCH) + days)
    kept = habit(reference, learnt, past.counts(reference, values, places), own)
    return Champion(reference, replace(kept, season=of_year), learnt)


def ours(one: Champion, now: Any, rate: float = RATE, end: int | None = None) -> Any:
    """end: number of the day with which the rows end, by which their season is found."""
    from factory_assets.monitoring.drift.verdicts import drift

    last = None if end is None else EPOCH + dt.timedelta(days=end)
    return drift(one.reference, one.habit, now, false_alarm_rate=rate, last=last)


def others(one: Champion, now: Any, evidently: bool) -> dict[str, bool]:
    """What the customary limits say."""
    from scipy.stats import chi2, ks_2samp

    from factory_assets.measures.profiles import psi, without_rare_levels

    before, counts = np.array([*one.reference.counts, one.reference.nulls]), one.reference.count(now)
    if one.reference.kind == "text":
        before, counts = without_rare_levels(before, counts)
    bins, freedom, weight = psi(before, counts)
    found = float(bins.sum())
    limit = max(0.1, chi2.ppf(1 - RATE, freedom) / weight)
    said = {"before": found > limit and len(now) >= 100, "PSI .2": found > 0.2}
    if one.reference.kind == "number":
        sides = [side.drop_null().cast(pa.float64()).to_numpy(zero_copy_only=False) for side in (one.learnt, now)]
        said["KS .05"] = bool(len(sides[1]) and ks_2samp(*sides, method="asymp").pvalue < 0.05)
    if evidently:
        said["Evidently"] = _evidently(one.learnt, now, one.reference.kind)
    return said


def _evidently(before: Any, now: Any, kind: str) -> bool:
    import pandas as pd
    from evidently.legacy.calculations.stattests import registry
    from evidently.legacy.core import ColumnType

    of = ColumnType.Numerical if kind == "number" else ColumnType.Categorical
    sides = [pd.Series(side.to_pandas()).dropna() for side in (before, now)]
    return bool(registry._get_default_stattest(*sides, of)(*sides, of, None).drifted)


def cards(data: Path, keep: int) -> dict[str, np.ndarray]:
    """Transactions of one customer in `keep`, with counts and mean amounts of each over 1, 7 and 30 days."""
    windows = ", ".join(
        f"""count(*) OVER (PARTITION BY c ORDER BY t RANGE BETWEEN INTERVAL {n} DAY PRECEDING AND CURRENT ROW)::DOUBLE AS count_{n}d,
            avg(a) OVER (PARTITION BY c ORDER BY t RANGE BETWEEN INTERVAL {n} DAY PRECEDING AND CURRENT ROW) AS amount_{n}d"""
        for n in (1, 7, 30)
    )
    with duckdb.connect() as con:
        con.execute("SET enable_progress_bar = false")
        found = con.sql(
            f"""SELECT c AS customer, datediff('day', TIMESTAMP '2018-04-01', t) AS day, a AS amount, id % 9973 * 7 % 12 AS kind,
                       {windows}
                FROM (SELECT TRANSACTION_ID AS id, TX_DATETIME::TIMESTAMP AS t, CUSTOMER_ID AS c, TX_AMOUNT::DOUBLE AS a
                      FROM read_parquet('{data}/card_transactions/raw/*.parquet') WHERE CUSTOMER_ID::BIGINT % {keep} = 0)
                ORDER BY t, id"""
        ).to_arrow_table()
    return {name: found[name].to_numpy() for name in found.column_names}


COLUMNS = ("amount", "count_1d", "amount_1d", "count_7d", "amount_7d", "count_30d", "amount_30d")


def false_alarms(
    rows: dict[str, np.ndarray], sizes: dict[str, int], groups: int
) -> Iterator[tuple[str, dict[str, float]]]:
    """Size -> shares of looks that are alarms. sizes: name -> one group in so many of the customers."""
    rng = np.random.default_rng(1)
    customers = np.unique(rows["customer"])
    for name, parts in sizes.items():
        deal = rng.permutation(len(customers)) % parts
        group_of = dict(zip(customers.tolist(), deal.tolist(), strict=True))
        of_row = np.array([group_of[each] for each in rows["customer"].tolist()])
        said: list[dict[str, bool]] = []
        number = 0
        for group in range(min(parts, groups)):
            mine = of_row == group
            days = rows["day"][mine]
            number += int(((days > AS_OF) & (days <= AS_OF + WEEK)).sum())
            for column in COLUMNS:
                values = pa.array(rows[column][mine])
                one = champion(days, values, (TRAIN_FROM, TRAIN_TO), FIRST, AS_OF)
                for end in range(AS_OF + WEEK, LAST + 1, WEEK):
                    now = values.filter(pa.array((days > end - WEEK) & (days <= end)))
                    verdict = ours(one, now)
                    said.append(
                        {"ours": verdict.verdict == "drifted", "no verdict": verdict.verdict == "no verdict"}
                        | others(one, now, evidently=False)
                    )
        shown = {key: float(np.mean([one[key] for one in said if key in one])) for key in said[0]}
        yield f"cards, {name}: {number // min(parts, groups):,} rows a week", {"looks": len(said), **shown}


def simulated(worlds: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Customers whose habits never change; a column is each one's mean over a window of days."""
    for window in (1, 7, 30):
        for customers in (50, 300):
            said: list[dict[str, bool]] = []
            for seed in range(worlds):
                rng, days = np.random.default_rng(seed), 220
                habit = np.exp(rng.normal(4, 0.6, customers))
                amounts = habit * np.exp(rng.normal(0, 0.7, (days + window - 1, customers)))
                sums = np.cumsum(np.vstack([np.zeros((1, customers)), amounts]), 0)
                means = (sums[window:] - sums[:-window]) / window
                day, values = np.repeat(np.arange(days), customers), pa.array(means.ravel())
                one = champion(day, values, (56, 83), 0, 104)
                for end in range(111, days, 3 * WEEK):
                    now = values.filter(pa.array((day > end - WEEK) & (day <= end)))
                    said.append({"ours": ours(one, now).verdict == "drifted"} | others(one, now, evidently=False))
            shown = {key: float(np.mean([one[key] for one in said])) for key in said[0]}
            yield f"simulated, means of {window} d, {customers * WEEK} rows a week", {"looks": len(said), **shown}


def changes(values: np.ndarray, rng: np.random.Generator, text: bool) -> Iterator[tuple[str, Any]]:
    """A change's name and the changed values, as an Arrow array."""
    u = rng.random(len(values))
    if text:
        levels = np.array([f"k{int(value)}" for value in values], dtype=object)
        yield "nothing", pa.array(levels)
        gone = levels == "k3"
        rest = [f"k{n}" for n in range(12) if n != 3]
        yield "a level gone", pa.array(np.where(gone, rng.choice(rest, len(levels)), levels))
        yield "5 % of a new level", pa.array(np.where(u < 0.05, "new", levels))
        return
    yield "nothing", pa.array(values)
    for factor in (1.05, 1.1, 1.3):
        yield f"x{factor}", pa.array(values * factor)
    for share in (0.01, 0.05, 0.1):
        yield f"{share:.0%}".replace("%", " %") + " nulls", pa.array(values, mask=u < share)
    yield "x1.3 in a tenth", pa.array(np.where(u < 0.1, values * 1.3, values))
    yield "x3 in a tenth", pa.array(np.where(u < 0.1, values * 3, values))
    yield "one value of 1e9", pa.array(np.where(np.arange(len(values)) == 0, 1e9, values))


def power(
    rows: dict[str, np.ndarray], sizes: tuple[int, ...], groups: int, evidently: bool
) -> tuple[dict[tuple[str, str, int], dict[str, float]], dict[tuple[str, int], float]]:
    """(column, change, rows) -> shares found; and (kind of a change, rows) -> share found of the changes that verdicts stated."""
    rng = np.random.default_rng(3)
    customers = np.unique(rows["customer"])
    found: dict[tuple[str, str, int], list[dict[str, bool]]] = {}
    worth: dict[tuple[str, int], list[bool]] = {}
    a_week = len(rows["day"]) / (rows["day"].max() + 1) * WEEK
    for size in sizes:
        for _ in range(groups):
            chosen = rng.choice(
                customers, min(len(customers), max(2, round(size / a_week * len(customers)))), replace=False
            )
            mine = np.isin(rows["customer"], chosen)
            days = rows["day"][mine]
            for column in ("amount", "amount_7d", "kind"):
                text, raw = column == "kind", rows[column][mine]
                values = pa.array([f"k{int(value)}" for value in raw]) if text else pa.array(raw)
                one = champion(days, values, (TRAIN_FROM, TRAIN_TO), FIRST, AS_OF)
                for end in range(AS_OF + WEEK, LAST, 2 * WEEK):
                    inside = (days > end - WEEK) & (days <= end)
                    for change, now in changes(raw[inside], rng, text):
                        said = {"ours": ours(one, now).verdict == "drifted"} | others(one, now, evidently)
                        found.setdefault((column, change, size), []).append(said)
                    stable = ours(one, pa.array(raw[inside]) if not text else values.filter(pa.array(inside)))
                    if stable.visible_nulls is not None:
                        gone = (
                            pa.array(raw[inside], mask=rng.random(inside.sum()) < stable.visible_nulls)
                            if not text
                            else None
                        )
                        if gone is not None:
                            worth.setdefault(("nulls", size), []).append(ours(one, gone).verdict == "drifted")
                    if stable.visible_change is not None and column == "amount":
                        more = pa.array(raw[inside] * (1 + stable.visible_change))
                        worth.setdefault(("a factor", size), []).append(ours(one, more).verdict == "drifted")
    shares = {
        key: {name: float(np.mean([one[name] for one in said])) for name in said[0]} for key, said in found.items()
    }
    return shares, {key: float(np.mean(said)) for key, said in worth.items()}


def seasons(data: Path, champions: int) -> dict[str, dict[float, float]]:
    """Line -> share of nulls -> share of columns and champions for which the first week after release is found to have drifted."""
    tables = {
        "bikes": (
            f"""SELECT datediff('day', DATE '2011-01-01', dteday::DATE) AS day, temp, atemp, hum, windspeed
                FROM read_parquet('{data}/bike_sharing/hour.parquet') ORDER BY 1""",
            None, 308,
        ),
        "flights": (
            f"""SELECT datediff('day', DATE '2013-01-01', make_date(year::INT, month::INT, day::INT)) AS day,
                       origin || carrier AS node, dep_time, distance, sched_dep_time, air_time
                FROM (SELECT *, dep_time::INT - dep_delay::INT AS sched_dep_time
                      FROM read_parquet('{data}/nycflights/flights_2013_v01.parquet') WHERE air_time IS NOT NULL) ORDER BY 1""",
            "node", 70,
        ),
    }  # fmt: skip
    shares: dict[str, dict[float, float]] = {}
    for line, (query, node, length) in tables.items():
        with duckdb.connect() as con:
            con.execute("SET enable_progress_bar = false")
            rows = con.sql(query).to_arrow_table()
        said: dict[float, list[bool]] = {}
        rng = np.random.default_rng(5)
        nodes = (
            [None]
            if node is None
            else [each["values"] for each in rows[node].value_counts().to_pylist() if each["counts"] > 8000]
        )
        for which in nodes:
            mine = rows if which is None else rows.filter(pa.array(np.array(rows[node].to_pylist()) == which))
            days = mine["day"].to_numpy()
            for begin in np.linspace(21, days.max() - length - 35, champions).astype(int).tolist():
                for column in (name for name in mine.column_names if name not in ("day", node)):
                    values = mine[column].combine_chunks().cast(pa.float64())
                    one = champion(days, values, (begin, begin + length - 1), max(0, begin - 60), begin + length + 20)
                    inside = (days > begin + length + 20) & (days <= begin + length + 20 + WEEK)
                    now = values.filter(pa.array(inside)).to_numpy(zero_copy_only=False)
                    for share in (0.1, 0.5, 1.0):
                        changed = pa.array(now, mask=rng.random(len(now)) < share)
                        said.setdefault(share, []).append(ours(one, changed).verdict == "drifted")
        shares[line] = {share: float(np.mean(found)) for share, found in said.items()}
    return shares


def weekly_looks(
    days: np.ndarray, values: np.ndarray, as_of: int, train: int, after: int = 0, change: float = 1.0
) -> Iterator[dict[str, bool]]:
    """Looks of a quarter after a release, or of a later one, by the season and without.

    train: days of the training window. after: days from the release to the first week. change: factor put in.
    """
    one = champion(days, pa.array(values), (as_of - 16 - train, as_of - 16), 35, as_of)
    for end in range(as_of + after + WEEK, min(as_of + after + 91, int(days.max())) + 1, WEEK):
        now = pa.array(values[(days > end - WEEK) & (days <= end)] * change)
        with_season, without = ours(one, now, end=end), ours(one, now)
        yield {
            "ours": with_season.verdict == "drifted", "without": without.verdict == "drifted",
            "no verdict": with_season.verdict == "no verdict", "none without": without.verdict == "no verdict",
        }  # fmt: skip


def yearly(worlds: int) -> Iterator[tuple[str, dict[str, float]]]:
    """A simulated column that goes up and down by a third within the year, each week by chance a little off; and with a change."""
    day = np.repeat(np.arange(730), 100)
    for change in (1.0, 1.5, 2.0):
        said: list[dict[str, bool]] = []
        for seed in range(worlds):
            rng = np.random.default_rng(seed)
            course = 0.3 * np.sin(2 * np.pi * day / 365) + rng.normal(0, 0.03, 105)[day // WEEK]
            values = np.exp(course + rng.normal(0, 0.5, len(day)))
            for as_of in range(400, 640, 28):
                said += weekly_looks(day, values, as_of, 28, change=change)
        yield f"a yearly course{'' if change == 1 else f', x{change}'}", _shares(said)


def second_year(data: Path, step: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Bike rentals of 2012: weather, and how many were rented, which are far more than a year before."""
    with duckdb.connect() as con:
        con.execute("SET enable_progress_bar = false")
        rows = con.sql(
            f"""SELECT datediff('day', DATE '2011-01-01', dteday::DATE) AS day, temp, atemp, hum, windspeed, cnt::DOUBLE AS cnt
                FROM read_parquet('{data}/bike_sharing/hour.parquet') ORDER BY dteday, hr"""
        ).to_arrow_table()
    days = rows["day"].to_numpy()
    for column in ("temp", "atemp", "hum", "windspeed", "cnt"):
        for train in (28, 112):
            said: list[dict[str, bool]] = []
            for as_of in range(400, 640, step):
                said += weekly_looks(days, rows[column].to_numpy(), as_of, train)
            yield f"bikes, {column}, {train} days learnt", _shares(said)
    of_2011 = (
        weekly_looks(days, rows["cnt"].to_numpy(), as_of, 112, after=420 - as_of)
        for as_of in range(320, 365, step // 2)
    )
    yield "bikes, cnt, learnt in 2011, spring of 2012", _shares([look for looks in of_2011 for look in looks])


def predicted(data: Path, step: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Predictions of bike rentals by models that know the weather, the hour, and how many were rented in the days before."""
    import lightgbm as lgb

    with duckdb.connect() as con:
        con.execute("SET enable_progress_bar = false")
        rows = con.sql(
            f"""SELECT datediff('day', DATE '2011-01-01', dteday::DATE) AS day, cnt::DOUBLE AS cnt, hr, weekday, workingday,
                       weathersit, temp, hum, windspeed,
                       avg(cnt) OVER (ORDER BY dteday::DATE RANGE BETWEEN INTERVAL 7 DAY PRECEDING AND INTERVAL 1 DAY PRECEDING),
                       avg(cnt) OVER (PARTITION BY hr ORDER BY dteday::DATE
                                      RANGE BETWEEN INTERVAL 7 DAY PRECEDING AND INTERVAL 1 DAY PRECEDING)
                FROM read_parquet('{data}/bike_sharing/hour.parquet') ORDER BY dteday, hr"""
        ).to_arrow_table()
    days, y = rows["day"].to_numpy(), rows["cnt"].to_numpy()
    x = np.column_stack([column.cast(pa.float64()).to_numpy() for column in rows.columns[2:]])

    def looks(as_of: int, train: int, after: int = 0) -> Iterator[dict[str, bool]]:
        fit = (days >= as_of - 16 - train) & (days <= as_of - 16)
        settings = {"objective": "regression_l1", "num_leaves": 15, "verbose": -1, "num_threads": 1, "seed": 1}
        values = np.asarray(lgb.train(settings, lgb.Dataset(x[fit], y[fit]), 100).predict(x, num_threads=1))
        one = of_predictions(days, values, fit, as_of)
        for end in range(as_of + after + WEEK, min(as_of + after + 91, int(days.max())) + 1, WEEK):
            now = pa.array(values[(days > end - WEEK) & (days <= end)])
            with_season, without = ours(one, now, end=end), ours(one, now)
            yield {
                "ours": with_season.verdict == "drifted", "without": without.verdict == "drifted",
                "no verdict": with_season.verdict == "no verdict", "none without": without.verdict == "no verdict",
            }  # fmt: skip

    for train in (28, 112):
        found = [look for as_of in range(400, 640, step) for look in looks(as_of, train)]
        yield f"bikes, predictions, {train} days learnt", _shares(found)
    found = [look for as_of in range(320, 365, step // 2) for look in looks(as_of, 112, after=420 - as_of)]
    yield "bikes, predictions, learnt in 2011, spring of 2012", _shares(found)


def of_predictions(days: np.ndarray, values: np.ndarray, fit: np.ndarray, as_of: int) -> Champion:
    """What a release keeps of its predictions; the reference is of two weeks that it has not learnt. fit: the rows that it has."""
    from factory_assets.measures.habits import Stretches
    from factory_assets.measures.profiles import profile
    from factory_assets.training.archiving import _habit_of_predictions

    recent = (days > as_of - 16) & (days <= as_of - 2)
    others = (days >= 35) & (days <= as_of) & ~fit & ~recent
    past = Stretches(EPOCH + dt.timedelta(days=35), EPOCH + dt.timedelta(days=as_of), WEEK)

    def part(rows: np.ndarray) -> tuple[pa.Array, pa.ChunkedArray]:
        dates = (np.datetime64(EPOCH) + days[rows]).astype("datetime64[D]")
        return pa.array(values[rows]), pa.chunked_array([pa.array(dates)])

    reference = profile(part(recent)[0], name="prediction")
    kept = _habit_of_predictions(past, reference, learnt=part(fit), seen=part(recent), others=part(others))
    return Champion(reference, kept, part(recent)[0])


def _shares(said: list[dict[str, bool]]) -> dict[str, float]:
    return {"looks": len(said), **{name: float(np.mean([one[name] for one in said])) for name in said[0]}}


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer customers and tries: about a minute.")] = False,
    data: Annotated[Path, typer.Option(help="Where the public data lie.")] = SHARED,
) -> None:
    """Measure false alarms, power, and what stable verdicts state."""
    warnings.filterwarnings("ignore")
    broken: list[str] = []
    with console.status("card transactions"):
        rows = cards(data, 5 if quick else 1)
    sizes = {"1/10": 10, "1/40": 40} if quick else {"all": 1, "1/10": 10, "1/50": 50, "1/100": 100, "1/200": 200}
    table = figures(
        "false alarms, stated .001 a look at each of three parts",
        ["looks", "ours", "no verdict", "before", "PSI .2", "KS .05"],
    )
    with console.status("false alarms"):
        for name, shown in false_alarms(rows, sizes, 3 if quick else 12):
            _row(table, name, shown)
            broken += [f"{name}: {shown['ours']:.4f} alarms, {FALSE} allowed"] if shown["ours"] > FALSE else []
        for name, shown in simulated(4 if quick else 40):
            _row(table, name, shown)
            least = FALSE_SIMULATED * (3 if quick else 1)
            broken += [f"{name}: {shown['ours']:.4f} alarms, {least} allowed"] if shown["ours"] > least else []
    console.print(table)
    with console.status("power"):
        found, worth = power(rows, (200, 1000) if quick else (50, 200, 1000, 10000), 2 if quick else 8, not quick)
    shown_names = ["ours", "before", "PSI .2", "KS .05", *([] if quick else ["Evidently"])]
    table = figures("share found", shown_names)
    for (column, change, size), shares in found.items():
        _row(table, f"{column}, {change}, {size:,} rows", shares)
        least = LEAST.get((column, change, size), 0) - (0.1 if quick else 0.05)
        broken += (
            [f"{column}, {change}, {size} rows: {shares['ours']:.2f} found, {least:.2f} wanted"]
            if shares["ours"] < least
            else []
        )
    console.print(table)
    for (kind, size), share in worth.items():
        console.print(
            f"stated as visible, put in ({kind}, {size:,} rows): found {share:.2f} of the times", highlight=False
        )
        least = FOUND - (SLACK_OF_FEW if quick else SLACK)
        broken += [f"{kind}, {size} rows: {share:.2f} found of what was stated"] if share < least else []
    with console.status("seasons"):
        of_lines = seasons(data, 2 if quick else 8)
    for line, of_line in of_lines.items():
        told = ", ".join(f"{share:.0%}: {found_of:.2f}" for share, found_of in of_line.items())
        console.print(f"nulls found in {line}: {told}", highlight=False)
        broken += [
            f"{line}, {share:.0%} nulls: {of_line[share]:.2f} found"
            for share, least in NULLS[line].items()
            if of_line[share] < least - 0.02
        ]
    table = figures(
        "seasons in their second year: alarms, and looks without a verdict",
        ["looks", "ours", "without", "no verdict", "none without"],
    )
    with console.status("second years"):
        step = 56 if quick else 14
        for name, shown in (*yearly(1 if quick else 8), *second_year(data, step), *predicted(data, step)):
            _row(table, name, shown)
            most, least = SEASONS.get(name, (FALSE if name.startswith("bikes") else FALSE_SIMULATED, 0.0))
            if not least <= shown["ours"] <= most:
                broken.append(f"{name}: {shown['ours']:.4f} alarms, {least} to {most} wanted")
    console.print(table)
    conclude(broken)


def _row(table: Table, name: str, shown: dict[str, float]) -> None:
    def told(key: str) -> str:
        if key not in shown:
            return ""
        return f"{shown[key]:,.0f}" if key == "looks" else f"{shown[key]:.4f}"

    table.add_row(name, *(told(str(column.header)) for column in table.columns[1:]))


if __name__ == "__main__":
    typer.run(run)
