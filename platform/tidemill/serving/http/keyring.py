"""Keep a replica's API keys up to date, in a thread.

Keys are read from the records every two seconds: new, rotated and revoked keys take effect in that time on
every replica. While the records are down the keys read last stay valid, also across a restart: digests,
never keys, are kept in ``.tidemill/keys.json``, which only its owner may read.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tidemill.accounts.api_keys import active_keys, record_use
from tidemill.accounts.key_format import Key
from tidemill.clock import Clock
from tidemill.files.atomic import replace_file
from tidemill.serving.http.admission import Admission
from tidemill.serving.routing.replicas import live_replicas
from tidemill.state import State
from tidemill.threads import BackgroundThread

__all__ = ["Keyring"]

_POLL_SECONDS = 2.0
_RECORD_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Keyring:
    """Gives an `Admission` its keys, from a thread of its own."""

    def __init__(
        self,
        admission: Admission,
        state: State,
        model: str,
        file: Path,
        clock: Clock,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        """Take the parts; nothing is read yet.

        Args:
            admission: whose keys these are.
            state: the records.
            model: whose replicas share the traffic.
            file: where digests are kept for a start without the records.
            clock: wall-clock time.
            poll_seconds: between two looks.
        """
        self.problem: str | None = None
        """Why the records cannot be read; None if they can."""
        self._admission = admission
        self._state = state
        self._model = model
        self._file = file
        self._clock = clock
        self._known: tuple[tuple[Key, ...], int] | None = None
        self._recorded_at = clock.now().timestamp()
        self._thread = BackgroundThread("keyring", self.refresh, every=poll_seconds)

    def start(self) -> None:
        """Read the keys once, then go on in the thread."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and record which keys were used."""
        self._thread.stop()
        if self.problem is None:
            self._record(self._clock.now().timestamp())

    def refresh(self) -> None:
        """Read the keys once."""
        now = self._clock.now()
        try:
            keys, replicas = active_keys(self._state, now, self._model), self._replicas(now)
        except Exception as error:  # noqa: BLE001 — whatever is wrong with the records, requests go on
            self._go_on(error)
            return
        self.problem = None
        self._use(sorted(keys, key=lambda key: key.id), replicas)
        if now.timestamp() - self._recorded_at >= _RECORD_SECONDS:
            self._record(now.timestamp())

    def _use(self, keys: Sequence[Key], replicas: int) -> None:
        known = (tuple(keys), replicas)
        if known != self._known:
            self._admission.use(keys, replicas)
            self._known = known
            _write(self._file, keys)

    def _go_on(self, error: Exception) -> None:
        if self.problem is None:
            _log.warning("the records cannot be read, API keys stay as they are: %s", error)
        self.problem = f"the records cannot be read: {error}"
        if self._known is None:
            keys = _read(self._file)
            if keys is not None:
                self._known = (tuple(keys), 1)
                self._admission.use(keys)

    def _replicas(self, now: datetime) -> int:
        with self._state.transaction() as session:
            return max(len(live_replicas(session, self._model, now)), 1)

    def _record(self, now: float) -> None:
        used, self._admission.used = self._admission.used, {}
        self._recorded_at = now
        if not used:
            return
        try:
            record_use(self._state, _moments(used))
        except Exception:  # noqa: BLE001 — the records are away: it is recorded later
            _log.warning("the use of API keys could not be recorded yet", exc_info=True)
            self._admission.used = {**used, **self._admission.used}


def _moments(used: Mapping[str, float]) -> dict[str, datetime]:
    return {name: datetime.fromtimestamp(seconds, UTC) for name, seconds in used.items()}


def _write(file: Path, keys: Iterable[Key]) -> None:
    content = [
        {
            "id": key.id,
            "scopes": sorted(key.scopes),
            "digests": [[digest.hex(), until] for digest, until in key.digests],
            "expires": key.expires,
            "rate": key.rate,
        }
        for key in keys
    ]
    try:
        replace_file(file, json.dumps(content), mode=0o600, flush=False)
    except OSError as error:
        _log.warning("API keys could not be kept for a start without the records: %s", error)


def _read(file: Path) -> list[Key] | None:
    try:
        return [
            Key(
                id=row["id"],
                scopes=frozenset(row["scopes"]),
                digests=tuple((bytes.fromhex(digest), until) for digest, until in row["digests"]),
                expires=row["expires"],
                rate=row["rate"],
            )
            for row in json.loads(file.read_text())
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None
