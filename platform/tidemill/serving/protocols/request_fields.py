"""The fields of an application's request, as protocols without nesting see them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

__all__ = ["Field", "Kind", "fields_of"]

Kind: TypeAlias = Literal["text", "number", "integer", "boolean", "list", "json"]

_MOST_SIGNED = 2**63 - 1
_FIELDS: dict[type[BaseModel], tuple["Field", ...]] = {}


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
    unsigned: bool = False
    """Of an integer: whether its example is beyond the 64 bits with a sign, as of a counter or a hash."""


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
            Field(
                name,
                *_kind(declared, definitions, name in required),
                _list_width(declared),
                any(type(one) is int and one > _MOST_SIGNED for one in declared.get("examples", ())),
            )
            for name, declared in schema.get("properties", {}).items()
        )
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
        items = choice.get("items", {})
        types = {one.get("type") for one in items.get("anyOf", [items])} - {"null"}  # of gaps inside
        numbers = types in ({"number"}, {"integer"})
        if numbers and length and length == choice.get("maxItems"):
            return int(length)
    return None
