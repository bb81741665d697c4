"""Says which fields a section of a declaration may have, by the pydantic model of the file."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

__all__ = ["known_fields", "unknown_field"]

_MOST_NAMED = 40


def unknown_field(model: Any, keys: Sequence[int | str]) -> str:
    """Return the message about a field that its section does not have: which one is meant, or what there is.

    Args:
        model: of the file; None if it is not known.
        keys: of the field.

    >>> from pydantic import BaseModel
    >>> class Window(BaseModel):
    ...     rows: int
    ...     every: str
    >>> unknown_field(Window, ["evry"])
    "there is no such field; is 'every' meant?"
    >>> unknown_field(Window, ["length"])
    'there is no such field; there are: rows, every'
    """
    known = known_fields(model, keys[:-1])
    if not known:
        return "there is no such field"
    if near := get_close_matches(str(keys[-1]), known, 1, 0.75):
        return f"there is no such field; is {near[0]!r} meant?"
    more = ", …" if len(known) > _MOST_NAMED else ""
    return f"there is no such field; there are: {', '.join(known[:_MOST_NAMED])}{more}"


def known_fields(model: Any, keys: Sequence[int | str]) -> list[str]:
    """Return the names of the fields of the section at ``keys``; none if that cannot be told.

    >>> from pydantic import BaseModel
    >>> class Rule(BaseModel):
    ...     every: str
    >>> class Rules(BaseModel):
    ...     rules: tuple[Rule, ...] | None = None
    >>> known_fields(Rules, ["rules", 0]), known_fields(Rules, ["rules"])
    (['every'], [])
    """
    found = [model]
    for key in keys:
        found = [inner for each in found for part in _parts(each) for inner in _inner(part, key)]
    sections = [part for each in found for part in _parts(each) if hasattr(part, "model_fields")]
    return list(
        dict.fromkeys(
            field.alias or name for section in sections for name, field in section.model_fields.items()
        )
    )


def _parts(kind: Any) -> list[Any]:
    """Return what a type may be, without its notes."""
    if get_origin(kind) is Annotated:
        return _parts(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [part for each in get_args(kind) for part in _parts(each)]
    return [kind]


def _inner(kind: Any, key: int | str) -> list[Any]:
    """Return the types that a field or an entry of a type may have."""
    if hasattr(kind, "model_fields"):
        if any(get_args(field.annotation) == (key,) for field in kind.model_fields.values()):
            return [kind]  # pydantic names the part of a union by the value that tells it from the others
        return [field.annotation for name, field in kind.model_fields.items() if key in (name, field.alias)]
    origin, given = get_origin(kind), get_args(kind)
    if not isinstance(origin, type) or not given:
        return []
    if issubclass(origin, Mapping):
        return [given[-1]]
    return [given[0]] if isinstance(key, int) and issubclass(origin, Sequence) else []
