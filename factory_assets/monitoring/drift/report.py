"""What changed, column by column? Evidently's interactive report, for a person to look at.

Evidently draws and `drift.py` decides, so the page tells our verdicts and not Evidently's: its bins are of equal width from the
lowest to the highest value, so that one outlier hides a shift; it leaves nulls out; and its threshold does not know how many
rows there are.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from factory_assets.monitoring.drift.verdicts import Drift

if TYPE_CHECKING:
    import pandas as pd

ROWS = 2000  # a side: enough to see a distribution, and sampling alone moves Evidently's PSI by about 0.01
LISTED = 20  # of the columns that drifted
NULL_LEVEL = "(null)"  # so that missing categories show as a level; Evidently would leave them out

PAGE = re.compile(r"(.*?<script>\s*var metric_\w+ = )(.*)(;\s*</script>\s*</head>\s*<body>)(.*)", re.DOTALL)


def drift_report(
    reference: pa.Table,
    current: pa.Table,
    numerical: list[str],
    categorical: list[str],
    title: str,
    verdicts: Sequence[Drift] = (),
    drifted: Sequence[tuple[str, Drift]] = (),
) -> str:
    """A self-contained HTML page of about 4 MB, with a panel for each column: those that drifted first, the worst of them at the top.

    reference, current: tables that hold the named columns; of a larger one 2,000 rows are drawn, the same at every
        call.
    numerical: names of columns of numbers or booleans. categorical: names of columns of anything, compared as text.
    verdicts: on the columns; one without is told not to be judged. drifted: node and verdict of all columns of the line that have
        drifted, which the page lists, the worst first.
    A column without a value on one side cannot be drawn; it is left out and named at the top of the page.
    Raises KeyError for a column that a table lacks.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    before, now = _sample(reference), _sample(current)
    left_out = {name: side for name in [*numerical, *categorical] if (side := _without_values(before, now, name))}
    numbers = [name for name in numerical if name not in left_out]
    texts = [name for name in categorical if name not in left_out]
    heading = _heading(title, reference.num_rows, current.num_rows, left_out, drifted)
    if not numbers and not texts:
        return f'<!DOCTYPE html><html lang="en"><head><meta charset="UTF-8"></head><body>{heading}</body></html>'
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    sides = [Dataset.from_pandas(_frame(side, numbers, texts), data_definition=definition) for side in (now, before)]
    by_column = {each.column: each for each in verdicts}
    columns = sorted([*numbers, *texts], key=lambda name: -excess(by_column[name]) if name in by_column else 0)
    report = Report([ValueDrift(column=name, method="psi") for name in columns])
    page = report.run(*sides).get_html_str(as_iframe=False)
    return _with_heading(page, heading, {name: by_column.get(name) for name in columns})


def excess(verdict: Drift) -> float:
    """By how many times a column that drifted is beyond its limit; 0 for one that did not."""
    if verdict.verdict != "drifted":
        return 0.0
    return verdict.statistic / verdict.limit if verdict.limit else float("inf")


def _sample(table: pa.Table) -> pa.Table:
    """Rows in their order, so that Evidently's plots over the index show a course."""
    if table.num_rows <= ROWS:
        return table
    return table.take(np.sort(np.random.default_rng(0).choice(table.num_rows, ROWS, replace=False)))


def _without_values(before: pa.Table, now: pa.Table, name: str) -> str:
    """Which sides have no value in the rows drawn; infinities are none to Evidently."""
    sides = {"reference": before[name], "current": now[name]}
    return " and ".join(side for side, column in sides.items() if not _has_values(column))


def _has_values(column: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    if pa.types.is_floating(column.type):
        return bool(pc.any(pc.is_finite(column)).as_py())
    return column.null_count < len(column)


def _frame(table: pa.Table, numbers: Iterable[str], texts: Iterable[str]) -> pd.DataFrame:
    """Numbers as floats, with NaN for a value that is no number; everything else as strings."""
    import pandas as pd
    import pyarrow.compute as pc

    columns: dict[str, np.ndarray] = {}
    for name in numbers:
        values = pc.cast(table[name], pa.float64(), safe=False).to_numpy()
        columns[name] = np.where(np.isfinite(values), values, np.nan)
    for name in texts:
        columns[name] = pc.fill_null(pc.cast(table[name], pa.string()), NULL_LEVEL).to_numpy().astype(object)
    return pd.DataFrame(columns)


def _with_heading(page: str, heading: str, verdicts: Mapping[str, Drift | None]) -> str:
    """The page with a heading, with our verdicts in place of Evidently's, and with its data unable to end the script that holds it.

    Evidently writes names and levels into a script as they are: a level "</script>" would be read as the end of it.
    """
    parts = PAGE.fullmatch(page)
    if parts is None:
        raise RuntimeError("Evidently's page is not laid out as that of 0.7: its data cannot be made safe to show")
    before, data, after, body = parts.groups()
    read, end = json.JSONDecoder().raw_decode(data)
    panels = [each for each in _counters(read) if str(each.get("value", "")).startswith("Drift in column ")]
    if [each["value"] for each in panels] != [f"Drift in column '{name}'" for name in verdicts]:
        raise RuntimeError("Evidently's panels are not laid out as those of 0.7: they cannot be given our verdicts")
    for panel, (name, verdict) in zip(panels, verdicts.items(), strict=True):
        panel |= {
            "value": f"{name}: {verdict.verdict if verdict else 'not judged'}",
            "label": verdict.reason if verdict else "",
        }
    return "".join([before, (json.dumps(read) + data[end:]).replace("<", r"\u003c"), after, heading, body])


def _counters(part: Any) -> Iterator[dict[str, Any]]:
    """The headlines of Evidently's panels, in the order of the page."""
    if isinstance(part, dict):
        if part.get("type") == "counter":
            yield from part["params"]["counters"]
        for each in part.values():
            yield from _counters(each)
    elif isinstance(part, list):
        for each in part:
            yield from _counters(each)


def _heading(
    title: str,
    reference_rows: int,
    current_rows: int,
    left_out: dict[str, str],
    drifted: Sequence[tuple[str, Drift]],
) -> str:
    drawn = f", at most {ROWS:,} of each drawn" if max(reference_rows, current_rows) > ROWS else ""
    worst = sorted(drifted, key=lambda each: -excess(each[1]))
    listed = [
        f"{node}: {verdict.part} of {verdict.column}, PSI {verdict.statistic:.3g}, limit {verdict.limit:.3g}"
        for node, verdict in worst
    ]
    more = f"; and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    lines = [
        f"{reference_rows:,} reference rows and {current_rows:,} current rows{drawn}.",
        "Evidently draws; whether a column has drifted is decided in the line's drift table.",
        f"Drifted of all nodes, the worst first: {'; '.join(listed[:LISTED])}{more}."
        if listed
        else "No column of any node has drifted.",
        *(f"Left out: {name}, without a value in the rows drawn of the {sides}." for name, sides in left_out.items()),
    ]
    text = "".join(f"<p style='margin:4px 0;color:#57606a'>{html.escape(line)}</p>" for line in lines)
    name = f"<h1 style='font-size:20px;margin:0'>{html.escape(title)}</h1>"
    return f"<div style='font:14px sans-serif;padding:16px 24px'>{name}{text}</div>"
