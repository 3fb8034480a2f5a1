"""How often does a control chart cry for nothing, and what does it find? Simulated series, and real ones as they are.

    .venv/bin/python benchmarks/control_charts.py [--quick] [--data FOLDER]

- False alarms, simulated: counts that are Poisson, that scatter more, that have a weekly season; shares of .001, .01 and .3 of 50 to
  50,000 rows, binomial and scattering more. Nothing changes; each is held against 8, 28 and 56 days.
- False alarms, real: rows a day of card transactions (all, and by group of terminals), of flights (all, by origin, by origin and
  carrier) and of bike rentals, day by day. Here things do change: holidays, storms, a company that leaves. Shares: flights cancelled.
- Freshness, simulated and real: how old the newest row is at the close of a day, of feeds that are busy, sparse, hourly and under way
  for long; of card transactions, flights and bike rentals as they are, with the days that are alarms; and the minutes that a stable
  verdict says it would have found.
- Power: 10 %, 30 % and 100 % more, and 30 % less, put into the judged day; and the change that a stable verdict says it would have
  found.

Beside ours: three standard deviations around the mean of the past days (Shewhart), the same with nine in a row on one side (Nelson),
and of shares the p chart. Ends with exit code 1 where a stated rate does not hold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import duckdb
import numpy as np
import typer
from bounds import conclude, figures
from raw_to_examples import console

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
DAYS = 57
RATES = (0.01, 0.001)
#: A stated rate may be exceeded by so much: the limits are approximations. Chance among the tries comes on top.
SLACK = 2.0
#: The share of stated changes that has to be found.
FOUND = 0.85
#: The least share found, of a change of each size, on a day of 1,000 rows that scatter by 5 %, at .001.
LEAST = {"x1.1": 0.0, "x1.3": 0.6, "x2": 1.0, "x0.7": 0.85}
#: Real series in which nothing is known to change, so that the stated rate has to hold.
UNCHANGED = ("card transactions", "card transactions, 1/50 of terminals")


#: Days of a real feed on which it broke off, which have to be found, and no others: a snowstorm, and the hurricanes Irene
#: and Sandy; a blizzard, and an evening without its last flight.
BROKE_OFF = {
    "bike rentals": {"2011-01-26", "2011-08-27", "2012-10-29"},
    "card transactions": set[str](),
    "flights": {"2013-02-08", "2013-09-04"},
}


@dataclass(frozen=True)
class World:
    """Series in which nothing changes, shape (series, 57). sizes: of shares."""

    name: str
    counts: np.ndarray
    sizes: np.ndarray | None = None


def judged(world: World, days: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Verdict, and smallest visible change, of each series, held against so many days."""
    from factory_assets.monitoring.charts.control import judged_counts, judged_shares

    counts = world.counts.astype(float)
    counts[:, : DAYS - 1 - days] = np.nan
    chart = (
        judged_counts(counts, rate) if world.sizes is None else judged_shares(counts, world.sizes.astype(float), rate)
    )
    return chart.verdict, chart.visible


def customary(world: World, days: int) -> dict[str, np.ndarray]:
    """What the customary charts say of each series."""
    past, now = world.counts[:, DAYS - 1 - days : -1].astype(float), world.counts[:, -1].astype(float)
    if world.sizes is not None:
        sizes = world.sizes[:, DAYS - 1 - days :].astype(float)
        share, size = past.sum(axis=1) / sizes[:, :-1].sum(axis=1), np.maximum(sizes[:, -1], 1)
        return {"p chart": now / size > share + 3 * np.sqrt(share * (1 - share) / size)}
    mean, spread = past.mean(axis=1), past.std(axis=1, ddof=1)
    far = np.abs(now - mean) > 3 * spread
    last = world.counts[:, -9:]
    row = (last > mean[:, None]).all(axis=1) | (last < mean[:, None]).all(axis=1)
    return {"3 sigma": far, "3 sigma or 9 in a row": far | row}


