"""Watch which versions should answer, and swap the loaded versions without losing a request.

A version is loaded and tried out beside those that answer; then one reference is replaced. A request takes
the reference once, so those under way end with the versions they began with. What does not load, or does not
answer a trial row, is never put in: the others go on, and the records say why.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from tidemill.clock import Clock
from tidemill.errors import TidemillError
from tidemill.serving.routing.traffic_split import (
    DeployedVersion,
    DesiredState,
    Router,
    ServingVersions,
    router,
)
from tidemill.threads import BackgroundThread

if TYPE_CHECKING:
    from tidemill.serving.routing.loaded_version import LoadedModel

__all__ = ["DeployedStatus", "Status", "Watcher"]

_HEARTBEAT = 5.0
_HEARTBEAT_WITH_LANES = 1.0
"""Decisions about a deployment wait for what replicas report of it."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeployedStatus:
    """The state of a version beside the champion on one replica."""

    role: str
    version: str
    share: float
    loaded: bool
    error: str | None = None
    """Why it is not loaded; it is tried again, ever more rarely."""


@dataclass(frozen=True)
class Status:
    """The versions that a replica answers with, and those that it should."""

    version: str | None = None
    wanted: str | None = None
    """The version that the alias names."""
    error: str | None = None
    """Why ``wanted`` is not ``version``, or why the registry cannot be asked."""
    loaded_at: datetime | None = None
    lanes: tuple[DeployedStatus, ...] = ()
    """The versions beside the champion."""


@dataclass
class _Failure:
    message: str
    times: int
    skip: int
    """Looks to let pass before the next try."""


