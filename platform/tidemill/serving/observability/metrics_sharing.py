"""Share metrics between the replicas of a node, by files that all of them read.

Prometheus reaches the node through one port and whichever replica happens to answer; it must not get another
replica's counters each time. Layout: ``<home>/metrics/<host>/<replica>.json``, replaced whole (rename). A
replica that has not written for some seconds is gone, and so are its series; of its file only the counts of
requests are kept (``<replica>.ended``), which monitors read.
"""

import logging
import re
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from tidemill.files.atomic import replace_file
from tidemill.serving.observability.metrics_families import Buckets, Family
from tidemill.threads import BackgroundThread

__all__ = ["ENDED", "REQUESTS", "SILENCE", "SharedMetrics"]

_EVERY = 1.0  # seconds between two writes
SILENCE = 10.0
"""Seconds after which a replica that has not written is gone."""
ENDED = ".ended"
"""End of the names of files of replicas that have ended."""
REQUESTS = ("tidemill_requests", "tidemill_request_errors")
"""The families that are kept of them."""
_MOST_ENDED = 200
_log = logging.getLogger(__name__)


class SharedMetrics:
    """The shared folder in which the replicas of a node publish their metrics to each other."""

    def __init__(self, home: Path, replica: str) -> None:
        """Take the project's ``.tidemill`` and this replica's name; nothing is written yet."""
        self._folder = home / "metrics" / _file_name(socket.gethostname())
        self._path = self._folder / f"{_file_name(replica)}.json"
        self._thread: BackgroundThread | None = None
        self._own: Callable[[], Iterable[Family]] = tuple

    def start(self, own: Callable[[], Iterable[Family]]) -> None:
        """Write what ``own`` returns, and again every second in a thread."""
        self._own = own
        self._write(own())
        self._thread = BackgroundThread("metrics", lambda: self._write(own()), every=_EVERY)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and leave of this replica's file what it has counted up to now."""
        if self._thread is not None:
            self._thread.stop()
            self._write(self._own())
            _end(self._path)

    def others(self) -> list[Family]:
        """Return what the other replicas wrote last, and forget those that are gone."""
        families: list[Family] = []
        try:
            files = sorted(self._folder.glob("*.json"))
        except OSError:
            return families
        for file in files:
            if file == self._path:
                continue
            try:
                if time.time() - file.stat().st_mtime > SILENCE:
                    _end(file)
                    continue
                families += map(_family, orjson.loads(file.read_bytes()))
            except (OSError, ValueError, KeyError, TypeError):
                continue  # just removed, or written by another version
        return families

    def _write(self, families: Iterable[Family]) -> None:
        try:
            replace_file(self._path, orjson.dumps(list(families)), flush=False)
        except OSError as error:  # a full disk must not end serving, nor fill the log
            _log.debug("the metrics cannot be shared: %s", error)


def _end(file: Path) -> None:
    """Put the counts of requests of a replica that has ended in place of its file, the latest replicas'."""
    try:
        kept = [each for each in orjson.loads(file.read_bytes()) if each["name"] in REQUESTS]
        replace_file(file.with_suffix(ENDED), orjson.dumps(kept), flush=False)
        ended = sorted(file.parent.glob(f"*{ENDED}"), key=lambda each: each.stat().st_mtime)
        for old in ended[:-_MOST_ENDED]:
            old.unlink(missing_ok=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.debug("what %s has counted is lost: %s", file.stem, error)
    with suppress(OSError):
        file.unlink(missing_ok=True)


def _family(content: dict[str, Any]) -> Family:
    samples = tuple(
        (tuple(labels), _buckets(value) if isinstance(value, dict) else float(value))
        for labels, value in content["samples"]
    )
    return Family(content["name"], content["kind"], content["help"], tuple(content["labels"]), samples)


def _buckets(content: dict[str, Any]) -> Buckets:
    return Buckets(tuple(content["bounds"]), tuple(content["counts"]), float(content["total"]))


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]", "_", text) or "_"
