"""What may a team write? The language of the declarations, as pydantic models, without Dagster.

Stations take these objects as plain values; `factory_assets.components` turns them into definitions.
"""
