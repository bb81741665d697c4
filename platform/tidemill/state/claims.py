"""Lets one process at a time do some work, on whichever machine it runs: the records say which.

A claim is a row that is taken in a transaction, and expires unless its holder renews it. On one machine a
lock file tells at once that a holder was killed, so its claim is taken over without waiting for that. A
holder that stood still for so long that another process has taken over learns it from `HeldClaim.check`, in
the transaction of its result, which then is not written.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tidemill.errors import StateError, TidemillError
from tidemill.files.locks import holder_words, is_locked, locked, this_process
from tidemill.ids import new_id
from tidemill.state.store import State
from tidemill.state.tables import Claim, UtcDateTime
from tidemill.threads import BackgroundThread

__all__ = ["EXPIRES_AFTER", "HeldClaim", "claimed", "is_claimed"]

EXPIRES_AFTER = timedelta(seconds=90)
_RENEW_SECONDS = 15.0
_PAUSE_SECONDS = 0.2
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldClaim:
    """A claim of this process."""

    state: State
    model: str
    work: str
    id: str
    busy: Callable[[str], Exception]

    def check(self, session: Session) -> None:
        """Renew the claim in the transaction that records what was done; raise if another process has it."""
        row = session.get(Claim, (self.model, self.work))
        if row is None or row.id != self.id:
            raise self.busy("another process, since then" if row is None else holder_words(row.holder))
        row.until = _now(session) + EXPIRES_AFTER

    def renew(self) -> None:
        """Renew the claim. Where the records are away, the next call tries it again."""
        try:
            with self.state.transaction() as session:
                self.check(session)
        except TidemillError as error:  # they are away, or another process has it: `check` says so
            _log.warning("the claim of %s of %s is not renewed: %s", self.work, self.model, error)

    def release(self) -> None:
        """Give the claim back. Where the records are away, it expires."""
        try:
            with self.state.transaction() as session:
                row = session.get(Claim, (self.model, self.work))
                if row is not None and row.id == self.id:
                    session.delete(row)
        except StateError as error:
            _log.warning("the claim of %s of %s is left to expire: %s", self.work, self.model, error)


@contextmanager
def claimed(
    state: State,
    lock: Path,
    model: str,
    work: str,
    busy: Callable[[str], Exception],
    wait_seconds: float = 0.0,
) -> Iterator[HeldClaim]:
    """Claim some work on a model for the length of the block.

    Args:
        state: the records that all machines share.
        lock: the file that processes of this machine lock.
        model: whose work it is.
        work: which.
        busy: makes the error to raise from a text about the process that does it.
        wait_seconds: how long to wait for that process.

    Raises:
        Exception: another process still does it; made by ``busy``.
        StateError: the records are away.
    """
    process, until = os.getpid(), time.monotonic() + wait_seconds
    with locked(lock, busy=busy, wait_seconds=wait_seconds):
        claim = _take(state, lock, model, work, busy)
        while isinstance(claim, str):
            if time.monotonic() >= until:
                raise busy(claim)
            time.sleep(_PAUSE_SECONDS)
            claim = _take(state, lock, model, work, busy)
        renewal = BackgroundThread(f"claim of {work}", claim.renew, every=_RENEW_SECONDS)
        renewal.start()
        try:
            yield claim
        finally:
            if os.getpid() == process:  # no forked child gives it back
                renewal.stop()
                claim.release()


def is_claimed(state: State, lock: Path, model: str, work: str) -> bool:
    """Return whether a process does some work, here or elsewhere. Arguments as of `claimed`."""
    if is_locked(lock):
        return True
    with state.transaction() as session:
        row = session.get(Claim, (model, work))
        return row is not None and _is_held(row, _place(lock), _now(session))


def _take(
    state: State, lock: Path, model: str, work: str, busy: Callable[[str], Exception]
) -> HeldClaim | str:
    """Write the claim, or return who has it; the lock of this machine must be held."""
    with state.transaction() as session:
        now, place = _now(session), _place(lock)
        row = session.get(Claim, (model, work))
        if row is not None and _is_held(row, place, now):
            return holder_words(row.holder)
        claim = HeldClaim(state, model, work, new_id("claim"), busy)
        facts = {"id": claim.id, "place": place, "holder": this_process(), "until": now + EXPIRES_AFTER}
        session.merge(Claim(model=model, work=work, **facts))
    return claim


def _is_held(row: Claim, place: str, now: datetime) -> bool:
    # One of this place is of a process that has died: it held the lock. One that ends later than any claim
    # can was written before the clock went back.
    return row.place != place and now < row.until <= now + EXPIRES_AFTER


def _place(lock: Path) -> str:
    boot = _BOOT.read_text(encoding="ascii").strip() if _BOOT.exists() else ""
    return f"{os.uname().nodename}:{boot}:{lock.resolve()}"


def _now(session: Session) -> datetime:
    """Return the time by the clock that all who share the records see."""
    if session.get_bind().dialect.name == "sqlite":
        return datetime.now(UTC)
    return session.scalars(select(func.clock_timestamp(type_=UtcDateTime))).one()
