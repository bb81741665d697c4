"""Detects columns that look personal, from their names and samples of their values."""

import re

import polars as pl

__all__ = ["looks_personal"]

_NAMED = {
    "names of persons": r"(first|last|full|given|family|middle|maiden|sur|user|customer|person|patient|"
    r"passenger|employee|contact)[ _-]?name|^name$|surname|vorname|nachname",
    "e-mail addresses": r"e[ _-]?mail",
    "phone numbers": r"phone|mobile|cell[ _-]?number|(^|[ _-])(tel|fax)([ _-]|$)",
    "dates of birth": r"birth|(^|[ _-])dob([ _-]|$)",
    "postal addresses": r"street|(home|postal|billing|shipping)[ _-]?address|^address$",
    "numbers of persons": r"(^|[ _-])(ssn|passport|iban)([ _-]|$)|social[ _-]?security|tax[ _-]?id",
    "network addresses": r"(^|[ _-])ip([ _-]?addr(ess)?)?$",
}
_VALUED = {
    "e-mail addresses": r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$",
    "phone numbers": r"^(\+|00|\()[0-9][0-9 ()./-]{6,18}$|^[0-9]{2,4}[ /.-][0-9]{2,4}([ .-][0-9]{2,5}){1,3}$",
    "names of persons": r"^\p{Lu}\p{Ll}+([ -]\p{Lu}(\p{Ll}+|\.)){0,2},? \p{Lu}\p{Ll}+$",
    "network addresses": r"^([0-9]{1,3}\.){3}[0-9]{1,3}$",
}
_DATE = r"^[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|^[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{4}$"
_SHARE = 0.6
_DISTINCT_NAMES = 0.1


def looks_personal(name: str, values: pl.Series) -> str | None:
    """Return the kind of personal data that the column seems to contain, or None.

    Args:
        name: of the column.
        values: a sample of it, of any type.

    >>> looks_personal("contact", pl.Series(["ada@example.org", "alan@example.org"]))
    'e-mail addresses'
    >>> looks_personal("carrier", pl.Series(["UA", "B6"]))
    """
    for kind, pattern in _NAMED.items():
        if re.search(pattern, name, re.IGNORECASE):
            return kind
    values = values.alias("")  # Polars takes names such as ^a$ for patterns
    texts = values.drop_nulls() if values.dtype == pl.String else pl.Series([], dtype=pl.String)
    if texts.is_empty():
        return None
    for kind, pattern in _VALUED.items():
        fitting = texts.str.contains(pattern) & ~texts.str.contains(_DATE)
        if fitting.mean() >= _SHARE and (kind != "names of persons" or _many(texts)):  # type: ignore[operator]
            return kind
    return None


def _many(texts: pl.Series) -> bool:
    """Return whether values vary as much as names of people; a few recurring values are names of things."""
    return texts.n_unique() > max(2, _DISTINCT_NAMES * len(texts))
