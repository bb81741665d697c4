"""Holds a Lease of Kubernetes (coordination.k8s.io/v1), so that one of several processes works at a time.

As client-go does, nobody trusts another's clock: a Lease has expired when *we* have seen it unchanged for as
long as it says. And a holder that could not renew stops before others may think so (`LeaderLease.stop_by`).
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tidemill.errors import ClusterError
from tidemill.kubernetes.cluster_api import LEASES, ClusterApi

__all__ = ["LeaderLease"]

_RELEASED = 1
"""The duration that a holder writes who lets go after its work has ended, as client-go does."""
_log = logging.getLogger(__name__)


class LeaderLease:
    """One process's side of a Lease. `step` is called every `retry` seconds; other threads read the rest."""

    def __init__(
        self,
        api: ClusterApi,
        name: str,
        identity: str,
        *,
        seconds: float = 30.0,
        labels: dict[str, str] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take whose Lease it is; `step` begins.

        Args:
            api: of the namespace.
            name: of the Lease.
            identity: of this process, which no other one has or had.
            seconds: how long others must wait for one that died.
            labels: of the Lease, when it is made.
            monotonic: seconds that pass.
            now: for people who read the Lease; nothing is decided by it.
        """
        self.name, self.identity = name, identity
        self.retry = seconds / 10
        self.renew_within = seconds * 2 / 3
        self.grace = seconds / 6
        """How long work may take to end once the Lease could not be renewed."""
        self.term = 0
        """Counts how often the Lease was taken: work of an earlier term must not go on."""
        self._api, self._seconds, self._labels = api, math.ceil(seconds), labels or {}
        self._monotonic, self._now = monotonic, now
        self._lock = threading.Lock()
        self._until = self._work_from = -math.inf
        self._acquired: str | None = None
        self._seen: dict[str, Any] | None = None
        self._seen_at = -math.inf
        self._told = ""

    @property
    def may_work(self) -> bool:
        """Whether this process holds the Lease now, and nobody else can still be at work."""
        return self._work_from <= self._monotonic() < self._until

    @property
    def stop_by(self) -> float:
        """The moment, as ``monotonic`` counts, at which work must have ended at the latest."""
        return self._until + self.grace

    def step(self) -> None:
        """Take the Lease if it is free, renew it if it is ours; log what fails: the next tries again."""
        try:
            with self._lock:
                self._step()
        except ClusterError as error:
            self._tell(f"{error} ({error.hint})", logging.WARNING)

    def release(self) -> None:
        """Let go of the Lease, once the work has ended, so that the next one need not wait."""
        with self._lock:
            self._until = -math.inf
            if self._acquired is None:
                return
            try:
                lease = self._api.get(LEASES, self.name, seconds=self.renew_within)
                if lease is not None and self._is_ours(spec := lease.get("spec") or {}):
                    lease["spec"] = {**spec, "holderIdentity": "", "leaseDurationSeconds": _RELEASED}
                    self._api.replace(LEASES, self.name, lease, seconds=self.renew_within)
            except ClusterError as error:  # it expires by itself
                self._tell(f"the Lease {self.name} could not be released: {error}", logging.WARNING)
            self._acquired = None

    def _step(self) -> None:
        lease = self._api.get(LEASES, self.name, seconds=self.renew_within)
        if lease is None:
            self._lose("was deleted")
            # Nobody knows how long the holder of a Lease that was deleted goes on.
            self._write({}, None, wait=float(self._seconds))
            return
        spec = lease.get("spec") or {}
        if self._is_ours(spec):
            self._write(spec, lease, renews=self._until > -math.inf)
            return
        self._lose(f"is held by {spec.get('holderIdentity') or 'nobody'}")
        if spec != self._seen:
            self._seen, self._seen_at = spec, self._monotonic()
        duration = spec.get("leaseDurationSeconds") or self._seconds
        released = not spec.get("holderIdentity") and duration == _RELEASED
        if released or self._monotonic() - self._seen_at >= duration:
            self._write(spec, lease)
        else:
            self._tell(f"the Lease {self.name} is held by {spec.get('holderIdentity') or 'nobody'}")

    def _is_ours(self, spec: dict[str, Any]) -> bool:
        # Our name alone is not enough: somebody may have written it there while another one worked.
        mine = spec.get("holderIdentity") == self.identity
        return mine and self._acquired is not None and spec.get("acquireTime") == self._acquired

    def _write(
        self, before: dict[str, Any], lease: dict[str, Any] | None, *, renews: bool = False, wait: float = 0.0
    ) -> None:
        """Write that we hold it; that somebody else was faster is seen at the next step."""
        sent, now = self._monotonic(), self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        acquired = self._acquired if renews else now
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._seconds,
            "acquireTime": acquired,
            "renewTime": now,
            "leaseTransitions": (before.get("leaseTransitions") or 0) + (not renews and bool(before)),
        }
        if lease is None:
            about = {"name": self.name, "namespace": self._api.namespace, "labels": self._labels}
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": about, "spec": spec}
            done = self._api.create(LEASES, body, seconds=self.renew_within)
        else:
            done = self._api.replace(LEASES, self.name, {**lease, "spec": spec}, seconds=self.renew_within)
        if done is None:
            return
        if not renews:
            self._work_from, self._acquired = sent + wait, acquired
            self.term += 1
            _log.info("%s leads: it took the Lease %s", self.identity, self.name)
        self._until, self._told = sent + self.renew_within, ""

    def _lose(self, why: str) -> None:
        if self._acquired is not None:
            _log.warning("%s leads no longer: the Lease %s %s", self.identity, self.name, why)
        self._until, self._acquired = -math.inf, None

    def _tell(self, said: str, level: int = logging.INFO) -> None:
        if said != self._told:
            self._told = said
            _log.log(level, "%s", said)
