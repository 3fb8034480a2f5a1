"""Does a store lack the newest features of a view? What the event log knows of its exports."""

import hashlib

import dagster as dg

from factory_assets.declarations.view import View
from factory_assets.materialization import INPUTS, data_versions
from factory_resources.dagster_private.reading import newest_checks
from factory_resources.lake import Lake

EQUAL = "equal"


def serving_key(view: View) -> dg.AssetKey:
    return dg.AssetKey(["serving", view.name])


def export_state(instance: dg.DagsterInstance, lake: Lake, view: View, spec: dg.AssetSpec) -> str:
    """A hash of what an export now would write, and where to: the newest day, its data version, the declaration."""
    day = max(lake.days(f"features/{view.name}"), default=None)
    content = data_versions(instance, dg.AssetKey(["features", view.name])).get(str(day))
    return hashlib.sha256(f"{spec.code_version}|{day}|{content}".encode()).hexdigest()[:16]


def export_due(instance: dg.DagsterInstance, lake: Lake, view: View, spec: dg.AssetSpec) -> bool:
    """Whether the store was not given the newest features yet, or did not hold them when it was last compared."""
    if not lake.days(f"features/{view.name}"):
        return False
    event = instance.get_latest_materialization_event(spec.key)
    stamped = (event.asset_materialization.tags or {}).get(INPUTS) if event and event.asset_materialization else None
    check = dg.AssetCheckKey(spec.key, EQUAL)
    compared = newest_checks(instance, [check]).get(check)
    # Where the run failed before its check, the check is only planned.
    equal = compared is not None and compared.passed
    return not equal or stamped != export_state(instance, lake, view, spec)
