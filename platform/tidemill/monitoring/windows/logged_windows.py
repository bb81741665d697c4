"""Finds the rows of the prediction log that a monitor looks at, and those that it compares them with."""

from datetime import datetime, timedelta
from pathlib import Path

from tidemill.clock import utc
from tidemill.monitoring.window_config import Against, LatestRows, Season, WindowLength
from tidemill.monitoring.windows.time_windows import Window, window_before
from tidemill.prediction_log.prediction_log import start_of_latest

__all__ = ["compared_window", "compared_with", "logged_window", "span_compared"]


def logged_window(root: Path, model: str, length: WindowLength, now: datetime) -> Window:
    """Return the window that ends at ``now``: of some time, or of the latest predictions.

    Args:
        root: the folder of the log, ``project.predictions``.
        model: name of the registered model.
        length: of the window. One of the latest predictions begins with the first of them; with those that
            are of the same moment it may have a few more. It is as long as the log if that has fewer.
        now: end of the window, event time.

    Raises:
        ServingError: the log cannot be read.
    """
    if isinstance(length, timedelta):
        return window_before(now, length)
    start = start_of_latest(root, model, length.rows, now)
    return Window(utc(now) if start is None else start, utc(now))


def compared_window(
    root: Path, model: str, length: WindowLength, against: Against, window: Window
) -> Window | None:
    """Return the window that drift is measured from; None where training rows are, or the two would overlap.

    Raises:
        ServingError: the log cannot be read.
    """
    if against == "previous" and isinstance(length, LatestRows):
        return logged_window(root, model, length, window.start)
    return span_compared(against, window)


def span_compared(against: Against, window: Window) -> Window | None:
    """Return the same as `compared_window`, for a window of time."""
    if isinstance(against, Season):
        before = window.earlier(against.season)
        return before if before.end <= window.start else None
    return window.earlier(window.end - window.start) if against == "previous" else None


def compared_with(against: Against) -> str:
    """Return in words what a monitor compares with.

    >>> compared_with("previous"), compared_with(Season(timedelta(days=7)))
    ('the window before', 'the same season, 7 days before')
    """
    if isinstance(against, Season):
        days = against.season / timedelta(days=1)
        return f"the same season, {days:g} day{'s' if days != 1 else ''} before"
    return "the window before" if against == "previous" else "training"
