"""Says which records of the prediction log are meant: its caller decides, and the log asks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

__all__ = ["RecordFilter", "users_values"]

_USERS = ("instance", "keys", "features", "decision")


@dataclass(frozen=True)
class RecordFilter:
    """Which predictions, and labels by keys, are meant, such as all that name one person.

    >>> ada = RecordFilter(lambda record: record.get("rider") == "ada", frozenset({"rider"}), ("ada",), True)
    >>> ada.matches({"rider": "ada"}), ada.needles
    (True, (b'ada',))
    """

    matches: Callable[[Mapping[str, Any]], bool]
    """Tells whether a record is meant by what is the user's in it (`users_values`)."""
    fields: frozenset[str]
    """Names of the values that ``matches`` looks at; features among them are read as well."""
    texts: tuple[str, ...] = field(repr=False)
    """One of these is in each record that is meant: in one that is torn, it is all there is to go by."""
    literal: bool
    """Whether one of ``texts`` stands in each record as it is; a number may be written otherwise."""

    @property
    def needles(self) -> tuple[bytes, ...]:
        """``texts`` as JSON writes them, without quotation marks."""
        return tuple(orjson.dumps(text)[1:-1] for text in self.texts)


def users_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what in a record has names that the user chose: a key may be called ``model`` or ``version``.

    >>> users_values({"version": "3", "keys": {"version": "7"}})
    {'keys': {'version': '7'}}
    """
    return {name: record[name] for name in _USERS if name in record}
