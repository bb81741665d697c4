"""Finds and blanks the records of one subject in the prediction log."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import polars as pl

from tidemill.errors import DataError, ServingError
from tidemill.prediction_log.search.blanking import LoggedRecords, blank_records, find_records
from tidemill.prediction_log.search.record_filter import RecordFilter
from tidemill.privacy.stores.texts import is_literal
from tidemill.privacy.subject import Subject

__all__ = ["blank_log", "find_in_log"]


def find_in_log(root: Path, subject: Subject, before: datetime | None = None) -> LoggedRecords:
    """Count the predictions made for a subject, and their labels, of all models below ``root``.

    Args:
        root: the folder of the log, ``project.predictions``.
        subject: the subject.
        before: only predictions served before this moment count.

    Raises:
        DataError: the log cannot be read.
    """
    with _translated():
        return find_records(root, _filter(subject), before)


def blank_log(root: Path, subject: Subject) -> LoggedRecords:
    """Blank the predictions made for a subject, and their labels; return what was blanked.

    Raises:
        DataError: the log cannot be read or written.
    """
    with _translated():
        return blank_records(root, _filter(subject))


def _filter(subject: Subject) -> RecordFilter:
    fields = frozenset(name for names in subject.names.values() for name in names)
    return RecordFilter(subject.within, fields, subject.first_texts, is_literal(subject))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (ServingError, OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"the prediction log cannot be erased from: {error}",
            hint="mend that, then go on with `tidemill data erase --resume`",
        ) from error
