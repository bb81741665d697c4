"""Reads the audit log: entries that meet a filter, all of them in order, and the state of the chain."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tidemill.accounts.auditing.audit_chain import FIRST, Head, entry_facts, verify_chain
from tidemill.errors import AuditError
from tidemill.state.record_reader import Records, Row

__all__ = ["AuditFilter", "all_entries", "anchor", "head", "latest_entries", "parse_head", "verify_log"]

_CHUNK = 5000


@dataclass(frozen=True)
class AuditFilter:
    """Which entries are wanted; None does not choose."""

    since: datetime | None = None
    until: datetime | None = None
    """Entries from then on are left out."""
    actor: str | None = None
    action: str | None = None
    models: Sequence[str] | None = None
    """Entries about one of these; None: also those of the whole installation."""

    def condition(self) -> tuple[str, list[object]]:
        """Return an SQL condition on all but the models, and its values.

        >>> AuditFilter(actor="ada", action="promote").condition()
        ('actor = ? AND action = ?', ['ada', 'promote'])
        """
        chosen = (
            ("actor = ?", self.actor),
            ("action = ?", self.action),
            ("at >= ?", self.since),
            ("at < ?", self.until),
        )
        parts = [(sql, value) for sql, value in chosen if value is not None]
        return " AND ".join(sql for sql, _ in parts) or "1 = 1", [value for _, value in parts]


def latest_entries(records: Records, wanted: AuditFilter, limit: int, before: int | None = None) -> list[Row]:
    """Return entries, the latest first.

    Args:
        records: the records.
        wanted: which entries.
        limit: at most so many.
        before: only entries that come later in this list than the one with this seq.
    """
    condition, values = wanted.condition()
    if before is not None:
        last = records.select("audit_entries", "seq = ?", before, order="seq")
        if not last:
            return []
        condition, values = f"{condition} AND (at, seq) < (?, ?)", [*values, last[0].at, before]
    order = "at DESC, seq DESC"
    if wanted.models is None:
        return records.select("audit_entries", condition, *values, order=order, limit=limit)
    # A query for each model, because an index gives each in order: one for all would sort them.
    found = [
        row
        for model in wanted.models
        for row in records.select(
            "audit_entries", f"model = ? AND {condition}", model, *values, order=order, limit=limit
        )
    ]
    return sorted(found, key=lambda row: (row.at, row.seq), reverse=True)[:limit]


def all_entries(records: Records, wanted: AuditFilter, after: int = 0) -> Iterator[Row]:
    """Yield entries in order of the chain, reading a few thousand at a time."""
    condition, values = wanted.condition()
    if wanted.models is not None:
        marks = ", ".join("?" * len(wanted.models)) or "NULL"
        condition, values = f"{condition} AND model IN ({marks})", [*values, *wanted.models]
    while True:
        rows = records.select(
            "audit_entries", f"seq > ? AND {condition}", after, *values, order="seq", limit=_CHUNK
        )
        yield from rows
        if len(rows) < _CHUNK:
            return
        after = rows[-1].seq


def anchor(records: Records) -> Head:
    """Return the last entry that retention removed; `FIRST` if it removed none."""
    found = records.select("audit_anchors", "1 = 1", order="seq DESC", limit=1)
    return Head(found[0].seq, found[0].hash) if found else FIRST


def head(records: Records) -> Head:
    """Return the last entry."""
    found = records.select("audit_entries", "1 = 1", order="seq DESC", limit=1)
    return Head(found[0].seq, found[0].hash) if found else anchor(records)


def parse_head(text: str) -> Head:
    """Read what ``tidemill audit head`` prints: a number, a colon, a hash; line breaks in it do not matter.

    Raises:
        ValueError: it is something else.

    >>> parse_head("2:" + "a" * 50 + " " + "a" * 14).seq
    2
    """
    number, _, hashed = "".join(text.split()).partition(":")
    if not (number.isascii() and number.isdigit() and len(hashed) == 64):
        raise ValueError(
            f"{text!r} is not what `tidemill audit head` prints: a number, a colon, 64 characters"
        )
    return Head(int(number), hashed)


def verify_log(records: Records, witness: Head | None = None) -> Head:
    """Check the whole chain, and return its last entry.

    Args:
        records: the records.
        witness: what the last entry was at some time: it must still be there. Without it, nobody notices
            that the end of the log was cut off.

    Raises:
        AuditError: names the first entry that is wrong.
    """
    start = anchor(records)
    confirmed = start.seq == 0
    seen: str | None = None

    def watched() -> Iterator[Row]:
        nonlocal confirmed, seen
        for row in all_entries(records, AuditFilter(), start.seq):
            yield row  # checked before it is believed
            if witness is not None and row.seq == witness.seq:
                seen = row.hash
            if not confirmed and row.action == "prune":
                confirmed = entry_facts(row)["details"].get("until") == str(start)

    last = verify_chain(watched(), start)
    if not confirmed:
        raise AuditError(
            f"the audit log begins after entry {start.seq}, but no entry says that those before were removed",
            hint="restore the records from a backup that verifies, and find out who wrote to the database",
        )
    if witness is not None:
        _check_witness(witness, start, seen)
    return last


def _check_witness(witness: Head, start: Head, seen: str | None) -> None:
    if witness == start or seen == witness.hash:
        return
    if witness.seq < start.seq:
        raise AuditError(
            f"entry {witness.seq} was removed by retention: it cannot be compared any more",
            hint="keep the output of `tidemill audit head` newer than the log's retention",
        )
    if seen is None and witness.seq > start.seq:
        what = f"the audit log ends before entry {witness.seq}, which was its last once: its end was cut off"
    else:
        what = (
            f"entry {witness.seq} of the audit log is not the one that was its last once: it was written anew"
        )
    raise AuditError(
        what, hint="restore the records from a backup that verifies, and find out who wrote to the database"
    )
