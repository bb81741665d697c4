"""Finds the formats in which a column of text or numbers has its moments."""

from collections.abc import Iterable
from functools import cache

import polars as pl

from tidemill.data.profiling.cell_values import EPOCHS, as_moment, cell_value
from tidemill.data.tables.column_names import literal_name

__all__ = ["moment_formats", "no_moments", "several_formats"]

_DAYS = (
    "%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%y", "%m/%d/%y",
    "%d/%m/%y", "%d %B %Y", "%d-%B-%Y", "%B %d, %Y", "%B %d %Y",
)  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f", "T%H:%M", "T%H:%M:%S", "T%H:%M:%S%.f")
_HALF_DAYS = (" %I:%M %p", " %I:%M:%S %p")
_FORMATS = (
    *(day + time for day in _DAYS for time in _TIMES if day == "%Y-%m-%d" or not time.startswith("T")),
    *(f"%Y-%m-%d{time}%#z" for time in _TIMES if time),
    *(day + time for day in _DAYS for time in _HALF_DAYS),
)


def moment_formats(table: pl.LazyFrame, name: str) -> list[str]:
    """Return the formats that read every value of a column as a moment, the likeliest first.

    A format with fractions of a second is left out where the one without reads every value too.

    Numbers may be seconds, milliseconds or microseconds since 1970, between 1980 and 2100, or days as
    20131231.
    """
    dtype = table.collect_schema()[name]
    if dtype.is_numeric():
        values = table.select(pl.col(literal_name(name)).alias("value"))
        low, high = (
            values.select(low=pl.min("value"), high=pl.max("value")).collect(engine="streaming").row(0)
        )
        if low is None:
            return []
        for unit, size in EPOCHS.items():
            second = 1_000_000 / size
            if 315_532_800 * second <= low and high <= 4_102_444_800 * second:
                return [unit]
        if not (dtype.is_integer() and low >= 19_000_101 and high <= 21_001_231):
            return []
        candidates: tuple[str, ...] = ("%Y%m%d",)
    elif dtype == pl.String:
        few = table.select(cell_value(name).alias("value")).filter(pl.col("value").is_not_null()).head(200)
        sample = few.collect()["value"]
        candidates = tuple(_all_read(sample, _all_read(sample.head(1), _FORMATS)) if len(sample) else ())
    else:
        return []
    if not candidates:
        return []
    fails = [
        (cell_value(name).is_not_null() & as_moment(cell_value(name), one).is_null()).sum().alias(one)
        for one in candidates
    ]
    counts = table.select(fails).collect(engine="streaming").row(0, named=True)
    able = [one for one in candidates if counts[one] == 0]
    return [one for one in able if "%.f" not in one or one.replace("%.f", "") not in able]


def no_moments(table: pl.LazyFrame, name: str) -> list[str]:
    """Return values of a column that cannot be read as moments; of one that is mostly moments the others.

    >>> no_moments(pl.LazyFrame({"at": ["2024-01-01", "2024-01-02", "soon"]}), "at")
    ['soon']
    """
    values = table.select(cell_value(name).alias("value")).drop_nulls().unique().sort("value").head(10_000)
    found = values.collect()["value"]
    fails = [found.filter(read.is_null()) for read in _read_all(found, _FORMATS).values()]
    fewest = min(fails, key=len, default=found)
    return (fewest if 0 < len(fewest) <= len(found) / 2 else found).head(3).to_list()


def several_formats(table: pl.LazyFrame, name: str) -> tuple[str, str] | None:
    """Return two values of a column of text that are moments in different formats; None if it has others.

    >>> several_formats(pl.LazyFrame({"at": ["2024-01-01", "31.12.2024", "1.2.2024"]}), "at")
    ('31.12.2024', '2024-01-01')
    """
    few = table.select(cell_value(name).alias("value")).drop_nulls().head(200).collect()["value"]
    if not len(few) or not few.str.contains(r"\d.*\D.*\d").all():
        return None
    found = {form: values.is_not_null() for form, values in _read_all(few, _FORMATS).items()}
    read = {form: values for form, values in found.items() if values.any()}
    if not read or not pl.DataFrame(read).select(pl.any_horizontal(pl.all()).all()).item():
        return None
    most = max(read.values(), key=lambda values: int(values.sum()))
    return None if most.all() else (few.filter(most)[0], few.filter(~most)[0])


def _all_read(values: pl.Series, forms: Iterable[str]) -> list[str]:
    """Return those of several formats by which every value is a moment."""
    return [one for one, read in _read_all(values, forms).items() if read.null_count() == 0]


def _read_all(values: pl.Series, forms: Iterable[str]) -> dict[str, pl.Series]:
    """Return values as moments by each of several formats; null where they are not."""
    read = values.to_frame("value").select(_by(form) for form in forms)
    return {series.name: series for series in read}


@cache
def _by(form: str) -> pl.Expr:
    return as_moment(pl.col("value"), form).alias(form)
