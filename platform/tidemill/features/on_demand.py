"""Run on-demand views in the same way over a training set and over a request.

Feast treats the two differently; this module does not: a Python transformation of single rows
(``singleton=True``) runs row by row in both, inputs have their declared types in both, and what is unknown is
None in both (in pandas, what it makes of None).
"""

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from feast import OnDemandFeatureView
from feast.types import Array, FeastType, Float32, Float64, from_feast_to_pyarrow_type, from_value_type
from feast.value_type import ValueType

from tidemill.clock import utc
from tidemill.data.tables.failing_row import first_failing
from tidemill.errors import FeatureError
from tidemill.plurals import agreeing

__all__ = ["Transformation", "transform_table"]

_WHOLE = (ValueType.INT32, ValueType.INT64)
_REAL = (ValueType.DOUBLE, ValueType.FLOAT)


def transform_table(view: OnDemandFeatureView, table: pa.Table, full_feature_names: bool = False) -> pa.Table:
    """Run ``view`` over its columns in ``table``; return its features and those columns.

    It is given only the columns that it also gets in serving: Feast hands over the whole table, and turning
    its every value into a Python object took two thirds of the time of a training frame.

    Raises:
        FeatureError: a column cannot be converted to its declared type, or the project's code failed.
    """
    types = _types(view)
    own = [name for name in table.column_names if name in types]
    columns = [_typed(view, name, table[name], types[name]) for name in own]
    batch = _of_many(view)
    if view.mode == "python":
        batch = _with(batch, transform_arrow=functools.partial(_columns, batch.feature_transformation.udf))
    try:
        result: pa.Table = batch.transform_arrow(pa.table(columns, own), full_feature_names)
        if result.num_rows != table.num_rows:
            raise ValueError(f"it gave {result.num_rows} of {table.num_rows} rows")
        prefix = f"{view.projection.name_to_use()}__" if full_feature_names else ""
        for field in view.features:  # Arrow cannot infer the type of a column of nulls
            name, dtype = prefix + field.name, _arrow(field.dtype)
            if pa.types.is_null(result[name].type) and dtype:
                index = result.column_names.index(name)
                result = result.set_column(index, name, pa.nulls(result.num_rows, dtype))
    except Exception as error:  # the project's code can raise anything
        raise _failed(view, error, _row_of(view, batch, columns, own)) from error
    return result


def _row_of(
    view: OnDemandFeatureView, batch: OnDemandFeatureView, columns: Sequence[pa.ChunkedArray], own: list[str]
) -> str:
    """Return which row a transformation fails for by itself, and what is unknown in it, in words."""
    inputs = pa.table(columns, own)

    def run(some: slice) -> object:
        return batch.transform_arrow(inputs.slice(some.start, some.stop - some.start))

    number = first_failing(run, inputs.num_rows) if inputs.num_rows else None
    if number is None:
        return ""
    unknown = [name for name in own if not inputs[name][number].is_valid]
    where = f", where {', '.join(unknown)} {agreeing(len(unknown), 'is', 'are')} unknown" if unknown else ""
    return f" (row {number + 1:,} of {inputs.num_rows:,}{where})"


class Transformation:
    """One on-demand view, ready to run over requests."""

    def __init__(self, view: OnDemandFeatureView) -> None:
        self.name: str = view.projection.name_to_use()
        """Its name in the service."""
        self.features: tuple[str, ...] = tuple(field.name for field in view.features)
        """The features that it computes."""
        self.request: dict[str, Callable[[Any], Any]] = {
            name: _converter(kind) for name, kind in view.get_request_data_schema().items()
        }
        """Its request fields, and how each is converted to its declared type."""
        self.sources: dict[str, tuple[str, str]] = {}
        """Its other inputs → view (as it is called there) and feature."""
        for projection in view.source_feature_view_projections.values():
            for field in projection.features:
                source = (projection.name_to_use(), field.name)
                self.sources[field.name] = self.sources[f"{projection.name}__{field.name}"] = source
        self._converters = {
            field.name: _converter(field.dtype.to_value_type())
            for projection in view.source_feature_view_projections.values()
            for field in projection.features
        }
        self._lists = [
            name
            for projection in view.source_feature_view_projections.values()
            for field in projection.features
            if isinstance(field.dtype, Array) and field.dtype.base_type in (Float32, Float64)
            for name in (field.name, f"{projection.name}__{field.name}")
        ]
        self._short = [
            *self.request,
            *(name for name, (_, feature) in self.sources.items() if name == feature),
        ]
        self._view = _of_many(view)
        self._types = _types(view)

    def requested(self, name: str, rows: Sequence[Mapping[str, object]]) -> list[Any]:
        """Return one input from the requests.

        Raises:
            FeatureError: a request lacks it, or has it of another type.
        """
        convert = self.request[name]
        try:
            return [convert(row[name]) for row in rows]
        except KeyError as error:
            raise FeatureError(
                f"a row lacks {name!r}, which on-demand view {self._view.name!r} reads",
                hint=f"it has: {', '.join(rows[0])}",
            ) from error
        except (TypeError, ValueError) as error:
            raise FeatureError(
                f"{name!r} is of another type than on-demand view {self._view.name!r} declares: {error}",
                hint="convert the value, or declare the type it has",
            ) from error

    def replaced(
        self, name: str, looked_up: Sequence[Any], brought: Sequence[Mapping[str, object]]
    ) -> list[Any]:
        """Return one looked-up input with the values in its place that rows bring themselves."""
        _, feature = self.sources[name]
        convert = self._converters[feature]
        return [
            value if row.get(feature) is None else convert(row[feature])
            for value, row in zip(looked_up, brought, strict=True)
        ]

    def run(self, inputs: Mapping[str, list[Any]], rows: int) -> list[list[Any]]:
        """Return the values of each feature for all rows.

        Raises:
            FeatureError: the project's code failed, or did not return one value for each row.
        """
        known = {name: list(map(_known, inputs[name])) for name in self._lists if name in inputs}
        inputs = {**inputs, **known}
        try:
            if self._view.mode == "python":
                outputs = self._view.feature_transformation.udf(dict(inputs))
            else:
                columns = {name: pa.array(inputs[name], self._types[name]) for name in self._short}
                outputs = self._view.transform_arrow(pa.table(columns)).to_pydict()
            values = [list(outputs[name]) for name in self.features]
        except Exception as error:  # the project's code can raise anything
            raise _failed(self._view, error) from error
        for name, column in zip(self.features, values, strict=True):
            if len(column) != rows:
                raise FeatureError(
                    f"on-demand view {self._view.name!r} gave {len(column)} of {rows} values of {name!r}",
                    hint="its transformation must return one value for each row",
                )
        return values


