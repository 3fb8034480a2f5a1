"""Which partitions do the assets of a stream have?"""

import datetime as dt

import dagster as dg

from factory_assets.declarations.catalogue import DeclaredStream


def partitions(declared: DeclaredStream) -> dg.DailyPartitionsDefinition:
    """One partition a UTC day, from the stream's start to its end, or to yesterday."""
    end = declared.stream.end
    return dg.DailyPartitionsDefinition(
        start_date=str(declared.stream.start), end_date=str(end + dt.timedelta(days=1)) if end else None
    )
