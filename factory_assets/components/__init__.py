"""The declarations as Dagster components: `EventStream`, `FeatureView`, `OnDemandView`, `ModelLine`."""

from factory_assets.components.components import EventStream, FeatureView, ModelLine, OnDemandView

__all__ = ["EventStream", "FeatureView", "ModelLine", "OnDemandView"]