def _known(value: Sequence[Any] | None) -> Sequence[Any] | None:
    """Return a list with None for its gaps, which the store keeps as NaN."""
    if value is None or not any(one != one for one in value):
        return value
    return [None if one != one else one for one in value]


def _failed(view: OnDemandFeatureView, error: Exception, row: str = "") -> FeatureError:
    return FeatureError(
        f"on-demand view {view.name!r} failed: {type(error).__name__}: {error}{row}",
        hint="its function must accept None, which means unknown",
    )


def _of_many(view: OnDemandFeatureView) -> OnDemandFeatureView:
    """Return ``view`` as one that takes columns, running a transformation of single rows row by row."""
    if not view.singleton:
        return view
    one, features = view.feature_transformation.udf, [field.name for field in view.features]

    def many(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        names = list(columns)
        rows = [one(dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)]
        return {name: [row[name] for row in rows] for name in features}

    batch = _with(view, udf=many)
    batch.singleton = False
    return batch


def _with(view: OnDemandFeatureView, **transformation: Callable[..., Any]) -> OnDemandFeatureView:
    """Return ``view`` with other attributes of its transformation."""
    changed = copy.copy(view)
    changed.feature_transformation = copy.copy(view.feature_transformation)
    vars(changed.feature_transformation).update(transformation)
    return changed


def _columns(udf: Callable[..., Any], table: pa.Table, _: Sequence[Any]) -> pa.Table:
    """Run a transformation of lists over a table."""
    return pa.Table.from_pydict(udf({name: _objects(table[name]) for name in table.column_names}))


def _objects(column: pa.ChunkedArray) -> list[Any]:
    """Return the values as Python objects, ten times as fast as Arrow makes them of timestamps."""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz == "UTC":
        moments = column.cast(pa.timestamp("us"), safe=False).to_numpy().astype("datetime64[us]").tolist()
        return [None if moment is None else moment.replace(tzinfo=UTC) for moment in moments]
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return pl.Series(column).to_list()
    values: list[Any] = column.to_pylist()
    return values


def _types(view: OnDemandFeatureView) -> dict[str, pa.DataType | None]:
    """Return the Arrow type of each input, or None where Feast has no type for it."""
    types = {name: _arrow(from_value_type(kind)) for name, kind in view.get_request_data_schema().items()}
    for projection in view.source_feature_view_projections.values():
        for field in projection.features:
            names = (
                field.name,
                f"{projection.name}__{field.name}",
                f"{projection.name_to_use()}__{field.name}",
            )
            types |= dict.fromkeys(names, _arrow(field.dtype))
    return types


def _arrow(dtype: FeastType) -> pa.DataType | None:
    try:
        return from_feast_to_pyarrow_type(dtype)
    except ValueError:
        return None


def _typed(
    view: OnDemandFeatureView, name: str, column: pa.ChunkedArray, wanted: pa.DataType | None
) -> pa.ChunkedArray:
    try:
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        if pa.types.is_list(column.type) and pa.types.is_floating(column.type.value_type):
            lists = pl.Series(column).list.eval(pl.element().fill_nan(None))
            column = pa.chunked_array([lists.to_arrow().cast(column.type)])
        if wanted is None or column.type == wanted:
            return column
        if pa.types.is_timestamp(column.type) and pa.types.is_timestamp(wanted):
            return column.cast(pa.timestamp(column.type.unit, "UTC")).cast(wanted, safe=False)
        return column.cast(wanted, safe=not pa.types.is_floating(wanted))
    except pa.ArrowException as error:
        raise FeatureError(
            f"on-demand view {view.name!r}: {name!r} is declared {wanted} and holds {column.type}: {error}",
            hint="convert the column, or declare the type it has",
        ) from error


def _converter(kind: ValueType) -> Callable[[Any], Any]:
    if kind in _REAL:
        return lambda value: None if value is None or value != value else float(value)
    if kind in _WHOLE:
        return lambda value: None if value is None else int(value)
    if kind is ValueType.UNIX_TIMESTAMP:
        return lambda value: utc(value) if isinstance(value, datetime) else value
    return lambda value: value
