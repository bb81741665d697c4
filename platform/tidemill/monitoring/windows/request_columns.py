"""Reads a column of logged predictions: a feature, or a field of the request."""

import orjson
import polars as pl

from tidemill.prediction_log.log_records import FEATURE_PREFIX

__all__ = ["request_column", "request_fields"]


def request_column(rows: pl.DataFrame, name: str) -> pl.Series | None:
    """Return a feature, or a field of the requests, one value a row; None if no row has it.

    >>> rows = pl.DataFrame({"instance": ['{"city": "Lviv"}', None], "feature.wind": [2.0, 3.0]})
    >>> request_column(rows, "city").to_list(), request_column(rows, "wind").to_list()
    (['Lviv', None], [2.0, 3.0])
    """
    if f"{FEATURE_PREFIX}{name}" in rows.columns:
        return rows[f"{FEATURE_PREFIX}{name}"].alias(name)
    return request_fields(rows, [name]).get(name)


def request_fields(rows: pl.DataFrame, names: list[str]) -> dict[str, pl.Series]:
    """Return those of the fields that some request has, one value a row; text where types differ."""
    texts = rows["instance"].to_list() if "instance" in rows.columns else []
    given = [orjson.loads(text) if text else None for text in texts]
    known = [one if isinstance(one, dict) else {} for one in given]
    return {
        name: _series(name, [one.get(name) for one in known])
        for name in names
        if any(name in one for one in known)
    }


def _series(name: str, values: list[object]) -> pl.Series:
    try:
        return pl.Series(name, values)
    except (TypeError, pl.exceptions.PolarsError):
        texts = [
            None if one is None else one if isinstance(one, str) else orjson.dumps(one).decode()
            for one in values
        ]
        return pl.Series(name, texts, pl.String)
