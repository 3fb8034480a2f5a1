"""Which values are put right before a row is judged? The stream's cleansing rules, as one expression each.

They work on single rows, so that a row cleansed alone is the row cleansed among millions. The rows that a
rule changes are counted under its name, and the values as delivered stay with the row.
"""

from factory_assets.declarations import expressions
from factory_assets.declarations.declared import DeclaredStream
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.stream import Cleansing
from factory_assets.events.landing import FLOATING, WHOLE, finite

Value = str | int | float | bool


def cleansed(declared: DeclaredStream, rows: str) -> str:
    """Query over typed rows with the rules applied in their order.

    `_cleansed` lists the rules that changed the row; `_was` is JSON of the values as delivered of columns that
    changed, or null. Without rules neither column is there.
    """
    rules = declared.stream.cleanse
    if not rules:
        return rows
    rows = f"SELECT *, []::VARCHAR[] AS _cleansed, '{{}}' AS _was FROM ({rows})"
    for name, rule in rules.items():
        column = identifier(rule.column)
        value = _typed(_value(rule, column), declared.column_type(rule.column))
        changed = f"({value} IS DISTINCT FROM {column})"
        # The value as delivered is that before the first rule, which is why the older one wins.
        kept = f"json_merge_patch(to_json(struct_pack({column} := {column})), _was)::VARCHAR"
        rows = f"""SELECT * REPLACE ({value} AS {column},
                          CASE WHEN {changed} THEN list_append(_cleansed, '{name}') ELSE _cleansed END AS _cleansed,
                          CASE WHEN {changed} THEN {kept} ELSE _was END AS _was) FROM ({rows})"""
    return rows


def _typed(value: str, kind: str) -> str:
    """SQL of a value as the column's type, as delivered values are: null if it is not finite, or no integer where one is due."""
    typed = finite(f"TRY_CAST({value} AS {kind})", kind)
    if kind != "BIGINT":
        return typed
    exact = " ".join(
        f"WHEN '{floating}' THEN abs(TRY_CAST({value} AS DOUBLE)) < {first}" for floating, first in FLOATING.items()
    )
    exact += f" WHEN 'VARCHAR' THEN regexp_full_match(CAST({value} AS VARCHAR), '{WHOLE}')"
    # A cast to an integer rounds.
    return f"TRY(CASE WHEN {typed} = {value} AND CASE typeof({value}) {exact} ELSE true END THEN {typed} END)"


def _value(rule: Cleansing, column: str) -> str:
    """SQL of the column's value under the rule."""
    if rule.null_if is not None:
        return f"CASE WHEN {column} NOT IN ({', '.join(map(literal, rule.null_if))}) THEN {column} END"
    if rule.recode is not None:
        cases = " ".join(f"WHEN {literal(old)} THEN {literal(new)}" for old, new in rule.recode.items())
        return f"CASE {column} {cases} ELSE {column} END"
    if rule.clip is not None:
        low, high = map(literal, rule.clip)
        # least and greatest take no notice of nulls, and would put a bound in place of an empty value.
        return f"CASE WHEN {column} < {low} THEN {low} WHEN {column} > {high} THEN {high} ELSE {column} END"
    if rule.impute is not None:
        return f"coalesce({column}, {literal(rule.impute)})"
    assert rule.to is not None
    return f"TRY({expressions.sql(rule.to)})"


def literal(value: Value) -> str:
    """SQL of a plain value."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)
