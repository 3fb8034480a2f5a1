"""What are the features of one request? For servers: knows neither Dagster nor the lake."""

from factory_assets.features.online.vectors import Online

__all__ = ["Online"]
