"""Reads the metrics of running prediction APIs every few seconds, and keeps the last half hour in memory."""

import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import httpx

from tidemill.dashboard.live.metric_samples import ServingSample, parse_sample
from tidemill.settings import Secret
from tidemill.threads import BackgroundThread

__all__ = ["ServingWatch", "Watched"]

_EVERY = 5.0
_KEPT = 360
_MODELS = 100
_BYTES = 4_000_000


@dataclass
class Watched:
    """What is known of one prediction API."""

    url: str
    samples: deque[ServingSample] = field(default_factory=lambda: deque(maxlen=_KEPT))
    problem: str | None = None
    """Why the last reading failed."""


class ServingWatch:
    """Watches the prediction APIs of running stacks."""

    def __init__(self, key: Secret | None = None) -> None:
        """Take the API key that is sent along; `start` begins."""
        self._headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._watched: dict[str, Watched] = {}
        self._thread: BackgroundThread | None = None

    def start(self, addresses: Callable[[], Mapping[str, str]]) -> None:
        """Begin to look, every few seconds.

        Args:
            addresses: returns model → address of its prediction API, of those that run.
        """
        self._thread = BackgroundThread("serving watch", lambda: self.look(addresses()), every=_EVERY)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        if self._thread is not None:
            self._thread.stop()

    def of(self, model: str) -> Watched | None:
        """Return what is known of a model's API; None if none runs."""
        return self._watched.get(model)

    def samples(self, model: str) -> Sequence[ServingSample]:
        """Return the readings of a model's API, in order."""
        found = self._watched.get(model)
        return [] if found is None else list(found.samples)

    def look(self, addresses: Mapping[str, str], transport: httpx.BaseTransport | None = None) -> None:
        """Read the metrics of each API once."""
        known = self._watched
        chosen = dict(list(addresses.items())[:_MODELS])
        self._watched = {
            model: known[model] if model in known and known[model].url == url else Watched(url)
            for model, url in chosen.items()
        }
        with httpx.Client(
            trust_env=False, timeout=2.0, headers=self._headers, transport=transport, verify=_certificates()
        ) as client:
            for one in self._watched.values():
                _read(client, one)


@cache
def _certificates() -> ssl.SSLContext:
    """Read the certificates once: it takes 30 ms of processor time, and a look comes every few seconds."""
    return httpx.create_ssl_context(trust_env=False)


def _read(client: httpx.Client, one: Watched) -> None:
    try:
        answer = client.get(f"{one.url}/metrics")
    except httpx.HTTPError as error:
        one.problem = f"it does not answer ({type(error).__name__})"
        return
    if answer.status_code in (401, 403):
        one.problem = "its metrics need a key: set TIDEMILL_API_KEY to one with the scope metrics"
        return
    if not answer.is_success or len(answer.content) > _BYTES:
        one.problem = f"its metrics cannot be read: status {answer.status_code}"
        return
    try:
        one.samples.append(parse_sample(answer.text, time.time()))
        one.problem = None
    except ValueError as error:
        one.problem = f"its metrics cannot be read: {error}"
