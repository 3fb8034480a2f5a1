"""Which version answers once a challenger passed: its refit, or the judged version itself, and why?"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from factory_assets.declarations.line import Line
from factory_assets.evaluation.gate import Ruling
from factory_assets.training.fit.again import Disagreement
from factory_resources.ledger import Ledger, VersionRecord
from factory_resources.records.decisions import REFIT

#: In the configuration of a refit: how far it is from the judged version, and what is not safe about it.
CHECKED = "checked"


@dataclass(frozen=True)
class Shipped:
    """What a challenger answers as. version: its refit or itself. reason: what a decision says of it; empty where nothing."""

    version: str | None
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


def checked(disagreement: Disagreement, unsafe: str | None) -> dict[str, Any]:
    """The entry of `CHECKED`."""
    return {"apart": disagreement.apart, "off": disagreement.off, "rows": disagreement.rows, "unsafe": unsafe}


def checks_of(refit: VersionRecord) -> tuple[Disagreement, str | None]:
    """What `checked` noted of a refit."""
    found = refit.configuration[CHECKED]
    return Disagreement(found["apart"], found["off"], found["rows"]), found["unsafe"]


def refits_of(ledger: Ledger, line: str, day: dt.date) -> dict[str, VersionRecord]:
    """Judged version -> its newest refit as of a day."""
    return {
        record.judged: record for record in ledger.versions(line, as_of=day, refits=True) if record.judged is not None
    }


def released(line: Line, ruling: Ruling, challenger: str | None, refits: Mapping[str, VersionRecord]) -> Shipped:
    """What a challenger answers as by a ruling on it; refits: as of `refits_of`."""
    if challenger is None or not ruling.passed or not line.train.refit:
        return Shipped(challenger)
    refit = refits.get(challenger)
    if refit is None:
        return Shipped(challenger, f"it has not learnt the days of the holdout, {line.name}/refit tells why")
    disagreement, unsafe = checks_of(refit)
    if why := refused(disagreement, unsafe, line.gate.refit_apart):
        return Shipped(challenger, f"it answers as it was judged, and not its refit {refit.version}: {why}")
    evidence = {"version": refit.version, "apart": disagreement.apart, "off": disagreement.off}
    return Shipped(
        refit.version,
        f"fitted again on the days up to {refit.train_to} it answers as {refit.version}",
        {REFIT: evidence},
    )


def refused(disagreement: Disagreement, unsafe: str | None, bound: float) -> str:
    """Why a refit may not answer; empty where nothing speaks against it."""
    if not disagreement.within(bound):
        return f"{apart(disagreement)}, {bound:g} at most are declared"
    return f"not safe to serve: {unsafe}" if unsafe else ""


def apart(disagreement: Disagreement) -> str:
    """The disagreement in words."""
    times, rows = disagreement.times, f"on {disagreement.rows} rows of the holdout"
    if times is None:
        return f"{rows} the judged version is never off, and the refit by {disagreement.apart:.3g}"
    return f"{rows} it is {times:.2g} times as far from the judged version as that is from the labels"
