"""How often Python looks for garbage in processes of Tidemill's own."""

import atexit
import gc
import sys

__all__ = ["collect_rarely"]


def collect_rarely() -> None:
    """Let Python look for garbage less often than by default; call it before engines are imported.

    While engines are imported, hardly any of a million new objects is garbage: to look through them again and
    again takes a quarter of the time. So does looking through them at the end of the process, whose memory is
    given back as a whole: there they are left aside.

    >>> import gc
    >>> before = gc.get_threshold()
    >>> collect_rarely()
    >>> gc.get_threshold()
    (50000, 10, 10)
    >>> gc.set_threshold(*before)
    """
    gc.set_threshold(50_000, 10, 10)
    atexit.register(_leave_aside)  # before engines register anything: it is called after what they did


def _leave_aside() -> None:
    """Leave all objects aside, unless DuckDB was loaded: it prints a page about what is not given back."""
    if "_duckdb" not in sys.modules:
        gc.freeze()
