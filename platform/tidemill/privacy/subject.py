"""Identifies the subject of an erasure: the columns of its key, and their values."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import polars as pl

from tidemill.data.personal.pseudonyms import Pseudonymiser, text_of
from tidemill.data.tables.column_names import literal_name
from tidemill.errors import UsageError
from tidemill.features.feast_objects import Entity, FeatureService, ValueType
from tidemill.features.feast_session import repository
from tidemill.features.feature_definitions import load_definitions
from tidemill.features.personal_fields import declared_personal
from tidemill.project import Project

__all__ = ["Subject", "find_subject", "parse_entity"]


@dataclass(frozen=True)
class Subject:
    """One subject: the values of its key, under every name that the columns of the key have."""

    values: Mapping[str, str] = field(repr=False)
    """Column of the key → its value, as text. It is never logged or recorded."""
    pseudonyms: Mapping[str, str]
    """Column of the key → the value's pseudonym."""
    names: Mapping[str, tuple[str, ...]]
    """Column of the key → its name, and the names that requests use for it."""
    types: Mapping[str, ValueType]
    """Column of the key → its type in the feature store; only columns that are join keys."""

    def rows(self, schema: Mapping[str, pl.DataType]) -> pl.Expr | None:
        """Return an expression that is true for the subject's rows; None if a column of the key is missing.

        It matches clear values and pseudonyms, in columns of any type.
        """
        if not self.values or not self.values.keys() <= schema.keys():
            return None
        parts = [self._is(column, schema[column]) for column in self.values]
        return reduce(lambda one, other: one & other, parts).fill_null(False)

    def within(self, record: Mapping[str, Any]) -> bool:
        """Return whether a JSON object names the subject, at any depth.

        >>> hide = Pseudonymiser(b"a key of at least 16 bytes").hide
        >>> subject = Subject({"id": "7"}, {"id": hide(7)}, {"id": ("id", "sender")}, {})
        >>> subject.within({"from": {"sender": 7}}), subject.within({"to": {"id": 8}})
        (True, False)
        """
        return all(
            any(
                text_of(found) in (value, self.pseudonyms[column])
                for found in _under(record, self.names[column])
            )
            for column, value in self.values.items()
        )

    def hidden_in(self, text: str) -> str:
        """Replace the subject's values of three characters or more in ``text`` by their pseudonyms.

        >>> Subject({"id": "N14228"}, {"id": "psn_1"}, {}, {}).hidden_in("id=N14228/part.parquet")
        'id=psn_1/part.parquet'
        """
        for column, value in self.values.items():
            text = text.replace(value, self.pseudonyms[column]) if len(value) >= 3 else text
        return text

    def renamed(self, columns: Mapping[str, str]) -> "Subject":
        """Return the subject with the column names of a file: column of the key → column of the file."""
        if not columns:
            return self

        def under(values: Mapping[str, Any]) -> dict[str, Any]:
            return {columns.get(column, column): value for column, value in values.items()}

        names = {column: (column, *more) for column, more in under(self.names).items()}
        return Subject(under(self.values), under(self.pseudonyms), names, under(self.types))

    @property
    def first_texts(self) -> tuple[str, str]:
        """Return the value and pseudonym of the key's first column; a text that names the subject has one."""
        first = next(iter(self.values))
        return self.values[first], self.pseudonyms[first]

    def _is(self, column: str, dtype: pl.DataType) -> pl.Expr:
        value, pseudonym = self.values[column], self.pseudonyms[column]
        if dtype.is_numeric():
            try:
                return pl.col(literal_name(column)) == (
                    int(value) if value.lstrip("+-").isdigit() else float(value)
                )
            except ValueError:
                return pl.lit(False)
        if dtype in (pl.String, pl.Categorical, pl.Enum):
            return pl.col(literal_name(column)).cast(pl.String).is_in([value, pseudonym])
        if dtype == pl.Binary:
            return pl.col(literal_name(column)) == value.encode()
        return (
            pl.col(literal_name(column))
            .map_elements(text_of, return_dtype=pl.String)
            .is_in([value, pseudonym])
        )


def parse_entity(texts: Sequence[str]) -> dict[str, str]:
    """Parse the values of ``--entity K=V``.

    Raises:
        UsageError: a value does not have this form, or a column is named twice.

    >>> parse_entity(["customer=7", "account=a=b"])
    {'customer': '7', 'account': 'a=b'}
    """
    found: dict[str, str] = {}
    for text in texts:
        column, separator, value = text.partition("=")
        if not (column and separator and value):
            raise UsageError("--entity takes COLUMN=VALUE", hint="such as --entity tailnum=N14228")
        if column in found:
            raise UsageError(
                f"--entity names the column {column!r} twice",
                hint="one subject at a time; several columns are one key of several columns",
            )
        found[column] = value
    if not found:
        raise UsageError(
            "--entity COLUMN=VALUE is missing: it names the subject", hint="such as --entity tailnum=N14228"
        )
    return found


def find_subject(project: Project, values: Mapping[str, str], hide: Pseudonymiser) -> Subject:
    """Return the subject with these values, checked against the feature definitions.

    Raises:
        UsageError: a column is neither a join key, nor the key of the table, nor tagged as personal.
        FeatureError: the definitions cannot be imported.
    """
    definitions = load_definitions(repository(project)) if project.has_store else []
    entities = [thing for thing in definitions if isinstance(thing, Entity)]
    types = {entity.join_key: entity.value_type for entity in entities}
    personal = {thing.name for thing in declared_personal(project) if thing.kind in ("key", "request")}
    keys = {*types, *_keys_of_table(project)}
    unknown = sorted(values.keys() - keys - personal)
    if unknown:
        there = ", ".join(sorted({*keys, *personal})) or "none"
        raise UsageError(
            f"{', '.join(unknown)}: no key of the features or of the table, and no personal field",
            hint=f"there are: {there} (`tidemill data privacy`)",
        )
    services = [thing for thing in definitions if isinstance(thing, FeatureService)]
    values = {column: _checked(column, value, types.get(column)) for column, value in values.items()}
    return Subject(
        values,
        {column: hide.hide(value) for column, value in values.items()},
        {column: (column, *_mapped(services, column)) for column in values},
        {column: types[column] for column in values if column in types},
    )


def _keys_of_table(project: Project) -> set[str]:
    """Return the columns that params.yaml names as what a row is about, where features come in requests."""
    section = project.params.get("data")
    named = (section.get("key") if isinstance(section, dict) else None, project.config.dataset.group)
    return set() if project.has_store else {name for name in named if isinstance(name, str)}


def _checked(column: str, value: str, kind: ValueType | None) -> str:
    if kind not in (ValueType.INT32, ValueType.INT64):
        return value
    try:
        return str(int(value))
    except ValueError as error:
        raise UsageError(
            f"{column} is declared as a whole number, and the given value is not one",
            hint=f"such as --entity {column}=7",
        ) from error


def _mapped(services: Iterable[FeatureService], key: str) -> tuple[str, ...]:
    names = (
        projection.join_key_map[key]
        for service in services
        for projection in service.feature_view_projections
        if key in projection.join_key_map
    )
    return tuple(dict.fromkeys(name for name in names if name != key))


def _under(value: Any, names: Sequence[str]) -> Iterator[Any]:
    """Yield every scalar value under one of ``names``, at any depth."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            if name in names and not isinstance(each, Mapping | list):
                if each is not None:
                    yield each
            elif name in names and isinstance(each, list):
                yield from (item for item in each if not isinstance(item, Mapping | list | None))
            else:
                yield from _under(each, names)
    elif isinstance(value, list):
        for each in value:
            yield from _under(each, names)
