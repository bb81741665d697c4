"""Match labels to predictions, by these rules.

1. A label names its prediction by id, or by entity keys and the moment of the prediction (event time). By
   keys it is of every prediction at exactly that moment whose keys hold all the values given; it need not
   give all of them. Keys are compared as text: 5 and "5" are one, and so is a moment in any time zone.
2. A label may arrive before its prediction: they are joined when the log is read. The order of records, and
   the files that they are in, never matter.
3. Of several labels the one that became known last counts (the latest ``at``); of those the one received
   last; of those 1 rather than 0, and the last target in the order of their texts. The same label twice is
   one label; different ones are counted as a contradiction.
4. A label counts from its ``at`` on: a read as of an earlier moment does not see it.
5. A label that became known on an earlier UTC date than the prediction's own is ignored.
6. A label of an answered prediction is also that of its shadows.
7. A record without a target whose label is neither 0 nor 1 is not a label; `log_counts` counts them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import polars as pl

from tidemill.clock import utc
from tidemill.data.personal.pseudonyms import text_of
from tidemill.prediction_log.log_records import LABELS, LabelRecord
from tidemill.prediction_log.writing.redaction import Redaction

__all__ = [
    "IS_LABEL",
    "LABELLED_ID",
    "GivenLabel",
    "as_records",
    "key_values",
    "matched",
    "of_each",
    "with_labels",
]

LABELLED_ID = "_labelled_id"
"""Column with the id by which a prediction is labelled: a shadow by that of the prediction answered."""
IS_LABEL = pl.col("label").is_in(LABELS) | pl.col("target").is_not_null()
"""True for records that are labels, by rule 7."""
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(Z|[+-]\d\d:?\d\d)", re.ASCII)


class GivenLabel(NamedTuple):
    """A label as it was sent: for one prediction by id, or for those with these keys at that moment."""

    prediction_id: str | None
    label: int | None
    """Of two classes, as `Task.label_given` returns it."""
    at: datetime | None = None
    """When it became known, event time, aware; None for now."""
    keys: Mapping[str, Any] | None = None
    predicted_at: datetime | None = None
    target: str | None = None
    """Of any other task, as `Task.label_given` returns it."""


def as_records(given: Sequence[GivenLabel], now: datetime, redaction: Redaction) -> list[LabelRecord]:
    """Return the records to log for some labels.

    Args:
        given: the labels.
        now: wall-clock time.
        redaction: hides personal values as it does in predictions.
    """
    labels = [redaction.label(each.label, each.target) for each in given]
    return [
        LabelRecord(
            each.prediction_id,
            label,
            each.at or now,
            now,
            None
            if each.keys is None
            else redaction.values({name: _value(key) for name, key in each.keys.items()}),
            each.predicted_at,
            target,
        )
        for each, (label, target) in zip(given, labels, strict=True)
    ]


def with_labels(predictions: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Return the predictions that have a label, with ``label``, ``target`` and ``label_at``, in their order.

    Args:
        predictions: with ``prediction_id``, ``shadow_of``, ``at`` and ``keys``.
        labels: records of labels, as they are logged, known at the moment of interest.
    """
    predictions = predictions.with_columns(pl.coalesce("shadow_of", "prediction_id").alias(LABELLED_ID))
    labels = pl.concat([labels, matched(labels, predictions)]).join(
        predictions.select(LABELLED_ID, pl.col("at").dt.date().alias("_day")).unique(LABELLED_ID),
        left_on="prediction_id",
        right_on=LABELLED_ID,
    )
    outcomes = of_each(labels.filter(pl.col("at").dt.date() >= pl.col("_day"))).drop("labels")
    return predictions.join(
        outcomes, left_on=LABELLED_ID, right_on="prediction_id", maintain_order="left"
    ).drop(LABELLED_ID)


def of_each(labels: pl.DataFrame) -> pl.DataFrame:
    """Return the label of each prediction that was labelled by id, chosen by rule 3.

    Returns:
        Columns ``prediction_id``, ``label``, ``target``, ``label_at``, and ``labels``: how many different
        ones it got.
    """
    return (
        labels.filter(pl.col("prediction_id").is_not_null(), IS_LABEL)
        .sort("at", "received_at", "label", "target")
        .group_by("prediction_id", maintain_order=True)
        .agg(
            pl.col("label", "target").last(),
            pl.col("at").last().alias("label_at"),
            pl.struct("label", "target").n_unique().alias("labels"),
        )
    )


def matched(labels: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Return the labels given by keys, once for each prediction that they match, with its id.

    Args:
        labels: records of labels; those by id are not in the result.
        predictions: with `LABELLED_ID`, ``at`` and ``keys``.
    """
    by_keys = labels.filter(pl.col("prediction_id").is_null())
    moments = by_keys.select(pl.col("predicted_at").unique())
    candidates = predictions.join(moments, left_on="at", right_on="predicted_at", how="semi")
    ids = _match(
        by_keys.select("predicted_at", "keys").iter_rows(),
        candidates.select("at", "keys", LABELLED_ID).unique().rows() if by_keys.height else [],
    )
    # One row a label and prediction, also where a label is of several.
    return (
        by_keys.with_columns(pl.Series("prediction_id", ids, pl.List(pl.String)))
        .explode("prediction_id", empty_as_null=True)
        .filter(pl.col("prediction_id").is_not_null())
        .select(labels.columns)
    )


def key_values(keys: Mapping[str, Any] | None) -> dict[str, str | None]:
    """Return keys in the form in which they are compared.

    >>> key_values({"flight": 5.0, "left": "2013-04-01T08:00:00-04:00", "tail": None})
    {'flight': '5', 'left': '2013-04-01T12:00:00+00:00', 'tail': None}
    """
    return {name: _text(value) for name, value in (keys or {}).items()}


def _parse(text: str | None) -> dict[str, str | None]:
    found = orjson.loads(text) if text else {}
    return key_values(found) if isinstance(found, dict) else {}


def _text(value: Any) -> str | None:
    return None if value is None else text_of(_value(value))


def _value(value: Any) -> Any:
    """Return a value of a key; text that is a moment becomes one, in UTC."""
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        try:
            return utc(datetime.fromisoformat(value))
        except (ValueError, OverflowError):
            return value
    return value


def _match(
    labels: Iterable[tuple[datetime, str]], predictions: Sequence[tuple[datetime, str | None, str]]
) -> list[list[str]]:
    """Return the ids of the predictions of each label."""
    parsed: dict[str | None, Mapping[str, str | None]] = {}
    tables: dict[tuple[str, ...], dict[tuple[object, ...], list[str]]] = {}
    found = []
    for moment, text in labels:
        wanted = _parse(text)
        names = tuple(sorted(wanted))
        if names not in tables:
            table = tables[names] = {}
            for at, keys, identifier in predictions:
                if keys not in parsed:
                    parsed[keys] = _parse(keys)
                if wanted.keys() <= parsed[keys].keys():
                    values = (at, *(parsed[keys][name] for name in names))
                    table.setdefault(values, []).append(identifier)
        ids = tables[names].get((moment, *(wanted[name] for name in names)), []) if names else []
        found.append(sorted(set(ids)))
    return found
