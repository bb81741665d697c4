"""A filter that selects records of the prediction log by a function of the caller."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

__all__ = ["RecordFilter", "users_values"]

_USERS = ("instance", "keys", "features", "decision", "answer")


@dataclass(frozen=True)
class RecordFilter:
    """Selects predictions, and labels by keys, such as all that name one person.

    >>> ada = RecordFilter(lambda record: record.get("rider") == "ada", frozenset({"rider"}), ("ada",), True)
    >>> ada.matches({"rider": "ada"}), ada.needles
    (True, (b'ada',))
    """

    matches: Callable[[Mapping[str, Any]], bool]
    """Returns whether a record is selected, from its values under the user's own names (`users_values`)."""
    fields: frozenset[str]
    """Names of the values that ``matches`` looks at; features among them are read as well."""
    texts: tuple[str, ...] = field(repr=False)
    """Each selected record contains one of these texts; torn records are selected by them alone."""
    literal: bool
    """Whether one of ``texts`` stands in each record as it is; a number may be written otherwise."""

    @property
    def needles(self) -> tuple[bytes, ...]:
        """``texts`` as JSON writes them, without quotation marks."""
        return tuple(orjson.dumps(text)[1:-1] for text in self.texts)


def users_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's values under names that the user chose: a key may be called ``model`` or ``version``.

    >>> users_values({"version": "3", "keys": {"version": "7"}})
    {'keys': {'version': '7'}}
    """
    return {name: record[name] for name in _USERS if name in record}
