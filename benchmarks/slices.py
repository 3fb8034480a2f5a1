"""Are weak slices found where there are some, and none where there are none? And what do limits of declared slices let pass?

    .venv/bin/python benchmarks/slices.py [--quick]

- Found slices: 20,000 rows of 10 days, with 15 features of 10 bins: above 10,000 candidates, values and pairs of them. A planted slice
  is one pair of values, 2 % of the rows, on which errors are larger by so much of their spread. None planted: independent rows; days
  that differ; errors with heavy tails; 400 customers who come again and again, each with errors of their own; a rare yes.
- Beside it, the search without a second half: what one finds who looks at all rows and takes p < .05, or corrects for nothing but
  that (Benjamini-Hochberg).
- Declared slices: how often is a challenger blocked that is as good as the champion on the slice, and how often does one pass that is
  worse there by more than it may be? By its value alone (certainty 0.5), and with a certainty of 0.95.

Ends with exit code 1 where a bound does not hold.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer
from bounds import conclude, figures
from raw_to_examples import console

ROWS, DAYS, COLUMNS, BINS = 20_000, 10, 15, 10
#: The bins whose pair is 2 % of the rows: .14 each.
OF_PAIR = 0.1414
#: What is found of slices whose errors are larger by so much of the spread of errors, at least; and where nothing is, at most.
FOUND, NOTHING = {0.5: 0.9}, 0.05


#: By how much a challenger is worse on a declared slice that allows .1.
HARMS = {
    "better by .1": -0.1,
    "as good": 0.0,
    "worse by what it may be": 0.1,
    "worse by twice that": 0.2,
    "worse by three times that": 0.3,
}


@dataclass(frozen=True)
class World:
    """Where rows come from. planted: by how much of their spread the losses of the slice are larger."""

    name: str
    planted: float = 0.0
    tau: float = 0.0
    customers: int = 0
    tails: float | None = None
    rare: bool = False


WORLDS = (
    World("independent rows"),
    World("days differ", tau=0.5),
    World("heavy tails", tails=3.0),
    World("400 customers", customers=400),
    World("a yes in 100", rare=True),
    World("planted, by .35 of the spread", planted=0.35),
    World("planted, by half the spread", planted=0.5),
    World("planted, days differ", planted=0.5, tau=0.5),
    World("planted, by all of the spread", planted=1.0),
)


def drawn(world: World, rng: np.random.Generator) -> tuple[dict, np.ndarray, np.ndarray, np.ndarray | None]:
    """Columns in bins, losses, days, and clusters."""
    from factory_assets.evaluation.weak import Coded

    shares = np.array([OF_PAIR, *[(1 - OF_PAIR) / (BINS - 1)] * (BINS - 1)])
    codes = rng.choice(BINS, (COLUMNS, ROWS), p=shares)
    days, customers = rng.integers(0, DAYS, ROWS), None
    if world.customers:
        # Features are a customer's own, so that whose errors are large makes a slice of its values.
        customers = rng.integers(0, world.customers, ROWS)
        own = rng.choice(BINS, (COLUMNS, world.customers), p=shares)
        codes = np.where(rng.random((COLUMNS, ROWS)) < 0.7, own[:, customers], codes)
    noise = rng.standard_t(world.tails, ROWS) if world.tails else rng.normal(size=ROWS)
    error = noise + (world.tau * rng.normal(size=DAYS)[days] if world.tau else 0)
    if customers is not None:
        error = error + 0.5 * rng.normal(size=world.customers)[customers]
    lost = np.abs(error)
    if world.rare:
        p = np.clip(rng.beta(0.5, 50, ROWS), 1e-6, 1)
        lost = ((rng.random(ROWS) < p) - p) ** 2
    planted = (codes[3] == 0) & (codes[7] == 0)
    lost = lost + world.planted * lost.std() * planted
    names = [f"b{place}" for place in range(BINS)]
    return {f"f{place}": Coded(each, names) for place, each in enumerate(codes)}, lost, days, customers


def found_slices(worlds: int, broken: list[str]) -> None:
    from factory_assets.evaluation import weak

    table = figures("Found slices", ("tries", "found it", "found anything else", "all rows, p < .05", "all rows, BH"))
    seconds, candidates = [], 0
    for world in WORLDS:
        hits = others = naive = corrected = 0
        for seed in range(worlds):
            columns, lost, days, customers = drawn(world, np.random.default_rng([seed, WORLDS.index(world)]))
            began = time.perf_counter()
            found = weak.weak_slices(columns, lost, days, customers)
            seconds.append(time.perf_counter() - began)
            planted = [each for each in found if each.where == {"f3": "b0", "f7": "b0"}]
            related = [each for each in found if set(each.where.items()) & {("f3", "b0"), ("f7", "b0")}]
            hits += bool(planted)
            others += len(found) > (len(related) if world.planted else 0)
            if seed < max(worlds // 4, 1):
                p = np.array([value for _, value in weak._candidates(columns, lost)])
                candidates = len(p)
                naive += bool((p < 0.05).any())
                corrected += bool((np.sort(p) <= weak.KEPT * np.arange(1, len(p) + 1) / len(p)).any())
        few = max(worlds // 4, 1)
        table.add_row(
            world.name, str(worlds), f"{hits / worlds:.3f}" if world.planted else "-", f"{others / worlds:.3f}",
            f"{naive / few:.2f}", f"{corrected / few:.2f}",
        )  # fmt: skip
        # Three standard errors of what is counted are no breach.
        slack = 3 * np.sqrt(NOTHING * (1 - NOTHING) / worlds)
        if others / worlds > NOTHING + slack:
            broken.append(
                f"{world.name}: something is found in {others / worlds:.3f} of tries, {NOTHING} at most where nothing is"
            )
        least = FOUND.get(world.planted) if world.planted <= max(FOUND) else max(FOUND.values())
        if least is not None and hits / worlds < least:
            broken.append(f"{world.name}: found in {hits / worlds:.3f} of tries, {least} at least")
    console.print(table)
    console.print(f"{candidates:,} candidates with rows enough; {np.median(seconds):.2f} s a search")
    if candidates < 10_000:
        broken.append(f"{candidates} candidates, 10,000 are to be searched")


def declared_slices(tries: int, broken: list[str]) -> None:
    """A slice of 20 rows a day for 14 days; its limit is 0.1 of the metric, whose standard error is about .06."""
    from factory_assets.declarations.line import Gate
    from factory_assets.evaluation.gate import Contest, rule
    from factory_assets.measures.certainty import certainty, stretches

    table = figures("Declared slices: share that passes", ("by its value", "certainty 0.95"))
    days = np.repeat(np.arange(14), 20)
    groups = [stretches(days)]
    for name, harm in HARMS.items():
        passed = dict.fromkeys((0.5, 0.95), 0)
        for seed in range(tries):
            rng = np.random.default_rng([seed, round(harm * 10) + 1])
            y, ours, theirs = np.zeros(280), rng.gamma(2, (1 + harm) / 2, 280), rng.gamma(2, 0.5, 280)
            sure = certainty("regression", "mae", y, ours, theirs, groups, 0.1)
            parts = {"rows of night": 280.0, "mae of night": float(ours.mean())}
            met = Contest(
                {"mae": 9.0}, None, {"mae": 5.0, "mae of night": float(theirs.mean())}, {"mae": 4.0} | parts,
                {"naive": 1.0, "challenger": 1.0, "mae of night": sure or 0.0},
            )  # fmt: skip
            for asked in passed:
                slices = {"night": {"where": "hour < 6", "worse": 0.1, "certainty": asked}}
                passed[asked] += rule("mae", Gate(slices=slices), met, None).verdict == "promote"
        shares = {asked: count / tries for asked, count in passed.items()}
        table.add_row(name, *(f"{share:.3f}" for share in shares.values()))
        slack = 3 * np.sqrt(0.25 / tries)
        if harm >= 0.1 and shares[0.95] > 0.05 + 3 * np.sqrt(0.05 * 0.95 / tries):
            broken.append(
                f"declared slice, {name}: passes in {shares[0.95]:.3f} of tries with a certainty of 0.95, 0.05 at most"
            )
        if harm == 0.2 and shares[0.5] > 0.1 + slack:
            broken.append(f"declared slice, {name}: passes in {shares[0.5]:.3f} of tries by its value, .1 at most")
        if harm == 0.0 and shares[0.5] < 0.9 - slack:
            broken.append(f"declared slice, {name}: passes in {shares[0.5]:.3f} of tries by its value, .9 at least")
    console.print(table)


def main(quick: Annotated[bool, typer.Option(help="Few tries: under a minute.")] = False) -> None:
    broken: list[str] = []
    steps: list[Callable[[], None]] = [
        lambda: found_slices(10 if quick else 100, broken),
        lambda: declared_slices(60 if quick else 1000, broken),
    ]
    for step in steps:
        step()
    conclude(broken)


if __name__ == "__main__":
    typer.run(main)
