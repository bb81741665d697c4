"""Writes a number with its noun, and the verb that goes with it, in the right form."""

from collections.abc import Sequence
from datetime import timedelta

__all__ = ["agreeing", "counted", "said_days", "some_of"]


def counted(count: int, noun: str, nouns: str | None = None) -> str:
    """Return ``count`` with the noun: ``noun`` for one, else ``nouns``, which by default ends in ``s``.

    >>> counted(1, "label"), counted(2000, "label"), counted(0, "entry", "entries")
    ('1 label', '2,000 labels', '0 entries')
    """
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def agreeing(count: float, one: str, several: str) -> str:
    """Return the form of a word that goes with ``count``.

    >>> [f"{counted(n, 'row')} {agreeing(n, 'was', 'were')} rejected" for n in (1, 2)]
    ['1 row was rejected', '2 rows were rejected']
    """
    return one if count == 1 else several


def said_days(time: timedelta) -> str:
    """Return a length of time in days; a shorter one in hours, minutes or seconds; with one decimal at most.

    >>> said_days(timedelta(days=1)), said_days(timedelta(hours=36)), said_days(timedelta(minutes=90))
    ('1 day', '1.5 days', '1.5 hours')
    >>> said_days(timedelta(minutes=1)), said_days(timedelta(seconds=45))
    ('1 minute', '45 seconds')
    >>> said_days(timedelta(days=3, hours=20))
    '3.8 days'
    """
    seconds = time.total_seconds()
    units = (86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")
    length, name = next((each for each in units if seconds >= each[0]), units[-1])
    many = round(seconds / length, 1)
    return f"{many:g} {agreeing(many, name, name + 's')}"


def some_of(names: Sequence[str], most: int = 12) -> str:
    """Return names for a message: the first ones, and how many there are.

    >>> some_of(["a", "b"]), some_of(["a", "b", "c"], most=2)
    ('a, b', 'a, b … (3)')
    """
    return ", ".join(names[:most]) + (f" … ({len(names):,})" if len(names) > most else "")
