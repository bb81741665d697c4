"""The features of a batch as a model takes them: numbers in a matrix, text beside it, and their flags."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from tidemill.features.request_features import REQUEST
from tidemill.project.feature_columns import REFUSED, UNSEEN, ColumnType, FeatureColumn
from tidemill.scoring.input.column_values import Wrong, elements, numbers, texts

__all__ = [
    "FeatureKinds",
    "FeatureValues",
    "brought_values",
    "check_categories",
    "check_required",
    "given_values",
    "logged_row",
]

_ROWS = 8192  # rows of a block: transposed while it is in the processor's cache
_FLAGS = pl.List(pl.String)


class FeatureKinds(NamedTuple):
    """A version's features, and what each is."""

    names: tuple[str, ...]
    words: Collection[str]
    """Those that are text."""
    lists: Mapping[str, int]
    """Those that are lists of numbers, and the length of each."""
    types: Mapping[str, ColumnType] = {}
    """What ``features.yaml`` declares of those that rows bring."""
    formats: Mapping[str, str] = {}
    """How text is written, by column, where it is not as everywhere."""
    whole: Collection[str] = ()
    """The lists of whole numbers."""
    gaps: Mapping[str, Collection[str]] = {}
    """Text whose gaps training knows by words such as N/A, and its categories, which are no gaps."""

    def width(self, name: str) -> int:
        """Return how many columns of the matrix a feature has."""
        return self.lists.get(name, 1)

    def start(self, name: str) -> int:
        """Return the place of a feature's first column in the matrix."""
        return sum(self.width(one) for one in self.names[: self.names.index(name)])


@dataclass(frozen=True)
class FeatureValues:
    """The features of some rows."""

    matrix: npt.NDArray[np.float64]
    """Shape (rows, columns of the model); NaN for text, and for what is not known."""
    texts: Mapping[str, pa.ChunkedArray]
    """The features that are text."""
    flags: pl.Series | None = None
    """The flags of each row, as lists of text; None: all features came with the rows, and nothing else."""

    def gaps(self, kinds: FeatureKinds) -> dict[str, npt.NDArray[np.bool_]]:
        """Return for each feature the rows in which it is missing, or a list with a gap inside."""
        return {name: self.missing(name, kinds) for name in kinds.names}

    def missing(self, name: str, kinds: FeatureKinds) -> npt.NDArray[np.bool_]:
        """Return the rows in which a feature is missing, or a list with a gap inside."""
        if name in self.texts:
            return np.asarray(self.texts[name].is_null(), bool)
        start = kinds.start(name)
        return np.asarray(np.isnan(self.matrix[:, start : start + kinds.width(name)]).any(axis=1))

    def filter(self, sound: npt.NDArray[np.bool_]) -> "FeatureValues":
        """Return some of the rows."""
        mask = pa.array(sound)
        return FeatureValues(
            self.matrix[sound],
            {name: column.filter(mask) for name, column in self.texts.items()},
            None if self.flags is None else self.flags.filter(pl.Series(sound)),
        )


def given_values(table: pa.Table, kinds: FeatureKinds, wrong: Wrong) -> FeatureValues:
    """Return the features that are columns of a table; null and infinite values become NaN.

    One that is no column is missing in all rows. What is not of the declared type, and lists of another
    length, are recorded in ``wrong``.

    >>> table = pa.table({"wind": [float("inf"), 1, None], "e": [[1, 2], [3, 4], None]})
    >>> given_values(table, FeatureKinds(("wind", "e"), (), {"e": 2}), {}).matrix.tolist()
    [[nan, 1.0, 2.0], [1.0, 3.0, 4.0], [nan, nan, nan]]
    """
    for name in kinds.names:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows))
    columns: list[npt.NDArray[np.float64]] = []
    for name in kinds.names:
        if name in kinds.words:
            columns.append(np.full(table.num_rows, np.nan))
        elif name in kinds.lists:
            columns += list(elements(table[name], name, kinds.lists[name], wrong, name in kinds.whole).T)
        else:
            form = kinds.formats.get(name)
            columns.append(numbers(table[name], name, wrong, kinds.types.get(name, "number"), form))
    # As in training, where an infinite value counts as missing.
    columns = [np.where(np.isinf(one), np.nan, one) if np.isinf(one).any() else one for one in columns]
    rows = np.empty((table.num_rows, len(columns)), np.float64)
    for start in range(0, table.num_rows, _ROWS):
        for position, column in enumerate(columns):
            rows[start : start + _ROWS, position] = column[start : start + _ROWS]
    return FeatureValues(
        rows, {name: texts(table[name], kinds.gaps.get(name)) for name in kinds.names if name in kinds.words}
    )


