"""Record every trial of a search as an MLflow run, from the driver: a dying trial could not do it."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag
from ray.tune import Callback

from tidemill.project.train_config import TrainConfig
from tidemill.training.model_spec import Schedule
from tidemill.training.search.search_budget import Progress, SearchProgress, SearchSpent
from tidemill.training.search.search_journal import JournalOfSearch
from tidemill.training.search.trial import AGAIN, CPU_SECONDS, GPU_SECONDS, HISTORY, SCHEDULE
from tidemill.training.search.trial_checkpoints import keep_checkpoint
from tidemill.training.search.trial_errors import process_died, read_error, why
from tidemill.training.tracking.mlflow_tracking import END, ERROR, PARENT, ROLE, TURN, shortened, shown_params
from tidemill.training.tracking.run_files import write_file
from tidemill.training.tracking.training_result import schedule_words

__all__ = ["SearchInterrupted", "TrialLog", "TrialRecord"]

_FLUSH_SECONDS = 1.0
_LOOK_SECONDS = 0.5
_TELL_SECONDS = 1.0  # between what is told of rounds
_ENDS = {"FINISHED": "all rounds", "KILLED": "stopped early", "FAILED": "failed"}


class SearchInterrupted(Exception):
    """Ends a search from within, so that Ray Tune stops its workers."""


@dataclass
class TrialRecord:
    """The result of one trial."""

    number: int
    family: str
    params: Mapping[str, Any]
    rounds: int
    """Its number of rounds if it is not stopped early."""
    run_id: str
    history: list[dict[str, float]] = field(default_factory=list)
    """Validation metrics of each round."""
    error: str | None = None
    waiting: list[Metric] = field(default_factory=list, repr=False)
    flushed_at: float = field(default_factory=time.monotonic, repr=False)
    introduced: bool = False
    """Whether its parameters are on record."""
    cpu_seconds: float = 0.0
    """CPU time of the rounds."""
    gpu_seconds: float = 0.0
    """Time of GPUs that the rounds held."""
    status: str = ""
    """FINISHED, KILLED (stopped early) or FAILED, once it has ended."""
    died: int = 0
    """How often its process died."""
    again: int = 0
    """Rounds that a process which was killed had made, and after which it went on."""
    schedule: Schedule = ()
    """Its parameters by the round from which on they hold, where they change."""
    spent_before: tuple[float, float] = (0.0, 0.0)
    """CPU and GPU seconds that it had spent when it went on last."""

    def follow(self, result: Mapping[str, Any]) -> None:
        """Take over what a round of population-based training was made of."""
        self.history = [dict(one) for one in result[HISTORY]]
        self.schedule = tuple((start, params) for start, params in result[SCHEDULE])
        self.cpu_seconds += self.spent_before[0]
        self.gpu_seconds += self.spent_before[1]

    def best(self, metric: str) -> tuple[float, int] | None:
        """Return its best value and the round of that (from 1); None before the first round."""
        values = [(row[metric], -number) for number, row in enumerate(self.history, 1)]
        if not values:
            return None
        value, number = max(values)
        return value, -number


class TrialLog(Callback):  # type: ignore[misc]
    """A callback of Ray Tune: one child run a trial, its parameters, metrics a round, and how it ended.

    All of that is in the journal too, if there is one. A trial whose process died begins again, once:
    from its checkpoint, where there is one.
    """

    def __init__(
        self,
        client: MlflowClient,
        experiment: str,
        parent: str,
        turn_id: str,
        config: TrainConfig,
        metrics: tuple[str, ...],
        on_progress: Progress | None,
        journal: JournalOfSearch | None = None,
    ) -> None:
        self._client, self._experiment, self.parent = client, experiment, parent
        self._tags = {PARENT: parent, TURN: turn_id, ROLE: "trial"}
        self._config, self._metric, self._on_progress = config, config.metric, on_progress
        self._metrics, self._ended = metrics, list[TrialRecord]()
        self._began, self._taken_up = time.monotonic(), 0
        self._begun_again = list[int]()
        self._looked_at, self._told_at, self._first_began = 0.0, 0.0, False
        self.journal, self.total = journal, config.trials
        self.points: Callable[[str, Mapping[str, Any]], Any] = lambda family, params: None
        """Says where parameters lie in a family's space, for the journal."""
        self.asked: str | None = None
        """What somebody asked the search for: ``stop`` or ``finish``."""
        self.interrupted = False
        """Set it from anywhere to end the search after the present step."""
        self.records: dict[int, TrialRecord] = {}
        """Trials by number."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave all out: Ray pickles callbacks, but no other process goes on from that."""
        return {}

    @property
    def seconds(self) -> float:
        """How long the search has taken, in all its processes."""
        return self.journal.seconds if self.journal is not None else time.monotonic() - self._began

    @property
    def spent(self) -> SearchSpent:
        """What the search has used."""
        values = tuple(best[0] if (best := one.best(self._metric)) else None for one in self._ended)
        return SearchSpent(self.seconds, sum(one.cpu_seconds for one in self.records.values()), values)

    def restore(self, records: Iterable[TrialRecord]) -> None:
        """Take the trials that ended in an earlier process, in the order in which they did."""
        for record in records:
            self.records[record.number] = record
            self._ended.append(record)
        self._taken_up = len(self._ended)
        if self._taken_up:
            self._tell_progress()

    def take_begun_again(self) -> list[int]:
        """Return the numbers of trials that are to begin again, and forget them."""
        found, self._begun_again = self._begun_again, []
        return found

    def values_of(self, record: TrialRecord) -> tuple[float, ...] | None:
        """Return what a trial gave in its best round, by each of the metrics that matter; None: it failed."""
        best = record.best(self._metric)
        if best is None or record.error is not None:
            return None
        names = self._config.metrics or (self._metric,)
        return tuple(record.history[best[1] - 1][name] for name in names)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """End the search if asked to; Ray Tune calls this several times a second."""
        if self.journal is not None and time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self.asked, self._looked_at = self.journal.asked_to_stop(), time.monotonic()
        if self.interrupted or self.asked == "stop":
            raise SearchInterrupted

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Open the trial's run."""
        if not self._first_began:  # what came before was Ray's start, which no later trial waits for
            self._first_began, self._began = True, time.monotonic()
        record = self._record(trial)
        record.spent_before = record.cpu_seconds, record.gpu_seconds

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Note a round's metrics; they are written to MLflow at most once a second."""
        if self._metric not in result:
            return
        record, now = self._record(trial), int(time.time() * 1000)
        values = {name: float(result[name]) for name in self._metrics if name in result}
        record.history.append(values)
        record.again += bool(result.get(AGAIN))
        record.cpu_seconds = float(result.get(CPU_SECONDS, 0.0))
        record.gpu_seconds = float(result.get(GPU_SECONDS, 0.0))
        if HISTORY in result:
            record.follow(result)
        if self.journal is not None:
            self.journal.add_round(record.number, values, record.cpu_seconds, record.gpu_seconds)
        record.waiting += _as_metrics(values, now, len(record.history))
        if time.monotonic() - record.flushed_at > _FLUSH_SECONDS:
            self._flush(record, {})
        if time.monotonic() - self._told_at > _TELL_SECONDS:
            self._tell_progress()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the trial's run: FINISHED after all rounds, KILLED if the scheduler stopped it early."""
        record = self._record(trial)
        status = "KILLED" if len(record.history) < record.rounds else "FINISHED"
        self._end(record, status, _ENDS[status] + _gone_on(record))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the trial's run: FAILED, with its error, and the whole of it in a file of the run."""
        record = self._record(trial)
        text = read_error(trial.error_file)
        if process_died(text) and not record.died and self._config.scheduler != "pbt":
            record.died, record.again = 1, 0
            if self.journal is not None:
                keep_checkpoint(Path(trial.path), self.journal.folder)
            record.history.clear()
            record.waiting.clear()
            self._begun_again.append(record.number)
            self._note_begin(record)  # else the journal would count its rounds twice
            return
        record.error = why(text)
        if text:
            write_file(self._client, record.run_id, ERROR, text.encode())
        self._end(record, "FAILED", record.error)

    def end_unfinished(self, why: str) -> None:
        """End the runs of the trials that the end of the search stopped."""
        for record in self.records.values():
            if not record.status:
                self._end(record, "KILLED", why)

    def write_again(self, record: TrialRecord) -> None:
        """Write to MLflow what a killed process had written to the journal alone."""
        now = int(time.time() * 1000)
        for number, values in enumerate(record.history, 1):
            record.waiting += _as_metrics(values, now, number)
        self._flush(record, {END: shortened(record.error or _ENDS[record.status] + _gone_on(record), 5000)})
        self._client.set_terminated(record.run_id, record.status)

    def _record(self, trial: Any) -> TrialRecord:
        config = trial.config["trial"]
        number, family, params = config["number"], config["family"], config["params"]
        record = self.records.get(number)
        if record is None:
            called = f"{family[:100]}-{number:02d}"
            run = self._client.create_run(self._experiment, tags=self._tags, run_name=called)
            record = TrialRecord(number, family, params, config["rounds"], str(run.info.run_id))
            self.records[number] = record
            self._note_begin(record)
        return record

    def _note_begin(self, record: TrialRecord) -> None:
        if self.journal is not None:
            point = self.points(record.family, record.params)
            self.journal.begin(record.number, record.family, point, record.run_id)

    def _flush(self, record: TrialRecord, tags: Mapping[str, str]) -> None:
        params = {} if record.introduced else {**record.params, "family": record.family}
        self._client.log_batch(
            record.run_id,
            metrics=record.waiting,
            params=shown_params(params),
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        record.waiting, record.introduced, record.flushed_at = [], True, time.monotonic()

    def _end(self, record: TrialRecord, status: str, end: str) -> None:
        if self.journal is not None:  # first: what is in it is never made again
            self.journal.end(record.number, status, record.error)
        record.status = status
        if len(record.schedule) > 1:
            self._client.log_param(record.run_id, "schedule", shortened(schedule_words(record.schedule)))
        self._flush(record, {END: shortened(end, 5000)})
        self._client.set_terminated(record.run_id, status)
        self._ended.append(record)
        self._looked_at = 0.0
        self._tell_progress()

    def _tell_progress(self) -> None:
        if self._on_progress is None:
            return
        found = [(best[0], -one.number) for one in self._ended if (best := one.best(self._metric))]
        value, number = max(found, default=(None, None))
        done, best_trial = len(self._ended), None if number is None else -number
        running = {
            one.number: (len(one.history), one.rounds)
            for one in self.records.values()
            if one.history and not one.status
        }
        self._told_at = time.monotonic()
        self._on_progress(
            SearchProgress(done, self.total, value, best_trial, self._seconds_left(done), running)
        )

    def _seconds_left(self, done: int) -> float | None:
        mine = done - self._taken_up
        if mine < 1:
            return None
        left = (time.monotonic() - self._began) / mine * (self.total - done)
        minutes = self._config.minutes
        return left if minutes is None else max(0.0, min(left, minutes * 60 - self.seconds))


def _as_metrics(values: Mapping[str, float], now: int, step: int) -> list[Metric]:
    return [Metric(f"validation_{name}", value, now, step) for name, value in values.items()]


def _gone_on(record: TrialRecord) -> str:
    return f", gone on with after round {record.again} by another process" if record.again else ""
