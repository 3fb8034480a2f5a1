"""How is an aggregate taken of days apart, and put together again? SQL of the part that is kept, and of merging parts."""

from dataclasses import dataclass

from factory_assets.features.point_in_time import exact

#: Types of a table that hold a sum of whole numbers, and a list of `exact.BIN`s.
WHOLE = "DECIMAL(38, 0)"
BINS = f"{exact.BIN.replace('HUGEINT', WHOLE)}[]"


@dataclass(frozen=True)
class Plain:
    """A plain aggregate: the results of views are computed from these. Empty values are left out.

    function: count, sum (of whole numbers), bins (of `exact.BIN`s, added up by unit), min, max, latest (the `place` largest,
    in descending order), distinct, approx_distinct or histogram. value: SQL of the aggregated value. only: SQL of the rows that
    count, all if empty.
    """

    function: str
    value: str
    only: str = ""
    place: int = 0

    @property
    def sql(self) -> str:
        """Over events."""
        text = {
            "latest": f"max({self.value}, {self.place})",
            "distinct": f"count(DISTINCT {self.value})",
            "approx_distinct": f"approx_count_distinct({self.value})",
            "bins": _added(f"list({self.value}) FILTER ({self.value} IS NOT NULL)"),
        }.get(self.function, f"{self.function}({self.value})")
        return f"{text} FILTER ({self.only})" if self.only else text

    @property
    def part(self) -> str:
        """SQL of the part over events, which is kept to be merged: the same events give the same value, of a table's type."""
        match self.function:
            case "sum":
                return f"CAST({self.sql} AS {WHOLE})"
            case "bins":
                return f"CAST({self.sql} AS {BINS})"
            case "distinct" | "approx_distinct":
                return f"list_sort(list(DISTINCT {self.value}) FILTER ({self.value} IS NOT NULL))"
            case "histogram":
                counted = f"map_entries(histogram({self.value}))"
                return f"list_transform({counted}, lambda e: {{'key': e.key, 'value': CAST(e.value AS BIGINT)}})"
        return self.sql

    def merged(self, part: str, where: str) -> str:
        """SQL that merges the parts of the rows for which `where` is true into one part. part: the column with the parts."""
        counted = f"FILTER ({where})"
        every = f"flatten(list({part}) FILTER ({part} IS NOT NULL AND {where}))"
        match self.function:
            case "count":
                return f"CAST(sum({part}) {counted} AS BIGINT)"
            case "bins":
                return f"CAST({_added(f'CAST({every} AS {exact.BIN}[])')} AS {BINS})"
            case "latest":
                return f"list_slice(list_reverse_sort({every}), 1, {self.place})"
            case "distinct" | "approx_distinct":
                return f"list_sort(list_distinct({every}))"
            case "histogram":
                keys = f"list_sort(list_distinct(list_transform({every}, lambda e: e.key)))"
                values = f"list_transform(list_filter({every}, lambda e: e.key = k), lambda e: e.value)"
                return f"list_transform({keys}, lambda k: {{'key': k, 'value': CAST(list_sum({values}) AS BIGINT)}})"
        return f"{self.function}({part}) {counted}"

    def result(self, part: str) -> str:
        """SQL of the value that `sql` gives for all events from which a part was merged."""
        return {
            "sum": f"CAST({part} AS HUGEINT)",
            "distinct": f"len({part})",
            "approx_distinct": f"list_aggregate({part}, 'approx_count_distinct')",
            "histogram": f"map_from_entries({part})",
        }.get(self.function, part)


def _added(bins: str) -> str:
    """SQL of a list of bins with those of one unit added up, by unit; null of nothing."""
    columns = ", ".join(
        f"'{one}': list_sum(list_transform(list_filter(bins, lambda e: e.unit = k), lambda e: e.{one}))"
        for one in ("total", "high", "low")
    )
    units = "list_sort(list_distinct(list_transform(bins, lambda e: e.unit)))"
    added = f"list_transform({units}, lambda k: {{'unit': k, {columns}}})"
    return f"nullif(list_transform([{bins}], lambda bins: {added})[1], [])"
