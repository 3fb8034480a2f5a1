"""The check on a served view: what the store gives back is what was exported, value by value."""

import dagster as dg

from factory_assets.declarations.view import View
from factory_assets.serving import export
from factory_assets.serving.due import EQUAL, serving_key
from factory_assets.serving.stores import StoreError, store_of
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.markdown import literal


def equal_check(view: View) -> dg.AssetChecksDefinition:
    serve = view.serve
    assert serve is not None  # only served views have the check

    @dg.asset_check(
        asset=serving_key(view),
        name=EQUAL,
        blocking=True,
        description=f"The store's rows, or {export.SAMPLE:,} of them, are those of the day and table version that its watermark "
        "names: every value, floats exactly; and there are as many.",
    )
    def equal(lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engine]) -> dg.AssetCheckResult:
        try:
            with engine.connect() as con, store_of(serve) as store:
                mark = store.watermark(view.name)
                if mark is None:
                    return _unequal("the store has no watermark: nothing was written in full")
                snapshot = export.at(lake, con, view, export.day_of(mark.as_of), mark.table_version)
                comparison = export.compare(store, snapshot)
        except (StoreError, LookupError, TypeError) as error:
            return _unequal(str(error))
        message = f"{comparison.differing:,} of {comparison.compared:,} entities differ"
        if comparison.surplus:
            message += f"; the store has {abs(comparison.surplus):,} {'more' if comparison.surplus > 0 else 'fewer'} than the snapshot"
        return dg.AssetCheckResult(
            passed=comparison.equal,
            severity=dg.AssetCheckSeverity.ERROR,
            description=literal(message),
            metadata={
                "compared": comparison.compared,
                "differing": comparison.differing,
                "surplus": comparison.surplus,
                "examples": dg.MetadataValue.md(
                    "\n".join(f"- {literal(example)}" for example in comparison.examples) or "none"
                ),
            },
        )

    return equal


def _unequal(message: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.ERROR, description=literal(message))