def worlds(series: int) -> Iterator[World]:
    rng = np.random.default_rng(1)
    shape = (series, DAYS)
    for mean in (5, 50, 500, 50_000):
        yield World(f"{mean:,} rows, Poisson", rng.poisson(mean, shape))
    for mean, scatter in ((20, 0.3), (1000, 0.1), (1000, 0.3)):
        levels = mean * rng.gamma(1 / scatter**2, scatter**2, shape)
        yield World(f"{mean:,} rows, days scatter by {scatter:.0%} (gamma)", rng.poisson(levels))
    weekly = np.resize([1.0, 1.0, 1.0, 1.0, 1.2, 0.5, 0.3], DAYS)
    levels = 1000 * weekly * np.exp(rng.normal(0, 0.1, shape))
    yield World("1,000 rows, weekly season, days scatter by 10 %", rng.poisson(levels))
    for share in (0.001, 0.01, 0.3):
        for size in (50, 1000, 50_000):
            for scatter in (0.0, 0.3):
                own = (1 - share) / share / scatter**2 - 1 if scatter else 0
                shares = rng.beta(share * own, (1 - share) * own, shape) if scatter else np.full(shape, share)
                name = f"{share:g} of {size:,}, {'days scatter by 30 %' if scatter else 'binomial'}"
                yield World(name, rng.binomial(size, shares), np.full(shape, size))


