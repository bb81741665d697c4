"""Find out who a request is from by its token or its session; else it is anybody here, or nobody yet."""

import base64
import binascii
import logging
import threading
from collections.abc import Callable
from datetime import datetime

from starlette.requests import HTTPConnection

from tidemill.accounts.account_records import find_session, find_token
from tidemill.accounts.api_keys import record_use
from tidemill.accounts.key_format import KEY_PREFIX
from tidemill.accounts.login_sessions import keep_alive
from tidemill.dashboard.door.identification import Identified, OpenIdentification
from tidemill.dashboard.door.session_cookies import session_secret
from tidemill.dashboard.installation import Installation
from tidemill.errors import StateError
from tidemill.threads import BackgroundThread

__all__ = ["AccountIdentification"]

_WAIT_SECONDS = 0.1
_log = logging.getLogger(__name__)


class AccountIdentification:
    """Looks at a token first, which a program sends on purpose, then at the session of a browser."""

    def __init__(self, installation: Installation, *, open_here: bool) -> None:
        """Take the parts.

        Args:
            installation: whose users and tokens these are.
            open_here: whether who sends neither is let in all the same, as anybody on this machine.
        """
        self._installation = installation
        self._open = open_here
        self._visitors = OpenIdentification()
        self._writing = threading.Lock()

    def identify(self, request: HTTPConnection) -> Identified:
        """Return who it is from.

        Raises:
            TidemillError: the records cannot be read.
        """
        now = self._installation.clock.now()
        sent = _token(request)
        if sent is not None:
            return self._by_token(sent, now)
        secret = session_secret(request)
        found = find_session(self._installation.records, secret, now) if secret else None
        if found is not None:
            if found.stale:
                self._write(lambda: keep_alive(self._installation.state, found.digest, now))
            return Identified(found.identity, found.csrf, session=found.id)
        visitor = self._visitors.identify(request)
        return visitor if self._open else Identified(None, visitor.csrf, visitor.set_cookie)

    def _by_token(self, sent: bytes, now: datetime) -> Identified:
        found = find_token(self._installation.records, sent, now)
        if found is None:
            return Identified(None, None)
        if found.stale:
            self._write(lambda: record_use(self._installation.state, {found.id: now}))
        return Identified(found.identity, None)

    def _write(self, write: Callable[[], None]) -> None:
        """Record a use beside the request, which was let in by what could be read.

        Where the records are locked nobody waits for it; the next request tries again.
        """
        if not self._writing.acquire(blocking=False):
            return
        done = threading.Event()

        def record() -> None:
            try:
                write()
            except StateError as error:
                _log.warning("a use could not be recorded: %s", error)
            finally:
                self._writing.release()
                done.set()

        BackgroundThread("record a use", record).start()
        done.wait(_WAIT_SECONDS)


def _token(request: HTTPConnection) -> bytes | None:
    """Return the token that was sent, as a Bearer or as the password of HTTP Basic."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    sent = value.strip().encode("latin-1", "replace")
    if kind.lower() == "basic":
        try:
            user, _, password = base64.b64decode(sent, validate=True).partition(b":")
        except binascii.Error:
            return None
        sent = password or user
    elif kind.lower() != "bearer":
        return None
    return sent if sent.startswith(KEY_PREFIX) else None
