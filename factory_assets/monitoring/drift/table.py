"""What does the table of drift hold? A row a day, node and column."""

import datetime as dt
from collections.abc import Collection
from typing import Any

import pyarrow as pa

from factory_assets.monitoring.drift.verdicts import Drift

MEANS = {
    "node": "Segment node whose rows are compared.",
    "version": "Its champion, whose training data is the reference.",
    "column": "The feature, the prediction, `label`, or `leaf`: which segments of the node the rows are of.",
    "kind": "input, prediction, label, mix (of segments), or quality (values that are absent, or beyond those of the reference).",
    "part": "What the numbers are of: its values, its nulls, or values beyond those of the reference.",
    "statistic": "Population stability index against the reference, in nats.",
    "limit": "The index above which the column has drifted.",
    "p_value": "Chance of at least this index if nothing changed.",
    "rows": "Rows of the days that are compared.",
    "null_share": "Share of them without a value.",
    "stretches": "Past stretches of as many days from which the limit is learned.",
    "verdict": "stable, drifted, or no verdict.",
    "visible_nulls": "Of a stable column: the smallest share of nulls that would have been found nine times in ten.",
    "visible_new": "Likewise of values beyond those of the reference.",
    "visible_change": "Likewise of a factor on all values, less 1: 0.14 is 14 % more.",
    "finding": "Columns of a node that drifted for one cause, being absent in the same rows, share this name.",
    "reason": "The verdict in a sentence.",
}
SCHEMA = pa.schema(
    [
        ("node", pa.string()),
        ("version", pa.string()),
        ("column", pa.string()),
        ("kind", pa.string()),
        ("part", pa.string()),
        ("statistic", pa.float64()),
        ("limit", pa.float64()),
        ("p_value", pa.float64()),
        ("rows", pa.int64()),
        ("null_share", pa.float64()),
        ("stretches", pa.int64()),
        ("verdict", pa.string()),
        ("visible_nulls", pa.float64()),
        ("visible_new", pa.float64()),
        ("visible_change", pa.float64()),
        ("finding", pa.string()),
        ("reason", pa.string()),
        ("ds", pa.date32()),
    ]
)


def row(features: Collection[str], day: dt.date, node: str, version: str, verdict: Drift) -> dict[str, Any]:
    """A row of the table. features: those of the line."""
    row = {name: getattr(verdict, name) for name in SCHEMA.names if hasattr(verdict, name)}
    return row | {"node": node, "version": version, "kind": verdict.kind(features), "ds": day}