def real(data: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    """Name, rows a day by series, and sizes where these are shares: shape (series, days of the data)."""
    cards = f"read_parquet('{data}/card_transactions/raw/*.parquet')"
    flights = f"read_parquet('{data}/nycflights/flights_2013_v01.parquet')"
    bikes = f"read_parquet('{data}/bike_sharing/hour.parquet')"
    date = "make_date(year::INT, month::INT, day::INT)"
    queries = {
        "card transactions": (f"SELECT TX_DATETIME::DATE AS d, '' AS node, 0 AS x FROM {cards}", False),
        "card transactions, 1/50 of terminals": (
            f"SELECT TX_DATETIME::DATE AS d, (TERMINAL_ID::BIGINT % 50)::VARCHAR AS node, 0 AS x FROM {cards}", False,
        ),
        "flights": (f"SELECT {date} AS d, '' AS node, 0 AS x FROM {flights}", False),
        "flights by origin": (f"SELECT {date} AS d, origin AS node, 0 AS x FROM {flights}", False),
        "flights by origin and carrier": (f"SELECT {date} AS d, origin || carrier AS node, 0 AS x FROM {flights}", False),
        "bike rentals, hours with rows": (f"SELECT dteday::DATE AS d, '' AS node, 0 AS x FROM {bikes}", False),
        "flights cancelled, by origin and carrier": (
            f"SELECT {date} AS d, origin || carrier AS node, (dep_time IS NULL)::INT AS x FROM {flights}", True,
        ),
    }  # fmt: skip
    for name, (query, shares) in queries.items():
        with duckdb.connect() as con:
            con.execute("SET enable_progress_bar = false")
            found = con.sql(f"SELECT d, node, count(*) AS n, sum(x) AS x FROM ({query}) GROUP BY d, node").df()
        sizes = found.pivot(index="node", columns="d", values="n").fillna(0)
        # A carrier that hardly flies from an airport has no series.
        sizes = sizes[(sizes > 0).mean(axis=1) > 0.9]
        counts = found.pivot(index="node", columns="d", values="x").fillna(0).loc[sizes.index]
        yield (name, counts.to_numpy(), sizes.to_numpy()) if shares else (name, sizes.to_numpy(), None)


def stretches(counts: np.ndarray, sizes: np.ndarray | None) -> World:
    """Each day of real series with the 56 before it."""
    last = range(DAYS, counts.shape[1] + 1)

    def every(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([rows[:, end - DAYS : end] for end in last])

    return World("", every(counts), None if sizes is None else every(sizes))


def feeds(series: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, whole minutes of 57 days, and other ones of the judged day, of feeds of which nothing changes."""
    rng = np.random.default_rng(5)
    made = {
        "busy: a row every minute or two": lambda shape: rng.exponential(1.5, shape),
        "sparse: 12 rows a day": lambda shape: rng.exponential(120, shape),
        "hourly": lambda shape: np.full(shape, 60.0),
        "20 minutes under way, days scatter by 40 %": lambda shape: 20 * np.exp(rng.normal(0, 0.4, shape)),
    }
    for name, minutes in made.items():
        yield name, np.floor(minutes((series, DAYS))), np.floor(minutes((series,)))


def breaks(data: Path) -> Iterator[tuple[str, int, set[str]]]:
    """Name of a real feed, at how many days is looked, and which of them are alarms at .001."""
    from factory_assets.monitoring.charts.control import judged_ages

    at = {
        "card transactions": f"SELECT TX_DATETIME AS t FROM read_parquet('{data}/card_transactions/raw/*.parquet')",
        # When they were due, as the example has it: the actual time less the delay.
        "flights": "SELECT make_date(year, month, day) "
        "+ to_minutes((dep_time // 100 * 60 + dep_time % 100 - dep_delay::INT + 1440) % 1440) AS t "
        f"FROM read_parquet('{data}/nycflights/flights_2013_v01.parquet')",
        "bike rentals": f"SELECT dteday::DATE + to_hours(hr::INT) AS t FROM read_parquet('{data}/bike_sharing/hour.parquet')",
    }
    for name, query in at.items():
        with duckdb.connect() as con:
            con.execute("SET enable_progress_bar = false")
            found = con.sql(
                f"SELECT t::DATE, date_diff('second', max(t), t::DATE + INTERVAL 1 DAY) // 60 FROM ({query}) "
                "WHERE t IS NOT NULL GROUP BY 1 ORDER BY 1"
            ).fetchall()
        # The first days are held against as many as there are.
        minutes = np.array([np.nan] * (DAYS - 1) + [age for _, age in found])
        verdict = judged_ages(np.lib.stride_tricks.sliding_window_view(minutes, DAYS), 0.001, 24 * 60).verdict
        yield name, int((verdict > 0).sum()), {str(found[each][0]) for each in np.flatnonzero(verdict >= 2).tolist()}


def freshness(series: int, data: Path) -> list[str]:
    """Show how often freshness cries, and what it finds; which bounds do not hold."""
    from factory_assets.monitoring.charts.control import judged_ages

    broken: list[str] = []
    table = figures(
        "freshness, 56 days: alarms though nothing changes; stated minutes found", [".01", ".001", "stated"]
    )
    for name, minutes, other in feeds(series):
        shares = [float((judged_ages(minutes, rate, 24 * 60).verdict >= 2).mean()) for rate in RATES]
        for rate, share in zip(RATES, shares, strict=True):
            most = SLACK * rate + 3 * np.sqrt(SLACK * rate / series)
            broken += [f"freshness, {name}, {rate:g}: {share:.4f}, {most:.4f} allowed"] if share > most else []
        visible = judged_ages(minutes, 0.001, 24 * 60).visible
        stated = np.isfinite(visible)
        later = np.c_[minutes[:, :-1], other + np.nan_to_num(visible)]
        found = float((judged_ages(later, 0.001).verdict >= 2)[stated].mean()) if stated.any() else np.nan
        broken += [f"freshness, {name}: {found:.2f} found of what was stated"] if found < FOUND else []
        table.add_row(name, *(f"{share:.4f}" for share in shares), "no verdict" if np.isnan(found) else f"{found:.2f}")
    console.print(table)
    if data.exists():
        table = figures("freshness of real feeds, at .001 by 8 to 56 days", ["looks", "days that are alarms"])
        for name, looks, days in breaks(data):
            table.add_row(name, str(looks), ", ".join(sorted(days)) or "none")
            broken += (
                [f"freshness of {name}: alarms on {days}, expected on {BROKE_OFF[name]}"]
                if days != BROKE_OFF[name]
                else []
            )
        console.print(table)
    return broken


def power(series: int, rate: float) -> Iterator[tuple[str, dict[str, float]]]:
    rng = np.random.default_rng(3)
    for mean, scatter in ((100, 0.0), (1000, 0.05), (50_000, 0.05)):
        noise = np.exp(rng.normal(0, scatter, (series, DAYS)))
        found = {}
        for name, factor in (("x1.1", 1.1), ("x1.3", 1.3), ("x2", 2.0), ("x0.7", 0.7)):
            levels = mean * noise
            levels[:, -1] *= factor
            verdict, _ = judged(World("", rng.poisson(levels)), DAYS - 1, rate)
            found[name] = float((verdict >= 2).mean())
        counts = rng.poisson(mean * noise)
        _, visible = judged(World("", counts), DAYS - 1, rate)
        levels = mean * noise
        levels[:, -1] *= 1 - np.nan_to_num(visible)
        verdict, _ = judged(World("", np.c_[counts[:, :-1], rng.poisson(levels[:, -1])]), DAYS - 1, rate)
        yield (
            f"{mean:,} rows, days scatter by {scatter:.0%}",
            found | {"stated": float((verdict >= 2)[np.isfinite(visible)].mean())},
        )
    for share, size, scatter in ((0.01, 5000, 0.0), (0.01, 5000, 0.3), (0.3, 1000, 0.1)):
        own = (1 - share) / share / scatter**2 - 1 if scatter else 0
        shape = (series, DAYS)
        shares = rng.beta(share * own, (1 - share) * own, shape) if scatter else np.full(shape, share)
        sizes = np.full(shape, size)
        found = {}
        for name, factor in (("x1.1", 1.1), ("x1.3", 1.3), ("x2", 2.0)):
            changed = shares.copy()
            changed[:, -1] = np.minimum(changed[:, -1] * factor, 1)
            verdict, _ = judged(World("", rng.binomial(size, changed), sizes), DAYS - 1, rate)
            found[name] = float((verdict >= 2).mean())
        counts = rng.binomial(size, shares)
        _, visible = judged(World("", counts, sizes), DAYS - 1, rate)
        now = rng.binomial(size, np.clip(shares[:, -1] + np.nan_to_num(visible), 0, 1))
        verdict, _ = judged(World("", np.c_[counts[:, :-1], now], sizes), DAYS - 1, rate)
        stated = float((verdict >= 2)[np.isfinite(visible)].mean())
        yield f"{share:g} of {size:,}, days scatter by {scatter:.0%}", found | {"stated": stated}


def run(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer series: under a minute.")] = False,
    data: Annotated[Path, typer.Option(help="Where the public data lie.")] = SHARED,
) -> None:
    """Measure false alarms and power."""
    broken: list[str] = []
    series, pasts = (1500, (8, 56)) if quick else (10_000, (8, 28, 56))
    table = figures("share of days that are alarms though nothing changes", [
        *(f"{days} days, {rate:g}" for rate in RATES for days in pasts), "customary, 56 days",
    ])  # fmt: skip
    for world in worlds(series):
        shown = []
        for rate in RATES:
            for days in pasts:
                alarms = float((judged(world, days, rate)[0] >= 2).mean())
                shown.append(f"{alarms:.4f}")
                most = SLACK * rate + 3 * np.sqrt(SLACK * rate / series)
                broken += (
                    [f"{world.name}, {days} days, {rate:g}: {alarms:.4f}, {most:.4f} allowed"] if alarms > most else []
                )
        table.add_row(world.name, *shown, ", ".join(f"{k} {v.mean():.4f}" for k, v in customary(world, 56).items()))
    console.print(table)
    table = figures("real series as they are, by 56 days", ["looks", ".01", ".001", ".00003", "customary"])
    if data.exists():
        for name, counts, sizes in real(data):
            world = stretches(counts, sizes)
            told = [f"{(judged(world, DAYS - 1, rate)[0] >= 2).mean():.4f}" for rate in (0.01, 0.001, 0.00003)]
            peers = ", ".join(f"{k} {v.mean():.4f}" for k, v in customary(world, 56).items())
            table.add_row(name, f"{len(world.counts):,}", *told, peers)
            most = SLACK * RATES[1] + 3 * np.sqrt(SLACK * RATES[1] / len(world.counts))
            if name in UNCHANGED and float(told[1]) > most:
                broken.append(f"{name}: {told[1]}, {most:.4f} allowed at {RATES[1]}")
        console.print(table)
    broken += freshness(series, data)
    table = figures("share found on the first day, at .001 by 56 days", [*LEAST, "what a stable verdict states"])
    for name, found in power(series // 5, 0.001):
        table.add_row(name, *(f"{found[each]:.2f}" if each in found else "" for each in (*LEAST, "stated")))
        broken += [f"{name}: {found['stated']:.2f} found of what was stated"] if found["stated"] < FOUND else []
        if name.startswith("1,000 rows"):
            broken += [
                f"{name}, {each}: {found[each]:.2f} found" for each, least in LEAST.items() if found[each] < least
            ]
    console.print(table)
    conclude(broken)


if __name__ == "__main__":
    typer.run(run)
