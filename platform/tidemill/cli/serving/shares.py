"""Parses and formats shares of traffic for the command line."""

from tidemill.errors import UsageError

__all__ = ["as_percent", "read_share"]


def read_share(text: str) -> float:
    """Read a share of the traffic: a percentage, or a number up to 1.

    Raises:
        UsageError: it is neither.

    >>> read_share("10%"), read_share("0.25"), read_share("2.5 %")
    (0.1, 0.25, 0.025)
    """
    number = text.strip().removesuffix("%").strip()
    try:
        share = float(number) / 100 if text.strip().endswith("%") else float(number)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UsageError(f"{text!r} is not a share of the traffic", hint="write it like 10% or 0.1")
    return share


def as_percent(share: float) -> str:
    """Return a share as people read it.

    >>> as_percent(0.1), as_percent(0.015)
    ('10 %', '1.5 %')
    """
    return f"{share * 100:.4g} %"
