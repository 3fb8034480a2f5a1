"""What the daemon does, without its processes: sensors are ticked, and the runs that they request are executed one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from factory_assets.governor.executor import Deployment
from factory_assets.governor.runs import PARTITION
from factory_assets.governor.sensors import UPKEEP, retrain_name

QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class Ticker:
    """A deployment's sensors, switched on. resources: those that the sensors ask for."""

    deployment: Deployment
    resources: Mapping[str, Any]
    cursors: dict[str, str | None] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    #: Every request that was executed.
    requested: list[dg.RunRequest] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def sensors(self) -> list[str]:
        return [UPKEEP, *(retrain_name(line) for line in self.deployment.catalogue.lines)]

    def tick(self, sensor: str = UPKEEP) -> list[dg.RunRequest]:
        """One look of a sensor: the runs that the daemon would start, each key once."""
        repository = self.deployment.definitions.get_repository_def()
        context = dg.build_sensor_context(
            instance=self.deployment.instance, cursor=self.cursors.get(sensor), repository_def=repository,
            resources=dict(self.resources),
        )  # fmt: skip
        with context:
            result = repository.get_sensor_def(sensor)(context)
        assert isinstance(result, dg.SensorResult)
        self.cursors[sensor] = result.cursor
        for event in result.asset_events:
            self.deployment.instance.report_runless_asset_event(event)
        self.skipped[sensor] = result.skip_reason.skip_message or "" if result.skip_reason else ""
        new = [request for request in result.run_requests or [] if request.run_key not in self.keys]
        self.keys |= {str(request.run_key) for request in new}
        return new

    def execute(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        self.requested.append(request)
        tags = dict(request.tags) | ({PARTITION: request.partition_key} if request.partition_key else {})
        assert request.asset_selection is not None
        return self.deployment.job.execute_in_process(
            instance=self.deployment.instance, asset_selection=list(request.asset_selection), tags=tags,
            partition_key=request.partition_key, raise_on_error=False, run_config={**request.run_config, **QUIET},
        )  # fmt: skip

    def until_quiet(self, most: int = 60, forgetful: bool = False) -> int:
        """Tick and execute until no sensor asks for anything; how many rounds that took.

        forgetful: cursors are lost before every tick, and every tick comes twice.
        """
        for taken in range(most):
            self.cursors = {} if forgetful else self.cursors
            asked = [request for sensor in self.sensors for _ in range(1 + forgetful) for request in self.tick(sensor)]
            if not asked:
                return taken
            for request in asked:
                self.execute(request)
        raise AssertionError(f"not quiet after {most} rounds: {[request.tags for request in asked]}")
