"""Convert any protocol's rows to a call: by the request's fields (entity keys), or by given features.

Protocols bring rows as columns or records of named values; `Inputs.call` works out which of the two they are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, TypeAdapter, ValidationError

from tidemill.serving.inference.calls import GivenFeatures, sentence
from tidemill.serving.inference.predictor import NoChampion
from tidemill.serving.protocols.given_features import Column, Features, arranged, feature_values, without_nan
from tidemill.serving.protocols.json_bodies import malformed
from tidemill.serving.protocols.predict_codec import name_fields, problems
from tidemill.serving.protocols.predict_schema import MOST_ERRORS, Moment, too_many
from tidemill.serving.protocols.request_fields import Field, Kind, fields_of
from tidemill.tasks.binary import Binary
from tidemill.tasks.task import Task

__all__ = ["Inputs", "Rows", "moment"]

Rows: TypeAlias = Mapping[str, Column] | Sequence[Mapping[str, Any]]
"""Columns of equal length, or records that may lack names."""

_PROBABILITY = Binary("")
_MOMENT = TypeAdapter[datetime](Moment)
_SHOWN = 5  # problems in one message


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

    formats: Mapping[str, str] = field(default_factory=dict)
    """How numbers and moments are written in CSV, by column, where it is not as everywhere."""

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
        if extra and not isinstance(rows, Mapping):
            self._require_whole(rows, known)
        if extra and self._are_fields(names):
            return self._instances(_only(rows, known), names & known), None
        return None, self._matrix(rows, names, count, extra)

    def has_extra(self, rows: Rows) -> bool:
        """Return whether rows have columns beyond those that a model takes, which `call` leaves aside."""
        names, features = _names(rows), self.features()
        if features is None or names <= {field.name for field in self.fields}:
            return False
        return not names <= set(features.service)

    def matrix_call(
        self, values: npt.NDArray[Any] | Sequence[Sequence[Any]]
    ) -> tuple[list[BaseModel] | None, GivenFeatures | None]:
        """Return instances, or the matrix of features as given, as `call` does, of what `matrix` takes.

        Where requests bring all features, these are fields without names, and checked as such.

        Raises:
            Refused: as `matrix`, or a value is not what its field takes.
            NoChampion: no model says which features there are.
        """
        features = self._known_features()
        if not self._are_fields(set(features.needed)):
            return None, self.matrix(values)
        columns = self._columns(values, features)
        kinds = {field.name: field.kind for field in self.fields}
        typed = isinstance(values, np.ndarray) and values.dtype.kind in "fiub"
        rows = {
            name: _as_field(column, kinds[name]) if typed else list(column)
            for name, column in columns.items()
        }
        return self._instances(rows, set(rows)), None

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
        columns = self._columns(values, features)
        return arranged(
            {name: feature_values(name, column, features) for name, column in columns.items()},
            features,
            len(values),
        )

    def _columns(self, values: Any, features: Features) -> dict[str, Column]:
        """Return the columns of rows without names."""
        if not 1 <= len(values) <= self.max_rows:
            raise malformed(f"a request has 1 to {self.max_rows:,} rows, this one has {len(values):,}")
        values = _with_lists(values, features)
        if len(values[0]) != len(features.needed):
            raise malformed(
                f"features have {len(features.needed)} columns ({_list(features.needed)}), "
                f"these have {len(values[0])}"
            )
        columns = values.T if isinstance(values, np.ndarray) else zip(*values, strict=True)
        return dict(zip(features.needed, columns, strict=True))

    def _require_whole(self, rows: Sequence[Mapping[str, Any]], known: set[str]) -> None:
        """Refuse a row that lacks a feature and has a column that nothing reads: its name may be misspelt."""
        features = self._known_features()
        for place, row in enumerate(rows):
            missing = [name for name in features.needed if name not in row]
            if missing and (strange := sorted(row.keys() - known.union(features.service))):
                raise malformed(f"row {place} has no {_list(missing)}, and unknown: {_list(strange)}")

    def _are_fields(self, names: set[str]) -> bool:
        """Return whether columns are all that requests have to bring, and the model needs nothing else."""
        features = self.features()
        if features is None or not features.requested:
            return False
        needed = {*features.needed, *(field.name for field in self.fields if field.required)}
        return needed <= names and set(features.needed) <= {field.name for field in self.fields}

    def _instances(self, rows: Rows, names: set[str]) -> list[BaseModel]:
        records = _records(rows, names)
        try:
            return _adapter(self.instance).validate_python(records)
        except ValidationError as error:
            if error.error_count() > MOST_ERRORS:
                raise malformed(too_many(error).message()) from None
            found = problems(error.errors(include_url=False, include_context=False), ("body", "instances"))
            name_fields(found, list[self.instance], within=2)  # type: ignore[name-defined]
            raise malformed(_joined([sentence([problem]) for problem in found])) from None

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


def _only(rows: Rows, names: set[str]) -> Rows:
    """Return rows without other columns."""
    if isinstance(rows, Mapping):
        return {name: column for name, column in rows.items() if name in names}
    return [{name: value for name, value in row.items() if name in names} for row in rows]


def _as_field(column: Column, kind: Kind) -> list[Any]:
    """Return the numbers of a tensor as a field takes them: truth values as such, moments from seconds."""
    values = _plain(column)
    if kind == "boolean":
        return [bool(value) if value in (0, 1) else value for value in values]
    if kind == "text":
        return [None if value is None else _moment_of(value) for value in values]
    return list(values)


def _moment_of(seconds: float) -> object:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return seconds


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
        found.append(part[0] if width is None else without_nan(part))
        place += width or 1
    return found


def moment(text: object, where: str) -> datetime:
    """Return the moment that a request names, at the place ``where`` of its body.

    Raises:
        Refused: the text is not a moment, or lacks its offset from UTC.
    """
    try:
        return _MOMENT.validate_python(text)
    except ValidationError as error:
        [problem] = problems(error.errors(include_url=False))
        raise malformed(f"{where}: {problem['msg']}") from None


_ADAPTERS: dict[type[BaseModel], TypeAdapter[list[Any]]] = {}


def _adapter(instance: type[BaseModel]) -> TypeAdapter[list[Any]]:
    found = _ADAPTERS.get(instance)
    if found is None:
        found = _ADAPTERS[instance] = TypeAdapter(list[instance])  # type: ignore[valid-type]
    return found


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
    """Return Python's own values, with None for NaN, which JSON does not have."""
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
