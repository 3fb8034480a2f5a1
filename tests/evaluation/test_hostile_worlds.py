"""What does the gate make of labels that no honest model could have learnt, or that nobody can judge a model by?

Each line is trained and measured as any other: fitted on four weeks, and held against the naive guess, or against a champion that knew
the world before, on the week after.
"""

from __future__ import annotations

import datetime as dt
import re
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations.line import Line
from factory_assets.evaluation.challengers import Challenger, look
from factory_assets.evaluation.contest import Contestants, walk
from factory_assets.evaluation.gate import Ruling, rule
from factory_assets.models.matrix import encode
from factory_assets.training.fit.fitting import Fitted, NotTrained, fit_node

START, WINDOW, HOLDOUT = dt.date(2026, 1, 1), 28, 7
TRAINED = START + dt.timedelta(days=WINDOW + HOLDOUT - 1)
FEATURES = ("x", "z")


class World(NamedTuple):
    """Labels and features by day. A leak is a column that has the label while the rows are old, and nothing when they are new."""

    a_day: int = 30
    yes: float = 0.3
    tells: float = 2.0
    in_holdout: str = "the same"
    few: int | None = None


def rows(world: World, seed: int) -> tuple[pa.Table, pa.Table]:
    """Of the training window, and of the holdout."""
    rng, days = np.random.default_rng(seed), WINDOW + HOLDOUT
    day = np.repeat(np.arange(days), world.a_day)
    x, z = rng.normal(size=(2, len(day)))
    chance = 1 / (1 + np.exp(-world.tells * x - np.log(world.yes / (1 - world.yes))))
    y, new = (rng.random(len(day)) < chance).astype(float), day >= WINDOW
    if world.in_holdout == "the other way round":
        y[new] = (rng.random(new.sum()) < 1 - chance[new]).astype(float)
    elif world.in_holdout == "no leak":
        z = np.where(new, 0.0, y)
    elif world.in_holdout != "the same":
        y[new] = float(world.in_holdout == "all yes")
        y[-1] = float(world.in_holdout != "all no")
    kept = ~new
    if world.few is None:
        kept[:] = True
    else:
        kept[rng.choice(np.flatnonzero(new), world.few, replace=False)] = True
    ds = pa.array([START + dt.timedelta(days=int(each)) for each in day])
    about = {
        "example_id": np.arange(len(day)),
        "observed_at": ds.cast(pa.timestamp("us")),
        "leaf": ["global"] * len(day),
    }
    table = pa.table({"label": y, "x": x, "z": z, "ds": ds} | about)
    return table.filter(pa.array(kept & ~new)), table.filter(pa.array(kept & new))


def a_line(**more: Any) -> Line:
    return Line(
        **{
            "name": "question", "owner": "team:x", "description": "-", "task": "binary", "observe": {"stream": "orders"},
            "label": {"expression": "y"}, "features": list(FEATURES), "segments": {"min_rows": 50},
            "train": {"window": f"{WINDOW}d", "holdout": f"{HOLDOUT}d"},
            "candidates": {"model": {"estimator": "linear"}}, **more,
        }
    )  # fmt: skip


def fitted(line: Line, table: pa.Table) -> Any:
    """A model as it is released."""
    found = fit_node(line, table, FEATURES, "global", "average_precision")
    assert isinstance(found, Fitted), found
    return SimpleNamespace(
        predict=lambda rows, task: found.model.predict(encode(rows, found.encoding)),
        naive=lambda rows, task: np.full(rows, found.naive),
        unlearnt_from=START,
    )


def ruled(world: World, before: World | None = None, seed: int = 1, model: Any = None, **gate: Any) -> Ruling:
    """What the gate rules on the challenger of a world. before: that of the champion; nobody answers if absent.

    model: in place of one that is fitted on this world.
    """
    line = a_line(gate=gate)
    learnt, held = rows(world, seed)
    models = {"new": model or fitted(line, learnt)} | ({"old": fitted(line, rows(before, 99)[0])} if before else {})
    taken = look(line, TRAINED, TRAINED)
    champions = {"global": "old"} if before else {}
    contestants = Contestants(champions, {"global": Challenger("new", taken)}, models.__getitem__, lambda _: None)
    declared: Any = SimpleNamespace(line=line)
    (met,) = walk(declared, "average_precision", ["global"], contestants, lambda _: held)
    return rule("average_precision", line.bar, met.contest, met.above, taken)


NOISE, FEW, NONE = World(tells=0.0), World(yes=0.02, in_holdout="one yes"), World(yes=0.02, in_holdout="all no")
INVERTED = World(in_holdout="the other way round")
LEAK = World(tells=0.0, in_holdout="no leak")


def test_a_model_of_an_honest_world_is_promoted() -> None:
    assert ruled(World()).verdict == "promote"
    assert ruled(World(), before=NOISE).verdict == "promote"


@pytest.mark.parametrize(
    ("world", "why"),
    [
        (NOISE, "better than|no better than"),
        (FEW, "days, or clusters, are too few to tell that from luck"),
        (NONE, "average_precision cannot be measured on the holdout: too few rows, or only one class"),
        (World(in_holdout="all yes"), "average_precision cannot be measured on the holdout"),
        (INVERTED, "no better than .* of the naive guess"),
        (LEAK, "of the naive guess"),
        (World(few=5), "5 rows in the holdout, 20 needed"),
    ],
    ids=["noise", "few yes", "no yes", "all yes", "inverted", "leaked", "five rows"],
)
def test_what_nobody_could_know_is_refused_with_its_reason(world: World, why: str) -> None:
    """Nobody answers then; with a champion it goes on; and with patience it is refused, or looked at again."""
    alone = ruled(world)
    assert alone.verdict == "fallback" and re.search(why, alone.reason), alone.reason
    kept = ruled(world, before=World())
    assert kept.verdict == "keep" and kept.champion("old", "new") == "old" and kept.reason
    waiting = ruled(world, before=World(), patience="21d")
    assert waiting.verdict in ("keep", "undecided") and waiting.champion("old", "new") == "old"


def test_five_rows_are_looked_at_again_until_there_are_more() -> None:
    few = ruled(World(few=5), before=World(), patience="21d")
    assert few.verdict == "undecided" and few.reason == "5 rows in the holdout, 20 needed; 21 more days may bring them"
    assert ruled(World(few=200), rows=201).reason == "200 rows in the holdout, 201 needed"
    # Whoever asks for any better value gets it.
    assert ruled(World(few=14), certainty=0.5).verdict == "promote"


@pytest.mark.parametrize("world", [NOISE, World(tells=0.0, yes=0.02)], ids=["noise", "four yes in a week, of noise"])
def test_labels_of_noise_are_promoted_no_oftener_than_is_left_to_luck(world: World) -> None:
    """Of 150 worlds at .05, 15 and more come by chance once in 200."""
    models = [fitted(a_line(), rows(world, 1000 + seed)[0]) for seed in range(5)]
    verdicts = [ruled(world, seed=seed, model=models[seed % 5]).verdict for seed in range(150)]
    assert verdicts.count("promote") < 15


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_a_label_that_never_changes_is_not_learnt(answer: float) -> None:
    learnt, _ = rows(World(), 1)
    same = learnt.set_column(0, "label", pa.array(np.full(learnt.num_rows, answer)))
    found = fit_node(
        a_line(segments={"min_rows": 50, "min_positives": 1}), same, FEATURES, "global", "average_precision"
    )
    assert isinstance(found, NotTrained) and found.reason
    assert "nothing to tell apart" in found.reason or "0 positives" in found.reason
