"""What Dagster loads: the declarations of this deployment, and the resources that they run on."""

import warnings

from factory_resources.collector import uncollected
from factory_resources.private_files import keep_files_private

with uncollected():
    import dagster as dg

    from factory_assets.loading import load_declarations, resources, with_jobs_by_hand
    from factory_assets.release.jobs import release_definitions

# Whoever loads a code location starts its runs, or is one.
keep_files_private()
# Backfill policies and partitioned checks are what the factory stands on; that they are young is known.
for category in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=category)


@dg.definitions
def defs() -> dg.Definitions:
    return loaded()


def loaded(*, described: bool = True) -> dg.Definitions:
    """All definitions of this deployment. described: see `load_declarations`."""
    with uncollected():
        policy = dg.Definitions(resources=resources(), executor=dg.in_process_executor)
        declared = load_declarations(described=described)
        return with_jobs_by_hand(dg.Definitions.merge(declared, release_definitions(), policy))
