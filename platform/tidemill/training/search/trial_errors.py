"""Reads what Ray Tune left of a trial that failed."""

import re
from pathlib import Path

__all__ = ["process_died", "read_error", "why"]

_DIED = ("worker process has died", "its owner has died", "its node has died")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Warning|Stop\w*)(:|$)")


def read_error(error_file: str | None) -> str:
    """Return the traceback; nothing where Ray left none."""
    try:
        return Path(error_file or "").read_text()
    except OSError:
        return ""


def process_died(text: str) -> bool:
    """Return whether a trial's process died, or all of Ray did, instead of raising an error.

    >>> process_died("ray.exceptions.ActorDiedError: The actor is dead because its owner has died.")
    True
    """
    return any(said in text for said in _DIED)


def why(text: str) -> str:
    """Return the line of a traceback that says what was raised.

    >>> why("Traceback (most recent call last):\\n  File 'a.py'\\nValueError: too many\\n\\n  details")
    'ValueError: too many'
    """
    if process_died(text):
        return "its process died: killed, out of memory, or crashed in native code"
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    raised = [line for line in lines if _RAISED.match(line)]
    return (raised or [line.strip() for line in lines] or ["unknown: Ray left no error"])[-1]
