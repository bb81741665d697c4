"""Record every trial of a search as an MLflow run, from the driver: a dying trial could not do it."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag
from ray.tune import Callback

from tidemill.project.project_config import TrainConfig
from tidemill.training.search.trial import CPU_SECONDS
from tidemill.training.tracking.mlflow_tracking import END, ERROR, PARENT, ROLE, TURN, shortened, shown_params
from tidemill.training.tracking.run_files import write_file

__all__ = ["Progress", "SearchInterrupted", "TrialLog", "TrialRecord"]

Progress = Callable[[int, int, float | None], None]
"""Called with trials done, trials in all, and the best validation metric so far."""

_FLUSH_SECONDS = 1.0
_RAISED = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Warning|Stop\w*)(:|$)")


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

    def best(self, metric: str) -> tuple[float, int] | None:
        """Return its best value and the round of that (from 1); None before the first round."""
        values = [(row[metric], -number) for number, row in enumerate(self.history, 1)]
        if not values:
            return None
        value, number = max(values)
        return value, -number


class TrialLog(Callback):  # type: ignore[misc]
    """A callback of Ray Tune: one child run a trial, its parameters, metrics a round, and how it ended."""

    def __init__(
        self,
        client: MlflowClient,
        experiment: str,
        parent: str,
        turn_id: str,
        config: TrainConfig,
        metrics: tuple[str, ...],
        on_progress: Progress | None,
    ) -> None:
        self._client, self._experiment = client, experiment
        self._tags = {PARENT: parent, TURN: turn_id, ROLE: "trial"}
        self._metric, self._total, self._on_progress = config.metric, config.trials, on_progress
        self._metrics, self._ended = metrics, 0
        self.interrupted = False
        """Set it from anywhere to end the search after the present step."""
        self.records: dict[str, TrialRecord] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the listener out: Ray pickles callbacks, and a listener may not be picklable."""
        return {**self.__dict__, "_on_progress": None}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """End the search if asked to; Ray Tune calls this several times a second."""
        if self.interrupted:
            raise SearchInterrupted

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Open the trial's run."""
        self._record(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Note a round's metrics; they are written at most once a second."""
        if self._metric not in result:
            return
        record, now = self._record(trial), int(time.time() * 1000)
        values = {name: float(result[name]) for name in self._metrics if name in result}
        record.history.append(values)
        record.cpu_seconds = float(result.get(CPU_SECONDS, 0.0))
        record.waiting += [
            Metric(f"validation_{name}", value, now, len(record.history)) for name, value in values.items()
        ]
        if time.monotonic() - record.flushed_at > _FLUSH_SECONDS:
            self._flush(record, {})

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the trial's run: FINISHED after all rounds, KILLED if the scheduler stopped it early."""
        record = self._record(trial)
        early = len(record.history) < record.rounds
        self._end(record, "KILLED" if early else "FINISHED", "stopped early" if early else "all rounds")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the trial's run: FAILED, with its error, and the whole of it in a file of the run."""
        record = self._record(trial)
        text = _read(trial.error_file)
        record.error = _why(text)
        if text:
            write_file(self._client, record.run_id, ERROR, text.encode())
        self._end(record, "FAILED", record.error)

    def _record(self, trial: Any) -> TrialRecord:
        record = self.records.get(trial.trial_id)
        if record is None:
            config = trial.config["trial"]
            run = self._client.create_run(
                self._experiment, tags=self._tags, run_name=f"{config['family'][:100]}-{config['number']:02d}"
            )
            record = TrialRecord(
                config["number"], config["family"], config["params"], config["rounds"], str(run.info.run_id)
            )
            self.records[trial.trial_id] = record
        return record

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
        self._flush(record, {END: shortened(end, 5000)})
        self._client.set_terminated(record.run_id, status)
        self._ended += 1
        if self._on_progress is not None:
            found = [best[0] for one in self.records.values() if (best := one.best(self._metric))]
            self._on_progress(self._ended, self._total, max(found, default=None))


def _read(error_file: str | None) -> str:
    try:
        return Path(error_file or "").read_text()
    except OSError:
        return ""


def _why(text: str) -> str:
    """Return the line of a traceback that says what was raised.

    >>> _why("Traceback (most recent call last):\\n  File 'a.py'\\nValueError: too many\\n\\n  details")
    'ValueError: too many'
    """
    if "worker process has died" in text:
        return "its process died: killed, out of memory, or crashed in native code"
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    raised = [line for line in lines if _RAISED.match(line)]
    return (raised or [line.strip() for line in lines] or ["unknown: Ray left no error"])[-1]
