"""What versions have answered in one rollout or deployment: replicas' counts go on from one to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tidemill.state.record_reader import Row

__all__ = ["Counted", "counted"]


@dataclass(frozen=True)
class Counted:
    """What all replicas counted for a version in one role."""

    role: str
    version: str
    answered: int
    failed: int
    dropped: int
    error: str | None


def counted(
    rows: Sequence[Row], start: Mapping[str, Any], end: Mapping[str, Any] | None = None
) -> list[Counted]:
    """Return what was counted between two moments, by role and version; nothing of who did nothing.

    Args:
        rows: of the replicas, those that changed first come first.
        start: the replicas' counts when it began, as its record has them.
        end: those of the rollout after it; None: until now.

    >>> row = Row(role="canary", version="7", answered=9, failed=1, dropped=0, error="ValueError: no")
    >>> counted([row], {"canary 7": {"answered": 5, "failed": 1}})
    [Counted(role='canary', version='7', answered=4, failed=0, dropped=0, error=None)]
    """
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.role, row.version), []).append(row)
    made = [_between(key, each, start, end) for key, each in sorted(found.items())]
    return [one for one in made if one.answered or one.failed or one.dropped]


def _between(
    key: tuple[str, str], rows: Sequence[Row], start: Mapping[str, Any], end: Mapping[str, Any] | None
) -> Counted:
    name = " ".join(key)
    before, after = start.get(name, {}), {} if end is None else end.get(name, {})

    def spent(what: str) -> int:
        last: int = sum(getattr(row, what) for row in rows) if end is None else after.get(what, 0)
        return max(last - int(before.get(what) or 0), 0)

    failed = spent("failed")
    dropped = max(sum(row.dropped for row in rows) - int(before.get("dropped") or 0), 0)
    error = next((row.error for row in reversed(rows) if row.error), None) if failed else None
    return Counted(*key, spent("answered"), failed, dropped, error)
