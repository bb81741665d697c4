"""The text that means a gap in a table, for stages, requests and batch scoring alike."""

__all__ = ["GAPS", "GAPS_BESIDE_NUMBERS", "is_gap"]

GAPS = ("", "nan", "null", "#n/a", "n/a")
"""Text that means a gap anywhere, in lower case."""
GAPS_BESIDE_NUMBERS = (
    *GAPS, "na", "none", "?", "-", "--", ".", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!",
)  # fmt: skip
"""Text that means a gap among numbers, truth values and moments; among words NA may be Namibia."""


def is_gap(text: str) -> bool:
    """Return whether text means a gap, whatever is in its column.

    >>> [is_gap(text) for text in ("N/A", " ", "NaN", "NA", "none")]
    [True, True, True, False, False]
    """
    return text.strip().lower() in GAPS
