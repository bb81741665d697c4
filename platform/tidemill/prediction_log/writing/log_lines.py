"""Encode records as lines of the prediction log."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import NamedTuple

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
    """Return labels, each a plain integer.

    Raises:
        DataError: one is neither 0 nor 1.
    """
    for record in records:
        if record.label not in LABELS:
            raise DataError(f"a label is {record.label!r}", hint="labels are 0 or 1")
    return [
        record if type(record.label) is int else replace(record, label=int(record.label))
        for record in records
    ]


def pieces_of(records: Sequence[PredictionRecord] | Sequence[LabelRecord]) -> list[Piece]:
    """Return the lines of records, one piece for each date of event time."""
    of_day: dict[date, list[bytes]] = {}
    for record in records:
        line = orjson.dumps(record, str, orjson.OPT_APPEND_NEWLINE)
        of_day.setdefault(utc(record.at).date(), []).append(line)
    return [Piece(day, b"".join(lines), len(lines)) for day, lines in of_day.items()]
