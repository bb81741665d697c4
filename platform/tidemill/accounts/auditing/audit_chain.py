"""The hash chain of the audit log: each entry's hash covers the one before, so that no change goes unseen."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from tidemill.errors import AuditError

__all__ = ["COLUMNS", "FIRST", "VERSION", "Head", "canonical", "digest", "entry_facts", "verify_chain"]

VERSION: Final = 1
"""Of the form that is hashed; an entry says by which it was."""
COLUMNS: Final = (
    "version",
    "seq",
    "at",
    "actor",
    "actor_kind",
    "model",
    "action",
    "resource",
    "resource_id",
    "reason",
    "details",
    "address",
    "prev_hash",
)
"""All that a hash covers."""


@dataclass(frozen=True)
class Head:
    """An entry by its number and its hash: the last one of a chain, or the last one before it."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


FIRST: Final = Head(0, "0" * 64)
"""Stands before the first entry."""
_MEND = "restore the records from a backup that verifies, and find out who wrote to the database"


def canonical(value: Mapping[str, Any]) -> str:
    """Return JSON in the one form that is hashed: keys in order, no spaces, ASCII.

    >>> canonical({"to": "2", "from": None, "café": 1.5})
    '{"caf\\\\u00e9":1.5,"from":null,"to":"2"}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def entry_facts(row: Any) -> dict[str, Any]:
    """Return what an entry says, as it is hashed and exported: ``details`` as an object, ``at`` in UTC.

    Args:
        row: the record, with a column for each of `COLUMNS`.

    Raises:
        ValueError: its details are not JSON.
    """
    facts = {name: getattr(row, name) for name in COLUMNS}
    moment = row.at.astimezone(UTC).isoformat(timespec="microseconds")
    return {**facts, "at": moment, "details": json.loads(row.details)}


def digest(facts: Mapping[str, Any]) -> str:
    """Return the hash of an entry, in hexadecimal.

    Args:
        facts: as of `entry_facts`.

    >>> digest({"seq": 1})[:8]
    'b41e95c4'
    """
    return hashlib.sha256(canonical(facts).encode("ascii")).hexdigest()


def verify_chain(rows: Iterable[Any], after: Head) -> Head:
    """Check entries, and return the last one. Takes them one by one, so that memory does not grow.

    Args:
        rows: the entries after ``after``, in order.
        after: the entry before them.

    Raises:
        AuditError: says which entry is the first that is wrong, and in what.
    """
    for row in rows:
        if row.seq != after.seq + 1:
            raise AuditError(
                f"the audit log is broken at entry {after.seq + 1}: it is missing, entry {row.seq} follows",
                hint=_MEND,
            )
        wrong = _wrong(row, after)
        if wrong is not None:
            raise AuditError(f"the audit log is broken at entry {row.seq}: {wrong}", hint=_MEND)
        after = Head(row.seq, row.hash)
    return after


def _wrong(row: Any, after: Head) -> str | None:
    """Return what is wrong with an entry; None if nothing is."""
    if row.prev_hash != after.hash:
        return f"it does not continue entry {after.seq}"
    if row.version != VERSION:
        return f"it is of form {row.version}, which this version of Tidemill does not know"
    try:
        facts = entry_facts(row)
    except ValueError:
        return "its details are not JSON"
    if canonical(facts["details"]) != row.details or digest(facts) != row.hash:
        return "it was changed after it was written"
    return None
