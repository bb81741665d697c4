"""Convert any protocol's rows to a call: by the request's fields (entity keys), or by given features.

Protocols bring rows as columns or records of named values; `Inputs.call` works out which of the two they are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, TypeAdapter, ValidationError

from tidemill.serving.inference.calls import GivenFeatures
from tidemill.serving.inference.predictor import NoChampion
from tidemill.serving.protocols.given_features import Column, Features, arranged, feature_values
from tidemill.serving.protocols.json_bodies import malformed
from tidemill.serving.protocols.predict_schema import MOST_ERRORS, Moment, too_many
from tidemill.tasks.binary import Binary
from tidemill.tasks.task import Task

__all__ = ["Field", "Inputs", "Kind", "Rows", "fields_of", "moment"]

Rows: TypeAlias = Mapping[str, Column] | Sequence[Mapping[str, Any]]
"""Columns of equal length, or records that may lack names."""
Kind: TypeAlias = Literal["text", "number", "integer", "boolean", "list", "json"]

_PROBABILITY = Binary("")
_MOMENT = TypeAdapter[datetime](Moment)
_SHOWN = 5  # problems in one message


@dataclass(frozen=True)
class Field:
    """One field of the application's request, as protocols without nesting see it."""

    name: str
    kind: Kind
    """``list``: as many numbers as ``width``; ``json``: anything else that is nested, as JSON text."""
    required: bool
    nullable: bool
    width: int | None = None
    """Of a list: how many numbers it has."""


@dataclass(frozen=True)
class Inputs:
    """The valid inputs of a request, and their limits."""

    model: str
    """Name of the registered model."""
    instance: type[BaseModel]
    """Schema of one request's fields."""
    max_rows: int
    features: Callable[[], Features | None]
    """None as long as no model answers."""
    task: Callable[[], Task] = lambda: _PROBABILITY
    """What the champion predicts; what the project declares, as long as there is none."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields of the schema."""
        return fields_of(self.instance)

    def call(self, rows: Rows, extra: bool = False) -> tuple[list[BaseModel] | None, GivenFeatures | None]:
        """Return instances, or the matrix of features as given.

        Args:
            rows: what was sent.
            extra: whether columns beyond the features are left aside instead of refused.

        Raises:
            Refused: no rows, too many, or names and values that are neither.
            NoChampion: these are no fields, and no model says which features there are.
        """
        names, count = _names(rows), _count(rows)
        if not 1 <= count <= self.max_rows:
            raise malformed(f"a request has 1 to {self.max_rows:,} rows, this one has {count:,}")
        known = {field.name for field in self.fields}
        if names <= known:
            return self._instances(rows, names), None
        return None, self._matrix(rows, names, count, extra)

    def matrix(self, values: npt.NDArray[Any] | Sequence[Sequence[Any]]) -> GivenFeatures:
        """Check rows whose columns are the needed features in order, and complete them.

        Args:
            values: numbers, shape (rows, features), where each element of a list is a column of its own; or
                rows of equal width.

        Raises:
            Refused: another width, no rows or too many, or a value that is infinite or of another type.
            NoChampion: no model says which features there are.
        """
        features = self._known_features()
        if not 1 <= len(values) <= self.max_rows:
            raise malformed(f"a request has 1 to {self.max_rows:,} rows, this one has {len(values):,}")
        values = _with_lists(values, features)
        if len(values[0]) != len(features.needed):
            raise malformed(
                f"features have {len(features.needed)} columns ({_list(features.needed)}), "
                f"these have {len(values[0])}"
            )
        columns = values.T if isinstance(values, np.ndarray) else zip(*values, strict=True)
        given = zip(features.needed, columns, strict=True)
        return arranged(
            {name: feature_values(name, column, features) for name, column in given}, features, len(values)
        )

    def _instances(self, rows: Rows, names: set[str]) -> list[BaseModel]:
        records = _records(rows, names)
        try:
            return _adapter(self.instance).validate_python(records)
        except ValidationError as error:
            if error.error_count() > MOST_ERRORS:
                raise malformed(too_many(error).message()) from None
            problems = [
                f"row {item['loc'][0]}, {'.'.join(map(str, item['loc'][1:]))}: {item['msg']}"
                for item in error.errors(include_url=False, include_input=False, include_context=False)
            ]
            raise malformed(_joined(problems)) from None

    def _matrix(self, rows: Rows, names: set[str], count: int, extra: bool) -> GivenFeatures:
        features = self._known_features()
        missing = [name for name in features.needed if name not in names]
        unknown = sorted(names.difference(features.service))
        if missing or (unknown and not extra):
            strange = [name for name in unknown if name not in {field.name for field in self.fields}]
            wrong = f"unknown: {_list(strange)}" if strange else f"missing: {_list(missing)}"
            fields = _list([field.name for field in self.fields])
            raise malformed(
                f"columns are either the request's fields ({fields}) or the model's features "
                f"({_list(features.needed)}); {wrong}"
            )
        columns = {
            name: feature_values(name, _column(rows, name), features)
            for name in features.service
            if name in names
        }
        return arranged(columns, features, count)

    def _known_features(self) -> Features:
        features = self.features()
        if features is None:
            raise NoChampion(f"no version of {self.model} answers yet: GET /model says why")
        return features


