"""The three declarations as Dagster components: `EventStream`, `FeatureView`, `ModelLine`."""

from factory_assets.components.components import EventStream, FeatureView, ModelLine

__all__ = ["EventStream", "FeatureView", "ModelLine"]
