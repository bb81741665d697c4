"""Reads ``features.yaml``: the features that come in the request, for projects without a feature store."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

from tidemill.errors import ConfigError
from tidemill.files.declaration_files import Declaration, read_declaration
from tidemill.project.gap_words import text_gaps
from tidemill.project.project import ProjectFolder

__all__ = [
    "COLUMNS_FILE",
    "REFUSED",
    "UNSEEN",
    "ColumnType",
    "FeatureColumn",
    "FeatureValue",
    "Unseen",
    "parse_columns",
    "read_columns",
    "read_keys",
]

COLUMNS_FILE = "features.yaml"
_HINT = "docs/project.md describes features.yaml"

ColumnType = Literal["number", "integer", "truth", "text", "moment", "list"]
Unseen = Literal["unknown", "refuse", "flag"]

UNSEEN, REFUSED = "unseen", "refused"
"""What the flag of a row begins with whose category was not seen in training: answered, or not."""

FeatureValue: TypeAlias = float | str | tuple[float, ...] | None
"""A feature as models take it: a number, text, the elements of a list (NaN for a gap), or nothing known."""

_VALUES: dict[str, type | tuple[type, ...]] = {
    "number": (int, float),
    "integer": int,
    "truth": bool,
    "text": str,
    "list": list,
}
_LONGEST = 4096
"""Elements of a list: as many as a tensor may have in one row."""


@dataclass(frozen=True)
class FeatureColumn:
    """A feature that comes in the request.

    >>> FeatureColumn("origin", "text", categories=("EWR", "JFK")).unseen
    'unknown'
    """

    name: str
    type: ColumnType
    """``truth`` is true or false; ``moment`` has an offset from UTC, and a model gets seconds since 1970;
    ``list`` has ``length`` numbers, such as an embedding, and a model gets each as a number of its own."""
    required: bool = True
    """Whether a request must give it; one that is not required may also be null, or a list with nulls."""
    categories: tuple[str, ...] = ()
    """For text: the values seen in training; empty: any text."""
    unseen: Unseen = "unknown"
    """What happens to a text that is not among ``categories``: the model takes it as unknown, the request is
    refused, or it is taken as unknown and the answer carries a flag."""
    personal: bool = False
    """Whether it identifies a person or tells something private: it is hidden in the prediction log."""
    example: Any = None
    """A value for the API's documentation."""
    length: int = 0
    """Of a list: how many elements each has; 0 for other types."""
    element: Literal["number", "integer"] = "number"
    """Of a list: the type of its elements."""
    has_gap_words: bool = False
    """For text: whether words such as N/A are gaps, as the stages read them from ``data.source``."""

    def without_gap(self, given: object) -> object:
        """Return a value as training knows it: None for text that means a gap and is no category.

        >>> FeatureColumn("origin", "text", has_gap_words=True).without_gap("n/a") is None
        True
        >>> FeatureColumn("origin", "text").without_gap("n/a")
        'n/a'
        >>> FeatureColumn("side", "text", categories=("L", "R"), has_gap_words=True).without_gap("NA") is None
        True
        """
        if not self.has_gap_words or not isinstance(given, str):
            return given
        return None if given.strip().lower() in self.gaps and given not in self.categories else given

    @cached_property
    def gaps(self) -> tuple[str, ...]:
        """For text: what means a gap, in lower case."""
        return text_gaps(self.categories)

    @property
    def meant(self) -> str:
        """Return what a value must be, for messages.

        >>> FeatureColumn("embedding", "list", length=3).meant
        'a list of 3 numbers'
        """
        return f"a list of {self.length} {self.element}s" if self.type == "list" else self.type


_FIELDS = tuple(name for name in FeatureColumn.__dataclass_fields__ if name != "has_gap_words")
"""What a column may say in ``features.yaml``."""


def read_columns(project: ProjectFolder) -> tuple[FeatureColumn, ...]:
    """Return the columns of ``features.yaml``, in its order.

    Raises:
        ConfigError: there is no such file, or it is wrong; the message names the column, the field, the line.
    """
    columns = parse_columns(_file(project))
    data = project.params.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("source"), str):
        return columns  # stages of the project's own read the tables
    return tuple(replace(each, has_gap_words=True) if each.type == "text" else each for each in columns)


def read_keys(project: ProjectFolder) -> tuple[FeatureColumn, ...]:
    """Return the keys that ``features.yaml`` lists for the store's lookups; none if it lists none.

    Raises:
        ConfigError: as `read_columns`.
    """
    file = _file(project)
    parse_columns(file)
    return _parsed(file, "keys") if "keys" in file.content else ()


def _file(project: ProjectFolder) -> Declaration:
    path = project.root / COLUMNS_FILE
    file = read_declaration(path)
    if file is None:
        raise ConfigError(
            f"{path} does not exist, but features.from in params.yaml says that features come in the request",
            hint="list the features there: `columns: [{name: wind, type: number}]` (docs/project.md)",
        )
    return file


