"""Chooses how many digits a message needs so that the numbers it compares do not look equal."""

__all__ = ["digits_apart"]

_MOST = 17


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
