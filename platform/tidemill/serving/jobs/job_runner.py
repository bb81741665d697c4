"""Run one job, a chunk at a time, so that an answered chunk is never scored or logged again.

A chunk goes through four steps: it is scored; what goes into the log and what is answered is put on disk
(prepared); the log gets it; the answers are put in their place and the record says how far the job is. If a
worker dies, the next one finds the prepared chunk, adds to the log what the log lacks, and goes on.
"""

import errno
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from pydantic import TypeAdapter

from tidemill.clock import Clock
from tidemill.errors import FeatureError, RegistryError, ServingError, TidemillError, WrongKey
from tidemill.plurals import counted
from tidemill.prediction_log.log_records import PredictionRecord
from tidemill.prediction_log.writing.log_writer import LogHealth
from tidemill.serving.inference.application import Application
from tidemill.serving.inference.calls import Answer, Call, Prediction, Refused
from tidemill.serving.inference.predictor import Compose, NoChampion, Predictor
from tidemill.serving.jobs import job_records
from tidemill.serving.jobs.job_files import JobFiles
from tidemill.serving.routing.loaded_version import LoadedModel
from tidemill.serving.routing.traffic_split import ServingVersions
from tidemill.state import State
from tidemill.state.tables import Job

__all__ = ["JobRunner", "Log", "Progress", "shown"]

_NO_FEATURES = "fallback:features"
_AWAY = (NoChampion, FeatureError, RegistryError)
_AWAY_WAIT = timedelta(seconds=30)
_FULL_DISK_SECONDS = 0.5
_log = logging.getLogger(__name__)


class Log(Protocol):
    """The end of the prediction log that a worker needs: `log_writer.PredictionLog`."""

    def append(self, records: Sequence[PredictionRecord]) -> bool:
        """Write predictions; return whether they are on disk."""

    def health(self) -> LogHealth:
        """Report what waits for the disk."""


@dataclass
class Progress:
    """A worker's current work, for its sweeper. Times are of `time.monotonic`."""

    job_id: str | None = None
    """The job under way."""
    rows: str = ""
    since: float = 0.0
    """When the chunk under way began."""


