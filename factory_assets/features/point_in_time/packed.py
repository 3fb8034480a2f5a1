"""How do a sum and a count share one pass over a window? As one sum of whole numbers: the total above, the count below.

Finding where a window of an event begins and ends costs more than adding up the values between, and the engine does it anew
for each aggregate. A decimal of twelve places is a whole number of 1e-12; that number times 2**32, plus one, is summed.
"""

#: Bits below the total, in which values are counted.
BITS = 32
#: A sum of absolute values up to this leaves all bits of the count alone: it is less than 2**127 / 2**BITS / 1e12.
LARGEST = 1e16


def _whole(value: str) -> str:
    """SQL of a DECIMAL(38, 12) as a whole number of 1e-12, by way of a double: of one with many digits not exact."""
    return f"TRY_CAST(round(CAST({value} AS DOUBLE) * 1e12) AS HUGEINT)"


def _decimal(whole: str) -> str:
    return f"(CAST({whole} AS DECIMAL(38, 0)) * CAST(0.000000000001 AS DECIMAL(13, 12)))"


def fits(value: str) -> str:
    """SQL, over all rows: whether what `total` and `number` give of any of them is exact."""
    exact = f"coalesce(bool_and({_decimal(_whole(value))} IS NOT DISTINCT FROM {value}), true)"
    small = f"coalesce(max(abs(CAST({value} AS DOUBLE))), 0) * count(*) < {LARGEST!r} AND count(*) < {2**BITS}"
    return f"({exact} AND {small})"


def packed(value: str) -> str:
    """SQL of the aggregate from which `total` and `number` are taken."""
    return f"sum({_whole(value)} * {2**BITS} + 1)"


def total(column: str) -> str:
    """SQL of sum(value)."""
    return _decimal(f"{column} >> {BITS}")


def number(column: str) -> str:
    """SQL of count(value)."""
    return f"coalesce(CAST({column} & {2**BITS - 1} AS BIGINT), 0)"
