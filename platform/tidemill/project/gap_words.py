"""The text that means a gap in a table, for stages, requests and batch scoring alike."""

from collections.abc import Collection

__all__ = ["GAPS", "GAPS_BESIDE_NUMBERS", "class_gaps", "is_gap", "text_gaps"]

GAPS = ("", "nan", "null", "#n/a", "n/a")
"""Text that means a gap anywhere, in lower case."""
GAPS_BESIDE_NUMBERS = (
    *GAPS, "na", "none", "?", "-", "--", ".", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!",
)  # fmt: skip
"""Text that means a gap among numbers, truth values and moments; among words NA may be Namibia."""
_GAPS_AMONG_CLASSES = (*GAPS, "na", "?", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!")
"""Text that means a gap in a label, or in a column whose categories are known: none, + and - are classes."""


def is_gap(text: str) -> bool:
    """Return whether text means a gap, whatever is in its column.

    >>> [is_gap(text) for text in ("N/A", " ", "NaN", "NA", "none")]
    [True, True, True, False, False]
    """
    return text.strip().lower() in GAPS


def class_gaps(classes: Collection[str]) -> tuple[str, ...]:
    """Return the text that means a gap in a label with these classes, in lower case.

    >>> "na" in class_gaps(["FEMALE", "MALE"]), "na" in class_gaps(["EU", "NA"])
    (True, False)
    """
    declared = {name.strip().lower() for name in classes}
    return tuple(word for word in _GAPS_AMONG_CLASSES if word not in declared)


def text_gaps(categories: Collection[str]) -> tuple[str, ...]:
    """Return the text that means a gap in a feature of text with these categories, in lower case.

    Where they are not known, as in a column of many words, NA may be one of them.

    >>> "na" in text_gaps(["north", "south"]), "na" in text_gaps(["EU", "NA"]), "na" in text_gaps([])
    (True, False, False)
    """
    return class_gaps(categories) if categories else GAPS