def brought_values(
    found: FeatureValues,
    table: pa.Table,
    names: Collection[str],
    kinds: FeatureKinds,
    wrong: Wrong,
    always: Collection[str] = (),
    views: Mapping[str, Collection[str]] = {},
) -> FeatureValues:
    """Return looked-up features, with those in their place that the rows bring themselves.

    Args:
        found: what was looked up.
        table: the rows.
        names: the features that rows may bring; those that are null in a row stay as they are.
        kinds: the version's features.
        wrong: gets the values that do not fit.
        always: those that are not looked up; they are flagged in each row.
        views: the features of each looked-up view; it is not flagged where a row brings all of them.
    """
    here = tuple(name for name in kinds.names if name in names and name in table.column_names)
    absent = [name for name in kinds.names if name in always and name not in here]
    if not (here or absent) or found.flags is None:
        return found
    given = given_values(table, kinds._replace(names=here), wrong)
    matrix, texts, flags = found.matrix.copy(), dict(found.texts), found.flags
    there, brought = 0, dict[str, pl.Series]()
    for name in here:
        start = kinds.start(name)
        block = given.matrix[:, there : there + kinds.width(name)]
        there += kinds.width(name)
        if name in kinds.words:
            own, looked_up = pl.Series(given.texts[name]), pl.Series(found.texts[name])
            known = own.is_not_null()
            texts[name] = pa.chunked_array([own.zip_with(known, looked_up).to_arrow().cast(pa.string())])
        else:
            known = pl.Series(np.isfinite(block).any(axis=1))
            rows = known.to_numpy()
            matrix[rows, start : start + kinds.width(name)] = block[rows]
        brought[name] = known
        flags = _replaced(flags, known, name)
        if name in always:
            flags = _with_flag(flags, ~known, f"{REQUEST}:{name}")
    for view, members in views.items():
        if members and brought.keys() >= set(members):
            whole = pl.select(pl.all_horizontal(brought[name] for name in members)).to_series()
            flags = _without(flags, whole, {f"{kind}:{view}" for kind in ("missing", "expired", "future")})
    for name in absent:
        flags = _with_flag(flags, pl.repeat(True, len(flags), eager=True), f"{REQUEST}:{name}")
    return FeatureValues(matrix, texts, flags)


def check_categories(values: FeatureValues, columns: Sequence[FeatureColumn], wrong: Wrong) -> FeatureValues:
    """Return features with the flags of categories that were not seen in training; refused rows are wrong.

    Args:
        values: the features.
        columns: those that declare categories.
        wrong: gets the rows with a refused category, those flagged ``refused:…`` among them.
    """
    flags = values.flags
    for column in columns:
        if column.unseen == "unknown" or column.name not in values.texts:
            continue
        text = pl.Series(values.texts[column.name])
        unseen = text.is_not_null() & ~text.is_in(list(column.categories))
        if unseen.any():
            told = f"{REFUSED if column.unseen == 'refuse' else UNSEEN}:{column.name}"
            flags = _with_flag(flags if flags is not None else _given(len(text)), unseen, told)
    if flags is not None:
        for position, of_row in enumerate(flags.to_list()):
            for flag in of_row:
                kind, _, name = flag.partition(":")
                if kind == REFUSED:
                    wrong.setdefault(position, f"{name}: a category that was not seen in training")
    return FeatureValues(values.matrix, values.texts, flags)


def check_required(
    values: FeatureValues, kinds: FeatureKinds, required: Collection[str], wrong: Wrong
) -> None:
    """Record the rows in which a feature is missing that requests must bring."""
    for name in kinds.names:
        if name in required:
            for position in np.flatnonzero(values.missing(name, kinds)):
                gap = "is missing, or has a gap inside" if name in kinds.lists else "is missing"
                wrong.setdefault(
                    int(position), f"{name} {gap}; `required: false` in features.yaml allows gaps"
                )


def logged_row(kinds: FeatureKinds, row: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return a row of the matrix by feature, as it is logged; text is None here.

    >>> logged_row(FeatureKinds(("a", "b"), (), {"a": 2, "b": 2}), np.array([1.0, np.nan, np.nan, np.nan]))
    {'a': [1.0, None], 'b': None}
    """
    found: dict[str, Any] = {}
    values = [None if value != value else value for value in row.tolist()]
    place = 0
    for name in kinds.names:
        part = values[place : place + kinds.width(name)]
        place += kinds.width(name)
        if name in kinds.lists:
            found[name] = None if part.count(None) == len(part) else part
        else:
            found[name] = part[0]
    return found


def _given(rows: int) -> pl.Series:
    return pl.Series("flags", [["features:given"]] * rows, _FLAGS)


def _with_flag(flags: pl.Series, where: pl.Series, flag: str) -> pl.Series:
    found = [
        [*of_row, flag] if there else of_row for of_row, there in zip(flags.to_list(), where, strict=True)
    ]
    return pl.Series("flags", found, _FLAGS)


def _replaced(flags: pl.Series, where: pl.Series, name: str) -> pl.Series:
    """Return flags for rows whose looked-up feature is replaced by a value of their own."""
    gone = {f"{kind}:{name}" for kind in ("default", "infinite", UNSEEN, REFUSED)}
    return _with_flag(_without(flags, where, gone), where, f"{REQUEST}:{name}")


def _without(flags: pl.Series, where: pl.Series, gone: Collection[str]) -> pl.Series:
    found = [
        [flag for flag in of_row if flag not in gone] if there else of_row
        for of_row, there in zip(flags.to_list(), where, strict=True)
    ]
    return pl.Series("flags", found, _FLAGS)
