"""Refuses frames and sources that lack a column."""

from collections.abc import Iterable

from tidemill.errors import FeatureError

__all__ = ["refuse_missing"]


def refuse_missing(view: str, where: str, needed: Iterable[str], columns: Iterable[str]) -> None:
    """Make sure that ``columns`` has all that a feature view needs.

    Args:
        view: name of the feature view.
        where: whose columns they are, such as ``the entity frame``.
        needed: names of columns.
        columns: names of all the columns that there are.

    Raises:
        FeatureError: some are missing; the hint names those that there are.

    >>> refuse_missing("weather", "the entity frame", ["station"], ["statoin", "event_timestamp"])
    Traceback (most recent call last):
    tidemill.errors.FeatureError: feature view 'weather': the entity frame has no column 'station'
    """
    there = list(columns)
    absent = [column for column in needed if column not in there]
    if absent:
        raise FeatureError(
            f"feature view {view!r}: {where} has no column {', '.join(map(repr, absent))}",
            hint=f"there are: {', '.join(there)}",
        )