def _with_lists(values: Any, features: Features) -> Any:
    """Return rows whose lists are given by element with each list as one value."""
    widths = [features.lists.get(name) for name in features.needed]
    total = sum(width or 1 for width in widths)
    if not features.lists or len(values[0]) != total:
        return values
    rows = values.tolist() if isinstance(values, np.ndarray) else values
    return [_grouped(row, widths) for row in rows]


def _grouped(row: Sequence[Any], widths: Sequence[int | None]) -> list[Any]:
    found: list[Any] = []
    place = 0
    for width in widths:
        part = row[place : place + (width or 1)]
        unknown = all(value is None or value != value for value in part)
        found.append(part[0] if width is None else None if unknown else part)
        place += width or 1
    return found


def fields_of(instance: type[BaseModel]) -> tuple[Field, ...]:
    """Return the fields of a request's schema.

    >>> class Parcel(BaseModel):
    ...     depot: str
    ...     weight: float | None = None
    >>> [(field.name, field.kind, field.required, field.nullable) for field in fields_of(Parcel)]
    [('depot', 'text', True, False), ('weight', 'number', False, True)]
    """
    found = _FIELDS.get(instance)
    if found is None:
        schema = instance.model_json_schema()
        required, definitions = set(schema.get("required", ())), schema.get("$defs", {})
        found = _FIELDS[instance] = tuple(
            Field(name, *_kind(declared, definitions, name in required), _list_width(declared))
            for name, declared in schema.get("properties", {}).items()
        )
    return found


def moment(text: object) -> datetime:
    """Return the moment that a request's ``at`` names.

    Raises:
        Refused: it is none, or lacks its offset from UTC.
    """
    try:
        return _MOMENT.validate_python(text)
    except ValidationError as error:
        raise malformed(f"at: {error.errors(include_input=False)[0]['msg']}") from None


_FIELDS: dict[type[BaseModel], tuple[Field, ...]] = {}
_ADAPTERS: dict[type[BaseModel], TypeAdapter[list[Any]]] = {}


def _adapter(instance: type[BaseModel]) -> TypeAdapter[list[Any]]:
    found = _ADAPTERS.get(instance)
    if found is None:
        found = _ADAPTERS[instance] = TypeAdapter(list[instance])  # type: ignore[valid-type]
    return found


def _kind(
    declared: Mapping[str, Any], definitions: Mapping[str, Any], required: bool
) -> tuple[Kind, bool, bool]:
    choices = declared.get("anyOf", [declared])
    types = {
        definitions.get(str(choice.get("$ref", "")).rpartition("/")[2], choice).get("type", "object")
        for choice in choices
    }
    nullable = "null" in types
    types.discard("null")
    if types == {"integer", "number"}:
        types = {"number"}
    kinds: dict[str, Kind] = {
        "string": "text",
        "number": "number",
        "integer": "integer",
        "boolean": "boolean",
    }
    kind = kinds.get(types.pop(), "json") if len(types) == 1 else "json"
    return "list" if _list_width(declared) else kind, required, nullable


def _list_width(declared: Mapping[str, Any]) -> int | None:
    """Return the length of a field that is a list of so many numbers; None for any other field."""
    for choice in declared.get("anyOf", [declared]):
        length = choice.get("minItems")
        numbers = choice.get("items", {}).get("type") in ("number", "integer")
        if numbers and length and length == choice.get("maxItems"):
            return int(length)
    return None


def _names(rows: Rows) -> set[str]:
    return set(rows) if isinstance(rows, Mapping) else set().union(*rows)


def _count(rows: Rows) -> int:
    if not isinstance(rows, Mapping):
        return len(rows)
    lengths = {name: len(column) for name, column in rows.items()}
    if len(set(lengths.values())) > 1:
        different = ", ".join(f"{name!r} has {length}" for name, length in list(lengths.items())[:_SHOWN])
        raise malformed(f"all columns must have as many values: {different}")
    return next(iter(lengths.values()), 0)


def _records(rows: Rows, names: set[str]) -> list[Mapping[str, Any]]:
    if not isinstance(rows, Mapping):
        return list(rows)
    columns = [_plain(rows[name]) for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain(column: Column) -> Sequence[Any]:
    """Return Python's own values; NaN, which no JSON can say, is none."""
    values = column.tolist() if isinstance(column, np.ndarray) else column
    return [None if value != value else value for value in values]


def _column(rows: Rows, name: str) -> Column:
    return rows[name] if isinstance(rows, Mapping) else [record.get(name) for record in rows]


def _joined(problems: Sequence[str]) -> str:
    more = len(problems) - _SHOWN
    return "; ".join(problems[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _list(names: Sequence[str]) -> str:
    more = len(names) - 40
    return ", ".join(names[:40]) + (f" and {more} more" if more > 0 else "")
