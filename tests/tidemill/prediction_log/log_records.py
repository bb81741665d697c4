"""Records for tests of the prediction log."""

from datetime import UTC, datetime

from tidemill.prediction_log.log_records import LabelRecord, PredictionRecord

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def record(name: str, at: datetime = NOON, **changes) -> PredictionRecord:
    values = {
        "prediction_id": name,
        "model": "m",
        "version": "3",
        "at": at,
        "served_at": NOON,
        "replica": "r1",
        "instance": {"carrier": "UA", "tailnum": None},
        "features": {"wind": 8.0, "visibility": None},
        "score": 0.25,
        "decision": {"risk": "low"},
    }
    return PredictionRecord(**(values | changes))


def label(
    name: str | None, value: int, at: datetime = NOON, received_at: datetime = NOON, **by
) -> LabelRecord:
    return LabelRecord(name, value, at, received_at, **by)
