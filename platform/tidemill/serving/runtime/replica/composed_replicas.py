"""Run a composition: the replica asks the parts, which answer from their own processes.

What is asked of parts runs on an event loop in a thread of its own, as batches are answered in threads: the
replica's loop goes on taking requests meanwhile.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.clock import SystemClock
from tidemill.errors import ConfigError, ServingError
from tidemill.features.request_features import FeatureRow
from tidemill.project import Project
from tidemill.serving.inference.application import Application
from tidemill.serving.inference.composition import (
    AskPart,
    Composition,
    CompositionRequest,
    Part,
    PartFailed,
    Scores,
)
from tidemill.serving.inference.row_scoring import ModelFailed, Row
from tidemill.serving.routing.loaded_version import LoadedModel
from tidemill.serving.routing.traffic_split import DesiredState
from tidemill.serving.routing.version_watcher import Watcher
from tidemill.serving.runtime.replica.process_start import APPLICATION, OPTIONS, start_process
from tidemill.settings import Settings
from tidemill.tasks.task import Task
from tidemill.threads import BackgroundThread

__all__ = ["Composer", "PartReplica", "composer", "deployed_parts", "part_deployments"]

_log = logging.getLogger(__name__)


class Composer:
    """Composes the scores of answers. Threads may share it, but not the event loop's own."""

    def __init__(self, composition: Composition, ask: AskPart, timeout_seconds: float) -> None:
        """Take the parts, and start the thread.

        Args:
            composition: what the project declares.
            ask: asks a part; called on the composer's own event loop.
            timeout_seconds: how long all of it may take.
        """
        self._composition = composition
        self._ask = ask
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.new_event_loop()
        BackgroundThread("composer", self._loop.run_forever).start()

    def __call__(
        self, rows: list[Row], features: Sequence[FeatureRow], scores: Sequence[float]
    ) -> tuple[list[Row], list[float]]:
        """Return the rows with the flags of what took part, and the probability of each.

        Raises:
            ServingError: a part did not answer, and the composition does not do without.
            ModelFailed: the composition failed, or gave something that is not a probability.
        """
        other = {name for row in rows for name in (*row.model.scorer.words, *row.model.scorer.lists)}
        numbers = tuple(name for name in features[0].values if name not in other)
        request = CompositionRequest(
            own=np.asarray(scores, dtype=np.float64),
            features=np.array([[row.values[name] for name in numbers] for row in features], dtype=np.float64),
            columns=numbers,
            instances=[row.instance for row in rows],
            part=self._ask,
        )
        made = self._made(request)
        flagged = [
            row._replace(flags=(*row.flags, *dict.fromkeys(flags)))
            for row, flags in zip(rows, request.flags, strict=True)
        ]
        return flagged, made

    def _made(self, request: CompositionRequest) -> list[float]:
        work = asyncio.run_coroutine_threadsafe(self._within(request), self._loop)
        try:
            made = [float(score) for score in work.result()]
        except (ServingError, TimeoutError) as error:
            raise PartFailed(
                f"the composition gave no answer: {str(error) or 'it ran out of time'}",
                hint="GET /model and the logs of the parts say more; a composition may catch PartFailed",
            ) from error
        except Exception as error:  # a project's own code can fail in any way
            raise ModelFailed(f"the composition failed: {error!r}") from error
        if len(made) != len(request.own) or not all(0 <= score <= 1 for score in made):  # NaN is neither
            raise ModelFailed(f"the composition gave {made[:3]} … for {len(request.own)} rows")
        return made

    async def _within(self, request: CompositionRequest) -> Scores:
        async with asyncio.timeout(self._timeout_seconds):
            return await self._composition.score(request)


def composer(application: Application[Any], task: Task, timeout_seconds: float) -> Composer | None:
    """Return what composes an application's probabilities; None if its model answers alone.

    Raises:
        ConfigError: the project's task is not binary.
    """
    composition = application.composition
    if composition is None:
        return None
    if not task.is_probability:
        raise ConfigError(
            f"the application composes probabilities, but project.task is {task.kind}",
            hint="leave out `composition`, or set project.task: binary in params.yaml",
        )
    return Composer(composition, deployed_parts(composition), timeout_seconds)


