"""A model factory: declarations of streams, features and models become the assets that run a model's whole life."""

import os

# Nothing phones home: each of these is read by a dependency when it is imported.
for _switch, _off in {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}.items():
    os.environ.setdefault(_switch, _off)
# A thread that waits by spinning takes the core from the model that is fitted beside it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Events about the partitions of a run are written together. Dagster's own default is one by one.
os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "100")