class Watcher:
    """Polls what is wanted in a thread of its own."""

    def __init__(
        self,
        read: Callable[[], DesiredState],
        load: "Callable[[str], LoadedModel]",
        report: Callable[[Status], None],
        clock: Clock,
        poll_seconds: float,
        route: "Callable[[LoadedModel], Router]" = lambda _model: router(None),
        leave: Callable[[], None] = lambda: None,
        standing: Callable[[], Collection[DeployedVersion]] | None = None,
    ) -> None:
        """Take the parts; nothing runs yet.

        Args:
            read: says which versions should answer.
            load: brings a version up and tries it out; called again and again for one that fails.
            report: is told of every change, and every few seconds that the replica lives.
            clock: wall-clock time.
            poll_seconds: between two looks.
            route: says how a request gets its routing key while a model is champion.
            leave: is called when the thread has ended, after which nothing is reported any more.
            standing: says what is beside the champion without the registry; asked while ``read`` fails.
        """
        self._read = read
        self._load = load
        self._report = report
        self._clock = clock
        self._route = route
        self._leave = leave
        self._standing = standing
        self._models: dict[str, LoadedModel] = {}
        self._failures: dict[str, _Failure] = {}
        self._current: ServingVersions | None = None
        self._status = Status()
        self._reported_at: datetime | None = None
        # A look that fails is in the log, and the next one is due: replicas must not stay behind for good.
        self._thread = BackgroundThread("watcher", self.refresh, every=poll_seconds)

    @property
    def status(self) -> Status:
        """What this replica answers with, and what it should."""
        return self._status

    def current(self) -> ServingVersions | None:
        """Return the versions that answer; None before the first."""
        return self._current

    def start(self) -> None:
        """Look once, so that a champion there is serves at once, then go on looking in the thread."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and leave."""
        self._thread.stop()
        try:
            self._leave()
        except Exception:  # noqa: BLE001 — as for a killed one, silence will tell
            _log.warning("the end of this replica could not be recorded", exc_info=True)

    def refresh(self) -> None:
        """Look at what is wanted once, and load what does not answer already."""
        try:
            wanted = self._read()
        except Exception as error:  # noqa: BLE001 — whatever is wrong with the registry, serving goes on
            self._apply_records(f"the registry cannot be asked: {_message(error)}")
            return
        versions = _versions(wanted)
        self._failures = {name: why for name, why in self._failures.items() if name in versions}
        self._apply(wanted)  # at once: shares that shrink or end must not wait for loading
        for version in versions:
            if version not in self._models and self._is_due(version) and self._load_and_try(version):
                self._apply(wanted)
        self._apply(wanted)
        self._drop(versions)

    def _apply_records(self, why: str) -> None:
        """Go on, but without what the records have ended: going back must not wait for the registry."""
        lanes = self._current.lanes if self._current is not None else ()
        if lanes and self._standing is not None:
            try:
                standing = {(lane.role, lane.version): lane for lane in self._standing()}
            except Exception as error:  # noqa: BLE001 — the records are away as well: all stays as it is
                _log.info("the records cannot say which deployments have ended: %s", _message(error))
            else:
                kept = [standing.get((lane.role, lane.version)) for lane, _ in lanes]
                self._apply(DesiredState(self._status.wanted, tuple(lane for lane in kept if lane)), why)
                return
        self._report_if_due(replace(self._status, error=why))

    def _is_due(self, version: str) -> bool:
        # A version that fails is tried again ever more rarely: 1, 2, 4 … 64 looks after the last time.
        failure = self._failures.get(version)
        if failure is None:
            return True
        failure.skip -= 1
        return failure.skip < 0

    def _load_and_try(self, version: str) -> bool:
        try:
            self._models[version] = self._load(version)
        except Exception as error:  # noqa: BLE001 — a model can fail in any way; the others stay
            times = self._failures[version].times + 1 if version in self._failures else 1
            self._failures[version] = _Failure(_message(error), times, min(2**times, 64))
            _log.exception("version %s cannot serve; %s goes on", version, self._status.version or "none")
            return False
        self._failures.pop(version, None)
        _log.info("version %s is loaded", version)
        return True

    def _apply(self, wanted: DesiredState, error: str | None = None) -> None:
        # Deleting the alias does not unload the model: serving ends when the stack ends.
        champion = self._models.get(wanted.champion or "")
        if champion is None and self._current is not None:
            champion = self._current.champion
        lanes = tuple(
            (lane, self._models[lane.version])
            for lane in wanted.lanes
            if lane.served and lane.version in self._models and champion is not None
            if lane.version != champion.version  # promoted a moment ago
        )
        if champion is not None:
            self._swap(ServingVersions(champion, lanes, self._route(champion)))
        failure = self._failures.get(wanted.champion or "")
        self._report_if_due(
            Status(
                version=champion.version if champion else None,
                wanted=wanted.champion,
                error=error or (failure.message if failure else None),
                loaded_at=champion.loaded_at if champion else None,
                lanes=tuple(self._lane_status(lane) for lane in wanted.lanes if lane.served),
            )
        )

    def _swap(self, serving: ServingVersions) -> None:
        if self._current is None or _described(self._current) != _described(serving):
            self._current = serving
            _log.info("now answering: %s", ", ".join(_described(serving)))

    def _lane_status(self, lane: DeployedVersion) -> DeployedStatus:
        failure = self._failures.get(lane.version)
        error = failure.message if failure else None
        return DeployedStatus(lane.role, lane.version, lane.share, lane.version in self._models, error)

    def _drop(self, versions: list[str]) -> None:
        kept = {*versions, self._current.champion.version if self._current else ""}
        self._models = {name: model for name, model in self._models.items() if name in kept}

    def _report_if_due(self, status: Status) -> None:
        now = self._clock.now()
        beat = _HEARTBEAT_WITH_LANES if status.lanes else _HEARTBEAT
        fresh = self._reported_at is not None and (now - self._reported_at).total_seconds() < beat
        if status == self._status and fresh:
            return
        self._status = status
        try:
            self._report(status)
            self._reported_at = now
        except Exception:  # noqa: BLE001 — the records being away must not end serving
            _log.warning("the replica's state could not be recorded", exc_info=True)


def _versions(wanted: DesiredState) -> list[str]:
    """Return what must be loaded, the champion first."""
    champion = [wanted.champion] if wanted.champion else []
    return list(dict.fromkeys([*champion, *(lane.version for lane in wanted.lanes if lane.served)]))


def _described(serving: ServingVersions) -> tuple[str, ...]:
    lanes = (f"{lane.role} {lane.version} ({lane.share:g} {lane.salt})" for lane, _ in serving.lanes)
    return (f"champion {serving.champion.version}", *lanes)


def _message(error: Exception) -> str:
    return str(error) if isinstance(error, TidemillError) else f"{type(error).__name__}: {error}"
