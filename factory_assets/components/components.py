"""How does a declaration become definitions? Each component reads its attributes and asks the stations for assets."""

from functools import cached_property
from pathlib import Path
from typing import Self
from weakref import WeakKeyDictionary

import dagster as dg
from pydantic import BaseModel

from factory_assets.automation.schedules import decay_schedule
from factory_assets.backtest.assets import backtest_asset
from factory_assets.components.scaffold import LineScaffolder, OnDemandScaffolder, StreamScaffolder, ViewScaffolder
from factory_assets.declarations import catalogue as catalogues
from factory_assets.declarations import on_demand
from factory_assets.declarations.catalogue import Catalogue, DeclaredLine, DeclaredStream
from factory_assets.declarations.line import Line
from factory_assets.declarations.stream import Stream
from factory_assets.declarations.view import View
from factory_assets.evaluation.assets import evaluation_asset
from factory_assets.evaluation.decay_assets import decay_asset
from factory_assets.events.assets import events_asset, raw_asset, source_spec, statistics_asset
from factory_assets.events.checks import collection_plan_check, contract_checks
from factory_assets.events.contract.warned import require_warned
from factory_assets.events.jobs import issue_job_of, patch_job_of
from factory_assets.features.assets import examples_asset, labels_asset, view_asset
from factory_assets.features.catalogue.inventory import of_view
from factory_assets.features.checks import labels_check, leak_check, segments_check
from factory_assets.governor.sensors import retrain_sensor, upkeep_sensor
from factory_assets.monitoring.assets import calibration_asset, monitors_asset
from factory_assets.monitoring.charts.assets import counts_asset
from factory_assets.monitoring.checks import (
    control_checks,
    drift_check,
    estimates_check,
    floor_check,
    performance_check,
    skew_check,
    standing_checks,
)
from factory_assets.monitoring.drift.assets import drift_asset
from factory_assets.monitoring.estimates.assets import estimates_asset
from factory_assets.monitoring.performance.assets import outcomes_asset, performance_asset
from factory_assets.monitoring.performance.losses import PARENT
from factory_assets.pages.assets import fleet_asset, page_asset
from factory_assets.release.assets import champion_asset, leaderboard_asset, refit_asset
from factory_assets.release.jobs import decisions_jobs
from factory_assets.scoring.assets import parents_asset, predictions_asset
from factory_assets.scoring.checks import bounds_check
from factory_assets.serving.assets import serving_asset
from factory_assets.serving.checks import equal_check
from factory_assets.training.assets import model_asset
from factory_assets.training.search import study as search
from factory_resources.dagster_private.declarations import components_beside, loaded_in


class Declaration(dg.Component):
    """A component whose attributes are a declaration. Templates such as {{ env.DATA }} are filled in texts, and not by Dagster:
    it would run any expression.
    """

    def __init__(self, declaration: BaseModel, folder: Path):
        self.declaration = declaration
        self.folder = folder

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        model = cls.get_model_cls()
        assert model is not None
        given = attributes.model_dump(mode="json", by_alias=True, exclude_unset=True) if attributes else {}
        folder = context.path.parent if context.path.is_file() else context.path
        return cls(catalogues.filled(model, given, folder), folder)


@dg.scaffold_with(StreamScaffolder)
class EventStream(Declaration):
    """A stream of raw events: where they come from, their id and times, their contract.

    Yields <stream>/raw, <stream>/events and <stream>/statistics, one partition a day, the contract's checks, and
    <stream>/source, which is observed by the deployment's sensor.
    """

    declaration: Stream

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        return dg.ComponentTypeSpec(tags=["ml", "events"])

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return Stream

    @cached_property
    def declared(self) -> DeclaredStream:
        """The stream with its contract, which every other component asks for as well. Raises DeclarationError."""
        return DeclaredStream(self.declaration, catalogues.read_contract(self.declaration, self.folder))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        declared = self.declared
        catalogues.require(self.declaration.check(declared.contract), self.folder, self.declaration.name)
        require_warned(declared, self.folder / self.declaration.contract)
        catalogue = deployed(context)
        planned = [collection_plan_check(declared)] if self.declaration.plan else []
        # One sensor for all, and one job of a kind: they are defined with the first of the streams, without which nothing is ever due.
        first = next(iter(catalogue.streams)) == self.declaration.name
        return dg.Definitions(
            assets=[source_spec(declared), raw_asset(declared), events_asset(declared), statistics_asset(declared)],
            asset_checks=[contract_checks(declared), *planned],
            sensors=[upkeep_sensor(catalogue)] if first else [],
            jobs=[issue_job_of(list(catalogue.streams)), patch_job_of(catalogue.streams, _contracts(context))]
            if first
            else [],
        )


