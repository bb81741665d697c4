"""All operations of the prediction API, independent of HTTP; every transport and protocol calls this."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from tidemill.prediction_log.labels.label_matching import GivenLabel
from tidemill.serving.inference.batching import Batcher, Deliver
from tidemill.serving.inference.calls import Answer, Call
from tidemill.serving.inference.predictor import NoChampion, Predictor
from tidemill.serving.routing.traffic_split import ServingVersions
from tidemill.serving.routing.version_watcher import DeployedStatus, Status

__all__ = ["DataPlane", "ReplicaStatus"]

T = TypeVar("T")


@dataclass(frozen=True)
class ReplicaStatus:
    """The versions that one replica answers with, and those that it should."""

    model: str
    version: str | None
    """The version that answers."""
    wanted: str | None
    """The version that the alias names."""
    loaded_at: datetime | None
    error: str | None
    lanes: tuple[DeployedStatus, ...]
    replica: str
    degraded: Mapping[str, str]
    """Part of the platform that is down → why."""


class DataPlane:
    """Predicts, takes labels, and tells how the replica is. Its methods belong to the event loop's thread."""

    def __init__(
        self,
        predictor: Predictor[Any],
        batches: Batcher,
        pool: Executor,
        status: Callable[[], Status],
        degraded: Callable[[], Mapping[str, str]],
    ) -> None:
        """Take the parts.

        Args:
            predictor: answers calls, and logs labels.
            batches: brings calls to it.
            pool: where work is done that waits.
            status: returns which versions answer, and which should.
            degraded: returns which parts of the platform are down, and why.
        """
        self.model = predictor.model
        """Name of the registered model."""
        self.timeout_seconds = batches.timeout_seconds
        """How long a call may take, its body's way here included."""
        self._predictor = predictor
        self._batches = batches
        self._pool = pool
        self._status = status
        self._degraded = degraded

    def predict(self, call: Call, began: float) -> "asyncio.Future[Answer]":
        """Return a future of the answer to a call, as `Batcher.submit` does."""
        return self._batches.submit(call, began)

    def predict_for(self, call: Call, began: float, deliver: Deliver) -> None:
        """Answer a call as `predict` does; the answer, or why there is none, goes to ``deliver``."""
        self._batches.submit_to(call, began, deliver)

    async def label(self, labels: Sequence[GivenLabel]) -> int:
        """Put labels on disk, and return how many."""
        return await self.aside(self._predictor.label, labels)

    def serving(self) -> ServingVersions | None:
        """Return the versions that answer now; None before the first."""
        return self._predictor.serving()

    def require_ready(self) -> str:
        """Return the version of the champion.

        Raises:
            NoChampion: no version answers yet.
        """
        serving = self.serving()
        if serving is None:
            raise NoChampion(self._status().error or f"no version of {self.model} is champion yet")
        return serving.champion.version

    def status(self) -> ReplicaStatus:
        """Return which version answers, since when, which should, and what the replica does without."""
        now = self._status()
        return ReplicaStatus(
            model=self.model,
            version=now.version,
            wanted=now.wanted,
            loaded_at=now.loaded_at,
            error=now.error,
            lanes=now.lanes,
            replica=self._predictor.replica,
            degraded=self._degraded(),
        )

    async def aside(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do work in a thread, so that the event loop goes on."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
