"""A project's declaration of its prediction API: request, keys, business logic."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from tidemill.serving.inference.composition import Composition

__all__ = ["Application"]

Request = TypeVar("Request", bound=BaseModel)


@dataclass(frozen=True)
class Application(Generic[Request]):
    """A prediction API, in a schema and two functions; a project names one in ``project.application``.

    >>> class Parcel(BaseModel):
    ...     depot: str
    >>> application = Application(
    ...     request=Parcel,
    ...     feature_row=lambda parcel: {"depot": parcel.depot},
    ...     decide=lambda parcel, score: {"advice": "phone ahead" if score > 0.5 else "deliver"},
    ... )
    >>> application.decide(Parcel(depot="north"), 0.7)
    {'advice': 'phone ahead'}
    """

    request: type[Request]
    """Schema of one instance. What it refuses is answered with 422 and the field's name."""

    feature_row: Callable[[Request], Mapping[str, object]]
    """The entity keys (and request-time inputs of on-demand views) that the features are looked up by."""

    decide: Callable[[Request, Any], Mapping[str, Any]]
    """The business logic after the model: from an instance and its answer to what is answered beside it.
    The answer is the probability of the positive class (binary), the value (regression), or else an object:
    ``{"class": …, "probabilities": {…}}`` (multiclass), ``{"answer": …}`` (custom)."""

    routing_key: Callable[[Request], str] | None = None
    """What decides which version answers an instance while several do: the same key, the same version.
    None: the entity keys that its features are looked up by."""

    composition: Composition | None = None
    """Models that answer together with the project's own, and how. None: it answers alone, in one hop."""
