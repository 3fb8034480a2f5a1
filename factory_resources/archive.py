"""Which archive of released models does a deployment use? The folder of models as Dagster's resource."""

import dagster as dg
from pydantic import Field

from factory_resources.archive_folder import ArchiveFolder


class Archive(dg.ConfigurableResource, ArchiveFolder):
    """Released models below one root; see ArchiveFolder."""

    root: str = Field(
        description="Local path or fsspec URI (s3://bucket/prefix, gs://..., az://...) of the released models; "
        "credentials of an object store come from the environment."
    )