@dataclass(frozen=True)
class JobRunner:
    """Runs the jobs of one model in a worker."""

    state: State
    application: Application[Any]
    model: str
    """Name of the registered model."""
    champion: Callable[[], str | None]
    """Returns the version that is champion now."""
    load: Callable[[str], LoadedModel]
    """Brings a version up."""
    log: Log
    logged: Callable[[datetime, Sequence[str]], set[str]]
    """Returns those of some prediction ids, of one moment, that the log has."""
    files: Callable[[str], JobFiles]
    worker: str
    clock: Clock
    retries: job_records.Retries
    keep: timedelta
    """How long a job waits for what it needs: a champion, the registry, the online store, a disk."""
    chunk_rows: int
    compose: Compose | None = None
    """As of `tidemill.serving.inference.predictor.Predictor`."""
    stopping: Callable[[], bool] = lambda: False
    """Asked before each chunk: whether the worker is to stop."""
    progress: Progress = field(default_factory=Progress)
    _loaded: dict[str, LoadedModel] = field(default_factory=dict, repr=False)

    def run(self, job_id: str) -> None:
        """Run a job if it is queued and due, until it ends or fails; errors are recorded."""
        files = self.files(job_id)
        with files.lock() as mine:
            if not mine:
                return
            job = job_records.claim(self.state, job_id, self.worker, self.clock.now())
            if job is None:
                return
            _log.info("job %s: attempt %d from row %d on", job.id, job.attempts, job.rows_done)
            try:
                self._run(job, files)
            except Exception as error:  # noqa: BLE001 — whatever a job brings about, the worker goes on
                self._failed(job, files, error)
            finally:
                self.progress.job_id = None

    def _run(self, job: Job, files: JobFiles) -> None:
        model = self._model(job)
        first, version = job.rows_done, model.version
        going_on = job_records.advance(self.state, job.id, first, version)
        chunks = files.chunks(first, self.chunk_rows)
        while first < job.rows:
            if not going_on:
                return self._end(job, files, "cancelled")
            if self.stopping():
                return job_records.postpone(self.state, job.id, self.clock.now())
            instances = next(chunks, [])
            if not instances:
                raise ServingError(
                    f"the job has {counted(job.rows, 'row')}, but its file ends at row {first}"
                )
            self._watched(job, first, first + len(instances))
            answered = self._chunk(job, files, model, first, instances)
            first += answered
            if answered != len(instances):  # prepared when serve.jobs.chunk_rows was another
                chunks = files.chunks(first, self.chunk_rows)
            going_on = job_records.advance(self.state, job.id, first, version)
        return self._end(job, files, "done")

    def _chunk(self, job: Job, files: JobFiles, model: LoadedModel, first: int, instances: list[Any]) -> int:
        """Answer the rows from ``first`` on; return how many."""
        prepared = files.prepared(first)
        if prepared is None:
            made, answers = self._scored(job, model, instances, first)
            files.prepare(first, made, answers)
        else:
            made, answers = [_record(values) for values in prepared[0]], prepared[1]
            there = self.logged(job.at, [record.prediction_id for record in made])
            made = [record for record in made if record.prediction_id not in there]
        self._write(job, made)
        files.write_chunk(first, answers)
        return len(answers)

    def _write(self, job: Job, made: list[PredictionRecord]) -> None:
        """Write all of ``made`` to the log; wait while the disk is full."""
        while made and not self.log.append(made):
            while self.log.health().waiting:
                time.sleep(_FULL_DISK_SECONDS)
                self.progress.since = time.monotonic()  # it is not the chunk that takes that long
            there = self.logged(job.at, [record.prediction_id for record in made])
            made = [record for record in made if record.prediction_id not in there]

    def _scored(
        self, job: Job, model: LoadedModel, instances: list[Any], first: int
    ) -> tuple[list[PredictionRecord], list[dict[str, Any]]]:
        held = _BufferedLog()
        predictor = Predictor(
            application=self.application,
            model=self.model,
            serving=lambda: ServingVersions(model),
            log=held,  # type: ignore[arg-type]
            replica=self.worker,
            clock=self.clock,
            compose=self.compose,
        )
        requests = TypeAdapter(list[self.application.request]).validate_python(instances)  # type: ignore[name-defined]
        call = Call(requests, at=job.at, test=job.test, request_id=job.id, caller=job.caller or None)
        (answer,) = predictor.answer([call])
        if not isinstance(answer, Answer):
            raise _of_job(answer, first)
        if any(_NO_FEATURES in prediction.flags for prediction in answer.predictions):
            raise FeatureError("the online store does not answer; the job waits for it")
        return held.records, [shown(prediction) for prediction in answer.predictions]

    def _model(self, job: Job) -> LoadedModel:
        """Return the version that answers the job: the champion when it began, until it ends."""
        version = job.version or self.champion()
        if version is None:
            raise NoChampion(
                f"no version of {self.model} is champion yet", hint="`tidemill run --promote` makes one"
            )
        if version not in self._loaded:
            model = self.load(version)
            while len(self._loaded) > 1:  # the one before may still be wanted, older ones hardly
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[version] = model
        return self._loaded[version]

    def _watched(self, job: Job, first: int, end: int) -> None:
        self.progress.job_id, self.progress.rows = job.id, f"{first} to {end - 1}"
        self.progress.since = time.monotonic()

    def _end(self, job: Job, files: JobFiles, status: str) -> None:
        job_records.finish(self.state, job.id, status, self.clock.now())
        files.drop_input()
        _log.info("job %s is %s", job.id, status)

    def _failed(self, job: Job, files: JobFiles, error: Exception) -> None:
        said = (
            str(error) if isinstance(error, TidemillError | Refused) else f"{type(error).__name__}: {error}"
        )
        where = f" (rows {self.progress.rows})" if self.progress.job_id else ""
        _log.error("job %s: %s%s", job.id, said, where, exc_info=error)
        now = self.clock.now()
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        away = isinstance(error, _AWAY) and not isinstance(error, WrongKey)
        if (full or away) and now - job.requested_at < self.keep:
            job_records.postpone(self.state, job.id, now + _AWAY_WAIT, said)
            return
        again = not isinstance(error, Refused | WrongKey)  # by its own input, which stays as it is
        after = job_records.fail(self.state, job.id, said + where, self.retries, now, again=again)
        if after is not None and after.status == "cancelled":
            files.drop_input()


class _BufferedLog:
    """Takes the place of the log: what a chunk logs is prepared first."""

    def __init__(self) -> None:
        self.records: list[PredictionRecord] = []

    def append(self, records: Sequence[PredictionRecord]) -> bool:
        self.records.extend(records)
        return True


def _of_job(error: Exception, first: int) -> Exception:
    """Return an error about rows of a chunk as one about rows of the job; ``first`` is that of the chunk.

    >>> from tidemill.serving.inference.calls import Failure
    >>> problem = {"loc": ["body", "instances", 3, "wind"], "msg": "Input should not be missing"}
    >>> str(_of_job(Refused(Failure("malformed", [problem])), 500))
    'row 503, wind: Input should not be missing'
    """
    if isinstance(error, Refused) and isinstance(error.failure.detail, list):
        for problem in error.failure.detail:
            if len(problem["loc"]) > 2 and isinstance(problem["loc"][2], int):
                problem["loc"][2] += first
    return error


def shown(prediction: Prediction) -> dict[str, Any]:
    """Return what a job's result says about one instance: the same as ``POST /predict`` does."""
    return {
        "prediction_id": prediction.prediction_id,
        "model_version": prediction.version,
        **prediction.task.shown(prediction.answer),
        "decision": dict(prediction.decision),
        "flags": list(prediction.flags),
    }


def _record(values: Mapping[str, Any]) -> PredictionRecord:
    """Return a record that was prepared before, as it was.

    >>> noon = "2013-04-01T12:00:00+00:00"
    >>> _record({"prediction_id": "p", "model": "m", "version": "3", "at": noon, "served_at": noon,
    ...          "replica": "r", "instance": {}, "features": {}, "score": 0.5, "decision": {},
    ...          "flags": ["missing:weather"]}).at.hour
    12
    """
    moments = {name: datetime.fromisoformat(values[name]) for name in ("at", "served_at")}
    return PredictionRecord(**{**values, **moments, "flags": tuple(values["flags"])})
