"""Which rows of a delivery became no events, and why? Counted, for those who look at a run and not at tables."""

import datetime as dt
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from factory_assets.words import counted
from factory_resources.lake import Lake

#: Rules that are named; the others are counted.
NAMED = 5


@dataclass(frozen=True)
class Aside:
    """Rows of some days that were set aside. rules: rule -> rows that break it; a row counts under each rule that it breaks.

    days: how many days had such rows. outside: rows that lie before the stream's first day or after its last, in no table.
    """

    rows: int = 0
    days: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    outside: int = 0

    def __str__(self) -> str:
        """In words; empty where no row was set aside."""
        parts = []
        if self.rows:
            common = [f"{rule} ({count:,})" for rule, count in self.rules.most_common(NAMED)]
            more = [counted(len(self.rules) - NAMED, "other rule")] if len(self.rules) > NAMED else []
            rows = "1 row" if self.rows == 1 else f"{self.rows:,} rows"
            parts.append(f"{rows} of {counted(self.days, 'day')} set aside: {', '.join(common + more)}")
        if self.outside:
            rows = "1 row lies" if self.outside == 1 else f"{self.outside:,} rows lie"
            parts.append(f"{rows} outside of the stream's days, and in no table")
        return "; ".join(parts)


def aside(lake: Lake, stream: str, days: Collection[dt.date]) -> Aside:
    """Rows of these days in quarantine, and those that their files held for no day of the stream."""
    if not days:
        return Aside()
    chosen, first, last = set(days), min(days), max(days)
    table = f"{stream}/quarantine"
    # Rows that an older release set aside have no list of rules.
    names = [name for name in ("ds", "rule", "rules") if name in lake.columns(table)]
    rows = lake.read(table, first, last, names, empty_if_absent=True).to_pylist() if names else []
    rows = [row for row in rows if row["ds"] in chosen]
    rules = Counter(rule for row in rows for rule in row.get("rules") or [row["rule"]])
    delivered = lake.read(f"{stream}/deliveries", first, last, ["ds", "outside"], empty_if_absent=True).to_pylist()
    outside = sum(each["outside"] or 0 for each in delivered if each["ds"] in chosen)
    return Aside(len(rows), len({row["ds"] for row in rows}), rules, outside)


def by_rule(
    lake: Lake, stream: str, first: dt.date | None = None, last: dt.date | None = None
) -> Counter[tuple[dt.date, str]]:
    """Rows in quarantine by their day and the first rule that they break. first, last: days, inclusive."""
    table = f"{stream}/quarantine"
    there = bool(lake.columns(table))
    rows = lake.read(table, first, last, ["ds", "rule"], empty_if_absent=True).to_pylist() if there else []
    return Counter((row["ds"], row["rule"]) for row in rows)