@dg.scaffold_with(ViewScaffolder)
class FeatureView(Declaration):
    """Trailing-window aggregates of a stream by an entity, computed point in time.

    Yields features/<view>: the entity's values at the close of each day; where the view is served also serving/<view>,
    the newest of them in a store, and its check.
    """

    declaration: View

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        return dg.ComponentTypeSpec(tags=["ml", "features"])

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return View

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        catalogue = deployed(context)
        catalogues.require(catalogue.check_view(self.declaration), self.folder, self.declaration.name)
        view, stream = self.declaration, catalogue.streams[self.declaration.stream]
        assets = [view_asset(view, stream, of_view(catalogue, view))]
        if view.serve is None:
            return dg.Definitions(assets=assets)
        return dg.Definitions(assets=[*assets, serving_asset(view, stream)], asset_checks=[equal_check(view)])


@dg.scaffold_with(OnDemandScaffolder)
class OnDemandView(Declaration):
    """Features computed from those of other views, where a line asks for them.

    Yields no asset: they are columns of the lines' examples.
    """

    declaration: on_demand.OnDemandView

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        return dg.ComponentTypeSpec(tags=["ml", "features"])

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return on_demand.OnDemandView

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        findings = deployed(context).check_on_demand(self.declaration)
        catalogues.require(findings, self.folder, self.declaration.name)
        return dg.Definitions()


@dg.scaffold_with(LineScaffolder)
class ModelLine(Declaration):
    """What is predicted, from which features, for which segments, and when it is retrained.

    Yields the line: examples, labels, model, evaluation, refit, champion, leaderboard, decay, backtest, predictions, performance,
    estimates, drift, counts, monitors, calibration, page, parents of a line with segments, outcomes where some are declared, and the
    sensor that starts its trainings; the first of the lines also fleet, which shows all of them.
    """

    declaration: Line

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        return dg.ComponentTypeSpec(tags=["ml", "models"])

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return Line

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        catalogue = deployed(context)
        findings = catalogue.check_line(self.declaration) or search.check(self.declaration)
        catalogues.require(findings, self.folder, self.declaration.name)
        declared: DeclaredLine = catalogue.resolve(self.declaration)
        # One schedule and one page for all, and one job a decision: they are defined with the first of the lines.
        first = next(iter(catalogue.lines)) == self.declaration.name
        segmented = bool(declared.line.segments.levels)
        daily = [examples_asset(declared), labels_asset(declared, self.folder), predictions_asset(declared)]
        daily += [parents_asset(declared)] if segmented else []
        trained = [model_asset(declared), evaluation_asset(declared), refit_asset(declared), champion_asset(declared)]
        trained += [leaderboard_asset(declared), decay_asset(declared)]
        trained += [backtest_asset(declared, daily[:2])]
        watched = [
            performance_asset(declared),
            *([outcomes_asset(declared)] if declared.line.outcomes else []),
            estimates_asset(declared),
            drift_asset(declared),
            counts_asset(declared),
            monitors_asset(declared),
            calibration_asset(declared),
            page_asset(declared),
            *([fleet_asset(catalogue)] if first else []),
        ]
        return dg.Definitions(
            assets=[*daily, *trained, *watched],
            asset_checks=[
                leak_check(declared),
                labels_check(declared),
                drift_check(declared),
                performance_check(declared),
                *([performance_check(declared, PARENT)] if segmented else []),
                *([below] if (below := floor_check(declared)) else []),
                skew_check(declared),
                *([bounded] if (bounded := bounds_check(declared)) else []),
                estimates_check(declared),
                control_checks(declared),
                standing_checks(declared),
                *([segments_check(declared)] if segmented else []),
            ],
            sensors=[retrain_sensor(declared, catalogue)],
            jobs=decisions_jobs(catalogue) if first else [],
            schedules=[decay_schedule(list(catalogue.lines))] if first else [],
        )


#: The catalogue of each tree of components, by the object in which Dagster keeps what it has loaded of that tree.
_catalogues: WeakKeyDictionary[object, Catalogue] = WeakKeyDictionary()


def deployed(context: dg.ComponentLoadContext) -> Catalogue:
    """All declarations of the tree, put together when the first component asks."""
    place = loaded_in(context)
    if place is None:
        return _catalogue(context)
    if place not in _catalogues:
        _catalogues[place] = _catalogue(context)
    return _catalogues[place]


def _contracts(context: dg.ComponentLoadContext) -> dict[str, Path]:
    """Stream -> the file of its contract."""
    streams = components_beside(context, EventStream)
    return {one.declaration.name: one.folder / one.declaration.contract for one in streams}


def _catalogue(context: dg.ComponentLoadContext) -> Catalogue:
    return Catalogue(
        {one.declaration.name: one.declared for one in components_beside(context, EventStream)},
        {one.declaration.name: one.declaration for one in components_beside(context, FeatureView)},
        {one.declaration.name: one.declaration for one in components_beside(context, ModelLine)},
        {one.declaration.name: one.declaration for one in components_beside(context, OnDemandView)},
    )
