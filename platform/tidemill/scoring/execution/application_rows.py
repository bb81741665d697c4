"""Runs a project's application over rows of a batch: its request, its keys, its decisions.

The application is the project's code: whatever it raises rejects the row, not the batch.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import pyarrow as pa
from pydantic import BaseModel, ValidationError

from tidemill.scoring.input.column_values import Wrong

__all__ = ["SHOWN", "decide_rows", "feature_rows", "read_instances", "request_columns"]

SHOWN = 300
"""Characters that are shown of an error of a model, of an application or of its request."""


def request_columns(request: type[BaseModel]) -> dict[str, bool]:
    """Return the columns of a request's instances, and whether each is required.

    >>> class Parcel(BaseModel):
    ...     depot: str
    ...     weight: float | None = None
    >>> request_columns(Parcel)
    {'depot': True, 'weight': False}
    """
    return {field.alias or name: field.is_required() for name, field in request.model_fields.items()}


def read_instances(request: type[BaseModel], table: pa.Table, wrong: Wrong) -> list[BaseModel | None]:
    """Return the rows as instances of the application's request; None for invalid rows."""
    columns = request_columns(request)
    here = table.select([name for name in table.column_names if name in columns])
    instances: list[BaseModel | None] = []
    for position, row in enumerate(_aware(here).to_pylist()):
        values = {name: value for name, value in row.items() if value is not None or columns[name]}
        try:
            instances.append(request.model_validate(values))
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'row'}: {e['msg']}" for e in error.errors())
            wrong.setdefault(position, said[:SHOWN])
            instances.append(None)
    return instances


def _aware(table: pa.Table) -> pa.Table:
    """Return moments in microseconds, as in Python; naive ones are UTC."""
    for index, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type):
            moment = table[index].cast(pa.timestamp("us", column.type.tz), safe=False)
            table = table.set_column(
                index, column.name, moment.cast(pa.timestamp("us", column.type.tz or "UTC"))
            )
    return table


def feature_rows(
    application: Any, instances: Sequence[BaseModel | None], wrong: Wrong
) -> list[dict[str, Any]]:
    """Return the keys of each row as the application gives them; empty for a row without an instance."""
    rows: list[dict[str, Any]] = []
    for position, instance in enumerate(instances):
        row: dict[str, Any] = {}
        if instance is not None:
            try:
                row = dict(application.feature_row(instance))
            except Exception as error:  # noqa: BLE001 - the project's code: anything can come out of it
                wrong.setdefault(position, f"feature_row failed: {error!r}"[:SHOWN])
        rows.append(row)
    return rows


def decide_rows(
    application: Any, instances: Sequence[BaseModel | None], inputs: Iterable[Any], wrong: Wrong
) -> list[str | None]:
    """Return each row's decision as JSON; None for a row that has no instance or is wrong already.

    Args:
        application: the project's.
        instances: the rows, as instances of its request.
        inputs: what each decision is made on.
        wrong: gets the rows whose decision fails.
    """
    decisions: list[str | None] = []
    for position, (instance, given) in enumerate(zip(instances, inputs, strict=False)):
        decision = None
        if instance is not None and position not in wrong:
            try:
                decision = orjson.dumps(dict(application.decide(instance, given)), str).decode()
            except Exception as error:  # noqa: BLE001 - the project's code: anything can come out of it
                wrong.setdefault(position, f"decide failed: {error!r}"[:SHOWN])
        decisions.append(decision)
    return decisions
