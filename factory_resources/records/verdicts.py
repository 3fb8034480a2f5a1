"""May a day be built on? The newest verdict of each blocking check on each day of an asset, and what it stands on.

Dagster shows what checks found; this says whether a check was completed on what the day holds now. A day that was made by a
run which died before its checks has no verdict on what it holds, and is not built on.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from factory_resources.records.tables import VERDICTS, Database, writing

#: Rows of one statement.
PAGE = 500


@dataclass(frozen=True)
class Reason:
    """A rule that a day breaks: the check that says so, and what was found, in a sentence."""

    check: str
    message: str


@dataclass(frozen=True)
class Judged:
    """The verdict on a day. stands_on: what the day, and the check, were made of. reasons: rule -> why the day may not go on."""

    stands_on: str
    reasons: Mapping[str, Reason] = field(default_factory=dict)


class Verdicts(Database):
    """Newest verdicts, in the ledger's database."""

    def note(self, asset: str, check: str, judged: Mapping[dt.date, Judged], run_id: str) -> None:
        """Keep verdicts of a check on days of an asset, all or none; they replace those before."""
        at, days = dt.datetime.now(dt.UTC), sorted(judged)
        c = VERDICTS.c
        with writing(self._open(), "verdicts", asset, check) as connection:
            for start in range(0, len(days), PAGE):
                part = days[start : start + PAGE]
                connection.execute(sa.delete(VERDICTS).where(c.asset == asset, c.check == check, c.day.in_(part)))
                rows = [
                    {
                        "asset": asset,
                        "check": check,
                        "day": day,
                        "stands_on": judged[day].stands_on,
                        "reasons": {rule: [each.check, each.message] for rule, each in judged[day].reasons.items()},
                        "run_id": run_id,
                        "at": at,
                    }
                    for day in part
                ]
                connection.execute(sa.insert(VERDICTS), rows)

    def newest(self, asset: str, check: str) -> dict[dt.date, Judged]:
        """Day -> the verdict on it, of the days that the check was ever completed on."""
        c = VERDICTS.c
        query = sa.select(c.day, c.stands_on, c.reasons).where(c.asset == asset, c.check == check)
        with self._open().connect() as connection:
            return {
                row.day: Judged(row.stands_on, {rule: Reason(*reason) for rule, reason in row.reasons.items()})
                for row in connection.execute(query)
            }
