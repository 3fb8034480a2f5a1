"""Did what the model sees, or says, leave what it was trained on?

A profile of each column is taken once, from the rows the champion was trained on. Later rows are counted into the
profile's bins and compared by the population stability index (PSI): no reference row is read again.

A column has drifted when its PSI exceeds both what chance explains in samples of these sizes and the smallest shift
worth a person's time. Under no change, n m / (n + m) times the PSI of n against m rows is approximately chi-square
with one degree of freedom less than there are bins (Yurdakul, Statistical Properties of Population Stability Index,
Western Michigan University, 2018), so the chance limit adapts to the rows at hand; the fixed limits in use (0.1,
0.25) alarm on nearly every small sample.

Bins follow the reference's quantiles, so no outlier can squeeze the rest into one bin. What the reference does not
contain has bins of its own: nulls, values beyond its range, levels it has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from factory_assets.measures.profiles import Numbers, Profile, psi, without_rare_levels


@dataclass(frozen=True)
class Drift:
    """The change in one column of the current rows.

    statistic: PSI against the reference, in nats.
    limit: the PSI above which the column has drifted.
    p_value: chance of at least this PSI if nothing changed; it can be tiny where the change is too small to matter.
    rows: current rows, nulls included. null_share: 0..1, of the current rows.
    verdict: "stable", "drifted", or "no verdict" where there are too few rows for one.
    reason: one sentence for a person; for a drifted column it names the bin that moved most.
    """

    column: str
    statistic: float
    limit: float
    p_value: float
    rows: int
    null_share: float
    reference_null_share: float
    verdict: str
    reason: str


def drift(
    reference: Profile,
    current: pa.Array | pa.ChunkedArray,
    *,
    false_alarm_rate: float = 0.001,
    minimum_effect: float = 0.1,
    minimum_rows: int = 100,
) -> Drift:
    """Compare current rows with the reference.

    false_alarm_rate: share of unchanged columns that chance may call drifted, per comparison. A thousand columns a
        day at the default are one false alarm a day, fewer where minimum_effect is the higher limit.
    minimum_effect: PSI under which a change is not worth acting on, however certain; 0.1 is the customary
        bound of "no significant change" (Siddiqi, Credit Risk Scorecards, 2006).
    minimum_rows: fewer rows on either side give no verdict: bins would hold too few for the chi-square limit.
    Raises TypeError where the current rows are text and the reference numbers, or the reverse.

    >>> from factory_assets.measures.profiles import profile
    >>> reference = profile(pa.array(range(1000)), name="amount")
    >>> drift(reference, pa.array(range(1000))).verdict, drift(reference, pa.array(range(500, 1500))).verdict
    ('stable', 'drifted')
    """
    now = reference.count(current)
    return drift_of_counts(
        reference, now, false_alarm_rate=false_alarm_rate, minimum_effect=minimum_effect, minimum_rows=minimum_rows
    )


def drift_of_counts(
    reference: Profile,
    now: Numbers,
    *,
    false_alarm_rate: float = 0.001,
    minimum_effect: float = 0.1,
    minimum_rows: int = 100,
) -> Drift:
    """As `drift`, for current rows that were counted into the reference's bins. now: counts as `Profile.count` gives them."""
    before = np.array([*reference.counts, reference.nulls])
    m, n = reference.rows, int(now.sum())
    nulls = int(now[-1])
    if reference.kind == "text":
        before, now = without_rare_levels(before, now)
    shift, degrees, weights = psi(before, now)
    statistic, freedom, weight = float(shift.sum()), int(degrees), float(weights)
    free, scale = _scattered(freedom, reference.design_effect)
    chance = scale * _chi_square_limit(false_alarm_rate, free) / weight if freedom else 0.0
    limit = max(minimum_effect, chance)
    if min(n, m) < minimum_rows:
        side = "current" if n < minimum_rows else "reference"
        verdict, reason = "no verdict", f"{min(n, m)} {side} rows, fewer than the {minimum_rows} a verdict takes"
    elif statistic > limit:
        worst = int(np.argmax(shift))
        moved = f"{100 * before[worst] / m:.3g} % of the reference, {100 * now[worst] / n:.3g} % now"
        verdict, reason = "drifted", f"PSI {statistic:.3g} over {limit:.3g}; {reference.bins()[worst]}: {moved}"
    elif not reference.comparable:
        verdict, reason = "no verdict", "the reference holds too few rows of each level, or too many levels, to compare"
    else:
        verdict, reason = "stable", f"PSI {statistic:.3g} within {limit:.3g}"
    return Drift(
        column=reference.column,
        statistic=statistic,
        limit=limit,
        p_value=_chi_square_tail(free, weight * statistic / scale),
        rows=n,
        null_share=nulls / n if n else 0.0,
        reference_null_share=reference.nulls / m if m else 0.0,
        verdict=verdict,
        reason=reason,
    )


def _scattered(freedom: int, design_effect: float) -> tuple[float, float]:
    """Degrees of freedom and scale of the chi-square that stands in for rows which scatter more than independent ones.

    Its mean is design_effect times that of independent rows. The more rows move together, the fewer directions there
    are to move in (Satterthwaite, 1946; Rao and Scott, 1981, second-order correction, with all of the excess taken to
    lie in the directions that are left): the same mean with a heavier tail.
    """
    free = max(1.0, freedom / design_effect)
    return free, design_effect * freedom / free if freedom else 1.0


@lru_cache(maxsize=4096)
def _chi_square_limit(false_alarm_rate: float, freedom: float) -> float:
    from scipy.special import chdtri

    return float(chdtri(freedom, false_alarm_rate))


def _chi_square_tail(freedom: float, value: float) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(freedom, value)) if freedom else 1.0
