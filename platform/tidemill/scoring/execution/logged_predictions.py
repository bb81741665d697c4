"""Write batch predictions to the prediction log, for monitors and labels."""

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
from pydantic import BaseModel

from tidemill.clock import SystemClock
from tidemill.errors import ServingError
from tidemill.features.project_features import hidden_fields
from tidemill.prediction_log.prediction_log import PredictionRecord
from tidemill.prediction_log.writing.log_writer import open_log
from tidemill.prediction_log.writing.redaction import redaction_for
from tidemill.project import Project
from tidemill.scoring.execution.batch_rows import Scored
from tidemill.scoring.execution.feature_values import FeatureKinds, logged_row
from tidemill.scoring.scoring_job import Job
from tidemill.tasks.task import Task

__all__ = ["ROLE", "BatchLog"]

ROLE = "batch"
"""The role of predictions made by batch scoring rather than the prediction API."""
_AT_ONCE = 1000


class BatchLog:
    """One worker's writer of the prediction log."""

    def __init__(self, project: Project, job: Job, task: Task, kinds: FeatureKinds) -> None:
        self._job, self._task, self._kinds = job, task, kinds
        self._log, self._clock = open_log(project), SystemClock()
        application = project.load_application()
        request = BaseModel if application is None else application.request
        self._redaction = redaction_for(project, request, hidden_fields(project))

    def append(self, scored: Scored) -> None:
        """Write the predictions of a batch.

        Raises:
            ServingError: the disk is full or broken.
        """
        moments = scored.moments
        if moments is None:
            order = np.arange(scored.table.num_rows)
        else:  # one date at a time, as the log has one file a date
            order = moments.dt.date().arg_sort().to_numpy()
        for start in range(0, len(order), _AT_ONCE):
            if not self._log.append(self._records(scored, order[start : start + _AT_ONCE])):
                raise ServingError(
                    f"the prediction log cannot be written: {self._log.health().error}",
                    hint="free space there, then --resume; or score without --log",
                )

    def _records(self, scored: Scored, chosen: npt.NDArray[np.integer]) -> list[PredictionRecord]:
        job, redaction, now = self._job, self._redaction, self._clock.now()
        rows = scored.table.take(pa.array(chosen)).to_pylist()
        at = [job.started_at] * len(rows)
        if scored.moments is not None:
            at = scored.moments[chosen].to_list()
        keys = None if scored.keys is None else scored.keys[chosen].to_dicts()
        answers = scored.answers[chosen].tolist()
        texts = {
            name: column.take(pa.array(chosen)).to_pylist() for name, column in scored.features.texts.items()
        }
        records = []
        for place, row in enumerate(rows):
            features = logged_row(self._kinds, scored.features.matrix[chosen[place]])
            features |= {name: column[place] for name, column in texts.items()}
            instance = scored.instances[chosen[place]] if scored.instances else None
            records.append(
                PredictionRecord(
                    prediction_id=row["prediction_id"],
                    model=job.model,
                    version=job.version,
                    at=at[place],
                    served_at=now,
                    replica=job.id,
                    instance=redaction.values(instance.model_dump(mode="json")) if instance else {},
                    features=redaction.features(features),
                    score=self._task.score(answers[place]),
                    answer=redaction.answer(self._task.logged(answers[place])),
                    decision=redaction.values(_decision(row)),
                    flags=tuple(row["flags"].split() if isinstance(row["flags"], str) else row["flags"]),
                    keys=redaction.values(keys[place]) if keys else None,
                    role=ROLE,
                    request_id=job.id,
                )
            )
        return records


def _decision(row: dict[str, object]) -> dict[str, object]:
    text = row.get("decision")
    return orjson.loads(text) if isinstance(text, str) else {}
