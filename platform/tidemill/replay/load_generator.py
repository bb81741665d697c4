"""Sends steady test traffic in the background, to measure requests while the model is swapped."""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np

from tidemill.serving.http.client import PredictionClient
from tidemill.threads import BackgroundThread

__all__ = ["LoadGenerator", "LoadReport"]


@dataclass(frozen=True)
class LoadReport:
    """The results of the traffic."""

    sent: int
    failed: int
    versions: Mapping[str, int]
    """Number of answers by model version."""
    p50_milliseconds: float | None
    p99_milliseconds: float | None
    seconds: float
    errors: tuple[str, ...]
    """The first few errors."""


class LoadGenerator:
    """Closed-loop clients that send test traffic until they are stopped."""

    def __init__(
        self,
        url: str,
        instances: Sequence[Mapping[str, Any]],
        at: datetime,
        clients: int,
        pause: float = 0.002,
    ) -> None:
        self._client = PredictionClient(url, connections=clients)
        self._instances = instances
        self._at = at
        self._pause = pause
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._milliseconds: list[float] = []
        self._versions: Counter[str] = Counter()
        self._errors: list[str] = []
        self._threads = [
            BackgroundThread(f"load-{number}", partial(self._ask, number, clients), stopping=self._stop)
            for number in range(clients)
        ]
        self._began = time.perf_counter()

    def start(self) -> None:
        """Start the clients."""
        self._began = time.perf_counter()
        for thread in self._threads:
            thread.start()

    def stop(self) -> LoadReport:
        """Stop the clients, and return the results."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._client.close()
        spent = self._milliseconds
        return LoadReport(
            sent=len(spent) + len(self._errors),
            failed=len(self._errors),
            versions=dict(sorted(self._versions.items())),
            p50_milliseconds=float(np.percentile(spent, 50)) if spent else None,
            p99_milliseconds=float(np.percentile(spent, 99)) if spent else None,
            seconds=time.perf_counter() - self._began,
            errors=tuple(self._errors[:5]),
        )

    def _ask(self, number: int, stride: int) -> None:
        turn = number
        while not self._stop.wait(self._pause):
            instance = self._instances[turn % len(self._instances)]
            turn += stride
            began = time.perf_counter()
            try:
                answer = self._client.predict([instance], at=self._at, test=True)
            except Exception as error:  # noqa: BLE001 — whatever it is, the request was not answered
                with self._lock:
                    self._errors.append(f"{type(error).__name__}: {error}")
                continue
            with self._lock:
                self._milliseconds.append((time.perf_counter() - began) * 1000)
                self._versions[answer.predictions[0].model_version] += 1