def parse_columns(file: Declaration) -> tuple[FeatureColumn, ...]:
    """Return the columns that a file declares.

    Raises:
        ConfigError: it is wrong; the message names the column, the field and the line.

    >>> from pathlib import Path
    >>> from tidemill.files.declaration_files import parse_declaration
    >>> text = "columns:\\n  - {name: wind, type: number}\\n  - {name: late, type: bool}\\n"
    >>> parse_columns(parse_declaration(text, Path("features.yaml")))
    Traceback (most recent call last):
    tidemill.errors.ConfigError: features.yaml is wrong: column 'late': type is 'bool' (line 3): it must be \
number, integer, truth, text, moment or list
    """
    content = file.content
    if not isinstance(content, dict) or not {"columns"} <= set(content) <= {"columns", "keys"}:
        raise ConfigError(
            f"{file.path} is wrong: it must have the key `columns`, may have `keys`, and no other", hint=_HINT
        )
    return _parsed(file, "columns")


def _parsed(file: Declaration, section: str) -> tuple[FeatureColumn, ...]:
    entries = file.content[section]
    if not isinstance(entries, list) or not entries:
        raise ConfigError(
            f"{file.path} is wrong: {section} must be a list with at least one entry", hint=_HINT
        )
    found = tuple(_Entry(file, place, entry, section).column() for place, entry in enumerate(entries))
    names = [column.name for column in found]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise _Entry(file, place, entries[place], section).wrong(
                "name", "stands twice: remove one of the two"
            )
    return found


@dataclass(frozen=True)
class _Entry:
    """One entry of the list, on the way to a column."""

    file: Declaration
    place: int
    entry: Any
    section: str = "columns"

    def column(self) -> FeatureColumn:
        if not isinstance(self.entry, dict):
            raise self.wrong("", "it must be a mapping such as {name: wind, type: number}")
        unknown = sorted(set(map(str, self.entry)) - set(_FIELDS))
        if unknown:
            raise self.wrong(unknown[0], f"it must be one of {', '.join(_FIELDS)}")
        name = self.entry.get("name")
        if not isinstance(name, str) or not name:
            raise self.wrong("name", "it must be the name of a column of the training set, as text")
        if name.startswith("^") and name.endswith("$"):
            raise self.wrong("name", "it reads as a pattern of names; rename the column")
        kind = self._one_of("type", get_args(ColumnType))
        return FeatureColumn(
            name=name,
            type=kind,
            required=self._truth("required", True),
            categories=self._categories(kind),
            unseen=self._one_of("unseen", get_args(Unseen), "unknown"),
            personal=self._truth("personal", False),
            example=self._example(kind),
            length=self._length(kind),
            element=self._element(kind),
        )

    def wrong(self, field: str, must: str) -> ConfigError:
        """Return the error: ``must`` says what is expected."""
        name = self.entry.get("name") if isinstance(self.entry, dict) else None
        given = self.entry.get(field, "missing") if isinstance(self.entry, dict) else self.entry
        keys: list[int | str] = [self.section, self.place, *([field] if field else [])]
        shown = "missing" if given == "missing" else repr(given)
        return ConfigError(
            f"{self.file.path} is wrong: column {name or self.place + 1!r}: {field or 'entry'} is {shown}"
            f"{self.file.line_note(keys)}: {must}",
            hint=_HINT,
        )

    def _one_of(self, field: str, allowed: tuple[str, ...], default: str | None = None) -> Any:
        value = self.entry.get(field, default)
        if value not in allowed:
            raise self.wrong(field, f"it must be {', '.join(allowed[:-1])} or {allowed[-1]}")
        return value

    def _truth(self, field: str, default: bool) -> bool:
        value = self.entry.get(field, default)
        if not isinstance(value, bool):
            raise self.wrong(field, "it must be true or false")
        return value

    def _categories(self, kind: str) -> tuple[str, ...]:
        given = self.entry.get("categories") or []
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            raise self.wrong("categories", "it must be a list of texts; quote yes, no and numbers")
        if given and kind != "text":
            raise self.wrong("categories", f"only text has categories, but the type is {kind}")
        if len(set(given)) < len(given):
            raise self.wrong("categories", "each category must stand once")
        if not given and self.entry.get("unseen", "unknown") != "unknown":
            raise self.wrong("unseen", "it needs the categories that were seen in training")
        return tuple(given)

    def _length(self, kind: str) -> int:
        length = self.entry.get("length", 0)
        if kind == "list" and (type(length) is not int or not 1 <= length <= _LONGEST):
            raise self.wrong("length", f"it must be how many elements each list has, 1 to {_LONGEST:,}")
        if kind != "list" and "length" in self.entry:
            raise self.wrong("length", f"only lists have a length, but the type is {kind}")
        return int(length)

    def _element(self, kind: str) -> Any:
        if kind != "list" and "element" in self.entry:
            raise self.wrong("element", f"only lists have elements, but the type is {kind}")
        return self._one_of("element", ("number", "integer"), "number")

    def _example(self, kind: str) -> Any:
        value = self.entry.get("example")
        expected = _VALUES.get(kind, object)
        wrong_truth = isinstance(value, bool) and kind in ("number", "integer")
        if value is not None and (wrong_truth or not isinstance(value, expected)):
            raise self.wrong("example", f"it must be of the column's type, {kind}")
        if isinstance(value, list):
            numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in value)
            if not numbers or len(value) != self.entry.get("length"):
                raise self.wrong("example", "it must be a list of as many numbers as length says")
        return value
