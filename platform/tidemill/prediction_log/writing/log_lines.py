"""Encode records as lines of the prediction log."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple

import orjson

from tidemill.clock import utc
from tidemill.errors import DataError
from tidemill.prediction_log.log_records import LABELS, LabelRecord, PredictionRecord

__all__ = ["Piece", "pieces_of", "valid_labels"]


class Piece(NamedTuple):
    """The lines of records with the same date of event time."""

    day: date
    lines: bytes
    records: int


def valid_labels(records: Sequence[LabelRecord]) -> list[LabelRecord]:
    """Return labels, each a plain integer or a target.

    Raises:
        DataError: one is neither 0 nor 1 and has no target, or has both.
    """
    for record in records:
        if record.target is None and record.label not in LABELS:
            raise DataError(f"a label is {record.label!r}", hint="labels of two classes are 0 or 1")
        if record.target is not None and record.label is not None:
            raise DataError(
                f"a label is {record.label!r} and has the target {record.target!r}",
                hint="give one of them, as `Task.label_given` does",
            )
    return [
        record
        if record.label is None or type(record.label) is int
        else replace(record, label=int(record.label))
        for record in records
    ]


def pieces_of(records: Sequence[PredictionRecord] | Sequence[LabelRecord]) -> list[Piece]:
    """Return the lines of records, one piece for each date of event time."""
    of_day: dict[date, list[bytes]] = {}
    for record in records:
        line = orjson.dumps(_fields(record), str, orjson.OPT_APPEND_NEWLINE)
        of_day.setdefault(utc(record.at).date(), []).append(line)
    return [Piece(day, b"".join(lines), len(lines)) for day, lines in of_day.items()]


def _fields(record: PredictionRecord | LabelRecord) -> Any:
    """Return a record with an answer that is an object as an object: JSON inside JSON is slow to read."""
    if type(record) is PredictionRecord and record.answer is not None and record.answer[0] == "{":
        return record.__dict__ | {"answer": orjson.Fragment(record.answer)}
    return record
