"""Make the records of answered rows that go into the prediction log."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from tidemill.features.request_features import FeatureRow
from tidemill.ids import new_id
from tidemill.prediction_log.prediction_log import PredictionRecord
from tidemill.serving.inference.row_scoring import Row

__all__ = ["Batch", "records_of"]


class Batch(NamedTuple):
    """What the records of one batch have in common."""

    model: str
    """Name of the registered model."""
    replica: str
    served_at: datetime
    milliseconds: float


def records_of(
    batch: Batch,
    rows: Sequence[Row],
    features: Sequence[FeatureRow],
    answers: Sequence[Any],
    decisions: Sequence[Mapping[str, Any]],
) -> list[PredictionRecord]:
    """Return the record of each row, with what is personal hidden.

    Args:
        batch: what they have in common.
        rows: that were answered.
        features: of each row.
        answers: to each row, as the task of its version has them.
        decisions: of the business logic about each row.
    """
    return [
        PredictionRecord(
            prediction_id=new_id("pred"),
            model=batch.model,
            version=row.model.version,
            at=row.moment,
            served_at=batch.served_at,
            replica=batch.replica,
            instance={}
            if row.instance is None
            else row.model.redaction.values(row.instance.model_dump(mode="json")),
            features=row.model.redaction.features(values.values),
            score=row.model.task.score(answer),
            decision=row.model.redaction.values(decision),
            flags=values.flags + row.flags,
            test=row.call.test,
            milliseconds=batch.milliseconds,
            keys=None if row.keys is None else row.model.redaction.values(row.keys),
            role=row.role,
            caller=row.call.caller,
            request_id=row.call.request_id,
            answer=row.model.redaction.answer(row.model.task.logged(answer)),
        )
        for row, values, answer, decision in zip(rows, features, answers, decisions, strict=True)
    ]
