"""Values that describe where each feature of a service comes from: its view, and its history's end. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from tidemill.features.offline.asof import History

__all__ = ["OnDemandSource", "Provenance", "Source"]


@dataclass(frozen=True)
class Source:
    """A feature view with a history, under the name and keys that the service uses it by."""

    name: str
    features: tuple[str, ...]
    """Those in the service; there may be none if only an on-demand view reads it."""
    history: History
    newest: datetime | None
    """Newest event time; none if it is empty."""


@dataclass(frozen=True)
class OnDemandSource:
    """An on-demand view."""

    name: str
    features: tuple[str, ...]
    reads: tuple[str, ...]
    """Names of the `Source` it computes from."""
    request: tuple[str, ...]
    """What it reads of the request."""


@dataclass(frozen=True)
class Provenance:
    """The views and sources of a service's features."""

    sources: tuple[Source, ...]
    computed: tuple[OnDemandSource, ...]
    types: Mapping[str, pl.DataType]
    """Type of each join key and request field, by the name that a request has for it."""

    @property
    def views(self) -> tuple[Source | OnDemandSource, ...]:
        """All views, those with a history first."""
        return (*self.sources, *self.computed)

    @property
    def features(self) -> dict[str, str]:
        """Feature → view."""
        return {name: each.name for each in self.views for name in each.features}

    @property
    def has_ttl(self) -> bool:
        """Whether the rows of any view expire."""
        return any(each.history.ttl for each in self.sources)

    def keys_of(self, origin: Source | OnDemandSource) -> tuple[str, ...]:
        """Return the join keys and request fields that a view's features depend on."""
        if isinstance(origin, Source):
            return tuple(origin.history.keys.values())
        read = [key for each in self.sources if each.name in origin.reads for key in self.keys_of(each)]
        return tuple(dict.fromkeys([*read, *origin.request]))

    def end_of(self, origin: Source | OnDemandSource) -> datetime | None:
        """Return the moment up to which a view's features are known; None if there is no limit.

        That is the newest event time of its source. The rows of a view without TTL never expire, so an old
        newest row is no gap: such a view is known up to the newest event time of all the service's sources.
        """
        if isinstance(origin, OnDemandSource):
            ends = [self.end_of(each) for each in self.sources if each.name in origin.reads]
            return min((end for end in ends if end is not None), default=None)
        if origin.history.ttl:
            return origin.newest
        return max((each.newest for each in self.sources if each.newest is not None), default=None)