class PartReplica:
    """One process of a part: it follows the alias, and scores what it is given."""

    def __init__(self, root: str, settings: Settings, name: str, part: Part) -> None:
        """Load the version that the alias names, if there is one, and go on following it."""
        project = start_process(root, settings)
        self._name, self._part = name, part
        self._watcher = Watcher(
            read=lambda: DesiredState(_version(project, part)),
            load=lambda version: _load(project, part, version),
            report=lambda status: None,
            clock=SystemClock(),
            poll_seconds=project.config.serve.poll_seconds,
        )
        self._watcher.start()

    async def score(
        self, matrix: npt.NDArray[np.float64], columns: tuple[str, ...]
    ) -> tuple[str, Scores] | str:
        """Return the version that answers and its scores, or why there are none."""
        serving = self._watcher.current()
        if serving is None:
            return self._watcher.status.error or f"{self._part.model} has no {self._part.alias}"
        scorer = serving.champion.scorer
        missing = [column for column in scorer.features if column not in columns]
        if missing:
            return (
                f"version {serving.champion.version} wants columns that are not given: {', '.join(missing)}"
            )
        try:
            return serving.champion.version, scorer.score(
                matrix[:, [columns.index(c) for c in scorer.features]]
            )
        except Exception as error:  # noqa: BLE001 — a model can fail in any way
            _log.exception("version %s cannot score this", serving.champion.version)
            return f"version {serving.champion.version} cannot score this: {error!r}"


def part_deployments(root: Path, settings: Settings, composition: Composition | None) -> dict[str, Any]:
    """Return the parts as Ray Serve applications, to be bound into the one that asks them."""
    from ray import serve

    parts = {} if composition is None else composition.parts
    return {
        name: serve.deployment(
            PartReplica,
            name=f"part-{name}",
            num_replicas=part.replicas,
            max_ongoing_requests=1024,
            graceful_shutdown_timeout_s=5,
            **OPTIONS,
        ).bind(str(root), settings, name, part)
        for name, part in parts.items()
    }


def deployed_parts(composition: Composition) -> AskPart:
    """Return what asks the parts by Ray Serve's handles, from any process of the stack."""
    handles: dict[str, Any] = {}

    async def ask(name: str, matrix: npt.NDArray[np.float64], columns: tuple[str, ...]) -> tuple[str, Scores]:
        if name not in composition.parts:
            raise PartFailed(f"the composition has no part {name!r}, only {', '.join(composition.parts)}")
        if name not in handles:
            from ray import serve

            handles[name] = serve.get_deployment_handle(f"part-{name}", APPLICATION)
        try:
            said = await handles[name].score.remote(matrix, columns)
        except Exception as error:  # Ray's errors have no common root
            raise PartFailed(f"part {name!r} does not answer: {error!r}") from error
        if isinstance(said, str):
            raise PartFailed(f"part {name!r} does not answer: {said}")
        version, scores = said
        return version, np.asarray(scores)

    return ask


class _NoFeatures:
    """A part reads no features: it is given them."""

    features: tuple[tuple[str, str], ...] = ()
    keys: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    truths: frozenset[str] = frozenset()
    gaps: Mapping[str, Any] = MappingProxyType({})

    def read(self, rows: Sequence[Mapping[str, object]], at: Sequence[object]) -> list[FeatureRow]:
        return []


def _version(project: Project, part: Part) -> str:
    from tidemill.registry.versions.model_versions import get_version  # importing MLflow takes seconds

    return get_version(project, part.alias, part.model).version


def _load(project: Project, part: Part, version: str) -> LoadedModel:
    from tidemill.registry.versions.model_versions import load_scorer  # importing MLflow takes seconds

    scorer = load_scorer(project, version, part.model)
    if not scorer.task.is_probability or scorer.words:
        why = f"predicts {scorer.task.kind}" if not scorer.task.is_probability else "takes text"
        raise ServingError(
            f"version {version} of {part.model} {why}: a part of a composition takes numbers and gives a "
            "probability",
            hint="compose binary models without text features",
        )
    scorer.score(np.zeros((1, len(scorer.features))))
    return LoadedModel(version, scorer, _NoFeatures(), SystemClock().now())
