"""May a training continue from the version before, and until when? The `warm_start` of a candidate."""

from pydantic import Field

from factory_assets.declarations.base import Declared


class WarmStart(Declared):
    """Continue from the node's version before where that is as good as beginning anew, and cheaper."""

    tolerance: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="By which share of the gate's metric the continued model may be worse than a cold one, both on the newest "
        "days of the training window.",
    )
    rounds: float = Field(
        0.1, gt=0, le=1, description="Boosting rounds that are added, as a share of those of a cold fit."
    )
    max_chain: int = Field(4, ge=1, le=50, description="How often in a row a model is continued before a cold fit.")
