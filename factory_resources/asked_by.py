"""Who asked for a run by the web UI? Whom the proxy before it names, by the class that dagster.yaml names:

    run_coordinator:
      module: factory_resources.asked_by
      class: AskedByCoordinator
      config: {header: X-Forwarded-User}

Dagster's web server has no login. A proxy that has one sends along whom it let in, and must take out of a request what the browser
itself puts into that header. A run keeps the name as a tag, whatever a launch says of that tag.
"""

from collections.abc import Mapping
from typing import Any, Self, cast

import dagster as dg
from dagster import DagsterInstance, DagsterRun, QueuedRunCoordinator, SubmitRunContext

from factory_resources.people import process_user

#: Tag of a run: whom the proxy named. Empty where nobody came by it.
ASKED_BY = "factory/asked_by"


class AskedByCoordinator(QueuedRunCoordinator):
    """Dagster's queue of runs. Each run keeps the name that the header of the request has that launched it."""

    def __init__(self, header: str, **queue: Any):
        super().__init__(**queue)
        self._header = header

    @classmethod
    def config_type(cls) -> Any:
        header = dg.Field(dg.StringSource, description="Header in which the proxy names who it let in.")
        return {**cast("Mapping[str, Any]", super().config_type()), "header": header}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Self:
        return cls(inst_data=inst_data, **config_value)

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        run = context.dagster_run
        named = (context.get_request_header(self._header) or "").strip()
        if named or ASKED_BY in run.tags:
            self._instance.add_run_tags(run.run_id, {ASKED_BY: named})
        return super().submit_run(context)


def asked_by(instance: DagsterInstance, run: DagsterRun) -> str:
    """Who answers for a run: whom the proxy named, if this deployment has one; else the user of this process."""
    # Without the coordinator a launch could write the tag itself.
    trusted = isinstance(instance.run_coordinator, AskedByCoordinator)
    return (run.tags.get(ASKED_BY, "") if trusted else "") or process_user()
