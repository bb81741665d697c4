"""Says in plain words what pydantic found wrong with the fields of a file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tidemill.files.known_fields import unknown_field

__all__ = ["Keys", "field_problems"]

Keys = tuple[int | str, ...]

_MUST_BE = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type", "mapping_type"), "a mapping"),
    **dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type"), "a list"),
    **dict.fromkeys(("string_type", "string_sub_type"), "text"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    "finite_number": "a finite number",
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
}
_PATTERNS = {
    r"^[a-z0-9][a-z0-9-]*$": "must be of lower-case letters, digits and hyphens, as in night-shift",
    r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$": "must name a module and a function, as in serving.prices:profit",
}
"""What is meant by a pattern that a field must match."""
_BEGINNINGS = (
    ("Value error, ", ""),
    ("Assertion failed, ", ""),
    ("Input should ", "must "),
    ("String should ", "must "),
)


def field_problems(errors: Iterable[Mapping[str, Any]], model: Any = None) -> list[tuple[Keys, str]]:
    """Return the keys and a plain message of each error; what only follows from another one is left out.

    Args:
        errors: as pydantic's ``ValidationError.errors`` returns them.
        model: of the whole, to say which fields there are.

    >>> wrong = {"type": "tuple_type", "loc": ("monitors",), "msg": "Input should be a valid tuple"}
    >>> field_problems([{**wrong, "input": "weekly"}])
    [(('monitors',), "must be a list, not 'weekly'")]
    """
    found = list(errors)
    places = [tuple(error["loc"]) for error in found]
    return [
        (place, unknown_field(model, place) if error["type"] == "extra_forbidden" else _in_words(error))
        for place, error in zip(places, found, strict=True)
        if not (error["type"] == "too_short" and _has_inner(place, places))
    ]


def _has_inner(place: Keys, places: Sequence[Keys]) -> bool:
    """Return whether an entry below ``place`` is wrong too: pydantic then counts the right ones alone."""
    return any(len(other) > len(place) and other[: len(place)] == place for other in places)


def _in_words(error: Mapping[str, Any]) -> str:
    kind, given = error["type"], error.get("input")
    if kind == "missing":
        return "is missing"
    if kind == "union_tag_not_found":
        return f"needs the field {error['ctx']['discriminator']}"
    if kind == "union_tag_invalid":
        field, tag, known = (error["ctx"][name] for name in ("discriminator", "tag", "expected_tags"))
        field = field.strip("'")
        return f"{field} must be {known}, not {tag!r}"
    if kind == "too_short":
        least = error["ctx"]["min_length"]
        return f"must have at least {least} entr{'y' if least == 1 else 'ies'}"
    if kind == "string_too_short" and error["ctx"]["min_length"] == 1:
        return "must not be empty"
    if kind == "string_pattern_mismatch" and error["ctx"]["pattern"] in _PATTERNS:
        return f"{_PATTERNS[error['ctx']['pattern']]}, not {_shown(given)}"
    if kind == "literal_error" and error["ctx"]["expected"] == "True":
        return f"must be true, not {_shown(given)}"
    if kind in _MUST_BE:
        return f"must be {_MUST_BE[kind]}, not {_shown(given)}"
    message = str(error["msg"])
    for beginning, plain in _BEGINNINGS:
        if message.startswith(beginning):
            message = plain + message.removeprefix(beginning)
            return f"{message}, not {_shown(given)}" if plain else message
    return message


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case bool():
            return str(value).lower()
        case _:
            text = repr(value) if isinstance(value, str) else str(value)
            return text if len(text) <= 60 else f"{text[:59]}…"
