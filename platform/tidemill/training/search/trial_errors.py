"""Reads what Ray Tune left of a trial that failed."""

import re
from pathlib import Path

__all__ = ["process_died", "read_error", "why"]

_FULL = "killed due to the node running low on memory"
_DIED = (
    "worker process has died", "its owner has died", "its node has died", "local raylet died",
    "may or may not have been executed on the actor", _FULL,
)  # fmt: skip
"""Of an actor Ray says what it may have executed where all of Ray is about to be gone."""
_MEMORY = re.compile(_FULL + r".*?was ([\d.]+)GB used / ([\d.]+)GB limit", re.DOTALL)
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_OURS = re.compile(r"^tidemill\.errors\.\w+: ")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Warning|Stop\w*)(:|$)")


def read_error(error_file: str | None) -> str:
    """Return the traceback, without colours; nothing where Ray left none."""
    try:
        return _COLOUR.sub("", Path(error_file or "").read_text())
    except OSError:
        return ""


def process_died(text: str) -> bool:
    """Return whether a trial's process died, or all of Ray did, instead of raising an error.

    >>> process_died("ray.exceptions.ActorDiedError: The actor is dead because its owner has died.")
    True
    >>> process_died("RPC error. The task may or may not have been executed on the actor.")
    True
    """
    return any(said in text for said in _DIED)


def why(text: str) -> str:
    """Return the line of a traceback that says what was raised.

    >>> why("Traceback (most recent call last):\\n  File 'a.py'\\nValueError: too many\\n\\n  details")
    'ValueError: too many'
    >>> why(f"1 worker(s) were {_FULL}. Memory on the node (IP: ::1) was 22.87GB used / 23.54GB limit (0.97)")
    'out of memory: Ray ended its process, as 22.87 of 23.54 GB were in use; see docs/search.md'
    """
    if (full := _MEMORY.search(text)) is not None:
        used, most = full.groups()
        return f"out of memory: Ray ended its process, as {used} of {most} GB were in use; see docs/search.md"
    if process_died(text):
        return "its process died: killed, out of memory, or crashed in native code"
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    raised = [line for line in lines if _RAISED.match(line)]
    return _OURS.sub("", (raised or [line.strip() for line in lines] or ["unknown: Ray left no error"])[-1])
