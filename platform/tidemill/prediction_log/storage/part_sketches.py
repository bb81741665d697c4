"""Summarise the values of each column of a part in a small file beside it, so that monitors need not read it.

A sketch has, by version and column: how many rows, how many values that are not null, and the values
themselves as counts: each number, or, of more than 256, up to 258 blocks of neighbours in their order, thin
at both ends; each text of up to 1,024. Sketches are added by putting their rows one below the other.

Tests and shadows are left out, as monitors leave them out. A sketch is deleted with its part.
"""

import io
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.prediction_log.log_records import FEATURE_PREFIX, SHADOW
from tidemill.prediction_log.storage.log_places import Place

__all__ = ["LIVE", "ROWS", "SKETCH", "delete_part", "put_sketch", "read_sketches", "sketch_name", "sketch_of"]

LIVE = ~pl.col("test") & pl.col("role").ne_missing(SHADOW)
"""The predictions that monitors look at."""
ROWS = "\0rows"
"""In place of a column's name: the count is of rows."""
SKETCH = pl.Schema(
    {
        "version": pl.String(),
        "column": pl.String(),
        "known": pl.UInt32(),  # values that are not null, in a row of its own
        "spread": pl.Float64(),  # in that row: sum of the distances of numbers from the means of their blocks
        "count": pl.UInt32(),  # of a block of numbers, of a text, or of values that are neither
        "low": pl.Float64(),
        "high": pl.Float64(),
        "mean": pl.Float64(),
        "text": pl.String(),
    }
)
"""Columns of a sketch; of its name another number, so that sketches of another kind are made anew."""

_SUFFIX = ".sketch1"
_BLOCKS = 256
_TEXTS = 1_024
_OTHERS = ("score", "answer")
_NEEDED = {"test": pl.Boolean(), "role": pl.String(), "version": pl.String()}


def sketch_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the sketch of predictions, as parts have them.

    >>> rows = pl.DataFrame({"version": ["1", "1", "1"], "test": [False] * 3, "feature.a": [7.0, None, 7.0]})
    >>> sketch_of(rows).select("column", "known", "count", "mean").rows()[1:]
    [('feature.a', 2, None, None), ('feature.a', None, 2, 7.0)]
    """
    rows = rows.with_columns(pl.lit(None, t).alias(n) for n, t in _NEEDED.items() if n not in rows.columns)
    names = [name for name in rows.columns if name.startswith(FEATURE_PREFIX) or name in _OTHERS]
    live = rows.filter(LIVE)
    found = [pl.DataFrame(schema=SKETCH)]
    for version in live["version"].unique(maintain_order=True):
        own = live.filter(pl.col("version").eq_missing(version))
        found.append(_table(version, ROWS, count=[own.height]))
        for name in names:
            found += _of_column(version, own[name])
    return pl.concat(found)


def sketch_name(part: str) -> str:
    """Return the name of the sketch of a part.

    >>> sketch_name("m/predictions/date=2013-04-01/part-a-b.parquet")
    'm/predictions/date=2013-04-01/part-a-b.sketch1'
    """
    return part.removesuffix(".parquet") + _SUFFIX


def put_sketch(rows: pl.DataFrame, place: Place, part: str) -> None:
    """Write the sketch of a part's rows beside it; ``part`` is its name below the place."""
    content = io.BytesIO()
    sketch_of(rows).write_parquet(content, compression="zstd", statistics=False)
    place.write(sketch_name(part), content.getvalue())


def read_sketches(place: Place, parts: Iterable[str]) -> list[pl.DataFrame | None]:
    """Return the sketches of parts of one place; None where there is none, or it cannot be read."""
    return [_decoded(content) for content in place.read(sketch_name(part) for part in parts)]


def delete_part(place: Place, name: str) -> None:
    """Delete a part and its sketch."""
    place.delete(sketch_name(name))
    place.delete(name)


def _decoded(content: bytes | None) -> pl.DataFrame | None:
    if content is None:
        return None
    try:
        found = pl.read_parquet(io.BytesIO(content))
    except pl.exceptions.PolarsError:
        return None
    return found if found.schema == SKETCH else None


def _of_column(version: str | None, column: pl.Series) -> Iterator[pl.DataFrame]:
    known = column.drop_nulls()
    spread = 0.0
    values = None
    if known.dtype.is_numeric() or known.dtype == pl.Boolean:
        numbers = known.cast(pl.Float64).to_numpy()
        values, spread = _blocks(np.sort(numbers[np.isfinite(numbers)]))
    elif known.dtype == pl.String and column.name != "answer" and known.n_unique() <= _TEXTS:
        counts = known.alias("text").value_counts(name="count")
        values = {"count": counts["count"], "text": counts["text"]}
    elif len(known):
        values = {"count": [len(known)]}
    yield _table(version, column.name, known=[len(known)], spread=[spread])
    if values is not None:
        yield _table(version, column.name, **values)


def _blocks(numbers: npt.NDArray[np.float64]) -> tuple[dict[str, object], float]:
    """Return sorted numbers in blocks, none of which has zero and others, and the spread within them."""
    if not len(numbers):
        return {"count": []}, 0.0
    starts = np.append(0, np.flatnonzero(np.diff(numbers)) + 1)
    if len(starts) > _BLOCKS:
        shares = (1 - np.cos(np.linspace(0, np.pi, _BLOCKS + 1)[:-1])) / 2
        zeros = [np.searchsorted(numbers, 0.0, side) for side in ("left", "right")]
        starts = np.unique(np.append((shares * len(numbers)).astype(np.intp), zeros))
        starts = starts[starts < len(numbers)]
    ends = np.append(starts[1:], len(numbers))
    counts, low, high = ends - starts, numbers[starts], numbers[ends - 1]
    with np.errstate(over="ignore", invalid="ignore"):
        means = np.clip(np.add.reduceat(numbers, starts) / counts, low, high)
        spread = float(np.abs(numbers - np.repeat(means, counts)).sum())
    return {"count": counts, "low": low, "high": high, "mean": means}, spread


def _table(version: str | None, column: str, **values: object) -> pl.DataFrame:
    table = pl.DataFrame(values)
    every = {"version": version, "column": column}
    return table.select(
        pl.col(name).cast(dtype) if name in values else pl.lit(every.get(name), dtype).alias(name)
        for name, dtype in SKETCH.items()
    )
