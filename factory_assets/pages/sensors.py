"""Dagster's sensor by which pages follow what people decide in Dagster's UI, as they follow the commands."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dagster as dg

from factory_assets.governor.executor import Deployment
from factory_assets.governor.plan import plan
from factory_assets.pages.details import Tables
from factory_assets.pages.document import page_of
from factory_assets.pages.written import write_again
from factory_resources.reports import Reports


def follow_sensor(
    jobs: Sequence[dg.JobDefinition], opened: Callable[[dg.DagsterInstance], Deployment], reports: Reports
) -> dg.SensorDefinition:
    """jobs: by which people decide; a run of each names a line or a stream. opened: gives the deployment."""

    @dg.run_status_sensor(
        name="follow_people",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[*jobs],
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Writes the page of a line again, and that of all lines, once somebody has decided something by a job. It starts "
        "no run. It is on from the beginning: without it pages would show what was decided with the next run alone.",
    )
    def follow_people(context: dg.RunStatusSensorContext) -> None:
        configuration: Any = context.dagster_run.run_config
        deployment = opened(context.instance)
        lines = {name for name in _lines(deployment, configuration) if reports.holds(page_of(name))}
        if lines:
            tables, planned = Tables(deployment.lake, deployment.engine, deployment.ledger), plan(deployment.book())
            where = write_again(deployment.catalogue, planned, sorted(lines), tables, deployment.issues, reports)
            context.log.info(f"written: {', '.join(where)}")

    return follow_people


def _lines(deployment: Deployment, configuration: dict[str, Any]) -> Iterator[str]:
    """The lines that a run was about: the one that it names, or those that stand on the stream that it names."""
    for op in configuration.get("ops", {}).values():
        asked = op.get("config", {})
        for name, line in deployment.catalogue.lines.items():
            stands_on = deployment.catalogue.resolve(line).stands_on
            if asked.get("line") == name or asked.get("stream") in stands_on:
                yield name
