"""Chooses how many digits a message needs so that the numbers it compares do not look equal."""

__all__ = ["digits_apart", "number"]

_MOST = 17
_POWERS = 1e15
"""From here on numbers are shown with powers of ten."""


def digits_apart(*pairs: tuple[float, float], least: int = 4) -> int:
    """Return the fewest digits after the point, at least ``least``, that tell the numbers of each pair apart.

    Equal numbers need no digits.

    >>> digits_apart((0.75, 0.7498)), digits_apart((0.75, 0.74999)), digits_apart((0.75, 0.75))
    (4, 5, 4)
    """
    for digits in range(least, _MOST):
        if all(one == other or f"{one:.{digits}f}" != f"{other:.{digits}f}" for one, other in pairs):
            return digits
    return _MOST


def number(value: float | None, digits: int = 3) -> str:
    """Return a number to so many significant digits.

    >>> number(0.73096), number(16220.0), number(None)
    ('0.731', '16,220', '–')
    >>> number(999.7), number(-24.341, 4), number(1.7976931348623157e308)
    ('1,000', '-24.34', '1.8e+308')
    """
    if value is None:
        return "–"
    if abs(value) >= _POWERS:
        return f"{value:.{digits}g}"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.{digits}g}"
