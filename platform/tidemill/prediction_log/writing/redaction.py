"""Redact personal values in the prediction log, and in error messages for the servers' logs."""

import traceback
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from pydantic import BaseModel

from tidemill.data.personal.pseudonyms import Pseudonymiser, load_key, text_of
from tidemill.errors import ServingError, TidemillError
from tidemill.project import Project
from tidemill.project.feature_columns import FeatureValue

__all__ = ["NO_REDACTION", "Redaction", "personal_in_request", "redaction_for"]

_REMEMBERED = 10_000  # pseudonyms, of values of up to so many characters: at most some 3 MB
_LONG = 100
_FLAT = frozenset({str, int, float, bool, type(None), datetime})
_SHORT = 3  # characters; shorter values identify no person, and occur in any text


@dataclass(frozen=True)
class Redaction:
    """Hides the values of some fields.

    >>> redaction = Redaction(frozenset({"tailnum", "age"}), Pseudonymiser(b"a key of at least 16 bytes"))
    >>> redaction.values({"origin": "EWR", "tailnum": "N14228"})
    {'origin': 'EWR', 'tailnum': 'psn_804a7b9783543fba4191da1373ecff00'}
    >>> redaction.features({"age": 41.0, "wind": 8.0})
    {'age': None, 'wind': 8.0}
    """

    fields: frozenset[str]
    pseudonymiser: Pseudonymiser | None
    """None if there is nothing to hide."""
    label_hidden: bool = False
    """Whether the label itself is personal."""
    _known: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Recent pseudonyms: a value occurs twice in each prediction, and often in the next ones."""

    def values(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return ``values`` with a pseudonym for each personal one, at any depth; what is null stays null."""
        if not self.fields:
            return values
        hidden = dict(values)
        # Usually no value is nested: then only the personal fields need a check.
        names = self.fields if _FLAT.issuperset(map(type, values.values())) else values
        for name in names:
            value = hidden.get(name)
            if value is not None:
                known = self._known.get(value) if type(value) is str and name in self.fields else None
                hidden[name] = self._value(value, name in self.fields) if known is None else known
        return hidden

    def features(self, features: Mapping[str, FeatureValue]) -> Mapping[str, FeatureValue]:
        """Return ``features`` with null for each personal one."""
        if self.fields.isdisjoint(features):
            return features
        return {name: None if name in self.fields else value for name, value in features.items()}

    def answer(self, answer: str | None) -> str | None:
        """Return a logged answer (JSON, see `Task.logged`) with a pseudonym for each personal value in it.

        >>> print(NO_REDACTION.answer('{"rider": "ada"}'))
        {"rider": "ada"}
        """
        if answer is None or not self.fields:
            return answer
        return orjson.dumps(self._value(orjson.loads(answer), False), str).decode()

    def label(self, label: int | None, target: str | None) -> tuple[int | None, str | None]:
        """Return a label as `Task.label_given` gives it, with a pseudonym for what is personal in it.

        >>> hide = Pseudonymiser(b"a key of at least 16 bytes")
        >>> Redaction(frozenset({"salary"}), hide, label_hidden=True).label(None, "41000.0")[1][:4]
        'psn_'
        >>> Redaction(frozenset({"rider"}), hide).label(None, "41000.0")
        (None, '41000.0')
        """
        if self.label_hidden:
            return None, self._value(label if target is None else target, True)
        if target is not None and self.fields and target[:1] in ("{", "["):  # JSON of a custom task
            return label, self._json(target)
        return label, target

    def _json(self, text: str) -> str:
        try:
            return self.answer(text) or text
        except orjson.JSONDecodeError:
            return text  # a class that begins with a bracket

    @contextmanager
    def in_errors(self, requests: Iterable[BaseModel]) -> Iterator[None]:
        """Redact an error of the block that contains a personal value of one of ``requests``.

        Raises:
            TidemillError: of the same type and with the same words, the values hidden, without its cause.
        """
        try:
            yield
        except Exception as error:
            if self.pseudonymiser is None:
                raise
            told = "".join(traceback.format_exception(error))
            seen = {
                text for request in requests for text in self._texts(request.model_dump()) if text in told
            }
            if not seen:
                raise
            message = str(error)
            for text in sorted(seen, key=len, reverse=True):
                message = message.replace(text, self.pseudonymiser.hide(text))
            if isinstance(error, TidemillError):
                raise type(error)(message, hint=error.hint) from None
            raise ServingError(f"{type(error).__name__}: {message}") from None

    def _value(self, value: Any, personal: bool) -> Any:
        match value:
            case None:
                return None
            case dict():
                return {
                    name: self._value(each, personal or name in self.fields) for name, each in value.items()
                }
            case list() | tuple():
                return [self._value(each, personal) for each in value]
            case _ if personal and self.pseudonymiser is not None:
                pseudonym = self.pseudonymiser.hide(value)
                if isinstance(value, str) and len(value) <= _LONG:
                    if len(self._known) >= _REMEMBERED:
                        self._known.clear()
                    self._known[value] = pseudonym
                return pseudonym
            case _:
                return value

    def _texts(self, value: Any, personal: bool = False) -> Iterator[str]:
        match value:
            case None:
                return
            case dict():
                for name, each in value.items():
                    yield from self._texts(each, personal or name in self.fields)
            case list() | tuple():
                for each in value:
                    yield from self._texts(each, personal)
            case _ if personal and len(text := text_of(value)) >= _SHORT:
                yield text


NO_REDACTION = Redaction(frozenset(), None)


def redaction_for(project: Project, request: type[BaseModel], personal: Set[str]) -> Redaction:
    """Return the redaction of the ``personal`` fields, and of those that the request's own schema marks.

    Args:
        project: whose privacy key the pseudonyms are made with.
        request: the schema of the application's request.
        personal: the personal fields of the applied definitions (`tidemill.features.personal_fields`).

    Raises:
        ConfigError: there is something to hide, and no usable privacy key.
    """
    fields = frozenset(personal) | personal_in_request(request)
    hidden = project.config.dataset.label in fields
    return Redaction(fields, Pseudonymiser(load_key(project)), hidden) if fields else NO_REDACTION


def personal_in_request(request: type[BaseModel]) -> frozenset[str]:
    """Return the fields that a request's schema marks as personal, at any depth.

    Serves fields that no feature is looked up by, which feature definitions cannot tag.

    >>> from pydantic import Field
    >>> class Parcel(BaseModel):
    ...     depot: str
    ...     phone: str = Field(json_schema_extra={"personal": True})
    >>> sorted(personal_in_request(Parcel))
    ['phone']
    """
    schema = request.model_json_schema(by_alias=False)
    return frozenset(
        name
        for part in (schema, *schema.get("$defs", {}).values())
        for name, field in part.get("properties", {}).items()
        if field.get("personal") in (True, "true")
    )
