"""Defines the section ``features`` of ``params.yaml``: where features come from."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

from pydantic import Field, field_validator, model_validator

from tidemill.project.serve_config import Section

__all__ = ["FeaturesConfig", "Source"]

Source: TypeAlias = Literal["store", "request", "both"]
_DEFAULT = "default"


class FeaturesConfig(Section):
    """Where features come from: the request, the Feast repository and its service, or both.

    >>> FeaturesConfig.model_validate({"service": "parcels", "from": {"weather": "request"}}).source
    'both'
    """

    given: Source | dict[str, Source] = Field(default="store", alias="from")
    """One word for all features, or view → word; ``default`` is for views that are not named.

    With ``request`` for all there is no feature store: ``features.yaml`` lists the columns.
    """
    repo: str = "feature_repo"
    service: str | None = None
    """The Feast service that training and serving share; needed unless features come in the request only."""

    @property
    def source(self) -> Source:
        """Where features come from, taken together: ``both`` if some views' are not only looked up."""
        if not isinstance(self.given, dict):
            return self.given
        return "store" if set(self.given.values()) <= {"store"} else "both"

    @property
    def views(self) -> Mapping[str, Source]:
        """What is said of single views; empty where one word says it for all."""
        given = self.given if isinstance(self.given, dict) else {}
        return {view: source for view, source in given.items() if view != _DEFAULT}

    @property
    def by_view(self) -> bool:
        """Whether it is said by view."""
        return isinstance(self.given, dict)

    def source_of(self, view: str) -> Source:
        """Return where the features of a view come from.

        >>> config = FeaturesConfig.model_validate({"service": "parcels", "from": {"weather": "request"}})
        >>> config.source_of("weather"), config.source_of("depots")
        ('request', 'store')
        """
        if isinstance(self.given, dict):
            return self.given.get(view, self.given.get(_DEFAULT, "store"))
        return self.given

    @field_validator("given", mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        words = get_args(Source)
        if isinstance(given, dict):
            for view, word in given.items():
                if not isinstance(view, str) or word not in words:
                    raise ValueError(f"of view {view!r} it says {word!r}: it must be store, request or both")
            if not given:
                raise ValueError("it names no view: write one word for all, store, request or both")
        elif given not in words:
            raise ValueError(
                "it must be store, request or both, or say so by view: {weather: request, default: store}"
            )
        return given

    @model_validator(mode="after")
    def _service_of_the_store(self) -> "FeaturesConfig":
        if self.source != "request" and self.service is None:
            raise ValueError(
                "features.service is missing: name the Feast service, or set features.from to request"
            )
        if self.source == "request" and self.service is not None:
            raise ValueError(
                "features.service needs a store: remove it, or set features.from to store or both"
            )
        return self
