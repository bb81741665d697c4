"""Writes a number with its noun in the right form."""

__all__ = ["counted"]


def counted(count: int, noun: str, nouns: str | None = None) -> str:
    """Return ``count`` with the noun: ``noun`` for one, else ``nouns``, which by default ends in ``s``.

    >>> counted(1, "label"), counted(2000, "label"), counted(0, "entry", "entries")
    ('1 label', '2,000 labels', '0 entries')
    """
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
